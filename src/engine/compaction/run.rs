//! The merge itself (to be replaced).
use std::sync::Arc;

use crate::error::Result;
use crate::format::key;
use crate::format::table::TableMeta;
use crate::table::{Table, TableIter, TableWriter};
use crate::types::SeqNo;

pub(in crate::engine) struct Plan<'a> {
    pub(in crate::engine) runs: Vec<Vec<Arc<Table>>>,
    pub(in crate::engine) snapshots: &'a [SeqNo],
    pub(in crate::engine) older: Vec<Vec<&'a TableMeta>>,
    pub(in crate::engine) cuts: Vec<&'a TableMeta>,
    pub(in crate::engine) table_size: u64,
}

#[derive(Debug, Default)]
pub(in crate::engine) struct Merged {
    pub(in crate::engine) tables: Vec<TableMeta>,
    pub(in crate::engine) entries_in: u64,
    pub(in crate::engine) entries_out: u64,
    pub(in crate::engine) dropped_shadowed: u64,
    pub(in crate::engine) dropped_tombstones: u64,
    pub(in crate::engine) bytes_in: u64,
    pub(in crate::engine) bytes_out: u64,
    pub(in crate::engine) blocks_copied: u64,
}

pub(in crate::engine) fn run(
    plan: Plan<'_>,
    create: &mut dyn FnMut() -> Result<TableWriter>,
    pause: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<Merged> {
    let _ = (plan.snapshots, &plan.older, &plan.cuts);
    let mut merged = Merged::default();
    let mut iters = Vec::new();
    for table in plan.runs.iter().flatten() {
        let mut iter = TableIter::new(Arc::clone(table)).without_caching();
        iter.first()?;
        merged.bytes_in += table.meta().size;
        iters.push(iter);
    }
    let mut writer: Option<TableWriter> = None;
    let mut last: Vec<u8> = Vec::new();
    loop {
        let best = (0..iters.len())
            .filter(|&i| iters[i].valid())
            .min_by(|&a, &b| key::compare(iters[a].key(), iters[b].key()));
        let Some(best) = best else { break };
        let (user, trailer) = iters[best].key();
        if let Some(full) = writer.take_if(|w| w.written_bytes() > plan.table_size && user != last)
        {
            merged.tables.push(full.finish()?);
            pause(plan.table_size)?;
        }
        if writer.is_none() {
            writer = Some(create()?);
        }
        if let Some(writer) = &mut writer {
            writer.add(user, trailer, iters[best].value())?;
        }
        last = user.to_vec();
        iters[best].next()?;
    }
    if let Some(writer) = writer {
        merged.tables.push(writer.finish()?);
    }
    merged.bytes_out = merged.tables.iter().map(|table| table.size).sum();
    Ok(merged)
}
