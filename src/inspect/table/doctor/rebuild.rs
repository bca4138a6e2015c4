//! Parts of a table that its other parts can make again: footer, index, filter.

use std::ops::ControlFlow;

use super::{Cure, Diagnosis};
use crate::error::Result;
use crate::format::block::{Block, Builder, Compression, Kind, Sealer, TRAILER_SIZE};
use crate::format::filter;
use crate::format::table::{Footer, Handle, Properties};
use crate::inspect::finding::Code;
use crate::inspect::table::parts::Parts;
use crate::inspect::table::raw::Raw;
use crate::inspect::table::walk::{self, Found};
use crate::types::FileId;
use crate::vfs::File;

/// Gives cures to the diagnoses whose parts can be made again.
pub(super) fn rebuild(
    file: &dyn File,
    parts: &Parts<'_>,
    diagnoses: &mut [Diagnosis],
) -> Result<()> {
    for diagnosis in diagnoses.iter_mut().filter(|diagnosis| diagnosis.cure.is_none()) {
        diagnosis.cure = match (diagnosis.finding.code, parts.report.footer) {
            (Code::TableCut, Some(_)) if parts.report.end < parts.report.size => {
                let (offset, bytes) = (parts.report.end, Vec::new());
                Some(Cure { offset, bytes, from: "the footer" })
            }
            (Code::FooterDamaged | Code::TableCut, Some(footer)) => {
                let (mut bytes, offset) = (Vec::new(), parts.report.offset);
                footer.encode(&mut bytes, offset);
                Some(Cure { offset, bytes, from: "the blocks before it" })
            }
            (Code::TableCut | Code::FooterDamaged, None) => the_end(file, parts)?,
            (Code::IndexDamaged, Some(footer)) => {
                let made = index(file, parts, footer.index.offset)?;
                made.filter(|made| agrees(file, parts, footer.index, made).unwrap_or(false))
                    .map(|bytes| cure(footer.index, bytes))
            }
            (Code::FilterDamaged, Some(footer)) => {
                filter(file, parts, footer.filter)?.map(|bytes| cure(footer.filter, bytes))
            }
            _ => None,
        };
    }
    Ok(())
}

fn cure(handle: Handle, bytes: Vec<u8>) -> Cure {
    Cure { offset: handle.offset, bytes, from: "the data blocks" }
}

/// Whether a part that was made again is what was there: its size is, and its checksum is the one
/// that is stored. Where that is overwritten too, the counts of the properties stand in.
fn agrees(file: &dyn File, parts: &Parts<'_>, handle: Handle, made: &[u8]) -> Result<bool> {
    let mut stored = [0; 4];
    file.read_at(&mut stored, handle.end().unwrap_or(0).saturating_sub(4))?;
    let is_lost = stored == [0; 4] || stored == [0xff; 4];
    let counts = parts.properties.value.is_some() && parts.properties.finding.is_none();
    let fits = made.len() == handle.size as usize;
    Ok(fits && (made.ends_with(&stored) || (is_lost && counts)))
}

/// All data blocks and their contents, a flipped bit turned back; `false` if one cannot be read.
fn data(
    file: &dyn File,
    parts: &Parts<'_>,
    visit: &mut dyn FnMut(Handle, &Block),
) -> Result<Option<u64>> {
    let Some(id) = parts.report.id else { return Ok(None) };
    let mut open = |handle: Handle| -> Result<bool> {
        let raw = Raw::read(file, id, Kind::Data, handle)?;
        let block = raw.content.and_then(|content| Block::new(content).ok());
        if let Some(block) = &block {
            visit(handle, block);
        }
        Ok(block.is_some())
    };
    if let Some(count) = parts.count() {
        for position in 0..count {
            if !parts.handle(position).map_or(Ok(false), &mut open)? {
                return Ok(None);
            }
        }
        return Ok(parts.report.footer.map(|footer| footer.filter.offset));
    }
    let limit = parts.report.footer.map_or(parts.report.size, |footer| footer.filter.offset);
    let (mut end, mut is_whole) = (0, true);
    walk::walk(file, id, 0, limit, &mut |found| {
        let Found::Block(Kind::Data, handle) = found else {
            is_whole &= matches!(found, Found::Block(..));
            return Ok(ControlFlow::Break(()));
        };
        end = handle.end().unwrap_or(0);
        is_whole &= open(handle)?;
        Ok(ControlFlow::Continue(()))
    })?;
    let is_all = parts.report.footer.is_none_or(|footer| footer.filter.offset == end);
    Ok((is_whole && is_all).then_some(end))
}

