//! `beach-manifest file`: the life of one file.

use super::tree::table_fields;
use super::{Target, tell};
use crate::cli::dump::{Dump, plural};
use crate::cli::output::{Object, Table, size};
use crate::cli::{Outcome, Status};
use crate::inspect::manifest::story::{Descendant, Event, Happening, Story};
use crate::inspect::{TableMeta, utc};
use crate::types::{FileNumber, Level};

/// `file`.
pub(super) fn file(dump: &mut Dump<'_>, target: &Target, number: FileNumber) -> Outcome {
    let mut story = Story::of(number);
    tell(dump, target, &mut |_, moment| {
        story.hear(moment);
        Ok(())
    })?;
    for event in &story.events {
        self::event(dump, event)?;
    }
    let level = story.events.iter().rev().find_map(|event| match event.what {
        Happening::Made(level, _) | Happening::Moved(_, level) => Some(level),
        Happening::Dropped(level, _) => Some(level),
        _ => None,
    });
    if let Some(table) = &story.table {
        self::table(dump, level, table)?;
    }
    descendants(dump, &story)?;
    end(dump, &story)?;
    let known = if story.is_known() { Status::Done } else { Status::Negative };
    Ok(dump.status.combine(known))
}

fn event(dump: &mut Dump<'_>, event: &Event) -> Outcome<()> {
    if dump.out.is_json() {
        return dump.out.object(&event_object(event));
    }
    let Event { edit, time_ms, reason, job, .. } = event;
    let (time, text) = (utc(*time_ms), what(&event.what));
    let job = if *job > 0 { format!(", job {job}") } else { String::new() };
    dump.out.line(format!("edit {edit}  {time}  {text} ({reason}{job})"))
}

fn what(what: &Happening) -> String {
    let with = |word: &str, files: &[FileNumber]| match files {
        [] => String::new(),
        files => format!("{word}{}", list(files)),
    };
    match what {
        Happening::Made(level, from) => format!("made in {level}{}", with(" from ", from)),
        Happening::Known => "known: it was made before what is left of the history".to_owned(),
        Happening::Moved(from, to) => format!("moved from {from} to {to}"),
        Happening::Dropped(level, into) => {
            format!("dropped from {level}{}", with(", replaced by ", into))
        }
        Happening::Gone => "gone: it was dropped where the history is missing".to_owned(),
        Happening::LogBegun(size) => format!("log begun, {size} bytes"),
        Happening::LogGrown(size) => format!("log grown to {size} bytes"),
        Happening::LogEnded(end) => format!("log found to end at {end:#x}"),
        Happening::LogDropped(into) => format!("log dropped{}", with(", its content is in ", into)),
        Happening::Manifest => "manifest begun".to_owned(),
    }
}

fn list(files: &[FileNumber]) -> String {
    files.iter().map(FileNumber::to_string).collect::<Vec<_>>().join(" ")
}

fn event_object(event: &Event) -> Object {
    let object = Object::new("event")
        .number("edit", event.edit)
        .number("time_ms", event.time_ms)
        .text("time", &utc(event.time_ms))
        .text("reason", &event.reason.to_string())
        .number("job", event.job);
    let level = |object: Object, level: Level| object.number("level", u64::from(level.0));
    let numbers = |files: &[FileNumber]| files.iter().map(|number| number.0).collect::<Vec<_>>();
    match &event.what {
        Happening::Made(at, from) => {
            level(object.text("what", "made"), *at).value("from", numbers(from))
        }
        Happening::Known => object.text("what", "known"),
        Happening::Moved(from, to) => {
            level(object.text("what", "moved"), *to).number("from_level", u64::from(from.0))
        }
        Happening::Dropped(at, into) => {
            level(object.text("what", "dropped"), *at).value("into", numbers(into))
        }
        Happening::Gone => object.text("what", "gone"),
        Happening::LogBegun(size) => object.text("what", "log_begun").number("size", *size),
        Happening::LogGrown(size) => object.text("what", "log_grown").number("size", *size),
        Happening::LogEnded(end) => object.text("what", "log_ended").number("end", *end),
        Happening::LogDropped(into) => {
            object.text("what", "log_dropped").value("into", numbers(into))
        }
        Happening::Manifest => object.text("what", "manifest"),
    }
}

fn table(dump: &mut Dump<'_>, level: Option<Level>, table: &TableMeta) -> Outcome<()> {
    if dump.out.is_json() {
        return dump.out.object(&table_fields(
            Object::new("table"),
            level.unwrap_or_default(),
            table,
        ));
    }
    let TableMeta { number, id, entries, tombstones, min_seqno, max_seqno, .. } = table;
    let (bytes, raw) = (size(table.size), size(table.raw_bytes));
    let (smallest, largest) = (dump.key(&table.smallest), dump.key(&table.largest));
    dump.out.line(format!("table {number}, id {id}, {bytes}, {raw} of keys and values"))?;
    dump.out.line(format!(
        "  {entries} entries, {}, seqno {min_seqno}..{max_seqno}",
        plural(*tombstones, "tombstone")
    ))?;
    dump.out.line(format!("  {smallest} .. {largest}"))
}

fn descendants(dump: &mut Dump<'_>, story: &Story) -> Outcome<()> {
    let mut rows = Table::new(&["made of it", "generation", "level", "size", "edit", "dropped"]);
    for (number, descendant) in &story.descendants {
        let Descendant { generation, made, dropped, level, size: bytes } = descendant;
        if dump.out.is_json() {
            let object = Object::new("descendant")
                .number("number", number.0)
                .number("generation", u64::from(*generation))
                .number("level", u64::from(level.0))
                .number("size", *bytes)
                .number("edit", *made);
            dump.out.object(&match dropped {
                Some(edit) => object.number("dropped", *edit),
                None => object,
            })?;
            continue;
        }
        let dropped = dropped.map_or("-".to_owned(), |edit| edit.to_string());
        rows.row([
            number.to_string(),
            generation.to_string(),
            level.to_string(),
            size(*bytes),
            made.to_string(),
            dropped,
        ]);
    }
    if story.descendants.is_empty() || dump.out.is_json() {
        return Ok(());
    }
    dump.out.table(&rows)
}

fn end(dump: &mut Dump<'_>, story: &Story) -> Outcome<()> {
    let number = story.number;
    if !dump.out.is_json() {
        let is_manifest = story.events.iter().any(|event| event.what == Happening::Manifest);
        let text = match (story.is_known(), story.is_live, is_manifest) {
            (false, ..) => format!("file {number}: no edit names it"),
            (_, true, _) => format!("file {number}: part of the store"),
            (_, _, true) => format!("file {number}: a manifest"),
            _ => format!("file {number}: dropped"),
        };
        dump.out.line(text)?;
    }
    let live = story.descendants.values().filter(|one| one.dropped.is_none()).count();
    let summary = Object::summary()
        .number("number", number.0)
        .value("known", story.is_known())
        .value("live", story.is_live)
        .number("descendants", story.descendants.len() as u64)
        .number("descendants_live", live as u64);
    dump.out.summary(summary)
}
