//! `scan`, and what becomes of output that nobody reads to its end.

use std::collections::BTreeMap;
use std::io::Read as _;

use super::{Place, Ran, Running};

fn fruit() -> Place {
    Place::with(&[("apple", "1"), ("apricot", "2"), ("banana", "3"), ("cherry", "4"), ("é", "5")])
}

fn keys(ran: &Ran) -> Vec<&str> {
    ran.text().lines().map(|line| line.split('\t').next().expect("a key")).collect()
}

/// Each bound at, between and beyond keys, both ways, in memory and in a table, against an ordered
/// map asked the same.
#[test]
fn ranges_are_those_of_an_ordered_map() {
    let place = fruit();
    let map: BTreeMap<&str, ()> =
        ["apple", "apricot", "banana", "cherry", "é"].map(|key| (key, ())).into();
    for flushed in [false, true] {
        if flushed {
            place.run(["flush"]).expect(0).prints("");
        }
        for from in ["", "apricot", "b", "z", "\u{ffff}"] {
            for to in ["apple", "banana", "c", "\u{ffff}"] {
                let within = |key: &&&str| (from..to).contains(*key);
                let mut expected: Vec<&str> = map.keys().filter(within).copied().collect();
                let line = ["scan", "--from", from, "--to", to];
                assert_eq!(keys(&place.run(line).expect(0)), expected);
                expected.reverse();
                let line = ["scan", "--reverse", "--from", from, "--to", to];
                assert_eq!(keys(&place.run(line).expect(0)), expected);
            }
        }
    }
}

/// Each option once with its exact output, and together.
#[test]
fn each_option_does_what_it_says() {
    let place = fruit();
    let all = "apple\t1\napricot\t2\nbanana\t3\ncherry\t4\né\t5\n";
    place.run(["scan"]).expect(0).prints(all).quietly();
    place.run(["scan", "--prefix", "ap"]).expect(0).prints("apple\t1\napricot\t2\n");
    place.run(["scan", "--limit", "2"]).expect(0).prints("apple\t1\napricot\t2\n");
    place.run(["scan", "--limit", "0"]).expect(0).prints("");
    place.run(["scan", "--reverse", "--limit", "1"]).expect(0).prints("é\t5\n");
    place.run(["scan", "--keys-only", "--prefix", "b"]).expect(0).prints("banana\n");
    place.run(["scan", "--count"]).expect(0).prints("5\n");
    place.run(["scan", "--count", "--limit", "3"]).expect(0).prints("3\n");
    place.run(["scan", "--count", "--prefix", "zz"]).expect(0).prints("0\n");
    place.run(["scan", "--prefix", "zz"]).expect(0).prints("").quietly();
    place.run(["scan", "--from", "c", "--to", "b"]).expect(0).prints("");
    place.run(["scan", "-0", "--prefix", "a"]).expect(0).prints("apple\t1\0apricot\t2\0");
    place.run(["scan", "-0", "--keys-only", "--limit", "2"]).expect(0).prints("apple\0apricot\0");
    place.run(["scan", "--enc", "hex", "--prefix", "62"]).expect(0).prints("62616e616e61\t33\n");
    place.run(["scan", "--count", "--keys-only"]).expect(2);
    place.run(["scan", "--limit", "-1"]).expect(2);
}

/// Line ends and tabs within a pair cannot be taken for its own; with `-0` nothing is escaped, so
/// a pair that would be ambiguous is refused.
#[test]
fn a_pair_is_one_line_whatever_is_in_it() {
    let place = Place::with(&[("a\tb", "1\n2"), ("c", "\u{0}")]);
    place.run(["scan"]).expect(0).prints("a\\tb\t1\\n2\nc\t\\x00\n");
    place.run(["scan", "-0", "--keys-only"]).expect(0).prints("a\tb\0c\0");
    place.run(["scan", "-0"]).expect(2).says("holds a separator");
    place
        .run(["scan", "-0", "--enc", "hex"])
        .expect(0)
        .prints("610962\t310a32\0".to_owned() + "63\t00\0");
}

/// More than a pipe holds, of which one line is read: the writer ends with 0 and says nothing.
#[test]
fn a_closed_pipe_ends_quietly_with_0() {
    let place = Place::new();
    let lines: String = (0..20_000).map(|n| super::operation(&format!("k{n:06}"), "v")).collect();
    place.feed(&["apply", "--batch", "0"], lines).expect(0);
    for words in [
        &["scan"][..],
        &["scan", "--json"],
        &["scan", "--reverse", "--keys-only"],
        &["dump"],
        &["dump", "--format", "csv"],
        &["dump", "--format", "tsv"],
    ] {
        let ran = read_one_line(place.start(words));
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{words:?}");
    }
}

fn read_one_line(mut running: Running) -> Ran {
    assert!(!running.read_line().is_empty());
    drop(running.child().stdout.take());
    running.wait()
}

/// The reader is gone before the first byte: what was found still decides.
#[test]
fn a_pipe_closed_at_once_is_no_trouble() {
    let place = fruit();
    for (words, code) in [(&["get", "apple"][..], 0), (&["scan"], 0), (&["lsm"], 0)] {
        let mut running = place.start(words);
        drop(running.child().stdout.take());
        let mut said = String::new();
        let errors = running.child().stderr.as_mut().expect("a pipe");
        errors.read_to_string(&mut said).expect("text");
        assert_eq!((running.wait().code, said.as_str()), (code, ""), "{words:?}");
    }
}
