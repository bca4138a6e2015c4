//! Damaged inputs: a compaction that meets one changes nothing and says so.

use beachdb::Error;
use beachdb::vfs::sim::CrashPlan;

use super::*;

/// A bit of every so many bytes is flipped; a prime, so that it is not the same bit of each block.
const STRIDE: usize = 29;

/// A closed store with two tables over one of several blocks, and what is in it.
fn closed_store(tree: Tree) -> (SimVfs, Content, BTreeSet<u64>) {
    let store = Store::new(tree);
    let value = |round: u32| format!("{round}").repeat(250);
    write(&store.db, 0..100, Some(&value(0)));
    compact_all(&store.db);
    write(&store.db, (0..40).filter(|n| n % 3 == 0), Some(&value(1)));
    write(&store.db, [50], None);
    store.db.flush().expect("flush");
    write(&store.db, 90..95, Some(&value(2)));
    store.db.flush().expect("flush");
    let (content, tables) = (content_of(&store.db), live_tables(&store.db));
    store.db.close().expect("close");
    (store.sim, content, tables)
}

/// What can be read is right, and what cannot says that it is damaged; returns how many reads failed.
fn read_what_is_left(db: &Db, content: &Content, what: &str) -> u64 {
    let mut failed = 0;
    for (key, value) in content {
        match db.get(key) {
            Ok(found) => assert_eq!(found.as_deref(), Some(value.as_slice()), "{what}"),
            Err(Error::Corruption(_)) => failed += 1,
            Err(error) => panic!("{what}: {error}"),
        }
    }
    for item in db.iter() {
        match item {
            Ok((key, value)) => assert_eq!(content.get(&key), Some(&value.to_vec()), "{what}"),
            Err(Error::Corruption(_)) => failed += 1,
            Err(error) => panic!("{what}: {error}"),
        }
    }
    failed
}

/// A bit is flipped here and there in each table in turn. Everything is then to be merged: either
/// the bit mattered to nothing that was read, and everything is right; or the merge is refused, the
/// table stays where it was, no new one is left, what lies elsewhere is still read, and nothing
/// wrong ever is; in particular no block is copied with its damage under a checksum that holds.
#[test]
fn damage_stops_a_compaction_and_is_never_copied() {
    let tree = Tree { memtable_size: 1 << 20, table_size: 9000, ..Tree::default() };
    let (sim, content, tables) = closed_store(tree);
    let (mut refused, mut harmless, mut copied) = (0, 0, 0);
    for number in &tables {
        let path = format!("{DIR}/{number:06}.sst");
        let size = sim.read_file(&path).expect("a table").len();
        for at in (0..size).step_by(STRIDE) {
            let what = format!("bit {} of byte {at} of {path}", at % 8);
            let disk = sim.crash(&CrashPlan::KEEP_ALL);
            disk.corrupt(&path, |bytes| bytes[at] ^= 1 << (at % 8)).expect("damaged");
            // Another seed than the store's first process had: file ids are random.
            let runtime = InlineRuntime::new(2);
            let db = tree.options(disk.clone(), &runtime).open(DIR).expect("open");
            match db.compact::<&[u8], _>(ALL) {
                Ok(()) => {
                    harmless += 1;
                    copied += db.stats().blocks_copied;
                    assert_eq!(content_of(&db), content, "{what}");
                }
                Err(Error::Corruption(_)) => {
                    refused += 1;
                    assert!(live_tables(&db).contains(number), "{what}: it went");
                    assert_eq!(table_files(&disk), live_tables(&db), "{what}: files and tree");
                    read_what_is_left(&db, &content, &what);
                    stays_stopped(&db, &what);
                }
                Err(error) => panic!("{what}: {error}"),
            }
            drop(db);
            let db = tree.options(disk, &runtime).open(DIR).expect("open");
            read_what_is_left(&db, &content, &what);
        }
    }
    println!("{refused} refused, {harmless} harmless, {copied} blocks copied in them");
    assert!(refused > 100 && harmless > 5 && copied > 10);
}

/// Nobody asked for a merge, but one is due, and it meets a damaged table while somebody waits for what is
/// due: the wait ends with the damage and not as if the tree were in shape, and so does the next one.
#[test]
fn whoever_waits_for_compactions_is_told_of_damage() {
    let store = Store::new(Tree { memtable_size: 1 << 20, ..Tree::default() });
    for round in 0..4 {
        write(&store.db, 0..100, Some(&format!("{round}")));
        store.db.flush().expect("flush");
    }
    let number = table_files(&store.sim).pop_last().expect("a table");
    let path = format!("{DIR}/{number:06}.sst");
    store.sim.corrupt(&path, |bytes| bytes[100] ^= 1).expect("damaged");
    for _ in 0..2 {
        let waited = store.db.wait_for_compactions();
        assert!(matches!(waited, Err(Error::Corruption(_))), "{waited:?}");
    }
    assert_eq!(store.db.stats().background_error, None, "the first one was told");
}

/// It is told, by statistics or to the next write, once; writes and flushes go on, and no other merge
/// is tried, until the store is opened again.
fn stays_stopped(db: &Db, what: &str) {
    let before = db.stats();
    assert_eq!(before.background_errors, 1, "{what}");
    assert!(before.background_error.is_none(), "{what}: the call that waited was told");
    db.put("new", "value").unwrap_or_else(|error| panic!("{what}: {error}"));
    db.flush().unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(db.get("new").expect("get").as_deref(), Some(&b"value"[..]), "{what}");
    let again = db.wait_for_compactions();
    assert!(matches!(again, Err(Error::Corruption(_))), "{what}: {again:?}");
    let after = db.stats();
    assert_eq!((after.background_errors, after.compactions), (1, before.compactions), "{what}");
}
