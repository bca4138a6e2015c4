//! Every call to the file system fails once, and from then on for good, in every way it can.
//!
//! What must hold, whichever call it is: it is reported, by the call that needed it or, from the
//! background, by the next write; what was refused is not there, what is unknown stops all writing;
//! reads go on and are right; nothing is marked as cleanly closed; and what a kill leaves holds
//! everything that was acknowledged.

mod compaction;
mod sweep;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use beachdb::runtime::inline::InlineRuntime;
use beachdb::vfs::fault::{Fault, FaultError, FaultVfs, OpKind, Times};
use beachdb::vfs::sim::{CrashPlan, SimVfs};
use beachdb::{Db, Durability, Error, Result, SeqNo, WriteBatch};

use crate::history::{DIR, Dice, content_of, tiny};

fn fault(op: OpKind, path: &str, times: Times, error: FaultError) -> Fault {
    Fault { op, path_contains: path.to_owned(), after: 0, times, error }
}

/// A store on a simulated disk that fails when told to.
struct Faulty {
    sim: SimVfs,
    vfs: FaultVfs,
    runtime: InlineRuntime,
    db: Db,
}

impl Faulty {
    fn new() -> Faulty {
        let sim = SimVfs::new();
        let vfs = FaultVfs::over_sim(sim.clone());
        let runtime = InlineRuntime::new(1);
        let db = tiny(vfs.clone(), &runtime).open(DIR).expect("a store");
        Faulty { sim, vfs, runtime, db }
    }

    fn put(&self, key: &str, size: usize, durability: Durability) -> Result<SeqNo> {
        let mut batch = WriteBatch::new();
        batch.put(key, vec![b'v'; size]);
        self.db.write(batch, durability)
    }

    /// Keys in the store, read in every way.
    fn keys(&self) -> Vec<String> {
        keys_of(&self.db)
    }

    /// Drops the handle and opens what a kill just before that would have left.
    fn after_kill(self) -> (SimVfs, Db) {
        let left = self.sim.kill();
        drop(self.db);
        let db = tiny(left.clone(), &self.runtime).open(DIR).expect("what a kill left");
        (left, db)
    }
}

fn keys_of(db: &Db) -> Vec<String> {
    content_of(db).into_keys().map(|key| String::from_utf8(key).expect("text")).collect()
}

fn assert_poisoned<T: std::fmt::Debug>(result: Result<T>) {
    assert!(matches!(result, Err(Error::Poisoned(_))), "{result:?}");
}

/// An append to the log, or its sync, fails once. That write fails and is not seen, all later ones
/// fail as poisoned though the disk works again, no further call touches the log, reads go on; and
/// after reopening everything acknowledged is there, the unknown one whole or not at all.
#[test]
fn a_failed_append_or_sync_poisons_the_store() {
    for op in [OpKind::Write, OpKind::Sync] {
        for error in [FaultError::Eio, FaultError::Enospc, FaultError::Short] {
            let store = Faulty::new();
            store.put("a", 10, Durability::Sync).expect("put");
            store.put("b", 10, Durability::Buffered).expect("put");
            store.vfs.add(fault(op, ".wal", Times::Once, error));
            let failed = store.put("c", 300, Durability::Sync).expect_err("the fault");
            assert!(matches!(failed, Error::Io { .. }), "{failed}");
            assert_eq!(store.vfs.injected(), 1);

            let calls = store.vfs.op_log();
            assert_poisoned(store.put("d", 10, Durability::Sync));
            assert_poisoned(store.put("d", 10, Durability::Buffered));
            assert_poisoned(store.put("d", 9000, Durability::Buffered));
            assert_poisoned(store.db.write(WriteBatch::new(), Durability::Buffered));
            assert_poisoned(store.db.sync());
            assert_poisoned(store.db.flush());
            store.runtime.run_until_idle();
            assert_eq!(store.keys(), ["a", "b"], "what failed is not seen, the rest is");
            assert_eq!(store.vfs.op_log(), calls, "nothing is written behind a failure");

            let lost = store.sim.crash(&CrashPlan::LOSE_ALL);
            let runtime = store.runtime.clone();
            let (_, db) = store.after_kill();
            assert!(!db.recovery().clean, "marked clean after {op:?} {error:?}");
            let keys = keys_of(&db);
            assert!(keys == ["a", "b"] || keys == ["a", "b", "c"], "{keys:?}");
            db.put("d", "works again").expect("put");

            let db = tiny(lost, &runtime).open(DIR).expect("what a power loss left");
            assert!(keys_of(&db).contains(&"a".to_owned()));
        }
    }
}

