//! Compaction as its user sees it: what it keeps, what it gives back, and when files go.

mod damage;
mod tombstones;

use std::collections::BTreeSet;
use std::path::Path;

use beachdb::runtime::inline::InlineRuntime;
use beachdb::vfs::sim::SimVfs;
use beachdb::vfs::{Access, Vfs};
use beachdb::{Db, Durability, Strategy, WriteBatch};

use crate::history::{
    Content, DIR, STRATEGIES, Tree, content_of, content_of_snapshot, live_tables, table_files,
};

/// Everything.
const ALL: std::ops::RangeFull = ..;

fn compact_all(db: &Db) {
    db.compact::<&[u8], _>(ALL).expect("compact");
}

/// Entries in all tables, older versions and tombstones included.
fn entries(db: &Db) -> u64 {
    db.stats().levels.iter().map(|level| level.entries).sum()
}

/// Sets the keys `key000`, … of these numbers, in one batch.
fn write(db: &Db, numbers: impl IntoIterator<Item = u32>, value: Option<&str>) {
    let mut batch = WriteBatch::new();
    for n in numbers {
        let key = format!("key{n:03}");
        match value {
            Some(value) => batch.put(key, value),
            None => batch.delete(key),
        };
    }
    db.write(batch, Durability::Buffered).expect("write");
}

/// A store without anything going on by itself.
struct Store {
    sim: SimVfs,
    runtime: InlineRuntime,
    db: Db,
}

impl Store {
    fn new(tree: Tree) -> Store {
        let (sim, runtime) = (SimVfs::new(), InlineRuntime::new(1));
        let db = tree.options(sim.clone(), &runtime).open(DIR).expect("a store");
        Store { sim, runtime, db }
    }

    /// Files of tables that are not in the tree.
    fn left_over(&self) -> BTreeSet<u64> {
        self.runtime.run_until_idle();
        table_files(&self.sim).difference(&live_tables(&self.db)).copied().collect()
    }
}

fn trees() -> impl Iterator<Item = Tree> {
    let tree = |strategy| move |table_size| Tree { strategy, table_size, memtable_size: 1 << 20 };
    STRATEGIES.into_iter().flat_map(move |strategy| [1, 2000, 32 << 20].map(tree(strategy)))
}

/// Snapshots at four moments, then everything is overwritten and deleted, and merged again and again,
/// whole and in parts: each snapshot reads exactly its state. With each that is dropped, merging
/// gives back what only it could see, and at last there is one entry for each key.
#[test]
fn a_snapshot_reads_its_state_through_compactions_of_everything() {
    for tree in trees() {
        let store = Store::new(tree);
        let db = &store.db;
        let mut held = Vec::new();
        for (n, value) in ["one", "two", "three", "four"].into_iter().enumerate() {
            write(db, (0..60).filter(|key| key % (n as u32 + 1) == 0), Some(value));
            write(db, (n as u32 * 10)..(n as u32 * 10 + 5), None);
            held.push((db.snapshot(), content_of(db)));
            db.compact(format!("key{:03}", n * 10)..).expect("compact");
        }
        write(db, 0..60, Some("last"));
        write(db, 20..40, None);
        let last = content_of(db);
        let mut before = u64::MAX;
        while !held.is_empty() {
            compact_all(db);
            db.compact("key010".."key030").expect("compact");
            for (snapshot, content) in &held {
                assert_eq!(&content_of_snapshot(snapshot), content, "{tree:?}");
            }
            assert_eq!(content_of(db), last, "{tree:?}");
            assert!(entries(db) < before, "{} entries, {before} before: {tree:?}", entries(db));
            before = entries(db);
            held.remove(0);
            // Tables of the bottom are merged again only with something that lies over them.
            write(db, 0..20, Some("last"));
            write(db, 40..60, Some("last"));
            write(db, 20..40, None);
        }
        compact_all(db);
        assert_eq!(content_of(db), last);
        assert_eq!(entries(db), 40, "{tree:?}");
        assert!(db.stats().dropped_shadowed > 0 && db.stats().dropped_tombstones > 0);
    }
}

