//! The index of a table in memory: which data block may hold a key.

use std::ops::Range;

use crate::format::block::{Block, Place};
use crate::format::key::{InternalKey, Trailer};
use crate::format::table::Handle;
use crate::probe::mutant;

/// The index block, its handles decoded and checked, and eight bytes of each key side by side.
///
/// A search compares those eight bytes first, eight keys to a cache line, and looks at whole keys
/// only where they tie.
#[derive(Debug)]
pub struct Index {
    block: Block,
    /// The first eight bytes of each suffix, big-endian, shorter ones filled with zeros: they never
    /// order two keys the wrong way round, but may find them equal.
    heads: Heads,
    /// Where each data block begins, and where the last ends.
    offsets: Vec<u64>,
}

/// The index block, once it is certain that its keys ascend and its data blocks fill the file from its
/// beginning to `data_end`, one behind the other; and where each of them begins, and the last ends.
///
/// # Errors
/// What is wrong.
pub fn verified_index(content: Vec<u8>, data_end: u64) -> Result<(Block, Vec<u64>), String> {
    let block = Block::new(content)?;
    block.verify_order()?;
    let mut offsets = Vec::with_capacity(block.count() + 1);
    let mut next = 0;
    for position in 0..block.count() {
        let handle = Handle::decode(block.value(position))
            .ok_or_else(|| format!("entry {position} is not a block's place"))?;
        handle.check_size().map_err(|reason| format!("entry {position}: {reason}"))?;
        if handle.offset != next {
            let offset = handle.offset;
            return Err(format!("entry {position} begins at {offset:#x}, expected {next:#x}"));
        }
        offsets.push(next);
        next = handle.end().unwrap_or(u64::MAX);
    }
    if next != data_end {
        return Err(format!("data blocks end at {next:#x}, expected {data_end:#x}"));
    }
    offsets.push(next);
    Ok((block, offsets))
}

impl Index {
    /// Takes over the content of an index block.
    ///
    /// # Errors
    /// What is wrong: the structure, keys that do not ascend, or data blocks that do not fill the
    /// file from its beginning to `data_end`, one behind the other.
    pub fn new(content: Vec<u8>, data_end: u64) -> Result<Index, String> {
        let (block, offsets) = verified_index(content, data_end)?;
        let heads = (0..block.count()).map(|position| head(block.suffix(position))).collect();
        Ok(Index { block, heads: Heads::new(heads), offsets })
    }

    /// Number of data blocks.
    #[must_use]
    pub fn count(&self) -> usize {
        self.block.count()
    }

    /// Position of the first data block whose last key is not less than the one given; the count
    /// if none. Only this block can hold the key.
    #[must_use]
    pub fn find(&self, user: &[u8], trailer: Trailer) -> usize {
        match self.block.place(user) {
            Place::Before => 0,
            Place::Behind => self.count(),
            Place::Within(suffix) => {
                let ties = self.ties(head(suffix));
                let found = self.block.search(ties, suffix, trailer);
                // Rule 15: the block found is the one that can hold the key.
                let last = mutant("last_key_of_a_block_not_found");
                if last && self.block.key_is(found, user) { found + 1 } else { found }
            }
        }
    }

    /// Where the data block at `position` lies.
    #[must_use]
    pub fn handle(&self, position: usize) -> Handle {
        let (start, end) = (self.offsets[position], self.offsets[position + 1]);
        Handle { offset: start, size: (end - start) as u32 }
    }

    /// Checks that the last key of the last data block is `largest`.
    ///
    /// # Errors
    /// That it is not.
    pub fn check_last(&self, largest: &InternalKey) -> Result<(), String> {
        let last = self.count() - 1;
        if self.block.compare(last, &largest.user, largest.trailer).is_eq() {
            return Ok(());
        }
        Err(format!("its last key is not {largest}"))
    }

    /// The index block: its key at a position is the last of the data block there.
    #[must_use]
    pub fn block(&self) -> &Block {
        &self.block
    }

    /// Bytes it takes in memory.
    #[must_use]
    pub fn size(&self) -> u64 {
        (self.block.size() + self.heads.size() + self.offsets.len() * 8) as u64
    }

    fn ties(&self, head: u64) -> Range<usize> {
        let start = self.heads.lower_bound(head);
        let ties = self.heads.all()[start..].iter().take_while(|&&other| other == head).count();
        start..start + ties
    }
}

/// How many heads are compared at each step down: two cache lines, loaded at once.
const FANOUT: usize = 16;

/// Ascending heads, and above them levels of every sixteenth, up to one that is looked through
/// whole: a search takes few steps, and none that the processor has to guess.
#[derive(Debug)]
struct Heads {
    /// The heads themselves first.
    levels: Vec<Vec<u64>>,
}

impl Heads {
    fn new(heads: Vec<u64>) -> Heads {
        let mut levels = vec![heads];
        while let Some(below) = levels.last().filter(|level| level.len() > FANOUT) {
            // The last of each group, for a group is passed over if all of it is smaller.
            let above = below.chunks_exact(FANOUT).map(|group| group[FANOUT - 1]).collect();
            levels.push(above);
        }
        Heads { levels }
    }

    fn all(&self) -> &[u64] {
        &self.levels[0]
    }

    /// Position of the first that is not less than `head`.
    #[inline]
    fn lower_bound(&self, head: u64) -> usize {
        let mut position = 0;
        for level in self.levels.iter().rev() {
            let start = position * FANOUT;
            let rest = level.get(start..).unwrap_or_default();
            position = start
                + match rest.first_chunk::<FANOUT>() {
                    Some(group) => group.iter().map(|&other| usize::from(other < head)).sum(),
                    None => rest.iter().take_while(|&&other| other < head).count(),
                };
        }
        position
    }

    fn size(&self) -> usize {
        self.levels.iter().map(|level| level.len() * 8).sum()
    }
}

fn head(suffix: &[u8]) -> u64 {
    match suffix.first_chunk() {
        Some(bytes) => u64::from_be_bytes(*bytes),
        None => {
            let mut bytes = [0; 8];
            bytes[..suffix.len()].copy_from_slice(suffix);
            u64::from_be_bytes(bytes)
        }
    }
}
