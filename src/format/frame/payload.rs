//! What is inside the frames of a log, each with its encoding.

use crate::format::coding::Cursor;
use crate::types::{FileNumber, SeqNo};

/// The payload of [`Kind::Batch`](super::Kind::Batch): a write batch with its place in the history
/// of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchPayload<'a> {
    /// The sequence number of the batch's first operation; the others follow one by one.
    pub first: SeqNo,
    /// The encoded batch, as [`crate::format::batch`] describes it; not yet checked.
    pub batch: &'a [u8],
}

impl<'a> BatchPayload<'a> {
    /// Reads a payload; the batch in it is left to [`crate::format::batch::Decoder`].
    ///
    /// # Errors
    /// The reason.
    pub fn decode(payload: &'a [u8]) -> Result<BatchPayload<'a>, String> {
        let Some((first, batch)) = payload.split_first_chunk() else {
            return Err(wrong_size("batch", payload, "at least 8"));
        };
        let first = SeqNo(u64::from_le_bytes(*first));
        if first == SeqNo::ZERO || first > SeqNo::MAX {
            return Err(format!("batch begins with sequence number {first}"));
        }
        Ok(BatchPayload { first, batch })
    }

    /// The first part of the payload; the encoded batch is the second.
    #[must_use]
    pub fn encode_first(first: SeqNo) -> [u8; 8] {
        first.0.to_le_bytes()
    }
}

/// The payload of [`Kind::Mark`](super::Kind::Mark): how much of the manifest was on stable storage
/// when the mark was written. How much of the log was is in the frame's `synced_upto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkPayload {
    /// The current manifest.
    pub manifest: FileNumber,
    /// All its bytes before this offset were on stable storage.
    pub manifest_synced: u64,
}

impl MarkPayload {
    /// The 16 bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; 16] {
        join([self.manifest.0, self.manifest_synced])
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// The reason.
    pub fn decode(payload: &[u8]) -> Result<MarkPayload, String> {
        let [manifest, manifest_synced] = split("mark", payload)?;
        Ok(MarkPayload { manifest: FileNumber(manifest), manifest_synced })
    }
}

/// The payload of [`Kind::Close`](super::Kind::Close), written twice in a row by a clean close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClosePayload {
    /// Where the log ended: the offset of the first of the two close frames.
    pub log_end: u64,
    /// The current manifest.
    pub manifest: FileNumber,
    /// All its bytes before this offset were on stable storage.
    pub manifest_synced: u64,
}

impl ClosePayload {
    /// The 24 bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; 24] {
        join([self.log_end, self.manifest.0, self.manifest_synced])
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// The reason.
    pub fn decode(payload: &[u8]) -> Result<ClosePayload, String> {
        let [log_end, manifest, manifest_synced] = split("close", payload)?;
        Ok(ClosePayload { log_end, manifest: FileNumber(manifest), manifest_synced })
    }
}

/// The payload of [`Kind::End`](super::Kind::End), the last frame of a rotated log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndPayload {
    /// Where the log ended: the offset of this frame.
    pub log_end: u64,
}

impl EndPayload {
    /// The 8 bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; 8] {
        join([self.log_end])
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// The reason.
    pub fn decode(payload: &[u8]) -> Result<EndPayload, String> {
        let [log_end] = split("end", payload)?;
        Ok(EndPayload { log_end })
    }
}

/// The payload of [`Kind::Gap`](super::Kind::Gap), which only a salvage writes: what the damaged log
/// had here could not be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GapPayload {
    /// Where the damaged log's bytes that were left out began.
    pub offset: u64,
    /// How many bytes were left out.
    pub size: u64,
}

impl GapPayload {
    /// The 16 bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; 16] {
        join([self.offset, self.size])
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// The reason.
    pub fn decode(payload: &[u8]) -> Result<GapPayload, String> {
        let [offset, size] = split("gap", payload)?;
        Ok(GapPayload { offset, size })
    }
}

/// The numbers one after the other, little-endian; `BYTES` is eight times `COUNT`.
fn join<const COUNT: usize, const BYTES: usize>(numbers: [u64; COUNT]) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    for (place, number) in bytes.chunks_exact_mut(8).zip(numbers) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    bytes
}

fn split<const COUNT: usize>(what: &str, payload: &[u8]) -> Result<[u64; COUNT], String> {
    let mut cursor = Cursor::new(payload);
    let mut numbers = [0; COUNT];
    for number in &mut numbers {
        *number = cursor.u64().ok_or_else(|| wrong_size(what, payload, COUNT * 8))?;
    }
    if cursor.is_empty() { Ok(numbers) } else { Err(wrong_size(what, payload, COUNT * 8)) }
}

fn wrong_size(what: &str, payload: &[u8], expected: impl std::fmt::Display) -> String {
    format!("{what} payload has {} bytes, expected {expected}", payload.len())
}
