//! What every byte of a log or manifest is for.
//!
//! Invariant: the regions of a file follow each other without a gap and without an overlap, from its
//! first byte to its last, whatever the file holds. A byte that cannot be read for what it should be
//! is unexplained, and so is the rest of the frame behind it.

mod content;

use super::{Expect, FileHeader, Hole, Piece, walk};
use crate::error::{Error, Result};
use crate::format::frame::{FRAME_HEADER_SIZE, Kind};
use crate::format::header::{FileKind, HEADER_SIZE, Header};
use crate::inspect::region::{Purpose, Region};
use crate::inspect::utc;
use crate::vfs::File;

/// What [`layout`] calls with each region.
pub type VisitRegion<'v, E> = dyn FnMut(Region) -> Result<(), E> + 'v;

/// Names every byte of a log or manifest, in the order of the file.
///
/// # Errors
/// Those of `visit`; [`Error::NotOurs`] when the file is of another kind, [`Error::Unsupported`] for
/// a later format version, [`Error::Io`].
pub fn layout<E: From<Error>>(
    file: &dyn File,
    kind: FileKind,
    expect: &Expect,
    visit: &mut VisitRegion<'_, E>,
) -> Result<(), E> {
    walk(file, kind, expect, &mut |piece| regions(file, kind, &piece, visit))
}

/// The region that a byte of a log or manifest belongs to; none behind the end of the file.
///
/// # Errors
/// As [`layout`].
pub fn region_at(
    file: &dyn File,
    kind: FileKind,
    expect: &Expect,
    offset: u64,
) -> Result<Option<Region>> {
    let mut found = None;
    walk(file, kind, expect, &mut |piece| {
        let (start, size) = extent(&piece);
        if !(start..start + size).contains(&offset) {
            return Ok(());
        }
        regions(file, kind, &piece, &mut |region| {
            if (region.offset..region.offset + region.size).contains(&offset) {
                found = Some(region);
            }
            Ok::<(), Error>(())
        })
    })?;
    Ok(found)
}

fn extent(piece: &Piece<'_>) -> (u64, u64) {
    match piece {
        Piece::Header(header) => (0, header.size.min(HEADER_SIZE as u64)),
        Piece::Hole(hole) => (hole.offset, hole.size),
        Piece::Frame { offset, size, .. } | Piece::Unused { offset, size } => (*offset, *size),
    }
}

fn regions<E: From<Error>>(
    file: &dyn File,
    kind: FileKind,
    piece: &Piece<'_>,
    visit: &mut VisitRegion<'_, E>,
) -> Result<(), E> {
    match piece {
        Piece::Header(header) => header_regions(file, header, visit),
        Piece::Frame { offset, kind: found, synced_upto, payload, size } => {
            let mut place = Place { at: *offset, part: format!("{found} frame at {offset:#x}") };
            place.frame_header(*found, *synced_upto, payload.len(), visit)?;
            content::payload(&mut place, kind, *found, payload, visit)?;
            let end = offset + size - place.at;
            place.put(end, Purpose::Padding, "terminator", String::new(), visit)
        }
        Piece::Hole(hole) => visit_filled(hole_region(hole), visit),
        Piece::Unused { offset, size } => visit_filled(
            Region {
                offset: *offset,
                size: *size,
                purpose: Purpose::Preallocated,
                part: "unused".to_owned(),
                name: "space".to_owned(),
                value: "allocated and not used, or given up by recovery".to_owned(),
            },
            visit,
        ),
    }
}

fn visit_filled<E>(region: Region, visit: &mut VisitRegion<'_, E>) -> Result<(), E> {
    if region.size > 0 { visit(region) } else { Ok(()) }
}

fn hole_region(hole: &Hole) -> Region {
    let purpose = if hole.is_damage() { Purpose::Unexplained } else { Purpose::Torn };
    let finding = &hole.finding;
    let why = if finding.why.is_empty() { String::new() } else { format!("; {}", finding.why) };
    Region {
        offset: hole.offset,
        size: hole.size,
        purpose,
        part: "hole".to_owned(),
        name: hole.class.to_string(),
        value: format!("{}{why}", finding.what),
    }
}

/// The fields of a header: name, bytes.
const HEADER_FIELDS: [(&str, u64); 9] = [
    ("magic", 8),
    ("format version", 2),
    ("reserved", 6),
    ("file id", 8),
    ("store id", 8),
    ("number", 8),
    ("created", 8),
    ("reserved", 12),
    ("checksum", 4),
];

fn header_regions<E: From<Error>>(
    file: &dyn File,
    report: &FileHeader,
    visit: &mut VisitRegion<'_, E>,
) -> Result<(), E> {
    let size = report.size.min(HEADER_SIZE as u64);
    let mut place = Place { at: 0, part: "header".to_owned() };
    let Some(header) = &report.header else {
        let damage = report.damage.as_ref().map_or("", |found| &found.what);
        return place.put(size, Purpose::Unexplained, "header", damage.to_owned(), visit);
    };
    let mut bytes = [0; HEADER_SIZE];
    file.read_at(&mut bytes, 0)?;
    // Where one flipped bit was mended, the field that has it is the one that nothing explains.
    let meant = header.encode();
    for (name, size) in HEADER_FIELDS {
        let range = place.at as usize..(place.at + size) as usize;
        let purpose = match name {
            _ if bytes[range.clone()] != meant[range] => Purpose::Unexplained,
            "reserved" => Purpose::Padding,
            _ => Purpose::Field,
        };
        place.put(size, purpose, name, header_value(header, name), visit)?;
    }
    Ok(())
}

fn header_value(header: &Header, name: &str) -> String {
    match name {
        "magic" => header.kind.magic().escape_ascii().to_string(),
        "format version" => header.version.to_string(),
        "file id" => header.id.to_string(),
        "store id" => header.store.to_string(),
        "number" => header.number.to_string(),
        "created" => utc(header.created_ms),
        _ => String::new(),
    }
}

/// Where a naming stands, and in which part of the file.
struct Place {
    at: u64,
    part: String,
}

impl Place {
    /// The next `size` bytes.
    fn put<E>(
        &mut self,
        size: u64,
        purpose: Purpose,
        name: impl Into<String>,
        value: String,
        visit: &mut VisitRegion<'_, E>,
    ) -> Result<(), E> {
        let (offset, part, name) = (self.at, self.part.clone(), name.into());
        self.at += size;
        visit_filled(Region { offset, size, purpose, part, name, value }, visit)
    }

    fn field<E>(
        &mut self,
        size: u64,
        name: impl Into<String>,
        value: impl ToString,
        visit: &mut VisitRegion<'_, E>,
    ) -> Result<(), E> {
        self.put(size, Purpose::Field, name, value.to_string(), visit)
    }

    fn frame_header<E>(
        &mut self,
        kind: Kind,
        synced_upto: u64,
        payload_size: usize,
        visit: &mut VisitRegion<'_, E>,
    ) -> Result<(), E> {
        let begin = self.at;
        self.field(2, "magic", "beac", visit)?;
        self.field(1, "kind", kind, visit)?;
        self.put(1, Purpose::Padding, "reserved", String::new(), visit)?;
        self.field(4, "payload size", payload_size, visit)?;
        self.field(8, "synced up to", format!("{synced_upto:#x}"), visit)?;
        self.field(4, "payload checksum", "right", visit)?;
        self.field(4, "header checksum", "right", visit)?;
        debug_assert_eq!(self.at - begin, FRAME_HEADER_SIZE as u64);
        Ok(())
    }
}
