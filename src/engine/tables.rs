//! The tables of the tree as files: opened when they are read, closed when there are too many.
//!
//! Invariants:
//! - A table's file is removed only when it is obsolete and the last version that names it is gone:
//!   iterators and snapshots' reads hold such versions.
//! - A closed table is opened again by whoever reads it next; a reader in the middle of a table keeps
//!   that one open.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use arc_swap::{ArcSwapOption, Guard};
use parking_lot::Mutex;

use super::budget::Budget;
use super::files::Files;
use super::options::Options;
use crate::error::{Error, Result};
use crate::format::names;
use crate::format::table::TableMeta;
use crate::probe::{failpoint, mutant};
use crate::runtime::Worker;
use crate::table::Table;
use crate::types::FileNumber;
use crate::vfs::{Access, File, Vfs};

/// What tables need to be opened.
#[derive(Debug)]
pub(super) struct TableSpace {
    pub(super) vfs: Arc<dyn Vfs>,
    pub(super) dir: PathBuf,
    /// The memory of the store, and how many tables are open.
    pub(super) budget: Budget,
    /// Beside a writer a missing table has been moved; otherwise it is lost.
    pub(super) read_only: bool,
    /// Tables that no version names any more and nobody reads: their files may go.
    pub(super) garbage: Mutex<Vec<FileNumber>>,
    /// Who removes them.
    pub(super) collector: OnceLock<Weak<dyn Worker>>,
}

impl TableSpace {
    pub(super) fn new(options: &Options, files: &Files, read_only: bool) -> TableSpace {
        TableSpace {
            vfs: Arc::clone(&files.vfs),
            dir: files.dir.clone(),
            budget: Budget::new(options, read_only),
            read_only,
            garbage: Mutex::default(),
            collector: OnceLock::new(),
        }
    }

    /// Removes the files of obsolete tables. One that cannot be removed is left over, and the next
    /// opening removes it.
    pub(super) fn collect_garbage(&self) {
        let garbage = std::mem::take(&mut *self.garbage.lock());
        for number in garbage {
            failpoint("obsolete_before_remove");
            let _ = self.vfs.remove(&self.dir.join(names::table(number)));
            failpoint("obsolete_after_remove");
        }
    }
}

/// A table of the tree.
#[derive(Debug)]
pub(super) struct TableFile {
    pub(super) meta: TableMeta,
    space: Arc<TableSpace>,
    /// Its file, opened up front where the writer is another process and may remove it.
    pinned: Option<Arc<dyn File>>,
    opened: ArcSwapOption<Table>,
    /// Held by whoever opens it.
    opening: Mutex<()>,
    /// Whether it was read since somebody last looked for tables to close.
    used: AtomicBool,
    obsolete: AtomicBool,
}

/// An open table for the duration of one read.
pub(super) type TableGuard = Guard<Option<Arc<Table>>>;

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
            opened: ArcSwapOption::empty(),
            opening: Mutex::new(()),
            used: AtomicBool::new(false),
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
        let path = self.path();
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

    pub(super) fn path(&self) -> PathBuf {
        self.space.dir.join(names::table(self.meta.number))
    }

    /// Whether its filter and index are in memory.
    pub(super) fn is_open(&self) -> bool {
        self.opened.load().is_some()
    }

    /// The tree no longer has it, and durably so: once nobody reads it, its file may go.
    pub(super) fn mark_obsolete(&self) {
        // Rule 10: a file goes when no version names it any more.
        if mutant("table_removed_under_readers") {
            self.opened.store(None);
            self.space.garbage.lock().push(self.meta.number);
            return;
        }
        self.obsolete.store(true, Ordering::Release);
    }

    /// The open table, which stays open as long as the caller has it.
    pub(super) fn table(self: &Arc<Self>) -> Result<Arc<Table>> {
        match Guard::into_inner(self.for_one_read()?) {
            Some(table) => Ok(table),
            // `for_one_read` has seen to it.
            None => self.open(),
        }
    }

    /// The open table, to be let go soon: cheaper than an `Arc`. It is there.
    #[inline]
    pub(super) fn for_one_read(self: &Arc<Self>) -> Result<TableGuard> {
        let table = self.opened.load();
        if table.is_none() {
            return self.open().map(|table| Guard::from_inner(Some(table)));
        }
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
        Ok(table)
    }

    #[cold]
    fn open(self: &Arc<Self>) -> Result<Arc<Table>> {
        let opening = self.opening.lock();
        if let Some(table) = self.opened.load_full() {
            return Ok(table);
        }
        let budget = &self.space.budget;
        let cache = Some(Arc::clone(&budget.cache));
        let table = Table::open_in(self.open_file()?, &self.meta, cache)?;
        let table = Arc::new(table.with_stats(Arc::clone(&budget.stats)));
        self.used.store(true, Ordering::Relaxed);
        self.opened.store(Some(Arc::clone(&table)));
        drop(opening);
        budget.opened(self);
        Ok(table)
    }

    /// Closes the table unless it was read since this was last called; `true` if it is closed now.
    pub(super) fn close_if_unused(&self) -> bool {
        let unused = !self.used.swap(false, Ordering::Relaxed);
        if unused {
            self.opened.store(None);
        }
        unused
    }

    /// Whether `key` lies within its bounds.
    pub(super) fn covers(&self, key: &[u8]) -> bool {
        self.meta.smallest.user.as_slice() <= key && key <= self.meta.largest.user.as_slice()
    }
}
