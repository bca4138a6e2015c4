//! Taking in what is sorted already: tables are built beside the tree, past log and memtable, and
//! become part of it all at once.
//!
//! Invariants:
//! - All entries of an ingest have one sequence number: newer than everything that was visible before
//!   it, older than everything that is written after it.
//! - Sequence numbers lie in the blocks, so the number is guessed before the first table is written.
//!   When others wrote meanwhile the guess is too old; the tables are then written again with one
//!   ahead of what will be written until that is done, and the numbers between are left out.
//! - When the edit is appended, every memtable is flushed and the live log holds no record: whether
//!   or not a crash keeps the edit, the log goes on where the tables end.
//! - For the same reason an edit of unknown outcome is settled at once: a new manifest without it, or
//!   nothing is written any more.
//! - Order, each step durable before the next: the tables, the directory, the edit; then the new view,
//!   and last the sequence number becomes visible. The view has a memtable of its own, so that a
//!   reader who holds the one before never sees a later write without the ingest. No compaction begins in
//!   between.
//! - Writers wait for the flush of what came in since the last one and for the edit, not for tables.

mod builder;
mod place;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use builder::Ascending;
pub use builder::TableBuilder;

use super::compaction::Strategy;
use super::core::{Core, WriteSide, Writing};
use super::events::Event;
use super::files::Failure;
use super::manifest::{Manifest, our_bug};
use super::memtable::Memtable;
use super::superversion::SuperVersion;
use super::version::Version;
use crate::error::{Error, Result};
use crate::format::edit::{Counters, Edit, Reason};
use crate::format::key::Trailer;
use crate::format::table::{Origin, Properties, TableMeta};
use crate::probe::failpoint;
use crate::table::{Table, TableIter, TableOrigin, TableWriter, WriterOptions};
use crate::types::{FileNumber, Level, SeqNo, ValueKind};

/// Bytes of a table where each table counts as a run.
const RUN_SIZE: u64 = 1 << 30;

/// Sequence numbers that are left out at least, when some have to be.
const MARGIN_MIN: u64 = 1000;

/// Takes ascending keys and makes them part of the store as a whole.
///
/// Everything goes into new tables, once, without passing the log and the memtable: much faster than
/// writing batches, and as durable. Nothing is seen before [`IngestWriter::commit`], and nothing is
/// left of a writer that is dropped without it. Made by [`Db::ingest_writer`](super::Db::ingest_writer).
///
/// ```
/// # fn main() -> beachdb::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// let db = beachdb::Db::open(dir.path().join("sand"))?;
/// db.put("low", "written before")?;
/// let mut tides = db.ingest_writer()?;
/// tides.put("high", "6:12")?;
/// tides.put("low", "12:25")?;
/// assert!(tides.put("flood", "keys ascend").is_err());
/// tides.commit()?;                                  // all at once, and durable
/// assert_eq!(db.get("low")?.as_deref(), Some(&b"12:25"[..]));
/// # Ok(()) }
/// ```
pub struct IngestWriter<'a> {
    core: &'a Core,
    side: &'a WriteSide,
    job: u64,
    started_us: u64,
    /// The number that every entry has.
    seqno: SeqNo,
    order: Ascending,
    open: Option<(FileNumber, TableWriter)>,
    /// Whole and synced tables. They and `open` are removed unless an edit may name them.
    made: Vec<TableMeta>,
    /// The first error of the file system: what it met is missing from the tables.
    failed: Option<Error>,
}

impl<'a> IngestWriter<'a> {
    pub(super) fn new(core: &'a Core) -> Result<IngestWriter<'a>> {
        let side = core.write_side()?;
        side.poison.check()?;
        Ok(IngestWriter {
            core,
            side,
            job: side.next_job.fetch_add(1, Ordering::Relaxed),
            started_us: core.files.runtime.monotonic_us(),
            seqno: ahead(core.visible_seqno(), 0)?,
            order: Ascending::default(),
            open: None,
            made: Vec::new(),
            failed: None,
        })
    }

    /// Adds a pair, whose key must be greater than the one before.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] when it is not, or when a limit is broken: the pair is left out and
    /// the writer as it was. After [`Error::Io`] nothing can be added or committed any more.
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        self.add(key.as_ref(), ValueKind::Put, value.as_ref())
    }

