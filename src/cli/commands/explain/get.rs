//! `explain get`: a get as it runs.

use crate::cli::args::{Args, ExplainGetArgs};
use crate::cli::commands::session;
use crate::cli::dump::op_name;
use crate::cli::output::{Object, Table};
use crate::cli::{Out, Outcome, Status};
use crate::{Trace, TraceOutcome, TracePlace, TraceStep, ValueKind};

pub(super) fn get(args: &Args, wanted: &ExplainGetArgs, out: &mut Out) -> Outcome {
    let key = args.common.decode("KEY", &wanted.key)?;
    let (trace, value) = session::read(args, out, |db| match db.get_traced(&key) {
        (_, Err(error @ crate::Error::Moved { .. })) => Err(error),
        (trace, value) => Ok((trace, value.map(|value| value.map(|value| value.len())))),
    })?;
    if out.is_json() {
        for (number, step) in (1..).zip(&trace.steps) {
            out.object(&object(number, step))?;
        }
    } else if !trace.steps.is_empty() {
        print(&trace, out)?;
    }
    // What went wrong comes behind the steps that led there.
    let value = value?;
    if out.is_json() {
        out.summary(summary(&trace, &key, value))?;
    } else {
        out.line(verdict(&trace, value))?;
    }
    Ok(if value.is_some() { Status::Done } else { Status::Negative })
}

fn print(trace: &Trace, out: &mut Out) -> Outcome<()> {
    let mut table = Table::new(&["step", "where", "outcome", "block", "from", "read", "µs"]);
    for (number, step) in (1..).zip(&trace.steps) {
        let (block, from) = match &step.block {
            Some(block) => (
                format!("{} at {:#x}", block.position, block.offset),
                if block.cached { "cache" } else { "disk" },
            ),
            None => ("-".to_owned(), "-"),
        };
        table.row([
            format!("{number}"),
            place(&step.place),
            outcome(step),
            block,
            from.to_owned(),
            format!("{} B", step.bytes_read),
            us(step.ns),
        ]);
    }
    out.table(&table)
}

fn verdict(trace: &Trace, value: Option<usize>) -> String {
    let answer = match (value, trace.steps.last().map(|step| step.outcome)) {
        (Some(size), _) => format!("a value of {size} bytes"),
        (None, Some(TraceOutcome::Found { .. })) => "deleted".to_owned(),
        (None, _) => "not found".to_owned(),
    };
    let (seqno, read, us) = (trace.seqno, bytes_read(trace), us(trace.ns));
    format!("{answer}; as of seqno {seqno}, {read} bytes read, {us} µs")
}

fn place(place: &TracePlace) -> String {
    match place {
        TracePlace::Memtable => "memtable (from the log)".to_owned(),
        TracePlace::Immutable(number) => format!("immutable memtable {number}"),
        TracePlace::Table { level, path, .. } => {
            let name = path.file_name().unwrap_or_default();
            format!("{level} {}", name.display())
        }
        TracePlace::Level(level, count) => format!("{level}, {count} tables"),
    }
}

fn outcome(step: &TraceStep) -> String {
    let outcome = match step.outcome {
        TraceOutcome::OutOfRange => "skipped: the key lies outside of its range".to_owned(),
        TraceOutcome::TooNew => "skipped: all in it is newer".to_owned(),
        TraceOutcome::FilterNegative => "skipped: the filter says no".to_owned(),
        TraceOutcome::FalsePositive => "not there, though the filter said perhaps".to_owned(),
        TraceOutcome::Absent => "not there".to_owned(),
        TraceOutcome::Found { seqno, kind: Some(ValueKind::Delete), .. } => {
            format!("tombstone #{seqno}")
        }
        TraceOutcome::Found { seqno, value_size, .. } => {
            format!("value #{seqno}, {value_size} bytes")
        }
        TraceOutcome::Failed => "could not be read".to_owned(),
    };
    if step.was_opened { format!("{outcome}; opened") } else { outcome }
}

fn us(ns: u64) -> String {
    format!("{}.{}", ns / 1000, ns % 1000 / 100)
}

fn bytes_read(trace: &Trace) -> u64 {
    trace.steps.iter().map(|step| step.bytes_read).sum()
}

fn object(number: u64, step: &TraceStep) -> Object {
    let mut object = Object::new("step").number("step", number);
    object = match &step.place {
        TracePlace::Memtable => object.text("where", "memtable"),
        TracePlace::Immutable(number) => {
            object.text("where", "immutable").number("immutable", *number as u64)
        }
        TracePlace::Table { level, path, .. } => object
            .text("where", "table")
            .number("level", u64::from(level.0))
            .bytes("path", path.as_os_str().as_encoded_bytes()),
        TracePlace::Level(level, count) => object
            .text("where", "level")
            .number("level", u64::from(level.0))
            .number("tables", *count as u64),
    };
    object = object.text("outcome", outcome_name(step.outcome));
    if let TraceOutcome::Found { seqno, kind, value_size } = step.outcome {
        object = object.number("seqno", seqno.0).text("kind", op_name(kind));
        object = object.number("value_size", value_size);
    }
    if let Some(block) = &step.block {
        object = object
            .number("block", block.position as u64)
            .number("offset", block.offset)
            .number("size", block.size)
            .value("cached", block.cached);
    }
    object
        .value("opened", step.was_opened)
        .number("bytes_read", step.bytes_read)
        .value("us", step.ns as f64 / 1000.0)
}

fn outcome_name(outcome: TraceOutcome) -> &'static str {
    match outcome {
        TraceOutcome::OutOfRange => "out_of_range",
        TraceOutcome::TooNew => "too_new",
        TraceOutcome::FilterNegative => "filter_negative",
        TraceOutcome::FalsePositive => "false_positive",
        TraceOutcome::Absent => "absent",
        TraceOutcome::Found { .. } => "found",
        TraceOutcome::Failed => "failed",
    }
}

fn summary(trace: &Trace, key: &[u8], value: Option<usize>) -> Object {
    let summary = Object::summary().bytes("key", key).value("found", value.is_some());
    let summary = match value {
        Some(size) => summary.number("value_size", size as u64),
        None => summary,
    };
    summary
        .number("seqno", trace.seqno.0)
        .number("bytes_read", bytes_read(trace))
        .value("us", trace.ns as f64 / 1000.0)
}