/// The sealed index of the data blocks.
fn index(file: &dyn File, parts: &Parts<'_>, offset: u64) -> Result<Option<Vec<u8>>> {
    let Some(id) = parts.report.id else { return Ok(None) };
    let (mut builder, mut blocks) = (Builder::new(), 0);
    let end = data(file, parts, &mut |handle, block| {
        let (last, mut place) = (block.count() - 1, Vec::with_capacity(Handle::SIZE));
        handle.encode(&mut place);
        builder.add(&block.user_key(last), block.trailer(last), &place);
        blocks += 1;
    })?;
    let counted = parts.properties.value.as_ref().is_none_or(|said| said.data_blocks == blocks);
    if end.is_none() || !counted || builder.is_empty() {
        return Ok(None);
    }
    let mut content = Vec::new();
    builder.finish(&mut content);
    Ok(Some(sealed(id, Kind::Index, &content, offset)))
}

fn sealed(id: FileId, kind: Kind, content: &[u8], offset: u64) -> Vec<u8> {
    let mut out = Vec::new();
    Sealer::new(id, Compression::None).seal(&mut out, kind, content, offset);
    out
}

/// The sealed filter of the data blocks' keys, if it is the one that was there.
fn filter(file: &dyn File, parts: &Parts<'_>, handle: Handle) -> Result<Option<Vec<u8>>> {
    let mut stored = [0];
    file.read_at(&mut stored, handle.offset)?;
    // What is there if it was not overwritten, or what the default of ten bits a key makes.
    let candidates = [stored[0], 6].into_iter().filter(|probes| (1..=16).contains(probes));
    for probes in candidates {
        if let Some(made) = filter_of(file, parts, handle, probes)?
            && agrees(file, parts, handle, &made)?
        {
            return Ok(Some(made));
        }
    }
    Ok(None)
}

fn filter_of(
    file: &dyn File,
    parts: &Parts<'_>,
    handle: Handle,
    probes: u8,
) -> Result<Option<Vec<u8>>> {
    let Some(id) = parts.report.id else { return Ok(None) };
    let size = (handle.size as usize).saturating_sub(TRAILER_SIZE);
    let lines = size.saturating_sub(8) / 64;
    let mut content = vec![0; 8 + lines * 64];
    if lines > 0 {
        content[0] = probes;
    }
    content[4..8].copy_from_slice(&(lines as u32).to_le_bytes());
    let end = data(file, parts, &mut |_, block| {
        for entry in 0..block.count() {
            filter::insert(&mut content, filter::hash(&block.user_key(entry)));
        }
    })?;
    Ok(end.map(|_| sealed(id, Kind::Filter, &content, handle.offset)))
}

/// Index and footer of a table that was cut behind its properties.
fn the_end(file: &dyn File, parts: &Parts<'_>) -> Result<Option<Cure>> {
    let Some(id) = parts.report.id else { return Ok(None) };
    let Some(filter_at) = data(file, parts, &mut |_, _| ())? else { return Ok(None) };
    let (mut filter, mut properties) = (None, None);
    walk::walk(file, id, filter_at, parts.report.size, &mut |found| {
        match found {
            Found::Block(Kind::Filter, handle) => filter = Some(handle),
            Found::Block(Kind::Properties, handle) => properties = Some(handle),
            _ => return Ok(ControlFlow::Break(())),
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let (Some(filter), Some(properties)) = (filter, properties) else { return Ok(None) };
    let Some(offset) = properties.end() else { return Ok(None) };
    let raw = Raw::read(file, id, Kind::Properties, properties)?;
    let said = raw.content.and_then(|content| Properties::decode(&content).ok());
    let Some(said) = said.filter(|said| said.data_bytes == filter_at) else { return Ok(None) };
    // The blocks were checked with a folded id, and that is not the one to write.
    let Some(index) = index(file, parts, offset)? else { return Ok(None) };
    let content = &index[..index.len() - TRAILER_SIZE];
    let mut bytes = sealed(said.id, Kind::Index, content, offset);
    let index = Handle { offset, size: bytes.len() as u32 };
    let version = said.format_version;
    let footer = Footer { id: said.id, filter, properties, index, version };
    footer.encode(&mut bytes, index.end().unwrap_or(0));
    Ok(Some(Cure { offset, bytes, from: "the data blocks and the properties" }))
}
