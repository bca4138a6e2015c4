//! Corners of the engine where things meet: threads that wait for the same thing,
//! full disks, readers and creators beside a writer, hostile and foreign files.

pub(crate) mod hook;
mod manifests;
mod random;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

use beachdb::format::edit::{Counters, Edit, Lineage, Reason};
use beachdb::format::frame::Kind;
use beachdb::format::header::FileKind;
use beachdb::record;
use beachdb::runtime::inline::InlineRuntime;
use beachdb::types::{FileNumber, SeqNo};
use beachdb::vfs::fault::{Fault, FaultError, FaultVfs, OpKind, Times};
use beachdb::vfs::sim::{CrashPlan, DataPlan, DirPlan, SimVfs};
use beachdb::vfs::{Access, Vfs};
use beachdb::{Db, Durability, Error, Event, Listener, Options, Result, Strategy, WriteBatch};

use crate::history::{DIR, content_of, tiny};
use hook::HookVfs;

/// How long to wait for a thread before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(5);

fn put(db: &Db, key: &str, size: usize, durability: Durability) -> Result<SeqNo> {
    let mut batch = WriteBatch::new();
    batch.put(key, vec![b'v'; size]);
    db.write(batch, durability)
}

fn is_poisoned(db: &Db) -> bool {
    let nothing = db.write(WriteBatch::new(), Durability::Buffered);
    matches!(nothing, Err(Error::Poisoned(_)))
}

fn always(op: OpKind, path: &str, error: FaultError) -> Fault {
    Fault { op, path_contains: path.to_owned(), after: 0, times: Times::Always, error }
}

fn keys_of(db: &Db) -> Vec<String> {
    content_of(db).into_keys().map(|key| String::from_utf8(key).expect("text")).collect()
}

fn count_files(sim: &SimVfs, part: &str) -> usize {
    sim.dump().keys().filter(|path| path.to_string_lossy().contains(part)).count()
}

