//! The memtable: the newest entries, sorted, in memory.
//!
//! A B+tree in an arena, written by one thread and read by any number without locks or retries.
//! Entries are never changed or removed; an overwrite or a delete is a newer version beside the
//! older ones, and memory is given back all at once, when the last reader lets go. It was chosen
//! over a skip list by measurement (`benches/memtable.rs`): fifteen neighbours share the cache
//! misses that a skip list pays for each.
//!
//! What a reader may rely on: an entry whose insert *happened before* the read began is seen. The
//! engine publishes the visible sequence number with Release after the insert, and readers load
//! it with Acquire before they come here. Entries above it they must leave out themselves (`get`
//! does, the iterator does not): an insert that runs at the same time may be seen or not.

mod arena;
mod entry;
mod node;
mod tree;

mod iter;
mod value;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::format::key::Trailer;
use crate::types::{SeqNo, ValueKind};

use entry::Target;
use tree::{Tree, TreeWriter};

pub use iter::MemtableIter;
pub use value::MemValue;

/// Entries in memory, sorted by internal key. For readers; see [`MemtableWriter`].
pub struct Memtable {
    tree: Tree,
    counters: Counters,
}

/// The only way to insert into a [`Memtable`].
pub struct MemtableWriter {
    memtable: Arc<Memtable>,
    tree: TreeWriter,
}

/// Written by the writer alone, on cache lines that readers on their way to the root do not need.
#[derive(Default)]
#[repr(align(128))]
struct Counters {
    size: AtomicU64,
    entries: AtomicU64,
    tombstones: AtomicU64,
    raw_key: AtomicU64,
    raw_value: AtomicU64,
}

impl Memtable {
    /// An empty memtable and the one writer for it.
    #[must_use]
    pub fn new() -> (Arc<Memtable>, MemtableWriter) {
        let (tree, writer) = Tree::new();
        let memtable = Arc::new(Memtable { tree, counters: Counters::default() });
        memtable.counters.size.store(writer.used(), Ordering::Relaxed);
        (memtable.clone(), MemtableWriter { memtable, tree: writer })
    }

    /// The newest version of a user key with a sequence number of at most `seqno`; it may be a
    /// tombstone.
    #[must_use]
    pub fn get(self: &Arc<Self>, user_key: &[u8], seqno: SeqNo) -> Option<(Trailer, MemValue)> {
        let target = Target { user: user_key, trailer: Trailer::seek(seqno) };
        let place = self.tree.find(target, |_| ());
        let entry = place.may_match().then(|| place.entry())??;
        (entry.user() == user_key).then(|| (entry.trailer(), MemValue::new(self, entry)))
    }

    /// An iterator over all entries, not yet at any.
    #[must_use]
    pub fn iter(self: &Arc<Self>) -> MemtableIter {
        MemtableIter::new(self.clone())
    }

    /// Bytes in use: each entry's user key, value and 14 bytes, and each node of the tree, those
    /// that were split and wait for the end with it included. Exact whenever no insert is running.
    ///
    /// What the chunks of memory have left over is not in it, but in
    /// [`Memtable::allocated_bytes`].
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.counters.size.load(Ordering::Relaxed)
    }

    /// Bytes taken from the allocator for entries and nodes.
    #[must_use]
    pub fn allocated_bytes(&self) -> u64 {
        self.tree.allocated()
    }

    /// How many entries there are, tombstones included.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.counters.entries.load(Ordering::Relaxed)
    }

    /// How many entries are tombstones.
    #[must_use]
    pub fn tombstones(&self) -> u64 {
        self.counters.tombstones.load(Ordering::Relaxed)
    }

    /// Bytes of all user keys, of every version of each.
    #[must_use]
    pub fn raw_key_bytes(&self) -> u64 {
        self.counters.raw_key.load(Ordering::Relaxed)
    }

    /// Bytes of all values.
    #[must_use]
    pub fn raw_value_bytes(&self) -> u64 {
        self.counters.raw_value.load(Ordering::Relaxed)
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries() == 0
    }
}

impl MemtableWriter {
    /// Inserts a version of a user key. No two may have the same user key and trailer.
    ///
    /// # Panics
    /// If the key has more than 65,535 bytes or the value 4 GiB.
    pub fn insert(&mut self, user_key: &[u8], trailer: Trailer, value: &[u8]) {
        self.tree.insert(&self.memtable.tree, Target { user: user_key, trailer }, value);
        let counters = &self.memtable.counters;
        counters.size.store(self.tree.used(), Ordering::Relaxed);
        add(&counters.entries, 1);
        add(&counters.tombstones, u64::from(trailer.kind() == Some(ValueKind::Delete)));
        add(&counters.raw_key, user_key.len() as u64);
        add(&counters.raw_value, value.len() as u64);
    }

    /// The memtable that this inserts into.
    #[must_use]
    pub fn memtable(&self) -> &Arc<Memtable> {
        &self.memtable
    }
}

/// There is one writer, so a load and a store do, and cost less than one atomic step.
fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Ordering::Relaxed) + more, Ordering::Relaxed);
}

impl fmt::Debug for Memtable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memtable")
            .field("entries", &self.entries())
            .field("size_bytes", &self.size_bytes())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for MemtableWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.memtable.fmt(f)
    }
}

#[cfg(test)]
mod tests;
