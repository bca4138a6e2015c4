use std::cmp::Ordering;

use proptest::prelude::*;

use super::*;
use crate::format::coding;
use crate::format::key::{self, Trailer};
use crate::types::FileId;

const ID: FileId = FileId(0xfeed_5eed_0123_4567);

fn content(entries: &[(&[u8], u64, &[u8])]) -> Vec<u8> {
    let (mut builder, mut content) = (Builder::new(), Vec::new());
    for (user, trailer, value) in entries {
        let size = builder.size_with(user, value.len());
        builder.add(user, Trailer(*trailer), value);
        assert_eq!(builder.size(), size);
    }
    let size = builder.size();
    builder.finish(&mut content);
    assert_eq!(content.len() as u64, size);
    content
}

/// Four entries, by which most of the tests below measure.
fn four() -> Vec<u8> {
    content(&[
        (b"apple", 0x301, b"red"),
        (b"apple", 0x101, b""),
        (b"apply", 0x200, b"x"),
        (b"apt", 0x401, b"get"),
    ])
}

/// Reads every entry and searches for every key; panics if anything lies out of bounds.
fn read_all(block: &Block) {
    for index in 0..block.count() {
        let _ = (block.value(index), block.compare(index, b"app", Trailer(7)));
        let user = block.user_key(index);
        assert!(block.key_is(index, &user));
        assert!(block.lower_bound(&user, block.trailer(index)) <= block.count());
    }
    let _ = block.verify_order();
}

/// Searches for each key and for what lies between keys, before, behind and within the prefix.
#[test]
fn a_search_finds_the_first_entry_not_less() {
    let block = Block::new(four()).unwrap();
    assert_eq!(
        (block.prefix(), block.suffix(2), block.value(3)),
        (&b"ap"[..], &b"ply"[..], &b"get"[..])
    );
    let cases: [(&[u8], u64, usize); 13] = [
        (b"", u64::MAX, 0),
        (b"a", 0, 0),
        (b"ap", 0, 0),
        (b"apple", u64::MAX, 0),
        (b"apple", 0x301, 0),
        (b"apple", 0x300, 1),
        (b"apple", 0, 2),
        (b"apply", 0x200, 2),
        (b"apply", 0x1ff, 3),
        (b"apt", 0x401, 3),
        (b"apt", 0x400, 4),
        (b"aq", u64::MAX, 4),
        (b"b", u64::MAX, 4),
    ];
    for (user, trailer, expected) in cases {
        assert_eq!(block.lower_bound(user, Trailer(trailer)), expected, "{user:?} {trailer:#x}");
    }
    assert_eq!(block.compare(0, b"apple", Trailer(0x301)), Ordering::Equal);
    assert!(!block.key_is(0, b"appl") && !block.key_is(0, b"apples") && !block.key_is(0, b"a"));
}

/// Blocks on both sides of the size at which offsets become wide, by keys and by values.
#[test]
fn wide_offsets_begin_where_narrow_ones_end() {
    for (size, wide) in [(65_530, 0), (65_535, 0), (65_536, 1), (200_000, 1)] {
        let value = vec![3; size];
        let bytes = content(&[(b"a", 0x201, b""), (b"b", 0x101, &value)]);
        assert_eq!(bytes[4], wide);
        let block = Block::new(bytes).unwrap();
        assert_eq!((block.value(0), block.value(1)), (&[][..], &value[..]));
    }
    let (a, b) = (vec![1; 40_000], vec![2; 40_000]);
    let bytes = content(&[(&a, 0x201, b"x"), (&b, 0x101, b"y")]);
    assert_eq!(bytes[4], 1);
    let block = Block::new(bytes).unwrap();
    assert_eq!((block.user_key(0), block.user_key(1), block.value(1)), (a, b, &b"y"[..]));
}

