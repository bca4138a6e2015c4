//! Real threads and the real file system: readers beside a writer, flushes and compactions.
//!
//! Keys come in groups of four that lie far apart. Every batch sets all four of a group to one
//! version, or deletes all four; every seventh version is a deletion. So a reader can tell of each
//! pair whether it belongs where it is, of each group whether a batch was torn, and of each
//! version whether it is one that the writer could have shown at that moment.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use beachdb::runtime::Runtime;
use beachdb::runtime::threads::ThreadRuntime;
use beachdb::{Db, Durability, Iter, Options, Snapshot, Strategy, WriteBatch};

use crate::history::{Dice, STRATEGIES};

const GROUPS: u64 = 200;

/// Where the keys of a group begin.
const PARTS: [&str; 4] = ["a", "h", "q", "z"];

fn key(part: &str, group: u64) -> String {
    format!("{part}/{group:05}")
}

/// The version under a key, checked to be this key's.
fn version(key: &[u8], value: &[u8]) -> u64 {
    let text = std::str::from_utf8(value).expect("text");
    let (of, version) = text.split_once('=').expect("key and version");
    assert_eq!(of.as_bytes(), key, "a value under another's key");
    version.trim_end().parse().expect("a number")
}

fn is_deletion(version: u64) -> bool {
    version.is_multiple_of(7)
}

/// What the writer has begun and what it has finished, by group.
struct Progress {
    begun: Vec<AtomicU64>,
    done: Vec<AtomicU64>,
    over: AtomicBool,
}

impl Progress {
    fn new() -> Arc<Progress> {
        let none = || (0..GROUPS).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Progress { begun: none(), done: none(), over: AtomicBool::new(false) })
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    fn write(&self, db: &Db, group: u64, durability: Durability) {
        let (begun, done) = (&self.begun[group as usize], &self.done[group as usize]);
        let version = begun.load(Ordering::Relaxed) + 1;
        begun.store(version, Ordering::SeqCst);
        let mut batch = WriteBatch::new();
        for part in PARTS {
            let key = key(part, group);
            match is_deletion(version) {
                true => batch.delete(key),
                false => batch.put(&key, format!("{key}={version:<80}")),
            };
        }
        db.write(batch, durability).expect("write");
        done.store(version, Ordering::SeqCst);
    }

    /// Checks what a read of a group found, that began when `done` was the last version finished.
    fn check(&self, group: u64, done: u64, found: Option<u64>) {
        let begun = self.begun[group as usize].load(Ordering::SeqCst);
        match found {
            Some(version) => assert!(
                (done..=begun).contains(&version) && !is_deletion(version),
                "group {group}: {version}, not {done} to {begun}"
            ),
            None => assert!(
                done == 0 || (done..=begun).any(is_deletion),
                "group {group}: gone, between {done} and {begun}"
            ),
        }
    }

    fn done(&self, group: u64) -> u64 {
        self.done[group as usize].load(Ordering::SeqCst)
    }
}

fn get(snapshot: &Snapshot, part: &str, group: u64) -> Option<u64> {
    let key = key(part, group);
    snapshot.get(&key).expect("get").map(|value| version(key.as_bytes(), &value))
}

/// Everything an iterator yields, by key; the four of each group must be of one version.
fn check_whole(pairs: impl Iterator<Item = (Vec<u8>, u64)>) -> BTreeMap<u64, u64> {
    let mut groups: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for (key, version) in pairs {
        let text = std::str::from_utf8(&key).expect("text");
        let group = text.split_once('/').expect("part and group").1.parse().expect("a number");
        groups.entry(group).or_default().push(version);
    }
    let one = |(group, versions): (u64, Vec<u64>)| {
        assert!(versions.len() == PARTS.len(), "group {group} is torn: {versions:?}");
        assert!(versions.iter().all(|other| *other == versions[0]), "{group}: {versions:?}");
        (group, versions[0])
    };
    groups.into_iter().map(one).collect()
}

fn pairs(iter: impl Iterator<Item = beachdb::Result<(Vec<u8>, beachdb::Value)>>) -> Pairs {
    let pair = |item: beachdb::Result<(Vec<u8>, beachdb::Value)>| {
        let (key, value) = item.expect("a pair");
        let version = version(&key, &value);
        (key, version)
    };
    iter.map(pair).collect()
}

type Pairs = Vec<(Vec<u8>, u64)>;

/// One reader: point reads, scans both ways, snapshots and iterators held for long.
struct Reader<'a> {
    db: &'a Db,
    progress: &'a Progress,
    dice: Dice,
    snapshots: VecDeque<(Snapshot, BTreeMap<u64, u64>)>,
    iterators: VecDeque<(Iter, Pairs)>,
    looks: u64,
}

