//! `compact`, and the tree as `lsm` tells it: what goes, what stays, and who may read meanwhile.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::{Place, Ran, operation};

/// A value of this length that does not compress, another one for every seed.
fn noise(seed: u64, length: usize) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut word = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        format!("{state:016x}")
    };
    std::iter::repeat_with(&mut word).take(length / 16).collect()
}

/// Puts these keys in one batch, which stays in the log.
fn put(place: &Place, keys: std::ops::Range<u64>, round: u64, length: usize) {
    let line = |n: u64| operation(&format!("k{n:06}"), &noise(n * 31 + round, length));
    let lines: String = keys.map(line).collect();
    place.feed(&["apply", "--batch", "0", "--no-sync"], lines).expect(0);
}

/// The same, and flushes them into a table. Small ones stay as they are, until there are many.
fn table(place: &Place, keys: std::ops::Range<u64>, round: u64, length: usize) {
    put(place, keys, round, length);
    place.run(["flush"]).expect(0);
}

/// The numbers of the tables that the tree names.
fn live(place: &Place) -> BTreeSet<u64> {
    let objects = place.run(["lsm", "--json"]).expect(0).objects();
    let tables = objects.iter().filter(|it| it["t"] == "table");
    tables.map(|it| it["number"].as_u64().expect("a number")).collect()
}

/// The numbers of the tables in the directory.
fn on_disk(place: &Place) -> BTreeSet<u64> {
    files(place).keys().copied().collect()
}

fn files(place: &Place) -> std::collections::BTreeMap<u64, PathBuf> {
    let entries = std::fs::read_dir(place.db()).expect("the store").flatten();
    let tables = entries.map(|entry| entry.path());
    let tables = tables.filter(|path| path.extension().is_some_and(|it| it == "sst"));
    let number = |path: &PathBuf| path.file_stem()?.to_str()?.parse().ok();
    tables.map(|path| (number(&path).expect("a number"), path)).collect()
}

fn summary(ran: Ran) -> Value {
    ran.expect(0).objects().pop().expect("a summary")
}

/// Nothing at all, nothing but what a delete took back, and a range without keys: no table before,
/// none after, and status 0.
#[test]
fn a_store_without_pairs_compacts_to_nothing() {
    let place = Place::new();
    place.feed(&["apply"], "").expect(0);
    place.run(["compact"]).expect(0).prints(
        "before:  0 tables, 0 B, 0 entries\n\
         after:   0 tables, 0 B, 0 entries\n\
         dropped: 0 older versions, 0 tombstones\n",
    );
    place.run(["put", "k", "v"]).expect(0);
    place.run(["del", "k"]).expect(0);
    place.run(["compact", "--from", "b", "--to", "a"]).expect(0);
    let done = summary(place.run(["compact", "--json"]));
    assert_eq!((&done["entries_flushed"], &done["tables"]), (&2.into(), &0.into()));
    assert_eq!((&done["dropped_shadowed"], &done["dropped_tombstones"]), (&1.into(), &1.into()));
    place.run(["lsm"]).expect(0).prints("no tables; everything is in the log\n");
    assert_eq!(on_disk(&place), BTreeSet::new());
    place.run(["get", "k"]).expect(1);
}

/// Three tables of overwrites and deletes: every entry is there afterwards or counted as dropped, the
/// pairs are the same, the old files are gone, and a get looks into one table.
#[test]
fn what_is_dropped_is_counted_and_what_is_read_stays_the_same() {
    let place = Place::new();
    table(&place, 0..300, 1, 64);
    table(&place, 100..200, 2, 64);
    for n in 150..160 {
        place.run(["del", &format!("k{n:06}"), "--no-sync"]).expect(0);
    }
    let before = place.run(["scan"]).expect(0);
    let old = on_disk(&place);
    assert_eq!(old.len(), 2);
    let done = summary(place.run(["compact", "--json"]));
    let number = |name: &str| done[name].as_u64().expect(name);
    assert_eq!((number("tables_before"), number("tables")), (2, 1));
    assert_eq!((number("entries_before"), number("entries_flushed")), (400, 10));
    assert_eq!((number("dropped_shadowed"), number("dropped_tombstones")), (100 + 10, 10));
    assert_eq!(number("entries"), 400 + 10 - 110 - 10);
    assert!(number("bytes") < number("bytes_before") && number("read_bytes") > 0);
    assert_eq!(number("written_bytes"), number("bytes"));
    place.run(["scan"]).expect(0).prints(&before.out);
    assert_eq!(on_disk(&place), live(&place));
    assert!(on_disk(&place).is_disjoint(&old));
    let tree = summary(place.run(["lsm", "--json"]));
    assert_eq!((&tree["read_amplification"], &tree["tombstones"]), (&1.into(), &0.into()));
    assert_eq!(tree["space_amplification_max"], 1.0);
    let stats = summary(place.run(["stats", "--json"]));
    assert_eq!((&stats["compactions"], &stats["l0_tables"]), (&1.into(), &0.into()));
    // Once more: nothing to do, and nothing done.
    let again = summary(place.run(["compact", "--json"]));
    assert_eq!((&again["compactions"], &again["tables"]), (&0.into(), &1.into()));
}