/// Contents as no writer makes them, each with the reason it is refused for.
#[test]
fn every_structural_error_has_a_reason() {
    type Change = fn(&mut Vec<u8>);
    // Prefix "ap" ends at 10, trailers at 42, key ends at 50, value ends at 58, suffixes at 68.
    let cases: [(Change, &str); 12] = [
        (|bytes| bytes.truncate(7), "less than its header"),
        (|bytes| bytes[0] = 0, "no entries"),
        (|bytes| bytes[0] = 9, "9 entries do not fit"),
        (|bytes| bytes[..4].fill(0xff), "4294967295 entries do not fit"),
        (|bytes| bytes[4] = 2, "unknown flags"),
        (|bytes| bytes[5] = 1, "unknown flags"),
        (|bytes| bytes[6..8].fill(0xff), "do not fit"),
        (|bytes| bytes[44] = 0, "key 1 ends at 0, before it begins"),
        (|bytes| bytes[48] = 200, "the last key ends 200 bytes behind"),
        (|bytes| bytes[56..58].fill(0xff), "the last value ends 65535 bytes behind"),
        (|bytes| bytes.push(0), "1 bytes behind the last value"),
        (|bytes| bytes.truncate(bytes.len() - 1), "the last value ends"),
    ];
    for (change, reason) in cases {
        let mut bytes = four();
        change(&mut bytes);
        let found = Block::new(bytes).unwrap_err();
        assert!(found.contains(reason), "{found:?}, expected {reason:?}");
    }
    let mut empty_key = content(&[(b"a", 0x201, b""), (b"b", 0x101, b"")]);
    let ends = 8 + 16;
    empty_key[ends] = 0;
    assert_eq!(Block::new(empty_key).unwrap_err(), "key 0 has 0 bytes");
}

/// Two entries change places: the structure is sound, the order is not, and only the check of the
/// order says so.
#[test]
fn order_is_checked_apart_from_structure() {
    let block = Block::new(content(&[(b"b", 0x201, b""), (b"a", 0x101, b"")])).unwrap();
    assert_eq!(
        block.verify_order().unwrap_err(),
        "the key of entry 1 does not follow the one before it"
    );
    let block = Block::new(content(&[(b"a", 0x201, b""), (b"a", 0x201, b"")])).unwrap();
    assert!(block.verify_order().is_err());
    assert_eq!(Block::new(four()).unwrap().verify_order(), Ok(()));
}

proptest! {
    /// Sound content, damaged at random behind the back of the checksum: refused, or readable
    /// everywhere without a panic.
    #[test]
    fn accepted_content_can_be_read_everywhere(
        damage in proptest::collection::vec((0..68usize, any::<u8>()), 0..4),
        cut in 0..80usize,
    ) {
        let mut bytes = four();
        for (at, byte) in damage {
            bytes[at] = byte;
        }
        bytes.truncate(cut.max(40));
        if let Ok(block) = Block::new(bytes) {
            read_all(&block);
        }
        let mut bytes = four();
        bytes[10 + cut % 60] ^= 1 << (cut % 8);
        if let Ok(block) = Block::new(bytes) {
            read_all(&block);
        }
    }

    /// Sorted entries of any bytes come back, and each key is found where it is.
    #[test]
    fn entries_round_trip(
        mut keys in proptest::collection::vec(
            (proptest::collection::vec(any::<u8>(), 1..10), 0..4u64, 0..300usize), 1..50),
    ) {
        keys.sort_by(|a, b| key::compare((&a.0, Trailer(a.1)), (&b.0, Trailer(b.1))));
        keys.dedup_by(|a, b| (&a.0, a.1) == (&b.0, b.1));
        let values: Vec<Vec<u8>> = keys.iter().map(|key| vec![key.2 as u8; key.2]).collect();
        let entries: Vec<_> = keys.iter().zip(&values).map(|(k, v)| (&k.0[..], k.1, &v[..])).collect();
        let block = Block::new(content(&entries)).unwrap();
        prop_assert_eq!(block.count(), entries.len());
        prop_assert_eq!(block.verify_order(), Ok(()));
        for (index, (user, trailer, value)) in entries.iter().enumerate() {
            prop_assert_eq!(&block.user_key(index), user);
            prop_assert_eq!((block.trailer(index).0, block.value(index)), (*trailer, *value));
            prop_assert_eq!(block.lower_bound(user, Trailer(*trailer)), index);
        }
    }

    /// Content of any kind, compressible or not, comes back from the file's form.
    #[test]
    fn sealed_content_round_trips(
        noise in proptest::collection::vec(any::<u8>(), 0..300),
        repeat in 1..40usize,
        lz4 in any::<bool>(),
        offset in any::<u64>(),
    ) {
        let compression = if lz4 { Compression::Lz4 } else { Compression::None };
        let mut sealer = Sealer::new(ID, compression);
        let content = noise.repeat(repeat);
        let mut bytes = b"before".to_vec();
        let size = sealer.seal(&mut bytes, Kind::Data, &content, offset) as usize;
        prop_assert_eq!(&bytes[..6], b"before");
        let block = bytes[6..].to_vec();
        prop_assert_eq!(block.len(), size);
        let sealed = check(&block, ID, offset).unwrap();
        prop_assert!(sealed.compression == Compression::None || size - 12 <= content.len() * 7 / 8);
        prop_assert_eq!(unseal(Kind::Data, block, ID, offset), Ok(content));
    }
}

