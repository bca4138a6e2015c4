//! What there is: the files of the store, and what the manifests say of them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::history::History;
use super::logs::LogPart;
use super::{Action, Loss, Step};
use crate::error::{Error, Result};
use crate::format::edit::{Counters, Edit};
use crate::format::frame::{self, Decoded, Kind, MEND_SIZE_MAX, frame_size};
use crate::format::header::FileKind;
use crate::format::names::{self, FileName};
use crate::format::state::State;
use crate::format::table::TableMeta;
use crate::inspect::finding::{Code, Finding};
use crate::inspect::follow::has_frame;
use crate::inspect::frames::{Expect, Hole};
use crate::inspect::manifest::{ManifestItem, read_manifest};
use crate::inspect::store::{self, Live, Witness};
use crate::record;
use crate::types::{FileId, FileNumber, Level, SeqNo, StoreId};
use crate::vfs::{Access, File, Vfs};

/// The files to make a store of.
#[derive(Debug)]
pub(super) struct Stock {
    pub(super) store: Option<StoreId>,
    pub(super) tables: Vec<StockTable>,
    pub(super) logs: Vec<LogPart>,
    /// Files of the store that no edit names.
    pub(super) strays: Vec<PathBuf>,
    /// A manifest is believed: its tables and levels are the store's.
    pub(super) has_state: bool,
    pub(super) history: History,
    /// Everything up to it is in tables, as far as edits say.
    pub(super) in_tables: SeqNo,
    pub(super) next_file: FileNumber,
    pub(super) counters: Counters,
    pub(super) findings: Vec<Finding>,
    /// CURRENT and manifests, as far as they are made anew.
    pub(super) rebuilt: Vec<Step>,
}

/// A table and what the manifest says about it.
#[derive(Debug)]
pub(super) struct StockTable {
    pub(super) path: PathBuf,
    pub(super) number: FileNumber,
    pub(super) file: Arc<dyn File>,
    pub(super) level: Option<Level>,
    pub(super) meta: Option<TableMeta>,
}

impl Stock {
    /// Files that are missing, with what was in them.
    pub(super) fn losses(&self) -> Vec<Loss> {
        let missing =
            |found: &&Finding| matches!(found.code, Code::TableMissing | Code::LogMissing);
        let loss = |found: &Finding| {
            let keys = found.keys.clone().map(|(first, last)| (Some(first), last));
            let what = match found.code {
                Code::TableMissing => "the table is missing",
                _ => "the log is missing; what was in it is not known",
            };
            Loss { keys, ..Loss::new(&found.path, what) }
        };
        self.findings.iter().filter(missing).map(loss).collect()
    }
}

/// Looks at the directory.
pub(super) fn take(vfs: &dyn Vfs, dir: &Path) -> Result<Stock> {
    let mut names = vfs.list(dir)?;
    names.sort();
    let mut live = store::live(vfs, dir)?;
    let mut findings = std::mem::take(&mut live.findings);
    if live.state.is_none()
        && let Some(believed) = believable(vfs, dir, &names)?
    {
        live = believed;
    }
    let doubt = live.state.as_ref().map(|state| unnamed_log(vfs, dir, &names, state));
    if let Some(found) = doubt.transpose()?.flatten() {
        findings.push(found);
        live = store::by_name(vfs, dir)?;
    }
    let logs = Witness::all(vfs, &store::by_name(vfs, dir)?.logs);
    let history = History::read(vfs, dir, &names, &logs)?;
    let state = live.state.as_ref();
    let numbers = names.iter().filter_map(|name| names::parse(name).number());
    let above = numbers.map(|number| number.0.saturating_add(1)).max().unwrap_or(1);
    let next_file = state.map_or(0, |state| state.next_file.0).max(above);
    let rebuilt = rebuilt(dir, &findings);
    let mut stock = Stock {
        store: state.and_then(|state| state.store.as_ref()).map(|it| it.id).or(history.store),
        tables: Vec::new(),
        logs: Vec::new(),
        strays: Vec::new(),
        has_state: state.is_some(),
        in_tables: state.map_or(history.last_seqno, |state| state.last_seqno),
        next_file: FileNumber(next_file),
        counters: state.map_or(history.counters, |state| state.counters),
        history,
        findings,
        rebuilt,
    };
    stock.open(vfs, &live)?;
    stock.find_strays(dir, &names);
    Ok(stock)
}

