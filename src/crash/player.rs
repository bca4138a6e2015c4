//! Plays a history on a disk, in one thread, and keeps the books.

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use super::history::{Setup, Step};
use super::oracle::{Broken, Content, Oracle, failing};
use crate::runtime::inline::InlineRuntime;
use crate::vfs::Vfs;
use crate::vfs::sim::SimVfs;
use crate::{Db, Durability, Iter, Options, Result, Snapshot, WriteBatch};

/// Where the store is on the simulated disk.
pub const DIR: &str = "/beach/sand";

/// What happened, so that a campaign can say that it met what it is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Happened {
    /// Memtables that became tables.
    pub flushes: u64,
    /// Merges and moves.
    pub compactions: u64,
    /// Manifests begun anew.
    pub rollovers: u64,
    /// Logs ended by a successor.
    pub rotations: u64,
    /// Checkpoints made.
    pub checkpoints: u64,
}

impl Happened {
    /// Adds another run's.
    pub fn join(&mut self, other: &Happened) {
        self.flushes += other.flushes;
        self.compactions += other.compactions;
        self.rollovers += other.rollovers;
        self.rotations += other.rotations;
        self.checkpoints += other.checkpoints;
    }
}

/// Options for a store on the simulated disk, with the thresholds of a history.
pub(super) fn options(setup: &Setup, vfs: impl Vfs + 'static, runtime: &InlineRuntime) -> Options {
    setup.shape.options().vfs(Arc::new(vfs)).runtime(Arc::new(runtime.clone()))
}

/// Makes the batch of some changes and notes that it is issued.
pub(super) fn issue(oracle: &Mutex<Oracle>, changes: &[super::history::Change]) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for (key, value) in oracle.lock().issue(changes) {
        match value {
            Some(value) => batch.put(key, value),
            None => batch.delete(key),
        };
    }
    batch
}

/// A moment that is kept: a snapshot, an iterator that has not begun, and how many batches both
/// show.
struct Held {
    snapshot: Snapshot,
    pairs: Iter,
    batches: usize,
}

/// A store under way.
pub struct Player<'s> {
    setup: &'s Setup,
    /// The disk.
    pub vfs: SimVfs,
    runtime: InlineRuntime,
    /// What may be left after a crash.
    pub oracle: Arc<Mutex<Oracle>>,
    db: Option<Db>,
    snapshots: Vec<Held>,
    checkpoints: u64,
    /// Operations on the disks before this one.
    ops_before: u64,
    /// What happened in handles that are closed.
    happened: Happened,
}

