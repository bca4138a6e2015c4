use proptest::prelude::*;

use super::*;
use crate::types::{FileNumber, SeqNo};

const ID: FileId = FileId(0x0123_4567_89ab_cdef);
const OFFSET: u64 = 64;

fn frame(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut out, ID, OFFSET, Kind::Batch, 64, &[payload]);
    out
}

fn flipped(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[bit / 8] ^= 1 << (bit % 8);
    bytes
}

/// Writes a header with right checksums and these contents, whatever they are.
fn sealed(magic: [u8; 2], kind: u8, reserved: u8, size: u32) -> Vec<u8> {
    let mut out = [&magic[..], &[kind, reserved], &size.to_le_bytes(), &[0; 8]].concat();
    out.extend_from_slice(&(crc32(&[&[]]) ^ mix(ID, OFFSET)).to_le_bytes());
    let header_crc = crc32(&[&out]) ^ mix(ID, OFFSET);
    out.extend_from_slice(&header_crc.to_le_bytes());
    out.resize(frame_size(0), TERMINATOR);
    out
}

/// The bytes are written out by hand; the checksums are python3's `zlib.crc32`, XORed with the mix
/// 0x88888888 ^ 0x40.
#[test]
fn a_frame_has_these_bytes() {
    let golden = [
        "beac",              // magic
        "01 00",             // batch, reserved
        "03000000",          // three bytes of payload
        "40000000 00000000", // the file is synced up to 64
        "0ac9acbd",          // crc32 of the payload, mixed
        "9f996ae3",          // crc32 of the 20 bytes so far, mixed
        "616263",            // payload: abc
        "b7b7b7b7b7",        // terminator
    ]
    .concat()
    .replace(' ', "");
    assert_eq!(hex::encode(frame(b"abc")), golden);
    assert_eq!(
        decode(&frame(b"abc"), ID, OFFSET),
        Decoded::Frame { kind: Kind::Batch, synced_upto: 64, payload: b"abc", size: 32 }
    );
}

/// A frame cut anywhere is torn, and its size is known as soon as its header is there.
#[test]
fn every_cut_of_a_frame_is_torn() {
    let bytes = frame(b"some payload");
    for cut in 0..bytes.len() {
        let size = (cut >= FRAME_HEADER_SIZE).then_some(bytes.len());
        assert_eq!(decode(&bytes[..cut], ID, OFFSET), Decoded::Torn { size }, "cut at {cut}");
    }
}

/// Every bit of frames of several sizes is flipped; the decoder names that bit. (A payload beyond
/// the limit is damage too, but which bit is not looked for.)
#[test]
fn every_flipped_bit_of_a_frame_is_named() {
    for size in [0, 1, 40, 600] {
        let payload: Vec<u8> = (0..size).map(|i| (i * 7) as u8).collect();
        let bytes = frame(&payload);
        for bit in 0..bytes.len() * 8 {
            match decode(&flipped(&bytes, bit), ID, OFFSET) {
                Decoded::Damaged { flipped: Some(found), .. } => {
                    assert_eq!(found, (bit / 8, (bit % 8) as u8), "{size} bytes, bit {bit}");
                }
                other => panic!("{size} bytes, bit {bit}: {other:?}"),
            }
        }
    }
    let large = frame(&vec![5; MEND_SIZE_MAX + 1]);
    for bit in [FRAME_HEADER_SIZE * 8, 20_000, (FRAME_HEADER_SIZE + MEND_SIZE_MAX) * 8] {
        let bytes = flipped(&large, bit);
        let found = decode(&bytes, ID, OFFSET);
        assert!(matches!(found, Decoded::Damaged { flipped: None, .. }), "{found:?}");
    }
}

/// A header's flipped bit is found when the bytes end behind the header, or inside the payload.
#[test]
fn a_flipped_bit_is_named_when_the_payload_is_cut_off() {
    let bytes = frame(b"some payload");
    for bit in 0..FRAME_HEADER_SIZE * 8 {
        for end in [FRAME_HEADER_SIZE, bytes.len() - 1] {
            let found = decode(&flipped(&bytes, bit)[..end], ID, OFFSET).clone_flipped();
            assert_eq!(found, Some((bit / 8, (bit % 8) as u8)));
        }
    }
}

