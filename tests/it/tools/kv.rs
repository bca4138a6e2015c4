//! `put`, `get`, `del`: bytes in, the same bytes out.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use super::{BEACH, Place, Ran, has};

/// Every byte there is, and then some that are no UTF-8, with a line end at the very end.
fn all_bytes() -> Vec<u8> {
    (0..=255).chain([0xff, 0xfe, 0, b'\r', b'\n']).collect()
}

fn hex(bytes: &[u8]) -> String {
    hex::encode(bytes)
}

/// Value by standard input, by file and by argument; key by argument in hex: each comes back to the
/// byte, raw, with a line end, and in each of the three encodings.
#[test]
fn every_byte_comes_back_as_it_went_in() {
    let (place, value) = (Place::new(), all_bytes());
    let key = hex(&value);
    let file = place.file("value", &value);
    let file = file.to_str().expect("a plain path");
    place.feed(&["put", "--enc", "hex", &key, "-"], &value).expect(0).prints("").quietly();
    place.run(["put", "file", "--value-file", file]).expect(0).prints("").quietly();
    place.run(["put", "argument", &key, "--enc=hex"]).expect(2).says("KEY: bad hex");
    place.run(["put", &hex(b"argument"), &key, "--enc=hex"]).expect(0);

    let line = [&value[..], b"\n"].concat();
    place.run(["get", "--raw", "--enc", "hex", &key]).expect(0).prints(&value).quietly();
    for key in ["file", "argument"] {
        place.run(["get", "--raw", key]).expect(0).prints(&value);
        place.run(["get", key]).expect(0).prints(&line);
    }
    for encoding in ["hex", "base64", "escape"] {
        let scanned = place.run(["scan", "--enc", encoding]).expect(0);
        let shown = scanned.text().split_once('\t').expect("a pair").0.to_owned();
        let again = Place::new();
        again.run(["put", &shown, &shown, "--enc", encoding]).expect(0);
        again.run(["get", "--raw", "--enc", encoding, &shown]).expect(0).prints(&value);
        let printed = again.run(["get", "--enc", encoding, &shown]).expect(0);
        printed.prints(format!("{shown}\n"));
    }
}

/// Arguments that are no UTF-8 and have backslashes: without `--enc` they are what they are.
#[test]
fn arguments_are_literal_bytes() {
    let place = Place::new();
    let key = OsString::from_vec(vec![0xff, b'\\', b'n', 0x80]);
    let value = OsString::from(r"C:\temp");
    place.run(["put".into(), key.clone(), value]).expect(0);
    place.run(["get".into(), "--raw".into(), key]).expect(0).prints(r"C:\temp");
    place.run(["scan"]).expect(0).prints("\\xff\\\\n\\x80\tC:\\\\temp\n");
}

/// Empty, one byte, and more than a pipe holds, with and without a line end.
#[test]
fn standard_input_is_the_value_to_the_byte() {
    let place = Place::new();
    for value in [vec![], b"x".to_vec(), b"x\n".to_vec(), [b'y', b'\n'].repeat(500_000)] {
        place.feed(&["put", "k", "-"], &value).expect(0);
        place.run(["get", "--raw", "k"]).expect(0).prints(&value);
    }
    // The only way to store a dash by argument is to send it.
    place.feed(&["put", "k", "-"], "-").expect(0);
    place.run(["get", "k"]).expect(0).prints("-\n");
    place.run(["put", "k", "--value-file", "/no/such"]).expect(5).says("could not open /no/such");
}

/// Numbers and words with hyphens, and words that are options: stored, not obeyed.
#[test]
fn a_value_that_begins_with_a_hyphen_is_a_value() {
    let place = Place::new();
    for value in ["-5", "--", "---", "--json", "-h", "--help", "-q", "--db", "--no-such", "-0.1e9"]
    {
        place.run(["put", "k", value]).expect(0).prints("");
        place.run(["get", "--raw", "k"]).expect(0).prints(value);
    }
}

/// In the order asked for; one that is absent makes the answer negative and takes no place in it.
#[test]
fn get_takes_several_keys() {
    let place = Place::with(&[("a", "1"), ("b", "2\n"), ("c", "")]);
    place.run(["get", "b", "a", "b"]).expect(0).prints("2\n\n1\n2\n\n");
    place.run(["get", "--raw", "b", "a", "c", "b"]).expect(0).prints("2\n12\n");
    place.run(["get", "a", "no", "b"]).expect(1).prints("1\n2\n\n").says("not found: no");
    place.run(["get", "no"]).expect(1).prints("");
    place.run(["get", "-q", "no"]).expect(1).prints("").quietly();
    place.run(["get"]).expect(2);
}

