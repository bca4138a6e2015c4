//! Help, version, completions and manual pages; wrong usage.

use super::{Ran, bare, has};

fn run(words: &[&str]) -> Ran {
    Ran::of(bare().args(words))
}

/// The program's and every verb's, long and short.
#[test]
fn every_help_begins_with_examples() {
    let verbs = [
        "put",
        "get",
        "del",
        "scan",
        "apply",
        "load",
        "dump",
        "flush",
        "checkpoint",
        "compact",
        "lsm",
        "stats",
        "bench",
        "tour",
        "completions",
        "man",
    ];
    let help = run(&["--help"]).expect(0).quietly();
    for verb in verbs {
        assert!(help.text().contains(&format!("\n  {verb} ")), "{verb} is not in the help");
        for flag in ["--help", "-h"] {
            let ran = run(&[verb, flag]).expect(0).quietly();
            assert!(ran.text().starts_with("Examples:\n  beach "), "{verb} {flag}");
        }
    }
    assert!(help.text().starts_with("Examples:\n  beach "));
}

/// The program's and the format's.
#[test]
fn the_version_lists_the_formats() {
    let ran = run(&["--version"]).expect(0).quietly();
    let program = env!("CARGO_PKG_VERSION");
    let format = beachdb::FORMAT_VERSION;
    ran.prints(format!("beach {program} (store format: writes {format}, reads 1 to {format})\n"));
}

/// Each names every verb; bash is asked to read its own.
#[test]
fn completions_and_manual_pages_are_there() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = run(&["completions", shell]).expect(0).quietly();
        assert!(["put", "scan", "tour"].iter().all(|verb| ran.text().contains(verb)), "{shell}");
    }
    if has("bash", &["--version"]) {
        let script = run(&["completions", "bash"]).out;
        let mut shell = assert_cmd::Command::new("bash");
        Ran::of(shell.args(["-n", "/dev/stdin"]).write_stdin(script)).expect(0).quietly();
    }
    run(&["completions", "dos"]).expect(2);
    for page in [&["man"][..], &["man", "scan"]] {
        let ran = run(page).expect(0).quietly();
        assert!(ran.text().contains(".TH") && ran.text().contains("beach"));
        assert!(ran.text().contains("Examples:"));
    }
    run(&["man", "nope"]).expect(2).says("nope");
}

/// Statuses of mistakes, with the hint on standard error and nothing on standard output.
#[test]
fn wrong_usage_is_2_and_prints_nothing() {
    for line in [
        &[][..],
        &["nonsense"],
        &["--db", "x"],
        &["--db", "x", "put", "k"],
        &["--db", "x", "put", "k", "v", "w"],
        &["--db", "x", "get", "--no-such", "k"],
        &["--db", "x", "--wait", "soon", "get", "k"],
        &["--db", "x", "--color", "blue", "get", "k"],
        &["--db", "x", "apply", "--batch", "-1"],
    ] {
        let ran = run(line).expect(2).prints("");
        assert!(!ran.err.is_empty(), "{line:?}");
    }
}
