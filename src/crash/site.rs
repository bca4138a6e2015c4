//! The directory of a crash test: the store that is killed, the copy that is looked at, checkpoints.
//!
//! Invariants:
//! - Nothing but the workers ever opens the store itself: it stays as the kills left it, each recovery
//!   of it is a worker's and may be killed too, and behind a violation it is the evidence.
//! - A directory is used only if it is absent, empty, or was used by a crash test, and not if it holds
//!   the artifact of a violation.

use std::io;
use std::path::{Path, PathBuf};

use crate::inspect::check::{CheckOptions, check};
use crate::inspect::frames::Expect;
use crate::inspect::manifest::{ManifestItem, read_manifest};
use crate::vfs::os::OsVfs;
use crate::vfs::{self, Access, Vfs};
use crate::{Error, Options, Result};

/// Bytes of a file that are copied at most; files of these stores are much smaller.
const COPY_MAX: u64 = 256 << 20;

/// What says that a directory is a crash test's.
const SIGN: &str = "beach-crash";

/// Checkpoints that a worker makes at most.
pub(super) const SLOTS: u64 = 4;

/// How an empty directory is removed: nothing else of the library does.
pub(super) type RemoveDir = fn(&Path) -> io::Result<()>;

/// The places within the directory.
#[derive(Clone, Debug)]
pub(super) struct Site {
    dir: PathBuf,
    vfs: OsVfs,
}

/// The settings of a store in which everything comes often: flushes, merges, rotations, growing logs,
/// new manifests.
#[must_use]
pub fn tiny_options() -> Options {
    Options::new()
        .memtable_size(48 << 10)
        .table_size(24 << 10)
        .log_size(8 << 10)
        .manifest_size(16 << 10)
        .memory_size(4 << 20)
        .open_files_max(16)
}

impl Site {
    pub(super) fn new(dir: &Path) -> Site {
        Site { dir: dir.to_owned(), vfs: OsVfs }
    }

    pub(super) fn store(&self) -> PathBuf {
        self.dir.join("store")
    }

    pub(super) fn copy(&self) -> PathBuf {
        self.dir.join("copy")
    }

    pub(super) fn checkpoint(&self, slot: u64) -> PathBuf {
        self.dir.join(format!("checkpoint-{slot}"))
    }

    pub(super) fn artifact(&self) -> PathBuf {
        self.dir.join("artifact.json")
    }

    /// Makes sure of the directory, and that nothing is in it.
    pub(super) fn begin(&self) -> Result<()> {
        self.vfs.create_dir_all(&self.dir)?;
        let names = self.vfs.list(&self.dir)?;
        let refused = |why: &str| {
            Err(Error::InvalidArgument(format!("{} {why}; take another", self.dir.display())))
        };
        if self.vfs.exists(&self.artifact())? {
            return refused("holds what is left of a violation (artifact.json)");
        }
        if !names.is_empty() && !names.iter().any(|name| name == SIGN) {
            return refused("holds other things than a crash test's");
        }
        if names.is_empty() {
            self.vfs.create(&self.dir.join(SIGN))?;
        }
        self.wipe_all()
    }

    /// Removes store, copy and checkpoints.
    pub(super) fn wipe_all(&self) -> Result<()> {
        self.wipe(&self.store())?;
        self.wipe(&self.copy())?;
        self.wipe_checkpoints()
    }

    /// Removes the store's directory, which is empty; a worker killed early has not made it.
    pub(super) fn remove_store(&self, remove_dir: RemoveDir) -> Result<io::Result<()>> {
        let store = self.store();
        Ok(if self.vfs.exists(&store)? { remove_dir(&store) } else { Ok(()) })
    }

    pub(super) fn wipe_checkpoints(&self) -> Result<()> {
        (0..SLOTS).try_for_each(|slot| self.wipe(&self.checkpoint(slot)))
    }

    /// Removes the files in a directory; it itself stays.
    pub(super) fn wipe(&self, dir: &Path) -> Result<()> {
        if !self.vfs.exists(dir)? {
            return Ok(());
        }
        let names = self.vfs.list(dir)?;
        names.iter().try_for_each(|name| self.vfs.remove(&dir.join(name)))
    }

