//! `lsm`: the tree as a picture, a row a level, and table by table.

use super::amplification::{self, Amplification};
use super::levels::{self, LevelRow};
use super::plural;
use crate::cli::args::{Args, RangeArgs};
use crate::cli::commands::range::{self, Range};
use crate::cli::commands::session;
use crate::cli::output::{Object, Table, size};
use crate::cli::{Out, Outcome, Status};
use crate::inspect::TableMeta;
use crate::{Db, Level, Result, Stats};

/// Cells of the longest bar.
const BAR_MAX: usize = 24;
const BAR_MIN: usize = 4;

/// The tables that may hold keys of a range, and about how many bytes those keys take.
struct Within {
    range: Range,
    tables: Vec<(Level, TableMeta)>,
    bytes: u64,
}

/// Shows the tree: every level that has tables, and every table, or those of a range.
pub(in crate::cli::commands) fn lsm(args: &Args, wanted: &RangeArgs, out: &mut Out) -> Outcome {
    let range = range::bounds(args, wanted, None)?;
    let (db, within) = session::read(args, out, |db| {
        let within = within(&db, range.clone())?;
        Ok((db, within))
    })?;
    let tree = Tree::of(&db);
    if out.is_json() {
        tree.print_json(&within, out)?;
    } else {
        tree.print(args, &within, out)?;
    }
    Ok(Status::Done)
}

fn within(db: &Db, range: Range) -> Result<Within> {
    let tables = db.tables().into_iter();
    let touched = |(_, table): &(Level, TableMeta)| {
        range::touches(&range, &table.smallest.user, &table.largest.user)
    };
    let tables: Vec<_> = tables.filter(touched).collect();
    let bytes = if range::is_empty(&range) { 0 } else { db.approximate_size(range.clone())? };
    Ok(Within { range, tables, bytes })
}

/// The tree of an open store, for the tour.
pub(in crate::cli::commands) fn print_lsm(args: &Args, db: &Db, out: &mut Out) -> Outcome<()> {
    if out.is_json() {
        return print_tables_json(&db.tables(), out);
    }
    let tree = Tree::of(db);
    tree.print_levels(args, out)?;
    out.line("")?;
    print_tables(args, &tree.tables, out)?;
    out.line("")?;
    tree.print_amplification(out)
}

/// Its levels alone.
pub(in crate::cli::commands) fn print_levels(args: &Args, db: &Db, out: &mut Out) -> Outcome<()> {
    if out.is_json() {
        return print_tables_json(&db.tables(), out);
    }
    Tree::of(db).print_levels(args, out)
}

/// What there is to tell of a store's tree.
struct Tree {
    tables: Vec<(Level, TableMeta)>,
    levels: Vec<LevelRow>,
    stats: Stats,
}

impl Tree {
    fn of(db: &Db) -> Tree {
        let tables = db.tables();
        Tree { levels: levels::of(&tables), tables, stats: db.stats() }
    }

    fn print(&self, args: &Args, within: &Within, out: &mut Out) -> Outcome<()> {
        if self.tables.is_empty() {
            return out.line("no tables; everything is in the log");
        }
        self.print_levels(args, out)?;
        out.line("")?;
        if !within.tables.is_empty() {
            print_tables(args, &within.tables, out)?;
            out.line("")?;
        }
        if !range::is_full(&within.range) {
            let tables = plural(within.tables.len() as u64, "table");
            out.line(format_args!("the range: about {} in {tables}", size(within.bytes)))?;
        }
        self.print_amplification(out)?;
        self.print_work(out)
    }

    /// A row a level, with a bar by its bytes.
    fn print_levels(&self, args: &Args, out: &mut Out) -> Outcome<()> {
        let names =
            ["level", "tables", "runs", "bytes", "of raw", "entries", "tombstones", "", "keys"];
        let all = levels::total(&self.levels);
        let mut rows: Vec<Vec<String>> = self.levels.iter().map(figures).collect();
        if rows.len() > 1 {
            rows.push(figures(&all));
            rows.last_mut().into_iter().for_each(|row| row[0] = "all".to_owned());
        }
        let width = bar_width(&names[..7], &rows, out.width());
        let largest = self.levels.iter().map(|level| level.bytes).max().unwrap_or(0);
        let mut table = Table::new(&names);
        for (index, mut row) in rows.into_iter().enumerate() {
            let level = self.levels.get(index);
            row.push(level.map_or(String::new(), |it| levels::bar(it.bytes, largest, width)));
            row.push(level.map_or(String::new(), |it| keys(args, &it.smallest, &it.largest)));
            table.row(row);
        }
        out.table(&table)
    }