    /// Deletes a key, present or not; it must be greater than the one before.
    ///
    /// # Errors
    /// As [`IngestWriter::put`].
    pub fn delete(&mut self, key: impl AsRef<[u8]>) -> Result<()> {
        self.add(key.as_ref(), ValueKind::Delete, &[])
    }

    /// Makes everything added part of the store, visible at once and durable, and returns its sequence
    /// number. Of a key that was there before, what was added counts.
    ///
    /// # Errors
    /// The first error of a call before; otherwise as [`Db::flush`](super::Db::flush). Nothing is then
    /// part of the store, unless it was poisoned: in that case reopening tells.
    pub fn commit(mut self) -> Result<SeqNo> {
        self.check()?;
        self.finish_table()?;
        if self.made.is_empty() {
            return Ok(self.core.visible_seqno());
        }
        failpoint("ingest_after_tables");
        self.core.files.sync_dir()?;
        failpoint("ingest_after_dir_sync");
        loop {
            let last = self.core.visible_seqno();
            if last >= self.seqno {
                self.renumber(last)?;
                failpoint("ingest_after_renumber");
            }
            // What is in memory now goes without anybody waiting for it.
            self.core.flush()?;
            failpoint("ingest_after_flush");
            let mut writing = self.side.writing.lock();
            self.side.poison.check()?;
            if writing.last_seqno < self.seqno {
                self.core.empty_memory(self.side, &mut writing)?;
                failpoint("ingest_after_empty_memory");
                return self.install(&mut writing);
            }
        }
    }

    fn check(&self) -> Result<()> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    fn add(&mut self, key: &[u8], kind: ValueKind, value: &[u8]) -> Result<()> {
        self.check()?;
        self.order.check(key, value)?;
        let added = self.append(key, kind, value);
        self.failed = added.clone().err();
        self.order.advance(key);
        added
    }

    fn append(&mut self, key: &[u8], kind: ValueKind, value: &[u8]) -> Result<()> {
        let size_max = match self.is_placed_deep() {
            true => self.core.options.table_size,
            false => RUN_SIZE,
        };
        if self.open.as_ref().is_some_and(|(_, writer)| writer.written_bytes() >= size_max) {
            self.finish_table()?;
        }
        let (_, writer) = match &mut self.open {
            Some(open) => open,
            none => none.insert(create_table(self.core, self.job)?),
        };
        writer.add(key, Trailer::new(self.seqno, kind), value)
    }

    /// Whether the strategy keeps anything below L0.
    fn is_placed_deep(&self) -> bool {
        matches!(self.core.options.strategy, Strategy::Hybrid | Strategy::Leveled)
    }

