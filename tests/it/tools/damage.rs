//! Flipped bits, as a script meets them: status 3, the place named, nothing made up.

use std::path::PathBuf;

use super::{Place, operation};

/// A store of one table of many blocks, and that table.
fn with_table() -> (Place, PathBuf) {
    let place = Place::new();
    // Values that do not compress, so that the table has blocks enough.
    let value = |n: u32| {
        (0..20)
            .map(|i| format!("{:08x}", (20 * n + i).wrapping_mul(2_654_435_761) ^ 0x5bd1_e995))
            .collect::<String>()
    };
    let lines: String = (0..2000).map(|n| operation(&format!("k{n:04}"), &value(n))).collect();
    place.feed(&["apply", "--batch", "0"], lines).expect(0);
    place.run(["flush"]).expect(0);
    let table =
        place.picture().into_keys().find(|path| path.extension().is_some_and(|it| it == "sst"));
    (place, table.expect("a table"))
}

fn flip(path: &PathBuf, at: usize) {
    let mut bytes = std::fs::read(path).expect("the file");
    bytes[at] ^= 4;
    std::fs::write(path, bytes).expect("the file");
}

/// One bit in a data block: the scan stops there with the place, what it printed before is right,
/// a key of the block is an error and no guess, and keys of other blocks are read as ever.
#[test]
fn a_flipped_bit_in_a_table_fails_what_needs_it_and_nothing_else() {
    let (place, table) = with_table();
    let whole = place.run(["scan"]).expect(0);
    let size = std::fs::metadata(&table).expect("the table").len() as usize;
    flip(&table, size / 2);
    let name = format!("{}@0x", table.file_name().expect("a name").display());
    let broken = place.run(["scan"]).expect(3).says(&name).says("run: beach-sstDump");
    assert!(whole.out.starts_with(&broken.out) && broken.out.len() < whole.out.len());
    let lines = broken.text().lines().count();
    assert!(lines > 100 && lines < 1900, "{lines}");
    // An iterator may look one pair ahead, so the block begins here or with the next key.
    let victim = format!("k{:04}", lines + 1);
    place.run(["get", &victim]).expect(3).prints("").says(&name);
    place.run(["get", "k0000", &victim]).expect(3).prints("").says(&name);
    let value = |key: &str| {
        let line = whole.text().lines().find(|line| line.starts_with(key)).expect("a line");
        line.split_once('\t').expect("a pair").1.to_owned() + "\n"
    };
    for key in ["k0000", "k1999"] {
        place.run(["get", key]).expect(0).prints(value(key));
    }
    place.run(["dump"]).expect(3).says(&name);
    // A dump that ends in damage has no end line, so it is not taken for a whole one.
    let cut = place.run(["dump"]);
    Place::new().feed(&["load", "-"], &cut.out).expect(3);
    // JSON: no summary, so the output counts as cut.
    let json = place.run(["scan", "--json"]).expect(3);
    assert!(!json.text().contains("\"summary\""));
    // From the other side up to the damage.
    let reverse = place.run(["scan", "--reverse", "--keys-only"]).expect(3);
    assert!(reverse.text().starts_with("k1999\nk1998\n"));
    assert!(reverse.text().lines().count() + lines < 2000);
}

/// One bit in each part of a log whose records are acknowledged: readers and writers both refuse,
/// and leave the store as it is.
#[test]
fn a_flipped_bit_in_a_log_refuses_and_changes_nothing() {
    let pristine = Place::with(&[("a", "1")]);
    for key in ["b", "c", "d"] {
        pristine.run(["put", key, "value of it"]).expect(0);
    }
    let files = pristine.picture();
    let log = files.keys().find(|path| path.extension().is_some_and(|it| it == "wal"));
    let log = log.expect("a log");
    let bytes = &files[log].0;
    let place_of = |text: &[u8]| bytes.windows(text.len()).position(|it| it == text);
    let first = place_of(b"value of it").expect("the record");
    for at in [20, first - 20, first, first + 90] {
        flip(log, at);
        let before = pristine.picture();
        let name = format!("{}@0x", log.file_name().expect("a name").display());
        for words in [&["get", "a"][..], &["scan"], &["put", "e", "v"], &["flush"]] {
            pristine.run(words).expect(3).prints("").says(&name).says("run: beach-walDump");
        }
        let content = |files: &std::collections::BTreeMap<PathBuf, (Vec<u8>, i64, i64)>| {
            let ours = files.iter().filter(|(path, _)| !path.ends_with("LOCK"));
            ours.map(|(path, (bytes, ..))| (path.clone(), bytes.clone())).collect::<Vec<_>>()
        };
        assert_eq!(content(&pristine.picture()), content(&before));
        flip(log, at);
    }
    pristine.run(["scan", "--count"]).expect(0).prints("4\n");
}

/// The log, the table, the manifest gone: each is missed by name.
#[test]
fn a_missing_file_is_missed() {
    for extension in [".wal", ".sst", "MANIFEST", "CURRENT"] {
        let (place, _) = with_table();
        let lost =
            place.picture().into_keys().find(|path| path.display().to_string().contains(extension));
        let lost = lost.expect("such a file");
        std::fs::remove_file(&lost).expect("it is there");
        let name = lost.file_name().expect("a name").to_str().expect("a plain name").to_owned();
        for words in [&["get", "k0001"][..], &["put", "k", "v"]] {
            place.run(words).expect(3).says(&name).says("missing");
        }
    }
}