/// Threads flush while no table can be made: none may be told that one was. One failure is told to
/// one of them only, so the others have to wait for the next.
#[test]
fn a_flush_that_did_not_happen_is_not_reported_as_done() {
    let vfs = FaultVfs::over_sim(SimVfs::new());
    let db = Options::new().vfs(Arc::new(vfs.clone())).open(DIR).expect("a store");
    put(&db, "a", 10, Durability::Buffered).expect("put");
    vfs.add(always(OpKind::Create, ".sst", FaultError::Eio));
    let lies = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..4000 {
                    lies.fetch_add(u64::from(db.flush().is_ok()), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(lies.into_inner(), 0);
}

/// Nobody syncs while many memtables are flushed; then a sync costs what the logs that are left
/// cost, and the handles of dropped logs are not kept.
#[test]
fn logs_that_were_flushed_are_not_kept_to_be_synced() {
    let sim = SimVfs::new();
    let db = tiny(sim.clone(), &InlineRuntime::new(1)).open(DIR).expect("a store");
    for n in 0..300 {
        put(&db, &format!("key{n}"), 300, Durability::Buffered).expect("put");
    }
    assert!(db.stats().flushes > 20);
    let before = sim.sync_count();
    db.sync().expect("sync");
    assert!(sim.sync_count() - before <= 3, "{} syncs", sim.sync_count() - before);
}

/// A store in whose first of two logs lies a synced record, wiped behind its header.
fn store_with_a_wiped_log(manifest_size: u64) -> Result<Db> {
    let (sim, runtime) = (SimVfs::new(), InlineRuntime::new(1));
    let options =
        |sim: &SimVfs| tiny(sim.clone(), &runtime).memtable_size(9000).manifest_size(manifest_size);
    let db = options(&sim).open(DIR).expect("a store");
    put(&db, "a", 10, Durability::Sync).expect("put");
    let mut n = 0;
    while db.stats().immutable_memtables == 0 {
        put(&db, &format!("key{n}"), 300, Durability::Buffered).expect("put");
        n += 1;
    }
    let manifest = db.stats().manifest.expect("a writer").0;
    put(&db, "big", 5000, Durability::Buffered).expect("put");
    let rolled_over = db.stats().manifest.expect("a writer").0 > manifest;
    assert_eq!((db.stats().immutable_memtables, rolled_over), (1, manifest_size == 1));
    let image = sim.kill().crash(&CrashPlan::KEEP_ALL);
    let is_log = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "wal");
    let log = image.dump().into_keys().find(is_log).expect("a log");
    image.corrupt(&log, |bytes| bytes[64..].fill(0)).expect("a file");
    options(&image).open(DIR)
}

/// Nothing in a later log promises anything: only the manifest knows that the wiped log was synced,
/// and it must know it after a rollover as before.
#[test]
fn a_wiped_log_is_noticed_after_a_rollover_too() {
    for size in [1 << 20, 1] {
        let opened = store_with_a_wiped_log(size);
        assert!(matches!(opened, Err(Error::Corruption(_))), "{size}: {opened:?}");
    }
}

/// A value of zeros but for one bit is torn by sectors: where the sector with the bit is lost, or it
/// alone is left, that is one bit away from a whole frame or from zeros. A legal crash all the same.
#[test]
fn a_torn_value_with_a_lone_bit_is_not_called_damage() {
    for size in [600, 1500, 3000] {
        let sim = SimVfs::new();
        let runtime = InlineRuntime::new(1);
        let db = tiny(sim.clone(), &runtime).open(DIR).expect("a store");
        put(&db, "a", 10, Durability::Sync).expect("put");
        let mut value = vec![0; size];
        value[size / 2] = 1;
        let mut batch = WriteBatch::new();
        batch.put("sparse", value);
        db.write(batch, Durability::Buffered).expect("put");
        for data in [DataPlan::Subset512, DataPlan::TearSector] {
            for seed in 0..300 {
                let plan = CrashPlan { data, dir: DirPlan::KeepAll, seed };
                let opened = tiny(sim.crash(&plan), &runtime).open(DIR);
                opened.unwrap_or_else(|error| panic!("{size} {plan:?}: {error}"));
            }
        }
    }
}

/// The manifest cannot be synced for a while. What is tried again and again must not fill the disk.
#[test]
fn trying_again_on_a_full_disk_does_not_fill_it() {
    for op in [OpKind::Sync, OpKind::Write] {
        let sim = SimVfs::new();
        let (vfs, runtime) = (FaultVfs::over_sim(sim.clone()), InlineRuntime::new(1));
        let db = tiny(vfs.clone(), &runtime).open(DIR).expect("a store");
        vfs.add(always(op, "MANIFEST", FaultError::Enospc));
        for n in 0..60 {
            let _ = put(&db, &format!("key{n}"), 300, Durability::Buffered);
            runtime.run_until_idle();
        }
        let files = [".sst", ".wal", "MANIFEST"].map(|part| count_files(&sim, part));
        assert!(files[0] <= 1 && files[1] <= 2 && files[2] <= 2, "{op:?} {files:?}");
    }
}

/// Writes until a write fails; panics if none does, or if one hangs.
fn writers_get_an_error(db: Db) {
    let (send, receive) = mpsc::channel();
    let worked = thread::Builder::new().spawn(move || {
        let failed =
            (0..50).find_map(|n| put(&db, &format!("k{n}"), 100, Durability::Buffered).err());
        let _ = send.send(failed);
        std::mem::forget(db);
    });
    assert!(worked.is_ok());
    match receive.recv_timeout(PATIENCE) {
        Ok(failed) => assert!(failed.is_some()),
        Err(_) => panic!("writers hang"),
    }
}

/// A background step panics, which only a bug of ours can make it do. Writers get an error.
#[test]
fn a_worker_that_panicked_hangs_nobody() {
    let vfs = HookVfs::new(SimVfs::new(), |what, path, _| {
        assert!(!(what == "create" && path.to_string_lossy().ends_with(".sst")), "on purpose");
        Ok(())
    });
    let db = Options::new().memtable_size(1000).vfs(Arc::new(vfs)).open(DIR).expect("a store");
    writers_get_an_error(db);
}

/// Panics when it is told that a job failed.
#[derive(Debug)]
struct Outraged;

impl Listener for Outraged {
    fn event(&self, event: &Event) {
        assert!(!matches!(event, Event::JobFailed { .. }), "on purpose");
    }
}

/// A flush fails, and the listener that is told of it panics, which is a bug of the program and ends the
/// worker. Writers get an error, rather than waiting for a worker that is gone.
#[test]
fn a_listener_that_panicked_hangs_nobody() {
    let vfs = FaultVfs::over_sim(SimVfs::new());
    vfs.add(always(OpKind::Create, ".sst", FaultError::Eio));
    let options =
        Options::new().memtable_size(1000).vfs(Arc::new(vfs)).listener(Arc::new(Outraged));
    let db = options.open(DIR).expect("a store");
    writers_get_an_error(db);
}

/// A memtable without a limit, and tables without one: nothing is flushed but by hand, and no sum over
/// the limits overflows.
#[test]
fn a_store_without_limits_flushes_and_compacts() {
    let (sim, runtime) = (SimVfs::new(), InlineRuntime::new(1));
    for strategy in [Strategy::Hybrid, Strategy::Leveled, Strategy::SizeTiered] {
        let options = tiny(sim.clone(), &runtime).strategy(strategy);
        let db = options.memtable_size(u64::MAX).table_size(u64::MAX).open(DIR).expect("a store");
        for n in 0..6 {
            put(&db, &format!("key{n}"), 3000, Durability::Buffered).expect("put");
            put(&db, "key", 10, Durability::Buffered).expect("put");
            db.flush().expect("flush");
            runtime.run_until_idle();
        }
        db.wait_for_compactions().expect("the tree in shape");
        db.compact::<&[u8], _>(..).expect("one run");
        assert_eq!(content_of(&db).len(), 7);
    }
}

/// The first write to the log waits until four other writers had time to line up; the second, which
/// is for all four, waits until one more has lined up behind it and panics, which only a bug of ours can
/// make it do. The leader's thread gets its panic, its followers and the one behind them an error, nobody
/// waits for ever, and what was written before the panic is read now and after a reopening. The one
/// behind is what shows that the lead was given on.
#[allow(clippy::disallowed_methods)] // A test waits, and looks at its own process.
#[test]
fn a_commit_that_panicked_hangs_nobody() {
    let sim = SimVfs::new();
    let (reach, reached) = mpsc::channel::<()>();
    let (release, released) = mpsc::channel::<()>();
    let (gate, writes) = (Mutex::new((reach, released)), AtomicU64::new(0));
    let vfs = HookVfs::new(sim.clone(), move |what, path, size| {
        // Smaller ones are the header and the marks of creating the store.
        if what == "write" && path.to_string_lossy().ends_with(".wal") && size > 900 {
            let gate = gate.lock();
            gate.0.send(()).expect("the test waits");
            gate.1.recv().expect("the test goes on");
            assert!(writes.fetch_add(1, Ordering::SeqCst) == 0, "on purpose");
        }
        Ok(())
    });
    let db = Arc::new(Options::new().vfs(Arc::new(vfs)).open(DIR).expect("a store"));
    let (send, receive) = mpsc::channel();
    let start = |name: &'static str| {
        let (db, send) = (Arc::clone(&db), send.clone());
        let work = move || put(&db, name, 1000, Durability::Buffered).map(|_| name);
        let work = std::panic::AssertUnwindSafe(work);
        let spawned =
            thread::Builder::new().spawn(move || send.send(std::panic::catch_unwind(work)));
        assert!(spawned.is_ok());
    };
    let arrived = || assert!(reached.recv_timeout(PATIENCE).is_ok(), "no write came");
    let go_on = || {
        // Time for those who were started to line up behind the write.
        thread::sleep(Duration::from_millis(100));
        release.send(()).expect("a write waits");
    };
    start("first");
    arrived();
    let _ = ["a", "b", "c", "d"].map(start);
    go_on();
    arrived();
    start("late");
    go_on();
    let (mut done, mut failed, mut panicked) = (Vec::new(), 0, 0);
    for _ in 0..6 {
        match receive.recv_timeout(PATIENCE) {
            Ok(Ok(Ok(name))) => done.push(name),
            Ok(Ok(Err(error))) => {
                assert!(matches!(error, Error::Poisoned(_)), "{error}");
                failed += 1;
            }
            Ok(Err(_)) => panicked += 1,
            Err(_) => panic!("writers hang"),
        }
    }
    assert_eq!((done, failed, panicked), (vec!["first"], 4, 1));
    assert!(is_poisoned(&db));
    assert_eq!(keys_of(&db), ["first"]);
    drop(db);
    let db = Options::new().vfs(Arc::new(sim)).open(DIR).expect("reopened");
    assert_eq!(keys_of(&db), ["first"]);
}

