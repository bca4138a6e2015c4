//! What a manifest says after some of its edits: a pure fold, shared by recovery and the tools.

use std::collections::BTreeMap;

use super::edit::{Counters, Edit, Lineage, LogMeta, StoreInfo};
use super::key;
use super::table::TableMeta;
use crate::types::{FileNumber, Level, SeqNo};

/// A log the manifest names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogState {
    /// Number, id and preallocated size.
    pub meta: LogMeta,
    /// Where its valid content ends, if recovery has settled that: what follows is dead.
    pub end: Option<u64>,
}

/// The store as its manifest describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Identity, comparator, format version; none before the first edit.
    pub store: Option<StoreInfo>,
    /// The next number no file has.
    pub next_file: FileNumber,
    /// Every operation up to this one is in a table.
    pub last_seqno: SeqNo,
    /// The logs that hold what is not in a table yet, oldest first.
    pub logs: BTreeMap<FileNumber, LogState>,
    /// Every log up to this number has been dropped: a file by such a name is left over.
    pub logs_dropped_upto: FileNumber,
    /// The newest promise about a log: its bytes before the offset are on stable storage.
    pub log_synced: Option<(FileNumber, u64)>,
    /// The tables by level; L0 newest first, other levels by key.
    pub levels: [Vec<TableMeta>; Level::COUNT],
    /// Where this manifest comes from, if it is not the first.
    pub lineage: Option<Lineage>,
    /// Totals over the store's life.
    pub counters: Counters,
    /// Edits in the store's life, rolled-over manifests included.
    pub edits: u64,
}

impl State {
    /// Applies one edit.
    ///
    /// # Errors
    /// What the edit contradicts: it names a file that is not there, adds one twice, or lets tables
    /// of a level below L0 overlap. The state is then unusable.
    pub fn apply(&mut self, edit: &Edit) -> Result<(), String> {
        self.edits = self.edits.saturating_add(1);
        if let Some(store) = &edit.store {
            self.store = Some(store.clone());
        }
        if let Some(lineage) = &edit.lineage {
            self.edits = lineage.edits.saturating_add(1);
            self.lineage = Some(*lineage);
        }
        self.raise(edit)?;
        self.apply_logs(edit)?;
        self.apply_tables(edit)?;
        if let Some(counters) = &edit.counters {
            self.counters = *counters;
        }
        Ok(())
    }

    /// The one edit that, applied to an empty state, gives this one: a new manifest's first.
    #[must_use]
    pub fn to_edit(&self) -> Edit {
        let mut edit = Edit {
            store: self.store.clone(),
            next_file: Some(self.next_file),
            last_seqno: Some(self.last_seqno),
            logs_dropped_upto: Some(self.logs_dropped_upto),
            log_synced: self.log_synced,
            counters: Some(self.counters),
            lineage: self.lineage,
            ..Edit::default()
        };
        for (number, log) in &self.logs {
            edit.logs_added.push(log.meta);
            edit.logs_ended.extend(log.end.map(|end| (*number, end)));
        }
        for (level, tables) in self.tables() {
            edit.tables_added.push((level, tables.clone()));
        }
        edit
    }

    /// Every table with its level, as the tree orders them.
    pub fn tables(&self) -> impl Iterator<Item = (Level, &TableMeta)> {
        (0u8..)
            .zip(&self.levels)
            .flat_map(|(level, tables)| tables.iter().map(move |table| (Level(level), table)))
    }

    fn raise(&mut self, edit: &Edit) -> Result<(), String> {
        if let Some(next) = edit.next_file {
            if next < self.next_file {
                return Err(format!("next file number falls from {} to {next}", self.next_file));
            }
            self.next_file = next;
        }
        if let Some(seqno) = edit.last_seqno {
            if seqno < self.last_seqno {
                return Err(format!("last seqno falls from {} to {seqno}", self.last_seqno));
            }
            self.last_seqno = seqno;
        }
        Ok(())
    }

    fn apply_logs(&mut self, edit: &Edit) -> Result<(), String> {
        for meta in &edit.logs_added {
            let log = LogState { meta: *meta, end: None };
            if self.logs.insert(meta.number, log).is_some() {
                return Err(format!("log {} is added twice", meta.number));
            }
        }
        for (number, size) in &edit.logs_grown {
            let log = self.logs.get_mut(number).ok_or(format!("log {number} is not there"))?;
            log.meta.size = log.meta.size.max(*size);
        }
        for (number, end) in &edit.logs_ended {
            let log = self.logs.get_mut(number).ok_or(format!("log {number} is not there"))?;
            log.end = Some(*end);
        }
        for number in &edit.logs_dropped {
            self.logs.remove(number).ok_or(format!("log {number} is not there"))?;
            self.logs_dropped_upto = self.logs_dropped_upto.max(*number);
        }
        if let Some(number) = edit.logs_dropped_upto {
            self.logs_dropped_upto = self.logs_dropped_upto.max(number);
        }
        if edit.log_synced.is_some() {
            self.log_synced = edit.log_synced;
        }
        Ok(())
    }

    fn apply_tables(&mut self, edit: &Edit) -> Result<(), String> {
        for (level, number) in &edit.tables_removed {
            let tables = self.level_mut(*level)?;
            let index = tables.iter().position(|table| table.number == *number);
            tables.remove(index.ok_or(format!("table {number} is not in {level}"))?);
        }
        for (level, table) in &edit.tables_added {
            if self.tables().any(|(_, other)| other.number == table.number) {
                return Err(format!("table {} is added twice", table.number));
            }
            let tables = self.level_mut(*level)?;
            insert_table(*level, tables, table.clone())?;
        }
        Ok(())
    }

    fn level_mut(&mut self, level: Level) -> Result<&mut Vec<TableMeta>, String> {
        self.levels.get_mut(usize::from(level.0)).ok_or(format!("there is no level {level}"))
    }
}

/// Puts a table where its level's order wants it.
fn insert_table(level: Level, tables: &mut Vec<TableMeta>, table: TableMeta) -> Result<(), String> {
    if level == Level(0) {
        // Tables of one ingest share a number. One that was merged with what is older holds versions that
        // its siblings hide, so it comes behind them.
        let age = |table: &TableMeta| (table.max_seqno, table.min_seqno);
        let index = tables.partition_point(|other| age(other) > age(&table));
        tables.insert(index, table);
        return Ok(());
    }
    let before = |other: &TableMeta| {
        key::compare(other.smallest.as_pair(), table.smallest.as_pair()).is_lt()
    };
    let index = tables.partition_point(before);
    let overlaps = index > 0 && tables[index - 1].largest.user >= table.smallest.user
        || tables.get(index).is_some_and(|next| next.smallest.user <= table.largest.user);
    if overlaps {
        return Err(format!("table {} overlaps another in {level}", table.number));
    }
    tables.insert(index, table);
    Ok(())
}
