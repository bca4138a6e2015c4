//! A simulated disk in memory that knows what is durable.
//!
//! A write is live at once and durable after [`File::sync`]; a name is durable after
//! [`Vfs::sync_dir`] on its directory, whether or not the file's content is. At any moment
//! [`SimVfs::crash`] makes the disk that a power loss would leave, by a [`CrashPlan`], and
//! [`SimVfs::kill`] the one that a killed process leaves; both leave the original as it is, so
//! that one moment can be tried many ways. An observer ([`SimVfs::set_observer`]) is called at
//! every operation, which is how a test crashes at each.
//!
//! Everything follows from the calls made: no clock, no chance. Images share their pages, so
//! taking one costs little.
//!
//! Lock order: the observer's, then the state's. The observer runs without the state's.

mod content;
mod crash;
mod disk;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, ReentrantMutex};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::vfs::{Access, File, Fill, Lock, Vfs};

pub use crash::{CrashPlan, DataPlan, DirPlan};
use disk::{Disk, Inode};

/// What [`SimVfs::set_observer`] takes: called with the number of operations completed so far.
pub type Observer = Box<dyn FnMut(u64, &SimVfs) + Send>;

/// A disk in memory. Clones are the same disk; [`SimVfs::crash`] and [`SimVfs::kill`] make others.
///
/// Paths are taken from the root whether or not they begin with it: `db` is `/db`.
#[derive(Clone, Default)]
pub struct SimVfs {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Reentrant, so that an observer that itself changes the disk is not waited for.
    observer: ReentrantMutex<RefCell<Option<Observer>>>,
}

struct State {
    disk: Disk,
    /// How many handles each file has.
    handles: BTreeMap<Inode, usize>,
    locked: BTreeSet<Inode>,
    op_count: u64,
    sync_count: u64,
}

impl Default for State {
    fn default() -> State {
        State::new(Disk::new())
    }
}

impl State {
    fn new(disk: Disk) -> State {
        let (handles, locked) = (BTreeMap::new(), BTreeSet::new());
        State { disk, handles, locked, op_count: 0, sync_count: 0 }
    }

    /// The file's inode, now locked and with `content` in it; "would block" if it is held.
    fn lock(&mut self, path: &Path, content: &[u8]) -> io::Result<Inode> {
        let inode = match self.disk.find_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.disk.create(path)?,
            found => found?,
        };
        if !self.locked.insert(inode) {
            return Err(Errno::WOULDBLOCK.into());
        }
        self.disk.write(inode, content, 0)?;
        self.disk.set_size(inode, content.len() as u64)?;
        Ok(inode)
    }
}

impl SimVfs {
    /// An empty disk.
    #[must_use]
    pub fn new() -> SimVfs {
        SimVfs::default()
    }

    /// The disk after a power loss now: what was synced, and of the rest what the plan says.
    /// Nothing is pending on it, locks are free, no observer is set, counts start at 0.
    #[must_use]
    pub fn crash(&self, plan: &CrashPlan) -> SimVfs {
        let disk = self.shared.state.lock().disk.clone();
        SimVfs::with_disk(crash::image(&disk, plan))
    }

    /// The disk after the process was killed now: everything written is there, and what was not
    /// durable still is not, so that a later power loss may take it. Locks are free.
    #[must_use]
    pub fn kill(&self) -> SimVfs {
        let mut disk = self.shared.state.lock().disk.clone();
        disk.sweep(|_| false);
        SimVfs::with_disk(disk)
    }

    fn with_disk(disk: Disk) -> SimVfs {
        let state = Mutex::new(State::new(disk));
        SimVfs { shared: Arc::new(Shared { state, ..Shared::default() }) }
    }

    /// How many operations changed the disk: create, write, allocate, sync, rename, link, remove,
    /// mkdir, directory sync, lock. One that failed does not count.
    #[must_use]
    pub fn op_count(&self) -> u64 {
        self.shared.state.lock().op_count
    }

    /// How many of the operations were syncs, of files and of directories.
    #[must_use]
    pub fn sync_count(&self) -> u64 {
        self.shared.state.lock().sync_count
    }

    /// How many changes of content and of names are not durable.
    #[must_use]
    pub fn pending_count(&self) -> usize {
        self.shared.state.lock().disk.pending_count()
    }

