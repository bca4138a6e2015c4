//! The nodes of the tree: up to fifteen sorted entries behind one atomic word.
//!
//! A node's *permutation* says how many of its slots are in use and in which order. The writer
//! fills the next free slot and then publishes it with one Release store of a new permutation; a
//! reader loads the permutation once (Acquire) and looks at nothing that it does not name.
//! Invariants:
//! - slots are filled in ascending order and never filled again: whatever a permutation names is
//!   immutable, so a reader may keep one and go on using it, however old it gets;
//! - everything else in a node is fixed before the node can be reached.
//!
//! An inner node keeps with each separator *both* children that stood beside it when it came.
//! Where two separators disagree about the child between them, the one in the higher slot came
//! later and is right. So splitting a child, which replaces one child by two, is one new slot and
//! one store as well, and no reader ever sees half of it.

#![allow(unsafe_code)]

use std::cmp::Ordering::{Equal, Greater, Less};
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicPtr, AtomicU64};

use super::arena::{Arena, Bump, LINE_SIZE};
use super::entry::{Entry, Target, prefetch};

/// Entries in a leaf, separators in an inner node: as many as four-bit indexes fit in a word
/// beside their count.
pub(super) const SLOT_COUNT: usize = 15;

/// Which slots are in use, in the order of their keys: four bits of count, then four bits a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Permutation(u64);

impl Permutation {
    /// The first `count` slots in their own order.
    fn identity(count: usize) -> Permutation {
        let all = 0x0edc_ba98_7654_3210u64;
        Permutation((all & ((1 << (4 * count)) - 1)) << 4 | count as u64)
    }

    /// How many slots are in use.
    pub(super) fn count(self) -> usize {
        (self.0 & 15) as usize
    }

    /// The slot of the entry at `index` in key order.
    fn slot(self, index: usize) -> usize {
        (self.0 >> (4 + 4 * index) & 15) as usize
    }

    /// With the next free slot at `index`.
    fn with(self, index: usize) -> Permutation {
        let place = 4 + 4 * index;
        let before = self.0 & ((1 << place) - 1);
        let behind = self.0 >> place << place << 4;
        Permutation((before | (self.count() as u64) << place | behind) + 1)
    }
}

/// The sorted part of a node; a leaf is nothing else.
#[repr(C, align(64))]
pub(super) struct Keys {
    permutation: AtomicU64,
    /// First bytes of the user key that all entries have in common.
    skip: u16,
    inner: bool,
    /// [`Target::head`] of each slot's key behind `skip`, so that a search reads few entries.
    heads: [AtomicU64; SLOT_COUNT],
    entries: [AtomicPtr<u8>; SLOT_COUNT],
}

/// A node with children: one before, between and behind its separators.
///
/// A separator is the first entry of all that stands in its right child.
#[repr(C, align(64))]
pub(super) struct Inner {
    keys: Keys,
    /// By slot, the children to the left of the separators, then those to the right.
    children: [AtomicPtr<Keys>; 2 * SLOT_COUNT],
}

/// A leaf takes four cache lines.
pub(super) const LEAF_SIZE: usize = size_of::<Keys>();
/// An inner node takes eight.
pub(super) const INNER_SIZE: usize = size_of::<Inner>();
const _: () = assert!(LEAF_SIZE == 4 * LINE_SIZE && INNER_SIZE == 8 * LINE_SIZE);

/// Where a search ended in a node.
pub(super) struct Found {
    /// How many entries are smaller than the target.
    pub(super) index: usize,
    /// Whether an entry has the target's head; if not, none has its user key.
    pub(super) head: bool,
}

/// A reference to a leaf or an inner node of an arena that lives at least for `'t`.
#[derive(Clone, Copy)]
pub(super) struct Node<'t> {
    // Not a `&Keys`, which would not be allowed to reach the children behind it.
    start: NonNull<Keys>,
    arena: PhantomData<&'t Arena>,
}

impl<'t> Node<'t> {
    /// Makes a leaf of at most [`SLOT_COUNT`] entries in key order.
    pub(super) fn leaf(
        arena: &'t Arena,
        bump: &mut Bump,
        skip: usize,
        entries: &[Entry<'t>],
    ) -> Node<'t> {
        let start = bump.node(arena, Keys::new(skip, false, entries));
        Node { start, arena: PhantomData }
    }

