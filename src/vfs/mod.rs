//! The file system as the engine sees it.
//!
//! [`os`] is the real one and the only user of `std::fs`; [`sim`] is a simulated disk in memory
//! that knows what is durable; [`fault`] wraps another and injects errors.

pub mod fault;
pub mod os;
pub mod sim;

use std::fmt;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result};

/// How [`Vfs::open`] opens an existing file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read only; opening changes nothing, not even times where the system allows it.
    Read,
    /// Read and write.
    ReadWrite,
}

/// What [`File::allocate`] puts into a file's new bytes. Both read as zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Space is reserved, so that later writes there cannot run out of it. Cheap.
    Reserve,
    /// Zeros are really written (in 4 KiB writes), so that a later overwrite and sync needs no
    /// metadata: slower now, half the cost at each sync.
    Zeros,
}

/// An open file. All methods take `&self` and may be called from several threads.
///
/// Errors are [`crate::Error::Io`] and carry the file's path.
pub trait File: Send + Sync + fmt::Debug {
    /// The path it was opened by.
    fn path(&self) -> &Path;

    /// Reads at `offset` until `buffer` is full or the file ends; returns the bytes read. Fewer
    /// than asked means end of file, never an error.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize>;

    /// Writes all of `bytes` at `offset`, extending the file if need be. On an error some of the
    /// bytes may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()>;

    /// Extends the file to `size` bytes that read as zeros; does nothing if it is as large.
    ///
    /// # Errors
    /// When space runs out; the file then has at least its old size and content.
    fn allocate(&self, size: u64, fill: Fill) -> Result<()>;

    /// Makes the content and the size durable (`fdatasync`). After an error the pages written
    /// since the last sync count as lost, and a later success says nothing about them.
    fn sync(&self) -> Result<()>;

    /// The file's size in bytes.
    fn size(&self) -> Result<u64>;
}

/// A held advisory lock; released when dropped, and by the system when its process dies.
pub trait Lock: Send + Sync + fmt::Debug {}

/// A directory of files: create, open, list, rename, link, remove, lock, sync.
///
/// As on a real disk, a name that was created, linked, renamed or removed is durable only after
/// [`Vfs::sync_dir`] on its directory, and content only after [`File::sync`].
pub trait Vfs: Send + Sync + fmt::Debug {
    /// Creates a new, empty file for reading and writing; it must not exist.
    fn create(&self, path: &Path) -> Result<Arc<dyn File>>;

    /// Opens an existing file.
    fn open(&self, path: &Path, access: Access) -> Result<Arc<dyn File>>;

    /// Whether the file or directory exists. An error other than "not found" is an error.
    fn exists(&self, path: &Path) -> Result<bool>;

    /// The names in a directory, in byte order (without `.` and `..`).
    fn list(&self, dir: &Path) -> Result<Vec<String>>;

    /// Renames a file, replacing the target.
    fn rename(&self, from: &Path, to: &Path) -> Result<()>;

    /// Gives a file a second name, which must not exist. The two are equals: the content is one, and
    /// is there until both names are gone.
    ///
    /// # Errors
    /// Whatever the file system says, also that it has no such links or that the two names are not
    /// on the same one ([`cannot_link`] tells): a copy does then.
    fn link(&self, from: &Path, to: &Path) -> Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> Result<()>;

    /// Creates a directory and those above it that are missing; `true` if it was not there.
    fn create_dir_all(&self, path: &Path) -> Result<bool>;

    /// Makes the directory's names durable.
    fn sync_dir(&self, path: &Path) -> Result<()>;

    /// Takes the exclusive lock on `path` without waiting (creating the file if it is not there),
    /// then writes `content` into it.
    ///
    /// # Errors
    /// [`crate::Error::Locked`] with the pid found in the file when it is held by another handle,
    /// of this process or another.
    fn lock(&self, path: &Path, content: &[u8]) -> Result<Box<dyn Lock>>;
}

/// Whether a failed [`Vfs::link`] says that there can be no link here, rather than that something
/// went wrong.
#[must_use]
pub fn cannot_link(error: &Error) -> bool {
    use ErrorKind::{CrossesDevices, PermissionDenied, TooManyLinks, Unsupported};
    let kind = error.io_kind();
    kind.is_some_and(|kind| {
        matches!(kind, CrossesDevices | PermissionDenied | TooManyLinks | Unsupported)
    })
}

/// Reads a whole file, at most `size_max` bytes of it.
///
/// # Errors
/// The file's own.
pub fn read_all(file: &dyn File, size_max: u64) -> Result<Vec<u8>> {
    let size = file.size()?.min(size_max);
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// The number a lock file's text begins with: its holder's pid.
fn pid_in(text: &[u8]) -> Option<u32> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&text[..digits]).ok()?.parse().ok()
}
