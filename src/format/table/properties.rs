//! What a table says about itself: where it comes from, and its counts.

use std::cmp::Ordering;
use std::fmt;

use super::fields::{Fields, put_id, put_key, put_number};
use crate::format::coding;
use crate::format::key::{self, InternalKey};
use crate::types::{FileId, FileNumber, Level, SeqNo, StoreId};

/// The name of the only order there is: unsigned bytes.
pub const COMPARATOR: &str = "bytewise";

/// What made a table. The numbers are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Origin {
    /// A memtable was written out.
    Flush = 1,
    /// Other tables were merged.
    Compaction = 2,
    /// It was built outside and taken in.
    Ingest = 3,
    /// It was saved from a damaged store.
    Repair = 4,
}

impl Origin {
    /// The origin with this number on disk.
    #[must_use]
    pub fn from_u64(number: u64) -> Option<Origin> {
        [Origin::Flush, Origin::Compaction, Origin::Ingest, Origin::Repair]
            .into_iter()
            .find(|&origin| origin as u64 == number)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Origin::Flush => "flush",
            Origin::Compaction => "compaction",
            Origin::Ingest => "ingest",
            Origin::Repair => "repair",
        })
    }
}

/// The content of the properties block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Properties {
    /// The store it was written for.
    pub store: StoreId,
    /// The file's identity, as in the footer.
    pub id: FileId,
    /// The number it was written under.
    pub number: FileNumber,
    /// The format version, as in the footer.
    pub format_version: u16,
    /// The program that wrote it: `beachdb 0.1.0`.
    pub writer: String,
    /// Why it was written.
    pub origin: Origin,
    /// The job that wrote it, as in the manifest.
    pub job: u64,
    /// The level it was written for.
    pub level: Level,
    /// The tables it was merged from.
    pub inputs: Vec<FileNumber>,
    /// When it was begun, in milliseconds since 1970.
    pub created_ms: u64,
    /// Number of entries, tombstones included.
    pub entries: u64,
    /// How many of them are tombstones.
    pub tombstones: u64,
    /// Number of different user keys.
    pub distinct_keys: u64,
    /// Bytes of user keys, each entry's counted in full.
    pub raw_key_bytes: u64,
    /// Bytes of values.
    pub raw_value_bytes: u64,
    /// The first key.
    pub smallest: InternalKey,
    /// The last key.
    pub largest: InternalKey,
    /// The lowest sequence number.
    pub min_seqno: SeqNo,
    /// The highest sequence number.
    pub max_seqno: SeqNo,
    /// Number of data blocks.
    pub data_blocks: u64,
    /// Bytes of data blocks in the file, trailers included.
    pub data_bytes: u64,
    /// The order of the keys: [`COMPARATOR`].
    pub comparator: String,
}

impl Properties {
    /// Appends the content of the properties block.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut inputs = Vec::new();
        for input in &self.inputs {
            coding::put_varint(&mut inputs, input.0);
        }
        put_id(out, 1, self.store.0);
        put_id(out, 2, self.id.0);
        put_number(out, 3, self.number.0);
        put_number(out, 4, u64::from(self.format_version));
        coding::put_field(out, 5, self.writer.as_bytes());
        put_number(out, 6, self.origin as u64);
        put_number(out, 7, self.job);
        put_number(out, 8, u64::from(self.level.0));
        coding::put_field(out, 9, &inputs);
        put_number(out, 10, self.created_ms);
        put_number(out, 11, self.entries);
        put_number(out, 12, self.tombstones);
        put_number(out, 13, self.distinct_keys);
        put_number(out, 14, self.raw_key_bytes);
        put_number(out, 15, self.raw_value_bytes);
        put_key(out, 16, &self.smallest);
        put_key(out, 17, &self.largest);
        put_number(out, 18, self.min_seqno.0);
        put_number(out, 19, self.max_seqno.0);
        put_number(out, 20, self.data_blocks);
        put_number(out, 21, self.data_bytes);
        coding::put_field(out, 22, self.comparator.as_bytes());
    }

    /// Reads the content of a properties block; fields it does not know are stepped over.
    ///
    /// # Errors
    /// Which field is missing or malformed.
    pub fn decode(content: &[u8]) -> Result<Properties, String> {
        let fields = Fields::decode(content)?;
        let origin = fields.number(6, "origin")?;
        let properties = Properties {
            store: StoreId(fields.id(1, "store id")?),
            id: FileId(fields.id(2, "file id")?),
            number: FileNumber(fields.number(3, "file number")?),
            format_version: narrow(fields.number(4, "format version")?, "format version")?,
            writer: fields.text(5, "writer")?,
            origin: Origin::from_u64(origin).ok_or_else(|| format!("unknown origin {origin}"))?,
            job: fields.number(7, "job")?,
            level: Level(narrow(fields.number(8, "level")?, "level")?),
            inputs: fields.numbers(9, "inputs")?.into_iter().map(FileNumber).collect(),
            created_ms: fields.number(10, "creation time")?,
            entries: fields.number(11, "entries")?,
            tombstones: fields.number(12, "tombstones")?,
            distinct_keys: fields.number(13, "distinct keys")?,
            raw_key_bytes: fields.number(14, "key bytes")?,
            raw_value_bytes: fields.number(15, "value bytes")?,
            smallest: fields.key(16, "smallest key")?,
            largest: fields.key(17, "largest key")?,
            min_seqno: SeqNo(fields.number(18, "lowest sequence number")?),
            max_seqno: SeqNo(fields.number(19, "highest sequence number")?),
            data_blocks: fields.number(20, "data blocks")?,
            data_bytes: fields.number(21, "data bytes")?,
            comparator: fields.text(22, "comparator")?,
        };
        check_bounds(
            (&properties.smallest, &properties.largest),
            (properties.min_seqno, properties.max_seqno),
        )?;
        Ok(properties)
    }
}

/// Checks that the smaller of each pair of bounds is not the larger.
pub(super) fn check_bounds(
    keys: (&InternalKey, &InternalKey),
    seqnos: (SeqNo, SeqNo),
) -> Result<(), String> {
    if key::compare(keys.0.as_pair(), keys.1.as_pair()) == Ordering::Greater {
        return Err(format!("smallest key {} is behind the largest {}", keys.0, keys.1));
    }
    if seqnos.0 > seqnos.1 || seqnos.1 > SeqNo::MAX {
        return Err(format!("sequence numbers from {} to {}", seqnos.0, seqnos.1));
    }
    Ok(())
}

fn narrow<T: TryFrom<u64>>(value: u64, name: &str) -> Result<T, String> {
    T::try_from(value).map_err(|_| format!("{name} is {value}"))
}
