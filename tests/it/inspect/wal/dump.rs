//! What of a log is shown, and what one byte of it is.

use crate::inspect::stores::{Beach, WAL};

/// The log of a store, by the name that the tool is given.
fn log(beach: &Beach) -> String {
    format!("sand/{}", beach.names(".wal").remove(0))
}

/// One byte of a batch is overwritten in a log of which little is asked for: the damage is shown
/// whatever the question, and so is what was asked for, and nothing else.
#[test]
fn a_filter_hides_records_and_never_damage() {
    let beach = Beach::log_of(200);
    let log = log(&beach);
    let all = beach.run(WAL, &["--json", &log]);
    let at = all.of_kind("frame")[60]["offset"].as_u64().expect("an offset");
    beach.damage(&beach.names(".wal")[0], |bytes| bytes[at as usize + 30] ^= 0x11);

    let late = beach.run(WAL, &["--json", "--ops", "--from-seq", "150", &log]);
    assert_eq!(late.code, 3);
    late.is_valid("wal");
    let seqnos: Vec<u64> =
        late.of_kind("op").iter().map(|op| op["seqno"].as_u64().expect("a number")).collect();
    assert_eq!(seqnos, (150..=200).collect::<Vec<_>>());
    assert_eq!(late.of_kind("hole").len(), 1);
    let summary = late.of_kind("summary").remove(0);
    assert_eq!((&summary["shown"], &summary["batches"]), (&51.into(), &199.into()));

    let keyed =
        beach.run(WAL, &["--json", "--ops", "--enc", "hex", "--key", "6b65793030313030", &log]);
    assert_eq!(keyed.code, 3);
    keyed.is_valid("wal");
    let ops = keyed.of_kind("op");
    assert_eq!((ops.len(), &ops[0]["key"], &ops[0]["seqno"]), (1, &"key00100".into(), &101.into()));
    assert_eq!((keyed.of_kind("frame").len(), keyed.of_kind("hole").len()), (1, 1));

    let nothing = beach.run(WAL, &["--key", "absent", &log]);
    assert_eq!(nothing.code, 3);
    assert!(!nothing.out.contains(" batch ok"), "{}", nothing.out);
    assert!(nothing.out.contains("DAMAGED BW004"), "{}", nothing.out);
    assert_eq!(beach.run(WAL, &["--enc", "hex", "--key", "xyz", &log]).code, 2);
}

/// Only the operations on the key are listed of a batch that has others.
#[test]
fn of_a_batch_only_the_operations_on_the_key_are_listed() {
    let beach = Beach::busy();
    let ran = beach.run(WAL, &["--ops", "--key", "tide", "sand"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let ops: Vec<&str> = ran.out.lines().filter(|line| line.starts_with("    ")).collect();
    assert_eq!(ops.len(), 2, "{}", ran.out);
    assert!(ops.iter().all(|line| line.starts_with("    \"tide\"#")), "{ops:?}");
}

/// The first record of the oldest log is lost: the manifest knows which it must have been.
#[test]
fn the_manifest_says_what_was_lost_at_the_beginning() {
    let beach = Beach::log_of(9);
    beach.damage(&beach.names(".wal")[0], |bytes| bytes[0x70 + 30] ^= 0x11);
    let ran = beach.run(WAL, &["--json", "sand"]);
    let hole = ran.of_kind("hole").remove(0);
    assert_eq!((&hole["seqno_before"], &hole["ops_missing"]), (&0.into(), &1.into()), "{hole}");
    let alone = beach.run(WAL, &["--json", &log(&beach)]);
    let hole = alone.of_kind("hole").remove(0);
    assert_eq!((&hole["seqno_before"], &hole["seqno_after"]), (&().into(), &2.into()), "{hole}");
}

/// A key, a byte behind the end, and a byte that nothing explains, each with its status.
#[test]
fn a_byte_is_explained() {
    let beach = Beach::log_of(9);
    let log = log(&beach);
    let key = beach.run(WAL, &["at", &log, "0x98"]);
    assert_eq!(key.code, 0, "{}", key.err);
    assert_eq!(
        key.out,
        format!(
            "{log}@0x98: batch frame at 0x70: key of #1 = \"key00000\" (field, 8 bytes from 0x97)\n"
        )
    );
    let json = beach.run(WAL, &["at", &log, "152", "--json"]);
    json.is_valid("at");
    assert_eq!(json.of_kind("region")[0]["name"], "key of #1");

    let behind = beach.run(WAL, &["at", &log, "99999999", "--json"]);
    assert_eq!(behind.code, 1);
    behind.is_valid("at");
    assert!(behind.err.contains("bytes"), "{}", behind.err);

    beach.damage(&beach.names(".wal")[0], |bytes| bytes[0x98] ^= 0x11);
    let damaged = beach.run(WAL, &["at", &log, "0x98"]);
    assert_eq!(damaged.code, 3);
    assert!(damaged.out.contains("unexplained"), "{}", damaged.out);
    assert_eq!(beach.run(WAL, &["at", &log, "here"]).code, 2);
    assert_eq!(beach.run(WAL, &["at", "sand/CURRENT", "0"]).code, 5);
}

/// A dump as a whole, its objects against the schema.
#[test]
fn a_dump_is_as_documented() {
    let beach = Beach::busy();
    let ran = beach.run(WAL, &["--json", "--ops", "sand"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    ran.is_valid("wal");
    assert!(ran.of_kind("op").len() >= 4);
}
