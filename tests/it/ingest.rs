//! Ingest: ascending keys that become part of a store all at once, past its log.

mod beside;
mod crashes;
mod foreign;
mod random;
mod waiting;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use beachdb::runtime::inline::InlineRuntime;
use beachdb::vfs::Vfs;
use beachdb::vfs::sim::SimVfs;
use beachdb::{Db, Durability, Error, Level, Options, Result, SeqNo, WriteBatch};

use crate::corners::hook::HookVfs;
use crate::history::{DIR, content_of, tiny};

fn open(vfs: impl Vfs + 'static) -> Db {
    tiny(vfs, &InlineRuntime::new(4)).open(Path::new(DIR)).expect("a store")
}

/// Puts these keys with this value, in one ingest.
fn ingest(db: &Db, keys: &[&str], value: &str) -> Result<SeqNo> {
    let mut writer = db.ingest_writer()?;
    for key in keys {
        writer.put(key, value)?;
    }
    writer.commit()
}

fn value(db: &Db, key: &str) -> Option<String> {
    let value = db.get(key).expect("get");
    value.map(|value| String::from_utf8(value.to_vec()).expect("text"))
}

fn texts(pairs: impl Iterator<Item = Result<(Vec<u8>, beachdb::Value)>>) -> Vec<String> {
    let text = |(key, value): (Vec<u8>, beachdb::Value)| {
        format!("{}={}", key.escape_ascii(), value.escape_ascii())
    };
    pairs.map(|pair| text(pair.expect("a pair"))).collect()
}

/// The tables in the store's directory are those of the tree.
fn assert_no_orphans(vfs: &dyn Vfs, db: &Db, what: &str) {
    let names = vfs.list(Path::new(DIR)).expect("names");
    let mut found: Vec<String> = names.into_iter().filter(|name| name.ends_with(".sst")).collect();
    let mut named: Vec<String> =
        db.tables().iter().map(|(_, table)| format!("{}.sst", table.number)).collect();
    found.sort();
    named.sort();
    assert_eq!(found, named, "{what}");
}

/// Keys that lie in every place there is: the ingest's entry wins over each, its tombstones hide each,
/// and what is written behind it wins over both; the same after reopening.
#[test]
fn an_ingest_wins_over_what_was_there_and_loses_to_what_comes() -> Result<()> {
    let vfs = SimVfs::new();
    let db = open(vfs.clone());
    for keys in [["deep1", "deep2"], ["table1", "table2"]] {
        for key in keys {
            db.put(key, "old")?;
        }
        db.flush()?;
    }
    for key in ["memory1", "memory2", "other"] {
        db.put(key, "old")?;
    }
    let before = db.stats().last_seqno;
    let mut writer = db.ingest_writer()?;
    for place in ["deep", "fresh", "memory", "table"] {
        writer.delete(format!("{place}1"))?;
        writer.put(format!("{place}2"), "new")?;
    }
    assert_eq!(value(&db, "deep2").as_deref(), Some("old"), "not seen yet");
    let seqno = writer.commit()?;
    assert_eq!(seqno, SeqNo(before.0 + 1), "one number for all");
    assert_eq!(db.stats().last_seqno, seqno);
    let expected = ["deep2=new", "fresh2=new", "memory2=new", "other=old", "table2=new"];
    assert_eq!(texts(db.iter()), expected);
    assert_eq!(content_of(&db).len(), 5);

    assert_eq!(db.put("deep1", "newest")?, SeqNo(seqno.0 + 1));
    db.delete("table2")?;
    let expected = ["deep1=newest", "deep2=new", "fresh2=new", "memory2=new", "other=old"];
    for round in 0..4 {
        assert_eq!(texts(open_again(&vfs, &db, round).iter()), expected, "round {round}");
    }
    drop(db);
    let db = open(vfs.clone());
    assert!(db.recovery().clean);
    assert_eq!(texts(db.iter()), expected);
    db.compact::<&[u8], _>(..)?;
    assert_eq!(texts(db.iter()), expected);
    assert_no_orphans(&vfs, &db, "after a compaction");
    Ok(())
}

