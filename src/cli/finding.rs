//! Findings as the tools print them.

use crate::cli::exit::{Outcome, Status};
use crate::cli::output::{Object, Out};
use crate::inspect::{Finding, Severity};

/// What was found, and why that is a problem or none.
#[must_use]
pub fn detail(found: &Finding) -> String {
    match found.why.as_str() {
        "" => found.what.clone(),
        why => format!("{}; {why}", found.what),
    }
}

/// A line of NDJSON.
#[must_use]
pub fn object(found: &Finding) -> Object {
    let mut object = Object::new("finding")
        .text("code", found.code.id())
        .text("severity", &found.severity().to_string())
        .text("title", found.code.title())
        .bytes("path", found.path.as_os_str().as_encoded_bytes());
    for (name, number) in [("offset", found.offset), ("size", found.size)] {
        object = number.into_iter().fold(object, |object, number| object.number(name, number));
    }
    if let Some(level) = found.level {
        object = object.number("level", u64::from(level.0));
    }
    if let Some((first, last)) = &found.keys {
        object = object.bytes("first", first).bytes("last", last);
    }
    object = object.text("what", &found.what);
    if !found.why.is_empty() {
        object = object.text("why", &found.why);
    }
    match found.next_step() {
        Some(next) => object.text("next", &next),
        None => object,
    }
}

/// A line for people and `grep`: `BT005 damage L1 db/000013.sst@0x1271+4096: … ["a" .. "c"]; run: …`.
#[must_use]
pub fn line(found: &Finding, encode: impl Fn(&[u8]) -> String) -> String {
    let mut line = format!("{} {} ", found.code, found.severity());
    if let Some(level) = found.level {
        line += &format!("{level} ");
    }
    line += &found.path.display().to_string();
    if let Some(offset) = found.offset {
        line += &format!("@{offset:#x}");
    }
    if let Some(size) = found.size.filter(|size| *size > 0) {
        line += &format!("+{size}");
    }
    line += &format!(": {}", detail(found));
    if let Some((first, last)) = &found.keys {
        line += &format!(" [\"{}\" .. \"{}\"]", encode(first), encode(last));
    }
    if let Some(next) = found.next_step() {
        line += &format!("; run: {next}");
    }
    line
}

/// Prints a finding on standard output, as a line or an object.
///
/// # Errors
/// As [`Out::line`].
pub fn print(out: &mut Out, found: &Finding, encode: impl Fn(&[u8]) -> String) -> Outcome<()> {
    if out.is_json() {
        return out.object(&object(found));
    }
    out.line(line(found, encode))
}

/// What a finding means for the exit status.
#[must_use]
pub fn status(found: &Finding) -> Status {
    match found.severity() {
        Severity::Damage => Status::Damage,
        Severity::Notice => Status::Done,
    }
}
