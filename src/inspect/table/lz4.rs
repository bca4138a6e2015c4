//! What the bytes of an LZ4 block are: tokens, lengths, literals, and places to copy from.

use std::ops::Range;

/// What the byte `at` is, and which bytes of the content come from it.
///
/// None where the bytes are no LZ4 block, or end before it.
pub(super) fn element(stored: &[u8], at: usize) -> Option<(&'static str, Range<u64>)> {
    let (mut next, mut made) = (0, 0u64);
    loop {
        let start = next;
        let token = *stored.get(next)?;
        next += 1;
        let literals = length(stored, &mut next, token >> 4)?;
        let literals_at = next;
        next = next.checked_add(literals as usize).filter(|end| *end <= stored.len())?;
        let offset_at = next;
        let is_last = next == stored.len();
        let copied = if is_last {
            0
        } else {
            next += 2;
            length(stored, &mut next, token & 15)? + 4
        };
        let (copy_from, end) = (made + literals, made + literals + copied);
        if at < next {
            return Some(match at {
                _ if at == start => ("token", made..end),
                _ if at < literals_at => ("length of literals", made..copy_from),
                _ if at < offset_at => {
                    let from = made + (at - literals_at) as u64;
                    ("literal", from..from + 1)
                }
                _ if at < offset_at + 2 => ("distance of a match", copy_from..end),
                _ => ("length of a match", copy_from..end),
            });
        }
        made = end;
        if is_last {
            return None;
        }
    }
}

/// A length of which the token has four bits; 15 means that bytes with more follow.
fn length(stored: &[u8], next: &mut usize, nibble: u8) -> Option<u64> {
    let mut length = u64::from(nibble);
    if nibble == 15 {
        loop {
            let more = *stored.get(*next)?;
            *next += 1;
            length += u64::from(more);
            if more != 255 {
                break;
            }
        }
    }
    Some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A block that lz4_flex made: every byte is something, literals are what they say, and together
    /// they make the whole content.
    #[test]
    fn every_byte_of_a_block_is_something() {
        let content: Vec<u8> =
            (0..2000u32).map(|n| if n % 700 < 350 { b'a' } else { (n * n / 7) as u8 }).collect();
        let stored = lz4_flex::block::compress(&content);
        let mut covered = vec![false; content.len()];
        for (at, byte) in stored.iter().enumerate() {
            let (what, range) = element(&stored, at).expect("something");
            if what == "literal" {
                assert_eq!(content[range.start as usize], *byte);
            }
            for at in range {
                covered[at as usize] = true;
            }
        }
        assert!(covered.iter().all(|covered| *covered));
        assert_eq!(element(&stored, stored.len()), None);
        assert_eq!(element(&[0xf0, 255], 1), None);
    }
}