/// What a kill leaves, or a power loss, or a reader sees, of the store behind this handle.
fn open_again(vfs: &SimVfs, db: &Db, round: u32) -> Db {
    let _ = db;
    match round {
        0 => open(vfs.kill()),
        1 => open(vfs.crash(&beachdb::vfs::sim::CrashPlan::LOSE_ALL)),
        2 => open(vfs.crash(&beachdb::vfs::sim::CrashPlan::KEEP_ALL)),
        _ => {
            let options = tiny(vfs.clone(), &InlineRuntime::new(5));
            options.open_read_only(Path::new(DIR)).expect("a reader")
        }
    }
}

/// A snapshot and an iterator from before show what they showed, though the ingest lies in new tables
/// and the old memtable is flushed; new ones see it.
#[test]
fn a_snapshot_from_before_an_ingest_does_not_see_it() -> Result<()> {
    let db = open(SimVfs::new());
    db.put("a", "1")?;
    db.put("c", "3")?;
    let snapshot = db.snapshot();
    let mut iter = db.iter();
    assert_eq!(texts(iter.by_ref().take(1)), ["a=1"]);
    ingest(&db, &["a", "b", "c"], "new")?;
    assert_eq!(texts(snapshot.iter()), ["a=1", "c=3"]);
    assert_eq!(texts(snapshot.iter().rev()), ["c=3", "a=1"]);
    assert_eq!(snapshot.get("b")?, None);
    assert_eq!(texts(iter), ["c=3"]);
    assert_eq!(texts(db.snapshot().iter()), ["a=new", "b=new", "c=new"]);
    db.compact::<&[u8], _>(..)?;
    assert_eq!(texts(snapshot.iter()), ["a=1", "c=3"], "a compaction keeps what it sees");
    Ok(())
}

/// Others write while the tables are built: the ingest is still newer than all they wrote before its
/// commit and older than what comes behind, also after a crash; the numbers it passed over stay
/// unused.
#[test]
fn an_ingest_that_others_overtook_is_newer_than_what_they_wrote() -> Result<()> {
    let vfs = SimVfs::new();
    let db = open(vfs.clone());
    db.put("k0", "before")?;
    let mut writer = db.ingest_writer()?;
    for n in 0..40 {
        writer.put(format!("k{n:02}"), vec![b'i'; 100])?;
        db.put(format!("k{n:02}"), "meanwhile")?;
    }
    let last = db.put("z", "meanwhile")?;
    let seqno = writer.commit()?;
    assert!(seqno > last);
    for n in 0..40 {
        assert_eq!(db.get(format!("k{n:02}"))?.as_deref(), Some(&[b'i'; 100][..]), "k{n:02}");
    }
    assert_eq!(db.put("k05", "behind")?, SeqNo(seqno.0 + 1));
    assert!(db.tables().iter().all(|(_, table)| table.max_seqno <= seqno));
    assert_no_orphans(&vfs, &db, "tables with the first number are gone");
    let content = content_of(&db);
    for db in [open(vfs.kill()), open_again(&vfs, &db, 1)] {
        assert_eq!(content_of(&db), content);
        assert_eq!(db.put("k06", "afterwards")?, SeqNo(seqno.0 + 2));
    }
    Ok(())
}

