//! Whether an older version of a key lies above a newer one, by the keys themselves.
//!
//! The tables of which bounds do not decide it are walked together, key by key: in the order in
//! which a read looks into them, the sequence numbers of a key must fall. One block of each run is
//! in memory: a table of L0, or all that take part of a deeper level.

use std::cmp::Ordering;

use super::order;
use super::tables::TableFacts;
use crate::error::{Error, Result};
use crate::format::block::{Block, Kind};
use crate::format::key::Trailer;
use crate::inspect::finding::{Code, Finding};
use crate::inspect::view::{TableView, View};
use crate::table::{Index, read_block};
use crate::types::{FileNumber, Level};

/// Keys that are told; of more only how many there are.
const TOLD_MAX: u64 = 10;

/// Finds keys of which an older version is read before a newer one.
pub(super) fn inversions<E: From<Error>>(
    view: &View,
    facts: &[TableFacts],
    visit: &mut dyn FnMut(Finding) -> Result<(), E>,
) -> Result<(), E> {
    let mut runs = runs(view, facts);
    let mut merge = Merge { told: 0, more: 0 };
    let mut live: Vec<usize> = (0..runs.len()).collect();
    live.retain(|index| runs[*index].step());
    let mut before = Before { key: Vec::new(), trailer: Trailer(0), run: 0, number: FileNumber(0) };
    while let Some(at) = least(&runs, &live) {
        let index = live[at];
        let run = &mut runs[index];
        let is_inverted = before.run != index
            && before.key == run.key
            && before.trailer.seqno() <= run.trailer.seqno();
        if is_inverted {
            merge.tell(run, &before, visit)?;
        }
        before.key.clone_from(&run.key);
        (before.trailer, before.run) = (run.trailer, index);
        before.number = run.current.map_or(before.number, |(table, _)| table.opened.number);
        if !run.step() {
            live.swap_remove(at);
        }
    }
    if merge.more > 0 {
        let what = format!("{} more keys of which an older version hides a newer", merge.more);
        visit(Finding::new(Code::LevelsInverted, &view.dir, what))?;
    }
    Ok(())
}

/// The version that came before in the walk.
struct Before {
    key: Vec<u8>,
    trailer: Trailer,
    run: usize,
    /// Of its table.
    number: FileNumber,
}

/// What was told so far.
struct Merge {
    told: u64,
    more: u64,
}

impl Merge {
    fn tell<E>(
        &mut self,
        run: &Run<'_>,
        before: &Before,
        visit: &mut dyn FnMut(Finding) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.told >= TOLD_MAX {
            self.more += 1;
            return Ok(());
        }
        self.told += 1;
        let Some((table, _)) = run.current else { return Ok(()) };
        let what = format!(
            "a key has seqno {} here, and {} in table {}, which is read first",
            run.trailer.seqno(),
            before.trailer.seqno(),
            before.number,
        );
        let finding = Finding::new(Code::LevelsInverted, &table.opened.path, what);
        visit(finding.in_level(table.level).of_keys(&run.key, &run.key))
    }
}

/// The position in `live` of the run with the least key, of the one that is read first among
/// equals.
fn least(runs: &[Run<'_>], live: &[usize]) -> Option<usize> {
    let order = |one: &usize, other: &usize| -> Ordering {
        runs[*one].key.cmp(&runs[*other].key).then(one.cmp(other))
    };
    (0..live.len()).min_by(|one, other| order(&live[*one], &live[*other]))
}

/// Tables that follow each other by key, walked entry by entry. What cannot be read is stepped
/// over: it was told when the table was read.
struct Run<'v> {
    tables: Vec<(&'v TableView, &'v TableFacts)>,
    next_table: usize,
    current: Option<(&'v TableView, &'v TableFacts)>,
    index: Option<Index>,
    next_block: usize,
    block: Option<Block>,
    next_entry: usize,
    key: Vec<u8>,
    trailer: Trailer,
}

/// The runs of the tables that are undecided, in the order in which they are read.
fn runs<'v>(view: &'v View, facts: &'v [TableFacts]) -> Vec<Run<'v>> {
    let undecided = order::undecided(view, facts);
    let mut runs: Vec<Run<'v>> = Vec::new();
    let tables = view.tables.iter().zip(facts).zip(undecided).filter(|(_, it)| *it);
    for ((table, facts), _) in tables {
        match runs.last_mut() {
            Some(run) if table.level != Some(Level(0)) && run.level() == table.level => {
                run.tables.push((table, facts));
            }
            _ => runs.push(Run::new(table, facts)),
        }
    }
    runs
}

impl<'v> Run<'v> {
    fn new(table: &'v TableView, facts: &'v TableFacts) -> Run<'v> {
        Run {
            tables: vec![(table, facts)],
            next_table: 0,
            current: None,
            index: None,
            next_block: 0,
            block: None,
            next_entry: 0,
            key: Vec::new(),
            trailer: Trailer(0),
        }
    }

    fn level(&self) -> Option<Level> {
        self.tables.first().and_then(|(table, _)| table.level)
    }

    /// Goes to the next entry; `false` at the end.
    fn step(&mut self) -> bool {
        loop {
            if let Some(block) = self.block.as_ref().filter(|block| self.next_entry < block.count())
            {
                self.key.clear();
                self.key.extend_from_slice(block.prefix());
                self.key.extend_from_slice(block.suffix(self.next_entry));
                self.trailer = block.trailer(self.next_entry);
                self.next_entry += 1;
                break true;
            }
            if !self.load_block() && !self.load_table() {
                break false;
            }
        }
    }

    /// The next data block of the table that can be read.
    fn load_block(&mut self) -> bool {
        let (Some(index), Some((table, facts))) = (&self.index, self.current) else { return false };
        let Some(footer) = facts.footer else { return false };
        while self.next_block < index.count() {
            let handle = index.handle(self.next_block);
            self.next_block += 1;
            let content = read_block(&*table.opened.file, footer.id, Kind::Data, handle).ok();
            if let Some(block) = content.and_then(|content| Block::new(content).ok())
                && block.verify_order().is_ok()
            {
                (self.block, self.next_entry) = (Some(block), 0);
                return true;
            }
        }
        false
    }

    /// The next table whose index can be read.
    fn load_table(&mut self) -> bool {
        while let Some((table, facts)) = self.tables.get(self.next_table).copied() {
            self.next_table += 1;
            let Some(footer) = facts.footer else { continue };
            let content =
                read_block(&*table.opened.file, footer.id, Kind::Index, footer.index).ok();
            let index = content.and_then(|content| Index::new(content, footer.filter.offset).ok());
            if index.is_some() {
                (self.index, self.current, self.next_block) = (index, Some((table, facts)), 0);
                self.block = None;
                return true;
            }
        }
        false
    }
}
