//! Tables that are built outside of any store.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::engine::core::check_key;
use crate::engine::options::Options;
use crate::error::{Error, Result};
use crate::format::key::{Trailer, VALUE_SIZE_MAX};
use crate::format::table::{Origin, TableMeta};
use crate::table::{TableOrigin, TableWriter, WriterOptions};
use crate::types::{FileId, FileNumber, Level, SeqNo, StoreId, ValueKind};
use crate::vfs::Vfs;

/// Keys shown in errors are cut to so many bytes.
const SHOWN_MAX: usize = 64;

/// Builds a table as a file of its own, for [`Db::ingest`](crate::Db::ingest).
///
/// No store is needed for it: tables can be built in many processes, then taken in together. The file
/// is an ordinary table that belongs to no store, and the tools read it.
///
/// ```
/// # fn main() -> beachdb::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let (tides, sand) = (dir.path().join("tides.sst"), dir.path().join("sand"));
/// use beachdb::{Db, TableBuilder};
///
/// let mut table = TableBuilder::create(&tides)?;
/// table.put("high", "6:12")?;
/// table.put("low", "12:25")?;
/// table.finish()?;
///
/// let db = Db::open(&sand)?;
/// db.ingest([&tides])?;
/// assert_eq!(db.get("low")?.as_deref(), Some(&b"12:25"[..]));
/// # Ok(()) }
/// ```
///
/// Dropped unfinished, it removes the file.
#[derive(Debug)]
pub struct TableBuilder {
    vfs: Arc<dyn Vfs>,
    path: PathBuf,
    order: Ascending,
    /// None when it was finished or failed.
    writer: Option<TableWriter>,
    finished: bool,
}

impl TableBuilder {
    /// Begins a table in a new file, with default [`Options`].
    ///
    /// # Errors
    /// [`Error::Io`], also when the file exists.
    pub fn create(path: impl AsRef<Path>) -> Result<TableBuilder> {
        Options::new().build_table(path)
    }

    /// Adds a pair, whose key must be greater than the one before.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] when it is not, or when a limit is broken: the pair is left out and
    /// the table as it was. After [`Error::Io`] the table cannot be finished.
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        self.add(key.as_ref(), ValueKind::Put, value.as_ref())
    }

    /// Adds a tombstone: taken in, it deletes the key. It must be greater than the one before.
    ///
    /// # Errors
    /// As [`TableBuilder::put`].
    pub fn delete(&mut self, key: impl AsRef<[u8]>) -> Result<()> {
        self.add(key.as_ref(), ValueKind::Delete, &[])
    }

    /// Bytes of the file so far.
    #[must_use]
    pub fn written_bytes(&self) -> u64 {
        self.writer.as_ref().map_or(0, TableWriter::written_bytes)
    }

    /// Writes the rest, makes the file durable with its name, and tells what is in it.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] without entries, [`Error::Io`]. The file is then removed.
    pub fn finish(mut self) -> Result<TableMeta> {
        let writer = self.writer.take().ok_or_else(failed_before)?;
        let meta = writer.finish()?;
        self.vfs.sync_dir(self.path.parent().unwrap_or(Path::new("")))?;
        self.finished = true;
        Ok(meta)
    }

    fn add(&mut self, key: &[u8], kind: ValueKind, value: &[u8]) -> Result<()> {
        let writer = self.writer.as_mut().ok_or_else(failed_before)?;
        self.order.check(key, value)?;
        // It has a number when it is taken in, and not before.
        let added = writer.add(key, Trailer::new(SeqNo::ZERO, kind), value);
        if added.is_err() {
            self.writer = None;
        }
        self.order.advance(key);
        added
    }
}

impl Drop for TableBuilder {
    fn drop(&mut self) {
        if !self.finished {
            // Nobody is left to tell.
            let _ = self.vfs.remove(&self.path);
        }
    }
}

fn failed_before() -> Error {
    Error::InvalidArgument("the table could not be written before".to_owned())
}

impl Options {
    /// Begins a table as a file of its own, with this compression and on this file system.
    ///
    /// # Errors
    /// As [`TableBuilder::create`].
    pub fn build_table(&self, path: impl AsRef<Path>) -> Result<TableBuilder> {
        let path = path.as_ref().to_owned();
        let file = self.vfs.create(&path)?;
        let origin = TableOrigin {
            store: StoreId::default(),
            number: FileNumber::default(),
            id: FileId(self.runtime.random_u64()),
            level: Level(0),
            origin: Origin::Ingest,
            job: 0,
            inputs: Vec::new(),
            created_ms: self.runtime.now_ms(),
        };
        let options = WriterOptions { compression: self.compression, ..WriterOptions::default() };
        Ok(TableBuilder {
            vfs: Arc::clone(&self.vfs),
            path,
            order: Ascending::default(),
            writer: Some(TableWriter::new(file, options, origin)),
            finished: false,
        })
    }
}

/// Keys that have to ascend.
#[derive(Debug, Default)]
pub(super) struct Ascending {
    /// The last one; empty before the first.
    last: Vec<u8>,
}

impl Ascending {
    /// Whether the pair is within the limits and its key the next.
    pub(super) fn check(&self, key: &[u8], value: &[u8]) -> Result<()> {
        check_key(key)?;
        if value.len() > VALUE_SIZE_MAX {
            let detail = format!("value has {} bytes, limit is {VALUE_SIZE_MAX}", value.len());
            return Err(Error::InvalidArgument(detail));
        }
        if key <= self.last.as_slice() {
            let (key, last) = (shown(key), shown(&self.last));
            let detail = format!("key {key} does not follow {last}: keys must ascend");
            return Err(Error::InvalidArgument(detail));
        }
        Ok(())
    }

    pub(super) fn advance(&mut self, key: &[u8]) {
        self.last.clear();
        self.last.extend_from_slice(key);
    }
}

/// The beginning of a key in quotes.
fn shown(key: &[u8]) -> String {
    let cut = &key[..key.len().min(SHOWN_MAX)];
    let more = if cut.len() < key.len() { "…" } else { "" };
    format!("\"{}{more}\"", cut.escape_ascii())
}
