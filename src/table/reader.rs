//! Reads a table: opens it, and looks up single keys.

use std::fmt;
use std::ops::{Deref, Range};
use std::path::Path;
use std::sync::Arc;

use super::cache::{BlockCache, BlockGuard, CachedBlock, TableBlocks};
use super::index::Index;
use super::parts::{read_block, read_footer, read_properties};
use super::stats::{Count, Opened, TableStats};
use super::watch::{Unwatched, Watch};
use crate::error::{Error, Result};
use crate::format::block::{Block, Kind};
use crate::format::filter::Filter;
use crate::format::key::Trailer;
use crate::format::table::{FOOTER_SIZE, Handle, Properties, TableMeta};
use crate::types::SeqNo;
use crate::vfs::{Access, File, Vfs};

/// An open table.
#[derive(Debug)]
pub struct Table {
    file: Arc<dyn File>,
    meta: TableMeta,
    filter: Filter,
    index: Index,
    /// Its blocks in the cache.
    blocks: Option<TableBlocks>,
    /// Counts it as open, and its reads.
    opened: Opened,
}

impl Table {
    /// Opens the table that the manifest describes as `meta`: reads footer, filter and index.
    ///
    /// # Errors
    /// [`Error::Io`] from the file, not found included; [`Error::Corruption`] when the file is not
    /// the one the manifest means, or one of the three parts is damaged; [`Error::Unsupported`]
    /// for a later format version.
    pub fn open(
        vfs: &dyn Vfs,
        path: &Path,
        meta: &TableMeta,
        cache: Option<Arc<BlockCache>>,
    ) -> Result<Table> {
        Table::open_in(vfs.open(path, Access::Read)?, meta, cache)
    }

    /// As [`Table::open`], in a file that is open already.
    ///
    /// # Errors
    /// As [`Table::open`].
    pub fn open_in(
        file: Arc<dyn File>,
        meta: &TableMeta,
        cache: Option<Arc<BlockCache>>,
    ) -> Result<Table> {
        let path = file.path();
        let size = file.size()?;
        if size != meta.size {
            let detail = format!("it has {size} bytes, the manifest says {}", meta.size);
            return Err(Error::corruption(path, None, detail));
        }
        let (footer, offset) = match read_footer(&*file) {
            // The manifest says that this is a table, so what does not look like one is damaged.
            Err(Error::NotOurs { path, detail, .. }) => {
                return Err(Error::corruption(path, None, detail));
            }
            footer => footer?,
        };
        let found = (footer.id, footer.filter, footer.properties, footer.index);
        if found.0 != meta.id {
            let detail = format!("footer: file id is {}, the manifest says {}", found.0, meta.id);
            return Err(Error::corruption(path, offset, detail));
        }
        if found != (meta.id, meta.filter, meta.properties, meta.index) {
            let detail = "footer: blocks are not where the manifest says";
            return Err(Error::corruption(path, offset, detail));
        }
        Table::load(file, meta.clone(), cache)
    }

    /// Opens a table by itself, for tools: what the manifest would know is taken from its
    /// properties.
    ///
    /// # Errors
    /// As [`Table::open`]; [`Error::NotOurs`] when the file is not a table; [`Error::Unsupported`]
    /// also for another order of keys.
    pub fn open_file(vfs: &dyn Vfs, path: &Path) -> Result<(Table, Properties)> {
        let file = vfs.open(path, Access::Read)?;
        let (footer, offset) = read_footer(&*file)?;
        let properties = read_properties(&*file, footer.id, footer.properties)?;
        let meta = TableMeta::of(&properties, &footer, offset + FOOTER_SIZE as u64);
        Ok((Table::load(file, meta, None)?, properties))
    }

