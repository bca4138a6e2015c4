//! Where the tour's store is; a temporary one goes when the tour ends, however it ends.

use std::path::PathBuf;

use crate::cli::args::TourArgs;
use crate::cli::{Failure, Outcome};

/// A store and a place for a copy of it, both under one directory unless the store was given one.
pub(super) struct Place {
    /// The store.
    pub(super) store: PathBuf,
    /// Whether it stays when the tour ends.
    pub(super) keep: bool,
    /// Everything that goes.
    scratch: PathBuf,
}

impl Place {
    #[allow(clippy::disallowed_methods, reason = "looks for an empty place, not into a store")]
    pub(super) fn choose(wanted: &TourArgs) -> Outcome<Place> {
        let name = format!("beach-tour-{}", std::process::id());
        let scratch = std::env::temp_dir().join(name);
        let failed =
            |error| Failure::Stream(format!("could not make {}", scratch.display()), error);
        if let Some(dir) = &wanted.dir
            && std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some())
        {
            let text = format!("{} is not empty; the tour begins a new store", dir.display());
            return Err(Failure::Usage(text));
        }
        // Nobody else's: a directory that is there already is refused, not shared.
        std::fs::create_dir(&scratch).map_err(failed)?;
        let store = wanted.dir.clone().unwrap_or_else(|| scratch.join("store"));
        Ok(Place { store, keep: wanted.dir.is_some(), scratch })
    }

    /// A copy of the store, to be broken.
    #[allow(clippy::disallowed_methods, reason = "the store is closed; its files are only copied")]
    pub(super) fn copy(&self, name: &str) -> Outcome<PathBuf> {
        let copy = self.scratch.join(name);
        let failed = |error| Failure::Stream(format!("could not make {}", copy.display()), error);
        std::fs::create_dir(&copy).map_err(failed)?;
        for entry in std::fs::read_dir(&self.store).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            std::fs::copy(entry.path(), copy.join(entry.file_name())).map_err(failed)?;
        }
        Ok(copy)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What cannot be removed is left to whoever cleans the temporary directory.
        let _ = std::fs::remove_dir_all(&self.scratch);
    }
}
