//! Real processes, killed: the campaigns in small, and lies that they must notice.
#![allow(clippy::disallowed_methods, reason = "these tests prepare directories for the tools")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use beachdb::crash::{self, Config, Kind, Report, Stopped};
use beachdb::probe::{FAILPOINTS, HAS_FAILPOINTS};
use beachdb::runtime::threads::ThreadRuntime;
use serde_json::Value;

use crate::inspect::schema::assert_valid;

/// The exit status, standard output and standard error of `beach-crash`.
fn ran(dir: &Path, words: &[&str]) -> (i32, String, String) {
    let mut command = assert_cmd::Command::cargo_bin("beach-crash").expect("the tool");
    let output = command.current_dir(dir).args(words).output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    (output.status.code().expect("an exit"), text(&output.stdout), text(&output.stderr))
}

fn summary(out: &str) -> Value {
    serde_json::from_str(out.lines().last().expect("a summary")).expect("JSON")
}

/// Some kills of each kind; nothing is lost, and the summary, which is as documented, shows that there
/// was something to lose.
#[test]
fn a_few_kills_break_no_promise() {
    let home = tempfile::tempdir().expect("a directory");
    for (verb, cycles) in [("run", 40), ("bank", 25)] {
        let count = cycles.to_string();
        let words = [verb, "--dir", "sand", "--cycles", &count, "--seed", "7", "--json"];
        let (code, out, err) = ran(home.path(), &words);
        assert_eq!((code, err.as_str()), (0, ""), "{out}");
        assert_valid("crash-run", &out);
        let summary = summary(&out);
        let count = |name: &str| summary[name].as_u64().unwrap_or(0);
        assert_eq!((count("cycles"), count("violations"), count("seed")), (cycles, 0, 7));
        assert!(count("kills") > 20 && count("kills_in_flight") > 0, "{summary}");
        assert!(count("operations") > 200 && count("recoveries") > 10, "{summary}");
        assert!(count("snapshots") > 3, "{summary}");
        for reason in ["flush", "rotate", "grow", "recovery"] {
            assert!(summary["edits"][reason].as_u64() > Some(2), "{reason}: {summary}");
        }
    }
}

/// Runs cycles with a shell script in the worker's place.
fn cycles_with(dir: &Path, script: &str) -> (Report, Result<(), Stopped>) {
    let worker = format!("{} worker --dir {}", env!("CARGO_BIN_EXE_beach-crash"), dir.display());
    let config = Config {
        dir: dir.to_owned(),
        kind: Kind::Workload,
        seed: 11,
        cycles: Some(30),
        duration_ms: None,
        failpoints: false,
        remove_dir: |dir| fs::remove_dir(dir),
        worker: ["sh", "-c", &script.replace("WORKER", &worker)].map(Into::into).to_vec(),
    };
    crash::run(&config, &ThreadRuntime::default(), &|| false, &mut |_| ())
}

/// What is found, in `DIR/artifact.json` too.
fn violation_with(dir: &Path, script: &str) -> (String, Value) {
    match cycles_with(dir, script) {
        (_, Err(Stopped::Violation(_, broken))) => {
            let text = fs::read_to_string(dir.join("artifact.json")).expect("an artifact");
            let artifact: Value = serde_json::from_str(&text).expect("JSON");
            assert_eq!(artifact["found"], broken.found);
            (format!("{} / {}", broken.expected, broken.found), artifact)
        }
        (report, ended) => panic!("{report:?} {ended:?}"),
    }
}

