//! Several sorted sources read as one, in either direction.
//!
//! Invariants: a merge yields every entry that was in its superversion when it was made, in order
//! and none twice; it pins that superversion. Nothing is allocated or counted from entry to entry.

use std::cmp::Ordering;
use std::sync::Arc;

use super::memtable::MemtableIter;
use super::superversion::SuperVersion;
use super::tables::TableFile;
use super::tournament::{self, Contender, Tournament};
use super::value::Value;
use crate::error::Result;
use crate::format::key::{self, Trailer};
use crate::table::TableIter;

/// One sorted source of internal keys.
struct Source {
    /// Bytes that all keys of all sources begin with.
    skip: usize,
    place: Place,
}

enum Place {
    Memtable(MemtableIter),
    Run(Run),
}

/// A sorted run of tables without overlap, opened one after the other.
struct Run {
    view: Arc<SuperVersion>,
    /// Which run of the version.
    run: usize,
    /// Which table of the run, and where in it.
    index: usize,
    table: Option<TableIter>,
}

/// Where a source is to stand next.
#[derive(Clone, Copy)]
enum Target<'a> {
    First,
    Last,
    /// The first entry at or behind the key.
    From(&'a [u8], Trailer),
    /// The last entry before the key.
    Before(&'a [u8], Trailer),
}

impl Run {
    fn new(view: &Arc<SuperVersion>, run: usize) -> Run {
        Run { view: Arc::clone(view), run, index: 0, table: None }
    }

    fn tables(&self) -> &[Arc<TableFile>] {
        &self.view.version.runs()[self.run]
    }

    fn go(&mut self, target: Target<'_>) -> Result<()> {
        let tables = self.tables();
        let count = tables.len();
        let index = match target {
            Target::First => 0,
            Target::Last => count - 1,
            Target::From(user, trailer) => tables.partition_point(|table| {
                key::compare(table.meta.largest.as_pair(), (user, trailer)).is_lt()
            }),
            Target::Before(user, trailer) => {
                let begun = tables.partition_point(|table| {
                    key::compare(table.meta.smallest.as_pair(), (user, trailer)).is_lt()
                });
                // None has begun: there is nothing before the key.
                begun.checked_sub(1).unwrap_or(count)
            }
        };
        self.open(index, target)
    }

    /// Stands in table `index`; behind the last table there is nothing.
    fn open(&mut self, index: usize, target: Target<'_>) -> Result<()> {
        let Some(file) = self.tables().get(index).cloned() else {
            self.table = None;
            return Ok(());
        };
        // Taken out first, so that an error leaves nothing behind; the same table is gone on with.
        let mut table = match self.table.take() {
            Some(table) if self.index == index => table,
            _ => TableIter::new(file.table()?),
        };
        match target {
            Target::First => table.first(),
            Target::Last => table.last(),
            Target::From(user, trailer) => table.seek(user, trailer),
            Target::Before(user, trailer) => table.seek_before(user, trailer),
        }?;
        self.index = index;
        self.table = Some(table);
        Ok(())
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        let Some(table) = &mut self.table else { return Ok(()) };
        table.next()?;
        if table.valid() { Ok(()) } else { self.open(self.index + 1, Target::First) }
    }

    #[inline]
    fn prev(&mut self) -> Result<()> {
        let Some(table) = &mut self.table else { return Ok(()) };
        table.prev()?;
        if table.valid() {
            return Ok(());
        }
        match self.index.checked_sub(1) {
            Some(index) => self.open(index, Target::Last),
            None => Ok(()),
        }
    }

    #[inline]
    fn valid(&self) -> Option<&TableIter> {
        self.table.as_ref().filter(|table| table.valid())
    }
}

impl Source {
    fn go(&mut self, target: Target<'_>) -> Result<()> {
        match &mut self.place {
            Place::Memtable(memtable) => {
                match target {
                    Target::First => memtable.first(),
                    Target::Last => memtable.last(),
                    Target::From(user, trailer) => memtable.seek(user, trailer),
                    Target::Before(user, trailer) => memtable.seek_before(user, trailer),
                }
                Ok(())
            }
            Place::Run(run) => run.go(target),
        }
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        match &mut self.place {
            Place::Run(run) => run.next(),
            Place::Memtable(memtable) => {
                memtable.next();
                Ok(())
            }
        }
    }

    #[inline]
    fn prev(&mut self) -> Result<()> {
        match &mut self.place {
            Place::Run(run) => run.prev(),
            Place::Memtable(memtable) => {
                memtable.prev();
                Ok(())
            }
        }
    }

    #[inline]
    fn key(&self) -> Option<(&[u8], Trailer)> {
        match &self.place {
            Place::Run(run) => run.valid().map(TableIter::key),
            Place::Memtable(memtable) => memtable.valid().then(|| memtable.key()),
        }
    }

    #[inline]
    fn value(&self) -> &[u8] {
        match &self.place {
            Place::Run(run) => run.valid().map_or(&[], TableIter::value),
            Place::Memtable(memtable) => memtable.value(),
        }
    }

    fn value_pinned(&self) -> Option<Value> {
        match &self.place {
            Place::Run(run) => run.valid().map(|table| Value::block(table.value_pinned())),
            Place::Memtable(memtable) => Some(Value::memtable(memtable.value_pinned())),
        }
    }
}

impl Contender for Source {
    #[inline]
    fn head(&self) -> Option<u64> {
        self.key().map(|(user, _)| tournament::head(user, self.skip))
    }

    fn order(&self, other: &Source) -> Ordering {
        match (self.key(), other.key()) {
            (Some(a), Some(b)) => key::compare(a, b),
            (a, b) => b.is_some().cmp(&a.is_some()),
        }
    }
}

/// A merge of sources: internal keys in order, each once.
pub(super) struct Merge {
    sources: Vec<Source>,
    tournament: Tournament,
    forward: bool,
}

impl Merge {
    /// Everything in a superversion that can be visible now: a memtable that is still empty holds
    /// nothing that is.
    pub(super) fn of(view: &Arc<SuperVersion>) -> Merge {
        let memtables = view.memtables().filter(|memtable| !memtable.is_empty());
        let mut sources: Vec<_> = memtables
            .map(|memtable| Source { skip: 0, place: Place::Memtable(memtable.iter()) })
            .collect();
        // A memtable may get keys that begin in any way.
        let skip = if sources.is_empty() { view.version.common_size() } else { 0 };
        for run in 0..view.version.runs().len() {
            sources.push(Source { skip, place: Place::Run(Run::new(view, run)) });
        }
        Merge { sources, tournament: Tournament::new(), forward: true }
    }

    /// Stands on the first entry of all, ready for [`Merge::next`].
    pub(super) fn first(&mut self) -> Result<()> {
        self.go(Target::First, true)
    }

    /// Stands on the last entry of all, ready for [`Merge::prev`].
    pub(super) fn last(&mut self) -> Result<()> {
        self.go(Target::Last, false)
    }

    /// Stands on the first entry at or behind the key, ready for [`Merge::next`].
    pub(super) fn seek(&mut self, user: &[u8], trailer: Trailer) -> Result<()> {
        self.go(Target::From(user, trailer), true)
    }

    /// Stands on the last entry before the key, ready for [`Merge::prev`].
    pub(super) fn seek_before(&mut self, user: &[u8], trailer: Trailer) -> Result<()> {
        self.go(Target::Before(user, trailer), false)
    }

    /// The entry it stands on.
    #[inline]
    pub(super) fn key(&self) -> Option<(&[u8], Trailer)> {
        self.sources[self.tournament.winner()?].key()
    }

    /// The value of the entry it stands on.
    #[inline]
    pub(super) fn value(&self) -> &[u8] {
        self.tournament.winner().map_or(&[], |winner| self.sources[winner].value())
    }

    /// The same, to be kept.
    pub(super) fn value_pinned(&self) -> Option<Value> {
        self.sources[self.tournament.winner()?].value_pinned()
    }

    /// Forward: only after [`Merge::first`] or [`Merge::seek`].
    #[inline]
    pub(super) fn next(&mut self) -> Result<()> {
        debug_assert!(self.forward, "a merge keeps its direction until it is placed anew");
        let Some(winner) = self.tournament.winner() else { return Ok(()) };
        let moved = self.sources[winner].next();
        self.replay(moved)
    }

    /// Backward: only after [`Merge::last`] or [`Merge::seek_before`].
    #[inline]
    pub(super) fn prev(&mut self) -> Result<()> {
        debug_assert!(!self.forward, "a merge keeps its direction until it is placed anew");
        let Some(winner) = self.tournament.winner() else { return Ok(()) };
        let moved = self.sources[winner].prev();
        self.replay(moved)
    }

    #[inline]
    fn replay(&mut self, moved: Result<()>) -> Result<()> {
        if moved.is_ok() {
            self.tournament.replay(&self.sources);
        } else {
            self.tournament = Tournament::new();
        }
        moved
    }

    fn go(&mut self, target: Target<'_>, forward: bool) -> Result<()> {
        self.forward = forward;
        for source in &mut self.sources {
            if let Err(error) = source.go(target) {
                self.tournament = Tournament::new();
                return Err(error);
            }
        }
        self.tournament.begin(&self.sources, forward);
        Ok(())
    }
}
