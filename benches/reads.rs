//! Reads of a store that is whole in the block cache: `cargo bench --bench reads [ROUNDS]`.
//!
//! Two million pairs of 16-byte keys and 100-byte values (`PAIRS=n` for another number), once in one
//! table and once in three that overlap. The stores take turns within each round; each figure is the
//! median of the rounds in nanoseconds of processor time, for a get, for a seek with fifty pairs
//! behind it, or for a pair of a scan. Then what it costs to skip a tombstone, and how much memory a
//! store really takes beside what it says it takes. `SHAPE=name` and `PHASE=name` choose, for a
//! profiler; `PHASE=memory` and `PHASE=tombstones` are the last two.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::hint::black_box;
use std::sync::LazyLock;
use std::time::Instant;

use beachdb::{Db, Durability, Options, Strategy, WriteBatch};

const VALUE_SIZE: usize = 100;
const NEXTS: usize = 50;

type Key = [u8; 16];
type Phase = (&'static str, fn(&Db, &Workload) -> u64);

/// What is measured; each returns how many operations it did.
const PHASES: [Phase; 9] = [
    ("get", get),
    ("get_with", get_with),
    ("absent", absent),
    ("seek50", seek),
    ("scan", scan),
    ("reverse", reverse),
    ("c.seek50", cursor_seek),
    ("c.scan", cursor_scan),
    ("c.reverse", cursor_reverse),
];

/// How many tables the pairs are spread over.
const SHAPES: [(&str, u64); 2] = [("one table", 1), ("three runs", 3)];

struct Workload {
    pairs: u64,
    present: Vec<Key>,
    absent: Vec<Key>,
}

impl Workload {
    fn new(pairs: u64) -> Workload {
        let asked = pairs.min(300_000);
        let draw = |salt: u64| (0..asked).map(move |n| scatter(n ^ salt << 40) % pairs);
        Workload {
            pairs,
            present: draw(1).map(|n| key(2 * n)).collect(),
            absent: draw(2).map(|n| key(2 * n + 1)).collect(),
        }
    }
}

fn get(db: &Db, workload: &Workload) -> u64 {
    for key in &workload.present {
        let value = db.get(key).expect("reads succeed").expect("the key is there");
        black_box(value[VALUE_SIZE - 1]);
    }
    workload.present.len() as u64
}

fn get_with(db: &Db, workload: &Workload) -> u64 {
    for key in &workload.present {
        let last = db.get_with(key, |value| value[VALUE_SIZE - 1]).expect("reads succeed");
        black_box(last.expect("the key is there"));
    }
    workload.present.len() as u64
}

fn absent(db: &Db, workload: &Workload) -> u64 {
    for key in &workload.absent {
        assert!(db.get(key).expect("reads succeed").is_none());
    }
    workload.absent.len() as u64
}

fn seek(db: &Db, workload: &Workload) -> u64 {
    let keys = &workload.present[..workload.present.len() / 20];
    for key in keys {
        let mut taken = 0;
        for pair in db.range(key.as_slice()..).take(NEXTS) {
            let (_, value) = pair.expect("reads succeed");
            taken += u64::from(value[VALUE_SIZE - 1]);
        }
        black_box(taken);
    }
    keys.len() as u64
}

fn scan(db: &Db, workload: &Workload) -> u64 {
    let pairs = db.iter().map(|pair| pair.expect("reads succeed"));
    count(pairs.map(|(key, value)| (key[15], value[VALUE_SIZE - 1])), workload)
}

fn reverse(db: &Db, workload: &Workload) -> u64 {
    let pairs = db.iter().rev().map(|pair| pair.expect("reads succeed"));
    count(pairs.map(|(key, value)| (key[15], value[VALUE_SIZE - 1])), workload)
}

/// One cursor for all seeks.
fn cursor_seek(db: &Db, workload: &Workload) -> u64 {
    let keys = &workload.present[..workload.present.len() / 20];
    let mut cursor = db.cursor();
    for key in keys {
        cursor.seek(key).expect("reads succeed");
        let (mut left, mut taken) = (NEXTS, 0);
        while left > 0 && cursor.valid() {
            taken += u64::from(cursor.value()[VALUE_SIZE - 1]);
            cursor.next().expect("reads succeed");
            left -= 1;
        }
        black_box(taken);
    }
    keys.len() as u64
}

fn cursor_scan(db: &Db, workload: &Workload) -> u64 {
    let mut cursor = db.cursor();
    cursor.first().expect("reads succeed");
    let mut count = 0;
    while cursor.valid() {
        black_box((cursor.key()[15], cursor.value()[VALUE_SIZE - 1]));
        count += 1;
        cursor.next().expect("reads succeed");
    }
    assert_eq!(count, workload.pairs);
    count
}

fn cursor_reverse(db: &Db, workload: &Workload) -> u64 {
    let mut cursor = db.cursor();
    cursor.last().expect("reads succeed");
    let mut count = 0;
    while cursor.valid() {
        black_box((cursor.key()[15], cursor.value()[VALUE_SIZE - 1]));
        count += 1;
        cursor.prev().expect("reads succeed");
    }
    assert_eq!(count, workload.pairs);
    count
}

fn count(pairs: impl Iterator<Item = (u8, u8)>, workload: &Workload) -> u64 {
    let count = pairs.map(black_box).count() as u64;
    assert_eq!(count, workload.pairs);
    count
}

/// Fills a store in random order and flushes it into so many tables, each over the whole range.
fn build(dir: &std::path::Path, workload: &Workload, tables: u64) -> Db {
    let options = Options::new().memtable_size(1 << 40).memory_size(1 << 42).cache_size(1 << 30);
    let options = options.strategy(Strategy::Fifo { size_max: 1 << 40 });
    let db = options.open(dir).expect("the store opens");
    let mut order: Vec<u64> = (0..workload.pairs).collect();
    order.sort_by_key(|&n| scatter(n ^ 3 << 40));
    for (part, chunk) in order.chunks(order.len().div_ceil(tables as usize)).enumerate() {
        for few in chunk.chunks(100) {
            let mut batch = WriteBatch::new();
            for &n in few {
                batch.put(key(2 * n), value(n ^ part as u64));
            }
            db.write(batch, Durability::Buffered).expect("writes succeed");
        }
        db.flush().expect("the flush succeeds");
    }
    db
}

/// Half of it repeats, so that it is compressed to about half.
fn value(n: u64) -> [u8; VALUE_SIZE] {
    let mut value = [b'v'; VALUE_SIZE];
    for (at, eight) in value.chunks_exact_mut(8).enumerate().step_by(2) {
        eight.copy_from_slice(&scatter(n ^ (at as u64) << 50).to_be_bytes());
    }
    value
}

/// Eight bytes that look random, then the number.
fn key(n: u64) -> Key {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&scatter(n).to_be_bytes());
    key[8..].copy_from_slice(&n.to_be_bytes());
    key
}

