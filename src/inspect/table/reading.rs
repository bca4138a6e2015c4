//! Reads a table from end to end, as [`read_table`](super::read_table) promises.

use std::ops::ControlFlow;

use super::mend;
use super::parts::{self, Parts, key_at};
use super::raw::Raw;
use super::walk::{self, Found};
use super::window::Window;
use super::{BlockReport, EntryReport, TableItem, TableTotals, Visit};
use crate::error::{Error, Result};
use crate::format::block::{Block, Kind, unseal_into};
use crate::format::key::{self, InternalKey};
use crate::format::table::{Handle, Properties};
use crate::inspect::finding::{Code, Finding};
use crate::types::{FileId, ValueKind};
use crate::vfs::File;

/// Reads the table.
pub(super) fn run<E: From<Error>>(
    file: &dyn File,
    with_entries: bool,
    visit: &mut Visit<'_, E>,
) -> Result<TableTotals, E> {
    let parts = Parts::read(file)?;
    let report = &parts.report;
    let mut totals = TableTotals::default();
    totals.damaged += u64::from(report.damage.is_some());
    visit(TableItem::Footer(report))?;
    let Some(id) = report.id else { return Ok(totals) };
    let data_end = report.footer.map_or(report.offset, |footer| footer.filter.offset);
    let window = Window::new(file, data_end);
    let (content, user) = (Vec::new(), Vec::new());
    let (first, last, skipped) = (None, None, report.footer.is_none());
    let mut reading = Reading {
        file,
        parts: &parts,
        id,
        with_entries,
        totals,
        window,
        content,
        user,
        first,
        last,
        skipped,
    };
    reading.other_parts(visit)?;
    match parts.count() {
        Some(count) => {
            reading.totals.blocks = count as u64;
            for position in 0..count {
                if let Some(handle) = parts.handle(position) {
                    reading.block(position, handle, visit)?;
                }
            }
        }
        None => reading.blocks_without_index(data_end, visit)?,
    }
    if let Some(properties) = parts.properties.value.as_ref().filter(|_| !reading.skipped) {
        reading.compare(properties, data_end, visit)?;
    }
    Ok(reading.totals)
}

/// Where a reading stands.
struct Reading<'r, 'f> {
    file: &'f dyn File,
    parts: &'r Parts<'f>,
    id: FileId,
    with_entries: bool,
    totals: TableTotals,
    window: Window<'f>,
    /// Memory for the content of the next block, and for a key.
    content: Vec<u8>,
    user: Vec<u8>,
    /// The first and the last key read.
    first: Option<InternalKey>,
    last: Option<InternalKey>,
    /// Something could not be read, so that the totals are not the table's.
    skipped: bool,
}

impl Reading<'_, '_> {
    fn damage<E: From<Error>>(
        &mut self,
        finding: Finding,
        visit: &mut Visit<'_, E>,
    ) -> Result<(), E> {
        self.totals.damaged += 1;
        visit(TableItem::Damage(finding))
    }

    fn finding(&self, code: Code, handle: Handle, what: String) -> Finding {
        Finding::new(code, self.file.path(), what).at(handle.offset, u64::from(handle.size))
    }

    /// Properties, filter and index: what is wrong with each, then what it says.
    fn other_parts<E: From<Error>>(&mut self, visit: &mut Visit<'_, E>) -> Result<(), E> {
        let parts = self.parts;
        let Some(footer) = parts.report.footer else { return Ok(()) };
        if let Some(finding) = &parts.properties.finding {
            self.damage(finding.clone(), visit)?;
        }
        if let Some(properties) = &parts.properties.value {
            visit(TableItem::Properties(footer.properties, properties))?;
            if let Some(what) = parts::contradiction(properties, footer.id) {
                let finding = self.finding(Code::PropertiesDisagree, footer.properties, what);
                self.damage(finding, visit)?;
            }
        }
        if let Some(finding) = &parts.filter.finding {
            self.damage(finding.clone(), visit)?;
        }
        if let Some(filter) = &parts.filter.value {
            visit(TableItem::Filter(footer.filter, filter.report()))?;
        }
        if let Some(finding) = &parts.index.finding {
            self.damage(finding.clone(), visit)?;
        }
        match parts.count() {
            Some(count) => visit(TableItem::Index(footer.index, count as u64)),
            None => Ok(()),
        }
    }

