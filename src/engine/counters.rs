//! What a handle counts while it works.

use std::sync::atomic::{AtomicU64, Ordering};

use hdrhistogram::Histogram;
use parking_lot::Mutex;

use super::compaction::Action;
use super::compaction::run::Merged;
use super::stats::Times;

/// A number that only rises. Relaxed: it is for people, nothing depends on its order.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a handle has done since it was opened.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) writes: Counter,
    pub(super) wal_bytes: Counter,
    pub(super) flushes: Counter,
    pub(super) background_errors: Counter,
    pub(super) compactions: Counter,
    pub(super) moves: Counter,
    pub(super) compacted_bytes_in: Counter,
    pub(super) compacted_bytes_out: Counter,
    pub(super) dropped_shadowed: Counter,
    pub(super) dropped_tombstones: Counter,
    pub(super) blocks_copied: Counter,
    pub(super) syncs: Counter,
    pub(super) sync_us: Counter,
    sync_times: Mutex<Option<Histogram<u64>>>,
}

impl Counters {
    /// A job has changed the tree; `tables` is how many it took, `merged` what it read and wrote, if
    /// it did.
    pub(super) fn compacted(&self, action: Action, tables: u64, merged: Option<&Merged>) {
        if action == Action::Move {
            self.moves.add(tables);
        }
        let Some(merged) = merged else { return };
        self.compactions.add(1);
        self.compacted_bytes_in.add(merged.bytes_in);
        self.compacted_bytes_out.add(merged.bytes_out);
        self.dropped_shadowed.add(merged.dropped_shadowed);
        self.dropped_tombstones.add(merged.dropped_tombstones);
        self.blocks_copied.add(merged.blocks_copied);
    }

    pub(super) fn sync(&self, us: u64) {
        self.syncs.add(1);
        self.sync_us.add(us);
        let mut times = self.sync_times.lock();
        if times.is_none() {
            // Two digits; it takes memory only in handles that sync.
            *times = Histogram::new(2).ok();
        }
        if let Some(times) = &mut *times {
            times.saturating_record(us);
        }
    }

    pub(super) fn sync_times(&self) -> Times {
        let times = self.sync_times.lock();
        let Some(times) = &*times else { return Times::default() };
        Times {
            p50_us: times.value_at_quantile(0.5),
            p99_us: times.value_at_quantile(0.99),
            max_us: times.max(),
        }
    }
}
