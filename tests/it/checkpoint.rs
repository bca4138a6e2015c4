//! Checkpoints: what they hold, what they leave alone, and what a crash or a failing disk makes of
//! one that is being made.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use beachdb::format::header::FileKind;
use beachdb::record::read_header;
use beachdb::runtime::inline::InlineRuntime;
use beachdb::table::Table;
use beachdb::vfs::fault::{Fault, FaultError, FaultVfs, OpKind, Times};
use beachdb::vfs::os::OsVfs;
use beachdb::vfs::sim::{CrashPlan, SimVfs};
use beachdb::vfs::{Access, Vfs, read_all};
use beachdb::{Db, Durability, Error, SeqNo, StoreId, WriteBatch};

use crate::corners::hook::HookVfs;
use crate::history::{Content, DIR, content_of, tiny};

const OUT: &str = "/beach/copy";

fn open(vfs: impl Vfs + 'static, dir: &str) -> beachdb::Result<Db> {
    tiny(vfs, &InlineRuntime::new(9)).open(Path::new(dir))
}

/// A store with a value in every place there is: tables that overlap, a memtable waiting to be
/// flushed, one being filled; and deletes and older versions among them.
fn everywhere(vfs: impl Vfs + 'static) -> Db {
    let db = open(vfs, DIR).expect("a store");
    let fill = |from: u32, value: &str| {
        for n in from..from + 3 {
            db.put(format!("key{n}"), value.repeat(20)).expect("put");
        }
    };
    fill(0, "old");
    fill(5, "old");
    db.flush().expect("flush");
    fill(2, "new");
    db.delete("key5").expect("delete");
    db.flush().expect("flush");
    fill(3, "wait");
    while db.stats().immutable_memtables == 0 {
        db.put("filler", vec![b'f'; 300]).expect("put");
    }
    db.delete("key0").expect("delete");
    let mut batch = WriteBatch::new();
    batch.put("last1", "1").put("last2", "2");
    db.write(batch, Durability::Buffered).expect("write");
    assert!(db.tables().len() >= 2 && db.stats().immutable_memtables == 1);
    assert!(db.stats().memtable_entries > 0);
    db
}

/// Every checksum, order and count of every table.
fn verify_tables(vfs: &dyn Vfs, db: &Db, dir: &str) {
    for (_, meta) in db.tables() {
        let path = Path::new(dir).join(format!("{}.sst", meta.number));
        let table = Table::open(vfs, &path, &meta, None).expect("a table");
        assert_eq!(table.verify().expect("a sound table").entries, meta.entries);
    }
}

/// The id in the header of a store's manifest.
fn store_id(vfs: &dyn Vfs, dir: &str) -> StoreId {
    let current = vfs.open(&Path::new(dir).join("CURRENT"), Access::Read).expect("CURRENT");
    let text = read_all(&*current, 100).expect("its text");
    let name = str::from_utf8(&text).expect("text").split(' ').next().expect("a name");
    let manifest = vfs.open(&Path::new(dir).join(name), Access::Read).expect("the manifest");
    read_header(&*manifest, FileKind::Manifest).expect("its header").store
}