    /// Has `observer` called after every operation that changes the disk, with the number of
    /// operations so far, and once more before each sync takes effect (with the number before it).
    ///
    /// It may crash, kill and read this disk. What it changes on it itself is not observed.
    /// Other threads that change the disk wait for it, so it must not wait for them; and it must
    /// not set an observer.
    pub fn set_observer(&self, observer: Observer) {
        *self.shared.observer.lock().borrow_mut() = Some(observer);
    }

    /// Takes the observer away, which drops it.
    pub fn clear_observer(&self) {
        *self.shared.observer.lock().borrow_mut() = None;
    }

    /// A hash of all live names and bytes: equal for disks that look the same.
    #[must_use]
    pub fn image_hash(&self) -> u64 {
        self.image_hash_but("")
    }

    /// The same over all files but those of this name.
    #[must_use]
    pub fn image_hash_but(&self, name: &str) -> u64 {
        let disk = self.shared.state.lock().disk.clone();
        disk.hash(name)
    }

    /// All files with their live content, by absolute path.
    #[must_use]
    pub fn dump(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let disk = self.shared.state.lock().disk.clone();
        disk.live_files().map(|(path, file)| (path, file.live.to_vec())).collect()
    }

    /// A file's live content.
    ///
    /// # Errors
    /// [`Error::Io`] if there is no such file.
    pub fn read_file(&self, path: impl AsRef<Path>) -> Result<Vec<u8>> {
        let path = path.as_ref();
        self.look("read", path, |disk| Ok(disk.file(disk.find_file(path)?)?.live.to_vec()))
    }

    /// Puts a file on the disk, durable in content and name, or replaces one's content (also under
    /// the handles that are open). Missing directories are made. Not an operation that counts.
    ///
    /// # Errors
    /// [`Error::Io`] if the path, or one above it, is not of that kind.
    pub fn install(&self, path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
        let path = path.as_ref();
        let installed = self.shared.state.lock().disk.install(path, bytes);
        installed.map_err(|error| Error::io("write", path, error))
    }

    /// Damages a file: `change` gets its live content, and what it leaves there is the file from
    /// now on, durably. Not an operation that counts.
    ///
    /// # Errors
    /// [`Error::Io`] if there is no such file.
    pub fn corrupt(&self, path: impl AsRef<Path>, change: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        let mut bytes = self.read_file(&path)?;
        change(&mut bytes);
        self.install(path, &bytes)
    }

    /// What a failed sync does: the file's writes since its last sync stay visible and will never
    /// be durable, whatever succeeds later.
    ///
    /// # Errors
    /// [`Error::Io`] if there is no such file.
    pub fn lose_pending(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let disk = &mut self.shared.state.lock().disk;
        let lost = disk.find_file(path).and_then(|inode| disk.lose_pending(inode));
        lost.map_err(|error| Error::io("sync", path, error))
    }

    /// Reads the disk.
    fn look<T>(
        &self,
        action: &'static str,
        path: &Path,
        look: impl FnOnce(&Disk) -> io::Result<T>,
    ) -> Result<T> {
        look(&self.shared.state.lock().disk).map_err(|error| Error::io(action, path, error))
    }

    /// Changes the disk: one operation, observed if it succeeds.
    fn change<T>(
        &self,
        action: &'static str,
        path: &Path,
        change: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> Result<T> {
        let mut state = self.shared.state.lock();
        let result = change(&mut state).map_err(|error| Error::io(action, path, error))?;
        state.op_count += 1;
        let op_count = state.op_count;
        drop(state);
        self.observe(op_count);
        Ok(result)
    }

    /// Changes the disk by a sync: observed before as well.
    fn sync(&self, path: &Path, sync: impl FnOnce(&mut Disk) -> io::Result<()>) -> Result<()> {
        self.observe(self.op_count());
        self.change("sync", path, |state| {
            sync(&mut state.disk)?;
            state.sync_count += 1;
            Ok(())
        })
    }

    fn observe(&self, op_count: u64) {
        let observer = self.shared.observer.lock();
        // Borrowed already: the operation is the observer's own.
        if let Ok(mut observer) = observer.try_borrow_mut()
            && let Some(observer) = observer.as_mut()
        {
            observer(op_count, self);
        }
    }

    fn handle(&self, path: &Path, inode: Inode, access: Access) -> Arc<dyn File> {
        let (path, disk) = (path.to_owned(), self.clone());
        Arc::new(SimFile { path, inode, access, disk })
    }
}

impl fmt::Debug for SimVfs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.state.lock();
        f.debug_struct("SimVfs")
            .field("files", &state.disk.files.len())
            .field("op_count", &state.op_count)
            .finish_non_exhaustive()
    }
}

