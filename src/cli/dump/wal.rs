//! `beach-walDump`.

use std::path::PathBuf;

use super::{Dump, op_name, plural, verdict, with_damage};
use crate::cli::args::{self, Common};
use crate::cli::output::Object;
use crate::cli::{Out, Outcome};
use crate::inspect::Op;
use crate::inspect::wal::{Content, LogFrame, LogItem, LogTotals, read_log};
use crate::types::SeqNo;
use crate::vfs::File;

const EXAMPLES: &str = "\
Examples:
  beach-walDump shop/000002.wal
  beach-walDump --ops shop
  beach-walDump --json --ops shop | grep '\"t\":\"hole\"'";

/// Show a write-ahead log, record by record, damage included.
///
/// A directory stands for its live logs. Exit status 3 when something is damaged; a tail that a
/// crash explains is shown and is no damage.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "beach-walDump", before_help = EXAMPLES, version = args::version())]
pub struct WalArgs {
    /// Logs, or stores' directories
    #[arg(required = true, value_name = "FILE|DIR")]
    pub paths: Vec<PathBuf>,
    /// List the operations of each batch
    #[arg(long)]
    pub ops: bool,
    /// How to print.
    #[command(flatten)]
    pub common: Common,
}

pub(super) fn dump(args: &WalArgs, out: &mut Out) -> Outcome {
    let mut dump = Dump::new(out, &args.common);
    let mut all = LogTotals::default();
    dump.all(
        &args.paths,
        |live| live.logs,
        |dump, file, expect| {
            let totals = read_log(file, &expect, &mut |item| {
                print(dump, &item, args.ops)?;
                dump.finding(item.finding())
            })?;
            end_of_file(dump, file, &totals)?;
            add(&mut all, &totals);
            Ok(totals.damaged == 0)
        },
    )?;
    dump.end(|summary| {
        summary
            .number("frames", all.frames)
            .number("batches", all.batches)
            .number("ops", all.ops)
            .number("ops_missing", all.ops_missing)
            .number("torn", all.torn)
            .number("damaged", all.damaged)
    })
}

fn add(all: &mut LogTotals, one: &LogTotals) {
    all.frames += one.frames;
    all.batches += one.batches;
    all.ops += one.ops;
    all.ops_missing += one.ops_missing;
    all.torn += one.torn;
    all.damaged += one.damaged;
}

fn end_of_file(dump: &mut Dump<'_>, file: &dyn File, totals: &LogTotals) -> Outcome<()> {
    if !dump.out.is_json() {
        let range = match (totals.first_seqno, totals.last_seqno) {
            (Some(first), Some(last)) => format!(" (seqno {first}..{last})"),
            _ => String::new(),
        };
        let missing = match totals.ops_missing {
            0 => String::new(),
            count => format!(", {} missing", plural(count, "operation")),
        };
        dump.out.line(format!(
            "{}: {}, {}, {}{range}{missing}, {}",
            file.path().display(),
            plural(totals.frames, "frame"),
            match totals.batches {
                1 => "1 batch".to_owned(),
                count => format!("{count} batches"),
            },
            plural(totals.ops, "operation"),
            damage_count(totals.damaged),
        ))?;
    }
    dump.complain(file.path(), totals.damaged)
}

/// The end of a file's last line.
pub(super) fn damage_count(damaged: u64) -> String {
    match damaged {
        0 => "no damage".to_owned(),
        count => plural(count, "damaged place"),
    }
}

fn print(dump: &mut Dump<'_>, item: &LogItem<'_>, with_ops: bool) -> Outcome<()> {
    match item {
        LogItem::Header(header) => dump.header(header),
        LogItem::Hole(hole) => dump.hole(hole),
        LogItem::Unused { offset, size } => dump.unused(*offset, *size),
        LogItem::Frame(frame) => {
            if dump.out.is_json() {
                dump.out.object(&frame_object(frame))?;
            } else {
                dump.out.line(frame_line(frame))?;
            }
            if with_ops {
                for (seqno, op) in frame.content.ops() {
                    print_op(dump, seqno, op)?;
                }
            }
            Ok(())
        }
    }
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
        Content::Gap(gap) => {
            format!("{} left out from {:#x} on, ", plural(gap.size, "byte"), gap.offset)
        }
        Content::Nonsense => String::new(),
    };
    // Padded as text: `Display` of a kind knows no width.
    let kind = kind.to_string();
    let mut line =
        format!("{offset:#010x} {size:>8} {kind:<5} ok  {content}synced_upto {synced_upto:#x}");
    if let Some(damage) = &frame.damage {
        line += &format!("  {}", verdict(damage));
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
        Content::Gap(gap) => object.number("gap_offset", gap.offset).number("gap_size", gap.size),
        Content::Nonsense => object,
    };
    with_damage(object, frame.damage.as_ref())
}
