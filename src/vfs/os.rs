//! The real file system, and the only user of `std::fs` in the engine.
//!
//! - Every positioned read and write is a `pread` or `pwrite`, or behaves like one, so handles are
//!   shared freely.
//! - Opening for reading leaves even the access time alone where the system allows it.
//! - A lock is an advisory `flock` on a descriptor of its own: it excludes another handle of this
//!   process as well as another process, and the system drops it with the process.
#![expect(clippy::disallowed_methods, reason = "this module is what the others go through")]

#[cfg(target_os = "linux")]
mod map;

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::vfs::{Access, File, Fill, Lock, Vfs};

/// The size of one write of zeros, and what such writes are aligned to.
///
/// Not more: larger writes leave large folios in the page cache, which slow the small writes that
/// come later.
const ZEROS_SIZE: u64 = 4096;

/// How much of a lock file is read to find its holder's pid.
const LOCK_TEXT_SIZE: usize = 32;

/// The operating system's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsVfs;

impl Vfs for OsVfs {
    fn create(&self, path: &Path) -> Result<Arc<dyn File>> {
        let created = fs::OpenOptions::new().read(true).write(true).create_new(true).open(path);
        OsFile::wrap(path, created.map_err(|error| Error::io("create", path, error))?)
    }

    fn open(&self, path: &Path, access: Access) -> Result<Arc<dyn File>> {
        let opened = match access {
            Access::Read => open_quietly(path),
            Access::ReadWrite => fs::OpenOptions::new().read(true).write(true).open(path),
        };
        OsFile::wrap(path, opened.map_err(|error| Error::io("open", path, error))?)
    }

    fn exists(&self, path: &Path) -> Result<bool> {
        or_here(path).try_exists().map_err(|error| Error::io("open", path, error))
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>> {
        list(or_here(dir)).map_err(|error| Error::io("list", dir, error))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        fs::rename(from, to).map_err(|error| Error::io("rename", from, error))
    }

    fn link(&self, from: &Path, to: &Path) -> Result<()> {
        fs::hard_link(from, to).map_err(|error| Error::io("link", from, error))
    }

    fn remove(&self, path: &Path) -> Result<()> {
        fs::remove_file(path).map_err(|error| Error::io("remove", path, error))
    }

    fn create_dir_all(&self, path: &Path) -> Result<bool> {
        if or_here(path).is_dir() {
            return Ok(false);
        }
        fs::create_dir_all(path).map_err(|error| Error::io("create", path, error))?;
        Ok(true)
    }

    fn sync_dir(&self, path: &Path) -> Result<()> {
        fs::File::open(or_here(path))
            .and_then(|dir| dir.sync_all())
            .map_err(|error| Error::io("sync", path, error))
    }

    fn lock(&self, path: &Path, content: &[u8]) -> Result<Box<dyn Lock>> {
        let failed = |error| Error::io("lock", path, error);
        // Not truncated at opening: until the lock is ours the text in it is the holder's.
        let mut options = fs::OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path);
        let file = file.map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(Error::Locked { path: path.to_owned(), pid: holder(&file) });
            }
            Err(fs::TryLockError::Error(error)) => return Err(failed(error)),
        }
        // Written first and cut afterwards, so that whoever looks meanwhile finds a pid.
        file.write_all_at(content, 0)
            .and_then(|()| file.set_len(content.len() as u64))
            .map_err(failed)?;
        Ok(Box::new(OsLock { file }))
    }
}

/// The current directory for the empty path, which is what `Path::parent` makes of a bare name.
fn or_here(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

/// Opens for reading without touching the access time, which only a file's owner may ask for.
fn open_quietly(path: &Path) -> io::Result<fs::File> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let flag = rustix::fs::OFlags::NOATIME.bits().cast_signed();
        match fs::OpenOptions::new().read(true).custom_flags(flag).open(path) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
            opened => return opened,
        }
    }
    fs::OpenOptions::new().read(true).open(path)
}

