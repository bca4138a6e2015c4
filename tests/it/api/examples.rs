//! The programs in `examples`, as a user runs them.

use std::path::PathBuf;
use std::process::Command;

/// Runs an example: as it was built with this test, or through cargo where only this test was.
fn run(name: &str) -> String {
    let this = std::env::current_exe().expect("this program");
    let built: PathBuf = this.ancestors().nth(2).expect("deps").join("examples").join(name);
    let mut command = match built.exists() {
        true => Command::new(built),
        false => {
            let mut cargo = Command::new(env!("CARGO"));
            cargo.args(["run", "--quiet", "--example", name]);
            cargo.args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")]);
            cargo
        }
    };
    let dir = tempfile::tempdir().expect("a directory");
    let output = command.env("TMPDIR", dir.path()).output().expect("it runs");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    let left = dir.path().read_dir().expect("a directory").count();
    assert_eq!(left, 0, "{name} cleans up behind itself");
    String::from_utf8(output.stdout).expect("text")
}

/// Each prints what its comments promise.
#[test]
fn the_examples_run() {
    assert_eq!(
        run("quickstart"),
        "tide is Some(b\"low\"), wind is None\nwaves = two metres\ntide = low\n"
    );
    assert_eq!(run("batch"), "1003 operations, 3 log syncs\npebbles/ben = 10\n");
    assert_eq!(
        run("snapshot"),
        "then, as of operation 3:\n  castle = standing\n  moat = dry\n  tide = low\n\
         now:\n  tide = high\n  moat = full\n"
    );
}
