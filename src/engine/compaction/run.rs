//! The merge of a job: tables in, tables out.
//!
//! It knows nothing of the store: what to merge, what is needed of it and where to write are given.
//!
//! Invariants:
//! - All versions of a user key go into the same output table, so outputs never overlap.
//! - Every entry read is written or counted as dropped, by reason; the writer's own count of
//!   entries has to agree. A merge whose counts disagree is an error, like one that cannot read an
//!   input: nothing of it may be installed.
//! - A block is copied as it is stored only if each of its entries would have been written: each
//!   is the one version of its key among the inputs that come at or before it, and none is a
//!   tombstone.

use std::cmp::Ordering;
use std::sync::Arc;

use super::cuts::Cuts;
use super::drops::{Judge, Verdict};
use super::merge::Merge;
use crate::error::{Error, Result};
use crate::format::block::Block;
use crate::format::key::Trailer;
use crate::format::table::TableMeta;
use crate::probe::{failpoint, mutant};
use crate::table::{Table, TableWriter};
use crate::types::{SeqNo, ValueKind};

pub use super::drops::Older;

/// Bytes of input between two pauses.
pub(super) const PAUSE_SIZE: u64 = 256 << 10;

/// What is to be merged.
pub struct Plan<'a> {
    /// The inputs, newest first; the tables of each run in the order of their keys, without overlap.
    pub runs: Vec<Vec<Arc<Table>>>,
    /// The live snapshots, ascending. Later ones see everything in the inputs.
    pub snapshots: &'a [SeqNo],
    /// The tables that may hold versions older than the inputs'.
    pub older: Older<'a>,
    /// The tables one level below the output, in the order of their keys.
    pub below: &'a [&'a TableMeta],
    /// Bytes that an output table should have.
    pub table_size: u64,
}

/// What a merge has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// The new tables, in the order of their keys; each is synced, its name is not.
    pub tables: Vec<TableMeta>,
    /// Entries read.
    pub entries_in: u64,
    /// Entries written; the others were dropped.
    pub entries_out: u64,
    /// Entries that nobody could see any more because of a newer version.
    pub dropped_shadowed: u64,
    /// Tombstones with nothing left to hide.
    pub dropped_tombstones: u64,
    /// Bytes of the data blocks read.
    pub bytes_in: u64,
    /// Bytes of the tables written.
    pub bytes_out: u64,
    /// Data blocks read.
    pub blocks_in: u64,
    /// How many of them were copied as they are stored.
    pub blocks_copied: u64,
}

/// Merges the inputs into tables that `create` begins. `pause` is called every 256 KiB
/// of input; it may wait.
///
/// # Errors
/// [`Error::Corruption`] and [`Error::Io`] of the inputs, the writers' errors, and whatever
/// `create` and `pause` return. Files that were created are then for the caller to remove.
pub fn run(
    plan: Plan<'_>,
    create: &mut dyn FnMut() -> Result<TableWriter>,
    pause: &mut dyn FnMut() -> Result<()>,
) -> Result<Merged> {
    let merge = Merge::new(plan.runs)?;
    let mut runner = Runner {
        judge: Judge::new(plan.snapshots),
        older: plan.older,
        cuts: Cuts::new(plan.below, plan.table_size),
        user: Vec::new(),
        trailer: Trailer::FIRST,
        writer: None,
        create,
        pause,
        unpaused: 0,
        merged: Merged::default(),
    };
    runner.run(merge)?;
    runner.finish()
}

struct Runner<'a> {
    judge: Judge<'a>,
    older: Older<'a>,
    cuts: Cuts<'a>,
    /// The key read last: empty at first, and then less than every other.
    user: Vec<u8>,
    trailer: Trailer,
    /// The output being written.
    writer: Option<TableWriter>,
    create: &'a mut dyn FnMut() -> Result<TableWriter>,
    pause: &'a mut dyn FnMut() -> Result<()>,
    /// Bytes of input since the last pause.
    unpaused: u64,
    merged: Merged,
}

