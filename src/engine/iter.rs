//! Iterators: the visible pairs of a key range, from either end.
//!
//! Invariants: an iterator pins its superversion and its sequence number when it first moves or, if
//! it came from a snapshot or a `Db`, when it was made; it yields each key at most once and never a
//! tombstone; after an error it yields nothing more.

use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use super::core::Core;
use super::cursor::Cursor;
use super::superversion::SuperVersion;
use super::value::Value;
use crate::error::{Error, Result};
use crate::format::key::Trailer;
use crate::probe::mutant;
use crate::types::{SeqNo, ValueKind};

/// The keys an iterator is confined to.
#[derive(Clone, Debug)]
pub(super) struct Bounds {
    from: Bound<Vec<u8>>,
    to: Bound<Vec<u8>>,
}

impl Bounds {
    pub(super) fn all() -> Bounds {
        Bounds { from: Bound::Unbounded, to: Bound::Unbounded }
    }

    pub(super) fn range<K: AsRef<[u8]>, R: RangeBounds<K>>(range: R) -> Bounds {
        let owned = |bound: Bound<&K>| bound.map(|key| key.as_ref().to_vec());
        Bounds { from: owned(range.start_bound()), to: owned(range.end_bound()) }
    }

    pub(super) fn prefix(prefix: &[u8]) -> Bounds {
        let to = match prefix.iter().rposition(|&byte| byte != 0xff) {
            Some(last) => {
                let mut end = prefix[..=last].to_vec();
                end[last] += 1;
                Bound::Excluded(end)
            }
            None => Bound::Unbounded,
        };
        Bounds { from: Bound::Included(prefix.to_vec()), to }
    }

    /// The first key, if there is one, and a key behind all others: perhaps a little wider than the
    /// bounds are.
    pub(super) fn outer(self) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
        let key = |bound, behind: bool| match bound {
            Bound::Included(mut key) if behind => {
                Vec::push(&mut key, 0);
                Some(key)
            }
            Bound::Included(key) | Bound::Excluded(key) => Some(key),
            Bound::Unbounded => None,
        };
        (key(self.from, false), key(self.to, true))
    }

    pub(super) fn begins_before(&self, key: &[u8]) -> bool {
        match &self.from {
            Bound::Included(from) => from.as_slice() <= key,
            Bound::Excluded(from) => from.as_slice() < key,
            Bound::Unbounded => true,
        }
    }

    #[inline]
    pub(super) fn ends_behind(&self, key: &[u8]) -> bool {
        match &self.to {
            Bound::Included(to) => key <= to.as_slice(),
            Bound::Excluded(to) => key < to.as_slice(),
            Bound::Unbounded => true,
        }
    }

    /// The lower bound, if there is one, and whether it is in the range.
    pub(super) fn from(&self) -> Option<(&[u8], bool)> {
        edge(&self.from)
    }

    /// The upper bound, likewise.
    pub(super) fn to(&self) -> Option<(&[u8], bool)> {
        edge(&self.to)
    }
}

fn edge(bound: &Bound<Vec<u8>>) -> Option<(&[u8], bool)> {
    match bound {
        Bound::Included(key) => Some((key, true)),
        Bound::Excluded(key) => Some((key, false)),
        Bound::Unbounded => None,
    }
}

/// The visible pairs of a range in key order; [`DoubleEndedIterator`], so `.rev()` goes backwards
/// and both ends can be taken in turn.
///
/// It reads the store as of its creation, whatever is written meanwhile. A read error is yielded
/// once, as an `Err`, and ends the iterator.
pub struct Iter {
    view: Arc<SuperVersion>,
    core: Arc<Core>,
    seqno: SeqNo,
    bounds: Bounds,
    /// Stands on the pair taken last: were the next one unreadable, this one would be lost.
    front: Option<Cursor>,
    /// Whether the front was moved by [`Iter::seek`], and its pair is still to be taken.
    fresh: bool,
    /// Where the front was last moved to: what lies before it is not the back's to take.
    sought: Option<Vec<u8>>,
    /// The last key taken from the front: everything up to it is done. Kept once there is a back.
    front_key: Option<Vec<u8>>,
    /// Whether the front came to the end of the range.
    front_ended: bool,
    /// Stands on the pair taken last from the back.
    back: Option<Cursor>,
    /// The last key taken from the back: everything from it on is done.
    back_key: Option<Vec<u8>>,
    failed: bool,
}