/// What is made anew because something is wrong with it.
fn rebuilt(dir: &Path, findings: &[Finding]) -> Vec<Step> {
    let of = |found: &&Finding| found.is_damage() && !found.code.id().starts_with("BT");
    let paths: BTreeSet<&PathBuf> = findings.iter().filter(of).map(|found| &found.path).collect();
    let paths = paths.into_iter().filter(|path| path.as_path() != dir);
    let is_log = |path: &Path| path.extension().is_some_and(|end| end == "wal");
    let step = |path: &PathBuf| Step {
        action: Action::Rebuild,
        path: path.clone(),
        level: None,
        why: "from the tables and what edits can be read".to_owned(),
    };
    paths.filter(|path| !is_log(path)).map(step).collect()
}

/// The newest manifest, if CURRENT is all that is wrong.
///
/// A manifest without an edit never counted: the one before it is the newest then.
fn believable(vfs: &dyn Vfs, dir: &Path, names: &[String]) -> Result<Option<Live>> {
    let logs = Witness::all(vfs, &store::by_name(vfs, dir)?.logs);
    let mut manifests: Vec<FileNumber> = names
        .iter()
        .filter_map(|name| match names::parse(name) {
            FileName::Manifest(number) => Some(number),
            _ => None,
        })
        .collect();
    manifests.sort_unstable();
    while let Some(number) = manifests.pop() {
        let path = dir.join(names::manifest(number));
        let file = vfs.open(&path, Access::Read)?;
        let Ok(header) = record::read_header(&*file, FileKind::Manifest) else { return Ok(None) };
        let promise = Witness::promise(&logs, header.store);
        let is_stranger = !logs.is_empty() && logs.iter().all(|log| log.store != header.store);
        let is_older = promise.is_some_and(|(newer, _)| newer > number);
        if is_stranger || is_older || header.number != number {
            return Ok(None);
        }
        let promised = promise.filter(|(marked, _)| *marked == number).map_or(0, |(_, upto)| upto);
        let expect = Expect { promised, size: promised, ..Expect::default() };
        let folded = fold(&*file, header.id, &expect)?;
        if folded.edits == 0 && promised == 0 {
            continue;
        }
        let is_sound = folded.is_whole && folded.state.store.is_some();
        return Ok(is_sound.then(|| store::of_state(dir, path, folded.state)));
    }
    Ok(None)
}

/// What a manifest's edits add up to.
struct Folded {
    state: State,
    edits: u64,
    /// No edit is missing.
    is_whole: bool,
}

/// Adds up a manifest's edits. One that a single flipped bit explains is read with the bit flipped
/// back: its checksum is right then, and it must fit those before and behind it.
fn fold(file: &dyn File, id: FileId, expect: &Expect) -> Result<Folded> {
    let mut folded = Folded { state: State::default(), edits: 0, is_whole: true };
    let read = read_manifest(file, expect, &mut |item| {
        let edit = match item {
            ManifestItem::Header(header) => {
                let cut = header.damage.as_ref();
                folded.is_whole &= cut.is_none_or(|found| found.code == Code::ManifestHeader);
                return Ok(());
            }
            ManifestItem::Hole(hole) if hole.is_damage() => mended(file, id, &hole)?,
            ManifestItem::Edit(edit) => edit.edit,
            _ => return Ok(()),
        };
        folded.edits += 1;
        let fits = edit.is_some_and(|edit| folded.state.apply(&edit).is_ok());
        folded.is_whole &= fits;
        Ok::<(), Error>(())
    });
    match read {
        Ok(_) => {}
        Err(Error::NotOurs { .. } | Error::Corruption(_)) => folded.is_whole = false,
        Err(error) => return Err(error),
    }
    Ok(folded)
}

/// The edit in a hole that one flipped bit explains.
fn mended(file: &dyn File, id: FileId, hole: &Hole) -> Result<Option<Edit>> {
    let Some((at, bit)) = hole.flipped else { return Ok(None) };
    let size = hole.size.min(frame_size(MEND_SIZE_MAX) as u64);
    let mut bytes = vec![0; size as usize];
    let read = file.read_at(&mut bytes, hole.offset)?;
    let byte = at.checked_sub(hole.offset).and_then(|at| bytes[..read].get_mut(at as usize));
    let Some(byte) = byte else { return Ok(None) };
    *byte ^= 1 << bit;
    Ok(match frame::decode(&bytes[..read], id, hole.offset) {
        Decoded::Frame { kind: Kind::Edit, payload, size, .. } if size as u64 == hole.size => {
            Edit::decode(payload).ok()
        }
        _ => None,
    })
}