/// The names in a directory, sorted. A name that is not UTF-8 is not one of ours and is left out.
fn list(dir: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        if let Ok(name) = entry?.file_name().into_string() {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// The pid at the beginning of a lock file, if there is one.
fn holder(file: &fs::File) -> Option<u32> {
    let mut text = [0; LOCK_TEXT_SIZE];
    let size = read_full(file, &mut text, 0).ok()?;
    super::pid_in(&text[..size])
}

/// Reads until the buffer is full or the file ends.
fn read_full(file: &fs::File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(size) => done += size,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

#[derive(Debug)]
struct OsFile {
    path: PathBuf,
    file: fs::File,
    #[cfg(target_os = "linux")]
    mapped: map::Mapped,
}

impl OsFile {
    fn wrap(path: &Path, file: fs::File) -> Result<Arc<dyn File>> {
        Ok(Arc::new(OsFile {
            path: path.to_owned(),
            file,
            #[cfg(target_os = "linux")]
            mapped: map::Mapped::default(),
        }))
    }

    fn failed(&self, action: &'static str) -> impl FnOnce(io::Error) -> Error + '_ {
        move |error| Error::io(action, &self.path, error)
    }

    fn grow(&self, from: u64, to: u64, fill: Fill) -> io::Result<()> {
        match fill {
            Fill::Reserve => reserve(&self.file, from, to),
            Fill::Zeros => write_zeros(&self.file, from, to),
        }
    }
}

impl File for OsFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        read_full(&self.file, buffer, offset).map_err(self.failed("read"))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        #[cfg(target_os = "linux")]
        if self.mapped.write(&self.file, bytes, offset) {
            return Ok(());
        }
        self.file.write_all_at(bytes, offset).map_err(self.failed("write"))
    }

    fn allocate(&self, size: u64, fill: Fill) -> Result<()> {
        // A failure cuts the file back to its old size.
        #[cfg(target_os = "linux")]
        let _held = self.mapped.hold();
        let old = self.size()?;
        if size <= old {
            return Ok(());
        }
        self.grow(old, size, fill).map_err(|error| {
            // The space goes back, so that a full disk is not fuller for the attempt. If even
            // this fails the file is longer by zeros, which the caller has to bear anyway.
            let _ = self.file.set_len(old);
            Error::io("extend", &self.path, error)
        })
    }

    fn sync(&self) -> Result<()> {
        #[cfg(target_os = "linux")]
        self.mapped.before_sync();
        self.file.sync_data().map_err(self.failed("sync"))
    }

    fn size(&self) -> Result<u64> {
        Ok(self.file.metadata().map_err(self.failed("read"))?.len())
    }
}

/// Reserves the bytes `from..to`, by writing zeros where the file system cannot reserve.
fn reserve(file: &fs::File, from: u64, to: u64) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        use rustix::fs::{FallocateFlags, fallocate};
        use rustix::io::{Errno, retry_on_intr};
        match retry_on_intr(|| fallocate(file, FallocateFlags::empty(), from, to - from)) {
            Ok(()) => return Ok(()),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    write_zeros(file, from, to)
}

/// Writes zeros to `from..to`, each write up to the next multiple of [`ZEROS_SIZE`].
fn write_zeros(file: &fs::File, from: u64, to: u64) -> io::Result<()> {
    let zeros = [0; ZEROS_SIZE as usize];
    let mut offset = from;
    while offset < to {
        let end = (offset / ZEROS_SIZE + 1).saturating_mul(ZEROS_SIZE).min(to);
        file.write_all_at(&zeros[..(end - offset) as usize], offset)?;
        offset = end;
    }
    Ok(())
}

/// Released when dropped, or by the end of the process.
#[derive(Debug)]
struct OsLock {
    file: fs::File,
}

impl Lock for OsLock {}

impl Drop for OsLock {
    fn drop(&mut self) {
        // Closing the descriptor is not enough: a process that another thread is just starting has
        // a copy of it for a moment, and would hold the lock as long. If this fails, closing is left.
        let _ = self.file.unlock();
    }
}

#[cfg(test)]
mod tests;
