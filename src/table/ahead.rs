//! Reading ahead: a walk that goes from block to block and finds none of them in the cache gets many
//! with one read of the file.

use std::ops::Range;
use std::sync::Arc;

use super::cache::CachedBlock;
use super::reader::Table;
use crate::error::{Error, Result};
use crate::format::block::{Kind, unseal_into};

/// Blocks in a row that are read one by one, before more are expected.
const RUN_MIN: u32 = 2;

/// Bytes read at first, and at most; in between, twice as many each time.
const WINDOW_MIN: u64 = 32 << 10;
const WINDOW_MAX: u64 = 256 << 10;

/// What a walk has read ahead, and whether it has reason to.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// The block after the one that was missing last, and how many were missing in a row.
    next: usize,
    run: u32,
    /// Bytes of the file from `start` on: these blocks.
    bytes: Vec<u8>,
    start: u64,
    blocks: Range<usize>,
    /// Bytes to read the next time.
    window: u64,
}

impl Ahead {
    /// The block at `position`, which is not in the cache.
    #[cold]
    pub(super) fn load(
        &mut self,
        table: &Table,
        position: usize,
        keep: bool,
    ) -> Result<Arc<CachedBlock>> {
        self.run = if position == self.next { self.run.saturating_add(1) } else { 0 };
        self.next = position + 1;
        if self.run < RUN_MIN {
            self.window = WINDOW_MIN;
            return table.load_block(position, keep);
        }
        if !self.blocks.contains(&position) && self.read(table, position).is_err() {
            // What could not be read may lie further ahead: this block alone decides.
            return table.load_block(position, keep);
        }
        let handle = table.index().handle(position);
        let start = (handle.offset - self.start) as usize;
        let sealed = &self.bytes[start..start + handle.size as usize];
        let mut content = Vec::new();
        unseal_into(Kind::Data, sealed, table.meta().id, handle.offset, &mut content)
            .map_err(|reason| Error::corruption(table.path(), handle.offset, reason))?;
        let block = table.accept_data_block(position, handle, content)?;
        Ok(table.keep_block(position, keep, block))
    }

    /// Reads a window of whole blocks, at least one.
    fn read(&mut self, table: &Table, position: usize) -> Result<()> {
        self.blocks = 0..0;
        let index = table.index();
        let first = index.handle(position);
        let fits = |block: usize| index.handle(block).end() <= Some(first.offset + self.window);
        let mut end = position + 1;
        while end < index.count() && fits(end) {
            end += 1;
        }
        let last = index.handle(end - 1);
        let size = (last.offset - first.offset) as usize + last.size as usize;
        self.bytes.resize(size, 0);
        let read = table.file().read_at(&mut self.bytes, first.offset)?;
        if read < size {
            let detail = format!("data block: the file ends after {read} of {size} bytes");
            return Err(Error::corruption(table.path(), first.offset, detail));
        }
        table.count_read((end - position) as u64, size as u64);
        (self.start, self.blocks) = (first.offset, position..end);
        self.window = (self.window * 2).min(WINDOW_MAX);
        Ok(())
    }
}
