//! Every version of every key that is still there, from all files of a store, in order: by key, and
//! of a key the newest first.
//!
//! Invariants:
//! - Memory is bounded: a block and an index for each table that lies over others, and a window of
//!   the logs.
//! - Nothing stops at damage: a place that cannot be read is a [`Finding`] that says which keys it
//!   may hold, and the versions elsewhere follow.
//! - A version that no read looks at (in an orphan, in a dropped log, behind a torn tail) is there
//!   too, and says why it is dead.

mod kinds;
mod log;
mod run;
mod table;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::sync::Arc;

use log::{LogSource, Logs};
use run::Run;
use table::TableWalk;

use super::finding::Finding;
use super::view::{LogView, Opened, View};
use crate::error::Result;
use crate::format::key::{self, Trailer};
use crate::format::names::{self, FileName};
use crate::inspect::frames::Expect;
use crate::types::{SeqNo, ValueKind};
use crate::vfs::{Access, File, Vfs};

pub use kinds::{Dead, LogParts, Place, Progress, Range, TableParts, Version};
pub use table::TableSource;

/// What is looked for.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Which keys.
    pub range: Range,
    /// Also the values of operations in logs, which take memory.
    pub values: bool,
    /// Also files that the manifest does not name.
    pub dead_files: bool,
}

/// All versions of a range of keys, one after the other.
#[derive(Debug)]
pub struct Versions {
    range: Range,
    logs: Logs,
    runs: Vec<Run>,
    /// A source for each head; the logs are the last.
    heap: BinaryHeap<Head>,
    /// The top of the heap was given out.
    is_given: bool,
    has_begun: bool,
    /// Whether a manifest says what counts.
    is_ruled: bool,
    findings: Vec<Finding>,
    /// What the tables that were read to their end consist of.
    parts: TableParts,
    /// What was last told, and the bytes of all tables.
    progress: Progress,
}

/// Where a source stands.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    key: Vec<u8>,
    trailer: Trailer,
    source: usize,
}

impl Ord for Head {
    /// The first in the order of internal keys is the largest, so that it is the heap's top.
    fn cmp(&self, other: &Head) -> Ordering {
        key::compare((&other.key, other.trailer), (&self.key, self.trailer))
            .then(other.source.cmp(&self.source))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Head) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Versions {
    /// The versions in a store.
    ///
    /// # Errors
    /// [`crate::Error::Io`], and [`crate::Error::Unsupported`] for a later format version.
    pub fn of_store(vfs: &dyn Vfs, view: &View, wanted: Wanted) -> Result<Versions> {
        let source = |table: &super::view::TableView| TableSource {
            file: Arc::clone(&table.opened.file),
            number: Some(table.opened.number),
            level: table.level,
            meta: table.meta.clone(),
            is_live: true,
        };
        let mut tables: Vec<TableSource> = view.tables.iter().map(source).collect();
        let live = |log: &LogView| LogSource { view: log.clone(), is_live: true };
        let mut logs: Vec<LogSource> = view.logs.iter().map(live).collect();
        let findings = view.findings.clone();
        if wanted.dead_files && view.state.is_some() {
            for name in &view.names {
                add_dead(vfs, view, name, &mut tables, &mut logs)?;
            }
        }
        let in_tables = view.state.as_ref().map_or(SeqNo::ZERO, |state| state.last_seqno);
        let logs = Logs::new(logs, wanted.range.clone(), wanted.values, in_tables, log::BUDGET);
        let runs = run::of(tables, &wanted.range)?;
        Ok(Versions {
            is_ruled: view.state.is_some(),
            ..Versions::new(wanted, logs, runs, findings)
        })
    }

    /// The versions in one table.
    ///
    /// # Errors
    /// As [`Versions::of_store`]; [`crate::Error::NotOurs`] when it is no table.
    pub fn of_table(file: Arc<dyn File>, wanted: Wanted) -> Result<Versions> {
        if super::identify(&*file)? != super::FileType::Table {
            return Err(super::wrong_kind(&*file, "table")?);
        }
        let table = TableSource { file, number: None, level: None, meta: None, is_live: true };
        let logs = Logs::new(Vec::new(), wanted.range.clone(), false, SeqNo::ZERO, 0);
        let runs = run::of(vec![table], &wanted.range)?;
        Ok(Versions::new(wanted, logs, runs, Vec::new()))
    }

    fn new(wanted: Wanted, logs: Logs, runs: Vec<Run>, findings: Vec<Finding>) -> Versions {
        let tables = runs.iter().flat_map(|run| &run.tables);
        let total = tables.filter_map(|table| Some(table.meta.as_ref()?.size)).sum();
        Versions {
            range: wanted.range,
            logs,
            runs,
            heap: BinaryHeap::new(),
            is_given: false,
            has_begun: false,
            is_ruled: true,
            findings,
            parts: TableParts::default(),
            progress: Progress { done: 0, total },
        }
    }

    /// How far it has come, if that has changed since it was last asked for.
    pub fn progress(&mut self) -> Option<Progress> {
        let done = self.parts.bytes();
        let changed = std::mem::replace(&mut self.progress.done, done) != done;
        changed.then_some(self.progress)
    }

    /// The tables that may hold a key of the range, in no particular order; before the first
    /// [`Versions::next`].
    pub fn tables(&self) -> impl Iterator<Item = &TableSource> {
        self.runs.iter().flat_map(|run| &run.tables)
    }

    /// What was found to be wrong since this was last called.
    pub fn take_findings(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.findings)
    }

