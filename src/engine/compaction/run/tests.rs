use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::format::names;
use crate::format::table::Origin;
use crate::table::{Compression, TableIter, TableOrigin, WriterOptions};
use crate::types::{FileId, FileNumber, Level, StoreId};
use crate::vfs::Vfs;
use crate::vfs::fault::{Fault, FaultError, FaultVfs, OpKind, Times};
use crate::vfs::sim::SimVfs;

/// An entry: user key, sequence number, a value or a tombstone.
type Entry = (Vec<u8>, u64, Option<Vec<u8>>);

/// A directory of tables, and the numbers they get.
struct Dir {
    vfs: FaultVfs,
    next: Cell<u64>,
}

impl Dir {
    fn new() -> Dir {
        let sim = SimVfs::new();
        sim.create_dir_all("db".as_ref()).unwrap();
        Dir { vfs: FaultVfs::over_sim(sim), next: Cell::new(1) }
    }

    fn path(number: u64) -> PathBuf {
        PathBuf::from("db").join(names::table(FileNumber(number)))
    }

    fn writer(&self, options: &WriterOptions) -> Result<TableWriter> {
        let number = self.next.replace(self.next.get() + 1);
        let origin = TableOrigin {
            store: StoreId(1),
            number: FileNumber(number),
            id: FileId(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            level: Level(1),
            origin: Origin::Compaction,
            job: 1,
            inputs: Vec::new(),
            created_ms: 0,
        };
        Ok(TableWriter::new(self.vfs.create(&Dir::path(number))?, options.clone(), origin))
    }

    /// Writes entries, sorted here, as one table.
    fn write(&self, entries: &[Entry], options: &WriterOptions) -> TableMeta {
        let mut entries = entries.to_vec();
        entries.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
        let mut writer = self.writer(options).unwrap();
        for (user, seqno, value) in &entries {
            let kind = if value.is_some() { ValueKind::Put } else { ValueKind::Delete };
            let trailer = Trailer::new(SeqNo(*seqno), kind);
            writer.add(user, trailer, value.as_deref().unwrap_or_default()).unwrap();
        }
        writer.finish().unwrap()
    }

    fn open(&self, meta: &TableMeta) -> Arc<Table> {
        Arc::new(Table::open(&self.vfs, &Dir::path(meta.number.0), meta, None).unwrap())
    }

    fn write_open(&self, entries: &[Entry], options: &WriterOptions) -> Arc<Table> {
        self.open(&self.write(entries, options))
    }

    /// Reads tables the ordinary way.
    fn read(&self, metas: &[TableMeta]) -> Vec<Entry> {
        let mut entries = Vec::new();
        for meta in metas {
            let mut iter = TableIter::new(self.open(meta));
            iter.first().unwrap();
            while iter.valid() {
                let (user, trailer) = iter.key();
                let put = trailer.kind() == Some(ValueKind::Put);
                let value = put.then(|| iter.value().to_vec());
                entries.push((user.to_vec(), trailer.seqno().0, value));
                iter.next().unwrap();
            }
        }
        entries
    }
}

fn options(block_size: usize, compression: Compression) -> WriterOptions {
    WriterOptions { block_size, compression, ..WriterOptions::default() }
}

/// A plan with nothing but inputs; each run is one table.
fn plan(tables: Vec<Arc<Table>>) -> Plan<'static> {
    Plan {
        runs: tables.into_iter().map(|table| vec![table]).collect(),
        snapshots: &[],
        older: Older::default(),
        below: &[],
        table_size: 1 << 20,
    }
}

fn merge(dir: &Dir, plan: Plan<'_>, options: &WriterOptions) -> Result<Merged> {
    run(plan, &mut || dir.writer(options), &mut || Ok(()))
}

