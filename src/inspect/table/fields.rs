//! The fields of a table's parts, one behind the other, without a gap.

use super::raw::Raw;
use crate::error::Error;
use crate::format::block::{Block, Compression, Kind, TRAILER_SIZE};
use crate::format::coding::Cursor;
use crate::format::key::{InternalKey, Trailer};
use crate::format::table::{FOOTER_SIZE, Handle};
use crate::inspect::region::{Purpose, Region};
use crate::types::FileId;

/// Bytes of a key or value that are shown as they are.
const SHOWN_MAX: usize = 48;

/// Names of the properties' fields, by their tags.
const PROPERTIES: [&str; 22] = [
    "store id",
    "file id",
    "file number",
    "format version",
    "writer",
    "origin",
    "job",
    "level",
    "inputs",
    "creation time",
    "entries",
    "tombstones",
    "distinct keys",
    "bytes of keys",
    "bytes of values",
    "smallest key",
    "largest key",
    "lowest sequence number",
    "highest sequence number",
    "data blocks",
    "bytes of data blocks",
    "comparator",
];

/// What is called with each region; and whether it is of a content that lies compressed in the file,
/// so that its offset is one of the content.
pub(super) type Visit<'v, E> = dyn FnMut(Region, bool) -> Result<(), E> + 'v;

/// Hands out the fields of one part.
pub(super) struct Fields<'v, 'w, E> {
    part: String,
    /// Where the next field begins.
    at: u64,
    /// Whether compressed blocks are unpacked, and whether this is the content of one.
    unpack: bool,
    is_packed: bool,
    visit: &'v mut Visit<'w, E>,
}

impl<'v, 'w, E: From<Error>> Fields<'v, 'w, E> {
    pub(super) fn begin(part: String, at: u64, visit: &'v mut Visit<'w, E>) -> Self {
        Fields { part, at, unpack: false, is_packed: false, visit }
    }

    /// The same, going into compressed blocks if that is asked for.
    pub(super) fn unpacking(self, unpack: bool) -> Self {
        Fields { unpack, ..self }
    }

    fn region(
        &mut self,
        size: usize,
        purpose: Purpose,
        name: String,
        value: String,
    ) -> Result<(), E> {
        let (offset, part) = (self.at, self.part.clone());
        self.at += size as u64;
        match size as u64 {
            0 => Ok(()),
            size => {
                let region = Region { offset, size, purpose, part, name, value };
                (self.visit)(region, self.is_packed)
            }
        }
    }

    /// The next `size` bytes are this.
    fn field(
        &mut self,
        size: usize,
        name: impl Into<String>,
        value: impl ToString,
    ) -> Result<(), E> {
        self.region(size, Purpose::Field, name.into(), value.to_string())
    }

    fn reserved(&mut self, size: usize) -> Result<(), E> {
        self.region(size, Purpose::Padding, "reserved".to_owned(), "0".to_owned())
    }

    /// The next `size` bytes cannot be explained, for this reason.
    pub(super) fn damaged(&mut self, size: u64, reason: &str) -> Result<(), E> {
        self.region(size as usize, Purpose::Unexplained, "damaged".to_owned(), reason.to_owned())
    }

    /// A block, stored bytes and trailer.
    pub(super) fn block(&mut self, raw: &Raw, id: FileId) -> Result<(), E> {
        let sealed = raw.sealed();
        let compression = raw.compression(id);
        let (Some(content), Some(compression)) = (&raw.content, compression) else {
            let reason = raw.wrong.clone().unwrap_or_default();
            return self.damaged(u64::from(raw.handle.size), &reason);
        };
        match compression {
            Compression::None => self.content(raw.kind, content)?,
            Compression::Lz4 => {
                let size = format!("{} bytes of content", content.len());
                self.field(sealed.len() - TRAILER_SIZE, "LZ4 bytes", size)?;
                if self.unpack {
                    let behind = std::mem::replace(&mut self.at, 0);
                    self.is_packed = true;
                    self.content(raw.kind, content)?;
                    (self.at, self.is_packed) = (behind, false);
                }
            }
        }
        self.trailer(&sealed[sealed.len() - TRAILER_SIZE..])
    }

    fn trailer(&mut self, bytes: &[u8]) -> Result<(), E> {
        let [kind, compression, _, _, s0, s1, s2, s3, c0, c1, c2, c3] = *bytes else {
            return Ok(());
        };
        let name = Kind::from_u8(kind).map_or(String::new(), |kind| format!(" ({kind})"));
        self.field(1, "kind", format!("{kind}{name}"))?;
        let name = Compression::from_u8(compression).map_or(String::new(), |c| format!(" ({c})"));
        self.field(1, "compression", format!("{compression}{name}"))?;
        self.reserved(2)?;
        self.field(4, "content size", u32::from_le_bytes([s0, s1, s2, s3]))?;
        self.field(4, "checksum", hex32(u32::from_le_bytes([c0, c1, c2, c3])))
    }

    /// The content of a block.
    pub(super) fn content(&mut self, kind: Kind, content: &[u8]) -> Result<(), E> {
        match kind {
            Kind::Data | Kind::Index => match Block::new(content.to_vec()) {
                Ok(block) => self.entries(kind, &block),
                Err(reason) => self.damaged(content.len() as u64, &reason),
            },
            Kind::Filter => self.filter(content),
            Kind::Properties => self.properties(content),
        }
    }