impl Iter {
    pub(super) fn new(core: &Arc<Core>, snapshot: Option<SeqNo>, bounds: Bounds) -> Iter {
        let (view, seqno) = core.read_moment(snapshot);
        Iter::of(core, view, seqno, bounds)
    }

    /// An iterator over a view, as of a sequence number.
    pub(super) fn of(
        core: &Arc<Core>,
        view: Arc<SuperVersion>,
        seqno: SeqNo,
        bounds: Bounds,
    ) -> Iter {
        Iter {
            view,
            core: Arc::clone(core),
            seqno,
            bounds,
            front: None,
            fresh: false,
            sought: None,
            front_key: None,
            front_ended: false,
            back: None,
            back_key: None,
            failed: false,
        }
    }

    /// Moves the front so that the next pair taken from it is the first with a key at or behind
    /// `key`, forwards or backwards, within the iterator's range and before what was taken from
    /// the back. The back then ends there too.
    ///
    /// # Errors
    /// As reading does; the iterator then yields nothing more.
    pub fn seek(&mut self, key: impl AsRef<[u8]>) -> Result<()> {
        self.sought = Some(key.as_ref().to_vec());
        self.front_key = None;
        self.front_ended = false;
        self.fresh = true;
        let mut front = self.front.take().unwrap_or_else(|| self.cursor());
        let placed = front.seek(key);
        self.front = Some(front);
        self.failed |= placed.is_err();
        placed
    }

    fn cursor(&self) -> Cursor {
        Cursor::of(&self.core, &self.view, self.seqno, self.bounds.clone())
    }

    fn take_front(&mut self) -> Result<Option<(Vec<u8>, Value)>> {
        let front = match self.front.take() {
            Some(mut front) => {
                if !std::mem::take(&mut self.fresh) {
                    front.next()?;
                }
                front
            }
            None => {
                let mut front = self.cursor();
                front.first()?;
                front
            }
        };
        let front = self.front.insert(front);
        self.front_ended = !front.valid();
        let taken = self.back_key.as_ref().is_some_and(|back| front.key() >= back.as_slice());
        let Some(value) = front.value_pinned().filter(|_| !taken) else { return Ok(None) };
        let key = front.key().to_vec();
        // Only the back asks for it.
        if self.back.is_some() {
            self.front_key = Some(key.clone());
        }
        Ok(Some((key, value)))
    }

    fn take_back(&mut self) -> Result<Option<(Vec<u8>, Value)>> {
        if self.front_ended {
            return Ok(None);
        }
        let back = match self.back.take() {
            Some(mut back) => {
                back.prev()?;
                back
            }
            None => {
                self.note_front();
                let mut back = self.cursor();
                back.last()?;
                back
            }
        };
        let back = self.back.insert(back);
        let key = back.key();
        let taken = self.front_key.as_ref().is_some_and(|front| key <= front.as_slice());
        let passed = self.sought.as_ref().is_some_and(|sought| key < sought.as_slice());
        let Some(value) = back.value_pinned().filter(|_| !taken && !passed) else {
            return Ok(None);
        };
        let key = key.to_vec();
        self.back_key = Some(key.clone());
        Ok(Some((key, value)))
    }

    /// What was taken from the front so far, now that the back needs to know.
    fn note_front(&mut self) {
        let front = self.front.as_ref().filter(|front| front.valid() && !self.fresh);
        if let Some(front) = front {
            self.front_key = Some(front.key().to_vec());
        }
    }

    fn fuse(
        &mut self,
        taken: Result<Option<(Vec<u8>, Value)>>,
    ) -> Option<Result<(Vec<u8>, Value)>> {
        // Rule 16: after an error an iterator yields nothing more.
        self.failed |= taken.is_err() && !mutant("iterator_goes_on_behind_an_error");
        taken.transpose()
    }
}

/// Tables and logs are checked for unknown kinds when they are read; this is the second lock.
pub(super) fn known_kind(trailer: Trailer) -> Result<ValueKind> {
    trailer.kind().ok_or_else(|| Error::Unsupported {
        path: "the store".into(),
        what: format!("an entry of kind {}", trailer.0 as u8),
    })
}

impl Iterator for Iter {
    type Item = Result<(Vec<u8>, Value)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let taken = self.take_front();
        self.fuse(taken)
    }
}

impl DoubleEndedIterator for Iter {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let taken = self.take_back();
        self.fuse(taken)
    }
}

impl std::iter::FusedIterator for Iter {}

impl std::fmt::Debug for Iter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Iter").field("seqno", &self.seqno).field("bounds", &self.bounds).finish()
    }
}
