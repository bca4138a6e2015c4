//! What each byte of a table is.

use std::ops::ControlFlow;

use super::FooterReport;
use super::fields::{Fields, Visit};
use super::parts::Parts;
use super::raw::{PartName, Raw};
use super::walk::{self, Found};
use crate::error::{Error, Result};
use crate::format::block::{Compression, Kind};
use crate::format::table::Handle;
use crate::inspect::finding::Finding;
use crate::inspect::region::Region;
use crate::types::FileId;
use crate::vfs::File;

/// Visits every byte of a table as regions, in the order of the file and without a gap: single
/// fields in all that is stored as it is, and what can be told of the rest.
///
/// A part that one flipped bit explains is described as it was before; a part that cannot be read is
/// one unexplained region.
///
/// # Errors
/// Those of `visit`, and as [`read_table`](super::read_table).
pub fn layout<E: From<Error>>(
    file: &dyn File,
    visit: &mut dyn FnMut(Region) -> Result<(), E>,
) -> Result<(), E> {
    run(file, false, &mut |region, _| visit(region))
}

/// [`layout`], and behind the bytes of each compressed block the fields of its content: they come with
/// `true`, and offsets counted from the beginning of the content.
///
/// # Errors
/// As [`layout`].
pub fn tree<E: From<Error>>(
    file: &dyn File,
    visit: &mut dyn FnMut(Region, bool) -> Result<(), E>,
) -> Result<(), E> {
    run(file, true, visit)
}

fn run<E: From<Error>>(file: &dyn File, unpack: bool, visit: &mut Visit<'_, E>) -> Result<(), E> {
    let parts = Parts::read(file)?;
    let report = &parts.report;
    let Some(id) = report.id else {
        let mut fields = Fields::begin("table".to_owned(), 0, visit);
        fields.damaged(report.offset, "nothing is known of it")?;
        return footer(file, report, visit);
    };
    let blocks = Blocks { file, id, unpack };
    match (parts.count(), report.footer) {
        (Some(count), Some(_)) => {
            for position in 0..count {
                let Some(handle) = parts.handle(position) else { continue };
                blocks.one(PartName::Data(position as u64), handle, visit)?;
            }
        }
        (_, footer) => {
            let data_end = footer.map_or(report.offset, |footer| footer.filter.offset);
            blocks.walked(data_end, footer.is_some(), visit)?;
        }
    }
    if let Some(found) = report.footer {
        blocks.one(PartName::Filter, found.filter, visit)?;
        blocks.one(PartName::Properties, found.properties, visit)?;
        blocks.one(PartName::Index, found.index, visit)?;
    }
    footer(file, report, visit)
}

/// The blocks of a file, each as regions.
struct Blocks<'f> {
    file: &'f dyn File,
    id: FileId,
    unpack: bool,
}

impl Blocks<'_> {
    fn one<E: From<Error>>(
        &self,
        name: PartName,
        handle: Handle,
        visit: &mut Visit<'_, E>,
    ) -> Result<(), E> {
        let Some(kind) = name.kind() else { return Ok(()) };
        let raw = Raw::read(self.file, self.id, kind, handle)?;
        let fields = Fields::begin(name.to_string(), handle.offset, visit);
        fields.unpacking(self.unpack).block(&raw, self.id)
    }

    /// Blocks found by their trailers.
    fn walked<E: From<Error>>(
        &self,
        end: u64,
        data_only: bool,
        visit: &mut Visit<'_, E>,
    ) -> Result<(), E> {
        let (mut position, mut stopped) = (0, None);
        walk::walk(self.file, self.id, 0, end, &mut |found| {
            let done = match found {
                Found::Block(Kind::Data, handle) => {
                    position += 1;
                    self.one(PartName::Data(position - 1), handle, visit)
                }
                Found::Block(kind, handle) if !data_only => {
                    let name = match kind {
                        Kind::Filter => PartName::Filter,
                        Kind::Properties => PartName::Properties,
                        Kind::Index | Kind::Data => PartName::Index,
                    };
                    self.one(name, handle, visit)
                }
                Found::Block(_, handle) | Found::Gap(handle) => {
                    let reason = "no intact block is here";
                    let mut fields = Fields::begin("data blocks".to_owned(), handle.offset, visit);
                    fields.damaged(u64::from(handle.size), reason)
                }
            };
            Ok(match done {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    stopped = Some(error);
                    ControlFlow::Break(())
                }
            })
        })?;
        stopped.map_or(Ok(()), Err)
    }
}

fn footer<E: From<Error>>(
    file: &dyn File,
    report: &FooterReport,
    visit: &mut Visit<'_, E>,
) -> Result<(), E> {
    let bytes = footer_bytes(file, report)?;
    let mut fields = Fields::begin("footer".to_owned(), report.offset, visit);
    let behind = report.size.saturating_sub(report.end);
    match &report.damage {
        Some(damage) if report.flipped.is_none() && behind == 0 => {
            fields.damaged(bytes.len() as u64, &damage.what)
        }
        _ => fields.footer(&bytes),
    }?;
    let mut fields = Fields::begin("behind the footer".to_owned(), report.end, visit);
    fields.damaged(behind, "these bytes are not of the table")
}

