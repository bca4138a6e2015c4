//! The life of one file: when it was made, from what, by which job; where it went, when it was
//! dropped and why; what was made of it.

use std::collections::BTreeMap;

use super::history::{Moment, Told};
use crate::format::edit::{Edit, LogMeta, Reason};
use crate::format::names::{self, FileName};
use crate::format::table::TableMeta;
use crate::types::{FileNumber, Level};

/// The life of the file of one number. Feed it the moments of a history in order.
#[derive(Clone, Debug)]
pub struct Story {
    /// The number.
    pub number: FileNumber,
    /// What happened to it, in order.
    pub events: Vec<Event>,
    /// What the manifest says of it, if it is a table.
    pub table: Option<TableMeta>,
    /// What the manifest says of it, if it is a log.
    pub log: Option<LogMeta>,
    /// Whether it is part of the store after the last edit.
    pub is_live: bool,
    /// The tables that were made of it by compactions, and of those, and so on.
    pub descendants: BTreeMap<FileNumber, Descendant>,
}

/// Something that happened to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The edit's number.
    pub edit: u64,
    /// When, in milliseconds since 1970.
    pub time_ms: u64,
    /// Why.
    pub reason: Reason,
    /// The job.
    pub job: u64,
    /// What.
    pub what: Happening,
}

/// What can happen to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// A table was made, from these files: logs for a flush, tables for a compaction.
    Made(Level, Vec<FileNumber>),
    /// It was there already when what is left of the history begins, or goes on behind a gap.
    Known,
    /// A table went to another level as it was.
    Moved(Level, Level),
    /// A table was taken out of the tree, and these took its place.
    Dropped(Level, Vec<FileNumber>),
    /// It was gone when the history goes on behind a gap.
    Gone,
    /// A log was begun, preallocated to so many bytes.
    LogBegun(u64),
    /// A log was preallocated to so many bytes.
    LogGrown(u64),
    /// Recovery found the end of a log.
    LogEnded(u64),
    /// A log was dropped: these tables have what was in it.
    LogDropped(Vec<FileNumber>),
    /// A manifest was begun; its first edit is this one.
    Manifest,
}

/// A table that was made of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descendant {
    /// How many compactions lie between.
    pub generation: u32,
    /// The edit that added it.
    pub made: u64,
    /// The edit that dropped it, if one did.
    pub dropped: Option<u64>,
    /// Its level.
    pub level: Level,
    /// Its size in bytes.
    pub size: u64,
}

impl Story {
    /// The life of this file.
    #[must_use]
    pub fn of(number: FileNumber) -> Story {
        let (table, log, is_live) = (None, None, false);
        Story { number, events: Vec::new(), table, log, is_live, descendants: BTreeMap::new() }
    }

    /// Whether the history knows the file.
    #[must_use]
    pub fn is_known(&self) -> bool {
        !self.events.is_empty()
    }

    /// Takes the next moment.
    pub fn hear(&mut self, moment: &Moment<'_>) {
        if let Moment::Edit(told) = moment {
            self.tree(told);
            self.logs(told);
            if told.edit.store.is_some() && self.is_manifest(told) {
                self.event(told, Happening::Manifest);
            }
        }
    }

    fn is_manifest(&self, told: &Told<'_>) -> bool {
        let name = told.path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| names::parse(name) == FileName::Manifest(self.number))
    }

    fn event(&mut self, told: &Told<'_>, what: Happening) {
        let Edit { time_ms, reason, job, .. } = *told.edit;
        self.events.push(Event { edit: told.number, time_ms, reason, job, what });
    }

    fn tree(&mut self, told: &Told<'_>) {
        let change = told.change;
        let find = |list: &[(Level, TableMeta)]| {
            list.iter().find(|(_, table)| table.number == self.number).cloned()
        };
        let (removed, added) = (find(&change.removed), find(&change.added));
        let is_restated = told.is_restatement() || told.edit.store.is_some();
        match (removed, added) {
            (Some((from, _)), Some((to, _))) => self.event(told, Happening::Moved(from, to)),
            (None, Some((level, table))) => {
                let what = match is_restated {
                    true => Happening::Known,
                    false => Happening::Made(level, sources(told)),
                };
                self.event(told, what);
                (self.table, self.is_live) = (Some(table), true);
            }
            (Some((level, _)), None) => {
                let what = match is_restated {
                    true => Happening::Gone,
                    false => Happening::Dropped(level, numbers(&change.added)),
                };
                self.event(told, what);
                self.is_live = false;
            }
            (None, None) => {}
        }
        self.descend(told, is_restated);
    }

    fn descend(&mut self, told: &Told<'_>, is_restated: bool) {
        let mut parent: Option<u32> = None;
        let moved = numbers(&told.change.added);
        for (_, table) in &told.change.removed {
            if moved.contains(&table.number) {
                continue;
            }
            let generation = match self.descendants.get_mut(&table.number) {
                Some(descendant) => {
                    descendant.dropped = Some(told.number);
                    Some(descendant.generation)
                }
                None => (table.number == self.number).then_some(0),
            };
            parent = [parent, generation].into_iter().flatten().min();
        }
        for (level, table) in &told.change.added {
            if let Some(descendant) = self.descendants.get_mut(&table.number) {
                descendant.level = *level;
                continue;
            }
            let Some(generation) = parent.filter(|_| !is_restated) else { continue };
            let descendant = Descendant {
                generation: generation + 1,
                made: told.number,
                dropped: None,
                level: *level,
                size: table.size,
            };
            self.descendants.insert(table.number, descendant);
        }
    }

    fn logs(&mut self, told: &Told<'_>) {
        let (edit, number) = (told.edit, self.number);
        if let Some(log) = edit.logs_added.iter().find(|log| log.number == number)
            && self.log.replace(*log).is_none()
        {
            let what = match told.is_restatement() {
                true => Happening::Known,
                false => Happening::LogBegun(log.size),
            };
            self.event(told, what);
            self.is_live = true;
        }
        if told.is_restatement() {
            return;
        }
        let of = |list: &[(FileNumber, u64)]| {
            list.iter().find(|(log, _)| *log == number).map(|(_, value)| *value)
        };
        if let Some(size) = of(&edit.logs_grown) {
            self.event(told, Happening::LogGrown(size));
        }
        if let Some(end) = of(&edit.logs_ended) {
            self.event(told, Happening::LogEnded(end));
        }
        if edit.logs_dropped.contains(&number) {
            self.event(told, Happening::LogDropped(numbers(&told.change.added)));
            self.is_live = false;
        }
    }
}

/// What the tables that an edit adds were made from: those it removes, or the logs it drops.
fn sources(told: &Told<'_>) -> Vec<FileNumber> {
    if told.change.removed.is_empty() {
        return told.edit.logs_dropped.clone();
    }
    numbers(&told.change.removed)
}

fn numbers(tables: &[(Level, TableMeta)]) -> Vec<FileNumber> {
    tables.iter().map(|(_, table)| table.number).collect()
}