/// An iterator, a snapshot's iterator, and a reader beside the writer go on with tables that a
/// merge has replaced; their files stay until the last of them is dropped, and then go.
#[test]
fn files_stay_while_they_are_read_and_then_go() {
    for tree in trees() {
        let store = Store::new(tree);
        let db = &store.db;
        write(db, 0..50, Some("old"));
        db.flush().expect("flush");
        write(db, 25..75, Some("new"));
        db.flush().expect("flush");
        let content = content_of(db);
        let inputs = live_tables(db);
        let mut iter = db.iter();
        let first = iter.next().expect("a pair").expect("a pair");
        let snapshot = db.snapshot();
        let later = snapshot.iter();
        drop(snapshot);
        let reader = tree.options(store.sim.clone(), &store.runtime).open_read_only(DIR);
        let reader = reader.expect("a reader");
        write(db, 0..75, None);
        compact_all(db);
        assert!(db.stats().compactions > 0 && content_of(db).is_empty());
        assert_eq!(store.left_over(), inputs, "{tree:?}");
        let pairs = std::iter::once(first).chain(iter.map(|item| item.expect("a pair")));
        assert_eq!(pairs.map(|(key, value)| (key, value.to_vec())).collect::<Content>(), content);
        assert_eq!(store.left_over(), inputs, "the other iterator still reads: {tree:?}");
        assert_eq!(later.rev().count(), content.len());
        assert_eq!(store.left_over(), BTreeSet::new(), "{tree:?}");
        // Of its own process: it keeps the files open, not their names.
        assert_eq!(content_of(&reader), content);
        reader.refresh().expect("refresh");
        assert!(content_of(&reader).is_empty());
    }
}

/// Everything deleted and merged leaves no entry and no file, whatever the order of the workers.
#[test]
fn what_is_deleted_and_merged_leaves_nothing() {
    for tree in trees() {
        let store = Store::new(tree);
        for round in 0..3 {
            write(&store.db, round * 10..round * 10 + 30, Some("value"));
            store.db.flush().expect("flush");
        }
        write(&store.db, 0..50, None);
        compact_all(&store.db);
        assert_eq!((entries(&store.db), live_tables(&store.db).len()), (0, 0), "{tree:?}");
        assert_eq!(store.left_over(), BTreeSet::new());
    }
}

/// A table goes down as it is where nothing lies under it: same file, same number.
#[test]
fn what_overlaps_nothing_is_moved() {
    let tree = Tree { memtable_size: 1 << 20, ..Tree::default() };
    let store = Store::new(tree);
    // So well compressible that it is worth keeping as it is.
    let value = "v".repeat(500);
    for round in 0..3 {
        write(&store.db, round * 50..round * 50 + 50, Some(&value));
        store.db.flush().expect("flush");
    }
    let before = live_tables(&store.db);
    store.runtime.run_until_idle();
    let stats = store.db.stats();
    assert_eq!((stats.moves, stats.compactions), (3, 0), "{stats:?}");
    assert_eq!(live_tables(&store.db), before);
    assert!(stats.levels[0].tables == 0 && stats.levels[6].tables == 3);
    assert_eq!(store.left_over(), BTreeSet::new());
    assert_eq!(content_of(&store.db).len(), 150);
}

/// Beyond its size a store that may forget drops its oldest tables, whole, and keeps the newest.
#[test]
fn the_oldest_tables_are_forgotten_first() {
    let strategy = Strategy::Fifo { size_max: 20_000 };
    let store = Store::new(Tree { strategy, memtable_size: 1, ..Tree::default() });
    for n in 0..100 {
        write(&store.db, [n], Some(&"v".repeat(1000)));
        store.runtime.run_until_idle();
    }
    store.db.flush().expect("flush");
    store.db.wait_for_compactions().expect("wait");
    let bytes: u64 = store.db.stats().levels.iter().map(|level| level.bytes).sum();
    assert!(bytes <= 20_000, "{bytes} bytes");
    let keys: Vec<_> = content_of(&store.db).into_keys().collect();
    let kept = keys.len() as u32;
    assert!((10..60).contains(&kept), "{kept} kept");
    let newest: Vec<_> = (100 - kept..100).map(|n| format!("key{n:03}").into_bytes()).collect();
    assert_eq!(keys, newest);
    assert_eq!(store.left_over(), BTreeSet::new());
}

