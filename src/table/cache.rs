//! The block cache: data blocks, checked and unpacked, kept in memory for all tables of a store.
//!
//! Each open table has a slot for each of its blocks, so that finding a block is one load at a known
//! place, without a hash, a lock or a search. Which blocks stay is decided for all tables together:
//! a block enters a short queue of young ones, and is dropped at its end if nobody used it again
//! meanwhile (so a long scan drives out nothing but itself); otherwise it goes over into the queue
//! of old ones, at whose end it gets another turn for each use, three at most. A block that comes
//! back soon after it was dropped is old at once.
//!
//! Invariants: a block in a slot is in exactly one queue, and its weight in `size`; queues may have
//! entries whose slot is empty, left over from tables that were closed.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};

use arc_swap::{ArcSwapOption, Guard};
use parking_lot::Mutex;

use crate::format::block::Block;

/// Bytes a block costs beside its content: the structures around it, the allocator's, the queue's.
const OVERHEAD: u64 = 144;

/// The young take a tenth of the capacity.
const YOUNG_SHARE: u64 = 10;

/// Uses beyond this count no more: what was hot long ago leaves after so many turns.
const USES_MAX: u8 = 3;

/// Left-over entries are tolerated up to this number even when little else is in the queues.
const STALE_MIN: usize = 1024;

/// A data block with what the cache notes of it.
#[derive(Debug)]
pub struct CachedBlock {
    block: Block,
    /// Uses since it entered its queue. Racy on purpose: a lost use does no harm.
    uses: AtomicU8,
    old: AtomicBool,
}

impl CachedBlock {
    pub(super) fn new(block: Block) -> CachedBlock {
        CachedBlock { block, uses: AtomicU8::new(0), old: AtomicBool::new(false) }
    }

    fn weight(&self) -> u64 {
        self.block.size() as u64 + OVERHEAD
    }

    #[inline]
    fn note_use(&self) {
        let uses = self.uses.load(Ordering::Relaxed);
        if uses < USES_MAX {
            self.uses.store(uses + 1, Ordering::Relaxed);
        }
    }
}

impl Deref for CachedBlock {
    type Target = Block;

    #[inline]
    fn deref(&self) -> &Block {
        &self.block
    }
}

/// A block for the duration of one read: cheaper than an `Arc` of it, and to be let go soon.
pub(super) type BlockGuard = Guard<Option<Arc<CachedBlock>>>;

/// Data blocks in memory, up to a number of bytes.
pub struct BlockCache {
    capacity: AtomicU64,
    /// A copy of the one in `queues`, to be read without the lock.
    size: AtomicU64,
    queues: Mutex<Queues>,
}

/// What a cache has done since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheCounts {
    /// Blocks kept now.
    pub blocks: u64,
    /// Blocks that came in.
    pub inserted: u64,
    /// Blocks that had to go for want of space.
    pub evicted: u64,
    /// Blocks that went with their table.
    pub forgotten: u64,
}

#[derive(Default)]
struct Queues {
    young: VecDeque<Entry>,
    old: VecDeque<Entry>,
    young_size: u64,
    size: u64,
    counts: CacheCounts,
}

/// Where a block is kept.
struct Entry {
    slots: Arc<Slots>,
    position: u32,
}

/// A slot for each data block of a table.
struct Slots {
    blocks: Box<[ArcSwapOption<CachedBlock>]>,
    /// For each block, the number of insertions when it was last dropped young; 0 if it was not.
    dropped: Box<[AtomicU32]>,
}

/// One table's part of the cache; its blocks leave the cache with it.
pub(super) struct TableBlocks {
    cache: Arc<BlockCache>,
    slots: Arc<Slots>,
}

impl BlockCache {
    /// A cache of `capacity` bytes; with 0 it keeps nothing.
    #[must_use]
    pub fn new(capacity: u64) -> BlockCache {
        BlockCache {
            capacity: AtomicU64::new(capacity),
            size: AtomicU64::new(0),
            queues: Mutex::default(),
        }
    }

    /// Bytes kept now.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size.load(Ordering::Relaxed)
    }

    /// Most bytes it keeps.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.capacity.load(Ordering::Relaxed)
    }

    /// Changes how many bytes it keeps; what is too much goes at once.
    pub fn set_capacity(&self, capacity: u64) {
        if self.capacity.swap(capacity, Ordering::Relaxed) > capacity {
            self.change(|queues| queues.shrink(capacity));
        }
    }

    /// What it has done so far.
    #[must_use]
    pub fn counts(&self) -> CacheCounts {
        self.queues.lock().counts
    }

    fn change(&self, change: impl FnOnce(&mut Queues)) {
        let mut queues = self.queues.lock();
        change(&mut queues);
        self.size.store(queues.size, Ordering::Relaxed);
    }
}