/// A writer at work, step by step.
#[derive(Clone)]
struct Busy {
    db: Arc<Db>,
    runtime: InlineRuntime,
    written: Arc<AtomicU64>,
}

impl Busy {
    fn new(sim: &SimVfs) -> Busy {
        let runtime = InlineRuntime::new(1);
        let db = Arc::new(tiny(sim.clone(), &runtime).open(DIR).expect("a store"));
        Busy { db, runtime, written: Arc::default() }
    }

    fn write(&self, count: u64) {
        for _ in 0..count {
            let n = self.written.fetch_add(1, Ordering::Relaxed);
            let sync = n.is_multiple_of(3);
            let durability = if sync { Durability::Sync } else { Durability::Buffered };
            put(&self.db, &format!("key{n:05}"), 290, durability).expect("put");
            if n.is_multiple_of(5) {
                self.runtime.run_until_idle();
            }
        }
    }
}

/// Opens a reader; at its call number `at`, or from then on, the writer writes `burst` pairs. Returns
/// whether there was such a call.
fn read_beside_a_burst(at: u64, burst: u64, once: bool) -> bool {
    let sim = SimVfs::new();
    let busy = Busy::new(&sim);
    busy.write(13);
    let before = busy.written.load(Ordering::Relaxed) as usize;
    let calls = Arc::new(AtomicU64::new(0));
    let vfs = {
        let (calls, busy) = (Arc::clone(&calls), busy.clone());
        HookVfs::new(sim, move |_, _, _| {
            let call = calls.fetch_add(1, Ordering::Relaxed);
            // An end to it, since a reader that is always disturbed gives up.
            let due = if once { call == at } else { (at..at + 40).contains(&call) };
            if due {
                busy.write(burst);
            }
            Ok(())
        })
    };
    let what = format!("{burst} pairs at {at}, once: {once}");
    let reader = tiny(vfs, &InlineRuntime::new(2)).open_read_only(DIR);
    let reader = reader.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(reader.recovery().dropped, [], "{what}");
    let keys = keys_of(&reader);
    assert!((0..keys.len()).map(|n| format!("key{n:05}")).eq(keys.iter().cloned()), "{what}");
    assert!(keys.len() >= before, "{what}: {} of {before}", keys.len());
    calls.load(Ordering::Relaxed) > at
}

