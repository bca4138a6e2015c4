use super::*;
use crate::format::frame::{self, FRAME_ALIGN, FRAME_HEADER_SIZE};
use crate::record::Writer;
use crate::record::testing::MemoryFile;
use crate::types::{FileId, StoreId};
use std::sync::Arc;

const ID: FileId = FileId(0x0123_4567_89ab_cdef);
const MARK: MarkPayload = MarkPayload { manifest: FileNumber(5), manifest_synced: 300 };

fn header() -> Header {
    Header {
        kind: FileKind::Wal,
        version: 1,
        id: ID,
        store: StoreId(1),
        number: FileNumber(6),
        created_ms: 0,
    }
}

/// A log under construction.
struct Log {
    file: Arc<MemoryFile>,
    writer: Writer,
}

impl Log {
    fn new() -> Log {
        let file = Arc::new(MemoryFile::new(header().encode().to_vec()));
        let writer = Writer::new(file.clone(), ID, HEADER_SIZE as u64);
        Log { file, writer }
    }

    fn push(&mut self, kind: Kind, synced_upto: u64, payload: &[u8]) -> u64 {
        let offset = self.writer.push(kind, synced_upto, &[payload]);
        self.writer.write().unwrap();
        offset
    }

    /// The last of `copies` copies of a close frame is at the returned offset.
    fn close(&mut self, copies: usize) {
        let log_end = self.writer.end();
        let manifest = FileNumber(5);
        let close = ClosePayload { log_end, manifest, manifest_synced: 400 };
        for _ in 0..copies {
            self.push(Kind::Close, log_end, &close.encode());
        }
    }

    fn end(&self) -> u64 {
        self.writer.end()
    }

    fn bytes(&self) -> Vec<u8> {
        self.file.bytes()
    }

    /// The file with zeros behind it.
    fn allocated(&self, size: usize) -> Vec<u8> {
        let mut bytes = self.bytes();
        bytes.resize(size, 0);
        bytes
    }
}

/// Batches, marks and a clean close, in a file that is not full.
fn mixed() -> Log {
    let mut log = Log::new();
    log.push(Kind::Batch, 0, b"first batch");
    log.push(Kind::Batch, 0, &[0; 40]);
    let end = log.end();
    log.push(Kind::Mark, end, &MARK.encode());
    log.push(Kind::Batch, end, b"");
    log.push(Kind::Gap, 0, &[7; 16]);
    log.close(2);
    log
}

/// Offset, kind and payload of each frame.
type Frames = Vec<(u64, Kind, Vec<u8>)>;

fn try_scan(bytes: &[u8], limit: Option<u64>) -> Result<(LogScan, Frames)> {
    let file = MemoryFile::new(bytes.to_vec());
    let header = read_header(&file, FileKind::Wal)?;
    let mut frames = Vec::new();
    let scan = scan_log(&file, &header, limit, &mut |offset, kind, payload| {
        frames.push((offset, kind, payload.to_vec()));
        Ok(())
    })?;
    assert_eq!(scan.records, frames.len() as u64);
    Ok((scan, frames))
}

fn scan(bytes: &[u8]) -> LogScan {
    try_scan(bytes, None).unwrap().0
}

/// Everything a scan says about a log that is as it was written.
#[test]
fn an_intact_log_is_summed_up() {
    let log = mixed();
    let bytes = log.allocated(1000);
    let (scan, frames) = try_scan(&bytes, None).unwrap();
    let kinds: Vec<Kind> = frames.iter().map(|frame| frame.1).collect();
    use Kind::{Batch, Close, Gap, Mark};
    assert_eq!(kinds, [Batch, Batch, Mark, Batch, Gap, Close, Close]);
    assert_eq!(frames[0], (64, Batch, b"first batch".to_vec()));
    assert_eq!(frames[1].0, 64 + 40);
    let log_end = frames[5].0;
    let expected = LogScan {
        header: header(),
        size: 1000,
        valid_end: log.end(),
        records: 7,
        promised: log_end,
        manifest_promise: Some((FileNumber(5), 400)),
        closed: Some(ClosePayload { log_end, manifest: FileNumber(5), manifest_synced: 400 }),
        ended: false,
        first_bad: None,
    };
    assert_eq!(scan, expected);
    assert_eq!(try_scan(&log.bytes(), None).unwrap().0, LogScan { size: log.end(), ..expected });
}

