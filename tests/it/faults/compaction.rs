//! Every call of a compaction fails once, and from then on for good, in every way it can.

use std::collections::{BTreeMap, BTreeSet};

use beachdb::Strategy;

use super::*;
use crate::history::{Content, Tree, live_tables, table_files};

const TREE: Tree = Tree { strategy: Strategy::Hybrid, memtable_size: 1 << 20, table_size: 1500 };

/// A store with overlapping tables in L0 and some below, as a process left it that was killed.
fn killed_store() -> SimVfs {
    let (sim, runtime) = (SimVfs::new(), InlineRuntime::new(1));
    let db = TREE.options(sim.clone(), &runtime).open(DIR).expect("a store");
    for round in 0..6u8 {
        let mut batch = WriteBatch::new();
        for key in (round * 5)..(round * 5 + 15) {
            match key % 7 {
                3 => batch.delete([key]),
                _ => batch.put([key], [key, round].repeat(40)),
            };
        }
        db.write(batch, Durability::Buffered).expect("write");
        db.flush().expect("flush");
        if round == 1 {
            db.compact::<&[u8], _>(..).expect("compact");
        }
    }
    sim.kill()
}

/// How the merge comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trigger {
    /// Somebody asks for it, and is told.
    Asked,
    /// The worker does it by itself, and the next write is told.
    Alone,
}

/// One run: a store on a faulty disk, about to be compacted.
struct Attempt {
    store: Faulty,
    content: Content,
    inputs: BTreeSet<u64>,
    what: String,
}

impl Attempt {
    fn new(killed: &SimVfs, what: String) -> Attempt {
        let sim = killed.kill();
        // Another seed than the store's first process had: file ids are random.
        let (vfs, runtime) = (FaultVfs::over_sim(sim.clone()), InlineRuntime::new(2));
        let db = TREE.options(vfs.clone(), &runtime).open(DIR).expect("open");
        // One table more, at which the worker is woken.
        db.put([200], "more").expect("put");
        db.flush().expect("flush");
        let content = content_of(&db);
        let inputs = live_tables(&db);
        let store = Faulty { sim, vfs, runtime, db };
        Attempt { store, content, inputs, what }
    }

    /// Fails the manifest's next append: what is appended then begins a new manifest.
    fn break_manifest(&self) {
        let vfs = &self.store.vfs;
        vfs.add(fault(OpKind::Write, "MANIFEST", Times::Once, FaultError::Eio));
        assert!(self.compact(Trigger::Asked) && vfs.injected() == 1, "{}", self.what);
    }

    fn read(&self, when: &str) {
        assert_eq!(content_of(&self.store.db), self.content, "{}: {when}", self.what);
    }

    /// Whether a compaction failed, of which somebody was then told exactly once.
    fn compact(&self, trigger: Trigger) -> bool {
        let (db, what) = (&self.store.db, &self.what);
        let result = match trigger {
            Trigger::Asked => db.compact::<&[u8], _>(..),
            Trigger::Alone => {
                self.store.runtime.run_until_idle();
                let shown = db.stats().background_error.is_some();
                // It is refused, and leaves nothing.
                let told = db.put("refused", "").map(drop);
                assert_eq!(shown, told.is_err(), "{what}");
                if told.is_ok() {
                    db.delete("refused").expect("as before");
                }
                told
            }
        };
        let Err(error) = result else { return false };
        assert!(matches!(error, Error::Io { .. }), "{what}: {error}");
        assert!(db.stats().background_errors > 0, "{what}");
        assert!(db.stats().background_error.is_none(), "{what}: told twice");
        true
    }

    /// After a failure the inputs are there, and so is the old tree or, where only what follows the
    /// edit failed, the new one.
    fn check_failed(&self) {
        self.read("after the failure");
        let (live, files) = (live_tables(&self.store.db), table_files(&self.store.sim));
        assert!(live.is_subset(&files), "{}: {live:?} of {files:?}", self.what);
        if live == self.inputs {
            assert!(self.inputs.is_subset(&files), "{}", self.what);
        }
    }

