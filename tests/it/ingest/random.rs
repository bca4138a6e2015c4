//! Ingests among everything else a store does, at random, against a map.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use beachdb::runtime::inline::{InlineRuntime, SplitMix64};
use beachdb::table::Compression;
use beachdb::vfs::sim::SimVfs;
use beachdb::{Db, Durability, Event, Listener, Snapshot, Strategy, WriteBatch};

use crate::corners::hook::HookVfs;
use crate::history::{Content, DIR, content_of, content_of_snapshot, tiny};

/// Keys there are.
const KEYS: u64 = 60;

/// Runs, and steps of each.
const RUNS: u64 = 150;
const STEPS: u64 = 80;

const STRATEGIES: [Strategy; 3] = [Strategy::Hybrid, Strategy::Leveled, Strategy::SizeTiered];

/// What the store should hold, and what decides what happens to it.
struct State {
    random: SplitMix64,
    content: Content,
    values: u64,
}

impl State {
    fn value(&mut self) -> Vec<u8> {
        self.values += 1;
        format!("{}-", self.values).repeat(1 + self.random.below(12) as usize).into_bytes()
    }

    fn is_one_in(&mut self, count: u64) -> bool {
        self.random.below(count) == 0
    }

    /// A change of one key, noted.
    fn change(&mut self, key: u64) -> (String, Option<Vec<u8>>) {
        let key = format!("key{key:02}");
        let value = (!self.is_one_in(4)).then(|| self.value());
        match &value {
            Some(value) => self.content.insert(key.clone().into_bytes(), value.clone()),
            None => self.content.remove(key.as_bytes()),
        };
        (key, value)
    }

    fn range(&mut self) -> std::ops::Range<u64> {
        let from = self.random.below(KEYS);
        from..from + 1 + self.random.below(KEYS - from)
    }
}

/// Knows whether a compaction runs, and ingests in the middle of it now and then.
struct Meddler {
    db: Mutex<Weak<Db>>,
    state: Mutex<State>,
    merging: AtomicBool,
    ingests_inside: AtomicU64,
}

impl std::fmt::Debug for Meddler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meddler")
    }
}

impl Listener for Meddler {
    fn event(&self, event: &Event) {
        match event {
            Event::CompactionBegun { .. } => self.merging.store(true, Ordering::SeqCst),
            Event::CompactionEnded { .. } => self.merging.store(false, Ordering::SeqCst),
            _ => {}
        }
    }
}

impl Meddler {
    fn ingest(&self, db: &Db) {
        let mut state = self.state.lock();
        let (range, step) = (state.range(), 1 + state.random.below(7) as usize);
        let mut writer = db.ingest_writer().expect("a writer");
        for key in range.step_by(step) {
            match state.change(key) {
                (key, Some(value)) => writer.put(key, value),
                (key, None) => writer.delete(key),
            }
            .expect("added");
        }
        drop(state);
        writer.commit().expect("an ingest");
    }

    fn write(&self, db: &Db) {
        let mut state = self.state.lock();
        let mut batch = WriteBatch::new();
        for _ in 0..1 + state.random.below(8) {
            let key = state.random.below(KEYS);
            match state.change(key) {
                (key, Some(value)) => batch.put(key, value),
                (key, None) => batch.delete(key),
            };
        }
        drop(state);
        db.write(batch, Durability::Buffered).expect("a write");
    }

