//! A fault at every place where a history calls the file system.
//!
//! Each call fails once or for good, with an I/O error, a full disk, or half done; a failed sync
//! drops the pages. The answers are checked against the table of faults:
//! - a call that fails says so; nothing is acknowledged that is not so;
//! - a failed append or sync poisons the handle, and only the outcome of that batch is unknown;
//! - what a kill and what a power loss leave afterwards opens and holds what it has to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::history::{Change, Setup, Step};
use super::oracle::{Broken, Oracle, content_of, failing};
use super::player::{DIR, issue, options};
use crate::runtime::inline::InlineRuntime;
use crate::vfs::Vfs;
use crate::vfs::fault::{Fault, FaultError, FaultVfs, OpKind, Times};
use crate::vfs::sim::{CrashPlan, SimVfs};
use crate::{Db, Durability, Error, Result, Snapshot, WriteBatch};

/// The places to fail at: kinds of call, with the part of the path that picks them out.
pub const PLACES: &[(OpKind, &str)] = &[
    (OpKind::Create, ".wal"),
    (OpKind::Create, ".sst"),
    (OpKind::Create, "MANIFEST"),
    (OpKind::Create, "CURRENT"),
    (OpKind::Open, ""),
    (OpKind::Read, ".wal"),
    (OpKind::Read, ".sst"),
    (OpKind::Read, "MANIFEST"),
    (OpKind::Read, "CURRENT"),
    (OpKind::Write, ".wal"),
    (OpKind::Write, ".sst"),
    (OpKind::Write, "MANIFEST"),
    (OpKind::Write, "CURRENT"),
    (OpKind::Allocate, ".wal"),
    (OpKind::Sync, ".wal"),
    (OpKind::Sync, ".sst"),
    (OpKind::Sync, "MANIFEST"),
    (OpKind::Sync, "CURRENT"),
    (OpKind::SyncDir, ""),
    (OpKind::Rename, ""),
    (OpKind::Link, ""),
    (OpKind::Remove, ""),
    (OpKind::List, ""),
    (OpKind::Lock, ""),
];

/// Bytes of a log before its first frame.
const LOG_HEADER_SIZE: usize = 64;

/// Every way to fail.
pub const WAYS: [(Times, FaultError); 6] = [
    (Times::Once, FaultError::Eio),
    (Times::Once, FaultError::Enospc),
    (Times::Once, FaultError::Short),
    (Times::Always, FaultError::Eio),
    (Times::Always, FaultError::Enospc),
    (Times::Always, FaultError::Short),
];

/// What a sweep saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Runs in which a call was failed.
    pub runs: u64,
    /// Calls that were failed.
    pub injected: u64,
    /// Errors that the store gave.
    pub told: u64,
    /// Runs that left a batch with an unknown outcome.
    pub unknown: u64,
    /// Runs that poisoned a handle.
    pub poisoned: u64,
    /// Runs in which nothing was told because nothing was lost.
    pub silent: u64,
}

impl Tally {
    /// Adds another.
    pub fn join(&mut self, other: &Tally) {
        self.runs += other.runs;
        self.injected += other.injected;
        self.told += other.told;
        self.unknown += other.unknown;
        self.poisoned += other.poisoned;
        self.silent += other.silent;
    }
}

/// A fault whose answer was wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The fault.
    pub fault: Fault,
    /// What was expected and found.
    pub broken: Broken,
}

/// Fails every call of one place in one way, one run a call.
///
/// # Errors
/// The first wrong answer.
pub fn sweep(
    setup: &Setup,
    (op, path): (OpKind, &str),
    (times, error): (Times, FaultError),
) -> Result<Tally, Box<Violation>> {
    let mut all = Tally::default();
    for after in 0.. {
        let fault = Fault { op, path_contains: path.to_owned(), after, times, error };
        match run(setup, &fault) {
            Ok(tally) if tally.injected == 0 => break,
            Ok(tally) => all.join(&tally),
            Err(broken) => return Err(Box::new(Violation { fault, broken })),
        }
    }
    Ok(all)
}