/// A log with records that the manifest should name: it is not the store's newest then.
fn unnamed_log(
    vfs: &dyn Vfs,
    dir: &Path,
    names: &[String],
    state: &State,
) -> Result<Option<Finding>> {
    for name in names {
        let FileName::Log(number) = names::parse(name) else { continue };
        if number <= state.logs_dropped_upto || state.logs.contains_key(&number) {
            continue;
        }
        let file = vfs.open(&dir.join(name), Access::Read)?;
        let Ok(header) = record::read_header(&*file, FileKind::Wal) else { continue };
        let is_ours = state.store.as_ref().is_some_and(|store| store.id == header.store);
        if is_ours && has_frame(&*file)? {
            let what = format!("log {number} holds records of this store, and no edit names it");
            return Ok(Some(Finding::new(Code::ManifestOlder, dir, what)));
        }
    }
    Ok(None)
}

impl Stock {
    fn open(&mut self, vfs: &dyn Vfs, live: &Live) -> Result<()> {
        let state = live.state.as_ref();
        for (path, level) in &live.tables {
            let Some(number) = number_of(path) else { continue };
            let meta = state
                .and_then(|state| state.tables().find(|(_, table)| table.number == number))
                .map(|(_, meta)| meta.clone());
            match vfs.open(path, Access::Read) {
                Ok(file) => {
                    let (path, level) = (path.clone(), *level);
                    self.tables.push(StockTable { path, number, file, level, meta });
                }
                Err(error) if error.is_not_found() => {
                    let what = "it is missing, but the manifest names it";
                    let mut found = Finding::new(Code::TableMissing, path, what);
                    if let Some(meta) = meta {
                        found = found.of_keys(&meta.smallest.user, &meta.largest.user);
                    }
                    self.findings.push(found.in_level(*level));
                }
                Err(error) => return Err(error),
            }
        }
        for (path, expect) in &live.logs {
            self.open_log(vfs, path, *expect)?;
        }
        self.missing_by_history(vfs, live)
    }

    fn open_log(&mut self, vfs: &dyn Vfs, path: &Path, expect: Expect) -> Result<()> {
        let Some(number) = number_of(path) else { return Ok(()) };
        let file = match vfs.open(path, Access::Read) {
            Ok(file) => file,
            Err(error) if error.is_not_found() => {
                let what = "it is missing, but the manifest names it";
                self.findings.push(Finding::new(Code::LogMissing, path, what));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if self.has_state {
            self.logs.push(LogPart { file, number, expect, upto: None });
            return Ok(());
        }
        let header = record::read_header(&*file, FileKind::Wal).ok();
        if self.store.is_none() {
            self.store = header.map(|header| header.store);
        }
        let is_stranger = header.is_some_and(|header| Some(header.store) != self.store);
        if is_stranger || self.history.is_dropped(number) {
            self.strays.push(path.to_owned());
            return Ok(());
        }
        let end = self.history.log_ends.get(&number).copied();
        self.logs.push(LogPart { file, number, expect: Expect { end, ..expect }, upto: None });
        Ok(())
    }

    /// Without a manifest that is believed: tables that the last readable edits have, and that are not
    /// there. One that another table was made from is not missing; nor is one where an edit is missing
    /// whose tables were merged further, for it merged something.
    fn missing_by_history(&mut self, vfs: &dyn Vfs, live: &Live) -> Result<()> {
        if self.has_state || self.history.has_lost_merge() {
            return Ok(());
        }
        let present: BTreeSet<FileNumber> = self.tables.iter().map(|table| table.number).collect();
        let mut used = BTreeSet::new();
        for table in &self.tables {
            used.extend(super::survey::inputs(&*table.file)?);
        }
        let dir = live.manifest.as_deref().and_then(Path::parent).map(Path::to_owned);
        let Some(dir) = dir else { return Ok(()) };
        for number in self.history.alive.difference(&present) {
            let path = dir.join(names::table(*number));
            if !used.contains(number) && !vfs.exists(&path)? {
                let what = "it is missing, but the last readable edits name it";
                self.findings.push(Finding::new(Code::TableMissing, path, what));
            }
        }
        Ok(())
    }

    fn find_strays(&mut self, dir: &Path, names: &[String]) {
        if !self.has_state {
            return;
        }
        let tables = self.tables.iter().map(|table| table.number);
        let logs = self.logs.iter().map(|log| log.number);
        let known: BTreeSet<FileNumber> = tables.chain(logs).collect();
        for name in names {
            let stray = match names::parse(name) {
                FileName::Table(number) | FileName::Log(number) => !known.contains(&number),
                _ => false,
            };
            if stray {
                self.strays.push(dir.join(name));
            }
        }
    }
}

pub(super) fn number_of(path: &Path) -> Option<FileNumber> {
    names::parse(path.file_name()?.to_str()?).number()
}
