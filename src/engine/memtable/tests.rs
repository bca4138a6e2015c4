use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};

use proptest::prelude::*;

use super::entry::{Entry, HEADER_SIZE};
use super::node::{INNER_SIZE, LEAF_SIZE, Node};
use super::tree::skip_between;
use super::*;

type Key = (Vec<u8>, Reverse<Trailer>);

/// What the memtable must be equal to.
type Model = BTreeMap<Key, Vec<u8>>;

fn put(seqno: u64) -> Trailer {
    Trailer::new(SeqNo(seqno), ValueKind::Put)
}

/// Inserts into both.
fn insert(model: &mut Model, writer: &mut MemtableWriter, user: &[u8], at: Trailer, value: &[u8]) {
    writer.insert(user, at, value);
    assert!(model.insert((user.to_vec(), Reverse(at)), value.to_vec()).is_none());
}

fn here(iter: &MemtableIter) -> Option<(Key, Vec<u8>)> {
    iter.valid().then(|| {
        let (user, trailer) = iter.key();
        assert_eq!(&*iter.value_pinned(), iter.value());
        ((user.to_vec(), Reverse(trailer)), iter.value().to_vec())
    })
}

fn owned(entry: Option<(&Key, &Vec<u8>)>) -> Option<(Key, Vec<u8>)> {
    entry.map(|(key, value)| (key.clone(), value.clone()))
}

/// Compares everything that can be asked without a target, and the counters to the byte.
fn check_whole(model: &Model, memtable: &Arc<Memtable>) {
    let mut iter = memtable.iter();
    assert!(!iter.valid());
    iter.first();
    for entry in model {
        assert_eq!(here(&iter), owned(Some(entry)));
        iter.next();
    }
    assert!(!iter.valid());
    iter.next();
    assert!(!iter.valid());
    iter.last();
    for entry in model.iter().rev() {
        assert_eq!(here(&iter), owned(Some(entry)));
        iter.prev();
    }
    assert!(!iter.valid());

    let keys: usize = model.keys().map(|(user, _)| user.len()).sum();
    let values: usize = model.values().map(Vec::len).sum();
    let deletes = model.keys().filter(|(_, t)| t.0.kind() == Some(ValueKind::Delete)).count();
    assert_eq!(memtable.entries(), model.len() as u64);
    assert_eq!(memtable.is_empty(), model.is_empty());
    assert_eq!(memtable.tombstones(), deletes as u64);
    assert_eq!(memtable.raw_key_bytes(), keys as u64);
    assert_eq!(memtable.raw_value_bytes(), values as u64);
    // What the entries do not take, the nodes do: those in the tree and those that were split.
    let entries = keys + values + HEADER_SIZE * model.len();
    let nodes = memtable.size_bytes() as usize - entries;
    let shape = memtable.tree.shape();
    assert!(nodes.is_multiple_of(LEAF_SIZE) && nodes >= shape.bytes(), "{nodes} {shape:?}");
    assert!(memtable.allocated_bytes() >= memtable.size_bytes());
}

/// Compares `get`, `seek` and `seek_before` at one internal key.
fn check_at(model: &Model, memtable: &Arc<Memtable>, user: &[u8], trailer: Trailer) {
    let at = (user.to_vec(), Reverse(trailer));
    let mut iter = memtable.iter();
    iter.seek(user, trailer);
    assert_eq!(here(&iter), owned(model.range(&at..).next()));
    iter.prev();
    if model.range(&at..).next().is_some() {
        assert_eq!(here(&iter), owned(model.range(..&at).next_back()));
    }
    iter.seek_before(user, trailer);
    assert_eq!(here(&iter), owned(model.range(..&at).next_back()));
    iter.next();
    if model.range(..&at).next().is_some() {
        assert_eq!(here(&iter), owned(model.range(&at..).next()));
    }
    let seqno = trailer.seqno();
    let newest = (user.to_vec(), Reverse(Trailer::seek(seqno)));
    let expected = model.range(newest..).next().filter(|((found, _), _)| found == user);
    let found = memtable.get(user, seqno).map(|(trailer, value)| (trailer, value.to_vec()));
    assert_eq!(found, expected.map(|((_, trailer), value)| (trailer.0, value.clone())));
}

