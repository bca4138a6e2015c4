//! `beach-sstDump`.

use std::path::PathBuf;

use super::wal::damage_count;
use super::{Dump, op_name, plural, verdict, with_damage};
use crate::cli::args::{self, Common};
use crate::cli::finding;
use crate::cli::output::Object;
use crate::cli::{Out, Outcome};
use crate::inspect::table::{
    BlockReport, EntryReport, FilterReport, FooterReport, TableItem, TableTotals, read_table,
};
use crate::inspect::{Handle, Properties, utc};
use crate::types::{FileNumber, ValueKind};
use crate::vfs::File;

const EXAMPLES: &str = "\
Examples:
  beach-sstDump shop/000007.sst
  beach-sstDump --entries shop/000007.sst
  beach-sstDump --json shop";

/// Show a sorted table: footer, properties, filter, index, blocks, entries.
///
/// A directory stands for its live tables. Exit status 3 when something is damaged; reading goes on
/// behind damaged blocks.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "beach-sstDump", before_help = EXAMPLES, version = args::version())]
pub struct TableArgs {
    /// Tables, or stores' directories
    #[arg(required = true, value_name = "FILE|DIR")]
    pub paths: Vec<PathBuf>,
    /// List the entries of each block
    #[arg(long)]
    pub entries: bool,
    /// How to print.
    #[command(flatten)]
    pub common: Common,
}

pub(super) fn dump(args: &TableArgs, out: &mut Out) -> Outcome {
    let mut dump = Dump::new(out, &args.common);
    let (mut blocks, mut entries, mut tombstones, mut damaged) = (0, 0, 0, 0);
    dump.all(
        &args.paths,
        |live| live.tables,
        |dump, file, _level| {
            let totals = read_table(file, args.entries, &mut |item| {
                print(dump, &item)?;
                dump.finding(item.finding())
            })?;
            end_of_file(dump, file, &totals)?;
            blocks += totals.blocks;
            entries += totals.entries;
            tombstones += totals.tombstones;
            damaged += totals.damaged;
            Ok(totals.damaged == 0)
        },
    )?;
    dump.end(|summary| {
        summary
            .number("blocks", blocks)
            .number("entries", entries)
            .number("tombstones", tombstones)
            .number("damaged", damaged)
    })
}

fn end_of_file(dump: &mut Dump<'_>, file: &dyn File, totals: &TableTotals) -> Outcome<()> {
    if !dump.out.is_json() {
        dump.out.line(format!(
            "{}: {}, {}, {}, {}",
            file.path().display(),
            plural(totals.blocks, "block"),
            entry_count(totals.entries),
            plural(totals.tombstones, "tombstone"),
            damage_count(totals.damaged),
        ))?;
    }
    dump.complain(file.path(), totals.damaged)
}

pub(super) fn entry_count(count: u64) -> String {
    if count == 1 { "1 entry".to_owned() } else { format!("{count} entries") }
}

fn print(dump: &mut Dump<'_>, item: &TableItem<'_>) -> Outcome<()> {
    match item {
        TableItem::Footer(report) => footer(dump, report),
        TableItem::Properties(handle, properties) => properties_of(dump, *handle, properties),
        TableItem::Filter(handle, report) => filter(dump, *handle, report),
        TableItem::Index(handle, blocks) => index(dump, *handle, *blocks),
        TableItem::Block(report) => block(dump, report),
        TableItem::Entry(report) => entry(dump, report),
        TableItem::Damage(damage) => {
            let offset = damage.offset.unwrap_or_default();
            if dump.out.is_json() {
                let object = Object::new("damage").number("offset", offset);
                return dump.out.object(&object.text("detail", &finding::detail(damage)));
            }
            dump.out.line(format!("{offset:#010x} {}", verdict(damage)))
        }
    }
}

fn footer(dump: &mut Dump<'_>, report: &FooterReport) -> Outcome<()> {
    if dump.out.is_json() {
        let object = Object::new("header")
            .bytes("path", report.path.as_os_str().as_encoded_bytes())
            .text("kind", "table")
            .number("size", report.size)
            .number("footer_offset", report.offset);
        let object = match &report.footer {
            Some(footer) => object
                .number("format_version", u64::from(footer.version))
                .text("id", &footer.id.to_string()),
            None => object,
        };
        return dump.out.object(&with_damage(object, report.damage.as_ref()));
    }
    let (path, size, offset) = (report.path.display(), report.size, report.offset);
    let what = match &report.footer {
        Some(footer) => format!(", format {}, id {}", footer.version, footer.id),
        None => String::new(),
    };
    dump.out.line(format!("{path}: table{what}, {size} bytes"))?;
    let verdict = match &report.damage {
        Some(damage) => verdict(damage),
        None => "ok".to_owned(),
    };
    dump.out.line(format!("{offset:#010x} {:>8} footer      {verdict}", size - offset))
}

fn properties_of(dump: &mut Dump<'_>, handle: Handle, properties: &Properties) -> Outcome<()> {
    if dump.out.is_json() {
        return dump.out.object(&properties_object(handle, properties));
    }
    let Properties { store, number, writer, origin, job, level, created_ms, .. } = properties;
    let Properties { entries, tombstones, distinct_keys, min_seqno, max_seqno, .. } = properties;
    let Properties { raw_key_bytes, raw_value_bytes, data_blocks, data_bytes, .. } = properties;
    let inputs = match &properties.inputs[..] {
        [] => "none".to_owned(),
        inputs => inputs.iter().map(FileNumber::to_string).collect::<Vec<_>>().join(" "),
    };
    let (smallest, largest) = (dump.key(&properties.smallest), dump.key(&properties.largest));
    dump.out.line(place(handle, "properties", "ok"))?;
    for line in [
        format!("store {store}, number {number}, written by {writer}"),
        format!(
            "from {origin}, job {job}, for {level}, inputs {inputs}, made {}",
            utc(*created_ms)
        ),
        format!(
            "{}, {}, {}",
            entry_count(*entries),
            plural(*tombstones, "tombstone"),
            plural(*distinct_keys, "distinct key")
        ),
        format!("seqno {min_seqno}..{max_seqno}, {smallest} .. {largest}"),
        format!("{raw_key_bytes} bytes of keys, {raw_value_bytes} bytes of values"),
        format!(
            "{} of {data_bytes} bytes, order {}",
            plural(*data_blocks, "data block"),
            properties.comparator
        ),
    ] {
        dump.out.line(format!("    {line}"))?;
    }
    Ok(())
}