/// Every bit of a log is flipped: header, frames and unused space. Each flip is found, named to the
/// bit, costs the frame it is in and none before it, and hides no promise made behind it.
#[test]
fn every_flipped_bit_of_a_log_is_noticed() {
    let bytes = mixed().allocated(600);
    let (whole, frames) = try_scan(&bytes, None).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let at = (bit / 8) as u64;
        if at < HEADER_SIZE as u64 {
            assert!(matches!(try_scan(&flipped, None), Err(Error::Corruption(_))), "bit {bit}");
            continue;
        }
        let scan = scan(&flipped);
        let bad = scan.first_bad.as_ref().unwrap_or_else(|| panic!("bit {bit} is not noticed"));
        assert_eq!(bad.flipped, Some((at, (bit % 8) as u8)), "bit {bit}: {bad:?}");
        assert!(bad.detail.contains("one flipped bit"), "{}", bad.detail);
        assert_eq!(scan.closed, None);
        let before = frames.iter().filter(|frame| frame.0 < bad.offset).count() as u64;
        assert_eq!(scan.records, before);
        assert_eq!(scan.valid_end, bad.offset);
        if at < whole.valid_end {
            assert_eq!(bad.frames_after, 7 - before - 1, "bit {bit}: {bad:?}");
            assert_eq!(scan.promised, whole.promised, "either close frame keeps the promise");
            assert_eq!(scan.manifest_promise, whole.manifest_promise);
        } else {
            assert_eq!((bad.offset, bad.frames_after), (whole.valid_end, 0));
        }
    }
}

/// A log cut anywhere keeps exactly the frames before the cut, and the cut is never taken for a
/// flipped bit. Only a cut between two frames looks whole, and then the log is not closed.
#[test]
fn every_cut_of_a_log_keeps_the_frames_before_it() {
    let log = mixed();
    let bytes = log.bytes();
    let (_, frames) = try_scan(&bytes, None).unwrap();
    let mut starts: Vec<u64> = frames.iter().map(|frame| frame.0).collect();
    starts.push(log.end());
    for cut in 0..bytes.len() {
        if cut < HEADER_SIZE {
            assert!(matches!(try_scan(&bytes[..cut], None), Err(Error::Corruption(_))));
            continue;
        }
        // A limit has to give what a cut gives.
        for (bytes, limit) in [(&bytes[..cut], None), (&bytes[..], Some(cut as u64))] {
            let (scan, _) = try_scan(bytes, limit).unwrap();
            let cut = cut as u64;
            let kept = starts.iter().filter(|&&start| start > 64 && start <= cut).count();
            assert_eq!(scan.records, kept as u64);
            assert_eq!(scan.valid_end, starts[kept]);
            assert_eq!(scan.closed, None);
            assert_eq!(scan.first_bad.is_none(), starts.contains(&cut), "cut at {cut}");
            if let Some(bad) = scan.first_bad {
                assert_eq!((bad.flipped, bad.frames_after), (None, 0));
                assert_eq!(bad.offset, scan.valid_end);
                assert!(bad.offset + bad.bytes <= cut, "zeros at the end do not count");
            }
        }
    }
}

/// A write that stopped anywhere in space that was zero. Compared with a cut, the frame's last
/// zeros may be missing too; it is still never a flipped bit.
#[test]
fn a_tail_of_zeros_is_never_a_flipped_bit() {
    let bytes = mixed().allocated(700);
    let end = mixed().end() as usize;
    for cut in HEADER_SIZE..end {
        let mut torn = bytes.clone();
        torn[cut..].fill(0);
        let flipped = scan(&torn).first_bad.and_then(|bad| bad.flipped);
        assert_eq!(flipped, None, "zeros from {cut}");
    }
}

