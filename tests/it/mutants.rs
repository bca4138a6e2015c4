//! The list of deliberate bugs, the engine and the page about them say the same.
#![allow(clippy::disallowed_methods, reason = "these tests read the sources, not a store")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use beachdb::crash::mutants::{CAMPAIGNS, MUTANTS, RULES};

use crate::inspect::schema::assert_valid;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The names in `mutant("…")` of all sources below a directory.
fn names_in(dir: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            names_in(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("text");
            let calls = text.split("mutant(\"").skip(1);
            found.extend(calls.filter_map(|rest| rest.split('"').next()).map(str::to_owned));
        }
    }
}

/// Each mutant of the list is somewhere in the engine, and each of the engine is on the list: else a
/// name misspelt would be a mutant that does nothing, and that nobody could notice.
#[test]
fn every_mutant_is_in_the_engine() {
    let mut found = BTreeSet::new();
    for part in ["format", "record", "table", "engine"] {
        names_in(&root().join("src").join(part), &mut found);
    }
    let listed: BTreeSet<String> = MUTANTS.iter().map(|one| one.name.to_owned()).collect();
    assert_eq!(found, listed);
}

/// The table in `docs/testing.md` has a row for each, and names a campaign that there is.
#[test]
fn every_mutant_is_on_the_page_with_who_notices_it() {
    let page = fs::read_to_string(root().join("docs/testing.md")).expect("the page");
    let (_, rest) = page.split_once("<!-- mutants: ").expect("the table");
    let (table, _) = rest.split_once("<!-- end of mutants -->").expect("its end");
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert_eq!(rows.len(), MUTANTS.len());
    for (row, mutant) in rows.iter().zip(MUTANTS) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells[0], mutant.rule.to_string(), "{row}");
        assert_eq!(cells[1], format!("`{}`", mutant.name), "{row}");
        assert!(cells[2].starts_with(mutant.what), "{row}");
        let by: String = CAMPAIGNS.iter().fold(format!("{}, ", cells[3]), |left, campaign| {
            // The longer name first: the shorter is its beginning.
            left.replace(&format!("{}, ", campaign.name), "")
        });
        assert!(by.is_empty() || by.ends_with("long, "), "{row}");
    }
    for (number, rule) in (1..).zip(RULES) {
        assert!(page.contains(&format!("{number}. {rule}")), "rule {number} is not on the page");
    }
}

fn ran(words: &[&str]) -> (i32, String, String) {
    let mut command = assert_cmd::Command::cargo_bin("beach-crash").expect("the tool");
    let output = command.args(words).output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status.code().expect("an exit"), text(output.stdout), text(output.stderr))
}

/// In a usual build there is no mutant to switch on: the command says how to make one that has.
#[test]
fn a_build_without_mutants_says_how_to_get_them() {
    if beachdb::probe::HAS_MUTANTS {
        return;
    }
    let (code, out, err) = ran(&["mutants"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("cargo build --release --features mutants,failpoints"), "{err}");
    let (code, _, err) = ran(&["mutants", "--only", "no_such_bug"]);
    assert_eq!(code, 2);
    assert!(err.contains("no_such_bug"), "{err}");
}

/// What there is can be asked of any build.
#[test]
fn the_mutants_are_listed() {
    let (code, out, err) = ran(&["mutants", "--list", "--json"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert_valid("crash-mutants", &out);
    assert_eq!(out.lines().count(), MUTANTS.len() + 1);
    let (code, out, _) = ran(&["mutants", "--list", "--only", "no_mix"]);
    assert_eq!(code, 0);
    assert!(out.contains("no_mix") && !out.contains("no_poison"), "{out}");
}
