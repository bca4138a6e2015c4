//! The protocols by which readers do without locks, and writers share one, under every order that the
//! memory model allows.
//!
//! These are models, not the engine's own code: an arena of raw memory cannot be run by `loom`. Each
//! has the same atomics in the same order with the same orderings as the code it stands for, and is
//! named after it; and each is run once more with one ordering too weak, where it must fail.

mod queue;

use loom::sync::atomic::{AtomicU64, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;

/// Runs a model in every order; `true` if none of them broke an assertion.
fn holds(model: impl Fn() + Sync + Send + 'static) -> bool {
    let run = std::panic::AssertUnwindSafe(|| loom::model(model));
    std::panic::catch_unwind(run).is_ok()
}

/// A leaf of the memtable: slots that are filled once, named by one word (`engine/memtable/node`).
struct Leaf {
    permutation: AtomicU64,
    slots: [AtomicU64; 2],
}

impl Leaf {
    fn new() -> Leaf {
        Leaf { permutation: AtomicU64::new(0), slots: [AtomicU64::new(0), AtomicU64::new(0)] }
    }

    fn insert(&self, index: u64, publish: Ordering) {
        self.slots[index as usize].store(index + 1, Ordering::Relaxed);
        self.permutation.store(index + 1, publish);
    }

    /// How many entries there are, each of which must be whole.
    fn count(&self) -> u64 {
        let count = self.permutation.load(Ordering::Acquire);
        for index in 0..count {
            assert_eq!(self.slots[index as usize].load(Ordering::Relaxed), index + 1, "half made");
        }
        count
    }
}

/// One writer inserts two entries and makes each visible; a reader must find whatever is visible.
fn leaf_model(publish: Ordering, show: Ordering) -> bool {
    holds(move || {
        let leaf = Arc::new((Leaf::new(), AtomicU64::new(0)));
        let writer = {
            let leaf = Arc::clone(&leaf);
            thread::spawn(move || {
                for index in 0..2 {
                    leaf.0.insert(index, publish);
                    leaf.1.store(index + 1, show);
                }
            })
        };
        let visible = leaf.1.load(Ordering::Acquire);
        assert!(leaf.0.count() >= visible, "an entry that is visible is not there");
        writer.join().expect("the writer");
    })
}

/// With the engine's orderings a reader finds every visible entry, whole; with the store of the
/// permutation or of the visible sequence number relaxed it would not.
#[test]
fn a_leaf_shows_what_is_visible() {
    assert!(leaf_model(Ordering::Release, Ordering::Release));
    assert!(!leaf_model(Ordering::Relaxed, Ordering::Relaxed));
}

/// A leaf is split: its entry is copied into a new one, the new one gets the next entry, and the
/// parent's word names it. A reader that still takes the old leaf finds all that was there before.
fn split_model(publish: Ordering) -> bool {
    holds(move || {
        // The leaves, the parent's word (which leaf), the visible sequence number.
        let tree = Arc::new(([Leaf::new(), Leaf::new()], AtomicU64::new(0), AtomicU64::new(0)));
        tree.0[0].insert(0, Ordering::Release);
        tree.2.store(1, Ordering::Release);
        let writer = {
            let tree = Arc::clone(&tree);
            thread::spawn(move || {
                // A node is made before it can be reached, so with plain stores.
                tree.0[1].slots[0].store(1, Ordering::Relaxed);
                tree.0[1].permutation.store(1, Ordering::Relaxed);
                tree.1.store(1, publish);
                tree.0[1].insert(1, Ordering::Release);
                tree.2.store(2, Ordering::Release);
            })
        };
        let visible = tree.2.load(Ordering::Acquire);
        let leaf = tree.1.load(Ordering::Acquire);
        assert!(tree.0[leaf as usize].count() >= visible, "an entry was lost in the split");
        writer.join().expect("the writer");
    })
}

/// While a leaf is being split no visible entry is out of sight; with the new leaf named by a relaxed
/// store it could be.
#[test]
fn a_split_hides_nothing() {
    assert!(split_model(Ordering::Release));
    assert!(!split_model(Ordering::Relaxed));
}

/// A rotation between two writes: the view names the second memtable before anything in it is visible
/// (`Core::replace_view`, `Core::commit_group`). `first` says whether the reader loads the view before
/// the visible sequence number, as `Core::seqno_of` does.
fn rotation_model(first: bool) -> bool {
    holds(move || {
        // Entries of the two memtables, how many memtables the view has, the visible number, and what
        // a writer was told is written.
        let cells: [AtomicU64; 5] = std::array::from_fn(|_| AtomicU64::new(0));
        let store = Arc::new(cells);
        let writer = {
            let store = Arc::clone(&store);
            thread::spawn(move || {
                let [one, two, view, visible, told] = &*store;
                one.store(1, Ordering::Release);
                visible.store(1, Ordering::Release);
                view.store(1, Ordering::Release);
                two.store(1, Ordering::Release);
                visible.store(2, Ordering::Release);
                told.store(2, Ordering::Release);
            })
        };
        let [one, two, view, visible, told] = &*store;
        let told = told.load(Ordering::Acquire);
        let (view, seqno) = match first {
            true => (view.load(Ordering::Acquire), visible.load(Ordering::Acquire)),
            false => {
                let seqno = visible.load(Ordering::Acquire);
                (view.load(Ordering::Acquire), seqno)
            }
        };
        let second = view == 1 && seqno >= 2 && two.load(Ordering::Acquire) == 1;
        let found = u64::from(seqno >= 1 && one.load(Ordering::Acquire) == 1) + u64::from(second);
        assert!(found >= told, "a write that had returned is not seen");
        // What is found is a moment of the history: nothing newer without the older.
        assert!(!second || found == 2);
        if view == 1 {
            assert_eq!(found, seqno, "the view holds all up to the number");
        }
        writer.join().expect("the writer");
    })
}

/// Whichever way a rotation falls between two writes, a reader sees every write that had returned, and
/// a moment of the history.
#[test]
fn a_view_and_a_number_are_one_moment() {
    assert!(rotation_model(true));
}

/// A snapshot is taken while a newer version becomes visible and a compaction looks which versions are
/// needed (`SnapshotList::pin`, `Core::merge_into`). `inside` says whether the visible number is read with
/// the list locked.
fn snapshot_model(inside: bool) -> bool {
    holds(move || {
        // Pinned numbers; the visible one; whether the old version is still in the tree.
        let store = Arc::new((Mutex::new(Vec::new()), AtomicU64::new(1), AtomicU64::new(1)));
        let compactor = {
            let store = Arc::clone(&store);
            thread::spawn(move || {
                store.1.store(2, Ordering::Release);
                let pinned = store.0.lock().expect("the list").clone();
                if !pinned.contains(&1) {
                    store.2.store(0, Ordering::Release);
                }
            })
        };
        let early = store.1.load(Ordering::Acquire);
        let seqno = {
            let mut pinned = store.0.lock().expect("the list");
            let seqno = if inside { store.1.load(Ordering::Acquire) } else { early };
            pinned.push(seqno);
            seqno
        };
        compactor.join().expect("the compactor");
        let kept = store.2.load(Ordering::Acquire) == 1;
        assert!(seqno == 2 || kept, "the version that the snapshot sees was dropped");
    })
}

/// A snapshot that is taken beside a compaction never loses its version; were the sequence number read
/// before the list is locked, it could.
#[test]
fn a_snapshot_is_registered_before_it_has_a_number() {
    assert!(snapshot_model(true));
    assert!(!snapshot_model(false));
}