/// What a merge has to leave, worked out in the plainest way: for each reader the version it sees,
/// but for tombstones with nothing kept behind them to hide.
fn expected(inputs: &[Entry], snapshots: &[SeqNo], older: &[TableMeta]) -> Vec<Entry> {
    let mut keys: BTreeMap<&[u8], Vec<&Entry>> = BTreeMap::new();
    for entry in inputs {
        keys.entry(&entry.0).or_default().push(entry);
    }
    let mut left = Vec::new();
    for (user, mut versions) in keys {
        versions.sort_by_key(|version| version.1);
        let readers = snapshots.iter().map(|s| s.0).chain([u64::MAX]);
        let seen: BTreeSet<u64> = readers
            .filter_map(|reader| versions.iter().rev().map(|v| v.1).find(|&seqno| seqno <= reader))
            .collect();
        versions.retain(|version| seen.contains(&version.1));
        let covers = |t: &TableMeta| *t.smallest.user <= *user && *user <= *t.largest.user;
        let mut hides = older.iter().any(covers);
        versions.retain(|version| {
            let needed = version.2.is_some() || hides;
            hides = version.2.is_some();
            needed
        });
        left.extend(versions.into_iter().rev().cloned());
    }
    left
}

#[derive(Clone, Debug)]
struct Case {
    /// Newest first; each a list of key, kind and size, its table's block size and compression, and
    /// after how many keys it goes on in another table.
    runs: Vec<RunCase>,
    older: Vec<Vec<Vec<u8>>>,
    below: Vec<Vec<u8>>,
    snapshots: Vec<u64>,
    output: (usize, Compression),
    table_size: u64,
}

#[derive(Clone, Debug)]
struct RunCase {
    writes: Vec<(Vec<u8>, Option<usize>)>,
    options: (usize, Compression),
    split: usize,
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (0..30u32).prop_map(|i| format!("user{i:04}").into_bytes()),
        2 => prop::collection::vec(prop::sample::select(vec![0, b'a', 0xff]), 1..4),
        1 => prop::collection::vec(any::<u8>(), 1..12),
    ]
}

fn form() -> impl Strategy<Value = (usize, Compression)> {
    let compression = prop::sample::select(vec![Compression::None, Compression::Lz4]);
    (prop::sample::select(vec![1, 60, 200, 4096]), compression)
}

fn run_case() -> impl Strategy<Value = RunCase> {
    let value = prop_oneof![1 => Just(None), 3 => (0..80usize).prop_map(Some)];
    let mixed = prop::collection::vec((key(), value), 1..60).boxed();
    // A stretch of keys of its own, without tombstones: blocks that can be copied.
    let stretch = (0..8u32, 1..60u32).prop_map(|(place, count)| {
        let key = |i| format!("user{:04}/{i:03}", place * 4).into_bytes();
        (0..count).map(|i| (key(i), Some(20))).collect::<Vec<_>>()
    });
    let stretch = stretch.boxed();
    let both = (mixed.clone(), stretch.clone()).prop_map(|(mut a, b)| {
        a.extend(b);
        a
    });
    (prop_oneof![mixed, stretch, both], form(), 1..40usize)
        .prop_map(|(writes, options, split)| RunCase { writes, options, split })
}

fn case() -> impl Strategy<Value = Case> {
    (
        prop::collection::vec(run_case(), 1..6),
        prop::collection::vec(prop::collection::vec(key(), 1..4), 0..3),
        prop::collection::vec(key(), 0..6),
        prop::collection::btree_set(0..300u64, 0..6),
        form(),
        prop::sample::select(vec![1, 300, 2_000, 1 << 20]),
    )
        .prop_map(|(runs, older, below, snapshots, output, table_size)| Case {
            runs,
            older,
            below,
            snapshots: snapshots.into_iter().collect(),
            output,
            table_size,
        })
}

