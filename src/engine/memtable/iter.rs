//! Walking the tree in both directions.
//!
//! An iterator keeps the way down to its leaf: at each inner node the permutation it saw. What a
//! permutation names is immutable, so the way stays good while the writer goes on, and a step to
//! the next leaf is a step sideways in the nearest node that has one. The iterator returns every
//! entry that was in the tree when it was last positioned, in order and none twice; entries that
//! come later it may return or not.

#![allow(unsafe_code)]

use std::fmt;
use std::sync::Arc;

use super::entry::{Entry, Target};
use super::node::{Node, Permutation};
use super::tree::{Step, Tree};
use super::{MemValue, Memtable};
use crate::format::key::Trailer;

/// A position in a [`Memtable`], or none; begins with none. Pins the memtable.
pub struct MemtableIter {
    // The references below live as long as `memtable`; they leave this module only with the
    // iterator's own lifetime.
    path: Vec<Step<'static>>,
    position: Option<Position>,
    memtable: Arc<Memtable>,
}

#[derive(Clone, Copy)]
struct Position {
    leaf: Node<'static>,
    permutation: Permutation,
    index: usize,
    entry: Entry<'static>,
}

/// The end of a node from which to begin.
#[derive(Clone, Copy)]
enum Side {
    First,
    Last,
}

// SAFETY: an iterator only reads, and all it reads may be read from any thread.
unsafe impl Send for MemtableIter {}
// SAFETY: as above; what changes the position takes `&mut self`.
unsafe impl Sync for MemtableIter {}

impl MemtableIter {
    pub(super) fn new(memtable: Arc<Memtable>) -> MemtableIter {
        MemtableIter { path: Vec::new(), position: None, memtable }
    }

    /// Goes to the first entry.
    pub fn first(&mut self) {
        self.edge(Side::First);
    }

    /// Goes to the last entry.
    pub fn last(&mut self) {
        self.edge(Side::Last);
    }

    /// Goes to the first entry not before the given internal key.
    pub fn seek(&mut self, user: &[u8], trailer: Trailer) {
        self.path.clear();
        let path = &mut self.path;
        let place = tree(&self.memtable).find(Target { user, trailer }, |step| path.push(step));
        if place.index < place.permutation.count() {
            self.enter(place.leaf, place.permutation, place.index);
        } else {
            self.climb(Side::First);
        }
    }

    /// Goes to the last entry before the given internal key.
    pub fn seek_before(&mut self, user: &[u8], trailer: Trailer) {
        self.path.clear();
        let path = &mut self.path;
        let place = tree(&self.memtable).find(Target { user, trailer }, |step| path.push(step));
        match place.index.checked_sub(1) {
            Some(index) => self.enter(place.leaf, place.permutation, index),
            None => self.climb(Side::Last),
        }
    }

    /// Goes to the next entry; from the last one, to none.
    ///
    /// Without an entry it does nothing.
    pub fn next(&mut self) {
        let Some(at) = self.position else { return };
        let index = at.index + 1;
        if index < at.permutation.count() {
            self.enter_at(at.leaf, at.permutation, index);
        } else {
            self.climb(Side::First);
        }
    }

    /// Goes to the entry before; from the first one, to none.
    ///
    /// Without an entry it does nothing.
    pub fn prev(&mut self) {
        let Some(at) = self.position else { return };
        match at.index.checked_sub(1) {
            Some(index) => self.enter_at(at.leaf, at.permutation, index),
            None => self.climb(Side::Last),
        }
    }

    /// Whether there is an entry here.
    #[must_use]
    pub fn valid(&self) -> bool {
        self.position.is_some()
    }

    /// The user key, sequence number and kind.
    ///
    /// # Panics
    /// If there is no entry here, as the other two do.
    #[must_use]
    pub fn key(&self) -> (&[u8], Trailer) {
        let entry = self.entry();
        (entry.user(), entry.trailer())
    }

    /// The value; empty for a tombstone.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        self.entry().value()
    }

    /// The value, pinning the memtable for as long as it is kept.
    #[must_use]
    pub fn value_pinned(&self) -> MemValue {
        MemValue::new(&self.memtable, self.entry())
    }

    fn entry(&self) -> Entry<'static> {
        self.position.expect("an iterator is asked only while it is valid").entry
    }

    fn edge(&mut self, side: Side) {
        self.path.clear();
        self.descend(tree(&self.memtable).root(), side);
    }

    /// From a leaf that is done with, to the next one on the way from `side` to the other.
    fn climb(&mut self, side: Side) {
        while let Some(mut step) = self.path.pop() {
            step.index = match side {
                Side::First if step.index < step.permutation.count() => step.index + 1,
                Side::Last if step.index > 0 => step.index - 1,
                _ => continue,
            };
            self.path.push(step);
            return self.descend(step.inner.child(step.permutation, step.index), side);
        }
        self.position = None;
    }

    /// Goes to the entry at one end of what is below a node.
    fn descend(&mut self, mut node: Node<'static>, side: Side) {
        while let Some(inner) = node.as_inner() {
            let permutation = inner.keys().permutation();
            let index = match side {
                Side::First => 0,
                Side::Last => permutation.count(),
            };
            self.path.push(Step { inner, permutation, index });
            node = inner.child(permutation, index);
        }
        let permutation = node.keys().permutation();
        let index = match side {
            Side::First => 0,
            Side::Last => permutation.count().saturating_sub(1),
        };
        self.enter(node, permutation, index);
    }

    /// Comes to a leaf, of which more will be read soon.
    fn enter(&mut self, leaf: Node<'static>, permutation: Permutation, index: usize) {
        leaf.keys().entries(permutation).for_each(Entry::prefetch);
        self.enter_at(leaf, permutation, index);
    }

    fn enter_at(&mut self, leaf: Node<'static>, permutation: Permutation, index: usize) {
        // Only the first leaf of an empty tree has no entry.
        self.position = (index < permutation.count()).then(|| Position {
            leaf,
            permutation,
            index,
            entry: leaf.keys().entry(permutation, index),
        });
    }
}

/// The memtable's tree, for references kept beside the `Arc`.
fn tree(memtable: &Arc<Memtable>) -> &'static Tree {
    // SAFETY: the tree does not move while an `Arc` holds it, the iterator has one as long as it
    // has the references, and gives none of them away but for its own lifetime.
    unsafe { &(*Arc::as_ptr(memtable)).tree }
}

impl fmt::Debug for MemtableIter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self
            .position
            .map(|at| (at.entry.user().escape_ascii().to_string(), at.entry.trailer()));
        f.debug_struct("MemtableIter").field("key", &key).finish_non_exhaustive()
    }
}