    fn finish_table(&mut self) -> Result<()> {
        let Some((number, writer)) = self.open.take() else { return Ok(()) };
        match writer.finish() {
            Ok(table) => self.made.push(table),
            Err(error) => {
                self.remove(number);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Writes the tables again, with a number that what is written meanwhile should not reach.
    fn renumber(&mut self, last: SeqNo) -> Result<()> {
        // As many more as came in since the number was chosen, twice over: it comes to an end.
        let passed = last.0.saturating_sub(self.seqno.0).saturating_add(1);
        self.seqno = ahead(last, passed.saturating_mul(2).max(MARGIN_MIN))?;
        for index in 0..self.made.len() {
            let old = self.made[index].clone();
            let (number, writer) = create_table(self.core, self.job)?;
            match self.rewrite(&old, writer) {
                Ok(table) => self.made[index] = table,
                Err(error) => {
                    self.remove(number);
                    return Err(error);
                }
            }
            self.remove(old.number);
        }
        self.core.files.sync_dir()
    }

    fn rewrite(&self, old: &TableMeta, mut writer: TableWriter) -> Result<TableMeta> {
        let files = &self.core.files;
        let table = Table::open(&*files.vfs, &files.table_path(old.number), old, None)?;
        each_entry(Arc::new(table), &mut |key, kind, value| {
            writer.add(key, Trailer::new(self.seqno, kind), value)
        })?;
        writer.finish()
    }

    /// No edit names it. If it cannot be removed, the next opening will.
    fn remove(&self, number: FileNumber) {
        let _ = self.core.files.vfs.remove(&self.core.files.table_path(number));
    }

    /// Makes the tables part of the tree. Nothing is in memory and nobody writes.
    fn install(mut self, writing: &mut Writing) -> Result<SeqNo> {
        let (core, side) = (self.core, self.side);
        let (tables, bytes) = (self.made.len() as u64, self.made.iter().map(|it| it.size).sum());
        // A mark follows, and it must not fail for want of room when the edit is durable.
        side.refused_or_poisoned(writing.wal.reserve(0, &side.manifest))?;
        side.refused_or_poisoned(self.publish(writing))?;
        let us = core.files.runtime.monotonic_us().saturating_sub(self.started_us);
        core.tell(&Event::Ingested { job: self.job, tables, bytes, seqno: self.seqno, us });
        side.compactions.unsettle();
        core.update_pressure();
        side.wake_compactor();
        side.synced(writing.wal.mark())?;
        failpoint("ingest_after_mark");
        Ok(self.seqno)
    }

    fn publish(&mut self, writing: &mut Writing) -> Result<(), Failure> {
        let (core, side) = (self.core, self.side);
        let mut manifest = side.manifest.lock();
        manifest.mend()?;
        // Until the view is published the next job would be picked without the tables. And until the number
        // is visible a job that merges them would drop what is still to be read.
        let _held = side.compactions.hold();
        let edit = self.edit(&manifest);
        if let Err(failure) = manifest.append(edit) {
            return Err(self.settle(&mut manifest, failure));
        }
        failpoint("ingest_after_manifest");
        self.made.clear();
        let previous = Arc::clone(&core.superversion.load().version);
        let version = Version::from_state(manifest.state(), &previous, &core.tables);
        let version = version.map_err(Failure::Poison)?;
        version.check().map_err(|reason| Failure::Poison(our_bug(&core.files, &reason)))?;
        let (memtable, memtable_writer) = Memtable::new();
        writing.memtable = memtable_writer;
        core.replace_view(|view| SuperVersion {
            memtable,
            immutables: view.immutables.clone(),
            version: Arc::new(version),
            upto: None,
        });
        failpoint("ingest_after_publish");
        writing.last_seqno = self.seqno;
        core.visible.store(self.seqno.0, Ordering::Release);
        failpoint("ingest_after_visible");
        Ok(())
    }

    fn edit(&self, manifest: &Manifest) -> Edit {
        let state = manifest.state();
        let running = self.side.compactions.running();
        let level = |table: &TableMeta| match self.is_placed_deep() {
            true => place::level_for(&state.levels, table, running.as_ref()),
            false => Level(0),
        };
        Edit {
            reason: Reason::Ingest,
            job: self.job,
            last_seqno: Some(self.seqno),
            tables_added: self.made.iter().map(|it| (level(it), it.clone())).collect(),
            counters: Some(counted(state.counters, &self.made)),
            ..Edit::default()
        }
    }

    /// Decides what a failed append left open. If that cannot be done, the tables stay: an edit may
    /// name them.
    fn settle(&mut self, manifest: &mut Manifest, failure: Failure) -> Failure {
        match failure {
            Failure::Refused(error) if manifest.mend().is_ok() => Failure::Refused(error),
            Failure::Refused(error) | Failure::Poison(error) => {
                self.made.clear();
                Failure::Poison(error)
            }
        }
    }
}

impl fmt::Debug for IngestWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IngestWriter")
            .field("job", &self.job)
            .field("seqno", &self.seqno)
            .field("tables", &self.made.len())
            .finish_non_exhaustive()
    }
}

impl Drop for IngestWriter<'_> {
    fn drop(&mut self) {
        let open = self.open.take().map(|(number, _)| number);
        let made = std::mem::take(&mut self.made);
        let numbers = made.iter().map(|table| table.number).chain(open);
        numbers.for_each(|number| self.remove(number));
    }
}

