//! Writes a table.

mod blocks;

use std::cmp::Ordering;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::FORMAT_VERSION;
use crate::format::block::{Builder, CONTENT_SIZE_MAX, Compression, Kind, Sealer};
use crate::format::filter;
use crate::format::key::{InternalKey, Trailer, VALUE_SIZE_MAX};
use crate::format::table::{
    COMPARATOR, FOOTER_SIZE, Footer, Handle, Origin, Properties, TableMeta,
};
use crate::probe::{failpoint, mutant};
use crate::types::{FileId, FileNumber, Level, SeqNo, StoreId, ValueKind};
use crate::vfs::File;

/// Bytes gathered before they are written to the file.
const BUFFER_SIZE: usize = 256 << 10;

/// Largest target for the content of a data block that [`WriterOptions::block_size`] can set.
const BLOCK_SIZE_MAX: usize = 16 << 20;

/// How a table is written.
#[derive(Clone, Debug)]
pub struct WriterOptions {
    /// Target size of a data block's content, in bytes. Default 4096.
    ///
    /// An entry that is larger gets a block of its own.
    pub block_size: usize,
    /// What is tried on data blocks. Default LZ4.
    pub compression: Compression,
    /// Filter bits for each user key; 0 means no filter. Default 10.
    pub filter_bits_per_key: u32,
    /// Bytes after which what was written is synced already, so that a large table does not keep
    /// the disk busy all at once when it is finished. Default none: one sync at the end.
    pub sync_bytes: Option<u64>,
}

impl Default for WriterOptions {
    fn default() -> WriterOptions {
        WriterOptions {
            block_size: 4096,
            compression: Compression::default(),
            filter_bits_per_key: 10,
            sync_bytes: None,
        }
    }
}

/// Where a table comes from: what its properties say beside its counts.
#[derive(Clone, Debug)]
pub struct TableOrigin {
    /// The store it is for.
    pub store: StoreId,
    /// The number in its name.
    pub number: FileNumber,
    /// Its identity: random, given once.
    pub id: FileId,
    /// The level it is for.
    pub level: Level,
    /// Why it is written.
    pub origin: Origin,
    /// The job that writes it.
    pub job: u64,
    /// The tables it is merged from.
    pub inputs: Vec<FileNumber>,
    /// The time, in milliseconds since 1970.
    pub created_ms: u64,
}

/// Writes ascending entries into a new file as a table.
///
/// After an error, and when dropped unfinished, the file holds nothing of use: remove it.
#[derive(Debug)]
pub struct TableWriter {
    file: Arc<dyn File>,
    options: WriterOptions,
    origin: TableOrigin,
    sealer: Sealer,
    /// The data block being filled, and the index of those before it.
    block: Builder,
    index: Builder,
    data_blocks: u64,
    /// Hashes of the user keys, for the filter.
    hashes: Vec<u64>,
    /// Bytes in the file, and those to be written behind them.
    written: u64,
    buffer: Vec<u8>,
    /// How many of them are synced.
    synced: u64,
    /// Content of the block being sealed; kept for its memory.
    content: Vec<u8>,
    counts: Counts,
    smallest: Option<InternalKey>,
    /// The key added last.
    user: Vec<u8>,
    trailer: Trailer,
    /// The first error; nothing is written after it.
    failed: Option<Error>,
    /// The program's name in the properties.
    pub(super) program: String,
}

#[derive(Debug)]
struct Counts {
    entries: u64,
    tombstones: u64,
    distinct_keys: u64,
    key_bytes: u64,
    value_bytes: u64,
    min_seqno: SeqNo,
    max_seqno: SeqNo,
}