/// A durable write costs one sync of the log and nothing else; a buffered one none; and reopening a
/// closed store none either.
#[test]
fn a_durable_write_costs_one_sync() {
    let store = Faulty::new();
    let syncs = || {
        let calls = store.vfs.op_log();
        [OpKind::Sync, OpKind::SyncDir].map(|op| calls.get(&op).copied().unwrap_or_default())
    };
    let [files, dirs] = syncs();
    for n in 0..4 {
        store.put("a", 10, Durability::Sync).expect("put");
        store.put("b", 10, Durability::Buffered).expect("put");
        assert_eq!(syncs(), [files + n + 1, dirs]);
    }
    store.db.sync().expect("sync");
    assert_eq!(syncs(), [files + 5, dirs]);
    drop(store.db);
    let db = tiny(store.vfs.clone(), &store.runtime).open(DIR).expect("open");
    assert!(db.recovery().clean);
    assert_eq!(syncs(), [files + 5, dirs]);
}

/// Closing a poisoned store says so, and neither that nor dropping it marks the log as closed.
#[test]
fn a_poisoned_store_is_never_marked_clean() {
    for close in [true, false] {
        let store = Faulty::new();
        store.put("a", 10, Durability::Sync).expect("put");
        store.vfs.add(fault(OpKind::Sync, ".wal", Times::Once, FaultError::Eio));
        store.put("b", 10, Durability::Sync).expect_err("the fault");
        match close {
            true => assert_poisoned(store.db.close()),
            false => drop(store.db),
        }
        let db = tiny(store.sim, &store.runtime).open(DIR).expect("open");
        assert!(!db.recovery().clean);
    }
}

/// A sync that is asked for by itself, and the sync of a close, fail like that of a write.
#[test]
fn a_failed_sync_is_never_acknowledged() {
    let store = Faulty::new();
    store.put("a", 10, Durability::Buffered).expect("put");
    store.vfs.add(fault(OpKind::Sync, ".wal", Times::Once, FaultError::Eio));
    assert!(matches!(store.db.sync(), Err(Error::Io { .. })));
    assert_poisoned(store.db.sync());

    let store = Faulty::new();
    store.put("a", 10, Durability::Buffered).expect("put");
    store.vfs.add(fault(OpKind::Sync, ".wal", Times::Once, FaultError::Eio));
    let lost = store.sim.clone();
    assert!(matches!(store.db.close(), Err(Error::Io { .. })));
    let db = tiny(lost, &store.runtime).open(DIR).expect("open");
    assert!(!db.recovery().clean, "marked clean after a failed sync");
}

/// The log cannot grow because the disk is full: that write is refused and leaves nothing, smaller
/// ones that still fit go on, and when space returns the same write succeeds, without reopening.
#[test]
fn a_full_disk_refuses_the_write_that_does_not_fit() {
    for error in [FaultError::Enospc, FaultError::Short] {
        let store = Faulty::new();
        store.put("a", 10, Durability::Sync).expect("put");
        store.vfs.add(fault(OpKind::Allocate, ".wal", Times::Always, error));
        for _ in 0..3 {
            let refused = store.put("big", 9000, Durability::Sync).expect_err("no space");
            assert_eq!(refused.io_kind(), Some(ErrorKind::StorageFull), "{refused}");
            assert_eq!(store.keys(), ["a"]);
        }
        assert_eq!(store.put("b", 10, Durability::Sync).expect("it fits"), SeqNo(2));
        store.vfs.clear();
        assert_eq!(store.put("big", 9000, Durability::Sync).expect("space"), SeqNo(3));
        assert_eq!(store.keys(), ["a", "b", "big"]);
        let (_, db) = store.after_kill();
        assert_eq!(keys_of(&db), ["a", "b", "big"]);
    }
}

/// The log asks for four times its size, which the disk has not, and then for what the write needs,
/// which it has: the write goes through.
#[test]
fn a_nearly_full_disk_takes_the_write_that_fits() {
    let store = Faulty::new();
    store.vfs.add(fault(OpKind::Allocate, ".wal", Times::Once, FaultError::Enospc));
    store.put("big", 9000, Durability::Sync).expect("it fits");
    assert_eq!(store.vfs.injected(), 1);
    let (_, db) = store.after_kill();
    assert_eq!(keys_of(&db), ["big"]);
}

