//! `apply`: batches, their acknowledgements, and lines that are no operation.

use super::{Place, operation};

const COMMIT: &str = "{\"op\":\"commit\"}\n";

fn put(key: &str) -> String {
    operation(key, "v")
}

fn del(key: &str) -> String {
    format!("{}\n", serde_json::json!({"op": "del", "key": key}))
}

fn acks(out: &str) -> Vec<(u64, u64)> {
    let field = |line: &str, name: &str| {
        let object: serde_json::Value = serde_json::from_str(line).expect(line);
        assert_eq!(object["t"], "ack");
        object[name].as_u64().expect("a number")
    };
    out.lines().map(|line| (field(line, "line"), field(line, "seq"))).collect()
}

/// The lines at which batches end and the numbers of their last operations, for each way to cut
/// the same five operations.
#[test]
fn batches_end_where_they_are_told_to() {
    let input = [put("a"), put("b"), COMMIT.to_owned(), del("a"), put("c"), put("d")].concat();
    for (batch, expected) in [
        ("1", &[(1, 1), (2, 2), (3, 2), (4, 3), (5, 4), (6, 5)][..]),
        ("2", &[(2, 2), (3, 2), (5, 4), (6, 5)]),
        ("0", &[(3, 2), (6, 5)]),
        ("100", &[(3, 2), (6, 5)]),
    ] {
        let place = Place::new();
        let ran = place.feed(&["apply", "--ack", "--batch", batch, "-"], &input).expect(0);
        assert_eq!(acks(ran.text()), expected, "--batch {batch}");
        place.run(["scan", "--keys-only"]).expect(0).prints("b\nc\nd\n");
    }
}

/// From a file, without acknowledgements, and the summary of both.
#[test]
fn operations_come_from_a_file_too() {
    let place = Place::new();
    let file = place.file("operations", [put("a"), del("b")].concat());
    let file = file.to_str().expect("a plain path");
    place.run(["apply", file]).expect(0).prints("").says("2 operations in 2 batches");
    place.run(["apply", "-q", file]).expect(0).prints("").quietly();
    let objects = place.run(["apply", "--json", file]).expect(0).objects();
    assert_eq!(objects[0]["operations"], 2);
    assert_eq!(objects[0]["seq"], 6);
    place.run(["apply", "/no/such"]).expect(5).says("could not open /no/such");
    place.feed(&["apply"], "").expect(0).prints("");
}

/// Binary keys and values, in and out.
#[test]
fn bytes_that_are_no_text_stand_in_base64() {
    let place = Place::new();
    let input = "{\"op\":\"put\",\"key_b64\":\"/wA=\",\"value_b64\":\"AAEC\"}\n";
    place.feed(&["apply"], input).expect(0);
    place.run(["scan", "--enc", "hex"]).expect(0).prints("ff00\t000102\n");
    place.feed(&["apply"], "{\"op\":\"del\",\"key_b64\":\"/wA=\"}").expect(0);
    place.run(["scan", "--count"]).expect(0).prints("0\n");
}

/// One bad line of each kind in the middle of a batch: its number is told, the batches before it
/// stay, and of its own batch nothing is there.
#[test]
fn a_bad_line_takes_its_batch_with_it_and_no_other() {
    for bad in [
        "not json",
        "{\"op\":\"put\",\"key\":\"x\"",
        "{\"op\":\"put\",\"key\":\"x\"}",
        "{\"op\":\"put\",\"key\":\"\",\"value\":\"\"}",
        "{\"op\":\"put\",\"key\":5,\"value\":\"\"}",
        "{\"op\":\"put\",\"key_b64\":\"*\",\"value\":\"\"}",
        "{\"op\":\"merge\",\"key\":\"x\"}",
        "{\"key\":\"x\",\"value\":\"y\"}",
        "[]",
        "\u{1}",
    ] {
        let place = Place::new();
        let input = [put("a"), put("b"), put("c"), format!("{bad}\n"), put("d"), put("e")].concat();
        let ran = place.feed(&["apply", "--batch", "2", "--ack"], &input).expect(2);
        assert_eq!(acks(ran.text()), [(2, 2)], "{bad}");
        ran.says("standard input: line 4: ");
        place.run(["scan", "--keys-only"]).expect(0).prints("a\nb\n");
    }
}

/// A key too long, as `put` refuses it.
#[test]
fn a_key_beyond_its_limit_is_a_bad_line() {
    let place = Place::new();
    let input = [put("a"), put(&"k".repeat(65_536))].concat();
    place.feed(&["apply", "--batch", "0"], input).expect(2).says("line 2: the key has 65536 bytes");
    place.run(["scan", "--count"]).expect(0).prints("0\n");
}

/// The process is killed right after an acknowledgement came, with the next operations under way:
/// what was acknowledged is there, and of the open batch nothing.
#[test]
fn what_was_acknowledged_survives_a_kill_and_half_a_batch_does_not() {
    let place = Place::new();
    let mut running = place.start(&["apply", "--ack", "--batch", "3"]);
    for round in 0..20 {
        for n in 0..3 {
            running.write(&put(&format!("{round:02}-{n}")));
        }
        assert_eq!(acks(&running.read_line()), [(3 * round + 3, 3 * round + 3)]);
    }
    running.write(&put("open-0"));
    running.write(&put("open-1"));
    running.child().kill().expect("it is alive");
    running.child().wait().expect("its end");
    place.run(["scan", "--count"]).expect(0).prints("60\n");
    place.run(["scan", "--count", "--prefix", "open"]).expect(0).prints("0\n");
    // The next writer recovers, and goes on with the next number.
    let objects = place.run(["put", "--json", "next", "v"]).expect(0).objects();
    assert_eq!(objects[0]["seq"], 61);
}
