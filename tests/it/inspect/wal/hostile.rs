//! Logs made to take long or to fill memory.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use beachdb::Error;
use beachdb::format::coding::{crc32, mix};
use beachdb::format::frame::{self, BatchPayload, Kind};
use beachdb::format::header::{FileKind, Header};
use beachdb::inspect::frames::Expect;
use beachdb::inspect::wal::{LogTotals, read_log};
use beachdb::types::{FileId, FileNumber, SeqNo, StoreId};
use beachdb::vfs::os::OsVfs;
use beachdb::vfs::{Access, File, Fill, Vfs};
use beachdb::{Result, WriteBatch};

const ID: FileId = FileId(0x0123_4567_89ab_cdef);
const SIZE: usize = 16 << 20;

/// Bad places, each of which claims the rest of the file: to believe them all is 160 GB to read.
const CLAIMS: u64 = 10_000;

fn header() -> Vec<u8> {
    let (kind, version, store) = (FileKind::Wal, 1, StoreId(1));
    let header = Header { kind, version, id: ID, store, number: FileNumber(2), created_ms: 0 };
    header.encode().to_vec()
}

/// Counts the bytes that are read.
#[derive(Debug)]
struct Counted {
    file: Arc<dyn File>,
    bytes: AtomicU64,
}

impl File for Counted {
    fn path(&self) -> &Path {
        self.file.path()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        let read = self.file.read_at(buffer, offset)?;
        self.bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }

    fn write_at(&self, _bytes: &[u8], _offset: u64) -> Result<()> {
        unreachable!("a log that is inspected")
    }

    fn allocate(&self, _size: u64, _fill: Fill) -> Result<()> {
        unreachable!("a log that is inspected")
    }

    fn sync(&self) -> Result<()> {
        unreachable!("a log that is inspected")
    }

    fn size(&self) -> Result<u64> {
        self.file.size()
    }
}

/// Reads a log, and no more of it than a few times its size.
fn read(bytes: &[u8], what: &str) -> Result<LogTotals> {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("000002.wal");
    std::fs::write(&path, bytes).expect("the log");
    let file = Counted { file: OsVfs.open(&path, Access::Read)?, bytes: AtomicU64::new(0) };
    let began = Instant::now();
    let totals = read_log(&file, &Expect::default(), &mut |_| Ok::<(), Error>(()))?;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(30), "{what}: {took:?}");
    let (size, read) = (bytes.len() as u64, file.bytes.into_inner());
    assert!(read < 20 * size + (1 << 20), "{what}: {read} bytes were read of {size}");
    Ok(totals)
}

/// The header of a frame that claims a payload of this size.
fn claim(id: FileId, at: u64, size: u32) -> [u8; frame::FRAME_HEADER_SIZE] {
    let mut claim = frame::encode_header(id, at, Kind::Batch, 0, &[b""]);
    claim[4..8].copy_from_slice(&size.to_le_bytes());
    let crc = crc32(&[&claim[..20]]) ^ mix(id, at);
    claim[20..].copy_from_slice(&crc.to_le_bytes());
    claim
}

fn batch(seqno: u64) -> Vec<u8> {
    let mut batch = WriteBatch::new();
    batch.put("k", "v");
    [&BatchPayload::encode_first(SeqNo(seqno))[..], batch.as_bytes()].concat()
}

/// Noise, the beginning of a frame over and over, a good and a bad frame in turn, frames of another
/// file that claim all the rest: each is read in a time that grows with the file and not with its
/// square.
#[test]
fn no_log_takes_long() -> Result<()> {
    let mut noise = header();
    let mut state = 1u64;
    while noise.len() < SIZE {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        noise.extend_from_slice(&state.to_be_bytes());
    }
    read(&noise, "noise")?;

    let mut magics = header();
    while magics.len() < SIZE {
        magics.extend_from_slice(&[0xbe, 0xac, 1, 0]);
    }
    read(&magics, "magics")?;

    let mut turns = header();
    let mut seqno = 0;
    while turns.len() < SIZE {
        seqno += 1;
        let at = turns.len();
        frame::encode(&mut turns, ID, at as u64, Kind::Batch, 0, &[&batch(seqno)]);
        if seqno % 2 == 0 {
            turns[at + 40] ^= 0x11;
        }
    }
    let totals = read(&turns, "turns")?;
    assert!(totals.torn + totals.damaged > 100_000, "{totals:?}");
    assert_eq!(totals.batches, seqno.div_ceil(2));

    // The header fits for another id, the payload goes up to the end of the file and is not whole.
    let mut claims = header();
    let other = FileId(ID.0 ^ 0xffff);
    let mut count = 0;
    while count < CLAIMS {
        count += 1;
        let at = claims.len() as u64;
        frame::encode(&mut claims, ID, at, Kind::Batch, 0, &[&batch(count)]);
        let at = claims.len();
        claims.extend_from_slice(&claim(other, at as u64, (SIZE - at) as u32));
    }
    claims.resize(SIZE + 64, 7);
    let totals = read(&claims, "claims")?;
    assert_eq!(totals.batches, CLAIMS);
    Ok(())
}

/// A header that claims a payload of a gigabyte in a file of a few bytes.
#[test]
fn a_claimed_size_allocates_nothing() -> Result<()> {
    for id in [ID, FileId(5)] {
        let mut claims = header();
        let at = claims.len() as u64;
        claims.extend_from_slice(&claim(id, at, frame::PAYLOAD_SIZE_MAX as u32));
        let totals = read(&claims, "a claim")?;
        assert_eq!((totals.frames, totals.torn), (0, 1));
    }
    Ok(())
}
