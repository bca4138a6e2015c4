//! Torn tail or damage: what the marks in logs and manifest say about bytes that do not verify.
//!
//! Pure. A crash may take what was never promised durable, and only that. So bad bytes are damage
//! 1. when a frame anywhere promises that what lies there was on stable storage,
//! 2. when one flipped bit explains them, and a lost or lone sector does not: a power loss leaves
//!    old, torn or missing sectors, it does not flip bits,
//! 3. when they lie behind the end of a log that recovery or rotation had settled.
//!
//! Everything else is the unsynced tail: the log ends before it.

use std::path::PathBuf;

use crate::error::Error;
use crate::probe::mutant;
use crate::record::{Bad, LogScan};
use crate::types::FileNumber;

/// What is known of one log before judging.
#[derive(Clone, Debug)]
pub(super) struct LogFacts {
    pub(super) path: PathBuf,
    pub(super) number: FileNumber,
    /// Where recovery had settled its end, if it had.
    pub(super) settled: Option<u64>,
    pub(super) scan: LogScan,
}

impl LogFacts {
    /// Whether any frame verifies, in order or not.
    fn has_frames(&self) -> bool {
        self.scan.valid_end > super::files::FIRST_FRAME
            || self.scan.first_bad.as_ref().is_some_and(|bad| bad.frames_after > 0)
    }

    /// Whether every record it ever held is there, so that those of the next log may follow.
    pub(super) fn is_complete(&self) -> bool {
        match self.settled {
            Some(end) => self.scan.first_bad.is_none() && self.scan.valid_end == end,
            None => self.scan.ended,
        }
    }

    fn damage(&self, offset: u64, detail: impl Into<String>) -> Error {
        Error::corruption(&self.path, offset, detail)
    }
}

/// The verdict over a sound set of logs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// How many logs, from the oldest, have content that counts; the last of them may end early.
    pub(super) live: usize,
    /// The last log was closed, and nothing was dropped anywhere.
    pub(super) closed: bool,
    /// Tails that a crash explains.
    pub(super) dropped: Vec<DroppedTail>,
}

/// Unsynced bytes that a crash left unusable; nothing acknowledged as durable was among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DroppedTail {
    /// The log or manifest.
    pub path: PathBuf,
    /// Where its valid content ends.
    pub offset: u64,
    /// Bytes from there to the end of the file that were given up.
    pub bytes: u64,
    /// What is wrong with them.
    pub reason: String,
}

/// Judges the logs, oldest first; `promised` is what the manifest promises of one of them.
pub(super) fn judge_logs(
    logs: &[LogFacts],
    promised: Option<(FileNumber, u64)>,
) -> Result<Verdict, Error> {
    let mut verdict = Verdict { live: logs.len(), closed: false, dropped: Vec::new() };
    for (index, log) in logs.iter().enumerate() {
        let later = &logs[index + 1..];
        if let Some(end) = log.settled {
            check_settled(log, end)?;
            continue;
        }
        let by_manifest = promised.filter(|(number, _)| *number == log.number);
        let promised = log.scan.promised.max(by_manifest.map_or(0, |(_, upto)| upto));
        check_promised(log, promised)?;
        if log.scan.ended && log.scan.first_bad.is_none() {
            continue;
        }
        check_flipped(log.scan.first_bad.as_ref(), log)?;
        if log.scan.ended {
            return Err(log.damage(log.scan.valid_end, "bytes behind the end of a finished log"));
        }
        // Rule 4: a log is strict once a later one promises for it.
        let strict = !mutant("later_promise_ignored");
        if let Some(next) = later.iter().find(|next| next.scan.promised > 0 && strict) {
            let detail = format!(
                "the log breaks off here, but log {} promises that it was synced to its end",
                next.number
            );
            return Err(log.damage(log.scan.valid_end, detail));
        }
        // The last log with content: what follows here, in this log or a later one, never was
        // promised.
        verdict.live = index + 1;
        verdict.closed = later.is_empty() && log.scan.closed.is_some();
        verdict.dropped.extend(dropped_tail(log));
        verdict.dropped.extend(later.iter().filter(|log| log.has_frames()).map(whole_log));
        for log in later {
            check_flipped(log.scan.first_bad.as_ref(), log)?;
        }
        return Ok(verdict);
    }
    Ok(verdict)
}

