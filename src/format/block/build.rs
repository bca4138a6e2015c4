//! Puts the content of a data or index block together.

use super::{CONTENT_SIZE_MAX, FLAG_WIDE, HEADER_SIZE};
use crate::format::key::{KEY_SIZE_MAX, Trailer};

/// Collects ascending entries and writes them as the content of one block.
#[derive(Debug, Default)]
pub struct Builder {
    keys: Vec<u8>,
    key_ends: Vec<usize>,
    trailers: Vec<u8>,
    values: Vec<u8>,
    value_ends: Vec<usize>,
    /// How many bytes all keys so far have in common.
    prefix_size: usize,
}

impl Builder {
    /// A builder without entries.
    #[must_use]
    pub fn new() -> Builder {
        Builder::default()
    }

    /// Whether it has no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.key_ends.is_empty()
    }

    /// Bytes the content would have now.
    #[must_use]
    pub fn size(&self) -> u64 {
        content_size(
            self.key_ends.len(),
            self.prefix_size,
            self.keys.len() as u64,
            self.values.len() as u64,
        )
    }

    /// Bytes the content would have with one more entry.
    #[must_use]
    pub fn size_with(&self, user: &[u8], value_size: usize) -> u64 {
        self.size_after(self.prefix_size_with(user), user.len(), value_size)
    }

    /// Bytes the content would have with one more entry of these sizes, if that left the prefix so
    /// long.
    fn size_after(&self, prefix_size: usize, key_size: usize, value_size: usize) -> u64 {
        content_size(
            self.key_ends.len() + 1,
            prefix_size,
            (self.keys.len() + key_size) as u64,
            (self.values.len() + value_size) as u64,
        )
    }

    /// Appends an entry. The caller answers for the order.
    pub fn add(&mut self, user: &[u8], trailer: Trailer, value: &[u8]) {
        assert!(self.add_within(u64::MAX, user, trailer, value), "every entry fits");
    }

    /// Appends an entry, as [`Builder::add`] does, if that leaves the content at `size_max` bytes or
    /// less; the first entry always fits. Returns whether it did.
    #[inline]
    pub fn add_within(
        &mut self,
        size_max: u64,
        user: &[u8],
        trailer: Trailer,
        value: &[u8],
    ) -> bool {
        assert!(!user.is_empty() && user.len() <= KEY_SIZE_MAX, "user key of {}", user.len());
        let prefix_size = self.prefix_size_with(user);
        let size = self.size_after(prefix_size, user.len(), value.len());
        if size > size_max && !self.is_empty() {
            return false;
        }
        self.prefix_size = prefix_size;
        self.keys.extend_from_slice(user);
        self.key_ends.push(self.keys.len());
        self.trailers.extend_from_slice(&trailer.0.to_le_bytes());
        self.values.extend_from_slice(value);
        self.value_ends.push(self.values.len());
        true
    }

    /// Appends the content to `out` and begins anew.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        assert!(!self.is_empty(), "a block has at least one entry");
        let size = self.size();
        assert!(size <= u64::from(CONTENT_SIZE_MAX), "block of {size} bytes");
        let count = self.key_ends.len();
        let wide = is_wide(self.keys.len() as u64 - self.prefix_bytes(), self.values.len() as u64);
        let start = out.len();
        out.reserve(size as usize);
        out.extend_from_slice(&(count as u32).to_le_bytes());
        out.extend_from_slice(&[if wide { FLAG_WIDE } else { 0 }, 0]);
        out.extend_from_slice(&(self.prefix_size as u16).to_le_bytes());
        out.extend_from_slice(&self.keys[..self.prefix_size]);
        out.extend_from_slice(&self.trailers);
        for (index, end) in self.key_ends.iter().enumerate() {
            put_end(out, wide, end - (index + 1) * self.prefix_size);
        }
        for &end in &self.value_ends {
            put_end(out, wide, end);
        }
        let mut key_start = 0;
        for &end in &self.key_ends {
            out.extend_from_slice(&self.keys[key_start + self.prefix_size..end]);
            key_start = end;
        }
        out.extend_from_slice(&self.values);
        debug_assert_eq!((out.len() - start) as u64, size);
        self.clear();
    }

    fn clear(&mut self) {
        self.keys.clear();
        self.key_ends.clear();
        self.trailers.clear();
        self.values.clear();
        self.value_ends.clear();
        self.prefix_size = 0;
    }

    /// How many bytes of the first key all keys and `user` begin with.
    fn prefix_size_with(&self, user: &[u8]) -> usize {
        if self.is_empty() {
            return user.len();
        }
        let prefix = &self.keys[..self.prefix_size];
        if user.starts_with(prefix) {
            return prefix.len();
        }
        prefix.iter().zip(user).take_while(|(a, b)| a == b).count()
    }

    /// Bytes of keys that the common prefix saves, counted once for each key.
    fn prefix_bytes(&self) -> u64 {
        (self.prefix_size * self.key_ends.len()) as u64
    }
}

fn put_end(out: &mut Vec<u8>, wide: bool, end: usize) {
    if wide {
        out.extend_from_slice(&(end as u32).to_le_bytes());
    } else {
        out.extend_from_slice(&(end as u16).to_le_bytes());
    }
}

fn is_wide(suffix_bytes: u64, value_bytes: u64) -> bool {
    suffix_bytes.max(value_bytes) > u64::from(u16::MAX)
}

fn content_size(count: usize, prefix_size: usize, key_bytes: u64, value_bytes: u64) -> u64 {
    let (count, prefix_size) = (count as u64, prefix_size as u64);
    let suffix_bytes = key_bytes - count * prefix_size;
    let end_size = if is_wide(suffix_bytes, value_bytes) { 4 } else { 2 };
    HEADER_SIZE as u64 + prefix_size + count * (8 + 2 * end_size) + suffix_bytes + value_bytes
}