/// At each single call that a reader makes while it opens, the writer does a little or a lot: the
/// reader opens, and sees a prefix with everything that was written before it came.
#[test]
fn a_reader_opens_whatever_the_writer_does_meanwhile() {
    for burst in [1, 3, 8, 25] {
        for once in [true, false] {
            let calls = (0..).take_while(|&at| read_beside_a_burst(at, burst, once)).count();
            assert!(calls > 10, "{calls} calls");
        }
    }
}

/// A reader meets a record that is just being written. At its second look it is whole, so it never
/// was a torn tail.
#[test]
fn a_record_that_is_being_written_is_no_torn_tail() {
    let sim = SimVfs::new();
    let db = tiny(sim.clone(), &InlineRuntime::new(1)).open(DIR).expect("a store");
    put(&db, "a", 10, Durability::Sync).expect("put");
    let log = Path::new(DIR).join("000001.wal");
    let whole = sim.read_file(&log).expect("a log");
    let end = whole.iter().rposition(|&byte| byte != 0).expect("frames") + 1;
    let looks = AtomicU64::new(0);
    let vfs = HookVfs::new(sim.clone(), move |what, path, _| {
        if what == "open" && path.ends_with("CURRENT") {
            // The writer is put aside in the middle of it for a while.
            let early = looks.fetch_add(1, Ordering::Relaxed) < 3;
            let half = |bytes: &mut Vec<u8>| bytes[end..end + 20].fill(0xbe);
            sim.install(&log, &whole)?;
            return if early { sim.corrupt(&log, half) } else { Ok(()) };
        }
        Ok(())
    });
    let reader = tiny(vfs, &InlineRuntime::new(2)).open_read_only(DIR).expect("open");
    assert_eq!(reader.recovery().dropped, []);
}

