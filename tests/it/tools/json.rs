//! `--json`: every verb, every line.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Place, operation};
use crate::inspect::schema::assert_valid;

/// Holds the output against the verb's schema.
fn valid(verb: &str, ran: &super::Ran) {
    assert_valid(verb, std::str::from_utf8(&ran.out).expect("UTF-8"));
}

fn kinds(objects: &[Value]) -> Vec<&str> {
    objects.iter().map(|object| object["t"].as_str().expect("a kind")).collect()
}

/// What each verb prints, in kinds: each line an object, the last a summary that says complete.
#[test]
fn every_verb_prints_objects_and_a_summary() {
    let place = Place::new();
    let apply = [operation("a", "1"), operation("b", "2"), operation("c", "3")].concat();
    let copy = place.path("copy");
    let copy = copy.to_str().expect("text");
    let run = |words: &[&str], input: &str, code: i32, expected: &[&str]| {
        let line: Vec<&str> = words.iter().copied().chain(["--json"]).collect();
        let ran = place.feed(&line, input).expect(code);
        valid(words[0], &ran);
        let objects = ran.objects();
        assert_eq!(kinds(&objects), expected, "{words:?}");
        objects
    };
    run(&["put", "k", "v"], "", 0, &["summary"]);
    run(&["apply"], &apply, 0, &["summary"]);
    run(&["apply", "--ack", "--batch", "2"], &apply, 0, &["ack", "ack", "summary"]);
    run(&["del", "k"], "", 0, &["summary"]);
    let got = run(&["get", "a", "no", "b"], "", 1, &["value", "absent", "value", "summary"]);
    assert_eq!((&got[0]["key"], &got[0]["value"]), (&"a".into(), &"1".into()));
    assert_eq!((&got[3]["found"], &got[3]["absent"]), (&2.into(), &1.into()));
    run(&["scan"], "", 0, &["entry", "entry", "entry", "summary"]);
    run(&["scan", "--keys-only", "--limit", "1"], "", 0, &["entry", "summary"]);
    let count = run(&["scan", "--count"], "", 0, &["summary"]);
    assert_eq!(count[0]["records"], 3);
    run(&["lsm"], "", 0, &["summary"]);
    run(&["flush"], "", 0, &["summary"]);
    run(&["checkpoint", copy], "", 0, &["summary"]);
    run(&["lsm"], "", 0, &["level", "table", "summary"]);
    run(&["lsm", "--to", "a"], "", 0, &["level", "summary"]);
    run(&["compact"], "", 0, &["summary"]);
    run(&["stats"], "", 0, &["summary"]);
    run(&["dump"], "", 0, &["dump", "entry", "entry", "entry", "summary"]);
    run(&["load", "-"], "x\ty\n", 0, &["summary"]);
    run(&["load", "--sorted", "-"], "x\ty\n", 0, &["summary"]);
    run(&["load", "--lenient", "-"], "x\ty\nz\n", 6, &["skipped", "summary"]);
    run(&["man"], "", 0, &["page", "summary"]);
    run(&["completions", "bash"], "", 0, &["page", "summary"]);
}

/// A field of an object as `docs/json.md` has it: the verb, the kind, the name.
type Field = (String, String, String);

/// Verbs that need odd stores to say all they can; `inspect` holds their output against the schemas.
const INSPECTING: [&str; 6] = ["check", "diff", "du", "explain get", "find", "repair"];