    /// Makes an inner node of separators in key order and one child more.
    pub(super) fn inner(
        arena: &'t Arena,
        bump: &mut Bump,
        skip: usize,
        separators: &[Entry<'t>],
        children: &[Node<'t>],
    ) -> Node<'t> {
        assert!(!separators.is_empty() && children.len() == separators.len() + 1);
        let node = Inner {
            keys: Keys::new(skip, true, separators),
            children: [const { AtomicPtr::new(std::ptr::null_mut()) }; 2 * SLOT_COUNT],
        };
        for (slot, pair) in children.windows(2).enumerate() {
            node.set_children(slot, pair[0], pair[1]);
        }
        let start = bump.node(arena, node).cast();
        Node { start, arena: PhantomData }
    }

    /// The node at a pointer that [`Node::as_ptr`] returned.
    ///
    /// # Safety
    /// The arena it was made in must live for `'t`, and whatever made the pointer known to this
    /// thread must have made the node's bytes known too.
    pub(super) unsafe fn from_ptr(start: *mut Keys) -> Node<'t> {
        debug_assert!(!start.is_null(), "a slot that was never published");
        // SAFETY: pointers from `as_ptr` are not null.
        Node { start: unsafe { NonNull::new_unchecked(start) }, arena: PhantomData }
    }

    /// For keeping in a node.
    pub(super) fn as_ptr(self) -> *mut Keys {
        self.start.as_ptr()
    }

    /// The node's entries or separators.
    pub(super) fn keys(self) -> &'t Keys {
        // SAFETY: the node lives as long as the arena, and all that changes in it is atomic.
        unsafe { self.start.as_ref() }
    }

    /// The node as an inner one, if it is.
    pub(super) fn as_inner(self) -> Option<&'t Inner> {
        // SAFETY: as above; and where `inner` is set, the node was made as an `Inner`.
        self.keys().inner.then(|| unsafe { self.start.cast().as_ref() })
    }

    /// Asks the processor for what a search reads.
    fn prefetch(self) {
        let start = self.as_ptr().cast::<u8>();
        for line in 0..4 {
            prefetch(start.wrapping_add(line * LINE_SIZE));
        }
    }
}

impl Keys {
    fn new(skip: usize, inner: bool, entries: &[Entry<'_>]) -> Keys {
        assert!(entries.len() <= SLOT_COUNT && skip <= usize::from(u16::MAX));
        let keys = Keys {
            permutation: AtomicU64::new(Permutation::identity(entries.len()).0),
            skip: skip as u16,
            inner,
            heads: [const { AtomicU64::new(0) }; SLOT_COUNT],
            entries: [const { AtomicPtr::new(std::ptr::null_mut()) }; SLOT_COUNT],
        };
        for (slot, entry) in entries.iter().enumerate() {
            keys.set(slot, *entry);
        }
        keys
    }

    /// What the node holds at this moment. All other methods take it, so that one look at a node
    /// sees one state of it.
    pub(super) fn permutation(&self) -> Permutation {
        Permutation(self.permutation.load(Acquire))
    }

    /// How many first bytes all of the node's user keys have in common, at least.
    pub(super) fn skip(&self) -> usize {
        usize::from(self.skip)
    }

    /// The entry at `index` in key order.
    pub(super) fn entry(&self, permutation: Permutation, index: usize) -> Entry<'_> {
        debug_assert!(index < permutation.count());
        let start = self.entries[permutation.slot(index)].load(Relaxed);
        // SAFETY: the slot was filled before the permutation that names it was published, and the
        // permutation was loaded with Acquire. Nodes and entries live in one arena, so whoever
        // holds a reference to the node may hold one to the entry for as long.
        unsafe { Entry::from_ptr(start) }
    }

    /// All entries in key order.
    pub(super) fn entries(&self, permutation: Permutation) -> impl Iterator<Item = Entry<'_>> {
        (0..permutation.count()).map(move |index| self.entry(permutation, index))
    }

    /// Finds the target's place among the entries. It must begin with the bytes that they have in
    /// common.
    pub(super) fn find(&self, permutation: Permutation, target: Target<'_>) -> Found {
        let skip = self.skip();
        let head = target.head(skip);
        let (mut index, mut same) = (0, 0);
        for slot in &self.heads[..permutation.count()] {
            let other = slot.load(Relaxed);
            index += usize::from(other < head);
            same += usize::from(other == head);
        }
        let mut end = index + same;
        while index < end {
            let middle = index.midpoint(end);
            match self.entry(permutation, middle).key().compare_from(skip, target) {
                Less => index = middle + 1,
                Equal | Greater => end = middle,
            }
        }
        Found { index, head: same > 0 }
    }

    /// As [`Keys::find`], for a target that may begin with other bytes.
    pub(super) fn find_any(&self, permutation: Permutation, target: Target<'_>) -> Found {
        match self.compare_skipped(permutation, target) {
            Less => Found { index: 0, head: false },
            Equal => self.find(permutation, target),
            Greater => Found { index: permutation.count(), head: false },
        }
    }

    /// Compares the target's beginning with the bytes that the entries have in common.
    pub(super) fn compare_skipped(
        &self,
        permutation: Permutation,
        target: Target<'_>,
    ) -> std::cmp::Ordering {
        if self.skip == 0 {
            return Equal;
        }
        let skipped = &self.entry(permutation, 0).user()[..self.skip()];
        let size = skipped.len().min(target.user.len());
        target.user[..size].cmp(skipped)
    }

    /// Publishes a new entry at `index`. Only for the writer, and only if a slot is free.
    pub(super) fn insert(&self, permutation: Permutation, index: usize, entry: Entry<'_>) {
        self.set(permutation.count(), entry);
        self.permutation.store(permutation.with(index).0, Release);
    }

    fn set(&self, slot: usize, entry: Entry<'_>) {
        self.heads[slot].store(entry.key().head(self.skip()), Relaxed);
        self.entries[slot].store(entry.as_ptr(), Relaxed);
    }
}

