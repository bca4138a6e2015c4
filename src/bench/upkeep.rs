//! Workloads that are one call to the store: flush, compact, wait.

use std::sync::Arc;

use super::conduct::{Ran, Tick, Watch};
use super::work::Tally;
use super::workload::Workload;
use crate::runtime::Runtime;
use crate::{Db, Result};

/// Makes the call and times it.
pub(super) fn run(
    db: &Arc<Db>,
    workload: Workload,
    runtime: &Arc<dyn Runtime>,
    watch: &mut dyn Watch,
) -> Result<Ran> {
    watch.tick(&Tick { done: 0, total: Some(1) });
    let mut tally = Tally::new();
    tally.began_ns = runtime.monotonic_ns();
    match workload {
        Workload::Flush => db.flush()?,
        Workload::Compact => compact(db)?,
        Workload::WaitCompact => wait(db)?,
        _ => {}
    }
    tally.ended_ns = runtime.monotonic_ns();
    tally.ops = 1;
    Ok(Ran { tallies: vec![tally], background: None, background_ops: None, worst_second: None })
}

/// Merges the whole tree.
fn compact(db: &Db) -> Result<()> {
    db.compact::<&[u8], _>(..)
}

/// Returns when no flush and no compaction is due; what is in the memtable stays there.
fn wait(db: &Db) -> Result<()> {
    db.wait_for_compactions()
}