    /// The fault is gone: the same compaction goes through within a few attempts, without reopening.
    fn check_resumed(&self) {
        self.store.vfs.clear();
        let db = &self.store.db;
        let done = (0..4).any(|_| db.compact::<&[u8], _>(..).is_ok());
        assert!(done, "{}: it does not resume", self.what);
        self.read("resumed");
        assert!(live_tables(db).is_disjoint(&self.inputs), "{}", self.what);
        self.store.runtime.run_until_idle();
    }

    /// What a crash leaves at this moment opens, holds everything, and has no table too many.
    fn check_left(&self, when: &str) {
        let images = [
            ("a kill", self.store.sim.kill()),
            ("nothing unsynced", self.store.sim.crash(&CrashPlan::LOSE_ALL)),
            ("everything", self.store.sim.crash(&CrashPlan::KEEP_ALL)),
        ];
        for (left, image) in images {
            let what = format!("{}, {when}, {left}", self.what);
            let opened = TREE.options(image.clone(), &self.store.runtime).open(DIR);
            let db = opened.unwrap_or_else(|error| panic!("{what}: {error}"));
            let mut found = content_of(&db);
            found.remove(&b"refused"[..]);
            assert_eq!(found, self.content, "{what}");
            assert_eq!(table_files(&image), live_tables(&db), "{what}");
        }
    }
}

/// Calls of a compaction. (A manifest is created, and CURRENT renamed, when the manifest is long or
/// an append to it has failed.)
const PLACES: &[(OpKind, &[&str])] = &[
    (OpKind::Create, &[".sst", "MANIFEST", "CURRENT"]),
    (OpKind::Open, &[".sst"]),
    (OpKind::Read, &[".sst"]),
    (OpKind::Write, &[".sst", "MANIFEST", "CURRENT"]),
    (OpKind::Sync, &[".sst", "MANIFEST", "CURRENT"]),
    (OpKind::SyncDir, &[""]),
    (OpKind::Remove, &[".sst"]),
    (OpKind::Rename, &[""]),
];

/// Each call of a compaction fails, once or for good, with an I/O error, a full disk, or half done.
/// Reads go on and are right; the inputs stay; it is told once, to whoever waits or to the next
/// write; what a crash leaves then is whole; and when the fault is gone the compaction is made up
/// for without reopening, unless what CURRENT names became unknown.
#[test]
fn a_fault_anywhere_in_a_compaction_changes_nothing() {
    let killed = killed_store();
    let mut swept = Swept::default();
    for &(op, paths) in PLACES {
        for path in paths {
            for times in [Times::Once, Times::Always] {
                for error in [FaultError::Eio, FaultError::Enospc, FaultError::Short] {
                    for (trigger, broken) in
                        [(Trigger::Asked, false), (Trigger::Alone, false), (Trigger::Asked, true)]
                    {
                        swept.sweep(&killed, &fault(op, path, times, error), trigger, broken);
                    }
                }
            }
        }
    }
    println!("{swept:?}");
    let calls = |op, path: &str| swept.sites.get(&(op, path.to_owned())).copied().unwrap_or(0);
    assert!(calls(OpKind::Create, ".sst") >= 2 && calls(OpKind::Read, ".sst") >= 3, "{swept:?}");
    assert!(calls(OpKind::Write, ".sst") >= 2 && calls(OpKind::Sync, ".sst") >= 2, "{swept:?}");
    assert!(calls(OpKind::SyncDir, "") >= 3 && calls(OpKind::Sync, "MANIFEST") >= 1, "{swept:?}");
    assert!(calls(OpKind::Rename, "") >= 1 && calls(OpKind::Write, "CURRENT") >= 1, "{swept:?}");
    assert!(calls(OpKind::Remove, ".sst") >= 2, "{swept:?}");
    assert!(swept.failed > 50 && swept.unknown > 3, "{swept:?}");
}

/// What a sweep met.
#[derive(Debug, Default)]
struct Swept {
    sites: BTreeMap<(OpKind, String), u64>,
    runs: u64,
    failed: u64,
    unknown: u64,
}

