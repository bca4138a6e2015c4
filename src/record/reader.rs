//! Reading frames in bounded memory, past every bad place.

use super::window::Window;
use crate::error::Result;
use crate::format::frame::{
    self, Decoded, FRAME_HEADER_SIZE, Kind, MAGIC, MEND_SIZE_MAX, frame_size,
};
use crate::types::FileId;
use crate::vfs::File;

/// What a disk writes whole or not at all.
const SECTOR_SIZE: u64 = 512;

/// Bytes that [`frame::decode`] gets to see where the file has them: all that its search for a
/// flipped bit may look at, so that its answer does not depend on where the window happens to be.
const DECODE_SIZE: usize = frame_size(MEND_SIZE_MAX);

/// What a [`Scanner`] finds next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A whole, intact frame.
    Frame {
        /// Where it begins.
        offset: u64,
        /// What the payload is.
        kind: Kind,
        /// All bytes before this offset were on stable storage when it was written; 0 promises
        /// nothing.
        synced_upto: u64,
        /// The payload.
        payload: &'a [u8],
        /// Bytes of the whole frame.
        size: u64,
    },
    /// Bytes that are no frames, and not only zeros up to the end.
    Bad {
        /// Where they begin, which is where a frame should.
        offset: u64,
        /// Where the next whole frame begins, or the file's end.
        end: u64,
        /// The offset behind the last byte of them that is not zero.
        data_end: u64,
        /// What was found and what was expected.
        detail: String,
        /// The one flipped bit that explains it all: (offset in the file, bit). Either flipping it
        /// back makes a frame whole, or all bytes from here to the file's end are zero but for this
        /// bit. What a lost or a lone sector explains as well is left out: crashes leave those.
        flipped: Option<(u64, u8)>,
    },
    /// Zeros up to the end of the file: space not used yet.
    Zeros {
        /// Where they begin.
        offset: u64,
        /// The file's end.
        end: u64,
    },
}

/// Reads the frames of a file one after the other.
///
/// After a bad place it goes on at the next offset where a whole, intact frame lies. A frame whose
/// header is intact but whose payload is not is skipped as a whole: what looks like a frame inside
/// it is a part of somebody's value. Memory is bounded by the largest frame whose header is intact.
#[derive(Debug)]
pub struct Scanner<'f> {
    window: Window<'f>,
    id: FileId,
    offset: u64,
    /// The frame before is a close or an end: nothing but zeros may follow, or a frame.
    is_settled: bool,
}