/// A worker that claims what it never wrote, one that writes what it does not claim, one that dies by
/// itself and one that complains: each is a broken promise, told in its own words, and the artifact says
/// so once more as long as the store is as it was left.
#[test]
fn a_broken_promise_is_noticed_and_can_be_looked_at_again() {
    let home = tempfile::tempdir().expect("a directory");
    let script = r#"echo '{"t":"ack","stream":1,"n":9999,"seqno":1}'; exec sleep 60"#;
    let dir = home.path().join("claims");
    let (what, artifact) = violation_with(&dir, script);
    assert!(what.contains("9999 operations of writer 1 (acknowledged) / 0 of them"), "{what}");
    let runtime = ThreadRuntime::default();
    for _ in 0..2 {
        match crash::verify_kept(&artifact, &dir, &runtime) {
            Err(Stopped::Violation(_, broken)) => assert_eq!(artifact["found"], broken.found),
            other => panic!("{other:?}"),
        }
    }
    let mut mended = artifact.clone();
    mended["acknowledged"] = Value::Array(Vec::new());
    assert!(crash::verify_kept(&mended, &dir, &runtime).is_ok());
    assert!(matches!(crash::verify_kept(&Value::Null, &dir, &runtime), Err(Stopped::Engine(_))));
    // The evidence is not overwritten.
    assert!(matches!(cycles_with(&dir, "exit 1").1, Err(Stopped::Engine(_))));

    // As a person looks at it, from elsewhere: listed, done again, and not to be shrunk.
    let moved = home.path().join("moved");
    fs::rename(&dir, &moved).expect("moved");
    let (code, out, _) = ran(&moved, &["list", "--json"]);
    assert_valid("crash-list", &out);
    assert!(code == 0 && out.contains(r#""kind":"run""#) && out.contains("9999"), "{out}");
    let (code, out, err) = ran(&moved, &["replay", "artifact.json"]);
    assert!(code == 7 && out.contains("9999 operations of writer 1"), "{out}{err}");
    let (code, _, err) = ran(&moved, &["minimize", "artifact.json"]);
    assert!(code == 2 && err.contains("beach-crash replay"), "{err}");

    let late = r#"(sleep 0.4; echo '{"t":"ack","stream":4,"n":1,"seqno":0}') &"#;
    let silent = format!("{late} exec WORKER > /dev/null");
    let (what, _) = violation_with(&home.path().join("silent"), &silent);
    assert!(what.contains("one under way"), "{what}");
    let (what, _) = violation_with(&home.path().join("ends"), "exit 5");
    assert!(what.contains("ended by itself"), "{what}");
    let complaint = r#"echo '{"t":"broken","detail":"a snapshot is wrong"}'; exec sleep 60"#;
    let (what, _) = violation_with(&home.path().join("complains"), complaint);
    assert!(what.contains("a snapshot is wrong"), "{what}");
}

/// A sound run of the same machinery beside the lies: what they show is not noise.
#[test]
fn the_same_worker_without_a_lie_passes() {
    let home = tempfile::tempdir().expect("a directory");
    let (report, ended) = cycles_with(&home.path().join("sand"), "exec WORKER");
    assert!(ended.is_ok() && report.cycles == 30, "{report:?} {ended:?}");
}

/// A name of the list without its place would never be armed, a place without its name never visited.
#[test]
fn every_failpoint_has_one_place_and_every_place_its_name() {
    fn calls(dir: &Path, found: &mut BTreeMap<String, u64>) {
        for entry in fs::read_dir(dir).expect("a directory").flatten() {
            let path = entry.path();
            if path.is_dir() {
                calls(&path, found);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = fs::read_to_string(&path).expect("a source");
                for call in text.split("failpoint(\"").skip(1) {
                    *found
                        .entry(call.split('"').next().expect("a name").to_owned())
                        .or_default() += 1;
                }
            }
        }
    }
    let mut found = BTreeMap::new();
    calls(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    let listed: BTreeMap<String, u64> =
        FAILPOINTS.iter().map(|name| ((*name).to_owned(), 1)).collect();
    assert_eq!(found, listed);
}

/// The flag needs a build with failpoints; without them it says how to make one.
#[test]
fn failpoints_are_armed_or_the_build_says_how() {
    let home = tempfile::tempdir().expect("a directory");
    let words = ["run", "--dir", "sand", "--cycles", "40", "--seed", "3", "--failpoints", "--json"];
    let (code, out, err) = ran(home.path(), &words);
    if !HAS_FAILPOINTS {
        assert_eq!((code, out.as_str()), (2, ""));
        assert!(err.contains("cargo build --release --features failpoints"), "{err}");
        return;
    }
    assert_eq!(code, 0, "{err}");
    assert_valid("crash-run", &out);
    let fired = summary(&out)["fired"].as_object().expect("counts").clone();
    assert!(fired.values().filter(|count| **count != 0).count() > 10, "{fired:?}");
}

/// Somebody's directory is left alone.
#[test]
fn a_directory_with_other_things_is_refused() {
    let home = tempfile::tempdir().expect("a directory");
    fs::write(home.path().join("letter"), "dear").expect("a file");
    let (code, _, err) = ran(home.path(), &["run", "--dir", ".", "--cycles", "1"]);
    assert!(code == 2 && err.contains("holds other things"), "{code} {err}");
    assert_eq!(fs::read_dir(home.path()).expect("the directory").count(), 1);
}
