//! A table, part by part: footer, properties, filter, index, and the blocks that the index names.
//!
//! Each part is checked on its own, and reading goes on with the next. Without an intact footer
//! nothing else can be found; without an intact index, no data block.

use std::path::PathBuf;

use super::finding::{Code, Finding};
use super::wrong_kind;
use crate::error::{Error, Result};
use crate::format::FORMAT_VERSION;
use crate::format::block::{self, Block, Compression, Kind};
use crate::format::filter::{self, Filter};
use crate::format::key::{InternalKey, Trailer};
use crate::format::table::{COMPARATOR, FOOTER_SIZE, Footer, Handle, Properties};
use crate::table::{Index, read_block};
use crate::types::{FileId, SeqNo, ValueKind};
use crate::vfs::File;

/// One part of a table.
#[derive(Debug)]
pub enum TableItem<'a> {
    /// The file and its footer; always first.
    Footer(&'a FooterReport),
    /// The properties block.
    Properties(Handle, &'a Properties),
    /// The filter block.
    Filter(Handle, FilterReport),
    /// The index block, and how many data blocks it names.
    Index(Handle, u64),
    /// A data block.
    Block(BlockReport),
    /// An entry of the data block before it.
    Entry(EntryReport<'a>),
    /// A part that cannot be read, or that contradicts another.
    Damage(Finding),
}

impl TableItem<'_> {
    /// What is wrong with this part.
    #[must_use]
    pub fn finding(&self) -> Option<&Finding> {
        match self {
            TableItem::Footer(report) => report.damage.as_ref(),
            TableItem::Block(report) => report.damage.as_ref(),
            TableItem::Damage(finding) => Some(finding),
            _ => None,
        }
    }
}

/// The file and its footer.
#[derive(Clone, Debug)]
pub struct FooterReport {
    /// The path it was opened by.
    pub path: PathBuf,
    /// Bytes of the file.
    pub size: u64,
    /// Where the footer begins.
    pub offset: u64,
    /// The footer; none if it is damaged by more than one flipped bit.
    pub footer: Option<Footer>,
    /// What is wrong with it.
    pub damage: Option<Finding>,
}

/// The filter of a table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FilterReport {
    /// Bits looked at for a key; 0 if there is no filter.
    pub probes: u8,
    /// Lines of 64 bytes.
    pub lines: u64,
    /// The share of bits that are set.
    pub fill: f64,
}

/// A data block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockReport {
    /// Its position in the index.
    pub position: u64,
    /// Where it lies.
    pub handle: Handle,
    /// How it is stored, and the bytes of its content; none if its checksum is wrong.
    pub stored: Option<(Compression, u32)>,
    /// Number of entries; 0 if it cannot be read.
    pub entries: u64,
    /// Its first and last key, if it can be read.
    pub bounds: Option<(InternalKey, InternalKey)>,
    /// What is wrong with it.
    pub damage: Option<Finding>,
}

/// An entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryReport<'a> {
    /// The user key.
    pub key: &'a [u8],
    /// Sequence number and kind.
    pub trailer: Trailer,
    /// The value; empty for a tombstone.
    pub value: &'a [u8],
}

/// What a table adds up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableTotals {
    /// Data blocks that the index names.
    pub blocks: u64,
    /// Entries that could be read.
    pub entries: u64,
    /// Tombstones among them.
    pub tombstones: u64,
    /// Different user keys among them.
    pub distinct_keys: u64,
    /// Bytes of user keys and of values.
    pub raw_bytes: (u64, u64),
    /// Lowest and highest sequence number.
    pub seqnos: Option<(SeqNo, SeqNo)>,
    /// Parts with something wrong.
    pub damaged: u64,
}

/// What [`read_table`] calls with each part.
pub type Visit<'v, E> = dyn FnMut(TableItem<'_>) -> Result<(), E> + 'v;