/// What the page says of `beach`: the rows of the tables under each `### `beach VERB``.
fn documented() -> BTreeSet<Field> {
    let page = include_str!("../../../docs/json.md");
    let code = |text: &str| -> Vec<String> {
        text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    let mut verbs = Vec::new();
    let mut found = BTreeSet::new();
    for line in page.lines() {
        if line.starts_with('#') {
            verbs = code(line)
                .iter()
                .filter_map(|it| it.strip_prefix("beach ").map(str::to_owned))
                .collect();
        }
        let cells: Vec<&str> = line.split('|').collect();
        if cells.len() != 6 {
            continue;
        }
        for verb in &verbs {
            for kind in code(cells[1]) {
                let fields = code(cells[2]).into_iter();
                found.extend(fields.map(|field| (verb.clone(), kind.clone(), field)));
            }
        }
    }
    found
}

fn fields(verb: &str, objects: &[Value]) -> BTreeSet<Field> {
    let of = |object: &Value| {
        let kind = object["t"].as_str().expect("a kind").to_owned();
        let names: Vec<String> = object.as_object().expect("an object").keys().cloned().collect();
        names.into_iter().map(move |name| (verb.to_owned(), kind.clone(), name)).collect::<Vec<_>>()
    };
    let common = |field: &Field| field.2 == "t" || field.2 == "complete";
    objects.iter().flat_map(of).filter(|field| !common(field)).collect()
}

/// Every verb prints everything it can, binary bytes too; each field must have its row, and each
/// row (but those of the dump tools' output in the tour) must have been seen.
#[test]
fn every_field_is_documented_and_every_documented_field_is_printed() {
    let place = Place::new();
    let mut seen = BTreeSet::new();
    let mut run = |words: &[&str], input: &str| {
        let line: Vec<&str> = words.iter().copied().chain(["--json"]).collect();
        let ran = place.feed(&line, input);
        assert!(matches!(ran.code, 0 | 1 | 6), "{words:?}: {}", ran.err);
        valid(words[0], &ran);
        seen.extend(fields(words[0], &ran.objects()));
    };
    run(&["put", "\\xff", "\\xff", "--enc", "escape"], "");
    run(&["put", "a", "1"], "");
    run(&["flush"], "");
    run(&["apply", "--ack"], &operation("b", "2"));
    run(&["load", "--lenient", "-"], "x\ty\nz\n");
    run(&["flush"], "");
    run(&["put", "\\xfe", "\\xff", "--enc", "escape"], "");
    run(&["flush"], "");
    run(&["get", "a", "no", "\\xff", "\\xfd", "--enc", "escape"], "");
    for verb in ["scan", "dump", "lsm", "stats", "man"] {
        run(&[verb], "");
    }
    run(&["lsm", "--from", "b"], "");
    run(&["del", "a"], "");
    run(&["checkpoint", place.path("copy").to_str().expect("text")], "");
    run(&["compact"], "");
    run(&["completions", "bash"], "");
    run(&["explain"], "");
    run(&["explain", "BW002"], "");
    for key in ["ff", "61"] {
        let other = Place::new();
        other.run(["put", "--enc", "hex", key, "ff"]).expect(0);
        other.run(["flush"]).expect(0);
        seen.extend(fields("lsm", &other.run(["lsm", "--json"]).expect(0).objects()));
    }
    let tour = super::Ran::of(super::bare().args(["tour", "--json"])).expect(0);
    valid("tour", &tour);
    let tables = |field: &Field| field.0 == "tour" && field.1 == "table";
    seen.extend(fields("tour", &tour.objects()).into_iter().filter(|field| !tables(field)));

    let mut bench = ["bench", "fillseq", "stats", "--num", "500", "--json"].to_vec();
    let first = super::Ran::of(super::bare().args(&bench)).expect(0);
    let file = place.file("before", &first.out);
    bench.extend(["--compare", file.to_str().expect("a path in UTF-8"), "--memtable", "9k"]);
    let second = super::Ran::of(super::bare().args(&bench)).expect(0);
    valid("bench", &second);
    seen.extend(fields("bench", &second.objects()));

    let documented = documented();
    let lost: Vec<_> = seen.difference(&documented).collect();
    assert!(lost.is_empty(), "not in docs/json.md: {lost:?}");
    let is_due =
        |(verb, kind, _): &&Field| kind != "output" && !INSPECTING.contains(&verb.as_str());
    let unseen: Vec<_> = documented.difference(&seen).filter(is_due).collect();
    assert!(unseen.is_empty(), "never printed: {unseen:?}");
}

/// Bytes that are text as text, all others in base64, in and out, for keys and values alike.
#[test]
fn bytes_are_text_or_base64_and_go_back_in() {
    let place = Place::new();
    place.run(["put", "--enc", "hex", "ff00", "80"]).expect(0);
    place.run(["put", "--enc", "hex", "0a22", "e282ac"]).expect(0);
    let objects = place.run(["scan", "--json"]).expect(0).objects();
    assert_eq!((&objects[0]["key"], &objects[0]["value"]), (&"\n\"".into(), &"€".into()));
    assert_eq!(
        (&objects[1]["key_b64"], &objects[1]["value_b64"]),
        (&"/wA=".into(), &"gA==".into())
    );
    let copy = Place::new();
    copy.feed(&["load", "-"], place.run(["dump", "--json"]).expect(0).out).expect(0);
    let scanned = place.run(["scan", "--enc", "hex"]).expect(0);
    copy.run(["scan", "--enc", "hex"]).expect(0).prints(&scanned.out);
}

/// What fails prints no summary: its output counts as cut.
#[test]
fn a_failed_command_has_no_summary() {
    let place = Place::new();
    for words in [&["get", "k", "--json"][..], &["scan", "--json"], &["get", "", "--json"]] {
        let ran = place.run(words);
        assert!(ran.code >= 2);
        ran.prints("").says("error: ");
    }
    place.feed(&["apply", "--json"], "nonsense").expect(2).prints("");
    place.run(["get", "k", "--json", "--raw"]).expect(2).prints("");
    place.run(["dump", "--json", "--format", "csv"]).expect(2).prints("");
}

/// The figures of a store whose history is known.
#[test]
fn the_figures_of_lsm_and_stats_add_up() {
    let place = Place::with(&[("a", "1"), ("b", "22")]);
    let empty = place.run(["stats", "--json"]).expect(0).objects();
    assert_eq!((&empty[0]["tables"], &empty[0]["write_amplification"]), (&0.into(), &Value::Null));
    assert_eq!(empty[0]["memtable_entries"], 2);
    for _ in 0..2 {
        place.run(["flush"]).expect(0);
        place.run(["put", "a", "3"]).expect(0);
    }
    place.run(["del", "b"]).expect(0);
    place.run(["flush"]).expect(0);
    let stats = place.run(["stats", "--json"]).expect(0).objects().remove(0);
    let tree = place.run(["lsm", "--json"]).expect(0).objects();
    let (summary, before) = tree.split_last().expect("a summary");
    let of_kind = |kind: &str| before.iter().filter(|it| it["t"] == kind).collect::<Vec<_>>();
    let (levels, tables) = (of_kind("level"), of_kind("table"));
    assert_eq!((levels.len(), &levels[0]["runs"], &levels[0]["tables"]), (1, &3.into(), &3.into()));
    for name in ["bytes", "raw_bytes", "entries", "tombstones"] {
        assert_eq!(levels[0][name], summary[name], "{name}");
    }
    assert_eq!((tables.len(), &stats["tables"], &summary["tables"]), (3, &3.into(), &3.into()));
    let sum =
        |name: &str| tables.iter().map(|table| table[name].as_u64().expect(name)).sum::<u64>();
    // Of keys and values: a1 b22 and a3, a3 over it, and the tombstone's key.
    assert_eq!(sum("raw_bytes"), 2 + 3 + 2 + 2 + 1);
    assert_eq!(stats["flushed_user_bytes"], sum("raw_bytes"));
    assert_eq!(
        (&stats["table_bytes"], &summary["bytes"]),
        (&sum("bytes").into(), &sum("bytes").into())
    );
    assert_eq!((&stats["tombstones"], sum("tombstones")), (&1.into(), 1));
    assert_eq!((&stats["last_seq"], &stats["flushes"]), (&5.into(), &3.into()));
    let rounded = |ratio: f64| (ratio * 100.0).round() / 100.0;
    let write = sum("bytes") as f64 / sum("raw_bytes") as f64;
    assert_eq!(stats["write_amplification"].as_f64(), Some(rounded(write)));
    let largest = tables.iter().filter_map(|table| table["bytes"].as_u64()).max().expect("one");
    let space = sum("bytes") as f64 / largest as f64;
    assert_eq!(summary["space_amplification_max"].as_f64(), Some(rounded(space)));
    assert_eq!(summary["read_amplification"], 3);
}