/// Gives each write a sequence number, the oldest run's first, and writes the runs as tables.
fn write_runs(dir: &Dir, runs: &[RunCase]) -> (Vec<Vec<Arc<Table>>>, Vec<Entry>) {
    let (mut seqno, mut all, mut tables) = (0, Vec::new(), Vec::new());
    for run in runs.iter().rev() {
        let mut keys: BTreeMap<&[u8], Vec<Entry>> = BTreeMap::new();
        for (user, size) in &run.writes {
            seqno += 1;
            // Half of a value is as random as the number, the other half compresses well.
            let value = size.map(|size| {
                let byte = |i: usize| (seqno as usize * 31 + i * i * 7) as u8;
                (0..size).map(|i| if i % 8 < 4 { byte(i) } else { 0 }).collect()
            });
            keys.entry(user).or_default().push((user.clone(), seqno, value));
        }
        let keys: Vec<Vec<Entry>> = keys.into_values().collect();
        let options = options(run.options.0, run.options.1);
        let write = |part: &[Vec<Entry>]| dir.write_open(&part.concat(), &options);
        tables.push(keys.chunks(run.split).map(write).collect());
        all.extend(keys.concat());
    }
    tables.reverse();
    (tables, all)
}

/// Bounds, no overlap, and everything a table says about itself.
fn check_tables(dir: &Dir, tables: &[TableMeta], entries: &[Entry]) {
    let mut rest = entries;
    for meta in tables {
        let table = dir.open(meta);
        let properties = table.verify().unwrap();
        let (own, behind) = rest.split_at(meta.entries as usize);
        rest = behind;
        assert_eq!((&meta.smallest.user, &meta.largest.user), (&own[0].0, &own[own.len() - 1].0));
        assert!(behind.first().is_none_or(|next| next.0 > meta.largest.user));
        let seqnos = || own.iter().map(|entry| entry.1);
        let bounds = (SeqNo(seqnos().min().unwrap()), SeqNo(seqnos().max().unwrap()));
        assert_eq!((meta.min_seqno, meta.max_seqno), bounds);
        let tombstones = own.iter().filter(|entry| entry.2.is_none()).count() as u64;
        assert_eq!((meta.tombstones, properties.tombstones), (tombstones, tombstones));
        let keys: BTreeSet<&[u8]> = own.iter().map(|entry| entry.0.as_slice()).collect();
        assert_eq!(properties.distinct_keys, keys.len() as u64);
        let value_size = |entry: &Entry| entry.2.as_ref().map_or(0, Vec::len);
        let raw: usize = own.iter().map(|entry| entry.0.len() + value_size(entry)).sum();
        assert_eq!(meta.raw_bytes, raw as u64);
    }
    assert!(rest.is_empty());
}

/// Random runs of several tables, with every version that any reader needs and many that none does,
/// merged with random snapshots, older tables, outputs and cuts. What is left is exactly what the
/// plainest rule leaves, and every number in metas, properties and counts is right. Over all cases
/// each of the ways a merge can take must have been taken.
#[test]
fn a_merge_leaves_exactly_what_readers_need() {
    let totals = Cell::new([0u64; 5]);
    let cases = if cfg!(debug_assertions) { 400 } else { 4_000 };
    let mut runner =
        TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(cases) });
    let done = runner.run(&case(), |case| {
        let dir = Dir::new();
        let (runs, inputs) = write_runs(&dir, &case.runs);
        let snapshots: Vec<SeqNo> = case.snapshots.iter().map(|&s| SeqNo(s)).collect();
        let plain = options(4096, Compression::None);
        let value = |key: &Vec<u8>| (key.clone(), 0, Some(Vec::new()));
        let table = |keys: &Vec<Vec<u8>>| {
            let keys: BTreeSet<Vec<u8>> = keys.iter().cloned().collect();
            dir.write(&keys.iter().map(value).collect::<Vec<_>>(), &plain)
        };
        let older: Vec<TableMeta> = case.older.iter().map(table).collect();
        let keys: BTreeSet<Vec<u8>> = case.below.iter().cloned().collect();
        let below: Vec<TableMeta> = keys.into_iter().map(|key| table(&vec![key])).collect();
        let below: Vec<&TableMeta> = below.iter().collect();
        let plan = Plan {
            runs,
            snapshots: &snapshots,
            older: Older::new(older.iter().collect(), Vec::new()),
            below: &below,
            table_size: case.table_size,
        };
        let merged = merge(&dir, plan, &options(case.output.0, case.output.1)).unwrap();

        let expected = expected(&inputs, &snapshots, &older);
        let found = dir.read(&merged.tables);
        prop_assert_eq!(&found, &expected);
        check_tables(&dir, &merged.tables, &found);
        prop_assert_eq!(merged.entries_in, inputs.len() as u64);
        prop_assert_eq!(merged.entries_out, expected.len() as u64);
        let dropped = merged.dropped_shadowed + merged.dropped_tombstones;
        prop_assert_eq!(dropped, (inputs.len() - expected.len()) as u64);
        let size: u64 = merged.tables.iter().map(|table| table.size).sum();
        prop_assert_eq!(merged.bytes_out, size);
        let more = [
            merged.blocks_copied,
            merged.blocks_in - merged.blocks_copied,
            merged.dropped_shadowed,
            merged.dropped_tombstones,
            merged.tables.len() as u64,
        ];
        totals.set(std::array::from_fn(|i| totals.get()[i] + more[i]));
        Ok(())
    });
    done.unwrap();
    let least = u64::from(cases);
    assert!(totals.get().iter().all(|&total| total > least), "{:?}", totals.get());
}

