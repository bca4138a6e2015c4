//! Running one job of an open store, and making its outcome part of the tree.
//!
//! Order, each step durable before the next: the new tables, the directory, the manifest edit, the
//! new view; then the inputs may go, when nobody reads them any more. A job that fails before its
//! edit removes what it wrote and leaves the tree as it was. A failed edit has an unknown outcome:
//! neither inputs nor outputs are removed then, and the next opening finds out.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::pick;
use super::run::{self, Merged, Older, Plan};
use super::{Action, Job, Limits, Strategy};
use crate::engine::core::{Alarm, Core, WriteSide};
use crate::engine::events::Event;
use crate::engine::files::Failure;
use crate::engine::tables::TableFile;
use crate::engine::version::Version;
use crate::error::{Error, Result};
use crate::format::edit::{Counters, Edit, Reason};
use crate::format::table::{Origin, TableMeta};
use crate::probe::{failpoint, mutant};
use crate::runtime::Step;
use crate::table::{Table, TableOrigin, TableWriter, WriterOptions};
use crate::types::{FileNumber, Level, SeqNo};

/// Bytes of a table after which what was written is synced: one large sync at the end would hold up
/// the log's.
const SYNC_BYTES: u64 = 8 << 20;

/// How long a failed job waits before it is tried again; doubled with each failure in a row.
const RETRY_US_MIN: u64 = 100_000;
const RETRY_US_MAX: u64 = 60_000_000;

/// What a store knows of its compactions.
#[derive(Debug, Default)]
pub(in crate::engine) struct Compactions {
    state: Mutex<State>,
    /// The store is being closed: a running job gives up.
    closing: AtomicBool,
    /// Bytes that the running job has read.
    progress: AtomicU64,
    /// How many wait until nothing is due: then what could wait is done as well.
    waiting: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    manual: VecDeque<Arc<Manual>>,
    running: Option<Span>,
    /// How many keep the next job from beginning.
    held: u32,
    /// Nothing was due when the tree was last looked at, and it has not changed since.
    settled: bool,
    /// Jobs that failed in a row, and when the next may be tried.
    failures: u32,
    retry_at_us: u64,
    /// Damage was met: no job is tried before the store is opened again.
    stopped: bool,
}

/// Somebody waits until a key range is merged into one run.
#[derive(Debug)]
struct Manual {
    from: Option<Vec<u8>>,
    to: Option<Vec<u8>>,
    upto: SeqNo,
    done: AtomicBool,
}

/// What the running job covers: nothing may enter the tree there at or above its output level, but
/// newer tables in L0.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Span {
    pub(in crate::engine) output: Level,
    pub(in crate::engine) smallest: Vec<u8>,
    pub(in crate::engine) largest: Vec<u8>,
}

/// No job begins until this is dropped.
pub(in crate::engine) struct Held<'a>(&'a Compactions);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.state.lock().held -= 1;
    }
}

impl Compactions {
    /// The tree has changed: something may be due.
    pub(in crate::engine) fn unsettle(&self) {
        self.state.lock().settled = false;
    }

    pub(in crate::engine) fn is_settled(&self) -> bool {
        self.state.lock().settled
    }

    /// What the running job covers.
    pub(in crate::engine) fn running(&self) -> Option<Span> {
        self.state.lock().running.clone()
    }

    /// Keeps jobs from beginning as long as the guard lives: for whoever changes the tree beside
    /// them. A running one goes on.
    pub(in crate::engine) fn hold(&self) -> Held<'_> {
        self.state.lock().held += 1;
        Held(self)
    }

    /// Makes a running job give up and keeps others from beginning.
    pub(in crate::engine) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    pub(in crate::engine) fn progress(&self) -> u64 {
        self.progress.load(Ordering::Relaxed)
    }

    fn is_awaited(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > 0
    }

    /// Whether no job begins any more.
    pub(in crate::engine) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }
}

