//! The LSM engine: one directory, one writing process, any number of readers.
//!
//! Data flow: a write goes through the commit queue (`write`) into the log (`wal`), then the
//! memtable, then becomes visible. A full memtable becomes a table (`flush`) and an edit
//! (`manifest`). A read loads one superversion and looks in it, newest first. Opening (`open`)
//! reads CURRENT, manifest and logs (`image`), judges what a crash left (`judge`), makes it durable
//! (`recover`), and goes on.

mod budget;
mod checkpoint;
pub mod compaction;
mod core;
mod counters;
mod cursor;
mod events;
mod files;
mod flush;
mod image;
mod ingest;
mod iter;
mod judge;
mod manifest;
pub mod memtable;
mod merge;
mod open;
mod options;
mod recover;
mod snapshot;
mod stats;
mod superversion;
mod tables;
mod throttle;
mod tournament;
mod trace;
mod value;
mod version;
mod wal;
mod write;

use std::ops::RangeBounds;
use std::path::Path;
use std::sync::Arc;

pub use checkpoint::Checkpoint;
pub use compaction::{Action, Cause, Strategy};
pub use cursor::Cursor;
pub use events::{Event, Listener};
pub use ingest::{IngestWriter, TableBuilder};
pub use iter::Iter;
pub use judge::DroppedTail;
pub use options::Options;
pub use snapshot::Snapshot;
pub use stats::{LevelStats, MemoryStats, ReadStats, StallStats, Stats, Times};
pub use trace::{Trace, TraceBlock, TraceOutcome, TracePlace, TraceStep};
pub use value::Value;
pub use write::Durability;

use crate::error::Result;
use crate::format::batch::WriteBatch;
use crate::format::table::TableMeta;
use crate::types::{Level, SeqNo};
use iter::Bounds;

/// An open store. Share it between threads in an [`Arc`]; every method takes `&self`.
///
/// Dropping it closes it without a sync: what was promised is kept, and buffered data stays
/// buffered. [`Db::close`] syncs and reports errors.
#[derive(Debug)]
pub struct Db {
    core: Arc<core::Core>,
}

/// What opening found.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Recovery {
    /// Whether the store was created by this opening.
    pub created: bool,
    /// Whether the last writer had closed it (or it was created).
    pub clean: bool,
    /// The last operation found.
    pub last_seqno: SeqNo,
    /// Logs that were read.
    pub logs: u64,
    /// Bytes of log that were replayed into the memtable.
    pub replayed_bytes: u64,
    /// Unsynced tails that a crash left unusable; nothing acknowledged as durable was in them.
    pub dropped: Vec<DroppedTail>,
}

impl Recovery {
    fn created() -> Recovery {
        Recovery { created: true, clean: true, logs: 1, ..Recovery::default() }
    }

    fn of(image: &image::Image, clean: bool) -> Recovery {
        Recovery {
            created: false,
            clean,
            last_seqno: image.last_seqno,
            logs: image.logs.len() as u64,
            replayed_bytes: image.replayed_bytes,
            dropped: image.dropped(),
        }
    }
}

impl Db {
    /// Opens the store in `dir` for reading and writing, creating it if the directory is absent or
    /// empty. [`Options`] has the settings.
    ///
    /// # Errors
    /// As [`Options::open`].
    pub fn open(dir: impl AsRef<Path>) -> Result<Db> {
        Options::new().open(dir)
    }

    /// Opens the store in `dir` for reading: no lock, nothing written, beside any writer. It shows the
    /// store as of now until [`Db::refresh`].
    ///
    /// # Errors
    /// As [`Options::open_read_only`].
    pub fn open_read_only(dir: impl AsRef<Path>) -> Result<Db> {
        Options::new().open_read_only(dir)
    }

    fn open_with(dir: &Path, options: Options) -> Result<Db> {
        open::open(dir, options).map(|core| Db { core })
    }

    fn open_read_only_with(dir: &Path, options: Options) -> Result<Db> {
        open::open_read_only(dir, options).map(|core| Db { core })
    }

    /// Moves a read-only handle to what the store holds now; snapshots and iterators stay where they
    /// are. A writing handle always shows the latest, and nothing happens.
    ///
    /// # Errors
    /// As [`Db::open_read_only`]; the handle then stays where it was.
    pub fn refresh(&self) -> Result<()> {
        self.core.refresh()
    }

