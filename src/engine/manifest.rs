//! The manifest as the engine keeps it: edits appended and synced one by one, rolled over when it
//! has grown or when an append failed.
//!
//! Invariants:
//! - `state` is what the durable edits say; an edit is applied only after its sync.
//! - A failed append has an unknown outcome. Nothing is appended behind it: the next edit first
//!   begins a new manifest from `state`, and CURRENT decides which of the two counts. Files that
//!   the failed edit named are therefore never removed by the failure.
//! - From the rename of CURRENT until the directory is synced either manifest may be the one a
//!   crash leaves, so a failure in between poisons the store, and neither takes another edit.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::files::{FIRST_FRAME, Failure, Files};
use crate::error::{Error, Result};
use crate::format::edit::{Edit, Lineage, Reason};
use crate::format::frame::Kind;
use crate::format::names::{self, FileName};
use crate::format::state::State;
use crate::probe::{failpoint, mutant};
use crate::record::Writer;
use crate::types::{FileId, FileNumber};
use crate::vfs::{Access, File};

/// Bytes of rolled-over manifests that are kept for the history tools.
const HISTORY_SIZE_MAX: u64 = 16 << 20;

#[derive(Debug)]
pub(super) struct Manifest {
    files: Arc<Files>,
    number: FileNumber,
    file: Arc<dyn File>,
    writer: Writer,
    synced_upto: u64,
    size_max: u64,
    /// An append failed: what is behind `synced_upto` is unknown.
    broken: bool,
    /// Why CURRENT may already name another manifest.
    succeeded: Option<Error>,
    state: State,
}

impl Manifest {
    /// Writes a store's first manifest and CURRENT.
    pub(super) fn create(
        files: &Arc<Files>,
        first: Edit,
        size_max: u64,
    ) -> Result<Manifest, Failure> {
        let first = stamped(files, first);
        let mut manifest = begin(files, &first, size_max).map_err(Failure::Refused)?;
        manifest.install()?;
        Ok(manifest)
    }