/// From tables, memtables and log alike: the same pairs and the same last sequence number, in a store
/// of another id that was closed cleanly; both go on apart, and each survives the other's end.
#[test]
fn a_checkpoint_is_a_store_of_its_own_with_the_same_content() {
    let vfs = SimVfs::new();
    let db = everywhere(vfs.clone());
    let (content, last) = (content_of(&db), db.stats().last_seqno);
    let made = db.checkpoint(OUT).expect("a checkpoint");
    assert_eq!((made.last_seqno, made.linked), (last, 2));
    assert_eq!(store_id(&vfs, OUT), made.store);
    assert_ne!(store_id(&vfs, DIR), made.store);
    assert_eq!(made.tables, 4, "two that were there, two from memory");
    assert_eq!(content_of(&db), content, "the original is as it was");

    let copy = open(vfs.clone(), OUT).expect("the checkpoint");
    assert!(copy.recovery().clean && !copy.recovery().created);
    assert_eq!((content_of(&copy), copy.stats().last_seqno), (content.clone(), last));
    assert_eq!(copy.tables().len() as u64, made.tables);
    assert_eq!(copy.tables().iter().map(|(_, table)| table.size).sum::<u64>(), made.table_bytes);
    verify_tables(&vfs, &copy, OUT);
    assert!(!vfs.exists(&Path::new(OUT).join("CHECKPOINT.tmp")).expect("exists"));

    assert_eq!(copy.put("copy", "only").expect("put"), SeqNo(last.0 + 1));
    db.put("original", "only").expect("put");
    assert_eq!((copy.get("original").expect("get"), db.get("copy").expect("get")), (None, None));
    drop(copy);
    drop(db);
    for dir in [DIR, OUT] {
        // One goes, file by file, and the other is whole.
        let lonely = vfs.crash(&CrashPlan::KEEP_ALL);
        let gone = if dir == DIR { OUT } else { DIR };
        for name in lonely.list(Path::new(gone)).expect("names") {
            lonely.remove(&Path::new(gone).join(name)).expect("removed");
        }
        let db = open(lonely, dir).expect("the other");
        assert_eq!(content_of(&db).len(), content.len() + 1);
        let other = if dir == DIR { "original" } else { "copy" };
        assert_eq!(db.get(other).expect("get").as_deref(), Some(&b"only"[..]));
    }
}

/// Durable when it returns, with every name, though nothing in the original was: power is lost right
/// afterwards, under every plan.
#[test]
fn a_checkpoint_is_durable_when_it_returns() {
    let vfs = SimVfs::new();
    let db = everywhere(vfs.clone());
    let content = content_of(&db);
    db.checkpoint(OUT).expect("a checkpoint");
    for plan in CrashPlan::all(5) {
        let copy = open(vfs.crash(&plan), OUT).unwrap_or_else(|why| panic!("{plan:?}: {why}"));
        assert!(copy.recovery().clean, "{plan:?}");
        assert_eq!(content_of(&copy), content, "{plan:?}");
    }
}

/// What a crash while a checkpoint is made may leave.
#[derive(Debug, Default)]
struct Left {
    seen: BTreeSet<u64>,
    absent: u64,
    unfinished: u64,
    complete: u64,
}

impl Left {
    fn check(&mut self, image: &SimVfs, content: &Content, acknowledged: bool, what: &str) {
        if !self.seen.insert(image.image_hash()) {
            return;
        }
        let db = open(image.clone(), DIR).unwrap_or_else(|why| panic!("{what}: {why}"));
        if acknowledged {
            assert_eq!(&content_of(&db), content, "{what}: the original");
        }
        let out = Path::new(OUT);
        if image.exists(&out.join("CURRENT")).expect("exists") {
            self.complete += 1;
        } else {
            match image.exists(out).expect("exists") {
                true => self.unfinished += 1,
                false => self.absent += 1,
            }
            let opened = tiny(image.clone(), &InlineRuntime::new(2)).create(false).open(out);
            assert!(matches!(opened, Err(Error::NoStore { .. })), "{what}: {opened:?}");
            db.checkpoint(out).unwrap_or_else(|why| panic!("{what}: again: {why}"));
        }
        let copy = open(image.clone(), OUT).unwrap_or_else(|why| panic!("{what}: copy: {why}"));
        if acknowledged {
            assert_eq!(&content_of(&copy), content, "{what}: the copy");
        }
        verify_tables(image, &copy, OUT);
        copy.put("afterwards", "1").unwrap_or_else(|why| panic!("{what}: {why}"));
    }
}