fn scatter(n: u64) -> u64 {
    let n = (n ^ n >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (n ^ n >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
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

/// Nanoseconds for each of a hundred thousand deleted keys between two that are there.
fn tombstones(dead: u64) -> f64 {
    let dir = tempfile::tempdir().expect("a directory for the store");
    let db = Options::new().memory_size(1 << 30).open(dir.path()).expect("the store opens");
    for delete in [false, true] {
        let mut batch = WriteBatch::new();
        for n in u64::from(delete)..dead + 1 + u64::from(!delete) {
            let key = n.to_be_bytes();
            if delete {
                batch.delete(key)
            } else {
                batch.put(key, value(n))
            };
        }
        db.write(batch, Durability::Buffered).expect("writes succeed");
        db.flush().expect("the flush succeeds");
    }
    let mut cursor = db.cursor();
    let round = |cursor: &mut beachdb::Cursor| {
        cursor.seek(1u64.to_be_bytes()).expect("reads succeed");
        assert_eq!(cursor.key(), (dead + 1).to_be_bytes());
    };
    round(&mut cursor);
    let start = cpu_ns();
    (0..10).for_each(|_| round(&mut cursor));
    (cpu_ns() - start) as f64 / (10 * dead) as f64
}

/// Two threads read at random what is twice as large as the budget, while pairs of different sizes
/// are written over; prints what the process takes against what the store accounts for.
fn memory(pairs: u64) {
    let dir = tempfile::tempdir().expect("a directory for the store");
    let options = Options::new().memory_size(128 << 20).memtable_size(16 << 20);
    let db = options.open(dir.path()).expect("the store opens");
    let before = resident();
    let write = |from: u64| {
        for few in 0..pairs / 100 {
            let mut batch = WriteBatch::new();
            for n in few * 100..few * 100 + 100 {
                let size = scatter(n ^ from << 50) % (2 * VALUE_SIZE as u64);
                batch.put(key(n), &[value(n), value(!n)].concat()[..size as usize]);
            }
            db.write(batch, Durability::Buffered).expect("writes succeed");
        }
    };
    write(0);
    std::thread::scope(|scope| {
        for thread in 0..2u64 {
            let db = &db;
            scope.spawn(move || {
                for n in 0..pairs / 2 {
                    let key = key(scatter(n ^ thread << 60) % pairs);
                    black_box(db.get_with(key, <[u8]>::len).expect("reads succeed"));
                }
            });
        }
        write(1);
    });
    let memory = db.stats().memory;
    let accounted =
        memory.memtable_bytes + memory.block_cache_bytes + memory.index_bytes + memory.filter_bytes;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "resident {:.0} MiB more than before; accounted {:.0} MiB of a budget of {:.0} MiB",
        mib(resident().saturating_sub(before)),
        mib(accounted),
        mib(memory.budget)
    );
}

/// Bytes of the process that are in memory; 0 where the system does not tell.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let digits = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok());
    digits.unwrap_or(0u64) * 1024
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn chosen(variable: &str, name: &str) -> bool {
    std::env::var(variable).map_or(true, |wanted| wanted == name)
}

fn main() {
    // `cargo test` runs this too, without `--bench`: then only to see that it works.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let measuring = arguments.iter().any(|argument| argument == "--bench");
    let asked = arguments.iter().find_map(|argument| argument.parse().ok());
    let (pairs, rounds) = if measuring { (2_000_000, asked.unwrap_or(5)) } else { (2_000, 1) };
    let workload = Workload::new(number("PAIRS").unwrap_or(pairs));

    // First, in a process that has freed nothing yet.
    if chosen("PHASE", "memory") {
        memory(workload.pairs);
    }
    if chosen("PHASE", "tombstones") {
        let ns = tombstones(workload.pairs.min(100_000));
        println!("a tombstone is skipped in {ns:.1} ns");
    }

    let phases: Vec<Phase> = PHASES.into_iter().filter(|phase| chosen("PHASE", phase.0)).collect();
    if phases.is_empty() {
        return;
    }
    let mut stores = Vec::new();
    for (name, tables) in SHAPES.iter().filter(|shape| chosen("SHAPE", shape.0)) {
        let dir = tempfile::tempdir().expect("a directory for the store");
        let db = build(dir.path(), &workload, *tables);
        // The first scan fills the cache.
        scan(&db, &workload);
        stores.push((name, dir, db));
    }
    let mut results = vec![vec![Vec::new(); phases.len()]; stores.len()];
    for _ in 0..rounds {
        for ((_, _, db), results) in stores.iter().zip(&mut results) {
            for ((_, phase), results) in phases.iter().zip(results) {
                let start = cpu_ns();
                let operations = phase(db, &workload);
                results.push((cpu_ns() - start) as f64 / operations as f64);
            }
        }
    }
    println!("{:<12}{}", "", phases.iter().map(|p| format!("{:>10}", p.0)).collect::<String>());
    for ((name, _, _), results) in stores.iter().zip(results) {
        let figures = results.into_iter().map(|rounds| format!("{:10.1}", median(rounds)));
        println!("{name:<12}{}", figures.collect::<String>());
    }
}
