//! Exit statuses: what every binary tells a script, and the failures that lead to them.
//!
//! Invariants: a status is decided in one place, here. A closed pipe is not a failure: the reader
//! has seen enough, the command ends quietly with 0. A failure that was not foreseen by a command
//! is still told in one line that says what, where, why and what to run next.

use std::fmt;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use crate::error::Error;

/// How a command ended. The numbers are the contract with scripts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Status {
    /// Done; found; healthy; equal.
    #[default]
    Done = 0,
    /// A negative answer, not an error: absent, nothing found, different.
    Negative = 1,
    /// Wrong usage.
    Usage = 2,
    /// Corruption or a broken invariant in a file that was read.
    Damage = 3,
    /// Could not decide: locked past `--wait`, moved under a reader.
    Undecided = 4,
    /// I/O error, no such store, not one of our files, a format version not read here.
    Trouble = 5,
    /// Finished, with losses that were asked for: salvage, repair, lenient load.
    Losses = 6,
    /// A promise was broken (the crash tester only).
    Violated = 7,
}

impl Status {
    /// Most important first; what `combine` goes by.
    const PRECEDENCE: [Status; 8] = [
        Status::Usage,
        Status::Violated,
        Status::Damage,
        Status::Trouble,
        Status::Undecided,
        Status::Losses,
        Status::Negative,
        Status::Done,
    ];

    /// The number a process exits with.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The one that stands when both apply.
    #[must_use]
    pub fn combine(self, other: Status) -> Status {
        let stands = Status::PRECEDENCE.into_iter().find(|one| *one == self || *one == other);
        stands.unwrap_or_default()
    }

    /// For salvage, repair and lenient load: damage that was met and left behind is a loss.
    #[must_use]
    pub fn lenient(self) -> Status {
        match self {
            Status::Damage => Status::Losses,
            other => other,
        }
    }

    /// The status that an error of the engine leads to.
    #[must_use]
    pub fn of(error: &Error) -> Status {
        match error {
            Error::InvalidArgument(_) => Status::Usage,
            Error::Corruption(_) => Status::Damage,
            Error::Locked { .. } | Error::Moved { .. } => Status::Undecided,
            Error::Io { .. }
            | Error::Poisoned(_)
            | Error::NoStore { .. }
            | Error::NotOurs { .. }
            | Error::Unsupported { .. }
            | Error::ReadOnly => Status::Trouble,
        }
    }
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> ExitCode {
        ExitCode::from(status.code())
    }
}

/// Why a command stopped before its end.
#[derive(Debug)]
pub enum Failure {
    /// The engine, or a file of the store.
    Engine(Error),
    /// The command line or the input is wrong; says what, and may say what to do.
    Usage(String),
    /// A file or stream of the person's own: the words before the system's, and the system's.
    Stream(String, io::Error),
    /// An input that is damaged: a dump whose count or checksum does not match.
    Damaged(String),
    /// A campaign of the crash tester that did not meet what it is about.
    Vacuous(String),
    /// The reader of standard output went away.
    ClosedPipe,
    /// A signal asked a command to stop that does so in order; its number.
    Signal(i32),
    /// A failure with the story of what was being done; the rest is that of the failure itself.
    During(anyhow::Error),
}

/// What commands return.
pub type Outcome<T = Status> = Result<T, Failure>;

impl Failure {
    /// A failed write to standard output: a closed pipe, or trouble.
    #[must_use]
    pub fn output(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::ClosedPipe,
            _ => Failure::Stream("could not write to standard output".to_owned(), error),
        }
    }

    /// The number the process exits with.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Failure::Signal(signal) => 128 + (*signal as u8 & 0x7f),
            Failure::During(story) => cause(story).map_or(Status::Trouble.code(), Failure::code),
            other => other.status().code(),
        }
    }

    /// The status, where it is one of the table; a signal counts as done until then.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Failure::Engine(error) => Status::of(error),
            Failure::Usage(_) => Status::Usage,
            Failure::Stream(..) => Status::Trouble,
            Failure::Damaged(_) => Status::Damage,
            Failure::Vacuous(_) => Status::Undecided,
            Failure::ClosedPipe | Failure::Signal(_) => Status::Done,
            Failure::During(story) => cause(story).map_or(Status::Trouble, Failure::status),
        }
    }

    /// Whether there is nothing to say about it.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        match self {
            Failure::ClosedPipe | Failure::Signal(_) => true,
            Failure::During(story) => cause(story).is_some_and(Failure::is_quiet),
            _ => false,
        }
    }

    /// The command to run next, if there is one that helps.
    #[must_use]
    pub fn next_step(&self) -> Option<String> {
        let Failure::Engine(error) = self else { return None };
        match error {
            Error::Corruption(damage) => Some(next_step_for(&damage.path)),
            Error::Locked { .. } => Some("the same with a larger --wait SECS".to_owned()),
            Error::NoStore { path, .. } if is_vacant(path) => {
                Some(format!("beach --db {} put KEY VALUE to make one", path.display()))
            }
            _ => None,
        }
    }
}

/// What, where, why, and what to run next, in one line.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Engine(error) => write!(f, "{error}")?,
            Failure::Usage(text) | Failure::Damaged(text) | Failure::Vacuous(text) => {
                f.write_str(text)?;
            }
            Failure::Stream(text, error) => write!(f, "{text}: {}", plain(error))?,
            Failure::ClosedPipe => f.write_str("the output was closed")?,
            Failure::Signal(signal) => write!(f, "stopped by signal {signal}")?,
            Failure::During(story) => write!(f, "{story:#}")?,
        }
        match self.next_step() {
            Some(command) => write!(f, "; run: {command}"),
            None => Ok(()),
        }
    }
}

