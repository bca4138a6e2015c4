//! Where a store may be made, what makes a directory no store, and what opening leaves alone.
#![allow(clippy::disallowed_methods, reason = "these tests look at a store's files from outside")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use beachdb::vfs::fault::{Fault, FaultError, FaultVfs, OpKind, Times};
use beachdb::vfs::os::OsVfs;
use beachdb::{Db, Durability, Error, Options, Result, WriteBatch};

use super::{sand, texts};

/// Every name in a directory with its content.
pub(super) fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(dir).expect("a directory");
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("a name");
        (name, fs::read(entry.path()).unwrap_or_default())
    };
    entries.map(read).collect()
}

fn remove_where(dir: &Path, matches: impl Fn(&str) -> bool) -> usize {
    let names: Vec<_> = files(dir).into_keys().filter(|name| matches(name)).collect();
    names.iter().for_each(|name| fs::remove_file(dir.join(name)).expect("removed"));
    names.len()
}

/// Missing parents are made with the store, unless nothing may be created.
#[test]
fn a_store_is_made_with_its_parents() -> Result<()> {
    let (_dir, sand) = sand();
    let deep = sand.join("far/below");
    let refused = Options::new().create(false).open(&deep);
    assert!(matches!(&refused, Err(Error::NoStore { path, .. }) if *path == deep), "{refused:?}");
    assert!(!sand.exists());
    let db = Db::open(&deep)?;
    assert!(db.recovery().created && db.recovery().clean);
    db.put("a", "1")?;
    drop(db);
    assert_eq!(texts(Options::new().create(false).open(&deep)?.iter()), ["a=1"]);
    Ok(())
}

/// Without leave to create, an empty directory stays empty.
#[test]
fn an_empty_directory_is_no_store() -> Result<()> {
    let (_dir, sand) = sand();
    fs::create_dir_all(&sand).expect("a directory");
    for refused in [Options::new().create(false).open(&sand), Db::open_read_only(&sand)] {
        assert!(matches!(refused, Err(Error::NoStore { .. })), "{refused:?}");
        assert!(files(&sand).is_empty());
    }
    assert!(Db::open(&sand)?.recovery().created);
    let nowhere = Db::open_read_only(sand.join("nowhere"));
    assert!(matches!(nowhere, Err(Error::NoStore { .. })), "{nowhere:?}");
    assert!(!sand.join("nowhere").exists());
    Ok(())
}

/// A path that is a file is refused and stays what it was.
#[test]
fn a_file_is_no_store() {
    let (_dir, sand) = sand();
    fs::write(&sand, "a file").expect("written");
    for refused in [Db::open(&sand), Db::open_read_only(&sand)] {
        let error = refused.expect_err("not a directory").to_string();
        assert!(error.contains("sand"), "{error}");
    }
    assert_eq!(fs::read(&sand).expect("a file"), b"a file");
}

/// In a directory of other people's files nothing is created, not even the lock.
#[test]
fn a_directory_of_other_files_is_left_alone() {
    for foreign in ["notes.txt", "7.sst", "000001.ldb", "MANIFEST-1"] {
        let (_dir, sand) = sand();
        fs::create_dir_all(&sand).expect("a directory");
        fs::write(sand.join(foreign), "mine").expect("written");
        for refused in [Db::open(&sand), Db::open_read_only(&sand)] {
            assert!(matches!(refused, Err(Error::NoStore { .. })), "{foreign}: {refused:?}");
            assert_eq!(files(&sand).into_keys().collect::<Vec<_>>(), [foreign]);
        }
    }
}

/// Beside a table, and beside a log with a frame, the missing CURRENT is damage; opening, with or
/// without leave to write, changes nothing.
#[test]
fn a_missing_current_is_damage_beside_a_table_or_a_used_log() -> Result<()> {
    for beside in [".sst", ".wal"] {
        let (_dir, sand) = sand();
        let db = Db::open(&sand)?;
        db.put("a", "1")?;
        db.flush()?;
        db.put("b", "2")?;
        db.close()?;
        assert_eq!(remove_where(&sand, |name| name == "CURRENT" || name.starts_with("MANI")), 2);
        assert_eq!(remove_where(&sand, |name| name.contains('.') && !name.ends_with(beside)), 1);
        let before = files(&sand);
        for refused in [Db::open(&sand), Db::open_read_only(&sand)] {
            match refused {
                Err(Error::Corruption(found)) => assert_eq!(found.path, sand.join("CURRENT")),
                other => panic!("beside {beside}: {other:?}"),
            }
        }
        assert_eq!(files(&sand), before);
    }
    Ok(())
}