/// Power is lost, or the process killed, at every operation of a checkpoint, under every plan: the
/// original is unharmed, and the copy is whole, or it is no store yet and can be made in the same
/// place. (After a power loss the original may lack what was only buffered.)
#[test]
fn a_crash_while_a_checkpoint_is_made_leaves_all_of_it_or_a_place_for_it() {
    let vfs = SimVfs::new();
    let db = everywhere(vfs.clone());
    db.sync().expect("sync");
    let content = content_of(&db);
    let left = Arc::new(Mutex::new(Left::default()));
    let inner = Arc::clone(&left);
    let expected = content.clone();
    vfs.set_observer(Box::new(move |count, vfs| {
        let mut left = inner.lock();
        for plan in CrashPlan::all(count) {
            left.check(&vfs.crash(&plan), &expected, true, &format!("op {count} {plan:?}"));
        }
        left.check(&vfs.kill(), &expected, true, &format!("op {count} kill"));
    }));
    db.checkpoint(OUT).expect("a checkpoint");
    vfs.clear_observer();
    let left = left.lock();
    println!("{left:?}", left = (left.seen.len(), left.absent, left.unfinished, left.complete));
    assert!(left.absent > 0 && left.unfinished > 20 && left.complete > 5);
}

/// Each call a checkpoint makes fails in turn, once and for good: the call says so, the original
/// goes on, and the same call succeeds when the fault is gone.
#[test]
fn a_fault_anywhere_in_a_checkpoint_is_told_and_it_can_be_made_again() {
    let (mut failed, mut cleared) = (0, 0);
    for op in OpKind::ALL {
        for (times, error) in [
            (Times::Once, FaultError::Eio),
            (Times::Always, FaultError::Eio),
            (Times::Always, FaultError::Enospc),
            (Times::Once, FaultError::Short),
        ] {
            for after in 0.. {
                let sim = SimVfs::new();
                let vfs = FaultVfs::over_sim(sim.clone());
                let db = everywhere(vfs.clone());
                let content = content_of(&db);
                let what = format!("{op:?} {times:?} {error:?} after {after}");
                vfs.add(Fault { op, path_contains: "copy".into(), after, times, error });
                let made = db.checkpoint(OUT);
                let injected = vfs.injected();
                vfs.clear();
                if let Err(error) = made {
                    assert!(matches!(error, Error::Io { .. }), "{what}: {error}");
                    failed += 1;
                    let names = sim.list(Path::new(OUT)).unwrap_or_default();
                    cleared += u64::from(names.iter().all(|name| name == "LOCK"));
                    if names.iter().any(|name| name == "CURRENT") {
                        // The disk failed at taking it back too; it is whole all the same.
                        let copy = open(sim.clone(), OUT).expect("the copy");
                        assert_eq!(content_of(&copy), content, "{what}");
                    } else {
                        db.checkpoint(OUT).unwrap_or_else(|why| panic!("{what}: again: {why}"));
                    }
                }
                let copy = open(sim.clone(), OUT).expect("the copy");
                assert_eq!(content_of(&copy), content, "{what}");
                db.put("after", "1").unwrap_or_else(|why| panic!("{what}: {why}"));
                if injected == 0 {
                    break;
                }
            }
        }
    }
    println!("{failed} failed, {cleared} left nothing");
    assert!(failed > 100 && cleared > 50, "{failed} {cleared}");
}

/// Where the file system cannot link, tables are copied, and the copy is as good; where linking fails
/// in another way, that is an error.
#[test]
fn what_cannot_be_linked_is_copied() {
    for (kind, copied) in [
        (ErrorKind::CrossesDevices, true),
        (ErrorKind::PermissionDenied, true),
        (ErrorKind::Unsupported, true),
        (ErrorKind::StorageFull, false),
    ] {
        let sim = SimVfs::new();
        let vfs = HookVfs::new(sim.clone(), move |call, path, _| match call {
            "link" => Err(Error::io("link", path, kind.into())),
            _ => Ok(()),
        });
        let db = everywhere(vfs);
        let made = db.checkpoint(OUT);
        assert_eq!(made.is_ok(), copied, "{kind}");
        let Ok(made) = made else { continue };
        assert_eq!((made.linked, made.tables), (0, 4));
        let copy = open(sim.crash(&CrashPlan::LOSE_ALL), OUT).expect("the checkpoint");
        assert_eq!(content_of(&copy), content_of(&db));
        verify_tables(&sim, &copy, OUT);
    }
}

