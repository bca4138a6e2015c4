//! Frames that are whole, but not of this file or not of this place.

use crate::error::Result;
use crate::format::coding::{Cursor, crc32, mix};
use crate::format::frame::{self, FRAME_HEADER_SIZE, MAGIC, TERMINATOR};
use crate::types::FileId;
use crate::vfs::File;

/// Bytes of a frame's header that its checksum covers.
const CHECKED_SIZE: usize = FRAME_HEADER_SIZE - 4;

/// Bytes of a payload that are read at once: its size is a stranger's word.
const CHUNK_SIZE: usize = 64 << 10;

/// What the checksums of the frame at `offset` were mixed with, if it is whole for any mix and ends
/// at or before `end`.
///
/// The mix is taken from the header's own checksum, so that every header fits; what tells is that the
/// payload's checksum was mixed with the same. Whoever asks for one bad place after the other must
/// give its end, or a long size in each would make them read the file again and again.
pub(super) fn foreign_mix(file: &dyn File, offset: u64, end: u64) -> Result<Option<u32>> {
    let mut bytes = [0; FRAME_HEADER_SIZE];
    let read = file.read_at(&mut bytes, offset)?;
    if read < bytes.len() || !bytes.starts_with(&MAGIC) {
        return Ok(None);
    }
    let mut stored = Cursor::new(&bytes[CHECKED_SIZE - 4..]);
    let (payload_crc, header_crc) =
        (stored.u32().unwrap_or_default(), stored.u32().unwrap_or_default());
    let mixed = crc32(&[&bytes[..CHECKED_SIZE]]) ^ header_crc;
    // An id that at this offset gives this mix.
    let id = FileId(u64::from(mixed ^ mix(FileId(0), offset)));
    let Some(head) = frame::head(&bytes, id, offset) else { return Ok(None) };
    let frame_end = offset.saturating_add(head.size() as u64);
    let payload = offset + FRAME_HEADER_SIZE as u64;
    let payload_end = payload + head.payload_size as u64;
    if frame_end > end || crc_of(file, payload, payload_end)? != Some(payload_crc ^ mixed) {
        return Ok(None);
    }
    let mut last = [0; frame::FRAME_ALIGN];
    let last = &mut last[..(frame_end - payload_end) as usize];
    let read = file.read_at(last, payload_end)?;
    let is_whole = read == last.len() && last.iter().all(|&byte| byte == TERMINATOR);
    Ok(is_whole.then_some(mixed))
}

/// The checksum of a part of a file; none if it ends before.
fn crc_of(file: &dyn File, mut from: u64, to: u64) -> Result<Option<u32>> {
    let mut buffer = vec![0; CHUNK_SIZE.min((to - from) as usize)];
    let mut hasher = crc32fast::Hasher::new();
    while from < to {
        let size = buffer.len().min((to - from) as usize);
        let read = file.read_at(&mut buffer[..size], from)?;
        if read < size {
            return Ok(None);
        }
        hasher.update(&buffer[..size]);
        from += size as u64;
    }
    Ok(Some(hasher.finalize()))
}