    /// Reads filter and index, whose places have been compared with the footer's.
    fn load(file: Arc<dyn File>, meta: TableMeta, cache: Option<Arc<BlockCache>>) -> Result<Table> {
        let content = read_block(&*file, meta.id, Kind::Filter, meta.filter)?;
        let filter = Filter::decode(&content).map_err(|reason| {
            Error::corruption(file.path(), meta.filter.offset, format!("filter block: {reason}"))
        })?;
        let content = read_block(&*file, meta.id, Kind::Index, meta.index)?;
        let index = Index::new(content, meta.filter.offset)
            .and_then(|index| index.check_last(&meta.largest).map(|()| index))
            .map_err(|reason| {
                Error::corruption(file.path(), meta.index.offset, format!("index block: {reason}"))
            })?;
        let blocks = cache.map(|cache| TableBlocks::new(cache, index.count()));
        let table = Table { file, meta, filter, index, blocks, opened: Opened::default() };
        Ok(table.with_stats(Arc::default()))
    }

    /// The same table, counting into `stats`.
    #[must_use]
    pub fn with_stats(mut self, stats: Arc<TableStats>) -> Table {
        self.opened = Opened::new(stats, self.index_size(), self.filter.size());
        self
    }

    /// The newest version of a key with a sequence number of at most `seqno`, or none if the table
    /// has none. `hash` is [`filter::hash`](crate::format::filter::hash) of the key.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Corruption`] when a block cannot be read;
    /// [`Error::Unsupported`] when it has entries of an unknown kind.
    pub fn get(
        &self,
        user: &[u8],
        seqno: SeqNo,
        hash: u64,
    ) -> Result<Option<(Trailer, BlockValue)>> {
        self.get_with(user, seqno, hash, |trailer, entry| (trailer, entry.to_value()))
    }

