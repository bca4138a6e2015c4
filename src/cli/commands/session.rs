//! Opening stores and files the way every verb does it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use crate::cli::args::Args;
use crate::cli::{Failure, Out, Outcome, retry};
use crate::{Db, Durability, Options, Recovery, Result};

/// Opens the store for reading, again if files moved. Never creates anything.
pub(super) fn open_reader(args: &Args, out: &mut Out) -> Outcome<Db> {
    read(args, out, Ok)
}

/// Opens the store for reading and reads, both again if files moved.
pub(super) fn read<T>(
    args: &Args,
    out: &mut Out,
    mut read: impl FnMut(Db) -> Result<T>,
) -> Outcome<T> {
    let dir = args.store.dir()?;
    let found = retry::while_moved(|| {
        let db = Db::open_read_only(dir)?;
        let recovery = db.recovery().clone();
        Ok((read(db)?, recovery))
    });
    let (found, recovery) = found?;
    // A tail that is torn now may just be being written, so it is worth a hint and no more.
    tell_dropped(&recovery, |text| out.hint(text));
    Ok(found)
}

/// Opens the store for writing, waiting for its lock.
pub(super) fn open_writer(args: &Args, create: bool, out: &mut Out) -> Outcome<Db> {
    let dir = args.store.dir()?;
    let open = || Options::new().create(create).open(dir);
    let db = retry::while_locked(args.store.wait, open)?;
    tell_dropped(db.recovery(), |text| out.warn(text));
    Ok(db)
}

fn tell_dropped(recovery: &Recovery, mut tell: impl FnMut(String)) {
    for tail in &recovery.dropped {
        tell(format!(
            "{}@{:#x}: dropped {} bytes of a torn tail ({}); nothing in it was acknowledged as durable",
            tail.path.display(),
            tail.offset,
            tail.bytes,
            tail.reason,
        ));
    }
}

/// What `--no-sync` asks for.
pub(super) fn durability(no_sync: bool) -> Durability {
    if no_sync { Durability::Buffered } else { Durability::Sync }
}

/// Closes after writing. Closing syncs what is buffered, so `--no-sync` drops the handle instead.
pub(super) fn close(db: Db, no_sync: bool) -> Outcome<()> {
    if no_sync {
        drop(db);
        return Ok(());
    }
    Ok(db.close()?)
}

/// A person's own file, or standard input for `-`; and its size if that is known.
#[allow(clippy::disallowed_methods, reason = "a person's file is no part of a store")]
pub(super) fn open_input(path: &Path) -> Outcome<(Box<dyn BufRead>, Option<u64>)> {
    if path == Path::new("-") {
        return Ok((Box::new(BufReader::new(io::stdin())), None));
    }
    let failed = |error| Failure::Stream(format!("could not open {}", path.display()), error);
    let file = File::open(path).map_err(failed)?;
    let size = file.metadata().ok().filter(|meta| meta.is_file()).map(|meta| meta.len());
    Ok((Box::new(BufReader::with_capacity(256 << 10, file)), size))
}

/// All bytes of such a file, at most `size_max` and one more, so that too much can be told.
pub(super) fn read_input(path: &Path, size_max: usize) -> Outcome<Vec<u8>> {
    let (input, _) = open_input(path)?;
    let mut bytes = Vec::new();
    let failed = |error| Failure::Stream(format!("could not read {}", path.display()), error);
    input.take(size_max as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}
