//! Ingests beside what else goes on in a store, and after one another.

use beachdb::runtime::inline::InlineRuntime;
use beachdb::table::Compression;
use beachdb::vfs::sim::SimVfs;
use beachdb::{Durability, Level, Result, Strategy, WriteBatch};

use super::{ingest, open, value};
use crate::history::{DIR, content_of, tiny};

/// An ingest of four tables, the last one small, over an older table of the same keys, all in L0. Then
/// the strategy becomes one that merges neighbours of similar size: the older table with three of the
/// four. What it makes ends at the number that the fourth has as well, yet holds older versions of the
/// fourth's keys: a point read must go to the fourth first, before and after reopening, as a scan does.
#[test]
fn a_table_of_an_ingest_is_read_before_older_versions_merged_with_its_siblings() -> Result<()> {
    let sim = SimVfs::new();
    let options = |strategy| {
        let options = tiny(sim.clone(), &InlineRuntime::new(4)).strategy(strategy);
        options.table_size(2000).manifest_size(1 << 20).compression(Compression::None)
    };
    let db = options(Strategy::Hybrid).open(DIR)?;
    let mut batch = WriteBatch::new();
    for n in 0..64 {
        batch.put(format!("key{n:02}"), [b'o'; 30]);
    }
    db.write(batch, Durability::Buffered)?;
    db.flush()?;
    let mut writer = db.ingest_writer()?;
    for n in 0..64 {
        writer.put(format!("key{n:02}"), [b'n'; 90])?;
    }
    writer.commit()?;
    let sizes: Vec<u64> = db.tables().iter().map(|(_, table)| table.size).collect();
    let (last, others) = sizes.split_first().expect("tables");
    assert!(others.len() == 4 && others.iter().all(|size| 2 * last < *size), "{sizes:?}");
    assert!(db.tables().iter().all(|(level, _)| *level == Level(0)));
    let expected = content_of(&db);
    drop(db);
    for round in 0..2 {
        let db = options(Strategy::SizeTiered).open(DIR)?;
        db.wait_for_compactions()?;
        assert_eq!(db.tables().len(), 2, "three tables of the ingest and the older one are one");
        for (key, value) in &expected {
            assert_eq!(db.get(key)?.as_deref(), Some(value.as_slice()), "round {round}");
        }
        assert_eq!(content_of(&db), expected);
    }
    Ok(())
}

/// The bytes of every log beyond what was allocated for it, which is a multiple of four KiB.
fn beyond_allocation(sim: &SimVfs) -> u64 {
    let dump = sim.dump();
    let logs = dump.keys().filter(|path| path.extension() == Some("wal".as_ref()));
    let sizes = logs.map(|path| sim.read_file(path).expect("a log").len() as u64);
    sizes.map(|size| size % 4096).sum()
}

/// Each ingest leaves a mark in the log, and each close its frames, though nothing is written between
/// them: three hundred of them in one handle, then as many each with a close. A log that is full of marks
/// is given more room, as the manifest must know it, and never written beyond what was allocated: on a
/// full disk a mark there would fail when the ingest is durable already.
#[test]
fn marks_of_many_ingests_stay_within_the_log() -> Result<()> {
    let sim = SimVfs::new();
    let db = open(sim.clone());
    for n in 0..300 {
        ingest(&db, &["a"], &format!("{n}"))?;
        assert_eq!(beyond_allocation(&sim), 0, "ingest {n}");
    }
    db.close()?;
    for n in 300..600 {
        let db = open(sim.clone());
        assert!(db.recovery().clean && value(&db, "a") == Some(format!("{}", n - 1)), "{n}");
        ingest(&db, &["a"], &format!("{n}"))?;
        db.close()?;
        assert_eq!(beyond_allocation(&sim), 0, "ingest {n} and a close");
    }
    assert_eq!(value(&open(sim.kill()), "a").as_deref(), Some("599"));
    Ok(())
}
