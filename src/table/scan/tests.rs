use std::cmp::Reverse;
use std::sync::atomic::Ordering;

use proptest::prelude::*;

use super::*;
use crate::table::testing::*;
use crate::table::{Count, TableStats, TableWriter, WriterOptions};
use crate::vfs::File;

/// All entries, block by block.
fn scan(table: &Arc<Table>) -> Result<Model> {
    let mut model = Model::new();
    let mut scan = TableScan::new(Arc::clone(table));
    assert!(scan.entry().is_none() && !scan.step());
    while scan.next_block()? {
        loop {
            let (block, entry) = scan.entry().unwrap();
            assert_eq!(scan.trailer(), block.trailer(entry));
            let key = (block.user_key(entry), Reverse(block.trailer(entry)));
            model.insert(key, block.value(entry).to_vec());
            if !scan.step() {
                break;
            }
        }
    }
    assert!(scan.entry().is_none() && scan.stored().is_none());
    Ok(model)
}

/// Ascending keys with values of these sizes, their bytes half random.
fn model_of(sizes: impl IntoIterator<Item = usize>) -> Model {
    let entry = |(i, size): (u64, usize)| {
        let byte =
            |j: usize| if j.is_multiple_of(2) { (j * j * 31 + i as usize * 7) as u8 } else { 0 };
        ((format!("key{i:07}").into_bytes(), Reverse(put(i + 1))), (0..size).map(byte).collect())
    };
    (0..).zip(sizes).map(entry).collect()
}