/// Into an empty store: tables of the size asked for, at the bottom. Beside them: as deep. Over them,
/// but above nothing newer: right above. Over what memory had: into L0, which is older.
#[test]
fn a_table_goes_as_deep_as_it_may() -> Result<()> {
    let open = |strategy| {
        let runtime = InlineRuntime::new(4);
        let options = tiny(SimVfs::new(), &runtime).strategy(strategy);
        (options.table_size(2000).compression(beachdb::table::Compression::None)).open(DIR)
    };
    let fill = |db: &Db, from: u32| -> Result<SeqNo> {
        let mut writer = db.ingest_writer()?;
        for n in from..from + 100 {
            writer.put(format!("{n:05}"), vec![b'v'; 100])?;
        }
        writer.commit()
    };
    let levels = |db: &Db| -> Vec<u8> { db.tables().iter().map(|(level, _)| level.0).collect() };

    let db = open(beachdb::Strategy::Hybrid)?;
    let first = fill(&db, 0)?;
    let tables = db.tables();
    assert!(tables.len() > 4 && tables.iter().all(|(level, _)| *level == Level::MAX));
    assert!(tables.iter().all(|(_, table)| table.size < 4000 && table.max_seqno == first));
    fill(&db, 1000)?;
    assert_eq!(levels(&db), vec![6; 2 * tables.len()]);
    ingest(&db, &["00050", "00051"], "x")?;
    assert!(levels(&db).contains(&5));
    db.put("00200", "in memory")?;
    ingest(&db, &["00100", "00300"], "x")?;
    assert_eq!(levels(&db).iter().filter(|level| **level == 0).count(), 2);
    assert_eq!(value(&db, "00050").as_deref(), Some("x"));

    for strategy in [beachdb::Strategy::SizeTiered, beachdb::Strategy::Fifo { size_max: 1 << 20 }] {
        let db = open(strategy)?;
        fill(&db, 0)?;
        assert_eq!(levels(&db), [0], "{strategy:?}: one run");
    }
    Ok(())
}

/// In the middle of a compaction, an ingest into a gap between its inputs, where nothing lies: it must
/// not go where the job's one output will lie across the gap. Afterwards both are in the tree.
#[test]
fn an_ingest_stays_out_of_a_running_jobs_way() -> Result<()> {
    let waiting: Arc<Mutex<Option<Weak<Db>>>> = Arc::default();
    let hook = Arc::clone(&waiting);
    let vfs = HookVfs::new(SimVfs::new(), move |call, path, _| {
        if call != "create" || path.extension() != Some("sst".as_ref()) {
            return Ok(());
        }
        let db = hook.lock().take().and_then(|db| db.upgrade());
        db.map_or(Ok(()), |db| ingest(&db, &["m"], "ingested").map(drop))
    });
    let db = Arc::new(open(vfs));
    for keys in [["a", "b"], ["a", "b"], ["y", "z"], ["y", "z"]] {
        for key in keys {
            db.put(key, "old")?;
        }
        db.flush()?;
    }
    *waiting.lock() = Some(Arc::downgrade(&db));
    db.compact::<&[u8], _>(..)?;
    assert!(waiting.lock().is_none(), "it ingested");
    assert_eq!(texts(db.iter()), ["a=old", "b=old", "m=ingested", "y=old", "z=old"]);
    let spans: Vec<_> = (db.tables().iter())
        .map(|(level, table)| (level.0, table.smallest.user.clone(), table.largest.user.clone()))
        .collect();
    let key = |key: &str| key.as_bytes().to_vec();
    assert_eq!(spans, [(0, key("m"), key("m")), (6, key("a"), key("z"))]);
    db.put("b", "new")?;
    db.compact::<&[u8], _>(..)?;
    assert_eq!(texts(db.iter()), ["a=old", "b=new", "m=ingested", "y=old", "z=old"]);
    Ok(())
}

