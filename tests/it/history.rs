//! Histories of a store on the simulated disk, and the oracle that knows what may be left of one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use beachdb::runtime::inline::InlineRuntime;
use beachdb::vfs::Vfs;
use beachdb::vfs::sim::{CrashPlan, SimVfs};
use beachdb::{Db, Durability, Iter, Options, Result, Snapshot, Stats, Strategy, WriteBatch};

use crate::corners::hook::HookVfs;

/// What a store holds.
pub(crate) type Content = BTreeMap<Vec<u8>, Vec<u8>>;

/// One operation of a batch: a value, or none for a delete.
pub(crate) type Change = (Vec<u8>, Option<Vec<u8>>);

/// One step of a history.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Write(Vec<Change>, Durability),
    Sync,
    Flush,
    /// Runs whatever the background workers have to do.
    Background,
    /// Runs one step of one of the workers that are woken: the last of them is the compaction's.
    Step(usize),
    /// Merges a key range: from the first key, inclusive, to the second, exclusive.
    Compact(Vec<u8>, Option<Vec<u8>>),
    /// Waits until the tree is in shape.
    WaitForCompactions,
    Snapshot,
    /// Drops the oldest snapshot that is held.
    DropSnapshot,
    /// Makes an iterator, takes one pair from each end, and keeps it.
    Iterate,
    /// Takes the rest of the oldest iterator that is kept.
    DropIterator,
    /// Opens a read-only handle beside the writer, or moves the one there is to the present.
    Read,
    /// Compares everything the store and its snapshots hold with the model.
    Check,
    /// Closes and opens again.
    Reopen,
    /// Drops the handle (no sync) and opens again.
    DropAndReopen,
    /// Opens again from what a kill leaves.
    KillAndReopen,
}

/// Every batch ever issued, with what is known of its fate.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    batches: Vec<Vec<Change>>,
    /// This many of them are acknowledged as durable.
    durable: usize,
    /// This many are acknowledged.
    acknowledged: usize,
}

impl Oracle {
    fn content(&self, batches: usize) -> Content {
        let mut content = Content::new();
        for (key, value) in self.batches[..batches].iter().flatten() {
            match value {
                Some(value) => content.insert(key.clone(), value.clone()),
                None => content.remove(key),
            };
        }
        content
    }

    /// The number of batches that make up `last_seqno` operations; panics if a batch is torn.
    fn batches_of(&self, last_seqno: u64) -> usize {
        let mut seqno = 0;
        for (index, batch) in self.batches.iter().enumerate() {
            if seqno == last_seqno {
                return index;
            }
            seqno += batch.len() as u64;
        }
        assert_eq!(seqno, last_seqno, "a batch was torn, or a sequence number is from nowhere");
        self.batches.len()
    }

    /// Checks that `db` holds a prefix of the history with at least `floor` batches, and returns
    /// how many.
    pub(crate) fn check_prefix(&self, db: &Db, floor: usize) -> usize {
        let kept = self.batches_of(db.stats().last_seqno.0);
        assert!(kept >= floor, "{kept} batches are left of {floor} promised ones");
        assert_eq!(content_of(db), self.content(kept), "after {kept} batches");
        kept
    }

    /// What a power loss must leave.
    pub(crate) fn durable(&self) -> usize {
        self.durable
    }

    /// What a kill must leave.
    pub(crate) fn acknowledged(&self) -> usize {
        self.acknowledged
    }
}

/// A small generator: the same seed gives the same history.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    pub(crate) fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}

/// Everything in the store, read forwards, backwards and key by key, all of which must agree.
pub(crate) fn content_of(db: &Db) -> Content {
    let snapshot = db.snapshot();
    content_of_snapshot(&snapshot)
}

pub(crate) fn content_of_snapshot(snapshot: &Snapshot) -> Content {
    let forwards: Vec<_> = snapshot.iter().map(|item| pair(item.expect("a pair"))).collect();
    let mut backwards: Vec<_> =
        snapshot.iter().rev().map(|item| pair(item.expect("a pair"))).collect();
    backwards.reverse();
    assert_eq!(forwards, backwards, "the two directions disagree");
    for (key, value) in &forwards {
        let got = snapshot.get(key).expect("a point read");
        assert_eq!(got.as_deref(), Some(value.as_slice()), "scan and get disagree");
    }
    let count = forwards.len();
    let content: Content = forwards.into_iter().collect();
    assert_eq!(content.len(), count, "a key was seen twice");
    content
}