impl Core {
    /// One step of the compaction worker: one job, if one is due.
    pub(in crate::engine) fn compaction_step(&self) -> Step {
        self.tables.collect_garbage();
        let Ok(side) = self.write_side() else { return Step::Idle };
        if side.poison.is_set() || side.has_background_error() || side.compactions.is_closing() {
            return Step::Idle;
        }
        let Some((job, version)) = self.next_job(side) else { return Step::Idle };
        let alarm = Alarm(self, side);
        let done = self.run_job(side, &job, &version);
        // The last to name the inputs may be this.
        drop(version);
        self.tables.collect_garbage();
        let step = self.job_ended(side, done);
        std::mem::forget(alarm);
        step
    }

    /// What to do next, and on which version. While it is being found out, nobody says that the
    /// tree has changed.
    fn next_job(&self, side: &WriteSide) -> Option<(Job, Arc<Version>)> {
        let mut state = side.compactions.state.lock();
        if state.held > 0 || state.stopped || self.files.runtime.monotonic_us() < state.retry_at_us
        {
            return None;
        }
        let version = Arc::clone(&self.superversion.load().version);
        let limits = self.limits();
        let shape = version.shape();
        let mut job = None;
        if matches!(self.options.strategy, Strategy::Fifo { .. }) {
            // Its tables are never merged, only dropped.
            state.manual.drain(..).for_each(|manual| manual.done.store(true, Ordering::Release));
        }
        while job.is_none()
            && let Some(manual) = state.manual.front()
        {
            let (from, to) = (manual.from.as_deref(), manual.to.as_deref());
            job = pick::pick_range(&shape, &limits, from, to, manual.upto);
            if job.is_none() {
                manual.done.store(true, Ordering::Release);
                state.manual.pop_front();
            }
        }
        let job = job.or_else(|| pick::pick(self.options.strategy, &shape, &limits));
        state.settled = job.is_none();
        state.running = job.as_ref().map(|job| span(job, &version));
        drop(state);
        if job.is_none() {
            self.notify_waiting();
        }
        job.map(|job| (job, version))
    }

    pub(in crate::engine) fn limits(&self) -> Limits {
        Limits {
            memtable_size: self.options.memtable_size,
            table_size: self.options.table_size,
            oldest_snapshot: self.snapshots.summary().1.unwrap_or(SeqNo::MAX),
            idle: self.writer.as_ref().is_some_and(|side| side.compactions.is_awaited()),
        }
    }

    fn job_ended(&self, side: &WriteSide, done: Result<(), Failure>) -> Step {
        let mut state = side.compactions.state.lock();
        state.running = None;
        side.compactions.progress.store(0, Ordering::Relaxed);
        let Err(failure) = done else {
            state.failures = 0;
            drop(state);
            self.update_pressure();
            return Step::Worked;
        };
        if side.compactions.is_closing() && matches!(failure, Failure::Refused(_)) {
            return Step::Idle;
        }
        let damaged = matches!(&failure, Failure::Refused(Error::Corruption(_)));
        state.failures = state.failures.saturating_add(1);
        let wait = RETRY_US_MIN.saturating_mul(1 << state.failures.min(20)).min(RETRY_US_MAX);
        state.retry_at_us = self.files.runtime.monotonic_us().saturating_add(wait);
        drop(state);
        self.background_failed(side, failure);
        // Only now: whoever waits is told what is damaged before being told that something is.
        side.compactions.state.lock().stopped |= damaged;
        Step::Idle
    }

