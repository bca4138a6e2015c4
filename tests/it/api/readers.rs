//! One writer, its lock, and readers beside it.
#![allow(clippy::disallowed_methods, reason = "these tests look at a store's files from outside")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::SystemTime;

use beachdb::{Db, Durability, Error, Result, WriteBatch};

use super::{sand, texts};

/// Where the child of a test finds its store.
const CHILD_STORE: &str = "BEACH_TEST_CHILD_STORE";

/// Names, sizes and times of change.
fn face(dir: &Path) -> BTreeMap<String, (u64, SystemTime)> {
    let look = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.expect("an entry");
        let meta = entry.metadata().expect("metadata");
        let changed = meta.modified().expect("a time");
        (entry.file_name().into_string().expect("a name"), (meta.len(), changed))
    };
    let mut face: BTreeMap<_, _> = fs::read_dir(dir).expect("a directory").map(look).collect();
    let changed = fs::metadata(dir).expect("metadata").modified().expect("a time");
    face.insert(".".to_owned(), (0, changed));
    face
}

/// A reader sees the store as it was when it opened it, through everything the writer does then;
/// it changes no name, size or time; and it writes nothing when asked to.
#[test]
fn a_reader_is_a_snapshot_and_disturbs_nothing() -> Result<()> {
    let (_dir, sand) = sand();
    let db = Db::open(&sand)?;
    db.put("a", "1")?;
    db.flush()?;
    db.put("b", "2")?;
    let mut batch = WriteBatch::new();
    batch.put("c", "3");
    db.write(batch, Durability::Buffered)?;

    let before = face(&sand);
    let reader = Db::open_read_only(&sand)?;
    assert_eq!(texts(reader.iter()), ["a=1", "b=2", "c=3"]);
    assert!(!reader.recovery().clean, "the writer is still at it");
    for refused in [
        reader.put("x", "1").map(drop),
        reader.delete("a").map(drop),
        reader.write(WriteBatch::new(), Durability::Buffered).map(drop),
        reader.sync(),
        reader.flush(),
    ] {
        assert!(matches!(refused, Err(Error::ReadOnly)), "{refused:?}");
    }
    let second = Db::open_read_only(&sand)?;
    assert_eq!(second.get("b")?.as_deref(), Some(&b"2"[..]));
    second.close()?;
    assert_eq!(face(&sand), before);

    db.put("a", "later")?;
    db.delete("b")?;
    db.flush()?;
    db.put("d", "4")?;
    db.close()?;
    assert_eq!(texts(reader.iter().rev()), ["c=3", "b=2", "a=1"]);
    assert_eq!(reader.get("a")?.as_deref(), Some(&b"1"[..]));
    drop(reader);
    let before = face(&sand);
    let reader = Db::open_read_only(&sand)?;
    assert!(reader.recovery().clean);
    assert_eq!(texts(reader.iter()), ["a=later", "c=3", "d=4"]);
    assert_eq!(face(&sand), before);
    Ok(())
}

