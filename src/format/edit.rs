#![doc = include_str!("../../docs/formats/manifest.md")]

mod fields;
#[cfg(test)]
mod tests;

use std::fmt;

use super::coding::Cursor;
use super::table::TableMeta;
use crate::types::{FileId, FileNumber, Level, SeqNo, StoreId};

/// The smallest tag a reader steps over when it does not know it.
pub const HINT_TAG_MIN: u8 = 128;

/// One change of a store's files: the payload of a manifest's frame. It takes effect as a whole.
///
/// The store's state is what all edits of its manifest add up to, in order. Within an edit,
/// removals come before additions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edit {
    /// When it was made, in milliseconds since 1970. For people.
    pub time_ms: u64,
    /// Why it was made.
    pub reason: Reason,
    /// The background job that made it; 0 when none did.
    pub job: u64,
    /// What the store is; in the first edit of each manifest.
    pub store: Option<StoreInfo>,
    /// Every file number from this one on is unused.
    pub next_file: Option<FileNumber>,
    /// Everything up to this sequence number is in tables.
    pub last_seqno: Option<SeqNo>,
    /// Logs that were made.
    pub logs_added: Vec<LogMeta>,
    /// Logs that were preallocated to this new size.
    pub logs_grown: Vec<(FileNumber, u64)>,
    /// Logs whose last valid frame ends at this offset, as recovery found.
    pub logs_ended: Vec<(FileNumber, u64)>,
    /// Logs that are no longer needed.
    pub logs_dropped: Vec<FileNumber>,
    /// No log with this number or a smaller one is needed.
    pub logs_dropped_upto: Option<FileNumber>,
    /// All bytes of this log before this offset are on stable storage.
    pub log_synced: Option<(FileNumber, u64)>,
    /// Tables that were made, or moved here from another level.
    pub tables_added: Vec<(Level, TableMeta)>,
    /// Tables that are no longer part of this level.
    pub tables_removed: Vec<(Level, FileNumber)>,
    /// What came before this manifest; in its first edit.
    pub lineage: Option<Lineage>,
    /// Totals over the store's life, as of this edit.
    pub counters: Option<Counters>,
}

/// Why an edit was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Reason {
    /// The store was made.
    #[default]
    Create = 1,
    /// A memtable became a table.
    Flush = 2,
    /// Tables were merged.
    Compaction = 3,
    /// A table moved to the next level as it was.
    Move = 4,
    /// Tables were built outside the store and added.
    Ingest = 5,
    /// A log was recovered.
    Recovery = 6,
    /// A log was preallocated further.
    Grow = 7,
    /// A new manifest was begun.
    Rollover = 8,
    /// A new log was begun.
    Rotate = 9,
}

impl Reason {
    /// All reasons, in the order of their numbers on disk.
    pub const ALL: [Reason; 9] = [
        Reason::Create,
        Reason::Flush,
        Reason::Compaction,
        Reason::Move,
        Reason::Ingest,
        Reason::Recovery,
        Reason::Grow,
        Reason::Rollover,
        Reason::Rotate,
    ];

    /// The reason with this number on disk, if this version knows it.
    #[must_use]
    pub fn from_u8(byte: u8) -> Option<Reason> {
        Reason::ALL.into_iter().find(|reason| *reason as u8 == byte)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Create => "create",
            Reason::Flush => "flush",
            Reason::Compaction => "compaction",
            Reason::Move => "move",
            Reason::Ingest => "ingest",
            Reason::Recovery => "recovery",
            Reason::Grow => "grow",
            Reason::Rollover => "rollover",
            Reason::Rotate => "rotate",
        })
    }
}

/// What a store is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreInfo {
    /// Its identity.
    pub id: StoreId,
    /// The name of the order of its keys.
    pub comparator: String,
    /// The newest format version any of its files may have.
    pub format_version: u16,
}

/// What the manifest keeps of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogMeta {
    /// The number in its name.
    pub number: FileNumber,
    /// Its identity.
    pub id: FileId,
    /// Its preallocated size in bytes: shorter means that a part of it is missing.
    pub size: u64,
}

/// What came before a manifest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lineage {
    /// The manifest before this one.
    pub previous: FileNumber,
    /// All edits of the store's life before this manifest.
    pub edits: u64,
    /// Manifests before this one.
    pub rollovers: u64,
}

/// Totals over a store's life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Memtables flushed.
    pub flushes: u64,
    /// Compactions run, moves not counted.
    pub compactions: u64,
    /// Bytes of the tables that flushes and ingests wrote.
    pub flushed_bytes: u64,
    /// Bytes of the tables that compactions read.
    pub compacted_bytes_in: u64,
    /// Bytes of the tables that compactions wrote.
    pub compacted_bytes_out: u64,
    /// Bytes of keys and values that users wrote, as far as they are in tables.
    pub user_bytes: u64,
}

impl Edit {
    /// The payload.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        fields::encode(self)
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// The reason. A field that is not known is an error, because an edit that is half understood
    /// gives a wrong state; those from [`HINT_TAG_MIN`] on are stepped over.
    pub fn decode(payload: &[u8]) -> Result<Edit, String> {
        let mut edit = Edit::default();
        let mut cursor = Cursor::new(payload);
        let mut seen = 0u128;
        while !cursor.is_empty() {
            let at = cursor.position();
            let (tag, bytes) =
                cursor.field().ok_or_else(|| format!("edit ends inside the field at {at}"))?;
            if tag >= HINT_TAG_MIN {
                continue;
            }
            if seen >> tag & 1 == 1 && !fields::may_repeat(tag) {
                return Err(format!("field {tag} is there twice"));
            }
            seen |= 1 << tag;
            fields::decode(&mut edit, tag, bytes)?;
        }
        match fields::REQUIRED.iter().find(|&&tag| seen >> tag & 1 == 0) {
            Some(tag) => Err(format!("field {tag} is missing")),
            None => Ok(edit),
        }
    }
}
