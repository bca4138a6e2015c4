//! Long histories nobody wrote down: threads that lose power, and faults at random.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use parking_lot::Mutex;

use beachdb::runtime::inline::InlineRuntime;
use beachdb::vfs::fault::{Fault, FaultError, FaultVfs, OpKind, Times};
use beachdb::vfs::sim::{CrashPlan, SimVfs};
use beachdb::{Db, Durability, Error, Options, WriteBatch};

use super::{is_poisoned, keys_of, put};
use crate::history::{DIR, Dice, content_of, tiny};

const WRITERS: usize = 4;

/// Of each writer, how many of its batches were acknowledged, and how many as durable.
#[derive(Default)]
struct Floors {
    acknowledged: [AtomicU64; WRITERS],
    durable: [AtomicU64; WRITERS],
}

/// What a crash left, how many batches of each writer have to be in it, and what the crash was.
type Left = (SimVfs, Vec<u64>, String);

/// Takes a power loss and a kill at every sixth operation or so.
fn take_images(sim: &SimVfs, floors: &Arc<Floors>, images: &Arc<Mutex<Vec<Left>>>) {
    let (floors, images) = (Arc::clone(floors), Arc::clone(images));
    let mut dice = Dice(77);
    sim.set_observer(Box::new(move |count, sim| {
        if dice.below(6) != 0 {
            return;
        }
        let read =
            |all: &[AtomicU64]| all.iter().map(|count| count.load(Ordering::SeqCst)).collect();
        let (acknowledged, durable) = (read(&floors.acknowledged), read(&floors.durable));
        let plan = dice.one_of(&CrashPlan::all(count).collect::<Vec<_>>());
        let mut images = images.lock();
        images.push((sim.crash(&plan), durable, format!("{plan:?}")));
        images.push((sim.kill(), acknowledged, "kill".to_owned()));
    }));
}

fn write(db: &Db, writer: usize, floors: &Floors) {
    let mut dice = Dice(writer as u64 + 100);
    for n in 0..100 {
        let how = dice.one_of(&[Durability::Sync, Durability::Buffered, Durability::Buffered]);
        let mut batch = WriteBatch::new();
        batch.put(format!("{writer}/{n:05}/a"), vec![b'v'; dice.one_of(&[3, 80, 700])]);
        batch.put(format!("{writer}/{n:05}/b"), "v");
        db.write(batch, how).expect("put");
        floors.acknowledged[writer].store(n + 1, Ordering::SeqCst);
        match dice.below(20) {
            0 => db.flush().expect("flush"),
            1 => db.sync().expect("sync"),
            _ if how == Durability::Sync => {}
            _ => continue,
        }
        floors.durable[writer].store(n + 1, Ordering::SeqCst);
    }
}

/// Checks that each writer's batches are a whole prefix with those it was promised.
fn check_left(db: &Db, floors: &[u64], what: &str) {
    let keys = keys_of(db);
    assert_eq!(db.recovery().last_seqno.0 as usize, keys.len(), "{what}");
    for (writer, &floor) in floors.iter().enumerate() {
        let own: Vec<_> =
            keys.iter().filter(|key| key.starts_with(&format!("{writer}/"))).collect();
        let kept = own.len() as u64 / 2;
        let whole = |n| ["a", "b"].map(|end| format!("{writer}/{n:05}/{end}"));
        assert!((0..kept).flat_map(whole).eq(own.iter().copied().cloned()), "{what}: {own:?}");
        assert!(kept >= floor, "{what}: {kept} of {floor} of writer {writer}");
    }
}

/// Threads write, sync and flush, and power is lost at many moments: of each thread a prefix is left
/// with everything it was promised, and the whole has no gap.
#[test]
fn power_lost_under_many_threads_leaves_prefixes() {
    let sim = SimVfs::new();
    let open = |sim: &SimVfs| {
        let options = Options::new().memtable_size(6000).manifest_size(700).log_size(4096);
        options.vfs(Arc::new(sim.clone())).open(DIR)
    };
    let db = open(&sim).expect("a store");
    let (floors, images) = (Arc::default(), Arc::default());
    take_images(&sim, &floors, &images);
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (db, floors) = (&db, &floors);
            scope.spawn(move || write(db, writer, floors));
        }
    });
    sim.clear_observer();
    let images = std::mem::take(&mut *images.lock());
    assert!(images.len() > 100, "{} images", images.len());
    for (image, floors, what) in images {
        let db = open(&image).unwrap_or_else(|error| panic!("{what}: {error}"));
        check_left(&db, &floors, &what);
    }
}

/// One history with faults. Batch number n sets key n % 7 to n.
struct Run {
    seed: u64,
    dice: Dice,
    sim: SimVfs,
    vfs: FaultVfs,
    runtime: InlineRuntime,
    db: Option<Db>,
    issued: usize,
    /// A power loss must leave so many.
    durable: usize,
    /// The outcome of the last one is unknown.
    unknown: bool,
    errors: u64,
}

impl Run {
    fn new(seed: u64) -> Run {
        let mut dice = Dice(seed ^ 0xabcd);
        (0..4).for_each(|_| _ = dice.below(9));
        let sim = SimVfs::new();
        let (vfs, runtime) = (FaultVfs::over_sim(sim.clone()), InlineRuntime::new(seed));
        let (db, issued, durable, unknown, errors) = (None, 0, 0, false, 0);
        Run { seed, dice, sim, vfs, runtime, db, issued, durable, unknown, errors }
    }

