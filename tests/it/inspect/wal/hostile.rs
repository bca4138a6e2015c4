//! Logs made to take long or to fill memory.

use std::time::{Duration, Instant};

use beachdb::Error;
use beachdb::format::frame::{self, BatchPayload, Kind};
use beachdb::format::header::{FileKind, Header};
use beachdb::inspect::frames::Expect;
use beachdb::inspect::wal::{LogTotals, read_log};
use beachdb::types::{FileId, FileNumber, SeqNo, StoreId};
use beachdb::vfs::os::OsVfs;
use beachdb::vfs::{Access, Vfs};
use beachdb::{Result, WriteBatch};

const ID: FileId = FileId(0x0123_4567_89ab_cdef);
const SIZE: usize = 16 << 20;

fn header() -> Vec<u8> {
    let (kind, version, store) = (FileKind::Wal, 1, StoreId(1));
    let header = Header { kind, version, id: ID, store, number: FileNumber(2), created_ms: 0 };
    header.encode().to_vec()
}

/// Reads a log within the time that a linear reading needs many times over.
fn read(bytes: &[u8], what: &str) -> Result<LogTotals> {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("000002.wal");
    std::fs::write(&path, bytes).expect("the log");
    let file = OsVfs.open(&path, Access::Read)?;
    let began = Instant::now();
    let totals = read_log(&*file, &Expect::default(), &mut |_| Ok::<(), Error>(()))?;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(30), "{what}: {took:?}");
    Ok(totals)
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
    while claims.len() < SIZE {
        count += 1;
        let at = claims.len();
        frame::encode(&mut claims, ID, at as u64, Kind::Batch, 0, &[&batch(count)]);
        let at = claims.len() as u64;
        let rest = vec![0; (SIZE as u64 - at).min(SIZE as u64) as usize];
        if rest.len() < 4096 {
            break;
        }
        let claim = frame::encode_header(other, at, Kind::Batch, 0, &[&rest]);
        claims.extend_from_slice(&claim);
        if count == 2000 {
            break;
        }
    }
    claims.resize(SIZE + 64, 7);
    let totals = read(&claims, "claims")?;
    assert_eq!(totals.batches, 2000);
    Ok(())
}

/// A header that claims a payload of a gigabyte in a file of a few bytes.
#[test]
fn a_claimed_size_allocates_nothing() -> Result<()> {
    for id in [ID, FileId(5)] {
        let mut claims = header();
        let at = claims.len() as u64;
        let mut claim = frame::encode_header(id, at, Kind::Batch, 0, &[b""]);
        claim[4..8].copy_from_slice(&(frame::PAYLOAD_SIZE_MAX as u32).to_le_bytes());
        let mix = beachdb::format::coding::mix(id, at);
        let crc = beachdb::format::coding::crc32(&[&claim[..20]]) ^ mix;
        claim[20..].copy_from_slice(&crc.to_le_bytes());
        claims.extend_from_slice(&claim);
        let totals = read(&claims, "a claim")?;
        assert_eq!((totals.frames, totals.torn), (0, 1));
    }
    Ok(())
}
