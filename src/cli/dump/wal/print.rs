//! The parts of a log as lines and as objects.

use std::path::Path;

use super::filter::Filter;
use crate::cli::Outcome;
use crate::cli::dump::{Dump, op_name, plural, verdict, with_damage};
use crate::cli::output::Object;
use crate::inspect::Op;
use crate::inspect::wal::{Content, LogFrame, LogItem, LogTotals};
use crate::types::SeqNo;

/// Prints a part, and in NDJSON what is to say about it.
pub(super) fn item(
    dump: &mut Dump<'_>,
    item: &LogItem<'_>,
    with_ops: bool,
    filter: &mut Filter,
) -> Outcome<()> {
    match item {
        LogItem::Header(header) => dump.header(header)?,
        LogItem::Hole(hole) => dump.hole(hole)?,
        LogItem::Unused { offset, size } => dump.unused(*offset, *size)?,
        LogItem::Frame(frame) if filter.shows(frame) => {
            print_frame(dump, frame)?;
            let ops = frame.content.ops().filter(|_| with_ops);
            for (seqno, op) in ops.filter(|(seqno, op)| filter.shows_op(*seqno, op)) {
                print_op(dump, seqno, op)?;
            }
        }
        LogItem::Frame(_) => {}
    }
    dump.finding(item.finding())
}

/// The last line about a file.
pub(super) fn end_of_file(dump: &mut Dump<'_>, path: &Path, totals: &LogTotals) -> Outcome<()> {
    if !dump.out.is_json() {
        let range = match (totals.first_seqno, totals.last_seqno) {
            (Some(first), Some(last)) => format!(" (seqno {first}..{last})"),
            _ => String::new(),
        };
        let missing = match totals.ops_missing {
            0 => String::new(),
            count => format!(", {} missing", plural(count, "operation")),
        };
        let gaps = match totals.gaps {
            0 => String::new(),
            count => format!(", {}", plural(count, "gap")),
        };
        dump.out.line(format!(
            "{}: {}, {}, {}{range}{missing}{gaps}, {}",
            path.display(),
            plural(totals.frames, "frame"),
            batches(totals.batches),
            plural(totals.ops, "operation"),
            damage_count(totals.damaged),
        ))?;
    }
    dump.complain(path, totals.damaged)
}

pub(super) fn summary(summary: Object, all: &LogTotals, shown: Option<u64>) -> Object {
    let summary = summary
        .number("frames", all.frames)
        .number("batches", all.batches)
        .number("ops", all.ops)
        .number("ops_missing", all.ops_missing)
        .number("torn", all.torn)
        .number("gaps", all.gaps)
        .number("damaged", all.damaged);
    shown.into_iter().fold(summary, |summary, shown| summary.number("shown", shown))
}

/// `1 batch`, `2 batches`.
pub(super) fn batches(count: u64) -> String {
    if count == 1 { "1 batch".to_owned() } else { format!("{count} batches") }
}

/// The end of a file's last line.
pub(in crate::cli::dump) fn damage_count(damaged: u64) -> String {
    match damaged {
        0 => "no damage".to_owned(),
        count => plural(count, "damaged place"),
    }
}

pub(super) fn print_frame(dump: &mut Dump<'_>, frame: &LogFrame<'_>) -> Outcome<()> {
    if dump.out.is_json() {
        return dump.out.object(&frame_object(frame));
    }
    dump.out.line(frame_line(frame))
}

fn print_op(dump: &mut Dump<'_>, seqno: SeqNo, op: Op<'_>) -> Outcome<()> {
    if dump.out.is_json() {
        let object = Object::new("op").number("seqno", seqno.0);
        let object = object.text("kind", op_name(Some(op.kind()))).bytes("key", op.key());
        return dump.out.object(&match op {
            Op::Put { value, .. } => object.bytes("value", value),
            Op::Delete { .. } => object,
        });
    }
    let key = dump.quoted(op.key());
    let line = match op {
        Op::Put { value, .. } => format!("    {key}#{seqno},PUT = {}", dump.quoted(value)),
        Op::Delete { .. } => format!("    {key}#{seqno},DEL"),
    };
    dump.out.line(line)
}

fn frame_line(frame: &LogFrame<'_>) -> String {
    let LogFrame { offset, size, kind, synced_upto, .. } = frame;
    let content = match &frame.content {
        Content::Batch(payload, count) => {
            format!("seqno {}, {}, ", payload.first, plural(*count, "op"))
        }
        Content::Mark(mark) => {
            format!("manifest {} is synced to {:#x}, ", mark.manifest, mark.manifest_synced)
        }
        Content::Close(close) => format!(
            "log ends at {:#x}, manifest {} is synced to {:#x}, ",
            close.log_end, close.manifest, close.manifest_synced
        ),
        Content::End(end) => format!("log ends at {:#x}, ", end.log_end),
        Content::Gap(_) | Content::Nonsense => String::new(),
    };
    // Padded as text: `Display` of a kind knows no width.
    let kind = kind.to_string();
    let mut line =
        format!("{offset:#010x} {size:>8} {kind:<5} ok  {content}synced_upto {synced_upto:#x}");
    if let Some(finding) = &frame.finding {
        line += &format!("  {}", verdict(finding));
    }
    line
}

fn frame_object(frame: &LogFrame<'_>) -> Object {
    let object = Object::new("frame")
        .number("offset", frame.offset)
        .number("size", frame.size)
        .text("kind", &frame.kind.to_string())
        .number("synced_upto", frame.synced_upto);
    let object = match &frame.content {
        Content::Batch(payload, count) => {
            object.number("seqno", payload.first.0).number("ops", *count)
        }
        Content::Mark(mark) => object
            .number("manifest", mark.manifest.0)
            .number("manifest_synced", mark.manifest_synced),
        Content::Close(close) => object
            .number("log_end", close.log_end)
            .number("manifest", close.manifest.0)
            .number("manifest_synced", close.manifest_synced),
        Content::End(end) => object.number("log_end", end.log_end),
        Content::Gap(gap) => {
            let object = object.number("gap_offset", gap.offset).number("gap_size", gap.size);
            let sides = [
                ("seqno_before", frame.sides.0.map(|seqno| seqno.0)),
                ("seqno_after", frame.sides.1.map(|seqno| seqno.0)),
                ("ops_missing", frame.ops_missing()),
            ];
            sides.into_iter().fold(object, |object, (name, number)| match number {
                Some(number) => object.number(name, number),
                None => object,
            })
        }
        Content::Nonsense => object,
    };
    with_damage(object, frame.damage())
}