/// Keys with a lot in common: few bytes, long shared beginnings, zeros that look like an end.
fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(b'a'), Just(0xff)], 1..12),
        4 => (0u32..3000).prop_map(|n| format!("user{n:012}").into_bytes()),
        2 => (0u8..4, 0u8..8).prop_map(|(n, size)| {
            let mut key = b"/a/path/that/all/of/these/share/".to_vec();
            key.extend(std::iter::repeat_n(n, size.into()));
            key
        }),
        2 => any::<[u8; 8]>().prop_map(|bytes| bytes.to_vec()),
        1 => (1usize..1500, 0u8..3).prop_map(|(size, byte)| vec![byte; size]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// A thousand operations on keys that share their beginnings, with many versions of each;
    /// then every question there is, about keys that are there and keys that are not.
    #[test]
    fn a_memtable_is_a_sorted_map(
        operations in prop::collection::vec((key(), any::<bool>(), 0usize..40), 0..1000),
        questions in prop::collection::vec((key(), 0u64..1200), 60),
        order in 0..4,
    ) {
        let mut operations = operations;
        match order {
            0 => operations.sort(),
            1 => { operations.sort(); operations.reverse() }
            _ => {}
        }
        let (memtable, mut writer) = Memtable::new();
        let mut model = Model::new();
        for (seqno, (user, delete, size)) in (1..).zip(&operations) {
            let kind = if *delete { ValueKind::Delete } else { ValueKind::Put };
            let trailer = Trailer::new(SeqNo(seqno), kind);
            insert(&mut model, &mut writer, user, trailer, &vec![seqno as u8; *size]);
        }
        check_whole(&model, &memtable);
        for (user, seqno) in &questions {
            check_at(&model, &memtable, user, Trailer::seek(SeqNo(*seqno)));
        }
        for (seqno, (user, ..)) in (1..).zip(&operations).step_by(7) {
            check_at(&model, &memtable, user, put(seqno));
            check_at(&model, &memtable, user, Trailer::FIRST);
            check_at(&model, &memtable, user, Trailer::LAST);
        }
    }

    /// One key, all its versions, in any order of insertion: each sequence number finds its own.
    #[test]
    fn the_newest_version_at_or_below_a_sequence_number_is_found(
        seqnos in prop::collection::btree_set(1u64..5000, 0..400), shuffle in any::<u64>(),
    ) {
        let mut seqnos: Vec<_> = seqnos.into_iter().collect();
        seqnos.sort_by_key(|n| n.wrapping_mul(shuffle | 1).rotate_left(20));
        let (memtable, mut writer) = Memtable::new();
        let mut model = Model::new();
        for seqno in &seqnos {
            insert(&mut model, &mut writer, b"key", put(*seqno), &seqno.to_le_bytes());
        }
        check_whole(&model, &memtable);
        for seqno in (0..5010).step_by(13).chain(seqnos) {
            for user in [&b"ke"[..], b"key", b"key\0"] {
                check_at(&model, &memtable, user, Trailer::seek(SeqNo(seqno)));
            }
        }
    }
}

/// Orders of insertion that go through other code: each end of the tree, several streams at once,
/// runs with a change of beginning between them, few bytes in common and many.
#[test]
fn every_order_of_insertion_gives_the_same_table() {
    let count = 5000u64;
    let orders: [fn(u64) -> u64; 6] = [
        |n| n,
        |n| 4999 - n,
        |n| n * 1237 % 5000,
        |n| n % 5 * 1000 + n / 5,
        |n| n % 5 * 1000 + 999 - n / 5,
        |n| if n % 2 == 0 { n / 2 } else { 4999 - n / 2 },
    ];
    let spellings: [fn(u64) -> Vec<u8>; 5] = [
        |n| n.to_be_bytes().to_vec(),
        |n| format!("{n:016}").into_bytes(),
        |n| format!("{}/of/the/{:03}", n / 300, n % 300).into_bytes(),
        |n| vec![b'x'; n as usize / 10 + 1],
        |n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes().to_vec(),
    ];
    for order in orders {
        for spelling in spellings {
            let (memtable, mut writer) = Memtable::new();
            let mut model = Model::new();
            for n in 0..count {
                insert(&mut model, &mut writer, &spelling(order(n)), put(n + 1), b"value");
            }
            check_whole(&model, &memtable);
            for n in (0..count + 5).step_by(11) {
                let user = spelling(n);
                check_at(&model, &memtable, &user, put(n));
                check_at(&model, &memtable, &user[..user.len() - 1], Trailer::FIRST);
            }
            check_at(&model, &memtable, &[0xff; 20], Trailer::LAST);
        }
    }
}

