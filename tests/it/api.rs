//! The public face of the engine, on a real directory with real threads.

mod cursors;
mod directories;
mod examples;
mod figures;
mod memory;
mod readers;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::PathBuf;

use beachdb::{Db, Durability, Error, Iter, Options, Result, SeqNo, WriteBatch};
use tempfile::TempDir;

/// A place for a store; the directory lives as long as the first of the two.
fn sand() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("sand");
    (dir, path)
}

/// `key=value` of everything an iterator still has to give.
fn texts(iter: impl Iterator<Item = Result<(Vec<u8>, beachdb::Value)>>) -> Vec<String> {
    let text = |(key, value): (Vec<u8>, beachdb::Value)| {
        format!("{}={}", key.escape_ascii(), value.escape_ascii())
    };
    iter.map(|item| text(item.expect("a pair"))).collect()
}

fn both_ways(iter: impl Fn() -> Iter) -> Vec<String> {
    let mut backwards = texts(iter().rev());
    backwards.reverse();
    let forwards = texts(iter());
    assert_eq!(forwards, backwards, "the two directions disagree");
    forwards
}

/// The example of the front page, word for word, and then what it left.
#[test]
fn the_first_example_does_what_it_says() -> Result<()> {
    let (_dir, sand) = sand();
    let db = Db::open(&sand)?;
    db.put(b"tide", b"low")?;
    assert_eq!(db.get(b"tide")?.as_deref(), Some(&b"low"[..]));

    let mut batch = WriteBatch::new();
    batch.put(b"a", b"1").delete(b"tide");
    db.write(batch, Durability::Buffered)?;

    let snapshot = db.snapshot();
    db.put(b"b", b"2")?;
    assert_eq!(texts(snapshot.range("a".."n").rev()), ["a=1"]);
    drop(snapshot);
    db.close()?;

    let db = Db::open(&sand)?;
    assert!(db.recovery().clean && !db.recovery().created);
    assert_eq!(texts(db.iter()), ["a=1", "b=2"]);
    assert_eq!(db.get(b"tide")?, None);
    Ok(())
}

/// What is there, what was overwritten, deleted, never there, and empty, from memory and from a
/// table; and many at once in the order asked for.
#[test]
fn a_read_finds_the_newest_version() -> Result<()> {
    let (_dir, sand) = sand();
    let db = Db::open(&sand)?;
    for round in 0..2 {
        db.put("over", "old")?;
        db.put("over", "new")?;
        db.put("gone", "x")?;
        db.delete("gone")?;
        db.delete("never")?;
        db.put("empty", "")?;
        let found = db.multi_get(["empty", "gone", "over", "nothing", "over"])?;
        let found: Vec<_> = found.iter().map(Option::as_deref).collect();
        assert_eq!(
            found,
            [Some(&b""[..]), None, Some(b"new"), None, Some(b"new")],
            "round {round}"
        );
        assert_eq!(texts(db.iter()), ["empty=", "over=new"]);
        db.flush()?;
        assert_eq!(texts(db.iter()), ["empty=", "over=new"]);
        assert_eq!(db.get("gone")?, None);
    }
    Ok(())
}

