//! The step that flips bits in a copy of the store, and shows that each of them is noticed.

use std::fs;
use std::path::{Path, PathBuf};

use super::place::Place;
use super::{Guide, writer};
use crate::cli::{Failure, Outcome, Status};
use crate::{Db, Error};

impl Guide<'_> {
    /// One bit in the log refuses to open; one in a table fails the reads that need it.
    pub(super) fn damage(&mut self, place: &Place) -> Outcome {
        self.title("Damage: one flipped bit in a copy, first in its log, then in a table")?;
        let copy = place.copy("log-damaged")?;
        flip(&file_with(&copy, &writer::crash_key(0))?, &writer::crash_key(0))?;
        let log = self.refused(&copy, Db::open(&copy).map(drop))?;
        let copy = place.copy("table-damaged")?;
        let tables: Vec<PathBuf> = files(&copy, "sst")?;
        let Some(table) = tables.first() else {
            return Err(Failure::Damaged(format!("{} has no table", copy.display())));
        };
        flip_at(table, read(table)?.len() / 2)?;
        let mut right = 0;
        let scanned = compare(&Db::open(&place.store)?, &Db::open(&copy)?, &mut right);
        let table = self.refused(&copy, scanned)?;
        self.say(&format!("a scan returned {right} pairs before it, each as it was written"))?;
        Ok(log.combine(table))
    }

    /// Tells the error that must have come.
    fn refused(&mut self, copy: &Path, result: Result<(), Error>) -> Outcome {
        match result {
            Err(error @ Error::Corruption(_)) => {
                // The directory is a temporary one and differs from tour to tour.
                let text = error.to_string();
                self.say(&text.replace(&format!("{}/", copy.display()), ""))?;
                Ok(Status::Done)
            }
            Err(other) => Err(other.into()),
            Ok(()) => {
                self.say("A FLIPPED BIT WENT UNNOTICED")?;
                Ok(Status::Damage)
            }
        }
    }
}

/// Scans both, until one ends or a pair differs, which must not be.
fn compare(whole: &Db, copy: &Db, right: &mut u64) -> Result<(), Error> {
    for (expected, found) in whole.iter().zip(copy.iter()) {
        let (expected, found) = (expected?, found?);
        if (&expected.0, &*expected.1) != (&found.0, &*found.1) {
            return Ok(());
        }
        *right += 1;
    }
    Ok(())
}

/// The files of a directory with this extension, by name.
#[allow(clippy::disallowed_methods, reason = "a copy that is made to be broken")]
fn files(dir: &Path, extension: &str) -> Outcome<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).map_err(|error| failed("read", dir, error))?;
    let paths = entries.flatten().map(|entry| entry.path());
    let mut found: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|it| it == extension)).collect();
    found.sort();
    Ok(found)
}

/// The log in which this key stands.
fn file_with(dir: &Path, key: &str) -> Outcome<PathBuf> {
    for path in files(dir, "wal")? {
        if position(&read(&path)?, key).is_some() {
            return Ok(path);
        }
    }
    Err(Failure::Damaged(format!("no log of {} holds {key}", dir.display())))
}

fn position(bytes: &[u8], key: &str) -> Option<usize> {
    bytes.windows(key.len()).position(|window| window == key.as_bytes())
}

/// Flips a bit of the first copy of the key.
fn flip(path: &Path, key: &str) -> Outcome<()> {
    let at = position(&read(path)?, key).unwrap_or_default();
    flip_at(path, at)
}

#[allow(clippy::disallowed_methods, reason = "a copy that is made to be broken")]
fn flip_at(path: &Path, at: usize) -> Outcome<()> {
    let mut bytes = read(path)?;
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1;
    }
    fs::write(path, bytes).map_err(|error| failed("write", path, error))
}

#[allow(clippy::disallowed_methods, reason = "a copy that is made to be broken")]
fn read(path: &Path) -> Outcome<Vec<u8>> {
    fs::read(path).map_err(|error| failed("read", path, error))
}

fn failed(verb: &str, path: &Path, error: std::io::Error) -> Failure {
    Failure::Stream(format!("could not {verb} {}", path.display()), error)
}