/// Plays a history with one fault and checks all answers and what is left.
///
/// # Errors
/// The first wrong one.
pub fn run(setup: &Setup, fault: &Fault) -> Result<Tally, Broken> {
    let mut run = Run::new(setup, fault);
    run.play()?;
    let injected = run.vfs.injected();
    let mut tally = run.tally;
    tally.injected = injected;
    if injected > 0 {
        tally.runs = 1;
        tally.unknown = u64::from({
            let oracle = run.oracle.lock();
            oracle.issued() > oracle.acknowledged()
        });
        tally.silent = u64::from(tally.told == 0);
        tally.poisoned = tally.poisoned.min(1);
        if tally.told == 0 && must_be_told(fault) && !run.was_unclean {
            return Err(Broken::new("an error", "silence about a fault in the log"));
        }
    }
    run.check_what_is_left()?;
    Ok(tally)
}

/// A failed write or sync of the log is always somebody's business.
fn must_be_told(fault: &Fault) -> bool {
    fault.path_contains == ".wal" && matches!(fault.op, OpKind::Write | OpKind::Sync)
}

struct Run<'s> {
    setup: &'s Setup,
    sim: SimVfs,
    vfs: FaultVfs,
    runtime: InlineRuntime,
    oracle: Mutex<Oracle>,
    db: Option<Db>,
    snapshots: Vec<(Snapshot, usize)>,
    checkpoints: u64,
    tally: Tally,
    /// The logs as the handle found them.
    logs: BTreeMap<PathBuf, Vec<u8>>,
    /// The handle that was last let go must not have left a mark that it closed well.
    unclean_due: bool,
    was_unclean: bool,
}

