//! Mutations of examples, in an order that follows from the target's name.

use std::hash::{DefaultHasher, Hash, Hasher};

/// What a length or an offset is replaced by.
const NUMBERS: [u64; 12] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0xffff_ffff_ffff_fff0,
    u64::MAX,
];

/// Bytes that a mutation may have.
const SIZE_MAX: usize = 1 << 16;

pub(super) struct Mutator<'e> {
    examples: &'e [Vec<u8>],
    state: u64,
}

impl<'e> Mutator<'e> {
    pub(super) fn new(target: &str, examples: &'e [Vec<u8>]) -> Mutator<'e> {
        let mut hasher = DefaultHasher::new();
        target.hash(&mut hasher);
        Mutator { examples, state: hasher.finish() | 1 }
    }

    fn below(&mut self, limit: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 16) as usize % limit.max(1)
    }

    fn example(&mut self) -> &'e [u8] {
        let index = self.below(self.examples.len());
        &self.examples[index]
    }

    /// An example with one to four mutations.
    pub(super) fn next(&mut self) -> Vec<u8> {
        let mut bytes = self.example().to_vec();
        for _ in 0..=self.below(4) {
            self.mutate(&mut bytes);
        }
        bytes.truncate(SIZE_MAX);
        bytes
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len() + 1);
        let rest = &mut bytes[at..];
        match self.below(8) {
            0 => rest.iter_mut().take(1).for_each(|byte| *byte ^= 1 << self.below(8)),
            1 => rest.iter_mut().take(1).for_each(|byte| *byte = self.below(256) as u8),
            2 => {
                let number = NUMBERS[self.below(NUMBERS.len())].to_le_bytes();
                let width = 1 << self.below(4);
                rest.iter_mut().zip(&number[..width]).for_each(|(byte, new)| *byte = *new);
            }
            3 => bytes.truncate(at),
            4 => {
                let size = self.below(16);
                rest.iter_mut().take(size).for_each(|byte| *byte = 0xff);
            }
            5 => {
                let other = self.example();
                let from = self.below(other.len() + 1);
                let size = self.below(256);
                let piece = other[from..].iter().take(size).copied();
                bytes.splice(at..at, piece);
            }
            6 => {
                let size = self.below(64).min(rest.len());
                bytes.drain(at..at + size);
            }
            _ => {
                let other = self.example();
                bytes.truncate(at);
                bytes.extend_from_slice(other.get(at..).unwrap_or_default());
            }
        }
    }
}