/// Two tables with the same keys and one with others: the range takes the two and leaves the one, and
/// `lsm` tells of the range what it holds.
#[test]
fn a_range_is_compacted_and_nothing_else() {
    let place = Place::new();
    for (keys, round) in [(0..100, 1), (0..100, 2), (500..600, 3)] {
        table(&place, keys, round, 64);
    }
    let tree = summary(place.run(["lsm", "--json"]));
    assert_eq!(tree["tables"], 3);
    let behind = summary(place.run(["lsm", "--json", "--from", "k000300"]));
    assert_eq!((&behind["tables"], &behind["range_tables"]), (&3.into(), &1.into()));
    let bytes = behind["range_bytes"].as_u64().expect("bytes");
    let all = tree["bytes"].as_u64().expect("bytes");
    assert!(bytes > 100 * 64 && bytes < all / 2, "{bytes} of {all}");
    let none = summary(place.run(["lsm", "--json", "--from", "x"]));
    assert_eq!((&none["range_tables"], &none["range_bytes"]), (&0.into(), &0.into()));
    let shown = place.run(["lsm", "--from", "k000300"]).expect(0);
    assert!(shown.text().contains(" in 1 table\n"), "{}", shown.text());

    let (before, old) = (place.run(["scan"]).expect(0), live(&place));
    let done = summary(place.run(["compact", "--json", "--to", "k000300"]));
    assert_eq!((&done["tables_before"], &done["tables"]), (&3.into(), &2.into()));
    assert_eq!(live(&place).intersection(&old).count(), 1);
    place.run(["scan"]).expect(0).prints(&before.out);
    // The keys may be written in any way that --enc knows; one it does not know is wrong usage.
    place.run(["compact", "--enc", "hex", "--from", "0g"]).expect(2).prints("").says("--from");
    place.run(["lsm", "--enc", "hex", "--to", "0g"]).expect(2).prints("").says("--to");
    place.run(["compact", "--enc", "hex", "--from", "6b"]).expect(0);
}

/// The picture has a row a level, its bars in proportion, and a sum below.
#[test]
fn the_levels_are_drawn() {
    let place = Place::new();
    table(&place, 0..400, 1, 640);
    place.run(["compact"]).expect(0);
    table(&place, 0..100, 2, 640);
    let shown = place.run(["lsm"]).expect(0);
    let rows: Vec<&str> = shown.text().lines().take(4).collect();
    let begins = ["level ", "L0 ", "L6 ", "all "];
    assert!(rows.iter().zip(begins).all(|(row, begin)| row.starts_with(begin)), "{rows:?}");
    let cells = |row: &str| row.chars().filter(|it| *it == '█').count();
    // A quarter of the entries, and perhaps not compressed.
    assert_eq!((cells(rows[2]), cells(rows[3])), (24, 0), "{rows:?}");
    assert!((4..=12).contains(&cells(rows[1])), "{rows:?}");
    assert!(rows[2].ends_with("k000000 .. k000399"), "{rows:?}");
}

/// A scan that has begun goes on while its tables are compacted away, and prints what it began with.
#[test]
fn a_reader_that_has_begun_keeps_its_tables() {
    let place = Place::new();
    table(&place, 0..4000, 1, 256);
    put(&place, 0..4000, 2, 256);
    let whole = place.run(["scan"]).expect(0);
    // It cannot end: nobody reads the pipe.
    let mut scanning = place.start(&["scan"]);
    let first = scanning.read_line();
    // Dropped without a close, so that nothing is merged before it is asked for.
    place.run(["del", "k000001", "--no-sync"]).expect(0);
    place.run(["compact"]).expect(0);
    assert_eq!((on_disk(&place), on_disk(&place).len()), (live(&place), 1));
    let rest = scanning.wait().expect(0).quietly();
    assert!(whole.text() == format!("{first}\n{}", rest.text()), "the scan changed");
    place.run(["scan", "--count"]).expect(0).prints("3999\n");
}

