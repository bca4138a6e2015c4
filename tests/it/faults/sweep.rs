//! One fixed history with a fault at every place it has.

use super::*;

use std::collections::BTreeMap;

use crate::history::Content;

/// One step of the history.
#[derive(Clone, Copy, Debug)]
enum Do {
    Put(&'static str, usize, Durability),
    Sync,
    Flush,
    Background,
    Read,
    Close,
    Drop,
}

use Durability::{Buffered, Sync};

/// Creation, synced and buffered writes, growth, rotation, flushes, a manifest rollover, reads,
/// closing and dropping, and closing at last, so that whatever failed before has to be told.
const HISTORY: &[Do] = &[
    Do::Put("a", 20, Sync),
    Do::Put("b", 500, Buffered),
    Do::Put("c", 700, Sync),
    Do::Read,
    Do::Close,
    Do::Put("d", 900, Buffered),
    Do::Put("e", 30, Sync),
    Do::Background,
    Do::Read,
    Do::Drop,
    Do::Put("f", 6000, Buffered),
    Do::Put("a", 40, Buffered),
    Do::Sync,
    Do::Background,
    Do::Put("g", 50, Sync),
    Do::Flush,
    Do::Put("b", 60, Buffered),
    Do::Read,
    Do::Close,
    Do::Put("h", 1400, Buffered),
    Do::Put("i", 1400, Buffered),
    Do::Put("j", 70, Sync),
    Do::Read,
    Do::Flush,
    Do::Put("k", 80, Buffered),
    Do::Close,
];

/// What is known of one run.
struct Run {
    sim: SimVfs,
    vfs: FaultVfs,
    runtime: InlineRuntime,
    db: Option<Db>,
    what: String,
    /// Acknowledged, or found after reopening.
    written: Vec<(&'static str, usize)>,
    /// So many of them a power loss must leave.
    durable: usize,
    /// Its outcome is unknown.
    unknown: Option<(&'static str, usize)>,
    poisoned: bool,
    /// The handle that was last closed or dropped must not have left a mark that it was.
    unclean_due: bool,
    errors: u64,
    unclean: u64,
}

fn content(written: &[(&'static str, usize)]) -> Content {
    let pair = |&(key, size): &(&str, usize)| (key.as_bytes().to_vec(), vec![b'v'; size]);
    written.iter().map(pair).collect()
}

impl Run {
    fn new(fault: Option<Fault>) -> Run {
        let sim = SimVfs::new();
        let vfs = FaultVfs::over_sim(sim.clone());
        let what = format!("{fault:?}");
        if let Some(fault) = fault {
            vfs.add(fault);
        }
        Run {
            sim,
            vfs,
            runtime: InlineRuntime::new(1),
            db: None,
            what,
            written: Vec::new(),
            durable: 0,
            unknown: None,
            poisoned: false,
            unclean_due: false,
            errors: 0,
            unclean: 0,
        }
    }

    /// The whole history, as far as it goes: it ends early where the store cannot be opened.
    fn play(&mut self) {
        for step in HISTORY {
            if self.db.is_none() && !self.open() {
                return;
            }
            self.step(step);
        }
    }

    /// Opens the store and takes stock; false if it cannot be opened.
    fn open(&mut self) -> bool {
        match tiny(self.vfs.clone(), &self.runtime).open(DIR) {
            Ok(db) => self.db = Some(db),
            Err(error) => {
                self.expect_io(&error);
                return false;
            }
        }
        let recovery = self.db().recovery().clone();
        assert!(!(self.unclean_due && recovery.clean), "{}: marked clean", self.what);
        (self.unclean_due, self.poisoned) = (false, false);
        if let Some(unknown) = self.unknown.take()
            && recovery.last_seqno.0 == self.written.len() as u64 + 1
        {
            self.written.push(unknown);
        }
        assert_eq!(recovery.last_seqno.0, self.written.len() as u64, "{}", self.what);
        if !recovery.clean {
            self.unclean += 1;
            self.durable = self.written.len();
        }
        true
    }

    fn db(&self) -> &Db {
        self.db.as_ref().expect("an open store")
    }

    fn step(&mut self, step: &Do) {
        match *step {
            Do::Put(key, size, durability) => self.put(key, size, durability),
            Do::Sync => {
                let result = self.db().sync();
                self.durable_if(result);
            }
            Do::Flush => {
                let result = self.db().flush();
                self.durable_if(result);
            }
            Do::Background => self.runtime.run_until_idle(),
            Do::Read => self.read(),
            Do::Close => self.close(),
            Do::Drop => {
                self.unclean_due = self.is_poisoned() && self.has_written();
                self.db = None;
            }
        }
    }

    /// Writing nothing touches no file, and tells.
    fn is_poisoned(&self) -> bool {
        matches!(self.db().write(WriteBatch::new(), Buffered), Err(Error::Poisoned(_)))
    }

    /// A handle that wrote nothing into the log cannot have marked it as closed: what the one before
    /// said still holds.
    fn has_written(&self) -> bool {
        self.db().stats().wal_bytes > 0
    }

    fn put(&mut self, key: &'static str, size: usize, durability: Durability) {
        let mut batch = WriteBatch::new();
        batch.put(key, vec![b'v'; size]);
        let before = self.is_poisoned();
        match self.db().write(batch, durability) {
            Ok(seqno) => {
                assert!(!before, "{}: a write behind a failure", self.what);
                self.written.push((key, size));
                assert_eq!(seqno.0, self.written.len() as u64, "{}", self.what);
                if durability == Sync {
                    self.durable = self.written.len();
                }
            }
            Err(Error::Poisoned(_)) if before => self.errors += 1,
            Err(error) => {
                self.expect_io(&error);
                if self.is_poisoned() {
                    assert!(self.unknown.is_none(), "{}", self.what);
                    self.unknown = Some((key, size));
                }
            }
        }
    }

    fn durable_if(&mut self, result: Result<()>) {
        match result {
            Ok(()) => self.durable = self.written.len(),
            // By something in the background, or by a write that failed before.
            Err(Error::Poisoned(_)) if self.vfs.injected() > 0 => self.errors += 1,
            Err(error) => self.expect_io(&error),
        }
    }

    fn close(&mut self) {
        let db = self.db.take().expect("an open store");
        let written = db.stats().wal_bytes > 0;
        let result = db.close();
        self.unclean_due = result.is_err() && written;
        self.durable_if(result);
    }

    fn read(&mut self) {
        let expected = content(&self.written);
        let mut failures = Vec::new();
        for (key, value) in &expected {
            match self.db().get(key) {
                Ok(got) => assert_eq!(got.as_deref(), Some(value.as_slice()), "{}", self.what),
                Err(error) => failures.push(error),
            }
        }
        let mut due = expected.iter();
        for item in self.db().iter() {
            match item {
                Ok((key, value)) => {
                    assert_eq!(Some((&key, &value.to_vec())), due.next(), "{}", self.what);
                }
                Err(error) => failures.push(error),
            }
        }
        assert!(!failures.is_empty() || due.next().is_none(), "{}: a short scan", self.what);
        failures.iter().for_each(|error| self.expect_io(error));
    }

    fn expect_io(&mut self, error: &Error) {
        assert!(matches!(error, Error::Io { .. }), "{}: {error}", self.what);
        self.errors += 1;
    }

    /// What a kill or a power loss leaves now opens, and holds what it has to.
    fn check_what_is_left(&mut self) {
        let killed = self.sim.kill();
        let lost = self.sim.crash(&CrashPlan::LOSE_ALL);
        self.db = None;
        self.vfs.clear();
        let kept = self.reopen(&killed, "killed");
        assert!(kept >= self.written.len(), "{}: {kept} left by a kill", self.what);
        let kept = self.reopen(&lost, "without power");
        assert!(kept >= self.durable, "{}: {kept} left of {}", self.what, self.durable);
    }

    /// How many writes are there; they must be the first ones.
    fn reopen(&self, left: &SimVfs, how: &str) -> usize {
        use beachdb::vfs::Vfs;
        if !left.exists(Path::new(DIR)).expect("a look") {
            return 0;
        }
        let db = match tiny(left.clone(), &self.runtime).open(DIR) {
            Ok(db) => db,
            Err(error) => panic!("{}, {how}: {error}", self.what),
        };
        let kept = db.recovery().last_seqno.0 as usize;
        let mut all = self.written.clone();
        all.extend(self.unknown);
        assert!(kept <= all.len(), "{}, {how}", self.what);
        assert_eq!(content_of(&db), content(&all[..kept]), "{}, {how}", self.what);
        db.put("afterwards", "v").expect("a store that works");
        kept
    }
}

/// The places to fail at: kinds of call, with the part of the path that picks them out.
const PLACES: &[(OpKind, &[&str])] = &[
    (OpKind::Create, &[".wal", ".sst", "MANIFEST", "CURRENT"]),
    (OpKind::Open, &[""]),
    (OpKind::Read, &[".wal", ".sst", "MANIFEST", "CURRENT"]),
    (OpKind::Write, &[".wal", ".sst", "MANIFEST", "CURRENT"]),
    (OpKind::Allocate, &[".wal"]),
    (OpKind::Sync, &[".wal", ".sst", "MANIFEST", "CURRENT"]),
    (OpKind::SyncDir, &[""]),
    (OpKind::Rename, &[""]),
    (OpKind::Remove, &[""]),
    (OpKind::List, &[""]),
    (OpKind::Lock, &[""]),
];

/// Whether a fault there must show. Tidying up may fail in silence, and so may beginning a new
/// manifest only because the old one is long. A log that finds no room to grow by much, once, grows
/// by less.
fn must_be_told(fault: &Fault, path: &str) -> bool {
    let room_once = fault.op == OpKind::Allocate
        && fault.times == Times::Once
        && fault.error != FaultError::Eio;
    let awaited = matches!(path, ".wal" | ".sst") || fault.op == OpKind::Lock;
    awaited && fault.op != OpKind::Remove && !room_once
}

/// Every call of the history fails, once or for good, with an I/O error, a full disk, or half done.
#[test]
fn a_fault_anywhere_is_told_and_loses_nothing() {
    let mut sites: BTreeMap<(OpKind, &str), u64> = BTreeMap::new();
    let (mut runs, mut poisonings, mut silent) = (0u64, 0u64, 0u64);
    for &(op, paths) in PLACES {
        for &path in paths {
            for times in [Times::Once, Times::Always] {
                for error in [FaultError::Eio, FaultError::Enospc, FaultError::Short] {
                    for after in 0.. {
                        let fault = Fault { after, ..fault(op, path, times, error) };
                        let must_be_told = must_be_told(&fault, path);
                        let mut run = Run::new(Some(fault));
                        run.play();
                        if run.vfs.injected() == 0 {
                            sites.insert((op, path), after);
                            break;
                        }
                        runs += 1;
                        poisonings += u64::from(run.unknown.is_some());
                        let told = run.errors > 0 || run.unclean > 0;
                        silent += u64::from(!told);
                        assert!(told || !must_be_told, "swallowed: {}", run.what);
                        run.check_what_is_left();
                    }
                }
            }
        }
    }
    println!("{runs} runs, {poisonings} ended unknown, {silent} without a word; places: {sites:?}");
    let clean = |place| sites.get(&place).copied().unwrap_or_default();
    assert!(clean((OpKind::Sync, ".wal")) > 10 && clean((OpKind::Write, ".wal")) > 20, "{sites:?}");
    assert!(clean((OpKind::Sync, ".sst")) >= 3 && clean((OpKind::Rename, "")) >= 2, "{sites:?}");
    assert!(clean((OpKind::Allocate, ".wal")) >= 5 && poisonings > 50, "{sites:?}");
}

/// Without a fault the history does what it is for.
#[test]
fn the_swept_history_flushes_rotates_and_rolls_over() {
    let mut run = Run::new(None);
    run.play();
    assert_eq!((run.errors, run.unclean, run.poisoned), (0, 0, false));
    assert_eq!((run.written.len(), run.durable), (13, 13));
    assert!(run.open());
    let flushes = run.db().stats().lifetime.flushes;
    assert!(flushes >= 4, "{flushes} flushes");
    assert!(run.db().stats().manifest.expect("a writer").0.0 > 2, "it never rolled over");
    run.check_what_is_left();
}