impl<'a> Reader<'a> {
    fn new(db: &'a Db, progress: &'a Progress, seed: u64) -> Reader<'a> {
        let (snapshots, iterators) = (VecDeque::new(), VecDeque::new());
        Reader { db, progress, dice: Dice(seed), snapshots, iterators, looks: 0 }
    }

    fn run(mut self) -> u64 {
        let clock = ThreadRuntime::default();
        while !self.progress.is_over() {
            match self.dice.below(40) {
                0 => self.scan(),
                1 => self.hold_snapshot(),
                2 => self.hold_iterator(),
                3..8 => self.step_iterators(),
                _ => self.get(),
            }
            self.looks += 1;
            if self.looks.is_multiple_of(50) {
                // Compactions run only when nobody else wants to.
                clock.sleep_us(2000);
            }
        }
        while !self.iterators.is_empty() {
            self.end_iterator();
        }
        while let Some(held) = self.snapshots.pop_front() {
            Reader::check_snapshot(&held);
        }
        self.looks
    }

    fn get(&mut self) {
        let group = self.dice.below(GROUPS);
        let key = key(self.dice.one_of(&PARTS), group);
        let done = self.progress.done(group);
        let found = self.db.get(&key).expect("get");
        let found = found.map(|value| version(key.as_bytes(), &value));
        self.progress.check(group, done, found);
    }

    fn scan(&mut self) {
        let done: Vec<u64> = (0..GROUPS).map(|group| self.progress.done(group)).collect();
        let mut found = match self.dice.below(2) {
            0 => pairs(self.db.iter()),
            _ => pairs(self.db.iter().rev()),
        };
        found.sort();
        assert!(found.windows(2).all(|two| two[0].0 < two[1].0), "a key twice");
        let found = check_whole(found.into_iter());
        for group in 0..GROUPS {
            self.progress.check(group, done[group as usize], found.get(&group).copied());
        }
    }

    fn hold_snapshot(&mut self) {
        let snapshot = self.db.snapshot();
        let shown = check_whole(pairs(snapshot.iter()).into_iter());
        self.snapshots.push_back((snapshot, shown));
        if self.snapshots.len() > 6
            && let Some(held) = self.snapshots.pop_front()
        {
            Reader::check_snapshot(&held);
        }
    }

    /// What it showed at first it shows still, both ways and key by key.
    fn check_snapshot((snapshot, shown): &(Snapshot, BTreeMap<u64, u64>)) {
        assert_eq!(&check_whole(pairs(snapshot.iter().rev()).into_iter()), shown);
        for group in (0..GROUPS).step_by(17) {
            for part in PARTS {
                assert_eq!(get(snapshot, part, group), shown.get(&group).copied());
            }
        }
    }

    fn hold_iterator(&mut self) {
        self.iterators.push_back((self.db.iter(), Pairs::new()));
        if self.iterators.len() > 4 {
            self.end_iterator();
        }
    }

    fn step_iterators(&mut self) {
        for (iter, found) in &mut self.iterators {
            found.extend(pairs(iter.by_ref().take(8)));
        }
    }

    fn end_iterator(&mut self) {
        if let Some((iter, mut found)) = self.iterators.pop_front() {
            found.extend(pairs(iter));
            assert!(found.windows(2).all(|two| two[0].0 < two[1].0), "out of order");
            check_whole(found.into_iter());
        }
    }
}

fn seconds() -> u64 {
    let asked = std::env::var("BEACH_BUSY_SECONDS").ok().and_then(|n| n.parse().ok());
    asked.unwrap_or(2)
}

fn options(strategy: Strategy) -> Options {
    let options = Options::new().strategy(strategy).memtable_size(40_000).table_size(20_000);
    options.log_size(16_384).manifest_size(3000).cache_size(100_000)
}

/// Writes until the time is up, now and then durably, and asks for merges of parts.
fn write_for(db: &Db, progress: &Progress, us: u64) {
    let clock = ThreadRuntime::default();
    let (started, mut dice) = (clock.monotonic_us(), Dice(99));
    while clock.monotonic_us() - started < us {
        for _ in 0..50 {
            progress.write(db, dice.below(GROUPS), Durability::Buffered);
        }
        match dice.below(20) {
            0 => progress.write(db, dice.below(GROUPS), Durability::Sync),
            1 => db.compact(key(dice.one_of(&PARTS), 0)..).expect("compact"),
            2 => db.compact("h".."q").expect("compact"),
            _ => {}
        }
    }
}

/// Writes for that long at least, until enough has happened in the background.
fn write_until_busy(db: &Db, progress: &Progress, us: u64) {
    write_for(db, progress, us);
    for _ in 0..200 {
        let stats = db.stats();
        if stats.flushes >= 20 && stats.compactions >= 8 {
            return;
        }
        write_for(db, progress, 100_000);
    }
}