/// One byte of a long log is changed beyond recognition; all other records are found, and what
/// counts as gapless ends before it. The log is larger than what is in memory at a time.
#[test]
fn one_bad_byte_costs_one_record_of_three_thousand() {
    let mut log = Log::new();
    let offsets: Vec<u64> = (0..3000u32)
        .map(|i| log.push(Kind::Batch, 0, &i.to_le_bytes().repeat(1 + i as usize % 97)))
        .collect();
    let bytes = log.allocated(1 << 20);
    for place in [0, 1, 1500, 2998, 2999] {
        for at in [0, 2, 5, 30] {
            let mut bytes = bytes.clone();
            bytes[offsets[place] as usize + at % 28] ^= 0x55;
            let scan = scan(&bytes);
            let bad = scan.first_bad.unwrap();
            assert_eq!((scan.records, bad.offset), (place as u64, offsets[place]));
            assert_eq!(bad.frames_after, 2999 - place as u64);
            assert_eq!(bad.flipped, None);

            let file = MemoryFile::new(bytes);
            let mut scanner = Scanner::new(&file, ID, HEADER_SIZE as u64, None).unwrap();
            let mut found = 0;
            while let Some(item) = scanner.next().unwrap() {
                found += u64::from(matches!(item, Item::Frame { .. }));
            }
            assert_eq!(found, 2999);
        }
    }
}

/// Only two whole copies in a row, at the end of what is valid and with nothing but zeros behind
/// them, are a clean close.
#[test]
fn only_an_intact_pair_of_close_frames_closes() {
    let mut one = Log::new();
    one.push(Kind::Batch, 0, b"x");
    one.close(1);
    assert_eq!(scan(&one.allocated(500)).closed, None);
    assert_eq!(scan(&one.allocated(500)).first_bad, None);

    let mut reopened = Log::new();
    reopened.close(2);
    assert!(scan(&reopened.bytes()).closed.is_some());
    reopened.push(Kind::Batch, 0, b"appended after the close");
    assert_eq!(scan(&reopened.allocated(500)).closed, None);
    reopened.close(2);
    let closed = scan(&reopened.allocated(500)).closed.unwrap();
    assert_eq!(closed.log_end, reopened.end() - 112);
    reopened.push(Kind::Mark, 0, &MARK.encode());
    assert_eq!(scan(&reopened.bytes()).closed, None);

    let mut garbage = mixed().allocated(500);
    garbage[490] = 0xff;
    let scan = scan(&garbage);
    assert_eq!((scan.closed, scan.first_bad.unwrap().bytes), (None, 491 - scan.valid_end));
}

/// Two single copies of different closes, one after the other, are not a pair.
#[test]
fn two_halves_of_different_closes_are_not_a_pair() {
    let mut log = Log::new();
    let manifest = FileNumber(5);
    let close = ClosePayload { log_end: log.end(), manifest, manifest_synced: 400 };
    log.push(Kind::Close, 0, &close.encode());
    let other = ClosePayload { manifest_synced: 500, ..close };
    log.push(Kind::Close, 0, &other.encode());
    assert_eq!(scan(&log.bytes()).closed, None);
}

/// The end frame ends a log; what comes behind it makes it a log that does not end there.
#[test]
fn a_rotated_log_ends_with_an_end_frame() {
    let mut log = Log::new();
    log.push(Kind::Batch, 0, b"x");
    let log_end = log.end();
    log.push(Kind::End, log_end, &EndPayload { log_end }.encode());
    let found = scan(&log.allocated(300));
    assert!(found.ended);
    assert_eq!(found.promised, log_end);
    log.push(Kind::Batch, 0, b"y");
    assert!(!scan(&log.bytes()).ended);
}

/// Intact frames whose content contradicts their place or has the wrong size are damage, also
/// behind a bad place: no legal crash writes them.
#[test]
fn intact_frames_that_lie_are_damage() {
    let cases: [(Kind, Vec<u8>); 5] = [
        (Kind::Mark, vec![0; 15]),
        (Kind::End, EndPayload { log_end: 63 }.encode().to_vec()),
        (Kind::Close, [&66u64.to_le_bytes()[..], &[0; 16]].concat()),
        (Kind::Close, vec![0xff; 24]),
        (Kind::Close, vec![0; 23]),
    ];
    for (kind, payload) in cases {
        for bad_before in [false, true] {
            let mut log = Log::new();
            log.push(Kind::Batch, 0, b"x");
            let offset = log.push(kind, 0, &payload);
            let mut bytes = log.bytes();
            if bad_before {
                bytes[64] = 0;
            }
            match try_scan(&bytes, None) {
                Err(Error::Corruption(corruption)) => assert_eq!(corruption.offset, Some(offset)),
                other => panic!("{kind}: {other:?}"),
            }
        }
    }
}

