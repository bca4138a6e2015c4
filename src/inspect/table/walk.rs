//! Finds blocks without an index: where one begins, its end is where a trailer fits.
//!
//! A trailer says the kind, the compression and the content's size, and its checksum covers the
//! block from its first byte: so few places can be a block's end, and the checksum tells which
//! one is. Behind bytes that are no block, the next one is looked for where a trailer may end.

use std::ops::ControlFlow;

use super::window::Window;
use crate::error::Result;
use crate::format::block::{Block, CONTENT_SIZE_MAX, Kind, TRAILER_SIZE, check, unseal};
use crate::format::coding::{crc32, mix};
use crate::format::table::Handle;
use crate::types::FileId;
use crate::vfs::File;

/// Bytes looked at together.
const STRIDE: usize = 256 << 10;

/// How far the end of a block is looked for behind a place where one may begin.
const REACH_MAX: u64 = 16 << 20;

/// How many such places are tried behind a damaged block.
const TRIES_MAX: u32 = 4096;

/// What lies in a file, part by part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// An intact block.
    Block(Kind, Handle),
    /// Bytes that are no intact block.
    Gap(Handle),
}

/// Looks for blocks from `start` up to `limit`, which is the end of the file or of its data.
pub(super) fn walk(
    file: &dyn File,
    id: FileId,
    start: u64,
    limit: u64,
    visit: &mut dyn FnMut(Found) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let mut walk = Walk { window: Window::new(file, limit), id, limit };
    let mut at = start;
    while at < limit {
        let found = match walk.block_at(at, limit)? {
            Some(found) => found,
            None => Found::Gap(walk.gap_at(at)?),
        };
        let (Found::Block(_, handle) | Found::Gap(handle)) = found;
        if visit(found)?.is_break() {
            break;
        }
        at = handle.end().unwrap_or(limit);
    }
    Ok(())
}

/// Whether a table's first data block lies at the front of a file: then the folded id that its
/// checksum was made with.
pub(super) fn first_block(file: &dyn File) -> Result<Option<FileId>> {
    let size = file.size()?.min(REACH_MAX);
    let mut window = Window::new(file, size);
    let bytes = window.get(0, size)?;
    let mut ends = (1..bytes.len().saturating_sub(TRAILER_SIZE - 1)).filter(|&end| {
        trailer(&bytes[end..]).is_some_and(|found| found.0 == Kind::Data && found.fits(end as u64))
    });
    Ok(ends.find_map(|end| {
        let sealed = &bytes[..end + TRAILER_SIZE];
        let (checked, stored) = sealed.split_last_chunk()?;
        // At offset 0 the mix is the folded id alone.
        let folded = crc32(&[checked]) ^ u32::from_le_bytes(*stored);
        let id = FileId(u64::from(folded));
        check(sealed, id, 0).ok()?;
        let block = Block::new(unseal(Kind::Data, sealed.to_vec(), id, 0).ok()?).ok()?;
        let kinds = (0..block.count()).all(|entry| block.trailer(entry).kind().is_some());
        (kinds && block.verify_order().is_ok()).then_some(id)
    }))
}

struct Walk<'f> {
    window: Window<'f>,
    id: FileId,
    limit: u64,
}

impl Walk<'_> {
    /// The intact block that begins at `start` and ends before `limit`.
    fn block_at(&mut self, start: u64, limit: u64) -> Result<Option<Found>> {
        let mix = mix(self.id, start);
        let mut hasher = crc32fast::Hasher::new();
        let mut hashed = 0;
        let mut at = start;
        while at + TRAILER_SIZE as u64 <= limit {
            let bytes =
                self.window.get(at, (STRIDE + TRAILER_SIZE).min((limit - at) as usize) as u64)?;
            let Some(places) = (bytes.len() + 1).checked_sub(TRAILER_SIZE) else { break };
            let places = places.min(STRIDE);
            let mut from = 0;
            for end in 0..places {
                let stored = at - start + end as u64;
                let fits = |found: Trailer| stored > 0 && found.fits(stored);
                if bytes[end] > 4 || !trailer(&bytes[end..]).is_some_and(fits) {
                    continue;
                }
                hasher.update(&bytes[from..end]);
                from = end;
                let mut whole = hasher.clone();
                whole.update(&bytes[end..end + 8]);
                let crc = whole.finalize() ^ mix;
                if bytes[end + 8..end + TRAILER_SIZE] == crc.to_le_bytes() {
                    let size = stored + TRAILER_SIZE as u64;
                    let kind = Kind::from_u8(bytes[end]).unwrap_or(Kind::Data);
                    let handle = Handle { offset: start, size: size as u32 };
                    return Ok(Some(Found::Block(kind, handle)));
                }
            }
            hasher.update(&bytes[from..places]);
            hashed += places as u64;
            at += places as u64;
            if hashed > u64::from(CONTENT_SIZE_MAX) {
                break;
            }
        }
        Ok(None)
    }

    /// What lies between `start`, where no intact block begins, and the next place where one does.
    fn gap_at(&mut self, start: u64) -> Result<Handle> {
        let mut tries = 0;
        let mut at = start;
        while at + TRAILER_SIZE as u64 <= self.limit && tries < TRIES_MAX {
            let size = (STRIDE + TRAILER_SIZE).min((self.limit - at) as usize) as u64;
            let bytes = self.window.get(at, size)?;
            let Some(places) = (bytes.len() + 1).checked_sub(TRAILER_SIZE) else { break };
            let next = (0..places).find(|&end| trailer(&bytes[end..]).is_some());
            let Some(end) = next else {
                at += places as u64;
                continue;
            };
            let behind = at + (end + TRAILER_SIZE) as u64;
            let reach = self.limit.min(behind + REACH_MAX);
            if self.block_at(behind, reach)?.is_some() {
                return Ok(Handle { offset: start, size: (behind - start) as u32 });
            }
            tries += 1;
            at += end as u64 + 1;
        }
        let size = (self.limit - start).min(u64::from(u32::MAX));
        Ok(Handle { offset: start, size: size as u32 })
    }
}

/// What a trailer says: kind, whether compressed, content size.
struct Trailer(Kind, bool, u32);

impl Trailer {
    /// Whether so many stored bytes can be before it.
    fn fits(&self, stored: u64) -> bool {
        let size = u64::from(self.2);
        if self.1 { size <= stored.saturating_mul(256) } else { size == stored }
    }
}

/// What could be a trailer.
fn trailer(bytes: &[u8]) -> Option<Trailer> {
    let [kind, compression @ 0..=1, 0, 0, s0, s1, s2, s3, ..] = *bytes else { return None };
    let size = u32::from_le_bytes([s0, s1, s2, s3]);
    let kind = Kind::from_u8(kind)?;
    (size > 0 && size <= CONTENT_SIZE_MAX).then_some(Trailer(kind, compression == 1, size))
}
