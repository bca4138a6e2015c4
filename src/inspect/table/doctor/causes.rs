//! What explains bytes that fail their checksum.

use std::collections::HashMap;

use super::{Cause, Diagnosis, kind_of, part_of};
use crate::error::Result;
use crate::format::block::{self, Block, Kind};
use crate::format::coding::{crc32, mix};
use crate::format::filter::hash;
use crate::format::table::Handle;
use crate::inspect::finding::Finding;
use crate::inspect::table::mend;
use crate::inspect::table::parts::{Parts, key_at};
use crate::inspect::table::raw::PartName;
use crate::inspect::table::window::Window;
use crate::types::FileId;
use crate::vfs::File;

/// The smallest unit in which disks and file systems lose data.
const SECTOR_SIZE: u64 = 512;

/// The unit of pages.
const PAGE_SIZE: u64 = 4096;

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
    let bytes = read(file, handle)?;
    if block::check(&bytes, id, handle.offset).is_ok() {
        return Ok(None);
    }
    let found = mend::flipped_bit(&bytes, id, handle.offset);
    Ok(found.map(|(byte, bit)| (handle.offset + byte as u64, bit)))
}

/// What explains a part that no single bit explains.
pub(super) fn of(file: &dyn File, parts: &Parts<'_>, finding: &Finding) -> Result<Vec<Cause>> {
    let Some((name, handle)) = part_of(finding, parts) else { return Ok(vec![Cause::Unknown]) };
    let bytes = read(file, handle)?;
    if (bytes.len() as u64) < u64::from(handle.size) {
        return Ok(vec![Cause::Cut(parts.report.size)]);
    }
    let mut causes: Vec<Cause> = run(&bytes, handle.offset)
        .into_iter()
        .map(|(offset, size, byte, sector)| Cause::Overwritten(offset, size, byte, sector))
        .collect();
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

/// The longest run of zeros or ones that fills sectors, the block's own borders counting as theirs:
/// offset, size, byte, and whether it is sectors or pages.
pub(super) fn run(bytes: &[u8], base: u64) -> Option<(u64, u64, u8, u32)> {
    let (mut best, mut start) = (None, 0);
    let end = base + bytes.len() as u64;
    while start < bytes.len() {
        let byte = bytes[start];
        let size = bytes[start..].iter().take_while(|&&other| other == byte).count();
        let (from, upto) = (base + start as u64, base + (start + size) as u64);
        start += size;
        if byte != 0 && byte != 0xff {
            continue;
        }
        let filled = |unit: u64| {
            let first = if from == base { from } else { from.next_multiple_of(unit) };
            let last = if upto == end { upto } else { upto / unit * unit };
            (last > first && last - first >= 64).then_some((first, last - first))
        };
        // A run between borders of pages is likelier one of pages than one of their sectors.
        let found = match (filled(PAGE_SIZE), filled(SECTOR_SIZE)) {
            (Some(page), Some(sector)) if page == sector => Some((page, PAGE_SIZE)),
            (_, Some(sector)) => Some((sector, SECTOR_SIZE)),
            (page, None) => page.map(|page| (page, PAGE_SIZE)),
        };
        if let Some(((first, size), unit)) = found
            && best.is_none_or(|(_, largest, _, _)| size > largest)
        {
            best = Some((first, size, byte, unit as u32));
        }
    }
    best
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

    /// Runs of sectors, of a page, at the block's own borders; short ones and other bytes are none.
    #[test]
    fn overwritten_sectors_are_told() {
        let mut bytes: Vec<u8> = (0..20_000u32).map(|n| n as u8 | 1).collect();
        assert_eq!(run(&bytes, 100), None);
        bytes[412..924].fill(0);
        assert_eq!(run(&bytes, 100), Some((512, 512, 0, 512)));
        bytes[3996..8092].fill(0xff);
        assert_eq!(run(&bytes, 100), Some((4096, 4096, 0xff, 4096)));
        bytes.fill(0);
        assert_eq!(run(&bytes, 100), Some((100, 20_000, 0, 4096)));
        assert_eq!(run(&[0; 63], 100), None);
    }
}
