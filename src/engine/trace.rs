//! A read as it runs: every memtable and table it looks into or passes over, and why.
//!
//! The read that is traced is the read itself, compiled with a watcher that writes down what it is
//! told; an ordinary one is compiled with a watcher that does nothing.

use std::path::PathBuf;

use super::core::Follow;
use super::memtable::MemValue;
use super::superversion::SuperVersion;
use super::tables::TableFile;
use crate::format::filter::Filter;
use crate::format::key::Trailer;
use crate::format::table::FOOTER_SIZE;
use crate::runtime::Runtime;
use crate::table::{BlockEntry, Index, Watch};
use crate::types::{FileNumber, Level, SeqNo, ValueKind};

/// What a get did, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trace {
    /// The last operation that the read sees.
    pub seqno: SeqNo,
    /// What it looked into and what it passed over.
    pub steps: Vec<TraceStep>,
    /// Nanoseconds from its beginning to its end.
    pub ns: u64,
}

/// One memtable or table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TraceStep {
    /// Which.
    pub place: TracePlace,
    /// What it came to.
    pub outcome: TraceOutcome,
    /// The data block that was looked into, if one was.
    pub block: Option<TraceBlock>,
    /// Bytes read from the file: of the block, and to open the table if it was closed.
    pub bytes_read: u64,
    /// Whether the table had to be opened: footer, filter and index were read.
    pub was_opened: bool,
    /// Nanoseconds it took; 0 for what was passed over by its key range.
    pub ns: u64,
}

/// Where a read looks.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TracePlace {
    /// The memtable that takes writes.
    Memtable,
    /// One that waits for its flush; 0 is the newest.
    Immutable(usize),
    /// A table.
    Table {
        /// Its level.
        level: Level,
        /// The number in its name.
        number: FileNumber,
        /// Its path.
        path: PathBuf,
    },
    /// All tables of a level below L0, none of which can hold the key.
    Level(Level, usize),
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TraceOutcome {
    /// The key lies outside of what it holds; nothing was read.
    OutOfRange,
    /// Everything in it is newer than what the read sees.
    TooNew,
    /// The filter knew that the key is not there.
    FilterNegative,
    /// The filter let the key pass, and it is not there.
    FalsePositive,
    /// It was looked into, and the key is not there, or not in a version that the read sees.
    Absent,
    /// A version was found, and the read ended.
    Found {
        /// Its sequence number.
        seqno: SeqNo,
        /// A value or a tombstone; none for a kind that is not known.
        kind: Option<ValueKind>,
        /// Bytes of the value.
        value_size: u64,
    },
    /// It could not be read, and the read ended with an error.
    Failed,
}

/// A data block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TraceBlock {
    /// Its position in the index.
    pub position: usize,
    /// Where it begins in the file.
    pub offset: u64,
    /// Its bytes there.
    pub size: u64,
    /// Whether it was in the cache.
    pub cached: bool,
}

/// Writes down what a read does.
#[derive(Debug)]
pub(super) struct Tracer<'r> {
    runtime: &'r dyn Runtime,
    began: u64,
    /// When the step before ended.
    last: u64,
    memtables: usize,
    /// The steps of tables stand here without their level.
    steps: Vec<(Option<FileNumber>, TraceStep)>,
    has_filter: bool,
}