/// Creation is broken off at each of its calls; what is left can be made into a store, and when
/// that is done nothing half-made is left.
#[test]
fn a_half_made_store_can_be_made_again() -> Result<()> {
    let mut left_behind = 0;
    for op in OpKind::ALL {
        for after in 0.. {
            let (_dir, sand) = sand();
            let vfs = FaultVfs::new(Arc::new(OsVfs));
            let times = Times::Always;
            let fault =
                Fault { op, path_contains: String::new(), after, times, error: FaultError::Eio };
            vfs.add(fault);
            match Options::new().vfs(Arc::new(vfs.clone())).open(&sand) {
                Ok(_) if vfs.injected() == 0 => break,
                Ok(db) => drop(db),
                Err(error) => assert!(matches!(error, Error::Io { .. }), "{op:?} {after}: {error}"),
            }
            left_behind += usize::from(sand.exists() && !files(&sand).is_empty());
            let db = Db::open(&sand)?;
            db.put("a", "1")?;
            db.close()?;
            assert_eq!(texts(Db::open(&sand)?.iter()), ["a=1"], "{op:?} {after}");
            let kinds = |end: &str| files(&sand).keys().filter(|name| name.contains(end)).count();
            assert_eq!((kinds(".wal"), kinds("CURRENT")), (1, 1), "{op:?} {after}");
        }
    }
    assert!(left_behind >= 8, "only {left_behind} were broken off in the middle");
    Ok(())
}

/// Where no file may be made (a directory without leave to write), opening says so; reading works.
#[test]
fn a_directory_that_cannot_be_written_can_be_read() -> Result<()> {
    let (_dir, sand) = sand();
    let db = Db::open(&sand)?;
    db.put("a", "1")?;
    db.close()?;
    let before = files(&sand);
    let vfs = FaultVfs::new(Arc::new(OsVfs));
    for op in [OpKind::Create, OpKind::Lock, OpKind::Write, OpKind::Sync, OpKind::Allocate] {
        let (path_contains, times) = (String::new(), Times::Always);
        vfs.add(Fault { op, path_contains, after: 0, times, error: FaultError::Eio });
    }
    let options = Options::new().vfs(Arc::new(vfs));
    let refused = options.clone().open(&sand).expect_err("no lock can be taken");
    assert!(matches!(refused, Error::Io { .. }), "{refused}");
    assert_eq!(texts(options.open_read_only(&sand)?.iter()), ["a=1"]);
    assert_eq!(files(&sand), before);
    Ok(())
}

/// Names that are nearly ours, and files with our names that no edit names: the former stay through
/// recovery and flushes, the latter are never read and go, except for an older manifest.
#[test]
fn unknown_files_stay_and_orphans_go() -> Result<()> {
    let (_dir, sand) = sand();
    drop(Db::open(&sand)?);
    let foreign =
        ["notes.txt", "12.sst", "0000012.sst", "x.wal", "000888.wal", "CURRENT~", "MANIFEST-5"];
    let orphans = ["000777.sst", "CURRENT.tmp", "MANIFEST-000900"];
    for name in foreign.iter().chain(&orphans) {
        fs::write(sand.join(name), "not a store's").expect("written");
    }
    let db = Db::open(&sand)?;
    db.put("a", "1")?;
    db.flush()?;
    let newest = db.tables()[0].1.number;
    assert!(newest.0 > 900, "numbers go past every number seen, but the table is {newest}");
    db.close()?;
    let left = files(&sand);
    for name in foreign {
        assert_eq!(left.get(name).map(Vec::as_slice), Some(&b"not a store's"[..]), "{name}");
    }
    for name in orphans {
        assert!(!left.contains_key(name), "{name} is still there");
    }
    Ok(())
}

