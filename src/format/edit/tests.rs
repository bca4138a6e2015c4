use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::format::coding::put_field;
use crate::format::key::{InternalKey, Trailer};
use crate::format::table::Handle;

fn table() -> TableMeta {
    let key = |user: &str, trailer| InternalKey { user: user.into(), trailer: Trailer(trailer) };
    TableMeta {
        number: FileNumber(7),
        id: FileId(0x77),
        size: 4096,
        smallest: key("apple", 0x201),
        largest: key("plum", 0x300),
        min_seqno: SeqNo(2),
        max_seqno: SeqNo(3),
        entries: 2,
        tombstones: 1,
        raw_bytes: 12,
        filter: Handle { offset: 100, size: 80 },
        properties: Handle { offset: 180, size: 200 },
        index: Handle { offset: 380, size: 60 },
    }
}

/// An edit with everything in it.
fn full() -> Edit {
    Edit {
        time_ms: 1_700_000_000_000,
        reason: Reason::Compaction,
        job: 9,
        store: Some(StoreInfo {
            id: StoreId(0xfeed),
            comparator: "bytewise".to_owned(),
            format_version: 1,
        }),
        next_file: Some(FileNumber(10)),
        last_seqno: Some(SeqNo::MAX),
        logs_added: vec![LogMeta { number: FileNumber(8), id: FileId(0x88), size: 65_536 }],
        logs_grown: vec![(FileNumber(8), 131_072)],
        logs_ended: vec![(FileNumber(6), 64), (FileNumber(5), 500)],
        logs_dropped: vec![FileNumber(5), FileNumber(4)],
        logs_dropped_upto: Some(FileNumber(3)),
        log_synced: Some((FileNumber(8), 900)),
        tables_added: vec![(Level(1), table()), (Level(6), table())],
        tables_removed: vec![(Level(0), FileNumber(2))],
        lineage: Some(Lineage { previous: FileNumber(1), edits: 1000, rollovers: 2 }),
        counters: Some(Counters { flushes: 1, user_bytes: u64::MAX, ..Counters::default() }),
    }
}

/// The bytes are written out by hand from the format's description.
#[test]
fn an_edit_has_these_bytes() {
    let edit = Edit {
        time_ms: 300,
        reason: Reason::Rotate,
        logs_added: vec![LogMeta { number: FileNumber(8), id: FileId(0x88), size: 65_536 }],
        logs_ended: vec![(FileNumber(6), 64)],
        tables_removed: vec![(Level(2), FileNumber(7))],
        ..Edit::default()
    };
    let golden = [
        "01 02 ac02",                       // time 300
        "02 01 09",                         // reason rotate
        "03 01 00",                         // job 0
        "07 0c 08 8800000000000000 808004", // log 8 added, its id, 65,536 bytes
        "09 02 06 40",                      // log 6 ended at 64
        "0e 02 02 07",                      // table 7 removed from level 2
    ]
    .concat()
    .replace(' ', "");
    assert_eq!(hex::encode(edit.encode()), golden);
    assert_eq!(Edit::decode(&edit.encode()), Ok(edit));
}

/// The edit with everything comes back, cut anywhere it is refused or lacks something, and never
/// equals the whole.
#[test]
fn no_cut_of_an_edit_is_the_edit() {
    let bytes = full().encode();
    assert_eq!(Edit::decode(&bytes), Ok(full()));
    for cut in 0..bytes.len() {
        assert_ne!(Edit::decode(&bytes[..cut]), Ok(full()), "cut at {cut}");
    }
}

/// A field of a later version stops the reader, unless it is a hint.
#[test]
fn unknown_fields_are_errors_and_unknown_hints_are_not() {
    let mut bytes = full().encode();
    put_field(&mut bytes, 200, b"a hint");
    assert_eq!(Edit::decode(&bytes), Ok(full()));
    put_field(&mut bytes, 99, b"");
    assert_eq!(Edit::decode(&bytes), Err("unknown field 99".to_owned()));
}