    fn entries(&mut self, kind: Kind, block: &Block) -> Result<(), E> {
        let count = block.count();
        let flags = block.content().get(4).copied().unwrap_or_default();
        let end_size = if flags & 1 == 1 { 4 } else { 2 };
        let width = if end_size == 4 { "wide: ends of 4 bytes" } else { "ends of 2 bytes" };
        self.field(4, "count", count)?;
        self.field(1, "flags", format!("{flags:#04x} ({width})"))?;
        self.reserved(1)?;
        self.field(2, "prefix size", block.prefix().len())?;
        self.field(block.prefix().len(), "prefix", shown(block.prefix()))?;
        for entry in 0..count {
            self.field(8, format!("trailer of entry {entry}"), trailer(block.trailer(entry)))?;
        }
        let mut end = 0;
        for entry in 0..count {
            end += block.suffix(entry).len();
            self.field(end_size, format!("key end of entry {entry}"), end)?;
        }
        end = 0;
        for entry in 0..count {
            end += block.value(entry).len();
            self.field(end_size, format!("value end of entry {entry}"), end)?;
        }
        for entry in 0..count {
            let (size, user) = (block.suffix(entry).len(), block.user_key(entry));
            self.field(
                size,
                format!("suffix of entry {entry}"),
                format!("of key {}", shown(&user)),
            )?;
        }
        for entry in 0..count {
            let value = block.value(entry);
            match Handle::decode(value).filter(|_| kind == Kind::Index) {
                Some(Handle { offset, size }) => {
                    self.field(8, format!("offset of data block {entry}"), format!("{offset:#x}"))?;
                    self.field(4, format!("size of data block {entry}"), size)?;
                }
                None => self.field(value.len(), format!("value of entry {entry}"), shown(value))?,
            }
        }
        Ok(())
    }

    fn filter(&mut self, content: &[u8]) -> Result<(), E> {
        let Some((&[probes, _, _, _, l0, l1, l2, l3], lines)) = content.split_first_chunk() else {
            return self.damaged(content.len() as u64, "less than a filter's header");
        };
        self.field(1, "probes", probes)?;
        self.reserved(3)?;
        self.field(4, "lines", u32::from_le_bytes([l0, l1, l2, l3]))?;
        for (number, line) in lines.chunks(64).enumerate() {
            let set: u32 = line.iter().map(|byte| byte.count_ones()).sum();
            self.field(line.len(), format!("line {number}"), format!("{set} bits set"))?;
        }
        Ok(())
    }

    fn properties(&mut self, content: &[u8]) -> Result<(), E> {
        let mut cursor = Cursor::new(content);
        while !cursor.is_empty() {
            let start = cursor.position();
            let Some((tag, bytes)) = cursor.field() else {
                return self.damaged((content.len() - start) as u64, "not a field");
            };
            let name = PROPERTIES.get(usize::from(tag).wrapping_sub(1)).copied();
            let name = name.map_or_else(|| format!("unknown field {tag}"), str::to_owned);
            let head = cursor.position() - start - bytes.len();
            self.field(1, format!("tag of {name}"), tag)?;
            self.field(head - 1, format!("length of {name}"), bytes.len())?;
            self.field(bytes.len(), name, property(tag, bytes))?;
        }
        Ok(())
    }

    /// The footer, or what is there of it.
    pub(super) fn footer(&mut self, bytes: &[u8]) -> Result<(), E> {
        if bytes.len() != FOOTER_SIZE {
            return self.damaged(bytes.len() as u64, "the beginning of a footer");
        }
        let mut cursor = Cursor::new(bytes);
        let id = cursor.u64().unwrap_or_default();
        self.field(8, "file id", FileId(id))?;
        for name in ["filter", "properties", "index"] {
            let (offset, size) =
                (cursor.u64().unwrap_or_default(), cursor.u32().unwrap_or_default());
            self.field(8, format!("offset of the {name} block"), format!("{offset:#x}"))?;
            self.field(4, format!("size of the {name} block"), size)?;
        }
        self.field(2, "format version", cursor.u16().unwrap_or_default())?;
        self.reserved(6)?;
        cursor.take(6);
        self.field(4, "checksum", hex32(cursor.u32().unwrap_or_default()))?;
        self.field(8, "magic", shown(cursor.take(8).unwrap_or_default()))
    }
}

/// What a field of the properties says.
fn property(tag: u8, bytes: &[u8]) -> String {
    match tag {
        1 | 2 => match bytes.try_into() {
            Ok(id) => format!("{:016x}", u64::from_le_bytes(id)),
            Err(_) => shown(bytes),
        },
        16 | 17 => match bytes.split_last_chunk() {
            Some((user, number)) => {
                let trailer = Trailer(u64::from_le_bytes(*number));
                InternalKey { user: user.to_vec(), trailer }.to_string()
            }
            None => shown(bytes),
        },
        5 | 22 => shown(bytes),
        _ => {
            let mut cursor = Cursor::new(bytes);
            let mut numbers = Vec::new();
            while let Some(number) = cursor.varint() {
                numbers.push(number.to_string());
            }
            if cursor.is_empty() { numbers.join(" ") } else { shown(bytes) }
        }
    }
}

fn trailer(trailer: Trailer) -> String {
    match trailer.kind() {
        Some(kind) => format!("#{},{kind}", trailer.seqno()),
        None => format!("#{},kind {}", trailer.seqno(), trailer.0 as u8),
    }
}

fn hex32(number: u32) -> String {
    format!("{number:08x}")
}

/// Bytes in quotes, long ones cut.
fn shown(bytes: &[u8]) -> String {
    match bytes.get(..SHOWN_MAX).filter(|_| bytes.len() > SHOWN_MAX) {
        Some(start) => {
            format!("\"{}\" and {} bytes more", start.escape_ascii(), bytes.len() - SHOWN_MAX)
        }
        None => format!("\"{}\"", bytes.escape_ascii()),
    }
}
