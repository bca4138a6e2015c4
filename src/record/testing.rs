//! A file in memory, as little of one as these tests need.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::vfs::{File, Fill};

#[derive(Debug, Default)]
pub(super) struct MemoryFile {
    bytes: Mutex<Vec<u8>>,
    writes: AtomicUsize,
    largest_read: AtomicUsize,
    failing: AtomicBool,
}

impl MemoryFile {
    pub(super) fn new(bytes: Vec<u8>) -> MemoryFile {
        MemoryFile { bytes: Mutex::new(bytes), ..MemoryFile::default() }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.bytes.lock().clone()
    }

    pub(super) fn writes(&self) -> usize {
        self.writes.load(Ordering::Relaxed)
    }

    pub(super) fn largest_read(&self) -> usize {
        self.largest_read.load(Ordering::Relaxed)
    }

    /// From now on every call fails, or none does.
    pub(super) fn fail(&self, failing: bool) {
        self.failing.store(failing, Ordering::Relaxed);
    }

    fn check(&self, action: &'static str) -> Result<()> {
        if self.failing.load(Ordering::Relaxed) {
            return Err(Error::io(action, self.path(), io::Error::other("told to fail")));
        }
        Ok(())
    }
}

impl File for MemoryFile {
    fn path(&self) -> &Path {
        Path::new("db/000006.wal")
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        self.check("read")?;
        self.largest_read.fetch_max(buffer.len(), Ordering::Relaxed);
        let bytes = self.bytes.lock();
        let rest = bytes.get(offset as usize..).unwrap_or_default();
        let size = rest.len().min(buffer.len());
        buffer[..size].copy_from_slice(&rest[..size]);
        Ok(size)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> Result<()> {
        self.check("write")?;
        self.writes.fetch_add(1, Ordering::Relaxed);
        let mut bytes = self.bytes.lock();
        let end = offset as usize + data.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[offset as usize..end].copy_from_slice(data);
        Ok(())
    }

    fn allocate(&self, size: u64, _fill: Fill) -> Result<()> {
        let mut bytes = self.bytes.lock();
        let size = bytes.len().max(size as usize);
        bytes.resize(size, 0);
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        self.check("sync")
    }

    fn size(&self) -> Result<u64> {
        Ok(self.bytes.lock().len() as u64)
    }
}
