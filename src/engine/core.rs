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
use super::compaction::job::Compactions;
use super::counters::Counters;
use super::events::Event;
use super::files::{Failure, Files};
use super::iter::known_kind;
use super::manifest::{Manifest, our_bug};
use super::memtable::{MemValue, MemtableWriter};
use super::options::Options;
use super::snapshot::SnapshotList;
use super::superversion::{Immutable, SuperVersion};
use super::tables::{TableFile, TableSpace};
use super::throttle::Throttle;
use super::trace::{Trace, Tracer};
use super::value::Value;
use super::version::Version;
use super::wal::Wal;
use super::write::CommitQueue;
use crate::error::{Error, Result};
use crate::format::edit::{self, Edit};
use crate::format::filter;
use crate::format::key::{KEY_SIZE_MAX, Trailer};
use crate::probe::failpoint;
use crate::runtime::Worker;
use crate::table::{BlockEntry, Unwatched, Watch};
use crate::types::{FileNumber, SeqNo, ValueKind};
use crate::vfs::Lock;

pub(super) struct Core {
    // Constant after open.
    pub(super) options: Options,
    pub(super) files: Arc<Files>,
    pub(super) tables: Arc<TableSpace>,
    pub(super) counters: Arc<Counters>,
    pub(super) recovery: Recovery,
    /// The store's totals when it was read; a writing handle's manifest has newer ones.
    pub(super) lifetime: Mutex<edit::Counters>,
    /// What only a writing handle has.
    pub(super) writer: Option<WriteSide>,

    // Replaced as a whole, under `tree`.
    pub(super) superversion: ArcSwap<SuperVersion>,
    /// Guards replacing the superversion; waited on with `tree_changed`.
    pub(super) tree: Mutex<()>,
    pub(super) tree_changed: Condvar,

    /// Held by whoever moves a read-only handle on.
    pub(super) refreshing: Mutex<()>,

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
    pub(super) flusher: OnceLock<Arc<dyn Worker>>,
    pub(super) compactor: OnceLock<Arc<dyn Worker>>,
    pub(super) compactions: Compactions,
    pub(super) throttle: Throttle,
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

/// Stops writing when it is dropped, which is when a step panics: no worker comes after that, and
/// whoever waits for one would wait for ever.
pub(super) struct Alarm<'a>(pub(super) &'a Core, pub(super) &'a WriteSide);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        self.1.poison.set(&Error::Poisoned("the background worker panicked".to_owned()));
        self.0.notify_waiting();
    }
}

impl Core {
    pub(super) fn visible_seqno(&self) -> SeqNo {
        SeqNo(self.visible.load(Ordering::Acquire))
    }

    /// The last operation that a read of this view sees. The view is loaded first: it then holds
    /// everything up to the number, or ends at the rotation that came between, which is a moment of
    /// the store's history as well.
    pub(super) fn seqno_of(&self, view: &SuperVersion) -> SeqNo {
        view.upto.unwrap_or_else(|| self.visible_seqno())
    }

    /// What an iterator reads: a view, and the snapshot's sequence number or the latest.
    pub(super) fn read_moment(&self, snapshot: Option<SeqNo>) -> (Arc<SuperVersion>, SeqNo) {
        let view = self.superversion.load_full();
        let seqno = snapshot.unwrap_or_else(|| self.seqno_of(&view));
        (view, seqno)
    }

    pub(super) fn write_side(&self) -> Result<&WriteSide> {
        self.writer.as_ref().ok_or(Error::ReadOnly)
    }

    /// The newest version of `key` at the snapshot, or at the latest moment, pinned.
    pub(super) fn get(&self, key: &[u8], snapshot: Option<SeqNo>) -> Result<Option<Value>> {
        let view = self.superversion.load();
        find_value(&view, key, snapshot.unwrap_or_else(|| self.seqno_of(&view)), |found| {
            found.pinned()
        })
    }

