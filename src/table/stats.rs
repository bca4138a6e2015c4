//! What reads of tables cost: counters that many threads raise without disturbing one another.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};

/// Something that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Point reads that a filter answered: the key is not there.
    FilterNegative,
    /// Point reads that a filter let pass.
    FilterPassed,
    /// Of those, the ones whose key was not there.
    FilterFalsePositive,
    /// Data blocks found in the cache.
    CacheHit,
    /// Data blocks that were not, though there is a cache.
    CacheMiss,
    /// Data blocks read from files.
    BlockRead,
    /// Their bytes in the files.
    BlockBytesRead,
}

const COUNTS: usize = Count::BlockBytesRead as usize + 1;

/// Enough that few threads share one.
const STRIPES: usize = 16;

/// What reads of tables cost, and what open tables take in memory; shared by all tables that are
/// given the same.
#[derive(Default)]
pub struct TableStats {
    stripes: [Stripe; STRIPES],
    pub(super) open: OpenTables,
}

/// The counters of the threads that count here, on cache lines of their own: a line that two
/// processors write in turn costs each a miss.
#[derive(Default)]
#[repr(align(128))]
struct Stripe([AtomicU64; COUNTS]);

/// What the tables that are open now add up to.
#[derive(Debug, Default)]
pub(super) struct OpenTables {
    count: AtomicI64,
    index_bytes: AtomicI64,
    filter_bytes: AtomicI64,
}

impl TableStats {
    /// Counts one.
    #[inline]
    pub fn count(&self, what: Count) {
        self.add(what, 1);
    }

    /// Counts several.
    #[inline]
    pub fn add(&self, what: Count, count: u64) {
        self.stripes[stripe()].0[what as usize].fetch_add(count, Ordering::Relaxed);
    }

    /// How many there were so far.
    #[must_use]
    pub fn get(&self, what: Count) -> u64 {
        self.stripes.iter().map(|stripe| stripe.0[what as usize].load(Ordering::Relaxed)).sum()
    }

    /// Tables that are open now; a reader in the middle of one keeps it open.
    #[must_use]
    pub fn open_tables(&self) -> u64 {
        read(&self.open.count)
    }

    /// Bytes that their indexes take.
    #[must_use]
    pub fn index_bytes(&self) -> u64 {
        read(&self.open.index_bytes)
    }

    /// Bytes that their filters take.
    #[must_use]
    pub fn filter_bytes(&self) -> u64 {
        read(&self.open.filter_bytes)
    }
}

impl fmt::Debug for TableStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableStats").field("open", &self.open).finish_non_exhaustive()
    }
}

/// Counts one open table as long as it lives; the default counts none.
#[derive(Debug, Default)]
pub(super) struct Opened {
    pub(super) stats: Arc<TableStats>,
    count: i64,
    index_bytes: i64,
    filter_bytes: i64,
}

impl Opened {
    pub(super) fn new(stats: Arc<TableStats>, index_bytes: u64, filter_bytes: u64) -> Opened {
        let opened = Opened {
            stats,
            count: 1,
            index_bytes: index_bytes as i64,
            filter_bytes: filter_bytes as i64,
        };
        opened.change(1);
        opened
    }

    fn change(&self, sign: i64) {
        let open = &self.stats.open;
        open.count.fetch_add(sign * self.count, Ordering::Relaxed);
        open.index_bytes.fetch_add(sign * self.index_bytes, Ordering::Relaxed);
        open.filter_bytes.fetch_add(sign * self.filter_bytes, Ordering::Relaxed);
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.change(-1);
    }
}

fn read(gauge: &AtomicI64) -> u64 {
    u64::try_from(gauge.load(Ordering::Relaxed)).unwrap_or(0)
}

/// The stripe of this thread: threads take turns in the order in which they first count.
#[inline]
fn stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static STRIPE: usize = NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES;
    }
    // A thread that is about to end may have lost its own; any will do.
    STRIPE.try_with(|stripe| *stripe).unwrap_or(0)
}
