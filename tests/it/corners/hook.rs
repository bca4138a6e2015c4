//! A file system whose every call is announced, so that a test can do something in between.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use beachdb::Result;
use beachdb::vfs::{Access, File, Fill, Lock, Vfs};

/// Called before each call to the file system: what it is, its path, bytes asked for.
type Hook = Arc<dyn Fn(&str, &Path, usize) -> Result<()> + Send + Sync>;

/// A file system whose every call is announced.
#[derive(Clone)]
pub(crate) struct HookVfs {
    inner: Arc<dyn Vfs>,
    hook: Hook,
}

impl HookVfs {
    pub(crate) fn new(
        inner: impl Vfs + 'static,
        hook: impl Fn(&str, &Path, usize) -> Result<()> + Send + Sync + 'static,
    ) -> HookVfs {
        HookVfs { inner: Arc::new(inner), hook: Arc::new(hook) }
    }

    fn file(&self, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(HookFile { inner: file, hook: Arc::clone(&self.hook) })
    }
}

impl fmt::Debug for HookVfs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HookVfs")
    }
}

impl Vfs for HookVfs {
    fn create(&self, path: &Path) -> Result<Arc<dyn File>> {
        (self.hook)("create", path, 0)?;
        self.inner.create(path).map(|file| self.file(file))
    }
    fn open(&self, path: &Path, access: Access) -> Result<Arc<dyn File>> {
        (self.hook)("open", path, 0)?;
        self.inner.open(path, access).map(|file| self.file(file))
    }
    fn exists(&self, path: &Path) -> Result<bool> {
        (self.hook)("exists", path, 0)?;
        self.inner.exists(path)
    }
    fn list(&self, dir: &Path) -> Result<Vec<String>> {
        (self.hook)("list", dir, 0)?;
        self.inner.list(dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        (self.hook)("rename", to, 0)?;
        self.inner.rename(from, to)
    }
    fn link(&self, from: &Path, to: &Path) -> Result<()> {
        (self.hook)("link", to, 0)?;
        self.inner.link(from, to)
    }
    fn remove(&self, path: &Path) -> Result<()> {
        (self.hook)("remove", path, 0)?;
        self.inner.remove(path)
    }
    fn create_dir_all(&self, path: &Path) -> Result<bool> {
        (self.hook)("mkdir", path, 0)?;
        self.inner.create_dir_all(path)
    }
    fn sync_dir(&self, path: &Path) -> Result<()> {
        (self.hook)("sync_dir", path, 0)?;
        self.inner.sync_dir(path)
    }
    fn lock(&self, path: &Path, content: &[u8]) -> Result<Box<dyn Lock>> {
        (self.hook)("lock", path, 0)?;
        self.inner.lock(path, content)
    }
}

struct HookFile {
    inner: Arc<dyn File>,
    hook: Hook,
}

impl fmt::Debug for HookFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HookFile")
    }
}

impl File for HookFile {
    fn path(&self) -> &Path {
        self.inner.path()
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        (self.hook)("read", self.path(), buffer.len())?;
        self.inner.read_at(buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        (self.hook)("write", self.path(), bytes.len())?;
        self.inner.write_at(bytes, offset)
    }
    fn allocate(&self, size: u64, fill: Fill) -> Result<()> {
        (self.hook)("allocate", self.path(), 0)?;
        self.inner.allocate(size, fill)
    }
    fn sync(&self) -> Result<()> {
        (self.hook)("sync", self.path(), 0)?;
        self.inner.sync()
    }
    fn size(&self) -> Result<u64> {
        (self.hook)("size", self.path(), 0)?;
        self.inner.size()
    }
}
