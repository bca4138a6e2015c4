//! Reports as people and as scripts read them.

use std::path::Path;

use super::{Row, measured};
use crate::bench::{Kind, Report, Verdict};
use crate::cli::args::BenchArgs;
use crate::cli::output::{Object, Table, size};
use crate::cli::{Out, Outcome};
use crate::{Durability, Stats};

/// What was run, as the first object has it.
pub(super) fn setup(wanted: &BenchArgs, dir: &Path) -> Object {
    let names: Vec<&str> = wanted.workloads.iter().map(|workload| workload.name()).collect();
    let name = |value: &dyn std::fmt::Debug| format!("{value:?}").to_lowercase();
    Object::new("setup")
        .text("version", env!("CARGO_PKG_VERSION"))
        .text("dir", &dir.display().to_string())
        .value("workloads", names)
        .number("num", wanted.num)
        .value("ops", wanted.ops)
        .value("duration", wanted.duration.map(|length| length.as_secs_f64()))
        .number("key_size", wanted.key_size as u64)
        .value("value_size", wanted.value_size)
        .number("threads", wanted.threads)
        .number("batch", wanted.batch)
        .value("sync", wanted.sync)
        .value("cache", wanted.cache)
        .value("memtable", wanted.memtable)
        .value("memory", wanted.memory)
        .text("strategy", &name(&wanted.strategy))
        .text("compression", &name(&wanted.compression))
        .number("seed", wanted.seed)
}

/// A report as an object.
pub(super) fn object(row: &Row) -> Object {
    let Row { name, report, tree } = row;
    let (figures, usage) = (&report.figures, &report.usage);
    let mut object = Object::new("workload").text("workload", name).number("ops", report.ops);
    object = measured(object, "seconds", report.seconds);
    object = measured(object, "ops_per_second", rate(report));
    object = measured(object, "worst_second", report.worst_second);
    object = object.number("bytes", report.bytes);
    object = measured(object, "mb_per_second", mb_per_second(report));
    object = object
        .value("found", report.found)
        .value("background_ops", report.background_ops)
        .value("durability", report.durability.map(durability))
        .number("sampled_every", report.sampled_every)
        .value("samples", report.latency.map(|latency| latency.samples));
    for (name, us) in latencies(report) {
        object = measured(object, name, us);
    }
    object = measured(object, "blocks_per_get", blocks_per_get(report));
    object = measured(object, "cache_hit_rate", figures.cache_hit_rate());
    object = object
        .number("filter_negatives", figures.filter_negatives)
        .number("wal_bytes", figures.wal_bytes)
        .number("syncs", figures.syncs);
    object = measured(object, "sync_mean_us", figures.sync_mean_us());
    object = object
        .value("sync_p50_us", figures.sync_p50_us)
        .value("sync_p99_us", figures.sync_p99_us)
        .number("flushes", figures.flushes)
        .number("flushed_bytes", figures.flushed_bytes)
        .number("compactions", figures.compactions)
        .number("compacted_bytes", figures.compacted_bytes_out);
    object = measured(object, "write_amplification", figures.write_amplification());
    object = object.number("read_amplification", tree.read);
    object = measured(object, "space_amplification_max", tree.space_max);
    object = object.number("stalls", figures.stalls).number("stall_us", figures.stall_us);
    object = measured(object, "cpu_seconds", usage.cpu_seconds);
    object
        .value("rss_peak_bytes", usage.rss_peak_bytes)
        .value("disk_read_bytes", usage.disk_read_bytes)
        .value("disk_written_bytes", usage.disk_written_bytes)
}

/// A report as a line for who waits.
pub(super) fn line(row: &Row) -> String {
    let report = &row.report;
    match report.workload.kind() {
        Kind::Upkeep => format!("{}: {:.1} s", row.name, report.seconds),
        Kind::Ops | Kind::Scan => {
            let [(_, p50), (_, p99), ..] = latencies(report);
            let (p50, p99) = (cell(p50, 2), cell(p99, 2));
            format!("{}: {} ops/s, p50 {p50} us, p99 {p99} us", row.name, cell(rate(report), 0))
        }
    }
}

/// The reports as tables: what was reached, and what it took.
pub(super) fn tables(rows: &[Row], out: &mut Out) -> Outcome<()> {
    let mut reached = Table::new(&[
        "workload", "ops", "found", "seconds", "ops/s", "worst s", "MB/s", "p50 us", "p99 us",
        "p99.9 us", "max us",
    ]);
    let mut took = Table::new(&[
        "workload",
        "blocks/get",
        "cache hits",
        "filtered",
        "log",
        "syncs",
        "sync us",
        "flushed",
        "compacted",
        "write amp",
        "read amp",
        "space amp",
        "stalled ms",
        "CPU s",
        "memory",
    ]);
    for row in rows {
        reached.row(reached_row(row));
        took.row(took_row(row));
    }
    out.table(&reached)?;
    out.line("")?;
    out.table(&took)
}

