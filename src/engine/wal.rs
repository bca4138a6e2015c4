//! The write-ahead log as the engine keeps it: the live segment, and older ones that may still
//! hold bytes only the kernel has.
//!
//! Invariants:
//! - Every acknowledged record lies within the size that the durable manifest gives its log.
//! - `synced_upto` is a promise: everything before it in this log, and everything in all older
//!   logs, is on stable storage. It is 0 until the first sync.
//! - After a sync a mark is appended before anything is acknowledged. It is not synced itself: a
//!   kill keeps it, and after a power loss the records speak for themselves.
//! - A failed write or sync is never retried: the caller poisons the store.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;

use super::counters::Counters;
use super::files::{FIRST_FRAME, Failure, Files};
use super::manifest::Manifest;
use crate::error::Result;
use crate::format::edit::{Edit, LogMeta, Reason};
use crate::format::frame::{self, ClosePayload, EndPayload, Kind, MarkPayload};
use crate::probe::{failpoint, mutant};
use crate::record::Writer;
use crate::types::{FileNumber, SeqNo};
use crate::vfs::{File, Fill};

/// Room kept for the frames that follow the last record: marks, the end, the pair of closes.
pub(super) const TAIL_ROOM: u64 = 512;

/// Syncs are frequent where there is one for so many bytes of log.
const BYTES_PER_SYNC: u64 = 64 << 10;

/// A log that grows by more than this at once would make a writer wait for the zeros.
const ZEROS_STEP_MAX: u64 = 1 << 20;

#[derive(Debug)]
pub(super) struct Wal {
    files: Arc<Files>,
    counters: Arc<Counters>,
    meta: LogMeta,
    file: Arc<dyn File>,
    writer: Writer,
    synced_upto: u64,
    /// Syncs in this segment: tells whether zero-filling pays.
    syncs: u64,
    /// Older logs whose bytes may not be on stable storage, oldest first.
    unsynced: Vec<(FileNumber, Arc<dyn File>)>,
    /// Whether frames were written since the log was opened.
    touched: bool,
    /// Whether something acknowledged may not be on stable storage.
    dirty: bool,
}

/// Where a log that was read stands.
#[derive(Debug)]
pub(super) struct Resumed {
    /// Where the next frame goes.
    pub(super) end: u64,
    /// What its frames promise.
    pub(super) synced_upto: u64,
    /// Whether it or an older log holds records beyond its promises.
    pub(super) dirty: bool,
    /// Older logs whose bytes may not be on stable storage, oldest first.
    pub(super) unsynced: Vec<(FileNumber, Arc<dyn File>)>,
}

impl Wal {
    /// A log that was just created.
    pub(super) fn fresh(
        files: &Arc<Files>,
        counters: &Arc<Counters>,
        (meta, file): (LogMeta, Arc<dyn File>),
    ) -> Wal {
        let at = Resumed { end: FIRST_FRAME, synced_upto: 0, dirty: false, unsynced: Vec::new() };
        Wal::resume(files, counters, (meta, file), at)
    }

    /// Goes on in a log that was read.
    pub(super) fn resume(
        files: &Arc<Files>,
        counters: &Arc<Counters>,
        (meta, file): (LogMeta, Arc<dyn File>),
        at: Resumed,
    ) -> Wal {
        if at.synced_upto > 0 {
            *files.promises.log.lock() = Some((meta.number, at.synced_upto));
        }
        Wal {
            files: Arc::clone(files),
            counters: Arc::clone(counters),
            writer: Writer::new(Arc::clone(&file), meta.id, at.end),
            meta,
            file,
            synced_upto: at.synced_upto,
            // A log that was synced before is taken for one that is synced often: most likely it
            // belongs to a loop of short processes.
            syncs: if at.synced_upto > 0 { at.end / BYTES_PER_SYNC + 1 } else { 0 },
            unsynced: at.unsynced,
            touched: false,
            dirty: at.dirty,
        }
    }

    pub(super) fn number(&self) -> FileNumber {
        self.meta.number
    }

    pub(super) fn touched(&self) -> bool {
        self.touched
    }

