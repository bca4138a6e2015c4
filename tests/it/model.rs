//! The store against a sorted map, over histories with tiny thresholds.

use beachdb::Durability;
use beachdb::vfs::sim::SimVfs;
use proptest::prelude::*;

use crate::history::{Change, Dice, Happened, History, Op, STRATEGIES, Tree};

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => (0u8..12).prop_map(|n| format!("key{n:02}").into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 1..4),
        1 => (1usize..300).prop_map(|n| vec![0xff; n]),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    (key(), prop::option::weighted(0.7, value()))
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => prop::collection::vec(any::<u8>(), 0..60),
        1 => (0usize..3000).prop_map(|n| vec![b'v'; n]),
    ]
}

fn durability() -> impl Strategy<Value = Durability> {
    prop_oneof![Just(Durability::Sync), Just(Durability::Buffered)]
}

/// Any step, writes most often.
pub(crate) fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => (prop::collection::vec(change(), 1..4), durability())
            .prop_map(|(changes, durability)| Op::Write(changes, durability)),
        1 => Just(Op::Sync),
        2 => Just(Op::Flush),
        2 => Just(Op::Background),
        2 => (0usize..2).prop_map(Op::Step),
        2 => (key(), prop::option::of(key())).prop_map(|(from, to)| Op::Compact(from, to)),
        1 => Just(Op::WaitForCompactions),
        2 => Just(Op::Snapshot),
        1 => Just(Op::DropSnapshot),
        1 => Just(Op::Iterate),
        1 => Just(Op::DropIterator),
        1 => Just(Op::Read),
        3 => Just(Op::Check),
        1 => Just(Op::Reopen),
        1 => Just(Op::DropAndReopen),
        1 => Just(Op::KillAndReopen),
    ]
}

/// A way to keep the tree in shape; outputs from a key each to one for all.
fn tree() -> impl Strategy<Value = Tree> {
    let strategy = prop::sample::select(STRATEGIES.to_vec());
    let sizes =
        (prop::sample::select(vec![1, 400, 1500]), prop::sample::select(vec![1, 500, 9000]));
    (strategy, sizes).prop_map(|(strategy, (memtable_size, table_size))| Tree {
        strategy,
        memtable_size,
        table_size,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever is done to it, and however often it is closed, dropped or killed in between, the
    /// store holds what a map holds: scanned both ways, read key by key, at each snapshot, through
    /// iterators made long ago and beside the writer; and at the end no table is left over.
    #[test]
    fn a_store_is_a_sorted_map(
        ops in prop::collection::vec(op(), 1..60),
        tree in tree(),
        seed in any::<u64>(),
    ) {
        let mut history = History::new(SimVfs::new(), seed, tree);
        history.open().expect("open");
        for op in &ops {
            history.step(op).expect("step");
        }
        history.check();
        history.finish().expect("close");
    }
}

/// A long history over few keys: mostly writes, and everything that compaction has to respect.
fn long_history(dice: &mut Dice) -> Vec<Op> {
    let key = |n: u64| format!("key{n:02}").into_bytes();
    let op = |dice: &mut Dice| match dice.below(40) {
        0 => Op::Snapshot,
        1 => Op::DropSnapshot,
        2 => Op::Iterate,
        3 => Op::DropIterator,
        4 => Op::Read,
        5 | 6 => Op::Step(dice.below(2) as usize),
        7 => Op::Background,
        8 => Op::Flush,
        9 => Op::Compact(key(dice.below(30)), Some(key(dice.below(30)))),
        10 if dice.below(3) == 0 => Op::WaitForCompactions,
        11 if dice.below(8) == 0 => Op::Compact(Vec::new(), None),
        12 if dice.below(6) == 0 => Op::Reopen,
        13 if dice.below(6) == 0 => Op::KillAndReopen,
        14 => Op::Check,
        _ => {
            let count = 1 + dice.below(3);
            let changes = (0..count).map(|_| {
                let size = dice.one_of(&[3, 40, 300, 700]);
                let value = vec![dice.below(256) as u8; size];
                (key(dice.below(30)), (dice.below(4) > 0).then_some(value))
            });
            Op::Write(changes.collect(), Durability::Buffered)
        }
    };
    (0..600).map(|_| op(dice)).collect()
}

/// Long seeded histories under every strategy and several sizes of tables do everything that a
/// compaction can do, and stay what the model says; each ends with exactly the tables of the tree.
#[test]
fn long_histories_compact_in_every_way() {
    let seeds = std::env::var("BEACH_MODEL_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(2);
    for strategy in STRATEGIES {
        let mut happened = Happened::default();
        for seed in 0..seeds {
            for table_size in [1, 900, 32 << 20] {
                let mut dice = Dice(seed * 31 + table_size);
                let tree = Tree { strategy, table_size, ..Tree::default() };
                let mut history = History::new(SimVfs::new(), seed, tree);
                history.open().expect("open");
                for op in long_history(&mut dice) {
                    history.step(&op).expect("step");
                }
                history.check();
                happened.join(&history.finish().expect("close"));
            }
        }
        println!("{strategy:?}: {happened:?}");
        assert!(happened.compactions > 60 && happened.removals > 200, "{happened:?}");
        assert!(happened.dropped_shadowed > 200, "{happened:?}");
        assert!(happened.dropped_tombstones > 100, "{happened:?}");
        assert!(happened.refreshes > 20 && happened.late_iterators > 10, "{happened:?}");
        assert!(happened.rollovers > 0, "{happened:?}");
    }
}
