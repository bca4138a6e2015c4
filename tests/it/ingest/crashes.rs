//! A crash, or a failing call, at every operation of an ingest.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use beachdb::format::table::Origin;
use beachdb::runtime::inline::InlineRuntime;
use beachdb::table::Table;
use beachdb::vfs::Vfs;
use beachdb::vfs::fault::{Fault, FaultError, FaultVfs, OpKind, Times};
use beachdb::vfs::sim::{CrashPlan, SimVfs};
use beachdb::{Db, Durability, Error, Result, SeqNo, WriteBatch};

use super::assert_no_orphans;
use crate::history::{Content, DIR, content_of, tiny};

fn open(vfs: impl Vfs + 'static) -> Result<Db> {
    tiny(vfs, &InlineRuntime::new(8)).table_size(900).open(Path::new(DIR))
}

/// Content and last sequence number after each step, and how many steps a power loss must leave.
#[derive(Debug, Default)]
struct Story {
    moments: Vec<(Content, SeqNo)>,
    durable: usize,
    images: BTreeSet<u64>,
    /// How often an image showed each moment.
    shown: Vec<u64>,
}

impl Story {
    /// The image is one of the moments, none that is older than what was promised; and it goes on.
    fn check(&mut self, image: &SimVfs, floor: usize, what: &str) {
        if !self.images.insert(image.image_hash() ^ floor as u64) {
            return;
        }
        let db = open(image.clone()).unwrap_or_else(|why| panic!("{what}: {why}"));
        let found = (content_of(&db), db.stats().last_seqno);
        let moment = self.moments.iter().position(|moment| *moment == found);
        let moment = moment.unwrap_or_else(|| panic!("{what}: {found:?} was never there"));
        assert!(moment >= floor, "{what}: moment {moment} of {floor}");
        self.shown.resize(self.moments.len(), 0);
        self.shown[moment] += 1;
        assert_no_orphans(image, &db, what);
        let seqno = db.put("afterwards", "1").unwrap_or_else(|why| panic!("{what}: {why}"));
        assert_eq!(seqno.0, found.1.0 + 1, "{what}");
        drop(db);
        let db = open(image.clone()).unwrap_or_else(|why| panic!("{what}: again: {why}"));
        assert_eq!(content_of(&db).len(), found.0.len() + 1, "{what}");
    }
}

/// Writes, buffered and synced, an ingest that covers some of them (with `overtaken`, the numbers it
/// began with are taken by others, and it writes its tables again), a write behind it, and two more
/// ingests one after the other.
fn tell(db: &Db, overtaken: bool, mut after: impl FnMut(&Db, bool)) -> Result<()> {
    let put = |key: &str, durability| {
        let mut batch = WriteBatch::new();
        batch.put(key, vec![b'p'; 200]);
        db.write(batch, durability)
    };
    let fill = |prefix: &str, count: u32, after: &mut dyn FnMut(&Db, bool)| -> Result<()> {
        let mut writer = db.ingest_writer()?;
        for n in 0..count {
            writer.put(format!("{prefix}{n:03}"), vec![b'i'; 150])?;
            if overtaken && n == count / 2 {
                put("b003", Durability::Buffered)?;
                after(db, false);
            }
        }
        writer.delete(format!("{prefix}999"))?;
        if prefix == "f" {
            // So that the commit itself has nothing to flush.
            db.flush()?;
        }
        writer.commit()?;
        after(db, true);
        Ok(())
    };
    put("a", Durability::Sync)?;
    after(db, true);
    put("b001", Durability::Buffered)?;
    after(db, false);
    put("b999", Durability::Buffered)?;
    after(db, false);
    fill("b", 14, &mut after)?;
    put("b002", Durability::Buffered)?;
    after(db, false);
    put("c", Durability::Sync)?;
    after(db, true);
    fill("d", 3, &mut after)?;
    fill("f", 3, &mut after)?;
    put("e", Durability::Buffered)?;
    after(db, false);
    Ok(())
}

/// Power is lost, or the process killed, at every operation of three ingests among writes, under every
/// plan: each ingest is there whole or not at all, what was durable before it is there, the sequence
/// numbers go on, and no table is left that nobody names.
#[test]
fn a_crash_in_an_ingest_leaves_all_of_it_or_nothing() {
    for overtaken in [false, true] {
        // The images are compared with what a twin did undisturbed.
        let mut moments = vec![(Content::new(), SeqNo::ZERO)];
        let twin = open(SimVfs::new()).expect("a twin");
        tell(&twin, overtaken, |db, _| moments.push((content_of(db), db.stats().last_seqno)))
            .expect("the story");

        let vfs = SimVfs::new();
        let story = Arc::new(Mutex::new(Story { moments, ..Story::default() }));
        let db = open(vfs.clone()).expect("a store");
        let inner = Arc::clone(&story);
        vfs.set_observer(Box::new(move |count, vfs| {
            let mut story = inner.lock();
            let floor = story.durable;
            for plan in CrashPlan::all(count) {
                story.check(&vfs.crash(&plan), floor, &format!("op {count} {plan:?}"));
            }
            story.check(&vfs.kill(), floor, &format!("op {count} kill"));
        }));
        let mut told = 0;
        tell(&db, overtaken, |_, durable| {
            told += 1;
            if durable {
                story.lock().durable = told;
            }
        })
        .expect("the story");
        vfs.clear_observer();
        let story = story.lock();
        println!("{} images, moments shown {:?}", story.images.len(), story.shown);
        assert!(story.images.len() > 500);
        assert!(story.shown.iter().skip(1).all(|shown| *shown > 0), "{:?}", story.shown);
    }
}

