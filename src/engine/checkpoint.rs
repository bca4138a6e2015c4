//! A checkpoint: the store as it is at one moment, as a store of its own in another directory.
//!
//! Its tables are hard links to the original's (copies where the file system has no links to there);
//! what was only in memory is written into tables of L0. Nothing of the original changes, and from
//! then on neither store needs the other: tables are never written again, and a name that is removed
//! leaves the other.
//!
//! Invariants:
//! - The moment is taken under the writing lock and pinned; the rest holds no lock, so writers wait
//!   for nothing that is read or written here.
//! - Sequence numbers are kept: the new store goes on where the moment was.
//! - A mark in the directory comes before the first table and goes behind CURRENT, each durable
//!   before the next. A crash in between leaves no store, but a directory in which the checkpoint can
//!   be made again; without the mark tables without CURRENT would look like damage.
//! - CURRENT comes last: when it is there, so is everything else.

use std::path::Path;
use std::sync::Arc;

use super::core::Core;
use super::counters::Counters;
use super::files::Files;
use super::image::{self, Vacancy};
use super::manifest::Manifest;
use super::memtable::Memtable;
use super::open;
use super::superversion::SuperVersion;
use super::tables::TableFile;
use super::wal::Wal;
use crate::error::{Error, Result};
use crate::format::FORMAT_VERSION;
use crate::format::edit::{Edit, Reason, StoreInfo};
use crate::format::names::{self, FileName};
use crate::format::table::{COMPARATOR, Origin, TableMeta};
use crate::probe::{failpoint, mutant};
use crate::table::{TableOrigin, TableWriter, WriterOptions};
use crate::types::{Level, SeqNo, StoreId};
use crate::vfs::{self, File, Fill, Lock, Vfs};

/// Bytes that are copied with one read and one write.
const COPY_SIZE: usize = 1 << 20;

/// A checkpoint that was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checkpoint {
    /// Its identity as a store.
    pub store: StoreId,
    /// The last operation in it.
    pub last_seqno: SeqNo,
    /// Its tables.
    pub tables: u64,
    /// Those of them that are hard links and take no space of their own.
    pub linked: u64,
    /// Bytes of all its tables.
    pub table_bytes: u64,
}

/// A checkpoint on its way.
struct Making<'a> {
    core: &'a Core,
    /// Everything there was at the moment, and nothing newer than `seqno` counts.
    view: Arc<SuperVersion>,
    seqno: SeqNo,
    /// The new store's directory.
    files: Arc<Files>,
    made: Checkpoint,
}

impl Core {
    /// Makes a store in `dir` that holds what this one holds now.
    pub(super) fn checkpoint(&self, dir: &Path) -> Result<Checkpoint> {
        let vfs = &*self.files.vfs;
        let _lock = claim(vfs, dir)?;
        failpoint("checkpoint_after_claim");
        let (view, seqno) = self.moment();
        let store = StoreId(self.files.runtime.random_u64());
        let files = Arc::new(Files::new(&self.options, dir, store, self.files.next_number()));
        let made = Checkpoint { store, last_seqno: seqno, ..Checkpoint::default() };
        let made = Making { core: self, view, seqno, files, made }.run();
        if made.is_err() {
            // What cannot be removed stays behind its mark.
            let _ = abandon(vfs, dir);
        }
        made
    }

    /// Everything there is now. While somebody writes, a view may be ahead of the visible sequence
    /// number (an ingest publishes one after the other) or behind it.
    fn moment(&self) -> (Arc<SuperVersion>, SeqNo) {
        let _writing = self.writer.as_ref().map(|side| side.writing.lock());
        let view = self.superversion.load_full();
        let seqno = self.seqno_of(&view);
        (view, seqno)
    }
}

