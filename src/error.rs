//! The one error type. Variants are what the caller does next; texts say what, where and why.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What every fallible function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed. Cheap to clone: one failure may fail a whole group of writers.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The call itself is wrong (a key too long, an empty key); nothing was written.
    #[error("invalid argument: {0}")]
    InvalidArgument(String),

    /// The operating system refused.
    #[error("could not {action} {}: {}", path.display(), plain(source))]
    Io {
        /// The verb: `open`, `read`, `write`, `sync`, …
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: Arc<io::Error>,
    },

    /// Bytes on disk are not what was written.
    #[error("{0}")]
    Corruption(Corruption),

    /// Another process has the store open for writing.
    #[error("{} is locked by {}", path.display(), holder(*pid))]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// The process that holds it, if the lock file says.
        pid: Option<u32>,
    },

    /// An earlier append or sync failed: its outcome is unknown, so writing has stopped.
    #[error("an earlier write or sync failed ({0}); reopen the store")]
    Poisoned(String),

    /// There is no store here.
    #[error("{} is not a store: {detail}", path.display())]
    NoStore {
        /// The directory asked for.
        path: PathBuf,
        /// What was found instead.
        detail: String,
    },

    /// The file is not one of ours, or not of the kind asked for.
    #[error("{} is not a BeachDB {expected}: {detail}", path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
        /// The kind asked for: `table`, `WAL`, `manifest`.
        expected: &'static str,
        /// What it looks like instead.
        detail: String,
    },

    /// Written by a later version of the format.
    #[error("{} has {what}, which this version does not read", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// For example `format version 2`.
        what: String,
    },

    /// A file went away under a reader because the writing process no longer needs it; open again.
    #[error("{} was removed by the writing process; open the store again", path.display())]
    Moved {
        /// The file that was removed.
        path: PathBuf,
    },

    /// The handle was opened read-only.
    #[error("the store is open read-only")]
    ReadOnly,
}

impl Error {
    /// An [`Error::Io`] about `path`.
    pub fn io(action: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Error {
        Error::Io { action, path: path.into(), source: Arc::new(source) }
    }

    /// An [`Error::Corruption`] at `path@offset`.
    pub fn corruption(
        path: impl Into<PathBuf>,
        offset: impl Into<Option<u64>>,
        detail: impl Into<String>,
    ) -> Error {
        Error::Corruption(Corruption {
            path: path.into(),
            offset: offset.into(),
            detail: detail.into(),
        })
    }

    /// The operating system's error kind, where it was the operating system.
    #[must_use]
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        match self {
            Error::Io { source, .. } => Some(source.kind()),
            _ => None,
        }
    }

    /// Whether this says that a file or directory does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.io_kind() == Some(io::ErrorKind::NotFound)
    }
}

/// Damage: which file, where in it, what was found and what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corruption {
    /// The damaged (or missing) file.
    pub path: PathBuf,
    /// Where the damaged frame, block or field begins; none when the file as a whole is wrong.
    pub offset: Option<u64>,
    /// What was found and what was expected.
    pub detail: String,
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path: &Path = &self.path;
        match self.offset {
            Some(offset) => {
                write!(f, "{}@{offset:#x} is damaged: {}", path.display(), self.detail)
            }
            None => write!(f, "{} is damaged: {}", path.display(), self.detail),
        }
    }
}

fn holder(pid: Option<u32>) -> String {
    match pid {
        Some(pid) => format!("process {pid}"),
        None => "another process".to_owned(),
    }
}

/// The operating system's words without Rust's `(os error 2)` behind them.
fn plain(source: &io::Error) -> String {
    let text = source.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_lowercase(),
        None => text,
    }
}
