//! `compact`: merges a range of keys now, and says what came of it.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use super::levels::{self, LevelRow};
use super::plural;
use crate::cli::args::{Args, RangeArgs};
use crate::cli::commands::range::{self, Range};
use crate::cli::commands::session;
use crate::cli::output::{Object, size};
use crate::cli::progress::{Progress, Unit};
use crate::cli::signals::Orderly;
use crate::cli::{Failure, Out, Outcome, Status};
use crate::{Db, Error, Stats};

/// How often the bar moves and a signal is noticed.
const TICK: Duration = Duration::from_millis(20);

/// The tree before and after, and what was done in between.
struct Report {
    before: LevelRow,
    after: LevelRow,
    /// Entries that were in the log alone.
    flushed: u64,
    stats: Stats,
}

/// Merges everything in the range into one sorted run.
pub(in crate::cli::commands) fn compact(args: &Args, wanted: &RangeArgs, out: &mut Out) -> Outcome {
    let range = range::bounds(args, wanted, None)?;
    let db = session::open_writer(args, false, out)?;
    // From here on a signal lets the running job give up and the store be closed.
    let orderly = Orderly::begin();
    let (before, flushed) = (tree(&db), db.stats().memtable_entries);
    if !range::is_empty(&range) {
        run(&db, &range, &orderly, out.is_quiet())?;
    }
    let report = Report { before, after: tree(&db), flushed, stats: db.stats() };
    session::close(db, false)?;
    orderly.check()?;
    print(&report, out)?;
    Ok(Status::Done)
}

fn tree(db: &Db) -> LevelRow {
    levels::total(&levels::of(&db.tables()))
}

/// Compacts in a thread of its own, while this one watches.
fn run(db: &Db, range: &Range, orderly: &Orderly, quiet: bool) -> Outcome<()> {
    let mut progress = Progress::begin("compact", Unit::Bytes, Some(work(db, range)), quiet);
    let (sender, ended) = mpsc::channel();
    let done = std::thread::scope(|scope| {
        scope.spawn(move || {
            // The receiver waits until this is sent, so it is there.
            let _ = sender.send(db.compact(range.clone()));
        });
        loop {
            match ended.recv_timeout(TICK) {
                Ok(done) => break done,
                Err(RecvTimeoutError::Timeout) => {}
                // The thread panicked, and the scope says so.
                Err(RecvTimeoutError::Disconnected) => break Ok(()),
            }
            if orderly.check().is_err() {
                db.stop_compactions();
            }
            let stats = db.stats();
            progress.set(stats.compacted_bytes_in + stats.compacting_bytes);
        }
    });
    match done {
        // What was asked to stop has stopped.
        Err(Error::Poisoned(_)) if orderly.check().is_err() => Ok(()),
        done => done.map_err(Failure::Engine),
    }
}

/// About how many bytes will be read: those of the tables that may hold such keys.
fn work(db: &Db, range: &Range) -> u64 {
    let tables = db.tables().into_iter().map(|(_, table)| table);
    let touched = tables.filter(|it| range::touches(range, &it.smallest.user, &it.largest.user));
    touched.map(|table| table.size).sum::<u64>() + db.stats().memtable_bytes
}

fn print(report: &Report, out: &mut Out) -> Outcome<()> {
    let Report { before, after, flushed, stats } = report;
    if out.is_json() {
        return out.summary(
            Object::summary()
                .number("tables_before", before.tables)
                .number("bytes_before", before.bytes)
                .number("entries_before", before.entries)
                .number("entries_flushed", *flushed)
                .number("tables", after.tables)
                .number("bytes", after.bytes)
                .number("entries", after.entries)
                .number("dropped_shadowed", stats.dropped_shadowed)
                .number("dropped_tombstones", stats.dropped_tombstones)
                .number("compactions", stats.compactions)
                .number("moves", stats.moves)
                .number("read_bytes", stats.compacted_bytes_in)
                .number("written_bytes", stats.compacted_bytes_out),
        );
    }
    out.line(format_args!("before:  {}", described(before)))?;
    if *flushed > 0 {
        out.line(format_args!("flushed: {flushed} entries from the log"))?;
    }
    out.line(format_args!("after:   {}", described(after)))?;
    out.line(format_args!(
        "dropped: {}, {}",
        plural(stats.dropped_shadowed, "older version"),
        plural(stats.dropped_tombstones, "tombstone")
    ))
}

fn described(tree: &LevelRow) -> String {
    format!("{}, {}, {} entries", plural(tree.tables, "table"), size(tree.bytes), tree.entries)
}
