//! The last 64 bytes of a table: where everything else is.

use crate::format::FORMAT_VERSION;
use crate::format::block::{CONTENT_SIZE_MAX, TRAILER_SIZE};
use crate::format::coding::{self, Cursor};
use crate::types::FileId;

/// Bytes of the footer.
pub const FOOTER_SIZE: usize = 64;

/// The last eight bytes of every table.
pub const MAGIC: [u8; 8] = *b"BEACHSST";

/// Bytes of the footer that its checksum covers.
const CHECKED_SIZE: usize = 52;

/// Where a block lies in its file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Handle {
    /// Its first byte.
    pub offset: u64,
    /// Its bytes, trailer included.
    pub size: u32,
}

impl Handle {
    /// Bytes of an encoded handle.
    pub const SIZE: usize = 12;

    /// Appends offset and size, little-endian.
    pub fn encode(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.offset.to_le_bytes());
        out.extend_from_slice(&self.size.to_le_bytes());
    }

    /// Reads the [`Handle::SIZE`] bytes of a handle, no more and no fewer.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Handle> {
        let mut cursor = Cursor::new(bytes);
        let handle = Handle { offset: cursor.u64()?, size: cursor.u32()? };
        cursor.is_empty().then_some(handle)
    }

    /// The first byte behind the block; none if no file is as long.
    #[must_use]
    pub fn end(self) -> Option<u64> {
        self.offset.checked_add(u64::from(self.size))
    }

    /// Checks that a block can be so small and so large.
    ///
    /// # Errors
    /// That it cannot.
    pub fn check_size(self) -> Result<(), String> {
        let sizes = TRAILER_SIZE as u32 + 1..=CONTENT_SIZE_MAX + TRAILER_SIZE as u32;
        if sizes.contains(&self.size) {
            return Ok(());
        }
        Err(format!("a block at {:#x} of {} bytes", self.offset, self.size))
    }
}

/// The footer of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footer {
    /// The file's identity, mixed into each checksum.
    pub id: FileId,
    /// The filter block; the data blocks are what lies before it.
    pub filter: Handle,
    /// The properties block.
    pub properties: Handle,
    /// The index block.
    pub index: Handle,
    /// The format version. [`Footer::decode`] leaves it to the caller to refuse a later one.
    pub version: u16,
}

impl Footer {
    /// Appends the footer as it lies at `offset` of its file.
    pub fn encode(&self, out: &mut Vec<u8>, offset: u64) {
        let start = out.len();
        out.extend_from_slice(&self.id.0.to_le_bytes());
        self.filter.encode(out);
        self.properties.encode(out);
        self.index.encode(out);
        out.extend_from_slice(&self.version.to_le_bytes());
        out.extend_from_slice(&[0; 6]);
        let crc = coding::crc32(&[&out[start..]]) ^ coding::mix(self.id, offset);
        out.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&MAGIC);
    }

    /// Whether the bytes end like a table, intact or not: by its magic.
    #[must_use]
    pub fn has_magic(bytes: &[u8]) -> bool {
        bytes.ends_with(&MAGIC)
    }

    /// Reads the last [`FOOTER_SIZE`] bytes of a file, which begin at `offset` of it.
    ///
    /// A version later than [`FORMAT_VERSION`] is returned, not judged: of such a footer only
    /// identity and version mean anything, and both keep their places in all versions.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(bytes: &[u8], offset: u64) -> Result<Footer, String> {
        let Ok(bytes) = <&[u8; FOOTER_SIZE]>::try_from(bytes) else {
            return Err(format!("footer: {} bytes instead of {FOOTER_SIZE}", bytes.len()));
        };
        let Some((footer, reserved, crc)) = read(bytes) else {
            return Err("footer: too short".to_owned());
        };
        let computed = coding::crc32(&[&bytes[..CHECKED_SIZE]]) ^ coding::mix(footer.id, offset);
        if !Footer::has_magic(bytes) {
            let magic = bytes[FOOTER_SIZE - MAGIC.len()..].escape_ascii();
            return Err(format!("footer: magic is \"{magic}\", expected \"BEACHSST\""));
        }
        if crc != computed {
            return Err(format!(
                "footer: checksum mismatch (stored {crc:08x}, computed {computed:08x})"
            ));
        }
        if footer.version == 0 {
            return Err("footer: format version 0".to_owned());
        }
        if footer.version <= FORMAT_VERSION && reserved != [0; 6] {
            return Err("footer: reserved bytes are not zero".to_owned());
        }
        Ok(footer)
    }

    /// Whether all but the magic is right: then it is the magic that is damaged.
    #[must_use]
    pub fn is_intact_but_for_magic(bytes: &[u8], offset: u64) -> bool {
        let mut mended = bytes.to_vec();
        mended.truncate(bytes.len().saturating_sub(MAGIC.len()));
        mended.extend_from_slice(&MAGIC);
        Footer::decode(&mended, offset).is_ok()
    }

    /// Checks that filter, properties, index and footer fill a file of `file_size` bytes from the
    /// filter to its end, without a gap.
    ///
    /// # Errors
    /// Which of them does not meet the next.
    pub fn check_places(&self, file_size: u64) -> Result<(), String> {
        check_places(self.filter, self.properties, self.index, file_size)
    }
}

/// What [`Footer::check_places`] checks, of handles that come from elsewhere.
pub(super) fn check_places(
    filter: Handle,
    properties: Handle,
    index: Handle,
    file_size: u64,
) -> Result<(), String> {
    let footer_offset = file_size.checked_sub(FOOTER_SIZE as u64);
    let places = [
        (filter, Some(properties.offset), "filter"),
        (properties, Some(index.offset), "properties"),
        (index, footer_offset, "index"),
    ];
    for (handle, next, name) in places {
        handle.check_size().map_err(|reason| format!("{name}: {reason}"))?;
        if handle.end().is_none() || handle.end() != next {
            return Err(format!("the {name} block does not end where the next part begins"));
        }
    }
    Ok(())
}

fn read(bytes: &[u8; FOOTER_SIZE]) -> Option<(Footer, [u8; 6], u32)> {
    let mut cursor = Cursor::new(bytes);
    let id = FileId(cursor.u64()?);
    let mut handle = || Handle::decode(cursor.take(Handle::SIZE)?);
    let (filter, properties, index) = (handle()?, handle()?, handle()?);
    let version = cursor.u16()?;
    Some((Footer { id, filter, properties, index, version }, cursor.array()?, cursor.u32()?))
}
