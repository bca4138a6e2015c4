//! JSON, one object a line: dumps, and the operations that `apply` reads.
//!
//! A byte string is `"key":"..."` when it is UTF-8, else `"key_b64":"..."`. Fields that are not
//! known are stepped over, for later versions may add some.

use std::io::{self, Write};

use serde_json::{Map, Value};

use super::{DUMP_VERSION, Item, Lines, Parse, Problem, Record, Total};
use crate::cli::encode::decode_base64;
use crate::cli::output::Object;

type Fields = Map<String, Value>;

pub(super) struct Parser;

impl Parse for Parser {
    fn next(&mut self, lines: &mut Lines) -> Option<Result<Item, Problem>> {
        lines.next_parsed(parse)
    }
}

fn parse(line: &[u8]) -> Result<Item, String> {
    let fields = parse_object(line)?;
    let number = |name| fields.get(name).and_then(Value::as_u64);
    match text(&fields, "t")?.unwrap_or("entry") {
        "entry" if fields.contains_key("op") => {
            Err("this is an operation, not an entry; run: beach apply FILE".to_owned())
        }
        "entry" => Ok(Item::Record(Record {
            key: required(&fields, "key")?,
            value: required(&fields, "value")?,
        })),
        "dump" if number("version") == Some(DUMP_VERSION) => Ok(Item::Header),
        "dump" => Err(format!("a dump of another version, this program reads {DUMP_VERSION}")),
        "summary" => {
            let records = number("records").map(|count| count.to_string()).unwrap_or_default();
            let crc32 = text(&fields, "crc32")?.unwrap_or_default();
            let total = Total::parse(&records, crc32).ok_or("the end line is not readable")?;
            Ok(Item::End(total))
        }
        other => Err(format!("unknown kind of object {other:?}")),
    }
}

/// One operation of `apply`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `{"op":"put","key":..,"value":..}`
    Put(Record),
    /// `{"op":"del","key":..}`
    Delete(Vec<u8>),
    /// `{"op":"commit"}`: what came before is one batch.
    Commit,
}

/// Reads a line of `apply`'s input.
///
/// # Errors
/// What is wrong with it; the caller adds the line's number.
pub fn parse_operation(line: &[u8]) -> Result<Operation, String> {
    let fields = parse_object(line)?;
    match text(&fields, "op")? {
        Some("put") => {
            let record =
                Record { key: required(&fields, "key")?, value: required(&fields, "value")? };
            super::check_sizes(&record.key, &record.value)?;
            Ok(Operation::Put(record))
        }
        Some("del") => {
            let key = required(&fields, "key")?;
            super::check_sizes(&key, b"")?;
            Ok(Operation::Delete(key))
        }
        Some("commit") => Ok(Operation::Commit),
        Some(other) => Err(format!("unknown operation {other:?}; there are put, del, commit")),
        None => Err("no \"op\" (a dump is read by: beach load FILE)".to_owned()),
    }
}

/// The byte string `name` or `name_b64` of an object, if it has one.
///
/// # Errors
/// When both are there, it is not a string, or not base64.
pub fn bytes_field(fields: &Map<String, Value>, name: &str) -> Result<Option<Vec<u8>>, String> {
    let name_b64 = format!("{name}_b64");
    match (text(fields, name)?, text(fields, &name_b64)?) {
        (Some(_), Some(_)) => Err(format!("\"{name}\" and \"{name_b64}\" are both there")),
        (Some(plain), None) => Ok(Some(plain.as_bytes().to_vec())),
        (None, Some(base64)) => decode_base64(base64.as_bytes())
            .map(Some)
            .map_err(|why| format!("\"{name_b64}\": {why}")),
        (None, None) => Ok(None),
    }
}

fn parse_object(line: &[u8]) -> Result<Fields, String> {
    match serde_json::from_slice(line) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err("not a JSON object".to_owned()),
        // The parser's own line number is always 1 here; its column is what helps.
        Err(error) => {
            let text = error.to_string();
            let reason = text.split(" at line ").next().unwrap_or_default();
            Err(format!("bad JSON at column {}: {reason}", error.column()))
        }
    }
}

fn required(fields: &Fields, name: &str) -> Result<Vec<u8>, String> {
    bytes_field(fields, name)?.ok_or_else(|| format!("no \"{name}\" and no \"{name}_b64\""))
}

fn text<'a>(fields: &'a Fields, name: &str) -> Result<Option<&'a str>, String> {
    match fields.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("\"{name}\" is not a string")),
    }
}

pub(super) fn write_header(out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", Object::new("dump").number("version", DUMP_VERSION))
}

pub(super) fn write_record(out: &mut dyn Write, key: &[u8], value: &[u8]) -> io::Result<()> {
    writeln!(out, "{}", Object::new("entry").bytes("key", key).bytes("value", value))
}

pub(super) fn write_end(out: &mut dyn Write, total: Total) -> io::Result<()> {
    let crc32 = format!("{:08x}", total.crc32);
    let end = Object::summary().number("records", total.records).text("crc32", &crc32).complete();
    writeln!(out, "{end}")
}
