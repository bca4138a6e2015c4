//! The tree: how a reader comes down to a leaf and how the writer splits one.
//!
//! Invariants:
//! - each change becomes visible with one Release store: of one node's permutation, or of the root;
//! - a node that was split is never changed again. A reader that still holds it finds in it all
//!   that was there when it was split. That is enough: a reader learns the visible sequence number
//!   (Acquire) before it comes here, so all it may see was in the tree it looks at, however old;
//! - `skip` of a node is at most the number of bytes that its bounds have in common. What lies
//!   between two keys begins with the bytes that both begin with, so nobody has to look at them.
//!   Along the edges, where a bound is missing, `skip` is 0, but for two nodes of which readers
//!   know that they must compare. The root goes by what its separators have in common; it is
//!   replaced by a copy rather than changed. The last leaf guesses from what it holds; a key that
//!   breaks the guess makes the writer split it.

#![allow(unsafe_code)]

use std::cmp::Ordering::Less;
use std::sync::atomic::AtomicPtr;
use std::sync::atomic::Ordering::{Acquire, Release};

use super::arena::{Arena, Bump};
use super::entry::{Entry, Target, common_size};
use super::node::{Inner, Keys, Node, Permutation, SLOT_COUNT};

/// The tree as readers see it.
pub(super) struct Tree {
    root: AtomicPtr<Keys>,
    arena: Arena,
}

/// The writer's part of a tree; there is one for each.
pub(super) struct TreeWriter {
    bump: Bump,
    /// The last leaf, where ascending keys go without a search.
    last: *mut Keys,
}

// SAFETY: the pointer leads to a node of the tree this writes to, which may be used from any
// thread.
unsafe impl Send for TreeWriter {}

/// An inner node on the way down, what it held, and which child was taken.
#[derive(Clone, Copy)]
pub(super) struct Step<'t> {
    pub(super) inner: &'t Inner,
    pub(super) permutation: Permutation,
    pub(super) index: usize,
}

/// Where a search ended: at `index` of a leaf that held `permutation`.
pub(super) struct Place<'t> {
    pub(super) leaf: Node<'t>,
    pub(super) permutation: Permutation,
    pub(super) index: usize,
    /// Whether an entry of the leaf has the target's head; if not, none has its user key.
    pub(super) head: bool,
    /// The first entry behind the leaf.
    pub(super) upper: Option<Entry<'t>>,
}

/// What became of a node that was split: the parent needs a separator and two children for it.
struct Split<'t> {
    separator: Entry<'t>,
    left: Node<'t>,
    right: Node<'t>,
}

impl Tree {
    /// An empty tree and the one writer for it.
    pub(super) fn new() -> (Tree, TreeWriter) {
        let (arena, mut bump) = Arena::new();
        let last = Node::leaf(&arena, &mut bump, 0, &[]).as_ptr();
        let tree = Tree { root: AtomicPtr::new(last), arena };
        (tree, TreeWriter { bump, last })
    }

    /// Bytes of all chunks of memory, used or not.
    pub(super) fn allocated(&self) -> u64 {
        self.arena.allocated()
    }

    /// The root at this moment.
    pub(super) fn root(&self) -> Node<'_> {
        // SAFETY: the root is a node of this tree's arena, published with Release.
        unsafe { Node::from_ptr(self.root.load(Acquire)) }
    }

    /// Finds the first entry not smaller than the target, as far as its leaf goes, and calls
    /// `visit` for each inner node on the way.
    pub(super) fn find<'t>(
        &'t self,
        target: Target<'_>,
        mut visit: impl FnMut(Step<'t>),
    ) -> Place<'t> {
        let mut node = self.root();
        let mut upper = None;
        let mut at_root = true;
        while let Some(inner) = node.as_inner() {
            let permutation = inner.keys().permutation();
            let found = match std::mem::take(&mut at_root) {
                true => inner.keys().find_any(permutation, target),
                false => inner.keys().find(permutation, target),
            };
            // A target that equals a separator goes to the left of it, too, and finds it as `upper`.
            let index = found.index;
            if index < permutation.count() {
                upper = Some(inner.keys().entry(permutation, index));
            }
            visit(Step { inner, permutation, index });
            node = inner.child(permutation, index);
        }
        let keys = node.keys();
        let permutation = keys.permutation();
        let found = match upper {
            Some(_) => keys.find(permutation, target),
            None => keys.find_any(permutation, target),
        };
        Place { leaf: node, permutation, index: found.index, head: found.head, upper }
    }
}

