//! Writes a mended copy of a table.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::read_table;
use crate::error::{Error, Result};
use crate::vfs::{Access, File, Vfs};

/// Bytes copied at a time.
const CHUNK_SIZE: usize = 1 << 20;

/// Copies a table to `copy` with `changes`, which are bytes by their offsets; where there are none,
/// the copy ends. The copy is written
/// under another name, synced, read and then renamed; the table itself is only read. Returns how
/// many damaged places the copy has.
///
/// # Errors
/// [`Error::InvalidArgument`] if `copy` exists already; the files' own.
pub fn write_fixed(
    vfs: &dyn Vfs,
    file: &dyn File,
    changes: &BTreeMap<u64, Vec<u8>>,
    copy: &Path,
) -> Result<u64> {
    if vfs.exists(copy)? {
        return Err(Error::InvalidArgument(format!("{} exists already", copy.display())));
    }
    let mut temporary = copy.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    if vfs.exists(&temporary)? {
        return Err(Error::InvalidArgument(format!("{} is in the way", temporary.display())));
    }
    let written = fill(vfs, file, changes, &temporary);
    let damaged = match written {
        Ok(damaged) => damaged,
        Err(error) => {
            // What is half written is of no use; that it could not be removed says less than why.
            let _ = vfs.remove(&temporary);
            return Err(error);
        }
    };
    vfs.rename(&temporary, copy)?;
    let dir = copy.parent().filter(|dir| !dir.as_os_str().is_empty());
    vfs.sync_dir(dir.unwrap_or(Path::new(".")))?;
    Ok(damaged)
}

fn fill(
    vfs: &dyn Vfs,
    file: &dyn File,
    changes: &BTreeMap<u64, Vec<u8>>,
    path: &Path,
) -> Result<u64> {
    let copy = vfs.create(path)?;
    let mut buffer = vec![0; CHUNK_SIZE];
    let ends = changes.iter().filter(|(_, bytes)| bytes.is_empty());
    let end = ends.map(|(offset, _)| *offset).min().unwrap_or(u64::MAX);
    let mut at = 0;
    while at < end {
        let wanted = buffer.len().min((end - at) as usize);
        let read = file.read_at(&mut buffer[..wanted], at)?;
        if read == 0 {
            break;
        }
        copy.write_at(&buffer[..read], at)?;
        at += read as u64;
    }
    for (offset, bytes) in changes.iter().filter(|(_, bytes)| !bytes.is_empty()) {
        copy.write_at(bytes, *offset)?;
    }
    copy.sync()?;
    drop(copy);
    let copy = vfs.open(path, Access::Read)?;
    Ok(read_table(&*copy, false, &mut |_| Ok::<(), Error>(()))?.damaged)
}
