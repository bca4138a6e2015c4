//! A whole store: every checksum, every key, and how its files fit together.
//!
//! All findings are reported, not the first: CURRENT and manifest, then logs, tables in the order
//! of the tree, how tables lie over each other, history, and the directory. Where the manifest
//! cannot be believed every file there is by name is still checked on its own.
//!
//! Invariants:
//! - Tables and old manifests are immutable and stay open: what is wrong with them is so. What is
//!   wrong with CURRENT, the manifest and the logs counts when two readings in a row agree on it,
//!   for a writer may be at work there.
//! - The findings and their order do not depend on the number of threads.
//! - A file that cannot be read at all (the disk refuses, a later format) is told in
//!   [`CheckReport::failed`], and the others are still checked.

mod logs;
mod merge;
mod order;
mod tables;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::directory;
use super::finding::{Code, Finding, Severity};
use super::frames::Expect;
use super::manifest::read_manifest;
use super::view::View;
use crate::error::{Error, Result};
use crate::format::names::{self, FileName};
use crate::format::state::State;
use crate::types::FileNumber;
use crate::vfs::{Access, Vfs};

/// How to check.
#[derive(Clone, Copy)]
pub struct CheckOptions<'p> {
    /// Tables that are read at the same time, each in a thread. Default 1.
    pub threads: usize,
    /// Called now and then with the bytes read so far and all there are to read.
    pub progress: Option<&'p dyn Fn(u64, u64)>,
}

impl Default for CheckOptions<'_> {
    fn default() -> Self {
        CheckOptions { threads: 1, progress: None }
    }
}

/// What a check adds up to.
#[derive(Clone, Debug, Default)]
pub struct CheckReport {
    /// Files that were read.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Entries of tables and operations in logs.
    pub entries: u64,
    /// Findings that are damage.
    pub damaged: u64,
    /// Findings that are not.
    pub notices: u64,
    /// Why files could not be read at all.
    pub failed: Vec<Error>,
}

impl CheckReport {
    /// Whether nothing is broken, and everything was read.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.damaged == 0 && self.failed.is_empty()
    }

    fn count(&mut self, finding: &Finding) {
        match finding.severity() {
            Severity::Damage => self.damaged += 1,
            Severity::Notice => self.notices += 1,
        }
    }

    fn file(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
    }
}

/// Checks the store in `dir`, calling `visit` with each finding.
///
/// # Errors
/// Those of `visit`; [`Error::NoStore`] when the directory has no file of a store;
/// [`Error::Moved`] when a writer was faster many times over; [`Error::Unsupported`] for a later
/// format version; [`Error::Io`] when not even CURRENT and the manifest can be read.
pub fn check<E: From<Error>>(
    vfs: &dyn Vfs,
    dir: &Path,
    options: &CheckOptions<'_>,
    visit: &mut dyn FnMut(Finding) -> Result<(), E>,
) -> Result<CheckReport, E> {
    let mut report = CheckReport::default();
    let (view, logs) = logs::settled(vfs, dir)?;
    let mut check = Check { report: &mut report, visit, told: BTreeSet::new() };
    for finding in &view.findings {
        check.found(finding.clone())?;
    }
    check.top(vfs, &view)?;
    check.logs(&view, logs)?;
    let facts = tables::read(&view, options, &mut check)?;
    for finding in order::problems(&view, &facts) {
        check.found(finding)?;
    }
    merge::inversions(&view, &facts, &mut |finding| check.found(finding))?;
    check.history(vfs, &view)?;
    check.directory(vfs, &view)?;
    Ok(report)
}

/// A check under way.
struct Check<'c, E> {
    report: &'c mut CheckReport,
    visit: &'c mut dyn FnMut(Finding) -> Result<(), E>,
    /// What is wrong with which file, as far as it was told.
    told: BTreeSet<(Code, PathBuf)>,
}

impl<E: From<Error>> Check<'_, E> {
    fn found(&mut self, finding: Finding) -> Result<(), E> {
        self.report.count(&finding);
        self.told.insert((finding.code, finding.path.clone()));
        (self.visit)(finding)
    }

    /// Counts CURRENT and the manifest, which were read with the view.
    fn top(&mut self, vfs: &dyn Vfs, view: &View) -> Result<(), E> {
        if let Ok(file) = vfs.open(&view.dir.join(names::CURRENT), Access::Read) {
            self.report.file(file.size()?);
        }
        if let Some(manifest) = &view.manifest {
            self.report.file(manifest.file.size()?);
        }
        Ok(())
    }

    fn logs(&mut self, view: &View, logs: logs::Reading) -> Result<(), E> {
        self.report.entries += logs.ops;
        for log in &view.logs {
            self.report.file(log.opened.file.size()?);
        }
        self.report.failed.extend(logs.failed);
        match logs.findings {
            Some(findings) => findings.into_iter().try_for_each(|finding| self.found(finding))?,
            // More than is kept: they are read once more.
            None => drop(logs::read(view, &mut |finding| self.found(finding))?),
        }
        logs.unnamed.into_iter().try_for_each(|finding| self.found(finding))
    }

    /// Manifests that were succeeded: nothing opens a store with them, but they are its history.
    fn history(&mut self, vfs: &dyn Vfs, view: &View) -> Result<(), E> {
        let Some(current) = &view.manifest else { return Ok(()) };
        let manifests = view.names.iter().filter_map(|name| match names::parse(name) {
            // A later one is not history: it is being made, or was not finished.
            FileName::Manifest(number) if number < current.number => Some(number),
            _ => None,
        });
        let mut manifests: Vec<FileNumber> = manifests.collect();
        manifests.sort_unstable();
        // Nor is one that its follower does not name: it never was the current one.
        let previous = |state: &State| state.lineage.map(|lineage| lineage.previous);
        let mut expected = view.state.as_ref().and_then(previous);
        for number in manifests.into_iter().rev() {
            if expected.is_some_and(|expected| number > expected) {
                continue;
            }
            let file = match vfs.open(&view.dir.join(names::manifest(number)), Access::Read) {
                Err(error) if error.is_not_found() => continue,
                opened => opened?,
            };
            self.report.file(file.size()?);
            let mut found = Vec::new();
            let read = read_manifest(&*file, &Expect::default(), &mut |item| {
                found.extend(item.finding().cloned());
                Ok::<(), Error>(())
            });
            found.into_iter().try_for_each(|finding| self.found(finding))?;
            expected = read.as_ref().ok().and_then(|read| previous(&read.state));
            match read {
                Ok(_) => {}
                Err(Error::NotOurs { path, detail, .. }) => {
                    self.found(Finding::new(Code::ManifestHeader, path, detail).at(0, 0))?;
                }
                Err(error) => self.report.failed.push(error),
            }
        }
        Ok(())
    }

    /// The manifest against the directory: of files that it names only what was not told already.
    fn directory(&mut self, vfs: &dyn Vfs, view: &View) -> Result<(), E> {
        match directory::check_named(view) {
            Ok(found) => found.into_iter().try_for_each(|finding| {
                let is_told = self.told.contains(&(finding.code, finding.path.clone()));
                if is_told { Ok(()) } else { self.found(finding) }
            })?,
            Err(error) => self.report.failed.push(error),
        }
        let unnamed = directory::check_unnamed(vfs, view)?;
        unnamed.into_iter().try_for_each(|finding| self.found(finding))
    }
}