impl<'t> Place<'t> {
    /// The first entry not smaller than the target.
    pub(super) fn entry(&self) -> Option<Entry<'t>> {
        if self.index < self.permutation.count() {
            Some(self.leaf.keys().entry(self.permutation, self.index))
        } else {
            self.upper
        }
    }

    /// Whether an entry of this leaf may have the target's user key.
    pub(super) fn may_match(&self) -> bool {
        self.head || self.index == self.permutation.count()
    }
}

impl TreeWriter {
    /// Bytes of all entries and of all nodes made, those that were split since included.
    pub(super) fn used(&self) -> u64 {
        self.bump.used()
    }

    /// Inserts an entry whose internal key is not there yet.
    pub(super) fn insert(&mut self, tree: &Tree, key: Target<'_>, value: &[u8]) {
        let entry = Entry::write(&tree.arena, &mut self.bump, key, value);
        if self.append(entry) {
            return;
        }
        let place = tree.find(key, |_| ());
        debug_assert!(place.entry().is_none_or(|next| next.key().compare(key).is_gt()));
        if place.permutation.count() < SLOT_COUNT && fits(&place, key) {
            place.leaf.keys().insert(place.permutation, place.index, entry);
        } else {
            self.insert_splitting(tree, entry);
        }
    }

    /// Inserts at the end of the last leaf, if that is the entry's place and it has room.
    fn append(&self, entry: Entry<'_>) -> bool {
        // SAFETY: `last` is a node of the tree that the entry is in the arena of.
        let last = unsafe { Node::from_ptr(self.last) }.keys();
        let permutation = last.permutation();
        let count = permutation.count();
        let is_place = (1..SLOT_COUNT).contains(&count)
            && last.entry(permutation, count - 1).key().compare(entry.key()) == Less
            && last.compare_skipped(permutation, entry.key()).is_eq();
        if is_place {
            last.insert(permutation, count, entry);
        }
        is_place
    }