fn pair((key, value): (Vec<u8>, beachdb::Value)) -> (Vec<u8>, Vec<u8>) {
    (key, value.to_vec())
}

/// How a store keeps its tree in shape.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tree {
    pub(crate) strategy: Strategy,
    pub(crate) memtable_size: u64,
    pub(crate) table_size: u64,
}

impl Default for Tree {
    fn default() -> Tree {
        Tree { strategy: Strategy::Hybrid, memtable_size: 1500, table_size: 32 << 20 }
    }
}

impl Tree {
    /// Options of a store that keeps its tree so; all other thresholds are tiny.
    pub(crate) fn options(&self, vfs: impl Vfs + 'static, runtime: &InlineRuntime) -> Options {
        tiny(vfs, runtime)
            .strategy(self.strategy)
            .memtable_size(self.memtable_size)
            .table_size(self.table_size)
    }
}

/// The strategies that lose nothing.
pub(crate) const STRATEGIES: [Strategy; 3] =
    [Strategy::Hybrid, Strategy::Leveled, Strategy::SizeTiered];

/// The number of a table by its file name; none for other files.
fn table_number(name: &str) -> Option<u64> {
    name.strip_suffix(".sst")?.parse().ok()
}

/// The numbers of the table files on the disk.
pub(crate) fn table_files(vfs: &SimVfs) -> BTreeSet<u64> {
    let names = vfs.list(Path::new(DIR)).expect("a directory");
    names.iter().filter_map(|name| table_number(name)).collect()
}

/// Table files made during the current step, and removed in all.
#[derive(Debug, Default)]
struct Counts {
    creations: AtomicU64,
    removals: AtomicU64,
}

/// Tables that one step may make. More means that compactions go round in circles.
const TABLES_MAX: u64 = 500;

/// The disk with two guards. Before a table is removed, what a power loss at that moment would leave
/// is opened, and must not name it. And the background comes to an end.
fn guarded(sim: &SimVfs, counts: &Arc<Counts>) -> HookVfs {
    let (disk, counts) = (sim.clone(), Arc::clone(counts));
    HookVfs::new(sim.clone(), move |call, path, _| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(number) = table_number(name) else { return Ok(()) };
        if call == "create" {
            let made = counts.creations.fetch_add(1, Ordering::Relaxed);
            assert!(made < TABLES_MAX, "no end of compactions");
        }
        if call == "remove" {
            counts.removals.fetch_add(1, Ordering::Relaxed);
            let left = disk.crash(&CrashPlan::LOSE_ALL);
            let options = tiny(left, &InlineRuntime::new(1));
            let db = options.open_read_only(DIR).expect("what a power loss leaves");
            assert!(!live_tables(&db).contains(&number), "{name} is removed and durably named");
        }
        Ok(())
    })
}

/// The numbers of the tables in the tree.
pub(crate) fn live_tables(db: &Db) -> BTreeSet<u64> {
    db.tables().into_iter().map(|(_, table)| table.number.0).collect()
}

/// Thresholds so small that every kind of job happens within a few operations.
pub(crate) fn tiny(vfs: impl Vfs + 'static, runtime: &InlineRuntime) -> Options {
    Options::new()
        .memtable_size(1500)
        .manifest_size(700)
        .log_size(4096)
        .cache_size(4096)
        .vfs(Arc::new(vfs))
        .runtime(Arc::new(runtime.clone()))
}

/// What happened, so that a test can assert that it did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Happened {
    pub(crate) flushes: u64,
    pub(crate) compactions: u64,
    pub(crate) moves: u64,
    pub(crate) dropped_shadowed: u64,
    pub(crate) dropped_tombstones: u64,
    pub(crate) blocks_copied: u64,
    pub(crate) rollovers: u64,
    /// Table files removed.
    pub(crate) removals: u64,
    /// Readers that were moved on, and iterators that outlived at least one merge.
    pub(crate) refreshes: u64,
    pub(crate) late_iterators: u64,
}

impl Happened {
    fn add(&mut self, stats: &Stats) {
        self.flushes += stats.flushes;
        self.compactions += stats.compactions;
        self.moves += stats.moves;
        self.dropped_shadowed += stats.dropped_shadowed;
        self.dropped_tombstones += stats.dropped_tombstones;
        self.blocks_copied += stats.blocks_copied;
    }

