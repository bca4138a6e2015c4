//! The header of a log or manifest, and how to go on without one.

use super::foreign::foreign_mix;
use super::{Expect, FileHeader, of_kind};
use crate::error::{Error, Result};
use crate::format::coding::mix;
use crate::format::frame::Kind;
use crate::format::header::{FileKind, HEADER_SIZE, Header, HeaderError};
use crate::inspect::finding::{Code, Finding};
use crate::inspect::{FileType, identify, wrong_kind};
use crate::record::{Item, Scanner};
use crate::types::FileId;
use crate::vfs::File;

/// Reads the header, and finds a way to go on if it is damaged.
pub(in crate::inspect) fn read_header(
    file: &dyn File,
    kind: FileKind,
    expect: &Expect,
) -> Result<FileHeader> {
    let mut bytes = [0; HEADER_SIZE];
    let read = file.read_at(&mut bytes, 0)?;
    let bytes = &bytes[..read];
    let (path, size) = (file.path().to_owned(), file.size()?);
    let (header, damage) = match Header::decode(bytes, kind) {
        Ok(header) => (Some(header), None),
        Err(HeaderError::Newer(version)) => {
            return Err(Error::Unsupported { path, what: format!("format version {version}") });
        }
        Err(HeaderError::Damaged(detail)) => (mended(bytes, kind), Some(detail)),
        Err(HeaderError::TooShort) if is_cut(bytes, kind) => {
            let detail = format!("the file has {read} bytes, its header alone {HEADER_SIZE}");
            (None, Some(detail))
        }
        Err(HeaderError::TooShort) => return Err(wrong_kind(file, kind.name())?),
        Err(HeaderError::NotOurs(_)) => {
            if identify(file)? != FileType::Unknown || guess_id(file, kind)?.is_none() {
                return Err(wrong_kind(file, kind.name())?);
            }
            (None, Some(format!("this is no header, but a {kind}'s frames follow")))
        }
    };
    let id = match (header, expect.id) {
        (Some(header), _) => Some(header.id),
        (None, Some(id)) => Some(id),
        (None, None) => guess_id(file, kind)?,
    };
    let damage = damage.map(|what| {
        let code = of_kind(kind, Code::LogHeader, Code::ManifestHeader);
        Finding::new(code, &path, what).at(0, size.min(HEADER_SIZE as u64))
    });
    let damage = damage.or_else(|| unexpected(file, kind, header, size, expect));
    Ok(FileHeader { path, kind, size, header, damage, id })
}

/// What contradicts the manifest.
fn unexpected(
    file: &dyn File,
    kind: FileKind,
    header: Option<Header>,
    size: u64,
    expect: &Expect,
) -> Option<Finding> {
    let found = header.map(|header| header.id);
    if let (Some(found), Some(id)) = (found, expect.id)
        && found != id
    {
        let code = of_kind(kind, Code::LogStranger, Code::ManifestStranger);
        let what = format!("a foreign or older file: its id is {found}, the manifest says {id}");
        return Some(Finding::new(code, file.path(), what).at(0, HEADER_SIZE as u64));
    }
    let code = of_kind(kind, Code::LogCut, Code::ManifestCut);
    let what = || format!("it has {size} bytes, expected at least {}", expect.size);
    (size < expect.size).then(|| Finding::new(code, file.path(), what()).at(size, 0))
}

/// Whether the bytes of a file shorter than a header can be the beginning of one, or of zeros.
fn is_cut(bytes: &[u8], kind: FileKind) -> bool {
    let magic = kind.magic();
    let common = bytes.len().min(magic.len());
    bytes[..common] == magic[..common] || bytes.iter().all(|&byte| byte == 0)
}

/// The header that one flipped bit makes of these bytes.
fn mended(bytes: &[u8], kind: FileKind) -> Option<Header> {
    (0..bytes.len() * 8).find_map(|bit| {
        let mut bytes = bytes.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        Header::decode(&bytes, kind).ok()
    })
}

/// An id with which the frames of a file verify whose header is lost.
///
/// Checksums are mixed with 32 bits of the id, so those a whole first frame was mixed with are as
/// good as the id itself.
fn guess_id(file: &dyn File, kind: FileKind) -> Result<Option<FileId>> {
    let start = HEADER_SIZE as u64;
    let Some(mixed) = foreign_mix(file, start, file.size()?)? else { return Ok(None) };
    let id = FileId(u64::from(mixed ^ mix(FileId(0), start)));
    let mut scanner = Scanner::new(file, id, start, None)?;
    Ok(match scanner.next()? {
        Some(Item::Frame { kind: found, .. }) => {
            ((found == Kind::Edit) == (kind == FileKind::Manifest)).then_some(id)
        }
        _ => None,
    })
}
