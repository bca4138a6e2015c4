//! Right checksums over wrong bytes: what turns damage, which is found at the door, into a file that
//! somebody made to be believed.

use crate::format::block::{self, Block, Kind, TRAILER_SIZE};
use crate::format::coding::{crc32, mix};
use crate::format::frame::{FRAME_ALIGN, FRAME_HEADER_SIZE, MAGIC, TERMINATOR, frame_size};
use crate::format::header::{FileKind, HEADER_SIZE};
use crate::format::table::{FOOTER_SIZE, Footer, Handle};
use crate::types::FileId;

/// Where the identity of a log or manifest stands in its header.
const ID_OFFSET: usize = 16;

/// Bytes of a footer before its checksum.
const FOOTER_CHECKED_SIZE: usize = 52;

/// Data blocks of a table whose checksums are made right; a hostile index may name one block often.
const BLOCKS_MAX: usize = 64;

/// Makes the checksums of a whole file right, whatever kind it is.
pub fn file(bytes: &mut [u8]) {
    if FileKind::sniff(bytes).is_some() {
        header(bytes);
        let id = FileId(number(bytes, ID_OFFSET));
        frames(bytes, id, HEADER_SIZE, HEADER_SIZE as u64);
    } else if Footer::has_magic(bytes) {
        table(bytes);
    }
}

/// Makes the checksum of a log's or manifest's header right, if it is that long.
pub fn header(bytes: &mut [u8]) {
    if let Some(bytes) = bytes.get_mut(..HEADER_SIZE) {
        set_crc(bytes, HEADER_SIZE - 4, 0);
    }
}

/// Makes the checksums of the frames right that begin at `start` of the bytes, which is `at` of the
/// file `id`, each where the one before ends.
pub fn frames(bytes: &mut [u8], id: FileId, mut start: usize, mut at: u64) {
    while let Some(frame) = bytes.get_mut(start..).filter(|rest| rest.len() >= FRAME_HEADER_SIZE) {
        let mut size = FRAME_ALIGN;
        if frame.starts_with(&MAGIC) {
            let payload_size = u32_at(frame, 4) as usize;
            size = frame_size(payload_size);
            if let Some(payload) = frame.get(FRAME_HEADER_SIZE..FRAME_HEADER_SIZE + payload_size) {
                let crc = crc32(&[payload]) ^ mix(id, at);
                frame[16..20].copy_from_slice(&crc.to_le_bytes());
            }
            if let Some(end) = frame.get_mut(FRAME_HEADER_SIZE + payload_size..size) {
                end.fill(TERMINATOR);
            }
            set_crc(frame, FRAME_HEADER_SIZE - 4, mix(id, at));
        }
        start += size;
        at += size as u64;
    }
}

/// Makes the checksum of a block at `offset` of the file `id` right.
pub fn block(bytes: &mut [u8], id: FileId, offset: u64) {
    if bytes.len() >= TRAILER_SIZE {
        set_crc(bytes, bytes.len() - 4, mix(id, offset));
    }
}

/// Makes the checksum of a footer at `offset` of its file right.
pub fn footer(bytes: &mut [u8], offset: u64) {
    if bytes.len() == FOOTER_SIZE {
        let id = FileId(number(bytes, 0));
        set_crc(bytes, FOOTER_CHECKED_SIZE, mix(id, offset));
    }
}

/// Makes the checksums of a table right: of the footer, of the blocks it names, and of the data blocks
/// that the index names.
fn table(bytes: &mut [u8]) {
    let Some(start) = bytes.len().checked_sub(FOOTER_SIZE) else { return };
    footer(&mut bytes[start..], start as u64);
    let Ok(footer) = Footer::decode(&bytes[start..], start as u64) else { return };
    for handle in [footer.filter, footer.properties, footer.index] {
        block_at(bytes, footer.id, handle);
    }
    let index = range(footer.index).and_then(|range| bytes.get(range)).map(<[u8]>::to_vec);
    let content = index.map(|index| {
        block::unseal(Kind::Index, index, footer.id, footer.index.offset).and_then(Block::new)
    });
    let Some(Ok(index)) = content else { return };
    for position in 0..index.count().min(BLOCKS_MAX) {
        if let Some(handle) = Handle::decode(index.value(position)) {
            block_at(bytes, footer.id, handle);
        }
    }
}

fn block_at(bytes: &mut [u8], id: FileId, handle: Handle) {
    if let Some(bytes) = range(handle).and_then(|range| bytes.get_mut(range)) {
        block(bytes, id, handle.offset);
    }
}

fn range(handle: Handle) -> Option<std::ops::Range<usize>> {
    Some(usize::try_from(handle.offset).ok()?..usize::try_from(handle.end()?).ok()?)
}

/// Writes the checksum of all before `at` there.
fn set_crc(bytes: &mut [u8], at: usize, mix: u32) {
    let crc = crc32(&[&bytes[..at]]) ^ mix;
    bytes[at..at + 4].copy_from_slice(&crc.to_le_bytes());
}

fn number(bytes: &[u8], at: usize) -> u64 {
    let array = bytes.get(at..).and_then(|rest| rest.first_chunk());
    array.map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let array = bytes.get(at..).and_then(|rest| rest.first_chunk());
    array.map_or(0, |bytes| u32::from_le_bytes(*bytes))
}