    pub(crate) fn join(&mut self, other: &Happened) {
        self.flushes += other.flushes;
        self.compactions += other.compactions;
        self.moves += other.moves;
        self.dropped_shadowed += other.dropped_shadowed;
        self.dropped_tombstones += other.dropped_tombstones;
        self.blocks_copied += other.blocks_copied;
        self.rollovers += other.rollovers;
        self.removals += other.removals;
        self.refreshes += other.refreshes;
        self.late_iterators += other.late_iterators;
    }
}

/// An iterator under way: what it has to yield yet, and how many merges were done when it was made.
struct Held {
    iter: Iter,
    rest: Content,
    compactions: u64,
}

/// A store with its model, step by step.
pub(crate) struct History {
    pub(crate) vfs: SimVfs,
    pub(crate) runtime: InlineRuntime,
    pub(crate) oracle: Arc<Mutex<Oracle>>,
    tree: Tree,
    db: Option<Db>,
    snapshots: Vec<(Snapshot, usize)>,
    iterators: Vec<Held>,
    /// A read-only handle, and how many batches it shows.
    reader: Option<(Db, usize)>,
    counts: Arc<Counts>,
    pub(crate) happened: Happened,
}

pub(crate) const DIR: &str = "/beach/sand";

impl History {
    pub(crate) fn new(vfs: SimVfs, seed: u64, tree: Tree) -> History {
        History {
            vfs,
            runtime: InlineRuntime::new(seed),
            oracle: Arc::default(),
            tree,
            db: None,
            snapshots: Vec::new(),
            iterators: Vec::new(),
            reader: None,
            counts: Arc::default(),
            happened: Happened::default(),
        }
    }

    pub(crate) fn open(&mut self) -> Result<&Db> {
        let vfs = guarded(&self.vfs, &self.counts);
        let db = self.tree.options(vfs, &self.runtime).open(Path::new(DIR))?;
        Ok(self.db.insert(db))
    }

    pub(crate) fn db(&self) -> &Db {
        self.db.as_ref().expect("an open store")
    }

