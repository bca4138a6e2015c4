//! Compaction: merging tables so that reads look into few and space is given back.
//!
//! `pick` is pure: the tree's shape in, one job out. The merge itself (`run`, `merge`, `drops`) reads and
//! writes tables and knows nothing of the store; `job` runs one job of an open store and makes its
//! outcome part of the tree with one manifest edit.
//!
//! Invariants:
//! - One job runs at a time. Meanwhile flushes add tables to L0, all newer than the job's inputs;
//!   nothing else enters the job's key span at or above its output level.
//! - A job's inputs from L0 are next to each other in age, and reach down to the oldest one of each
//!   key when they leave L0: what stays above is newer than what goes down.
//! - A crash at any point leaves the tree before the edit or after it.

pub(super) mod job;
pub(super) mod pick;
pub mod run;

mod cuts;
mod drops;
mod merge;

mod fifo;
mod hybrid;
mod leveled;
mod range;
mod slice;
mod tiered;
mod tombstones;

#[cfg(test)]
mod picking;

use std::fmt;

use crate::format::table::TableMeta;
use crate::types::{FileNumber, Level, SeqNo};

/// How the tree is kept in shape. Not on disk: each opening may choose anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Strategy {
    /// Sorted runs side by side at the top, one run a level at the bottom, with targets that follow
    /// the size of the last level. The default, without knobs.
    #[default]
    Hybrid,
    /// One run a level from L1 on, each level ten times as large as the one above it: fewest tables
    /// for a read, most bytes written.
    Leveled,
    /// Runs of similar size side by side, merged four at a time: fewest bytes written, most tables
    /// for a read and most space.
    SizeTiered,
    /// Nothing is merged; when the tables exceed `size_max` bytes the oldest are dropped, **with
    /// what is in them**. For data that may be forgotten.
    Fifo {
        /// Bytes of tables kept.
        size_max: u64,
    },
}

/// The tables of a tree as a picker sees them: L0 newest first, every other level by key.
#[derive(Clone, Debug, Default)]
pub(super) struct Shape<'a> {
    pub(super) levels: [Vec<&'a TableMeta>; Level::COUNT],
}

/// What a picker takes into account beside the shape.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Bytes of memtable that start a flush.
    pub(super) memtable_size: u64,
    /// Bytes that an output table should have.
    pub(super) table_size: u64,
    /// The oldest snapshot that somebody holds; [`SeqNo::MAX`](crate::types::SeqNo::MAX) without one.
    pub(super) oldest_snapshot: SeqNo,
    /// No flush waits and none is near: time for what need not be done while writes go on.
    ///
    /// Who cannot tell says yes, and pays with more rewriting while a store is small.
    pub(super) idle: bool,
}

/// One piece of work for the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) cause: Cause,
    pub(super) action: Action,
    /// The tables it takes out of the tree, newest first, then level by level.
    pub(super) inputs: Vec<(Level, FileNumber)>,
    /// Where its tables go.
    pub(super) output: Level,
}

/// What a compaction does with the tables it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// They are merged into new tables.
    Merge,
    /// They go to the output level as they are.
    Move,
    /// They are dropped with their content.
    Drop,
}

/// Why a job is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// L0 has many runs, or large ones.
    Runs,
    /// The level is larger than its target.
    LevelFull(Level),
    /// The table is dense with tombstones.
    Tombstones,
    /// Somebody asked for it.
    Manual,
    /// It is the oldest and the tables exceed what is kept.
    Expired,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Runs => f.write_str("runs in L0"),
            Cause::LevelFull(level) => write!(f, "{level} is full"),
            Cause::Tombstones => f.write_str("tombstones"),
            Cause::Manual => f.write_str("manual"),
            Cause::Expired => f.write_str("expired"),
        }
    }
}

/// How far the tree is from its shape: what writers are slowed down by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Debt {
    /// Bytes that jobs will have to read until nothing is due.
    pub(super) bytes: u64,
    /// Bytes of debt at which writers are slowed down most; half of it is free.
    pub(super) limit: u64,
}
