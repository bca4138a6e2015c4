//! The tables that make up the tree at one moment.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;

use super::compaction::Shape;
use super::tournament;
use crate::error::{Error, Result};
use crate::format::names;
use crate::format::state::State;
use crate::format::table::TableMeta;
use crate::runtime::Worker;
use crate::table::BlockCache;
use crate::table::Table;
use crate::types::{FileNumber, Level};
use crate::vfs::{Access, File, Vfs};

/// What tables need to be opened.
#[derive(Debug)]
pub(super) struct TableSpace {
    pub(super) vfs: Arc<dyn Vfs>,
    pub(super) dir: PathBuf,
    pub(super) cache: Arc<BlockCache>,
    /// Beside a writer a missing table has been moved; otherwise it is lost.
    pub(super) read_only: bool,
    /// Tables that no version names any more and nobody reads: their files may go.
    pub(super) garbage: Mutex<Vec<FileNumber>>,
    /// Who removes them.
    pub(super) collector: OnceLock<Weak<dyn Worker>>,
}

impl TableSpace {
    /// Removes the files of obsolete tables. One that cannot be removed is left over, and the next
    /// opening removes it.
    pub(super) fn collect_garbage(&self) {
        let garbage = std::mem::take(&mut *self.garbage.lock());
        for number in garbage {
            let _ = self.vfs.remove(&self.dir.join(names::table(number)));
        }
    }
}

/// A table of the tree: opened at its first use, kept open as long as a version names it.
///
/// Its file is removed when it is obsolete and the last version that names it is gone: iterators and
/// snapshots' reads hold such versions.
#[derive(Debug)]
pub(super) struct TableFile {
    pub(super) meta: TableMeta,
    space: Arc<TableSpace>,
    /// Its file, opened up front where the writer is another process and may remove it.
    pinned: Option<Arc<dyn File>>,
    opened: OnceLock<Arc<Table>>,
    obsolete: AtomicBool,
}

impl Drop for TableFile {
    fn drop(&mut self) {
        if !*self.obsolete.get_mut() {
            return;
        }
        self.space.garbage.lock().push(self.meta.number);
        // Removing a large file takes long: not for the reader that happened to be the last.
        if let Some(collector) = self.space.collector.get().and_then(Weak::upgrade) {
            collector.wake();
        }
    }
}

impl TableFile {
    /// # Errors
    /// [`Error::Moved`] when a read-only handle finds that the file is gone.
    pub(super) fn new(meta: TableMeta, space: Arc<TableSpace>) -> Result<TableFile> {
        let mut table = TableFile {
            meta,
            space,
            pinned: None,
            opened: OnceLock::new(),
            obsolete: AtomicBool::new(false),
        };
        if table.space.read_only {
            table.pinned = match table.open_file() {
                Ok(file) => Some(file),
                Err(error @ Error::Moved { .. }) => return Err(error),
                // Perhaps too many files are open: it is opened when it is read, or fails then.
                Err(_) => None,
            };
        }
        Ok(table)
    }

    /// Its file, to be read; where it is pinned, also if its name is gone.
    pub(super) fn open_file(&self) -> Result<Arc<dyn File>> {
        if let Some(file) = &self.pinned {
            return Ok(Arc::clone(file));
        }
        let path = self.space.dir.join(names::table(self.meta.number));
        match self.space.vfs.open(&path, Access::Read) {
            Err(error) if error.is_not_found() && self.space.read_only => {
                Err(Error::Moved { path })
            }
            Err(error) if error.is_not_found() => {
                Err(Error::corruption(path, None, "the table is missing"))
            }
            opened => opened,
        }
    }

    /// The tree no longer has it, and durably so: once nobody reads it, its file may go.
    pub(super) fn mark_obsolete(&self) {
        self.obsolete.store(true, Ordering::Release);
    }

    /// The open table.
    pub(super) fn table(&self) -> Result<&Arc<Table>> {
        if let Some(table) = self.opened.get() {
            return Ok(table);
        }
        let cache = Some(Arc::clone(&self.space.cache));
        let table = Arc::new(Table::open_in(self.open_file()?, &self.meta, cache)?);
        // Two readers may open it at once; one of the two is kept.
        Ok(self.opened.get_or_init(|| table))
    }

    /// Whether `key` lies within its bounds.
    pub(super) fn covers(&self, key: &[u8]) -> bool {
        self.meta.smallest.user.as_slice() <= key && key <= self.meta.largest.user.as_slice()
    }
}

/// The tree: L0 newest first (its tables may overlap), every other level sorted without overlap.
#[derive(Debug, Default)]
pub(super) struct Version {
    pub(super) levels: [Vec<Arc<TableFile>>; Level::COUNT],
    /// Made from the levels when it is first asked for, which is when they change no more.
    runs: OnceLock<Runs>,
}

