//! What the store did during a workload: its own counters, before and after.
//!
//! [`Figures::of`] is the one place that takes them from [`Stats`]. A ratio of which there is nothing
//! to divide by is none, never nought.

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
    /// Data blocks that reads looked into, from the cache or from files.
    pub blocks: u64,
    /// Blocks found in the cache.
    pub cache_hits: u64,
    /// Blocks not found there.
    pub cache_misses: u64,
    /// Tables that a filter kept a get from looking into.
    pub filter_negatives: u64,
    /// Times that writers were held back.
    pub stalls: u64,
    /// Microseconds for which they were.
    pub stall_us: u64,
    /// Bytes that compactions have yet to read.
    pub debt_bytes: u64,
}

impl Figures {
    /// The counters as they stand.
    #[must_use]
    pub fn of(stats: &Stats) -> Figures {
        let (times, stalls, reads) = (stats.sync_times, stats.stalls, stats.reads);
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
            stalls: all.iter().map(|(count, _)| count).sum(),
            stall_us: all.iter().map(|(_, us)| us).sum(),
            debt_bytes: stats.debt_bytes,
            blocks: reads.cache_hits + reads.blocks_read,
            cache_hits: reads.cache_hits,
            cache_misses: reads.cache_misses,
            filter_negatives: reads.filter_negative,
        }
    }

    /// What was added since. States, as the debt, stay as they are.
    #[must_use]
    pub fn since(&self, before: &Figures) -> Figures {
        let added = |count: fn(&Figures) -> u64| count(self).saturating_sub(count(before));
        Figures {
            wal_bytes: added(|it| it.wal_bytes),
            syncs: added(|it| it.syncs),
            sync_us: added(|it| it.sync_us),
            flushes: added(|it| it.flushes),
            flushed_user_bytes: added(|it| it.flushed_user_bytes),
            flushed_bytes: added(|it| it.flushed_bytes),
            compactions: added(|it| it.compactions),
            compacted_bytes_in: added(|it| it.compacted_bytes_in),
            compacted_bytes_out: added(|it| it.compacted_bytes_out),
            blocks: added(|it| it.blocks),
            cache_hits: added(|it| it.cache_hits),
            cache_misses: added(|it| it.cache_misses),
            filter_negatives: added(|it| it.filter_negatives),
            stalls: added(|it| it.stalls),
            stall_us: added(|it| it.stall_us),
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
        let (hits, misses) = (self.cache_hits, self.cache_misses);
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

    /// Counters are subtracted, states kept, and ratios are none where nothing happened.
    #[test]
    fn differences_are_those_of_counters() {
        let before = Figures { syncs: 2, cache_hits: 1, debt_bytes: 7, ..Figures::default() };
        let after = Figures {
            syncs: 6,
            sync_us: 100,
            cache_hits: 4,
            cache_misses: 1,
            flushed_user_bytes: 10,
            flushed_bytes: 8,
            compacted_bytes_out: 12,
            debt_bytes: 9,
            ..Figures::default()
        };
        let added = after.since(&before);
        assert_eq!((added.syncs, added.cache_hits, added.debt_bytes), (4, 3, 9));
        assert_eq!((added.sync_mean_us(), added.cache_hit_rate()), (Some(25.0), Some(0.75)));
        assert_eq!(added.write_amplification(), Some(2.0));
        let none = after.since(&after);
        assert_eq!((none.sync_mean_us(), none.cache_hit_rate()), (None, None));
        assert_eq!(none.write_amplification(), None);
    }
}
