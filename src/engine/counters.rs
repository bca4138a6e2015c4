//! What a handle counts while it works.

use std::sync::atomic::{AtomicU64, Ordering};

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
    pub(super) syncs: Counter,
    pub(super) sync_us: Counter,
}

impl Counters {
    pub(super) fn sync(&self, us: u64) {
        self.syncs.add(1);
        self.sync_us.add(us);
    }
}
