//! `stats`: the figures of a store, as its files tell them.

use super::amplification::Amplification;
use super::levels;
use crate::cli::args::Args;
use crate::cli::commands::session;
use crate::cli::output::{Object, Table, size};
use crate::cli::{Out, Outcome, Status};
use crate::{Db, Level};

/// A figure by its name; whether it counts bytes.
type Figure = (&'static str, u64, bool);

/// Shows figures.
///
/// What a process counts while it works (syncs, stalls, hits of its cache) is zero in one that has
/// only just opened the store, and is left to the library.
pub(in crate::cli::commands) fn stats(args: &Args, out: &mut Out) -> Outcome {
    let db = session::open_reader(args, out)?;
    let figures = figures(&db);
    let amplification = Amplification::of(&db.stats());
    if out.is_json() {
        let summary = Object::summary();
        let add = |object: Object, (name, number, _): Figure| object.number(name, number);
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

fn figures(db: &Db) -> Vec<Figure> {
    let (stats, recovery) = (db.stats(), db.recovery());
    let levels = levels::of(&db.tables());
    let (total, life) = (levels::total(&levels), stats.lifetime);
    let top = levels.iter().find(|level| level.level == Level(0));
    vec![
        ("last_seq", stats.last_seqno.0, false),
        ("memtable_entries", stats.memtable_entries, false),
        ("memtable_bytes", stats.memtable_bytes, true),
        ("logs", recovery.logs, false),
        ("log_replayed_bytes", recovery.replayed_bytes, true),
        ("levels", levels.len() as u64, false),
        ("l0_tables", top.map_or(0, |level| level.tables), false),
        ("l0_runs", top.map_or(0, |level| level.runs), false),
        ("tables", total.tables, false),
        ("table_bytes", total.bytes, true),
        ("table_raw_bytes", total.raw_bytes, true),
        ("entries", total.entries, false),
        ("tombstones", total.tombstones, false),
        ("debt_bytes", stats.debt_bytes, true),
        ("flushes", life.flushes, false),
        ("compactions", life.compactions, false),
        ("flushed_user_bytes", life.user_bytes, true),
        ("flushed_table_bytes", life.flushed_bytes, true),
        ("compacted_input_bytes", life.compacted_bytes_in, true),
        ("compacted_table_bytes", life.compacted_bytes_out, true),
    ]
}
