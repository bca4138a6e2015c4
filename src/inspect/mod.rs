//! Typed reports over the files of a store: what the dump tools print.
//!
//! Invariants:
//! - Nothing of an inspected store is written, no lock is taken, and the engine is not used: what it
//!   refuses to open is read here, and reading goes on behind damage. A salvage and a repair write
//!   into new files only, which the caller names.
//! - Reports stream: a reader calls its visitor with one part of the file after the other, in the
//!   order of the file, and holds one frame or one block at a time.
//! - Files are told by their content. One of another kind is an error that names the tool for it.
//! - What a crash may leave (a tail that nobody promised to be on stable storage) is shown and is
//!   not damage; what no crash explains is.

pub mod check;
pub mod coverage;
pub mod diff;
pub mod directory;
pub mod du;
pub mod find;
pub mod finding;
pub mod follow;
pub mod frames;
#[cfg(feature = "cli")]
pub mod hostile;
pub mod manifest;
pub mod region;
pub mod repair;
pub mod salvage;
pub mod store;
pub mod table;
mod utc;
pub mod versions;
pub mod view;
pub mod wal;

use std::fmt;

use crate::error::{Error, Result};
use crate::format::table::{FOOTER_SIZE, Footer};
use crate::vfs::File;

pub use crate::format::batch::Op;
pub use crate::format::block::Compression;
pub use crate::format::edit::{Counters, Edit, Lineage, LogMeta, Reason, StoreInfo};
pub use crate::format::frame::{ClosePayload, EndPayload, GapPayload, Kind, MarkPayload};
pub use crate::format::header::{FileKind, Header};
pub use crate::format::key::{InternalKey, Trailer};
pub use crate::format::state::State;
pub use crate::format::table::{Handle, Properties, TableMeta};
pub use finding::{Code, Finding, Severity};
pub use utc::utc;

/// What a file is, by its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileType {
    /// A write-ahead log.
    Log,
    /// A manifest.
    Manifest,
    /// A sorted table.
    Table,
    /// `CURRENT`.
    Current,
    /// None of ours.
    Unknown,
}

impl FileType {
    /// The tool that reads such a file.
    #[must_use]
    pub fn tool(self) -> Option<&'static str> {
        match self {
            FileType::Log => Some("beach-walDump"),
            FileType::Manifest => Some("beach-manifest"),
            FileType::Table => Some("beach-sstDump"),
            FileType::Current | FileType::Unknown => None,
        }
    }
}

impl fmt::Display for FileType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FileType::Log => "a WAL",
            FileType::Manifest => "a manifest",
            FileType::Table => "a table",
            FileType::Current => "a CURRENT file",
            FileType::Unknown => "not a file of BeachDB's",
        })
    }
}

/// What a file is, told by its first and last bytes.
///
/// # Errors
/// The file's own.
pub fn identify(file: &dyn File) -> Result<FileType> {
    let mut start = [0; 9];
    let read = file.read_at(&mut start, 0)?;
    match FileKind::sniff(&start[..read]) {
        Some(FileKind::Wal) => return Ok(FileType::Log),
        Some(FileKind::Manifest) => return Ok(FileType::Manifest),
        None => {}
    }
    let mut end = [0; FOOTER_SIZE];
    if let Some(offset) = file.size()?.checked_sub(FOOTER_SIZE as u64) {
        let read = file.read_at(&mut end, offset)?;
        if Footer::has_magic(&end[..read]) {
            return Ok(FileType::Table);
        }
    }
    Ok(if start.starts_with(b"MANIFEST-") { FileType::Current } else { FileType::Unknown })
}

/// The error for a file that is not of the kind a tool reads: says what it is and who reads it.
fn wrong_kind(file: &dyn File, expected: &'static str) -> Result<Error> {
    let found = identify(file)?;
    let path = file.path().to_owned();
    let detail = match found.tool() {
        Some(tool) => format!("it is {found}; run: {tool} {}", path.display()),
        None if found == FileType::Unknown => {
            let mut start = [0; 8];
            let read = file.read_at(&mut start, 0)?;
            match read {
                0 => "it is empty".to_owned(),
                _ => format!("it begins with \"{}\"", start[..read].escape_ascii()),
            }
        }
        None => format!("it is {found}"),
    };
    Ok(Error::NotOurs { path, expected, detail })
}
