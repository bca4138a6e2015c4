//! What a single byte of a table is.

use std::ops::Range;

use super::layout::{layout, part_of};
use super::lz4;
use super::parts::{Parts, key_at};
use super::raw::{PartName, Raw};
use crate::error::{Error, Result};
use crate::format::block::{Block, Kind, TRAILER_SIZE};
use crate::format::key::InternalKey;
use crate::inspect::finding::Finding;
use crate::inspect::region::Region;
use crate::vfs::File;

/// How many fields of a compressed block one byte is said to be about.
const FIELDS_MAX: usize = 8;

/// What a byte is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BytePlace {
    /// The byte's offset in the file, and its value.
    pub offset: u64,
    /// The byte itself, as it is in the file.
    pub byte: u8,
    /// The field it belongs to.
    pub region: Region,
    /// In a compressed block what it is of the LZ4 format, and which bytes of the content come from
    /// it.
    pub packed: Option<(&'static str, Range<u64>)>,
    /// The fields of the content that come from it, at most eight.
    pub fields: Vec<Region>,
    /// The entry it belongs to, and its key.
    pub entry: Option<(u64, InternalKey)>,
    /// What is wrong with its part.
    pub finding: Option<Finding>,
}

/// Says what the byte at `offset` is; none behind the end of the file.
///
/// # Errors
/// As [`read_table`](super::read_table).
pub fn at(file: &dyn File, offset: u64) -> Result<Option<BytePlace>> {
    let mut byte = [0];
    if file.read_at(&mut byte, offset)? == 0 {
        return Ok(None);
    }
    let [byte] = byte;
    let parts = Parts::read(file)?;
    let place = |region, finding| {
        let (packed, fields, entry) = (None, Vec::new(), None);
        BytePlace { offset, byte, region, packed, fields, entry, finding }
    };
    let name = name_of(&parts, offset);
    let found = match name {
        Some(name) => part_of(file, &parts, name)?.map(|part| (name, part)),
        None => None,
    };
    let Some((name, part)) = found else {
        let region = searched(file, offset)?;
        let finding = parts.report.damage.clone();
        return Ok(region.map(|region| place(region, finding)));
    };
    let Some(region) = part.regions.iter().find(|region| holds(region, offset)) else {
        return Ok(None);
    };
    let mut found = place(region.clone(), part.finding.clone());
    if let Some((content, fields)) = &part.content
        && region.name == "LZ4 bytes"
    {
        let stored = part.bytes.len().saturating_sub(TRAILER_SIZE);
        let at = (offset - part.handle.offset) as usize;
        if let Some(part) = lz4::element(&part.bytes[..stored], at) {
            let from = part.1.clone();
            let overlaps = |region: &&Region| {
                region.offset < from.end && region.offset + region.size > from.start
            };
            found.fields = fields.iter().filter(overlaps).take(FIELDS_MAX).cloned().collect();
            found.packed = Some(part);
        }
        found.entry = found.fields.first().and_then(|field| entry_of(field, content));
    } else if let (PartName::Data(_), Some(id)) = (name, parts.report.id) {
        let raw = Raw::read(file, id, Kind::Data, part.handle)?;
        found.entry = raw.content.and_then(|content| entry_of(region, &content));
    }
    Ok(Some(found))
}

/// The part whose bytes hold this offset.
fn name_of(parts: &Parts<'_>, offset: u64) -> Option<PartName> {
    let others = [PartName::Filter, PartName::Properties, PartName::Index, PartName::Footer];
    let holds = |name: &PartName| {
        let place = parts.place(*name);
        place.is_some_and(|place| (place.offset..place.end().unwrap_or(0)).contains(&offset))
    };
    let other = others.into_iter().find(holds);
    other.or_else(|| parts.position_of(offset).map(|position| PartName::Data(position as u64)))
}

fn holds(region: &Region, offset: u64) -> bool {
    (region.offset..region.offset + region.size).contains(&offset)
}

/// The region that holds this offset, found by going through all of them.
fn searched(file: &dyn File, offset: u64) -> Result<Option<Region>> {
    let mut found = None;
    layout(file, &mut |region| {
        if holds(&region, offset) {
            found = Some(region);
        }
        Ok::<(), Error>(())
    })?;
    Ok(found)
}

/// The entry that a field of a data block is about, and its key.
fn entry_of(field: &Region, content: &[u8]) -> Option<(u64, InternalKey)> {
    let (_, entry) = field.name.rsplit_once("of entry ")?;
    let entry: usize = entry.parse().ok()?;
    let block = Block::new(content.to_vec()).ok().filter(|block| entry < block.count())?;
    Some((entry as u64, key_at(&block, entry)))
}
