//! Flushing: the oldest immutable memtable becomes an L0 table.
//!
//! Order, each step durable before the next: table, directory, manifest edit, the new view; then
//! the logs may go. A crash in between leaves an orphan table or left-over logs, never a gap.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::compaction::pick;
use super::core::{Alarm, Core, WriteSide};
use super::events::Event;
use super::files::Failure;
use super::memtable::MemtableIter;
use super::superversion::Immutable;
use crate::error::Result;
use crate::format::edit::{Counters, Edit, Reason};
use crate::format::table::{Origin, TableMeta};
use crate::probe::{failpoint, mutant};
use crate::runtime::Step;
use crate::table::{Compression, TableOrigin, TableWriter, WriterOptions};
use crate::types::{FileNumber, Level};

/// Immutable memtables that may wait for their flush.
const IMMUTABLES_MAX: usize = 2;

impl Core {
    /// One step of the flush worker: flushes one memtable, if one waits.
    pub(super) fn flush_step(&self) -> Step {
        let Ok(side) = self.write_side() else { return Step::Idle };
        // After an error it waits: the next write reports it and wakes the worker to try again.
        if side.poison.is_set() || side.has_background_error() {
            return Step::Idle;
        }
        let view = self.superversion.load();
        // Rule 12: the oldest is flushed first.
        let next = match mutant("newest_memtable_flushed_first") {
            true => view.immutables.first(),
            false => view.immutables.last(),
        };
        let Some(oldest) = next.cloned() else { return Step::Idle };
        drop(view);
        let alarm = Alarm(self, side);
        let step = match self.flush_one(side, &oldest) {
            Ok(()) => Step::Worked,
            Err(failure) => {
                self.background_failed(side, failure);
                Step::Idle
            }
        };
        std::mem::forget(alarm);
        step
    }

    pub(super) fn background_failed(&self, side: &WriteSide, failure: Failure) {
        if let Err(error) = side.refused_or_poisoned(Err(failure)) {
            self.counters.background_errors.add(1);
            self.tell(&Event::JobFailed { error: error.to_string() });
            *side.background_error.lock() = Some(error);
        }
        self.notify_waiting();
    }

    fn flush_one(&self, side: &WriteSide, immutable: &Arc<Immutable>) -> Result<(), Failure> {
        let job = side.next_job.fetch_add(1, Ordering::Relaxed);
        let started = self.files.runtime.monotonic_us();
        let entries = immutable.memtable.entries();
        self.tell(&Event::FlushBegun { job, entries });
        let table = match immutable.memtable.is_empty() {
            true => None,
            false => {
                side.manifest.lock().mend()?;
                Some(self.write_table(job, immutable).map_err(Failure::Refused)?)
            }
        };
        let counted = table.clone();
        let edit = Edit {
            reason: Reason::Flush,
            job,
            // Rule 6: a sequence number is never given again, so the manifest knows the last.
            last_seqno: (!mutant("last_seqno_not_recorded")).then_some(immutable.last_seqno),
            logs_dropped: immutable.logs.clone(),
            tables_added: table.into_iter().map(|table| (Level(0), table)).collect(),
            ..Edit::default()
        };
        let count = |counters: &mut Counters| count_flush(counters, counted.as_ref());
        failpoint("flush_before_install");
        // Rule 8: first the edit is durable, then what it makes superfluous may go.
        if mutant("logs_removed_before_the_edit") {
            for log in &immutable.logs {
                let _ = self.files.vfs.remove(&self.files.log_path(*log));
            }
        }
        self.install(side, edit, count, Some(immutable))?;
        failpoint("flush_after_install");
        self.tell(&Event::FlushEnded {
            job,
            table: counted.map(|table| (table.number, table.size)),
            us: self.files.runtime.monotonic_us().saturating_sub(started),
        });
        self.after_flush(side, immutable)
    }

    /// Writes the table, durable with its name.
    fn write_table(&self, job: u64, immutable: &Immutable) -> Result<TableMeta> {
        let number = self.files.new_number();
        let written = self.write_table_file(job, number, immutable);
        if written.is_err() {
            // No edit names it yet. If it cannot be removed, the next opening will.
            let _ = self.files.vfs.remove(&self.files.table_path(number));
        }
        written
    }