/// A table that goes away under a reader stays readable, since its file was opened up front. A writer,
/// from whom nobody may take a table, calls it damage, and so does whoever opens the store then.
#[test]
fn a_table_that_went_away_stays_readable_for_a_reader() -> Result<()> {
    let (_dir, sand) = sand();
    let db = Db::open(&sand)?;
    db.put("a", "1")?;
    db.flush()?;
    let table = sand.join(format!("{}.sst", db.tables()[0].1.number));
    db.close()?;
    let (reader, writer) = (Db::open_read_only(&sand)?, Db::open(&sand)?);
    fs::remove_file(&table).expect("removed");
    assert_eq!(reader.get("a")?.as_deref(), Some(&b"1"[..]));
    assert_eq!(texts(reader.iter()), ["a=1"]);
    for found in [writer.get("a").err(), Db::open_read_only(&sand).err(), reader.refresh().err()] {
        match found {
            Some(Error::Corruption(found)) => assert_eq!(found.path, table),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(texts(reader.iter()), ["a=1"], "a refresh that fails moves nothing");
    Ok(())
}

/// A reader shows the moment of its opening, through everything the writer does, until it is moved on;
/// its snapshots and iterators stay where they are even then.
#[test]
fn a_reader_moves_on_when_it_is_told_to() -> Result<()> {
    let (_dir, sand) = sand();
    let db = Db::open(&sand)?;
    db.put("a", "1")?;
    db.flush()?;
    db.put("b", "1")?;
    let reader = Db::open_read_only(&sand)?;
    let (snapshot, iter) = (reader.snapshot(), reader.iter());
    db.put("a", "2")?;
    db.delete("b")?;
    db.put("c", "2")?;
    db.compact::<&[u8], _>(..)?;
    db.put("d", "2")?;
    assert_eq!(texts(reader.iter()), ["a=1", "b=1"]);
    assert_eq!(reader.stats().last_seqno.0, 2);
    reader.refresh()?;
    assert_eq!(texts(reader.iter()), ["a=2", "c=2", "d=2"]);
    assert_eq!(reader.get("b")?, None);
    assert_eq!(reader.stats().last_seqno.0, 6);
    assert_eq!(texts(snapshot.iter()), ["a=1", "b=1"]);
    assert_eq!(snapshot.get("b")?.as_deref(), Some(&b"1"[..]));
    assert_eq!(texts(iter), ["a=1", "b=1"]);
    db.refresh()
}

/// A second writing handle is refused with this process's id, also through another path; when the
/// first is gone it is welcome. What an old LOCK says holds nobody up.
#[test]
fn a_second_writer_is_refused_with_the_pid_of_the_first() -> Result<()> {
    let (_dir, sand) = sand();
    let db = Db::open(&sand)?;
    let before = face(&sand);
    for path in [sand.clone(), sand.join("../sand/.")] {
        match Db::open(&path) {
            Err(Error::Locked { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(face(&sand), before, "it wrote without the lock");
    db.put("a", "1")?;
    db.close()?;
    fs::write(sand.join("LOCK"), "4000000000\n").expect("written");
    let db = Db::open(&sand)?;
    assert_eq!(texts(db.iter()), ["a=1"]);
    drop(db);
    let text = fs::read_to_string(sand.join("LOCK")).expect("a lock file");
    assert_eq!(text, format!("{}\n", std::process::id()));
    Ok(())
}

/// As many as make the log grow.
const CHILD_WRITES: usize = 5000;

/// Not a test by itself: what the child of the next test runs. It opens the store, writes in both
/// modes, says so and waits to be killed.
#[test]
fn child_that_waits_to_be_killed() -> Result<()> {
    let Some(sand) = std::env::var_os(CHILD_STORE) else { return Ok(()) };
    let db = Db::open(&sand)?;
    for n in 0..CHILD_WRITES {
        let mut batch = WriteBatch::new();
        batch.put(format!("key{n:04}"), "v");
        // First few writes between two syncs, then a long stream without one.
        let durability =
            if n < 100 && n % 10 == 0 { Durability::Sync } else { Durability::Buffered };
        db.write(batch, durability)?;
    }
    println!("\nwritten");
    loop {
        std::thread::park();
    }
}

fn start_child(sand: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "api::readers::child_that_waits_to_be_killed", "--nocapture"])
        .env(CHILD_STORE, sand)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a child");
    let output = BufReader::new(child.stdout.take().expect("its output"));
    let written = output.lines().any(|line| line.expect("a line") == "written");
    assert!(written, "the child ended early");
    child
}

/// Another process writes and is killed with SIGKILL: while it lives it is named as the holder of
/// the lock, and when it is dead the lock is gone and every acknowledged write is there.
#[test]
fn a_killed_process_loses_its_lock_and_no_acknowledged_write() -> Result<()> {
    let (_dir, sand) = sand();
    let mut child = start_child(&sand);
    let second = Db::open(&sand);
    let reader = Db::open_read_only(&sand).map(|db| texts(db.iter()).len());
    child.kill().expect("killed");
    child.wait().expect("waited for");
    match second {
        Err(Error::Locked { pid, .. }) => assert_eq!(pid, Some(child.id())),
        other => panic!("{other:?}"),
    }
    assert_eq!(reader?, CHILD_WRITES);
    let db = Db::open(&sand)?;
    assert!(!db.recovery().clean);
    assert_eq!(db.recovery().last_seqno.0, CHILD_WRITES as u64);
    assert_eq!(texts(db.iter()).len(), CHILD_WRITES);
    assert_eq!(db.put("next", "v")?.0, CHILD_WRITES as u64 + 1);
    Ok(())
}
