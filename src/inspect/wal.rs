//! A write-ahead log, frame by frame.
//!
//! Sequence numbers rise by one from operation to operation of a log, so a hole tells how many
//! operations are missing, and a batch that does not follow the one before it is damage.

use std::path::{Path, PathBuf};

use super::finding::{Code, Finding};
use super::frames::{self, Expect, FileHeader, Hole, Piece};
use crate::error::{Error, Result};
use crate::format::batch::{self, Op};
use crate::format::frame::{
    BatchPayload, ClosePayload, EndPayload, GapPayload, Kind, MarkPayload, frame_size,
};
use crate::format::header::FileKind;
use crate::record::{Item, Scanner};
use crate::types::{FileId, SeqNo};
use crate::vfs::File;

/// One part of a log.
#[derive(Debug)]
pub enum LogItem<'a> {
    /// The file and its header; always first.
    Header(&'a FileHeader),
    /// A whole, intact frame.
    Frame(LogFrame<'a>),
    /// Bytes that are no frames.
    Hole(Hole),
    /// Space that holds nothing: zeros up to the end, or what recovery has given up.
    Unused {
        /// Where it begins.
        offset: u64,
        /// Its bytes.
        size: u64,
    },
}

impl LogItem<'_> {
    /// Where it begins.
    #[must_use]
    pub fn offset(&self) -> u64 {
        match self {
            LogItem::Header(_) => 0,
            LogItem::Frame(frame) => frame.offset,
            LogItem::Hole(hole) => hole.offset,
            LogItem::Unused { offset, .. } => *offset,
        }
    }

    /// What is wrong with this part, or unusual about it.
    #[must_use]
    pub fn finding(&self) -> Option<&Finding> {
        match self {
            LogItem::Header(header) => header.damage.as_ref(),
            LogItem::Frame(frame) => frame.finding.as_ref(),
            LogItem::Hole(hole) => Some(&hole.finding),
            LogItem::Unused { .. } => None,
        }
    }
}

/// A frame of a log.
#[derive(Debug)]
pub struct LogFrame<'a> {
    /// Where it begins.
    pub offset: u64,
    /// Its bytes.
    pub size: u64,
    /// What it is.
    pub kind: Kind,
    /// The promise it carries; 0 is none.
    pub synced_upto: u64,
    /// What is in it.
    pub content: Content<'a>,
    /// Of a gap: the last operation before it, and the first behind it.
    pub sides: (Option<SeqNo>, Option<SeqNo>),
    /// What is wrong with the content of this intact frame, or, of a gap, what it says.
    pub finding: Option<Finding>,
}

impl LogFrame<'_> {
    /// What is wrong with the content.
    #[must_use]
    pub fn damage(&self) -> Option<&Finding> {
        self.finding.as_ref().filter(|finding| finding.is_damage())
    }

    /// Operations that are missing in a gap, if the file shows it.
    #[must_use]
    pub fn ops_missing(&self) -> Option<u64> {
        frames::between(self.sides)
    }
}

/// What is in a frame of a log.
#[derive(Clone, Copy, Debug)]
pub enum Content<'a> {
    /// Operations.
    Batch(BatchPayload<'a>, u64),
    /// What was on stable storage.
    Mark(MarkPayload),
    /// The store was closed.
    Close(ClosePayload),
    /// The log was rotated.
    End(EndPayload),
    /// A salvage left something out.
    Gap(GapPayload),
    /// Nothing that belongs in a log, or that can be read.
    Nonsense,
}

impl<'a> Content<'a> {
    /// The operations of a batch with their sequence numbers; of a damaged one, those before the
    /// damage.
    pub fn ops(&self) -> impl Iterator<Item = (SeqNo, Op<'a>)> + use<'a> {
        let (first, encoded): (SeqNo, &'a [u8]) = match self {
            Content::Batch(payload, _) => (payload.first, payload.batch),
            _ => (SeqNo::ZERO, &[]),
        };
        let ops = batch::Decoder::new(encoded).into_iter().flatten().map_while(|op| op.ok());
        (first.0..).map(SeqNo).zip(ops)
    }
}

/// What a log adds up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogTotals {
    /// Whole frames.
    pub frames: u64,
    /// Of those, batches.
    pub batches: u64,
    /// Operations in them.
    pub ops: u64,
    /// Operations missing between batches.
    pub ops_missing: u64,
    /// Holes that a crash explains.
    pub torn: u64,
    /// Things that no crash explains: holes, frames, the header.
    pub damaged: u64,
    /// Places where a salvage left something out.
    pub gaps: u64,
    /// The first operation there.
    pub first_seqno: Option<SeqNo>,
    /// The last operation there.
    pub last_seqno: Option<SeqNo>,
}

