//! Which job is due: pure functions of the tree's shape.
//!
//! No state is kept between calls and no clock is read: the same shape gives the same job. Each
//! strategy has a module beside this one.

use super::range::Wanted;
use super::slice::Span;
use super::{Debt, Job, Limits, Shape, Strategy};
use super::{fifo, hybrid, leveled, range, tiered};
use crate::types::{Level, SeqNo};

/// The most urgent job, if one is due.
pub(in crate::engine) fn pick(
    strategy: Strategy,
    shape: &Shape<'_>,
    limits: &Limits,
) -> Option<Job> {
    match strategy {
        Strategy::Hybrid => hybrid::pick(shape, limits),
        Strategy::Leveled => leveled::pick(shape, limits),
        Strategy::SizeTiered => tiered::pick(shape, limits),
        Strategy::Fifo { size_max } => fifo::pick(shape, size_max),
    }
}

/// The next job towards having all entries of the key range up to `upto` merged into one run at the
/// bottom of the tree, without the tombstones nobody needs; none when it is so.
///
/// Call it until it gives none. Tables that are newer throughout are left alone.
pub(in crate::engine) fn pick_range(
    shape: &Shape<'_>,
    limits: &Limits,
    from: Option<&[u8]>,
    to: Option<&[u8]>,
    upto: SeqNo,
) -> Option<Job> {
    range::pick(shape, limits, Wanted { from, to, upto })
}

/// Whether a flush of these keys (inclusive) should be compressed; merges always are.
///
/// A flushed table is merged soon and then compressed: doing it twice costs more time than it saves
/// space. But one that no other overlaps goes to the bottom as it is, and with FIFO it stays.
pub(in crate::engine) fn flush_compresses(
    strategy: Strategy,
    shape: &Shape<'_>,
    from: &[u8],
    to: &[u8],
) -> bool {
    let span = Span { from, to };
    let is_alone = !shape.levels[0].iter().any(|table| Span::of(table).touches(&span))
        && shape.is_clear(1..Level::COUNT, &span);
    match strategy {
        Strategy::Hybrid | Strategy::Leveled => is_alone,
        Strategy::SizeTiered => false,
        Strategy::Fifo { .. } => true,
    }
}

/// How much work is due.
pub(in crate::engine) fn debt(strategy: Strategy, shape: &Shape<'_>, limits: &Limits) -> Debt {
    match strategy {
        Strategy::Hybrid => hybrid::debt(shape, limits),
        Strategy::Leveled => leveled::debt(shape, limits),
        Strategy::SizeTiered => tiered::debt(shape, limits),
        Strategy::Fifo { .. } => Debt { bytes: 0, limit: 1 },
    }
}
