//! Histories of a store on the simulated disk, and the oracle that knows what may be left of one.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use beachdb::runtime::inline::InlineRuntime;
use beachdb::vfs::Vfs;
use beachdb::vfs::sim::SimVfs;
use beachdb::{Db, Durability, Options, Result, Snapshot, WriteBatch};

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
    /// Runs whatever the background worker has to do.
    Background,
    Snapshot,
    DropSnapshot,
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

/// Everything in the store, read forwards, backwards and key by key, all of which must agree.
pub(crate) fn content_of(db: &Db) -> Content {
    let snapshot = db.snapshot();
    content_of_snapshot(&snapshot)
}

fn content_of_snapshot(snapshot: &Snapshot) -> Content {
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

/// A store with its model, step by step.
pub(crate) struct History {
    pub(crate) vfs: SimVfs,
    pub(crate) runtime: InlineRuntime,
    pub(crate) oracle: Arc<Mutex<Oracle>>,
    db: Option<Db>,
    snapshots: Vec<(Snapshot, usize)>,
    /// What happened, so that a test can assert that it did.
    pub(crate) flushes: u64,
}

pub(crate) const DIR: &str = "/beach/sand";

impl History {
    pub(crate) fn new(vfs: SimVfs, seed: u64) -> History {
        let runtime = InlineRuntime::new(seed);
        let oracle = Arc::default();
        History { vfs, runtime, oracle, db: None, snapshots: Vec::new(), flushes: 0 }
    }

    pub(crate) fn open(&mut self) -> Result<&Db> {
        let db = tiny(self.vfs.clone(), &self.runtime).open(Path::new(DIR))?;
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
        match op {
            Op::Write(changes, durability) => self.write(changes, *durability)?,
            Op::Sync => {
                self.db().sync()?;
                let mut oracle = self.oracle();
                oracle.durable = oracle.acknowledged;
            }
            Op::Flush => {
                self.db().flush()?;
                let mut oracle = self.oracle();
                oracle.durable = oracle.acknowledged;
            }
            Op::Background => self.runtime.run_until_idle(),
            Op::Snapshot => {
                let snapshot = self.db().snapshot();
                let batches = self.oracle().acknowledged;
                self.snapshots.push((snapshot, batches));
            }
            Op::DropSnapshot => drop(self.snapshots.pop()),
            Op::Check => self.check(),
            Op::Reopen => {
                self.let_go();
                self.db.take().expect("an open store").close()?;
                let mut oracle = self.oracle();
                oracle.durable = oracle.acknowledged;
                drop(oracle);
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
                // What an unclean opening replayed it has synced.
                let mut oracle = self.oracle();
                oracle.durable = oracle.acknowledged;
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

    /// Store and snapshots against the model.
    pub(crate) fn check(&self) {
        let oracle = self.oracle();
        assert_eq!(content_of(self.db()), oracle.content(oracle.acknowledged));
        for (snapshot, batches) in &self.snapshots {
            assert_eq!(content_of_snapshot(snapshot), oracle.content(*batches), "a snapshot moved");
        }
    }

    fn let_go(&mut self) {
        self.snapshots.clear();
        self.flushes += self.db.as_ref().map_or(0, |db| db.stats().flushes);
    }

    /// Closes the store.
    pub(crate) fn finish(mut self) -> Result<u64> {
        self.let_go();
        self.vfs.clear_observer();
        self.db.take().expect("an open store").close()?;
        Ok(self.flushes)
    }
}