/// The bytes of the footer, the flipped bit turned back.
fn footer_bytes(file: &dyn File, report: &FooterReport) -> Result<Vec<u8>> {
    let mut bytes = vec![0; report.end.saturating_sub(report.offset) as usize];
    let read = file.read_at(&mut bytes, report.offset)?;
    bytes.truncate(read);
    if let Some((place, bit)) = report.flipped
        && let Some(wrong) = bytes.get_mut((place - report.offset) as usize)
    {
        *wrong ^= 1 << bit;
    }
    Ok(bytes)
}

/// One part of a table with all its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartBytes {
    /// Which part.
    pub name: PartName,
    /// Where it lies.
    pub handle: Handle,
    /// Its bytes as they are in the file.
    pub bytes: Vec<u8>,
    /// What they are, offsets counted from the beginning of the file.
    pub regions: Vec<Region>,
    /// Of a compressed block the content, and what that is, offsets counted from its beginning.
    pub content: Option<(Vec<u8>, Vec<Region>)>,
    /// What is wrong with it.
    pub finding: Option<Finding>,
    /// The flipped bit that explains it: (offset in the file, bit).
    pub flipped: Option<(u64, u8)>,
}

/// Reads one part of a table; none if there is no such part, or it cannot be found.
///
/// # Errors
/// As [`read_table`](super::read_table).
pub fn part(file: &dyn File, name: PartName) -> Result<Option<PartBytes>> {
    part_of(file, &Parts::read(file)?, name)
}

pub(super) fn part_of(
    file: &dyn File,
    parts: &Parts<'_>,
    name: PartName,
) -> Result<Option<PartBytes>> {
    let report = &parts.report;
    let place = match (name, parts.place(name)) {
        (PartName::Data(position), None) if parts.count().is_none() => {
            nth_found(file, parts, position)?
        }
        (_, place) => place,
    };
    let (Some(handle), Some(id)) = (place, report.id) else { return Ok(None) };
    let (mut regions, mut packed) = (Vec::new(), Vec::new());
    let mut push = |region, is_packed| {
        if is_packed {
            packed.push(region)
        } else {
            regions.push(region)
        }
        Ok::<(), Error>(())
    };
    let Some(kind) = name.kind() else {
        footer(file, report, &mut push)?;
        let mut bytes = footer_bytes(file, report)?;
        if let Some((place, bit)) = report.flipped
            && let Some(wrong) = bytes.get_mut((place - report.offset) as usize)
        {
            *wrong ^= 1 << bit;
        }
        let (finding, flipped) = (report.damage.clone(), report.flipped);
        return Ok(Some(PartBytes {
            name,
            handle,
            bytes,
            regions,
            content: None,
            finding,
            flipped,
        }));
    };
    let raw = Raw::read(file, id, kind, handle)?;
    Fields::begin(name.to_string(), handle.offset, &mut push).unpacking(true).block(&raw, id)?;
    let is_packed = raw.compression(id) == Some(Compression::Lz4);
    let finding = parts.finding_of(name, &raw, file);
    let flipped = raw.flipped.map(|(byte, bit)| (handle.offset + byte as u64, bit));
    let content = raw.content.filter(|_| is_packed).map(|content| (content, packed));
    Ok(Some(PartBytes { name, handle, bytes: raw.bytes, regions, content, finding, flipped }))
}

/// The data block at this position among those that can be found without an index.
fn nth_found(file: &dyn File, parts: &Parts<'_>, position: u64) -> Result<Option<Handle>> {
    let Some(id) = parts.report.id else { return Ok(None) };
    let end = parts.report.footer.map_or(parts.report.offset, |footer| footer.filter.offset);
    let (mut nth, mut place) = (0, None);
    walk::walk(file, id, 0, end, &mut |found| {
        if let Found::Block(Kind::Data, handle) = found {
            if nth == position {
                place = Some(handle);
                return Ok(ControlFlow::Break(()));
            }
            nth += 1;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(place)
}

impl Parts<'_> {
    /// What is wrong with a block, and which keys that concerns.
    pub(super) fn finding_of(&self, name: PartName, raw: &Raw, file: &dyn File) -> Option<Finding> {
        let what = raw.wrong.clone()?;
        let handle = raw.handle;
        let finding = Finding::new(super::parts::code(raw.kind), file.path(), what);
        let mut finding = finding.at(handle.offset, u64::from(handle.size));
        if let Some((byte, bit)) = raw.flipped {
            finding = finding.because(super::mend::explain(handle.offset + byte as u64, bit));
        }
        let position = match name {
            PartName::Data(position) => usize::try_from(position).ok(),
            _ => None,
        };
        Some(match position.and_then(|position| self.range(position)) {
            Some((first, last)) => finding.of_keys(&first, &last),
            None => finding,
        })
    }
}
