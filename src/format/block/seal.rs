//! A block in the file: stored bytes, then a trailer that says what they are.

use std::fmt;

use lz4_flex::block::{
    CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size,
};

use super::CONTENT_SIZE_MAX;
use crate::format::coding::{self, Cursor};
use crate::probe::mutant;
use crate::types::FileId;

/// Bytes behind the stored bytes of each block: kind, compression, content size, checksum.
pub const TRAILER_SIZE: usize = 12;

/// LZ4 cannot store more than this many bytes of content in one byte; a trailer that claims more
/// is damaged, and nothing is allocated for it.
const LZ4_RATIO_MAX: u64 = 256;

/// What a block holds. The numbers are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Entries of the table.
    Data = 1,
    /// The last key and the place of each data block.
    Index = 2,
    /// Which user keys are certainly not in the table.
    Filter = 3,
    /// Where the table comes from, and its counts.
    Properties = 4,
}

impl Kind {
    /// The kind with this number on disk.
    #[must_use]
    pub fn from_u8(byte: u8) -> Option<Kind> {
        [Kind::Data, Kind::Index, Kind::Filter, Kind::Properties]
            .into_iter()
            .find(|&kind| kind as u8 == byte)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Data => "data",
            Kind::Index => "index",
            Kind::Filter => "filter",
            Kind::Properties => "properties",
        })
    }
}

/// How the stored bytes of a block were made from its content. The numbers are on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Compression {
    /// They are the content.
    None = 0,
    /// The LZ4 block format, without a size in front.
    #[default]
    Lz4 = 1,
}

impl Compression {
    /// The compression with this number on disk.
    #[must_use]
    pub fn from_u8(byte: u8) -> Option<Compression> {
        match byte {
            0 => Some(Compression::None),
            1 => Some(Compression::Lz4),
            _ => None,
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Compression::None => "none",
            Compression::Lz4 => "lz4",
        })
    }
}

/// Seals the blocks of one file.
pub struct Sealer {
    id: FileId,
    compression: Compression,
    /// Kept from block to block, because making one costs as much as compressing one.
    table: CompressTable,
}

impl Sealer {
    /// A sealer for the file `id`; `compression` is what it tries on data blocks.
    #[must_use]
    pub fn new(id: FileId, compression: Compression) -> Sealer {
        Sealer { id, compression, table: CompressTable::default() }
    }

    /// Appends the block as it lies at `offset` of the file, and returns its size with trailer.
    ///
    /// Data is kept compressed only if that saves an eighth; other kinds, read once when the table
    /// is opened, are stored as they are.
    pub fn seal(&mut self, out: &mut Vec<u8>, kind: Kind, content: &[u8], offset: u64) -> u32 {
        assert!(content.len() <= CONTENT_SIZE_MAX as usize, "block of {} bytes", content.len());
        let start = out.len();
        let try_lz4 = kind == Kind::Data && self.compression == Compression::Lz4;
        let compression = if try_lz4 && self.compress(out, content) {
            Compression::Lz4
        } else {
            out.extend_from_slice(content);
            Compression::None
        };
        out.extend_from_slice(&[kind as u8, compression as u8, 0, 0]);
        out.extend_from_slice(&(content.len() as u32).to_le_bytes());
        let crc = coding::crc32(&[&out[start..]]) ^ coding::mix(self.id, offset);
        out.extend_from_slice(&crc.to_le_bytes());
        (out.len() - start) as u32
    }

    /// Appends a block that lies sealed at `from_offset` of the file `from`, trailer and all, as it
    /// lies at `offset` of this one: its checksum is re-mixed, nothing else touched. Returns its
    /// size, as [`Sealer::seal`] does.
    pub fn copy(
        &self,
        out: &mut Vec<u8>,
        sealed: &[u8],
        (from, from_offset): (FileId, u64),
        offset: u64,
    ) -> u32 {
        let (bytes, crc) = sealed.split_last_chunk().expect("a sealed block has a checksum");
        let mix = coding::mix(from, from_offset) ^ coding::mix(self.id, offset);
        out.extend_from_slice(bytes);
        out.extend_from_slice(&(u32::from_le_bytes(*crc) ^ mix).to_le_bytes());
        sealed.len() as u32
    }

    /// Appends the compressed content if that is worth while; otherwise `out` is as before.
    fn compress(&mut self, out: &mut Vec<u8>, content: &[u8]) -> bool {
        let start = out.len();
        out.resize(start + get_maximum_output_size(content.len()), 0);
        let size = compress_into_with_table(content, &mut out[start..], &mut self.table);
        let size = size.ok().filter(|size| *size <= content.len() - content.len() / 8);
        out.truncate(start + size.unwrap_or(0));
        size.is_some()
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer({}, {})", self.id, self.compression)
    }
}

