//! The store against a sorted map, over histories with tiny thresholds.

use beachdb::Durability;
use beachdb::vfs::sim::SimVfs;
use proptest::prelude::*;

use crate::history::{Change, History, Op};

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
        2 => Just(Op::Snapshot),
        1 => Just(Op::DropSnapshot),
        3 => Just(Op::Check),
        1 => Just(Op::Reopen),
        1 => Just(Op::DropAndReopen),
        1 => Just(Op::KillAndReopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever is done to it, and however often it is closed, dropped or killed in between, the
    /// store holds what a map holds: scanned both ways, read key by key, and at each snapshot.
    #[test]
    fn a_store_is_a_sorted_map(ops in prop::collection::vec(op(), 1..60), seed in any::<u64>()) {
        let mut history = History::new(SimVfs::new(), seed);
        history.open().expect("open");
        for op in &ops {
            history.step(op).expect("step");
        }
        history.check();
        history.finish().expect("close");
    }
}