    fn acknowledged(&self) -> usize {
        self.issued - usize::from(self.unknown)
    }

    fn change_faults(&mut self) {
        let dice = &mut self.dice;
        if dice.below(8) == 0 {
            let path = dice.one_of(&[".wal", ".sst", "MANIFEST", "CURRENT", ""]);
            self.vfs.add(Fault {
                op: dice.one_of(&OpKind::ALL),
                path_contains: path.to_owned(),
                after: dice.below(4),
                times: dice.one_of(&[Times::Once, Times::Once, Times::Always]),
                error: dice.one_of(&[FaultError::Eio, FaultError::Enospc, FaultError::Short]),
            });
        }
        if dice.below(6) == 0 {
            self.vfs.clear();
        }
    }

    fn step(&mut self) {
        self.change_faults();
        let Some(db) = self.db.take() else { return self.open() };
        match self.dice.below(20) {
            0 => {
                let result = db.sync();
                self.made_durable(result);
            }
            1 => {
                let result = db.flush();
                self.made_durable(result);
            }
            2 | 3 => self.runtime.run_until_idle(),
            4 => return,
            5 => {
                let result = db.close();
                return self.made_durable(result);
            }
            _ if self.unknown => return,
            _ => self.write(&db),
        }
        self.db = Some(db);
    }

    fn made_durable(&mut self, result: beachdb::Result<()>) {
        match result {
            Ok(()) => self.durable = self.acknowledged(),
            Err(_) => self.errors += 1,
        }
    }

    fn open(&mut self) {
        match tiny(self.vfs.clone(), &self.runtime).open(DIR) {
            Ok(db) => {
                let kept = db.recovery().last_seqno.0 as usize;
                assert!((self.acknowledged()..=self.issued).contains(&kept), "seed {}", self.seed);
                (self.issued, self.unknown) = (kept, false);
                if !db.recovery().clean {
                    self.durable = kept;
                }
                self.db = Some(db);
            }
            Err(Error::Io { .. }) => self.vfs.clear(),
            Err(error) => panic!("seed {}: {error}", self.seed),
        }
    }

    fn write(&mut self, db: &Db) {
        let how = self.dice.one_of(&[Durability::Sync, Durability::Buffered, Durability::Buffered]);
        let size = self.dice.one_of(&[3usize, 40, 400, 1600, 9000]);
        let mut batch = WriteBatch::new();
        batch.put(format!("k{}", self.issued % 7), format!("{:0size$}", self.issued));
        let poisoned = is_poisoned(db);
        match db.write(batch, how) {
            Ok(seqno) => {
                assert!(!poisoned, "seed {}", self.seed);
                self.issued += 1;
                assert_eq!(seqno.0 as usize, self.issued, "seed {}", self.seed);
                if how == Durability::Sync {
                    self.durable = self.issued;
                }
            }
            Err(_) => {
                self.errors += 1;
                self.unknown = !poisoned && is_poisoned(db);
                self.issued += usize::from(self.unknown);
            }
        }
    }

    /// Whatever is left now opens, holds a prefix, and can be written and opened again.
    fn check(&mut self) {
        let mut images = vec![(self.sim.kill(), self.acknowledged(), "kill".to_owned())];
        for plan in CrashPlan::all(self.seed).step_by(5) {
            images.push((self.sim.crash(&plan), self.durable, format!("{plan:?}")));
        }
        self.db = None;
        for (image, floor, what) in images {
            let what = format!("seed {} {what}", self.seed);
            let kept = self.check_image(&image, &what);
            assert!((floor..=self.issued).contains(&kept), "{what}: {kept} of {floor}");
        }
    }

    fn check_image(&self, image: &SimVfs, what: &str) -> usize {
        let open = || {
            let opened = tiny(image.clone(), &self.runtime).open(DIR);
            opened.unwrap_or_else(|error| panic!("{what}: {error}"))
        };
        let db = open();
        let kept = db.recovery().last_seqno.0 as usize;
        let text = |bytes| String::from_utf8(bytes).expect("text");
        let number = |value| text(value).parse::<usize>().expect("a number");
        let found = content_of(&db).into_iter().map(|(key, value)| (text(key), number(value)));
        let expected: BTreeMap<_, _> = (0..kept).map(|n| (format!("k{}", n % 7), n)).collect();
        assert_eq!(found.collect::<BTreeMap<_, _>>(), expected, "{what}");
        put(&db, "after", 3, Durability::Sync).unwrap_or_else(|error| panic!("{what}: {error}"));
        drop(db);
        assert_eq!(open().recovery().last_seqno.0 as usize, kept + 1, "{what}");
        kept
    }
}

/// Random histories with random faults, failed syncs among them: what a kill leaves has everything
/// acknowledged, what a power loss leaves everything durable; both are a prefix.
#[test]
fn random_faults_in_random_histories_lose_nothing() {
    let count = std::env::var("BEACH_FAULT_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(150);
    let mut errors = 0;
    for seed in 0..count {
        let mut run = Run::new(seed);
        run.open();
        (0..60).for_each(|_| run.step());
        run.check();
        errors += run.errors;
    }
    assert!(errors > count / 2, "{errors} errors");
}
