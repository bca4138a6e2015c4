//! Everything stays in L0: runs of similar size, neighbours in age, are merged four at a time.
//!
//! A run is one table. Runs whose merge would exceed [`RUN_SIZE_MAX`] stay as they are, so that a job
//! never holds more than that: a store has a run for each GiB, and a few smaller ones.

use super::hybrid;
use super::slice::bytes;
use super::{Action, Cause, Debt, Job, Limits, Shape};
use crate::types::Level;

/// Runs of similar size that make a merge due, and how many it takes.
pub(super) const RUNS: usize = 4;

/// Runs are similar when the largest is at most so many times as large as the smallest.
const SIMILAR: u64 = 2;

/// Bytes that a run may have.
const RUN_SIZE_MAX: u64 = 1 << 30;

/// The newest four neighbours of similar size.
pub(super) fn pick(shape: &Shape<'_>, limits: &Limits) -> Option<Job> {
    let runs = &shape.levels[0];
    let four = runs.windows(RUNS).find(|four| {
        // Small ones are all alike.
        let sizes = four.iter().map(|table| table.size.max(limits.memtable_size / 4));
        let (min, max) = (sizes.clone().min(), sizes.max());
        let similar = max.unwrap_or(0) <= min.unwrap_or(0).saturating_mul(SIMILAR);
        similar && bytes(four) <= RUN_SIZE_MAX
    })?;
    Some(Job {
        cause: Cause::Runs,
        action: Action::Merge,
        inputs: four.iter().map(|table| (Level(0), table.number)).collect(),
        output: Level(0),
    })
}

/// The runs as small as a flush beyond those that make a merge due.
pub(super) fn debt(shape: &Shape<'_>, limits: &Limits) -> Debt {
    let is_small = |size: u64| size <= limits.memtable_size.saturating_mul(SIMILAR);
    let sizes = shape.levels[0].iter().map(|table| table.size).filter(|size| is_small(*size));
    hybrid::heavier(hybrid::runs_debt(sizes.clone().count(), sizes.sum()), (0, 1))
}
