//! The campaigns of `beach-crash` on the simulated disk, as a person and a script meet them.
#![allow(clippy::disallowed_methods, reason = "these tests write artifacts")]

use std::fs;

use serde_json::Value;

use crate::inspect::schema::assert_valid;

/// Runs `beach-crash` in a directory: status, output, what it said.
fn ran(dir: &std::path::Path, words: &[&str]) -> (i32, String, String) {
    let mut command = assert_cmd::Command::cargo_bin("beach-crash").expect("the tool");
    let output = command.current_dir(dir).args(words).output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status.code().expect("an exit"), text(output.stdout), text(output.stderr))
}

fn summary(out: &str) -> Value {
    let last: Value = serde_json::from_str(out.lines().last().expect("a line")).expect("JSON");
    assert_eq!((&last["t"], &last["complete"]), (&"summary".into(), &true.into()), "{out}");
    last
}

/// Small campaigns: each ends well, counts what it did, and prints the same at every run but for
/// the rate.
#[test]
fn the_campaigns_end_well_and_count() {
    let home = tempfile::tempdir().expect("a directory");
    for (words, name, count, floor) in [
        (&["power", "--length", "1", "--cycles", "4"][..], "crash-power", "states", 20_000),
        (&["faults", "--cycles", "1"], "crash-faults", "runs", 300),
        (&["variants", "--cycles", "2"], "crash-variants", "answers", 300),
        (&["damage", "--cycles", "3"], "crash-damage", "refused", 800),
        (&["damage", "--cycles", "1", "--every-bit"], "crash-damage", "refused", 20_000),
    ] {
        let words = [words, &["--json"]].concat();
        let (code, out, err) = ran(home.path(), &words);
        assert_eq!((code, err.as_str()), (0, ""), "{words:?}");
        assert_valid(name, &out);
        let mut first = summary(&out);
        assert!(first[count].as_u64().expect("a count") > floor, "{first}");
        assert_eq!(first["violations"], 0);
        let mut second = summary(&ran(home.path(), &words).1);
        for summary in [&mut first, &mut second] {
            summary.as_object_mut().expect("an object").remove("states_per_minute");
        }
        assert_eq!(first, second, "the same seed, the same run");
    }
}

/// A few crowds end well; what their threads did is another thing at each run.
#[test]
fn a_crowd_ends_well() {
    let home = tempfile::tempdir().expect("a directory");
    let (code, out, err) = ran(home.path(), &["crowd", "--cycles", "8", "--json"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert_valid("crash-crowd", &out);
    let summary = summary(&out);
    assert!(summary["failed"].as_u64() > Some(0) && summary["acknowledged"].as_u64() > Some(0));
}

/// An artifact of a promise that holds: it is listed, its replay is well, there is nothing to
/// shrink. One that is none is refused as wrong usage.
#[test]
fn artifacts_are_listed_and_replayed() {
    let home = tempfile::tempdir().expect("a directory");
    let (code, out, _) = ran(home.path(), &["list"]);
    assert_eq!((code, out.as_str()), (1, ""));
    let artifact = r#"{"t":"artifact","version":1,"kind":"power","setup":{"seed":1,"strategy":0,
        "memtable_size":1500,"table_size":600,"manifest_size":700,"log_size":4096,
        "compressed":true,"steps":[{"do":"write","changes":[{"put":"a","size":700}],"sync":true}]},
        "crashes":[{"op":14,"data":"LoseAll","names":"LoseAll","seed":3}],
        "expected":"the first 1 batches at least","found":"0 batches"}"#;
    let name = "beach-crash-power-0123abcd.json";
    fs::write(home.path().join(name), artifact).expect("an artifact");
    let (code, out, _) = ran(home.path(), &["list"]);
    assert!(code == 0 && out.contains("power lost at operation 14"), "{out}");
    for (words, status, schema) in [
        (&["list", "--json"][..], 0, "crash-list"),
        (&["replay", name, "--json"], 0, "crash-replay"),
    ] {
        let (code, out, err) = ran(home.path(), words);
        assert_eq!((code, err.as_str()), (status, ""), "{out}");
        assert_valid(schema, &out);
    }
    assert_eq!(ran(home.path(), &["minimize", name]).0, 1);
    fs::write(home.path().join("other"), "{}").expect("a file");
    for verb in ["replay", "minimize"] {
        let (code, out, err) = ran(home.path(), &[verb, "other"]);
        assert_eq!((code, out.as_str()), (2, ""), "{err}");
        assert!(err.contains("is no artifact"), "{err}");
    }
}

/// What the page of evidence shows is what the kept runs printed: each has its row, and ended well.
#[test]
fn the_page_of_evidence_shows_every_run() {
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let page = fs::read_to_string(docs.join("evidence.md")).expect("the page");
    let runs = fs::read_to_string(docs.join("evidence.json")).expect("the runs");
    let runs: Value = serde_json::from_str(&runs).expect("JSON");
    let runs = runs.as_object().expect("runs by their names");
    for campaign in ["power", "faults", "damage", "bits", "run", "failpoints", "mutants"] {
        assert!(runs.contains_key(campaign), "{campaign} was not run");
    }
    for (name, run) in runs {
        assert_eq!(run["status"], 0, "{name}");
        let text = |field: &str| run[field].as_str().expect("text").to_owned();
        let row = format!("| `{}` | {}, at {} |", text("command"), text("date"), text("commit"));
        let row = page.lines().find(|line| line.starts_with(&row)).expect("a row of this run");
        // The count that says how much was done stands in it.
        for field in ["states", "runs", "damages", "answers", "kills", "mutants", "lines"] {
            if let Some(count) = run["summary"][field].as_u64() {
                assert!(row.contains(&separated(count)), "{name}: {field} is not {count} in {row}");
            }
        }
    }
}

/// `1,234,567`.
fn separated(count: u64) -> String {
    let digits = count.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| std::str::from_utf8(group).expect("digits"))
        .collect();
    groups.join(",")
}
