//! What every byte of every file of a store's directory is for.
//!
//! The layouts of the formats name the bytes of a file region by region; here they are held against
//! the file: each byte belongs to exactly one region, and what none claims is unexplained. Files
//! that no edit names may be half of what they were to become, since a job was interrupted: what is
//! unexplained there was left by a crash. What is not BeachDB's is counted and not explained.

use std::path::{Path, PathBuf};

use super::FileType;
use super::finding::{Code, Finding};
use super::frames::{self, Expect};
use super::region::{Purpose, Region};
use super::table;
use super::view::View;
use crate::error::{Error, Result};
use crate::format::header::FileKind;
use crate::format::names::{self, FileName};
use crate::vfs::{self, Access, File, Vfs};

/// Bytes of one file, or of all files, by what they are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    /// They say something.
    pub field: u64,
    /// They fill up to a boundary.
    pub padding: u64,
    /// Allocated and not used yet, or given up by recovery.
    pub preallocated: u64,
    /// Left by a crash, and nothing reads them.
    pub torn: u64,
    /// Of files that are not BeachDB's.
    pub other: u64,
    /// Nothing explains them.
    pub unexplained: u64,
}

impl Bytes {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.field + self.padding + self.preallocated + self.torn + self.other + self.unexplained
    }

    fn of(&mut self, purpose: Purpose) -> &mut u64 {
        match purpose {
            Purpose::Field => &mut self.field,
            Purpose::Padding => &mut self.padding,
            Purpose::Preallocated => &mut self.preallocated,
            Purpose::Torn => &mut self.torn,
            Purpose::Unexplained => &mut self.unexplained,
        }
    }

    fn add(&mut self, other: &Bytes) {
        self.field += other.field;
        self.padding += other.padding;
        self.preallocated += other.preallocated;
        self.torn += other.torn;
        self.other += other.other;
        self.unexplained += other.unexplained;
    }
}

/// A file and what its bytes are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileCoverage {
    /// Its path.
    pub path: PathBuf,
    /// What it is, by its name; `Unknown` for LOCK, temporary files and what is not BeachDB's.
    pub kind: FileType,
    /// Its bytes.
    pub bytes: Bytes,
}

/// Accounts for every byte of the files in `dir`, calling `visit` with each file, by name, and with
/// what nothing explains; returns the sum.
///
/// # Errors
/// Those of `visit`; as [`View::take`].
pub fn coverage<E: From<Error>>(
    vfs: &dyn Vfs,
    dir: &Path,
    visit: &mut dyn FnMut(FileCoverage, Vec<Finding>) -> Result<(), E>,
) -> Result<Bytes, E> {
    let view = View::take(vfs, dir)?;
    let mut sum = Bytes::default();
    for name in &view.names {
        let path = dir.join(name);
        let Some(known) = Known::open(vfs, &view, &path, names::parse(name))? else { continue };
        let mut account = Account::begin(&*known.file, known.is_named)?;
        let kind = known.account(&mut account)?;
        let (bytes, findings) = account.end();
        sum.add(&bytes);
        visit(FileCoverage { path, kind, bytes }, findings)?;
    }
    Ok(sum)
}

/// A file, and what the view knows of it.
struct Known {
    file: std::sync::Arc<dyn File>,
    name: FileName,
    expect: Expect,
    is_named: bool,
}

impl Known {
    /// Opens a file; one that the view has as it has it, none if it went away.
    fn open(vfs: &dyn Vfs, view: &View, path: &Path, name: FileName) -> Result<Option<Known>> {
        let is_believed = view.state.is_some();
        let known = |file: &std::sync::Arc<dyn File>, expect| {
            Ok(Some(Known { file: std::sync::Arc::clone(file), name, expect, is_named: true }))
        };
        if let Some(manifest) = view.manifest.as_ref().filter(|file| file.path == *path) {
            return known(&manifest.file, view.manifest_expect);
        }
        if let Some(log) = view.logs.iter().find(|log| log.opened.path == *path) {
            return known(&log.opened.file, log.expect);
        }
        if let Some(table) = view.tables.iter().find(|table| table.opened.path == *path) {
            return known(&table.opened.file, Expect::default());
        }
        let file = match vfs.open(path, Access::Read) {
            Ok(file) => file,
            Err(error) if error.is_not_found() => return Ok(None),
            // A directory is no file, and has no bytes to account for.
            Err(_) if name == FileName::Other && vfs.list(path).is_ok() => return Ok(None),
            Err(error) => return Err(error),
        };
        if name == FileName::Other && vfs.list(path).is_ok() {
            return Ok(None);
        }
        let current = view.manifest.as_ref().map(|manifest| manifest.number);
        let is_named = match name {
            FileName::Manifest(number) => current.is_some_and(|current| number < current),
            FileName::Current | FileName::Lock => true,
            _ => !is_believed,
        };
        Ok(Some(Known { file, name, expect: Expect::default(), is_named }))
    }