/// A log that no edit names cannot be read: that may be damage, so it is not passed over.
#[test]
fn an_unnamed_log_that_cannot_be_read_is_an_error() {
    let (sim, runtime) = empty_store();
    sim.install(Path::new(DIR).join("000099.wal"), &[0; 4096]).expect("a file");
    let vfs = FaultVfs::over_sim(sim);
    let reader = || tiny(vfs.clone(), &runtime).open_read_only(DIR).map(drop);
    reader().expect("open");
    vfs.add(always(OpKind::Read, "000099", FaultError::Eio));
    assert!(matches!(reader(), Err(Error::Io { .. })));
}

/// Opens a store in an empty directory; at call number `at` another process creates one there first,
/// and closes it or goes on. Returns whether there was such a call.
fn create_beside_another(at: u64, close: bool) -> bool {
    let (sim, runtime) = (SimVfs::new(), InlineRuntime::new(1));
    sim.create_dir_all(Path::new(DIR)).expect("a directory");
    let (calls, other) = (Arc::new(AtomicU64::new(0)), Mutex::new(None));
    let vfs = {
        let calls = Arc::clone(&calls);
        HookVfs::new(sim.clone(), move |_, _, _| {
            if calls.fetch_add(1, Ordering::Relaxed) != at {
                return Ok(());
            }
            let Ok(db) = tiny(sim.clone(), &runtime).open(DIR) else { return Ok(()) };
            put(&db, "a", 10, Durability::Sync).expect("put");
            if close {
                return db.close();
            }
            *other.lock() = Some(db);
            Ok(())
        })
    };
    match tiny(vfs, &InlineRuntime::new(2)).open(DIR) {
        Ok(_) | Err(Error::Locked { .. }) => {}
        Err(error) => panic!("call {at}: {error}"),
    }
    calls.load(Ordering::Relaxed) > at
}

/// Two processes create the same store: whenever the one comes in between, the other finds it
/// locked, or finished, and never half of it.
#[test]
fn a_store_that_is_being_created_is_not_called_damaged() {
    for close in [true, false] {
        let calls = (0..).take_while(|&at| create_beside_another(at, close)).count();
        assert!(calls > 10, "{calls} calls");
    }
}

/// A disk on which, once `armed`, the worker's sync of the directory fails after the rename of
/// CURRENT; it says so 300 ms before.
fn rename_of_unknown_outcome(armed: Arc<AtomicBool>, say: mpsc::Sender<()>) -> HookVfs {
    let renamed = AtomicBool::new(false);
    HookVfs::new(SimVfs::new(), move |what, path, _| {
        let by_worker = thread::current().name() == Some("beachdb-flush");
        if !by_worker || !armed.load(Ordering::Relaxed) {
            return Ok(());
        }
        renamed.fetch_or(what == "rename", Ordering::Relaxed);
        if what != "sync_dir" || !renamed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let _ = say.send(());
        thread::park_timeout(Duration::from_millis(300));
        Err(Error::io("sync", path, std::io::Error::other("on purpose")))
    })
}

/// The worker rolls the manifest over, and nobody knows which of the two counts. A writer that waits
/// for the manifest at that moment must not put its edit into the old one and be acknowledged.
#[test]
fn nothing_is_appended_to_a_manifest_whose_successor_may_count() {
    let (say, said) = mpsc::channel();
    let armed = Arc::new(AtomicBool::new(false));
    let vfs = rename_of_unknown_outcome(Arc::clone(&armed), say);
    let options = Options::new().memtable_size(3000).log_size(4096).manifest_size(1);
    let db = options.vfs(Arc::new(vfs)).open(DIR).expect("a store");
    for n in 0..40 {
        put(&db, &format!("key{n}"), 300, Durability::Sync).expect("put");
    }
    db.flush().expect("flush");
    armed.store(true, Ordering::Relaxed);
    // Until the worker is there, however busy the machine.
    for n in 0..1_000_000 {
        if said.try_recv().is_ok() || put(&db, &format!("more{n}"), 300, Durability::Sync).is_err()
        {
            break;
        }
    }
    let result = put(&db, "big", 20_000, Durability::Sync);
    assert!(result.is_err(), "acknowledged: {result:?}");
}

