//! The merge of a compaction: `cargo bench --bench compaction [ROUNDS]`.
//!
//! 400,000 entries of 16-byte keys and 100-byte values, half of each value compressible, spread over
//! several tables and merged into tables of 16 MiB. Megabytes are of keys and values read, seconds
//! those of a processor (of this thread, system calls included), and each figure is the median of
//! the rounds. In "shuffled" inputs neighbours come from any table, so every block is taken apart;
//! in "stretches" of a thousand keys they come from the same one, and most blocks are copied.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use beachdb::Result;
use beachdb::engine::compaction::run::{Merged, Older, Plan, run};
use beachdb::format::key::Trailer;
use beachdb::format::names;
use beachdb::format::table::Origin;
use beachdb::table::{Compression, Table, TableMeta, TableOrigin, TableWriter, WriterOptions};
use beachdb::types::{FileId, FileNumber, Level, SeqNo, StoreId, ValueKind};
use beachdb::vfs::Vfs;
use beachdb::vfs::os::OsVfs;

type Key = [u8; 16];

/// Which input table the `n`th of all keys is in.
type Spread = fn(n: u64, tables: u64) -> u64;

struct Dir<'a> {
    vfs: OsVfs,
    path: &'a Path,
    next: u64,
}

impl Dir<'_> {
    fn writer(&mut self, compression: Compression) -> Result<TableWriter> {
        self.next += 1;
        let origin = TableOrigin {
            store: StoreId(1),
            number: FileNumber(self.next),
            id: FileId(scatter(self.next)),
            level: Level(1),
            origin: Origin::Compaction,
            job: 1,
            inputs: Vec::new(),
            created_ms: 0,
        };
        let file = self.vfs.create(&self.path.join(names::table(FileNumber(self.next))))?;
        let options = WriterOptions { compression, ..WriterOptions::default() };
        Ok(TableWriter::new(file, options, origin))
    }

    fn open(&self, meta: &TableMeta) -> Result<Arc<Table>> {
        let path = self.path.join(names::table(meta.number));
        Table::open(&self.vfs, &path, meta, None).map(Arc::new)
    }

    fn remove(&self, meta: &TableMeta) -> Result<()> {
        self.vfs.remove(&self.path.join(names::table(meta.number)))
    }

    /// Writes the keys as so many tables.
    fn inputs(
        &mut self,
        keys: &[Key],
        count: u64,
        spread: Spread,
        form: Compression,
    ) -> Result<Vec<Arc<Table>>> {
        let mut writers: Vec<_> = (0..count).map(|_| self.writer(form)).collect::<Result<_>>()?;
        let mut value = [b'v'; 100];
        for (n, key) in (0..).zip(keys) {
            for (i, chunk) in (0..).zip(value[..50].chunks_mut(8)) {
                chunk.copy_from_slice(&scatter(n * 7 + i).to_le_bytes()[..chunk.len()]);
            }
            let trailer = Trailer::new(SeqNo(n + 1), ValueKind::Put);
            writers[spread(n, count) as usize].add(key, trailer, &value)?;
        }
        writers.into_iter().map(|writer| self.open(&writer.finish()?)).collect()
    }

    fn merge(&mut self, inputs: &[Arc<Table>], form: Compression) -> Result<(Merged, f64)> {
        let plan = Plan {
            runs: inputs.iter().map(|table| vec![Arc::clone(table)]).collect(),
            snapshots: &[],
            older: Older::default(),
            below: &[],
            table_size: 16 << 20,
        };
        let start = cpu_ns();
        let merged = run(plan, &mut || self.writer(form), &mut || Ok(()))?;
        Ok((merged, (cpu_ns() - start) as f64))
    }
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

/// Keys that begin with eight random-looking bytes.
fn binary(count: u64) -> Vec<Key> {
    let mut keys: Vec<Key> = (0..count)
        .map(|n| {
            let mut key = [0; 16];
            key[..8].copy_from_slice(&scatter(n).to_be_bytes());
            key[8..].copy_from_slice(&n.to_be_bytes());
            key
        })
        .collect();
    keys.sort_unstable();
    keys
}

/// Decimal digits, all of which begin alike.
fn decimal(count: u64) -> Vec<Key> {
    let key = |n: u64| format!("{n:016}").into_bytes().try_into();
    (0..count).filter_map(|n| key(n * 10).ok()).collect()
}

fn shuffled(n: u64, tables: u64) -> u64 {
    scatter(scatter(n)) % tables
}

fn stretches(n: u64, tables: u64) -> u64 {
    n / 1000 % tables
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn main() -> Result<()> {
    // `cargo test` runs this too, without `--bench`: then only to see that it works.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let measuring = arguments.iter().any(|argument| argument == "--bench");
    let asked = arguments.iter().find_map(|argument| argument.parse().ok());
    let (count, rounds) = if measuring { (400_000, asked.unwrap_or(5)) } else { (2_000, 1) };

    let temporary = tempfile::tempdir().expect("a directory for the tables");
    let mut dir = Dir { vfs: OsVfs, path: temporary.path(), next: 0 };
    let keys = [("binary", binary(count)), ("decimal", decimal(count))];
    let spreads: [(&str, Spread); 2] = [("shuffled", shuffled), ("stretches", stretches)];
    let raw = (count * 116) as f64;
    println!("keys     inputs     form  ways   MB/s  ns a pair  blocks copied");
    for (keys_name, keys) in &keys {
        for (spread_name, spread) in spreads {
            for form in [Compression::None, Compression::Lz4] {
                for ways in [1, 2, 4, 8] {
                    let inputs = dir.inputs(keys, ways, spread, form)?;
                    let mut times = Vec::new();
                    let mut copied = 0;
                    for _ in 0..rounds {
                        let (merged, ns) = dir.merge(&inputs, form)?;
                        times.push(ns);
                        copied = merged.blocks_copied * 100 / merged.blocks_in;
                        merged.tables.iter().try_for_each(|table| dir.remove(table))?;
                    }
                    inputs.iter().try_for_each(|table| dir.remove(table.meta()))?;
                    let ns = median(times);
                    let (rate, pair) = (raw * 1e3 / ns, ns / count as f64);
                    println!(
                        "{keys_name:<8} {spread_name:<10} {form:<5} {ways:>4} {rate:>6.0} {pair:>10.0} {copied:>13}%"
                    );
                }
            }
        }
    }
    Ok(())
}
