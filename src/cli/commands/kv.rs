//! `put`, `get`, `del`, `scan`.

use std::ffi::OsString;
use std::path::Path;

use super::{range, session};
use crate::cli::args::{Args, DelArgs, GetArgs, PutArgs, ScanArgs};
use crate::cli::encode::{self, Encoding};
use crate::cli::output::Object;
use crate::cli::{Failure, Out, Outcome, Status, bulk};
use crate::{Iter, VALUE_SIZE_MAX, Value, WriteBatch};

/// Stores a value.
pub(super) fn put(args: &Args, wanted: &PutArgs, out: &mut Out) -> Outcome {
    let key = args.common.decode("KEY", &wanted.key)?;
    let value = match (&wanted.value, &wanted.value_file) {
        (_, Some(file)) => session::read_input(file, VALUE_SIZE_MAX)?,
        (Some(dash), _) if dash == "-" => session::read_input(Path::new("-"), VALUE_SIZE_MAX)?,
        (Some(value), _) => args.common.decode("VALUE", value)?,
        (None, None) => return Err(Failure::Usage("no value given".to_owned())),
    };
    bulk::check_sizes(&key, &value).map_err(Failure::Usage)?;
    let mut batch = WriteBatch::new();
    batch.put(&key, &value);
    write(args, batch, true, wanted.no_sync, out)
}

/// Removes a key.
pub(super) fn del(args: &Args, wanted: &DelArgs, out: &mut Out) -> Outcome {
    let key = args.common.decode("KEY", &wanted.key)?;
    bulk::check_sizes(&key, b"").map_err(Failure::Usage)?;
    let mut batch = WriteBatch::new();
    batch.delete(&key);
    write(args, batch, false, wanted.no_sync, out)
}

fn write(args: &Args, batch: WriteBatch, create: bool, no_sync: bool, out: &mut Out) -> Outcome {
    let db = session::open_writer(args, create, out)?;
    let seqno = db.write(batch, session::durability(no_sync))?;
    session::close(db, no_sync)?;
    out.summary(Object::summary().number("seq", seqno.0))?;
    Ok(Status::Done)
}

/// Prints values; one that is absent makes it a negative answer.
pub(super) fn get(args: &Args, wanted: &GetArgs, out: &mut Out) -> Outcome {
    if wanted.raw && args.common.json {
        return Err(Failure::Usage("--raw and --json exclude each other".to_owned()));
    }
    let decode = |key: &OsString| args.common.decode("KEY", key);
    let keys = wanted.keys.iter().map(decode).collect::<Outcome<Vec<_>>>()?;
    let values = session::read(args, out, |db| db.multi_get(&keys))?;
    let mut absent = 0;
    for (key, value) in keys.iter().zip(&values) {
        match value {
            Some(value) => print_value(args, wanted.raw, key, value, out)?,
            None => {
                absent += 1;
                print_absent(args, key, out)?;
            }
        }
    }
    let found = keys.len() as u64 - absent;
    out.summary(Object::summary().number("found", found).number("absent", absent))?;
    Ok(if absent == 0 { Status::Done } else { Status::Negative })
}

fn print_value(args: &Args, raw: bool, key: &[u8], value: &[u8], out: &mut Out) -> Outcome<()> {
    if out.is_json() {
        return out.object(&Object::new("value").bytes("key", key).bytes("value", value));
    }
    if raw {
        return out.bytes(value);
    }
    let unreadable = out.is_terminal() && !encode::is_text(value);
    match args.common.enc.or(unreadable.then_some(Encoding::Escape)) {
        Some(encoding) => out.line(encoding.encode(value)),
        None => {
            out.bytes(value)?;
            out.bytes(b"\n")
        }
    }
}

fn print_absent(args: &Args, key: &[u8], out: &mut Out) -> Outcome<()> {
    if out.is_json() {
        return out.object(&Object::new("absent").bytes("key", key));
    }
    out.hint(format_args!("not found: {}", args.common.encode(key)));
    Ok(())
}

/// Lists pairs in key order.
pub(super) fn scan(args: &Args, wanted: &ScanArgs, out: &mut Out) -> Outcome {
    let range = range::bounds(args, &wanted.range, wanted.prefix.as_ref())?;
    let db = session::open_reader(args, out)?;
    let mut printer = Printer { args, wanted, out, count: 0 };
    if !range::is_empty(&range) {
        let pairs = db.range(range);
        if wanted.reverse { printer.all(pairs.rev())? } else { printer.all(pairs)? }
    }
    printer.end()
}

/// Prints the pairs of a scan.
struct Printer<'a> {
    args: &'a Args,
    wanted: &'a ScanArgs,
    out: &'a mut Out,
    count: u64,
}

impl Printer<'_> {
    fn all(&mut self, pairs: impl Iterator<Item = <Iter as Iterator>::Item>) -> Outcome<()> {
        let limit = self.wanted.limit.unwrap_or(u64::MAX);
        for pair in pairs {
            if self.count == limit {
                break;
            }
            let (key, value): (Vec<u8>, Value) = pair?;
            if !self.wanted.count {
                self.pair(&key, &value)?;
            }
            self.count += 1;
        }
        Ok(())
    }

    fn pair(&mut self, key: &[u8], value: &[u8]) -> Outcome<()> {
        let value = (!self.wanted.keys_only).then_some(value);
        if self.out.is_json() {
            let entry = Object::new("entry").bytes("key", key);
            let entry = value.map_or(entry.clone(), |value| entry.bytes("value", value));
            return self.out.object(&entry);
        }
        let shown = [Some(key), value].into_iter().flatten().map(|bytes| self.shown(bytes));
        let line = shown.collect::<Vec<_>>().join(&b'\t');
        if self.wanted.null && !is_unambiguous(&line, value.is_some()) {
            return Err(Failure::Usage(format!(
                "the pair of key {} holds a separator; give --enc with -0",
                Encoding::Escape.encode(key)
            )));
        }
        self.out.bytes(&line)?;
        self.out.bytes(if self.wanted.null { b"\0" } else { b"\n" })
    }

    fn shown(&self, bytes: &[u8]) -> Vec<u8> {
        match (self.wanted.null, self.args.common.enc) {
            (true, None) => bytes.to_vec(),
            _ => self.args.common.encode(bytes).into_bytes(),
        }
    }

    fn end(self) -> Outcome {
        if self.wanted.count && !self.out.is_json() {
            self.out.line(self.count)?;
        }
        self.out.summary(Object::summary().number("records", self.count))?;
        Ok(Status::Done)
    }
}

/// Whether a reader that splits at NUL, and then at the first tab, gets the pair back.
fn is_unambiguous(line: &[u8], has_value: bool) -> bool {
    let tabs = line.iter().filter(|byte| **byte == b'\t').count();
    !line.contains(&0) && (!has_value || tabs == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `xargs -0` could not take apart again.
    #[test]
    fn separators_within_a_pair_are_noticed() {
        assert!(is_unambiguous(b"key\tvalue", true));
        assert!(is_unambiguous(b"a\tkey", false));
        assert!(!is_unambiguous(b"k\tey\tvalue", true));
        assert!(!is_unambiguous(b"k\0ey", false));
    }
}
