//! How two stores differ, or two tables, or one of each: the values that a read returns, key by key.
//!
//! Both sides are read once, in the order of keys, and one pair of each is held. A single table
//! counts by itself: the newest version of each key in it, and a tombstone is an absent key.

use std::cmp::Ordering;
use std::path::Path;
use std::sync::Arc;

use super::finding::Finding;
use super::versions::{Progress, Range, Versions, Wanted};
use super::view::View;
use crate::error::{Error, Result};
use crate::types::ValueKind;
use crate::vfs::{Access, Vfs};

/// One difference, or something that is wrong on one of the sides.
#[derive(Debug)]
pub enum DiffItem<'a> {
    /// A key that only the second side has.
    Added {
        /// The key.
        key: &'a [u8],
        /// Its value.
        value: &'a [u8],
    },
    /// A key that only the first side has.
    Removed {
        /// The key.
        key: &'a [u8],
        /// Its value.
        value: &'a [u8],
    },
    /// A key with another value.
    Changed {
        /// The key.
        key: &'a [u8],
        /// The first side's value.
        old: &'a [u8],
        /// The second side's.
        new: &'a [u8],
    },
    /// A place that may hold more; what it holds counts as absent.
    Finding(&'a Finding),
    /// A part of the tables has been read.
    Progress(Progress),
}

/// What a comparison adds up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiffTotals {
    /// Keys that only the second side has.
    pub added: u64,
    /// Keys that only the first side has.
    pub removed: u64,
    /// Keys with another value.
    pub changed: u64,
    /// Keys with the same value on both sides.
    pub equal: u64,
    /// Findings that are damage.
    pub damaged: u64,
    /// Bytes of tables read on both sides.
    pub read: Progress,
}

impl DiffTotals {
    /// Whether no key differs.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.added + self.removed + self.changed == 0
    }
}

/// What [`diff`] calls with each thing it has to report.
pub type Visit<'v, E> = dyn FnMut(DiffItem<'_>) -> Result<(), E> + 'v;

/// One side of a comparison: the store in a directory, or a table.
///
/// # Errors
/// As [`View::take`], and [`Error::NotOurs`] for a file that is no table.
pub fn side(vfs: &dyn Vfs, path: &Path, range: &Range) -> Result<Versions> {
    let wanted = Wanted { range: range.clone(), values: true, dead_files: false };
    if super::store::is_dir(vfs, path) {
        let view = View::take(vfs, path)?;
        return Versions::of_store(vfs, &view, wanted);
    }
    let file = vfs.open(path, Access::Read)?;
    Versions::of_table(Arc::clone(&file), wanted)
}

/// Compares two sides.
///
/// # Errors
/// Those of `visit`; [`Error::Io`], and [`Error::Unsupported`] for a later format version.
pub fn diff<E: From<Error>>(
    a: Versions,
    b: Versions,
    visit: &mut Visit<'_, E>,
) -> Result<DiffTotals, E> {
    let (mut a, mut b) = (Latest::new(a), Latest::new(b));
    let mut totals = DiffTotals::default();
    a.advance(&mut totals, visit)?;
    b.advance(&mut totals, visit)?;
    loop {
        let order = match (a.is_there, b.is_there) {
            (false, false) => return Ok(totals),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            (true, true) => a.key.cmp(&b.key),
        };
        match order {
            Ordering::Less => {
                totals.removed += 1;
                visit(DiffItem::Removed { key: &a.key, value: &a.value })?;
            }
            Ordering::Greater => {
                totals.added += 1;
                visit(DiffItem::Added { key: &b.key, value: &b.value })?;
            }
            Ordering::Equal if a.value == b.value => totals.equal += 1,
            Ordering::Equal => {
                totals.changed += 1;
                visit(DiffItem::Changed { key: &a.key, old: &a.value, new: &b.value })?;
            }
        }
        if order.is_le() {
            a.advance(&mut totals, visit)?;
        }
        if order.is_ge() {
            b.advance(&mut totals, visit)?;
        }
    }
}

/// The pairs that a read of one side returns.
struct Latest {
    versions: Versions,
    /// The pair it is at, if it is at one; otherwise the last key that was met.
    key: Vec<u8>,
    value: Vec<u8>,
    is_there: bool,
    has_begun: bool,
    /// What was told of it.
    read: Progress,
}

impl Latest {
    fn new(versions: Versions) -> Latest {
        let (is_there, has_begun, read) = (false, false, Progress::default());
        Latest { versions, key: Vec::new(), value: Vec::new(), is_there, has_begun, read }
    }

    /// Moves to the next pair; tells what was found on the way.
    fn advance<E: From<Error>>(
        &mut self,
        totals: &mut DiffTotals,
        visit: &mut Visit<'_, E>,
    ) -> Result<(), E> {
        self.is_there = self.seek()?;
        for finding in self.versions.take_findings() {
            totals.damaged += u64::from(finding.is_damage());
            visit(DiffItem::Finding(&finding))?;
        }
        if let Some(progress) = self.versions.progress() {
            totals.read.done += progress.done - self.read.done;
            totals.read.total += progress.total - self.read.total;
            self.read = progress;
            visit(DiffItem::Progress(totals.read))?;
        }
        Ok(())
    }

    fn seek(&mut self) -> Result<bool> {
        while let Some(version) = self.versions.next()? {
            if version.dead.is_some() || (self.has_begun && self.key == version.key) {
                continue;
            }
            self.has_begun = true;
            self.key.clear();
            self.key.extend_from_slice(version.key);
            if version.kind == ValueKind::Put {
                self.value.clear();
                self.value.extend_from_slice(version.value);
                return Ok(true);
            }
        }
        Ok(false)
    }
}
