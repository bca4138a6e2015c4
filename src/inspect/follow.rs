//! Reading a log while somebody writes it.
//!
//! Invariant: a frame that is not whole yet is not damage. At the end of the log it is waited for;
//! with whole frames behind it, it is a hole only when it is still there at a later look, because a
//! writer may have been between the two.

use std::fmt;
use std::path::{Path, PathBuf};

use super::frames::{self, Expect, Piece};
use super::wal::{LogItem, LogTotals, Reading};
use crate::error::{Error, Result};
use crate::format::frame::Kind;
use crate::format::header::{FileKind, HEADER_SIZE};
use crate::format::names::{self, FileName};
use crate::record::{self, Item, Scanner};
use crate::types::FileId;
use crate::vfs::{File, Vfs};

/// Reads what was added to a log since the last look.
pub struct Follower<'f> {
    file: &'f dyn File,
    reading: Reading<'f>,
    /// The id of the frames, once there is a header.
    id: Option<FileId>,
    /// Where the last whole frame ended.
    at: u64,
    /// A bad place that was already there at the last look.
    doubt: Option<u64>,
    is_ended: bool,
}

impl fmt::Debug for Follower<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower").field("file", &self.file).field("at", &self.at).finish()
    }
}

/// What is called with each part.
type Visit<'v, E> = dyn FnMut(LogItem<'_>) -> Result<(), E> + 'v;

impl<'f> Follower<'f> {
    /// Begins before the file's header.
    #[must_use]
    pub fn begin(file: &'f dyn File, expect: &Expect) -> Follower<'f> {
        let reading = Reading::begin(file, expect);
        Follower { file, reading, id: None, at: 0, doubt: None, is_ended: false }
    }

    /// Whether the last frame says that the log was succeeded by another.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// What was read so far adds up to this.
    #[must_use]
    pub fn totals(&self) -> LogTotals {
        self.reading.totals
    }

    /// Visits what became whole since the last look, and says whether that was anything.
    ///
    /// # Errors
    /// As [`super::wal::read_log`], and [`Error::Moved`] when the file has become shorter.
    pub fn look<E: From<Error>>(&mut self, visit: &mut Visit<'_, E>) -> Result<bool, E> {
        let Some(id) = self.header(visit)? else { return Ok(false) };
        let begin = self.at;
        if self.file.size()? < self.at {
            return Err(Error::Moved { path: self.file.path().to_owned() }.into());
        }
        self.reading.look_again();
        let mut scanner = Scanner::new(self.file, id, self.at, None)?;
        loop {
            let end = match scanner.next()? {
                Some(Item::Frame { offset, kind, synced_upto, payload, size }) => {
                    self.is_ended = kind == Kind::End;
                    let piece = Piece::Frame { offset, size, kind, synced_upto, payload };
                    visit(self.reading.take(piece)?)?;
                    offset + size
                }
                Some(Item::Bad { offset, .. }) => match self.hole(id, offset, visit)? {
                    Some(end) => end,
                    None => break,
                },
                Some(Item::Zeros { .. }) | None => break,
            };
            self.at = end;
            if scanner.offset() != end {
                scanner = Scanner::new(self.file, id, end, None)?;
            }
        }
        Ok(self.at > begin)
    }

    /// Visits the rest, with what a crash left and what is unused: nobody writes this log any more.
    ///
    /// # Errors
    /// As [`super::wal::read_log`].
    pub fn finish<E: From<Error>>(&mut self, visit: &mut Visit<'_, E>) -> Result<(), E> {
        let Some(id) = self.header(visit)? else { return Ok(()) };
        self.reading.look_again();
        let reading = &mut self.reading;
        frames::walk_from(self.file, FileKind::Wal, id, self.at, &mut |piece| {
            let item = reading.take(piece)?;
            visit(item)
        })
    }

    /// The id of the frames; none while there is no header.
    fn header<E: From<Error>>(&mut self, visit: &mut Visit<'_, E>) -> Result<Option<FileId>, E> {
        if self.at > 0 {
            return Ok(self.id);
        }
        let mut bytes = [0; HEADER_SIZE];
        let read = self.file.read_at(&mut bytes, 0)?;
        if read < HEADER_SIZE || bytes == [0; HEADER_SIZE] {
            return Ok(None);
        }
        let header = frames::read_header(self.file, FileKind::Wal, &Expect::default())?;
        visit(self.reading.take(Piece::Header(&header))?)?;
        (self.id, self.at) = (header.id, HEADER_SIZE as u64);
        Ok(self.id)
    }

    /// Visits the bad place at `offset` if frames follow it and it is not new; where they begin.
    fn hole<E: From<Error>>(
        &mut self,
        id: FileId,
        offset: u64,
        visit: &mut Visit<'_, E>,
    ) -> Result<Option<u64>, E> {
        if self.doubt != Some(offset) {
            self.doubt = Some(offset);
            return Ok(None);
        }
        let Some((hole, end)) = frames::hole_at(self.file, FileKind::Wal, id, offset)? else {
            return Ok(None);
        };
        visit(self.reading.take(Piece::Hole(hole))?)?;
        Ok(Some(end))
    }
}

/// Whether a log holds a frame, so that its predecessor is not written any more.
///
/// # Errors
/// The file's own.
pub fn has_frame(file: &dyn File) -> Result<bool> {
    let Ok(header) = record::read_header(file, FileKind::Wal) else { return Ok(false) };
    let mut scanner = Scanner::new(file, header.id, HEADER_SIZE as u64, None)?;
    Ok(matches!(scanner.next()?, Some(Item::Frame { .. })))
}

/// The log of a store that comes after this one, by its name.
///
/// # Errors
/// The directory's own.
pub fn next_log(vfs: &dyn Vfs, dir: &Path, log: &Path) -> Result<Option<PathBuf>> {
    let name = log.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let FileName::Log(number) = names::parse(name) else { return Ok(None) };
    let numbers = vfs.list(dir)?.into_iter().filter_map(|name| match names::parse(&name) {
        FileName::Log(other) if other > number => Some(other),
        _ => None,
    });
    Ok(numbers.min().map(|next| dir.join(names::log(next))))
}