/// Each malformed field is refused for its own reason.
#[test]
fn every_wrong_field_is_refused_for_its_own_reason() {
    let cases: [(u8, &[u8], &str); 12] = [
        (1, &[5], "field 1 is there twice"),
        (4, &[1, 2, 3], "field 4 is malformed"),
        (4, &[0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0xff], "the comparator's name is not UTF-8"),
        (5, &[], "field 5 is malformed"),
        (5, &[7, 0], "field 5 is malformed"),
        (6, &[0xff; 9], "field 6 is malformed"),
        (7, &[8, 1, 2], "field 7 is malformed"),
        (12, &[8], "field 12 is malformed"),
        (13, &[7], "field 13 is malformed"),
        (14, &[7, 1], "field 14 is malformed"),
        (15, &[1, 2], "field 15 is malformed"),
        (0, &[], "unknown field 0"),
    ];
    for (tag, content, reason) in cases {
        let mut bytes = Edit::default().encode();
        put_field(&mut bytes, tag, content);
        assert_eq!(Edit::decode(&bytes), Err(reason.to_owned()));
    }
    assert_eq!(Edit::decode(&[]), Err("field 1 is missing".to_owned()));
    assert_eq!(Edit::decode(&[1, 1, 0, 2, 1, 77]), Err("unknown reason 77".to_owned()));
    assert_eq!(Edit::decode(&[1, 1, 0, 2, 1, 1]), Err("field 3 is missing".to_owned()));
    assert_eq!(Edit::decode(&[1, 200]), Err("edit ends inside the field at 0".to_owned()));
}

fn numbers() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..300, any::<u64>()]
}

fn pairs() -> impl Strategy<Value = Vec<(FileNumber, u64)>> {
    vec((numbers().prop_map(FileNumber), numbers()), 0..3)
}

prop_compose! {
    fn logs()(
        added in vec((numbers(), any::<u64>(), numbers()), 0..3),
        grown in pairs(), ended in pairs(), dropped in vec(numbers(), 0..3),
        upto in option::of(numbers()),
        synced in option::of((numbers().prop_map(FileNumber), numbers())),
    ) -> Edit {
        Edit {
            logs_added: added
                .into_iter()
                .map(|(number, id, size)| LogMeta {
                    number: FileNumber(number), id: FileId(id), size,
                })
                .collect(),
            logs_grown: grown,
            logs_ended: ended,
            logs_dropped: dropped.into_iter().map(FileNumber).collect(),
            logs_dropped_upto: upto.map(FileNumber),
            log_synced: synced,
            ..Edit::default()
        }
    }
}

prop_compose! {
    fn edits()(
        logs in logs(),
        (time_ms, reason, job) in (numbers(), 0usize..9, numbers()),
        store in option::of((any::<u64>(), "\\PC{0,12}", any::<u16>())),
        next_file in option::of(numbers()),
        last_seqno in option::of(0u64..=SeqNo::MAX.0),
        added in vec((0u8..=6, numbers()), 0..3),
        removed in vec((0u8..=6, numbers()), 0..3),
        lineage in option::of((numbers(), numbers(), numbers())),
        counters in option::of((numbers(), numbers(), numbers())),
    ) -> Edit {
        Edit {
            time_ms,
            reason: Reason::ALL[reason],
            job,
            store: store.map(|(id, comparator, format_version)| StoreInfo {
                id: StoreId(id), comparator, format_version,
            }),
            next_file: next_file.map(FileNumber),
            last_seqno: last_seqno.map(SeqNo),
            tables_added: added
                .into_iter()
                .map(|(level, size)| (Level(level), TableMeta { size, ..table() }))
                .collect(),
            tables_removed: removed
                .into_iter()
                .map(|(level, number)| (Level(level), FileNumber(number)))
                .collect(),
            lineage: lineage.map(|(previous, edits, rollovers)| Lineage {
                previous: FileNumber(previous), edits, rollovers,
            }),
            counters: counters.map(|(a, b, c)| Counters {
                flushes: a, compactions: b, flushed_bytes: c, compacted_bytes_in: a,
                compacted_bytes_out: b, user_bytes: c,
            }),
            ..logs
        }
    }
}

proptest! {
    /// Any edit comes back, field by field.
    #[test]
    fn edits_round_trip(edit in edits()) {
        prop_assert_eq!(Edit::decode(&edit.encode()), Ok(edit));
    }

    /// Arbitrary bytes, arranged as fields and not, never panic.
    #[test]
    fn hostile_edits_do_not_panic(
        fields in vec((0u8..20, vec(any::<u8>(), 0..12)), 0..6), tail in vec(any::<u8>(), 0..4)
    ) {
        let mut bytes = Edit::default().encode();
        for (tag, content) in fields {
            put_field(&mut bytes, tag, &content);
        }
        bytes.extend_from_slice(&tail);
        let _ = Edit::decode(&bytes);
    }
}
