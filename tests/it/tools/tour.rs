//! `tour`: it tells the truth, leaves nothing behind, and keeps what it is asked to keep.

use std::time::{Duration, Instant};

use super::{Place, Ran, bare};

/// Run where nothing of the project is: every step, in time, and no file left.
#[test]
fn the_tour_runs_anywhere_and_leaves_nothing() {
    let place = Place::new();
    let began = Instant::now();
    let mut command = bare();
    command.arg("tour").current_dir(place.0.path()).env("TMPDIR", place.0.path());
    let ran = Ran::of(&mut command).expect(0).quietly();
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    for text in [
        "1. Load the Unicode character database",
        "34924 pairs",
        "get 1F3D6 → BEACH WITH UMBRELLA;",
        "get nothing → none",
        "scan 1F600 to 1F602: 1F601 → GRINNING FACE WITH SMILING EYES",
        "snapshot get 1F3D7 → BUILDING CONSTRUCTION",
        "L0 ",
        "get 0041 → latin capital letter a",
        "get 2800 → none",
        "2684 older versions and 256 tombstones are gone",
        "it had acknowledged 100 writes as durable",
        "every acknowledged write is there",
        ".wal@0x",
        ".sst@0x",
        "each as it was written",
        "beach-walDump DIR",
    ] {
        assert!(ran.text().contains(text), "{text:?} is not in\n{}", ran.text());
    }
    assert_eq!(std::fs::read_dir(place.0.path()).expect("a directory").count(), 0);
}

/// The same as objects; the store stays where it was wanted, whole, and no other place is taken.
#[test]
fn a_kept_store_is_a_store_and_a_place_in_use_is_refused() {
    let place = Place::new();
    let db = place.db();
    let tour = |json: bool| {
        let mut command = bare();
        command.args(["tour", "--dir"]).arg(&db).env("TMPDIR", place.0.path());
        if json {
            command.arg("--json");
        }
        Ran::of(&mut command)
    };
    let objects = tour(true).expect(0).objects();
    let (summary, before) = objects.split_last().expect("a summary");
    assert_eq!(summary["verdict"], "kept");
    assert_eq!(before.iter().filter(|object| object["t"] == "step").count(), 8);
    // The file has 272 such lines; one of them was deleted.
    let kept = place.run(["scan", "--count", "--prefix", "1F3"]).expect(0);
    assert_eq!(kept.text(), "271\n");
    place.run(["get", "1F3D6"]).expect(0).prints("my favourite\n");
    place.run(["get", "crash:0099"]).expect(0).prints("99\n");
    tour(false).expect(2).prints("").says("is not empty");
    assert_eq!(std::fs::read_dir(place.0.path()).expect("a directory").count(), 1);
}
