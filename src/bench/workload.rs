//! The workloads by name: what each does, and what it needs.

use std::fmt;
use std::str::FromStr;

/// A workload. [`Workload::about`] says what each does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "`about` is the one place that says what each does")]
pub enum Workload {
    A,
    B,
    C,
    FillSeq,
    FillRandom,
    FillUniqueRandom,
    FillSync,
    Overwrite,
    ReadRandom,
    ReadMissing,
    ReadSeq,
    ReadReverse,
    SeekRandom,
    ReadWhileWriting,
    DeleteRandom,
    Flush,
    Compact,
    WaitCompact,
    Stats,
}

/// How a workload is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Threads run streams of operations.
    Ops,
    /// One thread walks over the whole store.
    Scan,
    /// One call to the store.
    Upkeep,
}

/// In which direction a scan goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scan {
    Forward,
    Backward,
}

impl Workload {
    /// All, in the order in which they are told of.
    pub const ALL: [Workload; 19] = [
        Workload::A,
        Workload::B,
        Workload::C,
        Workload::FillSeq,
        Workload::FillRandom,
        Workload::FillUniqueRandom,
        Workload::FillSync,
        Workload::Overwrite,
        Workload::ReadRandom,
        Workload::ReadMissing,
        Workload::ReadSeq,
        Workload::ReadReverse,
        Workload::SeekRandom,
        Workload::ReadWhileWriting,
        Workload::DeleteRandom,
        Workload::Flush,
        Workload::Compact,
        Workload::WaitCompact,
        Workload::Stats,
    ];

    /// Its name on the command line and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.described().0
    }

    /// What it does, in one line.
    #[must_use]
    pub fn about(self) -> &'static str {
        self.described().1
    }

    fn described(self) -> (&'static str, &'static str) {
        match self {
            Workload::A => {
                ("A", "write-heavy: 95 % put, sequential with a fifth overwrites, 5 % get; fresh")
            }
            Workload::B => ("B", "read-heavy: 95 % get, 5 % put, uniform, over all keys"),
            Workload::C => ("C", "miss-heavy: gets, 99 % of absent keys, uniform, over all keys"),
            Workload::FillSeq => ("fillseq", "write all keys in their order; fresh"),
            Workload::FillRandom => ("fillrandom", "write keys drawn at random; fresh"),
            Workload::FillUniqueRandom => {
                ("filluniquerandom", "write all keys once, in random order; fresh")
            }
            Workload::FillSync => {
                ("fillsync", "as fillrandom, each synced, with a thousandth of the keys; fresh")
            }
            Workload::Overwrite => ("overwrite", "write keys drawn at random over what is there"),
            Workload::ReadRandom => ("readrandom", "get keys drawn at random"),
            Workload::ReadMissing => ("readmissing", "get keys between those that are there"),
            Workload::ReadSeq => ("readseq", "scan all pairs, forwards"),
            Workload::ReadReverse => ("readreverse", "scan all pairs, backwards"),
            Workload::SeekRandom => ("seekrandom", "seek a random key and take 50 pairs"),
            Workload::ReadWhileWriting => {
                ("readwhilewriting", "get keys at random while one more thread overwrites")
            }
            Workload::DeleteRandom => ("deleterandom", "delete keys drawn at random"),
            Workload::Flush => ("flush", "write what is in memory into tables"),
            Workload::Compact => ("compact", "merge the whole tree"),
            Workload::WaitCompact => ("waitcompact", "wait until no compaction is due"),
            Workload::Stats => ("stats", "show the tree, level by level"),
        }
    }

    /// How it is run.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self {
            Workload::ReadSeq | Workload::ReadReverse => Kind::Scan,
            Workload::Flush | Workload::Compact | Workload::WaitCompact | Workload::Stats => {
                Kind::Upkeep
            }
            _ => Kind::Ops,
        }
    }

    pub(super) fn scan(self) -> Option<Scan> {
        match self {
            Workload::ReadSeq => Some(Scan::Forward),
            Workload::ReadReverse => Some(Scan::Backward),
            _ => None,
        }
    }

    /// One of the project's fixed workloads.
    #[must_use]
    pub fn is_fixed(self) -> bool {
        matches!(self, Workload::A | Workload::B | Workload::C)
    }

    /// Begins with an empty store.
    #[must_use]
    pub fn is_fresh(self) -> bool {
        matches!(
            self,
            Workload::A
                | Workload::FillSeq
                | Workload::FillRandom
                | Workload::FillUniqueRandom
                | Workload::FillSync
        )
    }

    /// Makes no sense on an empty store.
    #[must_use]
    pub fn needs_data(self) -> bool {
        !self.is_fresh() && self.kind() != Kind::Upkeep
    }

    /// Changes the store.
    #[must_use]
    pub fn writes(self) -> bool {
        self.is_fresh()
            || matches!(self, Workload::B | Workload::Overwrite | Workload::DeleteRandom)
    }

    /// Leaves all keys behind.
    pub(super) fn fills_all(self) -> bool {
        matches!(self, Workload::FillSeq | Workload::FillUniqueRandom)
    }

    /// Goes over all keys once and then ends.
    pub(super) fn walks(self) -> bool {
        self.fills_all() || self.kind() == Kind::Scan
    }

    /// Asks for keys that may or may not be there.
    pub(super) fn asks(self) -> bool {
        self.is_fixed()
            || matches!(
                self,
                Workload::ReadRandom
                    | Workload::ReadMissing
                    | Workload::SeekRandom
                    | Workload::ReadWhileWriting
            )
    }

    /// Bytes of its values.
    #[must_use]
    pub fn value_size(self) -> usize {
        if self.is_fixed() { 256 } else { 100 }
    }

    /// Of so many operations one is timed.
    ///
    /// Reading the clock twice costs about as much as a get of an absent key. So a seek is always
    /// timed, of gets and puts every 16th, and of a scan's steps every 1024th. Synced writes are
    /// always timed.
    #[must_use]
    pub fn sampled_every(self) -> u64 {
        match self {
            Workload::SeekRandom => 1,
            _ if self.kind() == Kind::Scan => 1024,
            _ => 16,
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Workload {
    type Err = String;

    fn from_str(name: &str) -> Result<Workload, String> {
        let found = Workload::ALL.into_iter().find(|one| one.name() == name);
        found.ok_or_else(|| {
            let names = Workload::ALL.map(Workload::name).join(" ");
            format!("no workload is called {name:?}; there are {names}")
        })
    }
}