    /// Accounts for the bytes; says what the file is.
    fn account(&self, account: &mut Account) -> Result<FileType> {
        let file = &*self.file;
        let mut take = |region: Region| {
            account.take(&region);
            Ok::<(), Error>(())
        };
        let (kind, laid_out) = match self.name {
            FileName::Log(_) => {
                (FileType::Log, frames::layout(file, FileKind::Wal, &self.expect, &mut take))
            }
            FileName::Manifest(_) => {
                let laid_out = frames::layout(file, FileKind::Manifest, &self.expect, &mut take);
                (FileType::Manifest, laid_out)
            }
            FileName::Table(_) => (FileType::Table, table::layout(file, &mut take)),
            FileName::Current => (FileType::Current, account.current(file)),
            FileName::Lock => (FileType::Unknown, account.lock(file)),
            // No writer reads them: they are left over.
            FileName::CurrentTemp | FileName::CheckpointTemp => {
                account.rest(Purpose::Torn);
                (FileType::Unknown, Ok(()))
            }
            FileName::Other => {
                account.bytes.other = account.size;
                account.at = account.size;
                (FileType::Unknown, Ok(()))
            }
        };
        match laid_out {
            // Not what its name says: the rest stays unexplained.
            Ok(()) | Err(Error::NotOurs { .. } | Error::Unsupported { .. }) => Ok(kind),
            Err(error) => Err(error),
        }
    }
}

/// The bytes of one file.
struct Account {
    path: PathBuf,
    size: u64,
    /// What is unexplained here is so; elsewhere a crash explains it.
    is_named: bool,
    /// Everything before this offset is accounted for.
    at: u64,
    bytes: Bytes,
    /// The run of unexplained bytes that ends at `at`: where it begins, and why.
    run: Option<(u64, String)>,
    findings: Vec<Finding>,
}

impl Account {
    fn begin(file: &dyn File, is_named: bool) -> Result<Account> {
        let (path, size, bytes) = (file.path().to_owned(), file.size()?, Bytes::default());
        Ok(Account { path, size, is_named, at: 0, bytes, run: None, findings: Vec::new() })
    }

    fn take(&mut self, region: &Region) {
        if region.offset > self.at {
            self.unexplained(region.offset, "no part of the file claims it");
        }
        let end = region.offset.saturating_add(region.size);
        if region.offset < self.at && region.size > 0 {
            let what = format!("{} of {} claims bytes of what is before", region.name, region.part);
            let finding = Finding::new(Code::Unexplained, &self.path, what);
            self.findings.push(finding.at(region.offset, region.size));
        }
        if end <= self.at {
            return;
        }
        match region.purpose {
            Purpose::Unexplained => self.unexplained(end, &region.value),
            purpose => {
                self.settle();
                *self.bytes.of(purpose) += end - self.at;
                self.at = end;
            }
        }
    }

    fn unexplained(&mut self, end: u64, why: &str) {
        let purpose = if self.is_named { Purpose::Unexplained } else { Purpose::Torn };
        *self.bytes.of(purpose) += end - self.at;
        if self.is_named && self.run.is_none() {
            self.run = Some((self.at, why.to_owned()));
        }
        self.at = end;
    }

    /// Ends a run of unexplained bytes.
    fn settle(&mut self) {
        if let Some((start, why)) = self.run.take() {
            let count = self.at - start;
            let what = format!("{count} bytes are unexplained");
            let finding = Finding::new(Code::Unexplained, &self.path, what);
            self.findings.push(finding.at(start, count).because(why));
        }
    }

    /// Everything that is left is for this.
    fn rest(&mut self, purpose: Purpose) {
        *self.bytes.of(purpose) += self.size.saturating_sub(self.at);
        self.at = self.at.max(self.size);
    }

    /// One line, or nothing that is understood.
    fn current(&mut self, file: &dyn File) -> Result<()> {
        let bytes = vfs::read_all(file, 1024)?;
        if names::decode_current(&bytes).is_ok() {
            self.rest(Purpose::Field);
        }
        Ok(())
    }

    /// The process id of the last writer, and a line feed. It is for people and never synced, so a
    /// crash leaves anything.
    fn lock(&mut self, file: &dyn File) -> Result<()> {
        let bytes = vfs::read_all(file, 1024)?;
        let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let is_whole = bytes.get(digits..) == Some(b"\n");
        self.rest(if is_whole { Purpose::Field } else { Purpose::Torn });
        Ok(())
    }

    fn end(mut self) -> (Bytes, Vec<Finding>) {
        if self.at < self.size {
            self.unexplained(self.size, "no part of the file claims it");
        }
        self.settle();
        (self.bytes, self.findings)
    }
}