/// Keys at each limit are stored and found again, those beyond it refused, by reads too; and
/// nothing is written for the refused, not even the rest of their batch.
#[test]
fn a_call_beyond_a_limit_writes_nothing() -> Result<()> {
    let (_dir, sand) = sand();
    let db = Db::open(&sand)?;
    let longest = vec![b'k'; 65_535];
    let too_long = vec![b'k'; 65_536];
    assert_eq!(db.put(&longest, "v")?, SeqNo(1));
    db.flush()?;
    assert_eq!(db.get(&longest)?.as_deref(), Some(&b"v"[..]));
    assert_eq!(texts(db.prefix(&longest)).len(), 1);

    // Never touched, so it takes no memory; refused by its length before anything is copied.
    let huge = vec![0; (256 << 20) + 1];
    let bad = |put: &dyn Fn(&mut WriteBatch)| {
        let mut batch = WriteBatch::new();
        batch.put("good", "1");
        put(&mut batch);
        batch.put("fine", "2");
        match db.write(batch, Durability::Sync) {
            Err(Error::InvalidArgument(_)) => {}
            other => panic!("{other:?}"),
        }
    };
    bad(&|batch| {
        batch.put("", "v");
    });
    bad(&|batch| {
        batch.delete("");
    });
    bad(&|batch| {
        batch.put(&too_long, "v");
    });
    bad(&|batch| {
        batch.delete(&too_long);
    });
    bad(&|batch| {
        batch.put("k", &huge);
    });
    for key in [&b""[..], &too_long] {
        let got = db.get(key);
        assert!(matches!(got, Err(Error::InvalidArgument(_))), "{got:?}");
    }
    assert_eq!(db.stats().last_seqno, SeqNo(1));
    assert_eq!(db.put("next", "v")?, SeqNo(2));
    drop(db);
    assert_eq!(texts(Db::open(&sand)?.iter()).len(), 2);
    Ok(())
}

/// The last operation on a key counts, whatever came before it in the batch; each operation takes
/// a number; an empty batch takes none.
#[test]
fn within_a_batch_the_later_operation_wins() -> Result<()> {
    let (_dir, sand) = sand();
    let db = Db::open(&sand)?;
    let mut batch = WriteBatch::new();
    batch.put("a", "1").put("a", "2").delete("b").put("b", "3").put("c", "4").delete("c");
    assert_eq!(db.write(batch, Durability::Sync)?, SeqNo(6));
    for _ in 0..2 {
        assert_eq!(both_ways(|| db.iter()), ["a=2", "b=3"]);
        assert_eq!(db.get("c")?, None);
        db.flush()?;
    }
    assert_eq!(db.write(WriteBatch::new(), Durability::Sync)?, SeqNo(6));
    assert_eq!(db.write(WriteBatch::new(), Durability::Buffered)?, SeqNo(6));
    assert_eq!(db.put("d", "5")?, SeqNo(7));
    Ok(())
}

/// An empty batch that asks to be durable makes durable what was only buffered before it.
#[test]
fn an_empty_durable_batch_is_a_sync() -> Result<()> {
    let (_dir, sand) = sand();
    let db = Db::open(&sand)?;
    let mut batch = WriteBatch::new();
    batch.put("a", "1");
    db.write(batch, Durability::Buffered)?;
    assert_eq!(db.stats().syncs, 0);
    db.write(WriteBatch::new(), Durability::Sync)?;
    assert_eq!(db.stats().syncs, 1);
    db.sync()?;
    assert_eq!(db.stats().syncs, 1, "there was nothing left to sync");
    Ok(())
}

/// Keys that sort by unsigned bytes, a shorter one before those it begins; in two tables and the
/// memtable, one of them deleted.
fn mixed_store(db: &Db) -> Result<BTreeMap<Vec<u8>, &'static str>> {
    let keys: [&[u8]; 9] =
        [b"\x00", b"a", b"a\x00", b"ab", b"b", b"\x7f", b"\x80", b"\xff", b"\xff\xff"];
    for (index, key) in keys.iter().enumerate() {
        db.put(key, "v")?;
        if index % 3 == 2 {
            db.flush()?;
        }
    }
    db.put("gone", "v")?;
    db.flush()?;
    db.delete("gone")?;
    Ok(keys.iter().map(|key| (key.to_vec(), "v")).collect())
}

