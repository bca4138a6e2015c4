//! The block cache: data blocks, checked and unpacked, kept in memory for all tables of a store.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

use crate::format::block::Block;
use crate::types::FileId;

/// Which block: the file's identity and the block's offset. File numbers would do within one
/// store, but identities are never given twice, so a stale block cannot be mistaken for another.
type Key = (FileId, u64);

type Blocks = Cache<Key, Arc<Block>, BySize, DefaultHashBuilder>;

/// Bytes a block costs beside its content: the structures around it and the cache's own.
const OVERHEAD: u64 = 160;

/// The size of most blocks, from which the cache guesses how many it will hold.
const TYPICAL_SIZE: u64 = 4096 + OVERHEAD;

/// Data blocks in memory, up to a number of bytes; which go first is learned from use, so that a
/// long scan does not drive out what is read again and again.
pub struct BlockCache {
    blocks: Option<Blocks>,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl BlockCache {
    /// A cache of `capacity` bytes; with 0 it keeps nothing.
    #[must_use]
    pub fn new(capacity: u64) -> BlockCache {
        let estimate = usize::try_from(capacity / TYPICAL_SIZE).unwrap_or(usize::MAX);
        let options = OptionsBuilder::new()
            .estimated_items_capacity(estimate.clamp(1, 1 << 20))
            .weight_capacity(capacity)
            .build();
        // The builder fails only if one of its two fields is missing.
        let options = options.ok().filter(|_| capacity > 0);
        let blocks = options.map(|options| {
            Cache::with_options(options, BySize, DefaultHashBuilder::default(), Default::default())
        });
        BlockCache { blocks, hits: AtomicU64::new(0), misses: AtomicU64::new(0) }
    }

    /// The block at `offset` of the file `id`, if it is kept.
    #[must_use]
    pub fn get(&self, id: FileId, offset: u64) -> Option<Arc<Block>> {
        let block = self.blocks.as_ref()?.get(&(id, offset));
        let counter = if block.is_some() { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        block
    }

    /// Keeps a block, unless it is too large for the cache.
    pub fn insert(&self, id: FileId, offset: u64, block: Arc<Block>) {
        if let Some(blocks) = &self.blocks {
            blocks.insert((id, offset), block);
        }
    }

    /// How many lookups found their block.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    /// How many lookups did not.
    #[must_use]
    pub fn misses(&self) -> u64 {
        self.misses.load(Ordering::Relaxed)
    }

    /// Bytes kept now.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.blocks.as_ref().map_or(0, Cache::weight)
    }

    /// Most bytes it keeps.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.blocks.as_ref().map_or(0, Cache::capacity)
    }
}

impl fmt::Debug for BlockCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockCache({} of {} bytes)", self.size(), self.capacity())
    }
}

#[derive(Clone, Debug)]
struct BySize;

impl Weighter<Key, Arc<Block>> for BySize {
    fn weight(&self, _: &Key, block: &Arc<Block>) -> u64 {
        block.size() as u64 + OVERHEAD
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::block::Builder;
    use crate::format::key::Trailer;

    fn block(value_size: usize) -> Arc<Block> {
        let (mut builder, mut content) = (Builder::new(), Vec::new());
        builder.add(b"key", Trailer(1 << 8), &vec![7; value_size]);
        builder.finish(&mut content);
        Arc::new(Block::new(content).unwrap())
    }

    /// The same offset of two files is two blocks, and lookups are counted.
    #[test]
    fn blocks_are_kept_by_file_and_offset() {
        let cache = BlockCache::new(1 << 20);
        cache.insert(FileId(1), 0, block(10));
        assert_eq!(cache.get(FileId(1), 0).unwrap().value(0).len(), 10);
        assert!(cache.get(FileId(2), 0).is_none());
        assert!(cache.get(FileId(1), 4096).is_none());
        assert_eq!((cache.hits(), cache.misses()), (1, 2));
    }

    /// Puts ten times the capacity into caches of several sizes, and into one of none.
    #[test]
    fn the_capacity_is_kept_to() {
        for capacity in [0, 10_000, 1 << 20] {
            let cache = BlockCache::new(capacity);
            for offset in 0..capacity / 400 + 10 {
                cache.insert(FileId(1), offset, block(4000));
            }
            assert!(cache.size() <= capacity, "{cache:?}");
            assert!(cache.capacity() <= capacity);
        }
        assert!(BlockCache::new(0).get(FileId(1), 0).is_none());
    }
}