/// A promise counts wherever its frame is: before, between and behind bad places. The newest
/// manifest's counts, however small.
#[test]
fn promises_behind_bad_places_count() {
    let mut log = Log::new();
    let first = log.push(Kind::Batch, 0, b"to be destroyed");
    log.push(Kind::Mark, first, &MARK.encode());
    let second = log.push(Kind::Batch, 0, b"to be destroyed");
    let newer = MarkPayload { manifest: FileNumber(9), manifest_synced: 100 };
    log.push(Kind::Mark, second, &newer.encode());
    log.push(Kind::Mark, first, &MARK.encode());
    let mut bytes = log.bytes();
    bytes[first as usize..][..30].fill(0);
    bytes[second as usize..][..30].fill(0xff);
    let scan = scan(&bytes);
    assert_eq!((scan.records, scan.valid_end), (0, first));
    assert_eq!(scan.promised, second);
    assert_eq!(scan.manifest_promise, Some((FileNumber(9), 100)));
    let bad = scan.first_bad.unwrap();
    assert_eq!((bad.frames_after, bad.bytes), (3, log.end() - first));
    assert!(bad.detail.contains("zeros, and then data"), "{}", bad.detail);
}

/// Bytes of another file or another place of this one are never replayed, however intact.
#[test]
fn foreign_and_misplaced_frames_are_not_replayed() {
    let mut log = Log::new();
    log.push(Kind::Batch, 0, &[1; 79]);
    log.push(Kind::Batch, 0, &[2; 79]);
    log.push(Kind::Batch, 0, &[3; 79]);
    let mut moved = log.bytes();
    moved.copy_within(64..168, 168);
    let found = scan(&moved);
    assert_eq!(found.records, 1);
    assert_eq!(found.first_bad.unwrap().frames_after, 1);

    let mut foreign = log.bytes();
    let mut frame = Vec::new();
    frame::encode(&mut frame, FileId(1), 168, Kind::Batch, 0, &[&[2; 79]]);
    foreign[168..272].copy_from_slice(&frame);
    assert_eq!(scan(&foreign).first_bad.unwrap().offset, 168);
}

/// What looks exactly like a frame of this file at this place, inside a payload that is damaged, is
/// a part of the payload.
#[test]
fn a_frame_inside_a_damaged_payload_is_not_a_frame() {
    let mut inner = Vec::new();
    frame::encode(&mut inner, ID, 64 + FRAME_HEADER_SIZE as u64, Kind::Batch, 64, &[b"inner"]);
    let mut log = Log::new();
    log.push(Kind::Batch, 0, &[&inner[..], &[1; 9]].concat());
    log.push(Kind::Batch, 0, b"behind");
    let mut bytes = log.bytes();
    bytes[64 + 24 + inner.len()] = 0xaa;
    let scan = scan(&bytes);
    assert_eq!((scan.first_bad.unwrap().frames_after, scan.promised), (1, 0));
}

/// Fills of unused space: zeros are unused space, ones are a bad place, neither is a frame.
#[test]
fn fills_are_not_frames() {
    let mut log = Log::new();
    log.push(Kind::Batch, 0, b"x");
    assert_eq!(scan(&log.allocated(600_000)).first_bad, None);
    let mut ones = log.allocated(600_000);
    ones[log.end() as usize..].fill(0xff);
    let scan = scan(&ones);
    let bad = scan.first_bad.unwrap();
    assert_eq!((scan.records, bad.frames_after, bad.flipped), (1, 0, None));
    assert_eq!(bad.bytes, 600_000 - log.end());
}

/// A stray bit far out in the unused space is found and named; two are not called one.
#[test]
fn a_stray_bit_in_unused_space_is_named() {
    let mut bytes = mixed().allocated(700_000);
    bytes[650_001] = 0x20;
    let bad = scan(&bytes).first_bad.unwrap();
    assert_eq!(bad.flipped, Some((650_001, 5)));
    bytes[699_999] = 1;
    assert_eq!(scan(&bytes).first_bad.unwrap().flipped, None);
    bytes[699_999] = 0;
    bytes[650_001] = 0x60;
    assert_eq!(scan(&bytes).first_bad.unwrap().flipped, None);
}

