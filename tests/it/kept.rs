//! Stores that were written by each version of the format, kept for ever: every later version must
//! read them.
//!
//! `fixtures/v1/NAME` is a store, `NAME.ndjson` what `beach dump` prints of it. They are never
//! refreshed: `MAKE_FIXTURES=1 cargo test kept` makes only those that are not there.
#![allow(clippy::disallowed_methods, reason = "these tests copy stores")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use beachdb::runtime::inline::InlineRuntime;
use beachdb::vfs::sim::SimVfs;
use beachdb::{Db, Durability, Options, Strategy, WriteBatch};

use crate::history::DIR;

const NAMES: [&str; 4] = ["fresh", "levels", "crashed", "checkpoint"];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/v1")
}

/// A store like those of format 1: on the simulated disk, so that it is the same in every making.
fn make(name: &str) -> SimVfs {
    let (vfs, runtime) = (SimVfs::new(), Arc::new(InlineRuntime::new(1)));
    let options = Options::new()
        .strategy(Strategy::Leveled)
        .memtable_size(8 << 10)
        .table_size(4 << 10)
        .log_size(4 << 10)
        .manifest_size(2 << 10)
        .vfs(Arc::new(vfs.clone()))
        .runtime(runtime);
    let db = options.open(DIR).expect("open");
    db.put("tide", "low").expect("put");
    db.put(b"\xff\x00\n\\", b"bin\tary\0").expect("put");
    if name == "fresh" {
        db.close().expect("close");
        return vfs;
    }
    if name == "levels" {
        // Its block is wide: ends of four bytes.
        db.put("large", vec![b's'; 70_000]).expect("put");
    }
    for round in 0..5u32 {
        for n in 0..40u32 {
            let mut batch = WriteBatch::new();
            batch.put(
                format!("key{:03}", (n * 7 + round) % 90),
                format!("{round} of {n}").repeat(9),
            );
            batch.delete(format!("key{:03}", (n * 11 + round) % 90));
            db.write(batch, Durability::Buffered).expect("write");
        }
        db.flush().expect("flush");
        db.wait_for_compactions().expect("wait");
    }
    let mut writer = db.ingest_writer().expect("a writer");
    for n in 0..20 {
        writer.put(format!("shell{n:02}"), "taken in").expect("put");
    }
    writer.commit().expect("finish");
    db.flush().expect("flush");
    db.delete("tide").expect("delete");
    db.put("gull", "").expect("put");
    match name {
        "checkpoint" => {
            db.checkpoint("/checkpoint").expect("checkpoint");
            db.close().expect("close");
        }
        "crashed" => {
            let mut lost = WriteBatch::new();
            lost.put("unsynced", "perhaps");
            db.write(lost, Durability::Buffered).expect("write");
            std::mem::forget(db);
        }
        _ => db.close().expect("close"),
    }
    vfs
}

/// Writes a fixture if it is asked for and not there yet.
fn make_if_absent(name: &str) {
    let dir = fixtures().join(name);
    if std::env::var_os("MAKE_FIXTURES").is_none() || dir.exists() {
        return;
    }
    fs::create_dir_all(&dir).expect("the directory");
    let home = Path::new(if name == "checkpoint" { "/checkpoint" } else { DIR });
    for (path, mut bytes) in make(name).dump() {
        let (Some(parent), Some(file)) = (path.parent(), path.file_name()) else { continue };
        if parent == home && file != "LOCK" {
            if name == "crashed" && path.extension().is_some_and(|end| end == "wal") {
                tear(&mut bytes);
            }
            fs::write(dir.join(file), bytes).expect("a file");
        }
    }
    fs::write(fixtures().join(format!("{name}.ndjson")), dump(&dir)).expect("the dump");
}

/// Takes the last third of the last record away, as a power cut may.
fn tear(log: &mut [u8]) {
    let end = log.iter().rposition(|byte| *byte != 0).expect("content");
    log[end - 12..].fill(0);
}

fn dump(dir: &Path) -> Vec<u8> {
    let mut command = assert_cmd::Command::cargo_bin("beach").expect("the tool");
    let output = command.arg("--db").arg(dir).args(["-q", "dump"]).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Reads each kept store as it lies there, changes nothing, and then goes on with a copy as with any
/// store: a write, a close, a merge of everything.
#[test]
fn stores_of_format_1_are_read_and_continued() {
    for name in NAMES {
        make_if_absent(name);
        let kept = fixtures().join(name);
        let expected = fs::read(fixtures().join(format!("{name}.ndjson"))).expect("its dump");
        assert!(dump(&kept) == expected, "{name} reads otherwise than it did");

        let home = tempfile::tempdir().expect("a directory");
        let copy = home.path().join(name);
        fs::create_dir(&copy).expect("the copy");
        for entry in fs::read_dir(&kept).expect("the store") {
            let path = entry.expect("an entry").path();
            fs::copy(&path, copy.join(path.file_name().expect("a name"))).expect("a file");
        }
        let db = Db::open(&copy).expect("it opens for writing");
        db.put("later", "than format 1").expect("put");
        db.compact::<&str, _>(..).expect("compact");
        db.close().expect("close");
        let reopened = Db::open_read_only(&copy).expect("it opens again");
        let pairs = reopened.range::<&str, _>(..).collect::<Result<Vec<_>, _>>();
        let pairs = pairs.expect("all pairs").len();
        let dumped = String::from_utf8_lossy(&expected).matches("\n{\"t\":\"entry\"").count();
        assert_eq!(pairs, dumped + 1, "{name}: what was there, and one more pair");
    }
}

/// The kept stores have what a format must be able to say: a fixture of nothing would prove nothing.
#[test]
fn the_kept_stores_have_everything_in_them() {
    let db = Db::open_read_only(fixtures().join("levels")).expect("open");
    let stats = db.stats();
    assert!(stats.levels.iter().filter(|level| level.tables > 0).count() >= 2, "levels");
    let names: Vec<String> = fs::read_dir(fixtures().join("levels"))
        .expect("the store")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
        .collect();
    assert!(names.iter().filter(|name| name.starts_with("MANIFEST")).count() >= 2, "{names:?}");
    assert!(names.iter().any(|name| name.ends_with(".wal")), "{names:?}");
    let crashed = Db::open_read_only(fixtures().join("crashed")).expect("open");
    assert_eq!(crashed.recovery().dropped.len(), 1, "a torn tail");
}