/// Absent before, deleted, deleted twice.
#[test]
fn del_of_an_absent_key_is_done() {
    let place = Place::with(&[("a", "1")]);
    for key in ["never", "a", "a"] {
        place.run(["del", key]).expect(0).prints("").quietly();
    }
    place.run(["get", "a"]).expect(1);
    place.run(["put", "a", "2"]).expect(0);
    place.run(["get", "a"]).expect(0).prints("2\n");
}

/// The longest key is taken; one byte more, or none at all, is wrong usage of every verb, and a
/// refused `put` does not even make the store.
#[test]
fn a_key_beyond_its_limits_is_wrong_usage() {
    let place = Place::new();
    let (fits, long) = ("k".repeat(65_535), "k".repeat(65_536));
    let refused = |place: &Place, text: &str, key: &str| {
        place.run(["put", key, "v"]).expect(2).says(text);
        place.run(["del", key]).expect(2).says(text);
    };
    refused(&place, "65536 bytes, limit is 65535", &long);
    refused(&place, "the key is empty", "");
    assert!(!place.db().exists());
    place.run(["put", &fits, "v"]).expect(0);
    place.run(["get", &fits]).expect(0).prints("v\n");
    refused(&place, "65536 bytes, limit is 65535", &long);
    refused(&place, "the key is empty", "");
    place.run(["get", &long]).expect(2).says("65536 bytes, limit is 65535");
    place.run(["get", ""]).expect(2).says("the key is empty");
    place.run(["scan", "--count"]).expect(0).prints("1\n");
}

/// Each says what is wrong, in which argument and at which byte of it.
#[test]
fn a_bad_encoding_names_its_argument_and_position() {
    let place = Place::with(&[("a", "1")]);
    let said = |line: &[&str], text: &str| {
        place.run(line).expect(2).prints("").says(text);
    };
    said(&["get", "--enc", "hex", "61x1"], "KEY: bad hex: byte x at 2");
    said(&["get", "--enc", "hex", "616"], "KEY: bad hex: 3 digits");
    said(&["put", "--enc", "hex", "61", "6g"], "VALUE: bad hex: byte g at 1");
    said(&["get", "--enc", "base64", "AA*A"], "KEY: bad base64: byte * at 2");
    said(&["get", "--enc", "escape", r"ab\xg0"], "KEY: bad escape at 2");
    said(&["scan", "--enc", "hex", "--from", "6"], "--from: bad hex");
    said(&["get", "--enc", "rot13", "a"], "rot13");
}

/// Said unless asked not to; colored on demand only, and never on standard output.
#[test]
fn messages_are_colored_and_silenced_on_demand() {
    let place = Place::with(&[("a", "1")]);
    let colored = |ran: &Ran| ran.err.contains("\x1b[");
    assert!(!colored(&place.run(["get", ""]).expect(2)));
    assert!(!colored(&place.run(["get", "", "--color", "never"]).expect(2)));
    assert!(colored(&place.run(["get", "", "--color", "always"]).expect(2)));
    let unwanted = Ran::of(place.beach().args(["get", ""]).env("NO_COLOR", "1"));
    assert!(!colored(&unwanted.expect(2)));
    place.run(["get", "a", "--color", "always"]).expect(0).prints("1\n");
    // An error is no hint.
    place.run(["get", "-q", ""]).expect(2).says("error: ");
}

/// Written without a wait for the disk, read by the next process: the kernel has it.
#[test]
fn no_sync_is_seen_by_the_next_process() {
    let place = Place::new();
    place.run(["put", "--no-sync", "a", "1"]).expect(0);
    place.run(["put", "--no-sync", "b", "2"]).expect(0);
    place.run(["del", "a", "--no-sync"]).expect(0);
    place.feed(&["load", "--no-sync", "-"], "c\t3\n").expect(0);
    place.feed(&["apply", "--no-sync"], super::operation("d", "4")).expect(0);
    place.run(["scan"]).expect(0).prints("b\t2\nc\t3\nd\t4\n").quietly();
}

/// On a terminal a value that is no text is escaped, for it could do anything to it; text is not,
/// and `--raw` never is.
#[test]
fn a_terminal_gets_binary_values_escaped() {
    if !has("script", &["-qec", "true", "/dev/null"]) {
        return;
    }
    let place = Place::with(&[("text", "1\\2"), ("binary", "\u{1b}[2J")]);
    let on_terminal = |words: &str| {
        let line = format!("'{BEACH}' --db '{}' {words}", place.db().display());
        let mut command = assert_cmd::Command::new("script");
        Ran::of(command.args(["-qec", &line, "/dev/null"]).env_remove("BEACH_DB")).expect(0)
    };
    on_terminal("get text binary").prints("1\\2\r\n\\x1b[2J\r\n");
    on_terminal("get --raw binary").prints("\x1b[2J");
}
