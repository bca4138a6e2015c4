//! Dumps: whole stores as NDJSON, TSV or CSV, streamed in and out.
//!
//! Every format is lossless for every byte. What [`Writer`] writes begins with a header, which
//! promises an end line, and closes with that line: the number of records and their checksum. So a
//! dump that was cut is noticed, and so is one that was changed. Files from elsewhere have neither
//! and are read as they are.
//!
//! | format | begins with | a record | ends with |
//! |---|---|---|---|
//! | NDJSON | `{"t":"dump","version":1}` | `{"t":"entry","key":"a","value":"1"}`; bytes that are not UTF-8 as `key_b64`, `value_b64` | `{"t":"summary","records":1,"crc32":"a35ef63d","complete":true}` |
//! | TSV | `#beach-dump version=1` | `a<TAB>1`, both in `escape` | `#end records=1 crc32=a35ef63d` |
//! | CSV | `t,key,value,key_b64,value_b64` | `entry,a,1,,`; RFC 4180 quoting; bytes that are not UTF-8 in the `_b64` columns | `summary,1,a35ef63d,,` |
//!
//! The checksum is CRC-32 over, for each record in order, the key's length (4 bytes,
//! little-endian), the key, the value's length (the same) and the value. It does not depend on the
//! format.

mod csv;
mod lines;
mod ndjson;
mod tsv;

use std::fmt;
use std::io::{self, BufRead, Write};

use crate::{KEY_SIZE_MAX, VALUE_SIZE_MAX};

pub use lines::Lines;
pub use ndjson::{Operation, bytes_field, parse_operation};

/// The version of the three dump formats that is written, and the only one that is read.
pub const DUMP_VERSION: u64 = 1;

/// A dump's format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// One JSON object a line.
    #[default]
    Ndjson,
    /// Key, tab, value, a line each.
    Tsv,
    /// Comma-separated values with a line of column names.
    Csv,
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The user key, 1 to 65,535 bytes.
    pub key: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
}

/// The count and checksum of a sequence of records.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    records: u64,
    hasher: crc32fast::Hasher,
}

impl Tally {
    /// Counts one record.
    pub fn add(&mut self, key: &[u8], value: &[u8]) {
        self.records += 1;
        for part in [key, value] {
            self.hasher.update(&(part.len() as u32).to_le_bytes());
            self.hasher.update(part);
        }
    }

    /// The count and checksum so far.
    #[must_use]
    pub fn total(&self) -> Total {
        Total { records: self.records, crc32: self.hasher.clone().finalize() }
    }
}

/// What a dump's end line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Total {
    /// How many records.
    pub records: u64,
    /// Their checksum.
    pub crc32: u32,
}

impl Total {
    /// The two numbers as an end line has them.
    fn parse(records: &str, crc32: &str) -> Option<Total> {
        let crc32 = (crc32.len() == 8).then(|| u32::from_str_radix(crc32, 16).ok())??;
        Some(Total { records: records.parse().ok()?, crc32 })
    }
}

impl fmt::Display for Total {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} records with CRC-32 {:08x}", self.records, self.crc32)
    }
}

/// What can be wrong with an input.
#[derive(Debug)]
pub enum Problem {
    /// It could not be read.
    Io(io::Error),
    /// A line is not what the format asks for; reading can go on behind it.
    Line {
        /// Its number, counted from 1.
        number: u64,
        /// What is wrong with it.
        why: String,
    },
    /// The records are not those that the end line promises.
    Damaged(String),
    /// No format was named and none could be told.
    Unknown,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Io(error) => write!(f, "could not read the input: {error}"),
            Problem::Line { number, why } => write!(f, "line {number}: {why}"),
            Problem::Damaged(what) => f.write_str(what),
            Problem::Unknown => {
                f.write_str("cannot tell the input's format; give --format ndjson, tsv or csv")
            }
        }
    }
}

/// What one format finds in its input.
#[derive(Debug, PartialEq, Eq)]
enum Item {
    /// The header of a dump of ours: an end line must come.
    Header,
    /// A record.
    Record(Record),
    /// The end line.
    End(Total),
}

/// A format's own reading of the next line or lines; `None` at the end of the input.
trait Parse {
    fn next(&mut self, lines: &mut Lines) -> Option<Result<Item, Problem>>;
}

/// Reads a dump of any format, record by record.
pub struct Reader {
    format: Format,
    lines: Lines,
    parser: Box<dyn Parse>,
    tally: Tally,
    promised: bool,
    ended: bool,
    skipped: u64,
}

impl Reader {
    /// Begins to read; without a format, the first line tells it.
    ///
    /// # Errors
    /// [`Problem::Unknown`] if it does not, and what reading that line meets.
    pub fn open(input: Box<dyn BufRead>, format: Option<Format>) -> Result<Reader, Problem> {
        let mut lines = Lines::new(input);
        let format = match (format, lines.peek()?) {
            (Some(format), _) => format,
            (None, None) => Format::Ndjson,
            (None, Some(first)) => detect(first).ok_or(Problem::Unknown)?,
        };
        let parser: Box<dyn Parse> = match format {
            Format::Ndjson => Box::new(ndjson::Parser),
            Format::Tsv => Box::new(tsv::Parser),
            Format::Csv => Box::new(csv::Parser::default()),
        };
        let tally = Tally::default();
        Ok(Reader { format, lines, parser, tally, promised: false, ended: false, skipped: 0 })
    }

