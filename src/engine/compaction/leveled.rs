//! One run a level, each ten times as large as the one above it, with targets that follow the size
//! of the bottom: the levels in use lie against it, and a small store has L0 and L6 only.

use super::hybrid;
use super::slice::{BOTTOM, Slice};
use super::tombstones;
use super::{Action, Cause, Debt, Job, Limits, Shape};
use crate::types::Level;

/// Tables in L0 that make a merge due.
pub(super) const RUNS: usize = 4;

/// How much larger a level is than the one above it.
const RATIO: u64 = 10;

/// Memtables that the shallowest level in use holds.
const BASE: u64 = 4;

pub(super) fn pick(shape: &Shape<'_>, limits: &Limits) -> Option<Job> {
    hybrid::settle(shape)
        .or_else(|| runs(shape, limits))
        .or_else(|| full(shape, limits))
        .or_else(|| tombstones::pick(shape, limits))
}

/// The bytes each level may have, and the shallowest level that should have any.
pub(super) fn targets(shape: &Shape<'_>, limits: &Limits) -> ([u64; Level::COUNT], usize) {
    let base_size = limits.memtable_size.saturating_mul(BASE);
    let mut targets = [0; Level::COUNT];
    let mut base = BOTTOM;
    let mut size = shape.bytes(BOTTOM);
    targets[BOTTOM] = u64::MAX;
    while size > base_size && base > 1 {
        size /= RATIO;
        base -= 1;
        targets[base] = size.max(limits.memtable_size);
    }
    (targets, base)
}

/// All of L0 into the shallowest level in use.
fn runs(shape: &Shape<'_>, limits: &Limits) -> Option<Job> {
    let count = shape.levels[0].len();
    if count < RUNS {
        return None;
    }
    let base = targets(shape, limits).1;
    let output = shape.first_run().map_or(base, |first| first.min(base));
    let slice = Slice::of_top(shape, (0..count).collect(), output);
    Some(slice.job(Cause::Runs))
}

/// One table of the fullest level, measured by its target, into the next: the one that rewrites
/// least there for each of its bytes.
fn full(shape: &Shape<'_>, limits: &Limits) -> Option<Job> {
    let targets = targets(shape, limits).0;
    let fullness = |level: usize| shape.bytes(level) as f64 / (targets[level] as f64).max(1.0);
    let over = (1..BOTTOM).filter(|&level| shape.bytes(level) > targets[level]);
    let level = over.max_by(|&a, &b| fullness(a).total_cmp(&fullness(b)))?;
    let slices =
        (0..shape.levels[level].len()).map(|at| Slice::of_run(shape, level, at..at + 1, level + 1));
    let slice = slices.max_by(|a, b| a.gain().total_cmp(&b.gain()))?;
    let mut job = slice.job(Cause::LevelFull(Level(level as u8)));
    let is_alone = slice.below().next().is_none();
    let has_tombstones = level + 1 == BOTTOM && slice.above().any(|table| table.tombstones > 0);
    if is_alone && !has_tombstones {
        job.action = Action::Move;
    }
    Some(job)
}

/// L0's runs beyond those that make a merge due, and the bytes over the targets with what they will
/// be merged with; a quarter of the bottom over the targets slows writers down most.
pub(super) fn debt(shape: &Shape<'_>, limits: &Limits) -> Debt {
    let targets = targets(shape, limits).0;
    let over = |level: usize| shape.bytes(level).saturating_sub(targets[level]);
    let over: u64 = (1..BOTTOM).map(over).sum();
    let share = (shape.bytes(BOTTOM) / 4).max(limits.memtable_size.saturating_mul(8));
    let space = (over.saturating_mul(RATIO), share.saturating_mul(RATIO));
    hybrid::heavier(hybrid::runs_debt(shape.levels[0].len(), shape.bytes(0)), space)
}
