//! The tree after an edit, and what changed in it between two.

use super::{Target, tell};
use crate::cli::dump::{Dump, plural};
use crate::cli::output::{Object, Table, size};
use crate::cli::{Failure, Outcome, Status};
use crate::inspect::manifest::history::{Moment, between};
use crate::inspect::{State, TableMeta, utc};
use crate::types::Level;

/// The store after an edit.
pub(super) struct Version {
    pub(super) state: State,
    /// Where the edit ends in its manifest.
    pub(super) end: u64,
    /// Edits behind it could not be taken in.
    pub(super) is_partial: bool,
}

/// What `lsm` and `diff` find of an edit.
struct Found {
    version: Version,
    time_ms: u64,
    made: String,
}

/// `lsm`.
pub(super) fn lsm(dump: &mut Dump<'_>, target: &Target, at: Option<u64>) -> Outcome {
    let mut found = [None];
    read(dump, target, &[at], &mut found)?;
    let [Some(Found { version, time_ms, made })] = found else {
        return Err(no_such_edit(at));
    };
    let state = &version.state;
    if dump.out.is_json() {
        version_objects(dump, &version)?;
        for (level, tables) in levels(state) {
            let object = Object::new("level")
                .number("level", u64::from(level.0))
                .number("tables", tables.len() as u64);
            let sums = sums(tables);
            dump.out.object(&add_sums(object, &sums))?;
        }
    } else {
        let edits = state.edits;
        let sums = sums(state.tables().map(|(_, table)| table));
        let (time, bytes) = (utc(time_ms), size(sums.bytes));
        let tables = plural(state.tables().count() as u64, "table");
        dump.out.line(format!("version after edit {edits}, {time}, {made}: {tables}, {bytes}"))?;
        level_rows(dump, state)?;
        version_rows(dump, state)?;
    }
    let (tables, edits) = (state.tables().count() as u64, state.edits);
    dump.out.summary(Object::summary().number("edit", edits).number("tables", tables))?;
    Ok(dump.status)
}

/// `diff`.
pub(super) fn diff(dump: &mut Dump<'_>, target: &Target, from: u64, to: u64) -> Outcome {
    let mut found = [None, None];
    read(dump, target, &[Some(from), Some(to)], &mut found)?;
    let [before, after] = found;
    let before = before.ok_or_else(|| no_such_edit(Some(from)))?.version.state;
    let after = after.ok_or_else(|| no_such_edit(Some(to)))?.version.state;
    let change = between(&before, &after);
    let mut count = 0;
    for (level, table) in &change.removed {
        let moved = change.added.iter().find(|(_, other)| other.number == table.number);
        let (kind, to) = match moved {
            Some((to, _)) => ("moved", Some(*to)),
            None => ("removed", None),
        };
        count += 1;
        table_change(dump, kind, *level, to, table)?;
    }
    let is_new = |table: &TableMeta| !before.tables().any(|(_, old)| old.number == table.number);
    for (level, table) in change.added.iter().filter(|(_, table)| is_new(table)) {
        count += 1;
        table_change(dump, "added", *level, None, table)?;
    }
    count += log_changes(dump, &before, &after)?;
    let (was, is) = (sums(tables_of(&before)), sums(tables_of(&after)));
    if !dump.out.is_json() {
        let changes = plural(count, "change");
        dump.out.line(format!(
            "edit {from} to {to}: {changes}, tables {} to {}, {} to {}",
            was.tables,
            is.tables,
            size(was.bytes),
            size(is.bytes)
        ))?;
    }
    let numbers = [("from", from), ("to", to), ("changes", count)];
    let object = numbers.iter().fold(Object::summary(), |it, (name, n)| it.number(name, *n));
    let object = object.number("bytes_before", was.bytes).number("bytes", is.bytes);
    dump.out.summary(object)?;
    Ok(dump.status.combine(if count > 0 { Status::Negative } else { Status::Done }))
}

