//! Which files of a directory count: those that CURRENT and the manifest name.
//!
//! When those two cannot be believed, the files are taken by their names, and the report says so.

use std::path::{Path, PathBuf};

use super::finding::{Code, Finding};
use super::frames::Expect;
use super::manifest::{ManifestItem, read_manifest};
use crate::error::{Error, Result};
use crate::format::header::{FileKind, HEADER_SIZE, Header};
use crate::format::names::{self, FileName};
use crate::format::state::{LogState, State};
use crate::format::table::TableMeta;
use crate::record;
use crate::runtime::Runtime;
use crate::runtime::threads::ThreadRuntime;
use crate::table;
use crate::types::{FileNumber, Level, SeqNo, StoreId};
use crate::vfs::{self, Access, File, Vfs};

/// Looks that are taken until two agree.
const LOOKS_MAX: u32 = 100;

/// How long a writer gets to go on before the third look and each later one.
const PAUSE_US: u64 = 500;

const HEADER_BYTES: u64 = HEADER_SIZE as u64;

/// The files of a store that count.
#[derive(Debug, Default)]
pub struct Live {
    /// The current manifest; without a readable CURRENT the newest one there is.
    pub manifest: Option<PathBuf>,
    /// What the logs promise of the manifest.
    pub manifest_expect: Expect,
    /// The logs, oldest first, and what the manifest says about them.
    pub logs: Vec<(PathBuf, Expect)>,
    /// The tables as the tree orders them, with their levels if the manifest was read.
    pub tables: Vec<(PathBuf, Option<Level>)>,
    /// What the manifest says; none if it could not be believed.
    pub state: Option<State>,
    /// Why CURRENT or the manifest could not be believed, and what a crash left in the manifest.
    pub findings: Vec<Finding>,
}

/// Whether `path` is a directory.
#[must_use]
pub fn is_dir(vfs: &dyn Vfs, path: &Path) -> bool {
    vfs.list(path).is_ok()
}

/// Finds the files of the store in `dir` that count.
///
/// Beside a writer a first look may see what never was: a manifest that is just being succeeded, an
/// edit that is just being written. What is wrong is believed when two looks in a row agree on it.
///
/// # Errors
/// [`Error::NoStore`] when the directory has no file of a store; [`Error::Moved`] when no two looks
/// agreed; [`Error::Unsupported`] for a later format version; [`Error::Io`].
pub fn live(vfs: &dyn Vfs, dir: &Path) -> Result<Live> {
    let mut before = None;
    for _ in 0..LOOKS_MAX {
        let live = look(vfs, dir)?;
        if live.findings.is_empty() || before.as_ref() == Some(&live.findings) {
            return Ok(live);
        }
        if before.is_some() {
            // The writer may be waiting for the processor that we are using.
            ThreadRuntime::default().sleep_us(PAUSE_US);
        }
        before = Some(live.findings);
    }
    Err(Error::Moved { path: dir.to_owned() })
}

fn look(vfs: &dyn Vfs, dir: &Path) -> Result<Live> {
    let found = by_name(vfs, dir)?;
    match current(vfs, dir) {
        Ok(Some(number)) => named(vfs, dir, number, found),
        Ok(None)
            if found.manifest.is_none() && found.logs.is_empty() && found.tables.is_empty() =>
        {
            let detail = "there is no CURRENT, and no log, manifest or table".to_owned();
            Err(Error::NoStore { path: dir.to_owned(), detail })
        }
        Ok(None) => {
            let what = "it is missing, but there are files of a store";
            Ok(found.but(Finding::new(Code::CurrentMissing, dir.join(names::CURRENT), what)))
        }
        Err(Error::Corruption(damage)) => {
            let finding = Finding::new(Code::CurrentDamaged, damage.path, damage.detail);
            Ok(found.but(finding.at(0, names::CURRENT_SIZE)))
        }
        Err(error) => Err(error),
    }
}

/// The manifest number in CURRENT.
fn current(vfs: &dyn Vfs, dir: &Path) -> Result<Option<FileNumber>> {
    let path = dir.join(names::CURRENT);
    let file = match vfs.open(&path, Access::Read) {
        Err(error) if error.is_not_found() => return Ok(None),
        opened => opened?,
    };
    let bytes = vfs::read_all(&*file, 1024)?;
    let number = names::decode_current(&bytes);
    number.map(Some).map_err(|reason| Error::corruption(path, 0, reason))
}