/// Reads a table, calling `visit` with each part of it; `with_entries` also with each entry.
///
/// # Errors
/// Those of `visit`; [`Error::NotOurs`] when the file is not a table (the text names the tool for
/// what it is), [`Error::Unsupported`] for a later format version, [`Error::Io`].
pub fn read_table<E: From<Error>>(
    file: &dyn File,
    with_entries: bool,
    visit: &mut Visit<'_, E>,
) -> Result<TableTotals, E> {
    let report = read_footer(file)?;
    visit(TableItem::Footer(&report))?;
    let mut totals = TableTotals::default();
    totals.damaged += u64::from(report.damage.is_some());
    let Some(footer) = report.footer else { return Ok(totals) };
    let mut reading =
        Reading { file, footer, with_entries, filter: None, totals, last: None, skipped: false };
    let properties = reading.properties(visit)?;
    reading.filter(visit)?;
    reading.blocks(visit)?;
    if let Some(properties) = properties.filter(|_| !reading.skipped) {
        reading.compare(&properties, visit)?;
    }
    Ok(reading.totals)
}

fn read_footer(file: &dyn File) -> Result<FooterReport> {
    let (path, size) = (file.path().to_owned(), file.size()?);
    let Some(offset) = size.checked_sub(FOOTER_SIZE as u64) else {
        return Err(wrong_kind(file, "table")?);
    };
    let mut bytes = [0; FOOTER_SIZE];
    file.read_at(&mut bytes, offset)?;
    let checked = |footer: Footer| {
        footer.check_places(size).map_err(|reason| format!("footer: {reason}"))?;
        Ok(footer)
    };
    let (footer, damage) = match Footer::decode(&bytes, offset) {
        Ok(footer) if footer.version > FORMAT_VERSION => {
            let what = format!("format version {}", footer.version);
            return Err(Error::Unsupported { path, what });
        }
        Ok(footer) => match checked(footer) {
            Ok(footer) => (Some(footer), None),
            Err(detail) => (None, Some(detail)),
        },
        Err(detail) => {
            let mended = mended(&bytes, offset);
            if mended.is_none()
                && !Footer::has_magic(&bytes)
                && !Footer::is_intact_but_for_magic(&bytes, offset)
            {
                return Err(wrong_kind(file, "table")?);
            }
            let why = if mended.is_some() { "; one flipped bit explains it" } else { "" };
            let footer = mended.and_then(|footer| checked(footer).ok());
            (footer, Some(format!("{detail}{why}")))
        }
    };
    let damage = damage
        .map(|what| Finding::new(Code::FooterDamaged, &path, what).at(offset, FOOTER_SIZE as u64));
    Ok(FooterReport { path, size, offset, footer, damage })
}

/// The footer that one flipped bit makes of these bytes.
fn mended(bytes: &[u8], offset: u64) -> Option<Footer> {
    (0..bytes.len() * 8).find_map(|bit| {
        let mut bytes = bytes.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        Footer::decode(&bytes, offset).ok().filter(|footer| footer.version <= FORMAT_VERSION)
    })
}

/// Where a reading stands.
struct Reading<'f> {
    file: &'f dyn File,
    footer: Footer,
    with_entries: bool,
    filter: Option<Filter>,
    totals: TableTotals,
    /// The last key read.
    last: Option<InternalKey>,
    /// Something could not be read, so that the totals are not the table's.
    skipped: bool,
}