/// Ascending and descending keys fill every leaf but the last, so a bulk load wastes no memory.
#[test]
fn sorted_keys_leave_full_leaves() {
    for descending in [false, true] {
        let (memtable, mut writer) = Memtable::new();
        for n in 0..10_000u64 {
            let n = if descending { 10_000 - n } else { n };
            writer.insert(format!("{n:016}").as_bytes(), put(n + 1), b"");
        }
        let shape = memtable.tree.shape();
        assert!(shape.leaves <= 10_000 / 15 + 3, "{shape:?}");
        // Two small leaves' worth apart, nothing was copied but inner nodes.
        let nodes = memtable.size_bytes() - 10_000 * (16 + HEADER_SIZE as u64);
        assert!(nodes as usize <= 2 * shape.bytes(), "{nodes} {shape:?}");
        assert!(shape.height <= 4, "{shape:?}");
    }
}

/// The largest key, an empty one, an empty value and values of megabytes, among many small ones.
#[test]
fn the_largest_and_the_smallest_come_back() {
    let (memtable, mut writer) = Memtable::new();
    let mut model = Model::new();
    let largest = vec![7u8; 65_535];
    for n in 0..40u64 {
        let mut user = largest.clone();
        user[65_534] = (n * 7 % 40) as u8;
        insert(&mut model, &mut writer, &user, put(n + 1), &vec![n as u8; n as usize]);
        insert(&mut model, &mut writer, &[7, n as u8], put(n + 1), b"");
        insert(&mut model, &mut writer, &largest[..65_000 + n as usize], put(n + 1), b"");
    }
    insert(&mut model, &mut writer, b"", put(50), b"of the empty key");
    insert(&mut model, &mut writer, b"big", put(51), &vec![1; 3 << 20]);
    insert(&mut model, &mut writer, b"big", put(52), &vec![2; 5 << 20]);
    check_whole(&model, &memtable);
    for (user, trailer) in model.keys() {
        check_at(&model, &memtable, user, trailer.0);
    }
    assert_eq!(memtable.get(b"big", SeqNo(51)).unwrap().1.len(), 3 << 20);
}

/// A store with ten keys must not pay for a million.
#[test]
fn a_small_memtable_is_small() {
    let (memtable, mut writer) = Memtable::new();
    assert!(memtable.is_empty() && memtable.get(b"a", SeqNo::MAX).is_none());
    assert_eq!(memtable.size_bytes(), 256);
    for n in 0..10 {
        writer.insert(&[n], put(1), &[0; 100]);
    }
    assert_eq!(memtable.size_bytes(), 256 + 10 * 115);
    assert_eq!(memtable.allocated_bytes(), 4096);
}

/// Lets go of the memtable and its writer, and reads on: the value and the iterator hold it.
#[test]
fn values_and_iterators_outlive_the_handle() {
    let (memtable, mut writer) = Memtable::new();
    for n in 0..1000u64 {
        writer.insert(&n.to_be_bytes(), put(n + 1), &n.to_le_bytes());
    }
    let (_, value) = memtable.get(&500u64.to_be_bytes(), SeqNo::MAX).unwrap();
    let mut iter = memtable.iter();
    iter.first();
    assert_eq!(Arc::strong_count(&memtable), 4);
    drop((memtable, writer));
    let copy = value.clone();
    drop(value);
    assert_eq!(*copy, 500u64.to_le_bytes());
    drop(copy);
    let mut count = 0;
    while iter.valid() {
        count += 1;
        iter.next();
    }
    assert_eq!(count, 1000);
}

