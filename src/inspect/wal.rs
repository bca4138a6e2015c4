//! A write-ahead log, frame by frame.
//!
//! Sequence numbers rise by one from operation to operation of a log, so a hole tells how many
//! operations are missing, and a batch that does not follow the one before it is damage.

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
    /// What is wrong with this part, or unusual about it.
    #[must_use]
    pub fn finding(&self) -> Option<&Finding> {
        match self {
            LogItem::Header(header) => header.damage.as_ref(),
            LogItem::Frame(frame) => frame.damage.as_ref(),
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
    /// What is wrong with the content of this intact frame.
    pub damage: Option<Finding>,
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
    let mut reading = Reading::begin(file);
    frames::walk(file, FileKind::Wal, expect, &mut |piece| {
        let item = reading.take(piece)?;
        visit(item)
    })?;
    Ok(reading.totals)
}

/// Where a reading stands.
struct Reading<'f> {
    file: &'f dyn File,
    id: Option<FileId>,
    totals: LogTotals,
    /// Since the last batch there was a hole or a gap.
    broken: bool,
    /// The last look ahead: up to this offset there is no batch, and there is this one.
    ahead: Option<(u64, Option<SeqNo>)>,
}

impl<'f> Reading<'f> {
    fn begin(file: &'f dyn File) -> Reading<'f> {
        Reading { file, id: None, totals: LogTotals::default(), broken: false, ahead: None }
    }

    fn take<'a>(&mut self, piece: Piece<'a>) -> Result<LogItem<'a>> {
        match piece {
            Piece::Header(header) => {
                self.id = header.id;
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
                let damage = damage.map(|(code, what)| {
                    Finding::new(code, self.file.path(), what).at(offset, size)
                });
                self.totals.frames += 1;
                self.totals.damaged += u64::from(damage.is_some());
                Ok(LogItem::Frame(LogFrame { offset, size, kind, synced_upto, content, damage }))
            }
            Piece::Hole(hole) => self.hole(hole).map(LogItem::Hole),
            Piece::Unused { offset, size } => Ok(LogItem::Unused { offset, size }),
        }
    }

    fn hole(&mut self, hole: Hole) -> Result<Hole> {
        self.broken = true;
        self.totals.damaged += u64::from(hole.is_damage());
        self.totals.torn += u64::from(!hole.is_damage());
        let seqno_after = self.next_batch(hole.offset + hole.size)?;
        Ok(Hole { seqno_before: self.totals.last_seqno, seqno_after, ..hole })
    }

    /// Counts a frame and says what contradicts those before it.
    fn follow(&mut self, content: &Content<'_>) -> Option<String> {
        let Content::Batch(payload, count) = *content else {
            self.broken |= matches!(content, Content::Gap(_));
            return None;
        };
        let totals = &mut self.totals;
        let first = payload.first;
        let expected = totals.last_seqno.map_or(first, |last| last.plus(1));
        let broken = std::mem::take(&mut self.broken);
        let damage = (first < expected || (first > expected && !broken))
            .then(|| format!("it begins with seqno {first}, expected {expected}"));
        totals.batches += 1;
        totals.ops += count;
        totals.ops_missing += first.0.saturating_sub(expected.0);
        totals.first_seqno.get_or_insert(first);
        totals.last_seqno = Some(SeqNo((first.0 + count).saturating_sub(1)));
        damage
    }

    /// The first sequence number of the first batch from `offset` on. Holes without a batch between
    /// them share one look ahead.
    fn next_batch(&mut self, offset: u64) -> Result<Option<SeqNo>> {
        if let Some((upto, found)) = self.ahead
            && offset <= upto
        {
            return Ok(found);
        }
        let Some(id) = self.id else { return Ok(None) };
        let mut scanner = Scanner::new(self.file, id, offset, None)?;
        let mut ahead = (u64::MAX, None);
        while let Some(item) = scanner.next()? {
            if let Item::Frame { offset, kind: Kind::Batch, payload, .. } = item
                && let Ok(payload) = BatchPayload::decode(payload)
            {
                ahead = (offset, Some(payload.first));
                break;
            }
        }
        self.ahead = Some(ahead);
        Ok(ahead.1)
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
