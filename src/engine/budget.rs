//! One budget for the memory of a store: memtables, open tables, and the block cache with the rest.
//!
//! Invariants: what tables keep open (filters, indexes) stays within half of the budget, and the
//! open tables within their number, by closing those that were not read for longest; the block cache
//! has what memtables and open tables leave, at least a sixteenth.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::options::Options;
use super::stats::{MemoryStats, ReadStats};
use super::superversion::SuperVersion;
use super::tables::TableFile;
use crate::table::{BlockCache, Count, TableStats};

/// What an open table takes beside index and filter, roughly.
const HANDLE_SIZE: u64 = 1024;

/// Who shares the memory of a store.
#[derive(Debug)]
pub(super) struct Budget {
    // Constant after open.
    memory_size: u64,
    /// What a memtable may grow to; 0 in a handle that does not write.
    memtable_size: u64,
    cache_size: Option<u64>,
    open_tables_max: usize,

    pub(super) cache: Arc<BlockCache>,
    pub(super) stats: Arc<TableStats>,
    memtable_bytes: AtomicU64,
    /// The open tables; who is looked at next for closing comes first.
    open: Mutex<VecDeque<Weak<TableFile>>>,
}

impl Budget {
    pub(super) fn new(options: &Options, read_only: bool) -> Budget {
        Budget {
            memory_size: options.memory_size,
            memtable_size: if read_only { 0 } else { options.memtable_size },
            cache_size: options.cache_size,
            open_tables_max: options.open_files_max,
            cache: Arc::new(BlockCache::new(0)),
            stats: Arc::default(),
            memtable_bytes: AtomicU64::new(0),
            open: Mutex::default(),
        }
    }

    /// Sets aside what the memtables of a view take: those waiting for a flush what they have, the
    /// one being filled what it will have. Where it fits, room for one that waits is always set
    /// aside, so that not each flush drives blocks out of the cache.
    pub(super) fn share_with_memtables(&self, view: &SuperVersion) {
        let waiting = view.immutables.iter().map(|waiting| waiting.memtable.allocated_bytes());
        let active = view.memtable.allocated_bytes().max(self.memtable_size);
        let bytes = waiting.fold(active, u64::saturating_add);
        let usual = self.memtable_size.saturating_mul(2).min(self.memory_size / 2);
        self.memtable_bytes.store(bytes.max(usual), Ordering::Relaxed);
        self.share_out();
    }

    /// Gives the block cache what the others leave.
    fn share_out(&self) {
        let taken = self.memtable_bytes.load(Ordering::Relaxed).saturating_add(self.tables_size());
        let rest = self.memory_size.saturating_sub(taken).max(self.memory_size / 16);
        self.cache.set_capacity(self.cache_size.map_or(rest, |size| size.min(rest)));
    }

    /// Bytes that open tables take.
    fn tables_size(&self) -> u64 {
        let stats = &self.stats;
        stats.index_bytes() + stats.filter_bytes() + stats.open_tables() * HANDLE_SIZE
    }

    /// Notes that a table was opened, and closes others if that was too much.
    pub(super) fn opened(&self, file: &Arc<TableFile>) {
        let mut open = self.open.lock();
        open.push_back(Arc::downgrade(file));
        if open.len() > self.open_tables_max {
            open.retain(|file| file.strong_count() > 0);
        }
        // Every other one may have to be looked at twice: it was used, and then it was not. The one
        // just opened stays, whatever it takes.
        let mut looks = 2 * open.len();
        while looks > 0 && open.len() > 1 && self.has_too_much_open(open.len()) {
            looks -= 1;
            let Some(candidate) = open.pop_front() else { break };
            let stays = candidate.upgrade().is_some_and(|candidate| {
                Arc::ptr_eq(&candidate, file) || !candidate.close_if_unused()
            });
            if stays {
                open.push_back(candidate);
            }
        }
        drop(open);
        self.share_out();
    }

    fn has_too_much_open(&self, count: usize) -> bool {
        count > self.open_tables_max || self.tables_size() > self.memory_size / 2
    }

    /// Where the memory goes.
    pub(super) fn memory(&self, memtables: u64) -> MemoryStats {
        MemoryStats {
            budget: self.memory_size,
            memtable_bytes: memtables,
            block_cache_bytes: self.cache.size(),
            block_cache_capacity: self.cache.capacity(),
            index_bytes: self.stats.index_bytes(),
            filter_bytes: self.stats.filter_bytes(),
            open_tables: self.stats.open_tables(),
        }
    }

    /// What reads have cost.
    pub(super) fn reads(&self) -> ReadStats {
        let count = |what| self.stats.get(what);
        let cache = self.cache.counts();
        let (negative, passed) = (count(Count::FilterNegative), count(Count::FilterPassed));
        ReadStats {
            filter_checked: negative + passed,
            filter_negative: negative,
            filter_false_positive: count(Count::FilterFalsePositive),
            cache_hits: count(Count::CacheHit),
            cache_misses: count(Count::CacheMiss),
            cache_inserted: cache.inserted,
            cache_evicted: cache.evicted,
            blocks_read: count(Count::BlockRead),
            block_bytes_read: count(Count::BlockBytesRead),
        }
    }
}
