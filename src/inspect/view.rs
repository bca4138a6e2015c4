//! A store as it is at one moment: what its manifest says, and every file that counts, open.
//!
//! Files that are open stay readable when a writer removes them, so nothing that is read through a
//! view can move. A file that is gone although the manifest, read once more, still names it is
//! missing; one that it no longer names had moved, and then the view is taken again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::finding::{Code, Finding};
use super::frames::Expect;
use super::store::{self, Live};
use crate::error::{Error, Result};
use crate::format::names::{self, FileName};
use crate::format::state::State;
use crate::format::table::TableMeta;
use crate::types::{FileNumber, Level};
use crate::vfs::{Access, File, Vfs};

/// How often a view is taken again because files moved.
const TRIES: u32 = 100;

/// The files of a store that count, open, and what the manifest says.
#[derive(Debug)]
pub struct View {
    /// The store's directory.
    pub dir: PathBuf,
    /// Every name in the directory, sorted, taken before anything was opened.
    pub names: Vec<String>,
    /// What the manifest says; none if it cannot be believed, and then files are there by name.
    pub state: Option<State>,
    /// The current manifest, if there is one.
    pub manifest: Option<Opened>,
    /// What the logs promise of it.
    pub manifest_expect: Expect,
    /// The logs, oldest first.
    pub logs: Vec<LogView>,
    /// The tables as the tree orders them.
    pub tables: Vec<TableView>,
    /// What is wrong with CURRENT and the manifest, and which files are missing.
    pub findings: Vec<Finding>,
}

/// A file of a view.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Its path.
    pub path: PathBuf,
    /// Its number, from its name.
    pub number: FileNumber,
    /// The file.
    pub file: Arc<dyn File>,
}

/// A log of a view.
#[derive(Clone, Debug)]
pub struct LogView {
    /// The file.
    pub opened: Opened,
    /// What the manifest says about it.
    pub expect: Expect,
}

/// A table of a view.
#[derive(Clone, Debug)]
pub struct TableView {
    /// The file.
    pub opened: Opened,
    /// Its level, if the manifest could be believed.
    pub level: Option<Level>,
    /// What the manifest says about it.
    pub meta: Option<TableMeta>,
}

impl View {
    /// Takes a view of the store in `dir`.
    ///
    /// # Errors
    /// [`Error::NoStore`] when the directory has no file of a store; [`Error::Moved`] when a writer
    /// was faster many times over; [`Error::Unsupported`] for a later format version; [`Error::Io`].
    pub fn take(vfs: &dyn Vfs, dir: &Path) -> Result<View> {
        for _ in 0..TRIES {
            let names = sorted_names(vfs, dir)?;
            let live = store::live(vfs, dir)?;
            match View::open(vfs, dir, names, live)? {
                Ok(view) => return Ok(view),
                Err(_moved) => {}
            }
        }
        Err(Error::Moved { path: dir.to_owned() })
    }

    /// Opens what counts; the path of a file that moved, if one did.
    fn open(
        vfs: &dyn Vfs,
        dir: &Path,
        names: Vec<String>,
        live: Live,
    ) -> Result<Result<View, PathBuf>> {
        let Live { manifest, manifest_expect, logs, tables, state, findings } = live;
        let mut view = View {
            dir: dir.to_owned(),
            names,
            state: None,
            manifest: None,
            manifest_expect,
            logs: Vec::new(),
            tables: Vec::new(),
            findings,
        };
        let mut missing = Vec::new();
        if let Some(path) = manifest {
            view.manifest = open_numbered(vfs, &path)?;
        }
        for (path, expect) in logs {
            match open_numbered(vfs, &path)? {
                Some(opened) => view.logs.push(LogView { opened, expect }),
                None => missing.push((path, Code::LogMissing)),
            }
        }
        let described: BTreeMap<FileNumber, &TableMeta> =
            state.iter().flat_map(State::tables).map(|(_, meta)| (meta.number, meta)).collect();
        for (path, level) in tables {
            let Some(opened) = open_numbered(vfs, &path)? else {
                missing.push((path, Code::TableMissing));
                continue;
            };
            let meta = described.get(&opened.number).map(|meta| (*meta).clone());
            view.tables.push(TableView { level, meta, opened });
        }
        view.state = state;
        if missing.is_empty() {
            return Ok(Ok(view));
        }
        let again = store::live(vfs, dir)?;
        for (path, code) in missing {
            let is_named = again.state.is_some()
                && (again.logs.iter().any(|(log, _)| *log == path)
                    || again.tables.iter().any(|(table, _)| *table == path));
            if !is_named {
                return Ok(Err(path));
            }
            let what = "it is missing, but the manifest names it";
            let number = number_of(&path);
            let table = view
                .state
                .as_ref()
                .and_then(|state| state.tables().find(|(_, table)| Some(table.number) == number));
            let mut finding = Finding::new(code, path, what);
            if let Some((level, table)) = table {
                finding = finding
                    .in_level(Some(level))
                    .of_keys(&table.smallest.user, &table.largest.user);
            }
            view.findings.push(finding);
        }
        Ok(Ok(view))
    }
}

/// Opens a file of a store; none if it is not there.
fn open_numbered(vfs: &dyn Vfs, path: &Path) -> Result<Option<Opened>> {
    let Some(number) = number_of(path) else { return Ok(None) };
    match vfs.open(path, Access::Read) {
        Ok(file) => Ok(Some(Opened { path: path.to_owned(), number, file })),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

fn number_of(path: &Path) -> Option<FileNumber> {
    match names::parse(path.file_name()?.to_str()?) {
        FileName::Table(number) | FileName::Log(number) | FileName::Manifest(number) => {
            Some(number)
        }
        _ => None,
    }
}

fn sorted_names(vfs: &dyn Vfs, dir: &Path) -> Result<Vec<String>> {
    let mut names = vfs.list(dir)?;
    names.sort();
    Ok(names)
}