/// `count` ascending keys from `from` on with values of 100 bytes, half of them compressible.
fn stretch(from: u64, count: u64) -> Vec<Entry> {
    let mut random = from;
    let mut byte = |_| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 56) as u8
    };
    (from..from + count)
        .map(|i| {
            let value = (0..50).map(&mut byte).chain([b'v'; 50]).collect();
            (format!("key{i:08}").into_bytes(), i + 1, Some(value))
        })
        .collect()
}

/// Two runs in alternating stretches of a thousand keys: nearly all blocks are copied, in both
/// forms, the tables are as sound as any, and no more blocks than before hold the entries.
#[test]
fn blocks_that_nothing_touches_are_copied() {
    for compression in [Compression::None, Compression::Lz4] {
        let (dir, options) = (Dir::new(), options(4096, compression));
        let stretches: Vec<Vec<Entry>> = (0..10).map(|i| stretch(i * 1000, 1000)).collect();
        let half = |parity| stretches.iter().skip(parity).step_by(2).cloned().collect::<Vec<_>>();
        let tables: Vec<_> =
            [0, 1].map(|parity| dir.write_open(&half(parity).concat(), &options)).into();
        let blocks: usize = tables.iter().map(|table| table.index().count()).sum();
        let merged = merge(&dir, plan(tables), &options).unwrap();
        assert_eq!(dir.read(&merged.tables), stretches.concat());
        check_tables(&dir, &merged.tables, &stretches.concat());
        assert_eq!(merged.blocks_in, blocks as u64);
        assert!(merged.blocks_copied * 100 > merged.blocks_in * 90, "{merged:?}");
        let after: usize = merged.tables.iter().map(|meta| dir.open(meta).index().count()).sum();
        assert!(after <= blocks + 2, "{after} blocks from {blocks}");
    }
}

