//! Tables dense with tombstones go down although nothing is full: a scan over them is slow.

use super::hybrid::JOB_TABLES;
use super::slice::{BOTTOM, Slice};
use super::{Action, Cause, Job, Limits, Shape};
use crate::format::table::TableMeta;
use crate::types::{Level, SeqNo};

/// Fewer in a table are no trouble to a scan.
const MIN: u64 = 1000;

/// Entries that may be rewritten for each tombstone that goes.
const ENTRIES: u64 = 4;

/// A third of its entries are tombstones.
fn is_dense(table: &TableMeta) -> bool {
    table.tombstones >= MIN && table.tombstones >= table.entries / 3
}

/// Whether a merge of this table of the bottom by itself drops all its tombstones: every snapshot
/// sees its newest versions, and nothing is older than the bottom.
pub(super) fn is_free(table: &TableMeta, oldest_snapshot: SeqNo) -> bool {
    table.max_seqno <= oldest_snapshot
}

/// Takes a dense table to the bottom, or the tombstones out of one that lies there.
///
/// Only if there is at least a tombstone for every [`ENTRIES`] entries rewritten: a few spread
/// over all keys do not rewrite the bottom each time.
pub(super) fn pick(shape: &Shape<'_>, limits: &Limits) -> Option<Job> {
    carry(shape, limits).or_else(|| clean(shape, limits))
}

fn carry(shape: &Shape<'_>, limits: &Limits) -> Option<Job> {
    let worthwhile = |slice: &Slice<'_, '_>| {
        let tombstones: u64 = slice.above().map(|table| table.tombstones).sum();
        let entries: u64 = slice.below().map(|table| table.entries).sum();
        entries <= tombstones.saturating_mul(ENTRIES)
            && slice.size() <= limits.table_size.saturating_mul(JOB_TABLES)
    };
    let top = shape.levels[0].iter().filter(|table| is_dense(table)).map(|table| {
        let taken = shape.with_older(|other| other.number == table.number);
        Slice::of_top(shape, taken, BOTTOM)
    });
    let runs = (1..BOTTOM).flat_map(|level| {
        let dense = shape.levels[level].iter().enumerate().filter(|(_, table)| is_dense(table));
        dense.map(move |(at, _)| Slice::of_run(shape, level, at..at + 1, BOTTOM))
    });
    let slice = runs.chain(top).find(worthwhile)?;
    Some(slice.job(Cause::Tombstones))
}

fn clean(shape: &Shape<'_>, limits: &Limits) -> Option<Job> {
    let mut tables = shape.levels[BOTTOM].iter();
    let table = tables.find(|table| is_dense(table) && is_free(table, limits.oldest_snapshot))?;
    Some(rewrite(table, Cause::Tombstones))
}

/// One table of the bottom, merged with nothing.
pub(super) fn rewrite(table: &TableMeta, cause: Cause) -> Job {
    let level = Level(BOTTOM as u8);
    Job { cause, action: Action::Merge, inputs: vec![(level, table.number)], output: level }
}
