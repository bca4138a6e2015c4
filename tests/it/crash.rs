//! Power is lost, or the process killed, at every operation of a history.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use beachdb::runtime::inline::InlineRuntime;
use beachdb::vfs::sim::{CrashPlan, SimVfs};
use beachdb::{Db, Durability};

use crate::history::{
    DIR, Dice, Happened, History, Op, Oracle, STRATEGIES, Tree, live_tables, table_files, tiny,
};

/// What a campaign saw; each test asserts that it saw what it is about.
#[derive(Debug, Default)]
struct Seen {
    states: u64,
    distinct: BTreeSet<u64>,
    tails_dropped: u64,
    unclean: u64,
    lost_batches: u64,
    recovery_crashes: u64,
    /// Tables that no edit named, removed by the opening.
    orphans: u64,
}

/// Opens what a crash left, checks it, writes, and opens again.
fn check_image(vfs: &SimVfs, oracle: &Oracle, floor: usize, seen: &mut Seen, what: &str) {
    // Another seed than any history's: file ids are random.
    let runtime = InlineRuntime::new(7000);
    let open = || tiny(vfs.clone(), &runtime).open(Path::new(DIR));
    let files = table_files(vfs).len() as u64;
    let db = open().unwrap_or_else(|error| panic!("{what}: does not open: {error}"));
    seen.unclean += u64::from(!db.recovery().clean);
    seen.tails_dropped += u64::from(!db.recovery().dropped.is_empty());
    assert_eq!(table_files(vfs), live_tables(&db), "{what}: files and tree");
    seen.orphans += files.saturating_sub(live_tables(&db).len() as u64);
    let kept = oracle.check_prefix(&db, floor);
    seen.lost_batches += u64::from(kept < oracle.acknowledged());
    let before = db.stats().last_seqno;
    let after = db.put(b"afterwards", b"1").unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(after.0, before.0 + 1, "{what}");
    drop(db);
    let db = open().unwrap_or_else(|error| panic!("{what}: does not open again: {error}"));
    assert_eq!(db.stats().last_seqno, after, "{what}");
    let value = db.get(b"afterwards").expect("a read");
    assert_eq!(value.as_deref(), Some(&b"1"[..]), "{what}");
}

/// Crashes the recovery of `image` at each of its operations, and recovers from that.
fn crash_recovery(
    image: &SimVfs,
    oracle: &Arc<Mutex<Oracle>>,
    floor: usize,
    seen: &Arc<Mutex<Seen>>,
    what: &str,
) {
    let (watched, inner, inner_seen) =
        (image.crash(&CrashPlan::KEEP_ALL), Arc::clone(oracle), Arc::clone(seen));
    let what_inner = what.to_owned();
    watched.set_observer(Box::new(move |count, vfs| {
        let oracle = inner.lock();
        let mut seen = inner_seen.lock();
        for plan in CrashPlan::all(count ^ 0x5eed).step_by(7) {
            let again = vfs.crash(&plan);
            if again.is_store() && seen.distinct.insert(again.image_hash()) {
                seen.recovery_crashes += 1;
                check_image(
                    &again,
                    &oracle,
                    floor,
                    &mut seen,
                    &format!("{what_inner}, recovery op {count} {plan:?}"),
                );
            }
        }
    }));
    drop(tiny(watched.clone(), &InlineRuntime::new(3000)).open(Path::new(DIR)));
    watched.clear_observer();
}

trait IsStore {
    fn is_store(&self) -> bool;
}

impl IsStore for SimVfs {
    /// Whether the image has the store's directory: a crash may come before it is durable.
    fn is_store(&self) -> bool {
        use beachdb::vfs::Vfs;
        self.exists(Path::new(DIR)).unwrap_or(false)
    }
}

/// Runs a history and, at every operation that changes the disk, checks every plan.
fn campaign(ops: &[Op], seed: u64, tree: Tree, recovery_too: bool) -> (Happened, Seen) {
    let vfs = SimVfs::new();
    let mut history = History::new(vfs.clone(), seed, tree);
    let seen = Arc::new(Mutex::new(Seen::default()));
    watch(&history, &seen, recovery_too);
    history.open().expect("open");
    for op in ops {
        history.step(op).expect("step");
        if matches!(op, Op::KillAndReopen) {
            watch(&history, &seen, recovery_too);
        }
    }
    history.check();
    let happened = history.finish().expect("close");
    (happened, std::mem::take(&mut seen.lock()))
}