    /// As [`Table::get`], but gives what it finds to `found` where it lies: cheaper, for a value
    /// that is looked at or copied at once.
    ///
    /// # Errors
    /// As [`Table::get`].
    #[inline]
    pub fn get_with<R>(
        &self,
        user: &[u8],
        seqno: SeqNo,
        hash: u64,
        found: impl FnOnce(Trailer, BlockEntry<'_>) -> R,
    ) -> Result<Option<R>> {
        self.get_watched(user, seqno, hash, &mut Unwatched, found)
    }

    /// As [`Table::get_with`], telling `watch` what it looks at.
    ///
    /// # Errors
    /// As [`Table::get`].
    #[inline]
    pub fn get_watched<R>(
        &self,
        user: &[u8],
        seqno: SeqNo,
        hash: u64,
        watch: &mut impl Watch,
        found: impl FnOnce(Trailer, BlockEntry<'_>) -> R,
    ) -> Result<Option<R>> {
        let may_contain = self.may_contain(hash);
        watch.filter(&self.filter, may_contain);
        if !may_contain {
            return Ok(None);
        }
        let target = Trailer::seek(seqno);
        let position = self.index.find(user, target);
        if position == self.index.count() {
            watch.absent(self.count_false_positive(self.index.block(), position, user));
            return Ok(None);
        }
        let guard = self.block_guard(position, watch)?;
        let Some(block) = guard.as_ref() else { return Ok(None) };
        block.touch_keys();
        let index = self.find_in(block, position, user, target)?;
        if block.key_is(index, user) {
            let (trailer, entry) = (block.trailer(index), BlockEntry { block, index });
            watch.found(trailer, entry);
            return Ok(Some(found(trailer, entry)));
        }
        watch.absent(match index {
            0 => self.count_false_positive(self.index.block(), position, user),
            _ => self.count_false_positive(block, index, user),
        });
        Ok(None)
    }

    /// `false` if the filter knows that no user key with this hash is in the table.
    #[must_use]
    #[inline]
    pub fn may_contain(&self, hash: u64) -> bool {
        let answer = self.filter.may_contain(hash);
        self.stats().count(if answer { Count::FilterPassed } else { Count::FilterNegative });
        answer
    }

    /// The data block at `position` of the index, from the cache or from the file; `keep` says
    /// whether the cache shall keep it.
    ///
    /// # Errors
    /// As [`Table::get`].
    pub fn data_block(&self, position: usize, keep: bool) -> Result<Arc<CachedBlock>> {
        if let Some(block) = self.cached(position) {
            return Ok(block);
        }
        self.load_block(position, keep)
    }

    /// The block for one read; it is there.
    #[inline]
    fn block_guard(&self, position: usize, watch: &mut impl Watch) -> Result<BlockGuard> {
        if let Some(blocks) = &self.blocks {
            let guard = blocks.get(position);
            if guard.is_some() {
                self.stats().count(Count::CacheHit);
                watch.block(&self.index, position, true);
                return Ok(guard);
            }
        }
        let block = self.load_block(position, true)?;
        watch.block(&self.index, position, false);
        Ok(BlockGuard::from_inner(Some(block)))
    }

    #[inline]
    pub(super) fn cached(&self, position: usize) -> Option<Arc<CachedBlock>> {
        let block = BlockGuard::into_inner(self.blocks.as_ref()?.get(position))?;
        self.stats().count(Count::CacheHit);
        Some(block)
    }

    /// Reads a block that the cache did not have.
    #[cold]
    pub(super) fn load_block(&self, position: usize, keep: bool) -> Result<Arc<CachedBlock>> {
        let block = self.read_data_block(position, self.index.handle(position))?;
        Ok(self.keep_block(position, keep, block))
    }

    /// Takes over a block that the cache did not have.
    pub(super) fn keep_block(&self, position: usize, keep: bool, block: Block) -> Arc<CachedBlock> {
        let block = Arc::new(CachedBlock::new(block));
        if let Some(blocks) = &self.blocks {
            self.stats().count(Count::CacheMiss);
            if keep {
                blocks.insert(position, &block);
            }
        }
        block
    }

    fn stats(&self) -> &TableStats {
        &self.opened.stats
    }

    /// Reads everything the way a doubtful reader would: every block from the file, the order of
    /// all keys, that the filter hides none, and that the properties have counted right.
    ///
    /// # Errors
    /// The first thing that is wrong, as [`Table::get`].
    pub fn verify(&self) -> Result<Properties> {
        let properties = self.properties()?;
        let mut entries = 0;
        for position in 0..self.index.count() {
            let handle = self.index.handle(position);
            let block = self.read_data_block(position, handle)?;
            block.verify_order().map_err(|reason| self.damaged(handle, reason))?;
            entries += block.count() as u64;
            for entry in 0..block.count() {
                let user = block.user_key(entry);
                if !self.filter.may_contain(crate::format::filter::hash(&user)) {
                    let key = user.escape_ascii();
                    return Err(self.damaged(handle, format!("the filter hides \"{key}\"")));
                }
            }
        }
        let blocks = self.index.count() as u64;
        if (properties.entries, properties.data_blocks) != (entries, blocks) {
            let detail = format!(
                "properties block: it says {} entries in {} blocks, there are {entries} in {blocks}",
                properties.entries, properties.data_blocks
            );
            return Err(Error::corruption(self.path(), self.meta.properties.offset, detail));
        }
        Ok(properties)
    }

    /// Reads the properties.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Corruption`].
    pub fn properties(&self) -> Result<Properties> {
        read_properties(&*self.file, self.meta.id, self.meta.properties)
    }

    /// The file it lies in.
    pub(super) fn file(&self) -> &dyn File {
        &*self.file
    }

    /// The path it was opened by.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// What the manifest knows of it.
    #[must_use]
    pub fn meta(&self) -> &TableMeta {
        &self.meta
    }

    /// Its index.
    #[must_use]
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Its filter.
    #[must_use]
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Bytes that filter and index take in memory as long as the table is open.
    #[must_use]
    pub fn pinned_size(&self) -> u64 {
        self.index_size() + self.filter.size()
    }

    fn index_size(&self) -> u64 {
        self.index.size() + self.blocks.as_ref().map_or(0, TableBlocks::size)
    }

    /// Position in the data block at `position` of the first entry not less than the key given,
    /// which the index says is there.
    pub(super) fn find_in(
        &self,
        block: &Block,
        position: usize,
        user: &[u8],
        trailer: Trailer,
    ) -> Result<usize> {
        let entry = block.lower_bound(user, trailer);
        if entry < block.count() {
            return Ok(entry);
        }
        Err(self.damaged(self.index.handle(position), "keys out of order"))
    }

    fn read_data_block(&self, position: usize, handle: Handle) -> Result<Block> {
        let content = read_block(&*self.file, self.meta.id, Kind::Data, handle)?;
        self.count_read(1, u64::from(handle.size));
        self.accept_data_block(position, handle, content)
    }

    pub(super) fn count_read(&self, blocks: u64, bytes: u64) {
        self.stats().add(Count::BlockRead, blocks);
        self.stats().add(Count::BlockBytesRead, bytes);
    }

    /// Checks the content of the data block at `position` of the index, however it was read: its
    /// structure, its place between its neighbours, its kinds.
    pub(super) fn accept_data_block(
        &self,
        position: usize,
        handle: Handle,
        content: Vec<u8>,
    ) -> Result<Block> {
        let block = Block::new(content).map_err(|reason| self.damaged(handle, reason))?;
        self.check_neighbours(&block, position).map_err(|reason| self.damaged(handle, reason))?;
        for entry in 0..block.count() {
            let trailer = block.trailer(entry);
            if trailer.kind().is_none() {
                let what = format!("an entry of kind {}", trailer.0 as u8);
                return Err(Error::Unsupported { path: self.path().to_owned(), what });
            }
        }
        Ok(block)
    }

    /// Checks that a data block lies between the last key of the block before it and its own last
    /// key in the index.
    fn check_neighbours(&self, block: &Block, position: usize) -> Result<(), String> {
        let index = self.index.block();
        let last = block.count() - 1;
        let key = index.user_key(position);
        if !block.key_is(last, &key) || block.trailer(last) != index.trailer(position) {
            return Err("its last key is not the one in the index".to_owned());
        }
        let follows = if position == 0 {
            let smallest = &self.meta.smallest;
            block.compare(0, &smallest.user, smallest.trailer).is_eq()
        } else {
            let before = index.user_key(position - 1);
            block.compare(0, &before, index.trailer(position - 1)).is_gt()
        };
        if follows {
            return Ok(());
        }
        Err("its first key does not follow the block before it".to_owned())
    }

    /// Counts a read that ended before `entry` without a result, unless the key was there and only
    /// its versions were too new: then it stands right before. `true` if it was counted.
    fn count_false_positive(&self, block: &Block, entry: usize, user: &[u8]) -> bool {
        let is_false = entry == 0 || !block.key_is(entry - 1, user);
        if is_false {
            self.stats().count(Count::FilterFalsePositive);
        }
        is_false
    }

    fn damaged(&self, handle: Handle, reason: impl fmt::Display) -> Error {
        Error::corruption(self.path(), handle.offset, format!("data block: {reason}"))
    }
}

/// An entry where it lies in its block.
#[derive(Clone, Copy, Debug)]
pub struct BlockEntry<'a> {
    block: &'a Arc<CachedBlock>,
    index: usize,
}

impl<'a> BlockEntry<'a> {
    /// Its value.
    #[must_use]
    #[inline]
    pub fn value(self) -> &'a [u8] {
        self.block.value(self.index)
    }

    /// Its value, to be kept.
    #[must_use]
    #[inline]
    pub fn to_value(self) -> BlockValue {
        BlockValue::new(self.block, self.index)
    }
}

/// A value that keeps its block in memory as long as it lives.
#[derive(Clone)]
pub struct BlockValue {
    block: Arc<CachedBlock>,
    range: Range<usize>,
}

impl BlockValue {
    pub(super) fn new(block: &Arc<CachedBlock>, index: usize) -> BlockValue {
        BlockValue { block: Arc::clone(block), range: block.value_range(index) }
    }
}

impl Deref for BlockValue {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.block.content()[self.range.clone()]
    }
}

impl fmt::Debug for BlockValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.escape_ascii())
    }
}
