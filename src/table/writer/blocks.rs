//! Whole blocks of other tables, taken over into a new one.

use super::TableWriter;
use crate::error::Result;
use crate::format::block::Block;
use crate::format::key::Trailer;
use crate::format::table::Handle;
use crate::table::Stored;

impl TableWriter {
    /// Appends all entries of another table's block, whose user keys are different and all greater
    /// than the one before. Returns whether the block was copied as it is stored.
    ///
    /// It is, if this table would have stored it the same way and it is neither so small nor so large
    /// that keeping it would leave blocks far from their target size. A block being filled ends
    /// before it; one that is too small for that takes the entries in, so that the next block can
    /// be copied.
    ///
    /// # Errors
    /// As [`TableWriter::add`].
    pub fn add_block(&mut self, stored: &Stored<'_>) -> Result<bool> {
        self.check()?;
        let block = stored.block;
        let (target, size) = (self.options.block_size, block.size());
        let good_size = block.count() == 1 || (target / 2..=target + target / 2).contains(&size);
        let same_form = stored.compression == self.options.compression || stored.incompressible;
        if !good_size || !same_form {
            self.add_entries(block).map(|()| false)
        } else if self.block.is_empty() || self.block.size() >= target as u64 / 2 {
            self.copy_block(stored).map(|()| true)
        } else {
            self.join_block(block).map(|()| false)
        }
    }

    fn add_entries(&mut self, block: &Block) -> Result<()> {
        let mut user = Vec::new();
        for entry in 0..block.count() {
            put_key(&mut user, block, entry);
            self.add(&user, block.trailer(entry), block.value(entry))?;
        }
        Ok(())
    }

    fn copy_block(&mut self, stored: &Stored<'_>) -> Result<()> {
        self.finish_block()?;
        self.count_block(stored.block);
        let offset = self.offset();
        let size = self.sealer.copy(&mut self.buffer, stored.sealed, stored.place, offset);
        self.enter_block(Handle { offset, size })
    }

    /// Appends the entries to the block being filled, which may become larger than its target, and
    /// ends it.
    fn join_block(&mut self, block: &Block) -> Result<()> {
        let mut user = Vec::new();
        for entry in 0..block.count() {
            put_key(&mut user, block, entry);
            self.block.add(&user, block.trailer(entry), block.value(entry));
        }
        self.count_block(block);
        self.finish_block()
    }

    /// Enters the entries of a block into counts and filter.
    fn count_block(&mut self, block: &Block) {
        assert!(block.compare(0, &self.user, Trailer::LAST).is_gt(), "keys must ascend");
        for entry in 0..block.count() {
            put_key(&mut self.user, block, entry);
            self.trailer = block.trailer(entry);
            self.counts.add(self.user.len(), self.trailer, block.value(entry).len());
            self.begin_key();
        }
    }
}

fn put_key(user: &mut Vec<u8>, block: &Block, entry: usize) {
    user.clear();
    user.extend_from_slice(block.prefix());
    user.extend_from_slice(block.suffix(entry));
}