impl Runner<'_> {
    fn run(&mut self, mut merge: Merge) -> Result<()> {
        while let Some(index) = merge.first() {
            if merge.sources[index].begins_block() {
                self.count_block(&merge, index)?;
                if self.take_block(&merge, index)? {
                    merge.skip_block(index)?;
                    continue;
                }
            }
            self.take_entry(&mut merge, index)?;
            merge.next(index)?;
        }
        self.end_key()
    }

    /// Counts a block that the merge has come to, and pauses if it is time.
    fn count_block(&mut self, merge: &Merge, index: usize) -> Result<()> {
        let size = merge.sources[index].scan().map_or(0, |scan| scan.block_bytes());
        self.merged.blocks_in += 1;
        self.merged.bytes_in += size;
        self.unpaused += size;
        if self.unpaused >= PAUSE_SIZE {
            self.unpaused = 0;
            (self.pause)()?;
        }
        Ok(())
    }

    #[inline]
    fn take_entry(&mut self, merge: &mut Merge, index: usize) -> Result<()> {
        let source = &mut merge.sources[index];
        let trailer = source.trailer();
        match self.user.cmp(&source.user) {
            Ordering::Less => {
                self.end_key()?;
                std::mem::swap(&mut self.user, &mut source.user);
                self.cut()?;
            }
            // Rule 15: all versions of a key lie in one table of a level.
            Ordering::Equal if self.trailer > trailer => {
                if mutant("key_cut_in_two") {
                    self.finish_table()?;
                }
            }
            _ => return Err(source.out_of_order()),
        }
        self.trailer = trailer;
        self.merged.entries_in += 1;
        match self.judge.judge(trailer) {
            Verdict::Keep(held) => {
                if let Some(tombstone) = held {
                    self.write(tombstone, &[])?;
                }
                self.write(trailer, source.value())
            }
            Verdict::Hold => Ok(()),
            Verdict::HoldInstead => {
                self.merged.dropped_tombstones += 1;
                Ok(())
            }
            Verdict::Shadowed => {
                self.merged.dropped_shadowed += 1;
                Ok(())
            }
        }
    }

    /// All versions of the key read last have been seen.
    #[inline]
    fn end_key(&mut self) -> Result<()> {
        match self.judge.end_key() {
            None => Ok(()),
            // Rule 14: a tombstone goes only where nothing older can be.
            Some(tombstone)
                if self.older.may_hold(&self.user) && !mutant("tombstones_dropped_early") =>
            {
                self.write(tombstone, &[])
            }
            Some(_) => {
                self.merged.dropped_tombstones += 1;
                Ok(())
            }
        }
    }

    /// Ends the output before the key just read, if that is a good place.
    #[inline]
    fn cut(&mut self) -> Result<()> {
        let written = self.writer.as_ref().map_or(0, TableWriter::written_bytes);
        if self.cuts.end_before(&self.user, written) { self.finish_table() } else { Ok(()) }
    }

    /// Takes the whole block that a source begins if it would be written as a whole; otherwise does
    /// nothing and says so.
    fn take_block(&mut self, merge: &Merge, index: usize) -> Result<bool> {
        let source = &merge.sources[index];
        let Some(stored) = source.scan().and_then(|scan| scan.stored()) else { return Ok(false) };
        let block = stored.block;
        let last = block.count() - 1;
        let before_others = match merge.first_of_others() {
            Some(user) => block.compare(last, user, Trailer::FIRST).is_lt(),
            None => true,
        };
        if !before_others || self.user >= source.user || !all_are_kept(block) {
            return Ok(false);
        }
        let last_user = block.user_key(last);
        let written = self.writer.as_ref().map_or(0, TableWriter::written_bytes);
        if self.cuts.may_end_up_to(&last_user, written) {
            return Ok(false);
        }
        self.end_key()?;
        self.user.clear();
        self.user.extend_from_slice(&source.user);
        self.cut()?;
        self.merged.entries_in += block.count() as u64;
        self.merged.blocks_copied += u64::from(self.writer()?.add_block(&stored)?);
        self.user = last_user;
        self.trailer = block.trailer(last);
        // More versions of this key may follow: the judge must know of the first.
        self.judge.judge(self.trailer);
        Ok(true)
    }

    #[inline]
    fn write(&mut self, trailer: Trailer, value: &[u8]) -> Result<()> {
        if self.writer.is_none() {
            self.writer()?;
        }
        match &mut self.writer {
            Some(writer) => writer.add(&self.user, trailer, value),
            None => Ok(()),
        }
    }

    /// The output being written, begun if there is none.
    fn writer(&mut self) -> Result<&mut TableWriter> {
        match &mut self.writer {
            Some(writer) => Ok(writer),
            none => Ok(none.insert((self.create)()?)),
        }
    }

    fn finish_table(&mut self) -> Result<()> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        let table = writer.finish()?;
        failpoint("compaction_after_table_sync");
        self.merged.entries_out += table.entries;
        self.merged.bytes_out += table.size;
        self.merged.tables.push(table);
        Ok(())
    }

    fn finish(mut self) -> Result<Merged> {
        self.finish_table()?;
        let merged = self.merged;
        let dropped = merged.dropped_shadowed + merged.dropped_tombstones;
        if merged.entries_in == merged.entries_out + dropped {
            return Ok(merged);
        }
        let (read, written) = (merged.entries_in, merged.entries_out);
        Err(Error::InvalidArgument(format!(
            "a merge read {read} entries, wrote {written} and dropped {dropped}"
        )))
    }
}

/// Whether the entries of a block are values of different keys, in order.
fn all_are_kept(block: &Block) -> bool {
    let is_value = |entry| block.trailer(entry).kind() == Some(ValueKind::Put);
    let follows = |entry| entry == 0 || block.suffix(entry - 1) < block.suffix(entry);
    (0..block.count()).all(|entry| is_value(entry) && follows(entry))
}

#[cfg(test)]
mod tests;
