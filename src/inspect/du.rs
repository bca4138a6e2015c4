//! What the bytes of a store's directory are for.
//!
//! Every byte of every file of the directory has one reason, so the reasons add up to the directory.
//! A data block is shared among its versions as [`Version::bytes`] says. A version is live when a
//! read returns it; that is told by reading all tables and logs once, in the order of keys.

use std::fmt;

use super::finding::Finding;
use super::versions::{Dead, Place, Progress, Version, Versions, Wanted};
use super::view::View;
use crate::error::{Error, Result};
use crate::format::names::{self, FileName};
use crate::types::ValueKind;
use crate::vfs::{Access, Vfs};

/// What bytes are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Reason {
    /// Versions in tables that a read returns.
    Live,
    /// Versions in tables that a newer one hides.
    Shadowed,
    /// Tombstones in tables.
    Tombstones,
    /// Index blocks.
    Index,
    /// Filter blocks.
    Filter,
    /// Properties blocks.
    Properties,
    /// Footers, and what stands behind each data block.
    Trailers,
    /// Keys and values in logs that a read returns.
    LogLive,
    /// Keys and values in logs that a newer version hides.
    LogShadowed,
    /// Tombstones in logs.
    LogTombstones,
    /// Headers of logs and frames, marks.
    LogOverhead,
    /// Space in logs that was not used yet.
    LogUnused,
    /// What recovery left out of a log.
    LogDead,
    /// The current manifest.
    Manifest,
    /// Manifests before it, kept as history.
    History,
    /// `CURRENT` and `LOCK`.
    Names,
    /// Tables and logs that the manifest does not name, and temporary files.
    Orphans,
    /// What cannot be read.
    Damaged,
    /// Files that are not of BeachDB's.
    Unknown,
}

impl Reason {
    /// All of them.
    pub const ALL: [Reason; 19] = [
        Reason::Live,
        Reason::Shadowed,
        Reason::Tombstones,
        Reason::Index,
        Reason::Filter,
        Reason::Properties,
        Reason::Trailers,
        Reason::LogLive,
        Reason::LogShadowed,
        Reason::LogTombstones,
        Reason::LogOverhead,
        Reason::LogUnused,
        Reason::LogDead,
        Reason::Manifest,
        Reason::History,
        Reason::Names,
        Reason::Orphans,
        Reason::Damaged,
        Reason::Unknown,
    ];

    /// The word for it in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Reason::Live => "live",
            Reason::Shadowed => "shadowed",
            Reason::Tombstones => "tombstones",
            Reason::Index => "index",
            Reason::Filter => "filter",
            Reason::Properties => "properties",
            Reason::Trailers => "trailers",
            Reason::LogLive => "log_live",
            Reason::LogShadowed => "log_shadowed",
            Reason::LogTombstones => "log_tombstones",
            Reason::LogOverhead => "log_overhead",
            Reason::LogUnused => "log_unused",
            Reason::LogDead => "log_dead",
            Reason::Manifest => "manifest",
            Reason::History => "history",
            Reason::Names => "names",
            Reason::Orphans => "orphans",
            Reason::Damaged => "damaged",
            Reason::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Live => "tables: values that a read returns",
            Reason::Shadowed => "tables: older values, hidden by newer versions",
            Reason::Tombstones => "tables: tombstones",
            Reason::Index => "tables: indexes",
            Reason::Filter => "tables: filters",
            Reason::Properties => "tables: properties",
            Reason::Trailers => "tables: footers and block trailers",
            Reason::LogLive => "logs: values that a read returns",
            Reason::LogShadowed => "logs: older values, hidden by newer versions",
            Reason::LogTombstones => "logs: tombstones",
            Reason::LogOverhead => "logs: headers, frames, marks",
            Reason::LogUnused => "logs: allocated, not used yet",
            Reason::LogDead => "logs: left out by recovery",
            Reason::Manifest => "the manifest",
            Reason::History => "manifests before it",
            Reason::Names => "CURRENT and LOCK",
            Reason::Orphans => "orphans and leftovers",
            Reason::Damaged => "damaged",
            Reason::Unknown => "files of others",
        })
    }
}

/// Bytes, and how many versions or files they are; 0 where nothing is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Bytes.
    pub bytes: u64,
    /// Versions or files.
    pub count: u64,
}

impl Sum {
    fn add(&mut self, bytes: u64, count: u64) {
        self.bytes += bytes;
        self.count += count;
    }
}

/// What the keys with one beginning take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrefixSum {
    /// The first bytes of the keys.
    pub prefix: Vec<u8>,
    /// Versions that a read returns, in tables and logs.
    pub live: Sum,
    /// Older versions.
    pub shadowed: Sum,
    /// Tombstones.
    pub tombstones: Sum,
}

/// Something to report on the way.
#[derive(Debug)]
pub enum DuItem<'a> {
    /// All keys with this beginning are counted.
    Prefix(&'a PrefixSum),
    /// Something is wrong; its bytes count as damaged, or as what they were for.
    Finding(&'a Finding),
    /// A part of the tables has been read.
    Progress(Progress),
}

/// What [`du`] calls with each thing it has to report.
pub type Visit<'v, E> = dyn FnMut(DuItem<'_>) -> Result<(), E> + 'v;

/// What a directory adds up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Du {
    sums: [Sum; Reason::ALL.len()],
    /// Files counted.
    pub files: u64,
    /// Findings that are damage.
    pub damaged: u64,
}

impl Du {
    /// What there is for a reason.
    #[must_use]
    pub fn sum(&self, reason: Reason) -> Sum {
        self.sums[reason as usize]
    }