    fn run_job(&self, side: &WriteSide, job: &Job, version: &Version) -> Result<(), Failure> {
        let id = side.next_job.fetch_add(1, Ordering::Relaxed);
        let inputs = inputs_of(job, version);
        let started = self.files.runtime.monotonic_us();
        self.tell(&Event::CompactionBegun {
            job: id,
            cause: job.cause,
            action: job.action,
            tables: inputs.len() as u64,
            bytes: inputs.iter().map(|file| file.meta.size).sum(),
            output: job.output,
        });
        let merged = match job.action {
            Action::Merge => {
                // Before files are made that only an edit can name.
                side.manifest.lock().mend()?;
                failpoint("compaction_before_merge");
                Some(self.merge(side, id, job, version).map_err(Failure::Refused)?)
            }
            Action::Move | Action::Drop => None,
        };
        let added = match (&merged, job.action) {
            (Some(merged), _) => merged.tables.clone(),
            (None, Action::Move) => inputs.iter().map(|file| file.meta.clone()).collect(),
            (None, _) => Vec::new(),
        };
        let edit = Edit {
            reason: if job.action == Action::Move { Reason::Move } else { Reason::Compaction },
            job: id,
            tables_removed: job.inputs.clone(),
            tables_added: added.into_iter().map(|table| (job.output, table)).collect(),
            ..Edit::default()
        };
        let count = |counters: &mut Counters| {
            if let Some(merged) = &merged {
                count_merge(counters, merged);
            }
        };
        failpoint("compaction_before_install");
        // Rule 8: first the edit is durable, then what it makes superfluous may go.
        if mutant("inputs_removed_before_the_edit") && job.action == Action::Merge {
            for file in &inputs {
                let _ = self.files.vfs.remove(&self.files.table_path(file.meta.number));
            }
        }
        self.install(side, edit, count, None)?;
        failpoint("compaction_after_install");
        if job.action != Action::Move {
            inputs.iter().for_each(|file| file.mark_obsolete());
        }
        failpoint("compaction_after_obsolete");
        self.counters.compacted(job.action, inputs.len() as u64, merged.as_ref());
        let us = self.files.runtime.monotonic_us().saturating_sub(started);
        self.tell(&ended(id, us, &merged.unwrap_or_default()));
        self.leave_mark(side)?;
        failpoint("compaction_after_mark");
        Ok(())
    }

    /// Merges the inputs into new tables, durable with their names.
    fn merge(&self, side: &WriteSide, id: u64, job: &Job, version: &Version) -> Result<Merged> {
        let mut made = Vec::new();
        let merged = self.merge_into(side, id, job, version, &mut made);
        failpoint("compaction_before_dir_sync");
        // Rule 8: tables have their names before an edit names them.
        let sync =
            || if mutant("merged_names_not_synced") { Ok(()) } else { self.files.sync_dir() };
        let merged = merged.and_then(|merged| sync().map(|()| merged));
        if merged.is_err() {
            for number in made {
                // No edit names it yet. If it cannot be removed, the next opening will.
                let _ = self.files.vfs.remove(&self.files.table_path(number));
            }
        }
        merged
    }

    fn merge_into(
        &self,
        side: &WriteSide,
        id: u64,
        job: &Job,
        version: &Version,
        made: &mut Vec<FileNumber>,
    ) -> Result<Merged> {
        let runs = runs_of(job, version)?;
        let mut snapshots = self.snapshots.seqnos();
        // Rule 13: for each of the snapshots the newest version it sees is kept.
        if mutant("only_the_oldest_snapshot_counts") {
            snapshots.truncate(1);
        }
        let (mut loose, levels) = older_than(job, version);
        // Rule 14: older versions may lie beside the inputs.
        if mutant("tables_beside_the_inputs_overlooked") {
            loose.clear();
        }
        let older = Older::new(loose, levels.iter().map(Vec::as_slice).collect());
        let below = usize::from(job.output.0) + 1;
        let cuts: Vec<&TableMeta> = match job.output {
            // Tables of one run in L0 need no boundaries.
            Level(0) => Vec::new(),
            _ => version.levels.get(below).into_iter().flatten().map(|file| &file.meta).collect(),
        };
        let writer = WriterOptions {
            compression: self.options.compression,
            sync_bytes: Some(SYNC_BYTES),
            ..WriterOptions::default()
        };
        let inputs: Vec<FileNumber> = job.inputs.iter().map(|(_, number)| *number).collect();
        let mut create = || {
            let number = self.files.new_number();
            let origin = TableOrigin {
                store: self.files.store,
                number,
                id: self.files.new_id(),
                level: job.output,
                origin: Origin::Compaction,
                job: id,
                inputs: inputs.clone(),
                created_ms: self.files.runtime.now_ms(),
            };
            let file = self.files.vfs.create(&self.files.table_path(number))?;
            made.push(number);
            failpoint("compaction_after_create");
            Ok(TableWriter::new(file, writer.clone(), origin))
        };
        let mut pause = || {
            side.compactions.progress.fetch_add(run::PAUSE_SIZE, Ordering::Relaxed);
            self.update_pressure();
            match side.compactions.is_closing() || side.poison.is_set() {
                true => Err(stopped()),
                false => Ok(()),
            }
        };
        let table_size = if job.output == Level(0) { u64::MAX } else { self.options.table_size };
        let plan = Plan { runs, snapshots: &snapshots, older, below: &cuts, table_size };
        run::run(plan, &mut create, &mut pause)
    }

