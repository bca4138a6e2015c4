//! The first 64 bytes of a WAL and of a manifest: what the file is and whose.
//!
//! The layout is in [`frame`](super::frame), whose files begin with it. The header carries no
//! [`mix`](super::coding::mix): it is what says which id to mix into everything behind it.

use std::fmt;

use super::FORMAT_VERSION;
use super::coding::{Cursor, crc32, find_flipped_bit};
use crate::types::{FileId, FileNumber, StoreId};

/// Bytes of a header, and the offset of the first frame.
pub const HEADER_SIZE: usize = 64;

/// Bytes covered by the header's checksum: all before it.
const CHECKED_SIZE: usize = HEADER_SIZE - 4;

/// The kinds of file that begin with a [`Header`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A write-ahead log, `000006.wal`.
    Wal,
    /// A manifest, `MANIFEST-000005`.
    Manifest,
}

impl FileKind {
    /// The eight bytes a file of this kind begins with.
    #[must_use]
    pub fn magic(self) -> [u8; 8] {
        match self {
            FileKind::Wal => *b"BEACHWAL",
            FileKind::Manifest => *b"BEACHMAN",
        }
    }

    /// What errors and tools call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            FileKind::Wal => "WAL",
            FileKind::Manifest => "manifest",
        }
    }

    /// The kind of the file that begins with these bytes, by its magic alone.
    #[must_use]
    pub fn sniff(bytes: &[u8]) -> Option<FileKind> {
        [FileKind::Wal, FileKind::Manifest]
            .into_iter()
            .find(|kind| bytes.starts_with(&kind.magic()))
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the first 64 bytes of a WAL or manifest say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// WAL or manifest.
    pub kind: FileKind,
    /// The format version the file is written in; at least 1.
    pub version: u16,
    /// The file's identity, mixed into each of its frames.
    pub id: FileId,
    /// The store it belongs to.
    pub store: StoreId,
    /// The number in its name when it was made.
    pub number: FileNumber,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
}

/// Why bytes are not a [`Header`] of the kind asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// There are fewer than 64 bytes.
    TooShort,
    /// They begin with these bytes: another kind of file, or none of ours.
    NotOurs([u8; 8]),
    /// Intact, and of this later format version.
    Newer(u16),
    /// Ours, but not as it was written; the reason.
    Damaged(String),
}

impl Header {
    /// The 64 bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_SIZE] {
        let mut out = Vec::with_capacity(HEADER_SIZE);
        out.extend_from_slice(&self.kind.magic());
        out.extend_from_slice(&self.version.to_le_bytes());
        out.extend_from_slice(&[0; 6]);
        for number in [self.id.0, self.store.0, self.number.0, self.created_ms] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&[0; 12]);
        let crc = crc32(&[&out]);
        out.extend_from_slice(&crc.to_le_bytes());
        let mut bytes = [0; HEADER_SIZE];
        bytes.copy_from_slice(&out);
        bytes
    }

    /// Reads the header at the front of `bytes`, which should be a file of this kind.
    ///
    /// # Errors
    /// The reason. A header one flipped bit away from one of ours is [`HeaderError::Damaged`], so
    /// that damage is not mistaken for somebody else's file.
    pub fn decode(bytes: &[u8], kind: FileKind) -> Result<Header, HeaderError> {
        let bytes = bytes.get(..HEADER_SIZE).ok_or(HeaderError::TooShort)?;
        check_sum(bytes, kind)?;
        parse(bytes, kind).ok_or(HeaderError::TooShort)?
    }
}

/// Checks the checksum, and when it fails says whose file this most likely was.
fn check_sum(bytes: &[u8], kind: FileKind) -> Result<(), HeaderError> {
    let (checked, stored) = bytes.split_at(CHECKED_SIZE);
    let stored = Cursor::new(stored).u32().ok_or(HeaderError::TooShort)?;
    let computed = crc32(&[checked]);
    if stored == computed {
        return Ok(());
    }
    if bytes.iter().all(|&byte| byte == 0) {
        return Err(HeaderError::Damaged("the header is all zeros".to_owned()));
    }
    let magic = magic_of(bytes);
    let near = (u64::from_le_bytes(magic) ^ u64::from_le_bytes(kind.magic())).count_ones() <= 1;
    if near {
        let mend = find_flipped_bit(stored, computed, CHECKED_SIZE);
        let why = if mend.is_some() { "; one flipped bit explains it" } else { "" };
        return Err(HeaderError::Damaged(format!(
            "header checksum is {stored:08x}, expected {computed:08x}{why}"
        )));
    }
    Err(HeaderError::NotOurs(magic))
}

