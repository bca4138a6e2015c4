//! Where the store of a benchmark is; a temporary one goes when the run ends, however it ends.

use std::path::{Path, PathBuf};

use crate::cli::args::{Args, BenchArgs};
use crate::cli::{Failure, Outcome};
use crate::{Error, Result};

/// A directory for one store.
pub(super) struct Place {
    store: PathBuf,
    is_temporary: bool,
}

impl Place {
    /// The directory that was named, or a new one.
    ///
    /// A benchmark overwrites: into a directory with something in it it goes only if it is told to
    /// use what is there.
    #[allow(clippy::disallowed_methods, reason = "looks for an empty place, not into a store")]
    pub(super) fn choose(args: &Args, wanted: &BenchArgs) -> Outcome<Place> {
        if let Some(dir) = args.store.named() {
            let taken = std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some());
            if taken && !wanted.use_existing {
                return Err(Failure::Usage(format!(
                    "{} is not empty; a benchmark begins a new store, or writes into this one with \
                     --use-existing",
                    dir.display()
                )));
            }
            return Ok(Place { store: dir.to_owned(), is_temporary: false });
        }
        if wanted.use_existing {
            return args
                .store
                .dir()
                .map(|dir| Place { store: dir.to_owned(), is_temporary: false });
        }
        let store = std::env::temp_dir().join(format!("beach-bench-{}", std::process::id()));
        let failed = |error| Failure::Stream(format!("could not make {}", store.display()), error);
        // Nobody else's: a directory that is there already is refused, not shared.
        std::fs::create_dir(&store).map_err(failed)?;
        Ok(Place { store, is_temporary: true })
    }

    pub(super) fn store(&self) -> &Path {
        &self.store
    }

    pub(super) fn is_temporary(&self) -> bool {
        self.is_temporary
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.is_temporary {
            // What cannot be removed is left to whoever cleans the temporary directory.
            let _ = std::fs::remove_dir_all(&self.store);
        }
    }
}

/// Removes the files of a store that this run has made.
#[allow(clippy::disallowed_methods, reason = "the store is closed, and this run's own")]
pub(super) fn empty(dir: &Path) -> Result<()> {
    let failed = |error| Error::io("remove", dir, error);
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        std::fs::remove_file(entry.map_err(failed)?.path()).map_err(failed)?;
    }
    Ok(())
}
