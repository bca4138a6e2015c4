//! `check`.

use std::cell::RefCell;
use std::path::Path;

use crate::cli::args::{Args, CheckArgs};
use crate::cli::dump::plural;
use crate::cli::output::{Object, size};
use crate::cli::progress::{Progress, Unit};
use crate::cli::{Out, Outcome, Status, finding};
use crate::inspect::check::{CheckOptions, CheckReport, check as inspect};
use crate::vfs::os::OsVfs;

/// Tables that are read at the same time, where there are processors for it.
const THREADS_MAX: usize = 2;

pub(super) fn check(args: &Args, _wanted: &CheckArgs, out: &mut Out) -> Outcome {
    let dir = args.store.dir()?;
    let report = whole(args, dir, out)?;
    end(&report, out)
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
fn end(report: &CheckReport, out: &mut Out) -> Outcome {
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
        out.summary(summary(report))?;
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
