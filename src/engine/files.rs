//! The store's directory: names, numbers, and what is known to be on stable storage.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::options::Options;
use crate::error::{Error, Result};
use crate::format::edit::LogMeta;
use crate::format::header::{FileKind, HEADER_SIZE, Header};
use crate::format::{FORMAT_VERSION, names};
use crate::probe::{failpoint, mutant};
use crate::runtime::Runtime;
use crate::types::{FileId, FileNumber, StoreId};
use crate::vfs::{File, Fill, Vfs};

/// Why a step of a write failed, by what has to follow.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nothing that matters was written: the call fails, later ones may succeed.
    Refused(Error),
    /// The outcome on disk is unknown, for ever: writing stops.
    Poison(Error),
}

/// The directory of an open store.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) vfs: Arc<dyn Vfs>,
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) dir: PathBuf,
    pub(super) store: StoreId,
    /// Size of a new log: small, so that a small store is small; it grows as it fills.
    log_size: u64,
    next: AtomicU64,
    pub(super) promises: Promises,
}

/// What is known to be on stable storage, as (file, bytes). Every promise here is true when it is
/// made and stays true.
#[derive(Debug, Default)]
pub(super) struct Promises {
    /// The live log, once something in it was synced with everything before it.
    pub(super) log: Mutex<Option<(FileNumber, u64)>>,
    /// The manifest that CURRENT names.
    pub(super) manifest: Mutex<(FileNumber, u64)>,
    /// The manifest was synced and the live log does not say so yet.
    pub(super) mark_due: AtomicBool,
}

impl Files {
    pub(super) fn new(options: &Options, dir: &Path, store: StoreId, next: FileNumber) -> Files {
        Files {
            vfs: Arc::clone(&options.vfs),
            runtime: Arc::clone(&options.runtime),
            dir: dir.to_owned(),
            store,
            log_size: options.log_size,
            next: AtomicU64::new(next.0),
            promises: Promises::default(),
        }
    }

    /// A number no file has or had.
    pub(super) fn new_number(&self) -> FileNumber {
        FileNumber(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Lets the numbers go on from here at least: for a reader that has seen more files.
    pub(super) fn raise_next(&self, next: FileNumber) {
        self.next.fetch_max(next.0, Ordering::Relaxed);
    }

    /// The number the next file will get.
    pub(super) fn next_number(&self) -> FileNumber {
        FileNumber(self.next.load(Ordering::Relaxed))
    }

    pub(super) fn new_id(&self) -> FileId {
        FileId(self.runtime.random_u64())
    }

    pub(super) fn path(&self, name: impl AsRef<str>) -> PathBuf {
        self.dir.join(name.as_ref())
    }

    pub(super) fn log_path(&self, number: FileNumber) -> PathBuf {
        self.path(names::log(number))
    }

    pub(super) fn table_path(&self, number: FileNumber) -> PathBuf {
        self.path(names::table(number))
    }

    pub(super) fn sync_dir(&self) -> Result<()> {
        self.vfs.sync_dir(&self.dir)
    }

    fn header(&self, kind: FileKind, number: FileNumber, id: FileId) -> Header {
        let created_ms = self.runtime.now_ms();
        Header { kind, version: FORMAT_VERSION, id, store: self.store, number, created_ms }
    }

    /// Creates an empty log with room for records of `room` bytes, durable with its name; the
    /// manifest does not know it yet.
    pub(super) fn create_log(&self, fill: Fill, room: u64) -> Result<(LogMeta, Arc<dyn File>)> {
        let needed = (FIRST_FRAME + room + super::wal::TAIL_ROOM).next_multiple_of(4096);
        let size = self.log_size.max(needed);
        let meta = LogMeta { number: self.new_number(), id: self.new_id(), size };
        let path = self.log_path(meta.number);
        let file = self.vfs.create(&path)?;
        let made = (|| {
            failpoint("log_begin_after_create");
            file.allocate(meta.size, fill)?;
            failpoint("log_begin_after_allocate");
            file.write_at(&self.header(FileKind::Wal, meta.number, meta.id).encode(), 0)?;
            failpoint("log_begin_after_header");
            file.sync()?;
            failpoint("log_begin_after_sync");
            self.sync_dir()?;
            failpoint("log_begin_after_dir_sync");
            Ok(())
        })();
        match made {
            Ok(()) => Ok((meta, file)),
            Err(error) => {
                // Nothing names it. If it cannot be removed either, the next opening will.
                let _ = self.vfs.remove(&path);
                Err(error)
            }
        }
    }

    /// Creates a manifest with only its header, not yet synced.
    pub(super) fn create_manifest(&self) -> Result<(FileNumber, FileId, Arc<dyn File>)> {
        let (number, id) = (self.new_number(), self.new_id());
        let path = self.path(names::manifest(number));
        let file = self.vfs.create(&path)?;
        let header = self.header(FileKind::Manifest, number, id).encode();
        match file.write_at(&header, 0) {
            Ok(()) => Ok((number, id, file)),
            Err(error) => {
                // As with a log.
                let _ = self.vfs.remove(&path);
                Err(error)
            }
        }
    }

    /// Makes CURRENT name a manifest that is durable, and the change durable too.
    ///
    /// # Errors
    /// [`Failure::Refused`] as long as CURRENT is untouched; from the rename on its outcome is
    /// unknown until the directory is synced.
    pub(super) fn set_current(&self, number: FileNumber) -> Result<(), Failure> {
        let temp = self.path(names::CURRENT_TEMP);
        self.write_current_temp(number).map_err(Failure::Refused)?;
        failpoint("current_before_rename");
        let renamed = self.vfs.rename(&temp, &self.path(names::CURRENT));
        failpoint("current_after_rename");
        // Rule 8: the rename is durable before anything relies on it.
        let sync = || if mutant("rename_not_synced") { Ok(()) } else { self.sync_dir() };
        renamed.and_then(|()| sync()).map_err(Failure::Poison)?;
        failpoint("current_after_dir_sync");
        Ok(())
    }

    fn write_current_temp(&self, number: FileNumber) -> Result<()> {
        let temp = self.path(names::CURRENT_TEMP);
        if self.vfs.exists(&temp)? {
            self.vfs.remove(&temp)?;
        }
        let file = self.vfs.create(&temp)?;
        failpoint("current_after_create");
        file.write_at(names::encode_current(number).as_bytes(), 0)?;
        failpoint("current_after_write");
        // Rule 8: CURRENT has its content before it has its name.
        if mutant("current_not_synced") { Ok(()) } else { file.sync() }
    }
}

/// The offset of the first frame in a log or manifest.
pub(super) const FIRST_FRAME: u64 = HEADER_SIZE as u64;
