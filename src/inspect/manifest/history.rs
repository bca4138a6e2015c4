//! The manifests of a store's life, one after the other, as far as they are still there.
//!
//! Invariants:
//! - Edits have the numbers of the store's life, from 1. Whatever is missing between two of them is
//!   told as a gap, never stepped over.
//! - An edit counts only if the manifest that followed says so: what is behind that in an older
//!   manifest was of unknown outcome, and the rollover decided that it never was.
//! - Memory holds one state and one edit, whatever the length of the history.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{ManifestItem, read_manifest};
use crate::error::{Error, Result};
use crate::format::edit::{Edit, Lineage};
use crate::format::frame::Kind;
use crate::format::header::{FileKind, HEADER_SIZE};
use crate::format::names::{self, FileName};
use crate::format::state::State;
use crate::format::table::TableMeta;
use crate::inspect::finding::{Code, Finding};
use crate::inspect::frames::Expect;
use crate::inspect::store;
use crate::record::{self, Item, Scanner};
use crate::types::{FileNumber, Level, StoreId};
use crate::vfs::{Access, File, Vfs};

/// The manifests of a store, oldest first.
#[derive(Debug)]
pub struct History {
    /// The manifests.
    pub links: Vec<Link>,
    /// What is wrong with CURRENT and the current manifest.
    pub findings: Vec<Finding>,
}

/// A manifest of a [`History`].
#[derive(Clone, Debug)]
pub struct Link {
    /// The file.
    pub file: Arc<dyn File>,
    /// What others say about it.
    pub expect: Expect,
    /// What its first edit says of those before it; none if that cannot be read, or it is the first.
    pub lineage: Option<Lineage>,
}

/// A moment of a history.
#[derive(Debug)]
pub enum Moment<'a> {
    /// A manifest begins.
    Manifest(&'a Path),
    /// Edits are missing: their manifest was dropped, or they cannot be read.
    Gap(Gap),
    /// An edit that took effect.
    Edit(Told<'a>),
    /// Something about a manifest that is not as it should be.
    Finding(&'a Finding),
}

/// Edits that are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The first of them.
    pub first: u64,
    /// The last, if a later manifest tells.
    pub last: Option<u64>,
}

/// An edit, and what it did.
#[derive(Debug)]
pub struct Told<'a> {
    /// Its number in the store's life.
    pub number: u64,
    /// The manifest it is in.
    pub path: &'a Path,
    /// Where its frame begins.
    pub offset: u64,
    /// The frame's bytes.
    pub size: u64,
    /// The edit.
    pub edit: &'a Edit,
    /// What it changed in the tree. Of a manifest's first edit, which says everything again, only
    /// what is new: nothing, unless edits before it are missing.
    pub change: &'a Change,
    /// The store after it.
    pub state: &'a State,
}

impl Told<'_> {
    /// Whether it only says again what was known: the first edit of a manifest that is not the
    /// first.
    #[must_use]
    pub fn is_restatement(&self) -> bool {
        self.edit.lineage.is_some()
    }
}

/// What an edit changed in the tree. A table that moves is in both lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Tables that came.
    pub added: Vec<(Level, TableMeta)>,
    /// Tables that went.
    pub removed: Vec<(Level, TableMeta)>,
}

/// What a history adds up to.
#[derive(Clone, Debug, Default)]
pub struct HistoryTotals {
    /// Edits that took effect and were read.
    pub edits: u64,
    /// The number of the first and of the last.
    pub numbers: Option<(u64, u64)>,
    /// Things that no crash explains.
    pub damaged: u64,
    /// Places where edits are missing.
    pub gaps: u64,
    /// The state after the last edit.
    pub state: State,
}

