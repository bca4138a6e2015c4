//! What a read looks at: one pointer to a memtable, the immutable ones, and a version.

use std::sync::Arc;

use super::memtable::Memtable;
use super::version::Version;
use crate::types::{FileNumber, SeqNo};

/// A memtable that no longer takes writes and waits to be flushed.
#[derive(Debug)]
pub(super) struct Immutable {
    pub(super) memtable: Arc<Memtable>,
    /// The logs it was filled from: they go when it is in a table, not before.
    pub(super) logs: Vec<FileNumber>,
    /// The last operation in it.
    pub(super) last_seqno: SeqNo,
}

/// A consistent set of everything that can hold a key. Never changed, only replaced.
#[derive(Debug)]
pub(super) struct SuperVersion {
    pub(super) memtable: Arc<Memtable>,
    /// Newest first.
    pub(super) immutables: Vec<Arc<Immutable>>,
    pub(super) version: Arc<Version>,
    /// In a read-only handle, the moment it shows; a writing one shows what is visible.
    pub(super) upto: Option<SeqNo>,
}

impl SuperVersion {
    /// All memtables, newest first.
    pub(super) fn memtables(&self) -> impl Iterator<Item = &Arc<Memtable>> {
        let immutables = self.immutables.iter().map(|immutable| &immutable.memtable);
        std::iter::once(&self.memtable).chain(immutables)
    }
}