/// A block whose checksum and trailer are right; its content is still to be unpacked.
#[derive(Clone, Copy, Debug)]
pub struct Sealed<'a> {
    /// What it holds.
    pub kind: Kind,
    /// How it is stored.
    pub compression: Compression,
    /// Bytes of its content.
    pub content_size: u32,
    /// The stored bytes, without the trailer.
    pub stored: &'a [u8],
}

/// Checks a block that was read at `offset` of the file `id`, trailer and all.
///
/// # Errors
/// What is wrong: the checksum first, because nothing else is believed before it.
pub fn check(bytes: &[u8], id: FileId, offset: u64) -> Result<Sealed<'_>, String> {
    let Some((stored, trailer)) = bytes.split_last_chunk::<TRAILER_SIZE>() else {
        return Err(format!("{} bytes, less than a block's trailer", bytes.len()));
    };
    let (described, crc) = trailer.split_at(8);
    let found = Cursor::new(crc).u32().unwrap_or_default();
    let computed = coding::crc32(&[stored, described]) ^ coding::mix(id, offset);
    // Rule 5: a block that does not verify is not read.
    if found != computed && !mutant("block_unchecked") {
        return Err(format!("checksum mismatch (stored {found:08x}, computed {computed:08x})"));
    }
    let [kind, compression, reserved @ .., s0, s1, s2, s3, _, _, _, _] = *trailer;
    let kind = Kind::from_u8(kind).ok_or_else(|| format!("unknown block kind {kind}"))?;
    let compression = Compression::from_u8(compression)
        .ok_or_else(|| format!("unknown compression {compression}"))?;
    if reserved != [0, 0] {
        return Err("reserved bytes of the trailer are not zero".to_owned());
    }
    let content_size = u32::from_le_bytes([s0, s1, s2, s3]);
    let plausible = match compression {
        Compression::None => u64::from(content_size) == stored.len() as u64,
        Compression::Lz4 => u64::from(content_size) <= stored.len() as u64 * LZ4_RATIO_MAX,
    };
    if content_size > CONTENT_SIZE_MAX || !plausible {
        let size = stored.len();
        return Err(format!(
            "{size} stored bytes cannot hold {content_size} of content ({compression})"
        ));
    }
    Ok(Sealed { kind, compression, content_size, stored })
}

/// Checks a block as [`check`] does and returns its content.
///
/// # Errors
/// What is wrong with the block, or that it is not of the `expected` kind. The text begins with
/// that kind.
pub fn unseal(
    expected: Kind,
    mut bytes: Vec<u8>,
    id: FileId,
    offset: u64,
) -> Result<Vec<u8>, String> {
    let sealed = check_kind(expected, &bytes, id, offset)?;
    match sealed.compression {
        Compression::None => {
            bytes.truncate(bytes.len() - TRAILER_SIZE);
            Ok(bytes)
        }
        Compression::Lz4 => {
            let mut content = Vec::new();
            unpack(expected, &sealed, &mut content)?;
            Ok(content)
        }
    }
}

/// [`unseal`] for bytes that stay where they are and content that goes into memory used before:
/// whatever is in `content` is replaced. Says how the block was stored.
///
/// # Errors
/// As [`unseal`]; `content` then means nothing.
pub fn unseal_into(
    expected: Kind,
    bytes: &[u8],
    id: FileId,
    offset: u64,
    content: &mut Vec<u8>,
) -> Result<Compression, String> {
    let sealed = check_kind(expected, bytes, id, offset)?;
    match sealed.compression {
        Compression::None => {
            content.clear();
            content.extend_from_slice(sealed.stored);
        }
        Compression::Lz4 => unpack(expected, &sealed, content)?,
    }
    Ok(sealed.compression)
}

/// [`check`], and that the block is of the `expected` kind.
fn check_kind(expected: Kind, bytes: &[u8], id: FileId, offset: u64) -> Result<Sealed<'_>, String> {
    let sealed =
        check(bytes, id, offset).map_err(|reason| format!("{expected} block: {reason}"))?;
    if sealed.kind != expected {
        return Err(format!("{expected} block: this is a block of kind {}", sealed.kind));
    }
    Ok(sealed)
}

/// Decompresses the stored bytes of a block into `content`, which becomes as long as it must be.
fn unpack(expected: Kind, sealed: &Sealed<'_>, content: &mut Vec<u8>) -> Result<(), String> {
    // Not cleared first: what is overwritten need not be zeroed.
    content.resize(sealed.content_size as usize, 0);
    match decompress_into(sealed.stored, content) {
        Ok(size) if size == content.len() => Ok(()),
        Ok(size) => {
            Err(format!("{expected} block: {size} bytes unpacked, expected {}", content.len()))
        }
        Err(error) => Err(format!("{expected} block: could not be unpacked: {error}")),
    }
}