fn properties_object(handle: Handle, properties: &Properties) -> Object {
    let inputs: Vec<u64> = properties.inputs.iter().map(|number| number.0).collect();
    Object::new("properties")
        .number("offset", handle.offset)
        .number("size", u64::from(handle.size))
        .text("store", &properties.store.to_string())
        .number("number", properties.number.0)
        .text("writer", &properties.writer)
        .text("origin", &properties.origin.to_string())
        .number("job", properties.job)
        .number("level", u64::from(properties.level.0))
        .value("inputs", inputs)
        .number("created_ms", properties.created_ms)
        .text("created", &utc(properties.created_ms))
        .number("entries", properties.entries)
        .number("tombstones", properties.tombstones)
        .number("distinct_keys", properties.distinct_keys)
        .number("raw_key_bytes", properties.raw_key_bytes)
        .number("raw_value_bytes", properties.raw_value_bytes)
        .bytes("smallest", &properties.smallest.user)
        .bytes("largest", &properties.largest.user)
        .number("min_seqno", properties.min_seqno.0)
        .number("max_seqno", properties.max_seqno.0)
        .number("data_blocks", properties.data_blocks)
        .number("data_bytes", properties.data_bytes)
        .text("comparator", &properties.comparator)
}

fn filter(dump: &mut Dump<'_>, handle: Handle, report: &FilterReport) -> Outcome<()> {
    let FilterReport { probes, lines, fill } = *report;
    if dump.out.is_json() {
        let object = Object::new("filter")
            .number("offset", handle.offset)
            .number("size", u64::from(handle.size))
            .number("probes", u64::from(probes))
            .number("lines", lines)
            .value("fill", (fill * 10_000.0).round() / 10_000.0);
        return dump.out.object(&object);
    }
    let detail = match lines {
        0 => "none: every key passes".to_owned(),
        _ => format!(
            "{}, {} a key, {:.1} % of bits set",
            plural(lines, "line"),
            plural(u64::from(probes), "probe"),
            fill * 100.0
        ),
    };
    dump.out.line(format!("{}  {detail}", place(handle, "filter", "ok")))
}

fn index(dump: &mut Dump<'_>, handle: Handle, blocks: u64) -> Outcome<()> {
    if dump.out.is_json() {
        let object = Object::new("index")
            .number("offset", handle.offset)
            .number("size", u64::from(handle.size))
            .number("blocks", blocks);
        return dump.out.object(&object);
    }
    dump.out.line(format!("{}  {}", place(handle, "index", "ok"), plural(blocks, "block")))
}

fn block(dump: &mut Dump<'_>, report: &BlockReport) -> Outcome<()> {
    if dump.out.is_json() {
        return dump.out.object(&block_object(report));
    }
    let word = if report.damage.is_some() { "DAMAGED" } else { "ok" };
    let mut line = place(report.handle, &format!("block {}", report.position), word);
    if let Some((compression, size)) = report.stored {
        line += &format!("  {compression}, {size} bytes of content");
    }
    if let Some((first, last)) = &report.bounds {
        line += &format!(", {}, {} .. ", entry_count(report.entries), dump.key(first));
        line += &dump.key(last);
    }
    if let Some(damage) = &report.damage {
        line += &format!("  {}: {}", damage.code, finding::detail(damage));
    }
    dump.out.line(line)
}

fn block_object(report: &BlockReport) -> Object {
    let mut object = Object::new("block")
        .number("block", report.position)
        .number("offset", report.handle.offset)
        .number("size", u64::from(report.handle.size));
    if let Some((compression, size)) = report.stored {
        object = object.text("compression", &compression.to_string());
        object = object.number("content_size", u64::from(size));
    }
    if let Some((first, last)) = &report.bounds {
        object = object
            .number("entries", report.entries)
            .bytes("first", &first.user)
            .bytes("last", &last.user);
    }
    with_damage(object, report.damage.as_ref())
}

fn entry(dump: &mut Dump<'_>, report: &EntryReport<'_>) -> Outcome<()> {
    let (kind, seqno) = (report.trailer.kind(), report.trailer.seqno());
    if dump.out.is_json() {
        let object = Object::new("entry")
            .bytes("key", report.key)
            .number("seqno", seqno.0)
            .text("kind", op_name(kind));
        let is_put = kind == Some(ValueKind::Put);
        return dump.out.object(&match is_put {
            true => object.bytes("value", report.value),
            false => object,
        });
    }
    let key = dump.quoted(report.key);
    let line = match kind {
        Some(ValueKind::Put) => format!("    {key}#{seqno},PUT = {}", dump.quoted(report.value)),
        Some(ValueKind::Delete) => format!("    {key}#{seqno},DEL"),
        None => format!("    {key}#{seqno},kind {}", report.trailer.0 as u8),
    };
    dump.out.line(line)
}

/// The beginning of a part's line.
fn place(handle: Handle, name: &str, verdict: &str) -> String {
    format!("{:#010x} {:>8} {name:<11} {verdict}", handle.offset, handle.size)
}
