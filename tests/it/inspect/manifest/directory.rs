//! The manifest against the directory.

use std::fs;
use std::path::Path;

use beachdb::inspect::directory::check_directory;
use beachdb::inspect::view::View;
use beachdb::inspect::{Code, Finding};
use beachdb::vfs::os::OsVfs;
use beachdb::{Db, Options};

use super::super::stores::{Beach, MANIFEST};
use super::{on_disk, sea, sea_of};

fn found(dir: &Path) -> Vec<Finding> {
    let view = View::take(&OsVfs, dir).expect("a view");
    let mut found = check_directory(&OsVfs, &view).expect("a check");
    found.extend(view.findings);
    found
}

fn codes(dir: &Path) -> Vec<(Code, String)> {
    let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
    let mut codes: Vec<_> = found(dir).iter().map(|it| (it.code, name(&it.path))).collect();
    codes.sort();
    codes
}

/// Closed stores with and without history, a checkpoint, an ingest: nothing is found.
#[test]
fn a_healthy_directory_has_no_findings() {
    let beach = Beach::busy();
    assert_eq!(codes(&beach.store()), []);
    let copy = beach.home().join("copy");
    Db::open(beach.store()).expect("open").checkpoint(&copy).expect("a checkpoint");
    assert_eq!(codes(&copy), []);
    let beach = on_disk(&sea(30, 4 << 10));
    assert!(beach.names("MANIFEST").len() > 2);
    assert_eq!(codes(&beach.store()), []);
    let ran = beach.run(MANIFEST, &["check", "sand", "--json"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
    ran.is_valid("manifest-check");
    assert_eq!(ran.of_kind("finding").len(), 0);
}

/// Each thing that a crash, a person or another store may leave beside a store, alone.
#[test]
fn what_the_manifest_does_not_name_is_told() {
    let beach = Beach::busy();
    let other = Beach::log_of(30);
    let table = &beach.names(".sst")[0];
    let log = &other.names(".wal")[0];
    for (code, name, bytes) in [
        (Code::Leftover, "CURRENT.tmp", b"MANIFEST".to_vec()),
        (Code::Leftover, "CHECKPOINT.tmp", Vec::new()),
        (Code::UnknownFile, "notes.txt", b"hello".to_vec()),
        (Code::UnknownFile, "7.sst", b"hello".to_vec()),
        (Code::Orphan, "000900.sst", fs::read(beach.path(table)).expect("a table")),
        (Code::Orphan, "000901.sst", b"half a tab".to_vec()),
        (Code::Orphan, "000902.wal", Vec::new()),
        (Code::Orphan, "MANIFEST-000903", Vec::new()),
        (Code::FileOfAnotherStore, "000904.wal", fs::read(other.path(log)).expect("a log")),
    ] {
        fs::write(beach.path(name), bytes).expect("a file");
        assert_eq!(codes(&beach.store()), [(code, name.to_owned())]);
        let ran = beach.run(MANIFEST, &["check", "sand"]);
        let is_damage = code == Code::FileOfAnotherStore;
        assert_eq!(ran.code, if is_damage { 3 } else { 0 }, "{name}: {}", ran.out);
        assert!(ran.out.contains(code.id()) && ran.out.contains(name), "{}", ran.out);
        fs::remove_file(beach.path(name)).expect("remove");
    }
}

/// What the engine removes when it opens the store is just what was called an orphan or a leftover;
/// the rest it leaves.
#[test]
fn orphans_are_what_the_next_writer_removes() {
    let beach = Beach::busy();
    for name in ["000900.sst", "CURRENT.tmp", "CHECKPOINT.tmp", "MANIFEST-000903", "notes.txt"] {
        fs::write(beach.path(name), "").expect("a file");
    }
    let swept = |code: &Code| matches!(code, Code::Orphan | Code::Leftover);
    let (swept, stays): (Vec<_>, Vec<_>) =
        codes(&beach.store()).into_iter().partition(|(code, _)| swept(code));
    assert_eq!((swept.len(), stays.len()), (4, 1));
    Db::open(beach.store()).expect("open").close().expect("close");
    assert!(swept.iter().all(|(_, name)| !beach.path(name).exists()));
    assert!(stays.iter().all(|(_, name)| beach.path(name).exists()));
}

/// A named file that is missing, cut, grown, or another one: the finding names it.
#[test]
fn files_that_are_not_as_the_manifest_says_are_named() {
    let other = on_disk(&sea_of(43, 12, 1 << 20));
    for (code, change) in [
        (Code::TableMissing, 0),
        (Code::TableCut, 1),
        (Code::TableCut, 2),
        (Code::TableForeign, 3),
        (Code::LogMissing, 4),
        (Code::LogStranger, 5),
        (Code::LogCut, 6),
    ] {
        let beach = on_disk(&sea(12, 1 << 20));
        let name = match change {
            0..=3 => beach.names(".sst")[0].clone(),
            _ => beach.names(".wal").last().expect("a log").clone(),
        };
        let path = beach.path(&name);
        match change {
            0 | 4 => fs::remove_file(path).expect("remove"),
            1 => beach.damage(&name, |bytes| bytes.truncate(bytes.len() - 1)),
            2 => beach.damage(&name, |bytes| bytes.push(0)),
            3 => {
                // Another table of the same size: only its identity differs.
                let bytes = fs::read(&path).expect("a table");
                let same = fs::read(other.path(&name)).expect("its twin");
                assert_eq!(bytes.len(), same.len());
                fs::write(&path, same).expect("a table");
            }
            5 => drop(fs::copy(other.path(&name), &path).expect("a copy")),
            _ => beach.damage(&name, |bytes| bytes.truncate(bytes.len() - 1)),
        }
        assert!(codes(&beach.store()).contains(&(code, name.clone())), "{change}: {name}");
        assert_eq!(beach.run(MANIFEST, &["check", "sand"]).code, 3, "{change}");
    }
}

/// A writer flushes and merges while the directory is checked over and over: no damage is seen.
#[test]
fn a_writer_at_work_is_no_damage() {
    let beach = Beach::new();
    let options = Options::new().memtable_size(4 << 10).table_size(4 << 10).manifest_size(4 << 10);
    let db = options.open(beach.store()).expect("open");
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (db, done, store) = (&db, &done, beach.store());
        scope.spawn(move || {
            for n in 0..30_000u32 {
                db.put(format!("key{:05}", n * 7919 % 10_007), "sand".repeat(10)).expect("put");
                if done.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
            }
        });
        for _ in 0..150 {
            let damage: Vec<_> =
                found(&store).into_iter().filter(|found| found.is_damage()).collect();
            assert_eq!(damage, []);
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}