/// Every pair of bounds, of every kind, over keys that are there and keys beside them: both
/// directions give what a sorted map gives, also where the range is empty or upside down.
#[test]
fn a_range_holds_what_its_bounds_say() -> Result<()> {
    let (_dir, sand) = sand();
    let db = Db::open(&sand)?;
    let model = mixed_store(&db)?;
    let mut ends: Vec<Vec<u8>> = model.keys().cloned().collect();
    ends.extend([b"a0".to_vec(), b"gone".to_vec(), b"\xff\xff\xff".to_vec(), b"\x01".to_vec()]);
    let bounds: Vec<Bound<Vec<u8>>> = ends
        .iter()
        .flat_map(|end| [Bound::Included(end.clone()), Bound::Excluded(end.clone())])
        .chain([Bound::Unbounded])
        .collect();
    for from in &bounds {
        for to in &bounds {
            let expected = model.keys().filter(|key| {
                let begun = match from {
                    Bound::Included(from) => from <= *key,
                    Bound::Excluded(from) => from < *key,
                    Bound::Unbounded => true,
                };
                let open = match to {
                    Bound::Included(to) => *key <= to,
                    Bound::Excluded(to) => *key < to,
                    Bound::Unbounded => true,
                };
                begun && open
            });
            let expected: Vec<_> =
                expected.map(|key| format!("{}=v", key.escape_ascii())).collect();
            let found = both_ways(|| db.range((from.clone(), to.clone())));
            assert_eq!(found, expected, "{from:?} to {to:?}");
        }
    }
    Ok(())
}

/// Prefixes, those of 0xff bytes included, which have no end of their own, and the empty one.
#[test]
fn a_prefix_holds_what_begins_with_it() -> Result<()> {
    let (_dir, sand) = sand();
    let db = Db::open(&sand)?;
    let model = mixed_store(&db)?;
    let prefixes: [&[u8]; 9] =
        [b"", b"a", b"ab", b"abc", b"\xff", b"\xff\xff", b"\xff\xff\xff", b"g", b"\x7f"];
    for prefix in prefixes {
        let expected = model.keys().filter(|key| key.starts_with(prefix));
        let expected: Vec<_> = expected.map(|key| format!("{}=v", key.escape_ascii())).collect();
        assert_eq!(both_ways(|| db.prefix(prefix)), expected, "{prefix:?}");
    }
    Ok(())
}

/// Pairs are taken from either end in every pattern of twelve turns: together they are the whole,
/// each once, and both ends then stay at their end.
#[test]
fn both_ends_of_an_iterator_meet() -> Result<()> {
    let (_dir, sand) = sand();
    let db = Db::open(&sand)?;
    let model = mixed_store(&db)?;
    for turns in 0u32..1 << 12 {
        let mut iter = db.iter();
        let (mut front, mut back) = (Vec::new(), Vec::new());
        for turn in 0..12 {
            match turns >> turn & 1 {
                0 => front.extend(iter.next().map(|item| item.expect("a pair").0)),
                _ => back.extend(iter.next_back().map(|item| item.expect("a pair").0)),
            }
        }
        assert!(iter.next().is_none() && iter.next_back().is_none(), "{turns:b}");
        front.extend(back.into_iter().rev());
        assert!(front.iter().eq(model.keys()), "{turns:b}: {front:?}");
    }
    Ok(())
}

/// Forwards, backwards, beside, beyond either bound, and against what the back already gave.
#[test]
fn a_seek_moves_the_front_within_the_range() -> Result<()> {
    let (_dir, sand) = sand();
    let db = Db::open(&sand)?;
    for key in ["b", "d", "f", "h", "j", "l"] {
        db.put(key, "v")?;
        if key == "f" {
            db.flush()?;
        }
    }
    let next = |iter: &mut Iter| iter.next().map(|item| item.expect("a pair").0);
    let mut iter = db.range("d".."l");
    for (to, found) in [("f", "f"), ("e", "f"), ("i", "j"), ("a", "d"), ("", "d"), ("h", "h")] {
        iter.seek(to)?;
        assert_eq!(next(&mut iter).as_deref(), Some(found.as_bytes()), "to {to}");
    }
    iter.seek("k")?;
    assert_eq!(next(&mut iter), None, "l is outside");
    iter.seek("g")?;
    assert_eq!(iter.next_back().map(|item| item.expect("a pair").0), Some(b"j".to_vec()));
    assert_eq!(next(&mut iter), Some(b"h".to_vec()));
    assert_eq!(next(&mut iter), None, "j was taken from the back");
    Ok(())
}