/// A directory with anything in it is refused, and nothing in it is touched: a store, the store
/// itself, somebody's file, a store that lost its CURRENT. An empty directory is fine.
#[test]
fn a_checkpoint_takes_no_place_that_is_taken() {
    let vfs = SimVfs::new();
    let db = everywhere(vfs.clone());
    open(vfs.clone(), "/beach/other").expect("a store").put("a", "1").expect("put");
    vfs.install("/beach/papers/thesis.txt", b"the only copy").expect("a file");
    vfs.install("/beach/broken/000007.sst", b"a table").expect("a file");
    let before = vfs.image_hash();
    for taken in [DIR, "/beach/other", "/beach/papers"] {
        let error = db.checkpoint(taken).expect_err("refused");
        assert!(matches!(error, Error::InvalidArgument(_)), "{taken}: {error}");
    }
    let error = db.checkpoint("/beach/broken").expect_err("refused");
    assert!(matches!(error, Error::Corruption(_)), "{error}");
    assert_eq!(vfs.image_hash(), before);
    vfs.create_dir_all(Path::new("/beach/empty")).expect("a directory");
    db.checkpoint("/beach/empty").expect("a checkpoint");
    db.checkpoint("/beach/new/deep/down").expect("a checkpoint");
}

/// Beside a writer, from a handle that only reads: its own moment, nothing of it missing when the
/// writer has removed a table meanwhile. In the writer's own handle that would be damage; it is told,
/// and nothing is left.
#[test]
fn a_reader_makes_a_checkpoint_of_its_moment() {
    let vfs = SimVfs::new();
    let db = everywhere(vfs.clone());
    let reader =
        tiny(vfs.clone(), &InlineRuntime::new(3)).open_read_only(Path::new(DIR)).expect("a reader");
    let content = content_of(&db);
    db.put("later", "1").expect("put");
    let made = reader.checkpoint(OUT).expect("a checkpoint");
    assert_eq!(made.linked, 2);
    assert_eq!(content_of(&open(vfs.clone(), OUT).expect("the checkpoint")), content);

    let (_, table) = reader.tables().swap_remove(0);
    vfs.remove(&Path::new(DIR).join(format!("{}.sst", table.number))).expect("removed");
    let made = reader.checkpoint("/beach/second").expect("a checkpoint");
    assert_eq!(made.linked, 1);
    assert_eq!(content_of(&open(vfs.clone(), "/beach/second").expect("it")), content);
    let error = db.checkpoint("/beach/third").expect_err("the table is gone");
    assert!(matches!(error, Error::Corruption(_)), "{error}");
    assert_eq!(vfs.list(Path::new("/beach/third")).expect("names"), ["LOCK"]);
}

/// A reader moves on to what the writer made since: a table with the number that was the next one when
/// the reader was opened, and a pair that is only in the log. Its checkpoint writes a table of its own for
/// that pair, which needs a number that none of the others has.
#[test]
fn a_reader_that_moved_on_makes_a_checkpoint_with_numbers_of_its_own() {
    let vfs = SimVfs::new();
    let db = open(vfs.clone(), DIR).expect("a store");
    let reader =
        tiny(vfs.clone(), &InlineRuntime::new(3)).open_read_only(Path::new(DIR)).expect("a reader");
    let mut writer = db.ingest_writer().expect("a writer");
    writer.put("key", "in a table").expect("put");
    writer.commit().expect("an ingest");
    db.put("last", "in the log").expect("put");
    reader.refresh().expect("moved on");
    let made = reader.checkpoint(OUT).expect("a checkpoint");
    assert_eq!(made.tables, 2);
    let copy = open(vfs.clone(), OUT).expect("the checkpoint");
    assert_eq!(content_of(&copy), content_of(&db));
}

