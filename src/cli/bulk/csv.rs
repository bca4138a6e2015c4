//! CSV dumps (RFC 4180), which spreadsheets can read.
//!
//! Cells are literal text; bytes that are not UTF-8 stand in the `_b64` columns. Quoting is read
//! strictly: a quote that is never closed would otherwise swallow the rest of the file into one
//! value without a word.

use std::io::{self, Write};
use std::str;

use super::{Item, Lines, Parse, Problem, Record, Total};
use crate::cli::encode::decode_base64;

/// The first line of what is written. The column `t` is what tells a dump from other CSV.
const HEADER: &str = "t,key,value,key_b64,value_b64";

/// The meaning of each column, once the first line was read.
#[derive(Default)]
pub(super) struct Parser {
    columns: Option<Vec<Column>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Kind,
    Key,
    Value,
    KeyBase64,
    ValueBase64,
}

impl Parse for Parser {
    fn next(&mut self, lines: &mut Lines) -> Option<Result<Item, Problem>> {
        loop {
            let cells = match read_row(lines) {
                Ok(Some(cells)) => cells,
                Ok(None) => return None,
                Err(problem) => return Some(Err(problem)),
            };
            let Some(columns) = &self.columns else {
                match name_columns(&cells) {
                    Ok(columns) => self.columns = Some(columns),
                    Err(why) => return Some(Err(lines.problem(why))),
                }
                if self.has(Column::Kind) {
                    return Some(Ok(Item::Header));
                }
                continue;
            };
            return Some(read_item(columns, cells).map_err(|why| lines.problem(why)));
        }
    }
}

impl Parser {
    fn has(&self, column: Column) -> bool {
        self.columns.as_ref().is_some_and(|columns| columns.contains(&column))
    }
}

/// The cells of the next row, which may be several lines.
fn read_row(lines: &mut Lines) -> Result<Option<Vec<Vec<u8>>>, Problem> {
    let Some(first) = lines.next_line()? else { return Ok(None) };
    let mut line = first.to_vec();
    let number = lines.number();
    loop {
        match split(&line) {
            Ok(cells) => return Ok(Some(cells)),
            Err(Quoting::Open) if lines.continue_line(&mut line)? => {}
            Err(wrong) => return Err(Problem::Line { number, why: wrong.to_string() }),
        }
    }
}

/// What is wrong with a row's quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Quoting {
    #[error("a quote that opens here is never closed")]
    Open,
    #[error("a quote within a cell that does not begin with one")]
    Stray,
    #[error("something follows a closing quote that is not a comma")]
    Behind,
}

/// Splits a row into cells and takes their quotes off.
fn split(line: &[u8]) -> Result<Vec<Vec<u8>>, Quoting> {
    let mut cells = Vec::new();
    let mut rest = line;
    loop {
        let (cell, behind) = match rest.strip_prefix(b"\"") {
            Some(quoted) => split_quoted(quoted)?,
            None => split_plain(rest)?,
        };
        cells.push(cell);
        match behind {
            [] => return Ok(cells),
            [b',', next @ ..] => rest = next,
            _ => return Err(Quoting::Behind),
        }
    }
}

fn split_plain(rest: &[u8]) -> Result<(Vec<u8>, &[u8]), Quoting> {
    let end = rest.iter().position(|byte| *byte == b',').unwrap_or(rest.len());
    let (cell, behind) = rest.split_at(end);
    if cell.contains(&b'"') {
        return Err(Quoting::Stray);
    }
    Ok((cell.to_vec(), behind))
}

