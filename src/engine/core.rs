//! The shared heart of an open store.
//!
//! Lock order, for whoever takes more than one: `queue` (inside [`super::write`]), `writing`,
//! `manifest`, `tree`; the snapshot list and the small promises are taken last and alone. Readers
//! take none of these: they load `superversion`, then `visible`.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::{Condvar, Mutex};

use super::Recovery;
use super::counters::Counters;
use super::files::Files;
use super::iter::known_kind;
use super::manifest::Manifest;
use super::memtable::{MemValue, MemtableWriter};
use super::options::Options;
use super::snapshot::SnapshotList;
use super::superversion::SuperVersion;
use super::value::Value;
use super::version::{TableSpace, Version};
use super::wal::Wal;
use super::write::CommitQueue;
use crate::error::{Error, Result};
use crate::format::key::{KEY_SIZE_MAX, Trailer};
use crate::format::{edit, filter};
use crate::runtime::Worker;
use crate::table::BlockEntry;
use crate::types::{FileNumber, SeqNo, ValueKind};
use crate::vfs::Lock;

pub(super) struct Core {
    // Constant after open.
    pub(super) options: Options,
    pub(super) files: Arc<Files>,
    pub(super) tables: Arc<TableSpace>,
    pub(super) counters: Arc<Counters>,
    pub(super) recovery: Recovery,
    /// The store's totals when it was opened; a writing handle's manifest has newer ones.
    pub(super) lifetime: edit::Counters,
    /// What only a writing handle has.
    pub(super) writer: Option<WriteSide>,

    // Replaced as a whole, under `tree`.
    pub(super) superversion: ArcSwap<SuperVersion>,
    /// Guards replacing the superversion; waited on with `tree_changed`.
    pub(super) tree: Mutex<()>,
    pub(super) tree_changed: Condvar,

    /// The last operation that reads see: in the memtable and, if asked, durable, as is every
    /// operation before it.
    pub(super) visible: AtomicU64,
    pub(super) snapshots: SnapshotList,
}

/// The writing half of a store.
pub(super) struct WriteSide {
    pub(super) queue: CommitQueue,
    /// Guarded by itself: held by the one writer at a time.
    pub(super) writing: Mutex<Writing>,
    pub(super) manifest: Mutex<Manifest>,
    pub(super) poison: Poison,
    /// What the last background job failed with, until a write or `stats` reports it.
    pub(super) background_error: Mutex<Option<Error>>,
    pub(super) worker: OnceLock<Arc<dyn Worker>>,
    pub(super) next_job: AtomicU64,
    /// Held until the last handle and the last snapshot are gone.
    pub(super) _lock: Box<dyn Lock>,
}

/// What the one writer at a time works on.
pub(super) struct Writing {
    pub(super) wal: Wal,
    pub(super) memtable: MemtableWriter,
    /// The logs that feed the memtable, oldest first; the last is the live one.
    pub(super) memtable_logs: Vec<FileNumber>,
    /// The last sequence number given.
    pub(super) last_seqno: SeqNo,
}

/// Whether writing has stopped, and why.
#[derive(Debug, Default)]
pub(super) struct Poison {
    set: AtomicBool,
    reason: Mutex<Option<String>>,
}

impl Poison {
    pub(super) fn set(&self, error: &Error) {
        self.reason.lock().get_or_insert_with(|| error.to_string());
        self.set.store(true, Ordering::Release);
    }

    pub(super) fn is_set(&self) -> bool {
        self.set.load(Ordering::Acquire)
    }

    pub(super) fn check(&self) -> Result<()> {
        if !self.is_set() {
            return Ok(());
        }
        let reason = self.reason.lock().clone();
        Err(Error::Poisoned(reason.unwrap_or_default()))
    }
}

impl Core {
    pub(super) fn visible_seqno(&self) -> SeqNo {
        SeqNo(self.visible.load(Ordering::Acquire))
    }

    /// What an iterator reads: a view, and the snapshot's sequence number or the latest.
    pub(super) fn moment(&self, snapshot: Option<SeqNo>) -> (Arc<SuperVersion>, SeqNo) {
        let view = self.superversion.load_full();
        // The view is loaded first: it then holds everything up to the sequence number, or ends at
        // the rotation that came between, which is a moment of the store's history as well.
        let seqno = snapshot.unwrap_or_else(|| self.visible_seqno());
        (view, seqno)
    }

    pub(super) fn write_side(&self) -> Result<&WriteSide> {
        self.writer.as_ref().ok_or(Error::ReadOnly)
    }

