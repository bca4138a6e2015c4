//! How a store is opened: few settings, each with a default that fits most.

use std::path::Path;
use std::sync::Arc;

use super::Db;
use super::compaction::Strategy;
use super::events::{Events, Listener};
use crate::error::Result;
use crate::runtime::Runtime;
use crate::runtime::threads::ThreadRuntime;
use crate::table::Compression;
use crate::vfs::Vfs;
use crate::vfs::os::OsVfs;

/// Settings of an open store. None of them is on disk: each opening may choose anew.
///
/// ```
/// # fn main() -> beachdb::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let sand = dir.path().join("sand");
/// let db = beachdb::Options::new().memtable_size(8 << 20).open(&sand)?;
/// db.put(b"tide", b"low")?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    pub(super) create: bool,
    pub(super) memtable_size: u64,
    pub(super) memory_size: u64,
    pub(super) cache_size: Option<u64>,
    pub(super) open_files_max: usize,
    pub(super) compression: Compression,
    pub(super) strategy: Strategy,
    pub(super) table_size: u64,
    pub(super) manifest_size: u64,
    pub(super) log_size: u64,
    pub(super) events: Events,
    pub(super) vfs: Arc<dyn Vfs>,
    pub(super) runtime: Arc<dyn Runtime>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            create: true,
            memtable_size: 64 << 20,
            memory_size: 256 << 20,
            cache_size: None,
            open_files_max: 1000,
            compression: Compression::Lz4,
            strategy: Strategy::default(),
            table_size: 32 << 20,
            manifest_size: 1 << 20,
            log_size: 256 << 10,
            events: Events::default(),
            vfs: Arc::new(OsVfs),
            runtime: Arc::new(ThreadRuntime::default()),
        }
    }
}

impl Options {
    /// The defaults.
    #[must_use]
    pub fn new() -> Options {
        Options::default()
    }

    /// Whether opening an absent or empty directory creates a store there. Default: yes.
    #[must_use]
    pub fn create(mut self, create: bool) -> Options {
        self.create = create;
        self
    }

    /// Bytes of memtable that start a flush. Default 64 MiB.
    ///
    /// Larger: fewer, bigger L0 tables and a longer replay after a crash. Up to two memtables are
    /// held: the one being filled and the one being flushed.
    #[must_use]
    pub fn memtable_size(mut self, bytes: u64) -> Options {
        self.memtable_size = bytes.max(1);
        self
    }

    /// Bytes of memory for everything that grows: memtables, filters and indexes of open tables, and
    /// table blocks with what these leave. Default 256 MiB.
    ///
    /// The memtables come first: with less than about four times
    /// [`memtable_size`](Options::memtable_size), little is left for reads. What the memtables take
    /// is not made smaller by this.
    #[must_use]
    pub fn memory_size(mut self, bytes: u64) -> Options {
        self.memory_size = bytes;
        self
    }

    /// Most bytes of uncompressed table blocks kept in memory, within
    /// [`memory_size`](Options::memory_size). Default: what that leaves; 0 keeps none.
    #[must_use]
    pub fn cache_size(mut self, bytes: u64) -> Options {
        self.cache_size = Some(bytes);
        self
    }

    /// Most tables that are open at a time, each with a file, its filter and its index. Default
    /// 1000; at least 16.
    ///
    /// Beyond it those that were not read for longest are closed; they are opened again when they
    /// are read. A reader in the middle of a table keeps it open, and a read-only handle keeps all
    /// files open, since the writer may remove them.
    #[must_use]
    pub fn open_files_max(mut self, count: usize) -> Options {
        self.open_files_max = count.max(16);
        self
    }

    /// How the blocks of new tables are compressed. Default LZ4; a block that LZ4 does not make an
    /// eighth smaller is stored as it is. Tables are read whatever this says.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Options {
        self.compression = compression;
        self
    }

    /// How the tree is kept in shape. Default: [`Strategy::Hybrid`].
    #[must_use]
    pub fn strategy(mut self, strategy: Strategy) -> Options {
        self.strategy = strategy;
        self
    }

    /// Bytes at which a compaction begins its next table. Default 32 MiB.
    ///
    /// Larger: fewer files, and jobs that take longer.
    #[must_use]
    pub fn table_size(mut self, bytes: u64) -> Options {
        self.table_size = bytes.max(1);
        self
    }

    /// Bytes of manifest after which a new one is begun, once the half of them are past. Default
    /// 1 MiB.
    ///
    /// Smaller: opening reads less and rolls over more often.
    #[must_use]
    pub fn manifest_size(mut self, bytes: u64) -> Options {
        self.manifest_size = bytes;
        self
    }

    /// Bytes that a new log takes on disk at first. Default 256 KiB; at least 4 KiB.
    ///
    /// Larger: fewer growths, each of which syncs twice, and more disk for a small store.
    #[must_use]
    pub fn log_size(mut self, bytes: u64) -> Options {
        self.log_size = bytes.max(4096).next_multiple_of(4096);
        self
    }

    /// Who is told of flushes, compactions, stalls, rotations and recoveries. Default: nobody; events
    /// also go to `tracing`, target `beachdb`.
    #[must_use]
    pub fn listener(mut self, listener: Arc<dyn Listener>) -> Options {
        self.events.listener = Some(listener);
        self
    }

    /// The file system. Default: the operating system's.
    #[must_use]
    pub fn vfs(mut self, vfs: Arc<dyn Vfs>) -> Options {
        self.vfs = vfs;
        self
    }

    /// Clock, randomness, threads. Default: the operating system's.
    #[must_use]
    pub fn runtime(mut self, runtime: Arc<dyn Runtime>) -> Options {
        self.runtime = runtime;
        self
    }

    /// Opens the store in `dir` for reading and writing, and recovers it if its last writer did not
    /// close it.
    ///
    /// # Errors
    /// [`crate::Error::Locked`] while another handle has it open for writing,
    /// [`crate::Error::NoStore`] where there is none (and none may be created),
    /// [`crate::Error::Corruption`] when a file is damaged in a way no crash explains. Then nothing
    /// has been changed.
    pub fn open(self, dir: impl AsRef<Path>) -> Result<Db> {
        Db::open_with(dir.as_ref(), self)
    }

    /// Opens the store in `dir` for reading: takes no lock, writes nothing, works beside a writer,
    /// and sees the state as of now.
    ///
    /// # Errors
    /// As [`Options::open`], and [`crate::Error::Moved`] when a writer keeps removing files faster
    /// than they are opened.
    pub fn open_read_only(self, dir: impl AsRef<Path>) -> Result<Db> {
        Db::open_read_only_with(dir.as_ref(), self)
    }
}