/// Positions iterators, inserts between all they hold, and walks on in both directions: what was
/// there before is met in order and once, whatever else is.
#[test]
fn iterators_go_on_while_entries_come() {
    for start in (0..3000u64).step_by(97) {
        let (memtable, mut writer) = Memtable::new();
        for n in 0..3000u64 {
            writer.insert(&(n * 10).to_be_bytes(), put(1), b"");
        }
        let mut forward = memtable.iter();
        let mut backward = memtable.iter();
        forward.seek(&(start * 10).to_be_bytes(), Trailer::FIRST);
        backward.seek_before(&(start * 10).to_be_bytes(), Trailer::FIRST);
        let mut more = (0..9000u64).map(|n| n * 7919 % 30_000).filter(|n| n % 10 != 0);
        let mut seen = (Vec::new(), Vec::new());
        while forward.valid() || backward.valid() {
            for n in more.by_ref().take(3) {
                writer.insert(&n.to_be_bytes(), put(2), b"");
            }
            for (iter, seen) in [(&mut forward, &mut seen.0), (&mut backward, &mut seen.1)] {
                if iter.valid() {
                    seen.push(u64::from_be_bytes(iter.key().0.try_into().unwrap()));
                }
            }
            forward.next();
            backward.prev();
        }
        assert!(seen.0.is_sorted_by(|a, b| a < b) && seen.1.is_sorted_by(|a, b| a > b));
        let old = |seen: Vec<u64>| seen.into_iter().filter(|n| n % 10 == 0).count() as u64;
        assert_eq!((old(seen.0), old(seen.1)), (3000 - start, start));
    }
}

/// One thread writes and publishes sequence numbers as the engine does; the others take the
/// visible one and look for everything up to it: by key, forwards and backwards. Each key's place
/// in the order of insertion can be computed, so a reader knows what it must find.
#[test]
fn readers_see_all_that_was_published_while_a_writer_writes() {
    let spellings: [fn(u64) -> [u8; 16]; 4] = [
        |n| spell(n),
        |n| spell(u64::MAX - n),
        |n| spell(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        |n| spell((n % 8) << 40 | n),
    ];
    let rounds = if cfg!(debug_assertions) { 1 } else { 4 };
    for (round, spelling) in (0..rounds * 4).map(|round| (round, spellings[round % 4])) {
        let count = 40_000u64;
        let (memtable, mut writer) = Memtable::new();
        let visible = AtomicU64::new(0);
        let done = AtomicBool::new(false);
        let reads = AtomicU64::new(0);
        let barrier = Barrier::new(4);
        std::thread::scope(|scope| {
            for reader in 0..3u64 {
                let (memtable, visible, done, reads, barrier) =
                    (&memtable, &visible, &done, &reads, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    let mut random = reader + 1 + 10 * round as u64;
                    while !done.load(Ordering::Acquire) {
                        let seqno = SeqNo(visible.load(Ordering::Acquire));
                        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
                        match reader {
                            0 => {
                                read_points(memtable, seqno, spelling, random);
                                read_latest(memtable, visible, spelling);
                            }
                            1 => read_forwards(memtable, seqno),
                            _ => read_backwards(memtable, seqno),
                        }
                        reads.fetch_add(u64::from(seqno.0 > 0), Ordering::Relaxed);
                    }
                });
            }
            barrier.wait();
            for n in 1..=count {
                writer.insert(&spelling(n), put(n), &n.to_le_bytes());
                visible.store(n, Ordering::Release);
                if n % 64 == 0 {
                    std::thread::yield_now();
                }
            }
            done.store(true, Ordering::Release);
        });
        assert!(reads.into_inner() > 10, "nobody read while the writer wrote");
        read_forwards(&memtable, SeqNo(count));
        read_backwards(&memtable, SeqNo(count));
    }
}

fn spell(n: u64) -> [u8; 16] {
    std::array::from_fn(|i| b'a' + (n >> (60 - 4 * i) & 15) as u8)
}

