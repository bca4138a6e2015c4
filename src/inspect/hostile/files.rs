//! Every report over one file, of any bytes.

use std::path::Path;
use std::sync::Arc;

use super::seal;
use crate::error::{Error, Result};
use crate::format::filter;
use crate::format::header::FileKind;
use crate::format::key::Trailer;
use crate::inspect::follow::Follower;
use crate::inspect::frames::{self, Expect};
use crate::inspect::manifest::history::History;
use crate::inspect::manifest::{read_manifest, story::Story, summary::Summary};
use crate::inspect::table::{self, Histogram, PartName};
use crate::inspect::wal::{LogItem, read_log};
use crate::inspect::{identify, salvage};
use crate::table::{Table, TableIter};
use crate::types::{FileId, FileNumber, SeqNo};
use crate::vfs::sim::SimVfs;
use crate::vfs::{Access, File, Vfs};

/// Where the file lies.
const PATH: &str = "/hostile/000003.any";

/// Offsets of a file that are asked about, spread over it.
const PLACES: u64 = 16;

pub(super) fn log(bytes: &[u8]) {
    both_ways(bytes, &|_, file| {
        for expect in expectations(bytes.len() as u64) {
            let _ = read_log(&**file, &expect, &mut |item: LogItem<'_>| {
                let _ = (item.offset(), item.finding().map(ToString::to_string));
                Ok::<(), Error>(())
            });
            regions(&**file, FileKind::Wal, &expect);
            let _ = salvage::salvage(&**file, &expect, None, &mut |_| Ok::<(), Error>(()));
        }
        let mut follower = Follower::begin(&**file, &Expect::default());
        let mut ignore = |_: LogItem<'_>| Ok::<(), Error>(());
        let _ = follower.look(&mut ignore).and_then(|_| follower.finish(&mut ignore));
    });
}

pub(super) fn manifest(bytes: &[u8]) {
    both_ways(bytes, &|_, file| {
        for expect in expectations(bytes.len() as u64) {
            let _ = read_manifest(&**file, &expect, &mut |item| {
                let _ = item.finding().map(ToString::to_string);
                Ok::<(), Error>(())
            });
            regions(&**file, FileKind::Manifest, &expect);
        }
        let Ok(history) = History::of_file(Arc::clone(file)) else { return };
        let (mut story, mut summary) = (Story::of(FileNumber(1)), Summary::default());
        let _ = history.read(&mut |moment| {
            story.hear(&moment);
            summary.hear(&moment);
            Ok::<(), Error>(())
        });
        let _ = (summary.width_ms(), story.is_known());
    });
}

pub(super) fn table(bytes: &[u8]) {
    both_ways(bytes, &|vfs, file| {
        let _ = read_whole(vfs);
        let _ = table_reports(&**file);
    });
}

/// Runs over the bytes as they are and with right checksums, and sees that they stay what they were.
fn both_ways(bytes: &[u8], run: &dyn Fn(&SimVfs, &Arc<dyn File>)) {
    let mut sealed = bytes.to_vec();
    seal::file(&mut sealed);
    for bytes in [bytes, &sealed] {
        let vfs = SimVfs::new();
        let opened =
            vfs.install(PATH, bytes).and_then(|()| vfs.open(Path::new(PATH), Access::Read));
        let Ok(file) = opened else { continue };
        let _ = identify(&*file);
        run(&vfs, &file);
        assert_eq!(vfs.read_file(PATH).as_deref().ok(), Some(bytes), "the file was written");
    }
}

/// What somebody else may say about a file: nothing, or something that is likely wrong.
fn expectations(size: u64) -> [Expect; 2] {
    let wrong = Expect {
        id: Some(FileId(1)),
        size: size + 1,
        promised: size / 2,
        end: Some(size * 3 / 4),
        first_seqno: Some(SeqNo(9)),
    };
    [Expect::default(), wrong]
}

fn regions(file: &dyn File, kind: FileKind, expect: &Expect) {
    let _ = frames::layout(file, kind, expect, &mut |_| Ok::<(), Error>(()));
    for offset in places(file) {
        let _ = frames::region_at(file, kind, expect, offset);
    }
}

/// Offsets all over the file, its end and the largest there is.
fn places(file: &dyn File) -> impl Iterator<Item = u64> {
    let size = file.size().unwrap_or(0);
    (0..=PLACES).map(move |part| size / PLACES * part).chain([size, u64::MAX])
}

/// Everything that the engine's reader of tables does.
fn read_whole(vfs: &SimVfs) -> Result<()> {
    let (table, _) = Table::open_file(vfs, Path::new(PATH))?;
    let _ = table.verify();
    let _ = table.properties();
    let table = Arc::new(table);
    let mut iter = TableIter::new(Arc::clone(&table));
    let mut keys = Vec::new();
    iter.first()?;
    while iter.valid() {
        let (user, trailer) = iter.key();
        let _ = iter.value();
        if keys.len() < PLACES as usize {
            keys.push((user.to_vec(), trailer));
        }
        iter.next()?;
    }
    iter.last()?;
    while iter.valid() {
        iter.prev()?;
    }
    for (user, trailer) in keys {
        iter.seek(&user, trailer)?;
        iter.seek_before(&user, Trailer::LAST)?;
        table.get(&user, trailer.seqno(), filter::hash(&user))?;
    }
    Ok(())
}

/// Everything that the tools say about a table.
fn table_reports(file: &dyn File) -> Result<()> {
    table::read_table(file, true, &mut |item| {
        let _ = item.finding().map(ToString::to_string);
        Ok::<(), Error>(())
    })?;
    table::layout(file, &mut |_| Ok::<(), Error>(()))?;
    table::tree(file, &mut |_, _| Ok::<(), Error>(()))?;
    Histogram::default().add(file, 1, &mut |_| Ok::<(), Error>(()))?;
    for key in [b"".as_slice(), b"key005", b"\xff"] {
        table::get(file, key, &mut |_| Ok::<(), Error>(()))?;
    }
    let parts = [PartName::Filter, PartName::Properties, PartName::Index, PartName::Footer];
    for name in parts.into_iter().chain([PartName::Data(0), PartName::Data(u64::MAX)]) {
        table::part(file, name)?;
    }
    for offset in places(file) {
        table::at(file, offset)?;
    }
    let diagnoses = table::doctor::doctor(file, &[file])?;
    let _ = table::doctor::changes(&diagnoses);
    Ok(())
}
