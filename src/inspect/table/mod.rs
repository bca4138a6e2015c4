//! A table, part by part: footer, properties, filter, index, and the data blocks.
//!
//! Invariants:
//! - Each part is checked on its own, and reading goes on with the next. A part that one flipped
//!   bit explains is used as it was before the flip, and is damage all the same.
//! - Without a usable index the data blocks are found by their trailers; without a footer, too.
//! - Memory holds the index, a filter of up to 16 MiB, a window of the file and one block.

mod at;
pub mod doctor;
mod fields;
mod footer;
mod get;
mod histogram;
mod layout;
mod lz4;
mod mend;
mod parts;
mod raw;
mod reading;
mod walk;
mod window;

use super::finding::Finding;
use crate::error::{Error, Result};
use crate::format::block::Compression;
use crate::format::key::{InternalKey, Trailer};
use crate::format::table::{Handle, Properties};
use crate::types::SeqNo;
use crate::vfs::File;

pub use at::{BytePlace, at};
pub use footer::FooterReport;
pub use get::{FilterAnswer, GetItem, GetTotals, get};
pub use histogram::{Histogram, Sizes};
pub use layout::{PartBytes, layout, part, tree};
pub use raw::PartName;

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
    /// Its position: in the index or, without one, among the blocks found.
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
    /// Data blocks that the index names or, without one, that were found.
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
    reading::run(file, with_entries, visit)
}
