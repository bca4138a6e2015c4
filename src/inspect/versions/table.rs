//! A table as a source of versions: walks over its entries in order, past every bad block.
//!
//! Nothing here relies on the filter. A block is walked over only when it is whole, ascends, and
//! lies where the index puts it; any other is a finding that names the keys it may hold.

use std::path::Path;
use std::sync::Arc;

use super::TableParts;
use crate::error::{Error, Result};
use crate::format::block::{Block, Kind, TRAILER_SIZE};
use crate::format::filter::Filter;
use crate::format::key::Trailer;
use crate::format::table::{FOOTER_SIZE, Footer, Handle, Properties, TableMeta};
use crate::inspect::finding::{Code, Finding};
use crate::table::{Index, read_block, read_footer};
use crate::types::{FileId, FileNumber, Level};
use crate::vfs::File;

/// A table that may hold versions.
#[derive(Clone, Debug)]
pub struct TableSource {
    /// The file.
    pub file: Arc<dyn File>,
    /// The number in its name; none for a table that is looked at by itself.
    pub number: Option<FileNumber>,
    /// Its level, if it is known.
    pub level: Option<Level>,
    /// What the manifest says about it.
    pub meta: Option<TableMeta>,
    /// Whether a read looks into it.
    pub is_live: bool,
}

/// Where the parts of a table are.
#[derive(Clone, Copy, Debug)]
struct Places {
    id: FileId,
    filter: Handle,
    properties: Handle,
    index: Handle,
}

impl Places {
    fn of(footer: &Footer) -> Places {
        let Footer { id, filter, properties, index, .. } = *footer;
        Places { id, filter, properties, index }
    }
}

impl TableSource {
    /// The path it was opened by.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    fn finding(&self, code: Code, what: impl Into<String>) -> Finding {
        let found = Finding::new(code, self.path(), what).in_level(self.level);
        match &self.meta {
            Some(meta) => found.of_keys(&meta.smallest.user, &meta.largest.user),
            None => found,
        }
    }

    fn at(&self, code: Code, handle: Handle, what: impl Into<String>) -> Finding {
        self.finding(code, what).at(handle.offset, u64::from(handle.size))
    }

    /// Where its parts are: by its footer, or, when that is damaged, by the manifest.
    fn places(&self, findings: &mut Vec<Finding>) -> Result<Option<Places>> {
        let size = self.file.size()?;
        let meta = self.meta.as_ref();
        if let Some(meta) = meta.filter(|meta| meta.size != size) {
            let what = format!("it has {size} bytes, the manifest says {}", meta.size);
            findings.push(self.finding(Code::TableCut, what));
        }
        let detail = match read_footer(&*self.file) {
            Ok((footer, _)) => {
                if let Some(meta) = meta.filter(|meta| meta.id != footer.id) {
                    let what = format!("its id is {}, the manifest says {}", footer.id, meta.id);
                    findings.push(self.finding(Code::TableForeign, what));
                }
                return Ok(Some(Places::of(&footer)));
            }
            Err(Error::Corruption(damage)) => damage.detail,
            Err(Error::NotOurs { detail, .. }) => detail,
            Err(error) => return Err(error),
        };
        let offset = size.saturating_sub(FOOTER_SIZE as u64);
        findings.push(self.finding(Code::FooterDamaged, detail).at(offset, size - offset));
        let meta = meta.filter(|meta| meta.size == size && meta.check().is_ok());
        Ok(meta.map(|meta| {
            let TableMeta { id, filter, properties, index, .. } = *meta;
            Places { id, filter, properties, index }
        }))
    }

    fn content(&self, places: Places, kind: Kind) -> Result<Result<Vec<u8>, String>> {
        let handle = match kind {
            Kind::Filter => places.filter,
            Kind::Properties => places.properties,
            _ => places.index,
        };
        match read_block(&*self.file, places.id, kind, handle) {
            Ok(content) => Ok(Ok(content)),
            Err(Error::Corruption(damage)) => Ok(Err(damage.detail)),
            Err(error) => Err(error),
        }
    }

    /// Its properties, if they can be read.
    ///
    /// # Errors
    /// The file's own; [`Error::Unsupported`] for a later format version.
    pub fn properties(&self, findings: &mut Vec<Finding>) -> Result<Option<Properties>> {
        let Some(places) = self.places(&mut Vec::new())? else { return Ok(None) };
        let decoded = self.content(places, Kind::Properties)?.and_then(|content| {
            Properties::decode(&content).map_err(|reason| format!("properties block: {reason}"))
        });
        match decoded {
            Ok(properties) => Ok(Some(properties)),
            Err(what) => {
                findings.push(self.at(Code::PropertiesDamaged, places.properties, what));
                Ok(None)
            }
        }
    }

    /// Its filter, if it can be read.
    ///
    /// # Errors
    /// As [`TableSource::properties`].
    pub fn filter(&self, findings: &mut Vec<Finding>) -> Result<Option<Filter>> {
        let Some(places) = self.places(&mut Vec::new())? else { return Ok(None) };
        let decoded = self.content(places, Kind::Filter)?.and_then(|content| {
            Filter::decode(&content).map_err(|reason| format!("filter block: {reason}"))
        });
        match decoded {
            Ok(filter) => Ok(Some(filter)),
            Err(what) => {
                findings.push(self.at(Code::FilterDamaged, places.filter, what));
                Ok(None)
            }
        }
    }
}