    fn oracle(&self) -> parking_lot::MutexGuard<'_, Oracle> {
        self.oracle.lock()
    }

    /// Runs one step; panics where store and model differ.
    pub(crate) fn step(&mut self, op: &Op) -> Result<()> {
        self.counts.creations.store(0, Ordering::Relaxed);
        match op {
            Op::Write(changes, durability) => self.write(changes, *durability)?,
            Op::Sync => {
                self.db().sync()?;
                self.all_durable();
            }
            Op::Flush => {
                self.db().flush()?;
                self.all_durable();
            }
            Op::Background => self.runtime.run_until_idle(),
            Op::Step(choice) => _ = self.runtime.step_one(*choice),
            Op::Compact(from, to) => {
                match to {
                    Some(to) => self.db().compact(from.as_slice()..to.as_slice())?,
                    None => self.db().compact(from.as_slice()..)?,
                }
                self.all_durable();
            }
            Op::WaitForCompactions => self.db().wait_for_compactions()?,
            Op::Snapshot => {
                let snapshot = self.db().snapshot();
                let batches = self.acknowledged();
                self.snapshots.push((snapshot, batches));
            }
            Op::DropSnapshot if self.snapshots.is_empty() => {}
            Op::DropSnapshot => drop(self.snapshots.remove(0)),
            Op::Iterate => self.iterate(),
            Op::DropIterator => self.drop_iterator(),
            Op::Read => self.read()?,
            Op::Check => self.check(),
            Op::Reopen => {
                self.let_go();
                self.db.take().expect("an open store").close()?;
                self.all_durable();
                self.open()?;
            }
            Op::DropAndReopen => {
                self.let_go();
                self.db = None;
                self.open()?;
            }
            Op::KillAndReopen => {
                self.let_go();
                let killed = self.vfs.kill();
                self.vfs.clear_observer();
                self.db = None;
                self.vfs = killed;
                self.open()?;
                // What an unclean opening replayed it has synced; behind a close that nobody synced
                // nothing was replayed.
                if !self.db().recovery().clean {
                    self.all_durable();
                }
            }
        }
        Ok(())
    }

    fn all_durable(&self) {
        let mut oracle = self.oracle();
        oracle.durable = oracle.acknowledged;
    }

    fn iterate(&mut self) {
        let mut rest = self.shown();
        let mut iter = self.db().iter();
        let (first, last) = (iter.next(), iter.next_back());
        assert_eq!(first.map(|item| pair(item.expect("a pair"))), rest.pop_first());
        assert_eq!(last.map(|item| pair(item.expect("a pair"))), rest.pop_last());
        let compactions = self.db().stats().compactions;
        self.iterators.push(Held { iter, rest, compactions });
    }

    fn acknowledged(&self) -> usize {
        self.oracle().acknowledged
    }

    /// What the store has to show now.
    fn shown(&self) -> Content {
        let oracle = self.oracle();
        oracle.content(oracle.acknowledged)
    }

    /// What an iterator yields was settled when it was made.
    fn drop_iterator(&mut self) {
        if self.iterators.is_empty() {
            return;
        }
        let held = self.iterators.remove(0);
        let late = self.db().stats().compactions > held.compactions;
        self.happened.late_iterators += u64::from(late);
        let rest: Content = held.iter.map(|item| pair(item.expect("a pair"))).collect();
        assert_eq!(rest, held.rest, "an iterator moved");
    }

    fn read(&mut self) -> Result<()> {
        let batches = self.acknowledged();
        match &mut self.reader {
            Some((reader, shown)) => {
                reader.refresh()?;
                *shown = batches;
                self.happened.refreshes += 1;
            }
            none => {
                let options = self.tree.options(self.vfs.clone(), &self.runtime);
                *none = Some((options.open_read_only(Path::new(DIR))?, batches));
            }
        }
        Ok(())
    }

    fn write(&mut self, changes: &[Change], durability: Durability) -> Result<()> {
        let mut batch = WriteBatch::new();
        for (key, value) in changes {
            match value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            };
        }
        if changes.is_empty() {
            return self.db().write(batch, Durability::Buffered).map(drop);
        }
        self.oracle().batches.push(changes.to_vec());
        let seqno = self.db().write(batch, durability)?;
        let mut oracle = self.oracle();
        oracle.acknowledged = oracle.batches.len();
        if durability == Durability::Sync {
            oracle.durable = oracle.acknowledged;
        }
        let operations: usize = oracle.batches.iter().map(Vec::len).sum();
        assert_eq!(seqno.0, operations as u64, "sequence numbers rise by one");
        Ok(())
    }

    /// Store, snapshots and reader against the model; and no table of the tree is missing.
    pub(crate) fn check(&self) {
        let oracle = self.oracle();
        self.check_shown(&oracle, &self.db().snapshot(), oracle.acknowledged, "the store");
        for (snapshot, batches) in &self.snapshots {
            self.check_shown(&oracle, snapshot, *batches, "a snapshot");
        }
        if let Some((reader, batches)) = &self.reader {
            self.check_shown(&oracle, &reader.snapshot(), *batches, "a reader");
        }
        let (live, files) = (live_tables(self.db()), table_files(&self.vfs));
        assert!(live.is_subset(&files), "{live:?} of {files:?}");
    }

    /// Scans, and a point read of every key that was ever written. A store that may forget shows the
    /// newest value of a key or none, but never an older one.
    fn check_shown(&self, oracle: &Oracle, snapshot: &Snapshot, batches: usize, what: &str) {
        let (found, mut due) = (content_of_snapshot(snapshot), oracle.content(batches));
        if matches!(self.tree.strategy, Strategy::Fifo { .. }) {
            due.retain(|key, _| found.contains_key(key));
        }
        assert_eq!(found, due, "{what} after {batches} batches");
        for (key, _) in oracle.batches.iter().flatten() {
            if !due.contains_key(key) {
                assert!(snapshot.get(key).expect("a point read").is_none(), "{what}: {key:?}");
            }
        }
    }

    /// How many snapshots are held.
    pub(crate) fn snapshot_count(&self) -> usize {
        self.snapshots.len()
    }

    /// Drops all that pins anything.
    fn let_go(&mut self) {
        while !self.iterators.is_empty() {
            self.drop_iterator();
        }
        self.snapshots.clear();
        self.reader = None;
        let Some(db) = &self.db else { return };
        let stats = db.stats();
        self.happened.add(&stats);
        self.happened.rollovers += stats.manifest.map_or(0, |(number, _)| u64::from(number.0 > 2));
    }

    /// Closes the store. When nothing is pinned and nothing is to be done, the directory holds the
    /// tables of the tree and no other.
    pub(crate) fn finish(mut self) -> Result<Happened> {
        self.let_go();
        self.vfs.clear_observer();
        self.runtime.run_until_idle();
        assert_eq!(table_files(&self.vfs), live_tables(self.db()), "files and tree");
        self.happened.removals = self.counts.removals.load(Ordering::Relaxed);
        self.db.take().expect("an open store").close()?;
        Ok(self.happened)
    }
}