impl Reading<'_> {
    /// The content of a block, or what is wrong with it.
    fn content(&self, kind: Kind, handle: Handle) -> Result<Result<Vec<u8>, String>> {
        match read_block(self.file, self.footer.id, kind, handle) {
            Ok(content) => Ok(Ok(content)),
            Err(Error::Corruption(damage)) => Ok(Err(damage.detail)),
            Err(error) => Err(error),
        }
    }

    fn damage<E: From<Error>>(
        &mut self,
        code: Code,
        handle: Handle,
        what: String,
        visit: &mut Visit<'_, E>,
    ) -> Result<(), E> {
        self.totals.damaged += 1;
        visit(TableItem::Damage(self.finding(code, handle, what)))
    }

    fn finding(&self, code: Code, handle: Handle, what: String) -> Finding {
        Finding::new(code, self.file.path(), what).at(handle.offset, u64::from(handle.size))
    }

    fn properties<E: From<Error>>(
        &mut self,
        visit: &mut Visit<'_, E>,
    ) -> Result<Option<Properties>, E> {
        let handle = self.footer.properties;
        let content = self.content(Kind::Properties, handle)?;
        let decoded = content.and_then(|content| {
            Properties::decode(&content).map_err(|reason| format!("properties block: {reason}"))
        });
        let properties = match decoded {
            Ok(properties) => properties,
            Err(detail) => {
                self.damage(Code::PropertiesDamaged, handle, detail, visit)?;
                return Ok(None);
            }
        };
        visit(TableItem::Properties(handle, &properties))?;
        if let Some(detail) = contradiction(&properties, self.footer.id) {
            self.damage(Code::PropertiesDisagree, handle, detail, visit)?;
        }
        Ok(Some(properties))
    }

    fn filter<E: From<Error>>(&mut self, visit: &mut Visit<'_, E>) -> Result<(), E> {
        let handle = self.footer.filter;
        let content = self.content(Kind::Filter, handle)?;
        let decoded = content.and_then(|content| {
            Filter::decode(&content).map_err(|reason| format!("filter block: {reason}"))
        });
        match decoded {
            Ok(filter) => {
                let report = FilterReport {
                    probes: filter.probes(),
                    lines: filter.line_count() as u64,
                    fill: filter.fill(),
                };
                self.filter = Some(filter);
                visit(TableItem::Filter(handle, report))
            }
            Err(detail) => self.damage(Code::FilterDamaged, handle, detail, visit),
        }
    }

    fn blocks<E: From<Error>>(&mut self, visit: &mut Visit<'_, E>) -> Result<(), E> {
        let handle = self.footer.index;
        let content = self.content(Kind::Index, handle)?;
        let decoded = content.and_then(|content| {
            Index::new(content, self.footer.filter.offset)
                .map_err(|reason| format!("index block: {reason}"))
        });
        let index = match decoded {
            Ok(index) => index,
            Err(detail) => {
                self.skipped = true;
                let detail = format!("{detail}; the data blocks cannot be found without it");
                return self.damage(Code::IndexDamaged, handle, detail, visit);
            }
        };
        self.totals.blocks = index.count() as u64;
        visit(TableItem::Index(handle, self.totals.blocks))?;
        for position in 0..index.count() {
            self.block(&index, position, visit)?;
        }
        Ok(())
    }

    fn block<E: From<Error>>(
        &mut self,
        index: &Index,
        position: usize,
        visit: &mut Visit<'_, E>,
    ) -> Result<(), E> {
        let handle = index.handle(position);
        let mut report = BlockReport {
            position: position as u64,
            handle,
            stored: None,
            entries: 0,
            bounds: None,
            damage: None,
        };
        let block = match self.open_block(&mut report)? {
            Ok(block) => block,
            Err((code, detail)) => {
                self.skipped = true;
                self.totals.damaged += 1;
                let damage = Some(self.finding(code, handle, detail));
                return visit(TableItem::Block(BlockReport { damage, ..report }));
            }
        };
        let first = key_at(&block, 0);
        let last = key_at(&block, block.count() - 1);
        report.entries = block.count() as u64;
        let doubt = self.doubt(&block, index, position, &first, &last);
        report.damage = doubt.map(|(code, what)| self.finding(code, handle, what));
        self.totals.damaged += u64::from(report.damage.is_some());
        report.bounds = Some((first, last.clone()));
        visit(TableItem::Block(report))?;
        for entry in 0..block.count() {
            self.entry(&block, entry, visit)?;
        }
        self.last = Some(last);
        Ok(())
    }

    /// Reads a data block; what its trailer says goes into the report.
    fn open_block(&self, report: &mut BlockReport) -> Result<Result<Block, (Code, String)>> {
        let handle = report.handle;
        let mut bytes = vec![0; handle.size as usize];
        let read = self.file.read_at(&mut bytes, handle.offset)?;
        if read < bytes.len() {
            let size = handle.size;
            let what = format!("data block: the file ends after {read} of {size} bytes");
            return Ok(Err((Code::BlockDamaged, what)));
        }
        if let Ok(sealed) = block::check(&bytes, self.footer.id, handle.offset) {
            report.stored = Some((sealed.compression, sealed.content_size));
        }
        let content = block::unseal(Kind::Data, bytes, self.footer.id, handle.offset);
        Ok(content.map_err(|what| (Code::BlockDamaged, what)).and_then(|content| {
            let block = Block::new(content);
            block.map_err(|reason| (Code::BlockMalformed, format!("data block: {reason}")))
        }))
    }

    /// What contradicts the block: its own order, its neighbours, the index, the filter.
    fn doubt(
        &self,
        block: &Block,
        index: &Index,
        position: usize,
        first: &InternalKey,
        last: &InternalKey,
    ) -> Option<(Code, String)> {
        let named = index.block();
        if let Err(reason) = block.verify_order() {
            return Some((Code::KeysDescend, format!("data block: {reason}")));
        }
        if !named.compare(position, &last.user, last.trailer).is_eq() {
            let what = "data block: its last key is not the one in the index".to_owned();
            return Some((Code::IndexDisagrees, what));
        }
        if position > 0 && !named.compare(position - 1, &first.user, first.trailer).is_lt() {
            let what = "data block: its first key does not follow the block before it".to_owned();
            return Some((Code::KeysDescend, what));
        }
        for entry in 0..block.count() {
            let trailer = block.trailer(entry);
            if trailer.kind().is_none() {
                let what = format!("data block: an entry of kind {}", trailer.0 as u8);
                return Some((Code::BlockMalformed, what));
            }
            let user = block.user_key(entry);
            let hides = |filter: &Filter| !filter.may_contain(filter::hash(&user));
            if self.filter.as_ref().is_some_and(hides) {
                let what = format!("the filter hides \"{}\"", user.escape_ascii());
                return Some((Code::FilterHides, what));
            }
        }
        None
    }

    fn entry<E: From<Error>>(
        &mut self,
        block: &Block,
        entry: usize,
        visit: &mut Visit<'_, E>,
    ) -> Result<(), E> {
        let (key, trailer, value) =
            (block.user_key(entry), block.trailer(entry), block.value(entry));
        let before = match entry {
            0 => self.last.as_ref().is_some_and(|last| last.user == key),
            _ => block.key_is(entry - 1, &key),
        };
        let (totals, seqno) = (&mut self.totals, trailer.seqno());
        totals.entries += 1;
        totals.tombstones += u64::from(trailer.kind() == Some(ValueKind::Delete));
        totals.distinct_keys += u64::from(!before);
        totals.raw_bytes.0 += key.len() as u64;
        totals.raw_bytes.1 += value.len() as u64;
        let (low, high) = totals.seqnos.unwrap_or((seqno, seqno));
        totals.seqnos = Some((low.min(seqno), high.max(seqno)));
        if self.with_entries {
            visit(TableItem::Entry(EntryReport { key: &key, trailer, value }))?;
        }
        Ok(())
    }

    /// Compares the properties with what was counted.
    fn compare<E: From<Error>>(
        &mut self,
        properties: &Properties,
        visit: &mut Visit<'_, E>,
    ) -> Result<(), E> {
        let totals = self.totals;
        let seqnos = totals.seqnos.unwrap_or_default();
        let pairs = [
            ("data blocks", properties.data_blocks, totals.blocks),
            ("bytes of data blocks", properties.data_bytes, self.footer.filter.offset),
            ("entries", properties.entries, totals.entries),
            ("tombstones", properties.tombstones, totals.tombstones),
            ("distinct keys", properties.distinct_keys, totals.distinct_keys),
            ("bytes of keys", properties.raw_key_bytes, totals.raw_bytes.0),
            ("bytes of values", properties.raw_value_bytes, totals.raw_bytes.1),
            ("as lowest sequence number", properties.min_seqno.0, seqnos.0.0),
            ("as highest sequence number", properties.max_seqno.0, seqnos.1.0),
        ];
        for (what, said, counted) in pairs.into_iter().filter(|(_, said, found)| said != found) {
            let detail = format!("properties block: it says {said} {what}, there are {counted}");
            self.damage(Code::PropertiesDisagree, self.footer.properties, detail, visit)?;
        }
        Ok(())
    }
}

/// What contradicts the properties, short of reading the entries.
fn contradiction(properties: &Properties, id: FileId) -> Option<String> {
    if properties.id != id {
        let found = properties.id;
        return Some(format!("properties block: file id is {found}, the footer says {id}"));
    }
    let comparator = &properties.comparator;
    (comparator != COMPARATOR).then(|| {
        format!("properties block: the order of keys is \"{}\"", comparator.escape_debug())
    })
}

fn key_at(block: &Block, index: usize) -> InternalKey {
    InternalKey { user: block.user_key(index), trailer: block.trailer(index) }
}
