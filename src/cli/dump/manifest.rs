//! `beach-manifest`.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::table::entry_count;
use super::wal::damage_count;
use super::{Dump, plural, verdict, with_damage};
use crate::cli::args::{self, Common};
use crate::cli::output::{Object, Table, size};
use crate::cli::{Out, Outcome};
use crate::inspect::manifest::{ManifestEdit, ManifestItem, ManifestTotals, read_manifest};
use crate::inspect::{Edit, State, TableMeta, utc};
use crate::types::{FileNumber, Level};
use crate::vfs::File;

const EXAMPLES: &str = "\
Examples:
  beach-manifest shop
  beach-manifest shop/MANIFEST-000001
  beach-manifest --json shop | grep '\"reason\":\"flush\"'";

/// Show a manifest: every edit, and the version they add up to.
///
/// A directory stands for its current manifest. Exit status 3 when something is damaged; a tail
/// that a crash explains is shown and is no damage.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "beach-manifest", before_help = EXAMPLES, version = args::version())]
pub struct ManifestArgs {
    /// Manifests, or stores' directories
    #[arg(required = true, value_name = "DIR|FILE")]
    pub paths: Vec<PathBuf>,
    /// How to print.
    #[command(flatten)]
    pub common: Common,
}

pub(super) fn dump(args: &ManifestArgs, out: &mut Out) -> Outcome {
    let mut dump = Dump::new(out, &args.common);
    let (mut edits, mut torn, mut damaged) = (0, 0, 0);
    dump.all(
        &args.paths,
        |live| live.manifest.into_iter().map(|path| (path, live.manifest_expect)).collect(),
        |dump, file, expect| {
            let totals = read_manifest(file, &expect, &mut |item| {
                print(dump, &item)?;
                dump.finding(item.finding())
            })?;
            version(dump, &totals)?;
            end_of_file(dump, file, &totals)?;
            edits += totals.edits;
            torn += totals.torn;
            damaged += totals.damaged;
            Ok(totals.damaged == 0)
        },
    )?;
    dump.end(|summary| {
        summary.number("edits", edits).number("torn", torn).number("damaged", damaged)
    })
}

fn end_of_file(dump: &mut Dump<'_>, file: &dyn File, totals: &ManifestTotals) -> Outcome<()> {
    if !dump.out.is_json() {
        let (path, edits) = (file.path().display(), plural(totals.edits, "edit"));
        dump.out.line(format!("{path}: {edits}, {}", damage_count(totals.damaged)))?;
    }
    dump.complain(file.path(), totals.damaged)
}

fn print(dump: &mut Dump<'_>, item: &ManifestItem<'_>) -> Outcome<()> {
    match item {
        ManifestItem::Header(header) => dump.header(header),
        ManifestItem::Hole(hole) => dump.hole(hole),
        ManifestItem::Unused { offset, size } => dump.unused(*offset, *size),
        ManifestItem::Edit(edit) if dump.out.is_json() => dump.out.object(&edit_object(edit)),
        ManifestItem::Edit(edit) => edit_lines(dump, edit),
    }
}

fn edit_lines(dump: &mut Dump<'_>, report: &ManifestEdit) -> Outcome<()> {
    let ManifestEdit { offset, size, synced_upto, .. } = report;
    let mut line = format!("{offset:#010x} {size:>8} edit");
    if let Some(number) = report.number {
        line += &format!(" {number}");
    }
    line += "  ok";
    if let Some(edit) = &report.edit {
        line += &format!("  {}  {}, job {}", utc(edit.time_ms), edit.reason, edit.job);
    }
    line += &format!(", synced_upto {synced_upto:#x}");
    if let Some(damage) = &report.damage {
        line += &format!("  {}", verdict(damage));
    }
    dump.out.line(line)?;
    let Some(edit) = &report.edit else { return Ok(()) };
    for change in changes(edit) {
        dump.out.line(format!("    {change}"))?;
    }
    for (level, number) in &edit.tables_removed {
        dump.out.line(format!("    - {level} table {number}"))?;
    }
    for (level, table) in &edit.tables_added {
        let text = table_text(dump, table);
        dump.out.line(format!("    + {level} table {}: {text}", table.number))?;
    }
    Ok(())
}

/// What an edit says about anything but tables.
fn changes(edit: &Edit) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(store) = &edit.store {
        let (id, comparator, version) = (store.id, &store.comparator, store.format_version);
        lines.push(format!("store {id}, order {comparator}, format {version}"));
    }
    if let Some(lineage) = &edit.lineage {
        let (previous, edits, rollovers) = (lineage.previous, lineage.edits, lineage.rollovers);
        lines.push(format!(
            "follows manifest {previous}, {} before it, {}",
            plural(edits, "edit"),
            plural(rollovers, "rollover")
        ));
    }
    lines.extend(edit.next_file.map(|number| format!("next file {number}")));
    lines
        .extend(edit.last_seqno.map(|seqno| format!("tables hold everything up to seqno {seqno}")));
    lines.extend(edit.logs_dropped.iter().map(|number| format!("- log {number}")));
    lines.extend(edit.logs_dropped_upto.map(|number| format!("- logs up to {number}")));
    lines.extend(
        edit.logs_added
            .iter()
            .map(|log| format!("+ log {}, id {}, {} bytes", log.number, log.id, log.size)),
    );
    lines.extend(
        edit.logs_grown.iter().map(|(number, size)| format!("log {number} grows to {size} bytes")),
    );
    lines.extend(
        edit.logs_ended.iter().map(|(number, end)| format!("log {number} ends at {end:#x}")),
    );
    lines.extend(
        edit.log_synced.map(|(number, upto)| format!("log {number} is synced up to {upto:#x}")),
    );
    if let Some(counters) = &edit.counters {
        lines.push(format!(
            "so far {}, {}, {} bytes flushed, {} compacted in, {} out, {} written by users",
            plural(counters.flushes, "flush").replace("flushs", "flushes"),
            plural(counters.compactions, "compaction"),
            counters.flushed_bytes,
            counters.compacted_bytes_in,
            counters.compacted_bytes_out,
            counters.user_bytes,
        ));
    }
    lines
}

