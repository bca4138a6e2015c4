//! Single parts of a table as they lie in the file.

use std::fmt;
use std::str::FromStr;

use super::mend;
use super::parts::Parts;
use crate::error::Result;
use crate::format::block::{self, Block, Compression, Kind};
use crate::format::filter::Filter;
use crate::format::table::{FOOTER_SIZE, Handle, Properties};
use crate::types::FileId;
use crate::vfs::File;

/// The name of a part of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PartName {
    /// A data block, by its position.
    Data(u64),
    /// The filter block.
    Filter,
    /// The properties block.
    Properties,
    /// The index block.
    Index,
    /// The footer.
    Footer,
}

impl PartName {
    /// The kind of block it is; none for the footer.
    #[must_use]
    pub(super) fn kind(self) -> Option<Kind> {
        match self {
            PartName::Data(_) => Some(Kind::Data),
            PartName::Filter => Some(Kind::Filter),
            PartName::Properties => Some(Kind::Properties),
            PartName::Index => Some(Kind::Index),
            PartName::Footer => None,
        }
    }
}

/// `data block 7`, `filter`.
impl fmt::Display for PartName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PartName::Data(position) => write!(f, "data block {position}"),
            PartName::Filter => f.write_str("filter"),
            PartName::Properties => f.write_str("properties"),
            PartName::Index => f.write_str("index"),
            PartName::Footer => f.write_str("footer"),
        }
    }
}

/// A number names a data block.
impl FromStr for PartName {
    type Err = String;

    fn from_str(text: &str) -> Result<PartName, String> {
        Ok(match text {
            "filter" => PartName::Filter,
            "properties" => PartName::Properties,
            "index" => PartName::Index,
            "footer" => PartName::Footer,
            number => PartName::Data(number.parse().map_err(|_| {
                "neither a number nor filter, properties, index, footer".to_owned()
            })?),
        })
    }
}

/// A block as it lies in the file, and what can be made of it.
#[derive(Debug)]
pub(super) struct Raw {
    pub(super) kind: Kind,
    pub(super) handle: Handle,
    /// Its bytes; of a damaged one as they are.
    pub(super) bytes: Vec<u8>,
    /// What is wrong with it.
    pub(super) wrong: Option<String>,
    /// The byte and the bit that explain it.
    pub(super) flipped: Option<(usize, u8)>,
    /// Its content; of a mended one as it was; none if it is lost.
    pub(super) content: Option<Vec<u8>>,
}

impl Raw {
    /// Reads a block that should be of this kind.
    pub(super) fn read(file: &dyn File, id: FileId, kind: Kind, handle: Handle) -> Result<Raw> {
        let limit = file.size()?.saturating_sub(handle.offset).min(u64::from(handle.size));
        let mut bytes = vec![0; limit as usize];
        let read = file.read_at(&mut bytes, handle.offset)?;
        bytes.truncate(read);
        Ok(Raw::of(bytes, id, kind, handle))
    }

    /// The same of bytes that were read already.
    pub(super) fn of(bytes: Vec<u8>, id: FileId, kind: Kind, handle: Handle) -> Raw {
        let opened = mend::open(kind, bytes.clone(), (id, handle.offset), &|content| {
            readable(kind, content)
        });
        let (content, wrong, flipped) = match opened {
            mend::Opened::Sound(content) => (Some(content), None, None),
            mend::Opened::Mended(content, what, bit) => (Some(content), Some(what), Some(bit)),
            mend::Opened::Damaged(what) => (None, Some(what), None),
        };
        Raw { kind, handle, bytes, wrong, flipped, content }
    }

    /// Its bytes, the flipped bit turned back.
    pub(super) fn sealed(&self) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        if let Some((byte, bit)) = self.flipped
            && let Some(wrong) = bytes.get_mut(byte)
        {
            *wrong ^= 1 << bit;
        }
        bytes
    }

    /// How it is stored, if its trailer can be believed.
    pub(super) fn compression(&self, id: FileId) -> Option<Compression> {
        let sealed = self.sealed();
        block::check(&sealed, id, self.handle.offset).ok().map(|sealed| sealed.compression)
    }
}

/// Whether the content of a block of this kind makes sense.
pub(super) fn readable(kind: Kind, content: &[u8]) -> Result<(), String> {
    match kind {
        Kind::Data | Kind::Index => Block::new(content.to_vec()).map(drop),
        Kind::Filter => Filter::decode(content).map(drop),
        Kind::Properties => Properties::decode(content).map(drop),
    }
}

impl Parts<'_> {
    /// Where a part lies; none if that is not known, or there is no such part.
    pub(super) fn place(&self, name: PartName) -> Option<Handle> {
        let footer = self.report.footer;
        match name {
            PartName::Data(position) => self.handle(usize::try_from(position).ok()?),
            PartName::Filter => footer.map(|footer| footer.filter),
            PartName::Properties => footer.map(|footer| footer.properties),
            PartName::Index => footer.map(|footer| footer.index),
            PartName::Footer => {
                let size = self.report.end.checked_sub(self.report.offset)?;
                let size = u32::try_from(size).ok().filter(|size| *size <= FOOTER_SIZE as u32)?;
                (size > 0).then_some(Handle { offset: self.report.offset, size })
            }
        }
    }
}
