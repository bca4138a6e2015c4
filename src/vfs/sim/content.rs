//! The bytes of a simulated file, in pages that copies share until one is written.

use std::sync::{Arc, OnceLock};

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

const PAGE_SIZE: usize = 4096;

/// A file's size and bytes.
///
/// Cheap to clone: a pointer for each page. Invariant: bytes at and past `size` are zero.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    size: u64,
    /// From the file's beginning; a page that is absent or past the end of this reads as zeros.
    pages: Vec<Option<Arc<Page>>>,
}

#[derive(Clone, Debug)]
struct Page {
    bytes: [u8; PAGE_SIZE],
    /// Computed once for all the images that share the page.
    hash: OnceLock<u64>,
}

impl Content {
    pub(super) fn from_bytes(bytes: &[u8]) -> Content {
        let mut content = Content::default();
        content.write_at(bytes, 0);
        content
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.size as usize];
        self.read_at(&mut bytes, 0);
        bytes
    }

    /// Reads until the buffer is full or the file ends; returns the bytes read.
    pub(super) fn read_at(&self, buffer: &mut [u8], offset: u64) -> usize {
        let size = self.size.saturating_sub(offset).min(buffer.len() as u64) as usize;
        let mut done = 0;
        while done < size {
            let (index, start, length) = piece(offset + done as u64, size - done);
            let into = &mut buffer[done..done + length];
            match self.pages.get(index) {
                Some(Some(page)) => into.copy_from_slice(&page.bytes[start..start + length]),
                _ => into.fill(0),
            }
            done += length;
        }
        size
    }

    /// Writes, extending the file if need be.
    pub(super) fn write_at(&mut self, bytes: &[u8], offset: u64) {
        let mut done = 0;
        while done < bytes.len() {
            let (index, start, length) = piece(offset + done as u64, bytes.len() - done);
            let page = self.page_mut(index);
            page[start..start + length].copy_from_slice(&bytes[done..done + length]);
            done += length;
        }
        if !bytes.is_empty() {
            self.size = self.size.max(offset + bytes.len() as u64);
        }
    }

    /// Cuts the file or extends it with zeros.
    pub(super) fn set_size(&mut self, size: u64) {
        if size < self.size {
            let (index, start, _) = piece(size, 1);
            if start > 0 && self.pages.get(index).is_some_and(Option::is_some) {
                self.page_mut(index)[start..].fill(0);
            }
            self.pages.truncate(size.div_ceil(PAGE_SIZE as u64) as usize);
        }
        self.size = size;
    }

    /// A hash of size and bytes: equal for equal files, however they came about.
    pub(super) fn hash(&self) -> u64 {
        let mut hash = mix(0, self.size);
        for (index, page) in self.pages.iter().enumerate() {
            let page = page.as_ref().map_or(0, |page| page.hash());
            // A page of zeros counts as one that was never written, which it equals.
            if page != 0 {
                hash = mix(mix(hash, index as u64), page);
            }
        }
        hash
    }

    fn page_mut(&mut self, index: usize) -> &mut [u8; PAGE_SIZE] {
        if self.pages.len() <= index {
            self.pages.resize(index + 1, None);
        }
        let page = self.pages[index]
            .get_or_insert_with(|| Arc::new(Page { bytes: [0; PAGE_SIZE], hash: OnceLock::new() }));
        let page = Arc::make_mut(page);
        page.hash = OnceLock::new();
        &mut page.bytes
    }
}

impl Page {
    /// A hash of the bytes; 0 if and only if all are zero.
    fn hash(&self) -> u64 {
        *self.hash.get_or_init(|| match self.bytes.iter().all(|&byte| byte == 0) {
            true => 0,
            false => xxh3_64(&self.bytes).max(1),
        })
    }
}

/// Adds a number to a running hash.
pub(super) fn mix(hash: u64, number: u64) -> u64 {
    xxh3_64_with_seed(&number.to_le_bytes(), hash)
}

/// Which page holds `offset`, where in it, and how many of `size` bytes lie in that page.
fn piece(offset: u64, size: usize) -> (usize, usize, usize) {
    let start = (offset % PAGE_SIZE as u64) as usize;
    ((offset / PAGE_SIZE as u64) as usize, start, size.min(PAGE_SIZE - start))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thousand writes and cuts at places that cross pages, each done to a plain vector too:
    /// the bytes are equal after each, a clone made before is unchanged by it, and the hash is
    /// that of a file which got the same bytes in one write.
    #[test]
    fn pages_behave_like_one_vector() {
        let (mut content, mut model) = (Content::default(), Vec::new());
        for round in 0..1000_u64 {
            let (before, kept) = (content.clone(), model.clone());
            let random = mix(1, round);
            let offset = random % 20_000;
            let bytes = vec![round as u8; (random >> 32) as usize % 9000];
            if round % 7 == 0 {
                content.set_size(offset);
                model.resize(offset as usize, 0);
            } else if !bytes.is_empty() {
                let end = offset as usize + bytes.len();
                model.resize(model.len().max(end), 0);
                model[offset as usize..end].copy_from_slice(&bytes);
                content.write_at(&bytes, offset);
            }
            assert_eq!(content.to_vec(), model);
            assert_eq!(content.hash(), Content::from_bytes(&model).hash());
            assert_eq!(before.to_vec(), kept);
        }
    }

    /// Zeros that were written and zeros that were not are the same file; one more is another.
    #[test]
    fn a_hash_depends_on_the_bytes_alone() {
        let mut hole = Content::default();
        hole.set_size(10_000);
        assert_eq!(hole.hash(), Content::from_bytes(&[0; 10_000]).hash());
        assert_ne!(hole.hash(), Content::from_bytes(&[0; 10_001]).hash());
        let mut bytes = [0; 10_000];
        bytes[9_999] = 1;
        assert_ne!(hole.hash(), Content::from_bytes(&bytes).hash());
    }
}