/// So that a command of many steps can say which of them failed.
impl std::error::Error for Failure {}

impl From<anyhow::Error> for Failure {
    fn from(story: anyhow::Error) -> Failure {
        Failure::During(story)
    }
}

/// The failure that a story ends in.
fn cause(story: &anyhow::Error) -> Option<&Failure> {
    story.downcast_ref()
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Engine(error)
    }
}

/// The tool that says more about a damaged file, told by its name.
fn next_step_for(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let shown = path.display();
    if name.ends_with(".sst") {
        format!("beach-sstDump doctor {shown}")
    } else if name.ends_with(".wal") {
        format!("beach-walDump {shown}")
    } else {
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        format!("beach-manifest {}", dir.unwrap_or(Path::new(".")).display())
    }
}

/// Whether a store could be made here.
#[allow(clippy::disallowed_methods, reason = "looks around, to give the right advice")]
fn is_vacant(dir: &Path) -> bool {
    match std::fs::read_dir(dir) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// The operating system's words without Rust's `(os error 28)` behind them.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_lowercase(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the order of the contract back out of `combine`, for every pair both ways round.
    #[test]
    fn the_more_important_status_stands() {
        let order = [2, 7, 3, 5, 4, 6, 1, 0];
        let of = |code| Status::PRECEDENCE.into_iter().find(|one| one.code() == code).unwrap();
        for (rank, high) in order.into_iter().enumerate() {
            for low in order.into_iter().skip(rank) {
                assert_eq!(of(high).combine(of(low)).code(), high);
                assert_eq!(of(low).combine(of(high)).code(), high);
            }
        }
        assert_eq!(Status::Damage.lenient(), Status::Losses);
        assert_eq!(Status::Trouble.lenient(), Status::Trouble);
    }

    /// One of each variant against the table of the contract.
    #[test]
    fn every_error_has_its_status() {
        let path = std::path::PathBuf::from("db/000013.sst");
        let cases = [
            (Error::InvalidArgument("key is empty".into()), 2),
            (Error::corruption(&path, 0x1271, "checksum mismatch"), 3),
            (Error::Locked { path: path.clone(), pid: Some(7) }, 4),
            (Error::Moved { path: path.clone() }, 4),
            (Error::io("open", &path, io::Error::from(io::ErrorKind::NotFound)), 5),
            (Error::Poisoned("sync".into()), 5),
            (Error::NoStore { path: path.clone(), detail: "no such directory".into() }, 5),
            (Error::NotOurs { path: path.clone(), expected: "table", detail: "JPEG".into() }, 5),
            (Error::Unsupported { path, what: "format version 2".into() }, 5),
            (Error::ReadOnly, 5),
        ];
        for (error, code) in cases {
            assert_eq!(Failure::from(error.clone()).code(), code, "{error}");
        }
        assert_eq!(Failure::Signal(2).code(), 130);
        assert_eq!(Failure::Signal(15).code(), 143);
        assert_eq!(Failure::output(io::ErrorKind::BrokenPipe.into()).code(), 0);
        assert_eq!(Failure::output(io::ErrorKind::StorageFull.into()).code(), 5);
    }

    /// The same failure bare and wrapped in two steps; the wrapped one also says which they were.
    #[test]
    fn the_story_of_a_failure_changes_nothing_but_its_text() {
        let story = |failure| anyhow::Error::new(failure).context("step 5").context("tour");
        for bare in [
            || Failure::ClosedPipe,
            || Failure::Signal(15),
            || Failure::Usage("key too long".to_owned()),
            || Failure::from(Error::corruption("db/000012.wal", 16, "bad")),
        ] {
            let (bare, told) = (bare(), Failure::from(story(bare())));
            assert_eq!((bare.code(), bare.is_quiet()), (told.code(), told.is_quiet()));
            assert_eq!(told.to_string(), format!("tour: step 5: {bare}"));
        }
        assert_eq!(Failure::from(anyhow::anyhow!("of no kind")).code(), 5);
    }

    /// Advice that would not work is worse than none.
    #[test]
    fn a_store_is_proposed_only_where_one_can_be_made() {
        let dir = tempfile::tempdir().unwrap();
        let shown = |path: &Path| {
            Failure::from(Error::NoStore { path: path.into(), detail: "no".into() }).to_string()
        };
        let absent = dir.path().join("absent");
        for vacant in [dir.path(), &absent] {
            let advice =
                format!("; run: beach --db {} put KEY VALUE to make one", vacant.display());
            assert!(shown(vacant).ends_with(&advice));
        }
        // With something in it that is none of ours.
        let _file = tempfile::NamedTempFile::new_in(dir.path()).unwrap();
        assert!(!shown(dir.path()).contains("run:"));
    }

    /// The line of an error about each kind of file ends in the tool that reads it.
    #[test]
    fn damage_names_the_place_and_the_tool() {
        let shown = |path: &str| Failure::from(Error::corruption(path, 16, "bad")).to_string();
        assert_eq!(
            shown("db/000013.sst"),
            "db/000013.sst@0x10 is damaged: bad; run: beach-sstDump doctor db/000013.sst"
        );
        assert!(shown("db/000012.wal").ends_with("run: beach-walDump db/000012.wal"));
        assert!(shown("db/MANIFEST-000001").ends_with("run: beach-manifest db"));
        assert!(shown("CURRENT").ends_with("run: beach-manifest ."));
    }
}