    /// Whether something acknowledged may not be on stable storage.
    pub(super) fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Makes sure that records of `size` bytes in all have room that the manifest knows of.
    pub(super) fn reserve(&mut self, size: u64, manifest: &Mutex<Manifest>) -> Result<(), Failure> {
        let needed = self.writer.end() + size + TAIL_ROOM;
        if needed <= self.meta.size {
            return Ok(());
        }
        let fill = self.fill();
        let step = match fill {
            Fill::Zeros => self.meta.size.min(ZEROS_STEP_MAX),
            Fill::Reserve => 3 * self.meta.size,
        };
        let wanted = needed.max(self.meta.size + step).next_multiple_of(4096);
        let grown = match self.file.allocate(wanted, fill) {
            Ok(()) => wanted,
            // The disk is nearly full: what this write needs may still fit.
            Err(error) if error.io_kind() == Some(ErrorKind::StorageFull) => {
                let least = needed.next_multiple_of(4096);
                self.file.allocate(least, fill).map_err(Failure::Refused)?;
                least
            }
            Err(error) => return Err(Failure::Refused(error)),
        };
        failpoint("wal_grow_after_allocate");
        // The size must be durable before the manifest relies on it.
        // Rule 3: and the manifest does rely on it.
        let synced = if mutant("growth_not_synced") { Ok(()) } else { self.file.sync() };
        if let Err(error) = synced {
            self.unclose();
            return Err(Failure::Poison(error));
        }
        failpoint("wal_grow_after_sync");
        let edit = Edit {
            reason: Reason::Grow,
            logs_grown: vec![(self.meta.number, grown)],
            ..Edit::default()
        };
        // Rule 3: the manifest knows of each growth before an acknowledgement lies in it.
        if !mutant("growth_not_recorded") {
            manifest.lock().append(edit)?;
        }
        failpoint("wal_grow_after_manifest");
        self.meta.size = grown;
        Ok(())
    }

    /// Overwriting zeros makes each sync about twice as fast, but the zeros are bytes written too:
    /// worth it where syncs are frequent, wasted on a bulk load.
    fn fill(&self) -> Fill {
        let frequent = self.syncs * BYTES_PER_SYNC >= self.writer.end();
        if frequent { Fill::Zeros } else { Fill::Reserve }
    }

    /// Adds a batch's record to what [`Wal::write`] will write.
    pub(super) fn push_batch(&mut self, first: SeqNo, batch: &[u8]) {
        self.dirty = true;
        self.writer.push(Kind::Batch, self.synced_upto, &[&first.0.to_le_bytes(), batch]);
    }

    /// Bytes that a batch of `size` encoded bytes takes in the log.
    pub(super) fn record_size(size: u64) -> u64 {
        frame::frame_size(8 + size as usize) as u64
    }

    /// Hands everything pushed to the kernel with one write, and a mark with it if one is due.
    pub(super) fn write(&mut self) -> Result<()> {
        // Looked at first because a swap costs each write more than a look.
        let due = &self.files.promises.mark_due;
        if due.load(Ordering::Relaxed) && due.swap(false, Ordering::AcqRel) {
            self.push_mark();
        }
        self.write_pushed()
    }

    fn write_pushed(&mut self) -> Result<()> {
        self.touched = true;
        self.counters.wal_bytes.add(self.writer.pending_size() as u64);
        self.writer.write()
    }

    /// Bytes that were pushed and not written.
    pub(super) fn pending_size(&self) -> usize {
        self.writer.pending_size()
    }

    /// Makes everything written durable, older logs first, and leaves a mark that says so.
    pub(super) fn sync(&mut self) -> Result<()> {
        // Rule 2: a promise is true when it is made.
        if mutant("mark_before_sync") {
            self.promise();
            self.mark()?;
        }
        let mut synced = self.sync_written();
        // Rule 6: a failed sync is not tried again as if the data were still there.
        if synced.is_err() && mutant("failed_sync_tried_again") {
            synced = self.sync_written();
        }
        if let Err(error) = synced {
            self.unclose();
            return Err(error);
        }
        failpoint("wal_after_sync");
        self.promise();
        // Rule 2: the mark promises the last record too.
        if mutant("no_mark_after_sync") {
            return Ok(());
        }
        self.mark()?;
        failpoint("wal_after_mark");
        Ok(())
    }

