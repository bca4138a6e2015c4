//! Snapshots: pinned sequence numbers.

use std::collections::BTreeMap;
use std::ops::RangeBounds;
use std::sync::Arc;

use parking_lot::Mutex;

use super::core::{Core, find_value};
use super::cursor::Cursor;
use super::iter::{Bounds, Iter};
use super::superversion::SuperVersion;
use super::value::Value;
use crate::error::Result;
use crate::probe::mutant;
use crate::types::SeqNo;

/// The pinned sequence numbers, with how often each is pinned.
#[derive(Debug, Default)]
pub(super) struct SnapshotList {
    pinned: Mutex<BTreeMap<SeqNo, usize>>,
}

impl SnapshotList {
    /// Pins the visible sequence number. It is read with the list locked, so that whoever reads the
    /// list afterwards sees either the pin or a visible number at or below it.
    fn pin(&self, visible: impl FnOnce() -> SeqNo) -> SeqNo {
        let mut pinned = self.pinned.lock();
        let seqno = visible();
        // Rule 13: a snapshot is known to whoever drops versions.
        if !mutant("snapshot_not_registered") {
            *pinned.entry(seqno).or_default() += 1;
        }
        seqno
    }

    fn unpin(&self, seqno: SeqNo) {
        let mut pinned = self.pinned.lock();
        if let Some(count) = pinned.get_mut(&seqno) {
            *count -= 1;
            if *count == 0 {
                pinned.remove(&seqno);
            }
        }
    }

    /// The pinned sequence numbers, ascending.
    pub(super) fn seqnos(&self) -> Vec<SeqNo> {
        self.pinned.lock().keys().copied().collect()
    }

    /// How many snapshots are held, and the oldest.
    pub(super) fn summary(&self) -> (usize, Option<SeqNo>) {
        let pinned = self.pinned.lock();
        (pinned.values().sum(), pinned.keys().next().copied())
    }
}

/// The store as it was at one moment: stable through every later write and flush.
///
/// It sees whole batches only. Holding one keeps the versions it can see from being dropped.
#[derive(Debug)]
pub struct Snapshot {
    core: Arc<Core>,
    seqno: SeqNo,
    /// In a read-only handle, what it looks at: the writer's compactions know nothing of this pin.
    view: Option<Arc<SuperVersion>>,
}

impl Snapshot {
    pub(super) fn new(core: &Arc<Core>) -> Snapshot {
        let view = core.writer.is_none().then(|| core.superversion.load_full());
        let upto = view.as_ref().and_then(|view| view.upto);
        let seqno = core.snapshots.pin(|| upto.unwrap_or_else(|| core.visible_seqno()));
        Snapshot { core: Arc::clone(core), seqno, view }
    }

    /// The last operation it sees.
    #[must_use]
    pub fn seqno(&self) -> SeqNo {
        self.seqno
    }

    /// The value of `key` at this snapshot, or none.
    ///
    /// # Errors
    /// As [`super::Db::get`].
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        match &self.view {
            Some(view) => find_value(view, key.as_ref(), self.seqno, |found| found.pinned()),
            None => self.core.get(key.as_ref(), Some(self.seqno)),
        }
    }

    /// What `read` makes of the value of `key` at this snapshot, or none.
    ///
    /// # Errors
    /// As [`super::Db::get_with`].
    pub fn get_with<R>(
        &self,
        key: impl AsRef<[u8]>,
        read: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>> {
        match &self.view {
            Some(view) => find_value(view, key.as_ref(), self.seqno, |found| read(found.bytes())),
            None => self.core.get_with(key.as_ref(), Some(self.seqno), read),
        }
    }

    /// The values of `keys` at this snapshot, in their order.
    ///
    /// # Errors
    /// As [`super::Db::get`].
    pub fn multi_get<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<Value>>> {
        keys.into_iter().map(|key| self.get(key)).collect()
    }

    /// Every pair, in key order.
    #[must_use]
    pub fn iter(&self) -> Iter {
        self.iter_within(Bounds::all())
    }

    /// The pairs with a key in `range`.
    #[must_use]
    pub fn range<K: AsRef<[u8]>, R: RangeBounds<K>>(&self, range: R) -> Iter {
        self.iter_within(Bounds::range(range))
    }

    /// The pairs whose key begins with `prefix`.
    #[must_use]
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Iter {
        self.iter_within(Bounds::prefix(prefix.as_ref()))
    }

    /// A cursor over every pair; it stands nowhere yet. The cheapest way to read many.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        self.cursor_of(Bounds::all())
    }

    /// A cursor over the pairs with a key in `range`.
    #[must_use]
    pub fn cursor_within<K: AsRef<[u8]>, R: RangeBounds<K>>(&self, range: R) -> Cursor {
        self.cursor_of(Bounds::range(range))
    }

    fn iter_within(&self, bounds: Bounds) -> Iter {
        // The iterator pins the files as they are now, with every version this snapshot sees, so it
        // may outlive it.
        let (view, seqno) = self.moment();
        Iter::of(&self.core, view, seqno, bounds)
    }

    fn cursor_of(&self, bounds: Bounds) -> Cursor {
        let (view, seqno) = self.moment();
        Cursor::of(&self.core, &view, seqno, bounds)
    }

    fn moment(&self) -> (Arc<SuperVersion>, SeqNo) {
        match &self.view {
            Some(view) => (Arc::clone(view), self.seqno),
            None => self.core.read_moment(Some(self.seqno)),
        }
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        self.core.snapshots.unpin(self.seqno);
    }
}
