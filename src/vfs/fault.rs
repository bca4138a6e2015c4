//! A file system that fails when told to.
//!
//! It passes every call on to another file system, unless a [`Fault`] picks it out; and it counts
//! the calls by kind, so that a test first learns how many places a run has and then fails at each.
//!
//! What holds of an injected failure: a failed call has changed nothing, but for a short write or
//! allocation, which did the first half; a failed sync made nothing durable.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::vfs::sim::SimVfs;
use crate::vfs::{Access, File, Fill, Lock, Vfs};

/// A kind of call, for picking out and for counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OpKind {
    /// [`Vfs::create`] and [`Vfs::create_dir_all`].
    Create,
    /// [`Vfs::open`] and [`Vfs::exists`].
    Open,
    /// [`File::read_at`] and [`File::size`].
    Read,
    /// [`File::write_at`].
    Write,
    /// [`File::allocate`].
    Allocate,
    /// [`File::sync`].
    Sync,
    /// [`Vfs::sync_dir`].
    SyncDir,
    /// [`Vfs::rename`].
    Rename,
    /// [`Vfs::link`].
    Link,
    /// [`Vfs::remove`].
    Remove,
    /// [`Vfs::list`].
    List,
    /// [`Vfs::lock`].
    Lock,
}

impl OpKind {
    /// Every kind.
    pub const ALL: [OpKind; 12] = [
        OpKind::Create,
        OpKind::Open,
        OpKind::Read,
        OpKind::Write,
        OpKind::Allocate,
        OpKind::Sync,
        OpKind::SyncDir,
        OpKind::Rename,
        OpKind::Link,
        OpKind::Remove,
        OpKind::List,
        OpKind::Lock,
    ];

    /// The verb of its error text.
    fn verb(self) -> &'static str {
        match self {
            OpKind::Create => "create",
            OpKind::Open => "open",
            OpKind::Read => "read",
            OpKind::Write => "write",
            OpKind::Allocate => "extend",
            OpKind::Sync | OpKind::SyncDir => "sync",
            OpKind::Rename => "rename",
            OpKind::Link => "link",
            OpKind::Remove => "remove",
            OpKind::List => "list",
            OpKind::Lock => "lock",
        }
    }
}

/// How often a [`Fault`] strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Times {
    /// Once, then never again.
    Once,
    /// At every matching call from then on.
    Always,
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultError {
    /// An I/O error.
    Eio,
    /// No space left on device.
    Enospc,
    /// The first half of a write or an allocation is done, then there is no space left. A read
    /// fails with an I/O error, for a read that comes back short means the end of the file. Any
    /// other call fails as with [`FaultError::Enospc`].
    Short,
}

impl FaultError {
    fn at(self, op: OpKind, path: &Path) -> Error {
        let errno = match (self, op) {
            (FaultError::Eio, _) | (FaultError::Short, OpKind::Read) => Errno::IO,
            (FaultError::Enospc | FaultError::Short, _) => Errno::NOSPC,
        };
        Error::io(op.verb(), path, errno.into())
    }
}

/// A rule: which calls fail, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The kind of call.
    pub op: OpKind,
    /// A part of the path; empty for every path. Of a rename or a link either may match.
    pub path_contains: String,
    /// So many matching calls, counted from [`FaultVfs::add`], are let through first.
    pub after: u64,
    /// Whether the calls after the first failed one fail too.
    pub times: Times,
    /// How they fail.
    pub error: FaultError,
}

/// A [`Vfs`] that injects faults into another. Clones are the same.
#[derive(Clone, Debug)]
pub struct FaultVfs {
    inner: Arc<dyn Vfs>,
    /// The simulated disk at the bottom, if it is one: its pages are dropped at a failed sync.
    sim: Option<SimVfs>,
    rules: Arc<Mutex<Rules>>,
}

#[derive(Debug, Default)]
struct Rules {
    /// Each with the number of calls it still lets through.
    faults: Vec<Fault>,
    injected: u64,
    calls: BTreeMap<OpKind, u64>,
}

impl Rules {
    /// Counts the call; the failure it meets, if any. Every fault counts every call it matches,
    /// also one that another fails.
    fn judge(&mut self, op: OpKind, paths: &[&Path]) -> Option<FaultError> {
        *self.calls.entry(op).or_default() += 1;
        let mut failure = None;
        self.faults.retain_mut(|fault| {
            if !fault.matches(op, paths) {
                return true;
            }
            if fault.after > 0 {
                fault.after -= 1;
                return true;
            }
            failure = failure.or(Some(fault.error));
            fault.times == Times::Always
        });
        self.injected += u64::from(failure.is_some());
        failure
    }
}

