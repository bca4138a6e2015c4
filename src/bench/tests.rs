//! Whole runs in one thread, on a simulated disk.

use super::*;
use crate::Options;
use crate::runtime::inline::InlineRuntime;
use crate::vfs::Vfs;
use crate::vfs::sim::SimVfs;

/// Watches and lets go on.
#[derive(Default)]
struct Silent {
    seconds: Vec<Second>,
}

impl Watch for Silent {
    fn tick(&mut self, _: &Tick) -> bool {
        true
    }

    fn second(&mut self, second: &Second) {
        self.seconds.push(*second);
    }
}

fn bench(settings: Settings) -> Bench {
    let runtime: Arc<dyn Runtime> = Arc::new(InlineRuntime::new(1));
    let of_store = Arc::clone(&runtime);
    let mut stores = 0;
    let opener = move |fresh: bool| {
        stores += u64::from(fresh);
        let vfs: Arc<dyn Vfs> = Arc::new(SimVfs::new());
        // Small, so that there are tables to read.
        let options = Options::new().memtable_size(64 << 10).vfs(vfs);
        options.runtime(Arc::clone(&of_store)).open(format!("/store-{stores}"))
    };
    Bench::new(settings, runtime, Box::new(opener)).expect("settings that make sense")
}

fn small(num: u64) -> Settings {
    Settings { num, ..Settings::default() }
}

#[track_caller]
fn run(bench: &mut Bench, workload: Workload) -> Report {
    let mut watch = Silent::default();
    if let Some(load) = bench.prepare(workload).expect("a store") {
        bench.run(load, Some(workload), &mut watch).expect("a load");
    }
    let report = bench.run(workload, None, &mut watch).expect("a workload");
    let told: u64 = watch.seconds.iter().map(|second| second.ops).sum();
    assert!(told >= report.ops, "{workload}: the seconds have {told} of {}", report.ops);
    report
}

/// What each leaves behind and finds, on a store whose keys are all there.
#[test]
fn workloads_do_what_they_say() {
    let mut bench = bench(small(2000));
    let fill = run(&mut bench, Workload::FillSeq);
    assert_eq!((fill.ops, fill.bytes, fill.found), (2000, 2000 * 116, None));
    assert!(fill.figures.flushes > 0 && fill.figures.wal_bytes > 2000 * 116);
    let read = run(&mut bench, Workload::ReadRandom);
    assert_eq!((read.ops, read.gets, read.found), (2000, 2000, Some(2000)));
    assert_eq!(run(&mut bench, Workload::ReadMissing).found, Some(0));
    let scan = run(&mut bench, Workload::ReadSeq);
    assert_eq!((scan.ops, scan.bytes), (2000, 2000 * 116));
    assert_eq!(run(&mut bench, Workload::ReadReverse).ops, 2000);
    let seek = run(&mut bench, Workload::SeekRandom);
    assert_eq!((seek.ops, seek.found), (2000, Some(2000)));
    assert!(seek.bytes > 1900 * 50 * 116 && seek.bytes <= 2000 * 50 * 116);
    assert_eq!(run(&mut bench, Workload::Overwrite).ops, 2000);
    assert_eq!(bench.verify().expect("a scan"), Verdict::Sound { keys: 2000 });
    assert_eq!(run(&mut bench, Workload::DeleteRandom).ops, 2000);
    let left = run(&mut bench, Workload::ReadSeq).ops;
    // Drawn 2000 times, a key is spared with a chance of 1 in e.
    assert!((650..820).contains(&left), "{left}");
    assert_eq!(bench.verify().expect("a scan"), Verdict::Sound { keys: left });
    bench.close().expect("a good end");
}

/// Draws with replacement leave out a key with a chance of 1 in e, and a second fill begins anew.
#[test]
fn a_fill_begins_with_an_empty_store() {
    let mut bench = bench(small(2000));
    run(&mut bench, Workload::FillSeq);
    run(&mut bench, Workload::FillRandom);
    let there = run(&mut bench, Workload::ReadSeq).ops;
    assert!((1180..1350).contains(&there), "{there}");
    assert_eq!(bench.verify().expect("a scan"), Verdict::Sound { keys: there });
    let sync = run(&mut bench, Workload::FillSync);
    assert_eq!((sync.ops, sync.durability), (2, Some(Durability::Sync)));
    assert!(sync.figures.syncs >= 2);
}

/// B and C find all keys with values of their size, whatever was there before; A finds all it asks
/// for.
#[test]
fn the_fixed_workloads_have_the_store_they_need() {
    let mut bench = bench(small(2000));
    let a = run(&mut bench, Workload::A);
    assert_eq!(a.found, Some(a.gets));
    assert!((70..130).contains(&a.gets), "{}", a.gets);
    let b = run(&mut bench, Workload::B);
    assert_eq!((b.ops, b.found), (2000, Some(b.gets)));
    assert!(b.bytes > 1900 * (16 + 256));
    assert_eq!(bench.prepare(Workload::C).expect("a store"), None);
    let c = run(&mut bench, Workload::C);
    let found = c.found.expect("it asks");
    assert_eq!((c.ops, c.gets), (2000, 2000));
    assert!((5..50).contains(&found), "{found}");
    assert_eq!(bench.verify().expect("a scan"), Verdict::Sound { keys: 2000 });
    run(&mut bench, Workload::DeleteRandom);
    assert_eq!(bench.prepare(Workload::C).expect("a store"), Some(Workload::FillUniqueRandom));
}