impl History {
    /// The history of the store in `dir`.
    ///
    /// # Errors
    /// [`Error::NoStore`] when the directory has no file of a store; [`Error::Io`].
    pub fn of_store(vfs: &dyn Vfs, dir: &Path) -> Result<History> {
        let live = store::live(vfs, dir)?;
        let Some(current) = live.manifest else {
            // Damage: only a missing CURRENT or manifest leaves a store without one.
            return Ok(History { links: Vec::new(), findings: live.findings });
        };
        // What is wrong inside the manifest is found again as it is read.
        let elsewhere = |found: &Finding| found.path != current || found.offset.is_none();
        let mut findings: Vec<Finding> = live.findings.into_iter().filter(elsewhere).collect();
        let mut links = Vec::new();
        for path in older(vfs, dir, &current)? {
            match vfs.open(&path, Access::Read) {
                Ok(file) => links.extend(Link::open(file, Expect::default(), &mut findings)?),
                // Trimmed by a rollover meanwhile.
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        // An older one that is not history: left over, or somebody put it here.
        let file = vfs.open(&current, Access::Read)?;
        let own = owner(&*file);
        links.retain(|link| own.is_none() || owner(&*link.file) == own);
        links.extend(Link::open(file, live.manifest_expect, &mut findings)?);
        Ok(History { links, findings })
    }

    /// The history that one manifest tells.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn of_file(file: Arc<dyn File>) -> Result<History> {
        let lineage = first_edit(&*file)?.and_then(|edit| edit.lineage);
        let link = Link { file, expect: Expect::default(), lineage };
        Ok(History { links: vec![link], findings: Vec::new() })
    }

    /// Bytes of all manifests.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.links.iter().map(|link| link.file.size().unwrap_or(0)).sum()
    }