impl<'s> Run<'s> {
    fn new(setup: &'s Setup, fault: &Fault) -> Run<'s> {
        let sim = SimVfs::new();
        let vfs = FaultVfs::over_sim(sim.clone());
        vfs.add(fault.clone());
        Run {
            setup,
            sim,
            vfs,
            runtime: InlineRuntime::new(setup.seed),
            oracle: Mutex::default(),
            db: None,
            snapshots: Vec::new(),
            checkpoints: 0,
            tally: Tally::default(),
            logs: BTreeMap::new(),
            unclean_due: false,
            was_unclean: false,
        }
    }

    /// The whole history, as far as it goes: it ends early where the store cannot be opened.
    fn play(&mut self) -> Result<(), Broken> {
        for step in self.setup.steps.iter().chain([&Step::Reopen]) {
            if self.db.is_none() && !self.open()? {
                return Ok(());
            }
            self.step(step)?;
        }
        self.snapshots.clear();
        self.db = None;
        Ok(())
    }

    /// Opens the store and takes stock; false if it cannot be opened.
    fn open(&mut self) -> Result<bool, Broken> {
        let opened = options(self.setup, self.vfs.clone(), &self.runtime).open(Path::new(DIR));
        let db = match opened {
            Ok(db) => db,
            Err(error) => {
                self.io(&error)?;
                return Ok(false);
            }
        };
        let is_clean = db.recovery().clean;
        self.was_unclean |= !is_clean;
        if self.unclean_due && is_clean {
            return Err(Broken::new("an unclean end", "the mark of a close behind a failure"));
        }
        self.unclean_due = false;
        self.logs = self.logs();
        let kept = db.recovery().last_seqno.0;
        {
            let mut oracle = self.oracle.lock();
            let acknowledged = oracle.acknowledged();
            let batches =
                (acknowledged..=oracle.issued()).find(|&batches| oracle.ops(batches) == kept);
            let Some(batches) = batches else {
                let due = oracle.ops(acknowledged);
                return Err(Broken::new(format!("{due} operations at least"), format!("{kept}")));
            };
            oracle.settle(batches);
            if !is_clean {
                oracle.all_durable();
            }
        }
        self.db = Some(db);
        Ok(true)
    }

    fn db(&self) -> Result<&Db, Broken> {
        self.db.as_ref().ok_or_else(|| Broken::new("an open store", "none"))
    }

    fn step(&mut self, step: &Step) -> Result<(), Broken> {
        match step {
            Step::Write { changes, sync } => self.write(changes, *sync)?,
            Step::Sync => {
                let result = self.db()?.sync();
                self.durable_if(result)?;
            }
            Step::Flush => {
                let result = self.db()?.flush();
                self.durable_if(result)?;
            }
            Step::Compact => {
                let result = self.db()?.compact::<&str, _>(..);
                self.durable_if(result)?;
            }
            Step::Background => self.runtime.run_until_idle(),
            Step::BackgroundStep(choice) => _ = self.runtime.step_one(usize::from(*choice)),
            Step::Snapshot => {
                let snapshot = self.db()?.snapshot();
                self.snapshots.push((snapshot, self.oracle.lock().acknowledged()));
            }
            Step::Release if self.snapshots.is_empty() => self.read()?,
            Step::Release => {
                let (snapshot, batches) = self.snapshots.remove(0);
                self.read_snapshot(&snapshot, batches)?;
            }
            Step::Reopen => self.close()?,
            Step::Drop | Step::Kill => {
                self.read()?;
                self.snapshots.clear();
                let failed = self.is_poisoned()? || self.has_failed_job()?;
                self.unclean_due = failed && self.has_written();
                self.db = None;
            }
            Step::Checkpoint => {
                self.checkpoints += 1;
                let dir = format!("/beach/copy{}", self.checkpoints);
                if let Err(error) = self.db()?.checkpoint(&dir) {
                    self.failed(&error)?;
                }
            }
        }
        Ok(())
    }

    /// Writing nothing touches no file, and tells.
    fn is_poisoned(&self) -> Result<bool, Broken> {
        let nothing = self.db()?.write(WriteBatch::new(), Durability::Buffered);
        Ok(matches!(nothing, Err(Error::Poisoned(_))))
    }

    /// A handle that left the logs as they were cannot have marked them as closed: what the one
    /// before said still holds.
    fn has_written(&self) -> bool {
        self.logs() != self.logs
    }

    /// The logs without the zeros at their ends (one that has only grown says what it said) and
    /// without those that hold a header alone.
    fn logs(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = self.sim.dump();
        let is_log = |path: &Path| path.extension().is_some_and(|extension| extension == "wal");
        files.retain(|path, _| path.starts_with(DIR) && is_log(path));
        for bytes in files.values_mut() {
            let used = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
            bytes.truncate(used);
        }
        files.retain(|_, bytes| bytes.len() > LOG_HEADER_SIZE);
        files
    }

    /// After a failed job, too, the next opening has to look at everything.
    fn has_failed_job(&self) -> Result<bool, Broken> {
        Ok(self.db()?.stats().background_errors > 0)
    }

    fn write(&mut self, changes: &[Change], sync: bool) -> Result<(), Broken> {
        if changes.is_empty() {
            return Ok(());
        }
        let was_poisoned = self.is_poisoned()?;
        // Behind a batch of unknown outcome nothing is issued: it would only be refused.
        let batch = match was_poisoned {
            true => batch_of_one(),
            false => issue(&self.oracle, changes),
        };
        let durability = if sync { Durability::Sync } else { Durability::Buffered };
        match self.db()?.write(batch, durability) {
            Ok(_) if was_poisoned => {
                Err(Broken::new("a refusal", "a write that was acknowledged behind a failure"))
            }
            Ok(seqno) => {
                let mut oracle = self.oracle.lock();
                oracle.acknowledge(sync);
                let due = oracle.ops(oracle.acknowledged());
                if seqno.0 != due {
                    return Err(Broken::new(format!("sequence number {due}"), seqno.to_string()));
                }
                Ok(())
            }
            Err(error) if was_poisoned => self.failed(&error),
            Err(error) => {
                self.io(&error)?;
                if self.is_poisoned()? {
                    self.tally.poisoned += 1;
                } else {
                    self.oracle.lock().withdraw();
                }
                Ok(())
            }
        }
    }

    fn durable_if(&mut self, result: Result<()>) -> Result<(), Broken> {
        match result {
            Ok(()) => {
                self.oracle.lock().all_durable();
                Ok(())
            }
            Err(error) => self.failed(&error),
        }
    }

    fn close(&mut self) -> Result<(), Broken> {
        self.read()?;
        while !self.snapshots.is_empty() {
            let (snapshot, batches) = self.snapshots.remove(0);
            self.read_snapshot(&snapshot, batches)?;
        }
        let has_failed_job = self.has_failed_job()?;
        let Some(db) = self.db.take() else { return Ok(()) };
        let result = db.close();
        self.unclean_due = (result.is_err() || has_failed_job) && self.has_written();
        self.durable_if(result)
    }

    fn read(&mut self) -> Result<(), Broken> {
        let snapshot = self.db()?.snapshot();
        let batches = self.oracle.lock().acknowledged();
        self.read_snapshot(&snapshot, batches)
    }

    /// What can be read is right; what cannot is an error.
    fn read_snapshot(&mut self, snapshot: &Snapshot, batches: usize) -> Result<(), Broken> {
        let due = self.oracle.lock().content(batches);
        let mut failures = Vec::new();
        for (key, value) in &due {
            match snapshot.get(key) {
                Ok(got) if got.as_deref() == Some(value.as_slice()) => {}
                Ok(_) => {
                    let expected = format!("the value under {}", key.escape_ascii());
                    return Err(Broken::new(expected, "another, or none"));
                }
                Err(error) => failures.push(error),
            }
        }
        let mut rest = due.iter();
        let mut pairs = snapshot.iter();
        while let Some(item) = pairs.next() {
            match item {
                Ok((key, value)) if rest.next() == Some((&key, &value.to_vec())) => {}
                Ok((key, _)) => {
                    let found = format!("{} in a scan", key.escape_ascii());
                    return Err(Broken::new("the next pair", found));
                }
                Err(error) => {
                    failures.push(error);
                    if pairs.next().is_some() {
                        return Err(Broken::new("nothing behind an error", "more of a scan"));
                    }
                }
            }
        }
        if failures.is_empty() && rest.next().is_some() {
            return Err(Broken::new("all pairs or an error", "a scan that ended early"));
        }
        failures.iter().try_for_each(|error| self.io(error))
    }

    /// An error of the system's, as it is due where the fault struck.
    fn io(&mut self, error: &Error) -> Result<(), Broken> {
        self.tally.told += 1;
        match error {
            Error::Io { .. } => Ok(()),
            other => Err(Broken::new("the system's error", other.to_string())),
        }
    }

    /// The same, or that something failed before.
    fn failed(&mut self, error: &Error) -> Result<(), Broken> {
        match error {
            Error::Poisoned(_) if self.vfs.injected() > 0 => {
                self.tally.told += 1;
                Ok(())
            }
            error => self.io(error),
        }
    }

    /// What a kill or a power loss leaves now opens, and holds what it has to.
    fn check_what_is_left(&mut self) -> Result<(), Broken> {
        let killed = self.sim.kill();
        let lost = self.sim.crash(&CrashPlan::LOSE_ALL);
        self.snapshots.clear();
        self.db = None;
        self.vfs.clear();
        let oracle = self.oracle.lock();
        self.reopen(&killed, &oracle, oracle.acknowledged())?;
        self.reopen(&lost, &oracle, oracle.durable())
    }

    fn reopen(&self, left: &SimVfs, oracle: &Oracle, floor: usize) -> Result<(), Broken> {
        if !failing("a look", left.exists(Path::new(DIR)))? {
            return match floor {
                0 => Ok(()),
                _ => Err(Broken::new(format!("{floor} batches at least"), "no store")),
            };
        }
        let db = options(self.setup, left.clone(), &self.runtime).open(Path::new(DIR));
        let db = failing("an opening afterwards", db)?;
        oracle.check(&db, floor)?;
        failing("a write afterwards", db.put("~afterwards", "1"))?;
        content_of(&db.snapshot()).map(drop)
    }
}

fn batch_of_one() -> WriteBatch {
    let mut batch = WriteBatch::new();
    batch.put("~refused", "1");
    batch
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A few histories, every place, every way; refusals, poisonings and unknown outcomes occur.
    #[test]
    fn the_answers_to_faults_are_right() {
        let mut all = Tally::default();
        for seed in 0..2 {
            let setup = Setup::seeded(seed);
            for place in PLACES {
                for way in WAYS {
                    match sweep(&setup, *place, way) {
                        Ok(tally) => all.join(&tally),
                        Err(violation) => panic!("{violation:#?}\n{}", setup.to_json()),
                    }
                }
            }
        }
        println!("{all:?}");
        assert!(all.runs > 200 && all.unknown > 10 && all.poisoned > 10, "{all:?}");
        assert!(all.told > all.runs / 2, "{all:?}");
    }
}