    fn print_amplification(&self, out: &mut Out) -> Outcome<()> {
        let amplification = Amplification::of(&self.stats);
        let tables = plural(amplification.read, "table");
        out.line(format_args!("a get looks into {tables} at most"))?;
        let [_, (_, write), (_, space)] = amplification.shown();
        out.line(format_args!("bytes of tables written for a byte flushed: {write}"))?;
        out.line(format_args!("bytes of tables for a byte still needed: {space} at most"))
    }

    /// What was done to the tree in its life, and what is due.
    fn print_work(&self, out: &mut Out) -> Outcome<()> {
        let life = &self.stats.lifetime;
        out.line(format_args!(
            "so far {} flushes wrote {}, {} compactions read {} and wrote {}",
            life.flushes,
            size(life.flushed_bytes),
            life.compactions,
            size(life.compacted_bytes_in),
            size(life.compacted_bytes_out),
        ))?;
        match self.stats.debt_bytes {
            0 => Ok(()),
            debt => out.line(format_args!("due: {} to be read by compactions", size(debt))),
        }
    }

    fn print_json(&self, within: &Within, out: &mut Out) -> Outcome<()> {
        for level in &self.levels {
            out.object(&level_object(level))?;
        }
        print_tables_json(&within.tables, out)?;
        let all = levels::total(&self.levels);
        let summary = Object::summary()
            .number("tables", all.tables)
            .number("bytes", all.bytes)
            .number("raw_bytes", all.raw_bytes)
            .number("entries", all.entries)
            .number("tombstones", all.tombstones)
            .number("debt_bytes", self.stats.debt_bytes);
        let summary = Amplification::of(&self.stats).add_to(summary);
        let tables = within.tables.len() as u64;
        out.summary(match range::is_full(&within.range) {
            true => summary,
            false => summary.number("range_tables", tables).number("range_bytes", within.bytes),
        })
    }
}

fn figures(level: &LevelRow) -> Vec<String> {
    vec![
        level.level.to_string(),
        level.tables.to_string(),
        level.runs.to_string(),
        size(level.bytes),
        amplification::text(level.density()),
        level.entries.to_string(),
        level.tombstones.to_string(),
    ]
}

fn keys(args: &Args, first: &[u8], last: &[u8]) -> String {
    format!("{} .. {}", args.common.encode(first), args.common.encode(last))
}

/// What a terminal has room for beside the numbers: half of it, so that the keys get the other half.
fn bar_width(names: &[&str], rows: &[Vec<String>], terminal: Option<usize>) -> usize {
    let Some(terminal) = terminal else { return BAR_MAX };
    let column = |(index, name): (usize, &&str)| {
        let cells = rows.iter().filter_map(|row| row.get(index)).map(String::len);
        cells.chain([name.len()]).max().unwrap_or(0) + 2
    };
    let numbers: usize = names.iter().enumerate().map(column).sum();
    (terminal.saturating_sub(numbers + 4) / 2).clamp(BAR_MIN, BAR_MAX)
}

fn print_tables(args: &Args, tables: &[(Level, TableMeta)], out: &mut Out) -> Outcome<()> {
    let names = ["table", "level", "bytes", "of raw", "entries", "tombstones", "seqnos", "keys"];
    let mut table = Table::new(&names);
    for (level, meta) in tables {
        table.row([
            format!("{}.sst", meta.number),
            level.to_string(),
            size(meta.size),
            amplification::text(amplification::ratio(meta.size, meta.raw_bytes)),
            meta.entries.to_string(),
            meta.tombstones.to_string(),
            format!("{}..{}", meta.min_seqno, meta.max_seqno),
            keys(args, &meta.smallest.user, &meta.largest.user),
        ]);
    }
    out.table(&table)
}

fn level_object(level: &LevelRow) -> Object {
    Object::new("level")
        .number("level", level.level.0.into())
        .number("tables", level.tables)
        .number("runs", level.runs)
        .number("bytes", level.bytes)
        .number("raw_bytes", level.raw_bytes)
        .number("entries", level.entries)
        .number("tombstones", level.tombstones)
        .bytes("smallest", &level.smallest)
        .bytes("largest", &level.largest)
}

/// An object for each table.
fn print_tables_json(tables: &[(Level, TableMeta)], out: &mut Out) -> Outcome<()> {
    for (level, meta) in tables {
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
