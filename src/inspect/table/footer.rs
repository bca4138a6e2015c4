//! The footer of a table, and what does instead where it is damaged.
//!
//! A footer with one flipped bit is mended by turning it back. One that is gone can be put together
//! again, for the blocks before it say what they are and how long: the index ends where the
//! footer begins, the properties before it know the file's id, and every checksum must fit.

use std::path::PathBuf;

use super::mend::explain;
use super::walk;
use crate::error::{Error, Result};
use crate::format::FORMAT_VERSION;
use crate::format::block::{self, CONTENT_SIZE_MAX, Kind, TRAILER_SIZE};
use crate::format::coding::{Cursor, crc32, mix};
use crate::format::table::{FOOTER_SIZE, Footer, Handle, Properties};
use crate::inspect::finding::{Code, Finding};
use crate::inspect::{FileType, identify, wrong_kind};
use crate::types::FileId;
use crate::vfs::File;

/// So far from the end of a file a footer is looked for behind which something was appended.
const APPENDED_MAX: u64 = 1 << 20;

/// The file and its footer.
#[derive(Clone, Debug)]
pub struct FooterReport {
    /// The path it was opened by.
    pub path: PathBuf,
    /// Bytes of the file.
    pub size: u64,
    /// Where the footer begins, or should.
    pub offset: u64,
    /// Where the table ends: behind the footer, or what is there of it.
    pub end: u64,
    /// The footer, as it is or as it must have been; none if that cannot be told.
    pub footer: Option<Footer>,
    /// What the blocks' checksums were mixed with: the footer's id or, without a footer, one that
    /// does as well.
    pub id: Option<FileId>,
    /// The one flipped bit that explains a damaged footer: (offset in the file, bit).
    pub flipped: Option<(u64, u8)>,
    /// What is wrong with it.
    pub damage: Option<Finding>,
}

/// Reads the footer.
///
/// # Errors
/// As [`read_table`](super::read_table).
pub(super) fn read(file: &dyn File) -> Result<FooterReport> {
    let (path, size) = (file.path().to_owned(), file.size()?);
    let offset = size.saturating_sub(FOOTER_SIZE as u64);
    let mut bytes = [0; FOOTER_SIZE];
    let read = file.read_at(&mut bytes, offset)?;
    let bytes = &bytes[..read];
    let (footer, id, flipped, damage) = (None, None, None, None);
    let mut report = FooterReport { path, size, offset, end: size, footer, id, flipped, damage };
    let reason = match Footer::decode(bytes, offset) {
        Ok(footer) if footer.version > FORMAT_VERSION => {
            let what = format!("format version {}", footer.version);
            return Err(Error::Unsupported { path: report.path, what });
        }
        Ok(footer) => {
            report.id = Some(footer.id);
            match footer.check_places(size) {
                Ok(()) => {
                    report.footer = Some(footer);
                    return Ok(report);
                }
                Err(reason) => format!("footer: {reason}"),
            }
        }
        Err(reason) => reason,
    };
    recover(file, bytes, reason, report)
}

/// Finds out what the footer was.
fn recover(
    file: &dyn File,
    bytes: &[u8],
    reason: String,
    mut report: FooterReport,
) -> Result<FooterReport> {
    let (offset, size) = (report.offset, report.size);
    let damage = |code, what: String, why: String| {
        let finding = Finding::new(code, file.path(), what).because(why);
        Some(finding.at(offset, size - offset))
    };
    if let Some((footer, byte, bit)) = mended(bytes, offset, size) {
        let place = offset + byte as u64;
        report.flipped = Some((place, bit));
        (report.footer, report.id) = (Some(footer), Some(footer.id));
        report.damage = damage(Code::FooterDamaged, reason, explain(place, bit));
        return Ok(report);
    }
    if let Some((footer, found)) = followed(file, size)? {
        let end = found + FOOTER_SIZE as u64;
        (report.offset, report.end) = (found, end);
        (report.footer, report.id) = (Some(footer), Some(footer.id));
        let what = format!("there are {} bytes behind the footer", size - end);
        report.damage = Some(Finding::new(Code::TableCut, file.path(), what).at(end, size - end));
        return Ok(report);
    }
    if let Some((footer, moved)) = misplaced(bytes) {
        report.id = Some(footer.id);
        let why = if moved > offset {
            format!("it was written at {moved:#x}: {} bytes before it are missing", moved - offset)
        } else {
            format!("it was written at {moved:#x}: {} bytes before it are too many", offset - moved)
        };
        report.damage = damage(Code::TableCut, reason, why);
        return Ok(report);
    }
    if let Some((footer, end)) = rebuilt(file, size)? {
        report.offset = end;
        (report.footer, report.id) = (Some(footer), Some(footer.id));
        let why = "the blocks before it say what it was".to_owned();
        let (code, what) = match size - end {
            present if present < FOOTER_SIZE as u64 => {
                (Code::TableCut, format!("the file ends after {present} bytes of the footer"))
            }
            _ => (Code::FooterDamaged, reason),
        };
        report.damage =
            Some(Finding::new(code, file.path(), what).because(why).at(end, size - end));
        return Ok(report);
    }
    let is_footer = Footer::has_magic(bytes) || Footer::is_intact_but_for_magic(bytes, offset);
    let first = match identify(file)? {
        FileType::Table | FileType::Unknown => walk::first_block(file)?,
        _ => None,
    };
    match (first, is_footer) {
        (Some(id), true) => {
            report.id = Some(report.id.unwrap_or(id));
            report.damage = damage(Code::FooterDamaged, reason, String::new());
        }
        (Some(id), false) => {
            report.id = Some(id);
            (report.offset, report.end, report.footer) = (size, size, None);
            let what = format!("there is no footer: the file ends at {size:#x} ({size} bytes)");
            let why = "it begins with a data block, so it is a table that lost its end".to_owned();
            report.damage = damage(Code::TableCut, what, why).map(|found| found.at(size, 0));
        }
        (None, true) => report.damage = damage(Code::FooterDamaged, reason, String::new()),
        (None, false) => return Err(wrong_kind(file, "table")?),
    }
    Ok(report)
}