    /// The format, as named or told.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// Bytes read from the input so far.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.lines.position()
    }

    /// The number of the last line read, counted from 1.
    #[must_use]
    pub fn line(&self) -> u64 {
        self.lines.number()
    }

    /// What was read so far.
    #[must_use]
    pub fn total(&self) -> Total {
        self.tally.total()
    }

    fn accept(&mut self, item: Item) -> Result<Option<Record>, Problem> {
        match item {
            Item::Record(record) => {
                check_sizes(&record.key, &record.value).map_err(|why| self.lines.problem(why))?;
                self.tally.add(&record.key, &record.value);
                Ok(Some(record))
            }
            Item::Header if self.promised || self.tally.total().records > 0 => {
                Err(self.lines.problem("a second dump begins here"))
            }
            Item::Header => {
                self.promised = true;
                Ok(None)
            }
            Item::End(promised) => {
                self.ended = true;
                self.verify(promised)?;
                Ok(None)
            }
        }
    }

    /// Compares with the end line; after skipped lines it can only differ, and that was told.
    fn verify(&self, promised: Total) -> Result<(), Problem> {
        let found = self.tally.total();
        if self.skipped == 0 && found != promised {
            let text = format!("the dump promises {promised}, but has {found}");
            return Err(Problem::Damaged(text));
        }
        Ok(())
    }

    fn end(&mut self) -> Option<Result<Record, Problem>> {
        if self.promised && !self.ended {
            self.ended = true;
            let text = format!("the dump is cut: no end line behind {}", self.tally.total());
            return Some(Err(Problem::Damaged(text)));
        }
        None
    }
}

/// After a [`Problem::Line`] the iterator goes on behind the bad line.
impl Iterator for Reader {
    type Item = Result<Record, Problem>;

    fn next(&mut self) -> Option<Result<Record, Problem>> {
        loop {
            let Some(item) = self.parser.next(&mut self.lines) else { return self.end() };
            let accepted = match self.ended {
                true => Err(self.lines.problem("there is more behind the dump's end line")),
                false => item.and_then(|item| self.accept(item)),
            };
            match accepted {
                Ok(Some(record)) => return Some(Ok(record)),
                Ok(None) => {}
                Err(problem) => {
                    self.skipped += u64::from(matches!(problem, Problem::Line { .. }));
                    return Some(Err(problem));
                }
            }
        }
    }
}

/// Writes a dump.
pub struct Writer<'a> {
    format: Format,
    out: &'a mut dyn Write,
    tally: Tally,
}

impl<'a> Writer<'a> {
    /// Writes the header.
    ///
    /// # Errors
    /// The output's.
    pub fn new(format: Format, out: &'a mut dyn Write) -> io::Result<Writer<'a>> {
        match format {
            Format::Ndjson => ndjson::write_header(out)?,
            Format::Tsv => tsv::write_header(out)?,
            Format::Csv => csv::write_header(out)?,
        }
        Ok(Writer { format, out, tally: Tally::default() })
    }

    /// Writes one record.
    ///
    /// # Errors
    /// The output's.
    pub fn record(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.tally.add(key, value);
        match self.format {
            Format::Ndjson => ndjson::write_record(self.out, key, value),
            Format::Tsv => tsv::write_record(self.out, key, value),
            Format::Csv => csv::write_record(self.out, key, value),
        }
    }

    /// Writes the end line. Without it the dump counts as cut.
    ///
    /// # Errors
    /// The output's.
    pub fn finish(self) -> io::Result<Total> {
        let total = self.tally.total();
        match self.format {
            Format::Ndjson => ndjson::write_end(self.out, total)?,
            Format::Tsv => tsv::write_end(self.out, total)?,
            Format::Csv => csv::write_end(self.out, total)?,
        }
        Ok(total)
    }
}

/// The format that a first line shows.
fn detect(line: &[u8]) -> Option<Format> {
    let has_tab = line.contains(&b'\t');
    let is_json = serde_json::from_slice::<serde_json::Value>(line).is_ok_and(|v| v.is_object());
    if is_json || (line.starts_with(b"{") && !has_tab) {
        Some(Format::Ndjson)
    } else if csv::is_header(line) {
        Some(Format::Csv)
    } else if has_tab || tsv::is_header(line) {
        Some(Format::Tsv)
    } else {
        None
    }
}

/// Checks a key and a value against the limits, before anything is opened or written.
///
/// # Errors
/// Which limit is broken.
pub fn check_sizes(key: &[u8], value: &[u8]) -> Result<(), String> {
    match (key.len(), value.len()) {
        (0, _) => Err("the key is empty".to_owned()),
        (size, _) if size > KEY_SIZE_MAX => {
            Err(format!("the key has {size} bytes, limit is {KEY_SIZE_MAX}"))
        }
        (_, size) if size > VALUE_SIZE_MAX => {
            Err(format!("the value has {size} bytes, limit is {VALUE_SIZE_MAX}"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
