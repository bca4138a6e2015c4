//! Integers, sized bytes, tagged fields and checksums: what every format here is made of.
//!
//! Fixed integers are little-endian. A varint is LEB128: seven bits a byte, low bits first, at most
//! ten bytes, and only its shortest form is accepted, so that equal values have equal bytes.

use crate::probe::mutant;
use crate::types::FileId;

/// Appends a varint.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a varint length and the bytes.
pub fn put_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a tagged field: tag byte, varint length, bytes. Unknown tags can be stepped over.
pub fn put_field(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    put_sized(out, bytes);
}

/// Reads from the front of a slice; every method returns `None` rather than reach past the end.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Cursor<'a> {
    /// A cursor at the slice's first byte.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { bytes, position: 0 }
    }

    /// Bytes consumed so far.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.position == self.bytes.len()
    }

    /// The next `size` bytes.
    pub fn take(&mut self, size: usize) -> Option<&'a [u8]> {
        let end = self.position.checked_add(size)?;
        let taken = self.bytes.get(self.position..end)?;
        self.position = end;
        Some(taken)
    }

    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    /// One byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    /// Two bytes, little-endian.
    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// Four bytes, little-endian.
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// Eight bytes, little-endian.
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A varint in its shortest form.
    pub fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let low = u64::from(byte & 0x7f);
            if shift == 63 && low > 1 {
                return None;
            }
            value |= low << shift;
            if byte & 0x80 == 0 {
                return (shift == 0 || byte != 0).then_some(value);
            }
        }
        None
    }

    /// A varint length of at most `size_max` and that many bytes.
    pub fn sized(&mut self, size_max: usize) -> Option<&'a [u8]> {
        let size = usize::try_from(self.varint()?).ok()?;
        if size > size_max {
            return None;
        }
        self.take(size)
    }

    /// A tagged field, as [`put_field`] writes it.
    pub fn field(&mut self) -> Option<(u8, &'a [u8])> {
        let tag = self.u8()?;
        Some((tag, self.sized(usize::MAX)?))
    }
}

/// What a checksum at `offset` of the file `id` is XORed with.
///
/// Within one file no two offsets below 4 GiB share a mix, so intact bytes in the wrong place fail
/// their checksum; and because XOR undoes itself, a block copied verbatim to another place or file
/// is re-mixed, not recomputed.
#[must_use]
pub fn mix(id: FileId, offset: u64) -> u32 {
    // Rule 5: stale and misplaced frames are none.
    if mutant("no_mix") { 0 } else { fold(id.0) ^ fold(offset) }
}

fn fold(value: u64) -> u32 {
    value as u32 ^ (value >> 32) as u32
}

/// CRC-32 (IEEE, as in zlib) of the parts one after the other.
#[must_use]
pub fn crc32(parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize()
}

/// The one bit whose flip explains a failed checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlippedBit {
    /// Bit `bit` (0 is the lowest) of byte `byte` of the checksummed bytes.
    Data {
        /// Index of the byte.
        byte: usize,
        /// Number of the bit within it.
        bit: u8,
    },
    /// A bit of the stored checksum itself.
    Checksum {
        /// Number of the bit, 0 the lowest.
        bit: u8,
    },
}

/// Finds the single flipped bit that explains why `size` bytes have `computed` instead of `stored`
/// as their checksum (both with or both without the mix), or none.
///
/// CRC is linear: flipping one bit changes it by a constant that depends only on how many bits
/// follow, so one pass over the positions computes the answer; no bit is tried. For random damage
/// a false answer has a chance of `8 × size` in 2³².
#[must_use]
pub fn find_flipped_bit(stored: u32, computed: u32, size: usize) -> Option<FlippedBit> {
    let syndrome = stored ^ computed;
    if syndrome.count_ones() == 1 {
        return Some(FlippedBit::Checksum { bit: syndrome.trailing_zeros() as u8 });
    }
    // What a flip of the last byte's highest bit does to the CRC; each bit before it does the same
    // advanced by one step of the shift register.
    let mut change = 0xedb8_8320u32;
    for back in 0..size {
        for bit in (0..8).rev() {
            if change == syndrome {
                return Some(FlippedBit::Data { byte: size - 1 - back, bit });
            }
            change = change >> 1 ^ if change & 1 == 1 { 0xedb8_8320 } else { 0 };
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every varint of every length comes back, and a longer form of the same value does not.
    #[test]
    fn varints_round_trip_in_their_shortest_form_only() {
        for shift in 0..64 {
            for value in [1u64 << shift, (1 << shift) - 1, u64::MAX >> shift] {
                let mut out = Vec::new();
                put_varint(&mut out, value);
                let mut cursor = Cursor::new(&out);
                assert_eq!(cursor.varint(), Some(value));
                assert!(cursor.is_empty());
                for cut in 0..out.len() {
                    assert_eq!(Cursor::new(&out[..cut]).varint(), None);
                }
            }
        }
        assert_eq!(Cursor::new(&[0x81, 0x00]).varint(), None);
        assert_eq!(Cursor::new(&[0xff; 10]).varint(), None);
    }

    /// Flips every bit of some bytes and of their checksum, and asks which it was.
    #[test]
    fn every_flipped_bit_is_found() {
        let bytes: Vec<u8> = (0..67u8).map(|i| i.wrapping_mul(31)).collect();
        let stored = crc32(&[&bytes]);
        for byte in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[byte] ^= 1 << bit;
                let found = find_flipped_bit(stored, crc32(&[&flipped]), bytes.len());
                assert_eq!(found, Some(FlippedBit::Data { byte, bit }));
            }
        }
        for bit in 0..32 {
            let found = find_flipped_bit(stored ^ 1 << bit, stored, bytes.len());
            assert_eq!(found, Some(FlippedBit::Checksum { bit: bit as u8 }));
        }
        let mut torn = bytes.clone();
        torn[40..].fill(0);
        assert_eq!(find_flipped_bit(stored, crc32(&[&torn]), bytes.len()), None);
    }
}
