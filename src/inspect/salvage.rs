//! Saving what is left of a damaged log into a new one.
//!
//! Invariants of the new log:
//! - It has the header of the old one, and all its whole records, in their order.
//! - Where something was left out, a gap frame says where and how much; a gap of no bytes stands where
//!   operations are missing but no bytes are. Nothing is left out without one, but for a tail that
//!   nobody promised: recovery would drop that as well.
//! - Its sequence numbers ascend, so it reads as sound. A record that goes back is left out.
//! - Each frame promises everything before it, which is true once the file is synced: whatever
//!   happens to a salvaged log later is damage, never a torn tail.

use std::path::Path;
use std::sync::Arc;

use super::frames::{Expect, FileHeader, Hole};
use super::wal::{Content, LogFrame, LogItem, LogTotals, read_log};
use crate::error::{Error, Result};
use crate::format::FORMAT_VERSION;
use crate::format::frame::{
    BatchPayload, ClosePayload, EndPayload, GapPayload, Kind, TERMINATOR, encode_header, frame_size,
};
use crate::format::header::{FileKind, HEADER_SIZE, Header};
use crate::format::names::{self, FileName};
use crate::types::{FileId, FileNumber, SeqNo, StoreId};
use crate::vfs::{self, File, Vfs};

/// Bytes that are gathered before they are written.
const BUFFER_SIZE: usize = 1 << 20;

/// What a salvage kept, and what it left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Salvaged {
    /// What is in the damaged log.
    pub found: LogTotals,
    /// Frames that were kept.
    pub frames: u64,
    /// Batches among them.
    pub batches: u64,
    /// Operations in those.
    pub ops: u64,
    /// Gaps in the new log, those that the old one had included.
    pub gaps: u64,
    /// Bytes that were left out and belonged to the log: damage, and what came too late.
    pub lost_bytes: u64,
    /// Bytes of a tail that a crash explains.
    pub torn_bytes: u64,
    /// The header could not be read: its store and its time are not known any more.
    pub is_header_lost: bool,
    /// Bytes of the new log.
    pub size: u64,
}

impl Salvaged {
    /// Whether anything was left out that recovery would not drop.
    #[must_use]
    pub fn has_losses(&self) -> bool {
        self.lost_bytes > 0 || self.is_header_lost || self.found.ops_missing > 0
    }
}

