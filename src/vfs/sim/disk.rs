//! What the simulated disk holds, without locks, handles or hooks.
//!
//! Invariants, for every file and every directory:
//!
//! - `live` is `durable` with `pending` applied in order, except that a file some of whose writes
//!   a failed sync dropped (`lost`) shows them live until they are overwritten;
//! - sequence numbers rise through all of `pending`, over all files and over all directories;
//! - a file is kept as long as a name, durable, live or pending, or an open handle leads to it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;

use super::content::{Content, mix};

/// A file's identity, whatever its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Inode(pub(super) u64);

/// Directories by their normal path (`""` is the root, then `"db"`, `"db/sub"`), files by inode.
///
/// Cheap to clone: a pointer for each.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    pub(super) dirs: BTreeMap<String, Arc<Dir>>,
    pub(super) files: BTreeMap<Inode, Arc<FileState>>,
    next_inode: u64,
    next_seq: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    File(Inode),
    Dir,
}

pub(super) type Names = BTreeMap<String, Entry>;

#[derive(Clone, Debug, Default)]
pub(super) struct Dir {
    pub(super) live: Names,
    pub(super) durable: Names,
    pub(super) pending: Vec<NameChange>,
}

/// A name that came to a directory or went. The two halves of a rename share a sequence number.
#[derive(Clone, Debug)]
pub(super) struct NameChange {
    pub(super) seq: u64,
    pub(super) cause: Cause,
    pub(super) name: String,
    pub(super) entry: Entry,
    /// Whether the name came.
    pub(super) link: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    Create,
    Rename,
    Remove,
}

#[derive(Clone, Debug, Default)]
pub(super) struct FileState {
    pub(super) live: Arc<Content>,
    pub(super) durable: Arc<Content>,
    pub(super) pending: Vec<DataChange>,
    /// A failed sync dropped writes: `live` shows what will never be durable.
    pub(super) lost: bool,
}

/// A change of a file's content since its last sync.
#[derive(Clone, Debug)]
pub(super) struct DataChange {
    pub(super) seq: u64,
    pub(super) op: DataOp,
}

#[derive(Clone, Debug)]
pub(super) enum DataOp {
    Write { offset: u64, bytes: Arc<[u8]> },
    SetSize(u64),
}

impl DataOp {
    pub(super) fn apply(&self, content: &mut Content) {
        match self {
            DataOp::Write { offset, bytes } => content.write_at(bytes, *offset),
            DataOp::SetSize(size) => content.set_size(*size),
        }
    }
}

impl FileState {
    /// A file with nothing pending.
    pub(super) fn settled(content: Arc<Content>) -> FileState {
        FileState { live: Arc::clone(&content), durable: content, ..FileState::default() }
    }

    fn apply(&mut self, seq: u64, op: DataOp) {
        op.apply(Arc::make_mut(&mut self.live));
        self.pending.push(DataChange { seq, op });
    }

    fn sync(&mut self) {
        if self.lost {
            let durable = Arc::make_mut(&mut self.durable);
            self.pending.iter().for_each(|change| change.op.apply(durable));
        } else {
            self.durable = Arc::clone(&self.live);
        }
        self.pending.clear();
    }
}

impl NameChange {
    pub(super) fn apply(&self, names: &mut Names) {
        if self.link {
            names.insert(self.name.clone(), self.entry);
        } else {
            names.remove(&self.name);
        }
    }
}

impl Dir {
    /// A directory with nothing pending.
    pub(super) fn settled(names: Names) -> Dir {
        Dir { live: names.clone(), durable: names, pending: Vec::new() }
    }

    fn apply(&mut self, change: NameChange) {
        change.apply(&mut self.live);
        self.pending.push(change);
    }
}

impl Disk {
    /// An empty disk: a root directory.
    pub(super) fn new() -> Disk {
        let dirs = BTreeMap::from([(String::new(), Arc::default())]);
        Disk { dirs, files: BTreeMap::new(), next_inode: 1, next_seq: 1 }
    }

