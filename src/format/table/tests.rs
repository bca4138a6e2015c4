use super::fields::Fields;
use super::*;
use crate::format::coding;
use crate::format::key::{InternalKey, Trailer};
use crate::types::{FileId, FileNumber, Level, SeqNo, StoreId};

fn key(user: &[u8], trailer: u64) -> InternalKey {
    InternalKey { user: user.to_vec(), trailer: Trailer(trailer) }
}

fn properties() -> Properties {
    Properties {
        store: StoreId(u64::MAX),
        id: FileId(1 << 63),
        number: FileNumber(7),
        format_version: 1,
        writer: "beachdb 0.1.0".to_owned(),
        origin: Origin::Flush,
        job: 300,
        level: Level(6),
        inputs: vec![FileNumber(1), FileNumber(u64::MAX)],
        created_ms: 1_700_000_000_000,
        entries: 1,
        tombstones: 2,
        distinct_keys: 3,
        raw_key_bytes: 4,
        raw_value_bytes: 5,
        smallest: key(b"\0", 7 << 8),
        largest: key(&[0xff; 65_535], 1),
        min_seqno: SeqNo(6),
        max_seqno: SeqNo::MAX,
        data_blocks: 8,
        data_bytes: 9,
        comparator: "bytewise".to_owned(),
    }
}

fn footer() -> Footer {
    Footer {
        id: FileId(0x0123_4567_89ab_cdef),
        filter: Handle { offset: 100, size: 50 },
        properties: Handle { offset: 150, size: 60 },
        index: Handle { offset: 210, size: 70 },
        version: 1,
    }
}

/// Every field has a value of its own, so one that is swapped or lost does not come back.
#[test]
fn properties_round_trip() {
    let mut bytes = Vec::new();
    properties().encode(&mut bytes);
    assert_eq!(Properties::decode(&bytes), Ok(properties()));
    let mut none = properties();
    none.inputs.clear();
    bytes.clear();
    none.encode(&mut bytes);
    assert_eq!(Properties::decode(&bytes), Ok(none));
}

/// As for the properties, for what the manifest keeps.
#[test]
fn what_the_manifest_keeps_round_trips() {
    let meta = TableMeta::of(&properties(), &footer(), 280 + 64);
    let mut bytes = Vec::new();
    meta.encode(&mut bytes);
    assert_eq!(TableMeta::decode(&bytes), Ok(meta.clone()));
    assert_eq!(meta.check(), Ok(()));
    assert_eq!((meta.entries, meta.tombstones, meta.raw_bytes), (1, 2, 9));
    let contradictions: [fn(&mut TableMeta); 4] = [
        |meta| std::mem::swap(&mut meta.smallest, &mut meta.largest),
        |meta| meta.min_seqno = SeqNo(meta.max_seqno.0 + 1),
        |meta| meta.size += 1,
        |meta| meta.filter.size = u32::MAX,
    ];
    for change in contradictions {
        let mut meta = meta.clone();
        change(&mut meta);
        assert!(meta.check().is_err(), "{meta:?}");
    }
}

/// A later version may add fields; a field that is missing, doubled or cut short is an error, and
/// so is a number or a key in a form that no writer gives it.
#[test]
fn unknown_fields_are_stepped_over_and_known_ones_checked() {
    let mut bytes = Vec::new();
    coding::put_field(&mut bytes, 200, b"from the future");
    properties().encode(&mut bytes);
    assert_eq!(Properties::decode(&bytes), Ok(properties()));
    coding::put_field(&mut bytes, 200, b"again");
    assert_eq!(Properties::decode(&bytes), Err("field 200 occurs twice".to_owned()));

    let mut bytes = Vec::new();
    TableMeta::of(&properties(), &footer(), 344).encode(&mut bytes);
    for cut in 0..bytes.len() {
        assert!(TableMeta::decode(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    let field = |bytes: &[u8]| {
        let mut out = Vec::new();
        coding::put_field(&mut out, 1, bytes);
        out
    };
    for wrong in [&[0x80, 0x00][..], &[1, 1], &[]] {
        let bytes = field(wrong);
        let found = Fields::decode(&bytes).unwrap().number(1, "count");
        assert_eq!(found, Err("malformed count (field 1)".to_owned()), "{wrong:?}");
    }
    for wrong in [&[0; 8][..], &[0; 3], &[7; 65_535 + 9]] {
        let bytes = field(wrong);
        let fields = Fields::decode(&bytes).unwrap();
        assert_eq!(fields.key(1, "key"), Err("malformed key (field 1)".to_owned()));
        assert!(fields.handle(1, "place").is_err());
        assert_eq!(fields.id(1, "id").is_ok(), wrong.len() == 8);
    }
    let bytes = field(&[0xff]);
    assert!(Fields::decode(&bytes).unwrap().text(1, "writer").is_err());
    assert_eq!(TableMeta::decode(&[]), Err("no file number (field 1)".to_owned()));
}

/// Flips each bit of a footer: none goes unnoticed, and a damaged magic is told from a file that
/// never was a table.
#[test]
fn every_flipped_bit_of_a_footer_is_found() {
    let mut bytes = Vec::new();
    footer().encode(&mut bytes, 280);
    assert_eq!(bytes.len(), FOOTER_SIZE);
    assert_eq!(Footer::decode(&bytes, 280), Ok(footer()));
    assert_eq!(footer().check_places(344), Ok(()));
    assert!(Footer::decode(&bytes, 281).is_err());
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(Footer::decode(&flipped, 280).is_err(), "bit {bit}");
        let magic_hit = bit / 8 >= 56;
        assert_eq!(Footer::has_magic(&flipped), !magic_hit);
        assert_eq!(Footer::is_intact_but_for_magic(&flipped, 280), magic_hit);
    }
    for cut in 0..bytes.len() {
        assert!(Footer::decode(&bytes[..cut], 280).is_err());
    }
}

/// Footers with a right checksum that name impossible places: gaps, overlaps, sums past the end of
/// the numbers, blocks without content.
#[test]
fn parts_that_do_not_meet_are_refused() {
    let wrong: [fn(&mut Footer); 7] = [
        |footer| footer.filter.offset -= 1,
        |footer| footer.filter.size += 1,
        |footer| footer.properties.offset = u64::MAX,
        |footer| footer.properties.size = 0,
        |footer| footer.index = Handle { offset: u64::MAX - 5, size: 70 },
        |footer| footer.index.size = u32::MAX,
        |footer| footer.filter = Handle { offset: 138, size: 12 },
    ];
    for (index, change) in wrong.iter().enumerate() {
        let mut footer = footer();
        change(&mut footer);
        assert!(footer.check_places(344).is_err(), "{index}");
    }
    for size in [0, 63, 64, 343, 345, u64::MAX] {
        assert!(footer().check_places(size).is_err(), "{size}");
    }
}