/// A table of several windows, among them blocks that are larger than one: every entry comes, with
/// few reads, and the reads are counted like those of any block.
#[test]
fn a_scan_reads_many_blocks_at_once() {
    for compression in [Compression::None, Compression::Lz4] {
        let large = [3 * WINDOW_SIZE as usize, 10];
        let model = model_of([300; 5_000].into_iter().chain(large).chain([300; 1_000]));
        let (vfs, meta) = write(&model, 99, options(4096, compression));
        let stats = Arc::new(TableStats::default());
        let table = Table::open(&vfs, path(), &meta, None).unwrap().with_stats(Arc::clone(&stats));
        let table = Arc::new(table);
        let before = vfs.0.reads.load(Ordering::Relaxed);
        assert!(scan(&table).unwrap() == model);
        let reads = (vfs.0.reads.load(Ordering::Relaxed) - before) as u64;
        let (blocks, bytes) = (table.index().count() as u64, meta.filter.offset);
        assert!(reads <= 2 * bytes / WINDOW_SIZE + 4, "{reads} reads of {bytes} bytes");
        assert_eq!(stats.get(Count::BlockRead), blocks);
        assert_eq!(stats.get(Count::BlockBytesRead), bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Blocks added to another table come out as they went in, whatever is copied, joined or taken
    /// apart, between entries that are added one by one.
    #[test]
    fn blocks_of_one_table_make_another(
        sizes in prop::collection::vec(0..400usize, 1..300),
        from in (prop::sample::select(vec![1usize, 500, 1000, 2000]), any::<bool>()),
        to in (prop::sample::select(vec![1usize, 500, 1000, 2000]), any::<bool>()),
        apart in prop::collection::vec(any::<bool>(), 1..20),
    ) {
        let form = |lz4| if lz4 { Compression::Lz4 } else { Compression::None };
        let model = model_of(sizes);
        let (vfs, meta) = write(&model, 99, options(from.0, form(from.1)));
        let table = open(&vfs, &meta).unwrap();
        let file = MemFile::new(path());
        let options = options(to.0, form(to.1));
        let mut writer = TableWriter::new(Arc::clone(&file) as Arc<dyn File>, options, origin(5));
        let mut scan = TableScan::new(Arc::clone(&table));
        let mut count = 0;
        while scan.next_block().unwrap() {
            let stored = scan.stored().unwrap();
            if apart[count % apart.len()] {
                let block = stored.block;
                for i in 0..block.count() {
                    writer.add(&block.user_key(i), block.trailer(i), block.value(i)).unwrap();
                }
            } else {
                writer.add_block(&stored).unwrap();
            }
            count += 1;
        }
        let copy = writer.finish().unwrap();
        let copied = open(&OneFile(file), &copy).unwrap();
        prop_assert_eq!(self::scan(&copied).unwrap(), model);
        let properties = copied.verify().unwrap();
        let original = table.properties().unwrap();
        prop_assert_eq!(properties.raw_key_bytes, original.raw_key_bytes);
        prop_assert_eq!(properties.distinct_keys, original.distinct_keys);
        prop_assert_eq!((&copy.smallest, &copy.largest), (&meta.smallest, &meta.largest));
        prop_assert_eq!((copy.min_seqno, copy.max_seqno), (meta.min_seqno, meta.max_seqno));
    }
}

/// A run of copied blocks has a few joined ones at its edges only: no block is smaller than half the
/// target but where entries added singly end, and none is larger than twice the target.
#[test]
fn copied_blocks_stay_near_their_target_size() {
    let model = model_of([90; 2_000]);
    let (vfs, meta) = write(&model, 99, options(2_000, Compression::None));
    let table = open(&vfs, &meta).unwrap();
    let file = MemFile::new(path());
    let options = options(2_000, Compression::None);
    let mut writer = TableWriter::new(Arc::clone(&file) as Arc<dyn File>, options, origin(5));
    let (mut scan, mut copied) = (TableScan::new(Arc::clone(&table)), 0);
    for position in 0.. {
        if !scan.next_block().unwrap() {
            break;
        }
        let stored = scan.stored().unwrap();
        if position % 5 > 0 {
            copied += u64::from(writer.add_block(&stored).unwrap());
            continue;
        }
        for i in 0..stored.block.count() {
            writer.add(&stored.block.user_key(i), stored.block.trailer(i), b"short").unwrap();
        }
    }
    let meta = writer.finish().unwrap();
    let table = open(&OneFile(file), &meta).unwrap();
    let count = table.index().count();
    let sizes = (0..count - 1).map(|i| table.data_block(i, false).unwrap().size());
    let sizes: Vec<usize> = sizes.collect();
    assert!(sizes.iter().all(|&size| (1_000..4_000).contains(&size)), "{sizes:?}");
    assert!(copied * 2 > count as u64, "{copied} of {count} copied");
}

/// Blocks that are much smaller than the target, or much larger, are not kept that way.
#[test]
fn blocks_far_from_the_target_size_are_made_anew() {
    for size in [400, 16_000] {
        let (vfs, meta) = write(&model_of([90; 1_000]), 99, options(size, Compression::None));
        let table = open(&vfs, &meta).unwrap();
        let file = MemFile::new(path());
        let options = options(2_000, Compression::None);
        let mut writer = TableWriter::new(Arc::clone(&file) as Arc<dyn File>, options, origin(5));
        let mut scan = TableScan::new(table);
        while scan.next_block().unwrap() {
            let copied = writer.add_block(&scan.stored().unwrap()).unwrap();
            assert!(!copied || scan.entry().unwrap().0.size() >= 1_000);
        }
        let meta = writer.finish().unwrap();
        let table = open(&OneFile(file), &meta).unwrap();
        let sizes = (0..table.index().count() - 1).map(|i| table.data_block(i, false).unwrap());
        assert!(sizes.map(|block| block.size()).all(|size| (1_000..=2_000).contains(&size)));
    }
}

/// A byte of the data changed, anywhere: the scan ends with that damage, and not before it.
#[test]
fn every_changed_byte_of_the_data_is_found() {
    for compression in [Compression::None, Compression::Lz4] {
        let model = small_model(60);
        let (vfs, meta) = write(&model, 99, options(300, compression));
        let bytes = vfs.bytes();
        for at in 0..meta.filter.offset as usize {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            let table = open(&vfs.with(damaged), &meta).unwrap();
            match scan(&table) {
                Err(Error::Corruption(damage)) => {
                    let offset = damage.offset.unwrap();
                    let index = table.index();
                    let mut blocks = (0..index.count()).map(|i| index.handle(i));
                    let hit = blocks.rfind(|h| h.offset <= at as u64).unwrap();
                    assert_eq!(offset, hit.offset, "byte {at}");
                }
                other => panic!("byte {at}: {other:?}"),
            }
        }
    }
}

/// Blocks with right checksums whose keys do not lie where the index says.
#[test]
fn a_scan_checks_the_neighbours_of_a_block() {
    let error = |forgery: Forgery| {
        let (table, _) = Table::open_file(&forgery.write(), path()).unwrap();
        scan(&Arc::new(table)).unwrap_err().to_string()
    };
    let overlap = Forgery::new(&[&[("c", put(1))], &[("b", put(1)), ("d", put(1))]]);
    let found = error(overlap);
    assert!(found.contains("its first key does not follow the block before it"), "{found}");
    let other = Forgery::new(&[&[("a", put(1))], &[("d", put(1))]]);
    let found = error(Forgery { first_last: Some("b"), ..other });
    assert!(found.contains("its last key is not the one in the index"), "{found}");
}

/// After an error the scan is at its end and stays there; so it is after a file that is too short.
#[test]
fn an_error_ends_a_scan() {
    let (vfs, meta) = write(&small_model(60), 99, options(300, Compression::None));
    let table = open(&vfs, &meta).unwrap();
    let mut scan = TableScan::new(Arc::clone(&table));
    vfs.0.broken.store(true, Ordering::Relaxed);
    assert!(matches!(scan.next_block(), Err(Error::Io { .. })));
    vfs.0.broken.store(false, Ordering::Relaxed);
    assert!(!scan.next_block().unwrap() && scan.entry().is_none());
    vfs.0.bytes.lock().truncate(200);
    let mut scan = TableScan::new(table);
    let error = scan.next_block().unwrap_err().to_string();
    assert!(error.contains("the file ends after 200 of"), "{error}");
}

/// With a size for it, what is written is synced on the way: about so many times, and at the end.
#[test]
fn a_writer_syncs_on_its_way_if_asked() {
    let syncs = |sync_bytes| {
        let file = MemFile::new(path());
        let options = WriterOptions {
            compression: Compression::None,
            sync_bytes,
            ..WriterOptions::default()
        };
        let mut writer = TableWriter::new(Arc::clone(&file) as Arc<dyn File>, options, origin(5));
        for i in 0..4_000u64 {
            writer.add(&i.to_be_bytes(), put(i + 1), &[7; 1000]).unwrap();
        }
        writer.finish().unwrap();
        file.syncs.load(Ordering::Relaxed)
    };
    assert_eq!(syncs(None), 1);
    assert_eq!(syncs(Some(1 << 20)), 4);
    assert_eq!(syncs(Some(1 << 30)), 1);
}
