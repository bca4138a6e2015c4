use std::ops::Range;

use super::*;
use crate::format::block::Builder;
use crate::format::key::Trailer;

fn block(value_size: usize) -> Arc<CachedBlock> {
    let (mut builder, mut content) = (Builder::new(), Vec::new());
    builder.add(b"key", Trailer(1 << 8), &vec![7; value_size]);
    builder.finish(&mut content);
    Arc::new(CachedBlock::new(Block::new(content).unwrap()))
}

fn cache_of(blocks: u64) -> Arc<BlockCache> {
    Arc::new(BlockCache::new(blocks * block(1000).weight()))
}

/// What a reader does: uses the block if it is there, else brings it. Says whether it was there.
fn read(table: &TableBlocks, position: usize) -> bool {
    let there = table.get(position).is_some();
    if !there {
        table.insert(position, &block(1000));
    }
    there
}

fn read_all(table: &TableBlocks, positions: Range<usize>) {
    for position in positions {
        read(table, position);
    }
}

/// What must hold at any moment: sizes and counts are those of the blocks in the slots.
fn check(cache: &BlockCache, tables: &[&TableBlocks]) {
    let queues = cache.queues.lock();
    let kept: Vec<_> = tables
        .iter()
        .flat_map(|table| table.slots.blocks.iter().filter_map(|slot| slot.load_full()))
        .collect();
    let size: u64 = kept.iter().map(|block| block.weight()).sum();
    let young = kept.iter().filter(|block| !block.old.load(Ordering::Relaxed));
    let young: u64 = young.map(|block| block.weight()).sum();
    assert_eq!((queues.size, queues.young_size), (size, young));
    assert_eq!(queues.counts.blocks, kept.len() as u64);
    assert_eq!(cache.size(), size);
    let counts = queues.counts;
    assert_eq!(counts.inserted, counts.blocks + counts.evicted + counts.forgotten);
    assert!(size <= cache.capacity());
}

/// The same place in two tables is two blocks.
#[test]
fn blocks_are_kept_by_table_and_place() {
    let cache = cache_of(100);
    let [one, two] = [10, 10].map(|count| TableBlocks::new(Arc::clone(&cache), count));
    one.insert(0, &block(10));
    assert_eq!(one.get(0).as_ref().unwrap().value(0).len(), 10);
    assert!(two.get(0).is_none());
    assert!(one.get(1).is_none());
    check(&cache, &[&one, &two]);
}

/// Puts ten times the capacity into caches of several sizes, and into one of none; makes one
/// smaller afterwards.
#[test]
fn the_capacity_is_kept_to() {
    for capacity in [0, 10_000, 1 << 20] {
        let cache = Arc::new(BlockCache::new(capacity));
        let count = capacity as usize / 400 + 10;
        let table = TableBlocks::new(Arc::clone(&cache), count);
        for position in 0..count {
            table.insert(position, &block(4000));
            check(&cache, &[&table]);
        }
        assert_eq!(cache.size() == 0, capacity == 0);
        cache.set_capacity(capacity / 2);
        check(&cache, &[&table]);
    }
}

/// A hot set is read twice, then ten times the capacity once each: the hot set is still there.
#[test]
fn a_long_scan_drives_out_only_itself() {
    let cache = cache_of(100);
    let table = TableBlocks::new(Arc::clone(&cache), 2000);
    for _ in 0..2 {
        read_all(&table, 0..50);
    }
    for position in 1000..2000 {
        assert!(!read(&table, position));
    }
    assert_eq!((0..50).filter(|&position| read(&table, position)).count(), 50);
    check(&cache, &[&table]);
}

/// A block that is read again soon after it was dropped stays through the next scan.
#[test]
fn a_block_that_comes_back_is_old_at_once() {
    let cache = cache_of(100);
    let table = TableBlocks::new(Arc::clone(&cache), 2000);
    read_all(&table, 0..101);
    assert!(!read(&table, 0), "the first was dropped");
    for position in 1000..1500 {
        read(&table, position);
    }
    assert!(read(&table, 0));
    assert!(!read(&table, 1));
    check(&cache, &[&table]);
}

/// What is no longer used leaves in the end, however hot it was.
#[test]
fn a_new_hot_set_replaces_the_old_one() {
    let cache = cache_of(100);
    let table = TableBlocks::new(Arc::clone(&cache), 2000);
    for set in [0, 1000] {
        for _ in 0..20 {
            read_all(&table, set..set + 80);
        }
        let hits = (set..set + 80).filter(|&position| read(&table, position)).count();
        assert!(hits >= 76, "{hits} of 80");
    }
    check(&cache, &[&table]);
}

/// Closes and reopens tables over and over: their blocks go with them, the others stay, and what is
/// left over in the queues does not pile up.
#[test]
fn blocks_leave_with_their_table() {
    let cache = cache_of(100);
    let lasting = TableBlocks::new(Arc::clone(&cache), 10);
    read_all(&lasting, 0..10);
    for _ in 0..1000 {
        let table = TableBlocks::new(Arc::clone(&cache), 50);
        read_all(&table, 0..50);
        check(&cache, &[&lasting, &table]);
    }
    check(&cache, &[&lasting]);
    assert_eq!((0..10).filter(|&position| read(&lasting, position)).count(), 10);
    let queues = cache.queues.lock();
    assert!(queues.young.len() + queues.old.len() < 2 * STALE_MIN);
}

/// Four threads read, drop and make tables of one cache at once; what they leave adds up.
#[test]
fn many_threads_keep_the_sums_right() {
    let cache = cache_of(100);
    let shared = TableBlocks::new(Arc::clone(&cache), 500);
    std::thread::scope(|scope| {
        for thread in 0..4usize {
            let (cache, shared) = (&cache, &shared);
            scope.spawn(move || {
                for round in 0..50 {
                    let own = TableBlocks::new(Arc::clone(cache), 50);
                    for step in 0..50 {
                        read(shared, (thread * 31 + round * 17 + step * 7) % 500);
                        read(&own, step);
                    }
                }
            });
        }
    });
    check(&cache, &[&shared]);
}