    /// Bytes of all files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.sums.iter().map(|sum| sum.bytes).sum()
    }

    fn add(&mut self, reason: Reason, bytes: u64, count: u64) {
        self.sums[reason as usize].add(bytes, count);
    }
}

/// Counts every byte of a store's directory; what lies in directories below it is not counted. With
/// `by_prefix`, also sums up by the first bytes of the keys, as many as that, in their order.
///
/// # Errors
/// Those of `visit`; [`Error::Io`], and [`Error::Unsupported`] for a later format version.
pub fn du<E: From<Error>>(
    vfs: &dyn Vfs,
    view: &View,
    by_prefix: Option<usize>,
    visit: &mut Visit<'_, E>,
) -> Result<Du, E> {
    let mut versions = Versions::of_store(vfs, view, Wanted::default())?;
    let mut count = Count { du: Du::default(), by_prefix, prefix: None, key: None, decided: false };
    count.files(vfs, view)?;
    loop {
        let more = match versions.next()? {
            Some(version) => {
                if let Some(done) = count.version(&version) {
                    visit(DuItem::Prefix(&done))?;
                }
                true
            }
            None => false,
        };
        for finding in versions.take_findings() {
            count.du.damaged += u64::from(finding.is_damage());
            visit(DuItem::Finding(&finding))?;
        }
        if let Some(progress) = versions.progress() {
            visit(DuItem::Progress(progress))?;
        }
        if !more {
            break;
        }
    }
    if let Some(last) = &count.prefix {
        visit(DuItem::Prefix(last))?;
    }
    Ok(count.end(&versions))
}

/// Where the counting stands.
struct Count {
    du: Du,
    by_prefix: Option<usize>,
    prefix: Option<PrefixSum>,
    /// The key of the last version, and whether the version that a read takes was met.
    key: Option<Vec<u8>>,
    decided: bool,
}

impl Count {
    /// Counts a version; what its prefix follows, if it is another.
    fn version(&mut self, version: &Version<'_>) -> Option<PrefixSum> {
        if self.key.as_deref() != Some(version.key) {
            let key = self.key.get_or_insert_default();
            key.clear();
            key.extend_from_slice(version.key);
            self.decided = false;
        }
        let done = self.turn_to(version.key);
        let in_log = matches!(version.place, Place::Log { .. });
        if version.dead.is_some() {
            // What lies behind a settled end is counted with the log.
            let reason = if in_log { Reason::LogDead } else { Reason::Orphans };
            if version.dead != Some(Dead::BehindEnd) {
                self.du.add(reason, version.bytes, 1);
            }
            return done;
        }
        let is_first = !std::mem::replace(&mut self.decided, true);
        let (reason, in_prefix) = match (version.kind, is_first) {
            (ValueKind::Delete, _) => ([Reason::Tombstones, Reason::LogTombstones], 2),
            (ValueKind::Put, true) => ([Reason::Live, Reason::LogLive], 0),
            (ValueKind::Put, false) => ([Reason::Shadowed, Reason::LogShadowed], 1),
        };
        self.du.add(reason[usize::from(in_log)], version.bytes, 1);
        if let Some(prefix) = &mut self.prefix {
            let sums = [&mut prefix.live, &mut prefix.shadowed, &mut prefix.tombstones];
            sums[in_prefix].add(version.bytes, 1);
        }
        done
    }

    /// Begins a new prefix where `key` has another; the one before is done.
    fn turn_to(&mut self, key: &[u8]) -> Option<PrefixSum> {
        let prefix = &key[..self.by_prefix?.min(key.len())];
        if self.prefix.as_ref().is_some_and(|sum| sum.prefix == prefix) {
            return None;
        }
        self.prefix.replace(PrefixSum { prefix: prefix.to_vec(), ..PrefixSum::default() })
    }

    /// Counts the files that are counted as a whole.
    fn files(&mut self, vfs: &dyn Vfs, view: &View) -> Result<()> {
        self.du.files = (view.tables.len() + view.logs.len()) as u64;
        for name in &view.names {
            let named = names::parse(name);
            let is_manifest =
                view.manifest.as_ref().is_some_and(|it| Some(it.number) == named.number());
            let reason = match named {
                FileName::Table(number) => {
                    if view.tables.iter().any(|table| table.opened.number == number) {
                        continue;
                    }
                    Reason::Orphans
                }
                FileName::Log(number) => {
                    if view.logs.iter().any(|log| log.opened.number == number) {
                        continue;
                    }
                    Reason::Orphans
                }
                FileName::Manifest(_) if is_manifest => Reason::Manifest,
                FileName::Manifest(_) => Reason::History,
                FileName::Current | FileName::Lock => Reason::Names,
                FileName::CurrentTemp | FileName::CheckpointTemp => Reason::Orphans,
                FileName::Other => Reason::Unknown,
            };
            let path = view.dir.join(name);
            if reason == Reason::Unknown && vfs.list(&path).is_ok() {
                continue;
            }
            match vfs.open(&path, Access::Read) {
                Ok(file) => {
                    self.du.add(reason, file.size()?, 1);
                    self.du.files += 1;
                }
                // A writer has removed it meanwhile.
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn end(mut self, versions: &Versions) -> Du {
        let (table, log) = (versions.table_parts(), versions.log_parts());
        let du = &mut self.du;
        du.add(Reason::Index, table.index, 0);
        du.add(Reason::Filter, table.filter, 0);
        du.add(Reason::Properties, table.properties, 0);
        du.add(Reason::Trailers, table.trailers, 0);
        du.add(Reason::LogOverhead, log.overhead, 0);
        du.add(Reason::LogUnused, log.unused, 0);
        du.add(Reason::LogDead, log.dead, 0);
        du.add(Reason::Damaged, table.damaged + log.damaged, 0);
        self.du
    }
}