    /// A disk with the same numbers to come and nothing on it, not even a root.
    pub(super) fn blank(&self) -> Disk {
        Disk { dirs: BTreeMap::new(), files: BTreeMap::new(), ..*self }
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<Entry> {
        match split(path) {
            Some((dir, name)) => self.dir(&dir)?.live.get(&name).copied().ok_or(NOT_FOUND.into()),
            None => Ok(Entry::Dir),
        }
    }

    pub(super) fn find_file(&self, path: &Path) -> io::Result<Inode> {
        match self.find(path)? {
            Entry::File(inode) => Ok(inode),
            Entry::Dir => Err(Errno::ISDIR.into()),
        }
    }

    /// A file that a handle or a directory leads to.
    pub(super) fn file(&self, inode: Inode) -> io::Result<&FileState> {
        self.files.get(&inode).map(Arc::as_ref).ok_or(NOT_FOUND.into())
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        match self.find(path)? {
            Entry::Dir => Ok(self.dir(&normal(path))?.live.keys().cloned().collect()),
            Entry::File(_) => Err(Errno::NOTDIR.into()),
        }
    }

    pub(super) fn create(&mut self, path: &Path) -> io::Result<Inode> {
        let (dir, name) = split(path).ok_or(Errno::EXIST)?;
        if self.dir(&dir)?.live.contains_key(&name) {
            return Err(Errno::EXIST.into());
        }
        let inode = Inode(self.next_inode);
        self.next_inode += 1;
        self.files.insert(inode, Arc::default());
        let seq = self.seq();
        self.change(&dir, seq, Cause::Create, name, Entry::File(inode), true)?;
        Ok(inode)
    }

    /// Makes one directory in an existing one.
    pub(super) fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        let (dir, name) = split(path).ok_or(Errno::EXIST)?;
        let seq = self.seq();
        self.change(&dir, seq, Cause::Create, name, Entry::Dir, true)?;
        self.dirs.insert(normal(path), Arc::default());
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let entry = Entry::File(self.find_file(from)?);
        let (from_dir, from_name) = split(from).ok_or(Errno::ISDIR)?;
        let (to_dir, to_name) = split(to).ok_or(Errno::ISDIR)?;
        match self.dir(&to_dir)?.live.get(&to_name) {
            Some(Entry::Dir) => return Err(Errno::ISDIR.into()),
            // The same file by the same name: nothing to do, as on a real disk.
            Some(target) if *target == entry => return Ok(()),
            _ => {}
        }
        let seq = self.seq();
        self.change(&to_dir, seq, Cause::Rename, to_name, entry, true)?;
        self.change(&from_dir, seq, Cause::Rename, from_name, entry, false)
    }

    /// Gives a file a second name. To a power loss it is a name like any that was made.
    pub(super) fn link(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let entry = Entry::File(self.find_file(from)?);
        let (dir, name) = split(to).ok_or(Errno::EXIST)?;
        if self.dir(&dir)?.live.contains_key(&name) {
            return Err(Errno::EXIST.into());
        }
        let seq = self.seq();
        self.change(&dir, seq, Cause::Create, name, entry, true)
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let entry = Entry::File(self.find_file(path)?);
        let (dir, name) = split(path).ok_or(Errno::ISDIR)?;
        let seq = self.seq();
        self.change(&dir, seq, Cause::Remove, name, entry, false)
    }

    pub(super) fn write(&mut self, inode: Inode, bytes: &[u8], offset: u64) -> io::Result<()> {
        offset.checked_add(bytes.len() as u64).ok_or(Errno::FBIG)?;
        let op = DataOp::Write { offset, bytes: bytes.into() };
        let seq = self.seq();
        self.file_mut(inode)?.apply(seq, op);
        Ok(())
    }

    pub(super) fn set_size(&mut self, inode: Inode, size: u64) -> io::Result<()> {
        let seq = self.seq();
        self.file_mut(inode)?.apply(seq, DataOp::SetSize(size));
        Ok(())
    }

    pub(super) fn sync(&mut self, inode: Inode) -> io::Result<()> {
        self.file_mut(inode)?.sync();
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let dir = self.dir_mut(&normal(path))?;
        dir.durable = dir.live.clone();
        dir.pending.clear();
        Ok(())
    }

    /// A failed sync: what was written since the last one shall never be durable.
    pub(super) fn lose_pending(&mut self, inode: Inode) -> io::Result<()> {
        let file = self.file_mut(inode)?;
        file.lost |= !file.pending.is_empty();
        file.pending.clear();
        Ok(())
    }

