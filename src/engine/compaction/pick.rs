//! Which job is due: pure functions of the tree's shape.

use super::{Debt, Job, Limits, Shape, Strategy};
use crate::types::SeqNo;

/// The most urgent job, if one is due.
pub(in crate::engine) fn pick(
    strategy: Strategy,
    shape: &Shape<'_>,
    limits: &Limits,
) -> Option<Job> {
    let _ = (strategy, shape, limits);
    None
}

/// The next job towards having all entries of the key range up to `upto` merged into one run at the
/// bottom of the tree, without the tombstones and versions nobody needs; none when it is so.
pub(in crate::engine) fn pick_range(
    shape: &Shape<'_>,
    limits: &Limits,
    from: Option<&[u8]>,
    to: Option<&[u8]>,
    upto: SeqNo,
) -> Option<Job> {
    let _ = (shape, limits, from, to, upto);
    None
}

/// How much work is due.
pub(in crate::engine) fn debt(strategy: Strategy, shape: &Shape<'_>, limits: &Limits) -> Debt {
    let _ = (strategy, shape, limits);
    Debt::default()
}

/// Whether the job's tables are compressed.
pub(in crate::engine) fn compressed(shape: &Shape<'_>, job: &Job) -> bool {
    let _ = shape;
    job.output != crate::types::Level(0)
}
