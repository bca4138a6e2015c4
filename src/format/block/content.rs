//! The content of a data or index block, read in place.

use std::cmp::Ordering;
use std::ops::Range;

use super::{CONTENT_SIZE_MAX, FLAG_WIDE, HEADER_SIZE};
use crate::format::coding::Cursor;
use crate::format::key::{KEY_SIZE_MAX, Trailer};

/// The entries of a data or index block, addressed by position and searched without decoding.
#[derive(Debug)]
pub struct Block {
    // Small, so that a block in a cache costs one cache line beside its content.
    content: Box<[u8]>,
    count: u32,
    /// Where the suffixes and the values begin; the regions before them follow from the count.
    suffixes: u32,
    values: u32,
    prefix_size: u16,
    wide: bool,
}

impl Block {
    /// Takes over the content of a block, once its structure has been checked.
    ///
    /// # Errors
    /// What is wrong with it: a region that does not fit, ends that descend, bytes left over.
    pub fn new(content: Vec<u8>) -> Result<Block, String> {
        let mut header = Cursor::new(&content);
        let fields = (|| Some((header.u32()?, header.u8()?, header.u8()?, header.u16()?)))();
        let Some((count, flags, reserved, prefix_size)) = fields else {
            return Err(format!("{} bytes of content, less than its header", content.len()));
        };
        if content.len() > CONTENT_SIZE_MAX as usize {
            return Err(format!("{} bytes of content, limit is {CONTENT_SIZE_MAX}", content.len()));
        }
        if count == 0 {
            return Err("no entries".to_owned());
        }
        if flags & !FLAG_WIDE != 0 || reserved != 0 {
            return Err(format!("unknown flags {flags:#04x} {reserved:#04x}"));
        }
        let wide = flags & FLAG_WIDE != 0;
        let end_size = if wide { 4 } else { 2 };
        let fixed = HEADER_SIZE as u64
            + u64::from(prefix_size)
            + u64::from(count) * (8 + 2 * end_size as u64);
        if fixed > content.len() as u64 {
            return Err(format!("{count} entries do not fit into {} bytes", content.len()));
        }
        // It fits into the content, whose size is limited, so no sum below overflows.
        let suffixes = fixed as u32;
        let content = content.into_boxed_slice();
        let mut block = Block { content, count, suffixes, values: suffixes, prefix_size, wide };
        let (key_ends, value_ends) = (block.key_ends(), block.value_ends());
        let keys_size = block.check_ends("key", key_ends, suffixes as usize, 1, KEY_SIZE_MAX)?;
        block.values += keys_size as u32;
        let values = block.values as usize;
        let values_size =
            block.check_ends("value", value_ends, values, 0, CONTENT_SIZE_MAX as usize)?;
        match block.content.len() - values - values_size {
            0 => Ok(block),
            extra => Err(format!("{extra} bytes behind the last value")),
        }
    }

    /// Checks that the ends in the region at `ends` ascend, that what lies between them has an
    /// allowed size, and that the last leaves the region at `data` within the content; returns it.
    fn check_ends(
        &self,
        what: &str,
        ends: usize,
        data: usize,
        size_min: usize,
        size_max: usize,
    ) -> Result<usize, String> {
        let prefix_size = if size_min == 0 { 0 } else { usize::from(self.prefix_size) };
        let mut previous = 0;
        for index in 0..self.count() {
            let end = self.end(ends, index);
            if end < previous {
                return Err(format!("{what} {index} ends at {end}, before it begins ({previous})"));
            }
            let size = prefix_size + end - previous;
            if size < size_min || size > size_max {
                return Err(format!("{what} {index} has {size} bytes"));
            }
            previous = end;
        }
        if previous > self.content.len() - data {
            return Err(format!("the last {what} ends {previous} bytes behind {data}, outside"));
        }
        Ok(previous)
    }

    /// Number of entries; at least one.
    #[must_use]
    #[inline]
    pub fn count(&self) -> usize {
        self.count as usize
    }

    /// Bytes of content.
    #[must_use]
    pub fn size(&self) -> usize {
        self.content.len()
    }

    /// The content itself.
    #[must_use]
    pub fn content(&self) -> &[u8] {
        &self.content
    }

    /// The memory the content lies in, for the next block.
    #[must_use]
    pub fn into_content(self) -> Vec<u8> {
        self.content.into_vec()
    }

    /// What all user keys of the block begin with.
    #[must_use]
    #[inline]
    pub fn prefix(&self) -> &[u8] {
        &self.content[HEADER_SIZE..self.trailers()]
    }

    /// What follows the prefix in the user key at `index`.
    #[must_use]
    #[inline]
    pub fn suffix(&self, index: usize) -> &[u8] {
        &self.content[self.range(self.key_ends(), self.suffixes as usize, index)]
    }

