//! Reads a table once, from its first entry to its last: what a merge of tables does.
//!
//! Unlike [`TableIter`](super::TableIter) it goes past the block cache, which belongs to readers,
//! and fetches many blocks with one read. Blocks are checked as every data block is. That the keys
//! ascend from block to block follows from those checks; within a block it is for the caller to
//! see.

use std::ops::Range;
use std::sync::Arc;

use super::reader::Table;
use crate::error::{Error, Result};
use crate::format::block::{self, Block, Compression, Kind};
use crate::format::key::Trailer;
use crate::format::table::Handle;
use crate::types::FileId;

/// Bytes read at a time; a block that is larger is read alone.
const WINDOW_SIZE: u64 = 512 << 10;

/// A position in a table that only moves forward; at first, at the end and after an error, it is at
/// no entry.
#[derive(Debug)]
pub struct TableScan {
    table: Arc<Table>,
    /// Bytes of the file from `window_start` on: the data blocks `window_blocks`.
    window: Vec<u8>,
    window_start: u64,
    window_blocks: Range<usize>,
    /// The block it is in, none if it is at no entry, and the position of the next one.
    block: Option<Block>,
    next: usize,
    compression: Compression,
    /// Whether a block up to here was stored compressed: then it was tried on all of them.
    compressing: bool,
    entry: usize,
    /// Memory for the content of the next block.
    content: Vec<u8>,
}

/// A data block where it lies in its file, checked.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'a> {
    /// Its entries.
    pub block: &'a Block,
    /// Its bytes in the file, trailer and all.
    pub sealed: &'a [u8],
    /// How they were made from its content.
    pub compression: Compression,
    /// Compression was tried on it and did not help: it is stored as it is, in a table where a block
    /// before it is compressed.
    pub incompressible: bool,
    /// The file, and where in it.
    pub place: (FileId, u64),
}

impl TableScan {
    /// A scan of a table, before its first block.
    #[must_use]
    pub fn new(table: Arc<Table>) -> TableScan {
        TableScan {
            table,
            window: Vec::new(),
            window_start: 0,
            window_blocks: 0..0,
            block: None,
            next: 0,
            compression: Compression::None,
            compressing: false,
            entry: 0,
            content: Vec::new(),
        }
    }

    /// The same for another table, in the memory of this one.
    #[must_use]
    pub fn reused_for(self, table: Arc<Table>) -> TableScan {
        let content = self.block.map_or(self.content, Block::into_content);
        TableScan { window: self.window, content, ..TableScan::new(table) }
    }

    /// The table it reads.
    #[must_use]
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// The block it is in and the position of its entry in there; none if it is at no entry.
    #[must_use]
    #[inline]
    pub fn entry(&self) -> Option<(&Block, usize)> {
        Some((self.block.as_ref()?, self.entry))
    }

    /// Sequence number and kind of the entry it is at; meaningless if it is at none.
    #[must_use]
    #[inline]
    pub fn trailer(&self) -> Trailer {
        self.entry().map_or(Trailer::LAST, |(block, entry)| block.trailer(entry))
    }

    /// The block it is in, as it lies in the file.
    #[must_use]
    pub fn stored(&self) -> Option<Stored<'_>> {
        let block = self.block.as_ref()?;
        let handle = self.table.index().handle(self.next - 1);
        Some(Stored {
            block,
            sealed: self.in_window(handle)?,
            compression: self.compression,
            incompressible: self.compressing && self.compression == Compression::None,
            place: (self.table.meta().id, handle.offset),
        })
    }

    /// Bytes in the file of the block it is in.
    #[must_use]
    pub fn block_bytes(&self) -> u64 {
        let position = self.block.as_ref().and_then(|_| self.next.checked_sub(1));
        position.map_or(0, |position| u64::from(self.table.index().handle(position).size))
    }

    /// Moves to the next entry of the block it is in; `false`, and no move, if there is none.
    #[inline]
    pub fn step(&mut self) -> bool {
        let Some(block) = &self.block else { return false };
        let more = self.entry + 1 < block.count();
        self.entry += usize::from(more);
        more
    }

    /// Moves to the first entry of the next block, `false` if it was in the last.
    ///
    /// # Errors
    /// As [`Table::get`]; it is then at no entry, and stays there.
    pub fn next_block(&mut self) -> Result<bool> {
        if let Some(block) = self.block.take() {
            self.content = block.into_content();
        }
        let position = self.next;
        if position == self.table.index().count() {
            return Ok(false);
        }
        // After an error there is nothing more to read.
        self.next = self.table.index().count();
        if !self.window_blocks.contains(&position) {
            self.read_window(position)?;
        }
        let handle = self.table.index().handle(position);
        let mut content = std::mem::take(&mut self.content);
        let Some(sealed) = self.in_window(handle) else {
            return Err(self.damaged(handle.offset, "the file ends within it".to_owned()));
        };
        let id = self.table.meta().id;
        let stored = block::unseal_into(Kind::Data, sealed, id, handle.offset, &mut content);
        self.compression =
            stored.map_err(|reason| Error::corruption(self.table.path(), handle.offset, reason))?;
        self.compressing |= self.compression != Compression::None;
        self.block = Some(self.table.accept_data_block(position, handle, content)?);
        self.entry = 0;
        self.next = position + 1;
        Ok(true)
    }

    /// Reads as many whole blocks from `position` on as make a window.
    fn read_window(&mut self, position: usize) -> Result<()> {
        let index = self.table.index();
        let start = index.handle(position).offset;
        let mut end = position + 1;
        while end < index.count() && index.handle(end).end() <= Some(start + WINDOW_SIZE) {
            end += 1;
        }
        let last = index.handle(end - 1);
        let size = (last.offset - start) as usize + last.size as usize;
        self.window_blocks = 0..0;
        self.window.resize(size, 0);
        let read = self.table.file().read_at(&mut self.window, start)?;
        if read < size {
            let detail = format!("the file ends after {read} of {size} bytes");
            return Err(self.damaged(start, detail));
        }
        self.table.count_read((end - position) as u64, size as u64);
        (self.window_start, self.window_blocks) = (start, position..end);
        Ok(())
    }

    fn in_window(&self, handle: Handle) -> Option<&[u8]> {
        let start = handle.offset.checked_sub(self.window_start)? as usize;
        self.window.get(start..start + handle.size as usize)
    }

    fn damaged(&self, offset: u64, reason: String) -> Error {
        Error::corruption(self.table.path(), offset, format!("data block: {reason}"))
    }
}

#[cfg(test)]
mod tests;