    /// Finds the data blocks by their trailers.
    fn blocks_without_index<E: From<Error>>(
        &mut self,
        data_end: u64,
        visit: &mut Visit<'_, E>,
    ) -> Result<(), E> {
        let (file, id) = (self.file, self.id);
        let mut position = 0;
        let mut stopped = None;
        walk::walk(file, id, 0, data_end, &mut |found| {
            let done = match found {
                Found::Block(Kind::Data, handle) => {
                    position += 1;
                    self.totals.blocks += 1;
                    self.block(position - 1, handle, visit)
                }
                // Behind the last data block of a table without a footer.
                Found::Block(..) if self.parts.report.footer.is_none() => {
                    return Ok(ControlFlow::Break(()));
                }
                Found::Block(_, handle) | Found::Gap(handle) => {
                    self.skipped = true;
                    let what = "data blocks: no intact block is here".to_owned();
                    let finding = self.finding(Code::BlockDamaged, handle, what);
                    self.damage(finding, visit)
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

    fn block<E: From<Error>>(
        &mut self,
        position: usize,
        handle: Handle,
        visit: &mut Visit<'_, E>,
    ) -> Result<(), E> {
        let (stored, entries, bounds, damage) = (None, 0, None, None);
        let number = position as u64;
        let mut report = BlockReport { position: number, handle, stored, entries, bounds, damage };
        let block = match self.open_block(&mut report)? {
            Ok(block) => block,
            Err(finding) => {
                self.skipped = true;
                self.totals.damaged += 1;
                let damage = Some(self.with_keys(finding, position));
                return visit(TableItem::Block(BlockReport { damage, ..report }));
            }
        };
        let first = key_at(&block, 0);
        let last = key_at(&block, block.count() - 1);
        report.entries = block.count() as u64;
        let mut doubts = self.doubts(&block, position, &first, &last)?.into_iter();
        let mut finding = |reading: &Reading<'_, '_>| {
            let (code, what) = doubts.next()?;
            Some(reading.with_keys(reading.finding(code, handle, what), position))
        };
        report.damage = finding(self);
        self.totals.damaged += u64::from(report.damage.is_some());
        self.first.get_or_insert_with(|| first.clone());
        report.bounds = Some((first, last.clone()));
        visit(TableItem::Block(report))?;
        while let Some(finding) = finding(self) {
            self.damage(finding, visit)?;
        }
        self.entries(&block, visit)?;
        self.last = Some(last);
        self.content = block.into_content();
        Ok(())
    }

    fn with_keys(&self, finding: Finding, position: usize) -> Finding {
        match self.parts.range(position) {
            Some((first, last)) => finding.of_keys(&first, &last),
            None => finding,
        }
    }

    /// Reads a data block; what its trailer says goes into the report.
    fn open_block(&mut self, report: &mut BlockReport) -> Result<Result<Block, Finding>> {
        let (handle, id) = (report.handle, self.id);
        let finding = |code, what: String| {
            Finding::new(code, self.file.path(), what).at(handle.offset, u64::from(handle.size))
        };
        let bytes = self.window.get(handle.offset, u64::from(handle.size))?;
        if bytes.len() < handle.size as usize {
            let what =
                format!("data block: the file ends after {} of {} bytes", bytes.len(), handle.size);
            return Ok(Err(finding(Code::BlockDamaged, what)));
        }
        let mut content = std::mem::take(&mut self.content);
        match unseal_into(Kind::Data, bytes, id, handle.offset, &mut content) {
            Ok(compression) => report.stored = Some((compression, content.len() as u32)),
            Err(what) => {
                let raw = Raw::of(bytes.to_vec(), id, Kind::Data, handle);
                let why = raw.flipped.map_or(String::new(), |(byte, bit)| {
                    mend::explain(handle.offset + byte as u64, bit)
                });
                return Ok(Err(finding(Code::BlockDamaged, what).because(why)));
            }
        }
        Ok(Block::new(content)
            .map_err(|reason| finding(Code::BlockMalformed, format!("data block: {reason}"))))
    }

    /// What contradicts the block: its own order, its neighbours, the index, the filter.
    fn doubts(
        &mut self,
        block: &Block,
        position: usize,
        first: &InternalKey,
        last: &InternalKey,
    ) -> Result<Vec<(Code, String)>> {
        let mut doubts = Vec::new();
        let mut doubt = |code, what: String| doubts.push((code, format!("data block: {what}")));
        if let Err(reason) = block.verify_order() {
            doubt(Code::KeysDescend, reason);
        }
        let parts = self.parts;
        let named = parts.index.value.as_ref();
        if named.is_some_and(|index| !index.compare(position, &last.user, last.trailer).is_eq()) {
            doubt(Code::IndexDisagrees, "its last key is not the one in the index".to_owned());
        }
        let follows = match (named, position.checked_sub(1)) {
            (Some(index), Some(before)) => {
                index.compare(before, &first.user, first.trailer).is_lt()
            }
            (Some(_), None) => true,
            (None, _) => self
                .last
                .as_ref()
                .is_none_or(|last| key::compare(last.as_pair(), first.as_pair()).is_lt()),
        };
        if !follows {
            doubt(
                Code::KeysDescend,
                "its first key does not follow the block before it".to_owned(),
            );
        }
        let unknown = (0..block.count()).map(|entry| block.trailer(entry));
        if let Some(trailer) = unknown.into_iter().find(|trailer| trailer.kind().is_none()) {
            doubt(Code::BlockMalformed, format!("an entry of kind {}", trailer.0 as u8));
        }
        let hidden = self.hidden(block)?;
        if let Some((count, key)) = hidden {
            let others = match count {
                1 => String::new(),
                _ => format!(", and {} more of its keys", count - 1),
            };
            doubts.push((Code::FilterHides, format!("the filter hides \"{key}\"{others}")));
        }
        Ok(doubts)
    }

    /// How many of a block's keys the filter hides, and the first of them.
    fn hidden(&mut self, block: &Block) -> Result<Option<(u64, String)>> {
        let Some(filter) = &self.parts.filter.value else { return Ok(None) };
        let mut hidden: Option<(u64, String)> = None;
        self.user.clear();
        self.user.extend_from_slice(block.prefix());
        for entry in 0..block.count() {
            let suffix = block.suffix(entry);
            if entry > 0 && suffix == block.suffix(entry - 1) {
                continue;
            }
            self.user.truncate(block.prefix().len());
            self.user.extend_from_slice(suffix);
            if !filter.may_contain(&self.user)? {
                let user = &self.user;
                hidden.get_or_insert_with(|| (0, user.escape_ascii().to_string())).0 += 1;
            }
        }
        Ok(hidden)
    }

    /// Counts the entries of a block, and shows them if that was asked for.
    fn entries<E: From<Error>>(
        &mut self,
        block: &Block,
        visit: &mut Visit<'_, E>,
    ) -> Result<(), E> {
        let totals = &mut self.totals;
        let (prefix, user) = (block.prefix(), &mut self.user);
        user.clear();
        user.extend_from_slice(prefix);
        for entry in 0..block.count() {
            let (suffix, trailer, value) =
                (block.suffix(entry), block.trailer(entry), block.value(entry));
            let is_same = match entry {
                0 => self.last.as_ref().is_some_and(|last| block.key_is(0, &last.user)),
                _ => block.suffix(entry - 1) == suffix,
            };
            let seqno = trailer.seqno();
            totals.entries += 1;
            totals.tombstones += u64::from(trailer.kind() == Some(ValueKind::Delete));
            totals.distinct_keys += u64::from(!is_same);
            totals.raw_bytes.0 += (prefix.len() + suffix.len()) as u64;
            totals.raw_bytes.1 += value.len() as u64;
            let (low, high) = totals.seqnos.unwrap_or((seqno, seqno));
            totals.seqnos = Some((low.min(seqno), high.max(seqno)));
            if self.with_entries {
                user.truncate(prefix.len());
                user.extend_from_slice(suffix);
                visit(TableItem::Entry(EntryReport { key: user, trailer, value }))?;
            }
        }
        Ok(())
    }

    /// Compares the properties with what was counted.
    fn compare<E: From<Error>>(
        &mut self,
        properties: &Properties,
        data_end: u64,
        visit: &mut Visit<'_, E>,
    ) -> Result<(), E> {
        let Some(footer) = self.parts.report.footer else { return Ok(()) };
        let totals = self.totals;
        let seqnos = totals.seqnos.unwrap_or_default();
        let pairs = [
            ("data blocks", properties.data_blocks, totals.blocks),
            ("bytes of data blocks", properties.data_bytes, data_end),
            ("entries", properties.entries, totals.entries),
            ("tombstones", properties.tombstones, totals.tombstones),
            ("distinct keys", properties.distinct_keys, totals.distinct_keys),
            ("bytes of keys", properties.raw_key_bytes, totals.raw_bytes.0),
            ("bytes of values", properties.raw_value_bytes, totals.raw_bytes.1),
            ("as lowest sequence number", properties.min_seqno.0, seqnos.0.0),
            ("as highest sequence number", properties.max_seqno.0, seqnos.1.0),
        ];
        for (what, said, counted) in pairs.into_iter().filter(|(_, said, found)| said != found) {
            let what = format!("properties block: it says {said} {what}, there are {counted}");
            let finding = self.finding(Code::PropertiesDisagree, footer.properties, what);
            self.damage(finding, visit)?;
        }
        let bounds = [
            ("smallest", &properties.smallest, self.first.clone()),
            ("largest", &properties.largest, self.last.clone()),
        ];
        for (name, said, found) in bounds {
            if let Some(found) = found.filter(|found| found != said) {
                let what =
                    format!("properties block: it says that {said} is the {name} key, {found} is");
                let finding = self.finding(Code::PropertiesDisagree, footer.properties, what);
                self.damage(finding, visit)?;
            }
        }
        Ok(())
    }
}
