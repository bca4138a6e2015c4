//! Walks over a table in the order of its keys, both ways.

use std::sync::Arc;

use super::ahead::Ahead;
use super::cache::CachedBlock;
use super::reader::{BlockValue, Table};
use crate::error::Result;
use crate::format::block::Block;
use crate::format::key::Trailer;
use crate::probe::mutant;

/// A position in a table; at first, and after an error, it is at no entry.
#[derive(Debug)]
pub struct TableIter {
    table: Arc<Table>,
    /// Whether the cache shall keep the blocks it reads.
    keep: bool,
    /// The data block it is in, none if it is at no entry, and where that stands in the index.
    block: Option<Arc<CachedBlock>>,
    position: usize,
    /// The entry within the block, and its user key: the block's prefix stays in place while
    /// suffixes come and go.
    entry: usize,
    user: Vec<u8>,
    ahead: Ahead,
}

impl TableIter {
    /// An iterator over a table, at no entry.
    #[must_use]
    pub fn new(table: Arc<Table>) -> TableIter {
        TableIter {
            table,
            keep: true,
            block: None,
            position: 0,
            entry: 0,
            user: Vec::new(),
            ahead: Ahead::default(),
        }
    }

    /// The same iterator, but the blocks it reads are not kept in the cache: for reading a table
    /// once, from end to end.
    #[must_use]
    pub fn without_caching(self) -> TableIter {
        TableIter { keep: false, ..self }
    }

    /// Whether it is at an entry.
    #[must_use]
    #[inline]
    pub fn valid(&self) -> bool {
        self.block.is_some()
    }

    /// User key and trailer of the entry it is at; meaningless if it is at none.
    #[must_use]
    #[inline]
    pub fn key(&self) -> (&[u8], Trailer) {
        match &self.block {
            Some(block) => (&self.user, block.trailer(self.entry)),
            None => (&[], Trailer::LAST),
        }
    }

    /// Value of the entry it is at; meaningless if it is at none.
    #[must_use]
    #[inline]
    pub fn value(&self) -> &[u8] {
        self.block.as_ref().map_or(&[], |block| block.value(self.entry))
    }

    /// The value, to be kept when the iterator moves on.
    ///
    /// # Panics
    /// If it is at no entry.
    #[must_use]
    pub fn value_pinned(&self) -> BlockValue {
        BlockValue::new(self.block.as_ref().expect("the iterator is at an entry"), self.entry)
    }

    /// The table it walks over.
    #[must_use]
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// Moves to the first entry.
    ///
    /// # Errors
    /// As [`Table::get`], here and below; the iterator is then at no entry.
    pub fn first(&mut self) -> Result<()> {
        self.enter(0, |_| Ok(0))
    }

    /// Moves to the last entry.
    ///
    /// # Errors
    /// As [`TableIter::first`].
    pub fn last(&mut self) -> Result<()> {
        self.enter(self.table.index().count() - 1, |block| Ok(block.count() - 1))
    }

    /// Moves to the first entry whose key is not less than the one given; to none if there is none.
    ///
    /// # Errors
    /// As [`TableIter::first`].
    pub fn seek(&mut self, user: &[u8], trailer: Trailer) -> Result<()> {
        let position = self.table.index().find(user, trailer);
        if position == self.table.index().count() {
            self.block = None;
            return Ok(());
        }
        let table = Arc::clone(&self.table);
        self.enter(position, |block| table.find_in(block, position, user, trailer))
    }

    /// Moves to the last entry whose key is less than the one given; to none if there is none.
    ///
    /// # Errors
    /// As [`TableIter::first`].
    pub fn seek_before(&mut self, user: &[u8], trailer: Trailer) -> Result<()> {
        self.seek(user, trailer)?;
        if self.valid() { self.prev() } else { self.last() }
    }

    /// Moves to the entry behind; to none from the last, and from none.
    ///
    /// # Errors
    /// As [`TableIter::first`].
    #[inline]
    #[allow(clippy::should_implement_trait)] // It lends its key, and it can fail.
    pub fn next(&mut self) -> Result<()> {
        let Some(block) = &self.block else { return Ok(()) };
        if self.entry + 1 < block.count() {
            self.entry += 1;
            self.user.truncate(block.prefix().len());
            self.user.extend_from_slice(block.suffix(self.entry));
            return Ok(());
        }
        if self.position + 1 == self.table.index().count() {
            self.block = None;
            return Ok(());
        }
        self.enter(self.position + 1, |_| Ok(0))
    }

    /// Moves to the entry before; to none from the first, and from none.
    ///
    /// # Errors
    /// As [`TableIter::first`].
    pub fn prev(&mut self) -> Result<()> {
        let Some(block) = &self.block else { return Ok(()) };
        if self.entry > 0 {
            self.entry -= 1;
            self.user.truncate(block.prefix().len());
            self.user.extend_from_slice(block.suffix(self.entry));
            return Ok(());
        }
        if self.position == 0 {
            self.block = None;
            return Ok(());
        }
        // Rule 15: a reverse scan shows what a scan does.
        let skipped = usize::from(mutant("reverse_scan_skips_an_entry"));
        self.enter(self.position - 1, |block| Ok((block.count() - 1).saturating_sub(skipped)))
    }

    /// Moves to the entry that `find` chooses in the data block at `position`. That block's keys
    /// lie between its neighbours': [`Table::data_block`] has made sure.
    fn enter(&mut self, position: usize, find: impl FnOnce(&Block) -> Result<usize>) -> Result<()> {
        // Taken out first, so that an error leaves the iterator at no entry.
        let block = match self.block.take() {
            Some(block) if self.position == position => block,
            _ => match self.table.cached(position) {
                Some(block) => block,
                None => self.ahead.load(&self.table, position, self.keep)?,
            },
        };
        self.entry = find(&block)?;
        self.position = position;
        self.user.clear();
        self.user.extend_from_slice(block.prefix());
        self.user.extend_from_slice(block.suffix(self.entry));
        self.block = Some(block);
        Ok(())
    }
}
