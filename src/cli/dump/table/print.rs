//! The parts of a table, as text or NDJSON.

use std::io::Write;

use crate::cli::Outcome;
use crate::cli::dump::{Dump, op_name, plural, verdict, with_damage};
use crate::cli::encode::Encoding;
use crate::cli::finding;
use crate::cli::output::Object;
use crate::inspect::table::{BlockReport, EntryReport, FilterReport, FooterReport, TableItem};
use crate::inspect::{Finding, Handle, Properties, utc};
use crate::types::{FileNumber, Level, ValueKind};

/// `1 entry`, `5 entries`.
pub(in crate::cli::dump) fn entry_count(count: u64) -> String {
    if count == 1 { "1 entry".to_owned() } else { format!("{count} entries") }
}

/// Prints one table's parts.
#[derive(Debug, Default)]
pub(super) struct Printer {
    level: Option<Level>,
    /// The place of the damage told last: the part that follows it there was mended for reading.
    mended: Option<u64>,
    /// Memory for a line.
    line: Vec<u8>,
}

impl Printer {
    pub(super) fn new(level: Option<Level>) -> Printer {
        Printer { level, ..Printer::default() }
    }

    /// Prints a part, and in NDJSON what is wrong with it.
    pub(super) fn item(&mut self, dump: &mut Dump<'_>, item: &TableItem<'_>) -> Outcome<()> {
        if let TableItem::Entry(report) = item {
            return entry(dump, &mut self.line, report);
        }
        self.print(dump, item)?;
        match item.finding() {
            Some(found) => dump.finding(Some(&found.clone().in_level(self.level))),
            None => Ok(()),
        }
    }

    fn verdict(&self, handle: Handle) -> &'static str {
        if self.mended == Some(handle.offset) { "mended for reading" } else { "ok" }
    }

    fn print(&mut self, dump: &mut Dump<'_>, item: &TableItem<'_>) -> Outcome<()> {
        match item {
            TableItem::Footer(report) => footer(dump, report),
            TableItem::Properties(handle, properties) => {
                properties_of(dump, *handle, properties, self.verdict(*handle))
            }
            TableItem::Filter(handle, report) => {
                filter(dump, *handle, report, self.verdict(*handle))
            }
            TableItem::Index(handle, blocks) => {
                index(dump, *handle, *blocks, self.verdict(*handle))
            }
            TableItem::Block(report) => block(dump, report),
            TableItem::Entry(_) => Ok(()),
            TableItem::Damage(damage) => {
                self.mended = damage.offset;
                let offset = damage.offset.unwrap_or_default();
                if dump.out.is_json() {
                    let object = Object::new("damage").number("offset", offset);
                    return dump.out.object(&object.text("detail", &finding::detail(damage)));
                }
                dump.out.line(format!("{offset:#010x} {}{}", verdict(damage), keys(dump, damage)))
            }
        }
    }
}

/// The keys that a finding is about.
pub(super) fn keys(dump: &Dump<'_>, found: &Finding) -> String {
    match &found.keys {
        Some((first, last)) => format!(" [{} .. {}]", dump.quoted(first), dump.quoted(last)),
        None => String::new(),
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
    dump.out.line(format!("{offset:#010x} {:>8} footer      {verdict}", report.end - offset))
}

fn properties_of(
    dump: &mut Dump<'_>,
    handle: Handle,
    properties: &Properties,
    verdict: &str,
) -> Outcome<()> {
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
    dump.out.line(place(handle, "properties", verdict))?;
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

fn filter(
    dump: &mut Dump<'_>,
    handle: Handle,
    report: &FilterReport,
    verdict: &str,
) -> Outcome<()> {
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
    dump.out.line(format!("{}  {detail}", place(handle, "filter", verdict)))
}

fn index(dump: &mut Dump<'_>, handle: Handle, blocks: u64, verdict: &str) -> Outcome<()> {
    if dump.out.is_json() {
        let object = Object::new("index")
            .number("offset", handle.offset)
            .number("size", u64::from(handle.size))
            .number("blocks", blocks);
        return dump.out.object(&object);
    }
    dump.out.line(format!("{}  {}", place(handle, "index", verdict), plural(blocks, "block")))
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
        if report.bounds.is_none() {
            line += &keys(dump, damage);
        }
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

/// Prints an entry by way of `line`: there may be millions, so nothing is allocated for one.
fn entry(dump: &mut Dump<'_>, line: &mut Vec<u8>, report: &EntryReport<'_>) -> Outcome<()> {
    line.clear();
    if dump.out.is_json() {
        entry_object(line, report);
    } else {
        line.extend_from_slice(b"    ");
        entry_text(dump, line, report);
    }
    line.push(b'\n');
    dump.out.bytes(line)
}

/// Appends `"bar"#14,PUT = "value"`.
pub(super) fn entry_text(dump: &Dump<'_>, line: &mut Vec<u8>, report: &EntryReport<'_>) {
    let encoding = dump.common.enc.unwrap_or_default();
    line.push(b'"');
    encoding.encode_into(line, report.key);
    // Writing to memory cannot fail.
    let _ = write!(line, "\"#{}", report.trailer.seqno());
    match report.trailer.kind() {
        Some(ValueKind::Put) => {
            line.extend_from_slice(b",PUT = \"");
            encoding.encode_into(line, report.value);
            line.push(b'"');
        }
        Some(ValueKind::Delete) => line.extend_from_slice(b",DEL"),
        None => {
            let _ = write!(line, ",kind {}", report.trailer.0 as u8);
        }
    }
}

/// Appends what an [`Object`] with the same fields would print.
fn entry_object(line: &mut Vec<u8>, report: &EntryReport<'_>) {
    let kind = report.trailer.kind();
    line.extend_from_slice(b"{\"t\":\"entry\",");
    json_bytes(line, "key", report.key);
    // Writing to memory cannot fail.
    let _ = write!(line, ",\"seqno\":{},\"kind\":\"{}\"", report.trailer.seqno(), op_name(kind));
    if kind == Some(ValueKind::Put) {
        line.push(b',');
        json_bytes(line, "value", report.value);
    }
    line.push(b'}');
}

/// Appends a byte string as [`Object::bytes`] does.
fn json_bytes(line: &mut Vec<u8>, name: &str, bytes: &[u8]) {
    match str::from_utf8(bytes) {
        Ok(text) => {
            let _ = write!(line, "\"{name}\":");
            let _ = serde_json::to_writer(line, text);
        }
        Err(_) => {
            let _ = write!(line, "\"{name}_b64\":\"");
            Encoding::Base64.encode_into(line, bytes);
            line.push(b'"');
        }
    }
}

/// The beginning of a part's line.
fn place(handle: Handle, name: &str, verdict: &str) -> String {
    format!("{:#010x} {:>8} {name:<11} {verdict}", handle.offset, handle.size)
}
