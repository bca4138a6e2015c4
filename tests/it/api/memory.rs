//! What a store keeps in memory and open, and how it stays within its budget.

use beachdb::Strategy;

use super::*;

fn nothing_merged() -> Options {
    Options::new().strategy(Strategy::Fifo { size_max: 1 << 40 })
}

fn key(n: u64) -> Vec<u8> {
    format!("key{n:06}").into_bytes()
}

/// A table for each range of keys.
fn fill(db: &Db, tables: u64, pairs: u64, value_size: usize) -> Result<()> {
    for table in 0..tables {
        let mut batch = WriteBatch::new();
        for n in 0..pairs {
            batch.put(key(n * tables + table), vec![table as u8; value_size]);
        }
        db.write(batch, Durability::Buffered)?;
        db.flush()?;
    }
    Ok(())
}

/// Tables of this directory that the process has open.
#[allow(clippy::disallowed_methods)] // A test waits, and looks at its own process.
#[cfg(target_os = "linux")]
fn open_files(dir: &std::path::Path) -> usize {
    let open = std::fs::read_dir("/proc/self/fd").expect("the process's own files");
    let targets = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    targets.filter(|path| path.starts_with(dir) && path.extension() == Some("sst".as_ref())).count()
}

/// Two hundred tables, of which sixteen may be open: every key is found, every scan complete, over
/// and over, and the system never sees many more files open than that.
#[test]
#[cfg(target_os = "linux")]
fn tables_beyond_the_limit_are_closed_and_opened_again() -> Result<()> {
    let (_dir, sand) = sand();
    let db = nothing_merged().open_files_max(16).open(&sand)?;
    fill(&db, 200, 5, 100)?;
    assert_eq!(db.stats().levels[0].tables, 200);
    let mut most = 0;
    for round in 0..2 {
        for n in (0..1000).step_by(3) {
            let value = db.get(key((n * 7 + round) % 1000))?.expect("the key is there");
            assert_eq!(value[99], ((n * 7 + round) % 1000 % 200) as u8);
            most = most.max(open_files(&sand));
        }
        assert!(most <= 17, "{most} files");
        assert!(db.stats().memory.open_tables <= 17, "{:?}", db.stats().memory);
        // A scan stands in all of the overlapping tables at once, and lets them go again.
        assert_eq!(db.iter().count(), 1000);
        assert_eq!(db.iter().rev().count(), 1000);
        assert_eq!(db.get(key(1000))?, None);
        assert!(open_files(&sand) <= 17, "{} files", open_files(&sand));
    }
    assert!(most >= 16, "{most} files: the limit was never reached");
    Ok(())
}

/// A scan over many tables that lie beside one another has one of them open at a time.
#[test]
#[cfg(target_os = "linux")]
fn a_scan_over_tables_side_by_side_needs_few_files() -> Result<()> {
    let (_dir, sand) = sand();
    let db = nothing_merged().open_files_max(16).open(&sand)?;
    for table in 0..100 {
        let mut batch = WriteBatch::new();
        for n in 0..5 {
            batch.put(key(table * 5 + n), b"v");
        }
        db.write(batch, Durability::Buffered)?;
        db.flush()?;
    }
    let mut cursor = db.cursor();
    cursor.first()?;
    let mut seen = 0;
    while cursor.valid() {
        assert_eq!(cursor.key(), key(seen));
        assert!(open_files(&sand) <= 18, "{} files", open_files(&sand));
        seen += 1;
        cursor.next()?;
    }
    assert_eq!(seen, 500);
    Ok(())
}

