//! A cursor: a position among the visible pairs, that lends key and value where they lie.
//!
//! Invariants: a cursor pins its superversion and its sequence number when it is made; it never
//! stands on a key twice in one direction, and never on a tombstone; after an error it stands
//! nowhere, until it is placed anew.

use std::fmt;
use std::sync::Arc;

use super::core::Core;
use super::iter::{Bounds, known_kind};
use super::merge::Merge;
use super::superversion::SuperVersion;
use super::value::Value;
use crate::error::Result;
use crate::format::key::Trailer;
use crate::types::{SeqNo, ValueKind};

/// A position among the pairs of the store as of one moment, or nowhere; begins nowhere.
///
/// The cheapest way to read many pairs: key and value are lent where they lie, nothing is copied or
/// allocated from pair to pair, and one cursor can be placed any number of times.
///
/// ```
/// # fn main() -> beachdb::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let db = beachdb::Db::open(dir.path().join("sand"))?;
/// # db.put(b"shell", b"white")?;
/// let mut cursor = db.cursor();
/// cursor.seek(b"s")?;
/// while cursor.valid() {
///     println!("{:?} = {:?}", cursor.key(), cursor.value());
///     cursor.next()?;
/// }
/// # Ok(()) }
/// ```
pub struct Cursor {
    merge: Merge,
    /// Keeps the store's lock, and so its files, as long as the cursor may open them.
    _core: Arc<Core>,
    seqno: SeqNo,
    bounds: Bounds,
    at: At,
    /// The key it stands on.
    key: Vec<u8>,
    /// Its value, when that is not where the merge stands.
    value: Option<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Nowhere,
    /// The merge stands on the pair itself.
    Forward,
    /// The merge stands before all versions of the key: the newest of them came last.
    Backward,
}

impl Cursor {
    pub(super) fn new(core: &Arc<Core>, snapshot: Option<SeqNo>, bounds: Bounds) -> Cursor {
        let (view, seqno) = core.read_moment(snapshot);
        Cursor::of(core, &view, seqno, bounds)
    }

    /// A cursor over a view that holds everything up to the sequence number.
    pub(super) fn of(
        core: &Arc<Core>,
        view: &Arc<SuperVersion>,
        seqno: SeqNo,
        bounds: Bounds,
    ) -> Cursor {
        Cursor {
            merge: Merge::of(view),
            _core: Arc::clone(core),
            seqno,
            bounds,
            at: At::Nowhere,
            key: Vec::new(),
            value: None,
        }
    }

    /// Whether it stands on a pair.
    #[must_use]
    #[inline]
    pub fn valid(&self) -> bool {
        self.at != At::Nowhere
    }

    /// The key it stands on; empty if it stands nowhere.
    #[must_use]
    #[inline]
    pub fn key(&self) -> &[u8] {
        if self.valid() { &self.key } else { &[] }
    }

    /// The value it stands on; empty if it stands nowhere.
    #[must_use]
    #[inline]
    pub fn value(&self) -> &[u8] {
        match self.at {
            At::Forward => self.merge.value(),
            At::Backward => self.value.as_deref().unwrap_or_default(),
            At::Nowhere => &[],
        }
    }

    /// The value it stands on, to be kept when the cursor moves on; none if it stands nowhere.
    #[must_use]
    pub fn value_pinned(&self) -> Option<Value> {
        match self.at {
            At::Forward => self.merge.value_pinned(),
            At::Backward => self.value.clone(),
            At::Nowhere => None,
        }
    }

    /// Moves to the first pair; nowhere if there is none.
    ///
    /// # Errors
    /// [`crate::Error::Corruption`] or [`crate::Error::Io`], here and below, when a table cannot be
    /// read. The cursor then stands nowhere; placing it anew tries again.
    pub fn first(&mut self) -> Result<()> {
        self.at = At::Nowhere;
        match self.bounds.from() {
            Some((from, true)) => self.merge.seek(from, Trailer::FIRST)?,
            Some((from, false)) => self.merge.seek(from, Trailer::LAST)?,
            None => self.merge.first()?,
        }
        self.skip_lower_bound()?;
        self.settle_forward(false)
    }

    /// Moves to the last pair; nowhere if there is none.
    ///
    /// # Errors
    /// As [`Cursor::first`].
    pub fn last(&mut self) -> Result<()> {
        self.at = At::Nowhere;
        match self.bounds.to() {
            Some((to, false)) => self.merge.seek_before(to, Trailer::FIRST)?,
            Some((to, true)) => self.merge.seek_before(&behind(to), Trailer::FIRST)?,
            None => self.merge.last()?,
        }
        self.settle_backward()
    }