impl<'s> Player<'s> {
    /// On an empty disk.
    #[must_use]
    pub fn new(setup: &'s Setup) -> Player<'s> {
        Player {
            setup,
            vfs: SimVfs::new(),
            runtime: InlineRuntime::new(setup.seed),
            oracle: Arc::default(),
            db: None,
            snapshots: Vec::new(),
            checkpoints: 0,
            ops_before: 0,
            happened: Happened::default(),
        }
    }

    /// Opens the store.
    ///
    /// # Errors
    /// That it does not open.
    pub fn open(&mut self) -> Result<(), Broken> {
        let options = options(self.setup, self.vfs.clone(), &self.runtime);
        self.db = Some(failing("an opening", options.open(Path::new(DIR)))?);
        Ok(())
    }

    /// Operations on the disks before this one: a kill goes on with another.
    #[must_use]
    pub fn ops_before(&self) -> u64 {
        self.ops_before
    }

    /// The open store.
    ///
    /// # Errors
    /// That there is none: a step failed before.
    pub fn db(&self) -> Result<&Db, Broken> {
        self.db.as_ref().ok_or_else(|| Broken::new("an open store", "none"))
    }

    /// Runs one step. `changed` is told when the disk is another one from now on, and how many
    /// operations there were on those before it.
    ///
    /// # Errors
    /// A call that failed or an answer that is wrong.
    pub fn step(
        &mut self,
        step: &Step,
        changed: &mut dyn FnMut(&SimVfs, u64),
    ) -> Result<(), Broken> {
        match step {
            Step::Write { changes, sync } => self.write(changes, *sync)?,
            Step::Sync => {
                failing("a sync", self.db()?.sync())?;
                self.oracle.lock().all_durable();
            }
            Step::Flush => {
                failing("a flush", self.db()?.flush())?;
                self.oracle.lock().all_durable();
            }
            Step::Compact => {
                failing("a compaction", self.db()?.compact::<&str, _>(..))?;
                self.oracle.lock().all_durable();
            }
            Step::Background => self.runtime.run_until_idle(),
            Step::BackgroundStep(choice) => _ = self.runtime.step_one(usize::from(*choice)),
            Step::Snapshot => {
                let snapshot = self.db()?.snapshot();
                let batches = self.oracle.lock().acknowledged();
                let pairs = snapshot.iter();
                self.snapshots.push(Held { snapshot, pairs, batches });
            }
            Step::Release => self.release()?,
            Step::Reopen => {
                self.let_go()?;
                self.close()?;
                self.open()?;
                if !self.db()?.recovery().clean {
                    return Err(Broken::new("a clean end", "an unclean one behind a close"));
                }
            }
            Step::Drop => {
                self.let_go()?;
                self.db = None;
                self.open()?;
            }
            Step::Kill => {
                self.let_go()?;
                let killed = self.vfs.kill();
                self.ops_before += self.vfs.op_count();
                self.vfs.clear_observer();
                self.db = None;
                self.vfs = killed;
                changed(&self.vfs, self.ops_before);
                self.open()?;
                // What an unclean opening replayed it has synced. A close that nobody synced is still
                // there after a kill, and then nothing was replayed.
                if !self.db()?.recovery().clean {
                    self.oracle.lock().all_durable();
                }
            }
            Step::Checkpoint => self.checkpoint()?,
        }
        Ok(())
    }

    fn write(&mut self, changes: &[super::history::Change], sync: bool) -> Result<(), Broken> {
        if changes.is_empty() {
            return Ok(());
        }
        let batch = issue(&self.oracle, changes);
        let durability = if sync { Durability::Sync } else { Durability::Buffered };
        let seqno = failing("a write", self.db()?.write(batch, durability))?;
        let mut oracle = self.oracle.lock();
        oracle.acknowledge(sync);
        let due = oracle.ops(oracle.acknowledged());
        if seqno.0 != due {
            return Err(Broken::new(format!("sequence number {due}"), seqno.to_string()));
        }
        Ok(())
    }

    /// Reads the oldest snapshot and its iterator and drops them.
    fn release(&mut self) -> Result<(), Broken> {
        if self.snapshots.is_empty() {
            return Ok(());
        }
        let Held { snapshot, pairs, batches } = self.snapshots.remove(0);
        let oracle = self.oracle.lock();
        oracle.check_shown(&snapshot, batches)?;
        drop(snapshot);
        let shown = pairs.map(|pair| failing("an old iterator", pair));
        let shown = shown.map(|pair| pair.map(|(key, value)| (key, value.to_vec())));
        if shown.collect::<Result<Content, Broken>>()? != oracle.content(batches) {
            let expected = format!("what was there after {batches} batches");
            return Err(Broken::new(expected, "something else by an old iterator"));
        }
        Ok(())
    }

    /// A checkpoint holds what was acknowledged, and is durable at once.
    fn checkpoint(&mut self) -> Result<(), Broken> {
        self.checkpoints += 1;
        let dir = format!("/beach/copy{}", self.checkpoints);
        failing("a checkpoint", self.db()?.checkpoint(&dir))?;
        let lost = self.vfs.crash(&crate::vfs::sim::CrashPlan::LOSE_ALL);
        let options = options(self.setup, lost, &InlineRuntime::new(6000));
        let copy = failing("an opening of a checkpoint", options.open_read_only(&dir))?;
        let oracle = self.oracle.lock();
        oracle.check(&copy, oracle.acknowledged())?;
        Ok(())
    }

    /// Reads and drops all snapshots, and notes what happened.
    fn let_go(&mut self) -> Result<(), Broken> {
        while !self.snapshots.is_empty() {
            self.release()?;
        }
        let stats = self.db()?.stats();
        self.happened.flushes += stats.flushes;
        self.happened.compactions += stats.compactions + stats.moves;
        self.happened.rollovers += stats.manifest.map_or(0, |(number, _)| u64::from(number.0 > 2));
        self.happened.rotations += u64::from(stats.flushes > 0);
        Ok(())
    }

    fn close(&mut self) -> Result<(), Broken> {
        if let Some(db) = self.db.take() {
            failing("a close", db.close())?;
        }
        self.oracle.lock().all_durable();
        Ok(())
    }

    /// Compares the store with the books and closes it.
    ///
    /// # Errors
    /// As [`Player::step`].
    pub fn finish(mut self) -> Result<Happened, Broken> {
        {
            let oracle = self.oracle.lock();
            oracle.check_shown(&self.db()?.snapshot(), oracle.acknowledged())?;
        }
        self.let_go()?;
        self.close()?;
        self.happened.checkpoints = self.checkpoints;
        Ok(self.happened)
    }
}
