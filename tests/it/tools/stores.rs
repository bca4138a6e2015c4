//! Which store is meant, what is made where none is, and what readers leave as it was.

use super::{BEACH, Place, Ran, bare, picture};

/// Before the verb, behind it, by the variable; the option wins; an empty variable names none.
#[test]
fn the_store_is_named_by_option_or_variable() {
    let place = Place::with(&[("k", "option")]);
    let other = Place::with(&[("k", "variable")]);
    let (db, env) = (place.db(), other.db());
    let get = |words: &[&std::ffi::OsStr], variable: Option<&std::path::Path>| {
        let mut command = bare();
        command.args(words);
        variable.map(|dir| command.env("BEACH_DB", dir));
        Ran::of(&mut command)
    };
    let [db_flag, verb, key] = ["--db", "get", "k"].map(std::ffi::OsStr::new);
    let db = db.as_os_str();
    for line in [[db_flag, db, verb, key], [verb, db_flag, db, key], [verb, key, db_flag, db]] {
        get(&line, None).expect(0).prints("option\n");
        get(&line, Some(&env)).expect(0).prints("option\n");
    }
    get(&[verb, key], Some(&env)).expect(0).prints("variable\n");
    for none in [None, Some(std::path::Path::new(""))] {
        get(&[verb, key], none).expect(2).prints("").says("--db DIR").says("BEACH_DB");
    }
    // The other global options, on either side.
    for line in [["--enc", "hex", "get", "6b"], ["get", "6b", "--enc", "hex"]] {
        place.run(line).expect(0).prints("6f7074696f6e\n");
    }
}

/// Every verb that reads, and those that write but do not create.
const NEVER_CREATE: [&[&str]; 12] = [
    &["get", "k"],
    &["scan"],
    &["scan", "--count"],
    &["dump"],
    &["lsm"],
    &["stats"],
    &["del", "k"],
    &["flush"],
    &["checkpoint", "/no/such/place"],
    &["compact"],
    &["lsm", "--from", "k"],
    &["get", "k", "--json"],
];

/// No directory, an empty one, one with other people's files: status 5, and not a file more.
#[test]
fn a_missing_store_is_trouble_and_stays_missing() {
    let place = Place::new();
    let strangers = place.path("strangers");
    std::fs::create_dir(&strangers).expect("a directory");
    std::fs::write(strangers.join("letter"), "private").expect("a file");
    std::fs::create_dir(place.path("empty")).expect("a directory");
    let before = (picture(place.0.path()), picture(&strangers));
    for dir in ["absent", "absent/below", "empty", "strangers", "strangers/letter"] {
        for words in NEVER_CREATE {
            let ran = Ran::of(bare().arg("--db").arg(place.path(dir)).args(words));
            ran.expect(5).prints("").says("error: ").says(dir);
        }
    }
    // What creates does so neither among strangers nor in the place of a file.
    for dir in ["strangers", "strangers/letter", "strangers/letter/below"] {
        let ran = Ran::of(bare().arg("--db").arg(place.path(dir)).args(["put", "k", "v"]));
        ran.expect(5).prints("").says(dir);
    }
    assert_eq!((picture(place.0.path()), picture(&strangers)), before);
}

/// Each in a directory that is not there, nor the one above it.
#[test]
fn put_apply_and_load_make_the_store() {
    for (words, input) in [
        (&["put", "k", "v"][..], ""),
        (&["apply"], "{\"op\":\"put\",\"key\":\"k\",\"value\":\"v\"}"),
        (&["load", "-"], "k\tv\n"),
    ] {
        let place = Place::new();
        let dir = place.path("deep/er/db");
        Ran::of(bare().arg("--db").arg(&dir).args(words).write_stdin(input)).expect(0);
        Ran::of(bare().arg("--db").arg(&dir).args(["get", "k"])).expect(0).prints("v\n");
    }
    let place = Place::new();
    std::fs::create_dir(place.db()).expect("a directory");
    place.run(["put", "k", "v"]).expect(0);
}

/// The whole directory before and after every reader, of a store that was closed and of one that
/// was killed: names, bytes and times of modification.
#[test]
fn readers_change_nothing() {
    let place = Place::with(&[("a", "1"), ("b", "2")]);
    place.run(["flush"]).expect(0);
    place.run(["put", "c", "3"]).expect(0);
    for killed in [false, true] {
        if killed {
            let mut running = place.start(&["apply", "--ack"]);
            running.write(&super::operation("d", "4"));
            running.read_line();
        }
        let before = place.picture();
        for words in [
            &["get", "a", "c"][..],
            &["get", "absent"],
            &["scan", "--reverse"],
            &["scan", "--json"],
            &["dump"],
            &["lsm"],
            &["lsm", "--from", "b"],
            &["stats", "--json"],
        ] {
            let ran = place.run(words);
            assert!(ran.code <= 1, "{words:?}: {}", ran.err);
            assert!(place.picture() == before, "{words:?} changed the store");
        }
    }
}

/// The same reading twice prints the same bytes, and so do two stores built alike, wherever their
/// ids and times cannot show.
#[test]
fn the_same_input_prints_the_same_bytes() {
    let pairs = [("a", "1"), ("b", "2"), ("c", "3")];
    let (one, two) = (Place::with(&pairs), Place::with(&pairs));
    for place in [&one, &two] {
        place.run(["flush"]).expect(0);
        place.run(["del", "b"]).expect(0);
    }
    for words in [
        &["scan"][..],
        &["scan", "--json"],
        &["dump"],
        &["dump", "--format", "csv"],
        &["lsm"],
        &["lsm", "--json"],
        &["stats"],
        &["stats", "--json"],
        &["get", "a", "--json"],
    ] {
        let first = one.run(words).expect(0);
        one.run(words).expect(0).prints(&first.out);
        two.run(words).expect(0).prints(&first.out);
    }
}

/// CURRENT, a manifest, a log, a table replaced by a picture: damage, each named; the files that
/// are not ours to read stay as they were.
#[test]
fn a_foreign_file_in_the_place_of_ours_is_damage() {
    let picture_bytes = [b"\xff\xd8\xff\xe0\0\x10JFIF\0", [7; 8000].as_slice()].concat();
    for extension in ["CURRENT", "MANIFEST", "wal", "sst"] {
        let place = Place::with(&[("a", "1"), ("b", "2")]);
        place.run(["flush"]).expect(0);
        place.run(["put", "c", "3"]).expect(0);
        let ours = place.picture();
        let path = ours.keys().find(|path| path.display().to_string().contains(extension));
        let path = path.expect("such a file");
        std::fs::write(path, &picture_bytes).expect("a foreign file");
        let name = path.file_name().expect("a name").to_str().expect("a plain name");
        for words in [&["scan"][..], &["put", "d", "4"], &["dump"], &["get", "a"]] {
            // A table is read only when it is needed, and a put does not need it.
            if (extension, words[0]) != ("sst", "put") {
                place.run(words).expect(3).says(name).says("run: beach-");
            }
        }
        assert_eq!(std::fs::read(path).expect("it is still there"), picture_bytes);
    }
}

/// A directory below a file, one that cannot be made, and a system directory: clear words, 5.
#[test]
fn a_directory_that_cannot_be_made_is_trouble() {
    let place = Place::new();
    place.file("file", "");
    for dir in [place.path("file/db"), "/proc/beach".into(), "/dev/null/db".into()] {
        let ran = Ran::of(bare().arg("--db").arg(&dir).args(["put", "k", "v"]));
        ran.expect(5).prints("").says("error: could not").says(&dir.display().to_string());
    }
    assert!(std::path::Path::new(BEACH).exists());
}
