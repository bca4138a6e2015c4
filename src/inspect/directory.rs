//! The manifest against the directory: does each file have the size and the identity that the
//! manifest recorded, and what is there that it does not name.
//!
//! Only headers and footers are read. A crash leaves files that no edit names: tables of a job that
//! did not finish, a log that was not announced, a manifest that CURRENT did not come to name. Their
//! numbers may lie beyond the manifest's next one, for a number is taken before the edit that says
//! so; the engine steps over them. So they are notices. A file that the manifest *names* and whose
//! number it says is not given out yet is damage.
//!
//! A writer may be at work. What looks odd is looked at again with the manifest read anew: a file
//! that is gone by then, or named, was never odd.

use std::collections::BTreeSet;

use super::finding::{Code, Finding};
use super::store;
use super::view::{LogView, Opened, TableView, View};
use crate::error::{Error, Result};
use crate::format::header::{FileKind, HEADER_SIZE, Header};
use crate::format::names::{self, FileName};
use crate::format::state::State;
use crate::record::{self, Item, Scanner};
use crate::table;
use crate::types::{FileId, FileNumber, StoreId};
use crate::vfs::{Access, File, Vfs};

/// Holds the directory against the manifest: [`check_named`], then [`check_unnamed`].
///
/// # Errors
/// [`Error::Io`]; damage is a finding.
pub fn check_directory(vfs: &dyn Vfs, view: &View) -> Result<Vec<Finding>> {
    let mut findings = check_named(view)?;
    findings.extend(check_unnamed(vfs, view)?);
    Ok(findings)
}

/// The files that the manifest names: size, identity, number. Those that are missing are in
/// [`View::findings`].
///
/// # Errors
/// As [`check_directory`].
pub fn check_named(view: &View) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let Some(state) = &view.state else { return Ok(findings) };
    let store = state.store.as_ref().map(|store| store.id);
    if let Some(manifest) = &view.manifest {
        findings.extend(check_header(manifest, FileKind::Manifest, None, store)?);
    }
    for LogView { opened, expect } in &view.logs {
        findings.extend(check_header(opened, FileKind::Wal, expect.id, store)?);
        findings.extend(given_out(state, opened));
        let size = opened.file.size()?;
        if size < expect.size {
            let what = format!("it has {size} bytes, expected at least {}", expect.size);
            findings.push(Finding::new(Code::LogCut, &opened.path, what).at(size, 0));
        }
    }
    for table in &view.tables {
        findings.extend(given_out(state, &table.opened));
        findings.extend(check_table(table)?);
    }
    Ok(findings)
}

/// A file that is named and has a number that the manifest holds to be unused.
fn given_out(state: &State, file: &Opened) -> Option<Finding> {
    if file.number < state.next_file {
        return None;
    }
    let what = format!("the manifest names it, and says that {} is next", state.next_file);
    Some(Finding::new(Code::FileNumberReused, &file.path, what))
}

/// The header of a log or manifest, if it can be read: what is wrong with it otherwise is for the
/// file's own report.
fn check_header(
    file: &Opened,
    kind: FileKind,
    id: Option<FileId>,
    store: Option<StoreId>,
) -> Result<Option<Finding>> {
    let Some(header) = header_of(&*file.file, kind)? else { return Ok(None) };
    let stranger = match kind {
        FileKind::Wal => Code::LogStranger,
        FileKind::Manifest => Code::ManifestStranger,
    };
    let odd = if let Some(store) = store.filter(|store| *store != header.store) {
        Some(format!("it is of store {}, the manifest is of {store}", header.store))
    } else if let Some(id) = id.filter(|id| *id != header.id) {
        Some(format!("a foreign or older file: its id is {}, the manifest says {id}", header.id))
    } else if header.number != file.number {
        Some(format!("it was made as number {}", header.number))
    } else {
        None
    };
    let size = HEADER_SIZE as u64;
    Ok(odd.map(|what| Finding::new(stranger, &file.path, what).at(0, size)))
}

/// A header that can be read.
fn header_of(file: &dyn File, kind: FileKind) -> Result<Option<Header>> {
    match record::read_header(file, kind) {
        Ok(header) => Ok(Some(header)),
        Err(error @ Error::Io { .. }) => Err(error),
        Err(_) => Ok(None),
    }
}

/// Size and identity of a table that the manifest names.
fn check_table(table: &TableView) -> Result<Option<Finding>> {
    let Some(meta) = &table.meta else { return Ok(None) };
    let (file, path) = (&*table.opened.file, &table.opened.path);
    let new = |code, what: String| {
        let keys = (&meta.smallest.user, &meta.largest.user);
        Some(Finding::new(code, path, what).in_level(table.level).of_keys(keys.0, keys.1))
    };
    let size = file.size()?;
    if size != meta.size {
        let what = format!("it has {size} bytes, the manifest says {}", meta.size);
        return Ok(new(Code::TableCut, what));
    }
    let footer = match table::read_footer(file) {
        Ok((footer, _)) => footer,
        Err(error @ Error::Io { .. }) => return Err(error),
        Err(_) => return Ok(None),
    };
    if footer.id != meta.id {
        let what = format!("its id is {}, the manifest says {}", footer.id, meta.id);
        return Ok(new(Code::TableForeign, what));
    }
    Ok(None)
}