/// A walk over a table; at first, and at its end, at no entry.
#[derive(Debug)]
pub(super) struct TableWalk {
    pub(super) source: TableSource,
    places: Places,
    index: Index,
    /// The block it is in, and the position of the next.
    block: Option<Block>,
    next: usize,
    entry: usize,
    user: Vec<u8>,
    share: Share,
    pub(super) parts: TableParts,
}

impl TableWalk {
    /// Opens a table; none if nothing in it can be found, which is a finding.
    pub(super) fn open(
        source: TableSource,
        findings: &mut Vec<Finding>,
    ) -> Result<Option<TableWalk>> {
        let Some(places) = source.places(findings)? else { return Ok(None) };
        let decoded = source.content(places, Kind::Index)?.and_then(|content| {
            Index::new(content, places.filter.offset)
                .map_err(|reason| format!("index block: {reason}"))
        });
        let index = match decoded {
            Ok(index) => index,
            Err(what) => {
                findings.push(source.at(Code::IndexDamaged, places.index, what));
                return Ok(None);
            }
        };
        let parts = TableParts {
            index: u64::from(places.index.size),
            filter: u64::from(places.filter.size),
            properties: u64::from(places.properties.size),
            trailers: FOOTER_SIZE as u64,
            ..TableParts::default()
        };
        let mut walk = TableWalk {
            source,
            places,
            index,
            block: None,
            next: 0,
            entry: 0,
            user: Vec::new(),
            share: Share::default(),
            parts,
        };
        walk.compare_bounds(findings);
        Ok(Some(walk))
    }

    /// The last key in the index against the manifest's.
    fn compare_bounds(&mut self, findings: &mut Vec<Finding>) {
        let Some(meta) = &self.source.meta else { return };
        if let Err(reason) = self.index.check_last(&meta.largest) {
            let what = format!("index block: {reason}, as the manifest says");
            findings.push(self.source.at(Code::TableDisagrees, self.places.index, what));
        }
    }

    /// Moves to the first entry whose user key is not less than the one given.
    pub(super) fn seek(&mut self, user: &[u8], findings: &mut Vec<Finding>) -> Result<bool> {
        self.block = None;
        self.next = self.index.find(user, Trailer::FIRST);
        let mut more = self.advance(findings)?;
        while more && self.key() < user {
            more = self.advance(findings)?;
        }
        Ok(more)
    }

    /// Moves to the next entry; `false` if there is none.
    pub(super) fn advance(&mut self, findings: &mut Vec<Finding>) -> Result<bool> {
        match &self.block {
            Some(block) if self.entry + 1 < block.count() => self.entry += 1,
            _ => {
                self.block = None;
                while self.block.is_none() {
                    if self.next == self.index.count() {
                        return Ok(false);
                    }
                    self.enter(findings)?;
                }
            }
        }
        if let Some(block) = &self.block {
            self.user.clear();
            self.user.extend_from_slice(block.prefix());
            self.user.extend_from_slice(block.suffix(self.entry));
            self.share.step(block, self.entry);
        }
        Ok(true)
    }

