//! `beach diff`.

use std::collections::BTreeMap;

use beachdb::Db;
use serde_json::Value;

use super::histories::{Dice, History, Pairs, bytes};
use super::stores::{BEACH, Beach, Ran};

/// What a comparison must find: a key, and its values on both sides.
type Differences = BTreeMap<Vec<u8>, (Option<Vec<u8>>, Option<Vec<u8>>)>;

fn differences(a: &Pairs, b: &Pairs) -> Differences {
    let keys = a.keys().chain(b.keys());
    let pair = |key: &Vec<u8>| (key.clone(), (a.get(key).cloned(), b.get(key).cloned()));
    keys.map(pair).filter(|(_, (a, b))| a != b).collect()
}

fn told(ran: &Ran) -> Differences {
    let one = |object: &Value| {
        let key = bytes(object, "key");
        Some(match object["t"].as_str() {
            Some("added") => (key, (None, Some(bytes(object, "value")))),
            Some("removed") => (key, (Some(bytes(object, "value")), None)),
            Some("changed") => (key, (Some(bytes(object, "old")), Some(bytes(object, "new")))),
            other => panic!("{other:?}"),
        })
    };
    let all = ran.objects();
    let all: Vec<&Value> = all.iter().filter(|object| object["t"] != "summary").collect();
    let keys: Vec<Vec<u8>> = all.iter().map(|object| bytes(object, "key")).collect();
    assert!(keys.is_sorted());
    all.into_iter().filter_map(one).collect()
}

/// Stores against a checkpoint of an earlier moment, in both directions, against the difference of
/// the two models; a range gives that part of it.
#[test]
fn a_store_and_its_checkpoint_differ_as_their_models_do() {
    for seed in 40..46 {
        let history = History::of(seed);
        let run = |words: &[&str]| {
            let ran =
                history.beach.run(BEACH, &[&["--json", "--enc", "hex", "diff"], words].concat());
            ran.is_valid("diff");
            ran
        };
        let forth = run(&["then", "sand"]);
        let expected = differences(&history.then, &history.pairs);
        assert_eq!(forth.code, i32::from(!expected.is_empty()), "{}", forth.err);
        assert_eq!(told(&forth), expected, "seed {seed}");
        let equal =
            history.then.iter().filter(|(key, value)| history.pairs.get(*key) == Some(value));
        assert_eq!(forth.of_kind("summary")[0]["equal"], equal.count());
        let back = differences(&history.pairs, &history.then);
        assert_eq!(told(&run(&["sand", "then"])), back, "seed {seed}");
        let part = run(&["then", "sand", "--from", "62", "--to", "ff"]);
        let within = |key: &Vec<u8>| key.as_slice() >= &b"b"[..] && key.as_slice() < &[0xff][..];
        let expected: Differences = expected.into_iter().filter(|(key, _)| within(key)).collect();
        assert_eq!(told(&part), expected, "seed {seed}");
        let same = run(&["sand", "sand"]);
        assert_eq!((same.code, told(&same).len()), (0, 0));
    }
}

/// The operations that it prints, applied to the first side, make it equal to the second.
#[test]
fn the_operations_make_the_first_like_the_second() {
    let history = History::of(51);
    let ops = history.beach.run(BEACH, &["diff", "then", "sand", "--as-ops"]);
    assert_eq!(ops.code, 1, "{}", ops.err);
    let both = history.beach.run(BEACH, &["diff", "then", "sand", "--as-ops", "--json"]);
    assert_eq!((both.code, both.out.as_str()), (2, ""));
    std::fs::write(history.beach.home().join("ops"), &ops.out).expect("the operations");
    let applied = history.beach.run(BEACH, &["--db", "then", "apply", "ops", "--no-sync"]);
    assert_eq!(applied.code, 0, "{}", applied.err);
    let after = history.beach.run(BEACH, &["diff", "then", "sand"]);
    assert_eq!((after.code, after.out.as_str()), (0, ""), "{}", after.err);
}

/// Lines for `grep`: a sign, a key, a tab, the value or both.
#[test]
fn a_line_begins_with_its_sign() {
    let beach = Beach::new();
    for (name, pairs) in [("a", [("k", "1"), ("gone", "x")]), ("b", [("k", "2"), ("new", "y\t")])] {
        let db = Db::open(beach.home().join(name)).expect("open");
        for (key, value) in pairs {
            db.put(key, value).expect("put");
        }
        db.close().expect("close");
    }
    let ran = beach.run(BEACH, &["diff", "a", "b"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert_eq!(ran.out, "- gone\tx\n~ k\t1 -> 2\n+ new\ty\\t\n");
}

/// Single tables count by themselves: a tombstone in one is an absent key, whatever it hides in the
/// store; and a table can stand against a store.
#[test]
fn tables_are_compared_by_themselves() {
    let beach = Beach::new();
    let db = Db::open(beach.store()).expect("open");
    for (key, value) in [("a", "1"), ("b", "1"), ("c", "1")] {
        db.put(key, value).expect("put");
    }
    db.flush().expect("flush");
    db.delete("a").expect("delete");
    db.put("b", "0").expect("put");
    db.put("b", "2").expect("put");
    db.put("c", "1").expect("put");
    db.flush().expect("flush");
    db.close().expect("close");
    let tables: Vec<String> =
        beach.names(".sst").into_iter().map(|name| format!("sand/{name}")).collect();
    assert_eq!(tables.len(), 2);
    let ran = beach.run(BEACH, &["diff", &tables[0], &tables[1]]);
    assert_eq!((ran.code, ran.out.as_str()), (1, "- a\t1\n~ b\t1 -> 2\n"), "{}", ran.err);
    let ran = beach.run(BEACH, &["diff", &tables[1], "sand"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{}", ran.err);
    let wrong = beach.run(BEACH, &["diff", "sand/CURRENT", "sand"]);
    assert_eq!(wrong.code, 5, "{}", wrong.err);
    assert_eq!(beach.run(BEACH, &["diff", "sand", "nowhere"]).code, 5);
}

/// What was damaged counts as absent, and the status says that the answer is not to be believed.
#[test]
fn damage_is_told_on_either_side() {
    let mut dice = Dice::new(7);
    let beach = Beach::busy();
    Db::open(beach.store())
        .expect("open")
        .checkpoint(beach.home().join("then"))
        .expect("checkpoint");
    let names = beach.names(".sst");
    let table = &names[dice.below(names.len() as u64) as usize];
    // The checkpoint shares its tables by links: the copy that is damaged must be another file.
    let whole = std::fs::read(beach.path(table)).expect("the table");
    std::fs::remove_file(beach.path(table)).expect("remove");
    std::fs::write(beach.path(table), whole).expect("write");
    beach.damage(table, |bytes| bytes[9] ^= 0x10);
    for words in [["diff", "sand", "then"], ["diff", "then", "sand"]] {
        let ran = beach.run(BEACH, &[&["--json"], &words[..]].concat());
        ran.is_valid("diff");
        assert_eq!(ran.code, 3, "{}", ran.err);
        assert_eq!(ran.of_kind("finding").len(), 1);
        let text = beach.run(BEACH, &words);
        assert!(text.code == 3 && text.err.contains("BT005") && !text.out.contains("BT005"));
    }
}