/// Something is written while the checkpoint writes what was in memory: it is not in it, not even
/// where only a later read would see it.
#[test]
fn what_is_written_while_a_checkpoint_is_made_is_not_in_it() {
    let sim = SimVfs::new();
    let waiting: Arc<Mutex<Option<Weak<Db>>>> = Arc::default();
    let hook = Arc::clone(&waiting);
    let vfs = HookVfs::new(sim.clone(), move |call, path, _| {
        if call == "create" && path.starts_with(OUT) && path.extension() == Some("sst".as_ref()) {
            let db = hook.lock().take().and_then(|db| db.upgrade());
            db.map_or(Ok(SeqNo::ZERO), |db| db.put("zzz", "late"))?;
        }
        Ok(())
    });
    let db = Arc::new(everywhere(vfs));
    let content = content_of(&db);
    *waiting.lock() = Some(Arc::downgrade(&db));
    let made = db.checkpoint(OUT).expect("a checkpoint");
    assert!(db.get("zzz").expect("get").is_some(), "it was written");
    let copy = open(sim, OUT).expect("the checkpoint");
    assert!(copy.tables().iter().all(|(_, table)| table.max_seqno <= made.last_seqno));
    copy.put("a", "1").expect("put");
    assert_eq!(copy.get("zzz").expect("get"), None);
    assert_eq!(content_of(&copy).len(), content.len() + 1);
}

/// A store that was poisoned can still be read, and so be saved.
#[test]
fn a_poisoned_store_can_be_saved_by_a_checkpoint() {
    let sim = SimVfs::new();
    let vfs = FaultVfs::over_sim(sim.clone());
    let db = everywhere(vfs.clone());
    let content = content_of(&db);
    let path_contains = ".wal".to_owned();
    let (op, times, error) = (OpKind::Sync, Times::Once, FaultError::Eio);
    vfs.add(Fault { op, path_contains, after: 0, times, error });
    db.put("lost", "1").expect_err("the fault");
    db.checkpoint(OUT).expect("a checkpoint");
    let copy = open(sim.crash(&CrashPlan::LOSE_ALL), OUT).expect("the checkpoint");
    assert_eq!(content_of(&copy), content);
}

/// On a real directory, while a thread writes pairs that belong together: each checkpoint has both
/// of each pair, ends where it says, and holds all that was acknowledged before it was asked for.
#[test]
fn checkpoints_beside_a_writer_are_whole() {
    let place = tempfile::tempdir().expect("a directory");
    let options = beachdb::Options::new().memtable_size(200_000);
    let db = options.open(place.path().join("db")).expect("a store");
    let done = AtomicBool::new(false);
    let acknowledged = Mutex::new(0u64);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 1u64.. {
                let mut batch = WriteBatch::new();
                batch.put("left", n.to_be_bytes()).put("right", n.to_be_bytes());
                batch.put(format!("filler{}", n % 50), vec![b'f'; 200]);
                db.write(batch, Durability::Buffered).expect("write");
                *acknowledged.lock() = n;
                if done.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        for round in 0..8 {
            let before = *acknowledged.lock();
            let out = place.path().join(format!("copy{round}"));
            let made = db.checkpoint(&out).expect("a checkpoint");
            let copy = Db::open(&out).expect("the checkpoint");
            assert_eq!(copy.stats().last_seqno, made.last_seqno);
            let number = |key: &str| {
                let value = copy.get(key).expect("get");
                value.map_or(0, |value| u64::from_be_bytes((*value).try_into().expect("8 bytes")))
            };
            assert_eq!(number("left"), number("right"));
            assert_eq!(made.last_seqno.0, 3 * number("left"));
            assert!(number("left") >= before);
            let dir = out.to_str().expect("text");
            verify_tables(&OsVfs, &copy, dir);
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(db.stats().flushes > 0);
}