/// All logs and tables, and the newest manifest, by their names.
pub(super) fn by_name(vfs: &dyn Vfs, dir: &Path) -> Result<Live> {
    let mut live = Live::default();
    let mut numbered: Vec<(FileName, String)> =
        vfs.list(dir)?.into_iter().map(|name| (names::parse(&name), name)).collect();
    numbered.sort();
    for (parsed, name) in numbered {
        let path = dir.join(name);
        match parsed {
            FileName::Log(_) => live.logs.push((path, Expect::default())),
            FileName::Table(_) => live.tables.push((path, None)),
            FileName::Manifest(_) => live.manifest = Some(path),
            _ => {}
        }
    }
    Ok(live)
}

impl Live {
    /// These files, taken by their names, for this reason.
    fn but(mut self, finding: Finding) -> Live {
        self.findings.push(finding);
        self
    }
}

/// The files that manifest `number` names; those `found` by name if it cannot be believed.
fn named(vfs: &dyn Vfs, dir: &Path, number: FileNumber, found: Live) -> Result<Live> {
    let path = dir.join(names::manifest(number));
    let logs = Witness::all(vfs, &found.logs);
    let file = match vfs.open(&path, Access::Read) {
        Err(error) if error.is_not_found() => {
            let finding = missing(vfs, dir, path, &logs)?;
            return Ok(found.but(finding));
        }
        opened => opened?,
    };
    let mut read = Manifest::read(&*file, &Expect::default())?;
    if let Some(header) = read.header.filter(|header| header.number != number) {
        let what = format!("its header says that it is manifest {}", header.number);
        return Ok(found.but(Finding::new(Code::ManifestOlder, path, what).at(0, HEADER_BYTES)));
    }
    if let Some(finding) = stranger(vfs, dir, &path, &read, &logs) {
        return Ok(found.but(finding));
    }
    let promise = read.header.and_then(|header| Witness::promise(&logs, header.store));
    if let Some((newer, _)) = promise.filter(|(newer, _)| *newer > number) {
        let (path, what) = if vfs.exists(&dir.join(names::manifest(newer)))? {
            let what = format!("it names manifest {number}, but a log knows of the newer {newer}");
            (dir.join(names::CURRENT), what)
        } else {
            (path, format!("a log knows of the newer manifest {newer}"))
        };
        return Ok(found.but(Finding::new(Code::ManifestOlder, path, what)));
    }
    let promised = promise.filter(|(manifest, _)| *manifest == number).map_or(0, |(_, upto)| upto);
    let expect = Expect { promised, size: promised, ..Expect::default() };
    if promised > read.end {
        // Written since, or lost: what is promised must be there by now.
        read = Manifest::read(&*file, &expect)?;
    }
    Ok(match read.state {
        Some(state) => {
            Live { manifest_expect: expect, findings: read.findings, ..of_state(dir, path, state) }
        }
        None => {
            Live { manifest: Some(path), manifest_expect: expect, findings: read.findings, ..found }
        }
    })
}

/// What to say of a manifest that CURRENT names and that is not there: that it is missing, or, if
/// the logs know of one that is there, that CURRENT is wrong.
fn missing(vfs: &dyn Vfs, dir: &Path, path: PathBuf, logs: &[Witness]) -> Result<Finding> {
    let known = logs.iter().filter_map(|log| log.promise).map(|(number, _)| number).max();
    if let Some(known) = known
        && vfs.exists(&dir.join(names::manifest(known)))?
    {
        let name = path.file_name().unwrap_or_default().display();
        let what = format!("it names {name}, which is missing; a log knows of manifest {known}");
        let finding = Finding::new(Code::CurrentDamaged, dir.join(names::CURRENT), what);
        return Ok(finding.at(0, names::CURRENT_SIZE));
    }
    Ok(Finding::new(Code::ManifestMissing, path, "it is missing, but CURRENT names it"))
}

