//! `flush`, `checkpoint`, `lsm`, `stats`.

use super::session;
use crate::cli::args::{Args, CheckpointArgs};
use crate::cli::output::{Object, Table, size};
use crate::cli::{Out, Outcome, Status};
use crate::{Db, Level, LevelStats, Stats};

mod amplification;

pub(super) use amplification::Amplification;

/// Writes what is in memory and in the log into a table.
pub(super) fn flush(args: &Args, out: &mut Out) -> Outcome {
    let db = session::open_writer(args, false, out)?;
    db.flush()?;
    let tables = db.tables().len() as u64;
    session::close(db, false)?;
    out.summary(Object::summary().number("tables", tables))?;
    Ok(Status::Done)
}

/// Makes a store of its own of this moment. From a handle that reads: it works beside a writer.
pub(super) fn checkpoint(args: &Args, wanted: &CheckpointArgs, out: &mut Out) -> Outcome {
    let made = session::read(args, out, |db| db.checkpoint(&wanted.out))?;
    out.hint(format_args!(
        "{} holds {} tables of {}, {} of them shared with {}",
        wanted.out.display(),
        made.tables,
        size(made.table_bytes),
        made.linked,
        args.store.dir()?.display(),
    ));
    out.summary(
        Object::summary()
            .text("store", &made.store.to_string())
            .number("seq", made.last_seqno.0)
            .number("tables", made.tables)
            .number("linked", made.linked)
            .number("bytes", made.table_bytes),
    )?;
    Ok(Status::Done)
}

/// Shows the tree: every level that has tables, and every table.
pub(super) fn lsm(args: &Args, out: &mut Out) -> Outcome {
    let db = session::open_reader(args, out)?;
    print_lsm(args, &db, out)?;
    Ok(Status::Done)
}

/// The tree of an open store, for `lsm` and for the tour.
pub(super) fn print_lsm(args: &Args, db: &Db, out: &mut Out) -> Outcome<()> {
    let stats = db.stats();
    if out.is_json() {
        print_tables_json(db, out)?;
        return out.summary(levels_summary(db, &stats));
    }
    let mut levels = Table::new(&["level", "tables", "bytes", "entries", "tombstones"]);
    for (level, figures) in used_levels(&stats) {
        levels.row([
            level.to_string(),
            figures.tables.to_string(),
            size(figures.bytes),
            figures.entries.to_string(),
            figures.tombstones.to_string(),
        ]);
    }
    let total = total(&stats);
    if total.tables == 0 {
        return out.line("no tables; everything is in the log");
    }
    out.table(&levels)?;
    out.line("")?;
    let mut tables = Table::new(&["table", "level", "bytes", "entries", "seqnos", "keys"]);
    for (level, meta) in db.tables() {
        let (first, last) = (&meta.smallest.user, &meta.largest.user);
        tables.row([
            format!("{}.sst", meta.number),
            level.to_string(),
            size(meta.size),
            meta.entries.to_string(),
            format!("{}..{}", meta.min_seqno, meta.max_seqno),
            format!("{} .. {}", args.common.encode(first), args.common.encode(last)),
        ]);
    }
    out.table(&tables)?;
    out.line("")?;
    let amplification = Amplification::of(db, &stats);
    out.line(format_args!("a get looks into {} tables at most", amplification.read))?;
    let [_, (_, write), (_, space)] = amplification.shown();
    out.line(format_args!("bytes of tables written for a byte flushed: {write}"))?;
    out.line(format_args!("bytes of tables for a byte still needed: {space} at most"))
}

pub(super) fn print_tables_json(db: &Db, out: &mut Out) -> Outcome<()> {
    for (level, meta) in db.tables() {
        let table = Object::new("table")
            .number("level", level.0.into())
            .number("number", meta.number.0)
            .number("bytes", meta.size)
            .number("entries", meta.entries)
            .number("tombstones", meta.tombstones)
            .number("raw_bytes", meta.raw_bytes)
            .number("min_seq", meta.min_seqno.0)
            .number("max_seq", meta.max_seqno.0)
            .bytes("smallest", &meta.smallest.user)
            .bytes("largest", &meta.largest.user);
        out.object(&table)?;
    }
    Ok(())
}

fn levels_summary(db: &Db, stats: &Stats) -> Object {
    let total = total(stats);
    let summary = Object::summary()
        .number("tables", total.tables)
        .number("bytes", total.bytes)
        .number("entries", total.entries)
        .number("tombstones", total.tombstones);
    Amplification::of(db, stats).add_to(summary)
}

/// Levels that have tables.
fn used_levels(stats: &Stats) -> impl Iterator<Item = (Level, &LevelStats)> {
    (0u8..).map(Level).zip(&stats.levels).filter(|(_, figures)| figures.tables > 0)
}

fn total(stats: &Stats) -> LevelStats {
    let mut total = LevelStats::default();
    for level in &stats.levels {
        total.tables += level.tables;
        total.bytes += level.bytes;
        total.entries += level.entries;
        total.tombstones += level.tombstones;
        total.raw_bytes += level.raw_bytes;
    }
    total
}

/// Shows figures.
pub(super) fn stats(args: &Args, out: &mut Out) -> Outcome {
    let db = session::open_reader(args, out)?;
    let (stats, recovery) = (db.stats(), db.recovery());
    let (total, lifetime) = (total(&stats), stats.lifetime);
    let figures = [
        ("last_seq", stats.last_seqno.0, false),
        ("memtable_entries", stats.memtable_entries, false),
        ("memtable_bytes", stats.memtable_bytes, true),
        ("logs", recovery.logs, false),
        ("log_replayed_bytes", recovery.replayed_bytes, true),
        ("tables", total.tables, false),
        ("table_bytes", total.bytes, true),
        ("table_raw_bytes", total.raw_bytes, true),
        ("entries", total.entries, false),
        ("tombstones", total.tombstones, false),
        ("flushes", lifetime.flushes, false),
        ("compactions", lifetime.compactions, false),
        ("flushed_user_bytes", lifetime.user_bytes, true),
        ("flushed_table_bytes", lifetime.flushed_bytes, true),
        ("compacted_table_bytes", lifetime.compacted_bytes_out, true),
    ];
    let amplification = Amplification::of(&db, &stats);
    if out.is_json() {
        let summary = Object::summary();
        let add =
            |object: Object, (name, number, _): (&str, u64, bool)| object.number(name, number);
        out.summary(amplification.add_to(figures.into_iter().fold(summary, add)))?;
        return Ok(Status::Done);
    }
    let mut table = Table::new(&["figure", "value"]);
    for (name, number, is_bytes) in figures {
        let shown = if is_bytes { size(number) } else { number.to_string() };
        table.row([name.replace('_', " "), shown]);
    }
    for (name, ratio) in amplification.shown() {
        table.row([name.replace('_', " "), ratio]);
    }
    out.table(&table)?;
    Ok(Status::Done)
}