/// The disk is full, or broken, when a memtable is to become a table, at each kind of call that
/// makes one. The next write reports it and is refused; reads go on; the log stays; and when the
/// fault is gone the same memtable becomes a table. The store is not marked clean after that.
#[test]
fn a_failed_flush_is_reported_and_made_up_for() {
    let places = [
        (OpKind::Create, ".sst"),
        (OpKind::Write, ".sst"),
        (OpKind::Sync, ".sst"),
        (OpKind::SyncDir, ""),
        (OpKind::Write, "MANIFEST"),
        (OpKind::Sync, "MANIFEST"),
    ];
    for (op, path) in places {
        for error in [FaultError::Eio, FaultError::Enospc, FaultError::Short] {
            let store = Faulty::new();
            let mut n = 0;
            while store.db.stats().immutable_memtables == 0 {
                store.put(&format!("key{n}"), 300, Durability::Sync).expect("put");
                n += 1;
            }
            let keys = store.keys();
            let logs = store.db.stats().logs;
            store.vfs.add(fault(op, path, Times::Always, error));
            store.runtime.run_until_idle();
            assert!(store.vfs.injected() > 0, "{op:?} {path}");
            let stats = store.db.stats();
            assert_eq!((stats.background_errors, stats.flushes), (1, 0), "{op:?} {path}");
            assert!(stats.background_error.is_some());
            assert_eq!(stats.logs, logs, "the inputs stay");
            assert_eq!(store.keys(), keys, "reads go on");

            let reported = store.put("new", 10, Durability::Sync).expect_err("the fault");
            assert!(matches!(reported, Error::Io { .. }), "{reported}");
            assert!(store.db.stats().background_error.is_none(), "reported once");
            assert_eq!(store.keys(), keys, "a refused write leaves nothing");
            assert!(matches!(store.db.flush(), Err(Error::Io { .. })));
            store.vfs.clear();
            while store.db.flush().is_err() {}
            let stats = store.db.stats();
            assert_eq!(stats.immutable_memtables, 0);
            assert!(stats.flushes >= 1 && !store.db.tables().is_empty());
            assert_eq!(store.keys(), keys);
            store.put("new", 10, Durability::Sync).expect("put");
            let sim = store.sim.clone();
            store.db.close().expect("close");
            let db = tiny(sim, &store.runtime).open(DIR).expect("open");
            assert!(!db.recovery().clean, "clean after a failed flush");
            assert_eq!(keys_of(&db).len(), keys.len() + 1);
        }
    }
}

/// A failed sync drops the pages, and a later one on another handle succeeds without them. So a
/// store that was opened again after that, without the machine going down, holds things that can be
/// read and may never be durable; what it then acknowledges must survive a power loss all the same.
#[test]
fn what_a_failed_sync_dropped_is_not_relied_on() {
    for path in [".wal", "MANIFEST"] {
        let store = Faulty::new();
        store.put("a", 10, Durability::Sync).expect("put");
        store.vfs.add(fault(OpKind::Sync, path, Times::Once, FaultError::Eio));
        let failed = store.put("b", 300, Durability::Sync).is_err();
        store.db.flush().expect_err("the fault, or that it was poisoned by it");
        assert!(failed || path == "MANIFEST");
        drop(store.db);
        for round in 0..2 {
            let db = tiny(store.vfs.clone(), &store.runtime).open(DIR).expect("open");
            assert_eq!(db.recovery().clean, round == 1);
            let before = keys_of(&db);
            db.put("c", "durable").expect("put");
            let lost = store.sim.crash(&CrashPlan::LOSE_ALL);
            let again = tiny(lost, &store.runtime).open(DIR).expect("what a power loss left");
            assert!(before.iter().all(|key| again.get(key).expect("get").is_some()), "{before:?}");
            assert!(again.get("c").expect("get").is_some());
        }
    }
}

/// The same where nothing tells that a sync failed: the handle before had closed the log, with
/// records in it that were only buffered, and the one whose sync failed wrote nothing.
#[test]
fn buffered_records_that_a_failed_sync_dropped_are_not_relied_on() {
    let store = Faulty::new();
    store.put("a", 10, Durability::Buffered).expect("put");
    drop(store.db);
    let open = || tiny(store.vfs.clone(), &store.runtime).open(DIR).expect("open");
    let db = open();
    store.vfs.add(fault(OpKind::Sync, ".wal", Times::Once, FaultError::Eio));
    db.sync().expect_err("the fault");
    drop(db);
    let db = open();
    db.sync().expect("sync");
    let lost = store.sim.crash(&CrashPlan::LOSE_ALL);
    let again = tiny(lost, &store.runtime).open(DIR).expect("what a power loss left");
    assert_eq!(keys_of(&again), ["a"], "synced");
}