    /// Sequence number and kind of the entry at `index`.
    #[must_use]
    #[inline]
    pub fn trailer(&self, index: usize) -> Trailer {
        let at = self.trailers() + index * 8;
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.content[at..at + 8]);
        Trailer(u64::from_le_bytes(bytes))
    }

    /// The value at `index`.
    #[must_use]
    #[inline]
    pub fn value(&self, index: usize) -> &[u8] {
        &self.content[self.value_range(index)]
    }

    /// Where in [`Block::content`] the value at `index` lies.
    #[must_use]
    #[inline]
    pub fn value_range(&self, index: usize) -> Range<usize> {
        self.range(self.value_ends(), self.values as usize, index)
    }

    /// The user key at `index`, put together.
    #[must_use]
    pub fn user_key(&self, index: usize) -> Vec<u8> {
        [self.prefix(), self.suffix(index)].concat()
    }

    /// Whether the user key at `index` is `user`.
    #[must_use]
    pub fn key_is(&self, index: usize, user: &[u8]) -> bool {
        user.strip_prefix(self.prefix()) == Some(self.suffix(index))
    }

    /// How the key at `index` compares to the one given.
    #[must_use]
    pub fn compare(&self, index: usize, user: &[u8], trailer: Trailer) -> Ordering {
        match self.place(user) {
            Place::Before => Ordering::Greater,
            Place::Behind => Ordering::Less,
            Place::Within(suffix) => self.compare_suffix(index, suffix, trailer),
        }
    }

    /// Reads a byte of each cache line that a search may need, all at once rather than one after
    /// the other: for a block that is not in the processor's caches.
    #[inline]
    pub fn touch_keys(&self) {
        const LINE: usize = 64;
        // A large block is searched in few of its lines.
        let keys = &self.content[self.key_ends()..self.values as usize];
        let lines = keys.iter().step_by(LINE).take(16);
        std::hint::black_box(lines.fold(0, |sum: u8, byte| sum | byte));
    }

    /// Position of the first entry whose key is not less than the one given; the count if none.
    ///
    /// Means nothing where the keys do not ascend, but stays within bounds.
    #[must_use]
    pub fn lower_bound(&self, user: &[u8], trailer: Trailer) -> usize {
        match self.place(user) {
            Place::Before => 0,
            Place::Behind => self.count(),
            Place::Within(suffix) => self.search(0..self.count(), suffix, trailer),
        }
    }

    /// [`Block::lower_bound`] among `candidates`, for a key that begins with the prefix and goes
    /// on with `suffix`.
    #[must_use]
    pub fn search(&self, candidates: Range<usize>, suffix: &[u8], trailer: Trailer) -> usize {
        let Range { mut start, mut end } = candidates;
        while start < end {
            let middle = start + (end - start) / 2;
            if self.compare_suffix(middle, suffix, trailer) == Ordering::Less {
                start = middle + 1;
            } else {
                end = middle;
            }
        }
        start
    }

    /// Where a user key lies relative to all keys that begin with the prefix.
    #[must_use]
    pub fn place<'k>(&self, user: &'k [u8]) -> Place<'k> {
        let prefix = self.prefix();
        let common = prefix.len().min(user.len());
        match user[..common].cmp(&prefix[..common]) {
            Ordering::Less => Place::Before,
            Ordering::Greater => Place::Behind,
            // A key that is shorter than the prefix sorts before all that continue it.
            Ordering::Equal if user.len() < prefix.len() => Place::Before,
            Ordering::Equal => Place::Within(&user[common..]),
        }
    }

    /// Checks that each key is greater than the one before it.
    ///
    /// # Errors
    /// Which entry is not.
    pub fn verify_order(&self) -> Result<(), String> {
        for index in 1..self.count() {
            let ordering = self.compare_suffix(index - 1, self.suffix(index), self.trailer(index));
            if ordering != Ordering::Less {
                return Err(format!("the key of entry {index} does not follow the one before it"));
            }
        }
        Ok(())
    }

    /// Where the regions behind the prefix begin.
    #[inline]
    fn trailers(&self) -> usize {
        HEADER_SIZE + usize::from(self.prefix_size)
    }

    #[inline]
    fn key_ends(&self) -> usize {
        self.trailers() + self.count() * 8
    }

    #[inline]
    fn value_ends(&self) -> usize {
        self.suffixes as usize - self.count() * if self.wide { 4 } else { 2 }
    }

    #[inline]
    fn compare_suffix(&self, index: usize, suffix: &[u8], trailer: Trailer) -> Ordering {
        // As `key::compare`, but the trailer, a cache line of its own, is loaded only on a tie.
        compare_bytes(self.suffix(index), suffix).then_with(|| trailer.cmp(&self.trailer(index)))
    }

    #[inline]
    fn range(&self, ends: usize, data: usize, index: usize) -> Range<usize> {
        let start = if index == 0 { 0 } else { self.end(ends, index - 1) };
        data + start..data + self.end(ends, index)
    }

    #[inline]
    fn end(&self, ends: usize, index: usize) -> usize {
        if self.wide {
            let at = ends + index * 4;
            let mut bytes = [0; 4];
            bytes.copy_from_slice(&self.content[at..at + 4]);
            u32::from_le_bytes(bytes) as usize
        } else {
            let at = ends + index * 2;
            usize::from(u16::from_le_bytes([self.content[at], self.content[at + 1]]))
        }
    }
}

/// Compares as slices do, without a call where the first eight bytes tell.
#[inline]
fn compare_bytes(a: &[u8], b: &[u8]) -> Ordering {
    if let (Some(x), Some(y)) = (a.first_chunk::<8>(), b.first_chunk::<8>()) {
        let (x, y) = (u64::from_be_bytes(*x), u64::from_be_bytes(*y));
        if x != y {
            return x.cmp(&y);
        }
    }
    a.cmp(b)
}

/// Where a user key lies relative to the prefix of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'k> {
    /// Before every key that begins with the prefix.
    Before,
    /// Behind every such key.
    Behind,
    /// It begins with the prefix; this follows.
    Within(&'k [u8]),
}
