//! The write path through the public face: `cargo bench --bench puts -- [WORKLOAD [COUNT]]`.
//!
//! Pairs of 16 and 100 bytes. `seq` and `random` fill a store in mode `Buffered`, without a flush and
//! with 64 MiB of memtable; `batch` writes the random keys in batches of 100; `threads` fills from
//! several threads; `sync` writes one durable put after the other, `group` from many threads.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::time::Instant;

use beachdb::{Db, Durability, Options, WriteBatch};

const VALUE_SIZE: usize = 100;

fn main() {
    // `cargo test` runs this too, without `--bench`: then only to see that it works.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let measuring = arguments.iter().any(|argument| argument == "--bench");
    let mut words = arguments.iter().filter(|argument| !argument.starts_with("--"));
    let workload = words.next().map_or("all", String::as_str);
    let asked = words.next().and_then(|count| count.parse().ok());
    let count = |usual: u64| if measuring { asked.unwrap_or(usual) } else { 1000 };
    let wanted = |name: &str| workload == "all" || workload == name;

    for (name, key) in [("seq", sequential as fn(u64) -> [u8; 16]), ("random", scattered)] {
        for (place, memtable_size) in [("memory", 1 << 30), ("64 MiB", 64 << 20)] {
            if wanted(name) {
                fill(&format!("{name}, {place}"), memtable_size, count(2_000_000), 1, 1, key);
            }
        }
    }
    if wanted("batch") {
        fill("random, batches of 100", 1 << 30, count(2_000_000), 1, 100, scattered);
    }
    if wanted("threads") {
        for threads in [2, 8, 16, 64] {
            fill(
                &format!("random, {threads} threads"),
                1 << 30,
                count(1_000_000),
                threads,
                1,
                scattered,
            );
        }
    }
    if wanted("sync") {
        durable("durable, 1 thread", count(5_000), 1);
    }
    if wanted("group") {
        for threads in [2, 8, 16, 64] {
            durable(&format!("durable, {threads} threads"), count(50_000), threads);
        }
    }
}

/// A new store in a directory that goes with the guard.
fn store(memtable_size: u64) -> (tempfile::TempDir, Db) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let db = Options::new().memtable_size(memtable_size).open(dir.path().join("store"));
    (dir, db.expect("a new store"))
}

fn fill(
    name: &str,
    memtable_size: u64,
    count: u64,
    threads: u64,
    batch: u64,
    key: fn(u64) -> [u8; 16],
) {
    let (_dir, db) = store(memtable_size);
    let each = count / threads;
    let work = |thread: u64| {
        let mut value = [b'v'; VALUE_SIZE];
        let mut next = thread * each;
        let end = next + each;
        while next < end {
            let mut puts = WriteBatch::new();
            for _ in 0..batch.min(end - next) {
                value[..8].copy_from_slice(&next.to_le_bytes());
                puts.put(key(next), value);
                next += 1;
            }
            db.write(puts, Durability::Buffered).expect("a put");
        }
    };
    let start = cpu_ns();
    let ns = elapsed(threads, &work) as f64 / (each * threads) as f64;
    // Of the one thread alone; of others it is not known.
    let cpu = (cpu_ns() - start) as f64 / (each * threads) as f64;
    println!("{name:<28} {ns:>8.0} ns a put {cpu:>8.0} ns of processor {:>7.0} k/s", 1e6 / ns);
}

fn durable(name: &str, count: u64, threads: u64) {
    let (_dir, db) = store(1 << 30);
    let each = count / threads;
    let times = std::sync::Mutex::new(Vec::new());
    let work = |thread: u64| {
        let mut own = Vec::with_capacity(each as usize);
        for n in thread * each..(thread + 1) * each {
            let start = Instant::now();
            db.put(scattered(n), [b'v'; VALUE_SIZE]).expect("a put");
            own.push(start.elapsed().as_nanos() as u64);
        }
        times.lock().expect("no panic").extend(own);
    };
    let ns = elapsed(threads, &work) as f64 / (each * threads) as f64;
    let mut times = times.into_inner().expect("no panic");
    times.sort_unstable();
    let at = |part: f64| times[(times.len() as f64 * part) as usize] as f64 / 1000.0;
    let (median, p99) = (at(0.5), at(0.99));
    println!("{name:<28} {:>8.1} k/s  median {median:>7.0} us  p99 {p99:>7.0} us", 1e6 / ns);
}

fn elapsed(threads: u64, work: &(impl Fn(u64) + Sync)) -> u64 {
    let start = Instant::now();
    if threads == 1 {
        work(0);
    } else {
        std::thread::scope(|scope| {
            for thread in 0..threads {
                scope.spawn(move || work(thread));
            }
        });
    }
    start.elapsed().as_nanos() as u64
}

/// Time that this thread was on a processor: what else runs on the machine then matters less.
fn cpu_ns() -> u64 {
    // Brings the figure up to date, which otherwise happens at each tick only.
    std::thread::yield_now();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat");
    text.ok().and_then(|text| text.split(' ').next()?.parse().ok()).unwrap_or(0)
}

fn sequential(n: u64) -> [u8; 16] {
    let mut key = [b'0'; 16];
    let mut rest = n;
    for digit in key.iter_mut().rev() {
        *digit += (rest % 10) as u8;
        rest /= 10;
    }
    key
}

/// Eight bytes that look random, then the number.
fn scattered(n: u64) -> [u8; 16] {
    let mixed = (n ^ n >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mut key = [0; 16];
    key[..8].copy_from_slice(&mixed.to_be_bytes());
    key[8..].copy_from_slice(&n.to_be_bytes());
    key
}