/// Eight readers beside a writer, flushes and merges, under every strategy: every read shows what
/// it may show, no batch is torn, snapshots and iterators stay at their moment however long they
/// are held; and afterwards the store is exactly what was written, also when it is opened again.
#[test]
fn readers_are_right_beside_flushes_and_compactions() {
    for strategy in STRATEGIES {
        let dir = tempfile::tempdir().expect("a directory");
        let sand = dir.path().join("sand");
        let db = options(strategy).open(&sand).expect("a store");
        let progress = Progress::new();
        let looks = AtomicU64::new(0);
        thread::scope(|scope| {
            let readers: Vec<_> = (0..8)
                .map(|seed| {
                    let reader = Reader::new(&db, &progress, seed);
                    let looks = &looks;
                    scope.spawn(move || looks.fetch_add(reader.run(), Ordering::Relaxed))
                })
                .collect();
            let writer = scope.spawn(|| write_until_busy(&db, &progress, seconds() * 1_000_000));
            let written = writer.join();
            progress.over.store(true, Ordering::Release);
            assert!(written.is_ok(), "the writer failed");
            assert!(readers.into_iter().all(|reader| reader.join().is_ok()), "a reader failed");
        });
        let stats = db.stats();
        let (flushes, compactions) = (stats.flushes, stats.compactions);
        println!("{strategy:?}: {looks:?} looks, {flushes} flushes, {compactions} compactions");
        assert!(flushes >= 20 && compactions >= 8, "{flushes} flushes, {compactions} compactions");
        check_end(&db, &progress);
        db.close().expect("close");
        check_end(&options(strategy).open(&sand).expect("open"), &progress);
    }
}

fn check_end(db: &Db, progress: &Progress) {
    let found = check_whole(pairs(db.iter()).into_iter());
    for group in 0..GROUPS {
        let done = progress.done(group);
        let due = (done > 0 && !is_deletion(done)).then_some(done);
        assert_eq!(found.get(&group).copied(), due, "group {group}");
    }
}

/// How many read-only openings there are to be.
fn openings() -> u64 {
    let asked = std::env::var("BEACH_READER_OPENINGS").ok().and_then(|n| n.parse().ok());
    asked.unwrap_or(500)
}

/// Opens the store, or moves a reader on, until there were enough; each shows whole batches, no older
/// ones than were finished before it began, and goes on showing them.
fn open_and_refresh(
    sand: &Path,
    progress: &Progress,
    (left, enough): (&AtomicU64, &AtomicBool),
    seed: u64,
) {
    let mut dice = Dice(seed);
    let mut reader: Option<Db> = None;
    let clock = ThreadRuntime::default();
    let is_left = || left.load(Ordering::Relaxed) > 0;
    while is_left() || !enough.load(Ordering::Acquire) {
        let take = |left: u64| Some(left.saturating_sub(1));
        _ = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        clock.sleep_us(1000);
        let done: Vec<u64> = (0..GROUPS).map(|group| progress.done(group)).collect();
        match &reader {
            Some(reader) if dice.below(4) > 0 => reader.refresh().expect("refresh"),
            _ => {
                let opened = options(Strategy::Hybrid).open_read_only(sand);
                reader = Some(opened.expect("an opening beside the writer"));
            }
        }
        let Some(reader) = &reader else { continue };
        let shown = check_whole(pairs(reader.iter()).into_iter());
        for group in 0..GROUPS {
            progress.check(group, done[group as usize], shown.get(&group).copied());
        }
        let group = dice.below(GROUPS);
        for part in PARTS {
            assert_eq!(get(&reader.snapshot(), part, group), shown.get(&group).copied());
        }
    }
}

/// Readers of their own open the store and are moved on, again and again, while the writer flushes,
/// merges, removes tables and logs, and rolls manifests over: every one of them succeeds.
#[test]
fn every_opening_beside_a_compacting_writer_succeeds() {
    let dir = tempfile::tempdir().expect("a directory");
    let sand = dir.path().join("sand");
    let db = options(Strategy::Hybrid).open(&sand).expect("a store");
    let progress = Progress::new();
    progress.write(&db, 0, Durability::Sync);
    let (left, enough) = (AtomicU64::new(openings()), AtomicBool::new(false));
    thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|seed| {
                let (sand, progress, until) = (&sand, &progress, (&left, &enough));
                scope.spawn(move || open_and_refresh(sand, progress, until, seed))
            })
            .collect();
        let is_busy = || db.stats().flushes >= 20 && db.stats().compactions >= 8;
        while readers.iter().any(|reader| !reader.is_finished()) {
            write_for(&db, &progress, 20_000);
            // So that the readers have seen something of it.
            enough.store(is_busy(), Ordering::Release);
        }
        assert!(readers.into_iter().all(|reader| reader.join().is_ok()), "a reader failed");
    });
    let stats = db.stats();
    println!("{} flushes, {} compactions", stats.flushes, stats.compactions);
    assert!(stats.flushes >= 20 && stats.compactions >= 8, "{stats:?}");
    check_end(&db, &progress);
}
