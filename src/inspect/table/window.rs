//! Large reads of a file, cut into the pieces that are asked for.

use crate::error::Result;
use crate::vfs::File;

/// Bytes read at a time; a piece that is larger is read alone.
const WINDOW_SIZE: u64 = 1 << 20;

/// A part of a file in memory, moved on as pieces behind it are asked for.
#[derive(Debug)]
pub(super) struct Window<'f> {
    file: &'f dyn File,
    bytes: Vec<u8>,
    start: u64,
    /// Where to stop reading ahead.
    limit: u64,
}

impl<'f> Window<'f> {
    /// A window on a file, of which nothing from `limit` on is needed.
    pub(super) fn new(file: &'f dyn File, limit: u64) -> Window<'f> {
        Window { file, bytes: Vec::new(), start: 0, limit }
    }

    /// `size` bytes from `offset` on; fewer where the file, or what is needed of it, ends.
    pub(super) fn get(&mut self, offset: u64, size: u64) -> Result<&[u8]> {
        let wanted = size.min(self.limit.saturating_sub(offset));
        let end = self.start + self.bytes.len() as u64;
        if offset < self.start || offset + wanted > end {
            let ahead = wanted.max(WINDOW_SIZE).min(self.limit.saturating_sub(offset));
            self.bytes.resize(ahead as usize, 0);
            self.start = offset;
            let read = self.file.read_at(&mut self.bytes, offset)?;
            self.bytes.truncate(read);
        }
        let from = ((offset - self.start) as usize).min(self.bytes.len());
        let upto = (from + wanted as usize).min(self.bytes.len());
        Ok(&self.bytes[from..upto])
    }
}
