//! What recovery needs to know of one log or manifest.

#[cfg(test)]
mod tests;

use super::reader::{Item, Scanner};
use crate::error::{Error, Result};
use crate::format::frame::{ClosePayload, EndPayload, Kind, MarkPayload, frame_size};
use crate::format::header::{FileKind, HEADER_SIZE, Header, HeaderError};
use crate::probe::mutant;
use crate::types::FileNumber;
use crate::vfs::File;

/// What a log or manifest holds, without a judgement.
///
/// The *gapless prefix* is the frames from the header on, up to the first place that is no frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogScan {
    /// The file's header.
    pub header: Header,
    /// Bytes of the whole file.
    pub size: u64,
    /// The offset behind the last frame of the gapless prefix.
    pub valid_end: u64,
    /// Frames of the gapless prefix.
    pub records: u64,
    /// The largest promise about this file in any whole frame of it, also behind a bad place.
    pub promised: u64,
    /// The largest promise about a manifest, the newest one's, in any mark or close frame.
    pub manifest_promise: Option<(FileNumber, u64)>,
    /// The gapless prefix ends with a whole pair of close frames, and only zeros follow.
    pub closed: Option<ClosePayload>,
    /// The gapless prefix ends with an end frame.
    pub ended: bool,
    /// The first place that is neither a frame nor zeros up to the end.
    pub first_bad: Option<Bad>,
}

/// The first bad place of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    /// Where it begins: where a frame should.
    pub offset: u64,
    /// What was found and what was expected.
    pub detail: String,
    /// The one flipped bit that explains it: (offset in the file, bit).
    pub flipped: Option<(u64, u8)>,
    /// Whole frames behind it.
    pub frames_after: u64,
    /// Bytes from `offset` up to the last that is not zero, whole frames behind it included.
    pub bytes: u64,
}

/// What [`scan_log`] calls with each frame of the gapless prefix: offset, kind, payload.
pub type OnFrame<'a> = dyn FnMut(u64, Kind, &[u8]) -> Result<()> + 'a;

/// Reads a whole file behind its header, giving the frames of the gapless prefix to `on_frame`.
///
/// `limit` is where the file ends for this purpose, if it is known to end earlier.
///
/// # Errors
/// The file's own, those of `on_frame`, and [`Error::Corruption`] for an intact frame whose content
/// is nonsense.
pub fn scan_log(
    file: &dyn File,
    header: &Header,
    limit: Option<u64>,
    on_frame: &mut OnFrame<'_>,
) -> Result<LogScan> {
    let start = HEADER_SIZE as u64;
    let mut scan = LogScan {
        header: *header,
        size: file.size()?,
        valid_end: start,
        records: 0,
        promised: 0,
        manifest_promise: None,
        closed: None,
        ended: false,
        first_bad: None,
    };
    let mut last = Last::Other;
    let mut scanner = Scanner::new(file, header.id, start, limit)?;
    while let Some(item) = scanner.next()? {
        match item {
            Item::Frame { offset, kind, synced_upto, payload, size } => {
                let known = Known::decode(kind, offset, payload)
                    .map_err(|detail| Error::corruption(file.path(), offset, detail))?;
                scan.promised = scan.promised.max(synced_upto);
                scan.manifest_promise = scan.manifest_promise.max(known.manifest_promise());
                if let Some(bad) = &mut scan.first_bad {
                    bad.frames_after += 1;
                    bad.bytes = offset + size - bad.offset;
                    continue;
                }
                on_frame(offset, kind, payload)?;
                scan.records += 1;
                scan.valid_end = offset + size;
                last = last.then(known);
            }
            Item::Bad { offset, data_end, detail, flipped, .. } => {
                let bytes = data_end - offset;
                match &mut scan.first_bad {
                    Some(bad) => bad.bytes = bad.bytes.max(data_end - bad.offset),
                    None => {
                        scan.first_bad =
                            Some(Bad { offset, detail, flipped, frames_after: 0, bytes });
                    }
                }
                // Rule 1: what lies behind a bad record tells damage from a torn tail.
                if mutant("no_look_behind_a_bad_record") {
                    break;
                }
            }
            Item::Zeros { .. } => {}
        }
    }
    scan.ended = matches!(last, Last::End);
    scan.closed = match last {
        Last::Closed(close) if scan.first_bad.is_none() => Some(close),
        _ => None,
    };
    Ok(scan)
}