fn split_quoted(mut rest: &[u8]) -> Result<(Vec<u8>, &[u8]), Quoting> {
    let mut cell = Vec::new();
    loop {
        let end = rest.iter().position(|byte| *byte == b'"').ok_or(Quoting::Open)?;
        cell.extend_from_slice(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix(b"\"") {
            Some(behind) => {
                cell.push(b'"');
                rest = behind;
            }
            None => return Ok((cell, rest)),
        }
    }
}

fn name_columns(cells: &[Vec<u8>]) -> Result<Vec<Column>, String> {
    let mut columns = Vec::new();
    for cell in cells {
        let column = match cell.as_slice() {
            b"t" => Column::Kind,
            b"key" => Column::Key,
            b"value" => Column::Value,
            b"key_b64" => Column::KeyBase64,
            b"value_b64" => Column::ValueBase64,
            other => return Err(format!("unknown column \"{}\"; {WANTED}", other.escape_ascii())),
        };
        if columns.contains(&column) {
            return Err(format!("the column \"{}\" is there twice", cell.escape_ascii()));
        }
        columns.push(column);
    }
    let one_of = |a, b| columns.contains(&a) || columns.contains(&b);
    if !one_of(Column::Key, Column::KeyBase64) || !one_of(Column::Value, Column::ValueBase64) {
        return Err(WANTED.to_owned());
    }
    Ok(columns)
}

const WANTED: &str = "the first line must name the columns: key and value, or key_b64, value_b64";

pub(super) fn is_header(line: &[u8]) -> bool {
    split(line).is_ok_and(|cells| name_columns(&cells).is_ok())
}

fn read_item(columns: &[Column], cells: Vec<Vec<u8>>) -> Result<Item, String> {
    if cells.len() != columns.len() {
        return Err(format!("{} cells, but {} columns", cells.len(), columns.len()));
    }
    let [mut kind, mut key, mut value, mut key_b64, mut value_b64] = [const { None }; 5];
    for (column, cell) in columns.iter().zip(cells) {
        let place = match column {
            Column::Kind => &mut kind,
            Column::Key => &mut key,
            Column::Value => &mut value,
            Column::KeyBase64 => &mut key_b64,
            Column::ValueBase64 => &mut value_b64,
        };
        *place = Some(cell);
    }
    match kind.as_deref() {
        None | Some(b"entry") => Ok(Item::Record(Record {
            key: either("key", key, key_b64)?,
            value: either("value", value, value_b64)?,
        })),
        Some(b"summary") => {
            let text = |cell: Option<Vec<u8>>| String::from_utf8(cell.unwrap_or_default()).ok();
            let total = text(key).zip(text(value)).and_then(|(a, b)| Total::parse(&a, &b));
            Ok(Item::End(total.ok_or("the end line is not readable")?))
        }
        Some(other) => Err(format!("unknown kind \"{}\" in column t", other.escape_ascii())),
    }
}

/// The bytes of whichever cell is filled.
fn either(name: &str, plain: Option<Vec<u8>>, base64: Option<Vec<u8>>) -> Result<Vec<u8>, String> {
    let base64 = base64.unwrap_or_default();
    match plain.filter(|text| !text.is_empty()) {
        Some(_) if !base64.is_empty() => Err(format!("{name} and {name}_b64 are both filled")),
        Some(text) => Ok(text),
        None => decode_base64(&base64).map_err(|why| format!("{name}_b64: {why}")),
    }
}

pub(super) fn write_header(out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{HEADER}")
}

pub(super) fn write_record(out: &mut dyn Write, key: &[u8], value: &[u8]) -> io::Result<()> {
    let (key, key_b64) = cells(key);
    let (value, value_b64) = cells(value);
    writeln!(out, "entry,{key},{value},{key_b64},{value_b64}")
}

pub(super) fn write_end(out: &mut dyn Write, total: Total) -> io::Result<()> {
    writeln!(out, "summary,{},{:08x},,", total.records, total.crc32)
}

/// The plain cell and the base64 cell; one of them is empty.
fn cells(bytes: &[u8]) -> (String, String) {
    match str::from_utf8(bytes) {
        Ok(text) => (quote(text), String::new()),
        Err(_) => (String::new(), crate::cli::encode::Encoding::Base64.encode(bytes)),
    }
}

/// Quotes where RFC 4180 asks for it, and around spaces that a spreadsheet might trim.
fn quote(text: &str) -> String {
    let special = |c| matches!(c, ',' | '"' | '\n' | '\r');
    let trims = text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace);
    if text.contains(special) || trims {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