/// One flipped bit: status 3 and the file named, twice; every table stays as it was, other keys are
/// read as ever, other ranges compacted.
#[test]
fn a_damaged_table_is_named_and_left_alone() {
    let place = Place::new();
    table(&place, 0..1000, 1, 256);
    table(&place, 0..1000, 2, 256);
    table(&place, 5000..6000, 3, 256);
    place.run(["del", "k005500"]).expect(0);
    let (tables, before) = (files(&place), live(&place));
    let victim = tables.values().next().expect("a table");
    let mut bytes = std::fs::read(victim).expect("the table");
    let at = bytes.len() / 2;
    bytes[at] ^= 0x10;
    std::fs::write(victim, &bytes).expect("the table");
    let name = victim.file_name().expect("a name").to_str().expect("a plain name").to_owned();
    for _ in 0..2 {
        let ran = place.run(["compact", "--to", "k003000"]).expect(3).prints("");
        ran.says(&format!("{name}@0x")).says("run: beach-sstDump");
        assert!(before.is_subset(&live(&place)));
        assert_eq!(std::fs::read(victim).expect("it is still there"), bytes);
        assert_eq!(on_disk(&place), live(&place), "nothing half-made is left");
    }
    // Newer versions hide the damaged block from these; the third table is another file.
    place.run(["scan", "--from", "k005000", "--count"]).expect(0).prints("999\n");
    place.run(["get", "k000000"]).expect(0);
    place.run(["compact", "--from", "k004000"]).expect(0);
    place.run(["get", "k005500"]).expect(1);
    place.run(["get", "k005501"]).expect(0);
    place.run(["put", "k", "v"]).expect(0);
}

/// SIGINT and SIGTERM in the middle of a merge, which shows by its output file: the status is the
/// signal's, what was flushed before stays, the inputs stay, and nothing is left over.
#[test]
fn a_signal_ends_a_compaction_and_leaves_the_tree_whole() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let place = Place::new();
        table(&place, 0..12_000, 0, 1024);
        // On a busy machine the merge may be over before the signal comes; then once more.
        let interrupted = (1..=10).any(|round| {
            put(&place, 0..6000, round, 1024);
            let (before, pairs) = (live(&place), place.run(["scan"]).expect(0).out);
            let mut running = place.start(&["compact"]);
            // The flush makes a table of what was put, the merge another one.
            let is_merging = || on_disk(&place).difference(&before).count() > 1;
            let mut has_ended = || running.child().try_wait().expect("its state").is_some();
            while !is_merging() && !has_ended() {
                std::thread::sleep(Duration::from_millis(1));
            }
            if !has_ended() {
                running.signal(signal);
            }
            let ran = running.wait().quietly();
            assert!([0, code].contains(&ran.code), "{}", ran.code);
            place.run(["scan"]).expect(0).quietly().prints(pairs);
            let after = live(&place);
            assert_eq!(on_disk(&place), after);
            before.is_subset(&after) && ran.prints("").code == code
        });
        assert!(interrupted, "no signal came in time");
        place.run(["compact", "--wait", "0"]).expect(0);
        assert_eq!(live(&place).len(), 1);
    }
}

/// A process that flushes and compacts without a pause, and at least 300 that get and scan meanwhile:
/// each ends with 0, says nothing, and finds every pair as one of the writer's rounds left it.
#[test]
fn readers_beside_a_compacting_writer_never_fail() {
    let place = Place::new();
    let keys = 200;
    table(&place, 0..keys, 0, 256);
    let (runs, compactions) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let read = || {
            // Not for ever, should the writer fail.
            let is_enough = |n| n >= 300 && compactions.load(Relaxed) >= 5 || n >= 5000;
            while !is_enough(runs.load(Relaxed)) {
                let n = runs.fetch_add(1, Relaxed);
                let words = match n % 3 {
                    0 => vec!["get".to_owned(), format!("k{:06}", n % keys)],
                    1 => vec!["scan".to_owned(), "--count".to_owned()],
                    _ => vec!["scan".to_owned(), "--reverse".to_owned()],
                };
                let got = place.run(&words).expect(0).quietly();
                let expected = [256 + 1, 4, keys as usize * (7 + 1 + 256 + 1)];
                assert_eq!(got.out.len(), expected[(n % 3) as usize], "{words:?}");
            }
        };
        let readers = [scope.spawn(read), scope.spawn(read)];
        let mut round = 0;
        while readers.iter().any(|reader| !reader.is_finished()) {
            round += 1;
            put(&place, 0..keys, round, 256);
            let done = summary(place.run(["compact", "--json", "--wait", "60"]));
            compactions.fetch_add(done["compactions"].as_u64().expect("a number"), Relaxed);
        }
    });
    assert!(compactions.into_inner() >= 5);
}