    /// Merges everything in the range that was written before the call into one run, without
    /// tombstones and versions that nobody needs.
    pub(in crate::engine) fn compact(
        &self,
        from: Option<Vec<u8>>,
        to: Option<Vec<u8>>,
    ) -> Result<()> {
        let side = self.write_side()?;
        self.flush()?;
        let upto = self.visible_seqno();
        let manual = Arc::new(Manual { from, to, upto, done: AtomicBool::new(false) });
        {
            let mut state = side.compactions.state.lock();
            state.settled = false;
            state.retry_at_us = 0;
            state.manual.push_back(Arc::clone(&manual));
        }
        let done = || manual.done.load(Ordering::Acquire);
        let waited = self.wait_for_compactor(side, done);
        if !done() {
            side.compactions.state.lock().manual.retain(|other| !Arc::ptr_eq(other, &manual));
        }
        waited
    }

    /// Waits until no compaction is due.
    pub(in crate::engine) fn wait_for_compactions(&self) -> Result<()> {
        let side = self.write_side()?;
        self.wait_for_flushes(side)?;
        self.wait_for_compactions_of(side)
    }

    pub(in crate::engine) fn wait_for_compactions_of(&self, side: &WriteSide) -> Result<()> {
        side.compactions.waiting.fetch_add(1, Ordering::AcqRel);
        {
            let mut state = side.compactions.state.lock();
            state.settled = false;
            // Whoever waits for it wants it tried now.
            state.retry_at_us = 0;
        }
        let waited = self.wait_for_compactor(side, || side.compactions.is_settled());
        side.compactions.waiting.fetch_sub(1, Ordering::AcqRel);
        waited
    }

    /// Makes the running job give up, and whoever waits return.
    pub(in crate::engine) fn stop_compactions(&self) {
        if let Some(side) = &self.writer {
            side.compactions.close();
            self.notify_waiting();
        }
    }

    pub(in crate::engine) fn wait_for_compactor(
        &self,
        side: &WriteSide,
        done: impl Fn() -> bool,
    ) -> Result<()> {
        let damaged = || side.compactions.state.lock().stopped;
        let closing = || side.compactions.is_closing();
        let failed = || side.has_background_error() || side.poison.is_set() || damaged();
        loop {
            self.wait_for(&side.compactor, || done() || failed() || closing());
            if done() {
                return Ok(());
            }
            if closing() {
                return Err(stopped());
            }
            side.report_background_error()?;
            side.poison.check()?;
            if damaged() {
                let detail = "a compaction met damage; see what the check of the store says";
                return Err(Error::corruption(&self.files.dir, None, detail));
            }
        }
    }
}

impl Version {
    /// The tables a job takes, in the order of the version.
    fn files<'a>(&'a self, job: &'a Job, level: usize) -> impl Iterator<Item = &'a Arc<TableFile>> {
        let numbers: BTreeSet<FileNumber> = (job.inputs.iter())
            .filter(|(of, _)| usize::from(of.0) == level)
            .map(|(_, number)| *number)
            .collect();
        self.levels[level].iter().filter(move |file| numbers.contains(&file.meta.number))
    }
}

fn inputs_of(job: &Job, version: &Version) -> Vec<Arc<TableFile>> {
    (0..Level::COUNT).flat_map(|level| version.files(job, level)).cloned().collect()
}

/// The inputs as sorted runs, newest first: each table of L0 by itself, each other level as one.
fn runs_of(job: &Job, version: &Version) -> Result<Vec<Vec<Arc<Table>>>> {
    let mut runs = Vec::new();
    for file in version.files(job, 0) {
        runs.push(vec![file.table()?]);
    }
    for level in 1..Level::COUNT {
        let run = version.files(job, level).map(|file| file.table());
        let run = run.collect::<Result<Vec<_>>>()?;
        if !run.is_empty() {
            runs.push(run);
        }
    }
    Ok(runs)
}