impl Swept {
    /// Fails the first such call of a compaction, the second, and so on.
    fn sweep(&mut self, killed: &SimVfs, first: &Fault, trigger: Trigger, broken: bool) {
        for after in 0.. {
            let fault = Fault { after, ..first.clone() };
            let what = format!("{fault:?}, {trigger:?}, manifest broken: {broken}");
            let attempt = Attempt::new(killed, what);
            if broken {
                attempt.break_manifest();
            }
            let before = attempt.store.vfs.injected();
            attempt.store.vfs.add(fault);
            self.failed += u64::from(attempt.compact(trigger));
            if attempt.store.vfs.injected() == before {
                let most = self.sites.entry((first.op, first.path_contains.clone())).or_default();
                *most = after.max(*most);
                return;
            }
            self.runs += 1;
            self.check(&attempt, first.op);
        }
    }

    fn check(&mut self, attempt: &Attempt, op: OpKind) {
        if matches!(op, OpKind::Open | OpKind::Read) {
            attempt.store.vfs.clear();
        }
        attempt.check_failed();
        attempt.check_left("after the failure");
        if matches!(attempt.store.db.sync(), Err(Error::Poisoned(_))) {
            self.unknown += 1;
            return;
        }
        attempt.check_resumed();
        attempt.check_left("resumed");
    }
}

/// The edit of a compaction is not known to be there: neither what it takes out of the tree nor what
/// it adds may be removed, since a crash decides which of the two is the tree.
#[test]
fn an_edit_of_unknown_outcome_keeps_inputs_and_outputs() {
    let killed = killed_store();
    for op in [OpKind::Write, OpKind::Sync] {
        for error in [FaultError::Eio, FaultError::Enospc, FaultError::Short] {
            let attempt = Attempt::new(&killed, format!("{op:?} {error:?}"));
            let vfs = &attempt.store.vfs;
            vfs.add(fault(op, "MANIFEST", Times::Always, error));
            assert!(attempt.compact(Trigger::Asked));
            let files = table_files(&attempt.store.sim);
            assert!(attempt.inputs.is_subset(&files), "an input is gone");
            assert!(files.len() > attempt.inputs.len(), "an output is gone");
            attempt.check_failed();
            attempt.check_left("after the edit");
            attempt.check_resumed();
            attempt.check_left("resumed");
        }
    }
}

/// After a failure nothing is tried at once, again and again: the worker waits, longer each time, and
/// flushes go on meanwhile.
#[test]
fn a_failed_compaction_waits_before_it_is_tried_again() {
    let killed = killed_store();
    let attempt = Attempt::new(&killed, "waiting".to_owned());
    let (db, runtime) = (&attempt.store.db, &attempt.store.runtime);
    attempt
        .store
        .vfs
        .add(Fault { after: 1, ..fault(OpKind::Write, ".sst", Times::Always, FaultError::Enospc) });
    runtime.run_until_idle();
    assert_eq!(db.stats().background_errors, 1);
    assert!(db.put("a", "").is_err());
    attempt.store.vfs.clear();
    let errors = || db.stats().background_errors;
    db.put("a", "1").expect("put");
    runtime.run_until_idle();
    let compactions = db.stats().compactions;
    assert_eq!((errors(), compactions), (1, 0), "it was tried at once");
    // Time passes with the clock's calls; then the next flush wakes the worker.
    (0..300).for_each(|_| _ = beachdb::runtime::Runtime::monotonic_us(runtime));
    db.flush().expect("flush");
    runtime.run_until_idle();
    assert!(db.stats().compactions > 0, "it was not tried again");
    assert_eq!(errors(), 1);
}

/// Closing merges what is due while it is little, and here that fails. It is told, and what was only
/// buffered is synced all the same: power is lost behind the close, and it is there.
#[test]
fn a_close_that_cannot_compact_syncs_all_the_same() {
    let Attempt { store, .. } = Attempt::new(&killed_store(), "a close".to_owned());
    let mut batch = WriteBatch::new();
    batch.put("buffered", "1");
    store.db.write(batch, Durability::Buffered).expect("write");
    store.vfs.add(fault(OpKind::Create, ".sst", Times::Always, FaultError::Eio));
    let error = store.db.close().expect_err("it is told");
    assert!(matches!(error, Error::Io { .. }), "{error}");
    assert_eq!(store.vfs.injected(), 1);
    let disk = store.sim.crash(&CrashPlan::LOSE_ALL);
    let db = TREE.options(disk, &InlineRuntime::new(3)).open(DIR).expect("open");
    assert!(!db.recovery().clean);
    assert_eq!(db.get("buffered").expect("get").as_deref(), Some(&b"1"[..]));
}