    /// Puts bytes on the disk, durably and under a durable name, whatever was there before.
    pub(super) fn install(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let first_seq = self.next_seq;
        let inode = match self.find_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.create_parents(path)?;
                self.create(path)?
            }
            found => found?,
        };
        *self.file_mut(inode)? = FileState::settled(Arc::new(Content::from_bytes(bytes)));
        let mut entry = Entry::File(inode);
        let mut path = path;
        while let Some((dir, name)) = split(path) {
            let dir = self.dir_mut(&dir)?;
            dir.durable.insert(name, entry);
            // Made just now for the file's sake, and durable already.
            dir.pending.retain(|change| change.seq < first_seq);
            entry = Entry::Dir;
            path = path.parent().unwrap_or(Path::new(""));
        }
        Ok(())
    }

    fn create_parents(&mut self, path: &Path) -> io::Result<()> {
        for dir in missing_dirs(self, path.parent().unwrap_or(Path::new("")))? {
            self.create_dir(&dir)?;
        }
        Ok(())
    }

    /// Forgets the files that nothing leads to.
    pub(super) fn sweep(&mut self, is_open: impl Fn(Inode) -> bool) {
        let mut used = BTreeSet::new();
        for dir in self.dirs.values() {
            let pending = dir.pending.iter().map(|change| &change.entry);
            for entry in dir.live.values().chain(dir.durable.values()).chain(pending) {
                if let Entry::File(inode) = entry {
                    used.insert(*inode);
                }
            }
        }
        self.files.retain(|inode, _| used.contains(inode) || is_open(*inode));
    }

    /// All live files, by path.
    pub(super) fn live_files(&self) -> impl Iterator<Item = (PathBuf, &FileState)> {
        self.dirs.iter().flat_map(move |(dir, state)| {
            state.live.iter().filter_map(move |(name, entry)| match entry {
                Entry::File(inode) => {
                    Some((Path::new("/").join(dir).join(name), self.files.get(inode)?.as_ref()))
                }
                Entry::Dir => None,
            })
        })
    }

    /// How many changes, of names and of content, a power loss may undo.
    pub(super) fn pending_count(&self) -> usize {
        let names: usize = self.dirs.values().map(|dir| dir.pending.len()).sum();
        names + self.files.values().map(|file| file.pending.len()).sum::<usize>()
    }

    /// A hash of the live names and bytes.
    pub(super) fn hash(&self, but: &str) -> u64 {
        let mut hash = 0;
        for (dir, state) in &self.dirs {
            hash = mix(hash, xxhash_rust::xxh3::xxh3_64(dir.as_bytes()));
            for (name, entry) in state.live.iter().filter(|(name, _)| name.as_str() != but) {
                hash = mix(hash, xxhash_rust::xxh3::xxh3_64(name.as_bytes()));
                hash = mix(
                    hash,
                    match entry {
                        Entry::File(inode) => {
                            self.files.get(inode).map_or(0, |file| file.live.hash())
                        }
                        Entry::Dir => 1,
                    },
                );
            }
        }
        hash
    }

    fn seq(&mut self) -> u64 {
        self.next_seq += 1;
        self.next_seq - 1
    }

    fn dir(&self, key: &str) -> io::Result<&Dir> {
        self.dirs.get(key).map(Arc::as_ref).ok_or(NOT_FOUND.into())
    }

    fn dir_mut(&mut self, key: &str) -> io::Result<&mut Dir> {
        self.dirs.get_mut(key).map(Arc::make_mut).ok_or(NOT_FOUND.into())
    }

    fn file_mut(&mut self, inode: Inode) -> io::Result<&mut FileState> {
        self.files.get_mut(&inode).map(Arc::make_mut).ok_or(NOT_FOUND.into())
    }

    fn change(
        &mut self,
        dir: &str,
        seq: u64,
        cause: Cause,
        name: String,
        entry: Entry,
        link: bool,
    ) -> io::Result<()> {
        self.dir_mut(dir)?.apply(NameChange { seq, cause, name, entry, link });
        Ok(())
    }
}

const NOT_FOUND: Errno = Errno::NOENT;

/// The directories that are missing for `path` to be one, the outermost first.
pub(super) fn missing_dirs(disk: &Disk, path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut missing = Vec::new();
    for dir in path.ancestors() {
        match disk.find(dir) {
            Ok(Entry::Dir) => break,
            Ok(Entry::File(_)) => return Err(Errno::NOTDIR.into()),
            Err(_) => missing.push(dir.to_owned()),
        }
    }
    missing.reverse();
    Ok(missing)
}

/// A path without its root, `.` and `..`. The current directory of a simulated disk is its root.
fn normal(path: &Path) -> String {
    let mut parts: Vec<String> = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push(part.to_string_lossy().into_owned()),
            Component::ParentDir => drop(parts.pop()),
            Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
        }
    }
    parts.join("/")
}

/// The directory a path lies in and its name there; none for the root.
fn split(path: &Path) -> Option<(String, String)> {
    let path = normal(path);
    match path.rsplit_once('/') {
        Some((dir, name)) => Some((dir.to_owned(), name.to_owned())),
        None if path.is_empty() => None,
        None => Some((String::new(), path)),
    }
}