    /// Goes on with a manifest that was read to its end, `valid_end`.
    pub(super) fn resume(
        files: &Arc<Files>,
        file: Arc<dyn File>,
        header: &crate::format::header::Header,
        state: State,
        valid_end: u64,
        size_max: u64,
    ) -> Manifest {
        let writer = Writer::new(Arc::clone(&file), header.id, valid_end);
        let manifest = Manifest {
            files: Arc::clone(files),
            number: header.number,
            file,
            writer,
            synced_upto: valid_end,
            size_max,
            broken: false,
            succeeded: None,
            state,
        };
        *files.promises.manifest.lock() = (manifest.number, valid_end);
        manifest
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// Number of the file and its synced length in bytes.
    pub(super) fn position(&self) -> (FileNumber, u64) {
        (self.number, self.synced_upto)
    }

    /// Nothing may be appended to what a crash left of this manifest, nor to what nobody promises to
    /// be durable: begin a new one first.
    pub(super) fn distrust_tail(&mut self) {
        self.broken = true;
    }

    /// Appends an edit and makes it durable. The time, the next file number and the promise about
    /// the live log are filled in here.
    pub(super) fn append(&mut self, edit: Edit) -> Result<(), Failure> {
        self.mend()?;
        if self.writer.end() > self.size_max && self.is_mostly_past() {
            // It is only long: if there is no room for a new one, this one still takes the edit.
            match self.roll_over() {
                Ok(()) | Err(Failure::Refused(_)) => {}
                Err(poison) => return Err(poison),
            }
        }
        // Only now, since rolling over takes a file number.
        let edit = stamped(&self.files, edit);
        let mut next = self.state.clone();
        next.apply(&edit).map_err(|reason| Failure::Poison(our_bug(&self.files, &reason)))?;
        let written = write_edit(&mut self.writer, self.synced_upto, &edit);
        failpoint("manifest_after_append");
        // Rule 8: an edit is durable before anything relies on it.
        let sync = || if mutant("edit_not_synced") { Ok(()) } else { self.file.sync() };
        if let Err(error) = written.and_then(|()| sync()) {
            // Rule 6: nothing is appended behind an edit of unknown outcome.
            self.broken = !mutant("edits_behind_a_failed_edit");
            return Err(Failure::Refused(error));
        }
        failpoint("manifest_after_sync");
        self.state = next;
        self.promise();
        Ok(())
    }

    /// Makes sure that the next edit can be appended, if that takes a new manifest. Asked before a
    /// file is made that only an edit can name, so that trying again on a full disk does not leave
    /// such a file each time.
    pub(super) fn mend(&mut self) -> Result<(), Failure> {
        if let Some(error) = &self.succeeded {
            return Err(Failure::Poison(error.clone()));
        }
        if self.broken { self.roll_over() } else { Ok(()) }
    }

    /// Whether the state alone would take less than half of the file. Without this a state larger
    /// than the limit would be written again with each edit.
    fn is_mostly_past(&self) -> bool {
        2 * (self.state.to_edit().encode().len() as u64) < self.writer.end()
    }

    /// Begins a new manifest with the whole state as its first edit; the old one becomes history.
    fn roll_over(&mut self) -> Result<(), Failure> {
        let mut state = self.state.clone();
        state.lineage = Some(Lineage {
            previous: self.number,
            edits: self.state.edits,
            rollovers: self.state.lineage.map_or(0, |past| past.rollovers).saturating_add(1),
        });
        let first = stamped(&self.files, Edit { reason: Reason::Rollover, ..state.to_edit() });
        failpoint("manifest_rollover_before_begin");
        let mut next = begin(&self.files, &first, self.size_max).map_err(Failure::Refused)?;
        failpoint("manifest_rollover_after_begin");
        if let Err(failure) = next.install() {
            match &failure {
                Failure::Refused(_) => remove_unnamed(&self.files, next.number),
                Failure::Poison(error) => self.succeeded = Some(error.clone()),
            }
            return Err(failure);
        }
        failpoint("manifest_rollover_after_install");
        *self = next;
        // History is a convenience: failing to trim it must not fail the edit.
        let _ = trim_history(&self.files, self.number);
        Ok(())
    }

    /// Makes CURRENT name this manifest.
    fn install(&mut self) -> Result<(), Failure> {
        self.files.set_current(self.number)?;
        self.promise();
        Ok(())
    }

    fn promise(&mut self) {
        self.synced_upto = self.writer.end();
        *self.files.promises.manifest.lock() = (self.number, self.synced_upto);
        self.files.promises.mark_due.store(true, Ordering::Release);
    }
}

/// Writes a manifest with one edit, durable but not named by CURRENT.
fn begin(files: &Arc<Files>, first: &Edit, size_max: u64) -> Result<Manifest> {
    let mut state = State::default();
    state.apply(first).map_err(|reason| our_bug(files, &reason))?;
    let (number, id, file) = files.create_manifest()?;
    let written = write_first(files, (id, &file), state, first);
    if written.is_err() {
        remove_unnamed(files, number);
    }
    let (writer, state) = written?;
    let synced_upto = writer.end();
    let files = Arc::clone(files);
    let (broken, succeeded) = (false, None);
    Ok(Manifest { files, number, file, writer, synced_upto, size_max, broken, succeeded, state })
}

/// Removes a manifest that CURRENT never named. If that fails, the next opening will.
fn remove_unnamed(files: &Files, number: FileNumber) {
    let _ = files.vfs.remove(&files.path(names::manifest(number)));
}

/// Makes a new manifest's first edit durable, and its name; returns what takes the next one.
fn write_first(
    files: &Files,
    (id, file): (FileId, &Arc<dyn File>),
    mut state: State,
    first: &Edit,
) -> Result<(Writer, State)> {
    // Creating the file took a number.
    let first = Edit { next_file: Some(files.next_number()), ..first.clone() };
    state.next_file = files.next_number();
    let mut writer = Writer::new(Arc::clone(file), id, FIRST_FRAME);
    failpoint("manifest_begin_after_create");
    write_edit(&mut writer, 0, &first)?;
    failpoint("manifest_begin_after_write");
    // Rule 8: a manifest is whole and durable before CURRENT names it.
    if !mutant("new_manifest_not_synced") {
        file.sync()?;
    }
    failpoint("manifest_begin_after_sync");
    files.sync_dir()?;
    failpoint("manifest_begin_after_dir_sync");
    Ok((writer, state))
}

fn write_edit(writer: &mut Writer, synced_upto: u64, edit: &Edit) -> Result<()> {
    writer.push(Kind::Edit, synced_upto, &[&edit.encode()]);
    writer.write()
}

fn stamped(files: &Files, edit: Edit) -> Edit {
    Edit {
        time_ms: files.runtime.now_ms(),
        next_file: Some(files.next_number()),
        // A new manifest's first edit has an older promise, which is all there is while nothing in the
        // live log was synced.
        log_synced: files.promises.log.lock().or(edit.log_synced),
        ..edit
    }
}

pub(super) fn our_bug(files: &Files, reason: &str) -> Error {
    Error::corruption(&files.dir, None, format!("an edit contradicts the tree: {reason}"))
}

/// Removes the oldest of the manifests before `current` while they exceed their budget.
fn trim_history(files: &Files, current: FileNumber) -> Result<()> {
    let mut kept = 0;
    let names = files.vfs.list(&files.dir)?;
    let mut old: Vec<FileNumber> = names
        .iter()
        .filter_map(|name| match names::parse(name) {
            FileName::Manifest(number) if number < current => Some(number),
            _ => None,
        })
        .collect();
    old.sort_unstable_by(|a, b| b.cmp(a));
    for number in old {
        let path = files.path(names::manifest(number));
        kept += files.vfs.open(&path, Access::Read)?.size()?;
        if kept > HISTORY_SIZE_MAX {
            files.vfs.remove(&path)?;
        }
    }
    Ok(())
}