impl Decoded<'_> {
    fn clone_flipped(&self) -> Option<(usize, u8)> {
        match self {
            Decoded::Damaged { flipped, .. } => *flipped,
            _ => None,
        }
    }
}

/// Two flipped bits are damage that no single bit explains: pairs all over the frame.
#[test]
fn two_flipped_bits_are_not_taken_for_one() {
    let bytes = frame(b"payload of a frame");
    for first in 0..bytes.len() * 8 {
        for second in (0..first).step_by(5) {
            match decode(&flipped(&flipped(&bytes, first), second), ID, OFFSET) {
                Decoded::Damaged { flipped: None, .. } => {}
                other => panic!("bits {first} and {second}: {other:?}"),
            }
        }
    }
}

/// A write that stopped at any byte, with zeros behind it, is never one flipped bit: the terminator
/// is always among what is missing. Payloads that end with zeros and single bits are the hard ones.
#[test]
fn a_zeroed_tail_never_looks_like_a_flipped_bit() {
    let payloads: [&[u8]; 4] = [b"", &[0; 700], &[1; 300], b"\x80\0\0\0\0\0\0\x01"];
    for payload in payloads {
        let bytes = frame(payload);
        for cut in 1..bytes.len() {
            let mut torn = bytes.clone();
            torn[cut..].fill(0);
            match decode(&torn, ID, OFFSET) {
                Decoded::Damaged { flipped: None, .. } => {}
                other => panic!("zeros from {cut} of {}: {other:?}", bytes.len()),
            }
        }
    }
}

/// The last sector of a frame was not written and holds garbage. It holds at least eight bytes of
/// the frame, wherever that ends: here exactly those are random, many times. (With a single byte,
/// one time in 32 would look like a flipped bit.)
#[test]
fn garbage_in_a_last_sector_never_looks_like_a_flipped_bit() {
    let mut random = 1u64;
    for size in 0..64 {
        let mut bytes = frame(&vec![0; size]);
        assert_eq!(bytes.len() % FRAME_ALIGN, 0);
        let last = bytes.len() - FRAME_ALIGN;
        for _ in 0..500 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            bytes[last..].copy_from_slice(&(random ^ random >> 29).to_le_bytes());
            match decode(&bytes, ID, OFFSET) {
                Decoded::Damaged { flipped: None, .. } => {}
                other => panic!("{size} bytes, {random:x}: {other:?}"),
            }
        }
    }
}

/// What disks fill unwritten space with.
#[test]
fn fills_are_never_frames() {
    for size in [1, 23, 24, 25, 4096] {
        assert_eq!(decode(&vec![0; size], ID, 0), Decoded::Zeros);
        assert_eq!(decode(&vec![0; size], FileId(0), 0), Decoded::Zeros);
    }
    for id in [FileId(0), FileId(u64::MAX), ID] {
        let found = decode(&[0xff; 4096], id, 0);
        assert!(matches!(found, Decoded::Damaged { flipped: None, .. }), "{found:?}");
    }
    assert_eq!(decode(&[], ID, 0), Decoded::Torn { size: None });
}

/// The same intact bytes at another offset, or in a file with another id, are damage.
#[test]
fn misplaced_and_foreign_frames_are_damage() {
    let bytes = frame(b"somewhere else");
    for (id, offset) in [(ID, 65), (ID, 0), (ID, 64 + 4096), (ID, 1 << 40), (FileId(9), 64)] {
        let found = decode(&bytes, id, offset);
        assert!(matches!(found, Decoded::Damaged { flipped: None, .. }), "{found:?}");
        assert_eq!(head(&bytes, id, offset), None);
    }
}