fn watch(history: &History, seen: &Arc<Mutex<Seen>>, recovery_too: bool) {
    let (oracle, seen) = (Arc::clone(&history.oracle), Arc::clone(seen));
    history.vfs.set_observer(Box::new(move |count, vfs| {
        let mut deep = Vec::new();
        {
            let oracle = oracle.lock();
            let mut seen = seen.lock();
            for plan in CrashPlan::all(count) {
                let image = vfs.crash(&plan);
                seen.states += 1;
                if !image.is_store() {
                    assert_eq!(oracle.durable(), 0, "the store is gone: op {count} {plan:?}");
                    continue;
                }
                let key = image.image_hash() ^ (oracle.durable() as u64).wrapping_mul(0x9e37_79b9);
                if seen.distinct.insert(key) {
                    let what = format!("op {count} {plan:?}");
                    if recovery_too && seen.distinct.len() % 16 == 0 {
                        deep.push((image.crash(&CrashPlan::KEEP_ALL), what.clone()));
                    }
                    check_image(&image, &oracle, oracle.durable(), &mut seen, &what);
                }
            }
            // A kill keeps everything that reached the kernel.
            let killed = vfs.kill();
            if killed.is_store() {
                check_image(
                    &killed,
                    &oracle,
                    oracle.acknowledged(),
                    &mut seen,
                    &format!("op {count} kill"),
                );
            }
        }
        let floor = oracle.lock().durable();
        for (image, what) in deep {
            crash_recovery(&image, &oracle, floor, &seen, &what);
        }
    }));
}

fn put(key: &str, size: usize, durability: Durability) -> Op {
    Op::Write(vec![(key.into(), Some(vec![b'x'; size]))], durability)
}

/// Creation, synced and buffered writes, batches, a flush, a rotation, a rollover, reopenings of
/// every kind: at each operation, under each of the plans, the store opens and holds a prefix with
/// everything that was acknowledged as durable; and it can be written, closed and opened again.
#[test]
fn a_crash_anywhere_leaves_a_prefix_with_everything_durable() {
    use Durability::{Buffered, Sync};
    let ops = [
        put("a", 20, Sync),
        put("b", 700, Buffered),
        Op::Write(vec![("a".into(), None), ("c".into(), Some(vec![b'y'; 900]))], Buffered),
        put("d", 10, Sync),
        Op::Reopen,
        put("e", 1200, Buffered),
        put("f", 600, Buffered),
        Op::Background,
        put("g", 5, Sync),
        Op::DropAndReopen,
        put("h", 6000, Buffered),
        Op::Write(vec![("h".into(), None)], Buffered),
        Op::Sync,
        Op::KillAndReopen,
        put("i", 30, Buffered),
        Op::Flush,
        put("j", 30, Sync),
        Op::Reopen,
        put("k", 30, Buffered),
    ];
    let (happened, seen) = campaign(&ops, 1, Tree::default(), true);
    assert!(happened.flushes >= 2, "{happened:?}");
    assert!(seen.unclean > 100 && seen.tails_dropped > 10 && seen.lost_batches > 10, "{seen:?}");
    assert!(seen.recovery_crashes > 100, "{seen:?}");
    println!(
        "{} states, {} distinct, {} tails dropped, {} crashed recoveries",
        seen.states,
        seen.distinct.len(),
        seen.tails_dropped,
        seen.recovery_crashes
    );
}

fn seeded_history(seed: u64) -> Vec<Op> {
    let mut dice = Dice(seed);
    let length = 6 + dice.below(10);
    (0..length).map(|_| seeded_op(&mut dice)).collect()
}

fn seeded_op(dice: &mut Dice) -> Op {
    let durability = if dice.below(3) == 0 { Durability::Sync } else { Durability::Buffered };
    match dice.below(20) {
        0 => Op::Sync,
        1 => Op::Flush,
        2 => Op::Background,
        6 => Op::Step(dice.below(2) as usize),
        7 => Op::Compact(Vec::new(), None),
        8 => Op::Compact(b"k2".to_vec(), Some(b"k4".to_vec())),
        9 => match dice.below(3) {
            0 => Op::WaitForCompactions,
            1 => Op::Snapshot,
            _ => Op::Iterate,
        },
        3 => Op::Reopen,
        4 => Op::DropAndReopen,
        5 => Op::KillAndReopen,
        _ => {
            let count = 1 + dice.below(3);
            let changes = (0..count).map(|_| {
                let key = format!("k{}", dice.below(6)).into_bytes();
                let size = [3, 40, 400, 1600][dice.below(4) as usize];
                let byte = dice.below(256) as u8;
                (key, (dice.below(4) > 0).then(|| vec![byte; size]))
            });
            Op::Write(changes.collect(), durability)
        }
    }
}

