//! Tab-separated dumps: key and value in `escape`, so that `scan`'s output can be loaded too.

use std::io::{self, Write};
use std::str;

use super::{DUMP_VERSION, Item, Lines, Parse, Problem, Record, Total};
use crate::cli::encode::Encoding;

pub(super) struct Parser;

impl Parse for Parser {
    fn next(&mut self, lines: &mut Lines) -> Option<Result<Item, Problem>> {
        lines.next_parsed(parse)
    }
}

/// A record has exactly one tab, header and end line have none: no key can be taken for them.
fn parse(line: &[u8]) -> Result<Item, String> {
    let mut cells = line.split(|byte| *byte == b'\t');
    match (cells.next(), cells.next(), cells.next()) {
        (Some(key), Some(value), None) => Ok(Item::Record(Record {
            key: Encoding::Escape.decode(key).map_err(|why| format!("key: {why}"))?,
            value: Encoding::Escape.decode(value).map_err(|why| format!("value: {why}"))?,
        })),
        (Some(line), None, _) => parse_mark(line),
        _ => Err("more than one tab (a tab within a value is written \\t)".to_owned()),
    }
}

fn parse_mark(line: &[u8]) -> Result<Item, String> {
    let words: Vec<&str> = str::from_utf8(line).unwrap_or_default().split(' ').collect();
    match words[..] {
        ["#beach-dump", version] => match version.strip_prefix("version=") {
            Some(number) if number == DUMP_VERSION.to_string() => Ok(Item::Header),
            _ => Err(format!("a dump with {version}, this program reads {DUMP_VERSION}")),
        },
        ["#end", records, crc32] => {
            let records = records.strip_prefix("records=").unwrap_or_default();
            let crc32 = crc32.strip_prefix("crc32=").unwrap_or_default();
            let total = Total::parse(records, crc32).ok_or("the end line is not readable")?;
            Ok(Item::End(total))
        }
        _ => Err("no tab between key and value".to_owned()),
    }
}

pub(super) fn is_header(line: &[u8]) -> bool {
    line.starts_with(b"#beach-dump ")
}

pub(super) fn write_header(out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "#beach-dump version={DUMP_VERSION}")
}

pub(super) fn write_record(out: &mut dyn Write, key: &[u8], value: &[u8]) -> io::Result<()> {
    writeln!(out, "{}\t{}", Encoding::Escape.encode(key), Encoding::Escape.encode(value))
}

pub(super) fn write_end(out: &mut dyn Write, total: Total) -> io::Result<()> {
    writeln!(out, "#end records={} crc32={:08x}", total.records, total.crc32)
}
