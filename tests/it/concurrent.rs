//! Real threads: group commit, whole batches, readers beside flushes, a sync that fails for many.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use parking_lot::Mutex;

use beachdb::vfs::fault::{Fault, FaultError, FaultVfs, OpKind, Times};
use beachdb::vfs::sim::{CrashPlan, SimVfs};
use beachdb::{Db, Durability, Error, Options, Snapshot, WriteBatch};

use crate::history::DIR;

const WRITERS: u64 = 8;

/// The keys that every batch of a writer sets to the same number.
const KEYS: [&str; 5] = ["k/1", "k/2", "k/3", "k/4", "k/5"];

/// A disk on which a sync takes a while, so that others line up behind it.
fn slow_syncs() -> SimVfs {
    let sim = SimVfs::new();
    let (syncs, last) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
    sim.set_observer(Box::new(move |count, _| {
        // Before a sync the observer is called with the count of the operation before it, again.
        if last.swap(count, Ordering::Relaxed) == count {
            syncs.fetch_add(1, Ordering::Relaxed);
            (0..50).for_each(|_| thread::yield_now());
        }
    }));
    sim
}

fn put(db: &Db, key: &str, value: &str, durability: Durability) -> beachdb::Result<u64> {
    let mut batch = WriteBatch::new();
    batch.put(key, value);
    db.write(batch, durability).map(|seqno| seqno.0)
}

/// Eight threads write durably at once: every write gets a number of its own, the numbers are
/// dense, each thread's rise, every write is there, and they share syncs.
#[test]
fn writers_that_wait_share_a_sync() {
    let sim = slow_syncs();
    let db = Options::new().vfs(Arc::new(sim.clone())).open(DIR).expect("a store");
    let begin = Barrier::new(WRITERS as usize);
    let write = |writer: u64| {
        begin.wait();
        let numbers: Vec<u64> = (0..100)
            .map(|n| put(&db, &format!("{writer}/{n}"), "v", Durability::Sync).expect("put"))
            .collect();
        assert!(numbers.is_sorted(), "a writer's own writes are in its order");
        numbers
    };
    let mut numbers: Vec<u64> = thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS).map(|w| scope.spawn(move || write(w))).collect();
        writers.into_iter().flat_map(|writer| writer.join().expect("a writer")).collect()
    });
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(1..=WRITERS * 100));
    let stats = db.stats();
    assert!(stats.syncs < stats.writes / 2, "{} syncs, {} writes", stats.syncs, stats.writes);
    assert_eq!(db.iter().count(), 800);
    sim.clear_observer();
    let lost = sim.crash(&CrashPlan::LOSE_ALL);
    let db = Options::new().vfs(Arc::new(lost)).open(DIR).expect("what a power loss left");
    assert_eq!(db.iter().count(), 800);
}

/// The number that a snapshot sees under every key: the same, in every way of reading.
fn one_number(snapshot: &Snapshot) -> u64 {
    let number =
        |value: &[u8]| -> u64 { String::from_utf8_lossy(value).trim().parse().expect("a number") };
    let values = snapshot.multi_get(KEYS).expect("reads");
    let first = number(values[0].as_ref().expect("a value"));
    assert!(values.iter().all(|value| number(value.as_ref().expect("a value")) == first));
    for backwards in [false, true] {
        let iter = snapshot.prefix("k/");
        let items: Vec<_> = if backwards { iter.rev().collect() } else { iter.collect() };
        assert_eq!(items.len(), KEYS.len());
        for item in items {
            assert_eq!(number(&item.expect("a pair").1), first, "a torn batch");
        }
    }
    first
}

fn write_number(db: &Db, number: u64, durability: Durability) -> u64 {
    let mut batch = WriteBatch::new();
    for key in KEYS {
        batch.put(key, format!("{number:200}"));
    }
    db.write(batch, durability).expect("write").0
}