    /// Copies the store as it is. Tables are never written again, so a second name does for them;
    /// manifests before the current one are history that no opening reads.
    pub(super) fn copy_store(&self) -> Result<()> {
        let (from, to) = (self.store(), self.copy());
        self.wipe(&to)?;
        self.vfs.create_dir_all(&to)?;
        if !self.vfs.exists(&from)? {
            return Ok(());
        }
        let current = from.join("CURRENT");
        let current = if self.vfs.exists(&current)? { self.read(&current)? } else { Vec::new() };
        let current = current.split(|byte| *byte == b' ').next().unwrap_or_default();
        for name in self.vfs.list(&from)? {
            let is_past = name.starts_with("MANIFEST-") && name.as_bytes() < current;
            if is_past || name == "LOCK" {
                continue;
            }
            let (from, to) = (from.join(&name), to.join(&name));
            let linked = name.ends_with(".sst").then(|| self.vfs.link(&from, &to));
            match linked {
                Some(Err(error)) if !vfs::cannot_link(&error) => return Err(error),
                Some(Ok(())) => {}
                _ => self.write(&to, &self.read(&from)?)?,
            }
        }
        Ok(())
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>> {
        vfs::read_all(&*self.vfs.open(path, Access::Read)?, COPY_MAX)
    }

    pub(super) fn write(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        self.vfs.create(path)?.write_at(bytes, 0)
    }

    pub(super) fn is_empty(&self, dir: &Path) -> Result<bool> {
        Ok(!self.vfs.exists(dir)? || self.vfs.list(dir)?.is_empty())
    }

    /// Whether there is a store, perhaps a damaged one.
    pub(super) fn has_current(&self, dir: &Path) -> Result<bool> {
        self.vfs.exists(&dir.join("CURRENT"))
    }

    /// What is wrong with a closed store in the eyes of the inspection.
    pub(super) fn unsound(&self, dir: &Path) -> Result<Option<String>> {
        let mut first = None;
        let options = CheckOptions::default();
        let report = check(&self.vfs, dir, &options, &mut |found| {
            if found.is_damage() {
                first.get_or_insert(found.to_string());
            }
            Ok::<(), Error>(())
        })?;
        Ok(first.or_else(|| report.failed.first().map(ToString::to_string)))
    }

    /// Calls `seen` with the reason of each edit in the manifests of the store.
    pub(super) fn edits(&self, seen: &mut dyn FnMut(String)) -> Result<()> {
        let dir = self.store();
        if !self.vfs.exists(&dir)? {
            return Ok(());
        }
        for name in self.vfs.list(&dir)?.iter().filter(|name| name.starts_with("MANIFEST-")) {
            let file = self.vfs.open(&dir.join(name), Access::Read)?;
            let read = read_manifest::<Error>(&*file, &Expect::default(), &mut |item| {
                if let ManifestItem::Edit(edit) = item
                    && let Some(edit) = edit.edit
                {
                    seen(edit.reason.to_string());
                }
                Ok(())
            });
            match read {
                // A kill may leave one that was only begun.
                Ok(_) | Err(Error::NotOurs { .. } | Error::Corruption(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "these tests prepare files")]
mod tests {
    use super::*;

    /// Somebody's directory, and one with the evidence of a violation, are left alone.
    #[test]
    fn only_a_directory_of_ours_is_taken() {
        let home = tempfile::tempdir().unwrap();
        let (theirs, ours) = (home.path().join("theirs"), home.path().join("ours"));
        std::fs::create_dir(&theirs).unwrap();
        std::fs::write(theirs.join("letter"), "dear").unwrap();
        assert!(matches!(Site::new(&theirs).begin(), Err(Error::InvalidArgument(_))));
        let site = Site::new(&ours);
        site.begin().unwrap();
        site.begin().unwrap();
        std::fs::write(site.artifact(), "{}").unwrap();
        assert!(matches!(site.begin(), Err(Error::InvalidArgument(_))));
    }

    /// Two stores may be begun one after the other without the first being made.
    #[test]
    fn a_store_is_removed_if_it_was_made() {
        let home = tempfile::tempdir().unwrap();
        let site = Site::new(home.path());
        for made in [true, false] {
            site.remove_store(|dir| std::fs::remove_dir(dir)).unwrap().unwrap();
            if made {
                std::fs::create_dir(site.store()).unwrap();
            }
        }
        assert!(!site.store().exists());
    }

    /// The copy opens and holds what the store held, and changing it changes nothing of the store.
    #[test]
    fn a_copy_is_a_store_of_its_own() {
        let home = tempfile::tempdir().unwrap();
        let site = Site::new(home.path());
        let db = tiny_options().open(site.store()).unwrap();
        db.put("a", "1").unwrap();
        db.flush().unwrap();
        db.put("b", "2").unwrap();
        site.copy_store().unwrap();
        let copy = tiny_options().open(site.copy()).unwrap();
        assert!(!copy.recovery().clean);
        copy.put("a", "3").unwrap();
        copy.compact::<&str, _>(..).unwrap();
        copy.close().unwrap();
        assert_eq!(site.unsound(&site.copy()).unwrap(), None);
        assert_eq!(db.get("a").unwrap().as_deref(), Some(&b"1"[..]));
        assert_eq!(db.get("b").unwrap().as_deref(), Some(&b"2"[..]));
        let mut reasons = Vec::new();
        site.edits(&mut |reason| reasons.push(reason)).unwrap();
        assert!(reasons.contains(&"flush".to_owned()), "{reasons:?}");
    }
}
