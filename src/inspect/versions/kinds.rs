//! What is said about a version, and about the files that hold versions.

use std::fmt;
use std::path::Path;

use super::TableSource;
use crate::format::header::HEADER_SIZE;
use crate::inspect::Op;
use crate::inspect::wal::{Content, LogItem};
use crate::types::{Level, SeqNo, ValueKind};

/// Keys from one, inclusive, to another, exclusive; by default all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// The first; none is before all.
    pub from: Option<Vec<u8>>,
    /// The first behind; none is behind all.
    pub to: Option<Vec<u8>>,
}

impl Range {
    /// One key alone.
    #[must_use]
    pub fn key(key: &[u8]) -> Range {
        Range { from: Some(key.to_vec()), to: Some([key, &[0]].concat()) }
    }

    /// Every key that begins with `prefix`.
    #[must_use]
    pub fn prefix(prefix: &[u8]) -> Range {
        let last = prefix.iter().rposition(|byte| *byte != 0xff);
        let to = last.map(|last| {
            let mut behind = prefix[..=last].to_vec();
            behind[last] += 1;
            behind
        });
        Range { from: Some(prefix.to_vec()), to }
    }

    /// Whether `key` lies in it.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        self.from.as_deref().is_none_or(|from| from <= key) && !self.is_passed(key)
    }

    pub(super) fn is_passed(&self, key: &[u8]) -> bool {
        self.to.as_deref().is_some_and(|to| to <= key)
    }

    pub(super) fn touches(&self, smallest: &[u8], largest: &[u8]) -> bool {
        self.from.as_deref().is_none_or(|from| from <= largest) && !self.is_passed(smallest)
    }
}

/// Why no read looks at a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dead {
    /// The manifest does not name its table.
    Orphan,
    /// The manifest does not name its log.
    DroppedLog,
    /// It lies behind a tail that a crash tore: recovery leaves it out.
    BehindTail,
    /// It lies behind a damaged place of the log.
    BehindDamage,
    /// It lies behind the end that recovery settled.
    BehindEnd,
    /// Its log has been flushed up to here: a table has it.
    Flushed,
    /// No manifest says which files count.
    NoManifest,
}

impl Dead {
    /// The word for it in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Dead::Orphan => "orphan",
            Dead::DroppedLog => "dropped_log",
            Dead::BehindTail => "behind_tail",
            Dead::BehindDamage => "behind_damage",
            Dead::BehindEnd => "behind_end",
            Dead::Flushed => "flushed",
            Dead::NoManifest => "no_manifest",
        }
    }
}

impl fmt::Display for Dead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Dead::Orphan => "the manifest does not name the table",
            Dead::DroppedLog => "the manifest does not name the log",
            Dead::BehindTail => "behind a torn tail",
            Dead::BehindDamage => "behind damage",
            Dead::BehindEnd => "behind the recovered end",
            Dead::Flushed => "a table has it",
            Dead::NoManifest => "no manifest says whether it counts",
        })
    }
}

/// One version of a key, where it lies.
#[derive(Clone, Copy, Debug)]
pub struct Version<'a> {
    /// The user key.
    pub key: &'a [u8],
    /// Which operation wrote it.
    pub seqno: SeqNo,
    /// A value or a tombstone.
    pub kind: ValueKind,
    /// The value; empty for a tombstone, and for an operation in a log if values were not asked for.
    pub value: &'a [u8],
    /// Bytes of the value.
    pub value_size: u64,
    /// Bytes of its file that it takes: of a log, those of key and value; of a table its share of the
    /// block, compressed.
    pub bytes: u64,
    /// Why no read looks at it, if none does.
    pub dead: Option<Dead>,
    /// Where it is.
    pub place: Place<'a>,
}

/// Where a version lies.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// In a log.
    Log {
        /// The log.
        path: &'a Path,
        /// Where its frame begins.
        offset: u64,
        /// Bytes of the frame.
        size: u64,
        /// Its position among the operations of the batch, from 0.
        op: u64,
    },
    /// In a table.
    Table {
        /// The table.
        source: &'a TableSource,
        /// The position of its block in the index, from 0.
        block: u64,
        /// Where the block begins.
        offset: u64,
        /// Bytes of the block.
        size: u64,
        /// Its position in the block, from 0.
        entry: u64,
    },
}

impl Place<'_> {
    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Place::Log { path, .. } => path,
            Place::Table { source, .. } => source.path(),
        }
    }

    /// The level of the table, if it is one of the tree.
    #[must_use]
    pub fn level(&self) -> Option<Level> {
        match self {
            Place::Log { .. } => None,
            Place::Table { source, .. } => source.level,
        }
    }
}

/// What the bytes of tables are for that are no versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableParts {
    /// Data blocks that could be read, without what stands behind each.
    pub blocks: u64,
    /// Index blocks.
    pub index: u64,
    /// Filter blocks.
    pub filter: u64,
    /// Properties blocks.
    pub properties: u64,
    /// Footers, and what stands behind each data block.
    pub trailers: u64,
    /// Data blocks, or whole tables, that cannot be read.
    pub damaged: u64,
}

impl TableParts {
    /// All of them.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let TableParts { blocks, index, filter, properties, trailers, damaged } = *self;
        blocks + index + filter + properties + trailers + damaged
    }

    pub(super) fn add(&mut self, other: TableParts) {
        self.blocks += other.blocks;
        self.index += other.index;
        self.filter += other.filter;
        self.properties += other.properties;
        self.trailers += other.trailers;
        self.damaged += other.damaged;
    }
}

/// How far a reading has come, in bytes of files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Read so far.
    pub done: u64,
    /// Of so many; fewer are read where only a range of keys is asked for.
    pub total: u64,
}

/// What the bytes of logs are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogParts {
    /// Keys and values in whole frames.
    pub records: u64,
    /// What stands around them: headers, marks.
    pub overhead: u64,
    /// Space that was not used yet.
    pub unused: u64,
    /// Torn tails, and what lies behind the end that recovery settled.
    pub dead: u64,
    /// What no crash explains.
    pub damaged: u64,
}

impl LogParts {
    pub(super) fn add(&mut self, item: &LogItem<'_>) {
        match item {
            LogItem::Header(header) => {
                let size = header.size.min(HEADER_SIZE as u64);
                match header.header {
                    Some(_) => self.overhead += size,
                    None => self.damaged += size,
                }
            }
            LogItem::Frame(frame) if matches!(frame.content, Content::Nonsense) => {
                self.damaged += frame.size;
            }
            LogItem::Frame(frame) => {
                let bytes = |op: Op<'_>| (op.key().len() + op.value().len()) as u64;
                let records: u64 = frame.content.ops().map(|(_, op)| bytes(op)).sum();
                self.records += records;
                self.overhead += frame.size.saturating_sub(records);
            }
            LogItem::Hole(hole) if hole.is_damage() => self.damaged += hole.size,
            LogItem::Hole(hole) => self.dead += hole.size,
            LogItem::Unused { size, .. } => self.unused += size,
        }
    }

    /// Bytes of unused space that have something in them all the same.
    pub(super) fn give_up(&mut self, bytes: u64) {
        self.dead += bytes;
        self.unused = self.unused.saturating_sub(bytes);
    }
}