/// The files that the manifest does not name: interrupted jobs' files, history, other people's.
///
/// Without a manifest that can be believed there is nothing to hold them against, and only what is
/// not BeachDB's and what is temporary is told.
///
/// # Errors
/// As [`check_directory`].
pub fn check_unnamed(vfs: &dyn Vfs, view: &View) -> Result<Vec<Finding>> {
    let mut findings: Vec<Finding> = Vec::new();
    for name in &view.names {
        let path = view.dir.join(name);
        let code = match names::parse(name) {
            FileName::Current | FileName::Lock => continue,
            FileName::CurrentTemp | FileName::CheckpointTemp => Code::Leftover,
            FileName::Other => Code::UnknownFile,
            named => {
                findings.extend(check_ours(vfs, view, name, named)?);
                continue;
            }
        };
        findings.push(Finding::new(code, path, what_it_is(code, name)).because(why(code)));
    }
    if findings.is_empty() { Ok(findings) } else { still_there(vfs, view, findings) }
}

fn what_it_is(code: Code, name: &str) -> &'static str {
    match (code, name) {
        (Code::Leftover, names::CHECKPOINT_TEMP) => "the mark of a checkpoint that was begun",
        (Code::Leftover, _) => "a CURRENT that was not put in place",
        _ => "its name is none that BeachDB gives",
    }
}

fn why(code: Code) -> &'static str {
    match code {
        Code::Leftover => "a crash leaves this; the next writer that opens the store removes it",
        _ => "BeachDB never reads or removes it",
    }
}

/// A table, log or manifest by its name.
fn check_ours(vfs: &dyn Vfs, view: &View, name: &str, parsed: FileName) -> Result<Option<Finding>> {
    let Some(state) = &view.state else { return Ok(None) };
    let current = view.manifest.as_ref().map(|manifest| manifest.number);
    let is_named = match parsed {
        FileName::Table(number) => state.tables().any(|(_, table)| table.number == number),
        FileName::Log(number) => state.logs.contains_key(&number),
        FileName::Manifest(number) => current == Some(number),
        _ => return Ok(None),
    };
    if is_named {
        return Ok(None);
    }
    let path = view.dir.join(name);
    let file = match vfs.open(&path, Access::Read) {
        Err(error) if error.is_not_found() => return Ok(None),
        opened => opened?,
    };
    if is_history(parsed, current, state) || matches!(parsed, FileName::Log(_)) {
        let own = state.store.as_ref().map(|store| store.id);
        let kind = match parsed {
            FileName::Log(_) => FileKind::Wal,
            _ => FileKind::Manifest,
        };
        if let Some(owner) = stranger(&*file, kind, own)? {
            let what = format!("it is of store {owner}, and the manifest does not name it");
            let why = "somebody put it here: no crash leaves this";
            return Ok(Some(Finding::new(Code::FileOfAnotherStore, path, what).because(why)));
        }
    }
    if is_history(parsed, current, state) {
        return Ok(None);
    }
    Ok(Some(orphan(&path, parsed, state, current)))
}

/// Whether it is a manifest that was succeeded: kept for the history tools.
fn is_history(parsed: FileName, current: Option<FileNumber>, state: &State) -> bool {
    let FileName::Manifest(number) = parsed else { return false };
    current.is_some_and(|current| number < current) && state.lineage.is_some()
}

fn orphan(
    path: &std::path::Path,
    parsed: FileName,
    state: &State,
    current: Option<FileNumber>,
) -> Finding {
    let number = parsed.number().unwrap_or_default();
    let (what, why) = match parsed {
        FileName::Manifest(_) if current.is_some_and(|current| number > current) => {
            ("a manifest that CURRENT never came to name", "a crash during a rollover leaves this")
        }
        FileName::Log(_) if number <= state.logs_dropped_upto => {
            ("a log that was dropped", "everything in it is in tables")
        }
        _ if number >= state.next_file => (
            "no edit names it, and its number is beyond those that the manifest knows",
            "a job that was interrupted leaves this, or a writer is at work on it",
        ),
        _ => (
            "no edit names it any more, or none ever did",
            "it was replaced, or a job was interrupted; or a writer is at work on it",
        ),
    };
    let why = format!("{why}; the next writer that opens the store removes it");
    Finding::new(Code::Orphan, path, what).because(why)
}

/// The other store whose log or manifest this is, if it has frames. One without any may be of a
/// store whose creation was interrupted here: it had an id of its own.
///
/// Nothing of the kind can be said of tables: those that a checkpoint linked keep the id of the
/// store they were written for.
fn stranger(file: &dyn File, kind: FileKind, own: Option<StoreId>) -> Result<Option<StoreId>> {
    let (Some(header), Some(own)) = (header_of(file, kind)?, own) else { return Ok(None) };
    if header.store == own {
        return Ok(None);
    }
    let mut scanner = Scanner::new(file, header.id, HEADER_SIZE as u64, None)?;
    let has_frames = matches!(scanner.next()?, Some(Item::Frame { .. }));
    Ok(has_frames.then_some(header.store))
}

/// Those of the findings whose files are still there and still not named.
fn still_there(vfs: &dyn Vfs, view: &View, findings: Vec<Finding>) -> Result<Vec<Finding>> {
    let again = match store::live(vfs, &view.dir) {
        Ok(live) => live,
        Err(error @ Error::Io { .. }) => return Err(error),
        Err(_) => return Ok(findings),
    };
    let logs = again.logs.into_iter().map(|(path, _)| path);
    let tables = again.tables.into_iter().map(|(path, _)| path);
    let is_believed = again.state.is_some();
    let named: BTreeSet<_> = logs.chain(tables).chain(again.manifest).collect();
    let names: BTreeSet<String> = vfs.list(&view.dir)?.into_iter().collect();
    let stays = |finding: &Finding| {
        let name = finding.path.file_name().and_then(|name| name.to_str());
        let is_there = name.is_none_or(|name| names.contains(name));
        is_there && !(is_believed && named.contains(&finding.path))
    };
    Ok(findings.into_iter().filter(stays).collect())
}