/// A tombstone goes into the bottom with a merge that leaves a newer table of its key in L0. It is
/// dropped there, however many merges of its range are asked for, and they all come to an end: the
/// newer table is no reason to keep it.
#[test]
fn a_newer_table_above_keeps_no_tombstone_alive() {
    let store = Store::new(Tree { memtable_size: 1, ..Tree::default() });
    let db = &store.db;
    write(db, [0, 5], None);
    write(db, [0], None);
    write(db, [5], None);
    let mut batch = WriteBatch::new();
    batch.put("key000", "value").delete("key003");
    db.write(batch, Durability::Buffered).expect("write");
    db.flush().expect("flush");
    db.compact("key000".."key001").expect("compact");
    let levels = db.stats().levels;
    assert_eq!((levels[0].tables, levels[0].tombstones), (1, 1), "the newer one stays");
    assert_eq!((levels[6].entries, levels[6].tombstones), (1, 0));
    assert!(db.stats().compactions <= 2, "{} merges", db.stats().compactions);
    assert_eq!(content_of(db).len(), 1);
}

/// A batch of tables is merged while others are flushed between the steps, in every order of two
/// workers over sixteen steps: nothing is lost, whatever came first.
#[test]
fn flushes_between_the_steps_of_a_merge_stay_above_it() {
    for order in 0..1u32 << 12 {
        let tree = Tree { memtable_size: 1, table_size: 1, ..Tree::default() };
        let store = Store::new(tree);
        let mut due = Content::new();
        for step in 0..12 {
            let key = format!("key{:03}", step % 3);
            let value = format!("{step}");
            write(&store.db, [step % 3], Some(&value));
            due.insert(key.into_bytes(), value.into_bytes());
            store.runtime.step_one((order >> step & 1) as usize);
            if order >> step & 3 == 3 {
                store.runtime.step_one(1);
            }
        }
        assert_eq!(content_of(&store.db), due, "order {order:b}");
        store.db.wait_for_compactions().expect("wait");
        assert_eq!(content_of(&store.db), due, "order {order:b}");
    }
}

/// Four hundred tables that a strategy which merges then finds, and nobody writes: the marks of all those jobs
/// stay within what the log has preallocated, as a full disk would demand.
#[test]
fn the_marks_of_many_jobs_stay_within_the_log() {
    let (sim, runtime) = (SimVfs::new(), InlineRuntime::new(1));
    let open = |strategy| {
        let tree = Tree { strategy, table_size: 1, memtable_size: 1 << 20 };
        tree.options(sim.clone(), &runtime).open(DIR).expect("a store")
    };
    let db = open(Strategy::Fifo { size_max: u64::MAX });
    for n in 0..400 {
        write(&db, [n % 10, 100 + n % 7], Some("value"));
        db.flush().expect("flush");
    }
    db.close().expect("close");
    let db = open(Strategy::SizeTiered);
    db.delete("key000").expect("delete");
    let before = db.stats();
    db.wait_for_compactions().expect("settled");
    let after = db.stats();
    let jobs = after.compactions + after.moves - before.compactions - before.moves;
    assert!(jobs > 100, "{jobs} jobs");
    let log = sim.list(Path::new(DIR)).expect("names").into_iter().find(|it| it.ends_with(".wal"));
    let path = Path::new(DIR).join(log.expect("a log"));
    let size = sim.open(&path, Access::Read).and_then(|file| file.size()).expect("its size");
    assert_eq!(Some(size), after.logs.map(|(_, bytes)| bytes));
    db.close().expect("close");
    let size = sim.open(&path, Access::Read).and_then(|file| file.size()).expect("its size");
    assert_eq!(Some(size), after.logs.map(|(_, bytes)| bytes), "the closes had no room");
}
