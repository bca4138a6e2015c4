//! Every short history of one key and its neighbours, with every order of what the workers do.
//!
//! Each write fills a memtable of its own, and so becomes a table of its own; the flush worker and
//! the compaction worker take their steps when the history says so, and parts of the tree are
//! merged on demand. After each step, reads, scans and reverse scans at the latest moment and at
//! every snapshot must be what a map says.
//!
//! The search is depth first: a history is played from its beginning, but only the steps that no
//! history before it had are checked. A step that changes nothing is not followed further, since
//! the history without it is tried as well.

use beachdb::vfs::sim::SimVfs;
use beachdb::{Durability, Strategy};

use crate::history::{Happened, History, Op, Tree};

/// One step of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Do {
    /// The key gets a new value, or none.
    Put,
    Delete,
    /// Both neighbours get new values: their table lies over the key without having it.
    Around,
    /// A step of the first, or of the last, of the workers that are woken.
    First,
    Last,
    /// Everything from the key on, or before it, is merged into the bottom.
    From,
    Before,
    /// The tree is brought into shape.
    Settle,
    Snapshot,
    DropSnapshot,
}

const ALL: [Do; 10] = [
    Do::Put,
    Do::Delete,
    Do::Around,
    Do::First,
    Do::Last,
    Do::From,
    Do::Before,
    Do::Settle,
    Do::Snapshot,
    Do::DropSnapshot,
];

impl Do {
    /// The step at a place of the history, which every value names.
    fn op(self, place: usize) -> Op {
        let put = |key: &str| (key.as_bytes().to_vec(), Some(format!("{place}").into_bytes()));
        let write = |changes: Vec<_>| Op::Write(changes, Durability::Buffered);
        match self {
            Do::Put => write(vec![put("k")]),
            Do::Delete => write(vec![(b"k".to_vec(), None)]),
            Do::Around => write(vec![put("a"), put("z")]),
            Do::First => Op::Step(0),
            Do::Last => Op::Step(1),
            Do::From => Op::Compact(b"k".to_vec(), None),
            Do::Before => Op::Compact(Vec::new(), Some(b"k".to_vec())),
            Do::Settle => Op::WaitForCompactions,
            Do::Snapshot => Op::Snapshot,
            Do::DropSnapshot => Op::DropSnapshot,
        }
    }

    fn is_write(self) -> bool {
        matches!(self, Do::Put | Do::Delete | Do::Around)
    }

    fn is_work(self) -> bool {
        matches!(self, Do::First | Do::Last | Do::From | Do::Before | Do::Settle)
    }
}

/// What is worth trying as the next step.
fn next_steps(history: &History, path: &[Do], writes_max: usize) -> Vec<Do> {
    let writes = path.iter().filter(|step| step.is_write()).count();
    let last = path.last().copied();
    let woken = history.runtime.woken_count();
    let held = history.snapshot_count();
    let is_worthwhile = |step: &Do| match step {
        // Before the key is there, nothing about it can go wrong.
        Do::Put => writes < writes_max,
        Do::Delete | Do::Around => writes > 0 && writes < writes_max,
        Do::First => woken > 0,
        Do::Last => woken > 1,
        Do::From | Do::Before | Do::Settle => writes > 1,
        // Two at the same moment are one.
        Do::Snapshot => writes > 0 && held < 2 && last != Some(Do::Snapshot),
        Do::DropSnapshot => held > 0 && last != Some(Do::Snapshot),
    };
    ALL.into_iter().filter(is_worthwhile).collect()
}

/// Steps of the tree so far: equal numbers before and after a step mean that it did nothing.
fn progress(history: &History) -> [u64; 4] {
    let stats = history.db().stats();
    [stats.flushes, stats.compactions, stats.moves, history.db().tables().len() as u64]
}

/// How far a search goes.
#[derive(Clone, Copy, Debug)]
struct Search {
    tree: Tree,
    length: usize,
    writes_max: usize,
}

/// What a search saw.
#[derive(Debug, Default)]
struct Found {
    histories: u64,
    steps: u64,
    happened: Happened,
}