    /// Moves to the first pair at or behind `key`; nowhere if there is none.
    ///
    /// # Errors
    /// As [`Cursor::first`].
    pub fn seek(&mut self, key: impl AsRef<[u8]>) -> Result<()> {
        let key = key.as_ref();
        if !self.bounds.begins_before(key) {
            return self.first();
        }
        self.at = At::Nowhere;
        self.merge.seek(key, Trailer::FIRST)?;
        self.settle_forward(false)
    }

    /// Moves to the last pair at or before `key`; nowhere if there is none.
    ///
    /// # Errors
    /// As [`Cursor::first`].
    pub fn seek_back(&mut self, key: impl AsRef<[u8]>) -> Result<()> {
        let key = key.as_ref();
        if !self.bounds.ends_behind(key) {
            return self.last();
        }
        self.at = At::Nowhere;
        self.merge.seek_before(&behind(key), Trailer::FIRST)?;
        self.settle_backward()
    }

    /// Moves to the next pair; from the last one, and from nowhere, to nowhere.
    ///
    /// # Errors
    /// As [`Cursor::first`].
    #[inline]
    #[allow(clippy::should_implement_trait)] // It lends what it stands on, and it can fail.
    pub fn next(&mut self) -> Result<()> {
        match std::mem::replace(&mut self.at, At::Nowhere) {
            At::Forward => self.merge.next()?,
            At::Backward => self.merge.seek(&self.key, Trailer::LAST)?,
            At::Nowhere => return Ok(()),
        }
        self.settle_forward(true)
    }

    /// Moves to the pair before; from the first one, and from nowhere, to nowhere.
    ///
    /// # Errors
    /// As [`Cursor::first`].
    #[inline]
    pub fn prev(&mut self) -> Result<()> {
        match std::mem::replace(&mut self.at, At::Nowhere) {
            At::Forward => self.merge.seek_before(&self.key, Trailer::FIRST)?,
            At::Backward => {}
            At::Nowhere => return Ok(()),
        }
        self.settle_backward()
    }

    /// A seek for the end of a key's versions ends before a version with the last trailer of all.
    fn skip_lower_bound(&mut self) -> Result<()> {
        let Some((from, false)) = self.bounds.from() else { return Ok(()) };
        while self.merge.key().is_some_and(|(user, _)| user == from) {
            self.merge.next()?;
        }
        Ok(())
    }

    /// From the entry the merge stands on to the first visible pair; `done` says that the versions
    /// of `key` are not wanted.
    #[inline]
    fn settle_forward(&mut self, mut done: bool) -> Result<()> {
        while let Some((user, trailer)) = self.merge.key() {
            if trailer.seqno() > self.seqno || done && user == self.key.as_slice() {
                self.merge.next()?;
                continue;
            }
            if !self.bounds.ends_behind(user) {
                return Ok(());
            }
            self.key.clear();
            self.key.extend_from_slice(user);
            if known_kind(trailer)? == ValueKind::Put {
                self.at = At::Forward;
                return Ok(());
            }
            done = true;
            self.merge.next()?;
        }
        Ok(())
    }

    /// From the entry the merge stands on, the oldest version of its key, back to the last pair
    /// whose newest visible version is not a tombstone.
    fn settle_backward(&mut self) -> Result<()> {
        loop {
            let Some((user, _)) = self.merge.key() else { return Ok(()) };
            if !self.bounds.begins_before(user) {
                return Ok(());
            }
            self.key.clear();
            self.key.extend_from_slice(user);
            if self.take_newest()? {
                self.at = At::Backward;
                return Ok(());
            }
        }
    }

    /// Goes back over every version of `key`, oldest first, and keeps the value of the newest
    /// visible one; `false` if there is none, or a tombstone.
    fn take_newest(&mut self) -> Result<bool> {
        self.value = None;
        while let Some((user, trailer)) = self.merge.key() {
            if user != self.key.as_slice() {
                break;
            }
            if trailer.seqno() <= self.seqno {
                self.value = match known_kind(trailer)? {
                    ValueKind::Put => self.merge.value_pinned(),
                    ValueKind::Delete => None,
                };
            }
            self.merge.prev()?;
        }
        Ok(self.value.is_some())
    }
}

/// The first possible key behind `key`.
fn behind(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.valid().then(|| self.key.escape_ascii().to_string());
        f.debug_struct("Cursor").field("seqno", &self.seqno).field("key", &key).finish()
    }
}
