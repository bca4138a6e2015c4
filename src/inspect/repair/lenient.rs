//! A failing disk, read as far as it goes: what cannot be read is zeros, which no checksum takes for
//! anything.

use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::vfs::{Access, File, Fill, Lock, Vfs};

/// What a disk returns or refuses as a whole.
const PAGE_SIZE: usize = 4096;

/// Opens files so that a read never fails for what is on the disk; changes nothing.
#[derive(Debug)]
pub(super) struct Lenient<'v>(pub(super) &'v dyn Vfs);

fn refused(path: &Path) -> Error {
    Error::io("change", path, std::io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Vfs for Lenient<'_> {
    fn create(&self, path: &Path) -> Result<Arc<dyn File>> {
        Err(refused(path))
    }

    fn open(&self, path: &Path, _access: Access) -> Result<Arc<dyn File>> {
        let file = self.0.open(path, Access::Read)?;
        Ok(Arc::new(LenientFile(file)))
    }

    fn exists(&self, path: &Path) -> Result<bool> {
        self.0.exists(path)
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>> {
        self.0.list(dir)
    }

    fn rename(&self, from: &Path, _to: &Path) -> Result<()> {
        Err(refused(from))
    }

    fn link(&self, from: &Path, _to: &Path) -> Result<()> {
        Err(refused(from))
    }

    fn remove(&self, path: &Path) -> Result<()> {
        Err(refused(path))
    }

    fn create_dir_all(&self, path: &Path) -> Result<bool> {
        Err(refused(path))
    }

    fn sync_dir(&self, path: &Path) -> Result<()> {
        Err(refused(path))
    }

    fn lock(&self, path: &Path, _content: &[u8]) -> Result<Box<dyn Lock>> {
        Err(refused(path))
    }
}

#[derive(Debug)]
struct LenientFile(Arc<dyn File>);

impl File for LenientFile {
    fn path(&self) -> &Path {
        self.0.path()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        if let Ok(read) = self.0.read_at(buffer, offset) {
            return Ok(read);
        }
        let left = self.0.size()?.saturating_sub(offset);
        let size = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let mut at = 0;
        while at < size {
            let from = offset + at as u64;
            // Up to the end of the page, so that a bad one takes no other with it.
            let to_boundary = PAGE_SIZE - (from % PAGE_SIZE as u64) as usize;
            let page = &mut buffer[at..size.min(at + to_boundary)];
            let read = self.0.read_at(page, from).unwrap_or(0);
            page[read..].fill(0);
            at += page.len();
        }
        Ok(size)
    }

    fn write_at(&self, _bytes: &[u8], _offset: u64) -> Result<()> {
        Err(refused(self.path()))
    }

    fn allocate(&self, _size: u64, _fill: Fill) -> Result<()> {
        Err(refused(self.path()))
    }

    fn sync(&self) -> Result<()> {
        Err(refused(self.path()))
    }

    fn size(&self) -> Result<u64> {
        self.0.size()
    }
}
