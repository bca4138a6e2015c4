//! Tables that were built outside of the store.

use std::path::Path;

use beachdb::table::Table;
use beachdb::vfs::Vfs;
use beachdb::vfs::sim::SimVfs;
use beachdb::{Db, Error, Result, SeqNo, TableBuilder};

use super::{assert_no_orphans, open, texts};
use crate::history::{content_of, tiny};
use beachdb::runtime::inline::InlineRuntime;

fn builder(vfs: &SimVfs, path: &str) -> TableBuilder {
    vfs.create_dir_all(Path::new("/out")).expect("a directory");
    tiny(vfs.clone(), &InlineRuntime::new(6)).build_table(path).expect("a builder")
}

fn build(vfs: &SimVfs, path: &str, keys: &[&str]) {
    let mut table = builder(vfs, path);
    for key in keys {
        table.put(key, path).expect("put");
    }
    table.finish().expect("a table");
}

/// Three tables, given in any order, one of them with a tombstone: all are there at once, under one
/// number, and the files can go. A table by itself is one that tools can read.
#[test]
fn tables_built_elsewhere_are_taken_in_together() -> Result<()> {
    let vfs = SimVfs::new();
    let db = open(vfs.clone());
    db.put("b", "old")?;
    db.put("gone", "old")?;
    build(&vfs, "/out/2", &["m", "n"]);
    build(&vfs, "/out/1", &["a", "b"]);
    let mut table = builder(&vfs, "/out/0");
    table.delete("gone")?;
    let meta = table.finish()?;
    assert_eq!((meta.entries, meta.tombstones, meta.max_seqno), (1, 1, SeqNo::ZERO));
    let (table, properties) = Table::open_file(&vfs, Path::new("/out/1"))?;
    assert_eq!(table.verify()?, properties);
    assert_eq!(db.ingest(["/out/2", "/out/0", "/out/1"])?, SeqNo(3));
    for name in ["0", "1", "2"] {
        vfs.remove(&Path::new("/out").join(name))?;
    }
    assert_eq!(texts(db.iter()), ["a=/out/1", "b=/out/1", "m=/out/2", "n=/out/2"]);
    assert_no_orphans(&vfs, &db, "taken in");
    let expected = content_of(&db);
    drop(db);
    assert_eq!(content_of(&open(vfs)), expected);
    Ok(())
}

/// Two that overlap, one that is no table, one that is not there, a table of a store with two versions
/// of a key: refused by name, and nothing of the others is taken in.
#[test]
fn what_cannot_be_taken_in_is_refused_with_all_the_rest() -> Result<()> {
    let vfs = SimVfs::new();
    let db = open(vfs.clone());
    db.put("a", "1")?;
    let snapshot = db.snapshot();
    db.put("a", "2")?;
    db.flush()?;
    let (before, last) = (content_of(&db), db.stats().last_seqno);
    build(&vfs, "/out/1", &["a", "c"]);
    build(&vfs, "/out/2", &["c", "d"]);
    vfs.install("/out/picture", &[0xff; 300])?;
    let versions = format!("{}/{}.sst", super::DIR, db.tables()[0].1.number);
    let refused = |files: [&str; 2], why: &str| {
        let error = db.ingest(files).expect_err("refused");
        assert!(error.to_string().contains(why), "{error}");
        assert_eq!((content_of(&db), db.stats().last_seqno), (before.clone(), last));
        assert_no_orphans(&vfs, &db, why);
        error
    };
    assert!(matches!(refused(["/out/2", "/out/1"], "/out/2 overlap"), Error::InvalidArgument(_)));
    assert!(matches!(refused(["/out/1", "/out/picture"], "picture"), Error::NotOurs { .. }));
    assert!(matches!(refused(["/out/1", "/out/none"], "/out/none"), Error::Io { .. }));
    assert!(matches!(refused(["/out/2", &versions], "several"), Error::InvalidArgument(_)));
    drop(snapshot);
    Ok(())
}

/// Every bit of a table is flipped in turn: it is refused as damaged, or none of ours, and nothing is
/// taken in; never another value. (A bit that does not matter would be taken in as it was.)
#[test]
fn no_flipped_bit_of_a_foreign_table_is_taken_in() -> Result<()> {
    let vfs = SimVfs::new();
    build(&vfs, "/out/1", &["a", "b", "c"]);
    let sound = vfs.read_file("/out/1")?;
    let db = open(vfs.clone());
    for bit in 0..sound.len() * 8 {
        let mut bytes = sound.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        vfs.install("/out/1", &bytes)?;
        match db.ingest(["/out/1"]) {
            Err(Error::Corruption(_) | Error::NotOurs { .. } | Error::Unsupported { .. }) => {}
            other => panic!("bit {bit}: {other:?}"),
        }
    }
    assert_eq!(db.iter().count(), 0);
    assert_no_orphans(&vfs, &db, "refused");
    Ok(())
}

/// A builder refuses what no writer takes, goes on behind it, needs an entry, and removes its file when
/// it is dropped; a finished one is durable with its name; none replaces a file that exists.
#[test]
fn a_builder_makes_a_whole_table_or_none() -> Result<()> {
    let vfs = SimVfs::new();
    let mut table = builder(&vfs, "/out/1");
    table.put("b", "1")?;
    let error = table.put("a", "1").expect_err("refused").to_string();
    assert_eq!(error, "invalid argument: key \"a\" does not follow \"b\": keys must ascend");
    table.put("", "1").expect_err("refused");
    table.delete("b").expect_err("refused");
    table.put("c", "1")?;
    drop(table);
    let is_there = |vfs: &SimVfs| vfs.exists(Path::new("/out/1")).expect("exists");
    assert!(!is_there(&vfs));
    builder(&vfs, "/out/1").finish().expect_err("no entries");
    assert!(!is_there(&vfs));
    vfs.sync_dir(Path::new("/"))?;
    build(&vfs, "/out/1", &["a"]);
    assert!(is_there(&vfs.crash(&beachdb::vfs::sim::CrashPlan::LOSE_ALL)));
    let options = tiny(vfs.clone(), &InlineRuntime::new(6));
    options.build_table("/out/1").expect_err("it exists");
    assert!(is_there(&vfs));
    Ok(())
}

/// On a real directory, with default options.
#[test]
fn a_table_goes_from_a_real_file_into_a_real_store() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("tides.sst");
    let mut table = TableBuilder::create(&file)?;
    for n in 0..10_000 {
        table.put(format!("{n:06}"), "wave")?;
    }
    assert!(table.written_bytes() > 0);
    assert_eq!(table.finish()?.entries, 10_000);
    let db = Db::open(dir.path().join("db"))?;
    db.ingest([&file])?;
    assert_eq!(db.iter().count(), 10_000);
    db.close()
}