/// That the manifest is of another store than everything else: no log is of its store, and no table
/// is the one that it names.
fn stranger(
    vfs: &dyn Vfs,
    dir: &Path,
    path: &Path,
    read: &Manifest,
    logs: &[Witness],
) -> Option<Finding> {
    let (header, state) = (read.header?, read.state.as_ref()?);
    let other = logs.first()?.store;
    if logs.iter().any(|log| log.store == header.store) {
        return None;
    }
    let is_there = |table: &TableMeta| {
        let file = vfs.open(&dir.join(names::table(table.number)), Access::Read).ok()?;
        let (footer, _) = table::read_footer(&*file).ok()?;
        (footer.id == table.id).then_some(())
    };
    // With no table to ask, the log may as well be the stranger.
    let mut tables = state.tables().peekable();
    tables.peek()?;
    if tables.any(|(_, table)| is_there(table).is_some()) {
        return None;
    }
    let what = format!("it is of store {}, the logs of {other}", header.store);
    Some(Finding::new(Code::ManifestStranger, path, what).at(0, HEADER_BYTES))
}

/// A reading of the manifest.
struct Manifest {
    header: Option<Header>,
    /// What it says, if nothing in it is damaged.
    state: Option<State>,
    /// Where its last edit ends.
    end: u64,
    findings: Vec<Finding>,
}

impl Manifest {
    fn read(file: &dyn File, expect: &Expect) -> Result<Manifest> {
        let mut findings = Vec::new();
        let mut header = None;
        let read = read_manifest(file, expect, &mut |item| {
            if let ManifestItem::Header(found) = &item {
                header = found.header;
            }
            findings.extend(item.finding().cloned());
            Ok::<(), Error>(())
        });
        match read {
            Ok(totals) => {
                let state = (totals.damaged == 0).then_some(totals.state);
                Ok(Manifest { header, state, end: totals.state_end, findings })
            }
            Err(Error::NotOurs { path, detail, .. }) => {
                findings.push(Finding::new(Code::ManifestHeader, path, detail).at(0, 0));
                Ok(Manifest { header, state: None, end: 0, findings })
            }
            Err(error) => Err(error),
        }
    }
}

pub(super) fn of_state(dir: &Path, path: PathBuf, state: State) -> Live {
    // The oldest log goes on behind what is in tables; where a younger one begins, it knows itself.
    let oldest = state.logs.keys().next();
    let first = SeqNo(state.last_seqno.0.saturating_add(1));
    let log = |(number, log): (&FileNumber, &LogState)| {
        let promise = state.log_synced.filter(|(log, _)| log == number);
        let expect = Expect {
            id: Some(log.meta.id),
            size: log.meta.size,
            promised: promise.map_or(0, |(_, upto)| upto),
            end: log.end,
            first_seqno: (oldest == Some(number)).then_some(first),
        };
        (dir.join(names::log(*number)), expect)
    };
    Live {
        manifest: Some(path),
        logs: state.logs.iter().map(log).collect(),
        tables: tables(dir, &state),
        state: Some(state),
        ..Live::default()
    }
}

fn tables(dir: &Path, state: &State) -> Vec<(PathBuf, Option<Level>)> {
    let named =
        |(level, table): (Level, &TableMeta)| (dir.join(names::table(table.number)), Some(level));
    state.tables().map(named).collect()
}

/// What a log says of the store: also one that the manifest does not name, for that may be an older
/// copy. A log that cannot be read says nothing; what is wrong with it is not this report's business.
pub(super) struct Witness {
    pub(super) store: StoreId,
    /// The largest promise about a manifest, the newest one's, in its marks.
    promise: Option<(FileNumber, u64)>,
}

impl Witness {
    pub(super) fn all(vfs: &dyn Vfs, logs: &[(PathBuf, Expect)]) -> Vec<Witness> {
        let witness = |(path, _): &(PathBuf, Expect)| {
            let file = vfs.open(path, Access::Read).ok()?;
            let header = record::read_header(&*file, FileKind::Wal).ok()?;
            let scan = record::scan_log(&*file, &header, None, &mut |_, _, _| Ok(()));
            let promise = scan.ok().and_then(|scan| scan.manifest_promise);
            Some(Witness { store: header.store, promise })
        };
        logs.iter().filter_map(witness).collect()
    }

    /// The largest promise of the logs of a store.
    pub(super) fn promise(logs: &[Witness], store: StoreId) -> Option<(FileNumber, u64)> {
        logs.iter().filter(|log| log.store == store).filter_map(|log| log.promise).max()
    }
}