impl<'f> Scanner<'f> {
    /// Reads from `start` to `limit`, or to the file's end where that comes first.
    ///
    /// # Errors
    /// The file's own.
    pub fn new(
        file: &'f dyn File,
        id: FileId,
        start: u64,
        limit: Option<u64>,
    ) -> Result<Scanner<'f>> {
        let end = file.size()?.min(limit.unwrap_or(u64::MAX));
        Ok(Scanner { window: Window::new(file, end), id, offset: start, is_settled: false })
    }

    /// Where the next item begins.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next item; none at the end.
    ///
    /// # Errors
    /// The file's own. The scanner has not moved and may be asked again.
    #[allow(clippy::should_implement_trait, reason = "an item borrows from the scanner")]
    pub fn next(&mut self) -> Result<Option<Item<'_>>> {
        let (offset, id) = (self.offset, self.id);
        if offset >= self.window.end() {
            return Ok(None);
        }
        let mut wanted = DECODE_SIZE;
        loop {
            return match frame::decode(self.window.from(offset, wanted)?, id, offset) {
                Decoded::Frame { kind, synced_upto, payload, size } => {
                    let payload_size = payload.len();
                    self.frame(kind, synced_upto, payload_size, size)
                }
                Decoded::Zeros => self.zeros(),
                Decoded::Torn { size: Some(size) } => {
                    if self.fits(offset, size) {
                        wanted = size;
                        continue;
                    }
                    self.bad(format!("a frame of {size} bytes passes the end of the file"), None)
                }
                Decoded::Torn { size: None } => {
                    self.bad("the file ends inside a frame's header".to_owned(), None)
                }
                Decoded::Damaged { detail, flipped } => self.bad(detail, flipped),
            }
            .map(Some);
        }
    }

    fn fits(&self, offset: u64, size: usize) -> bool {
        offset + size as u64 <= self.window.end()
    }

    /// The intact frame here, of `size` bytes that are all in the window.
    fn frame(
        &mut self,
        kind: Kind,
        synced_upto: u64,
        payload_size: usize,
        size: usize,
    ) -> Result<Item<'_>> {
        let offset = self.offset;
        self.offset += size as u64;
        self.is_settled = matches!(kind, Kind::Close | Kind::End);
        let bytes = self.window.from(offset, size)?;
        let payload = &bytes[FRAME_HEADER_SIZE..][..payload_size];
        Ok(Item::Frame { offset, kind, synced_upto, payload, size: size as u64 })
    }

    fn zeros(&mut self) -> Result<Item<'_>> {
        let end = self.window.end();
        match self.window.first_nonzero(self.offset, end)? {
            None => {
                let offset = std::mem::replace(&mut self.offset, end);
                Ok(Item::Zeros { offset, end })
            }
            Some(data) => self.bad(format!("zeros, and then data at {data:#x}"), None),
        }
    }

    /// Finds how far a bad place reaches and whether one flipped bit explains it.
    fn bad(&mut self, mut detail: String, flipped: Option<(usize, u8)>) -> Result<Item<'_>> {
        let offset = self.offset;
        let end = self.next_frame(offset)?;
        let content = self.measure(offset, end)?;
        let mut flipped = flipped.map(|(byte, bit)| (offset + byte as u64, bit));
        if let Some((at, _)) = flipped
            && self.is_lost_sector(at)?
        {
            flipped = None;
        }
        if let Some((at, bit)) = flipped {
            detail.push_str(&format!("; one flipped bit explains it: bit {bit} at {at:#x}"));
        } else if let (true, Some((at, bit))) = (end == self.window.end(), content.only_bit)
            && (self.is_settled || at / SECTOR_SIZE == offset / SECTOR_SIZE)
        {
            detail = format!("zeros up to the end but for one flipped bit: bit {bit} at {at:#x}");
            flipped = content.only_bit;
        }
        self.offset = end;
        self.is_settled = false;
        Ok(Item::Bad { offset, end, data_end: content.data_end, detail, flipped })
    }

    /// Whether the sector around an offset is all zero. In a frame that is the work of a crash which
    /// lost the sector, also where a single bit was all that it had.
    fn is_lost_sector(&mut self, at: u64) -> Result<bool> {
        let start = at / SECTOR_SIZE * SECTOR_SIZE;
        let end = start + SECTOR_SIZE;
        Ok(start >= self.offset && self.window.first_nonzero(start, end)?.is_none())
    }

    /// The offset of the first whole frame behind the bad place that begins at `offset`, or the end.
    fn next_frame(&mut self, offset: u64) -> Result<u64> {
        let id = self.id;
        let mut at = offset;
        loop {
            let bytes = self.window.from(at, FRAME_HEADER_SIZE)?;
            if bytes.is_empty() {
                return Ok(self.window.end());
            }
            let Some(head) = frame::head(bytes, id, at) else {
                at = self.next_magic(at + 1)?;
                continue;
            };
            if !self.fits(at, head.size()) {
                return Ok(self.window.end());
            }
            if at != offset && head.is_whole(self.window.from(at, head.size())?) {
                return Ok(at);
            }
            at += head.size() as u64;
        }
    }

    /// The first offset from `from` on where the magic is, or the end.
    fn next_magic(&mut self, mut from: u64) -> Result<u64> {
        loop {
            let bytes = self.window.from(from, MAGIC.len())?;
            if bytes.len() < MAGIC.len() {
                return Ok(self.window.end());
            }
            if let Some(index) = bytes.windows(MAGIC.len()).position(|pair| pair == MAGIC) {
                return Ok(from + index as u64);
            }
            from += (bytes.len() - (MAGIC.len() - 1)) as u64;
        }
    }

    fn measure(&mut self, offset: u64, end: u64) -> Result<Content> {
        let mut content = Content { data_end: offset, only_bit: None };
        let mut bits = 0;
        let mut from = offset;
        while let Some(at) = self.window.first_nonzero(from, end)? {
            let bytes = self.window.chunk(at, end)?;
            let run = &bytes[..bytes.len().min(4096)];
            bits += run.iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>();
            content.only_bit = (bits == 1).then(|| (at, run[0].trailing_zeros() as u8));
            let last = run.iter().rposition(|&byte| byte != 0).unwrap_or_default();
            from = at + run.len() as u64;
            content.data_end = at + last as u64 + 1;
        }
        Ok(content)
    }
}

/// What is in a bad place.
struct Content {
    /// The offset behind the last byte that is not zero.
    data_end: u64,
    /// The bit that is set, if only one is.
    only_bit: Option<(u64, u8)>,
}
