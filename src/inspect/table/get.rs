//! Looks a key up in one table, and says how that went.

use super::EntryReport;
use super::parts::{Part, Parts};
use super::raw::{PartName, Raw};
use super::walk::{self, Found};
use crate::error::{Error, Result};
use crate::format::block::{Block, Compression, Kind};
use crate::format::key::Trailer;
use crate::format::table::Handle;
use crate::inspect::finding::Finding;
use crate::vfs::File;
use std::ops::ControlFlow;

/// One step of a lookup.
#[derive(Debug)]
pub enum GetItem<'a> {
    /// What the filter says.
    Filter(FilterAnswer),
    /// A data block that can hold the key, by the index; then its number of versions of the key.
    Block(u64, Handle, u64),
    /// A version, newest first: its entry in the block before, and where its value lies in the file
    /// if the block is not compressed.
    Version {
        /// Its position in the block.
        entry: u64,
        /// Where its value begins.
        offset: Option<u64>,
        /// Key, sequence number and kind, value.
        found: EntryReport<'a>,
    },
    /// A part on the way that is damaged.
    Damage(Finding),
}

/// What a filter says about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterAnswer {
    /// There is no filter.
    None,
    /// It is damaged, and says nothing.
    Unknown,
    /// The key is not in the table.
    Negative,
    /// The key may be in the table.
    Passes,
}

impl FilterAnswer {
    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            FilterAnswer::None => "none",
            FilterAnswer::Unknown => "damaged",
            FilterAnswer::Negative => "negative",
            FilterAnswer::Passes => "passes",
        }
    }
}

/// How a lookup ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GetTotals {
    /// Versions found.
    pub versions: u64,
    /// Data blocks looked into.
    pub blocks: u64,
    /// Damaged parts on the way.
    pub damaged: u64,
    /// The filter let a key pass that is not there.
    pub false_positive: bool,
}

/// Looks a user key up, whatever the filter says, and visits each step.
///
/// # Errors
/// Those of `visit`, and as [`read_table`](super::read_table).
pub fn get<E: From<Error>>(
    file: &dyn File,
    user: &[u8],
    visit: &mut dyn FnMut(GetItem<'_>) -> Result<(), E>,
) -> Result<GetTotals, E> {
    let parts = Parts::read(file)?;
    let mut totals = GetTotals::default();
    let findings = [&parts.report.damage, &parts.filter.finding, &parts.index.finding];
    for finding in findings.into_iter().flatten() {
        totals.damaged += 1;
        visit(GetItem::Damage(finding.clone()))?;
    }
    let answer = answer(&parts, user)?;
    visit(GetItem::Filter(answer))?;
    for (position, handle) in candidates(file, &parts, user)? {
        look(file, &parts, (position, handle), user, &mut totals, visit)?;
    }
    let passed = answer == FilterAnswer::Passes;
    totals.false_positive = passed && totals.versions == 0 && totals.damaged == 0;
    Ok(totals)
}

fn answer(parts: &Parts<'_>, user: &[u8]) -> Result<FilterAnswer> {
    Ok(match &parts.filter {
        Part { value: None, .. } => FilterAnswer::Unknown,
        Part { value: Some(filter), .. } if filter.report().lines == 0 => FilterAnswer::None,
        Part { value: Some(filter), .. } => match filter.may_contain(user)? {
            true => FilterAnswer::Passes,
            false => FilterAnswer::Negative,
        },
    })
}

/// The blocks that can hold the key: by the index, or else all whose keys can be read and all that
/// are damaged.
fn candidates(file: &dyn File, parts: &Parts<'_>, user: &[u8]) -> Result<Vec<(u64, Handle)>> {
    let mut places = Vec::new();
    if let Some(index) = &parts.index.value {
        let first = index.lower_bound(user, Trailer::FIRST);
        for position in first..index.count() {
            let before = position.checked_sub(1).filter(|before| *before >= first);
            if before.is_some_and(|before| !index.key_is(before, user)) {
                break;
            }
            places.extend(parts.handle(position).map(|handle| (position as u64, handle)));
        }
        return Ok(places);
    }
    let Some(id) = parts.report.id else { return Ok(places) };
    let end = parts.report.footer.map_or(parts.report.offset, |footer| footer.filter.offset);
    let mut position = 0;
    walk::walk(file, id, 0, end, &mut |found| {
        if let Found::Block(Kind::Data, handle) = found {
            let raw = Raw::read(file, id, Kind::Data, handle)?;
            let block = raw.content.and_then(|content| Block::new(content).ok());
            let spans = block.is_some_and(|block| {
                block.lower_bound(user, Trailer::FIRST) < block.count()
                    && block.compare(0, user, Trailer::LAST).is_le()
            });
            places.extend(spans.then_some((position, handle)));
            position += 1;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(places)
}

/// Looks into one block.
fn look<E: From<Error>>(
    file: &dyn File,
    parts: &Parts<'_>,
    (position, handle): (u64, Handle),
    user: &[u8],
    totals: &mut GetTotals,
    visit: &mut dyn FnMut(GetItem<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let Some(id) = parts.report.id else { return Ok(()) };
    let raw = Raw::read(file, id, Kind::Data, handle)?;
    totals.blocks += 1;
    if let Some(finding) = parts.finding_of(PartName::Data(position), &raw, file) {
        totals.damaged += 1;
        visit(GetItem::Damage(finding))?;
    }
    let is_plain = raw.compression(id) == Some(Compression::None);
    let Some(Ok(block)) = raw.content.map(Block::new) else { return Ok(()) };
    let first = block.lower_bound(user, Trailer::FIRST);
    let count = (first..block.count()).take_while(|entry| block.key_is(*entry, user)).count();
    visit(GetItem::Block(position, handle, count as u64))?;
    for entry in first..first + count {
        totals.versions += 1;
        let offset = is_plain.then(|| handle.offset + block.value_range(entry).start as u64);
        let (trailer, value) = (block.trailer(entry), block.value(entry));
        let found = EntryReport { key: user, trailer, value };
        visit(GetItem::Version { entry: entry as u64, offset, found })?;
    }
    Ok(())
}
