//! A manifest, edit by edit, and the state that its edits add up to.
//!
//! The state is that of the edits up to the first hole: what follows one may build on what is
//! missing.

pub mod history;
pub mod story;
pub mod summary;

use super::finding::{Code, Finding};
use super::frames::{self, Expect, FileHeader, Hole, HoleClass, Piece};
use crate::error::{Error, Result};
use crate::format::edit::Edit;
use crate::format::frame::Kind;
use crate::format::header::{FileKind, HEADER_SIZE};
use crate::format::state::State;
use crate::types::StoreId;
use crate::vfs::File;

/// One part of a manifest.
#[derive(Debug)]
pub enum ManifestItem<'a> {
    /// The file and its header; always first.
    Header(&'a FileHeader),
    /// A whole, intact frame.
    Edit(Box<ManifestEdit>),
    /// Bytes that are no frames.
    Hole(Box<Hole>),
    /// Zeros up to the end.
    Unused {
        /// Where they begin.
        offset: u64,
        /// How many there are.
        size: u64,
    },
}

impl ManifestItem<'_> {
    /// What is wrong with this part, or unusual about it.
    #[must_use]
    pub fn finding(&self) -> Option<&Finding> {
        match self {
            ManifestItem::Header(header) => header.damage.as_ref(),
            ManifestItem::Edit(edit) => edit.damage.as_ref(),
            ManifestItem::Hole(hole) => Some(&hole.finding),
            ManifestItem::Unused { .. } => None,
        }
    }
}

/// A frame of a manifest.
#[derive(Debug)]
pub struct ManifestEdit {
    /// Where it begins.
    pub offset: u64,
    /// Its bytes.
    pub size: u64,
    /// The promise it carries; 0 is none.
    pub synced_upto: u64,
    /// The edit; none if the frame cannot be read as one.
    pub edit: Option<Edit>,
    /// Its number in the store's life, from 1; none behind a hole.
    pub number: Option<u64>,
    /// What is wrong with it.
    pub damage: Option<Finding>,
}

/// What a manifest adds up to.
#[derive(Clone, Debug, Default)]
pub struct ManifestTotals {
    /// Edits.
    pub edits: u64,
    /// Holes that a crash explains.
    pub torn: u64,
    /// Things that no crash explains: holes, edits, the header.
    pub damaged: u64,
    /// The state after the edits up to `state_end`.
    pub state: State,
    /// The offset behind the last edit in `state`.
    pub state_end: u64,
    /// Whether edits are missing from the state: a hole came first, or one that contradicts it.
    pub is_partial: bool,
}

/// Reads a manifest, calling `visit` with each part of it.
///
/// # Errors
/// Those of `visit`; [`Error::NotOurs`] when the file is not a manifest (the text names the tool
/// for what it is), [`Error::Unsupported`] for a later format version, [`Error::Io`].
pub fn read_manifest<E: From<Error>>(
    file: &dyn File,
    expect: &Expect,
    visit: &mut dyn FnMut(ManifestItem<'_>) -> Result<(), E>,
) -> Result<ManifestTotals, E> {
    let mut totals = ManifestTotals::default();
    let mut spoiled = false;
    let mut owner = None;
    frames::walk(file, FileKind::Manifest, expect, &mut |piece| {
        let item = match piece {
            Piece::Header(header) => {
                totals.damaged += u64::from(header.damage.is_some());
                owner = header.header.map(|header| header.store);
                ManifestItem::Header(header)
            }
            Piece::Frame { offset, size, kind, synced_upto, payload } => {
                let (edit, damage) = match decode(kind, payload) {
                    Ok(edit) => (Some(edit), None),
                    Err(reason) => (None, Some((Code::EditUnreadable, reason))),
                };
                let folded = totals.fold(edit.as_ref(), offset + size);
                spoiled |= folded.is_err();
                let number = (!totals.is_partial).then_some(totals.state.edits);
                let contradiction = folded.err().map(|reason| (Code::EditContradicts, reason));
                let damage = damage.or(contradiction).or_else(|| {
                    let reason = stranger(edit.as_ref(), owner)?;
                    Some((Code::ManifestStranger, reason))
                });
                let damage = damage
                    .map(|(code, what)| Finding::new(code, file.path(), what).at(offset, size));
                totals.edits += 1;
                totals.damaged += u64::from(damage.is_some());
                let edit = ManifestEdit { offset, size, synced_upto, edit, number, damage };
                ManifestItem::Edit(Box::new(edit))
            }
            Piece::Hole(hole) => {
                totals.is_partial = true;
                totals.damaged += u64::from(hole.is_damage());
                totals.torn += u64::from(!hole.is_damage());
                ManifestItem::Hole(Box::new(hole))
            }
            Piece::Unused { offset, size } => ManifestItem::Unused { offset, size },
        };
        visit(item)
    })?;
    if spoiled {
        totals.state = state_upto(file, expect, totals.state_end)?;
    }
    if totals.edits == 0 && totals.damaged == 0 {
        totals.damaged += 1;
        visit(ManifestItem::Hole(Box::new(no_edits(file))))?;
    }
    Ok(totals)
}

/// A store's manifest is never without an edit: it counts only once its first one is durable.
fn no_edits(file: &dyn File) -> Hole {
    let place = (HEADER_SIZE as u64, 0);
    let what = "there is no edit that says which store this is";
    let mut hole = frames::hole(file, FileKind::Manifest, HoleClass::TornTail, place, what);
    hole.finding.code = Code::ManifestEmpty;
    hole
}

/// That an edit is of another store than the header.
fn stranger(edit: Option<&Edit>, owner: Option<StoreId>) -> Option<String> {
    let (found, owner) = (edit?.store.as_ref()?.id, owner?);
    (found != owner).then(|| format!("it is of store {found}, the header of {owner}"))
}

impl ManifestTotals {
    /// Applies an edit if all before it were applied. After an error the state is half changed.
    fn fold(&mut self, edit: Option<&Edit>, end: u64) -> Result<(), String> {
        if self.is_partial {
            return Ok(());
        }
        let Some(edit) = edit else {
            self.is_partial = true;
            return Ok(());
        };
        self.state.apply(edit).inspect_err(|_| self.is_partial = true)?;
        self.state_end = end;
        Ok(())
    }
}

fn decode(kind: Kind, payload: &[u8]) -> Result<Edit, String> {
    match kind {
        Kind::Edit => Edit::decode(payload),
        other => Err(format!("a {other} does not belong in a manifest")),
    }
}

/// The state after the edits that end at or before this offset, which fit together.
fn state_upto(file: &dyn File, expect: &Expect, end: u64) -> Result<State> {
    let mut state = State::default();
    frames::walk(file, FileKind::Manifest, expect, &mut |piece| {
        if let Piece::Frame { offset, size, kind, payload, .. } = piece
            && offset + size <= end
        {
            let applied = decode(kind, payload).and_then(|edit| state.apply(&edit));
            applied.map_err(|reason| Error::corruption(file.path(), offset, reason))?;
        }
        Ok::<(), Error>(())
    })?;
    Ok(state)
}