/// Reads the fields of a header whose checksum is right; none if there are too few bytes.
fn parse(bytes: &[u8], kind: FileKind) -> Option<Result<Header, HeaderError>> {
    let magic = magic_of(bytes);
    if magic != kind.magic() {
        return Some(Err(HeaderError::NotOurs(magic)));
    }
    let mut cursor = Cursor::new(bytes);
    cursor.take(magic.len())?;
    let version = cursor.u16()?;
    if version > FORMAT_VERSION {
        return Some(Err(HeaderError::Newer(version)));
    }
    let mut reserved = cursor.take(6)?.to_vec();
    let header = Header {
        kind,
        version,
        id: FileId(cursor.u64()?),
        store: StoreId(cursor.u64()?),
        number: FileNumber(cursor.u64()?),
        created_ms: cursor.u64()?,
    };
    reserved.extend_from_slice(cursor.take(12)?);
    Some(if version == 0 {
        Err(HeaderError::Damaged("format version is 0".to_owned()))
    } else if reserved.iter().any(|&byte| byte != 0) {
        Err(HeaderError::Damaged("reserved bytes are not zero".to_owned()))
    } else {
        Ok(header)
    })
}

fn magic_of(bytes: &[u8]) -> [u8; 8] {
    Cursor::new(bytes).array().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            kind: FileKind::Wal,
            version: 1,
            id: FileId(0x0123_4567_89ab_cdef),
            store: StoreId(0xfeed_f00d_cafe_babe),
            number: FileNumber(6),
            created_ms: 1_700_000_000_000,
        }
    }

    /// With the checksum recomputed, so that only what `change` did is wrong.
    fn resealed(change: impl FnOnce(&mut [u8])) -> [u8; HEADER_SIZE] {
        let mut bytes = header().encode();
        change(&mut bytes);
        let crc = crc32(&[&bytes[..CHECKED_SIZE]]);
        bytes[CHECKED_SIZE..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The bytes are written out by hand; the checksum is python3's `zlib.crc32` of the first 60.
    #[test]
    fn a_header_has_these_bytes() {
        let golden = hex::decode(
            [
                "42454143 4857414c",          // magic: BEACHWAL
                "0100 0000 00000000",         // version 1, reserved
                "efcdab89 67452301",          // file id
                "bebafeca 0df0edfe",          // store id
                "06000000 00000000",          // number 6
                "0068e5cf 8b010000",          // created: 2023-11-14 22:13:20 UTC
                "00000000 00000000 00000000", // reserved
                "d26f8055",                   // crc32
            ]
            .concat()
            .replace(' ', ""),
        )
        .unwrap();
        assert_eq!(hex::encode(header().encode()), hex::encode(&golden));
        assert_eq!(Header::decode(&golden, FileKind::Wal), Ok(header()));
    }

    /// Every bit of the 64 bytes is flipped in turn: none is read, none is called foreign, and all
    /// are recognised as one flipped bit.
    #[test]
    fn every_flipped_bit_of_a_header_is_damage() {
        for bit in 0..HEADER_SIZE * 8 {
            let mut bytes = header().encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            match Header::decode(&bytes, FileKind::Wal) {
                Err(HeaderError::Damaged(detail)) => {
                    assert!(detail.contains("one flipped bit"), "bit {bit}: {detail}");
                }
                other => panic!("bit {bit}: {other:?}"),
            }
        }
    }

    /// Every way not to be a header of ours gives the error that says which.
    #[test]
    fn a_header_that_is_not_ours_says_why() {
        let bytes = header().encode();
        let decode = |bytes: &[u8]| Header::decode(bytes, FileKind::Wal);
        for cut in 0..HEADER_SIZE {
            assert_eq!(decode(&bytes[..cut]), Err(HeaderError::TooShort));
        }
        let elf = *b"\x7fELF\x02\x01\x01\x00";
        let mut foreign = bytes;
        foreign[..8].copy_from_slice(&elf);
        assert_eq!(decode(&foreign), Err(HeaderError::NotOurs(elf)));
        assert_eq!(
            Header::decode(&bytes, FileKind::Manifest),
            Err(HeaderError::NotOurs(*b"BEACHWAL"))
        );
        assert_eq!(decode(&resealed(|bytes| bytes[8] = 2)), Err(HeaderError::Newer(2)));
        for damaged in [
            resealed(|bytes| bytes[8] = 0),
            resealed(|bytes| bytes[10] = 1),
            resealed(|bytes| bytes[59] = 1),
            [0; HEADER_SIZE],
        ] {
            assert!(matches!(decode(&damaged), Err(HeaderError::Damaged(_))));
        }
        assert_eq!(FileKind::sniff(&bytes), Some(FileKind::Wal));
        assert_eq!(FileKind::sniff(&foreign), None);
    }
}