/// A settled log is strict: valid up to its end, to the byte.
fn check_settled(log: &LogFacts, end: u64) -> Result<(), Error> {
    match &log.scan.first_bad {
        Some(bad) => Err(log.damage(bad.offset, &bad.detail)),
        None if log.scan.valid_end != end => {
            let detail = format!("the log ends here, but its recovered end is {end:#x}");
            Err(log.damage(log.scan.valid_end, detail))
        }
        None => Ok(()),
    }
}

fn check_promised(log: &LogFacts, promised: u64) -> Result<(), Error> {
    // Rule 1: the log reaches at least as far as any frame promises.
    if promised <= log.scan.valid_end || mutant("promises_ignored") {
        return Ok(());
    }
    let what = log.scan.first_bad.as_ref().map_or("zeros", |bad| bad.detail.as_str());
    let detail = format!("{what}, although everything before {promised:#x} was synced");
    Err(log.damage(log.scan.valid_end, detail))
}

fn check_flipped(bad: Option<&Bad>, log: &LogFacts) -> Result<(), Error> {
    // Rule 1: a crash tears and loses, it does not flip bits.
    match bad.filter(|bad| bad.flipped.is_some() && !mutant("flipped_bit_taken_for_a_tear")) {
        Some(bad) => Err(log.damage(bad.offset, &bad.detail)),
        None => Ok(()),
    }
}

fn dropped_tail(log: &LogFacts) -> Option<DroppedTail> {
    let bad = log.scan.first_bad.as_ref()?;
    let reason = match bad.frames_after {
        0 => format!("torn tail: {}", bad.detail),
        count => format!("unsynced writes out of order, {count} frames behind: {}", bad.detail),
    };
    let bytes = log.scan.size - bad.offset;
    Some(DroppedTail { path: log.path.clone(), offset: bad.offset, bytes, reason })
}

fn whole_log(log: &LogFacts) -> DroppedTail {
    let offset = super::files::FIRST_FRAME;
    let bytes = log.scan.size - offset;
    let reason = "unsynced, and the log before it breaks off".to_owned();
    DroppedTail { path: log.path.clone(), offset, bytes, reason }
}

/// Up to where a manifest is known to be on stable storage, by its own promises and by the `marks`
/// that the logs carry.
pub(super) fn manifest_promised(
    number: FileNumber,
    scan: &LogScan,
    marks: Option<(FileNumber, u64)>,
) -> u64 {
    let marked = marks.filter(|(marked, _)| *marked == number);
    scan.promised.max(marked.map_or(0, |(_, upto)| upto))
}

/// Judges the manifest's tail by its own promises and by the `marks` that the logs carry.
pub(super) fn judge_manifest(
    path: &std::path::Path,
    number: FileNumber,
    scan: &LogScan,
    marks: Option<(FileNumber, u64)>,
) -> Result<Option<DroppedTail>, Error> {
    // Rule 2: the marks in the logs speak for the manifest.
    let marks = if mutant("marks_about_the_manifest_ignored") { None } else { marks };
    if let Some((marked, _)) = marks.filter(|(marked, _)| *marked > number) {
        let detail = format!("it is older than the store: a log knows of manifest {marked}");
        return Err(Error::corruption(path, None, detail));
    }
    let promised = manifest_promised(number, scan, marks);
    if let Some(bad) = &scan.first_bad {
        if promised > bad.offset || bad.flipped.is_some() {
            return Err(Error::corruption(path, bad.offset, &bad.detail));
        }
        let (offset, bytes) = (bad.offset, scan.size - bad.offset);
        let reason = format!("torn tail: {}", bad.detail);
        return Ok(Some(DroppedTail { path: path.to_owned(), offset, bytes, reason }));
    }
    if promised > scan.valid_end {
        let detail = format!("it ends here, but was synced up to {promised:#x}");
        return Err(Error::corruption(path, scan.valid_end, detail));
    }
    Ok(None)
}