/// Headers whose checksum is right and whose content is not: each is refused for its own reason,
/// and no size is believed that is beyond the limit.
#[test]
fn hostile_headers_are_refused() {
    let cases = [
        (sealed([0xbe, 0xad], 1, 0, 0), "format 1"),
        (sealed(MAGIC, 1, 1, 0), "format 1"),
        (sealed(MAGIC, 0, 0, 0), "unknown frame kind 0"),
        (sealed(MAGIC, 7, 0, 0), "unknown frame kind 7"),
        (sealed(MAGIC, 1, 0, (1 << 30) + 1), "limit is 1073741824"),
        (sealed(MAGIC, 1, 0, u32::MAX), "limit is 1073741824"),
    ];
    for (bytes, reason) in cases {
        match decode(&bytes, ID, OFFSET) {
            Decoded::Damaged { detail, flipped: None } => {
                assert!(detail.contains(reason), "{detail}");
            }
            other => panic!("{other:?}"),
        }
    }
    let largest = sealed(MAGIC, 1, 0, 1 << 30);
    assert_eq!(decode(&largest, ID, OFFSET), Decoded::Torn { size: Some(frame_size(1 << 30)) });
    assert!(matches!(decode(&sealed(MAGIC, 6, 0, 0), ID, OFFSET), Decoded::Frame { .. }));
}

/// Every payload type comes back from its bytes, and from no other number of bytes.
#[test]
fn payloads_round_trip() {
    let mark = MarkPayload { manifest: FileNumber(5), manifest_synced: 300 };
    let close = ClosePayload { log_end: 900, manifest: FileNumber(5), manifest_synced: u64::MAX };
    let (end, gap) = (EndPayload { log_end: 70 }, GapPayload { offset: 1, size: 2 });
    assert_eq!(MarkPayload::decode(&mark.encode()), Ok(mark));
    assert_eq!(ClosePayload::decode(&close.encode()), Ok(close));
    assert_eq!(EndPayload::decode(&end.encode()), Ok(end));
    assert_eq!(GapPayload::decode(&gap.encode()), Ok(gap));
    assert_eq!(hex::encode(mark.encode()), "05000000000000002c01000000000000");
    for size in 0..40 {
        let bytes = vec![1; size];
        assert_eq!(MarkPayload::decode(&bytes).is_ok(), size == 16);
        assert_eq!(GapPayload::decode(&bytes).is_ok(), size == 16);
        assert_eq!(ClosePayload::decode(&bytes).is_ok(), size == 24);
        assert_eq!(EndPayload::decode(&bytes).is_ok(), size == 8);
    }
    let batch = [&BatchPayload::encode_first(SeqNo(14))[..], b"batch"].concat();
    let expected = BatchPayload { first: SeqNo(14), batch: b"batch" };
    assert_eq!(BatchPayload::decode(&batch), Ok(expected));
    assert!(BatchPayload::decode(&batch[..7]).is_err());
    assert!(BatchPayload::decode(&[0; 8]).is_err());
    assert!(BatchPayload::decode(&[0xff; 8]).is_err());
}

proptest! {
    /// Frames of any content come back at any place, and the parts of a payload do not show.
    #[test]
    fn frames_round_trip(
        id: u64, place in 0..=u64::MAX / 8, synced: u64, kind in 1u8..=6,
        payload in prop::collection::vec(any::<u8>(), 0..2000), cut: prop::sample::Index,
    ) {
        let (id, kind) = (FileId(id), Kind::from_u8(kind).unwrap());
        let offset = place * FRAME_ALIGN as u64;
        let cut = cut.index(payload.len() + 1);
        let mut out = b"before".to_vec();
        encode(&mut out, id, offset, kind, synced, &[&payload[..cut], &payload[cut..]]);
        let size = out.len() - 6;
        out.extend_from_slice(b"behind");
        prop_assert_eq!(
            decode(&out[6..], id, offset),
            Decoded::Frame { kind, synced_upto: synced, payload: &payload, size }
        );
    }

    /// Arbitrary bytes never panic and are no frame.
    #[test]
    fn garbage_is_no_frame(mut bytes in prop::collection::vec(any::<u8>(), 0..200), magic: bool) {
        if magic && bytes.len() >= 2 {
            bytes[..2].copy_from_slice(&MAGIC);
        }
        let found = decode(&bytes, ID, OFFSET);
        prop_assert!(!matches!(found, Decoded::Frame { .. }), "{:?}", found);
    }
}