/// The footer that one flipped bit makes of these bytes; the byte, and its bit.
///
/// Each bit is tried, there are only 512: the id is checksummed and mixed in, so that its bits
/// change the checksum twice.
fn mended(bytes: &[u8], offset: u64, size: u64) -> Option<(Footer, usize, u8)> {
    let mut bytes = <[u8; FOOTER_SIZE]>::try_from(bytes).ok()?;
    (0..FOOTER_SIZE * 8).find_map(|at| {
        let (byte, bit) = (at / 8, (at % 8) as u8);
        bytes[byte] ^= 1 << bit;
        let footer = Footer::decode(&bytes, offset);
        bytes[byte] ^= 1 << bit;
        let footer = footer.ok().filter(|footer| footer.version <= FORMAT_VERSION)?;
        footer.check_places(size).ok().map(|()| (footer, byte, bit))
    })
}

/// A footer that does not stand at the end, and where it begins: bytes were appended to the table.
fn followed(file: &dyn File, size: u64) -> Result<Option<(Footer, u64)>> {
    let start = size.saturating_sub(APPENDED_MAX);
    let mut bytes = vec![0; (size - start) as usize];
    let read = file.read_at(&mut bytes, start)?;
    bytes.truncate(read);
    Ok(bytes.windows(FOOTER_SIZE).enumerate().rev().find_map(|(at, window)| {
        let offset = start + at as u64;
        let is_footer = Footer::has_magic(window);
        let footer = is_footer.then(|| Footer::decode(window, offset).ok()).flatten()?;
        let fits = footer.check_places(offset + FOOTER_SIZE as u64).is_ok();
        (fits && footer.version <= FORMAT_VERSION).then_some((footer, offset))
    }))
}

/// A footer that is intact but for its place, and where it was written: where its index ends.
fn misplaced(bytes: &[u8]) -> Option<(Footer, u64)> {
    let mut cursor = Cursor::new(bytes);
    cursor.take(32)?;
    let end = Handle::decode(cursor.take(Handle::SIZE)?)?.end()?;
    let footer = Footer::decode(bytes, end).ok()?;
    footer.check_places(end.checked_add(FOOTER_SIZE as u64)?).ok().map(|()| (footer, end))
}

/// Puts the footer together from the blocks before it, and says where it begins.
fn rebuilt(file: &dyn File, size: u64) -> Result<Option<(Footer, u64)>> {
    for present in (0..=FOOTER_SIZE as u64).rev() {
        if let Some(end) = size.checked_sub(present)
            && let Some(footer) = rebuilt_before(file, end)?
        {
            return Ok(Some((footer, end)));
        }
    }
    Ok(None)
}

fn rebuilt_before(file: &dyn File, end: u64) -> Result<Option<Footer>> {
    let Some((index, index_mix)) = sealed_before(file, Kind::Index, end)? else { return Ok(None) };
    let found = sealed_before(file, Kind::Properties, index.offset)?;
    let Some((properties, properties_mix)) = found else { return Ok(None) };
    let found = sealed_before(file, Kind::Filter, properties.offset)?;
    let Some((filter, filter_mix)) = found else { return Ok(None) };
    let mut content = vec![0; properties.size as usize - TRAILER_SIZE];
    file.read_at(&mut content, properties.offset)?;
    let Ok(Properties { id, format_version: version, .. }) = Properties::decode(&content) else {
        return Ok(None);
    };
    let footer = Footer { id, filter, properties, index, version };
    let mixes = [(index, index_mix), (properties, properties_mix), (filter, filter_mix)];
    let fits = mixes.into_iter().filter(|(handle, found)| mix(id, handle.offset) == *found).count();
    // One of them may be damaged itself.
    Ok((version <= FORMAT_VERSION && fits >= 2).then_some(footer))
}

/// The uncompressed block that ends at `end`, by its trailer, and what its checksum was mixed with.
fn sealed_before(file: &dyn File, kind: Kind, end: u64) -> Result<Option<(Handle, u32)>> {
    let mut trailer = [0; TRAILER_SIZE];
    let Some(offset) = end.checked_sub(TRAILER_SIZE as u64) else { return Ok(None) };
    if file.read_at(&mut trailer, offset)? < TRAILER_SIZE {
        return Ok(None);
    }
    let [found, 0, 0, 0, s0, s1, s2, s3, c0, c1, c2, c3] = trailer else { return Ok(None) };
    let size = u32::from_le_bytes([s0, s1, s2, s3]);
    let start = offset.checked_sub(u64::from(size));
    let (Some(start), 1..=CONTENT_SIZE_MAX) = (start, size) else { return Ok(None) };
    if block::Kind::from_u8(found) != Some(kind) {
        return Ok(None);
    }
    let mut bytes = vec![0; size as usize];
    file.read_at(&mut bytes, start)?;
    let crc = crc32(&[&bytes, &trailer[..8]]);
    let handle = Handle { offset: start, size: size + TRAILER_SIZE as u32 };
    Ok(Some((handle, crc ^ u32::from_le_bytes([c0, c1, c2, c3]))))
}
