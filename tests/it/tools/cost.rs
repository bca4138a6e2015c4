//! What a put costs: one sync, no table, few bytes.

use std::process::Command;

use super::{BEACH, Place, has};

fn bytes(place: &Place) -> usize {
    place.picture().values().map(|(bytes, ..)| bytes.len()).sum()
}

fn tables(place: &Place) -> usize {
    let is_table = |path: &&std::path::PathBuf| path.extension().is_some_and(|it| it == "sst");
    place.picture().keys().filter(is_table).count()
}

/// A shell loop of puts, a process each: they share a log, which grows on the way, and the store stays
/// small.
#[test]
fn a_loop_of_puts_makes_no_table_and_stays_small() {
    let place = Place::new();
    for n in 0..300 {
        place.run(["put", &format!("key{n:04}"), &"v".repeat(800)]).expect(0);
        assert_eq!(tables(&place), 0, "after {n} puts");
    }
    assert!(bytes(&place) < 1 << 20, "{} bytes", bytes(&place));
    place.run(["scan", "--count"]).expect(0).prints("300\n");
    let stats = place.run(["stats", "--json"]).expect(0).objects();
    assert_eq!((&stats[0]["logs"], &stats[0]["tables"]), (&1.into(), &0.into()));
}

/// The syncs of one more put, counted by the kernel's own trace; without `--no-sync` one, with it
/// none. A reader syncs nothing and writes nothing.
#[test]
fn a_put_is_one_sync() {
    if !has("strace", &["-f", "-o", "/dev/null", "true"]) {
        return;
    }
    let place = Place::with(&[("a", "1")]);
    let traced = |calls: &str, words: &[&str]| {
        let trace = place.path("trace");
        let mut command = Command::new("strace");
        command.args(["-f", "-e", &format!("trace={calls}"), "-o"]).arg(&trace);
        command.arg(BEACH).arg("--db").arg(place.db()).args(words);
        let output = command.output().expect("strace runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = std::fs::read_to_string(&trace).expect("the trace");
        text.lines().filter(|line| line.contains('(') && !line.contains("resumed")).count()
    };
    let syncs = "fsync,fdatasync,sync_file_range,msync,syncfs";
    assert_eq!(traced(syncs, &["put", "b", "2"]), 1);
    assert_eq!(traced(syncs, &["del", "b"]), 1);
    assert_eq!(traced(syncs, &["put", "--no-sync", "b", "2"]), 0);
    let changes =
        "fsync,fdatasync,pwrite64,rename,renameat2,unlink,mkdir,fallocate,ftruncate,flock";
    assert_eq!(traced(changes, &["get", "b"]), 0);
    assert_eq!(traced(changes, &["scan"]), 0);
}
