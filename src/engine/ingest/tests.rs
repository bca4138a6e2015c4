use crate::Db;
use crate::engine::core::find_value;
use crate::engine::options::Options;
use crate::runtime::inline::InlineRuntime;
use crate::vfs::sim::SimVfs;

use super::*;

fn open() -> Db {
    let runtime = Arc::new(InlineRuntime::new(1));
    Options::new().vfs(Arc::new(SimVfs::new())).runtime(runtime).open("/db").expect("a store")
}

/// A reader loads the view first and the sequence number second. Here it is caught between the two by
/// an ingest and a write behind it: what it then sees is the moment before both, never the write
/// without the ingest.
#[test]
fn a_view_from_before_an_ingest_sees_no_write_from_behind_it() -> Result<()> {
    let db = open();
    db.put("a", "before")?;
    db.flush()?;
    let view = db.core.superversion.load_full();
    let mut writer = db.ingest_writer()?;
    writer.put("b", "ingested")?;
    writer.commit()?;
    db.put("c", "behind")?;
    let seqno = db.core.seqno_of(&view);
    let found =
        |key: &str| find_value(&view, key.as_bytes(), seqno, |_| ()).expect("a read").is_some();
    assert_eq!(["a", "b", "c"].map(found), [true, false, false]);
    let now = ["a", "b", "c"].map(|key| db.get(key).expect("get").is_some());
    assert_eq!(now, [true; 3]);
    Ok(())
}

/// The number is the next one as long as nobody else takes it; otherwise it is ahead by a margin that
/// grows with each attempt; and there is a last one.
#[test]
fn a_number_that_was_passed_is_followed_by_one_ahead() -> Result<()> {
    let db = open();
    let mut writer = db.ingest_writer()?;
    writer.put("k", "v")?;
    assert_eq!(writer.seqno, SeqNo(1));
    writer.finish_table()?;
    writer.renumber(SeqNo(40))?;
    assert_eq!(writer.seqno, SeqNo(1041));
    writer.renumber(SeqNo(9040))?;
    assert_eq!(writer.seqno, SeqNo(9041 + 16_000));
    assert_eq!(writer.made.len(), 1);
    assert_eq!(writer.made[0].max_seqno, writer.seqno);
    assert_eq!(ahead(SeqNo(SeqNo::MAX.0 - 1), 0)?, SeqNo::MAX);
    assert!(matches!(ahead(SeqNo(SeqNo::MAX.0 - 1), 1), Err(Error::InvalidArgument(_))));
    Ok(())
}

/// What an ingest adds becomes visible in two steps: the view, then the number. A job that begins between
/// them would take whoever reads in between for one that sees the ingest, and drop the versions which that
/// reader needs. Here the worker gets all the time it wants as soon as it may, and merges the ingest with
/// what it hides: who then takes a snapshot finds the key.
#[test]
fn no_compaction_begins_between_the_view_of_an_ingest_and_its_number() -> Result<()> {
    let runtime = InlineRuntime::new(1);
    let options = Options::new().vfs(Arc::new(SimVfs::new())).runtime(Arc::new(runtime.clone()));
    let db = options.open("/db").expect("a store");
    let side = db.core.write_side()?;
    for value in ["1", "2", "3"] {
        db.put("k", value)?;
        db.flush()?;
    }
    let mut writer = db.ingest_writer()?;
    writer.put("k", "ingested")?;
    writer.finish_table()?;
    assert!(writer.publish(&mut side.writing.lock()).is_ok());
    assert_eq!(db.tables().len(), 4);
    side.wake_compactor();
    runtime.run_until_idle();
    assert_eq!((db.tables().len(), db.stats().dropped_shadowed), (1, 3));
    let found = db.snapshot().get("k")?;
    assert_eq!(found.as_deref(), Some(&b"ingested"[..]));
    Ok(())
}