    /// The newest version of `key` at the snapshot, or at the latest moment, pinned.
    pub(super) fn get(&self, key: &[u8], snapshot: Option<SeqNo>) -> Result<Option<Value>> {
        self.find(key, snapshot, |found| match found {
            Found::Memtable(value) => Value::memtable(value),
            Found::Block(entry) => Value::block(entry.to_value()),
        })
    }

    /// As [`Core::get`], but shows the value where it lies.
    pub(super) fn get_with<R>(
        &self,
        key: &[u8],
        snapshot: Option<SeqNo>,
        read: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>> {
        self.find(key, snapshot, |found| match found {
            Found::Memtable(value) => read(&value),
            Found::Block(entry) => read(entry.value()),
        })
    }

    #[inline]
    fn find<R>(
        &self,
        key: &[u8],
        snapshot: Option<SeqNo>,
        read: impl FnOnce(Found<'_>) -> R,
    ) -> Result<Option<R>> {
        check_key(key)?;
        // First the view, then the sequence number: see `Core::moment`.
        let view = self.superversion.load();
        let seqno = snapshot.unwrap_or_else(|| self.visible_seqno());
        let mut read = Some(read);
        let mut judge = |trailer, found: Found<'_>| match known_kind(trailer)? {
            ValueKind::Put => Ok(read.take().map(|read| read(found))),
            ValueKind::Delete => Ok(None),
        };
        find(&view, key, seqno, &mut judge).unwrap_or(Ok(None))
    }

    /// Replaces the superversion by what `change` makes of it.
    pub(super) fn replace_view(&self, change: impl FnOnce(&SuperVersion) -> SuperVersion) {
        let _tree = self.tree.lock();
        let next = change(&self.superversion.load());
        self.superversion.store(Arc::new(next));
        self.tree_changed.notify_all();
    }

    /// Waits until the tree changes or `done`; lets an inline worker work meanwhile.
    pub(super) fn wait_for_background(&self, done: impl Fn() -> bool) {
        let worker = self.writer.as_ref().and_then(|writer| writer.worker.get());
        while !done() {
            let Some(worker) = worker else { return };
            worker.wake();
            if worker.help() {
                continue;
            }
            let mut tree = self.tree.lock();
            if !done() {
                // The timeout is only against a worker that died: it must not hang its waiters.
                self.tree_changed.wait_for(&mut tree, std::time::Duration::from_millis(100));
            }
        }
    }
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("dir", &self.files.dir).finish_non_exhaustive()
    }
}

/// A version of a key where it lies.
enum Found<'a> {
    Memtable(MemValue),
    Block(BlockEntry<'a>),
}

/// Looks in the memtables, newest first, then in the tables: the first version found is the newest.
/// What `judge` makes of it, or an error; none if there is none.
fn find<R>(
    view: &SuperVersion,
    key: &[u8],
    seqno: SeqNo,
    judge: &mut impl FnMut(Trailer, Found<'_>) -> Result<R>,
) -> Option<Result<R>> {
    let immutables = view.immutables.iter().map(|immutable| &immutable.memtable);
    for memtable in std::iter::once(&view.memtable).chain(immutables) {
        if let Some((trailer, value)) = memtable.get(key, seqno) {
            return Some(judge(trailer, Found::Memtable(value)));
        }
    }
    find_in_tables(&view.version, key, seqno, judge).transpose()
}

fn find_in_tables<R>(
    version: &Version,
    key: &[u8],
    seqno: SeqNo,
    judge: &mut impl FnMut(Trailer, Found<'_>) -> Result<R>,
) -> Result<Option<R>> {
    let mut hash = None;
    for file in version.candidates(key) {
        if file.meta.min_seqno > seqno {
            continue;
        }
        let hash = *hash.get_or_insert_with(|| filter::hash(key));
        let judge = |trailer, entry: BlockEntry<'_>| judge(trailer, Found::Block(entry));
        if let Some(judged) = file.table()?.get_with(key, seqno, hash, judge)? {
            return judged.map(Some);
        }
    }
    Ok(None)
}

pub(super) fn check_key(key: &[u8]) -> Result<()> {
    if key.is_empty() {
        return Err(Error::InvalidArgument("the key is empty".to_owned()));
    }
    if key.len() > KEY_SIZE_MAX {
        let detail = format!("key has {} bytes, limit is {KEY_SIZE_MAX}", key.len());
        return Err(Error::InvalidArgument(detail));
    }
    Ok(())
}