    /// A table is about to be made.
    fn meddle(&self) {
        if !self.merging.swap(false, Ordering::SeqCst) {
            return;
        }
        let db = self.db.lock().upgrade();
        let chosen = self.below(2) == 0;
        if let Some(db) = db.filter(|_| chosen) {
            self.ingest(&db);
            self.ingests_inside.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn below(&self, bound: u64) -> u64 {
        self.state.lock().random.below(bound)
    }
}

fn open(sim: &SimVfs, runtime: &InlineRuntime, meddler: &Arc<Meddler>) -> Arc<Db> {
    let hooked = Arc::clone(meddler);
    let vfs = HookVfs::new(sim.clone(), move |call, path, _| {
        if call == "create" && path.extension() == Some("sst".as_ref()) {
            hooked.meddle();
        }
        Ok(())
    });
    let strategy = STRATEGIES[meddler.below(3) as usize];
    let table_size = [400, 900, 3000, 1 << 20][meddler.below(4) as usize];
    let options = tiny(vfs, runtime).strategy(strategy).table_size(table_size);
    let options = options.compression(Compression::None).listener(Arc::clone(meddler) as _);
    let db = Arc::new(options.open(DIR).expect("a store"));
    *meddler.db.lock() = Arc::downgrade(&db);
    db
}

/// Everything is read in every way, now and as each snapshot has it.
fn check(db: &Db, meddler: &Meddler, snapshots: &[(Snapshot, Content)], what: &str) {
    let content = meddler.state.lock().content.clone();
    assert_eq!(content_of(db), content, "{what}");
    for key in 0..KEYS {
        let key = format!("key{key:02}").into_bytes();
        let found = db.get(&key).expect("get").map(|value| value.to_vec());
        assert_eq!(found.as_ref(), content.get(&key), "{what}: {}", key.escape_ascii());
        for (snapshot, content) in snapshots {
            let found = snapshot.get(&key).expect("get").map(|value| value.to_vec());
            let key_name = key.escape_ascii();
            assert_eq!(found.as_ref(), content.get(&key), "{what}: {key_name} at a snapshot");
        }
    }
    for (snapshot, content) in snapshots {
        assert_eq!(&content_of_snapshot(snapshot), content, "{what}: a snapshot");
    }
}

fn run(seed: u64) -> u64 {
    let (sim, runtime) = (SimVfs::new(), InlineRuntime::new(seed));
    let random = SplitMix64::new(seed);
    let meddler = Arc::new(Meddler {
        db: Mutex::new(Weak::new()),
        state: Mutex::new(State { random, content: Content::new(), values: 0 }),
        merging: AtomicBool::new(false),
        ingests_inside: AtomicU64::new(0),
    });
    let mut db = open(&sim, &runtime, &meddler);
    let mut snapshots: Vec<(Snapshot, Content)> = Vec::new();
    for step in 0..STEPS {
        match meddler.below(20) {
            0..=5 => meddler.write(&db),
            6..=8 => meddler.ingest(&db),
            9 => db.flush().expect("a flush"),
            10..=14 => drop(runtime.step_one(meddler.below(2) as usize)),
            15 => {
                let range = meddler.state.lock().range();
                let key = |key: u64| format!("key{key:02}");
                db.compact(key(range.start)..key(range.end)).expect("a compaction");
            }
            16 => db.wait_for_compactions().expect("in shape"),
            17 if snapshots.len() < 3 => {
                let content = meddler.state.lock().content.clone();
                snapshots.push((db.snapshot(), content));
            }
            18 if !snapshots.is_empty() => {
                let at = meddler.below(snapshots.len() as u64) as usize;
                drop(snapshots.swap_remove(at));
            }
            19 => {
                snapshots.clear();
                drop(db);
                db = open(&sim, &runtime, &meddler);
            }
            _ => {}
        }
        check(&db, &meddler, &snapshots, &format!("seed {seed}, step {step}"));
    }
    meddler.ingests_inside.load(Ordering::SeqCst)
}

/// Writes, ingests of many tables or of one, flushes, merges of parts, snapshots and reopenings with
/// another strategy and another size of tables, in any order, and ingests in the middle of merges: after
/// each step every key, every scan and every snapshot is what a map says.
#[test]
fn ingests_among_everything_else_are_as_a_map_says() {
    let inside: u64 = (0..RUNS).map(run).sum();
    assert!(inside > RUNS, "{inside} ingests in the middle of a merge");
}