    /// Inserts where the leaf is full or guessed wrong: splits it and, from there upwards, each
    /// full inner node.
    fn insert_splitting<'t>(&mut self, tree: &'t Tree, entry: Entry<'t>) {
        let mut path = Vec::with_capacity(8);
        let place = tree.find(entry.key(), |step| path.push(step));
        let mut split = self.split_leaf(&tree.arena, &path, &place, entry);
        if place.upper.is_none() {
            self.last = split.right.as_ptr();
        }
        while let Some(step) = path.pop() {
            let Step { inner, permutation, index } = step;
            if permutation.count() == SLOT_COUNT {
                split = self.split_inner(&tree.arena, &path, step, split);
            } else if path.is_empty() {
                let (separators, children) = gather(step, split);
                return self.replace_root(tree, &separators, &children);
            } else {
                return inner.insert(permutation, index, split.separator, split.left, split.right);
            }
        }
        self.replace_root(tree, &[split.separator], &[split.left, split.right]);
    }

    fn replace_root<'t>(
        &mut self,
        tree: &'t Tree,
        separators: &[Entry<'t>],
        children: &[Node<'t>],
    ) {
        let (first, last) = (separators[0], separators[separators.len() - 1]);
        let root = self.inner(&tree.arena, Some(first), separators, Some(last), children);
        tree.root.store(root.as_ptr(), Release);
    }

    /// Splits a leaf so that the new entry is in one of the two.
    ///
    /// A full leaf that the entry goes behind stays as it is and gets a neighbour, so that
    /// ascending keys leave full leaves, and nothing is copied. Likewise with descending keys.
    fn split_leaf<'t>(
        &mut self,
        arena: &'t Arena,
        path: &[Step<'t>],
        place: &Place<'t>,
        entry: Entry<'t>,
    ) -> Split<'t> {
        let (lower, upper) = bounds(path);
        let mut entries: Vec<_> = place.leaf.keys().entries(place.permutation).collect();
        let count = entries.len();
        entries.insert(place.index, entry);
        if place.index == count {
            let left = match fits(place, entry.key()) {
                true => place.leaf,
                false => self.leaf(arena, lower, &entries[..count], Some(entry)),
            };
            let first = entries[0];
            let right = self.leaf_behind(arena, first, &[entry], upper);
            Split { separator: entry, left, right }
        } else if place.index == 0 {
            let left = self.leaf(arena, lower, &[entry], Some(entries[1]));
            Split { separator: entries[1], left, right: place.leaf }
        } else {
            let (left, right) = entries.split_at(entries.len() / 2);
            let separator = right[0];
            let left = self.leaf(arena, lower, left, Some(separator));
            let right = self.leaf_behind(arena, right[right.len() - 1], right, upper);
            Split { separator, left, right }
        }
    }

    /// Splits a full inner node one child of which was split.
    fn split_inner<'t>(
        &mut self,
        arena: &'t Arena,
        path: &[Step<'t>],
        step: Step<'t>,
        split: Split<'t>,
    ) -> Split<'t> {
        let (lower, upper) = bounds(path);
        let index = step.index;
        let (separators, children) = gather(step, split);
        // As with leaves, ascending and descending keys leave full nodes.
        let middle = match index {
            0 => 1,
            SLOT_COUNT => SLOT_COUNT - 1,
            _ => separators.len() / 2,
        };
        let separator = separators[middle];
        let left =
            self.inner(arena, lower, &separators[..middle], Some(separator), &children[..=middle]);
        let right = self.inner(
            arena,
            Some(separator),
            &separators[middle + 1..],
            upper,
            &children[middle + 1..],
        );
        Split { separator, left, right }
    }

    /// A leaf between two bounds.
    fn leaf<'t>(
        &mut self,
        arena: &'t Arena,
        lower: Option<Entry<'t>>,
        entries: &[Entry<'t>],
        upper: Option<Entry<'t>>,
    ) -> Node<'t> {
        Node::leaf(arena, &mut self.bump, skip_between(lower, upper), entries)
    }

    /// A leaf whose lower bound is its first entry. Without an upper one, it expects keys that
    /// look like its first and `like`.
    fn leaf_behind<'t>(
        &mut self,
        arena: &'t Arena,
        like: Entry<'t>,
        entries: &[Entry<'t>],
        upper: Option<Entry<'t>>,
    ) -> Node<'t> {
        if upper.is_some() {
            return self.leaf(arena, Some(entries[0]), entries, upper);
        }
        // Three bytes less: a counter in decimal digits then breaks the guess once in a thousand
        // leaves, and five bytes of the head are left to tell the keys apart.
        let skip = common_size(like.user(), entries[0].user()).saturating_sub(3);
        Node::leaf(arena, &mut self.bump, skip, entries)
    }

    /// An inner node between two bounds.
    fn inner<'t>(
        &mut self,
        arena: &'t Arena,
        lower: Option<Entry<'t>>,
        separators: &[Entry<'t>],
        upper: Option<Entry<'t>>,
        children: &[Node<'t>],
    ) -> Node<'t> {
        Node::inner(arena, &mut self.bump, skip_between(lower, upper), separators, children)
    }
}

/// A node's separators and children with one of them split.
fn gather<'t>(step: Step<'t>, split: Split<'t>) -> (Vec<Entry<'t>>, Vec<Node<'t>>) {
    let Step { inner, permutation, index } = step;
    let mut separators: Vec<_> = inner.keys().entries(permutation).collect();
    let mut children: Vec<_> =
        (0..=permutation.count()).map(|index| inner.child(permutation, index)).collect();
    separators.insert(index, split.separator);
    children.splice(index..=index, [split.left, split.right]);
    (separators, children)
}

/// Whether the key begins as all in the leaf must; only the last leaf can find that it does not.
fn fits(place: &Place<'_>, key: Target<'_>) -> bool {
    place.upper.is_some() || place.leaf.keys().compare_skipped(place.permutation, key).is_eq()
}

/// What the node below `path` lies between: the nearest separators to its left and right.
fn bounds<'t>(path: &[Step<'t>]) -> (Option<Entry<'t>>, Option<Entry<'t>>) {
    let lower = path.iter().rev().find(|step| step.index > 0);
    let upper = path.iter().rev().find(|step| step.index < step.permutation.count());
    (
        lower.map(|step| step.inner.keys().entry(step.permutation, step.index - 1)),
        upper.map(|step| step.inner.keys().entry(step.permutation, step.index)),
    )
}

/// How many first bytes all keys between the two begin with, at least.
pub(super) fn skip_between(lower: Option<Entry<'_>>, upper: Option<Entry<'_>>) -> usize {
    match (lower, upper) {
        (Some(lower), Some(upper)) => common_size(lower.user(), upper.user()),
        _ => 0,
    }
}
