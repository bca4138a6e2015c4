//! Which job is due: pure functions of the tree's shape.
//!
//! No state is kept between calls and no clock is read: the same shape gives the same job. Each
//! strategy has a module beside this one.

use super::range::Wanted;
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

/// Whether the tables of a level are compressed as the options say; otherwise they are not.
///
/// Flushed tables are not, they are merged soon, unless nothing is under them: see [`settles`].
/// All others are: compressed slots hold twice as much in the same space, which saves more rewriting
/// of the bottom than it costs to compress them.
pub(in crate::engine) fn compresses(level: Level) -> bool {
    level > Level(0)
}

/// Whether a flush of these keys (inclusive) will go to the bottom as it is, because no table
/// overlaps it: then it is worth compressing at once.
pub(in crate::engine) fn settles(shape: &Shape<'_>, from: &[u8], to: &[u8]) -> bool {
    let span = super::slice::Span { from, to };
    !shape.levels[0].iter().any(|table| super::slice::Span::of(table).touches(&span))
        && shape.is_clear(1..Level::COUNT, &span)
}

/// How much work is due.
pub(in crate::engine) fn debt(strategy: Strategy, shape: &Shape<'_>, limits: &Limits) -> Debt {
    match strategy {
        Strategy::Hybrid => hybrid::debt(shape, limits),
        _ => Debt::default(),
    }
}
