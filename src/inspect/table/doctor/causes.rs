//! What explains bytes that fail their checksum.

use std::collections::HashMap;

use super::{Cause, Diagnosis, kind_of, part_of};
use crate::error::Result;
use crate::format::block::{self, Block, Kind};
use crate::format::coding::{crc32, mix};
use crate::format::filter::hash;
use crate::format::table::Handle;
use crate::inspect::finding::Finding;
use crate::inspect::table::parts::{Parts, key_at};
use crate::inspect::table::raw::{PartName, Raw};
use crate::inspect::table::window::Window;
use crate::types::FileId;
use crate::vfs::File;

/// The smallest unit in which disks and file systems lose data.
const SECTOR_SIZE: u64 = 512;

/// The unit of pages.
const PAGE_SIZE: u64 = 4096;

/// Bytes of one value in a row that are not there by chance.
const RUN_MIN: usize = 64;

/// How far such a run is followed beyond a block.
const EXTENT_MAX: u64 = 1 << 20;

/// Bytes of damaged parts whose sectors are looked for elsewhere.
const SEARCHED_MAX: u64 = 64 << 20;

/// The flipped bit that explains a damaged data block.
pub(super) fn flipped(
    file: &dyn File,
    parts: &Parts<'_>,
    finding: &Finding,
) -> Result<Option<(u64, u8)>> {
    let (Some((_, handle)), Some(id)) = (part_of(finding, parts), parts.report.id) else {
        return Ok(None);
    };
    let raw = Raw::read(file, id, Kind::Data, handle)?;
    Ok(raw.flipped.map(|(byte, bit)| (handle.offset + byte as u64, bit)))
}

/// What explains a part that no single bit explains.
pub(super) fn of(file: &dyn File, parts: &Parts<'_>, finding: &Finding) -> Result<Vec<Cause>> {
    let Some((name, handle)) = part_of(finding, parts) else { return Ok(vec![Cause::Unknown]) };
    let bytes = read(file, handle)?;
    if (bytes.len() as u64) < u64::from(handle.size) {
        return Ok(vec![Cause::Cut(parts.report.size)]);
    }
    let at_end = handle.end() == Some(parts.report.size);
    if at_end && parts.report.footer.is_none() {
        return Ok(vec![Cause::Cut(parts.report.size)]);
    }
    let mut causes: Vec<Cause> = overwritten(file, &bytes, handle.offset)?.into_iter().collect();
    if let (Some(kind), Some(id)) = (kind_of(finding.code), parts.report.id)
        && let Some(cause) = displaced(&bytes, (id, handle.offset), kind, name, parts)
    {
        causes.push(cause);
    }
    if causes.is_empty() {
        causes.push(Cause::Unknown);
    }
    Ok(causes)
}

