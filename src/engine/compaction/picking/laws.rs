//! Random histories on a tree whose tables are lists of entries: whatever strategies pick, in whatever
//! shape they find the tree, reads stay right and the picks end.

use proptest::prelude::*;

use super::super::{Action, Job, Limits, Shape, Strategy as Keeps, pick};
use super::model::{Tree, UNIT};
use super::rules;
use crate::types::{Level, SeqNo};

/// One step of a history.
#[derive(Clone, Debug)]
enum Event {
    /// These keys are written (or deleted) and flushed.
    Flush(Vec<(u8, bool)>),
    /// A job is picked, and done after the next flush.
    Pick,
    /// The store is opened with another strategy.
    Reopen(Keeps),
    /// A range is compacted, one job at a time, up to what is written by now.
    Range(u8, u8),
    /// A snapshot is taken, or the last one is given back.
    Snapshot(bool),
}

fn strategy() -> impl Strategy<Value = Keeps> {
    prop_oneof![
        4 => Just(Keeps::Hybrid),
        2 => Just(Keeps::Leveled),
        1 => Just(Keeps::SizeTiered),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let keys = prop_oneof![
        prop::collection::vec((any::<u8>(), prop::bool::weighted(0.2)), 1..30),
        // Many tombstones, close together.
        (any::<u8>(), 1..40u8).prop_map(|(from, count)| {
            (0..count).map(|at| (from.wrapping_add(at), true)).collect()
        }),
        // In order, so that tables can move.
        (any::<u8>(), 1..10u8).prop_map(|(from, count)| {
            (0..count).map(|at| (from.saturating_add(at), false)).collect()
        }),
    ];
    prop_oneof![
        8 => keys.prop_map(Event::Flush),
        8 => Just(Event::Pick),
        1 => strategy().prop_map(Event::Reopen),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(a, b)| Event::Range(a.min(b), a.max(b))),
        1 => any::<bool>().prop_map(Event::Snapshot),
    ]
}

/// Where a job that does not make progress would show: every job lowers the entries weighted by how
/// far they are from the bottom, or else the number of runs.
fn potential(shape: &Shape<'_>) -> (u64, usize) {
    let of = |level: usize| {
        let entries: u64 = shape.levels[level].iter().map(|table| table.entries).sum();
        entries * (Level::COUNT - level) as u64
    };
    ((0..Level::COUNT).map(of).sum(), shape.levels[0].len())
}

struct History {
    tree: Tree,
    keeps: Keeps,
    snapshot: Option<SeqNo>,
    running: Option<Job>,
    idle: bool,
}

impl History {
    fn limits(&self) -> Limits {
        Limits {
            memtable_size: 16 * UNIT,
            table_size: 8 * UNIT,
            oldest_snapshot: self.snapshot.unwrap_or(SeqNo::MAX),
            idle: self.idle,
        }
    }

    fn next(&self, wanted: Option<(u8, u8, SeqNo)>) -> Option<Job> {
        self.tree.with_shape(|shape| {
            let limits = self.limits();
            let job = match wanted {
                None => pick::pick(self.keeps, shape, &limits),
                Some((from, to, upto)) => {
                    pick::pick_range(shape, &limits, Some(&[from]), Some(&[to]), upto)
                }
            };
            if let Some(job) = &job {
                assert_eq!(rules::breach(shape, job), None, "{job:?}");
            }
            job
        })
    }

    /// Does a job; nothing but flushes has happened since it was picked.
    fn perform(&mut self, job: &Job) {
        let before = self.tree.with_shape(potential);
        self.tree.apply(job, self.snapshot);
        let after = self.tree.with_shape(potential);
        assert!(after < before, "no progress: {job:?}");
        self.check();
    }