/// Finds the states after these edits; none stands for the last edit.
fn read(
    dump: &mut Dump<'_>,
    target: &Target,
    wanted: &[Option<u64>],
    found: &mut [Option<Found>],
) -> Outcome<()> {
    let mut last = None;
    let totals = tell(dump, target, &mut |_, moment| {
        let Moment::Edit(told) = moment else { return Ok(()) };
        let made = match told.edit.job {
            0 => told.edit.reason.to_string(),
            job => format!("{}, job {job}", told.edit.reason),
        };
        let end = told.offset + told.size;
        let here = |state: &State| Found {
            version: Version { state: state.clone(), end, is_partial: false },
            time_ms: told.edit.time_ms,
            made: made.clone(),
        };
        for (slot, _) in found.iter_mut().zip(wanted).filter(|(_, at)| **at == Some(told.number)) {
            *slot = Some(here(told.state));
        }
        last = Some((end, told.edit.time_ms, made));
        Ok(())
    })?;
    let Some((end, time_ms, made)) = last else { return Ok(()) };
    for (slot, _) in found.iter_mut().zip(wanted).filter(|(_, at)| at.is_none()) {
        let state = totals.state.clone();
        let is_partial = totals.is_cut;
        let version = Version { state, end, is_partial };
        *slot = Some(Found { version, time_ms, made: made.clone() });
    }
    Ok(())
}

/// There is no such edit, or none at all.
pub(super) fn no_such_edit(at: Option<u64>) -> Failure {
    match at {
        Some(at) => Failure::Usage(format!("the history has no edit {at} that can be read")),
        None => Failure::Damaged("there is no edit that can be read".to_owned()),
    }
}

fn table_change(
    dump: &mut Dump<'_>,
    kind: &str,
    level: Level,
    to: Option<Level>,
    table: &TableMeta,
) -> Outcome<()> {
    if dump.out.is_json() {
        let object = Object::new("change").text("what", kind);
        let object = match to {
            Some(to) => object.number("to_level", u64::from(to.0)),
            None => object,
        };
        return dump.out.object(&table_fields(object, level, table));
    }
    let sign = match kind {
        "removed" => "-",
        "added" => "+",
        _ => "~",
    };
    let keys = format!("{} .. {}", dump.key(&table.smallest), dump.key(&table.largest));
    let to = to.map(|to| format!(" to {to}")).unwrap_or_default();
    let (number, bytes) = (table.number, size(table.size));
    dump.out.line(format!("{sign} {level}{to} table {number}, {bytes}, {keys}"))
}

/// Logs that came and went.
fn log_changes(dump: &mut Dump<'_>, before: &State, after: &State) -> Outcome<u64> {
    let mut count = 0;
    let gone = before.logs.keys().filter(|log| !after.logs.contains_key(log));
    let new = after.logs.keys().filter(|log| !before.logs.contains_key(log));
    let gone = gone.map(|log| ("log_removed", "-", log));
    for (kind, sign, log) in gone.chain(new.map(|log| ("log_added", "+", log))) {
        count += 1;
        if dump.out.is_json() {
            let object = Object::new("change").text("what", kind).number("number", log.0);
            dump.out.object(&object)?;
        } else {
            dump.out.line(format!("{sign} log {log}"))?;
        }
    }
    Ok(count)
}

/// Sums over tables.
struct Sums {
    tables: u64,
    bytes: u64,
    entries: u64,
    tombstones: u64,
}

fn tables_of(state: &State) -> impl Iterator<Item = &TableMeta> {
    state.tables().map(|(_, table)| table)
}

fn sums<'a>(tables: impl IntoIterator<Item = &'a TableMeta>) -> Sums {
    let mut sums = Sums { tables: 0, bytes: 0, entries: 0, tombstones: 0 };
    for table in tables {
        sums.tables += 1;
        sums.bytes = sums.bytes.saturating_add(table.size);
        sums.entries = sums.entries.saturating_add(table.entries);
        sums.tombstones = sums.tombstones.saturating_add(table.tombstones);
    }
    sums
}

fn add_sums(object: Object, sums: &Sums) -> Object {
    let Sums { bytes, entries, tombstones, .. } = *sums;
    object.number("bytes", bytes).number("entries", entries).number("tombstones", tombstones)
}