/// A read that fails is an error, while opening and afterwards; never an absent key, an end of the
/// data or of a log; and when it works again, so does the store.
#[test]
fn a_failed_read_is_never_an_end() {
    let store = Faulty::new();
    for n in 0..30 {
        store.put(&format!("key{n:02}"), 200, Durability::Sync).expect("put");
        store.runtime.run_until_idle();
    }
    let keys = store.keys();
    assert!(store.db.stats().flushes >= 3);
    let left = store.sim.kill();
    drop(store.db);
    let (mut refused, mut failed) = (0, 0);
    for op in [OpKind::Read, OpKind::Open, OpKind::List] {
        for times in [Times::Once, Times::Always] {
            for after in 0.. {
                let vfs = FaultVfs::over_sim(left.kill());
                vfs.add(Fault { after, ..fault(op, "", times, FaultError::Eio) });
                match tiny(vfs.clone(), &store.runtime).open(Path::new(DIR)) {
                    Err(error) => {
                        assert!(matches!(error, Error::Io { .. }), "{op:?} {after}: {error}");
                        refused += 1;
                    }
                    Ok(db) => {
                        failed += read_until_error(&db, &keys, &format!("{op:?} {after}"));
                        vfs.clear();
                        assert_eq!(keys_of(&db), keys, "{op:?} {after}");
                    }
                }
                if vfs.injected() == 0 {
                    break;
                }
            }
        }
    }
    println!("{refused} openings and {failed} reads failed");
    assert!(refused > 20 && failed > 20);
}

/// One block in the middle of a table cannot be read. Every pair before it is yielded, down to the
/// last one, and only then the error. From the other end the last one is in doubt, for a newer version
/// of its key would lie in that block.
#[test]
fn the_pair_before_an_unreadable_one_is_read() {
    let (sim, runtime) = (SimVfs::new(), InlineRuntime::new(1));
    let open = || tiny(sim.clone(), &runtime).memtable_size(1 << 20).open(DIR).expect("a store");
    let (db, mut dice) = (open(), Dice(3));
    for n in 0..200 {
        let value: String = (0..20).map(|_| format!("{:08x}", dice.below(1 << 32))).collect();
        db.put(format!("key{n:03}"), value).expect("put");
    }
    db.flush().expect("flush");
    db.close().expect("close");
    let is_table = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "sst");
    let table = sim.dump().into_keys().find(is_table).expect("a table");
    sim.corrupt(&table, |bytes| *bytes.get_mut(9000).expect("three blocks") ^= 1).expect("a file");
    let db = open();
    let is_read = |n: &usize| db.get(format!("key{n:03}")).is_ok();
    let before = (0..200).take_while(is_read).count();
    let behind = (0..200).rev().take_while(is_read).count();
    assert!(before > 10 && behind > 10 && before + behind < 200, "{before} {behind}");
    assert_eq!(db.iter().take_while(Result::is_ok).count(), before);
    assert_eq!(db.iter().rev().take_while(Result::is_ok).count(), behind - 1);
}

/// Reads in every way; whatever does not fail is right. Returns how many reads failed.
fn read_until_error(db: &Db, keys: &[String], what: &str) -> u64 {
    let mut failed = 0;
    for key in keys {
        match db.get(key) {
            Ok(value) => assert!(value.is_some(), "{what}: {key} is gone"),
            Err(error) => {
                assert!(matches!(error, Error::Io { .. }), "{what}: {error}");
                failed += 1;
            }
        }
    }
    for backwards in [false, true] {
        let mut iter = db.iter();
        let mut step = || if backwards { iter.next_back() } else { iter.next() };
        let mut seen = 0;
        loop {
            match step() {
                Some(Ok(_)) => seen += 1,
                Some(Err(error)) => {
                    assert!(matches!(error, Error::Io { .. }), "{what}: {error}");
                    assert!(step().is_none(), "{what}: it went on behind an error");
                    failed += 1;
                    break;
                }
                None => {
                    assert_eq!(seen, keys.len(), "{what}: the scan ended early");
                    break;
                }
            }
        }
    }
    failed
}