impl Fault {
    fn matches(&self, op: OpKind, paths: &[&Path]) -> bool {
        let is_named = |path: &&Path| path.to_string_lossy().contains(&self.path_contains);
        self.op == op && paths.iter().any(is_named)
    }
}

impl FaultVfs {
    /// Wraps any file system. A failed sync leaves its file unsynced; a later one may succeed.
    #[must_use]
    pub fn new(inner: Arc<dyn Vfs>) -> FaultVfs {
        FaultVfs { inner, sim: None, rules: Arc::default() }
    }

    /// Wraps a simulated disk. A failed sync drops the pages, as a real one does: what was
    /// written since the last sync can be read and will never be durable.
    #[must_use]
    pub fn over_sim(sim: SimVfs) -> FaultVfs {
        FaultVfs { inner: Arc::new(sim.clone()), sim: Some(sim), rules: Arc::default() }
    }

    /// Adds a rule. Where several pick out a call the first added decides how it fails.
    pub fn add(&self, fault: Fault) {
        self.rules.lock().faults.push(fault);
    }

    /// Takes all rules away; the counts stay.
    pub fn clear(&self) {
        self.rules.lock().faults.clear();
    }

    /// How many calls were failed.
    #[must_use]
    pub fn injected(&self) -> u64 {
        self.rules.lock().injected
    }

    /// How many calls of each kind were made, failed ones included.
    #[must_use]
    pub fn op_log(&self) -> BTreeMap<OpKind, u64> {
        self.rules.lock().calls.clone()
    }

    fn judge(&self, op: OpKind, path: &Path) -> Option<FaultError> {
        self.rules.lock().judge(op, &[path])
    }

    fn check(&self, op: OpKind, path: &Path) -> Result<()> {
        match self.judge(op, path) {
            Some(fault) => Err(fault.at(op, path)),
            None => Ok(()),
        }
    }

    /// As [`FaultVfs::check`], for a call with two paths.
    fn check_both(&self, op: OpKind, from: &Path, to: &Path) -> Result<()> {
        // Bound first: the rules stay unlocked while the call is passed on.
        let fault = self.rules.lock().judge(op, &[from, to]);
        fault.map_or(Ok(()), |fault| Err(fault.at(op, from)))
    }

    fn wrap(&self, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(FaultFile { file, vfs: self.clone() })
    }
}

impl Vfs for FaultVfs {
    fn create(&self, path: &Path) -> Result<Arc<dyn File>> {
        self.check(OpKind::Create, path)?;
        Ok(self.wrap(self.inner.create(path)?))
    }

    fn open(&self, path: &Path, access: Access) -> Result<Arc<dyn File>> {
        self.check(OpKind::Open, path)?;
        Ok(self.wrap(self.inner.open(path, access)?))
    }

