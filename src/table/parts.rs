//! Reads single parts of a table's file: what an open table and the tools share.

use crate::error::{Error, Result};
use crate::format::FORMAT_VERSION;
use crate::format::block::{self, Kind};
use crate::format::table::{COMPARATOR, FOOTER_SIZE, Footer, Handle, Properties};
use crate::types::FileId;
use crate::vfs::File;

/// Reads the footer of a table and checks that the parts it names fill the file's end. Returns it
/// and where it begins.
///
/// # Errors
/// [`Error::NotOurs`] when the file does not end like a table; [`Error::Corruption`] when it does
/// but is damaged; [`Error::Unsupported`] for a later format version; [`Error::Io`].
pub fn read_footer(file: &dyn File) -> Result<(Footer, u64)> {
    let not_ours = |detail| {
        let path = file.path().to_owned();
        Err(Error::NotOurs { path, expected: "table", detail })
    };
    let size = file.size()?;
    let Some(offset) = size.checked_sub(FOOTER_SIZE as u64) else {
        return not_ours(format!("it has {size} bytes, less than a footer"));
    };
    let damaged = |reason| Error::corruption(file.path(), offset, reason);
    let mut bytes = [0; FOOTER_SIZE];
    if file.read_at(&mut bytes, offset)? < FOOTER_SIZE {
        return Err(damaged("footer: the file ends within it".to_owned()));
    }
    if !Footer::has_magic(&bytes) && !Footer::is_intact_but_for_magic(&bytes, offset) {
        let (_, end) = bytes.split_at(FOOTER_SIZE - 8);
        return not_ours(format!("it ends in \"{}\" instead of \"BEACHSST\"", end.escape_ascii()));
    }
    let footer = Footer::decode(&bytes, offset).map_err(damaged)?;
    if footer.version > FORMAT_VERSION {
        let what = format!("format version {}", footer.version);
        return Err(Error::Unsupported { path: file.path().to_owned(), what });
    }
    footer.check_places(size).map_err(|reason| damaged(format!("footer: {reason}")))?;
    Ok((footer, offset))
}

/// Reads the block at `handle` of the file `id` and returns its content, checked and unpacked.
///
/// The handle's size is believed: check it against the file first.
///
/// # Errors
/// [`Error::Corruption`] when it is damaged or not of this kind; [`Error::Io`].
pub fn read_block(file: &dyn File, id: FileId, kind: Kind, handle: Handle) -> Result<Vec<u8>> {
    let mut bytes = vec![0; handle.size as usize];
    let read = file.read_at(&mut bytes, handle.offset)?;
    let damaged = |reason| Error::corruption(file.path(), handle.offset, reason);
    if read < bytes.len() {
        let size = handle.size;
        return Err(damaged(format!("{kind} block: the file ends after {read} of {size} bytes")));
    }
    block::unseal(kind, bytes, id, handle.offset).map_err(damaged)
}

/// Reads the properties of the table `id`.
///
/// # Errors
/// As [`read_block`]; [`Error::Unsupported`] for another order of keys.
pub(super) fn read_properties(file: &dyn File, id: FileId, handle: Handle) -> Result<Properties> {
    let content = read_block(file, id, Kind::Properties, handle)?;
    let damaged = |reason: String| {
        let detail = format!("properties block: {reason}");
        Error::corruption(file.path(), handle.offset, detail)
    };
    let properties = Properties::decode(&content).map_err(damaged)?;
    if properties.id != id {
        return Err(damaged(format!("file id is {}, the footer says {id}", properties.id)));
    }
    if properties.comparator != COMPARATOR {
        let what = format!("the order of keys \"{}\"", properties.comparator.escape_debug());
        return Err(Error::Unsupported { path: file.path().to_owned(), what });
    }
    Ok(properties)
}
