//! The figures of a store as its user sees them.

use std::sync::Arc;

use super::core::Core;
use super::files::FIRST_FRAME;
use super::tables::TableFile;
use super::version::Version;
use crate::error::Result;
use crate::format::edit;
use crate::format::key::Trailer;
use crate::types::{FileNumber, Level, SeqNo};

/// The tables of one level, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LevelStats {
    /// Tables.
    pub tables: u64,
    /// Bytes of their files.
    pub bytes: u64,
    /// Entries, tombstones included.
    pub entries: u64,
    /// Tombstones.
    pub tombstones: u64,
    /// Bytes of keys and values before compression.
    pub raw_bytes: u64,
}

/// How often something took how long, in microseconds, to about one in a hundred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Times {
    /// Half of them took no longer.
    pub p50_us: u64,
    /// 99 of 100.
    pub p99_us: u64,
    /// The longest.
    pub max_us: u64,
}

/// Waits of writers: how often, and microseconds in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StallStats {
    /// Delays under a millisecond because compaction is behind.
    pub debt: (u64, u64),
    /// Delays under a millisecond because memtables wait for their flush.
    pub memory: (u64, u64),
    /// Waits for a flush because no more memtables may be held.
    pub stop: (u64, u64),
}

/// Where a store's memory goes, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryStats {
    /// What all of the below is to stay within.
    pub budget: u64,
    /// Memory of the memtable and of those that wait to be flushed.
    pub memtable_bytes: u64,
    /// Table blocks kept.
    pub block_cache_bytes: u64,
    /// What they may take at most, as things are.
    pub block_cache_capacity: u64,
    /// Indexes of open tables.
    pub index_bytes: u64,
    /// Filters of open tables.
    pub filter_bytes: u64,
    /// Open tables.
    pub open_tables: u64,
}

/// What reads of tables have cost since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadStats {
    /// Point reads that asked a table's filter.
    pub filter_checked: u64,
    /// Of those, the ones that the filter answered.
    pub filter_negative: u64,
    /// Of those, the ones that the filter let pass though the key was not there.
    pub filter_false_positive: u64,
    /// Data blocks found in the cache.
    pub cache_hits: u64,
    /// Data blocks that were not.
    pub cache_misses: u64,
    /// Data blocks that came into the cache.
    pub cache_inserted: u64,
    /// Data blocks that left it for want of space.
    pub cache_evicted: u64,
    /// Data blocks read from files.
    pub blocks_read: u64,
    /// Their bytes in the files.
    pub block_bytes_read: u64,
}

/// The figures of a store at one moment.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// By level, L0 first.
    pub levels: [LevelStats; Level::COUNT],
    /// The last operation that reads see.
    pub last_seqno: SeqNo,
    /// Entries in the memtable and those waiting to be flushed.
    pub memtable_entries: u64,
    /// Bytes they take.
    pub memtable_bytes: u64,
    /// Memtables waiting to be flushed.
    pub immutable_memtables: u64,
    /// Logs the store needs, and their preallocated bytes; only a writing handle knows.
    pub logs: Option<(u64, u64)>,
    /// The manifest and its synced bytes; only a writing handle knows.
    pub manifest: Option<(FileNumber, u64)>,
    /// Bytes of table blocks kept in memory.
    pub cache_bytes: u64,
    /// Where the memory goes.
    pub memory: MemoryStats,
    /// What reads of tables have cost.
    pub reads: ReadStats,
    /// Operations written through this handle.
    pub writes: u64,
    /// Bytes appended to logs by this handle.
    pub wal_bytes: u64,
    /// Log syncs by this handle.
    pub syncs: u64,
    /// Microseconds spent in them.
    pub sync_us: u64,
    /// Memtables flushed by this handle.
    pub flushes: u64,
    /// How long they took, microseconds.
    pub sync_times: Times,
    /// Compactions run by this handle; moves are not among them.
    pub compactions: u64,
    /// Tables that went to another level as they were.
    pub moves: u64,
    /// Bytes of tables that compactions of this handle read.
    pub compacted_bytes_in: u64,
    /// Bytes of tables that they wrote.
    pub compacted_bytes_out: u64,
    /// Versions that they dropped because a newer one hides them from every reader.
    pub dropped_shadowed: u64,
    /// Tombstones that they dropped because nothing older was left.
    pub dropped_tombstones: u64,
    /// Blocks that they copied as they were.
    pub blocks_copied: u64,
    /// Bytes that the running compaction has read; it is not counted among the others yet.
    pub compacting_bytes: u64,
    /// Sorted runs that one get may have to look into.
    pub read_amplification: u64,
    /// Bytes of tables for each byte of the largest sorted run, which in a tree in shape is the last
    /// level: what it would be if every entry of the other runs were an older version of one there.
    /// None without tables.
    pub space_amplification: Option<f64>,
    /// Bytes that compactions have to read until nothing is due.
    pub debt_bytes: u64,
    /// Waits of writers, by reason.
    pub stalls: StallStats,
    /// Totals over the store's life, as of its last edit: what is only in the logs is not in them.
    pub lifetime: edit::Counters,
    /// Background jobs that failed in this handle.
    pub background_errors: u64,
    /// What the last one failed with, if no write has reported it yet.
    pub background_error: Option<String>,
    /// Snapshots held.
    pub snapshots: u64,
    /// The oldest of them.
    pub oldest_snapshot: Option<SeqNo>,
}

