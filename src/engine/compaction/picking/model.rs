//! A tree whose tables are lists of entries, and what was ever written to it.

use super::super::{Action, Job, Shape};
use crate::format::key::{InternalKey, Trailer};
use crate::format::table::{Handle, TableMeta};
use crate::types::{FileId, FileNumber, Level, SeqNo, ValueKind};

/// Bytes of an entry.
pub(super) const UNIT: u64 = 100;
/// An entry stands for so many: the pickers do not care about a few tombstones.
const EACH: u64 = 1000;
/// Entries of an output table.
const TABLE: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    key: u8,
    /// Newest first.
    seqno: std::cmp::Reverse<u64>,
    deletes: bool,
}

#[derive(Clone, Debug)]
struct Table {
    meta: TableMeta,
    entries: Vec<Entry>,
}

#[derive(Debug, Default)]
pub(super) struct Tree {
    levels: [Vec<Table>; Level::COUNT],
    written: Vec<Entry>,
    seqno: u64,
    number: u64,
}

/// The bounds, counts and sizes of a table as pickers see them.
pub(super) fn meta(
    number: u64,
    keys: (&[u8], &[u8]),
    seqnos: (u64, u64),
    (entries, tombstones, size): (u64, u64, u64),
) -> TableMeta {
    let key = |user: &[u8], seqno| InternalKey {
        user: user.to_vec(),
        trailer: Trailer::new(SeqNo(seqno), ValueKind::Put),
    };
    let nowhere = Handle { offset: 0, size: 0 };
    TableMeta {
        number: FileNumber(number),
        id: FileId(number),
        size,
        smallest: key(keys.0, seqnos.1),
        largest: key(keys.1, seqnos.0),
        min_seqno: SeqNo(seqnos.0),
        max_seqno: SeqNo(seqnos.1),
        entries,
        tombstones,
        raw_bytes: size,
        filter: nowhere,
        properties: nowhere,
        index: nowhere,
    }
}

impl Tree {
    pub(super) fn last_seqno(&self) -> SeqNo {
        SeqNo(self.seqno)
    }

    pub(super) fn with_shape<T>(&self, read: impl FnOnce(&Shape<'_>) -> T) -> T {
        let mut shape = Shape::default();
        for (level, tables) in self.levels.iter().enumerate() {
            shape.levels[level] = tables.iter().map(|table| &table.meta).collect();
        }
        read(&shape)
    }

    pub(super) fn flush(&mut self, keys: &[(u8, bool)]) {
        let mut entries = Vec::new();
        for &(key, deletes) in keys {
            self.seqno += 1;
            entries.push(Entry { key, seqno: std::cmp::Reverse(self.seqno), deletes });
        }
        self.written.extend(&entries);
        let table = self.table(entries);
        self.levels[0].insert(0, table);
    }

    fn table(&mut self, mut entries: Vec<Entry>) -> Table {
        entries.sort_unstable();
        self.number += 1;
        let seqnos = entries.iter().map(|entry| entry.seqno.0);
        let seqnos = (seqnos.clone().min().expect("entries"), seqnos.max().expect("entries"));
        let count = entries.len() as u64;
        let tombstones = entries.iter().filter(|entry| entry.deletes).count() as u64;
        let keys = ([entries[0].key], [entries[entries.len() - 1].key]);
        let counts = (count * EACH, tombstones * EACH, count * UNIT);
        Table { meta: meta(self.number, (&keys.0, &keys.1), seqnos, counts), entries }
    }

    /// Does what a job of an open store does: newest versions, and those a snapshot sees, are kept;
    /// tombstones vanish in the bottom if nothing older of the key is kept.
    pub(super) fn apply(&mut self, job: &Job, snapshot: Option<SeqNo>) {
        let mut taken = Vec::new();
        for &(level, number) in &job.inputs {
            let tables = &mut self.levels[usize::from(level.0)];
            let at = tables.iter().position(|table| table.meta.number == number);
            taken.push(tables.remove(at.expect("an input")));
        }
        let output = usize::from(job.output.0);
        let added = match job.action {
            Action::Drop => Vec::new(),
            Action::Move => taken,
            Action::Merge => {
                let entries = taken.into_iter().flat_map(|table| table.entries).collect();
                self.cut(merged(entries, snapshot, output == Level::COUNT - 1), output)
            }
        };
        self.levels[output].extend(added);
        match output {
            0 => self.levels[0].sort_by_key(|table| std::cmp::Reverse(table.meta.max_seqno)),
            _ => self.levels[output].sort_by_key(|table| table.entries[0]),
        }
    }

    /// Tables of eight entries, all versions of a key in one; a run of L0 is one table.
    fn cut(&mut self, entries: Vec<Entry>, output: usize) -> Vec<Table> {
        let mut tables = Vec::new();
        let mut current: Vec<Entry> = Vec::new();
        for entry in entries {
            let is_new = current.last().is_some_and(|last| last.key != entry.key);
            if output > 0 && is_new && current.len() >= TABLE {
                tables.push(self.table(std::mem::take(&mut current)));
            }
            current.push(entry);
        }
        if !current.is_empty() {
            tables.push(self.table(current));
        }
        tables
    }

    /// The seqno of the version a read finds; none behind a tombstone.
    pub(super) fn read(&self, key: u8, at: SeqNo) -> Option<u64> {
        for table in self.levels.iter().flatten() {
            if let Some(found) = newest(&table.entries, key, at) {
                return (!found.deletes).then_some(found.seqno.0);
            }
        }
        None
    }

    /// The seqno of the version a read should find.
    pub(super) fn written(&self, key: u8, at: SeqNo) -> Option<u64> {
        newest(&self.written, key, at).filter(|entry| !entry.deletes).map(|entry| entry.seqno.0)
    }

    /// L0 is newest first, and no table of another level overlaps the next.
    pub(super) fn check_order(&self) {
        for two in self.levels[0].windows(2) {
            assert!(two[0].meta.min_seqno > two[1].meta.max_seqno || apart(&two[0], &two[1]));
        }
        for tables in &self.levels[1..] {
            assert!(
                tables.windows(2).all(|two| two[0].meta.largest.user < two[1].meta.smallest.user)
            );
        }
    }
}

fn apart(a: &Table, b: &Table) -> bool {
    a.meta.largest.user < b.meta.smallest.user || b.meta.largest.user < a.meta.smallest.user
}

fn newest(entries: &[Entry], key: u8, at: SeqNo) -> Option<&Entry> {
    let seen = entries.iter().filter(|entry| entry.key == key && entry.seqno.0 <= at.0);
    seen.max_by_key(|entry| entry.seqno.0)
}

fn merged(mut entries: Vec<Entry>, snapshot: Option<SeqNo>, is_bottom: bool) -> Vec<Entry> {
    entries.sort_unstable();
    let mut kept: Vec<Entry> = Vec::new();
    for versions in entries.chunk_by(|a, b| a.key == b.key) {
        let seen = snapshot.and_then(|at| versions.iter().find(|entry| entry.seqno.0 <= at.0));
        let mut stay: Vec<Entry> = vec![versions[0]];
        stay.extend(seen.filter(|seen| **seen != versions[0]));
        while is_bottom && stay.last().is_some_and(|last| last.deletes) {
            stay.pop();
        }
        kept.extend(stay);
    }
    kept
}