/// Blocks stored as they are go into a compressed table only if compression was tried on them.
#[test]
fn blocks_are_copied_only_in_the_form_the_output_has() {
    let (dir, lz4) = (Dir::new(), options(4096, Compression::Lz4));
    let plain = options(4096, Compression::None);
    let copied = |from: &WriterOptions, to: &WriterOptions, entries: &[Entry]| {
        let merged = merge(&dir, plan(vec![dir.write_open(entries, from)]), to).unwrap();
        assert_eq!(dir.read(&merged.tables), entries);
        (merged.blocks_in, merged.blocks_copied)
    };
    let (all, none) = copied(&plain, &lz4, &stretch(0, 1000));
    assert!(all > 20 && none == 0);
    assert_eq!(copied(&lz4, &plain, &stretch(0, 1000)).1, 0);
    let (all, most) = copied(&lz4, &lz4, &stretch(0, 1000));
    assert!(most + 1 >= all);
    // One block that compresses, then some that do not.
    let mut entries = stretch(0, 1000);
    for entry in &mut entries[100..] {
        entry.2.as_mut().unwrap().truncate(50);
        entry.0.extend_from_slice(&entry.1.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    }
    let (all, most) = copied(&lz4, &lz4, &entries);
    assert!(most + 1 >= all, "{most} of {all}");
}

/// A tombstone, an overwrite, or a version left over in the other run keeps a block from being
/// copied, and the older version goes.
#[test]
fn a_block_with_something_to_drop_is_not_copied() {
    let (dir, options) = (Dir::new(), options(4096, Compression::None));
    let entries = stretch(0, 10);
    let with = |more: Entry| [entries.clone(), vec![more]].concat();
    let tombstone = (b"key00000005x".to_vec(), 50, None);
    let overwrite = (entries[5].0.clone(), 50, Some(Vec::new()));
    for (input, left) in [(with(tombstone), 10), (with(overwrite.clone()), 10)] {
        let merged = merge(&dir, plan(vec![dir.write_open(&input, &options)]), &options).unwrap();
        assert_eq!((merged.blocks_copied, merged.entries_out), (0, left));
    }
    // The newer version is in a block of its own before, and behind it the older one comes first.
    let newer = dir.write_open(&[(entries[0].0.clone(), 50, Some(Vec::new()))], &options);
    let older = dir.write_open(&entries, &options);
    let merged = merge(&dir, plan(vec![newer, older]), &options).unwrap();
    assert_eq!((merged.entries_out, merged.dropped_shadowed), (10, 1));
    // The newer version is the last entry of a block, the older one the first of the next.
    let single = self::options(1, Compression::None);
    let input = with((entries[9].0.clone(), 50, Some(Vec::new())));
    let merged = merge(&dir, plan(vec![dir.write_open(&input, &single)]), &single).unwrap();
    assert_eq!((merged.blocks_copied, merged.dropped_shadowed), (10, 1));
    assert_eq!(dir.read(&merged.tables)[9].1, 50);
}

/// The newer version comes first by its sequence number, wherever its run stands in the plan.
#[test]
fn sequence_numbers_say_which_version_is_newer() {
    let (dir, plain) = (Dir::new(), options(300, Compression::None));
    let old = stretch(0, 100);
    let mut new = stretch(0, 100);
    new.iter_mut().for_each(|entry| entry.1 += 1_000);
    let tables = [&old, &new].map(|entries| dir.write_open(entries, &plain));
    let merged = merge(&dir, plan(tables.into()), &plain).unwrap();
    assert_eq!(dir.read(&merged.tables), new);
}

/// Nothing but tombstones with nothing below, and no inputs: no table, and no file is created.
#[test]
fn a_merge_that_leaves_nothing_writes_no_table() {
    let dir = Dir::new();
    let plain = options(4096, Compression::None);
    let entries: Vec<Entry> = (0..100).map(|i| (vec![i], u64::from(i), None)).collect();
    let table = dir.write_open(&entries, &plain);
    let number = dir.next.get();
    let merged = merge(&dir, plan(vec![table]), &plain).unwrap();
    assert_eq!(merged.tables, []);
    assert_eq!((merged.entries_in, merged.dropped_tombstones), (100, 100));
    assert_eq!(merge(&dir, plan(Vec::new()), &plain).unwrap(), Merged::default());
    assert_eq!(dir.next.get(), number);
}

/// Outputs end where tables below end once they are half full, and at the latest at one and a half
/// times their size.
#[test]
fn outputs_end_where_tables_below_end() {
    let (dir, plain) = (Dir::new(), options(1024, Compression::None));
    let input = dir.write_open(&stretch(0, 4000), &plain);
    let below: Vec<TableMeta> =
        [700, 800, 2100].map(|i| dir.write(&stretch(i - 10, 10), &plain)).into();
    let below: Vec<&TableMeta> = below.iter().collect();
    let table_size = 100_000;
    let plan = Plan { below: &below, table_size, ..plan(vec![input]) };
    let merged = merge(&dir, plan, &plain).unwrap();
    check_tables(&dir, &merged.tables, &stretch(0, 4000));
    let ends: Vec<&[u8]> = merged.tables.iter().map(|t| t.largest.user.as_slice()).collect();
    assert_eq!(ends[0], b"key00000699");
    // The next end is too near, and the one after it too far.
    assert!(ends[1] > b"key00001700".as_slice() && ends[1] < b"key00002099".as_slice());
    for (index, table) in merged.tables.iter().enumerate() {
        let size_max = if index == 1 { 3 * table_size / 2 } else { table_size };
        assert!(table.size < size_max + 20_000, "table {index} has {} bytes", table.size);
    }
}

/// Every read and every write of a merge fails in turn: the merge ends with that error.
#[test]
fn any_failure_ends_the_merge() {
    let mut failures = BTreeMap::new();
    for kind in [OpKind::Read, OpKind::Write, OpKind::Sync, OpKind::Create] {
        for nth in 0.. {
            let (dir, options) = (Dir::new(), options(4096, Compression::None));
            let mut newer = stretch(0, 12_000);
            newer.iter_mut().for_each(|entry| entry.1 += 12_000);
            let tables =
                [newer, stretch(5, 12_000)].map(|entries| dir.write_open(&entries, &options));
            dir.vfs.add(Fault {
                op: kind,
                path_contains: String::new(),
                after: nth,
                times: Times::Once,
                error: FaultError::Eio,
            });
            let plan = Plan { table_size: 700_000, ..plan(tables.into()) };
            let result = merge(&dir, plan, &options);
            if dir.vfs.injected() == 0 {
                result.unwrap();
                break;
            }
            assert!(matches!(result, Err(Error::Io { .. })), "{kind:?} {nth}");
            *failures.entry(kind).or_insert(0) += 1;
        }
    }
    assert!(failures.len() == 4 && failures.values().all(|&count| count >= 2), "{failures:?}");
}

/// Inputs that are not what they are said to be: a run whose tables overlap, the same version in two
/// runs, a table with fewer entries than the manifest says.
#[test]
fn inputs_that_contradict_the_plan_are_damage() {
    let (dir, plain) = (Dir::new(), options(300, Compression::None));
    let damage = |plan: Plan<'_>, expected: &str| match merge(&dir, plan, &plain) {
        Err(Error::Corruption(damage)) => {
            assert!(damage.detail.contains(expected), "{}", damage.detail);
        }
        other => panic!("{other:?}"),
    };
    let tables =
        || [stretch(0, 20), stretch(15, 20)].map(|entries| dir.write_open(&entries, &plain));
    damage(Plan { runs: vec![tables().into()], ..plan(Vec::new()) }, "keys out of order");
    let twice = [(); 2].map(|()| dir.write_open(&stretch(0, 20), &plain));
    damage(plan(twice.into()), "keys out of order");
    let mut meta = dir.write(&stretch(0, 20), &plain);
    meta.entries += 1;
    damage(plan(vec![dir.open(&meta)]), "20 entries, the manifest says 21");
}

/// A pause comes every 256 KiB of input, and an error it returns ends the merge.
#[test]
fn a_merge_pauses_and_can_be_stopped() {
    let (dir, plain) = (Dir::new(), options(4096, Compression::None));
    let table = dir.write_open(&stretch(0, 12_000), &plain);
    let size = table.meta().size;
    let mut pauses = 0;
    let mut pause = || {
        pauses += 1;
        Ok(())
    };
    run(plan(vec![Arc::clone(&table)]), &mut || dir.writer(&plain), &mut pause).unwrap();
    assert!(pauses >= 4 && pauses * PAUSE_SIZE <= size, "{pauses} pauses in {size} bytes");
    let stop = &mut || Err(Error::ReadOnly);
    let stopped = run(plan(vec![table]), &mut || dir.writer(&plain), stop);
    assert!(matches!(stopped, Err(Error::ReadOnly)));
}
