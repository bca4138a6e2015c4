//! Several sorted sources read as one, in either direction.

use std::cmp::Ordering;
use std::sync::Arc;

use super::memtable::MemtableIter;
use super::superversion::SuperVersion;
use super::value::Value;
use super::version::TableFile;
use crate::error::Result;
use crate::format::key::{self, Trailer};
use crate::table::TableIter;

/// One sorted source of internal keys.
pub(super) enum Source {
    Memtable(MemtableIter),
    Table(TableIter),
    Run(Run),
}

/// The tables of one level below L0: sorted, without overlap, opened one after the other.
pub(super) struct Run {
    tables: Vec<Arc<TableFile>>,
    index: usize,
    table: Option<TableIter>,
}

/// Where a source is to stand next.
#[derive(Clone, Copy)]
enum Place<'a> {
    First,
    Last,
    /// The first entry at or behind the key.
    From(&'a [u8], Trailer),
    /// The last entry before the key.
    Before(&'a [u8], Trailer),
}

impl Run {
    fn new(tables: Vec<Arc<TableFile>>) -> Run {
        Run { tables, index: 0, table: None }
    }

    fn go(&mut self, place: Place<'_>) -> Result<()> {
        let count = self.tables.len();
        let index = match place {
            Place::First => 0,
            Place::Last => count - 1,
            Place::From(user, trailer) => self.tables.partition_point(|table| {
                key::compare(table.meta.largest.as_pair(), (user, trailer)).is_lt()
            }),
            Place::Before(user, trailer) => {
                let begun = self.tables.partition_point(|table| {
                    key::compare(table.meta.smallest.as_pair(), (user, trailer)).is_lt()
                });
                match begun.checked_sub(1) {
                    Some(index) => index,
                    None => count,
                }
            }
        };
        self.open(index, place)
    }

    /// Stands in table `index`; behind the last table there is nothing.
    fn open(&mut self, index: usize, place: Place<'_>) -> Result<()> {
        self.table = None;
        let Some(file) = self.tables.get(index) else { return Ok(()) };
        let mut table = TableIter::new(Arc::clone(file.table()?));
        go_table(&mut table, place)?;
        self.index = index;
        self.table = Some(table);
        Ok(())
    }

    fn next(&mut self) -> Result<()> {
        let Some(table) = &mut self.table else { return Ok(()) };
        table.next()?;
        if table.valid() { Ok(()) } else { self.open(self.index + 1, Place::First) }
    }

    fn prev(&mut self) -> Result<()> {
        let Some(table) = &mut self.table else { return Ok(()) };
        table.prev()?;
        if table.valid() {
            return Ok(());
        }
        match self.index.checked_sub(1) {
            Some(index) => self.open(index, Place::Last),
            None => {
                self.table = None;
                Ok(())
            }
        }
    }
}

fn go_table(table: &mut TableIter, place: Place<'_>) -> Result<()> {
    match place {
        Place::First => table.first(),
        Place::Last => table.last(),
        Place::From(user, trailer) => table.seek(user, trailer),
        Place::Before(user, trailer) => table.seek_before(user, trailer),
    }
}

impl Source {
    fn go(&mut self, place: Place<'_>) -> Result<()> {
        match self {
            Source::Memtable(memtable) => {
                match place {
                    Place::First => memtable.first(),
                    Place::Last => memtable.last(),
                    Place::From(user, trailer) => memtable.seek(user, trailer),
                    Place::Before(user, trailer) => memtable.seek_before(user, trailer),
                }
                Ok(())
            }
            Source::Table(table) => go_table(table, place),
            Source::Run(run) => run.go(place),
        }
    }

    fn next(&mut self) -> Result<()> {
        match self {
            Source::Memtable(memtable) => {
                memtable.next();
                Ok(())
            }
            Source::Table(table) => table.next(),
            Source::Run(run) => run.next(),
        }
    }

    fn prev(&mut self) -> Result<()> {
        match self {
            Source::Memtable(memtable) => {
                memtable.prev();
                Ok(())
            }
            Source::Table(table) => table.prev(),
            Source::Run(run) => run.prev(),
        }
    }

    fn key(&self) -> Option<(&[u8], Trailer)> {
        match self {
            Source::Memtable(memtable) => memtable.valid().then(|| memtable.key()),
            Source::Table(table) => table.valid().then(|| table.key()),
            Source::Run(run) => run.table.as_ref().map(|table| table.key()),
        }
    }

    fn value(&self) -> Option<Value> {
        match self {
            Source::Memtable(memtable) => Some(Value::memtable(memtable.value_pinned())),
            Source::Table(table) => Some(Value::block(table.value_pinned())),
            Source::Run(run) => run.table.as_ref().map(|table| Value::block(table.value_pinned())),
        }
    }
}

/// A merge of sources: internal keys in order, each once. A heap of the sources that stand on an
/// entry, the next one on top.
pub(super) struct Merge {
    sources: Vec<Source>,
    /// Indexes of the valid sources, as a binary heap.
    heap: Vec<usize>,
    forward: bool,
}

impl Merge {
    /// Everything in a superversion.
    pub(super) fn of(view: &SuperVersion) -> Result<Merge> {
        let mut sources = vec![Source::Memtable(view.memtable.iter())];
        for immutable in &view.immutables {
            sources.push(Source::Memtable(immutable.memtable.iter()));
        }
        for file in &view.version.levels[0] {
            sources.push(Source::Table(TableIter::new(Arc::clone(file.table()?))));
        }
        for tables in &view.version.levels[1..] {
            if !tables.is_empty() {
                sources.push(Source::Run(Run::new(tables.clone())));
            }
        }
        Ok(Merge { sources, heap: Vec::new(), forward: true })
    }

    pub(super) fn first(&mut self) -> Result<()> {
        self.go(Place::First, true)
    }

    pub(super) fn last(&mut self) -> Result<()> {
        self.go(Place::Last, false)
    }

    /// Stands on the first entry at or behind the key, ready for [`Merge::next`].
    pub(super) fn seek(&mut self, user: &[u8], trailer: Trailer) -> Result<()> {
        self.go(Place::From(user, trailer), true)
    }

    /// Stands on the last entry before the key, ready for [`Merge::prev`].
    pub(super) fn seek_before(&mut self, user: &[u8], trailer: Trailer) -> Result<()> {
        self.go(Place::Before(user, trailer), false)
    }

    /// The entry it stands on.
    pub(super) fn key(&self) -> Option<(&[u8], Trailer)> {
        self.sources[*self.heap.first()?].key()
    }

    /// The value of the entry it stands on.
    pub(super) fn value(&self) -> Option<Value> {
        self.sources[*self.heap.first()?].value()
    }

    /// Forward: only after [`Merge::first`] or [`Merge::seek`].
    pub(super) fn next(&mut self) -> Result<()> {
        debug_assert!(self.forward, "a merge keeps its direction until it is placed anew");
        self.step(Source::next)
    }

    /// Backward: only after [`Merge::last`] or [`Merge::seek_before`].
    pub(super) fn prev(&mut self) -> Result<()> {
        debug_assert!(!self.forward, "a merge keeps its direction until it is placed anew");
        self.step(Source::prev)
    }

    fn step(&mut self, step: fn(&mut Source) -> Result<()>) -> Result<()> {
        let Some(&top) = self.heap.first() else { return Ok(()) };
        if let Err(error) = step(&mut self.sources[top]) {
            self.heap.clear();
            return Err(error);
        }
        if self.sources[top].key().is_none() {
            self.heap.swap_remove(0);
        }
        self.sift_down(0);
        Ok(())
    }

    fn go(&mut self, place: Place<'_>, forward: bool) -> Result<()> {
        self.heap.clear();
        self.forward = forward;
        for source in &mut self.sources {
            source.go(place)?;
        }
        self.heap.extend((0..self.sources.len()).filter(|&i| self.sources[i].key().is_some()));
        for root in (0..self.heap.len() / 2).rev() {
            self.sift_down(root);
        }
        Ok(())
    }

    fn sift_down(&mut self, mut root: usize) {
        loop {
            let mut best = root;
            for child in [2 * root + 1, 2 * root + 2] {
                if child < self.heap.len() && self.goes_first(self.heap[child], self.heap[best]) {
                    best = child;
                }
            }
            if best == root {
                return;
            }
            self.heap.swap(root, best);
            root = best;
        }
    }

    fn goes_first(&self, a: usize, b: usize) -> bool {
        let (Some(a), Some(b)) = (self.sources[a].key(), self.sources[b].key()) else {
            return false;
        };
        let wanted = if self.forward { Ordering::Less } else { Ordering::Greater };
        key::compare(a, b) == wanted
    }
}