    fn check(&self) {
        self.tree.check_order();
        let loses = matches!(self.keeps, Keeps::Fifo { .. });
        for at in self.snapshot.into_iter().chain([SeqNo::MAX]) {
            for key in 0..=u8::MAX {
                let (found, written) = (self.tree.read(key, at), self.tree.written(key, at));
                let right = found == written || (loses && found.is_none());
                assert!(right, "{key} at {at}: {found:?}, not {written:?}");
            }
        }
    }

    fn finish(&mut self) {
        if let Some(job) = self.running.take() {
            self.perform(&job);
        }
    }

    fn settle(&mut self, wanted: Option<(u8, u8, SeqNo)>) {
        self.finish();
        while let Some(job) = self.next(wanted) {
            self.perform(&job);
        }
    }

    fn step(&mut self, event: &Event) {
        match event {
            Event::Flush(keys) => {
                self.tree.flush(keys);
                self.finish();
            }
            Event::Pick => {
                self.finish();
                self.running = self.next(None);
            }
            Event::Reopen(keeps) => {
                self.finish();
                self.keeps = *keeps;
            }
            Event::Range(from, to) => {
                let wanted = (*from, *to, self.tree.last_seqno());
                self.settle(Some(wanted));
                self.assert_compact(wanted);
            }
            // A merge that runs knows of the snapshots from before.
            Event::Snapshot(take) => {
                self.finish();
                self.snapshot = take.then(|| self.tree.last_seqno());
            }
        }
        self.check();
    }

    /// All of the range up to the seqno lies in the bottom, without tombstones unless a snapshot may
    /// need them.
    fn assert_compact(&self, (from, to, upto): (u8, u8, SeqNo)) {
        self.tree.with_shape(|shape| {
            for (level, table) in shape
                .levels
                .iter()
                .enumerate()
                .flat_map(|(level, tables)| tables.iter().map(move |table| (level, table)))
            {
                let touches = table.largest.user[0] >= from && table.smallest.user[0] < to;
                if touches && table.min_seqno <= upto {
                    assert_eq!(level, 6, "{} is not in the bottom", table.number);
                    let free = self.snapshot.is_none_or(|snapshot| table.max_seqno <= snapshot);
                    assert!(table.tombstones == 0 || !free, "{} has tombstones", table.number);
                }
            }
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Flushes, jobs beside flushes, other strategies, manual ranges and snapshots in any order: every
    /// job keeps the rules and makes progress, each key reads as it was written at the snapshot and
    /// now, and the picks end.
    #[test]
    fn whatever_is_picked_reads_stay_right(
        first in strategy(),
        idle in any::<bool>(),
        events in prop::collection::vec(event(), 1..120),
    ) {
        let tree = Tree::default();
        let mut history = History { tree, keeps: first, snapshot: None, running: None, idle };
        events.iter().for_each(|event| history.step(event));
        history.idle = true;
        history.settle(None);
        history.check();
        let everything = (0, u8::MAX, history.tree.last_seqno());
        history.settle(Some(everything));
        history.assert_compact(everything);
    }

    /// A store that was anything else forgets its oldest tables: a key then reads as it was last
    /// written, or not at all, never as it was before; and no more is kept than is asked for.
    #[test]
    fn what_expires_never_brings_back_what_it_hid(
        events in prop::collection::vec(event(), 1..80),
        size_max in 1..40u64,
    ) {
        let tree = Tree::default();
        let mut history =
            History { tree, keeps: Keeps::Hybrid, snapshot: None, running: None, idle: true };
        let wanted = |event: &&Event| !matches!(event, Event::Reopen(_) | Event::Snapshot(_));
        events.iter().filter(wanted).for_each(|event| history.step(event));
        history.finish();
        history.keeps = Keeps::Fifo { size_max: size_max * UNIT };
        while let Some(job) = history.next(None) {
            prop_assert_eq!(job.action, Action::Drop);
            history.perform(&job);
        }
        let kept: u64 = history.tree.with_shape(|shape| {
            shape.levels.iter().flatten().map(|table| table.size).sum()
        });
        prop_assert!(kept <= size_max * UNIT);
    }
}