fn table_text(dump: &Dump<'_>, table: &TableMeta) -> String {
    let TableMeta { id, size, entries, tombstones, min_seqno, max_seqno, .. } = table;
    let (smallest, largest) = (dump.key(&table.smallest), dump.key(&table.largest));
    format!(
        "id {id}, {size} bytes, {}, {}, seqno {min_seqno}..{max_seqno}, {smallest} .. {largest}",
        entry_count(*entries),
        plural(*tombstones, "tombstone"),
    )
}

fn edit_object(report: &ManifestEdit) -> Object {
    let mut object = Object::new("edit")
        .number("offset", report.offset)
        .number("size", report.size)
        .number("synced_upto", report.synced_upto);
    if let Some(number) = report.number {
        object = object.number("edit", number);
    }
    if let Some(edit) = &report.edit {
        object = object
            .number("time_ms", edit.time_ms)
            .text("time", &utc(edit.time_ms))
            .text("reason", &edit.reason.to_string())
            .number("job", edit.job);
        object = with_changes(object, edit);
    }
    with_damage(object, report.damage.as_ref())
}

/// Adds the fields that the edit has.
fn with_changes(mut object: Object, edit: &Edit) -> Object {
    let sized =
        |number: &FileNumber, name: &str, size: u64| json!({"number": number.0, name: size});
    if let Some(store) = &edit.store {
        object = object.value(
            "store",
            json!({"id": store.id.to_string(), "comparator": store.comparator,
                "format_version": store.format_version}),
        );
    }
    if let Some(lineage) = &edit.lineage {
        object = object.value(
            "lineage",
            json!({"previous": lineage.previous.0, "edits": lineage.edits,
                "rollovers": lineage.rollovers}),
        );
    }
    let numbers = [
        ("next_file", edit.next_file.map(|number| number.0)),
        ("last_seqno", edit.last_seqno.map(|seqno| seqno.0)),
        ("logs_dropped_upto", edit.logs_dropped_upto.map(|number| number.0)),
    ];
    for (name, number) in numbers {
        object = number.into_iter().fold(object, |object, number| object.number(name, number));
    }
    if let Some((number, upto)) = &edit.log_synced {
        object = object.value("log_synced", sized(number, "upto", *upto));
    }
    if let Some(counters) = &edit.counters {
        object = object.value(
            "counters",
            json!({"flushes": counters.flushes, "compactions": counters.compactions,
                "flushed_bytes": counters.flushed_bytes,
                "compacted_bytes_in": counters.compacted_bytes_in,
                "compacted_bytes_out": counters.compacted_bytes_out,
                "user_bytes": counters.user_bytes}),
        );
    }
    let added = edit
        .logs_added
        .iter()
        .map(|log| json!({"number": log.number.0, "id": log.id.to_string(), "size": log.size}));
    let lists: [(&str, Vec<Value>); 6] = [
        ("logs_added", added.collect()),
        ("logs_grown", edit.logs_grown.iter().map(|(n, s)| sized(n, "size", *s)).collect()),
        ("logs_ended", edit.logs_ended.iter().map(|(n, e)| sized(n, "end", *e)).collect()),
        ("logs_dropped", edit.logs_dropped.iter().map(|number| json!(number.0)).collect()),
        (
            "tables_removed",
            edit.tables_removed
                .iter()
                .map(|(level, number)| sized(number, "level", u64::from(level.0)))
                .collect(),
        ),
        (
            "tables_added",
            edit.tables_added
                .iter()
                .map(|(level, table)| table_fields(Object::bare(), *level, table).into_value())
                .collect(),
        ),
    ];
    for (name, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
        object = object.value(name, list);
    }
    object
}

fn table_fields(object: Object, level: Level, table: &TableMeta) -> Object {
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

/// The state after the edits.
fn version(dump: &mut Dump<'_>, totals: &ManifestTotals) -> Outcome<()> {
    if dump.out.is_json() {
        return version_objects(dump, totals);
    }
    let State { edits, next_file, last_seqno, .. } = &totals.state;
    let partial = if totals.is_partial { " (the edits behind it are not in)" } else { "" };
    dump.out.line(format!(
        "version after edit {edits}, at {:#x}{partial}: next file {next_file}, tables hold \
         everything up to seqno {last_seqno}",
        totals.state_end
    ))?;
    let mut tree = Table::new(&["level", "table", "size", "entries", "tombstones", "keys"]);
    let mut is_empty = true;
    for (level, table) in totals.state.tables() {
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
    for (number, log) in &totals.state.logs {
        let end = log.end.map(|end| format!(", ends at {end:#x}")).unwrap_or_default();
        let (id, bytes) = (log.meta.id, log.meta.size);
        dump.out.line(format!("log {number}, id {id}, {bytes} bytes{end}"))?;
    }
    Ok(())
}

fn version_objects(dump: &mut Dump<'_>, totals: &ManifestTotals) -> Outcome<()> {
    let state = &totals.state;
    let object = Object::new("version")
        .number("edits", state.edits)
        .number("offset", totals.state_end)
        .value("partial", totals.is_partial)
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
