//! Nothing is merged: while the tables exceed what is kept, the oldest is dropped.
//!
//! The oldest is one with nothing older under it: dropping another could bring back a version that
//! it hides. Among those it is the one whose newest entry is oldest.

use super::slice::Span;
use super::{Action, Cause, Job, Shape};
use crate::format::table::TableMeta;
use crate::types::Level;

pub(super) fn pick(shape: &Shape<'_>, size_max: u64) -> Option<Job> {
    let size: u64 = (0..Level::COUNT).map(|level| shape.bytes(level)).sum();
    if size <= size_max {
        return None;
    }
    let all = (0..Level::COUNT).flat_map(|level| {
        shape.levels[level].iter().enumerate().map(move |(at, table)| (level, at, *table))
    });
    let (level, _, oldest) = all
        .filter(|&(level, at, table)| !hides(shape, level, at, table))
        .min_by_key(|(level, _, table)| (table.max_seqno, std::cmp::Reverse(*level)))?;
    Some(Job {
        cause: Cause::Expired,
        action: Action::Drop,
        inputs: vec![(Level(level as u8), oldest.number)],
        output: Level(level as u8),
    })
}

/// Whether an older table has keys in its span.
fn hides(shape: &Shape<'_>, level: usize, at: usize, table: &TableMeta) -> bool {
    let span = Span::of(table);
    let older = if level == 0 { &shape.levels[0][at + 1..] } else { &[] };
    older.iter().any(|older| Span::of(older).touches(&span))
        || !shape.is_clear(level + 1..Level::COUNT, &span)
}