impl TableWriter {
    /// Begins a table in a file that was just created.
    #[must_use]
    pub fn new(file: Arc<dyn File>, options: WriterOptions, origin: TableOrigin) -> TableWriter {
        TableWriter {
            sealer: Sealer::new(origin.id, options.compression),
            options: WriterOptions {
                block_size: options.block_size.min(BLOCK_SIZE_MAX),
                ..options
            },
            file,
            origin,
            block: Builder::new(),
            index: Builder::new(),
            data_blocks: 0,
            hashes: Vec::new(),
            written: 0,
            synced: 0,
            buffer: Vec::new(),
            content: Vec::new(),
            counts: Counts {
                entries: 0,
                tombstones: 0,
                distinct_keys: 0,
                key_bytes: 0,
                value_bytes: 0,
                min_seqno: SeqNo::MAX,
                max_seqno: SeqNo::ZERO,
            },
            smallest: None,
            user: Vec::new(),
            trailer: Trailer::FIRST,
            failed: None,
            program: concat!("beachdb ", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }

    /// Appends an entry, whose key must be greater than the one before it.
    ///
    /// # Errors
    /// [`Error::Io`] when a write fails; [`Error::InvalidArgument`] when the index has grown as
    /// large as a block can be. The table cannot be finished then.
    pub fn add(&mut self, user: &[u8], trailer: Trailer, value: &[u8]) -> Result<()> {
        self.check()?;
        assert!(value.len() <= VALUE_SIZE_MAX, "value of {} bytes", value.len());
        assert!(trailer.kind().is_some(), "kind {}", trailer.0 as u8);
        // Before the first entry `user` is empty, and less than every key.
        let new_key = match self.user.as_slice().cmp(user) {
            Ordering::Less => true,
            Ordering::Equal if self.trailer > trailer => false,
            _ => panic!("keys must ascend"),
        };
        let target = self.options.block_size as u64;
        if !self.block.add_within(target, user, trailer, value) {
            self.finish_block()?;
            self.block.add(user, trailer, value);
        }
        self.counts.add(user.len(), trailer, value.len());
        self.trailer = trailer;
        if new_key {
            self.user.clear();
            self.user.extend_from_slice(user);
            self.begin_key();
        }
        Ok(())
    }

    /// The entry that was just counted has a user key of its own.
    fn begin_key(&mut self) {
        self.counts.distinct_keys += 1;
        if self.options.filter_bits_per_key > 0 {
            self.hashes.push(filter::hash(&self.user));
        }
        if self.smallest.is_none() {
            self.smallest = Some(InternalKey { user: self.user.clone(), trailer: self.trailer });
        }
    }

    /// Bytes of the table so far, the block being filled counted as if it were not compressed.
    #[must_use]
    pub fn written_bytes(&self) -> u64 {
        self.offset() + if self.block.is_empty() { 0 } else { self.block.size() }
    }

    /// Number of entries so far.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.counts.entries
    }

    /// Writes the rest of the table and syncs the file.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] without entries; the file's errors otherwise.
    pub fn finish(mut self) -> Result<TableMeta> {
        self.check()?;
        let Some(smallest) = self.smallest.take() else {
            return Err(Error::InvalidArgument("a table needs at least one entry".to_owned()));
        };
        self.finish_block()?;
        let data_bytes = self.offset();
        self.content = filter::build(&self.hashes, self.options.filter_bits_per_key);
        let filter = self.put_block(Kind::Filter)?;
        let properties = self.describe(smallest, data_bytes);
        properties.encode(&mut self.content);
        let properties_handle = self.put_block(Kind::Properties)?;
        self.index.finish(&mut self.content);
        let index = self.put_block(Kind::Index)?;
        let footer = Footer {
            id: self.origin.id,
            filter,
            properties: properties_handle,
            index,
            version: FORMAT_VERSION,
        };
        let offset = self.offset();
        footer.encode(&mut self.buffer, offset);
        failpoint("table_before_last_write");
        self.write_out()?;
        failpoint("table_before_sync");
        // Rule 8: a table is durable before an edit names it.
        if mutant("table_sync_error_ignored") {
            let _ = self.sync();
        } else if !mutant("table_not_synced") {
            self.sync()?;
        }
        Ok(TableMeta::of(&properties, &footer, offset + FOOTER_SIZE as u64))
    }

    fn describe(&self, smallest: InternalKey, data_bytes: u64) -> Properties {
        let (origin, counts) = (&self.origin, &self.counts);
        Properties {
            store: origin.store,
            id: origin.id,
            number: origin.number,
            format_version: FORMAT_VERSION,
            writer: self.program.clone(),
            origin: origin.origin,
            job: origin.job,
            level: origin.level,
            inputs: origin.inputs.clone(),
            created_ms: origin.created_ms,
            entries: counts.entries,
            tombstones: counts.tombstones,
            distinct_keys: counts.distinct_keys,
            raw_key_bytes: counts.key_bytes,
            raw_value_bytes: counts.value_bytes,
            smallest,
            largest: InternalKey { user: self.user.clone(), trailer: self.trailer },
            min_seqno: counts.min_seqno,
            max_seqno: counts.max_seqno,
            data_blocks: self.data_blocks,
            data_bytes,
            comparator: COMPARATOR.to_owned(),
        }
    }

    /// Seals the data block being filled, if there is one, and enters it into the index.
    fn finish_block(&mut self) -> Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        self.block.finish(&mut self.content);
        let handle = self.put_block(Kind::Data)?;
        self.enter_block(handle)
    }

    /// Enters a data block, whose last key is the key added last, into the index.
    fn enter_block(&mut self, handle: Handle) -> Result<()> {
        if self.index.size_with(&self.user, Handle::SIZE) > u64::from(CONTENT_SIZE_MAX) {
            return self.fail(Error::InvalidArgument(format!(
                "{}: the index would be larger than a block can be",
                self.file.path().display()
            )));
        }
        let mut value = Vec::with_capacity(Handle::SIZE);
        handle.encode(&mut value);
        self.index.add(&self.user, self.trailer, &value);
        self.data_blocks += 1;
        self.write_if_full()
    }

    /// Seals `content` as the next block of the file, and empties it.
    fn put_block(&mut self, kind: Kind) -> Result<Handle> {
        let offset = self.offset();
        let size = self.sealer.seal(&mut self.buffer, kind, &self.content, offset);
        self.content.clear();
        self.write_if_full()?;
        Ok(Handle { offset, size })
    }

    /// The size of the file once the buffer is written.
    fn offset(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn write_if_full(&mut self) -> Result<()> {
        if self.buffer.len() < BUFFER_SIZE {
            return Ok(());
        }
        self.write_out()?;
        match self.options.sync_bytes {
            Some(size) if self.written - self.synced >= size => self.sync(),
            _ => Ok(()),
        }
    }

    fn write_out(&mut self) -> Result<()> {
        if let Err(error) = self.file.write_at(&self.buffer, self.written) {
            return self.fail(error);
        }
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        if let Err(error) = self.file.sync() {
            return self.fail(error);
        }
        self.synced = self.written;
        Ok(())
    }

    fn fail(&mut self, error: Error) -> Result<()> {
        self.failed = Some(error.clone());
        Err(error)
    }

    fn check(&self) -> Result<()> {
        self.failed.clone().map_or(Ok(()), Err)
    }
}

impl Counts {
    fn add(&mut self, key_size: usize, trailer: Trailer, value_size: usize) {
        self.entries += 1;
        self.tombstones += u64::from(trailer.kind() == Some(ValueKind::Delete));
        self.key_bytes += key_size as u64;
        self.value_bytes += value_size as u64;
        self.min_seqno = self.min_seqno.min(trailer.seqno());
        self.max_seqno = self.max_seqno.max(trailer.seqno());
    }
}
