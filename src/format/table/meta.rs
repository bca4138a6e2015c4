//! What the manifest keeps of a table, so that opening a store opens no table.

use super::fields::{Fields, put_handle, put_id, put_key, put_number};
use super::footer::{Footer, Handle, check_places};
use super::properties::{Properties, check_bounds};
use crate::format::key::InternalKey;
use crate::types::{FileId, FileNumber, SeqNo};

/// A table as the manifest knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableMeta {
    /// The number in its name.
    pub number: FileNumber,
    /// Its identity, as in its footer.
    pub id: FileId,
    /// Bytes of the file.
    pub size: u64,
    /// Its first key.
    pub smallest: InternalKey,
    /// Its last key.
    pub largest: InternalKey,
    /// Its lowest sequence number.
    pub min_seqno: SeqNo,
    /// Its highest sequence number.
    pub max_seqno: SeqNo,
    /// Number of entries, tombstones included.
    pub entries: u64,
    /// How many of them are tombstones.
    pub tombstones: u64,
    /// Bytes of user keys and values.
    pub raw_bytes: u64,
    /// Its filter block.
    pub filter: Handle,
    /// Its properties block.
    pub properties: Handle,
    /// Its index block.
    pub index: Handle,
}

impl TableMeta {
    /// What the manifest would keep of a table with these properties, this footer and this size.
    #[must_use]
    pub fn of(properties: &Properties, footer: &Footer, size: u64) -> TableMeta {
        TableMeta {
            number: properties.number,
            id: footer.id,
            size,
            smallest: properties.smallest.clone(),
            largest: properties.largest.clone(),
            min_seqno: properties.min_seqno,
            max_seqno: properties.max_seqno,
            entries: properties.entries,
            tombstones: properties.tombstones,
            raw_bytes: properties.raw_key_bytes.saturating_add(properties.raw_value_bytes),
            filter: footer.filter,
            properties: footer.properties,
            index: footer.index,
        }
    }

    /// Appends its tagged fields.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_number(out, 1, self.number.0);
        put_id(out, 2, self.id.0);
        put_number(out, 3, self.size);
        put_key(out, 4, &self.smallest);
        put_key(out, 5, &self.largest);
        put_number(out, 6, self.min_seqno.0);
        put_number(out, 7, self.max_seqno.0);
        put_number(out, 8, self.entries);
        put_number(out, 9, self.tombstones);
        put_number(out, 10, self.raw_bytes);
        put_handle(out, 11, self.filter);
        put_handle(out, 12, self.properties);
        put_handle(out, 13, self.index);
    }

    /// Reads what [`TableMeta::encode`] wrote; fields it does not know are stepped over.
    ///
    /// # Errors
    /// Which field is missing or malformed.
    pub fn decode(bytes: &[u8]) -> Result<TableMeta, String> {
        let fields = Fields::decode(bytes)?;
        Ok(TableMeta {
            number: FileNumber(fields.number(1, "file number")?),
            id: FileId(fields.id(2, "file id")?),
            size: fields.number(3, "file size")?,
            smallest: fields.key(4, "smallest key")?,
            largest: fields.key(5, "largest key")?,
            min_seqno: SeqNo(fields.number(6, "lowest sequence number")?),
            max_seqno: SeqNo(fields.number(7, "highest sequence number")?),
            entries: fields.number(8, "entries")?,
            tombstones: fields.number(9, "tombstones")?,
            raw_bytes: fields.number(10, "raw bytes")?,
            filter: fields.handle(11, "filter")?,
            properties: fields.handle(12, "properties")?,
            index: fields.handle(13, "index")?,
        })
    }

    /// Checks that the fields do not contradict each other: that bounds are in order and that the
    /// blocks fill the end of the file.
    ///
    /// # Errors
    /// Which do.
    pub fn check(&self) -> Result<(), String> {
        check_bounds((&self.smallest, &self.largest), (self.min_seqno, self.max_seqno))?;
        check_places(self.filter, self.properties, self.index, self.size)
    }
}