/// The levels that have tables.
fn levels(state: &State) -> impl Iterator<Item = (Level, &Vec<TableMeta>)> {
    let levels = (0u8..).map(Level).zip(&state.levels);
    levels.filter(|(_, tables)| !tables.is_empty())
}

fn level_rows(dump: &mut Dump<'_>, state: &State) -> Outcome<()> {
    let mut rows = Table::new(&["level", "tables", "size", "entries", "tombstones"]);
    for (level, tables) in levels(state) {
        let Sums { tables, bytes, entries, tombstones } = sums(tables);
        let numbers =
            [tables.to_string(), size(bytes), entries.to_string(), tombstones.to_string()];
        rows.row(std::iter::once(level.to_string()).chain(numbers));
    }
    if state.tables().next().is_some() { dump.out.table(&rows) } else { Ok(()) }
}

/// The tables and logs of a version.
pub(super) fn version_rows(dump: &mut Dump<'_>, state: &State) -> Outcome<()> {
    let mut tree = Table::new(&["level", "table", "size", "entries", "tombstones", "keys"]);
    let mut is_empty = true;
    for (level, table) in state.tables() {
        is_empty = false;
        let keys = format!("{} .. {}", dump.key(&table.smallest), dump.key(&table.largest));
        tree.row([
            level.to_string(),
            table.number.to_string(),
            size(table.size),
            table.entries.to_string(),
            table.tombstones.to_string(),
            keys,
        ]);
    }
    if is_empty {
        dump.out.line("no tables")?;
    } else {
        dump.out.table(&tree)?;
    }
    for (number, log) in &state.logs {
        let end = log.end.map(|end| format!(", ends at {end:#x}")).unwrap_or_default();
        let (id, bytes) = (log.meta.id, log.meta.size);
        dump.out.line(format!("log {number}, id {id}, {bytes} bytes{end}"))?;
    }
    Ok(())
}

/// The state after the edits of a dump.
pub(super) fn version(dump: &mut Dump<'_>, version: &Version) -> Outcome<()> {
    if dump.out.is_json() {
        return version_objects(dump, version);
    }
    let State { edits, next_file, last_seqno, .. } = &version.state;
    let partial = if version.is_partial { " (the edits behind it are not in)" } else { "" };
    dump.out.line(format!(
        "version after edit {edits}, at {:#x}{partial}: next file {next_file}, tables hold \
         everything up to seqno {last_seqno}",
        version.end
    ))?;
    version_rows(dump, &version.state)
}

/// The same as objects.
fn version_objects(dump: &mut Dump<'_>, version: &Version) -> Outcome<()> {
    let state = &version.state;
    let object = Object::new("version")
        .number("edits", state.edits)
        .number("offset", version.end)
        .value("partial", version.is_partial)
        .number("next_file", state.next_file.0)
        .number("last_seqno", state.last_seqno.0)
        .number("tables", state.tables().count() as u64)
        .number("logs", state.logs.len() as u64);
    dump.out.object(&object)?;
    for (level, table) in state.tables() {
        dump.out.object(&table_fields(Object::new("table"), level, table))?;
    }
    for (number, log) in &state.logs {
        let object = Object::new("log")
            .number("number", number.0)
            .text("id", &log.meta.id.to_string())
            .number("size", log.meta.size);
        dump.out.object(&match log.end {
            Some(end) => object.number("end", end),
            None => object,
        })?;
    }
    Ok(())
}

/// Adds what the manifest says of a table.
pub(super) fn table_fields(object: Object, level: Level, table: &TableMeta) -> Object {
    object
        .number("level", u64::from(level.0))
        .number("number", table.number.0)
        .text("id", &table.id.to_string())
        .number("size", table.size)
        .number("entries", table.entries)
        .number("tombstones", table.tombstones)
        .number("raw_bytes", table.raw_bytes)
        .bytes("smallest", &table.smallest.user)
        .bytes("largest", &table.largest.user)
        .number("min_seqno", table.min_seqno.0)
        .number("max_seqno", table.max_seqno.0)
}