fn read(file: &dyn File, handle: Handle) -> Result<Vec<u8>> {
    let limit = file.size()?.saturating_sub(handle.offset).min(u64::from(handle.size));
    let mut bytes = vec![0; limit as usize];
    let read = file.read_at(&mut bytes, handle.offset)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Zeros or ones in a block where something else was: the longest run, as far as it goes on before and
/// behind the block, down to whole sectors.
fn overwritten(file: &dyn File, bytes: &[u8], base: u64) -> Result<Option<Cause>> {
    let Some((at, size, byte)) = run(bytes) else { return Ok(None) };
    let (mut start, mut end) = (base + at as u64, base + (at + size) as u64);
    if at == 0 {
        let from = start.saturating_sub(EXTENT_MAX);
        let before = read(file, Handle { offset: from, size: (start - from) as u32 })?;
        start -= before.iter().rev().take_while(|&&other| other == byte).count() as u64;
    }
    if at + size == bytes.len() {
        let behind = read(file, Handle { offset: end, size: EXTENT_MAX as u32 })?;
        end += behind.iter().take_while(|&&other| other == byte).count() as u64;
    }
    let (first, size, sector) = filled(start, end).unwrap_or((start, end - start, 1));
    let covers = first < base + bytes.len() as u64 && first + size > base;
    Ok(covers.then_some(Cause::Overwritten(first, size, byte, sector)))
}

/// The longest run of zeros or ones, if it is too long to be there by chance.
fn run(bytes: &[u8]) -> Option<(usize, usize, u8)> {
    let (mut best, mut start): (Option<(usize, usize, u8)>, _) = (None, 0);
    while let Some(&byte) = bytes.get(start) {
        let size = bytes[start..].iter().take_while(|&&other| other == byte).count();
        let longest = best.map_or(RUN_MIN - 1, |(_, size, _)| size);
        if matches!(byte, 0 | 0xff) && size > longest {
            best = Some((start, size, byte));
        }
        start += size;
    }
    best
}

/// The whole pages from `start` to `end` if that is all there is, else the whole sectors: where they
/// begin, their bytes, and the bytes of one.
fn filled(start: u64, end: u64) -> Option<(u64, u64, u32)> {
    let whole = |unit: u64| {
        let (first, last) = (start.next_multiple_of(unit), end / unit * unit);
        (last > first).then(|| (first, last - first, unit as u32))
    };
    let sectors = whole(SECTOR_SIZE)?;
    match whole(PAGE_SIZE) {
        Some(pages) if pages.1 == sectors.1 => Some(pages),
        _ => Some(sectors),
    }
}

/// Whether the block is whole in itself, and only its place or file is wrong.
///
/// The checksum is mixed with both, so the difference between the checksum found and the one
/// expected tells the other offset, if it is one of this file.
fn displaced(
    bytes: &[u8],
    (id, offset): (FileId, u64),
    kind: Kind,
    name: PartName,
    parts: &Parts<'_>,
) -> Option<Cause> {
    let (checked, stored) = bytes.split_last_chunk()?;
    let difference = crc32(&[checked]) ^ u32::from_le_bytes(*stored) ^ mix(id, offset);
    let from = (offset as u32 ^ (offset >> 32) as u32 ^ difference) as u64;
    let position = parts.position_of(from);
    let begins = position.and_then(|position| parts.handle(position));
    if begins.is_some_and(|block| block.offset == from && from != offset) {
        return Some(Cause::Elsewhere(offset, bytes.len() as u64, None, from));
    }
    // An id that folds to the difference makes the checksum right, whatever the bytes; so they must
    // make sense, and contradict what the index says about them.
    let stranger = FileId(u64::from(difference ^ mix(id, 0)));
    let content = block::unseal(kind, bytes.to_vec(), stranger, offset).ok()?;
    let block = Block::new(content).ok().filter(|block| block.verify_order().is_ok())?;
    let PartName::Data(position) = name else { return None };
    let index = parts.index.value.as_ref()?;
    let position = usize::try_from(position).ok().filter(|at| *at < index.count())?;
    let last = key_at(&block, block.count() - 1);
    let is_ours = index.compare(position, &last.user, last.trailer).is_eq();
    (!is_ours).then_some(Cause::Foreign)
}

/// Looks for the sectors of parts that nothing explains, in this file and in others.
pub(super) fn search_elsewhere(
    file: &dyn File,
    others: &[&dyn File],
    diagnoses: &mut [Diagnosis],
) -> Result<()> {
    let mut wanted: HashMap<u64, (usize, u64)> = HashMap::new();
    let mut budget = SEARCHED_MAX;
    for (number, diagnosis) in diagnoses.iter().enumerate() {
        let unexplained = matches!(diagnosis.causes[..], [Cause::Unknown | Cause::Foreign]);
        let (Some(offset), Some(size)) = (diagnosis.finding.offset, diagnosis.finding.size) else {
            continue;
        };
        if !unexplained || size > budget {
            continue;
        }
        budget -= size;
        let mut window = Window::new(file, offset + size);
        let mut at = offset.next_multiple_of(SECTOR_SIZE);
        while at + SECTOR_SIZE <= offset + size {
            let sector = window.get(at, SECTOR_SIZE)?;
            if sector.len() as u64 == SECTOR_SIZE && sector.iter().any(|byte| *byte != sector[0]) {
                wanted.insert(hash(sector), (number, at));
            }
            at += SECTOR_SIZE;
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let mut found: Vec<(usize, Cause)> = Vec::new();
    for (is_this, source) in
        std::iter::once((true, file)).chain(others.iter().map(|other| (false, *other)))
    {
        let size = source.size()?;
        let mut window = Window::new(source, size);
        let mut at = 0;
        while at + SECTOR_SIZE <= size {
            let sector = window.get(at, SECTOR_SIZE)?;
            if let Some((number, place)) = wanted.get(&hash(sector))
                && !(is_this && *place == at)
            {
                let name = (!is_this).then(|| source.path().to_owned());
                join(&mut found, *number, Cause::Elsewhere(*place, SECTOR_SIZE, name, at));
            }
            at += SECTOR_SIZE;
        }
    }
    for (number, cause) in found {
        let causes = &mut diagnoses[number].causes;
        causes.retain(|cause| *cause != Cause::Unknown);
        causes.push(cause);
    }
    Ok(())
}

/// Adds a sector; one that goes on where the one before ended, in both files, joins it.
fn join(found: &mut Vec<(usize, Cause)>, number: usize, cause: Cause) {
    if let (Cause::Elsewhere(place, size, file, at), Some((last, Cause::Elsewhere(p, s, f, a)))) =
        (&cause, found.last_mut())
        && (*last, *p + *s, *a + *s) == (number, *place, *at)
        && f == file
    {
        *s += size;
        return;
    }
    found.push((number, cause));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Short runs and runs of other bytes are none; of the others, the longest, down to whole units.
    #[test]
    fn overwritten_sectors_are_told() {
        let mut bytes: Vec<u8> = (0..20_000u32).map(|n| (n % 200) as u8 | 1).collect();
        assert_eq!(run(&bytes), None);
        bytes[400..463].fill(0);
        assert_eq!(run(&bytes), None);
        bytes[400..900].fill(0);
        bytes[5000..9000].fill(0xff);
        assert_eq!(run(&bytes), Some((5000, 4000, 0xff)));
        assert_eq!(run(&[]), None);
        for (start, end, expected) in [
            (500, 1030, Some((512, 512, 512))),
            (4000, 8200, Some((4096, 4096, 4096))),
            (4096, 8704, Some((4096, 4608, 512))),
            (500, 1000, None),
        ] {
            assert_eq!(filled(start, end), expected);
        }
    }
}