/// Threads share the operations; batches are committed to their last write.
#[test]
fn threads_and_batches_change_nothing_about_what_is_written() {
    let mut bench = bench(Settings { threads: 3, batch: 7, ..small(1000) });
    let fill = run(&mut bench, Workload::FillUniqueRandom);
    assert_eq!(fill.ops, 1000);
    assert_eq!(bench.verify().expect("a scan"), Verdict::Sound { keys: 1000 });
    let read = run(&mut bench, Workload::ReadWhileWriting);
    assert_eq!((read.ops, read.found), (1000, Some(1000)));
    assert!(read.background_ops.is_some());
    assert_eq!(bench.verify().expect("a scan"), Verdict::Sound { keys: 1000 });
}

/// A fourth of the operations, but all of a walk.
#[test]
fn a_limit_of_operations_holds_for_all_but_walks() {
    let mut bench = bench(Settings { ops: Some(500), ..small(2000) });
    assert_eq!(run(&mut bench, Workload::FillSeq).ops, 2000);
    assert_eq!(run(&mut bench, Workload::ReadRandom).ops, 500);
    assert_eq!(run(&mut bench, Workload::ReadSeq).ops, 2000);
}

/// One key more than was written, one fewer, and a key that is none of a benchmark's.
#[test]
fn verification_finds_a_wrong_store() {
    let verdict = |spoil: fn(&Db)| {
        let mut bench = bench(small(100));
        run(&mut bench, Workload::FillSeq);
        spoil(&bench.open().expect("open"));
        let Verdict::Wrong(text) = bench.verify().expect("a scan") else { panic!("not found") };
        text
    };
    let key = |number| stream::Keys::new(16).key(number).to_vec();
    assert!(key(1) < key(2));
    let text = verdict(|db| drop(db.delete(stream::Keys::new(16).key(7))));
    assert_eq!(text, "100 keys were written, 99 are there");
    let text = verdict(|db| drop(db.put(stream::Keys::new(16).key(100), "x")));
    assert!(text.starts_with("nobody has written the key"), "{text}");
    let text = verdict(|db| drop(db.put("zebra", "x")));
    assert!(text.contains("zebra"), "{text}");
}

/// One in so many operations is timed, the first among them; none if nobody wants it.
#[test]
fn sampling_is_as_asked_for() {
    for (every, samples) in [(Some(1), Some(160)), (Some(16), Some(10)), (Some(0), None)] {
        let mut bench = bench(Settings { sample_every: every, ..small(160) });
        let report = run(&mut bench, Workload::FillRandom);
        assert_eq!(report.latency.map(|latency| latency.samples), samples, "{every:?}");
    }
    let mut bench = bench(small(160));
    let fill = run(&mut bench, Workload::FillRandom);
    assert_eq!((fill.sampled_every, fill.latency.map(|it| it.samples)), (16, Some(10)));
    let mut bench = self::bench(Settings { sync: true, ..small(160) });
    assert_eq!(run(&mut bench, Workload::FillRandom).sampled_every, 1);
}

/// Settings that cannot be meant are refused before anything is opened.
#[test]
fn impossible_settings_are_refused() {
    for settings in [
        small(0),
        Settings { threads: 0, ..small(1) },
        Settings { batch: 0, ..small(1) },
        Settings { key_size: 7, ..small(1) },
        Settings { key_size: 65_535, ..small(1) },
        Settings { threads: 512, ..small(1) },
    ] {
        assert!(matches!(settings.check(), Err(Error::InvalidArgument(_))), "{settings:?}");
    }
    assert!(Settings { key_size: 8, threads: 511, ..small(1) }.check().is_ok());
}

/// Names read back, and a wrong one lists those there are.
#[test]
fn workloads_are_known_by_name() {
    for workload in Workload::ALL {
        assert_eq!(workload.name().parse(), Ok(workload));
    }
    let error = "fillsequence".parse::<Workload>().expect_err("no such workload");
    assert!(error.contains("fillsequence") && error.contains("fillseq fillrandom"), "{error}");
}

/// A store that was not empty is never replaced.
#[test]
fn a_store_that_was_there_is_not_emptied() {
    let vfs: Arc<dyn Vfs> = Arc::new(SimVfs::new());
    let runtime: Arc<dyn Runtime> = Arc::new(InlineRuntime::new(1));
    let options = Options::new().vfs(vfs).runtime(Arc::clone(&runtime));
    let db = options.clone().open("/mine").expect("a store");
    db.put("mine", "1").expect("a put");
    db.close().expect("a good end");
    let opener = move |fresh: bool| {
        assert!(!fresh);
        options.clone().open("/mine")
    };
    let mut bench = Bench::new(small(10), runtime, Box::new(opener)).expect("settings");
    let refused = bench.run(Workload::FillSeq, None, &mut Silent::default());
    assert!(matches!(refused, Err(Error::InvalidArgument(_))));
    let read = bench.run(Workload::ReadRandom, None, &mut Silent::default()).expect("a run");
    assert_eq!(read.found, Some(0));
    assert_eq!(bench.verify().expect("a scan"), Verdict::Readable { keys: 1 });
}