    /// Reads it all, calling `visit` with one moment after the other.
    ///
    /// # Errors
    /// Those of `visit`; as [`read_manifest`].
    pub fn read<E: From<Error>>(
        &self,
        visit: &mut dyn FnMut(Moment<'_>) -> Result<(), E>,
    ) -> Result<HistoryTotals, E> {
        let mut reading = Reading::default();
        for finding in &self.findings {
            reading.totals.damaged += u64::from(finding.is_damage());
            visit(Moment::Finding(finding))?;
        }
        for (index, link) in self.links.iter().enumerate() {
            let next = self.links.get(index + 1).and_then(|next| next.lineage);
            reading.link(link, next.map(|lineage| lineage.edits), visit)?;
        }
        reading.end(visit)?;
        Ok(reading.totals)
    }
}

impl Link {
    /// A link; a finding if the file is no manifest at all.
    fn open(
        file: Arc<dyn File>,
        expect: Expect,
        findings: &mut Vec<Finding>,
    ) -> Result<Option<Link>> {
        /// What a look at the header ends with.
        enum Probe {
            IsOurs,
            Failed(Error),
        }
        impl From<Error> for Probe {
            fn from(error: Error) -> Probe {
                Probe::Failed(error)
            }
        }
        match read_manifest(&*file, &expect, &mut |_| Err(Probe::IsOurs)) {
            Err(Probe::Failed(Error::NotOurs { path, detail, .. })) => {
                findings.push(Finding::new(Code::ManifestHeader, path, detail).at(0, 0));
                return Ok(None);
            }
            Err(Probe::Failed(error)) => return Err(error),
            Err(Probe::IsOurs) | Ok(_) => {}
        }
        let lineage = first_edit(&*file)?.and_then(|edit| edit.lineage);
        Ok(Some(Link { file, expect, lineage }))
    }
}

/// The manifests with numbers below the current one's, oldest first.
fn older(vfs: &dyn Vfs, dir: &Path, current: &Path) -> Result<Vec<PathBuf>> {
    let number = |name: &str| match names::parse(name) {
        FileName::Manifest(number) => Some(number),
        _ => None,
    };
    let current = current.file_name().and_then(|name| number(name.to_str()?));
    let mut numbers: Vec<FileNumber> =
        vfs.list(dir)?.iter().filter_map(|name| number(name)).collect();
    numbers.retain(|number| current.is_some_and(|current| *number < current));
    numbers.sort_unstable();
    Ok(numbers.into_iter().map(|number| dir.join(names::manifest(number))).collect())
}

fn owner(file: &dyn File) -> Option<StoreId> {
    record::read_header(file, FileKind::Manifest).ok().map(|header| header.store)
}

/// The first edit, if it is whole.
fn first_edit(file: &dyn File) -> Result<Option<Edit>> {
    let Ok(header) = record::read_header(file, FileKind::Manifest) else { return Ok(None) };
    let mut scanner = Scanner::new(file, header.id, HEADER_SIZE as u64, None)?;
    Ok(match scanner.next()? {
        Some(Item::Frame { kind: Kind::Edit, payload, .. }) => Edit::decode(payload).ok(),
        _ => None,
    })
}

/// Where a reading of a history stands.
#[derive(Default)]
struct Reading {
    totals: HistoryTotals,
    /// The number of the last edit that was told, or that is known to be missing.
    last: u64,
    /// Edits of this manifest cannot be told any more.
    lost: bool,
}

impl Reading {
    /// Reads a manifest. Edits numbered beyond `upto` never took effect.
    fn link<E: From<Error>>(
        &mut self,
        link: &Link,
        upto: Option<u64>,
        visit: &mut dyn FnMut(Moment<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let path = link.file.path();
        visit(Moment::Manifest(path))?;
        self.lost = false;
        let upto = upto.unwrap_or(u64::MAX);
        let read = read_manifest(&*link.file, &link.expect, &mut |item| {
            if let Some(finding) = item.finding() {
                self.totals.damaged += u64::from(finding.is_damage());
                visit(Moment::Finding(finding))?;
            }
            match item {
                ManifestItem::Edit(report) => match (report.number, &report.edit) {
                    (Some(number), Some(edit)) if number <= upto && !self.lost => {
                        self.edit((path, report.offset, report.size), number, edit, visit)?;
                    }
                    (Some(_), Some(_)) => {}
                    _ => self.lost = true,
                },
                ManifestItem::Hole(hole) => self.lost |= hole.is_damage(),
                ManifestItem::Header(_) | ManifestItem::Unused { .. } => {}
            }
            Ok::<(), E>(())
        });
        read.map(|_| ())
    }

    fn edit<E: From<Error>>(
        &mut self,
        (path, offset, size): (&Path, u64, u64),
        number: u64,
        edit: &Edit,
        visit: &mut dyn FnMut(Moment<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if number > self.last.saturating_add(1) {
            self.gap(Some(number - 1), visit)?;
        }
        let says_all = edit.store.is_some();
        let change = if says_all {
            let mut state = State::default();
            if state.apply(edit).is_err() {
                self.lost = true;
                return Ok(());
            }
            let change = between(&self.totals.state, &state);
            self.totals.state = state;
            change
        } else {
            let change = of_edit(&self.totals.state, edit);
            if self.totals.state.apply(edit).is_err() {
                self.lost = true;
                return Ok(());
            }
            change
        };
        self.last = number;
        self.totals.edits += 1;
        let first = self.totals.numbers.map_or(number, |(first, _)| first);
        self.totals.numbers = Some((first, number));
        let state = &self.totals.state;
        visit(Moment::Edit(Told { number, path, offset, size, edit, change: &change, state }))
    }

    fn gap<E: From<Error>>(
        &mut self,
        last: Option<u64>,
        visit: &mut dyn FnMut(Moment<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.totals.gaps += 1;
        visit(Moment::Gap(Gap { first: self.last.saturating_add(1), last }))
    }

    /// The last manifest was not read to its end.
    fn end<E: From<Error>>(
        &mut self,
        visit: &mut dyn FnMut(Moment<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.lost { self.gap(None, visit) } else { Ok(()) }
    }
}

/// What an edit that is not a restatement does.
fn of_edit(before: &State, edit: &Edit) -> Change {
    let removed = edit.tables_removed.iter().filter_map(|(level, number)| {
        let tables = before.levels.get(usize::from(level.0))?;
        let table = tables.iter().find(|table| table.number == *number)?;
        Some((*level, table.clone()))
    });
    Change { removed: removed.collect(), added: edit.tables_added.clone() }
}

/// What lies between two states of a tree.
#[must_use]
pub fn between(before: &State, after: &State) -> Change {
    let numbered = |state: &State| -> BTreeMap<FileNumber, Level> {
        state.tables().map(|(level, table)| (table.number, level)).collect()
    };
    let (old, new) = (numbered(before), numbered(after));
    let only = |state: &State, other: &BTreeMap<FileNumber, Level>| {
        let differs =
            |(level, table): &(Level, &TableMeta)| other.get(&table.number) != Some(level);
        state.tables().filter(differs).map(|(level, table)| (level, table.clone())).collect()
    };
    Change { added: only(after, &old), removed: only(before, &new) }
}