/// Writers set five keys to one number in each batch, synced and buffered mixed, while memtables
/// fill up and are flushed; readers see one number under all five, through snapshots, iterators and
/// `multi_get`; a writer sees its own write and never an older state again.
#[test]
fn batches_are_whole_to_every_reader() {
    let dir = tempfile::tempdir().expect("a directory");
    let db = Options::new()
        .memtable_size(40_000)
        .log_size(16_384)
        .cache_size(100_000)
        .open(dir.path().join("sand"))
        .expect("a store");
    write_number(&db, 0, Durability::Buffered);
    let done = AtomicBool::new(false);
    let looks = AtomicU64::new(0);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let db = &db;
                scope.spawn(move || {
                    for n in 0..400u64 {
                        let synced = n % 40 == writer;
                        let durability =
                            if synced { Durability::Sync } else { Durability::Buffered };
                        let seqno = write_number(db, n * 4 + writer, durability);
                        let snapshot = db.snapshot();
                        assert!(snapshot.seqno().0 >= seqno, "its own write is not seen");
                        put(db, &format!("own/{writer}"), &n.to_string(), Durability::Buffered)
                            .expect("put");
                        let own = db.get(format!("own/{writer}")).expect("get").expect("a value");
                        assert_eq!(own.as_ref(), n.to_string().as_bytes());
                    }
                })
            })
            .collect();
        for _ in 0..3 {
            scope.spawn(|| {
                let mut last = 0;
                let mut held = Vec::new();
                while !done.load(Ordering::Acquire) {
                    let snapshot = db.snapshot();
                    assert!(snapshot.seqno().0 >= last, "the store went back");
                    last = snapshot.seqno().0;
                    let number = one_number(&snapshot);
                    assert_eq!(one_number(&snapshot), number, "a snapshot moved");
                    looks.fetch_add(1, Ordering::Relaxed);
                    held.push((snapshot, number));
                    if held.len() > 8 {
                        let (oldest, number) = held.remove(0);
                        assert_eq!(one_number(&oldest), number, "a held snapshot moved");
                    }
                }
            });
        }
        let results: Vec<_> = writers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Release);
        assert!(results.iter().all(Result::is_ok), "a writer failed");
    });
    let stats = db.stats();
    println!("{} looks, {} flushes", looks.into_inner(), stats.flushes);
    assert!(stats.flushes >= 10, "{} flushes", stats.flushes);
    assert_eq!(stats.last_seqno.0, 5 + 4 * 400 * 6);
    db.close().expect("close");
    let db = Db::open(dir.path().join("sand")).expect("open");
    one_number(&db.snapshot());
}

/// Threads write both ways at once, and then power is lost: what is left are the first operations
/// in the order of their numbers, with every one that was acknowledged as durable.
#[test]
fn a_power_loss_leaves_a_prefix_of_what_many_wrote() {
    for round in 0..8 {
        let sim = slow_syncs();
        let options =
            || Options::new().memtable_size(6000).log_size(4096).vfs(Arc::new(sim.clone()));
        let db = options().open(DIR).expect("a store");
        let acknowledged = Mutex::new(BTreeMap::new());
        let durable = AtomicU64::new(0);
        let images = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for writer in 0..WRITERS {
                let (db, acknowledged, durable, images, sim) =
                    (&db, &acknowledged, &durable, &images, &sim);
                scope.spawn(move || {
                    for n in 0..30 {
                        let durability = match (n + writer) % 5 {
                            0 => Durability::Sync,
                            _ => Durability::Buffered,
                        };
                        let (key, value) = (format!("key{}", n % 7), format!("{writer}-{n:0100}"));
                        let seqno = put(db, &key, &value, durability).expect("put");
                        acknowledged.lock().insert(seqno, (key, value));
                        if durability == Durability::Sync {
                            durable.fetch_max(seqno, Ordering::AcqRel);
                        }
                        if writer == 0 && n % 10 == round {
                            let floor = durable.load(Ordering::Acquire);
                            let plans = CrashPlan::all(n).step_by(5);
                            images.lock().extend(plans.map(|plan| (floor, sim.crash(&plan))));
                        }
                    }
                });
            }
        });
        let acknowledged = acknowledged.into_inner();
        assert!(acknowledged.keys().copied().eq(1..=WRITERS * 30));
        for (floor, image) in images.into_inner() {
            let db = Options::new().vfs(Arc::new(image)).open(DIR).expect("what was left");
            let last = db.recovery().last_seqno.0;
            assert!(last >= floor, "{last} left of {floor}");
            let expected: BTreeMap<_, _> =
                acknowledged.range(..=last).map(|(_, pair)| pair.clone()).collect();
            let found: BTreeMap<_, _> = db
                .iter()
                .map(|item| item.expect("a pair"))
                .map(|(key, value)| {
                    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
                    (text(&key), text(&value))
                })
                .collect();
            assert_eq!(found, expected);
        }
    }
}

