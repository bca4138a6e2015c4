#![doc = include_str!("../../docs/formats/wal.md")]

mod payload;
#[cfg(test)]
mod tests;

use std::fmt;

use super::coding::{Cursor, FlippedBit, crc32, find_flipped_bit, mix};
use crate::probe::mutant;
use crate::types::FileId;

pub use payload::{BatchPayload, ClosePayload, EndPayload, GapPayload, MarkPayload};

/// Bytes of a frame before its payload.
pub const FRAME_HEADER_SIZE: usize = 24;

/// Frames begin at multiples of this offset, and so have a multiple of as many bytes.
pub const FRAME_ALIGN: usize = 8;

/// Bytes of a whole frame with a payload of `payload_size` bytes.
#[must_use]
pub const fn frame_size(payload_size: usize) -> usize {
    (FRAME_HEADER_SIZE + payload_size + 1).next_multiple_of(FRAME_ALIGN)
}

/// Largest payload, in bytes: 1 GiB.
pub const PAYLOAD_SIZE_MAX: usize = 1 << 30;

/// The two bytes a frame begins with.
pub const MAGIC: [u8; 2] = [0xbe, 0xac];

/// The byte, one to eight times, behind the payload up to the next multiple of [`FRAME_ALIGN`].
///
/// A torn write that leaves zeros in its place differs in six bits, so it never looks like one
/// flipped bit; and with the alignment no sector ends up with less than eight bytes of a frame,
/// few enough for garbage to hit the right ones but for one bit.
pub const TERMINATOR: u8 = 0xb7;

/// Largest payload in which a flipped bit is looked for. In a larger one chance would find too many
/// where a write was torn.
pub const MEND_SIZE_MAX: usize = 4096;

/// Bytes of a frame's header that its checksum covers.
const CHECKED_SIZE: usize = FRAME_HEADER_SIZE - 4;

/// What a frame's payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A write batch and its first sequence number: [`BatchPayload`].
    Batch = 1,
    /// What was on stable storage: [`MarkPayload`].
    Mark = 2,
    /// The store was closed; written twice in a row: [`ClosePayload`].
    Close = 3,
    /// The log was rotated and ends here: [`EndPayload`].
    End = 4,
    /// A version edit, in manifests: [`super::edit::Edit`].
    Edit = 5,
    /// In salvaged logs: something is missing here: [`GapPayload`].
    Gap = 6,
}

impl Kind {
    /// The kind with this number on disk, if this version knows it.
    #[must_use]
    pub fn from_u8(byte: u8) -> Option<Kind> {
        [Kind::Batch, Kind::Mark, Kind::Close, Kind::End, Kind::Edit, Kind::Gap]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Batch => "batch",
            Kind::Mark => "mark",
            Kind::Close => "close",
            Kind::End => "end",
            Kind::Edit => "edit",
            Kind::Gap => "gap",
        })
    }
}

/// What [`decode`] found at an offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// A whole, intact frame.
    Frame {
        /// What the payload is.
        kind: Kind,
        /// All bytes of this file before this offset were on stable storage when the frame was
        /// written; 0 promises nothing.
        synced_upto: u64,
        /// The payload.
        payload: &'a [u8],
        /// Bytes of the whole frame.
        size: usize,
    },
    /// The bytes end inside a frame.
    Torn {
        /// Bytes of the whole frame, where its header is there and intact.
        size: Option<usize>,
    },
    /// The header's bytes are all zero: where nothing was ever written, or nothing arrived.
    Zeros,
    /// Neither a frame nor nothing.
    Damaged {
        /// What was found and what was expected.
        detail: String,
        /// The one bit that, flipped back, makes the frame whole: (byte of the frame, bit).
        flipped: Option<(usize, u8)>,
    },
}

/// A frame's header whose checksum is right: the frame's kind and extent can be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// What the payload is.
    pub kind: Kind,
    /// The promise; see [`Decoded::Frame`].
    pub synced_upto: u64,
    /// Bytes of the payload, at most [`PAYLOAD_SIZE_MAX`].
    pub payload_size: usize,
    payload_crc: u32,
    mix: u32,
}

/// Why bytes are not a [`Head`].
enum NoHead {
    /// There are fewer than [`FRAME_HEADER_SIZE`].
    Short,
    /// The checksum is another.
    Checksum { stored: u32, computed: u32 },
    /// The checksum is right and the content is not; what is wrong.
    Content(String),
}