/// Reads and checks the header of a file.
///
/// # Errors
/// [`Error::Corruption`] when it is damaged or the file is shorter, [`Error::NotOurs`] when the file
/// is another kind's or somebody else's, [`Error::Unsupported`] when it is of a later format version,
/// and the file's own.
pub fn read_header(file: &dyn File, kind: FileKind) -> Result<Header> {
    let mut bytes = [0; HEADER_SIZE];
    let read = file.read_at(&mut bytes, 0)?;
    Header::decode(&bytes[..read], kind).map_err(|error| match error {
        HeaderError::TooShort => {
            let detail = format!("the file has {read} bytes, its header alone {HEADER_SIZE}");
            Error::corruption(file.path(), 0, detail)
        }
        HeaderError::Damaged(detail) => Error::corruption(file.path(), 0, detail),
        HeaderError::NotOurs(magic) => Error::NotOurs {
            path: file.path().to_owned(),
            expected: kind.name(),
            detail: match FileKind::sniff(&magic) {
                Some(other) => format!("it is a {other}"),
                None => format!("it begins with \"{}\"", magic.escape_ascii()),
            },
        },
        HeaderError::Newer(version) => Error::Unsupported {
            path: file.path().to_owned(),
            what: format!("format version {version}"),
        },
    })
}

/// What a frame says about the log and the manifest.
enum Known {
    Mark(MarkPayload),
    /// The first copy lies where the log ended, the second right behind it.
    Close {
        close: ClosePayload,
        first: bool,
    },
    End,
    Other,
}

impl Known {
    fn decode(kind: Kind, offset: u64, payload: &[u8]) -> Result<Known, String> {
        let known = match kind {
            Kind::Mark => Known::Mark(MarkPayload::decode(payload)?),
            Kind::Close => {
                let close = ClosePayload::decode(payload)?;
                let first = close.log_end == offset;
                let copy_size = frame_size(payload.len()) as u64;
                if !first && close.log_end.checked_add(copy_size) != Some(offset) {
                    return Err(misplaced("close", close.log_end));
                }
                Known::Close { close, first }
            }
            Kind::End => {
                let end = EndPayload::decode(payload)?;
                if end.log_end != offset {
                    return Err(misplaced("end", end.log_end));
                }
                Known::End
            }
            Kind::Batch | Kind::Edit | Kind::Gap => Known::Other,
        };
        Ok(known)
    }

    fn manifest_promise(&self) -> Option<(FileNumber, u64)> {
        match self {
            Known::Mark(mark) => Some((mark.manifest, mark.manifest_synced)),
            Known::Close { close, .. } => Some((close.manifest, close.manifest_synced)),
            Known::End | Known::Other => None,
        }
    }
}

fn misplaced(what: &str, log_end: u64) -> String {
    format!("the {what} frame here says that the log ended at {log_end:#x}")
}

/// How the gapless prefix ends so far.
#[derive(Clone, Copy)]
enum Last {
    /// With the first copy of a pair of close frames.
    HalfClosed(ClosePayload),
    /// With both.
    Closed(ClosePayload),
    /// With an end frame.
    End,
    Other,
}

impl Last {
    fn then(self, known: Known) -> Last {
        match known {
            Known::Close { close, first: true } => Last::HalfClosed(close),
            Known::Close { close, first: false } => match self {
                // Equal, so both name the same place, and the second lies right behind the first.
                Last::HalfClosed(before) if before == close => Last::Closed(close),
                _ => Last::Other,
            },
            Known::End => Last::End,
            Known::Mark(_) | Known::Other => Last::Other,
        }
    }
}