impl Vfs for SimVfs {
    fn create(&self, path: &Path) -> Result<Arc<dyn File>> {
        let inode = self.change("create", path, |state| {
            let inode = state.disk.create(path)?;
            *state.handles.entry(inode).or_default() += 1;
            Ok(inode)
        })?;
        Ok(self.handle(path, inode, Access::ReadWrite))
    }

    fn open(&self, path: &Path, access: Access) -> Result<Arc<dyn File>> {
        let mut state = self.shared.state.lock();
        let found = state.disk.find_file(path);
        let inode = found.map_err(|error| Error::io("open", path, error))?;
        *state.handles.entry(inode).or_default() += 1;
        drop(state);
        Ok(self.handle(path, inode, access))
    }

    fn exists(&self, path: &Path) -> Result<bool> {
        Ok(self.look("open", path, |disk| disk.find(path)).is_ok())
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>> {
        self.look("list", dir, |disk| disk.list(dir))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.change("rename", from, |state| state.disk.rename(from, to))
    }

    fn link(&self, from: &Path, to: &Path) -> Result<()> {
        self.change("link", from, |state| state.disk.link(from, to))
    }

    fn remove(&self, path: &Path) -> Result<()> {
        self.change("remove", path, |state| state.disk.remove(path))
    }

    fn create_dir_all(&self, path: &Path) -> Result<bool> {
        let missing = self.look("create", path, |disk| disk::missing_dirs(disk, path))?;
        for dir in &missing {
            self.change("create", dir, |state| state.disk.create_dir(dir))?;
        }
        Ok(!missing.is_empty())
    }

    fn sync_dir(&self, path: &Path) -> Result<()> {
        self.sync(path, |disk| disk.sync_dir(path))?;
        let State { disk, handles, .. } = &mut *self.shared.state.lock();
        disk.sweep(|inode| handles.contains_key(&inode));
        Ok(())
    }

    fn lock(&self, path: &Path, content: &[u8]) -> Result<Box<dyn Lock>> {
        match self.change("lock", path, |state| state.lock(path, content)) {
            Ok(inode) => Ok(Box::new(SimLock { inode, disk: self.clone() })),
            Err(error) if error.io_kind() == Some(io::ErrorKind::WouldBlock) => {
                let text = self.read_file(path).unwrap_or_default();
                Err(Error::Locked { path: path.to_owned(), pid: super::pid_in(&text) })
            }
            Err(error) => Err(error),
        }
    }
}

struct SimFile {
    path: PathBuf,
    inode: Inode,
    access: Access,
    disk: SimVfs,
}

impl SimFile {
    fn change(
        &self,
        action: &'static str,
        change: impl FnOnce(&mut Disk) -> io::Result<()>,
    ) -> Result<()> {
        self.disk.change(action, &self.path, |state| match self.access {
            Access::ReadWrite => change(&mut state.disk),
            Access::Read => Err(Errno::BADF.into()),
        })
    }
}

impl File for SimFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        self.disk.look("read", &self.path, |disk| {
            Ok(disk.file(self.inode)?.live.read_at(buffer, offset))
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.change("write", |disk| disk.write(self.inode, bytes, offset))
    }

    /// Both fills are the same here: a change of size.
    fn allocate(&self, size: u64, _fill: Fill) -> Result<()> {
        if size <= self.size()? {
            return Ok(());
        }
        self.change("extend", |disk| disk.set_size(self.inode, size))
    }

    fn sync(&self) -> Result<()> {
        self.disk.sync(&self.path, |disk| disk.sync(self.inode))
    }

    fn size(&self) -> Result<u64> {
        self.disk.look("read", &self.path, |disk| Ok(disk.file(self.inode)?.live.size()))
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let handles = &mut self.disk.shared.state.lock().handles;
        if let Some(count) = handles.get_mut(&self.inode) {
            *count -= 1;
            if *count == 0 {
                handles.remove(&self.inode);
            }
        }
    }
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimFile").field("path", &self.path).finish_non_exhaustive()
    }
}

struct SimLock {
    inode: Inode,
    disk: SimVfs,
}

impl Lock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk.shared.state.lock().locked.remove(&self.inode);
    }
}

impl fmt::Debug for SimLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimLock")
    }
}

#[cfg(test)]
mod tests;
