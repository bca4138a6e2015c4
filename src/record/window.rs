//! The part of a file that a scanner has in memory.

use crate::error::Result;
use crate::probe::mutant;
use crate::vfs::File;

/// Bytes read at once. Small enough that a process that opens a small store does not spend its time
/// on touching fresh pages; a long log costs one system call for each window of it.
pub(super) const WINDOW_SIZE: usize = 32 << 10;

/// A window that moves over a file and grows only when asked for more than its usual size.
#[derive(Debug)]
pub(super) struct Window<'f> {
    file: &'f dyn File,
    /// Nothing is read from here on.
    end: u64,
    /// Where the buffer lies in the file.
    start: u64,
    buffer: Vec<u8>,
}

impl<'f> Window<'f> {
    /// A window over the file's first `end` bytes; `end` must not be larger than the file.
    pub(super) fn new(file: &'f dyn File, end: u64) -> Window<'f> {
        Window { file, end, start: 0, buffer: Vec::new() }
    }

    /// The offset that nothing is read beyond.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// The bytes from `offset` on: at least `size`, unless the end comes before.
    pub(super) fn from(&mut self, offset: u64, size: usize) -> Result<&[u8]> {
        let size = size.min(usize::try_from(self.end.saturating_sub(offset)).unwrap_or(usize::MAX));
        if !self.holds(offset, size) {
            self.fill(offset, size)?;
        }
        let from = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        Ok(self.buffer.get(from..).unwrap_or_default())
    }

    /// Whether all bytes between the two offsets are zero: otherwise the first that is not.
    pub(super) fn first_nonzero(&mut self, mut from: u64, to: u64) -> Result<Option<u64>> {
        while from < to {
            let bytes = self.chunk(from, to)?;
            if bytes.is_empty() {
                break;
            }
            if let Some(index) = first_nonzero(bytes) {
                return Ok(Some(from + index as u64));
            }
            from += bytes.len() as u64;
        }
        Ok(None)
    }

    /// The bytes from `from` on that one reading gives, none of them at or behind `to`.
    pub(super) fn chunk(&mut self, from: u64, to: u64) -> Result<&[u8]> {
        let left = usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX);
        let bytes = self.from(from, 1)?;
        Ok(&bytes[..bytes.len().min(left)])
    }

    fn holds(&self, offset: u64, size: usize) -> bool {
        offset >= self.start && offset + size as u64 <= self.start + self.buffer.len() as u64
    }

    /// Moves the window to `offset`, keeping what it already has from there on.
    fn fill(&mut self, offset: u64, size: usize) -> Result<()> {
        let have = self.start + self.buffer.len() as u64;
        if (self.start..have).contains(&offset) {
            self.buffer.drain(..(offset - self.start) as usize);
        } else {
            self.buffer.clear();
        }
        self.start = offset;
        let left = usize::try_from(self.end.saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = size.max(WINDOW_SIZE).min(left);
        self.buffer.shrink_to(wanted.max(WINDOW_SIZE));
        let kept = self.buffer.len();
        if wanted > kept {
            self.buffer.resize(wanted, 0);
            let mut read = self.file.read_at(&mut self.buffer[kept..], offset + kept as u64);
            // Rule 7: an I/O error while a log is read is not its end.
            if mutant("read_error_is_the_end") {
                read = Ok(read.unwrap_or(0));
            }
            // After an error too: what was not read must not stand there as zeros.
            self.buffer.truncate(kept + *read.as_ref().unwrap_or(&0));
            let read = read?;
            if kept + read < wanted {
                // Somebody cut the file since it was measured.
                self.end = offset + self.buffer.len() as u64;
            }
        }
        Ok(())
    }
}

/// The index of the first byte that is not zero.
fn first_nonzero(bytes: &[u8]) -> Option<usize> {
    // Whole chunks are folded without a branch, which the compiler turns into wide instructions.
    let chunk =
        bytes.chunks(1024).position(|chunk| chunk.iter().fold(0, |all, &b| all | b) != 0)?;
    let start = chunk * 1024;
    bytes[start..].iter().position(|&byte| byte != 0).map(|index| start + index)
}
