//! What the manifest keeps of a table.

use super::coding::{Cursor, put_sized, put_varint};
use super::key::{InternalKey, Trailer};
use crate::types::{FileId, FileNumber, SeqNo};

/// Where a block lies in its file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handle {
    /// Of the block's first byte.
    pub offset: u64,
    /// Bytes of the block, its trailer included.
    pub size: u32,
}

/// What the manifest keeps of a table, so that opening a store opens no table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableMeta {
    /// The number in its name.
    pub number: FileNumber,
    /// Its identity.
    pub id: FileId,
    /// Its size in bytes.
    pub size: u64,
    /// Its first key.
    pub smallest: InternalKey,
    /// Its last key.
    pub largest: InternalKey,
    /// The smallest sequence number in it.
    pub min_seqno: SeqNo,
    /// The largest sequence number in it.
    pub max_seqno: SeqNo,
    /// Versions in it.
    pub entries: u64,
    /// Those that are deletes.
    pub tombstones: u64,
    /// Bytes of its keys and values.
    pub raw_bytes: u64,
    /// Its filter.
    pub filter: Handle,
    /// Its properties.
    pub properties: Handle,
    /// Its index.
    pub index: Handle,
}

impl TableMeta {
    /// Appends the encoding.
    pub fn encode(&self, out: &mut Vec<u8>) {
        for number in self.numbers() {
            put_varint(out, number);
        }
        for key in [&self.smallest, &self.largest] {
            put_sized(out, &key.user);
            put_varint(out, key.trailer.0);
        }
    }

    /// Reads what [`TableMeta::encode`] wrote.
    ///
    /// # Errors
    /// The reason.
    pub fn decode(bytes: &[u8]) -> Result<TableMeta, String> {
        read(&mut Cursor::new(bytes)).ok_or_else(|| "table is cut short".to_owned())
    }

    fn numbers(&self) -> [u64; 14] {
        let [filter, properties, index] = [self.filter, self.properties, self.index];
        [
            self.number.0,
            self.id.0,
            self.size,
            self.min_seqno.0,
            self.max_seqno.0,
            self.entries,
            self.tombstones,
            self.raw_bytes,
            filter.offset,
            u64::from(filter.size),
            properties.offset,
            u64::from(properties.size),
            index.offset,
            u64::from(index.size),
        ]
    }
}

fn read(cursor: &mut Cursor<'_>) -> Option<TableMeta> {
    let mut n = [0; 14];
    for number in &mut n {
        *number = cursor.varint()?;
    }
    let mut key = || {
        let user = cursor.sized(65_535)?.to_vec();
        Some(InternalKey { user, trailer: Trailer(cursor.varint()?) })
    };
    let (smallest, largest) = (key()?, key()?);
    let handle = |at: usize| Handle { offset: n[at], size: n[at + 1] as u32 };
    cursor.is_empty().then(|| TableMeta {
        number: FileNumber(n[0]),
        id: FileId(n[1]),
        size: n[2],
        smallest,
        largest,
        min_seqno: SeqNo(n[3]),
        max_seqno: SeqNo(n[4]),
        entries: n[5],
        tombstones: n[6],
        raw_bytes: n[7],
        filter: handle(8),
        properties: handle(10),
        index: handle(12),
    })
}
