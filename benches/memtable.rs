//! The memtable against a skip list: `cargo bench --bench memtable [ROUNDS]`.
//!
//! 400,000 entries of 16-byte keys and 100-byte values. The structures take turns within each
//! round, and each figure is the median of the rounds in nanoseconds an entry. Two spellings of a
//! key: eight random-looking bytes first, and a counter in decimal digits, all of which begin
//! alike.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::hint::black_box;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use beachdb::engine::memtable::Memtable;
use beachdb::format::key::Trailer;
use beachdb::types::{SeqNo, ValueKind};
use crossbeam_skiplist::SkipMap;

const VALUE: [u8; 100] = [b'v'; 100];

type Key = [u8; 16];
type Spelling = fn(u64) -> Key;

/// Keys that are there, keys that are not, and the orders of writing and reading.
struct Workload {
    name: &'static str,
    keys: Vec<Key>,
    read_keys: Vec<Key>,
    absent: Vec<Key>,
}

/// What is measured, one figure for each of [`PHASES`].
trait Table {
    fn insert(&mut self, key: &Key, seqno: u64);
    fn get(&self, key: &Key) -> Option<u8>;
    fn scan(&self) -> u64;
    fn bytes(&self) -> u64;
}

const PHASES: [&str; 5] = ["insert", "get hit", "get miss", "scan", "bytes"];

struct Tree(Arc<Memtable>, beachdb::engine::memtable::MemtableWriter);

impl Table for Tree {
    fn insert(&mut self, key: &Key, seqno: u64) {
        self.1.insert(key, Trailer::new(SeqNo(seqno), ValueKind::Put), &VALUE);
    }

    fn get(&self, key: &Key) -> Option<u8> {
        let (_, value) = self.0.get(key, SeqNo::MAX)?;
        value.last().copied()
    }

    fn scan(&self) -> u64 {
        let mut iter = self.0.iter();
        let mut sum = 0;
        iter.first();
        while iter.valid() {
            sum += u64::from(iter.key().0[15]) + u64::from(iter.value()[99]);
            iter.next();
        }
        sum
    }

    fn bytes(&self) -> u64 {
        self.0.size_bytes()
    }
}

/// The internal key as bytes that sort as it does: user key, then the trailer's complement. (Keys
/// of one length; others would need more.)
struct SkipList(SkipMap<Box<[u8]>, Box<[u8]>>);

fn encode(key: &Key, trailer: Trailer) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[..16].copy_from_slice(key);
    bytes[16..].copy_from_slice(&(!trailer.0).to_be_bytes());
    bytes
}

impl Table for SkipList {
    fn insert(&mut self, key: &Key, seqno: u64) {
        let key = encode(key, Trailer::new(SeqNo(seqno), ValueKind::Put));
        self.0.insert(Box::new(key), Box::new(VALUE));
    }

    fn get(&self, key: &Key) -> Option<u8> {
        let from = encode(key, Trailer::seek(SeqNo::MAX));
        let entry = self.0.lower_bound(std::ops::Bound::Included(&from[..]))?;
        (entry.key()[..16] == key[..]).then(|| entry.value()[99])
    }

    fn scan(&self) -> u64 {
        self.0.iter().map(|e| u64::from(e.key()[15]) + u64::from(e.value()[99])).sum()
    }

    fn bytes(&self) -> u64 {
        0
    }
}

fn measure(mut table: impl Table, workload: &Workload) -> [f64; PHASES.len()] {
    let count = workload.keys.len() as f64;
    let time = |work: &mut dyn FnMut()| {
        let start = cpu_ns();
        work();
        (cpu_ns() - start) as f64 / count
    };
    let insert = time(&mut || {
        for (seqno, key) in (1..).zip(&workload.keys) {
            table.insert(key, seqno);
        }
    });
    let hit = time(&mut || {
        let found = workload.read_keys.iter().filter_map(|key| table.get(key)).count();
        assert_eq!(found, workload.keys.len());
    });
    let miss = time(&mut || {
        let found = workload.absent.iter().filter_map(|key| table.get(key)).count();
        assert_eq!(found, 0);
    });
    let scan = time(&mut || {
        black_box(table.scan());
    });
    [insert, hit, miss, scan, table.bytes() as f64 / count]
}

/// Time that this thread was on a processor: what else runs on the machine then matters less. Where
/// the system does not tell, wall-clock time.
fn cpu_ns() -> u64 {
    // Brings the figure up to date, which otherwise happens at each tick only.
    std::thread::yield_now();
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|text| text.split(' ').next()?.parse().ok())
        .unwrap_or_else(|| START.elapsed().as_nanos() as u64)
}

fn scatter(n: u64) -> u64 {
    let n = (n ^ n >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (n ^ n >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

/// Eight bytes that look random, then the number.
fn binary(n: u64) -> Key {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&scatter(n).to_be_bytes());
    key[8..].copy_from_slice(&n.to_be_bytes());
    key
}

fn decimal(n: u64) -> Key {
    let mut key = [b'0'; 16];
    let mut rest = n;
    for digit in key.iter_mut().rev() {
        *digit += (rest % 10) as u8;
        rest /= 10;
    }
    key
}

fn workloads(count: u64) -> Vec<Workload> {
    let shuffled = |salt: u64| {
        let mut order: Vec<u64> = (0..count).collect();
        order.sort_by_key(|n| scatter(n ^ salt << 40));
        order
    };
    let workload = |name, order: Vec<u64>, spelling: Spelling| Workload {
        name,
        keys: order.iter().map(|n| spelling(2 * n)).collect(),
        read_keys: shuffled(1).iter().map(|n| spelling(2 * n)).collect(),
        absent: shuffled(2).iter().map(|n| spelling(2 * n + 1)).collect(),
    };
    vec![
        workload("random, binary", shuffled(3), binary),
        workload("random, decimal", shuffled(3), decimal),
        workload("ascending, decimal", (0..count).collect(), decimal),
    ]
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn main() {
    // `cargo test` runs this too, without `--bench`: then only to see that it works.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let measuring = arguments.iter().any(|argument| argument == "--bench");
    let asked = arguments.iter().find_map(|argument| argument.parse().ok());
    let (count, rounds) = if measuring { (400_000, asked.unwrap_or(7)) } else { (2_000, 1) };

    println!("{:<20} {:<10} {}", "", "", PHASES.map(|phase| format!("{phase:>9}")).concat());
    for workload in workloads(count) {
        let mut results = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            let (memtable, writer) = Memtable::new();
            results[0].push(measure(Tree(memtable, writer), &workload));
            results[1].push(measure(SkipList(SkipMap::new()), &workload));
        }
        for (name, rounds) in ["b+tree", "skip list"].iter().zip(&results) {
            let figures: String = (0..PHASES.len())
                .map(|phase| median(rounds.iter().map(|round| round[phase]).collect()))
                .map(|figure| format!("{figure:9.1}"))
                .collect();
            println!("{:<20} {name:<10} {figures}", workload.name);
        }
    }
}