/// A sync fails while eight threads write: of every group all fail, and after that everything does;
/// whatever was acknowledged is there after a power loss.
#[test]
fn a_failed_sync_fails_its_whole_group() {
    let mut failures = 0;
    for after in 0..12 {
        let sim = slow_syncs();
        let vfs = FaultVfs::over_sim(sim.clone());
        let db = Options::new().vfs(Arc::new(vfs.clone())).open(DIR).expect("a store");
        let (times, error) = (Times::Once, FaultError::Eio);
        vfs.add(Fault { op: OpKind::Sync, path_contains: ".wal".to_owned(), after, times, error });
        let write = |writer: u64| {
            let mut acknowledged = Vec::new();
            for n in 0..20 {
                let key = format!("{writer}/{n}");
                match put(&db, &key, "v", Durability::Sync) {
                    Ok(_) => acknowledged.push(key),
                    Err(error) => {
                        let again = put(&db, &key, "v", Durability::Buffered);
                        assert!(matches!(again, Err(Error::Poisoned(_))), "{again:?}");
                        return (acknowledged, matches!(error, Error::Io { .. }));
                    }
                }
            }
            (acknowledged, false)
        };
        let results: Vec<_> = thread::scope(|scope| {
            let write = &write;
            let writers: Vec<_> = (0..WRITERS).map(|w| scope.spawn(move || write(w))).collect();
            writers.into_iter().map(|writer| writer.join().expect("a writer")).collect()
        });
        assert_eq!(vfs.injected(), 1);
        let group = results.iter().filter(|(_, io)| *io).count();
        assert!(group >= 1, "nobody was told the reason");
        failures += group;
        sim.clear_observer();
        let lost = sim.crash(&CrashPlan::LOSE_ALL);
        drop(db);
        let db = Options::new().vfs(Arc::new(lost)).open(DIR).expect("what was left");
        for key in results.iter().flat_map(|(acknowledged, _)| acknowledged) {
            assert!(db.get(key).expect("get").is_some(), "{key} was acknowledged");
        }
    }
    assert!(failures > 12, "no group had more than one writer: {failures}");
}

/// Readers open the store again and again while a writer rotates logs, flushes and rolls manifests
/// over: each sees whole batches as of one moment, no older than the last it saw, and none takes
/// the writer's work for damage.
#[test]
fn a_reader_never_takes_a_busy_writer_for_damage() {
    let dir = tempfile::tempdir().expect("a directory");
    let sand = dir.path().join("sand");
    let options = || Options::new().memtable_size(5000).log_size(4096).manifest_size(1500);
    let db = options().open(&sand).expect("a store");
    write_number(&db, 0, Durability::Sync);
    let done = AtomicBool::new(false);
    let (opened, moved) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut last = 0;
                    while !done.load(Ordering::Acquire) {
                        match options().open_read_only(&sand) {
                            Ok(reader) => {
                                let number = one_number(&reader.snapshot());
                                assert!(number >= last, "it went back from {last} to {number}");
                                last = number;
                                opened.fetch_add(1, Ordering::Relaxed);
                            }
                            Err(Error::Moved { .. }) => {
                                moved.fetch_add(1, Ordering::Relaxed);
                            }
                            Err(error) => panic!("{error}"),
                        }
                    }
                })
            })
            .collect();
        for number in 1..600 {
            let synced = number % 50 == 0;
            write_number(&db, number, if synced { Durability::Sync } else { Durability::Buffered });
            if readers.iter().any(thread::ScopedJoinHandle::is_finished) {
                break;
            }
        }
        done.store(true, Ordering::Release);
    });
    let (opened, moved) = (opened.into_inner(), moved.into_inner());
    println!("{opened} openings, {moved} moved, {} flushes", db.stats().flushes);
    assert!(opened > 10 && db.stats().flushes > 20, "{opened}, {}", db.stats().flushes);
}
