//! `beach explain`.

use beachdb::{Db, SeqNo, TraceOutcome, TraceStep, ValueKind};

use super::histories::{History, KEYS, key};
use super::stores::{BEACH, Beach};

/// Every code of the list has a page of its own, and both outputs are as documented.
#[test]
fn every_code_is_explained() {
    let beach = Beach::new();
    let list = beach.run(BEACH, &["explain", "--json"]);
    assert_eq!(list.code, 0, "{}", list.err);
    list.is_valid("explain");
    let codes = list.of_kind("code");
    assert_eq!(codes.len(), beachdb::inspect::Code::ALL.len());
    for code in codes {
        let page = beach.run(BEACH, &["explain", code["code"].as_str().expect("a code"), "--json"]);
        page.is_valid("explain");
        assert!(page.of_kind("code")[0]["page"].as_str().expect("a page").len() > 80, "{code}");
    }
    let unknown = beach.run(BEACH, &["explain", "BX999"]);
    assert_eq!((unknown.code, unknown.out.as_str()), (2, ""));
    assert!(unknown.err.contains("beach explain"), "{}", unknown.err);
}

/// Every key of random stores, and some that are not there, with every memtable and table cold and
/// warm: the traced get returns what the get does, and its last step says which version that is.
#[test]
fn a_traced_get_is_the_get() {
    let (mut positives, mut negatives, mut cached) = (0, 0, 0);
    for seed in 60..66 {
        let history = History::of(seed);
        let db = Db::open_read_only(history.beach.store()).expect("open");
        for n in (0..KEYS + 20).chain(0..KEYS) {
            let key = key(n);
            let (trace, value) = db.get_traced(&key);
            let value = value.expect("a read");
            assert_eq!(value, db.get(&key).expect("a read"), "seed {seed}");
            assert_eq!(value.as_deref(), history.pairs.get(&key).map(Vec::as_slice));
            let newest = history.ops.iter().rev().find(|(_, (made, _))| *made == key);
            match trace.steps.last().expect("a memtable at least").outcome {
                TraceOutcome::Found { seqno, kind, value_size } => {
                    let (expected, (_, put)) = newest.expect("an operation");
                    assert_eq!(seqno, *expected);
                    assert_eq!(kind == Some(ValueKind::Put), put.is_some());
                    assert_eq!(value_size, put.as_ref().map_or(0, Vec::len) as u64);
                }
                // A compaction may have left out a tombstone, and nothing else.
                _ => assert!(newest.is_none_or(|(_, (_, put))| put.is_none()), "seed {seed}"),
            }
            let is =
                |wanted: TraceOutcome| trace.steps.iter().filter(move |it| it.outcome == wanted);
            positives += is(TraceOutcome::FalsePositive).count();
            negatives += is(TraceOutcome::FilterNegative).count();
            cached += trace.steps.iter().filter(|it| it.block.is_some_and(|it| it.cached)).count();
            assert!(is(TraceOutcome::Failed).next().is_none());
        }
    }
    assert!(negatives > 50 && cached > 50, "{negatives} {cached} {positives}");
}

/// A store whose every table is known: each is looked into or passed over for the reason that the
/// test made, and the bytes read are those of the parts.
#[test]
fn each_step_has_its_reason() {
    let beach = Beach::new();
    let db = Db::open(beach.store()).expect("open");
    for keys in [&["a", "m", "z"][..], &["b", "y"], &["p", "q"]] {
        for key in keys {
            db.put(key, "sand").expect("put");
        }
        db.flush().expect("flush");
    }
    db.put("tide", "low").expect("put");
    let steps = |db: &Db, key: &str| {
        let (trace, value) = db.get_traced(key);
        value.expect("a read");
        trace.steps
    };
    let outcomes = |steps: &[TraceStep]| steps.iter().map(|it| it.outcome).collect::<Vec<_>>();
    let found = |seqno, value_size| TraceOutcome::Found {
        seqno: SeqNo(seqno),
        kind: Some(ValueKind::Put),
        value_size,
    };
    assert_eq!(outcomes(&steps(&db, "tide")), [found(8, 3)]);
    let cold = steps(&db, "m");
    let (out, no) = (TraceOutcome::OutOfRange, TraceOutcome::FilterNegative);
    assert_eq!(outcomes(&cold), [TraceOutcome::Absent, out, no, found(2, 4)]);
    let last = cold.last().expect("a step");
    let meta = db.tables().pop().expect("a table").1;
    let block = last.block.expect("a block");
    assert!(last.was_opened && !block.cached && block.offset == 0);
    let parts = u64::from(meta.filter.size) + u64::from(meta.index.size) + 64;
    assert_eq!(last.bytes_read, parts + block.size);
    let warm = steps(&db, "m");
    assert_eq!(outcomes(&warm), outcomes(&cold));
    let last = warm.last().expect("a step");
    assert!(!last.was_opened && last.bytes_read == 0 && last.block.expect("a block").cached);
    db.compact::<&str, _>(..).expect("compact");
    let below = steps(&db, "0");
    assert!(matches!(below[..], [_, TraceStep { outcome: TraceOutcome::OutOfRange, .. }]));
    let (trace, value) = db.get_traced("");
    assert!(value.is_err() && trace.steps.is_empty());
}

/// The command: both outputs, a key that is there, one that is not, and one that cannot be read.
#[test]
fn a_get_is_explained() {
    let beach = Beach::busy();
    for (key, code) in [("tide", 0), ("key001", 0), ("nothing", 1), ("key005", 1)] {
        let ran = beach.run(BEACH, &["--db", "sand", "explain", "get", key, "--json"]);
        assert_eq!(ran.code, code, "{}", ran.err);
        ran.is_valid("explain-get");
        assert_eq!(ran.of_kind("summary")[0]["found"], code == 0);
        assert_eq!(ran.of_kind("step")[0]["where"], "memtable");
        let text = beach.run(BEACH, &["--db", "sand", "explain", "get", key]);
        assert_eq!(text.code, code);
        assert_eq!(text.out.lines().count(), ran.of_kind("step").len() + 2, "{}", text.out);
    }
    for table in beach.names(".sst") {
        beach.damage(&table, |bytes| bytes[9] ^= 1);
    }
    let ran = beach.run(BEACH, &["--db", "sand", "explain", "get", "key000", "--json"]);
    assert_eq!(ran.code, 3, "{}", ran.err);
    let last = ran.out.lines().last().expect("the steps that led there");
    assert!(last.contains("\"failed\"") && ran.err.contains(".sst@0x0"), "{last} {}", ran.err);
}