fn read_points(memtable: &Arc<Memtable>, seqno: SeqNo, spelling: fn(u64) -> [u8; 16], random: u64) {
    let mut iter = memtable.iter();
    for step in 0..50u64 {
        // The latest, which is where the tree changes, and some older one.
        let old = seqno.0.saturating_sub((random >> 20).wrapping_mul(step) % (seqno.0 + 1));
        for n in [seqno.0.saturating_sub(step), old] {
            let found = memtable.get(&spelling(n), seqno);
            if n == 0 {
                assert!(found.is_none());
                continue;
            }
            let (trailer, value) = found.expect("what is visible is found");
            assert_eq!((trailer, &*value), (put(n), &n.to_le_bytes()[..]));
            assert!(memtable.get(&spelling(n), SeqNo(n - 1)).is_none());
            iter.seek(&spelling(n), Trailer::FIRST);
            assert_eq!(iter.key(), (&spelling(n)[..], put(n)));
        }
    }
}

/// Reads where the writer is at work, over and over.
fn read_latest(memtable: &Arc<Memtable>, visible: &AtomicU64, spelling: fn(u64) -> [u8; 16]) {
    for _ in 0..1000 {
        let seqno = visible.load(Ordering::Acquire);
        assert_eq!(memtable.get(&spelling(seqno), SeqNo::MAX).is_some(), seqno > 0);
    }
}

fn read_forwards(memtable: &Arc<Memtable>, seqno: SeqNo) {
    let mut iter = memtable.iter();
    iter.first();
    check_walk(iter, seqno, MemtableIter::next, |before, here| before < here);
}

fn read_backwards(memtable: &Arc<Memtable>, seqno: SeqNo) {
    let mut iter = memtable.iter();
    iter.last();
    check_walk(iter, seqno, MemtableIter::prev, |before, here| before > here);
}

/// Every visible entry exactly once, all in order, each whole.
fn check_walk(
    mut iter: MemtableIter,
    seqno: SeqNo,
    step: fn(&mut MemtableIter),
    in_order: fn(&[u8], &[u8]) -> bool,
) {
    let mut before: Option<Vec<u8>> = None;
    let mut visible = 0;
    while iter.valid() {
        let (user, trailer) = iter.key();
        assert!(before.is_none_or(|before| in_order(&before, user)));
        assert_eq!(iter.value(), trailer.seqno().0.to_le_bytes());
        visible += u64::from(trailer.seqno() <= seqno);
        before = Some(user.to_vec());
        step(&mut iter);
    }
    assert_eq!(visible, seqno.0);
}

/// What a walk over the nodes finds.
#[derive(Debug, Default)]
struct Shape {
    height: usize,
    leaves: usize,
    inners: usize,
}

impl Shape {
    fn bytes(&self) -> usize {
        self.leaves * LEAF_SIZE + self.inners * INNER_SIZE
    }
}

impl Tree {
    /// Walks over all nodes and checks that each has what its bounds allow.
    fn shape(&self) -> Shape {
        let mut shape = Shape::default();
        self.add_shape(&mut shape, self.root(), 1, None, None);
        shape
    }

    fn add_shape<'t>(
        &'t self,
        shape: &mut Shape,
        node: Node<'t>,
        depth: usize,
        lower: Option<Entry<'t>>,
        upper: Option<Entry<'t>>,
    ) {
        let keys = node.keys();
        let permutation = keys.permutation();
        let mut before = None;
        for entry in keys.entries(permutation) {
            let key = entry.key();
            assert!(lower.is_none_or(|lower| lower.key().compare(key).is_le()));
            assert!(upper.is_none_or(|upper| key.compare(upper.key()).is_lt()));
            assert!(before.replace(entry).is_none_or(|b| b.key().compare(key).is_lt()));
            assert!(keys.compare_skipped(permutation, key).is_eq());
        }
        let is_guess =
            depth == 1 || upper.is_none() && lower.is_some() && node.as_inner().is_none();
        assert!(keys.skip() <= skip_between(lower, upper) || is_guess);
        let Some(inner) = node.as_inner() else {
            assert!(shape.leaves == 0 || shape.height == depth, "leaves are equally deep");
            shape.height = depth;
            shape.leaves += 1;
            return;
        };
        shape.inners += 1;
        for index in 0..=permutation.count() {
            let lower = index.checked_sub(1).map(|i| keys.entry(permutation, i)).or(lower);
            let upper = match index < permutation.count() {
                true => Some(keys.entry(permutation, index)),
                false => upper,
            };
            self.add_shape(shape, inner.child(permutation, index), depth + 1, lower, upper);
        }
    }
}