/// A snapshot, and an iterator begun before, show the same through overwriting, deleting and
/// flushing again and again; the store itself moves on.
#[test]
fn a_snapshot_and_an_iterator_keep_their_moment() -> Result<()> {
    let (_dir, sand) = sand();
    let db = Options::new().memtable_size(2000).open(&sand)?;
    for n in 0..20 {
        db.put(format!("key{n:02}"), "first")?;
    }
    let expected = both_ways(|| db.iter());
    let snapshot = db.snapshot();
    let seqno = snapshot.seqno();
    let (fresh, mut begun) = (db.iter(), db.iter());
    let mut seen = texts(begun.by_ref().take(7));
    for round in 0..10 {
        for n in 0..20 {
            match (n + round) % 3 {
                0 => db.delete(format!("key{n:02}"))?,
                _ => db.put(format!("key{n:02}"), format!("later{round}"))?,
            };
        }
        db.put(format!("new{round}"), "x")?;
        db.flush()?;
        assert_eq!(both_ways(|| snapshot.iter()), expected, "round {round}");
        assert_eq!(snapshot.get("key03")?.as_deref(), Some(&b"first"[..]));
        assert_eq!(snapshot.get(format!("new{round}"))?, None);
    }
    assert!(db.stats().flushes >= 10);
    assert_eq!((db.stats().snapshots, db.stats().oldest_snapshot), (1, Some(seqno)));
    seen.extend(texts(begun));
    assert_eq!(seen, expected);
    assert_eq!(texts(fresh), expected);
    assert_ne!(texts(db.iter()), expected);
    drop(snapshot);
    assert_eq!((db.stats().snapshots, db.stats().oldest_snapshot), (0, None));
    Ok(())
}

/// Values read from memory and from a table keep their bytes while what they came from is
/// overwritten, flushed, and the store closed and gone.
#[test]
fn a_value_outlives_its_place() -> Result<()> {
    let (dir, sand) = sand();
    let db = Options::new().cache_size(0).open(&sand)?;
    db.put("table", "T".repeat(5000))?;
    db.flush()?;
    db.put("memory", "M".repeat(5000))?;
    let from_table = db.get("table")?.expect("a value");
    let from_memory = db.get("memory")?.expect("a value");
    let iter = db.iter();
    db.put("table", "overwritten")?;
    db.put("memory", "overwritten")?;
    db.flush()?;
    drop(db);
    assert_eq!(from_table.as_ref(), "T".repeat(5000).as_bytes());
    assert_eq!(texts(iter).len(), 2, "an iterator pins its files");
    drop(dir);
    assert_eq!(from_memory.as_ref(), "M".repeat(5000).as_bytes());
    Ok(())
}

/// A range that is walked backwards from a table into the memtable and through tombstones.
#[test]
fn a_tombstone_is_never_seen() -> Result<()> {
    let (_dir, sand) = sand();
    let db = Db::open(&sand)?;
    for n in 0..50 {
        db.put(format!("k{n:02}"), "v")?;
    }
    db.flush()?;
    for n in (0..50).filter(|n| n % 7 != 0) {
        db.delete(format!("k{n:02}"))?;
    }
    let expected: Vec<_> = (0..50).step_by(7).map(|n| format!("k{n:02}=v")).collect();
    assert_eq!(both_ways(|| db.iter()), expected);
    db.flush()?;
    assert_eq!(both_ways(|| db.iter()), expected);
    assert_eq!(both_ways(|| db.range("k01".."k07")), Vec::<String>::new());
    Ok(())
}
