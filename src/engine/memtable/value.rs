//! A value that keeps its memtable alive.

#![allow(unsafe_code)]

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use super::Memtable;
use super::entry::Entry;

/// A value in a memtable, which stays in memory for as long as the value is kept.
#[derive(Clone)]
pub struct MemValue {
    // Lives as long as `memtable`; leaves this type only with the value's own lifetime.
    entry: Entry<'static>,
    _memtable: Arc<Memtable>,
}

// SAFETY: entries never change, so any thread may read them.
unsafe impl Send for MemValue {}
// SAFETY: as above.
unsafe impl Sync for MemValue {}

impl MemValue {
    /// The value of an entry of this memtable.
    pub(super) fn new(memtable: &Arc<Memtable>, entry: Entry<'_>) -> MemValue {
        // SAFETY: the entry is in the arena of the memtable that is kept beside it, and is not
        // given away but for the value's own lifetime.
        let entry = unsafe { Entry::from_ptr(entry.as_ptr()) };
        MemValue { entry, _memtable: memtable.clone() }
    }
}

impl Deref for MemValue {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.entry.value()
    }
}

impl AsRef<[u8]> for MemValue {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for MemValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.escape_ascii())
    }
}
