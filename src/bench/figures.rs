//! What the store did during a workload: its own counters, before and after.
//!
//! [`Figures::of`] is the one place that takes them from [`Stats`]. A figure that the store does not
//! count is none, and is told as none, never as nought.

use crate::Stats;

/// Counters of an open store, or the difference of two readings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Figures {
    /// Bytes appended to logs.
    pub wal_bytes: u64,
    /// Log syncs.
    pub syncs: u64,
    /// Microseconds spent in them.
    pub sync_us: u64,
    /// Of the syncs since the store was opened, half took no longer than so many microseconds.
    pub sync_p50_us: Option<u64>,
    /// The same for 99 of 100.
    pub sync_p99_us: Option<u64>,
    /// Memtables flushed.
    pub flushes: u64,
    /// Bytes of keys and values in them.
    pub flushed_user_bytes: u64,
    /// Bytes of tables that flushes wrote.
    pub flushed_bytes: u64,
    /// Compactions run.
    pub compactions: u64,
    /// Bytes of tables that they read.
    pub compacted_bytes_in: u64,
    /// Bytes of tables that they wrote.
    pub compacted_bytes_out: u64,
    /// Blocks that gets looked into.
    pub get_blocks: Option<u64>,
    /// Blocks found in the cache.
    pub cache_hits: Option<u64>,
    /// Blocks not found there.
    pub cache_misses: Option<u64>,
    /// Tables that a filter kept a get from looking into.
    pub filter_negatives: Option<u64>,
    /// Times that writers were held back.
    pub stalls: Option<u64>,
    /// Microseconds for which they were.
    pub stall_us: Option<u64>,
    /// Bytes that compactions have yet to read.
    pub debt_bytes: Option<u64>,
}

impl Figures {
    /// The counters as they stand.
    #[must_use]
    pub fn of(stats: &Stats) -> Figures {
        let (times, stalls) = (stats.sync_times, stats.stalls);
        let all = [stalls.debt, stalls.memory, stalls.stop];
        let synced = |us: u64| (stats.syncs > 0).then_some(us);
        Figures {
            wal_bytes: stats.wal_bytes,
            syncs: stats.syncs,
            sync_us: stats.sync_us,
            sync_p50_us: synced(times.p50_us),
            sync_p99_us: synced(times.p99_us),
            flushes: stats.flushes,
            flushed_user_bytes: stats.lifetime.user_bytes,
            flushed_bytes: stats.lifetime.flushed_bytes,
            compactions: stats.lifetime.compactions,
            compacted_bytes_in: stats.lifetime.compacted_bytes_in,
            compacted_bytes_out: stats.lifetime.compacted_bytes_out,
            stalls: Some(all.iter().map(|(count, _)| count).sum()),
            stall_us: Some(all.iter().map(|(_, us)| us).sum()),
            debt_bytes: Some(stats.debt_bytes),
            // HOOK: what reads cost has its lines here once `Stats` tells it.
            ..Figures::default()
        }
    }

    /// What was added since. States, as the debt, stay as they are.
    #[must_use]
    pub fn since(&self, before: &Figures) -> Figures {
        let both = |now: Option<u64>, then: Option<u64>| Some(now?.saturating_sub(then?));
        Figures {
            wal_bytes: self.wal_bytes.saturating_sub(before.wal_bytes),
            syncs: self.syncs.saturating_sub(before.syncs),
            sync_us: self.sync_us.saturating_sub(before.sync_us),
            flushes: self.flushes.saturating_sub(before.flushes),
            flushed_user_bytes: self.flushed_user_bytes.saturating_sub(before.flushed_user_bytes),
            flushed_bytes: self.flushed_bytes.saturating_sub(before.flushed_bytes),
            compactions: self.compactions.saturating_sub(before.compactions),
            compacted_bytes_in: self.compacted_bytes_in.saturating_sub(before.compacted_bytes_in),
            compacted_bytes_out: self
                .compacted_bytes_out
                .saturating_sub(before.compacted_bytes_out),
            get_blocks: both(self.get_blocks, before.get_blocks),
            cache_hits: both(self.cache_hits, before.cache_hits),
            cache_misses: both(self.cache_misses, before.cache_misses),
            filter_negatives: both(self.filter_negatives, before.filter_negatives),
            stalls: both(self.stalls, before.stalls),
            stall_us: both(self.stall_us, before.stall_us),
            sync_p50_us: self.sync_p50_us,
            sync_p99_us: self.sync_p99_us,
            debt_bytes: self.debt_bytes,
        }
    }

    /// Microseconds that a sync took on average.
    #[must_use]
    pub fn sync_mean_us(&self) -> Option<f64> {
        (self.syncs > 0).then(|| self.sync_us as f64 / self.syncs as f64)
    }

    /// Of the blocks looked for, the share that the cache had.
    #[must_use]
    pub fn cache_hit_rate(&self) -> Option<f64> {
        let (hits, misses) = (self.cache_hits?, self.cache_misses?);
        (hits + misses > 0).then(|| hits as f64 / (hits + misses) as f64)
    }

    /// Bytes of tables written for each byte of keys and values flushed. The log is not in it.
    #[must_use]
    pub fn write_amplification(&self) -> Option<f64> {
        let written = self.flushed_bytes + self.compacted_bytes_out;
        (self.flushed_user_bytes > 0).then(|| written as f64 / self.flushed_user_bytes as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is counted on both sides has a difference; what is not has none, and no ratio.
    #[test]
    fn a_figure_that_is_not_counted_is_none() {
        let before = Figures { syncs: 2, cache_hits: Some(1), ..Figures::default() };
        let after = Figures {
            syncs: 6,
            sync_us: 100,
            cache_hits: Some(4),
            cache_misses: Some(1),
            flushed_user_bytes: 10,
            flushed_bytes: 8,
            compacted_bytes_out: 12,
            ..Figures::default()
        };
        let added = after.since(&before);
        assert_eq!((added.syncs, added.cache_hits, added.cache_misses), (4, Some(3), None));
        assert_eq!((added.sync_mean_us(), added.cache_hit_rate()), (Some(25.0), None));
        assert_eq!(after.cache_hit_rate(), Some(0.8));
        assert_eq!(added.write_amplification(), Some(2.0));
        assert_eq!(Figures::default().write_amplification(), None);
    }
}