/// Adds an edit to the manifest of a store that is not open.
fn forge(sim: &SimVfs, edit: Edit) {
    let path = sim.dump().into_keys().find(|path| path.to_string_lossy().contains("MANIFEST"));
    let path = path.expect("a manifest");
    let file = sim.open(&path, Access::ReadWrite).expect("a file");
    let header = record::read_header(&*file, FileKind::Manifest).expect("a header");
    let scan = record::scan_log(&*file, &header, None, &mut |_, _, _| Ok(())).expect("a scan");
    let mut writer = record::Writer::new(file, header.id, scan.valid_end);
    writer.push(Kind::Edit, 0, &[&edit.encode()]);
    writer.write().expect("written");
}

fn empty_store() -> (SimVfs, InlineRuntime) {
    let (sim, runtime) = (SimVfs::new(), InlineRuntime::new(1));
    drop(tiny(sim.clone(), &runtime).open(DIR).expect("a store"));
    (sim, runtime)
}

/// There are no more sequence numbers: the write is refused, and the store still opens.
#[test]
fn a_write_past_the_last_sequence_number_is_refused() {
    let (sim, runtime) = empty_store();
    let last = SeqNo(SeqNo::MAX.0 - 1);
    forge(&sim, Edit { reason: Reason::Flush, last_seqno: Some(last), ..Edit::default() });
    let open = || tiny(sim.clone(), &runtime).open(DIR);
    let db = open().expect("open");
    assert_eq!(put(&db, "a", 1, Durability::Sync).expect("the last"), SeqNo::MAX);
    let result = put(&db, "b", 1, Durability::Sync);
    drop(db);
    let again = open().map(|db| keys_of(&db));
    assert!(result.is_err() && again.is_ok(), "{result:?} {again:?}");
    assert_eq!(again.expect("open"), ["a"]);
}

/// Hostile totals do not end in a panic.
#[test]
fn hostile_totals_do_not_panic() {
    open_with_totals(7);
}

/// Nor does a hostile number of edits.
#[test]
fn a_hostile_number_of_edits_does_not_panic() {
    open_with_totals(u64::MAX - 1);
}

fn open_with_totals(edits: u64) {
    let (sim, runtime) = empty_store();
    let max = u64::MAX;
    let lineage = Lineage { previous: FileNumber(1), edits, rollovers: max };
    let counters = Counters {
        flushes: max,
        compactions: max,
        flushed_bytes: max,
        compacted_bytes_in: max,
        compacted_bytes_out: max,
        user_bytes: max,
    };
    forge(&sim, Edit { lineage: Some(lineage), counters: Some(counters), ..Edit::default() });
    let db = tiny(sim, &runtime).open(DIR).expect("open");
    put(&db, "a", 100, Durability::Sync).expect("put");
    db.flush().expect("flush");
}

/// A large file that bears a log's name and is none is looked at piece by piece.
#[test]
fn a_large_foreign_file_is_not_read_at_once() {
    let (sim, runtime) = empty_store();
    sim.install(Path::new(DIR).join("000099.wal"), &vec![0; 32 << 20]).expect("a file");
    let largest = Arc::new(AtomicU64::new(0));
    let vfs = {
        let largest = Arc::clone(&largest);
        HookVfs::new(sim, move |what, _, size| {
            if what == "read" {
                largest.fetch_max(size as u64, Ordering::Relaxed);
            }
            Ok(())
        })
    };
    tiny(vfs, &runtime).open(DIR).expect("open");
    let largest = largest.load(Ordering::Relaxed);
    assert!(largest <= 1 << 20, "{largest} bytes at once");
}

/// From the two ends of an iterator nothing is taken that the other has passed, after a seek too.
#[test]
fn the_back_stops_where_the_front_was_moved() {
    let sim = SimVfs::new();
    let db = tiny(sim, &InlineRuntime::new(1)).open(DIR).expect("a store");
    for key in ["a", "b", "c", "d", "e"] {
        put(&db, key, 1, Durability::Buffered).expect("put");
    }
    let mut iter = db.iter();
    iter.seek("c").expect("seek");
    let keys: Vec<_> = iter.rev().map(|pair| pair.expect("a pair").0).collect();
    assert_eq!(keys, [b"e".to_vec(), b"d".to_vec(), b"c".to_vec()]);
}