    /// A sync failed. Where the log still ends with the closes of the handle before, a mark behind
    /// them, which promises nothing new, keeps it from being taken for closed: the next opening must
    /// not rely on what the kernel may have dropped. Whether it gets there matters no more than that.
    fn unclose(&mut self) {
        if !self.touched {
            let _ = self.mark();
        }
    }

    /// Makes everything written durable, older logs first, and says so nowhere.
    pub(super) fn sync_written(&mut self) -> Result<()> {
        let started = self.files.runtime.monotonic_us();
        // Rule 4: a durable record in a new log waits until the old one is synced.
        if mutant("older_logs_not_synced") {
            self.unsynced.clear();
        }
        for (_, file) in &self.unsynced {
            file.sync()?;
            failpoint("wal_after_sync_of_older");
        }
        self.unsynced.clear();
        // Rule 11: durable means synced.
        if !mutant("wal_not_synced") {
            self.file.sync()?;
        }
        self.counters.sync(self.files.runtime.monotonic_us().saturating_sub(started));
        self.syncs += 1;
        Ok(())
    }

    /// Takes note that everything written so far, here and in the older logs, is durable.
    pub(super) fn promise(&mut self) {
        self.dirty = false;
        self.synced_upto = self.writer.end();
        *self.files.promises.log.lock() = Some((self.meta.number, self.synced_upto));
    }

    /// Appends a mark: what is durable of this log and of the manifest.
    pub(super) fn mark(&mut self) -> Result<()> {
        self.files.promises.mark_due.store(false, Ordering::Release);
        self.push_mark();
        self.write_pushed()
    }

    /// Whether a mark takes none of the room that the end or the closes need.
    pub(super) fn has_room_to_mark(&self) -> bool {
        self.writer.end() + TAIL_ROOM / 2 <= self.meta.size
    }

    fn push_mark(&mut self) {
        let (manifest, manifest_synced) = *self.files.promises.manifest.lock();
        let mark = MarkPayload { manifest, manifest_synced };
        self.writer.push(Kind::Mark, self.synced_upto, &[&mark.encode()]);
    }

    /// Ends this log and goes on in a new one.
    pub(super) fn rotate(&mut self, manifest: &Mutex<Manifest>) -> Result<(), Failure> {
        manifest.lock().mend()?;
        let (meta, file) = self.files.create_log(self.fill(), 0).map_err(Failure::Refused)?;
        failpoint("rotate_after_create");
        let edit = Edit { reason: Reason::Rotate, logs_added: vec![meta], ..Edit::default() };
        // If this fails the new file stays: the edit may be durable all the same.
        manifest.lock().append(edit)?;
        failpoint("rotate_after_manifest");
        self.end().map_err(Failure::Poison)?;
        failpoint("rotate_after_end");
        self.unsynced.push((self.meta.number, Arc::clone(&self.file)));
        self.writer = Writer::new(Arc::clone(&file), meta.id, FIRST_FRAME);
        (self.meta, self.file) = (meta, file);
        (self.synced_upto, self.syncs) = (0, 0);
        *self.files.promises.log.lock() = None;
        self.mark().map_err(Failure::Poison)?;
        failpoint("rotate_after_mark");
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        let end = EndPayload { log_end: self.writer.end() };
        self.writer.push(Kind::End, self.synced_upto, &[&end.encode()]);
        // Nothing may follow it, so a mark that is due goes into the next log.
        self.write_pushed()
    }

    /// Forgets the logs before `number`, and with them their files: what they held is in durable
    /// tables.
    pub(super) fn forget_before(&mut self, number: FileNumber) {
        self.unsynced.retain(|(log, _)| *log >= number);
    }

    /// Says, twice, that the log was closed here, and how long the manifest is.
    pub(super) fn close(&mut self) -> Result<()> {
        let (manifest, manifest_synced) = *self.files.promises.manifest.lock();
        let close = ClosePayload { log_end: self.writer.end(), manifest, manifest_synced };
        self.files.promises.mark_due.store(false, Ordering::Release);
        self.writer.push(Kind::Close, self.synced_upto, &[&close.encode()]);
        // Rule 2: either copy exposes damage to the other.
        if !mutant("closed_once") {
            self.writer.push(Kind::Close, self.synced_upto, &[&close.encode()]);
        }
        failpoint("close_before_frames");
        self.write_pushed()?;
        failpoint("close_after_frames");
        Ok(())
    }
}