/// Compressible data is compressed if asked for, and only data is.
#[test]
fn only_data_is_compressed_and_only_if_it_pays() {
    let compressed = |compression, kind, content: &[u8]| {
        let mut bytes = Vec::new();
        Sealer::new(ID, compression).seal(&mut bytes, kind, content, 0);
        check(&bytes, ID, 0).unwrap().compression == Compression::Lz4
    };
    let text = b"the same again, ".repeat(10);
    let noise: Vec<u8> =
        (0..200u32).map(|i| (coding::crc32(&[&i.to_le_bytes()]) >> 3) as u8).collect();
    assert!(compressed(Compression::Lz4, Kind::Data, &text));
    assert!(!compressed(Compression::None, Kind::Data, &text));
    assert!(!compressed(Compression::Lz4, Kind::Index, &text));
    assert!(!compressed(Compression::Lz4, Kind::Data, &noise));
}

/// Every bit of two sealed blocks is flipped, every cut made, and the blocks are opened with the
/// wrong id, offset and kind: always an error that begins with the kind that was expected.
#[test]
fn a_sealed_block_opens_only_as_it_is_and_where_it_is() {
    for content in [&b"the same again, the same again, the same again"[..], b"short"] {
        let mut bytes = Vec::new();
        Sealer::new(ID, Compression::Lz4).seal(&mut bytes, Kind::Data, content, 4096);
        let open = |bytes: &[u8]| unseal(Kind::Data, bytes.to_vec(), ID, 4096);
        assert_eq!(open(&bytes), Ok(content.to_vec()));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let reason = open(&flipped).unwrap_err();
            assert!(reason.starts_with("data block: checksum mismatch"), "bit {bit}: {reason}");
        }
        for cut in 0..bytes.len() {
            assert!(open(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        assert!(unseal(Kind::Data, bytes.clone(), FileId(ID.0 + 1), 4096).is_err());
        assert!(unseal(Kind::Data, bytes.clone(), ID, 8192).is_err());
        let reason = unseal(Kind::Filter, bytes, ID, 4096).unwrap_err();
        assert_eq!(reason, "filter block: this is a block of kind data");
    }
}

/// Trailers with a right checksum that make impossible claims are refused before anything is
/// allocated for them.
#[test]
fn hostile_sizes_are_refused() {
    let sealed = |stored: &[u8], kind: u8, compression: u8, reserved: u8, size: u32| {
        let mut bytes = stored.to_vec();
        bytes.extend_from_slice(&[kind, compression, reserved, 0]);
        bytes.extend_from_slice(&size.to_le_bytes());
        let crc = coding::crc32(&[&bytes]) ^ coding::mix(ID, 0);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    };
    let cases = [
        (sealed(b"abcd", 1, 1, 0, u32::MAX), "4 stored bytes cannot hold 4294967295"),
        (sealed(b"abcd", 1, 1, 0, 4 * 256 + 1), "4 stored bytes cannot hold 1025"),
        (sealed(b"abcd", 1, 0, 0, 5), "4 stored bytes cannot hold 5"),
        (sealed(b"abcd", 1, 0, 0, 3), "4 stored bytes cannot hold 3"),
        (sealed(b"abcd", 0, 0, 0, 4), "unknown block kind 0"),
        (sealed(b"abcd", 5, 0, 0, 4), "unknown block kind 5"),
        (sealed(b"abcd", 1, 2, 0, 4), "unknown compression 2"),
        (sealed(b"abcd", 1, 0, 1, 4), "reserved bytes"),
        (sealed(b"\xff\xff\xff\xff", 1, 1, 0, 64), "could not be unpacked"),
        (sealed(b"\x40abcd", 1, 1, 0, 5), "4 bytes unpacked, expected 5"),
        (sealed(b"\x40abcd", 1, 1, 0, 3), "could not be unpacked"),
        (sealed(b"", 1, 1, 0, 1), "0 stored bytes cannot hold 1"),
    ];
    for (bytes, reason) in cases {
        let found = unseal(Kind::Data, bytes, ID, 0).unwrap_err();
        assert!(found.contains(reason), "{found:?}, expected {reason:?}");
    }
}