    /// What the tables that were read to their end consist of.
    #[must_use]
    pub fn table_parts(&self) -> TableParts {
        self.parts
    }

    /// What the logs consist of; after the first [`Versions::next`].
    #[must_use]
    pub fn log_parts(&self) -> LogParts {
        self.logs.parts
    }

    /// The next version; none at the end.
    ///
    /// # Errors
    /// The files' own.
    #[allow(clippy::should_implement_trait, reason = "a version borrows from its source")]
    pub fn next(&mut self) -> Result<Option<Version<'_>>> {
        if !self.has_begun {
            self.begin()?;
        }
        if self.is_given {
            self.step()?;
        }
        self.is_given = !self.heap.is_empty();
        let Some(top) = self.heap.peek() else { return Ok(None) };
        Ok(match self.runs.get(top.source) {
            Some(run) => run.walk.as_ref().map(|walk| table_version(walk, self.is_ruled)),
            None => log_version(&self.logs, self.is_ruled),
        })
    }

    /// Moves every source to its first version.
    fn begin(&mut self) -> Result<()> {
        self.has_begun = true;
        for source in 0..=self.runs.len() {
            let more = match self.runs.get_mut(source) {
                Some(run) => run.open(&self.range, &mut self.parts, &mut self.findings)?,
                None => self.logs.first(&mut self.findings)?,
            };
            if more && let Some((key, trailer)) = head(&self.runs, &self.logs, source) {
                let key = key.to_vec();
                self.heap.push(Head { key, trailer, source });
            }
        }
        Ok(())
    }

    /// Moves the source of the top on.
    fn step(&mut self) -> Result<()> {
        let Some(top) = self.heap.peek() else { return Ok(()) };
        let source = top.source;
        let more = match self.runs.get_mut(source) {
            Some(run) => run.advance(&self.range, &mut self.parts, &mut self.findings)?,
            None => self.logs.advance()?,
        };
        let head = head(&self.runs, &self.logs, source).filter(|_| more);
        let Some(mut top) = self.heap.peek_mut() else { return Ok(()) };
        match head {
            Some((key, trailer)) => {
                top.key.clear();
                top.key.extend_from_slice(key);
                top.trailer = trailer;
            }
            None => drop(PeekMut::pop(top)),
        }
        Ok(())
    }
}

/// Where a source stands.
fn head<'a>(runs: &'a [Run], logs: &'a Logs, source: usize) -> Option<(&'a [u8], Trailer)> {
    match runs.get(source) {
        Some(run) => run.walk.as_ref().map(|walk| (walk.key(), walk.trailer())),
        None => logs.current().map(|(key, _)| (key.user.as_slice(), key.trailer())),
    }
}

fn table_version(walk: &TableWalk, is_ruled: bool) -> Version<'_> {
    let (block, handle, entry) = walk.place();
    let trailer = walk.trailer();
    let dead = match (is_ruled, walk.source.is_live) {
        (false, _) => Some(Dead::NoManifest),
        (true, false) => Some(Dead::Orphan),
        (true, true) => None,
    };
    Version {
        key: walk.key(),
        seqno: trailer.seqno(),
        kind: trailer.kind().unwrap_or(ValueKind::Put),
        value: walk.value(),
        value_size: walk.value().len() as u64,
        bytes: walk.bytes(),
        dead,
        place: Place::Table {
            source: &walk.source,
            block,
            offset: handle.offset,
            size: u64::from(handle.size),
            entry,
        },
    }
}

fn log_version(logs: &Logs, is_ruled: bool) -> Option<Version<'_>> {
    let (key, op) = logs.current()?;
    let log = logs.log(key.log)?;
    let trailer = key.trailer();
    Some(Version {
        key: &key.user,
        seqno: trailer.seqno(),
        kind: trailer.kind().unwrap_or(ValueKind::Put),
        value: &op.value,
        value_size: op.value_size,
        bytes: key.user.len() as u64 + op.value_size,
        dead: if is_ruled { op.dead } else { Some(Dead::NoManifest) },
        place: Place::Log {
            path: &log.opened.path,
            offset: key.offset,
            size: op.frame_size,
            op: key.op,
        },
    })
}

/// Adds a table or log that the manifest does not name.
fn add_dead(
    vfs: &dyn Vfs,
    view: &View,
    name: &str,
    tables: &mut Vec<TableSource>,
    logs: &mut Vec<LogSource>,
) -> Result<()> {
    let open = || match vfs.open(&view.dir.join(name), Access::Read) {
        Ok(file) => Ok(Some(file)),
        // A writer has removed it: then it is no longer there.
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    };
    match names::parse(name) {
        FileName::Table(number) if !view.tables.iter().any(|it| it.opened.number == number) => {
            if let Some(file) = open()? {
                let (level, meta) = (None, None);
                tables.push(TableSource {
                    file,
                    number: Some(number),
                    level,
                    meta,
                    is_live: false,
                });
            }
        }
        FileName::Log(number) if !view.logs.iter().any(|it| it.opened.number == number) => {
            if let Some(file) = open()? {
                let opened = Opened { path: view.dir.join(name), number, file };
                let view = LogView { opened, expect: Expect::default() };
                logs.push(LogSource { view, is_live: false });
            }
        }
        _ => {}
    }
    Ok(())
}