    fn exists(&self, path: &Path) -> Result<bool> {
        self.check(OpKind::Open, path)?;
        self.inner.exists(path)
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>> {
        self.check(OpKind::List, dir)?;
        self.inner.list(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.check_both(OpKind::Rename, from, to)?;
        self.inner.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> Result<()> {
        self.check_both(OpKind::Link, from, to)?;
        self.inner.link(from, to)
    }

    fn remove(&self, path: &Path) -> Result<()> {
        self.check(OpKind::Remove, path)?;
        self.inner.remove(path)
    }

    fn create_dir_all(&self, path: &Path) -> Result<bool> {
        self.check(OpKind::Create, path)?;
        self.inner.create_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> Result<()> {
        self.check(OpKind::SyncDir, path)?;
        self.inner.sync_dir(path)
    }

    fn lock(&self, path: &Path, content: &[u8]) -> Result<Box<dyn Lock>> {
        self.check(OpKind::Lock, path)?;
        self.inner.lock(path, content)
    }
}

#[derive(Debug)]
struct FaultFile {
    file: Arc<dyn File>,
    vfs: FaultVfs,
}

impl File for FaultFile {
    fn path(&self) -> &Path {
        self.file.path()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        self.vfs.check(OpKind::Read, self.path())?;
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        let Some(fault) = self.vfs.judge(OpKind::Write, self.path()) else {
            return self.file.write_at(bytes, offset);
        };
        if fault == FaultError::Short && bytes.len() > 1 {
            self.file.write_at(&bytes[..bytes.len() / 2], offset)?;
        }
        Err(fault.at(OpKind::Write, self.path()))
    }

    fn allocate(&self, size: u64, fill: Fill) -> Result<()> {
        let Some(fault) = self.vfs.judge(OpKind::Allocate, self.path()) else {
            return self.file.allocate(size, fill);
        };
        if fault == FaultError::Short {
            self.file.allocate(self.file.size()?.midpoint(size), fill)?;
        }
        Err(fault.at(OpKind::Allocate, self.path()))
    }

    fn sync(&self) -> Result<()> {
        let Some(fault) = self.vfs.judge(OpKind::Sync, self.path()) else {
            return self.file.sync();
        };
        if let Some(sim) = &self.vfs.sim {
            // Only a file removed meanwhile is not found, and of that nothing is durable anyway.
            let _ = sim.lose_pending(self.path());
        }
        Err(fault.at(OpKind::Sync, self.path()))
    }

    fn size(&self) -> Result<u64> {
        self.vfs.check(OpKind::Read, self.path())?;
        self.file.size()
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;
    use crate::vfs::sim::CrashPlan;

    const F: &str = "/db/f.wal";

    /// A faulty file system over a simulated disk with one durable file, `old` in it.
    fn faulty() -> (SimVfs, FaultVfs, Arc<dyn File>) {
        let sim = SimVfs::new();
        sim.install(F, b"old").expect("an installed file");
        let vfs = FaultVfs::over_sim(sim.clone());
        let file = vfs.open(Path::new(F), Access::ReadWrite).expect("the installed file");
        (sim, vfs, file)
    }

    fn fault(op: OpKind, after: u64, times: Times, error: FaultError) -> Fault {
        Fault { op, path_contains: ".wal".to_owned(), after, times, error }
    }

    /// Five writes against each rule: which of them fail, by number.
    #[test]
    fn a_fault_strikes_after_its_count_once_or_always() {
        for (after, times, expected) in [
            (0, Times::Once, &[0][..]),
            (2, Times::Once, &[2]),
            (3, Times::Always, &[3, 4]),
            (5, Times::Always, &[]),
        ] {
            let (_, vfs, file) = faulty();
            vfs.add(fault(OpKind::Write, after, times, FaultError::Eio));
            let failed: Vec<u64> = (0..5).filter(|_| file.write_at(b"x", 0).is_err()).collect();
            assert_eq!(failed, expected);
            assert_eq!(vfs.injected(), expected.len() as u64);
            assert_eq!(vfs.op_log().get(&OpKind::Write), Some(&5));
        }
    }

    /// Every kind of call fails under a rule of its kind, with its own verb, and works under
    /// a rule of another kind or another path.
    #[test]
    fn each_kind_of_call_fails_by_its_own_rule() {
        for op in OpKind::ALL {
            let (_, vfs, file) = faulty();
            let path = Path::new(F);
            let new = Path::new("/db/new.wal");
            let dir = Path::new("/db/dir.wal");
            let call = || match op {
                OpKind::Create => vfs.create(new).map(drop),
                OpKind::Open => vfs.open(path, Access::Read).map(drop),
                OpKind::Read => file.read_at(&mut [0; 4], 0).map(drop),
                OpKind::Write => file.write_at(b"x", 0),
                OpKind::Allocate => file.allocate(100, Fill::Zeros),
                OpKind::Sync => file.sync(),
                OpKind::SyncDir => vfs.sync_dir(dir),
                OpKind::Rename => vfs.rename(path, Path::new("/db/to")),
                OpKind::Link => vfs.link(path, Path::new("/db/to")),
                OpKind::Remove => vfs.remove(path),
                OpKind::List => vfs.list(dir).map(drop),
                OpKind::Lock => vfs.lock(path, b"1\n").map(drop),
            };
            vfs.create_dir_all(dir).expect("a directory");
            vfs.add(fault(op, 0, Times::Once, FaultError::Eio));
            let error = call().expect_err("failed by the rule").to_string();
            assert!(error.starts_with(&format!("could not {} /db/", op.verb())), "{error}");

            for other in OpKind::ALL.into_iter().filter(|other| *other != op) {
                vfs.add(fault(other, 0, Times::Always, FaultError::Eio));
            }
            let elsewhere = Fault {
                path_contains: ".sst".to_owned(),
                ..fault(op, 0, Times::Always, FaultError::Eio)
            };
            vfs.add(elsewhere);
            call().unwrap_or_else(|error| panic!("{op:?}: {error}"));
            assert_eq!(vfs.injected(), 1);
        }
    }

    /// The calls without a kind of their own count as the kind their documentation says.
    #[test]
    fn lookups_and_directories_fail_too() {
        let (_, vfs, file) = faulty();
        for op in [OpKind::Create, OpKind::Open, OpKind::Read] {
            vfs.add(fault(op, 0, Times::Always, FaultError::Enospc));
        }
        assert!(vfs.create_dir_all(Path::new("/x.wal")).is_err());
        assert!(vfs.exists(Path::new(F)).is_err());
        assert!(file.size().is_err());
        vfs.clear();
        assert_eq!(file.size().expect("no rules left"), 3);
        assert_eq!(vfs.injected(), 3);
    }

    /// A rename and a link are picked out by where they go as well as by where they come from.
    #[test]
    fn a_rename_or_link_matches_by_either_path() {
        let (_, vfs, _) = faulty();
        for op in [OpKind::Rename, OpKind::Link] {
            let path_contains = "CURRENT".to_owned();
            vfs.add(Fault { path_contains, ..fault(op, 0, Times::Once, FaultError::Eio) });
        }
        let current = Path::new("/db/CURRENT");
        assert!(vfs.rename(Path::new(F), current).is_err());
        assert!(vfs.link(Path::new(F), current).is_err());
        assert!(vfs.exists(Path::new(F)).expect("exists"));
        assert!(!vfs.exists(current).expect("exists"));
    }

    /// Half of a short write is in the file, half of a short allocation too; a short read fails
    /// rather than come back short.
    #[test]
    fn short_calls_do_half_and_fail() -> Result<()> {
        let (sim, vfs, file) = faulty();
        for op in [OpKind::Write, OpKind::Allocate, OpKind::Read] {
            vfs.add(fault(op, 0, Times::Once, FaultError::Short));
        }
        let kind = |result: Result<()>| result.expect_err("failed by the rule").io_kind();
        assert_eq!(kind(file.write_at(b"abcd", 3)), Some(ErrorKind::StorageFull));
        assert_eq!(sim.read_file(F)?, b"oldab");
        assert_eq!(kind(file.allocate(15, Fill::Reserve)), Some(ErrorKind::StorageFull));
        assert_eq!(sim.read_file(F)?, b"oldab\0\0\0\0\0");
        let error = file.read_at(&mut [0; 2], 0).expect_err("failed by the rule");
        assert!(error.to_string().ends_with("input/output error"), "{error}");
        Ok(())
    }

    /// The sync fails, the next one succeeds, and what was written before the failed one is not
    /// durable all the same: a caller that retries a sync is caught.
    #[test]
    fn a_failed_sync_drops_the_pages() -> Result<()> {
        let (sim, vfs, file) = faulty();
        vfs.add(fault(OpKind::Sync, 0, Times::Once, FaultError::Eio));
        file.write_at(b"new", 0)?;
        assert!(file.sync().is_err());
        assert_eq!(sim.sync_count(), 0, "the disk was not asked");
        file.sync()?;
        assert_eq!(sim.read_file(F)?, b"new");
        assert_eq!(sim.crash(&CrashPlan::KEEP_ALL).read_file(F)?, b"old");
        Ok(())
    }

    /// Over a file system that is not simulated the failed sync is simply not passed on.
    #[test]
    fn a_failed_sync_is_not_passed_on() -> Result<()> {
        let (sim, _, _) = faulty();
        let vfs = FaultVfs::new(Arc::new(sim.clone()));
        vfs.add(fault(OpKind::Sync, 0, Times::Once, FaultError::Eio));
        let file = vfs.open(Path::new(F), Access::ReadWrite)?;
        file.write_at(b"new", 0)?;
        assert!(file.sync().is_err());
        assert_eq!(sim.crash(&CrashPlan::LOSE_ALL).read_file(F)?, b"old");
        file.sync()?;
        assert_eq!(sim.crash(&CrashPlan::LOSE_ALL).read_file(F)?, b"new");
        Ok(())
    }
}
