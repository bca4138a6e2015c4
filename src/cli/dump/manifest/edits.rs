//! An edit as text and as an object.

use serde_json::{Value, json};

use super::tree::table_fields;
use crate::cli::Outcome;
use crate::cli::dump::table::entry_count;
use crate::cli::dump::{Dump, plural, verdict, with_damage};
use crate::cli::output::Object;
use crate::inspect::manifest::ManifestEdit;
use crate::inspect::{Edit, TableMeta, utc};
use crate::types::FileNumber;

/// The lines of an edit.
pub(super) fn lines(dump: &mut Dump<'_>, report: &ManifestEdit) -> Outcome<()> {
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

/// The object of an edit.
pub(super) fn object(report: &ManifestEdit) -> Object {
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