impl Search {
    fn run(&self) -> Found {
        let mut found = Found::default();
        // The steps that are still to be tried at each place, the one taken last.
        let mut open: Vec<Vec<Do>> = vec![vec![Do::Put]];
        while let Some(choices) = open.last_mut() {
            if !choices.is_empty() {
                self.play(&mut open, &mut found);
                continue;
            }
            open.pop();
            open.last_mut().map(Vec::pop);
        }
        found
    }

    /// Plays the first history that is left, and takes its last step off.
    fn play(&self, open: &mut Vec<Vec<Do>>, found: &mut Found) {
        // Only the last choice is new.
        let known = open.len() - 1;
        let mut history = History::new(SimVfs::new(), 1, self.tree);
        history.open().expect("open");
        let mut path: Vec<Do> = Vec::new();
        found.histories += 1;
        for place in 0..self.length {
            if place == open.len() {
                let mut steps = next_steps(&history, &path, self.writes_max);
                steps.reverse();
                open.push(steps);
            }
            let Some(&step) = open[place].last() else { break };
            let before = progress(&history);
            path.push(step);
            history.step(&step.op(place)).unwrap_or_else(|error| panic!("{path:?}: {error}"));
            if place < known {
                continue;
            }
            found.steps += 1;
            self.check(&history, &path);
            if step.is_work() && progress(&history) == before {
                break;
            }
        }
        if path.len() == open.len() {
            open.last_mut().map(Vec::pop);
        }
        if found.histories.is_multiple_of(5) {
            self.finish(history, &path, found);
        }
    }

    fn check(&self, history: &History, path: &[Do]) {
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| history.check()));
        assert!(checked.is_ok(), "{path:?} with {:?}", self.tree);
    }

    /// Everything is merged, with the snapshots and without them: nothing changes, and the files that
    /// are left are the tree's.
    fn finish(&self, mut history: History, path: &[Do], found: &mut Found) {
        for op in [Op::Compact(Vec::new(), None), Op::DropSnapshot, Op::DropSnapshot] {
            history.step(&op).unwrap_or_else(|error| panic!("{path:?}: {error}"));
            self.check(&history, path);
        }
        history.step(&Op::Compact(Vec::new(), None)).expect("everything merged");
        self.check(&history, path);
        found.happened.join(&history.finish().expect("close"));
    }
}

/// How long the histories are; longer takes longer by a factor of five or so for each step.
fn length(short: usize) -> usize {
    let longer = std::env::var("BEACH_SCHEDULE_EXTRA").ok().and_then(|n| n.parse().ok());
    short + longer.unwrap_or(0usize)
}

fn search(strategy: Strategy, table_size: u64, short: usize) -> Happened {
    let tree = Tree { strategy, memtable_size: 1, table_size };
    let found = Search { tree, length: length(short), writes_max: 5 }.run();
    println!("{strategy:?}, tables of {table_size}: {found:?}");
    assert!(found.histories > 1000, "{found:?}");
    found.happened
}

/// A table for each key below L0, so that slots and partial merges come about.
#[test]
fn every_short_history_is_right_by_default() {
    let happened = search(Strategy::Hybrid, 1, 6);
    assert!(happened.compactions > 500 && happened.dropped_tombstones > 100, "{happened:?}");
}

#[test]
fn every_short_history_is_right_when_leveled() {
    let happened = search(Strategy::Leveled, 1, 6);
    assert!(happened.compactions > 100 && happened.dropped_tombstones > 50, "{happened:?}");
}

#[test]
fn every_short_history_is_right_when_tiered() {
    let happened = search(Strategy::SizeTiered, 32 << 20, 6);
    assert!(happened.compactions > 100 && happened.dropped_tombstones > 50, "{happened:?}");
}

/// Old tables are dropped with their content; what is hidden by a newer version, or deleted, never
/// comes back.
#[test]
fn every_short_history_forgets_and_never_brings_back() {
    let happened = search(Strategy::Fifo { size_max: 1000 }, 1, 6);
    assert!(happened.removals > 500, "{happened:?}");
}