impl Stats {
    /// Bytes of tables written in the store's life for each byte of keys and values flushed; none before
    /// the first flush. The log, which every byte goes through once, is not in it.
    #[must_use]
    pub fn write_amplification(&self) -> Option<f64> {
        let written = self.lifetime.flushed_bytes.saturating_add(self.lifetime.compacted_bytes_out);
        let users = self.lifetime.user_bytes;
        (users > 0).then(|| written as f64 / users as f64)
    }
}

fn space_amplification(version: &Version) -> Option<f64> {
    let size = |run: &Vec<Arc<TableFile>>| run.iter().map(|file| file.meta.size).sum::<u64>();
    let sizes = version.runs().iter().map(size);
    let largest = sizes.clone().max()?;
    Some(sizes.sum::<u64>() as f64 / largest as f64)
}

impl Core {
    pub(super) fn stats(&self) -> Stats {
        let view = self.superversion.load();
        let mut stats = Stats {
            last_seqno: self.seqno_of(&view),
            immutable_memtables: view.immutables.len() as u64,
            cache_bytes: self.tables.budget.cache.size(),
            reads: self.tables.budget.reads(),
            writes: self.counters.writes.get(),
            wal_bytes: self.counters.wal_bytes.get(),
            syncs: self.counters.syncs.get(),
            sync_us: self.counters.sync_us.get(),
            flushes: self.counters.flushes.get(),
            sync_times: self.counters.sync_times(),
            compactions: self.counters.compactions.get(),
            moves: self.counters.moves.get(),
            compacted_bytes_in: self.counters.compacted_bytes_in.get(),
            compacted_bytes_out: self.counters.compacted_bytes_out.get(),
            dropped_shadowed: self.counters.dropped_shadowed.get(),
            dropped_tombstones: self.counters.dropped_tombstones.get(),
            blocks_copied: self.counters.blocks_copied.get(),
            debt_bytes: self.debt(&view.version).bytes,
            read_amplification: view.version.runs().len() as u64,
            space_amplification: space_amplification(&view.version),
            background_errors: self.counters.background_errors.get(),
            lifetime: *self.lifetime.lock(),
            ..Stats::default()
        };
        let mut memtables = 0;
        for memtable in view.memtables() {
            memtables += memtable.allocated_bytes();
            stats.memtable_entries += memtable.entries();
            stats.memtable_bytes += memtable.size_bytes();
        }
        stats.memory = self.tables.budget.memory(memtables);
        for (level, tables) in stats.levels.iter_mut().zip(&view.version.levels) {
            for table in tables {
                level.tables += 1;
                level.bytes += table.meta.size;
                level.entries += table.meta.entries;
                level.tombstones += table.meta.tombstones;
                level.raw_bytes += table.meta.raw_bytes;
            }
        }
        let (snapshots, oldest) = self.snapshots.summary();
        (stats.snapshots, stats.oldest_snapshot) = (snapshots as u64, oldest);
        self.writer_stats(&mut stats);
        stats
    }

    fn writer_stats(&self, stats: &mut Stats) {
        let Some(side) = &self.writer else { return };
        stats.background_error =
            side.background_error.lock().as_ref().map(|error| error.to_string());
        stats.stalls = side.throttle.stats();
        stats.compacting_bytes = side.compactions.progress();
        let manifest = side.manifest.lock();
        let logs = manifest.state().logs.values();
        stats.logs = Some((
            logs.len() as u64,
            logs.map(|log| log.end.map_or(log.meta.size, |end| end.max(FIRST_FRAME))).sum(),
        ));
        stats.manifest = Some(manifest.position());
        stats.lifetime = manifest.state().counters;
    }
}

impl Core {
    /// Bytes of data blocks that may hold keys from `from` up to, not including, `to`.
    pub(super) fn approximate_size(&self, from: Option<&[u8]>, to: Option<&[u8]>) -> Result<u64> {
        let view = self.superversion.load_full();
        let mut size = 0;
        for file in view.version.levels.iter().flatten() {
            let (smallest, largest) = (&file.meta.smallest.user, &file.meta.largest.user);
            let begins = from.is_none_or(|from| from <= smallest.as_slice());
            let ends = to.is_none_or(|to| largest.as_slice() < to);
            if begins && ends {
                size += file.meta.size;
                continue;
            }
            if from.is_some_and(|from| largest.as_slice() < from)
                || to.is_some_and(|to| smallest.as_slice() >= to)
            {
                continue;
            }
            let table = file.table()?;
            let index = table.index();
            let first = from.map_or(0, |from| index.find(from, Trailer::FIRST));
            let last = to.map_or(index.count(), |to| index.find(to, Trailer::FIRST) + 1);
            let end = |position: usize| match position.checked_sub(1) {
                Some(before) => index.handle(before).end().unwrap_or(u64::MAX),
                None => 0,
            };
            let last = last.min(index.count());
            size += end(last).saturating_sub(end(first.min(last)));
        }
        Ok(size)
    }
}
