//! Compaction of a key range on demand: everything in it down into the bottom, in slices.
//!
//! It ends although writes go on: a table counts only if it has entries up to the given sequence
//! number, those only go down, and the bottom is rewritten only where that drops all tombstones.

use super::slice::{BOTTOM, Slice, Span};
use super::tombstones::{is_free, rewrite};
use super::{Cause, Job, Limits, Shape, hybrid};
use crate::format::table::TableMeta;
use crate::types::SeqNo;

/// What is to be compacted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'k> {
    /// Inclusive; none is the first key.
    pub(super) from: Option<&'k [u8]>,
    /// Exclusive; none is behind the last key.
    pub(super) to: Option<&'k [u8]>,
    pub(super) upto: SeqNo,
}

impl Wanted<'_> {
    fn concerns(&self, table: &TableMeta) -> bool {
        let Span { from, to } = Span::of(table);
        table.min_seqno <= self.upto
            && self.from.is_none_or(|wanted| wanted <= to)
            && self.to.is_none_or(|wanted| from < wanted)
    }
}

pub(super) fn pick(shape: &Shape<'_>, limits: &Limits, wanted: Wanted<'_>) -> Option<Job> {
    top(shape, limits, wanted)
        .or_else(|| (1..BOTTOM).find_map(|level| run(shape, limits, level, wanted)))
        .or_else(|| bottom(shape, limits, wanted))
}

/// What L0 has of it, at once: its tables usually span everything.
fn top(shape: &Shape<'_>, limits: &Limits, wanted: Wanted<'_>) -> Option<Job> {
    let taken = shape.with_older(|table| wanted.concerns(table));
    (!taken.is_empty()).then(|| hybrid::top_slice(shape, limits, taken).job(Cause::Manual))
}

/// The first tables of the level that have some of it, as many as make a step, and all under them,
/// into the bottom.
fn run(shape: &Shape<'_>, limits: &Limits, level: usize, wanted: Wanted<'_>) -> Option<Job> {
    let tables = &shape.levels[level];
    let start = tables.iter().position(|table| wanted.concerns(table))?;
    let size = tables[start..].iter().take_while(|table| wanted.concerns(table)).count();
    let slices = (1..=size).map(|size| Slice::of_run(shape, level, start..start + size, BOTTOM));
    let room = limits.table_size.saturating_mul(hybrid::STEP_TABLES);
    let mut slices = slices.map(Slice::with_covered).enumerate();
    let fits = |(at, slice): &(usize, Slice<'_, '_>)| *at == 0 || slice.size() <= room;
    let (_, slice) = slices.by_ref().take_while(fits).last()?;
    Some(slice.job(Cause::Manual))
}

/// A table of the bottom that has tombstones nobody needs.
fn bottom(shape: &Shape<'_>, limits: &Limits, wanted: Wanted<'_>) -> Option<Job> {
    let has_waste = |table: &&&TableMeta| {
        table.tombstones > 0 && wanted.concerns(table) && is_free(table, limits.oldest_snapshot)
    };
    let table = shape.levels[BOTTOM].iter().find(has_waste)?;
    Some(rewrite(table, Cause::Manual))
}