    fn write_table_file(
        &self,
        job: u64,
        number: FileNumber,
        immutable: &Immutable,
    ) -> Result<TableMeta> {
        let origin = TableOrigin {
            store: self.files.store,
            number,
            id: self.files.new_id(),
            level: Level(0),
            origin: Origin::Flush,
            job,
            inputs: immutable.logs.clone(),
            created_ms: self.files.runtime.now_ms(),
        };
        let options = WriterOptions {
            compression: self.flush_compression(immutable),
            ..WriterOptions::default()
        };
        let file = self.files.vfs.create(&self.files.table_path(number))?;
        failpoint("flush_after_create");
        let mut writer = TableWriter::new(file, options, origin);
        let mut entries: MemtableIter = immutable.memtable.iter();
        entries.first();
        while entries.valid() {
            let (user, trailer) = entries.key();
            writer.add(user, trailer, entries.value())?;
            entries.next();
        }
        let meta = writer.finish()?;
        failpoint("flush_after_table_sync");
        // Rule 8: a table has its name before an edit names it.
        if !mutant("table_name_not_synced") {
            self.files.sync_dir()?;
        }
        failpoint("flush_after_dir_sync");
        Ok(meta)
    }

    /// A table of L0 is merged soon and not worth compressing, unless nothing is under it and it will
    /// go down as it is.
    fn flush_compression(&self, immutable: &Immutable) -> Compression {
        let mut entries = immutable.memtable.iter();
        entries.first();
        let from = entries.key().0.to_vec();
        entries.last();
        let view = self.superversion.load();
        let shape = view.version.shape();
        match pick::flush_compresses(self.options.strategy, &shape, &from, entries.key().0) {
            true => self.options.compression,
            false => Compression::None,
        }
    }

    /// The flush is done; what follows is tidying, and the mark that tells the log of the edit.
    fn after_flush(&self, side: &WriteSide, immutable: &Immutable) -> Result<(), Failure> {
        self.counters.flushes.add(1);
        for log in &immutable.logs {
            // A log that cannot be removed is left over; the next opening removes it.
            let _ = self.files.vfs.remove(&self.files.log_path(*log));
            failpoint("flush_after_log_removed");
        }
        // A writer that waits for this very flush holds `writing`; it leaves the mark itself.
        let Some(mut writing) = side.writing.try_lock() else { return Ok(()) };
        if let Some(last) = immutable.logs.last() {
            writing.wal.forget_before(FileNumber(last.0.saturating_add(1)));
        }
        if side.poison.is_set() {
            return Ok(());
        }
        writing.wal.mark().map_err(Failure::Poison)?;
        failpoint("flush_after_mark");
        Ok(())
    }

    /// Flushes everything written so far and returns when it is in tables.
    pub(super) fn flush(&self) -> Result<()> {
        let side = self.write_side()?;
        side.poison.check()?;
        {
            let mut writing = side.writing.lock();
            side.poison.check()?;
            side.report_background_error()?;
            if !writing.memtable.memtable().is_empty() {
                self.rotate(side, &mut writing)?;
            }
        }
        self.wait_for_flushes(side)?;
        side.poison.check()
    }

    /// Waits until another memtable may be held.
    pub(super) fn wait_for_memory(&self, side: &WriteSide) -> Result<()> {
        let free = || self.superversion.load().immutables.len() < IMMUTABLES_MAX;
        if free() {
            return Ok(());
        }
        let started = self.files.runtime.monotonic_us();
        let waited = self.wait_for_flushed(side, free);
        let us = self.files.runtime.monotonic_us().saturating_sub(started);
        side.throttle.stalls.stop_count.add(1);
        side.throttle.stalls.stop_us.add(us);
        self.tell(&Event::Stopped { us });
        waited
    }

    /// Waits until every immutable memtable is in a table, or reports what keeps it from there.
    pub(super) fn wait_for_flushes(&self, side: &WriteSide) -> Result<()> {
        self.wait_for_flushed(side, || self.superversion.load().immutables.is_empty())
    }

    fn wait_for_flushed(&self, side: &WriteSide, flushed: impl Fn() -> bool) -> Result<()> {
        loop {
            self.wait_for(&side.flusher, || {
                flushed() || side.has_background_error() || side.poison.is_set()
            });
            if flushed() {
                return Ok(());
            }
            side.report_background_error()?;
            side.poison.check()?;
            // Another thread was told of the failure first, and the worker tries again.
        }
    }
}

fn count_flush(counters: &mut Counters, table: Option<&TableMeta>) {
    // Saturating, since a manifest may say anything.
    let add = |total: &mut u64, more| *total = total.saturating_add(more);
    add(&mut counters.flushes, 1);
    add(&mut counters.flushed_bytes, table.map_or(0, |table| table.size));
    add(&mut counters.user_bytes, table.map_or(0, |table| table.raw_bytes));
}