/// Tables that the tree does not name are those of failed flushes.
fn assert_no_ingest_left(sim: &SimVfs, db: &Db, what: &str) {
    let named: Vec<String> =
        db.tables().iter().map(|(_, table)| format!("{}.sst", table.number)).collect();
    for name in sim.list(Path::new(DIR)).expect("names") {
        if name.ends_with(".sst") && !named.contains(&name) {
            let (_, found) = Table::open_file(sim, &Path::new(DIR).join(&name)).expect(&name);
            assert_eq!(found.origin, Origin::Flush, "{what}: {name}");
        }
    }
}

/// What a run goes through beside its fault.
#[derive(Clone, Copy, Debug)]
struct How {
    /// Somebody takes the number that the ingest began with.
    overtaken: bool,
    /// A failed sync drops what it should have made durable; otherwise a crash may keep it.
    drops: bool,
}

/// One failed run: what the calls said, and what is left.
fn run_with(fault: Fault, how: How) -> bool {
    let what = format!("{fault:?} {how:?}");
    let sim = SimVfs::new();
    let vfs = match how.drops {
        true => FaultVfs::over_sim(sim.clone()),
        false => FaultVfs::new(Arc::new(sim.clone())),
    };
    let db = open(vfs.clone()).expect("a store");
    db.put("a", "before").expect("put");
    db.put("b001", "before").expect("put");
    let before = content_of(&db);
    vfs.add(fault);
    let result = (|| {
        let mut writer = db.ingest_writer()?;
        for n in 0..14 {
            writer.put(format!("b{n:03}"), vec![b'i'; 150])?;
        }
        if how.overtaken {
            db.put("a", "before")?;
        }
        writer.commit()
    })();
    let injected = vfs.injected();
    vfs.clear();
    let taken_in = match &result {
        Ok(_) => true,
        Err(error) => {
            assert!(matches!(error, Error::Io { .. } | Error::Poisoned(_)), "{what}: {error}");
            // Visible or not, it is so as a whole.
            db.get("b005").expect("get").is_some()
        }
    };
    let mut content = content_of(&db);
    match taken_in {
        true => assert_eq!(content.len(), 15, "{what}"),
        false => assert_eq!(content, before, "{what}"),
    }
    // A failed flush is told once more, or was told already.
    let written = db.put("later", "1").or_else(|_| db.put("later", "1"));
    match &written {
        Ok(_) => {
            content.insert(b"later".to_vec(), b"1".to_vec());
            assert_eq!(content_of(&db), content, "{what}");
        }
        Err(error) => assert!(matches!(error, Error::Poisoned(_)), "{what}: {error}"),
    }
    let images = CrashPlan::all(1).map(|plan| sim.crash(&plan)).chain([sim.kill()]);
    for image in images {
        let again = open(image).unwrap_or_else(|why| panic!("{what}: after a crash: {why}"));
        let found = content_of(&again);
        assert_eq!(found.contains_key(&b"later"[..]), written.is_ok(), "{what}");
        let ingested = found.keys().filter(|key| key.starts_with(b"b")).count();
        match (&result, written.is_ok()) {
            (Ok(_), _) => assert_eq!(ingested, 14, "{what}"),
            (Err(_), true) => assert_eq!(found, content, "{what}: it was refused"),
            (Err(_), false) => assert!(matches!(ingested, 1 | 14), "{what}: {ingested}"),
        }
    }
    if written.is_ok() && !taken_in {
        db.flush().unwrap_or_else(|why| panic!("{what}: {why}"));
        assert_no_ingest_left(&sim, &db, &what);
    }
    injected > 0
}

/// Each call that an ingest makes fails in turn, once and for good: it is told, the ingest is there
/// whole or not at all, writing goes on where nothing is in doubt, and whatever was acknowledged
/// behind the failure survives every crash; a new manifest without the ingest counts then, or nothing
/// was written any more.
#[test]
fn a_fault_in_an_ingest_is_told_and_leaves_nothing_in_doubt() {
    let mut runs = 0;
    for op in OpKind::ALL {
        for (times, error) in [
            (Times::Once, FaultError::Eio),
            (Times::Always, FaultError::Eio),
            (Times::Once, FaultError::Short),
            (Times::Always, FaultError::Enospc),
        ] {
            for (overtaken, drops) in [(false, true), (true, true), (false, false)] {
                for after in 0.. {
                    let fault = Fault { op, path_contains: String::new(), after, times, error };
                    if !run_with(fault, How { overtaken, drops }) {
                        break;
                    }
                    runs += 1;
                }
            }
        }
    }
    println!("{runs} runs with a fault");
    assert!(runs > 300, "{runs}");
}

/// A key was lost to a failing disk in the middle of the input. Whoever goes on all the same cannot
/// commit the rest without it.
#[test]
fn an_ingest_that_lost_a_key_cannot_be_committed() {
    let vfs = FaultVfs::over_sim(SimVfs::new());
    let db = open(vfs.clone()).expect("a store");
    let (op, times, error) = (OpKind::Create, Times::Once, FaultError::Enospc);
    vfs.add(Fault { op, path_contains: ".sst".into(), after: 1, times, error });
    let mut writer = db.ingest_writer().expect("a writer");
    let mut failed = 0;
    for n in 0..40 {
        let put = writer.put(format!("{n:03}"), [b'v'; 100]);
        assert!(failed == 0 || put.is_err(), "{n}");
        failed += u64::from(put.is_err());
    }
    assert!(failed > 1 && failed < 40 && vfs.injected() == 1, "{failed}");
    assert!(matches!(writer.commit(), Err(Error::Io { .. })));
    assert_eq!(db.iter().count(), 0);
    assert_no_orphans(&vfs, &db, "after a lost key");
}
