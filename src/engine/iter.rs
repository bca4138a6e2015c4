//! Iterators: the visible pairs of a key range, from either end.
//!
//! Invariants: an iterator pins its superversion and its sequence number when it first moves or, if
//! it came from a snapshot or a `Db`, when it was made; it yields each key at most once and never a
//! tombstone; after an error it yields nothing more.

use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use super::core::Core;
use super::merge::Merge;
use super::superversion::SuperVersion;
use super::value::Value;
use crate::error::{Error, Result};
use crate::format::key::Trailer;
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

    fn begins_before(&self, key: &[u8]) -> bool {
        match &self.from {
            Bound::Included(from) => from.as_slice() <= key,
            Bound::Excluded(from) => from.as_slice() < key,
            Bound::Unbounded => true,
        }
    }

    fn ends_behind(&self, key: &[u8]) -> bool {
        match &self.to {
            Bound::Included(to) => key <= to.as_slice(),
            Bound::Excluded(to) => key < to.as_slice(),
            Bound::Unbounded => true,
        }
    }
}

/// The visible pairs of a range in key order; [`DoubleEndedIterator`], so `.rev()` goes backwards
/// and both ends can be taken in turn.
///
/// It reads the store as of its creation, whatever is written meanwhile. A read error is yielded
/// once, as an `Err`, and ends the iterator.
pub struct Iter {
    view: Arc<SuperVersion>,
    /// Keeps the store's lock, and so its files, as long as the iterator may open them.
    _core: Arc<Core>,
    seqno: SeqNo,
    bounds: Bounds,
    front: Option<Merge>,
    /// Where the front was last moved to: what lies before it is not the back's to take.
    sought: Option<Vec<u8>>,
    /// The last key taken from the front: everything up to it is done.
    front_key: Option<Vec<u8>>,
    back: Option<Merge>,
    /// The last key taken from the back: everything from it on is done.
    back_key: Option<Vec<u8>>,
    failed: bool,
}

impl Iter {
    pub(super) fn new(core: &Arc<Core>, snapshot: Option<SeqNo>, bounds: Bounds) -> Iter {
        let view = core.superversion.load_full();
        let seqno = snapshot.unwrap_or_else(|| core.seqno_of(&view));
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
            _core: Arc::clone(core),
            seqno,
            bounds,
            front: None,
            sought: None,
            front_key: None,
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
        let placed = self.place_front(Some(key.as_ref()));
        self.failed |= placed.is_err();
        placed
    }

    fn place_front(&mut self, key: Option<&[u8]>) -> Result<()> {
        let mut merge = match self.front.take() {
            Some(merge) => merge,
            None => Merge::of(&self.view)?,
        };
        self.front_key = None;
        let key = key.filter(|key| self.bounds.begins_before(key));
        match (key, &self.bounds.from) {
            (Some(key), _) => merge.seek(key, Trailer::FIRST)?,
            (None, Bound::Included(from)) => merge.seek(from, Trailer::FIRST)?,
            (None, Bound::Excluded(from)) => {
                merge.seek(from, Trailer::LAST)?;
                skip_key(&mut merge, from)?;
            }
            (None, Bound::Unbounded) => merge.first()?,
        }
        self.front = Some(merge);
        Ok(())
    }

    fn place_back(&mut self) -> Result<()> {
        let mut merge = Merge::of(&self.view)?;
        match &self.bounds.to {
            Bound::Excluded(to) => merge.seek_before(to, Trailer::FIRST)?,
            Bound::Included(to) => {
                // Behind every version of `to`: before the first possible key after it.
                let mut behind = to.clone();
                behind.push(0);
                merge.seek_before(&behind, Trailer::FIRST)?;
            }
            Bound::Unbounded => merge.last()?,
        }
        self.back = Some(merge);
        Ok(())
    }

    fn take_front(&mut self) -> Result<Option<(Vec<u8>, Value)>> {
        if self.front.is_none() {
            self.place_front(None)?;
        }
        let Some(merge) = &mut self.front else { return Ok(None) };
        let mut last = self.front_key.take().unwrap_or_default();
        // No key is empty, so an empty `last` skips nothing.
        while let Some((user, trailer)) = merge.key() {
            if user == last.as_slice() || trailer.seqno() > self.seqno {
                merge.next()?;
                continue;
            }
            let taken = self.back_key.as_ref().is_some_and(|back| user >= back.as_slice());
            if taken || !self.bounds.ends_behind(user) {
                break;
            }
            last.clear();
            last.extend_from_slice(user);
            let kind = known_kind(trailer)?;
            // The merge stays on this entry: were the next one unreadable, this one would be lost.
            let value = merge.value();
            if let (ValueKind::Put, Some(value)) = (kind, value) {
                self.front_key = Some(last.clone());
                return Ok(Some((last, value)));
            }
        }
        self.front_key = Some(last);
        Ok(None)
    }

    fn take_back(&mut self) -> Result<Option<(Vec<u8>, Value)>> {
        if self.back.is_none() {
            self.place_back()?;
        }
        let Some(merge) = &mut self.back else { return Ok(None) };
        loop {
            let Some((user, _)) = merge.key() else { return Ok(None) };
            let taken = self.front_key.as_ref().is_some_and(|front| user <= front.as_slice());
            let passed = self.sought.as_ref().is_some_and(|sought| user < sought.as_slice());
            if taken || passed || !self.bounds.begins_before(user) {
                return Ok(None);
            }
            let key = user.to_vec();
            let newest = newest_visible(merge, &key, self.seqno)?;
            if let Some((ValueKind::Put, value)) = newest {
                self.back_key = Some(key.clone());
                return Ok(Some((key, value)));
            }
        }
    }

    fn fuse(
        &mut self,
        taken: Result<Option<(Vec<u8>, Value)>>,
    ) -> Option<Result<(Vec<u8>, Value)>> {
        self.failed |= taken.is_err();
        taken.transpose()
    }
}

/// Goes backwards over every version of `key`, oldest first, and returns the newest visible one.
fn newest_visible(
    merge: &mut Merge,
    key: &[u8],
    seqno: SeqNo,
) -> Result<Option<(ValueKind, Value)>> {
    let mut newest = None;
    while let Some((user, trailer)) = merge.key() {
        if user != key {
            break;
        }
        if trailer.seqno() <= seqno {
            let kind = known_kind(trailer)?;
            newest = merge.value().map(|value| (kind, value));
        }
        merge.prev()?;
    }
    Ok(newest)
}

fn skip_key(merge: &mut Merge, key: &[u8]) -> Result<()> {
    while merge.key().is_some_and(|(user, _)| user == key) {
        merge.next()?;
    }
    Ok(())
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