/// A store that was refused because of damage still has its orphans: they go only after recovery
/// has succeeded.
#[test]
fn a_refused_opening_removes_nothing() -> Result<()> {
    let (_dir, sand) = sand();
    let db = Db::open(&sand)?;
    db.put("a", "1")?;
    db.close()?;
    fs::write(sand.join("000777.sst"), "an orphan").expect("written");
    remove_where(&sand, |name| name.ends_with(".wal"));
    let before = files(&sand);
    let refused = Db::open(&sand).expect_err("a log is missing");
    assert!(matches!(&refused, Error::Corruption(found) if found.detail.contains("missing")));
    assert_eq!(files(&sand), before);
    Ok(())
}

/// A log of this store with records in it, which the manifest never heard of, is no orphan.
#[test]
fn a_used_log_is_never_an_orphan() -> Result<()> {
    let (_dir, sand) = sand();
    let db = Db::open(&sand)?;
    db.put("a", "1")?;
    db.close()?;
    let (name, bytes) =
        files(&sand).into_iter().find(|(name, _)| name.ends_with(".wal")).expect("a log");
    fs::write(sand.join("000888.wal"), &bytes).expect("written");
    let refused = Db::open(&sand).expect_err("whose log is that?");
    assert!(matches!(&refused, Error::Corruption(found) if found.path.ends_with("000888.wal")));
    fs::remove_file(sand.join("000888.wal")).expect("removed");

    // Another store's is left alone, and so is what only has such a name.
    let (_other_dir, other) = super::sand();
    Db::open(&other)?.put("theirs", "1")?;
    fs::copy(other.join(&name), sand.join("000888.wal")).expect("copied");
    fs::write(sand.join("000889.wal"), "x".repeat(5000)).expect("written");
    assert_eq!(texts(Db::open(&sand)?.iter()), ["a=1"]);
    assert!(sand.join("000888.wal").exists() && sand.join("000889.wal").exists());
    Ok(())
}

/// Dropping the handle closes the store: the next opening finds it clean, with everything, and the
/// buffered data is not synced for that.
#[test]
fn a_dropped_handle_is_closed() -> Result<()> {
    let (_dir, sand) = sand();
    for n in 0..5u64 {
        let db = Db::open(&sand)?;
        assert!(db.recovery().clean, "opening {n}");
        assert_eq!(db.recovery().last_seqno.0, n);
        let mut batch = WriteBatch::new();
        batch.put(format!("key{n}"), "v");
        db.write(batch, Durability::Buffered)?;
        assert_eq!(db.stats().syncs, 0);
    }
    let db = Db::open(&sand)?;
    assert_eq!(texts(db.iter()).len(), 5);
    assert_eq!(db.tables().len(), 0, "short processes append to one log, not a table each");
    db.close()?;
    assert!(Db::open(&sand)?.recovery().clean);
    Ok(())
}

/// A log begins with 256 KiB, grows by more as it is larger, and is not kept for later: behind a
/// flush and a close there is the one live log, and it has not had another's number before.
#[test]
fn a_log_grows_and_is_never_used_again() -> Result<()> {
    let (_dir, sand) = sand();
    let db = Db::open(&sand)?;
    let log = || {
        let logs: Vec<_> =
            files(&sand).into_iter().filter(|(name, _)| name.ends_with(".wal")).collect();
        assert_eq!(logs.len(), 1);
        (logs[0].0.clone(), logs[0].1.len() as u64)
    };
    let (first, mut size) = log();
    assert_eq!(size, 256 << 10);
    let mut growths = Vec::new();
    for n in 0..400 {
        let mut batch = WriteBatch::new();
        batch.put(format!("key{n}"), vec![b'v'; 20_000]);
        db.write(batch, Durability::Buffered)?;
        let (name, now) = log();
        assert_eq!(name, first);
        if now > size {
            growths.push(now - size);
            size = now;
        }
    }
    assert!(growths.len() >= 2 && growths.len() < 12 && growths.is_sorted(), "{growths:?}");
    db.flush()?;
    db.close()?;
    let (second, size) = log();
    assert!(second > first && size == 256 << 10, "{second} of {size} bytes");
    Ok(())
}
