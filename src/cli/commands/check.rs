//! `check`.

use std::cell::RefCell;
use std::path::Path;

use crate::cli::args::{Args, CheckArgs};
use crate::cli::dump::plural;
use crate::cli::output::{Object, Table, size};
use crate::cli::progress::{Progress, Unit};
use crate::cli::{Out, Outcome, Status, finding};
use crate::inspect::FileType;
use crate::inspect::check::{CheckOptions, CheckReport, check as inspect};
use crate::inspect::coverage::{Bytes, coverage};
use crate::vfs::os::OsVfs;

/// Tables that are read at the same time, where there are processors for it.
const THREADS_MAX: usize = 2;

pub(super) fn check(args: &Args, wanted: &CheckArgs, out: &mut Out) -> Outcome {
    let dir = args.store.dir()?;
    let mut report = whole(args, dir, out)?;
    let covered = match wanted.coverage {
        true => Some(cover(args, dir, &mut report, out)?),
        false => None,
    };
    end(&report, covered, out)
}

/// The bytes of each file by what they are for.
fn cover(args: &Args, dir: &Path, report: &mut CheckReport, out: &mut Out) -> Outcome<Bytes> {
    let mut table = Table::new(&[
        "file",
        "bytes",
        "field",
        "padding",
        "preallocated",
        "torn",
        "other",
        "unexplained",
    ]);
    let sum = coverage(&OsVfs, dir, &mut |file, findings| {
        if out.is_json() {
            let path = file.path.as_os_str().as_encoded_bytes();
            let object = Object::new("coverage").bytes("path", path);
            out.object(&with_bytes(object.text("kind", kind(file.kind)), &file.bytes))?;
        }
        let name = file.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        table.row(row(name, &file.bytes));
        report.damaged += findings.len() as u64;
        findings
            .iter()
            .try_for_each(|found| finding::print(out, found, |bytes| args.common.encode(bytes)))
    })?;
    if !out.is_json() {
        table.row(row("all".to_owned(), &sum));
        out.table(&table)?;
    }
    Ok(sum)
}

fn kind(kind: FileType) -> &'static str {
    match kind {
        FileType::Log => "log",
        FileType::Manifest => "manifest",
        FileType::Table => "table",
        FileType::Current => "current",
        FileType::Unknown => "other",
    }
}

fn row(name: String, bytes: &Bytes) -> impl Iterator<Item = String> {
    let Bytes { field, padding, preallocated, torn, other, unexplained } = *bytes;
    let numbers = [bytes.total(), field, padding, preallocated, torn, other, unexplained];
    std::iter::once(name).chain(numbers.map(|number| number.to_string()))
}

fn with_bytes(object: Object, bytes: &Bytes) -> Object {
    object
        .number("size", bytes.total())
        .number("field", bytes.field)
        .number("padding", bytes.padding)
        .number("preallocated", bytes.preallocated)
        .number("torn", bytes.torn)
        .number("other", bytes.other)
        .number("unexplained", bytes.unexplained)
}

fn whole(args: &Args, dir: &Path, out: &mut Out) -> Outcome<CheckReport> {
    let bar = RefCell::new(None);
    let quiet = out.is_quiet();
    let progress = |done, total| {
        let mut bar = bar.borrow_mut();
        let begin = || Progress::begin("check", Unit::Bytes, Some(total), quiet);
        bar.get_or_insert_with(begin).set(done);
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
    let options = CheckOptions { threads, progress: Some(&progress) };
    inspect(&OsVfs, dir, &options, &mut |found| {
        finding::print(out, &found, |bytes| args.common.encode(bytes))
    })
}

/// The last line, and what the whole comes to.
fn end(report: &CheckReport, covered: Option<Bytes>, out: &mut Out) -> Outcome {
    let mut status = if report.damaged > 0 { Status::Damage } else { Status::Done };
    for error in &report.failed {
        out.finish()?;
        out.error(error);
        status = status.combine(Status::of(error));
    }
    if !out.is_json() {
        out.line(line(report))?;
    }
    // Without the files that could not be read the output is not complete.
    if report.failed.is_empty() {
        let summary = summary(report);
        out.summary(match &covered {
            Some(bytes) => with_bytes(summary, bytes),
            None => summary,
        })?;
    }
    Ok(status)
}

fn line(report: &CheckReport) -> String {
    let read = format!(
        "{}, {}, {}",
        counted(report.files, "file", "files"),
        size(report.bytes),
        counted(report.entries, "entry", "entries"),
    );
    let mut line = match report.damaged {
        0 if report.failed.is_empty() => format!("sound: {read}"),
        0 => format!("no damage in what could be read: {read}"),
        count => format!("damaged: {}: {read}", plural(count, "finding")),
    };
    if report.notices > 0 {
        line += &format!("; {}", plural(report.notices, "notice"));
    }
    if !report.failed.is_empty() {
        line += &format!("; {} could not be read", plural(report.failed.len() as u64, "file"));
    }
    line
}

fn summary(report: &CheckReport) -> Object {
    Object::summary()
        .number("files", report.files)
        .number("bytes", report.bytes)
        .number("entries", report.entries)
        .number("damaged", report.damaged)
        .number("notices", report.notices)
}

/// `40,000 entries`: large numbers are for people here.
fn counted(count: u64, one: &str, many: &str) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    format!("{text} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::counted;

    /// A separator every three digits from the right, none in front.
    #[test]
    fn large_numbers_are_grouped() {
        for (count, text) in [
            (0, "0 files"),
            (1, "1 file"),
            (999, "999 files"),
            (1000, "1,000 files"),
            (12_345, "12,345 files"),
            (999_999, "999,999 files"),
            (1_234_567, "1,234,567 files"),
        ] {
            assert_eq!(counted(count, "file", "files"), text);
        }
    }
}
