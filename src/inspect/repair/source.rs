//! Entries of tables that may be damaged, in order, alone or merged.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::block::{Block, Kind};
use crate::format::key::{self, InternalKey};
use crate::format::table::Handle;
use crate::table::{Index, read_block};
use crate::types::FileId;
use crate::vfs::File;

/// A data block that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LostBlock {
    pub(super) handle: Handle,
    /// The last key before it, if there is one, and its own last.
    pub(super) keys: (Option<Vec<u8>>, Vec<u8>),
}

/// Where the parts of a table lie, as its footer or the manifest says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    pub(super) id: FileId,
    pub(super) index: Handle,
    /// Where the data blocks end.
    pub(super) data_end: u64,
}

/// The entries of one table, past its bad blocks. Before the first entry at first.
#[derive(Debug)]
pub(super) struct Source {
    file: Arc<dyn File>,
    id: FileId,
    index: Index,
    /// The next block.
    next: usize,
    block: Option<Block>,
    entry: usize,
    /// The entry it is at.
    key: Option<InternalKey>,
    pub(super) lost: Vec<LostBlock>,
}

impl Source {
    /// Opens a table; why not, if its index cannot be read.
    pub(super) fn open(file: &Arc<dyn File>, places: Places) -> Result<Result<Source, String>> {
        let Places { id, index, data_end } = places;
        let content = match read_block(&**file, id, Kind::Index, index) {
            Ok(content) => content,
            Err(Error::Corruption(damage)) => return Ok(Err(damage.detail)),
            Err(error) => return Err(error),
        };
        Ok(Index::new(content, data_end).map(|index| Source {
            file: Arc::clone(file),
            id,
            index,
            next: 0,
            block: None,
            entry: 0,
            key: None,
            lost: Vec::new(),
        }))
    }

    /// Moves to the next entry; false behind the last.
    pub(super) fn advance(&mut self) -> Result<bool> {
        let more = self.block.as_ref().is_some_and(|block| self.entry + 1 < block.count());
        if more {
            self.entry += 1;
        } else if !self.next_block()? {
            self.key = None;
            return Ok(false);
        }
        self.key = self.block.as_ref().map(|block| key_at(block, self.entry));
        Ok(true)
    }

    /// The entry it is at.
    pub(super) fn entry(&self) -> Option<(&InternalKey, &[u8])> {
        Some((self.key.as_ref()?, self.block.as_ref()?.value(self.entry)))
    }

    fn next_block(&mut self) -> Result<bool> {
        self.block = None;
        while self.next < self.index.count() {
            let position = self.next;
            self.next += 1;
            match self.read_block(position)? {
                Some(block) => {
                    (self.block, self.entry) = (Some(block), 0);
                    return Ok(true);
                }
                None => self.lost.push(self.lost_block(position)),
            }
        }
        Ok(false)
    }

    /// A block that can be read, and whose keys follow those before it.
    fn read_block(&self, position: usize) -> Result<Option<Block>> {
        let handle = self.index.handle(position);
        let content = match read_block(&*self.file, self.id, Kind::Data, handle) {
            Ok(content) => content,
            Err(Error::Corruption(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let Ok(block) = Block::new(content) else { return Ok(None) };
        let follows = |last: &InternalKey| {
            let first = key_at(&block, 0);
            key::compare(last.as_pair(), first.as_pair()).is_lt()
        };
        let is_good = block.verify_order().is_ok()
            && (0..block.count()).all(|entry| block.trailer(entry).kind().is_some())
            && self.key.as_ref().is_none_or(follows);
        Ok(is_good.then_some(block))
    }

    fn lost_block(&self, position: usize) -> LostBlock {
        let last = |position: usize| self.index.block().user_key(position);
        let before = position.checked_sub(1).map(last);
        LostBlock { handle: self.index.handle(position), keys: (before, last(position)) }
    }
}

fn key_at(block: &Block, entry: usize) -> InternalKey {
    InternalKey { user: block.user_key(entry), trailer: block.trailer(entry) }
}

/// Where a source stands, the one with the least key the greatest.
#[derive(Debug)]
struct Head {
    key: InternalKey,
    source: usize,
}

impl Ord for Head {
    fn cmp(&self, other: &Head) -> Ordering {
        key::compare(other.key.as_pair(), self.key.as_pair()).then(other.source.cmp(&self.source))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Head) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Head) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head {}

/// Calls `visit` with every entry of all sources in order; an entry that several have, once.
pub(super) fn merge(
    sources: &mut [Source],
    visit: &mut dyn FnMut(&InternalKey, &[u8]) -> Result<()>,
) -> Result<()> {
    let mut heads = BinaryHeap::new();
    for (index, source) in sources.iter_mut().enumerate() {
        advance(source, index, &mut heads)?;
    }
    let mut last: Option<InternalKey> = None;
    while let Some(Head { key, source: index }) = heads.pop() {
        let source = &mut sources[index];
        if last.as_ref() != Some(&key)
            && let Some((key, value)) = source.entry()
        {
            visit(key, value)?;
        }
        last = Some(key);
        advance(source, index, &mut heads)?;
    }
    Ok(())
}

fn advance(source: &mut Source, index: usize, heads: &mut BinaryHeap<Head>) -> Result<()> {
    if source.advance()?
        && let Some((key, _)) = source.entry()
    {
        heads.push(Head { key: key.clone(), source: index });
    }
    Ok(())
}