/// Writes and reads far more than the budget holds: what the store says it keeps stays within it,
/// and blocks are kept at all.
#[test]
fn memory_stays_within_its_budget() -> Result<()> {
    let (_dir, sand) = sand();
    let options = nothing_merged().memory_size(4 << 20).memtable_size(256 << 10);
    let db = options.open(&sand)?;
    for round in 0..40u64 {
        let mut batch = WriteBatch::new();
        for n in 0..200 {
            batch.put(key(n * 40 + round), vec![round as u8; 1000]);
        }
        db.write(batch, Durability::Buffered)?;
        for n in 0..200 {
            db.get(key(n * 40 + round / 2))?;
        }
        let memory = db.stats().memory;
        let used = memory.memtable_bytes + memory.block_cache_bytes + memory.index_bytes;
        // A batch that is as large as a memtable leaves one larger than planned.
        let slack = 256 << 10;
        assert!(used + memory.filter_bytes <= memory.budget + slack, "{memory:?}");
        assert!(memory.block_cache_bytes <= memory.block_cache_capacity);
    }
    db.flush()?;
    assert_eq!(db.iter().count(), 8000);
    assert_eq!(db.iter().count(), 8000);
    let memory = db.stats().memory;
    assert!(memory.block_cache_bytes > 2 << 20, "{memory:?}");
    assert!(memory.index_bytes > 0 && memory.filter_bytes > 0, "{memory:?}");
    assert!(memory.open_tables > 15, "{memory:?}");
    assert_eq!(memory.budget, 4 << 20);
    Ok(())
}

/// Indexes and filters that would take more than half of the budget: tables are closed instead.
#[test]
fn tables_are_closed_for_their_memory_too() -> Result<()> {
    let (_dir, sand) = sand();
    let db = nothing_merged().memory_size(96 << 10).memtable_size(16 << 10).open(&sand)?;
    fill(&db, 60, 300, 20)?;
    for n in 0..18_000 {
        assert_eq!(db.get(key(n))?.expect("the key is there")[0], (n % 60) as u8);
    }
    let memory = db.stats().memory;
    let tables = memory.index_bytes + memory.filter_bytes;
    assert!(tables <= 48 << 10, "{memory:?}");
    assert!((2..59).contains(&memory.open_tables), "{memory:?}");
    assert!(memory.block_cache_capacity >= 6 << 10, "{memory:?}");
    Ok(())
}

/// However small it is said to be, the store works; a cache of none keeps none.
#[test]
fn a_store_without_memory_works() -> Result<()> {
    for options in [nothing_merged().memory_size(0), nothing_merged().cache_size(0)] {
        let (_dir, sand) = sand();
        let db = options.open(&sand)?;
        fill(&db, 3, 100, 100)?;
        assert_eq!(db.iter().count(), 300);
        assert_eq!(db.get(key(7))?.map(|value| value.len()), Some(100));
        assert_eq!(db.stats().memory.block_cache_bytes, 0);
        assert_eq!(db.stats().reads.cache_hits, 0);
    }
    Ok(())
}

/// The second reading of the same keys costs no block, and absent keys are the filter's.
#[test]
fn reads_are_counted() -> Result<()> {
    let (_dir, sand) = sand();
    let db = nothing_merged().open(&sand)?;
    fill(&db, 1, 1000, 100)?;
    (0..1000).try_for_each(|n| db.get(key(n)).map(drop))?;
    let first = db.stats().reads;
    assert_eq!((first.filter_checked, first.filter_negative), (1000, 0));
    assert_eq!(first.cache_misses, first.blocks_read);
    assert_eq!((first.cache_inserted, first.cache_evicted), (first.blocks_read, 0));
    assert_eq!(first.cache_hits + first.cache_misses, 1000);
    (0..1000).try_for_each(|n| db.get(key(n)).map(drop))?;
    let second = db.stats().reads;
    assert_eq!(second.cache_hits, first.cache_hits + 1000);
    assert_eq!(second.block_bytes_read, first.block_bytes_read);
    for n in 0..1000 {
        assert_eq!(db.get([&key(n)[..], b"x"].concat())?, None);
    }
    let third = db.stats().reads;
    assert_eq!(third.filter_checked, 3000 - beyond(&db)?);
    assert_eq!(third.filter_negative + third.filter_false_positive, 1000 - beyond(&db)?);
    assert!(third.filter_negative > 950, "{third:?}");
    Ok(())
}

/// Absent keys behind the last one never come to the table.
fn beyond(db: &Db) -> Result<u64> {
    let last = db.iter().next_back().transpose()?.expect("there are pairs").0;
    Ok(u64::from(last < [&key(999)[..], b"x"].concat()))
}