impl Inner {
    /// The separators.
    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The child before the separator at `index`, or behind the last one.
    pub(super) fn child(&self, permutation: Permutation, index: usize) -> Node<'_> {
        let left = if index < permutation.count() { permutation.slot(index) + 1 } else { 0 };
        let right = if index > 0 { permutation.slot(index - 1) + 1 } else { 0 };
        // Where both separators know a child, the newer one is right. (A separator in slot s
        // counts as s + 1 here, one that is not there as 0; a node has at least one.)
        let place = if right > left { SLOT_COUNT + right } else { left } - 1;
        let start = self.children[place].load(Relaxed);
        // SAFETY: as in `Keys::entry`.
        let node = unsafe { Node::from_ptr(start) };
        node.prefetch();
        node
    }

    /// Publishes that the child at `index` is now two. Only for the writer, and only if a slot is
    /// free.
    pub(super) fn insert(
        &self,
        permutation: Permutation,
        index: usize,
        separator: Entry<'_>,
        left: Node<'_>,
        right: Node<'_>,
    ) {
        self.set_children(permutation.count(), left, right);
        self.keys.insert(permutation, index, separator);
    }

    fn set_children(&self, slot: usize, left: Node<'_>, right: Node<'_>) {
        self.children[slot].store(left.as_ptr(), Relaxed);
        self.children[SLOT_COUNT + slot].store(right.as_ptr(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Inserts at pseudo-random places and does the same to a vector of slots.
    #[test]
    fn a_permutation_is_a_sorted_list_of_slots() {
        let mut random = 1u64;
        for _ in 0..1000 {
            let mut permutation = Permutation::identity(0);
            let mut slots = Vec::new();
            for slot in 0..SLOT_COUNT {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let index = (random >> 33) as usize % (slot + 1);
                slots.insert(index, slot);
                permutation = permutation.with(index);
                assert_eq!(permutation.count(), slots.len());
                let listed: Vec<_> = (0..=slot).map(|i| permutation.slot(i)).collect();
                assert_eq!(listed, slots);
            }
        }
        for count in 0..=SLOT_COUNT {
            let permutation = Permutation::identity(count);
            assert_eq!(permutation.count(), count);
            assert!((0..count).all(|index| permutation.slot(index) == index));
        }
    }

    /// Splits children of one inner node in pseudo-random order and does the same to a vector of
    /// children; the node must name the same ones, and so must every older permutation of it.
    #[test]
    fn the_newer_separator_knows_the_child() {
        let (arena, mut bump) = Arena::new();
        let mut entry = |n: usize| {
            let user = [n as u8];
            let key = Target { user: &user, trailer: crate::format::key::Trailer(0) };
            Entry::write(&arena, &mut bump, key, b"")
        };
        let entries: Vec<_> = (0..200).map(&mut entry).collect();
        let (node_arena, mut bump) = Arena::new();
        let mut leaf = || Node::leaf(&node_arena, &mut bump, 0, &[]);
        let leaves: Vec<_> = (0..64).map(|_| leaf()).collect();
        for seed in 0..200usize {
            let mut fresh = leaves.iter().copied();
            let mut next = || fresh.next().expect("enough leaves");
            let mut children = vec![next(), next()];
            let mut separators = vec![100usize];
            let node = Node::inner(&node_arena, &mut bump, 0, &[entries[100]], &children);
            let inner = node.as_inner().expect("an inner node");
            let mut states = vec![(inner.keys().permutation(), children.clone())];
            for round in 1..SLOT_COUNT {
                let n = (seed * 31 + round * round * 57) % 200;
                if separators.contains(&n) {
                    continue;
                }
                let permutation = inner.keys().permutation();
                let target = entries[n].key();
                let index = inner.keys().find(permutation, target).index;
                assert_eq!(index, separators.iter().filter(|s| **s <= n).count());
                let (left, right) = (next(), next());
                inner.insert(permutation, index, entries[n], left, right);
                separators.insert(index, n);
                children.splice(index..=index, [left, right]);
                states.push((inner.keys().permutation(), children.clone()));
            }
            for (permutation, children) in &states {
                for (index, child) in children.iter().enumerate() {
                    assert_eq!(inner.child(*permutation, index).as_ptr(), child.as_ptr());
                }
            }
        }
    }
}