/// Reads a log, calling `visit` with each part of it.
///
/// # Errors
/// Those of `visit`; [`Error::NotOurs`] when the file is not a log (the text names the tool for
/// what it is), [`Error::Unsupported`] for a later format version, [`Error::Io`].
pub fn read_log<E: From<Error>>(
    file: &dyn File,
    expect: &Expect,
    visit: &mut dyn FnMut(LogItem<'_>) -> Result<(), E>,
) -> Result<LogTotals, E> {
    let mut reading = Reading::begin(file, expect);
    frames::walk(file, FileKind::Wal, expect, &mut |piece| {
        let item = reading.take(piece)?;
        visit(item)
    })?;
    Ok(reading.totals)
}

/// Where a reading stands.
pub(super) struct Reading<'f> {
    path: PathBuf,
    /// The operation before those still to come.
    last_seqno: Option<SeqNo>,
    /// Since the last batch there was a hole or a gap.
    broken: bool,
    ahead: Ahead<'f>,
    pub(super) totals: LogTotals,
}

impl<'f> Reading<'f> {
    pub(super) fn begin(file: &'f dyn File, expect: &Expect) -> Reading<'f> {
        let before = |first: SeqNo| SeqNo(first.0.saturating_sub(1));
        Reading {
            path: file.path().to_owned(),
            last_seqno: expect.first_seqno.map(before),
            broken: false,
            ahead: Ahead { file, end: expect.end, id: None, scanner: None, found: None },
            totals: LogTotals::default(),
        }
    }

    /// The file may have grown: what was not ahead may be now.
    pub(super) fn look_again(&mut self) {
        (self.ahead.scanner, self.ahead.found) = (None, None);
    }

    pub(super) fn take<'a>(&mut self, piece: Piece<'a>) -> Result<LogItem<'a>> {
        match piece {
            Piece::Header(header) => {
                self.ahead.id = header.id;
                self.totals.damaged += u64::from(header.damage.is_some());
                Ok(LogItem::Header(header))
            }
            Piece::Frame { offset, size, kind, synced_upto, payload } => {
                let (content, damage) = match decode(kind, offset, payload) {
                    Ok(content) => {
                        (content, self.follow(&content).map(|why| (Code::RecordOutOfOrder, why)))
                    }
                    Err(reason) => (Content::Nonsense, Some((Code::RecordUnreadable, reason))),
                };
                self.totals.frames += 1;
                self.totals.damaged += u64::from(damage.is_some());
                let mut sides = (None, None);
                let finding = match (damage, &content) {
                    (Some((code, what)), _) => Some(Finding::new(code, &self.path, what)),
                    (None, Content::Gap(gap)) => {
                        sides = (self.last_seqno, self.ahead.next_batch(offset + size)?);
                        Some(gap_finding(&self.path, gap, sides))
                    }
                    (None, _) => None,
                };
                let finding = finding.map(|finding| finding.at(offset, size));
                let frame = LogFrame { offset, size, kind, synced_upto, content, sides, finding };
                Ok(LogItem::Frame(frame))
            }
            Piece::Hole(hole) => self.hole(hole).map(LogItem::Hole),
            Piece::Unused { offset, size } => Ok(LogItem::Unused { offset, size }),
        }
    }

    fn hole(&mut self, hole: Hole) -> Result<Hole> {
        self.broken = true;
        self.totals.damaged += u64::from(hole.is_damage());
        self.totals.torn += u64::from(!hole.is_damage());
        let seqno_after = self.ahead.next_batch(hole.offset + hole.size)?;
        Ok(Hole { seqno_before: self.last_seqno, seqno_after, ..hole })
    }

    /// Counts a frame and says what contradicts those before it.
    fn follow(&mut self, content: &Content<'_>) -> Option<String> {
        let Content::Batch(payload, count) = *content else {
            let is_gap = matches!(content, Content::Gap(_));
            self.broken |= is_gap;
            self.totals.gaps += u64::from(is_gap);
            return None;
        };
        let totals = &mut self.totals;
        let first = payload.first;
        let expected = self.last_seqno.map_or(first, |last| last.plus(1));
        let broken = std::mem::take(&mut self.broken);
        // Where nothing is damaged before the first batch, a writer may have taken a number for an
        // ingest since it was told where the log should begin: how logs and tables follow each other
        // is for whoever can look at both again.
        let is_placed = totals.batches > 0 || broken;
        let damage = (first < expected || (first > expected && !broken && is_placed))
            .then(|| format!("it begins with seqno {first}, expected {expected}"));
        totals.batches += 1;
        totals.ops += count;
        if is_placed {
            totals.ops_missing += first.0.saturating_sub(expected.0);
        }
        totals.first_seqno.get_or_insert(first);
        self.last_seqno = Some(SeqNo((first.0 + count).saturating_sub(1)));
        totals.last_seqno = self.last_seqno;
        damage
    }
}