/// Appends a frame that will lie at `offset` of the file `id`; the payload is the concatenation of
/// the parts.
///
/// # Panics
/// When the payload is larger than [`PAYLOAD_SIZE_MAX`], or the offset is not aligned.
pub fn encode(
    out: &mut Vec<u8>,
    id: FileId,
    offset: u64,
    kind: Kind,
    synced_upto: u64,
    payload: &[&[u8]],
) {
    let header = encode_header(id, offset, kind, synced_upto, payload);
    let payload_size: usize = payload.iter().map(|part| part.len()).sum();
    let end = out.len() + frame_size(payload_size);
    out.reserve(frame_size(payload_size));
    out.extend_from_slice(&header);
    for part in payload {
        out.extend_from_slice(part);
    }
    out.resize(end, TERMINATOR);
}

/// The first bytes of a frame as [`encode`] writes them, for who writes a large payload from where it
/// lies; the payload and the terminator follow.
///
/// # Panics
/// As [`encode`].
#[must_use]
pub fn encode_header(
    id: FileId,
    offset: u64,
    kind: Kind,
    synced_upto: u64,
    payload: &[&[u8]],
) -> [u8; FRAME_HEADER_SIZE] {
    let payload_size: usize = payload.iter().map(|part| part.len()).sum();
    assert!(payload_size <= PAYLOAD_SIZE_MAX, "a frame's payload has {payload_size} bytes");
    assert!(offset.is_multiple_of(FRAME_ALIGN as u64), "a frame at {offset:#x}");
    let mix = mix(id, offset);
    let mut header = [0; FRAME_HEADER_SIZE];
    header[0..2].copy_from_slice(&MAGIC);
    header[2] = kind as u8;
    header[4..8].copy_from_slice(&(payload_size as u32).to_le_bytes());
    header[8..16].copy_from_slice(&synced_upto.to_le_bytes());
    header[16..20].copy_from_slice(&(crc32(payload) ^ mix).to_le_bytes());
    let header_crc = crc32(&[&header[..CHECKED_SIZE]]) ^ mix;
    header[20..24].copy_from_slice(&header_crc.to_le_bytes());
    header
}

/// Reads the frame at the front of `bytes`, which lie at `offset` of the file `id`.
///
/// A flipped bit is looked for in the header always, in the payload up to [`MEND_SIZE_MAX`], and is
/// reported only if flipping it back leaves nothing else wrong with the frame in `bytes`.
#[must_use]
pub fn decode(bytes: &[u8], id: FileId, offset: u64) -> Decoded<'_> {
    let start = &bytes[..bytes.len().min(FRAME_HEADER_SIZE)];
    if !start.is_empty() && start.iter().all(|&byte| byte == 0) {
        return Decoded::Zeros;
    }
    match parse(bytes, mix(id, offset)) {
        Ok(head) => decode_body(&head, bytes),
        Err(NoHead::Short) => Decoded::Torn { size: None },
        Err(NoHead::Content(detail)) => Decoded::Damaged { detail, flipped: None },
        Err(NoHead::Checksum { stored, computed }) => {
            let detail = if bytes.starts_with(&MAGIC) {
                format!("frame header checksum is {stored:08x}, expected {computed:08x}")
            } else {
                format!("no frame begins here: found {:02x}{:02x}", bytes[0], bytes[1])
            };
            let flipped = mend_header(bytes, id, offset, stored, computed);
            Decoded::Damaged { detail, flipped }
        }
    }
}

/// Reads only the header of the frame at the front of `bytes`; none unless it is intact.
#[must_use]
pub fn head(bytes: &[u8], id: FileId, offset: u64) -> Option<Head> {
    // Looked at first because it is cheap: a search for frames asks at every magic it meets.
    let plausible = bytes.starts_with(&MAGIC) && bytes.get(3) == Some(&0);
    if plausible { parse(bytes, mix(id, offset)).ok() } else { None }
}

impl Head {
    /// Bytes of the whole frame.
    #[must_use]
    pub fn size(&self) -> usize {
        frame_size(self.payload_size)
    }

    /// Whether `bytes`, which begin with this header, hold the whole frame and it is intact.
    #[must_use]
    pub fn is_whole(&self, bytes: &[u8]) -> bool {
        matches!(decode_payload(self, bytes), Some((payload, end))
            if is_terminated(end) && crc32(&[payload]) ^ self.mix == self.payload_crc)
    }
}