/// Merges of parts and of all, cut into many tables, with snapshots and iterators held over them, a
/// flush between a job's steps, reopenings in between: at each operation, under each of the plans,
/// the store opens with the old tree or the new one, without a left-over table, and holds a prefix.
#[test]
fn a_crash_in_a_compaction_leaves_the_old_tree_or_the_new() {
    use Durability::{Buffered, Sync};
    let erase = |key: &str| Op::Write(vec![(key.into(), None)], Buffered);
    let all = || Op::Compact(Vec::new(), None);
    let ops = [
        put("a", 300, Buffered),
        put("m", 300, Buffered),
        put("z", 300, Buffered),
        Op::Flush,
        erase("a"),
        put("m", 200, Sync),
        Op::Snapshot,
        Op::Flush,
        all(),
        put("b", 400, Buffered),
        erase("m"),
        Op::Iterate,
        Op::Flush,
        put("y", 400, Buffered),
        Op::Flush,
        Op::Compact(b"a".to_vec(), Some(b"c".to_vec())),
        Op::DropIterator,
        Op::KillAndReopen,
        put("c", 900, Buffered),
        put("d", 900, Buffered),
        erase("z"),
        put("e", 900, Buffered),
        Op::Background,
        Op::WaitForCompactions,
        Op::Reopen,
        put("a", 50, Sync),
        all(),
    ];
    let mut happened = Happened::default();
    let mut orphans = 0;
    for (strategy, table_size) in [(STRATEGIES[0], 500), (STRATEGIES[1], 1)] {
        let tree = Tree { strategy, table_size, ..Tree::default() };
        let (what, seen) = campaign(&ops, 1, tree, table_size == 500);
        println!(
            "{strategy:?}: {} states, {} distinct, {what:?}",
            seen.states,
            seen.distinct.len()
        );
        happened.join(&what);
        orphans += seen.orphans;
    }
    assert!(happened.compactions >= 6 && happened.removals >= 10, "{happened:?}");
    assert!(happened.dropped_shadowed > 0 && happened.dropped_tombstones > 0, "{happened:?}");
    assert!(happened.rollovers > 0 && happened.late_iterators > 0, "{happened:?}");
    assert!(orphans > 10, "{orphans} tables of interrupted jobs");
}

/// The same over seeded histories, so that orders nobody thought of are crashed too.
#[test]
fn a_crash_in_a_seeded_history_leaves_a_prefix() {
    let (mut total, mut happened) = (0, Happened::default());
    let count = std::env::var("BEACH_CRASH_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(12);
    for seed in 0..count {
        println!("history of seed {seed}");
        let mut dice = Dice(seed);
        let tree = Tree {
            strategy: dice.one_of(&STRATEGIES),
            table_size: dice.one_of(&[1, 600, 32 << 20]),
            ..Tree::default()
        };
        let (what, seen) = campaign(&seeded_history(seed), seed, tree, seed % 4 == 0);
        total += seen.states;
        happened.join(&what);
    }
    assert!(total > 10_000, "{total} states");
    assert!(happened.compactions > 3 && happened.removals > 6, "{happened:?}");
}

/// A clean reopen changes no byte but the pid in LOCK, and recovering twice changes nothing more.
#[test]
fn recovery_is_idempotent_and_a_clean_reopen_writes_nothing() {
    let vfs = SimVfs::new();
    let runtime = InlineRuntime::new(1);
    let open =
        |vfs: &SimVfs| -> Db { tiny(vfs.clone(), &runtime).open(Path::new(DIR)).expect("open") };
    let db = open(&vfs);
    for n in 0..40 {
        db.put(format!("key{n}"), vec![b'v'; 100]).expect("put");
    }
    let killed = vfs.kill();
    drop(db);
    open(&killed).close().expect("close");
    let before = (killed.image_hash(), killed.sync_count());
    for _ in 0..3 {
        open(&killed).close().expect("close");
    }
    assert_eq!((killed.image_hash(), killed.sync_count()), before);
}