/// A key that does not ascend, is empty or too long is refused by name, and the writer goes on without
/// it; a dropped writer leaves nothing, an empty one changes nothing; a reader cannot ingest.
#[test]
fn a_refused_key_is_left_out_and_a_dropped_writer_leaves_nothing() -> Result<()> {
    let vfs = SimVfs::new();
    let db = open(vfs.clone());
    db.put("a", "1")?;
    let mut writer = db.ingest_writer()?;
    writer.put("m", "1")?;
    for bad in ["m", "l", ""] {
        let error = writer.put(bad, "2").expect_err("refused");
        assert!(matches!(error, Error::InvalidArgument(_)), "{error}");
        assert!(bad.is_empty() || error.to_string().contains("does not follow \"m\""), "{error}");
        writer.delete(bad).expect_err("refused");
    }
    writer.put(vec![b'x'; 65_536], "2").expect_err("refused");
    writer.put("n", "1")?;
    writer.commit()?;
    assert_eq!(texts(db.iter()), ["a=1", "m=1", "n=1"]);

    let before = (db.stats().last_seqno, db.tables().len());
    let mut writer = db.ingest_writer()?;
    for n in 0..200 {
        writer.put(format!("{n:05}"), vec![b'v'; 100])?;
    }
    drop(writer);
    assert_no_orphans(&vfs, &db, "dropped");
    assert_eq!(db.ingest_writer()?.commit()?, before.0);
    assert_eq!((db.stats().last_seqno, db.tables().len()), before);

    let reader = tiny(vfs.clone(), &InlineRuntime::new(5)).open_read_only(Path::new(DIR))?;
    assert!(matches!(reader.ingest_writer(), Err(Error::ReadOnly)));
    assert!(matches!(reader.ingest(["/x.sst"]), Err(Error::ReadOnly)));
    Ok(())
}

/// Threads ingest, write and read. Every reader sees each ingest whole, and never what was written
/// behind an ingest without it.
#[allow(clippy::disallowed_methods)] // A test waits, and looks at its own process.
#[test]
fn ingests_among_writers_and_readers_are_whole() {
    let place = tempfile::tempdir().expect("a directory");
    let options = Options::new().memtable_size(50_000).table_size(3000);
    let db = Arc::new(options.open(place.path().join("db")).expect("a store"));
    let (rounds, done, seen) = (10u64, AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..=rounds {
                let mut writer = db.ingest_writer().expect("a writer");
                for n in 0..100 {
                    let value = format!("{round:08}{}", "v".repeat(100));
                    writer.put(format!("many{n:03}"), value).expect("put");
                }
                writer.commit().expect("commit");
                db.put("many", format!("{round:08}")).expect("put");
            }
            done.store(1, Ordering::Release);
        });
        scope.spawn(|| {
            for n in 0u64.. {
                let mut batch = WriteBatch::new();
                batch.put(format!("noise{}", n % 500), vec![b'n'; 100]);
                db.write(batch, Durability::Sync).expect("write");
                if done.load(Ordering::Acquire) == 1 {
                    break;
                }
            }
        });
        scope.spawn(|| {
            while done.load(Ordering::Acquire) == 0 {
                let round_of = |pair: Result<(Vec<u8>, beachdb::Value)>| -> u64 {
                    let value = pair.expect("a pair").1;
                    str::from_utf8(&value[..8]).expect("text").parse().expect("a number")
                };
                // First the key that is written behind each ingest, then those of the ingest.
                let found: Vec<u64> = db.prefix("many").map(round_of).collect();
                let (behind, ingested) = match found.split_first() {
                    Some((behind, ingested)) if found.len() == 101 => (*behind, ingested),
                    _ => (0, &found[..]),
                };
                assert!(matches!(ingested.len(), 0 | 100), "{} of 100", ingested.len());
                let round = ingested.first().copied().unwrap_or(0);
                assert!(ingested.iter().all(|other| *other == round), "{ingested:?}");
                assert!(round == behind || round == behind + 1, "{behind} without {round}");
                seen.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        });
    });
    assert_eq!(db.prefix("many").count(), 101);
    assert!(seen.load(Ordering::Relaxed) > 10);
    let last = db.stats().last_seqno;
    drop(db);
    let db = Db::open(place.path().join("db")).expect("again");
    assert_eq!(db.stats().last_seqno, last);
    assert_eq!(db.prefix("many").count(), 101);
}