    /// Reads the next block; a bad one is a finding and is left out.
    fn enter(&mut self, findings: &mut Vec<Finding>) -> Result<()> {
        let position = self.next;
        self.next += 1;
        let handle = self.index.handle(position);
        let read = match read_block(&*self.source.file, self.places.id, Kind::Data, handle) {
            Ok(content) => self.accept(content, position),
            Err(Error::Corruption(damage)) => Err((Code::BlockDamaged, damage.detail)),
            Err(error) => return Err(error),
        };
        match read {
            Ok(block) => {
                let stored = u64::from(handle.size).saturating_sub(TRAILER_SIZE as u64);
                self.parts.blocks += stored;
                self.parts.trailers += u64::from(handle.size) - stored;
                self.share = Share::of(&block, stored);
                self.entry = 0;
                self.block = Some(block);
            }
            Err((code, what)) => {
                self.parts.damaged += u64::from(handle.size);
                let last = self.index.block().user_key(position);
                let first = match position {
                    0 => self.source.meta.as_ref().map_or(Vec::new(), |m| m.smallest.user.clone()),
                    _ => self.index.block().user_key(position - 1),
                };
                findings.push(self.source.at(code, handle, what).of_keys(&first, &last));
            }
        }
        Ok(())
    }

    /// The block, if it ascends and lies between its neighbours.
    fn accept(&self, content: Vec<u8>, position: usize) -> Result<Block, (Code, String)> {
        let say = |code, reason: String| (code, format!("data block: {reason}"));
        let block = Block::new(content).map_err(|reason| say(Code::BlockMalformed, reason))?;
        block.verify_order().map_err(|reason| say(Code::KeysDescend, reason))?;
        let (index, last) = (self.index.block(), block.count() - 1);
        if !index.compare(position, &block.user_key(last), block.trailer(last)).is_eq() {
            let reason = "its last key is not the one in the index".to_owned();
            return Err(say(Code::IndexDisagrees, reason));
        }
        let first = (block.user_key(0), block.trailer(0));
        if position > 0 && !index.compare(position - 1, &first.0, first.1).is_lt() {
            let reason = "its first key does not follow the block before it".to_owned();
            return Err(say(Code::KeysDescend, reason));
        }
        let smallest = self.source.meta.as_ref().map(|meta| &meta.smallest);
        if let Some(smallest) =
            smallest.filter(|key| position == 0 && key.as_pair() != (&first.0[..], first.1))
        {
            let reason = format!("its first key is not {smallest}, as the manifest says");
            return Err(say(Code::TableDisagrees, reason));
        }
        let unknown = (0..block.count()).find(|&entry| block.trailer(entry).kind().is_none());
        match unknown {
            Some(entry) => {
                let reason = format!("an entry of kind {}", block.trailer(entry).0 as u8);
                Err(say(Code::BlockMalformed, reason))
            }
            None => Ok(block),
        }
    }

    /// The user key of the entry it is at.
    pub(super) fn key(&self) -> &[u8] {
        &self.user
    }

    pub(super) fn trailer(&self) -> Trailer {
        self.block.as_ref().map_or(Trailer::LAST, |block| block.trailer(self.entry))
    }

    pub(super) fn value(&self) -> &[u8] {
        self.block.as_ref().map_or(&[], |block| block.value(self.entry))
    }

    /// The position of the block it is in, where that lies, and the entry's position there.
    pub(super) fn place(&self) -> (u64, Handle, u64) {
        let position = self.next.saturating_sub(1);
        (position as u64, self.index.handle(position), self.entry as u64)
    }

    /// Bytes of the file that the entry takes.
    pub(super) fn bytes(&self) -> u64 {
        self.share.bytes
    }
}

/// Shares the stored bytes of a block among its entries, in proportion to what each has in it
/// uncompressed: its key, its value, and eight bytes of sequence number and kind. What the division
/// leaves over goes to the entries behind, so that the shares add up to the block.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    stored: u64,
    total: u64,
    /// What the entries up to here have.
    upto: u64,
    bytes: u64,
}

impl Share {
    fn of(block: &Block, stored: u64) -> Share {
        let total = (0..block.count()).map(|entry| weight(block, entry)).sum();
        Share { stored, total, upto: 0, bytes: 0 }
    }

    fn step(&mut self, block: &Block, entry: usize) {
        let before = self.part();
        self.upto += weight(block, entry);
        self.bytes = self.part() - before;
    }

    fn part(&self) -> u64 {
        let part = u128::from(self.stored) * u128::from(self.upto) / u128::from(self.total.max(1));
        // At most `stored`, for `upto` is at most `total`.
        part as u64
    }
}

fn weight(block: &Block, entry: usize) -> u64 {
    (block.prefix().len() + block.suffix(entry).len() + block.value(entry).len() + 8) as u64
}