fn parse(bytes: &[u8], mix: u32) -> Result<Head, NoHead> {
    let mut cursor = Cursor::new(bytes);
    let mut fields = || {
        let magic = cursor.array()?;
        let (kind, reserved, payload_size) = (cursor.u8()?, cursor.u8()?, cursor.u32()?);
        let synced_upto = cursor.u64()?;
        Some((magic, kind, reserved, payload_size, synced_upto, cursor.u32()?, cursor.u32()?))
    };
    let Some((magic, kind, reserved, payload_size, synced_upto, payload_crc, stored)) = fields()
    else {
        return Err(NoHead::Short);
    };
    let computed = crc32(&[&bytes[..CHECKED_SIZE]]) ^ mix;
    // Rule 5: checksums cover headers.
    if stored != computed && !(mutant("frame_header_unchecked") && bytes.starts_with(&MAGIC)) {
        return Err(NoHead::Checksum { stored, computed });
    }
    if magic != MAGIC || reserved != 0 {
        return Err(NoHead::Content("frame header is not one of format 1".to_owned()));
    }
    let payload_size = payload_size as usize;
    if payload_size > PAYLOAD_SIZE_MAX {
        return Err(NoHead::Content(format!(
            "payload has {payload_size} bytes, limit is {PAYLOAD_SIZE_MAX}"
        )));
    }
    match Kind::from_u8(kind) {
        Some(kind) => Ok(Head { kind, synced_upto, payload_size, payload_crc, mix }),
        None => Err(NoHead::Content(format!("unknown frame kind {kind}"))),
    }
}

/// The payload and the bytes behind it, if all are there.
fn decode_payload<'a>(head: &Head, bytes: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    Some(bytes.get(FRAME_HEADER_SIZE..head.size())?.split_at(head.payload_size))
}

fn is_terminated(end: &[u8]) -> bool {
    end.iter().all(|&byte| byte == TERMINATOR)
}

fn decode_body<'a>(head: &Head, bytes: &'a [u8]) -> Decoded<'a> {
    let Some((payload, end)) = decode_payload(head, bytes) else {
        return Decoded::Torn { size: Some(head.size()) };
    };
    let computed = crc32(&[payload]) ^ head.mix;
    // Rule 5: what does not verify never replays.
    if computed != head.payload_crc && !mutant("frame_payload_unchecked") {
        let flipped = (is_terminated(end) && payload.len() <= MEND_SIZE_MAX)
            .then(|| find_flipped_bit(head.payload_crc, computed, payload.len()))
            .flatten();
        return Decoded::Damaged {
            detail: format!(
                "{} frame's payload checksum is {:08x}, expected {computed:08x}",
                head.kind, head.payload_crc
            ),
            flipped: match flipped {
                Some(FlippedBit::Data { byte, bit }) => Some((FRAME_HEADER_SIZE + byte, bit)),
                // The stored checksum cannot be the one flipped: the header's own is right.
                Some(FlippedBit::Checksum { .. }) | None => None,
            },
        };
    }
    if !is_terminated(end) {
        let detail = format!("{} frame ends with {}, expected only b7", head.kind, hex(end));
        return Decoded::Damaged { detail, flipped: mend_end(head, end) };
    }
    let (kind, synced_upto) = (head.kind, head.synced_upto);
    Decoded::Frame { kind, synced_upto, payload, size: head.size() }
}

/// The bit that mends the terminator, if it is one.
fn mend_end(head: &Head, end: &[u8]) -> Option<(usize, u8)> {
    let mut wrong = (0..end.len()).filter(|&index| end[index] != TERMINATOR);
    let (index, None) = (wrong.next()?, wrong.next()) else { return None };
    let difference = end[index] ^ TERMINATOR;
    (difference.count_ones() == 1)
        .then(|| (FRAME_HEADER_SIZE + head.payload_size + index, difference.trailing_zeros() as u8))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bit that mends a header, if the mended one makes sense and its payload (where it is small
/// and there) is intact.
fn mend_header(
    bytes: &[u8],
    id: FileId,
    offset: u64,
    stored: u32,
    computed: u32,
) -> Option<(usize, u8)> {
    let (byte, bit) = match find_flipped_bit(stored, computed, CHECKED_SIZE)? {
        FlippedBit::Data { byte, bit } => (byte, bit),
        FlippedBit::Checksum { bit } => (CHECKED_SIZE + usize::from(bit) / 8, bit % 8),
    };
    let mut header: [u8; FRAME_HEADER_SIZE] = Cursor::new(bytes).array()?;
    header[byte] ^= 1 << bit;
    let head = head(&header, id, offset)?;
    let intact = head.payload_size > MEND_SIZE_MAX
        || decode_payload(&head, bytes).is_none()
        || head.is_whole(bytes);
    intact.then_some((byte, bit))
}