impl Making<'_> {
    fn run(mut self) -> Result<Checkpoint> {
        mark(&*self.files.vfs, &self.files.dir)?;
        failpoint("checkpoint_after_mark");
        let mut tables = self.share_tables()?;
        failpoint("checkpoint_after_links");
        tables.extend(self.write_memtables()?);
        failpoint("checkpoint_after_memtables");
        self.made.tables = tables.len() as u64;
        self.made.table_bytes = tables.iter().map(|(_, table)| table.size).sum();
        self.begin_store(tables)?;
        failpoint("checkpoint_after_store");
        self.unmark();
        failpoint("checkpoint_after_unmark");
        Ok(self.made)
    }

    fn share_tables(&mut self) -> Result<Vec<(Level, TableMeta)>> {
        let view = Arc::clone(&self.view);
        let mut tables = Vec::new();
        for (level, files) in (0u8..).map(Level).zip(&view.version.levels) {
            for table in files {
                self.made.linked += u64::from(self.share(table)?);
                tables.push((level, table.meta.clone()));
            }
        }
        Ok(tables)
    }

    /// Gives a table a name in the new store, and says whether that is a link to the same bytes.
    fn share(&self, table: &TableFile) -> Result<bool> {
        let vfs = &*self.files.vfs;
        let from = self.core.files.table_path(table.meta.number);
        let to = self.files.table_path(table.meta.number);
        match vfs.link(&from, &to) {
            Ok(()) => {
                failpoint("checkpoint_after_link");
                Ok(true)
            }
            // Under a read-only handle the writer may have taken the name away; the file is still
            // open here.
            Err(error) if vfs::cannot_link(&error) || error.is_not_found() => {
                copy(&*table.open_file()?, vfs, &to).map(|()| false)
            }
            Err(error) => Err(error),
        }
    }

    /// Writes what was only in memory, oldest first.
    fn write_memtables(&self) -> Result<Vec<(Level, TableMeta)>> {
        let immutables = self.view.immutables.iter().rev().map(|immutable| &immutable.memtable);
        // Rule 17: a checkpoint has what was only in memory and in the log.
        let live = (!mutant("checkpoint_without_the_memtable")).then_some(&self.view.memtable);
        let memtables = immutables.chain(live);
        let tables = memtables.filter_map(|memtable| self.write_memtable(memtable).transpose());
        tables.map(|table| table.map(|table| (Level(0), table))).collect()
    }

    /// One table of the entries that count; none if there are none.
    fn write_memtable(&self, memtable: &Arc<Memtable>) -> Result<Option<TableMeta>> {
        let mut writer = None;
        let mut entries = memtable.iter();
        entries.first();
        while entries.valid() {
            let (user, trailer) = entries.key();
            if trailer.seqno() <= self.seqno {
                let writer = match &mut writer {
                    Some(writer) => writer,
                    none => none.insert(self.create_table()?),
                };
                writer.add(user, trailer, entries.value())?;
            }
            entries.next();
        }
        writer.map(TableWriter::finish).transpose()
    }

    fn create_table(&self) -> Result<TableWriter> {
        let files = &self.files;
        let number = files.new_number();
        let origin = TableOrigin {
            store: files.store,
            number,
            id: files.new_id(),
            level: Level(0),
            origin: Origin::Flush,
            job: 0,
            inputs: Vec::new(),
            created_ms: files.runtime.now_ms(),
        };
        let compression = self.core.options.compression;
        let options = WriterOptions { compression, ..WriterOptions::default() };
        let file = files.vfs.create(&files.table_path(number))?;
        Ok(TableWriter::new(file, options, origin))
    }

    /// An empty log, a manifest with everything, CURRENT: as a store is begun, but closed at once.
    fn begin_store(&self, tables: Vec<(Level, TableMeta)>) -> Result<()> {
        let files = &self.files;
        let log = files.create_log(Fill::Zeros, 0)?;
        let first = Edit {
            reason: Reason::Create,
            store: Some(StoreInfo {
                id: files.store,
                comparator: COMPARATOR.to_owned(),
                format_version: FORMAT_VERSION,
            }),
            last_seqno: Some(self.seqno),
            logs_added: vec![log.0],
            tables_added: tables,
            ..Edit::default()
        };
        // Its directory syncs make the names of the tables durable before CURRENT.
        failpoint("checkpoint_after_log");
        open::plain(Manifest::create(files, first, self.core.options.manifest_size))?;
        failpoint("checkpoint_after_manifest");
        let mut wal = Wal::fresh(files, &Arc::new(Counters::default()), log);
        wal.mark()?;
        wal.close()?;
        failpoint("checkpoint_after_close");
        wal.sync_written()
    }

    /// The store is there; a mark that stays, or comes back with a crash, means nothing beside CURRENT,
    /// and goes when the store is first opened for writing.
    fn unmark(&self) {
        let _ = self.files.vfs.remove(&self.files.path(names::CHECKPOINT_TEMP));
        let _ = self.files.sync_dir();
    }
}