/// The tables outside the job that may hold older versions of its keys: those of L0, which overlap each
/// other, and the others by level.
///
/// As for a read, a table above or before every input holds nothing older. Were it counted by its
/// sequence numbers alone, a table of the bottom could keep a tombstone for the sake of newer entries
/// above it, and be rewritten again and again to be rid of it.
fn older_than<'a>(
    job: &Job,
    version: &'a Version,
) -> (Vec<&'a TableMeta>, Vec<Vec<&'a TableMeta>>) {
    let inputs = inputs_of(job, version);
    let newest = inputs.iter().map(|file| file.meta.max_seqno).max().unwrap_or(SeqNo::ZERO);
    let numbers: BTreeSet<_> = inputs.iter().map(|file| file.meta.number).collect();
    let outside = |tables: &'a [Arc<TableFile>]| -> Vec<&'a TableMeta> {
        let metas = tables.iter().map(|file| &file.meta);
        metas.filter(|meta| !numbers.contains(&meta.number) && meta.min_seqno <= newest).collect()
    };
    let top = &version.levels[0];
    let first = top.iter().position(|file| numbers.contains(&file.meta.number));
    let loose = outside(&top[first.unwrap_or(top.len())..]);
    let shallowest = job.inputs.iter().map(|(level, _)| usize::from(level.0)).min();
    let from = shallowest.unwrap_or(Level::COUNT).max(1);
    (loose, version.levels[from..].iter().map(|tables| outside(tables)).collect())
}

fn span(job: &Job, version: &Version) -> Span {
    let inputs = inputs_of(job, version);
    let smallest = inputs.iter().map(|file| &file.meta.smallest.user).min();
    let largest = inputs.iter().map(|file| &file.meta.largest.user).max();
    Span {
        output: job.output,
        smallest: smallest.cloned().unwrap_or_default(),
        largest: largest.cloned().unwrap_or_default(),
    }
}

fn ended(job: u64, us: u64, merged: &Merged) -> Event {
    Event::CompactionEnded {
        job,
        tables: merged.tables.len() as u64,
        bytes: merged.bytes_out,
        dropped_shadowed: merged.dropped_shadowed,
        dropped_tombstones: merged.dropped_tombstones,
        us,
    }
}

/// What a job that gives up ends with, and whoever waits for it.
fn stopped() -> Error {
    Error::Poisoned("the compactions of this handle were stopped".to_owned())
}

fn count_merge(counters: &mut Counters, merged: &Merged) {
    // Saturating, since a manifest may say anything.
    let add = |total: &mut u64, more| *total = total.saturating_add(more);
    add(&mut counters.compactions, 1);
    add(&mut counters.compacted_bytes_in, merged.bytes_in);
    add(&mut counters.compacted_bytes_out, merged.bytes_out);
}

#[cfg(test)]
mod tests {
    use crate::{Db, Error};

    /// After the stop: no compaction by hand, no waiting for one, but writes, flushes and reads as ever,
    /// and a close that marks the store as closed.
    #[test]
    fn a_handle_whose_compactions_were_stopped_goes_on_without_them() -> crate::Result<()> {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path())?;
        db.put("a", "1")?;
        db.stop_compactions();
        assert!(matches!(db.compact::<&str, _>(..), Err(Error::Poisoned(_))));
        assert!(matches!(db.wait_for_compactions(), Err(Error::Poisoned(_))));
        for n in 0..10 {
            db.put("a", n.to_string())?;
            db.flush()?;
        }
        assert_eq!(db.tables().len(), 11);
        assert_eq!(&*db.get("a")?.unwrap(), b"9");
        db.close()?;
        let db = Db::open(dir.path())?;
        assert!(db.recovery().clean);
        db.compact::<&str, _>(..)?;
        assert_eq!((db.tables().len(), db.stats().dropped_shadowed), (1, 10));
        Ok(())
    }
}