/// Saves what is left of `bad`, calling `visit` with each part of it; without a `good` only counts.
///
/// The new log is empty or new; its content is not synced. A log that is only cut, or only has a
/// torn tail, loses nothing.
///
/// # Errors
/// As [`read_log`], and the new file's own.
pub fn salvage<E: From<Error>>(
    bad: &dyn File,
    expect: &Expect,
    good: Option<Arc<dyn File>>,
    visit: &mut dyn FnMut(&LogItem<'_>) -> Result<(), E>,
) -> Result<Salvaged, E> {
    let mut salvage = Salvage {
        bad,
        out: Out { file: good, id: FileId(0), buffer: Vec::new(), written: 0 },
        pending: None,
        last: expect.first_seqno.map(|first| SeqNo(first.0.saturating_sub(1))),
        salvaged: Salvaged::default(),
    };
    let found = read_log(bad, expect, &mut |item| {
        salvage.take(&item)?;
        visit(&item)
    })?;
    salvage.end(found).map_err(E::from)
}

/// Saves what is left of `bad` as the new file `good`, which is durable when this returns.
///
/// It is written under another name first, so that a crash leaves no half of it, and a file that is
/// already there is not replaced.
///
/// # Errors
/// As [`salvage`]; [`Error::InvalidArgument`] when `good` exists.
pub fn salvage_to<E: From<Error>>(
    vfs: &dyn Vfs,
    bad: &dyn File,
    expect: &Expect,
    good: &Path,
    visit: &mut dyn FnMut(&LogItem<'_>) -> Result<(), E>,
) -> Result<Salvaged, E> {
    refuse_existing(vfs, good)?;
    let temp = Path::new(good).with_added_extension("tmp");
    let file = vfs.create(&temp).map_err(|error| match vfs.exists(&temp) {
        Ok(true) => {
            let what = format!("{} is left over, or somebody is at it", temp.display());
            Error::InvalidArgument(what)
        }
        _ => error,
    })?;
    let done = salvage(bad, expect, Some(Arc::clone(&file)), visit)
        .and_then(|salvaged| publish(vfs, &*file, &temp, good).map(|()| salvaged).map_err(E::from));
    if done.is_err() {
        // What cannot be removed is left under a name that nobody reads.
        let _ = vfs.remove(&temp);
    }
    done
}

fn refuse_existing(vfs: &dyn Vfs, good: &Path) -> Result<()> {
    if vfs.exists(good)? {
        return Err(Error::InvalidArgument(format!("{} exists", good.display())));
    }
    Ok(())
}

/// Makes the content durable, then the name. A link cannot replace a file, so it is tried first.
fn publish(vfs: &dyn Vfs, file: &dyn File, temp: &Path, good: &Path) -> Result<()> {
    file.sync()?;
    match vfs.link(temp, good) {
        Ok(()) => vfs.remove(temp)?,
        Err(error) if vfs::cannot_link(&error) => {
            refuse_existing(vfs, good)?;
            vfs.rename(temp, good)?;
        }
        Err(error) => {
            refuse_existing(vfs, good)?;
            return Err(error);
        }
    }
    vfs.sync_dir(good.parent().unwrap_or(Path::new("")))
}

/// Where a salvage stands.
struct Salvage<'f> {
    bad: &'f dyn File,
    out: Out,
    /// Left out since the last frame that was kept.
    pending: Option<Gap>,
    /// The last operation that was kept.
    last: Option<SeqNo>,
    salvaged: Salvaged,
}

/// Bytes that were left out.
#[derive(Clone, Copy)]
struct Gap {
    begin: u64,
    end: u64,
    /// No crash explains it.
    is_damage: bool,
}

impl Salvage<'_> {
    fn take(&mut self, item: &LogItem<'_>) -> Result<()> {
        match item {
            LogItem::Header(header) => self.header(header),
            LogItem::Hole(Hole { offset, size, .. }) => {
                let is_damage = item.finding().is_some_and(|finding| finding.is_damage());
                self.leave_out(*offset, *size, is_damage);
                Ok(())
            }
            LogItem::Frame(frame) => self.frame(frame),
            LogItem::Unused { .. } => Ok(()),
        }
    }

    fn header(&mut self, report: &FileHeader) -> Result<()> {
        self.salvaged.is_header_lost = report.header.is_none();
        let header = report.header.unwrap_or_else(|| Header {
            kind: FileKind::Wal,
            version: FORMAT_VERSION,
            id: report.id.unwrap_or_default(),
            store: StoreId(0),
            number: number_of(self.bad.path()),
            created_ms: 0,
        });
        self.out.id = header.id;
        self.out.push(&[&header.encode()])
    }

    fn leave_out(&mut self, offset: u64, size: u64, is_damage: bool) {
        let gap = self.pending.get_or_insert(Gap { begin: offset, end: offset, is_damage: false });
        gap.end = offset + size;
        gap.is_damage |= is_damage;
    }

    fn frame(&mut self, frame: &LogFrame<'_>) -> Result<()> {
        match frame.content {
            Content::Nonsense => self.leave_out(frame.offset, frame.size, true),
            Content::Batch(payload, count) => {
                let expected = self.last.map_or(payload.first, |last| last.plus(1));
                if payload.first < expected {
                    self.leave_out(frame.offset, frame.size, true);
                    return Ok(());
                }
                if payload.first > expected {
                    self.leave_out(frame.offset, 0, true);
                }
                self.last = Some(SeqNo((payload.first.0 + count).saturating_sub(1)));
                self.salvaged.batches += 1;
                self.salvaged.ops += count;
                let first = BatchPayload::encode_first(payload.first);
                self.keep(Kind::Batch, &[&first, payload.batch])?;
            }
            Content::Mark(mark) => self.keep(Kind::Mark, &[&mark.encode()])?,
            Content::Close(close) => {
                // The second of the pair says where the first is.
                let back = frame.offset - close.log_end;
                self.write_gap()?;
                let log_end = self.out.offset().saturating_sub(back);
                self.keep(Kind::Close, &[&ClosePayload { log_end, ..close }.encode()])?;
            }
            Content::End(_) => {
                self.write_gap()?;
                let log_end = self.out.offset();
                self.keep(Kind::End, &[&EndPayload { log_end }.encode()])?;
            }
            Content::Gap(gap) => {
                self.salvaged.gaps += 1;
                self.keep(Kind::Gap, &[&gap.encode()])?;
            }
        }
        Ok(())
    }

    fn keep(&mut self, kind: Kind, payload: &[&[u8]]) -> Result<()> {
        self.write_gap()?;
        self.salvaged.frames += 1;
        self.out.frame(kind, payload)
    }

    /// Records what was left out before the next frame.
    fn write_gap(&mut self) -> Result<()> {
        let Some(gap) = self.pending.take() else { return Ok(()) };
        let payload = GapPayload { offset: gap.begin, size: gap.end - gap.begin };
        self.salvaged.gaps += 1;
        self.salvaged.lost_bytes += payload.size;
        self.out.frame(Kind::Gap, &[&payload.encode()])
    }

    fn end(mut self, found: LogTotals) -> Result<Salvaged> {
        match self.pending {
            Some(gap) if !gap.is_damage => self.salvaged.torn_bytes = gap.end - gap.begin,
            _ => self.write_gap()?,
        }
        self.out.flush()?;
        Ok(Salvaged { found, size: self.out.offset(), ..self.salvaged })
    }
}

/// The number in a log's name; 0, which names no file, if it has none.
fn number_of(path: &Path) -> FileNumber {
    match path.file_name().and_then(|name| name.to_str()).map(names::parse) {
        Some(FileName::Log(number)) => number,
        _ => FileNumber(0),
    }
}

/// The new log; without a file only its offsets are counted.
struct Out {
    file: Option<Arc<dyn File>>,
    id: FileId,
    buffer: Vec<u8>,
    written: u64,
}

impl Out {
    fn offset(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn frame(&mut self, kind: Kind, payload: &[&[u8]]) -> Result<()> {
        let offset = self.offset();
        // Only frames can be synced before: the header alone is no promise worth a frame.
        let synced_upto = if offset > HEADER_SIZE as u64 { offset } else { 0 };
        let header = encode_header(self.id, offset, kind, synced_upto, payload);
        let size: usize = payload.iter().map(|part| part.len()).sum();
        self.push(&[&header])?;
        self.push(payload)?;
        self.push(&[&[TERMINATOR; 8][..frame_size(size) - header.len() - size]])
    }

    /// Appends bytes. Those of a large record go into the file from where they lie.
    fn push(&mut self, parts: &[&[u8]]) -> Result<()> {
        for part in parts {
            if self.buffer.len() + part.len() > BUFFER_SIZE {
                self.flush()?;
            }
            if part.len() < BUFFER_SIZE {
                self.buffer.extend_from_slice(part);
            } else {
                self.write(part)?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let buffer = std::mem::take(&mut self.buffer);
        self.write(&buffer)?;
        self.buffer = buffer;
        self.buffer.clear();
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if let Some(file) = &self.file {
            file.write_at(bytes, self.written)?;
        }
        self.written += bytes.len() as u64;
        Ok(())
    }
}
