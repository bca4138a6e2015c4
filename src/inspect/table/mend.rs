//! One flipped bit of a sealed block, found from its checksum and turned back.

use crate::format::block::{self, Kind, TRAILER_SIZE};
use crate::format::coding::{self, FlippedBit, crc32, mix};
use crate::types::FileId;

/// A block of a part, opened as far as it goes.
#[derive(Debug)]
pub(super) enum Opened {
    /// Its content, intact.
    Sound(Vec<u8>),
    /// Its content once one bit is turned back: what was wrong, and the byte of the block and its bit.
    Mended(Vec<u8>, String, (usize, u8)),
    /// What is wrong.
    Damaged(String),
}

/// The byte of a sealed block, and its bit, whose flip explains its checksum.
///
/// Of a long block a wrong answer has a chance of eight times its bytes in 2³²; the caller looks
/// whether what it makes of the block can be read.
pub(super) fn flipped_bit(sealed: &[u8], id: FileId, offset: u64) -> Option<(usize, u8)> {
    let (checked, stored) = sealed.split_last_chunk()?;
    let computed = crc32(&[checked]) ^ mix(id, offset);
    let found = coding::find_flipped_bit(u32::from_le_bytes(*stored), computed, checked.len())?;
    Some(match found {
        FlippedBit::Data { byte, bit } => (byte, bit),
        FlippedBit::Checksum { bit } => (checked.len() + usize::from(bit / 8), bit % 8),
    })
}

/// Opens a sealed block; one that fails is tried with the one bit turned back that explains it.
/// `accept` says whether the content can be read.
pub(super) fn open(
    kind: Kind,
    sealed: Vec<u8>,
    (id, offset): (FileId, u64),
    accept: &dyn Fn(&[u8]) -> Result<(), String>,
) -> Opened {
    let mut mended = None;
    if block::check(&sealed, id, offset).is_err()
        && sealed.len() > TRAILER_SIZE
        && let Some((byte, bit)) = flipped_bit(&sealed, id, offset)
    {
        let mut bytes = sealed.clone();
        if let Some(wrong) = bytes.get_mut(byte) {
            *wrong ^= 1 << bit;
        }
        let content = block::unseal(kind, bytes, id, offset);
        let content = content.ok().filter(|content| accept(content).is_ok());
        mended = content.map(|content| (content, (byte, bit)));
    }
    let what = match block::unseal(kind, sealed, id, offset) {
        Ok(content) => match accept(&content) {
            Ok(()) => return Opened::Sound(content),
            Err(reason) => format!("{kind} block: {reason}"),
        },
        Err(what) => what,
    };
    match mended {
        Some((content, bit)) => Opened::Mended(content, what, bit),
        None => Opened::Damaged(what),
    }
}

/// `one flipped bit explains it: bit 3 at 0x1271`.
pub(super) fn explain(offset: u64, bit: u8) -> String {
    format!("one flipped bit explains it: bit {bit} at {offset:#x}")
}