    /// The value of `key`, or none. The value is pinned where it lies, not copied.
    ///
    /// # Errors
    /// [`crate::Error::Corruption`] or [`crate::Error::Io`] when a table that may hold the key
    /// cannot be read: absence is never guessed. [`crate::Error::InvalidArgument`] for a key that
    /// is empty or longer than 65,535 bytes.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        self.core.get(key.as_ref(), None)
    }

    /// What `read` makes of the value of `key`, or none. The value is shown where it lies and only
    /// as long as `read` runs: cheaper than [`Db::get`] for a value that is copied or looked at once.
    ///
    /// # Errors
    /// As [`Db::get`].
    pub fn get_with<R>(
        &self,
        key: impl AsRef<[u8]>,
        read: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>> {
        self.core.get_with(key.as_ref(), None, read)
    }

    /// As [`Db::get`], and what it did: every memtable and table that was looked into or passed over,
    /// and why. The trace is there when the read failed as well, up to where it did.
    ///
    /// # Errors
    /// As [`Db::get`].
    pub fn get_traced(&self, key: impl AsRef<[u8]>) -> (Trace, Result<Option<Value>>) {
        self.core.get_traced(key.as_ref())
    }

    /// The values of `keys` in their order, all as of one moment.
    ///
    /// # Errors
    /// As [`Db::get`].
    pub fn multi_get<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<Value>>> {
        self.snapshot().multi_get(keys)
    }

    /// Stores a pair; durable ([`Durability::Sync`]) when it returns.
    ///
    /// # Errors
    /// As [`Db::write`].
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<SeqNo> {
        let mut batch = WriteBatch::new();
        batch.put(key, value);
        self.write(batch, Durability::Sync)
    }

    /// Deletes a key, present or not; durable when it returns.
    ///
    /// # Errors
    /// As [`Db::write`].
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<SeqNo> {
        let mut batch = WriteBatch::new();
        batch.delete(key);
        self.write(batch, Durability::Sync)
    }

    /// Commits a batch, whole or not at all, and returns the sequence number of its last operation.
    ///
    /// # Errors
    /// [`crate::Error::InvalidArgument`] when a limit is broken, and whatever
    /// [`crate::Error::Io`] kept the log from growing (a full disk): nothing was written and later
    /// writes may succeed. After an error in the append or the sync itself the outcome is unknown:
    /// this and every later write fails, later ones with [`crate::Error::Poisoned`], until the
    /// store is opened again. A failed background flush is reported by the next write, which
    /// writes nothing.
    pub fn write(&self, batch: WriteBatch, durability: Durability) -> Result<SeqNo> {
        self.core.write(batch, durability)
    }

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// As [`Db::write`]; a failed sync poisons.
    pub fn sync(&self) -> Result<()> {
        self.core.sync()
    }

    /// Writes everything in memory into tables and returns when it is there.
    ///
    /// # Errors
    /// As [`Db::write`]. When it fails, everything is still in the logs.
    pub fn flush(&self) -> Result<()> {
        self.core.flush()
    }

    /// Merges everything in `range` into one sorted run, without the tombstones and older versions
    /// that no snapshot needs, and returns when it is done. What is in memory is flushed first; what is
    /// written meanwhile may stay where it is.
    ///
    /// Takes as long as reading and writing the range takes, and as much space again as the tables
    /// being merged. A crash leaves the tree as some of the merges have made it, never between two.
    ///
    /// # Errors
    /// As [`Db::flush`], and [`crate::Error::Corruption`] when a table of the range is damaged: it
    /// then stays as it is.
    pub fn compact<K: AsRef<[u8]>, R: RangeBounds<K>>(&self, range: R) -> Result<()> {
        let (from, to) = Bounds::range(range).outer();
        self.core.compact(from, to)
    }

    /// Waits until everything due in the background is done: memtables flushed, the tree in shape.
    ///
    /// # Errors
    /// As [`Db::compact`].
    pub fn wait_for_compactions(&self) -> Result<()> {
        self.core.wait_for_compactions()
    }

    /// Begins an ingest: ascending keys that go into tables without passing the log, and become part
    /// of the store all at once.
    ///
    /// # Errors
    /// [`crate::Error::ReadOnly`] and [`crate::Error::Poisoned`].
    pub fn ingest_writer(&self) -> Result<IngestWriter<'_>> {
        IngestWriter::new(&self.core)
    }

    /// Takes in tables that [`TableBuilder`] made, all or none, visible at once and durable, and
    /// returns their sequence number. They may come in any order. Of a key that was there before, what
    /// the table says counts.
    ///
    /// The files are read, checked and copied; they are not needed afterwards.
    ///
    /// # Errors
    /// [`crate::Error::InvalidArgument`] when two tables overlap; [`crate::Error::NotOurs`] and
    /// [`crate::Error::Corruption`] about the files, and as [`IngestWriter::commit`].
    pub fn ingest<P: AsRef<Path>>(&self, files: impl IntoIterator<Item = P>) -> Result<SeqNo> {
        let files: Vec<_> = files.into_iter().map(|path| path.as_ref().to_owned()).collect();
        self.core.ingest(&files)
    }

    /// Makes a checkpoint in `dir`, which must be absent or empty: a store of its own, with an
    /// identity of its own, that holds what this one holds now, everything acknowledged and not half
    /// a batch. Durable when it returns.
    ///
    /// Tables are shared by hard links where the file system can, and copied elsewhere; writers
    /// do not wait for that. Works on read-only handles too, and on poisoned ones.
    ///
    /// # Errors
    /// [`crate::Error::InvalidArgument`] when `dir` holds anything else; [`crate::Error::Io`]. What
    /// was made is then removed, and where that fails too, or after a crash, the checkpoint can be
    /// made again in the same place.
    pub fn checkpoint(&self, dir: impl AsRef<Path>) -> Result<Checkpoint> {
        self.core.checkpoint(dir.as_ref())
    }

    /// Makes a running compaction give up, which leaves the tree as it was before that job, and begins
    /// none any more in this handle. Reads, writes and flushes go on.
    ///
    /// For a program that is asked to end while another of its threads is in [`Db::compact`] or
    /// [`Db::wait_for_compactions`]: those calls return [`crate::Error::Poisoned`], and the store can
    /// be closed.
    pub fn stop_compactions(&self) {
        self.core.stop_compactions();
    }

    /// The store as of now, pinned.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(&self.core)
    }

    /// Every pair in key order, as of now.
    #[must_use]
    pub fn iter(&self) -> Iter {
        Iter::new(&self.core, None, Bounds::all())
    }

    /// The pairs with a key in `range`, as of now.
    #[must_use]
    pub fn range<K: AsRef<[u8]>, R: RangeBounds<K>>(&self, range: R) -> Iter {
        Iter::new(&self.core, None, Bounds::range(range))
    }

    /// The pairs whose key begins with `prefix`, as of now.
    #[must_use]
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Iter {
        Iter::new(&self.core, None, Bounds::prefix(prefix.as_ref()))
    }

    /// A cursor over every pair, as of now; it stands nowhere yet. The cheapest way to read many.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        Cursor::new(&self.core, None, Bounds::all())
    }

    /// A cursor over the pairs with a key in `range`, as of now.
    #[must_use]
    pub fn cursor_within<K: AsRef<[u8]>, R: RangeBounds<K>>(&self, range: R) -> Cursor {
        Cursor::new(&self.core, None, Bounds::range(range))
    }

    /// Figures: levels, memory, logs, syncs.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.core.stats()
    }

    /// About how many bytes of tables the keys in `range` take: whole blocks are counted, older versions
    /// and tombstones too, what is only in memory not.
    ///
    /// # Errors
    /// As [`Db::get`], when the index of a table at the range's edge cannot be read.
    pub fn approximate_size<K: AsRef<[u8]>, R: RangeBounds<K>>(&self, range: R) -> Result<u64> {
        let (from, to) = Bounds::range(range).outer();
        self.core.approximate_size(from.as_deref(), to.as_deref())
    }

    /// The tables of the tree: L0 newest first, then level by level in key order.
    #[must_use]
    pub fn tables(&self) -> Vec<(Level, TableMeta)> {
        let view = self.core.superversion.load();
        let levels = (0u8..).zip(&view.version.levels);
        levels
            .flat_map(|(level, tables)| {
                tables.iter().map(move |table| (Level(level), table.meta.clone()))
            })
            .collect()
    }

    /// What opening found.
    #[must_use]
    pub fn recovery(&self) -> &Recovery {
        &self.core.recovery
    }

    /// Closes the store: flushes if the next opening would have much to replay, syncs what was
    /// only buffered, and says in the log that it was closed.
    ///
    /// # Errors
    /// As [`Db::write`]. The store is then closed all the same, and the next opening recovers it.
    pub fn close(self) -> Result<()> {
        self.core.close()
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        self.core.close_quietly();
    }
}