impl TableBlocks {
    /// Slots for the `count` data blocks of one table.
    pub(super) fn new(cache: Arc<BlockCache>, count: usize) -> TableBlocks {
        let slots = Slots {
            blocks: (0..count).map(|_| ArcSwapOption::empty()).collect(),
            dropped: (0..count).map(|_| AtomicU32::new(0)).collect(),
        };
        TableBlocks { cache, slots: Arc::new(slots) }
    }

    /// The block at `position` of the table's index, if it is kept.
    #[inline]
    pub(super) fn get(&self, position: usize) -> BlockGuard {
        let block = self.slots.blocks[position].load();
        if let Some(block) = block.as_ref() {
            block.note_use();
        }
        block
    }

    /// Keeps a block, unless it is too large for the cache.
    pub(super) fn insert(&self, position: usize, block: &Arc<CachedBlock>) {
        let capacity = self.cache.capacity();
        if block.weight() <= capacity {
            self.cache.change(|queues| {
                queues.insert(&self.slots, position, block);
                queues.shrink(capacity);
            });
        }
    }

    /// Bytes that the slots take.
    pub(super) fn size(&self) -> u64 {
        self.slots.blocks.len() as u64 * 12
    }
}

impl Drop for TableBlocks {
    fn drop(&mut self) {
        self.cache.change(|queues| queues.forget(&self.slots));
    }
}

impl Slots {
    fn take(&self, position: usize) -> Option<Arc<CachedBlock>> {
        let slot = &self.blocks[position];
        // Most are empty, and looking is cheaper than taking.
        if slot.load().is_none() { None } else { slot.swap(None) }
    }
}

impl Queues {
    fn insert(&mut self, slots: &Arc<Slots>, position: usize, block: &Arc<CachedBlock>) {
        if slots.blocks[position].load().is_some() {
            return; // Two readers missed it at once.
        }
        let dropped = slots.dropped[position].load(Ordering::Relaxed);
        // All arithmetic on the stamp wraps around, as the stamp does.
        let age = (self.counts.inserted as u32).wrapping_sub(dropped);
        let came_back = dropped != 0 && u64::from(age) < self.counts.blocks;
        self.counts.inserted += 1;
        self.counts.blocks += 1;
        self.size += block.weight();
        block.uses.store(0, Ordering::Relaxed);
        block.old.store(came_back, Ordering::Relaxed);
        slots.blocks[position].store(Some(Arc::clone(block)));
        let entry = Entry { slots: Arc::clone(slots), position: position as u32 };
        if came_back {
            self.old.push_back(entry);
        } else {
            self.young_size += block.weight();
            self.young.push_back(entry);
        }
    }

    fn shrink(&mut self, capacity: u64) {
        while self.size > capacity {
            let young = self.young_size > capacity / YOUNG_SHARE || self.old.is_empty();
            let queue = if young { &mut self.young } else { &mut self.old };
            let Some(entry) = queue.pop_front() else { return };
            self.judge(entry, young);
        }
    }

    /// Lets the block of an entry that came to its queue's end stay or go.
    fn judge(&mut self, entry: Entry, young: bool) {
        let position = entry.position as usize;
        let slot = entry.slots.blocks[position].load();
        let Some(block) = slot.as_ref() else { return };
        let uses = block.uses.load(Ordering::Relaxed);
        if uses > 0 {
            block.uses.store(if young { 0 } else { uses - 1 }, Ordering::Relaxed);
            block.old.store(true, Ordering::Relaxed);
            self.young_size -= if young { block.weight() } else { 0 };
            self.old.push_back(entry);
            return;
        }
        drop(slot);
        let Some(block) = entry.slots.take(position) else { return };
        self.size -= block.weight();
        self.counts.blocks -= 1;
        self.counts.evicted += 1;
        if young {
            self.young_size -= block.weight();
            let stamp = (self.counts.inserted as u32).max(1);
            entry.slots.dropped[position].store(stamp, Ordering::Relaxed);
        }
    }

    /// Drops all blocks of a table. Their entries stay until they come to the end of their queue,
    /// or are too many.
    fn forget(&mut self, slots: &Slots) {
        for position in 0..slots.blocks.len() {
            let Some(block) = slots.take(position) else { continue };
            self.size -= block.weight();
            let young = !block.old.load(Ordering::Relaxed);
            self.young_size -= if young { block.weight() } else { 0 };
            self.counts.blocks -= 1;
            self.counts.forgotten += 1;
        }
        let entries = self.young.len() + self.old.len();
        if entries > 2 * self.counts.blocks as usize + STALE_MIN {
            let kept = |entry: &Entry| entry.slots.blocks[entry.position as usize].load().is_some();
            self.young.retain(kept);
            self.old.retain(kept);
        }
    }
}

impl fmt::Debug for BlockCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockCache({} of {} bytes)", self.size(), self.capacity())
    }
}

impl fmt::Debug for TableBlocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TableBlocks({} slots in {:?})", self.slots.blocks.len(), self.cache)
    }
}

#[cfg(test)]
mod tests;