/// A header that promises a gigabyte costs no memory when the file does not have it, and a large
/// frame that is there is read with what it needs.
#[test]
fn memory_is_bounded_by_what_is_there() {
    let mut log = Log::new();
    let offset = log.push(Kind::Batch, 0, &vec![9; 3_000_000]);
    log.push(Kind::Batch, 0, b"behind");
    let bytes = log.allocated(4_000_000);
    for (bytes, records) in [(&bytes[..2_000_000], 0), (&bytes[..], 2)] {
        let file = MemoryFile::new(bytes.to_vec());
        let mut frames = 0;
        let scan = scan_log(&file, &header(), None, &mut |_, _, _| {
            frames += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!((scan.records, frames), (records, records));
        if records == 0 {
            assert!(file.largest_read() <= 256 << 10);
            assert_eq!(scan.first_bad.unwrap().offset, offset);
        }
    }
}

/// A reading error is an error of the scan, and so is one of the callback.
#[test]
fn an_error_is_not_the_end_of_a_log() {
    let file = MemoryFile::new(mixed().bytes());
    let mut calls = 0;
    let scan = scan_log(&file, &header(), None, &mut |_, _, _| {
        calls += 1;
        Err(Error::ReadOnly)
    });
    assert!(matches!(scan, Err(Error::ReadOnly)));
    assert_eq!(calls, 1);

    let mut scanner = Scanner::new(&file, ID, HEADER_SIZE as u64, None).unwrap();
    file.fail(true);
    assert!(matches!(scanner.next(), Err(Error::Io { .. })));
    assert!(matches!(read_header(&file, FileKind::Wal), Err(Error::Io { .. })));
    file.fail(false);
    assert!(matches!(scanner.next(), Ok(Some(Item::Frame { offset: 64, .. }))));
}

/// Each way for a file not to be a log gives the variant the caller can act on.
#[test]
fn headers_give_the_error_that_says_what_to_do() {
    let read = |bytes: &[u8], kind| read_header(&MemoryFile::new(bytes.to_vec()), kind);
    let good = header().encode();
    assert_eq!(read(&good, FileKind::Wal).unwrap(), header());
    let error = read(&good, FileKind::Manifest).unwrap_err().to_string();
    assert_eq!(error, "db/000006.wal is not a BeachDB manifest: it is a WAL");
    let error = read(&[b'x'; 64], FileKind::Wal).unwrap_err().to_string();
    assert_eq!(error, "db/000006.wal is not a BeachDB WAL: it begins with \"xxxxxxxx\"");
    let error = read(&[], FileKind::Wal).unwrap_err().to_string();
    assert!(error.ends_with("damaged: the file has 0 bytes, its header alone 64"), "{error}");
    let newer = Header { version: 2, ..header() }.encode();
    let error = read(&newer, FileKind::Wal).unwrap_err().to_string();
    assert!(error.contains("has format version 2, which this version"), "{error}");
}

/// A frame is found and judged the same wherever the part of the file that is in memory ends:
/// behind a bad place it is moved byte by byte across that end, whole, with one flipped bit and
/// with two (of which none explains it).
#[test]
fn where_a_window_ends_does_not_show() {
    let window_end = HEADER_SIZE + crate::record::window::WINDOW_SIZE;
    for start in (window_end - 136..window_end + 8).step_by(FRAME_ALIGN) {
        let mut log = Log::new();
        let filler = start - HEADER_SIZE - FRAME_HEADER_SIZE - 1;
        log.push(Kind::Batch, 0, &vec![0x11; filler]);
        assert_eq!(log.push(Kind::Batch, 0, &[7; 100]), start as u64);
        let good = log.bytes();

        let mut no_first = good.clone();
        no_first[64..200].fill(0x11);
        assert_eq!(scan(&no_first).first_bad.unwrap().frames_after, 1, "at {start}");

        let mut flipped = good.clone();
        flipped[start + 5] ^= 4;
        let bad = scan(&flipped).first_bad.unwrap();
        assert_eq!(bad.flipped, Some((start as u64 + 5, 2)));
        flipped[start + 100] ^= 4;
        let bad = scan(&flipped).first_bad.unwrap();
        assert_eq!((bad.offset, bad.flipped), (start as u64, None));
    }
}