impl Core {
    /// Takes in tables that were built elsewhere, all or none.
    pub(super) fn ingest(&self, paths: &[PathBuf]) -> Result<SeqNo> {
        let mut writer = IngestWriter::new(self)?;
        let mut tables = Vec::new();
        for path in paths {
            tables.push(self.open_foreign(path)?);
        }
        tables.sort_by(|(one, _), (other, _)| {
            one.meta().smallest.user.cmp(&other.meta().smallest.user)
        });
        for pair in tables.windows(2) {
            let [(one, _), (other, _)] = pair else { continue };
            if one.meta().largest.user >= other.meta().smallest.user {
                let (one, other) = (one.path().display(), other.path().display());
                return Err(Error::InvalidArgument(format!("{one} and {other} overlap")));
            }
        }
        for (table, properties) in tables {
            let path = table.path().to_owned();
            let mut entries = 0;
            each_entry(table, &mut |key, kind, value| {
                entries += 1;
                writer.add(key, kind, value)
            })?;
            if entries != properties.entries {
                let detail =
                    format!("it has {entries} entries, its properties say {}", properties.entries);
                return Err(Error::corruption(path, None, detail));
            }
        }
        writer.commit()
    }

    fn open_foreign(&self, path: &Path) -> Result<(Arc<Table>, Properties)> {
        let (table, properties) = Table::open_file(&*self.files.vfs, path)?;
        if properties.entries != properties.distinct_keys {
            let detail = format!("{} has several versions of a key", path.display());
            return Err(Error::InvalidArgument(detail));
        }
        Ok((Arc::new(table), properties))
    }

    /// Flushes until nothing is in memory; no log but the live one is needed then, and that holds no
    /// record.
    fn empty_memory(&self, side: &WriteSide, writing: &mut Writing) -> Result<()> {
        side.report_background_error()?;
        if !writing.memtable.memtable().is_empty() {
            self.rotate(side, writing)?;
        }
        self.wait_for_flushes(side)?;
        // The worker cannot say so while this lock is held.
        if let Some(oldest) = writing.memtable_logs.first() {
            writing.wal.forget_before(*oldest);
        }
        side.poison.check()
    }
}

/// The number `margin` behind the one that follows `last`.
fn ahead(last: SeqNo, margin: u64) -> Result<SeqNo> {
    let seqno = last.0.saturating_add(1).saturating_add(margin);
    if seqno > SeqNo::MAX.0 {
        return Err(Error::InvalidArgument("the store has no sequence numbers left".to_owned()));
    }
    Ok(SeqNo(seqno))
}

fn create_table(core: &Core, job: u64) -> Result<(FileNumber, TableWriter)> {
    let files = &core.files;
    let number = files.new_number();
    let origin = TableOrigin {
        store: files.store,
        number,
        id: files.new_id(),
        // Where it will lie is known only at the end.
        level: Level(0),
        origin: Origin::Ingest,
        job,
        inputs: Vec::new(),
        created_ms: files.runtime.now_ms(),
    };
    let compression = core.options.compression;
    let options = WriterOptions { compression, ..WriterOptions::default() };
    let file = files.vfs.create(&files.table_path(number))?;
    Ok((number, TableWriter::new(file, options, origin)))
}

/// Is shown each entry: key, kind, value.
type Visit<'a> = dyn FnMut(&[u8], ValueKind, &[u8]) -> Result<()> + 'a;

/// Reads a table from end to end.
fn each_entry(table: Arc<Table>, visit: &mut Visit<'_>) -> Result<()> {
    let mut iter = TableIter::new(table).without_caching();
    iter.first()?;
    while iter.valid() {
        let (key, trailer) = iter.key();
        // The reader refuses blocks with entries of another kind.
        if let Some(kind) = trailer.kind() {
            visit(key, kind, iter.value())?;
        }
        iter.next()?;
    }
    Ok(())
}

fn counted(mut counters: Counters, tables: &[TableMeta]) -> Counters {
    // Saturating, since a manifest may say anything.
    for table in tables {
        counters.flushed_bytes = counters.flushed_bytes.saturating_add(table.size);
        counters.user_bytes = counters.user_bytes.saturating_add(table.raw_bytes);
    }
    counters
}

#[cfg(test)]
mod tests;
