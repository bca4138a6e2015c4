//! The inputs of a merge as one sequence of entries.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::engine::tournament::{self, Contender, Tournament};
use crate::error::{Error, Result};
use crate::format::key::Trailer;
use crate::probe::mutant;
use crate::table::{Table, TableScan};

/// One input run: tables in the order of their keys, read one after the other.
pub(super) struct Source {
    /// Those behind the one it is in.
    tables: std::vec::IntoIter<Arc<Table>>,
    /// At an entry; none at the end of the run.
    scan: Option<TableScan>,
    /// The user key of its entry, put together; whoever needs it longer may swap it away.
    pub(super) user: Vec<u8>,
    head: u64,
    /// How many bytes all keys of the merge have in common.
    skip: usize,
    /// Entries of the table in the blocks it has come to.
    entries: u64,
}

/// Several runs, each at an entry, and which of them comes first.
pub(super) struct Merge {
    pub(super) sources: Vec<Source>,
    tournament: Tournament,
}

impl Source {
    /// Stands at the first entry of the run.
    fn new(tables: Vec<Arc<Table>>, skip: usize) -> Result<Source> {
        let mut tables = tables.into_iter();
        let scan = tables.next().map(TableScan::new);
        let mut source = Source { tables, scan, user: Vec::new(), head: 0, skip, entries: 0 };
        source.next_block()?;
        Ok(source)
    }

    /// Where it is reading; none at the end of the run.
    #[inline]
    pub(super) fn scan(&self) -> Option<&TableScan> {
        self.scan.as_ref()
    }

    /// Sequence number and kind of its entry.
    #[inline]
    pub(super) fn trailer(&self) -> Trailer {
        self.scan.as_ref().map_or(Trailer::LAST, TableScan::trailer)
    }

    /// Value of its entry.
    #[inline]
    pub(super) fn value(&self) -> &[u8] {
        let entry = self.scan.as_ref().and_then(TableScan::entry);
        entry.map_or(&[], |(block, entry)| block.value(entry))
    }

    /// Whether its entry is the first of a block.
    #[inline]
    pub(super) fn begins_block(&self) -> bool {
        matches!(self.scan.as_ref().and_then(TableScan::entry), Some((_, 0)))
    }

    /// What to say when its key does not follow the one before it.
    #[cold]
    pub(super) fn out_of_order(&self) -> Error {
        let Some(scan) = &self.scan else {
            return Error::InvalidArgument("a run without an entry was asked for one".to_owned());
        };
        let offset = scan.stored().map(|stored| stored.place.1);
        Error::corruption(scan.table().path(), offset, "data block: keys out of order")
    }

    /// Moves to the next entry.
    #[inline]
    fn next(&mut self) -> Result<()> {
        if self.scan.as_mut().is_some_and(TableScan::step) {
            self.load();
            return Ok(());
        }
        self.next_block()
    }

    /// Moves to the first entry of the next block, of the next table if need be.
    fn next_block(&mut self) -> Result<()> {
        while let Some(scan) = &mut self.scan {
            let mut moved = scan.next_block();
            // Rule 16: a merge that cannot read an input installs nothing.
            let trusting = mutant("read_error_ends_an_input");
            if trusting {
                moved = Ok(moved.unwrap_or(false));
            }
            if moved? {
                self.entries += scan.entry().map_or(0, |(block, _)| block.count() as u64);
                self.load();
                return Ok(());
            }
            let (meta, found) = (scan.table().meta(), std::mem::take(&mut self.entries));
            if found != meta.entries && !trusting {
                let detail = format!("{found} entries, the manifest says {}", meta.entries);
                return Err(Error::corruption(scan.table().path(), None, detail));
            }
            let scan = self.scan.take();
            self.scan = scan.zip(self.tables.next()).map(|(scan, table)| scan.reused_for(table));
        }
        Ok(())
    }

    #[inline]
    fn load(&mut self) {
        let Some((block, entry)) = self.scan.as_ref().and_then(TableScan::entry) else { return };
        self.user.clear();
        self.user.extend_from_slice(block.prefix());
        self.user.extend_from_slice(block.suffix(entry));
        self.head = tournament::head(&self.user, self.skip);
    }
}

impl Contender for Source {
    #[inline]
    fn head(&self) -> Option<u64> {
        self.scan.is_some().then_some(self.head)
    }

    fn order(&self, other: &Source) -> Ordering {
        self.user.cmp(&other.user).then_with(|| other.trailer().cmp(&self.trailer()))
    }
}

impl Merge {
    /// Stands at the first entry of all. Each run is sorted by key and without overlap.
    pub(super) fn new(runs: Vec<Vec<Arc<Table>>>) -> Result<Merge> {
        let metas = || runs.iter().flatten().map(|table| table.meta());
        let smallest = metas().map(|meta| &meta.smallest.user).min();
        let largest = metas().map(|meta| &meta.largest.user).max();
        let skip = match smallest.zip(largest) {
            Some((smallest, largest)) => tournament::common_size(smallest, largest),
            None => 0,
        };
        let sources = runs.into_iter().map(|tables| Source::new(tables, skip));
        let mut merge =
            Merge { sources: sources.collect::<Result<_>>()?, tournament: Tournament::new() };
        merge.tournament.begin(&merge.sources, true);
        Ok(merge)
    }

    /// The source whose entry comes first; none when all are at their ends.
    #[inline]
    pub(super) fn first(&self) -> Option<usize> {
        self.tournament.winner()
    }

    /// The user key that comes first among the other sources'.
    pub(super) fn first_of_others(&self) -> Option<&[u8]> {
        let index = self.tournament.runner_up(&self.sources)?;
        Some(&self.sources[index].user)
    }

    /// Moves on to the next entry; `index` is the source that came first.
    #[inline]
    pub(super) fn next(&mut self, index: usize) -> Result<()> {
        self.sources[index].next()?;
        self.tournament.replay(&self.sources);
        Ok(())
    }

    /// Moves on behind the block of the source that came first.
    pub(super) fn skip_block(&mut self, index: usize) -> Result<()> {
        self.sources[index].next_block()?;
        self.tournament.replay(&self.sources);
        Ok(())
    }
}