/// The tables as an iterator reads them.
#[derive(Debug, Default)]
struct Runs {
    runs: Vec<Vec<Arc<TableFile>>>,
    /// Bytes that all user keys begin with.
    common_size: usize,
}

impl Version {
    /// The version the manifest's state describes; tables that `previous` has stay open.
    ///
    /// # Errors
    /// As [`TableFile::new`]: none in a writing handle.
    pub(super) fn from_state(
        state: &State,
        previous: &Version,
        space: &Arc<TableSpace>,
    ) -> Result<Version> {
        let known: HashMap<FileNumber, &Arc<TableFile>> =
            previous.levels.iter().flatten().map(|file| (file.meta.number, file)).collect();
        let mut version = Version::default();
        for (level, meta) in state.tables() {
            let table = match known.get(&meta.number) {
                Some(table) => Arc::clone(table),
                None => Arc::new(TableFile::new(meta.clone(), Arc::clone(space))?),
            };
            version.levels[usize::from(level.0)].push(table);
        }
        Ok(version)
    }

    /// Checks what every read relies on: L0 newest first, every other level in key order and without
    /// overlap.
    ///
    /// # Errors
    /// Which table breaks it.
    pub(super) fn check(&self) -> Result<(), String> {
        let (top, below) = self.levels.split_at(1);
        for pair in top[0].windows(2) {
            if pair[0].meta.max_seqno < pair[1].meta.max_seqno {
                return Err(format!("table {} is out of order in L0", pair[1].meta.number));
            }
        }
        for pair in below.iter().flat_map(|tables| tables.windows(2)) {
            if pair[0].meta.largest.user >= pair[1].meta.smallest.user {
                let (one, other) = (pair[0].meta.number, pair[1].meta.number);
                return Err(format!("tables {one} and {other} overlap"));
            }
        }
        Ok(())
    }

    /// What a picker looks at.
    pub(super) fn shape(&self) -> Shape<'_> {
        Shape {
            levels: self.levels.each_ref().map(|tables| tables.iter().map(|it| &it.meta).collect()),
        }
    }

    /// The tables as few sorted runs without overlap, in no particular order: the levels below L0, and
    /// L0's tables with those beside one another that do not overlap (as after a sequential fill).
    pub(super) fn runs(&self) -> &[Vec<Arc<TableFile>>] {
        &self.as_runs().runs
    }

    /// Bytes that the user keys of all tables begin with.
    pub(super) fn common_size(&self) -> usize {
        self.as_runs().common_size
    }

    fn as_runs(&self) -> &Runs {
        self.runs.get_or_init(|| {
            let below = self.levels[1..].iter().filter(|tables| !tables.is_empty()).cloned();
            let mut runs: Vec<Vec<Arc<TableFile>>> = below.collect();
            let levels = runs.len();
            for table in &self.levels[0] {
                let place = runs[levels..].iter_mut().find_map(|run| Some((gap(run, table)?, run)));
                match place {
                    Some((index, run)) => run.insert(index, Arc::clone(table)),
                    None => runs.push(vec![Arc::clone(table)]),
                }
            }
            let smallest = runs.iter().filter_map(|run| Some(&run.first()?.meta.smallest.user));
            let largest = runs.iter().filter_map(|run| Some(&run.last()?.meta.largest.user));
            let common_size = match (smallest.min(), largest.max()) {
                (Some(smallest), Some(largest)) => tournament::common_size(smallest, largest),
                _ => 0,
            };
            Runs { runs, common_size }
        })
    }

    /// The tables that may hold `key`, in the order in which the newest version is found first.
    pub(super) fn candidates<'a>(
        &'a self,
        key: &'a [u8],
    ) -> impl Iterator<Item = &'a Arc<TableFile>> {
        let top = self.levels[0].iter().filter(move |table| table.covers(key));
        let below = self.levels[1..].iter().filter_map(move |tables| {
            let index = tables.partition_point(|table| table.meta.largest.user.as_slice() < key);
            tables.get(index).filter(|table| table.covers(key))
        });
        top.chain(below)
    }
}

/// Where in a sorted run the table fits without sharing a user key with another, if it does.
fn gap(run: &[Arc<TableFile>], table: &TableFile) -> Option<usize> {
    let (smallest, largest) = (&table.meta.smallest.user, &table.meta.largest.user);
    let index = run.partition_point(|other| other.meta.largest.user < *smallest);
    run.get(index).is_none_or(|next| *largest < next.meta.smallest.user).then_some(index)
}