impl<'r> Tracer<'r> {
    pub(super) fn new(runtime: &'r dyn Runtime) -> Tracer<'r> {
        let began = runtime.monotonic_ns();
        let (memtables, steps, has_filter) = (0, Vec::new(), false);
        Tracer { runtime, began, last: began, memtables, steps, has_filter }
    }

    fn lap(&mut self) -> u64 {
        let now = self.runtime.monotonic_ns();
        let lap = now.saturating_sub(self.last);
        self.last = now;
        lap
    }

    /// The step that is under way.
    fn table_step(&mut self, change: impl FnOnce(&mut TraceStep)) {
        let lap = self.lap();
        if let Some((_, step)) = self.steps.last_mut() {
            step.ns += lap;
            change(step);
        }
    }

    /// The trace, with what the read passed over put in its places.
    pub(super) fn finish(self, view: &SuperVersion, seqno: SeqNo) -> Trace {
        let ns = self.last.saturating_sub(self.began);
        if self.memtables == 0 {
            // The key is none that can be there, so nothing was looked into.
            return Trace { seqno, steps: Vec::new(), ns };
        }
        let is_over = self.steps.last().is_some_and(|(_, step)| {
            matches!(step.outcome, TraceOutcome::Found { .. } | TraceOutcome::Failed)
        });
        let mut steps = Vec::new();
        let mut taken = self.steps.into_iter().peekable();
        while let Some((_, step)) = taken.next_if(|(number, _)| number.is_none()) {
            steps.push(step);
        }
        let top = view.version.levels[0].iter().map(std::slice::from_ref);
        let below = view.version.levels[1..].iter().map(Vec::as_slice);
        let levels = std::iter::repeat_n(0, view.version.levels[0].len()).chain(1u8..);
        for (level, tables) in levels.zip(top.chain(below)) {
            if is_over && taken.peek().is_none() {
                break;
            }
            let level = Level(level);
            let is_here = |number: &Option<FileNumber>| {
                tables.iter().any(|table| Some(table.meta.number) == *number)
            };
            match (taken.next_if(|(number, _)| is_here(number)), tables) {
                (Some((_, mut step)), _) => {
                    if let TracePlace::Table { level: in_step, .. } = &mut step.place {
                        *in_step = level;
                    }
                    steps.push(step);
                }
                (None, []) => {}
                (None, [table]) => steps.push(passed(table_place(level, table))),
                (None, tables) => steps.push(passed(TracePlace::Level(level, tables.len()))),
            }
        }
        Trace { seqno, steps, ns }
    }
}

fn passed(place: TracePlace) -> TraceStep {
    let outcome = TraceOutcome::OutOfRange;
    TraceStep { place, outcome, block: None, bytes_read: 0, was_opened: false, ns: 0 }
}

fn table_place(level: Level, file: &TableFile) -> TracePlace {
    TracePlace::Table { level, number: file.meta.number, path: file.path() }
}

fn found(trailer: Trailer, value_size: usize) -> TraceOutcome {
    TraceOutcome::Found {
        seqno: trailer.seqno(),
        kind: trailer.kind(),
        value_size: value_size as u64,
    }
}

impl Follow for Tracer<'_> {
    fn memtable(&mut self, hit: Option<&(Trailer, MemValue)>) {
        let outcome = match hit {
            Some((trailer, value)) => found(*trailer, value.len()),
            None => TraceOutcome::Absent,
        };
        let place = match self.memtables {
            0 => TracePlace::Memtable,
            number => TracePlace::Immutable(number - 1),
        };
        self.memtables += 1;
        let ns = self.lap();
        self.steps.push((None, TraceStep { outcome, ns, ..passed(place) }));
    }

    fn table(&mut self, file: &TableFile, is_too_new: bool) {
        self.lap();
        // Until it is told otherwise: an error is what a watcher is not told of.
        let outcome = if is_too_new { TraceOutcome::TooNew } else { TraceOutcome::Failed };
        let was_opened = !is_too_new && !file.is_open();
        let (filter, index) = (file.meta.filter.size, file.meta.index.size);
        let size = FOOTER_SIZE as u64 + u64::from(filter) + u64::from(index);
        let bytes_read = if was_opened { size } else { 0 };
        let step = passed(table_place(Level(0), file));
        let step = TraceStep { outcome, bytes_read, was_opened, ..step };
        self.steps.push((Some(file.meta.number), step));
    }
}

impl Watch for Tracer<'_> {
    fn filter(&mut self, filter: &Filter, may_contain: bool) {
        self.has_filter = filter.probes() > 0;
        self.table_step(|step| {
            if !may_contain {
                step.outcome = TraceOutcome::FilterNegative;
            }
        });
    }

    fn block(&mut self, index: &Index, position: usize, cached: bool) {
        self.table_step(|step| {
            let handle = index.handle(position);
            let (offset, size) = (handle.offset, u64::from(handle.size));
            step.block = Some(TraceBlock { position, offset, size, cached });
            step.bytes_read += if cached { 0 } else { size };
        });
    }

    fn found(&mut self, trailer: Trailer, entry: BlockEntry<'_>) {
        self.table_step(|step| step.outcome = found(trailer, entry.value().len()));
    }

    fn absent(&mut self, false_positive: bool) {
        let has_filter = self.has_filter;
        self.table_step(|step| {
            step.outcome = match false_positive && has_filter {
                true => TraceOutcome::FalsePositive,
                false => TraceOutcome::Absent,
            };
        });
    }
}
