//! Stores whose files are all intact and do not fit together, as no crash leaves them.

use std::path::Path;

use beachdb::format::edit::{Edit, Reason};
use beachdb::format::frame::{self, Kind};
use beachdb::format::header::FileKind;
use beachdb::inspect::view::View;
use beachdb::inspect::{Code, Finding, State};
use beachdb::record;
use beachdb::types::SeqNo;
use beachdb::vfs::sim::SimVfs;

use super::{busy_store, damage, files, is_log, options};
use crate::history::DIR;

/// The store with another manifest under the old one's name, as long as the logs promise: one that
/// says what `change` makes of the state.
fn forge(vfs: &SimVfs, change: impl FnOnce(&mut State)) {
    let view = View::take(vfs, Path::new(DIR)).expect("a view");
    let (mut state, manifest) = (view.state.expect("a state"), view.manifest.expect("a manifest"));
    let header = record::read_header(&*manifest.file, FileKind::Manifest).expect("a header");
    change(&mut state);
    let mut bytes = header.encode().to_vec();
    let mut edit = Edit { time_ms: 1, reason: Reason::Rollover, ..state.to_edit() };
    let size = vfs.read_file(&manifest.path).expect("the manifest").len();
    while bytes.len() < size || edit.store.is_some() {
        let offset = bytes.len() as u64;
        frame::encode(&mut bytes, header.id, offset, Kind::Edit, 0, &[&edit.encode()]);
        edit = Edit { time_ms: 1, reason: Reason::Rotate, ..Edit::default() };
    }
    vfs.install(&manifest.path, &bytes).expect("installed");
}

fn of(found: &[Finding], code: Code) -> Vec<&Finding> {
    found.iter().filter(|finding| finding.code == code).collect()
}

/// A manifest that says the same in one edit is as sound as the one it replaces.
#[test]
fn a_forged_manifest_with_nothing_changed_is_sound() {
    let vfs = busy_store(11, |_| ());
    forge(&vfs, |_| ());
    assert_eq!(damage(&vfs), []);
}

/// A slot and the bottom change places, so that older versions lie above newer ones: told for tables
/// of the deeper level, with the key.
#[test]
fn an_older_version_above_a_newer_one_is_found() {
    let vfs = busy_store(12, |_| ());
    forge(&vfs, |state| state.levels.swap(5, 6));
    let found = damage(&vfs);
    let inverted = of(&found, Code::LevelsInverted);
    assert!(inverted.len() > 3 && inverted.len() == found.len(), "{found:?}");
    let placed = |finding: &&Finding| finding.level.is_some() && finding.keys.is_some();
    assert!(inverted.iter().filter(|finding| placed(finding)).count() >= 3, "{inverted:?}");
}

/// A table of the slot is put into the bottom under bounds that are not its own: it is told as not
/// being as described, and as overlapping what is really there.
#[test]
fn tables_that_overlap_are_found_by_their_own_bounds() {
    let vfs = busy_store(13, |_| ());
    let mut moved = None;
    forge(&vfs, |state| {
        let mut table = state.levels[5].remove(0);
        (table.smallest.user, table.largest.user) = (b"zz0".to_vec(), b"zz1".to_vec());
        moved = Some(table.number);
        state.levels[6].push(table);
    });
    let found = damage(&vfs);
    let number = moved.expect("a table").to_string();
    let of_it = |finding: &&&Finding| finding.path.to_string_lossy().contains(&number);
    assert!(of(&found, Code::TableDisagrees).iter().filter(of_it).count() >= 2, "{found:?}");
    assert!(!of(&found, Code::TablesOverlap).is_empty(), "{found:?}");
}

/// The manifest's last sequence number is too low: tables are beyond it, and operations seem to be
/// missing before the log.
#[test]
fn sequence_numbers_beyond_the_manifest_are_found() {
    let vfs = busy_store(14, |_| ());
    forge(&vfs, |state| state.last_seqno = SeqNo(state.last_seqno.0 - 3));
    let found = damage(&vfs);
    assert_eq!(of(&found, Code::SeqnoBeyond).len(), 1, "{found:?}");
    let gap = of(&found, Code::LogsGap);
    assert!(gap.len() == 1 && is_log(&gap[0].path) && gap[0].offset.is_some(), "{found:?}");
}

/// Of two logs the older loses the frame that ends it, in the way of a crash; but the newer one says
/// that everything before it was synced.
#[test]
fn a_log_that_breaks_off_before_a_synced_one_is_found() {
    let vfs = SimVfs::new();
    let (options, _runtime) = options(&vfs, 15);
    let db = options.open(DIR).expect("a store");
    let mut n = 0;
    while db.stats().immutable_memtables == 0 {
        db.put(format!("key{n:03}"), "x".repeat(200)).expect("put");
        n += 1;
    }
    let image = vfs.kill();
    assert_eq!(damage(&image), []);
    let log = files(&image).into_keys().find(|path| is_log(path)).expect("a log");
    image
        .corrupt(&log, |bytes| {
            let end = bytes.iter().rposition(|byte| *byte != 0).expect("data") + 1;
            // An end frame: 24 bytes of header, 8 of payload, 8 of terminator.
            bytes[end - 40..].fill(0);
        })
        .expect("the log");
    let found = damage(&image);
    assert!(!found.is_empty() && found.iter().all(|found| found.path == log), "{found:?}");
    assert_eq!(of(&found, Code::LogsGap).len(), 1, "{found:?}");
}