/// What a gap frame says.
fn gap_finding(path: &Path, gap: &GapPayload, sides: (Option<SeqNo>, Option<SeqNo>)) -> Finding {
    let what = match gap.size {
        0 => format!("operations were missing at {:#x} of the damaged log", gap.offset),
        size => format!("{size} bytes were left out at {:#x} of the damaged log", gap.offset),
    };
    let why = match (frames::between(sides), sides) {
        (Some(missing), (Some(before), Some(after))) => {
            format!("between seqno {before} and {after}, {missing} missing")
        }
        (_, (Some(before), _)) => format!("behind seqno {before}"),
        (_, (None, Some(after))) => format!("before seqno {after}"),
        _ => String::new(),
    };
    Finding::new(Code::LogGap, path, what).because(why)
}

/// Looks for the next batch behind a hole.
///
/// Holes without a batch between them share one look; and one scanner looks for all of them, so that
/// a log with a hole behind every record is read once more, not once for each.
struct Ahead<'f> {
    file: &'f dyn File,
    /// Where recovery settled the end.
    end: Option<u64>,
    id: Option<FileId>,
    scanner: Option<Scanner<'f>>,
    /// From where the last look began up to this offset there is no batch, and there is this one.
    found: Option<(u64, Option<SeqNo>)>,
}

impl Ahead<'_> {
    /// A scanner that lies further behind than this is not worth waiting for.
    const CATCH_UP_MAX: u64 = 64 << 10;

    /// The first sequence number of the first batch from `offset` on.
    fn next_batch(&mut self, offset: u64) -> Result<Option<SeqNo>> {
        if let Some((upto, found)) = self.found
            && offset <= upto
        {
            return Ok(found);
        }
        let Some(id) = self.id else { return Ok(None) };
        let is_near = |scanner: &Scanner<'_>| {
            offset.checked_sub(scanner.offset()).is_some_and(|behind| behind < Self::CATCH_UP_MAX)
        };
        let mut scanner = match self.scanner.take().filter(is_near) {
            Some(scanner) => scanner,
            None => Scanner::new(self.file, id, offset, self.end)?,
        };
        let mut found = (u64::MAX, None);
        while let Some(item) = scanner.next()? {
            if let Item::Frame { offset: at, kind: Kind::Batch, payload, .. } = item
                && at >= offset
                && let Ok(payload) = BatchPayload::decode(payload)
            {
                found = (at, Some(payload.first));
                break;
            }
        }
        (self.scanner, self.found) = (Some(scanner), Some(found));
        Ok(found.1)
    }
}

fn decode(kind: Kind, offset: u64, payload: &[u8]) -> Result<Content<'_>, String> {
    match kind {
        Kind::Batch => {
            let decoded = BatchPayload::decode(payload)?;
            let count = u64::from(batch::validate(decoded.batch)?);
            if decoded.first.0 + count > SeqNo::MAX.0 {
                return Err("its sequence numbers pass the largest there is".to_owned());
            }
            Ok(Content::Batch(decoded, count))
        }
        Kind::Mark => MarkPayload::decode(payload).map(Content::Mark),
        Kind::Close => {
            let close = ClosePayload::decode(payload)?;
            let second = close.log_end.checked_add(frame_size(payload.len()) as u64);
            if close.log_end != offset && second != Some(offset) {
                return Err(format!("it says that the log ended at {:#x}", close.log_end));
            }
            Ok(Content::Close(close))
        }
        Kind::End => {
            let end = EndPayload::decode(payload)?;
            if end.log_end != offset {
                return Err(format!("it says that the log ended at {:#x}", end.log_end));
            }
            Ok(Content::End(end))
        }
        Kind::Gap => GapPayload::decode(payload).map(Content::Gap),
        Kind::Edit => Err("an edit does not belong in a log".to_owned()),
    }
}