/// Makes sure of a directory in which nothing is, or nothing but an unfinished store or checkpoint,
/// and keeps others out of it.
fn claim(vfs: &dyn Vfs, dir: &Path) -> Result<Box<dyn Lock>> {
    if vfs.exists(dir)? {
        check_vacant(vfs, dir)?;
    } else {
        open::create_dir(vfs, dir)?;
    }
    let pid = format!("{}\n", std::process::id());
    let lock = vfs.lock(&dir.join(names::LOCK), pid.as_bytes())?;
    // Another may have been quicker.
    check_vacant(vfs, dir)?;
    Ok(lock)
}

fn check_vacant(vfs: &dyn Vfs, dir: &Path) -> Result<()> {
    let taken = |by: &str| {
        let detail = format!("no checkpoint can be made in {}: it holds {by}", dir.display());
        Err(Error::InvalidArgument(detail))
    };
    if image::read_current(vfs, dir)?.is_some() {
        return taken("a store");
    }
    match image::vacancy(vfs, dir)? {
        Vacancy::Free | Vacancy::Unfinished => Ok(()),
        Vacancy::Taken(name) => taken(&name),
    }
}

/// Marks the directory durably, then clears it of what an interrupted attempt left.
fn mark(vfs: &dyn Vfs, dir: &Path) -> Result<()> {
    let mark = dir.join(names::CHECKPOINT_TEMP);
    if !vfs.exists(&mark)? {
        vfs.create(&mark)?;
    }
    vfs.sync_dir(dir)?;
    clear(vfs, dir)
}

fn clear(vfs: &dyn Vfs, dir: &Path) -> Result<()> {
    for name in vfs.list(dir)? {
        match names::parse(&name) {
            FileName::Table(_)
            | FileName::Log(_)
            | FileName::Manifest(_)
            | FileName::CurrentTemp => vfs.remove(&dir.join(name))?,
            FileName::Current | FileName::CheckpointTemp | FileName::Lock | FileName::Other => {}
        }
    }
    Ok(())
}

/// Takes back what a failed attempt made. CURRENT goes first and durably, so that no crash finds it
/// without the files it leads to; the mark goes last.
fn abandon(vfs: &dyn Vfs, dir: &Path) -> Result<()> {
    let current = dir.join(names::CURRENT);
    if vfs.exists(&current)? {
        vfs.remove(&current)?;
        vfs.sync_dir(dir)?;
    }
    clear(vfs, dir)?;
    vfs.sync_dir(dir)?;
    vfs.remove(&dir.join(names::CHECKPOINT_TEMP))
}

/// Copies a file; the copy's content is durable then, its name is not.
fn copy(source: &dyn File, vfs: &dyn Vfs, to: &Path) -> Result<()> {
    let target = vfs.create(to)?;
    let mut buffer = vec![0; COPY_SIZE];
    let mut offset = 0;
    loop {
        let read = source.read_at(&mut buffer, offset)?;
        target.write_at(&buffer[..read], offset)?;
        offset += read as u64;
        if read < buffer.len() {
            return target.sync();
        }
    }
}