    /// As [`Core::get`], but shows the value where it lies.
    pub(super) fn get_with<R>(
        &self,
        key: &[u8],
        snapshot: Option<SeqNo>,
        read: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>> {
        let view = self.superversion.load();
        let seqno = snapshot.unwrap_or_else(|| self.seqno_of(&view));
        find_value(&view, key, seqno, |found| read(found.bytes()))
    }

    /// As [`Core::get`] at the latest moment, writing down what it looks at.
    pub(super) fn get_traced(&self, key: &[u8]) -> (Trace, Result<Option<Value>>) {
        let (view, seqno) = self.read_moment(None);
        let mut tracer = Tracer::new(&*self.options.runtime);
        let value = find_value_watched(&view, key, seqno, &mut tracer, |found| found.pinned());
        (tracer.finish(&view, seqno), value)
    }

    /// Replaces the superversion by what `change` makes of it.
    pub(super) fn replace_view(&self, change: impl FnOnce(&SuperVersion) -> SuperVersion) {
        let _tree = self.tree.lock();
        let next = change(&self.superversion.load());
        self.tables.budget.share_with_memtables(&next);
        self.superversion.store(Arc::new(next));
        self.tree_changed.notify_all();
    }

    /// Waits until `done`, which a worker's step brings about; lets an inline worker work meanwhile.
    pub(super) fn wait_for(&self, worker: &OnceLock<Arc<dyn Worker>>, done: impl Fn() -> bool) {
        while !done() {
            let Some(worker) = worker.get() else { return };
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

impl Core {
    pub(super) fn tell(&self, event: &Event) {
        self.options.events.tell(event);
    }

    /// Lets those who wait for a worker look again.
    pub(super) fn notify_waiting(&self) {
        let _tree = self.tree.lock();
        self.tree_changed.notify_all();
    }

    /// Appends an edit and makes what it says the tree: the manifest is held until the new version is
    /// published, so that the versions of two workers follow each other as their edits do.
    pub(super) fn install(
        &self,
        side: &WriteSide,
        edit: Edit,
        count: impl FnOnce(&mut edit::Counters),
        without: Option<&Arc<Immutable>>,
    ) -> Result<(), Failure> {
        let mut manifest = side.manifest.lock();
        let mut counters = manifest.state().counters;
        count(&mut counters);
        let is_flush = edit.reason == edit::Reason::Flush;
        manifest.append(Edit { counters: Some(counters), ..edit })?;
        if is_flush {
            failpoint("flush_after_manifest");
        } else {
            failpoint("compaction_after_manifest");
        }
        let previous = Arc::clone(&self.superversion.load().version);
        let version = Version::from_state(manifest.state(), &previous, &self.tables);
        let version = version.map_err(Failure::Poison)?;
        version.check().map_err(|reason| Failure::Poison(our_bug(&self.files, &reason)))?;
        let version = Arc::new(version);
        self.replace_view(|view| SuperVersion {
            memtable: Arc::clone(&view.memtable),
            immutables: (view.immutables.iter())
                .filter(|other| !without.is_some_and(|flushed| Arc::ptr_eq(other, flushed)))
                .cloned()
                .collect(),
            version,
            upto: None,
        });
        drop(manifest);
        if is_flush {
            failpoint("flush_after_publish");
        } else {
            failpoint("compaction_after_publish");
        }
        side.compactions.unsettle();
        self.update_pressure();
        side.wake_compactor();
        Ok(())
    }

    /// Tells the log of the edit, unless a writer is at it: that one leaves the mark itself. So does the
    /// next one where the room for marks is used up: a disk that is full must not fail what is tidying.
    pub(super) fn leave_mark(&self, side: &WriteSide) -> Result<(), Failure> {
        match side.writing.try_lock() {
            Some(mut writing) if !side.poison.is_set() && writing.wal.has_room_to_mark() => {
                writing.wal.mark().map_err(Failure::Poison)
            }
            _ => Ok(()),
        }
    }
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("dir", &self.files.dir).finish_non_exhaustive()
    }
}

/// A version of a key where it lies.
pub(super) enum Found<'a> {
    Memtable(MemValue),
    Block(BlockEntry<'a>),
}

impl Found<'_> {
    /// The value, to look at.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Found::Memtable(value) => value,
            Found::Block(entry) => entry.value(),
        }
    }

    /// The value, to be kept.
    pub(super) fn pinned(self) -> Value {
        match self {
            Found::Memtable(value) => Value::memtable(value),
            Found::Block(entry) => Value::block(entry.to_value()),
        }
    }
}

/// Told what a read looks at; see [`Watch`].
pub(super) trait Follow: Watch {
    /// A memtable was looked into, and this was found.
    #[inline(always)]
    fn memtable(&mut self, _found: Option<&(Trailer, MemValue)>) {}

    /// A table comes next; it is passed over if all in it is too new.
    #[inline(always)]
    fn table(&mut self, _file: &TableFile, _is_too_new: bool) {}
}

impl Follow for Unwatched {}

/// The newest version of `key` in a view as of a sequence number, if it is a value.
#[inline]
pub(super) fn find_value<R>(
    view: &SuperVersion,
    key: &[u8],
    seqno: SeqNo,
    read: impl FnOnce(Found<'_>) -> R,
) -> Result<Option<R>> {
    find_value_watched(view, key, seqno, &mut Unwatched, read)
}

/// As [`find_value`], telling `watch` what it looks at.
#[inline]
fn find_value_watched<R>(
    view: &SuperVersion,
    key: &[u8],
    seqno: SeqNo,
    watch: &mut impl Follow,
    read: impl FnOnce(Found<'_>) -> R,
) -> Result<Option<R>> {
    check_key(key)?;
    let mut read = Some(read);
    let mut judge = |trailer, found: Found<'_>| match known_kind(trailer)? {
        ValueKind::Put => Ok(read.take().map(|read| read(found))),
        ValueKind::Delete => Ok(None),
    };
    find(view, key, seqno, watch, &mut judge).unwrap_or(Ok(None))
}

/// Looks in the memtables, newest first, then in the tables: the first version found is the newest.
/// What `judge` makes of it, or an error; none if there is none.
fn find<R>(
    view: &SuperVersion,
    key: &[u8],
    seqno: SeqNo,
    watch: &mut impl Follow,
    judge: &mut impl FnMut(Trailer, Found<'_>) -> Result<R>,
) -> Option<Result<R>> {
    for memtable in view.memtables() {
        let found = memtable.get(key, seqno);
        watch.memtable(found.as_ref());
        if let Some((trailer, value)) = found {
            return Some(judge(trailer, Found::Memtable(value)));
        }
    }
    find_in_tables(&view.version, key, seqno, watch, judge).transpose()
}

fn find_in_tables<R>(
    version: &Version,
    key: &[u8],
    seqno: SeqNo,
    watch: &mut impl Follow,
    judge: &mut impl FnMut(Trailer, Found<'_>) -> Result<R>,
) -> Result<Option<R>> {
    let mut hash = None;
    for file in version.candidates(key) {
        let is_too_new = file.meta.min_seqno > seqno;
        watch.table(file, is_too_new);
        if is_too_new {
            continue;
        }
        let hash = *hash.get_or_insert_with(|| filter::hash(key));
        let judge = |trailer, entry: BlockEntry<'_>| judge(trailer, Found::Block(entry));
        let guard = file.for_one_read()?;
        let Some(table) = guard.as_ref() else { continue };
        if let Some(judged) = table.get_watched(key, seqno, hash, watch, judge)? {
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