fn reached_row(row: &Row) -> Vec<String> {
    let report = &row.report;
    let [p50, p99, p999, max] = latencies(report).map(|(_, us)| cell(us, 2));
    vec![
        row.name.to_owned(),
        report.ops.to_string(),
        count(report.found),
        cell(Some(report.seconds), 3),
        cell(rate(report), 0),
        cell(report.worst_second, 0),
        cell(mb_per_second(report), 1),
        p50,
        p99,
        p999,
        max,
    ]
}

fn took_row(row: &Row) -> Vec<String> {
    let Row { name, report, tree } = row;
    let (figures, usage) = (&report.figures, &report.usage);
    let bytes = |bytes: Option<u64>| bytes.map_or("-".to_owned(), size);
    vec![
        (*name).to_owned(),
        cell(blocks_per_get(report), 2),
        cell(figures.cache_hit_rate(), 3),
        figures.filter_negatives.to_string(),
        size(figures.wal_bytes),
        figures.syncs.to_string(),
        cell(figures.sync_mean_us(), 0),
        size(figures.flushed_bytes),
        size(figures.compacted_bytes_out),
        cell(figures.write_amplification(), 2),
        tree.read.to_string(),
        cell(tree.space_max, 2),
        cell(Some(figures.stall_us as f64 / 1000.0), 1),
        cell(usage.cpu_seconds, 2),
        bytes(usage.rss_peak_bytes),
    ]
}

/// The tree, level by level.
pub(super) fn levels(stats: &Stats, out: &mut Out) -> Outcome<()> {
    let mut table = Table::new(&["level", "tables", "bytes", "entries", "tombstones"]);
    for (level, figures) in stats.levels.iter().enumerate().filter(|(_, it)| it.tables > 0) {
        if out.is_json() {
            let object = Object::new("level")
                .number("level", level as u64)
                .number("tables", figures.tables)
                .number("bytes", figures.bytes)
                .number("entries", figures.entries)
                .number("tombstones", figures.tombstones);
            out.object(&object)?;
            continue;
        }
        table.row([
            format!("L{level}"),
            figures.tables.to_string(),
            size(figures.bytes),
            figures.entries.to_string(),
            figures.tombstones.to_string(),
        ]);
    }
    if out.is_json() {
        return Ok(());
    }
    out.table(&table)?;
    out.line("")
}

/// The end: sums, and whether the store held what was written.
pub(super) fn summary(rows: &[Row], verdict: Option<&Verdict>, out: &mut Out) -> Outcome<()> {
    let (told, keys) = match verdict {
        Some(Verdict::Sound { keys }) => ("sound", Some(*keys)),
        Some(Verdict::Readable { keys }) => ("readable", Some(*keys)),
        _ => ("unchecked", None),
    };
    if !out.is_json() {
        out.line("")?;
        return match (told, keys) {
            ("sound", Some(keys)) => {
                out.line(format_args!("{keys} keys, exactly those that were written"))
            }
            ("readable", Some(keys)) => out.line(format_args!("{keys} keys, all readable")),
            _ => out.line("not compared with what was written"),
        };
    }
    let seconds: f64 = rows.iter().map(|row| row.report.seconds).sum();
    let summary = Object::summary()
        .number("workloads", rows.len() as u64)
        .number("ops", rows.iter().map(|row| row.report.ops).sum());
    let summary = measured(summary, "seconds", seconds);
    out.summary(summary.text("verdict", told).value("keys", keys))
}

/// Operations a second; none for a single call.
pub(super) fn rate(report: &Report) -> Option<f64> {
    let is_many = report.workload.kind() != Kind::Upkeep && report.seconds > 0.0;
    is_many.then(|| report.ops as f64 / report.seconds)
}

fn mb_per_second(report: &Report) -> Option<f64> {
    rate(report).map(|_| report.bytes as f64 / 1e6 / report.seconds)
}

fn blocks_per_get(report: &Report) -> Option<f64> {
    (report.gets > 0).then(|| report.figures.blocks as f64 / report.gets as f64)
}

/// Latencies by their names in objects.
pub(super) fn latencies(report: &Report) -> [(&'static str, Option<f64>); 4] {
    let latency = report.latency;
    [
        ("p50_us", latency.map(|it| it.p50_us)),
        ("p99_us", latency.map(|it| it.p99_us)),
        ("p999_us", latency.map(|it| it.p999_us)),
        ("max_us", latency.map(|it| it.max_us)),
    ]
}

fn durability(durability: Durability) -> &'static str {
    match durability {
        Durability::Sync => "power-safe",
        Durability::Buffered => "kill-safe",
    }
}

pub(super) fn cell(number: Option<f64>, digits: usize) -> String {
    number.map_or("-".to_owned(), |number| format!("{number:.digits$}"))
}

fn count(number: Option<u64>) -> String {
    number.map_or("-".to_owned(), |number| number.to_string())
}
