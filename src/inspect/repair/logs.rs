//! The records of logs, as far as they are not in tables.

use std::sync::Arc;

use super::Loss;
use crate::error::{Error, Result};
use crate::format::batch::Op;
use crate::inspect::finding::{Code, Finding};
use crate::inspect::frames::Expect;
use crate::inspect::wal::{Content, LogItem, read_log};
use crate::types::{FileNumber, SeqNo};
use crate::vfs::File;

/// A log, and which of its operations count.
#[derive(Debug)]
pub(super) struct LogPart {
    pub(super) file: Arc<dyn File>,
    pub(super) number: FileNumber,
    pub(super) expect: Expect,
    /// From this sequence number on a younger log has them.
    pub(super) upto: Option<SeqNo>,
}

/// What a log holds.
#[derive(Debug, Default)]
pub(super) struct LogSurvey {
    /// Operations that count.
    pub(super) ops: u64,
    /// The sequence number behind them, if any is known.
    pub(super) next: Option<SeqNo>,
    pub(super) findings: Vec<Finding>,
    pub(super) losses: Vec<Loss>,
}

/// What is called with each operation, and with none behind each record.
pub(super) type VisitOp<'v> = dyn FnMut(Option<(SeqNo, Op<'_>)>) -> Result<()> + 'v;

impl LogPart {
    fn counts(&self, seqno: SeqNo, in_tables: SeqNo) -> bool {
        seqno > in_tables && self.upto.is_none_or(|upto| seqno < upto)
    }

    /// Calls `visit` with each operation that counts, record by record; then with none.
    pub(super) fn ops(&self, in_tables: SeqNo, visit: &mut VisitOp<'_>) -> Result<()> {
        readable(read_log(&*self.file, &self.expect, &mut |item| {
            let LogItem::Frame(frame) = item else { return Ok(()) };
            if !matches!(frame.content, Content::Batch(..)) {
                return Ok(());
            }
            for (seqno, op) in frame.content.ops() {
                if self.counts(seqno, in_tables) {
                    visit(Some((seqno, op)))?;
                }
            }
            visit(None)
        }))
        .map(|_| ())
    }
}

/// A file that is no log at all has no records; what is wrong with it is told by the survey.
fn readable<T: Default>(read: Result<T>) -> Result<T> {
    match read {
        Err(Error::NotOurs { .. }) => Ok(T::default()),
        other => other,
    }
}

/// Takes from older logs what a younger one has too.
pub(super) fn settle_overlaps(parts: &mut [LogPart]) -> Result<()> {
    parts.sort_by_key(|part| part.number);
    let mut upto: Option<SeqNo> = None;
    for part in parts.iter_mut().rev() {
        part.upto = upto;
        let first = readable(read_log(&*part.file, &part.expect, &mut |_| Ok::<(), Error>(())))?;
        upto = match (first.first_seqno, upto) {
            (Some(first), Some(upto)) => Some(first.min(upto)),
            (first, upto) => first.or(upto),
        };
    }
    Ok(())
}

/// Reads a log whose first operation that counts should be `expected`, if that is known.
pub(super) fn survey(
    part: &LogPart,
    in_tables: SeqNo,
    expected: Option<SeqNo>,
) -> Result<LogSurvey> {
    let mut survey = LogSurvey { next: expected, ..LogSurvey::default() };
    let mut broken = false;
    let read = read_log(&*part.file, &part.expect, &mut |item| {
        if let Some(found) = item.finding() {
            survey.findings.push(found.clone());
        }
        match &item {
            LogItem::Hole(hole) => {
                broken = true;
                let is_late = hole.seqno_after.is_none_or(|after| after > in_tables.plus(1));
                let has_more = hole.seqno_after.is_some();
                if is_late && (hole.is_damage() || has_more) {
                    let seqnos = (hole.seqno_before, hole.seqno_after);
                    let what = "bytes of the log that are no records";
                    let loss = Loss::new(part.file.path(), what).at(hole.offset, hole.size);
                    survey.losses.push(Loss { seqnos, ops: hole.ops_missing(), ..loss });
                }
            }
            LogItem::Frame(frame) => match frame.content {
                Content::Batch(payload, count) => {
                    let first = payload.first.max(in_tables.plus(1));
                    let is_next = survey.next.is_none_or(|next| first <= next);
                    let counts = first == payload.first && part.counts(first, in_tables);
                    if !is_next && counts && !broken {
                        survey.gap(part, frame.offset, first);
                    }
                    broken = false;
                    let seqnos = payload.first.0..payload.first.0.saturating_add(count);
                    let kept = seqnos.clone().filter(|seqno| part.counts(SeqNo(*seqno), in_tables));
                    survey.ops += kept.count() as u64;
                    survey.next = survey.next.max(Some(SeqNo(seqnos.end)));
                }
                Content::Gap(gap) => {
                    broken = true;
                    let what = "left out by an earlier salvage";
                    let loss = Loss::new(part.file.path(), what).at(gap.offset, gap.size);
                    let (seqnos, ops) = (frame.sides, frame.ops_missing());
                    survey.losses.push(Loss { seqnos, ops, ..loss });
                }
                Content::Nonsense => {
                    broken = true;
                    let loss = Loss::new(part.file.path(), "a record that makes no sense");
                    survey.losses.push(loss.at(frame.offset, frame.size));
                }
                _ => {}
            },
            _ => {}
        }
        Ok::<(), Error>(())
    });
    match read {
        Ok(_) => {}
        Err(Error::NotOurs { detail, .. }) => {
            let path = part.file.path();
            survey.findings.push(Finding::new(Code::LogHeader, path, detail));
            survey.losses.push(Loss::new(path, "the log; no record of it can be found"));
        }
        Err(error) => return Err(error),
    }
    Ok(survey)
}

impl LogSurvey {
    /// Operations are missing before a record, and no bytes that could have been they.
    fn gap(&mut self, part: &LogPart, offset: u64, first: SeqNo) {
        let path = part.file.path();
        let next = self.next.unwrap_or(first);
        let before = SeqNo(next.0.saturating_sub(1));
        let what = format!("it goes on with seqno {first}, expected {next}");
        let code = if self.ops == 0 { Code::LogsGap } else { Code::RecordOutOfOrder };
        let is_told = self.findings.iter().any(|found| found.offset == Some(offset));
        if !is_told {
            self.findings.push(Finding::new(code, path, what).at(offset, 0));
        }
        let loss = Loss::new(path, "operations that are in no file").at(offset, 0);
        let (seqnos, ops) = ((Some(before), Some(first)), Some(first.0 - next.0));
        self.losses.push(Loss { seqnos, ops, ..loss });
    }
}
