//! A file of frames from end to end: what WAL and manifest reports have in common.
//!
//! The file is read twice. The first time for its promises (`synced_upto` in any whole frame, also
//! behind a bad place); the second time part by part, each bad place judged by them. So memory
//! does not grow with the file.
//!
//! A bad place is damage when something promises that it was on stable storage, when one flipped
//! bit explains it, or when it follows the end of a finished log. Everything else a crash may
//! leave.

mod layout;

use std::fmt;
use std::path::PathBuf;

use super::finding::{Code, Finding};
use super::{FileType, identify, wrong_kind};
use crate::error::{Error, Result};
use crate::format::coding::{Cursor, crc32, mix};
use crate::format::frame::{self, FRAME_HEADER_SIZE, Kind, MAGIC};
use crate::format::header::{FileKind, HEADER_SIZE, Header, HeaderError};
use crate::record::{Item, Scanner};
use crate::types::{FileId, SeqNo};
use crate::vfs::File;

pub use layout::{VisitRegion, layout, region_at};

/// Bytes of a frame's header that its checksum covers.
const CHECKED_SIZE: usize = FRAME_HEADER_SIZE - 4;

/// Bad places of one file that are read a second time, in case a writer was just writing there.
const DOUBTS_MAX: u32 = 8;

/// What somebody else (the manifest) says about a file; by default nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expect {
    /// Its identity.
    pub id: Option<FileId>,
    /// It has at least so many bytes.
    pub size: u64,
    /// Everything before this offset was on stable storage.
    pub promised: u64,
    /// Recovery settled that it ends here; bytes behind are dead.
    pub end: Option<u64>,
}

/// The beginning of a report: the file and its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileHeader {
    /// The path it was opened by.
    pub path: PathBuf,
    /// WAL or manifest.
    pub kind: FileKind,
    /// Bytes of the file.
    pub size: u64,
    /// The header; none if it cannot be read, nor mended by flipping one bit.
    pub header: Option<Header>,
    /// What is wrong with it, or with the file as a whole.
    pub damage: Option<Finding>,
    /// The id that frames are checked with; without a header, one that does as well.
    pub(super) id: Option<FileId>,
}

/// A place in a file that holds no frames although it is not only unused space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hole {
    /// Where it begins: where a frame should.
    pub offset: u64,
    /// Bytes up to the next frame or the last that is not zero.
    pub size: u64,
    /// What it looks like.
    pub class: HoleClass,
    /// What was found and expected, and whether a crash explains it.
    pub finding: Finding,
    /// The one flipped bit that explains it: (offset in the file, bit).
    pub flipped: Option<(u64, u8)>,
    /// In a log, the last sequence number before it.
    pub seqno_before: Option<SeqNo>,
    /// In a log, the first sequence number behind it.
    pub seqno_after: Option<SeqNo>,
}

impl Hole {
    /// Whether no crash explains it.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        self.finding.is_damage()
    }

    /// Operations that are missing here, if the file shows it.
    #[must_use]
    pub fn ops_missing(&self) -> Option<u64> {
        let (before, after) = (self.seqno_before?, self.seqno_after?);
        after.0.checked_sub(before.0 + 1)
    }
}

/// What a [`Hole`] looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoleClass {
    /// No whole frame follows it.
    TornTail,
    /// Whole frames follow it.
    Hole,
    /// It is all zeros, with more behind it.
    ZeroFilled,
    /// Whole but for one flipped bit.
    FlippedBit,
    /// A whole frame of another file: foreign, or stale.
    Foreign,
    /// A whole frame of this file, of another offset.
    Misplaced,
}

impl HoleClass {
    /// The word for it in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            HoleClass::TornTail => "torn_tail",
            HoleClass::Hole => "hole",
            HoleClass::ZeroFilled => "zero_filled",
            HoleClass::FlippedBit => "flipped_bit",
            HoleClass::Foreign => "foreign",
            HoleClass::Misplaced => "misplaced",
        }
    }
}

impl fmt::Display for HoleClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HoleClass::TornTail => "torn tail",
            HoleClass::Hole => "hole",
            HoleClass::ZeroFilled => "zero-filled",
            HoleClass::FlippedBit => "one flipped bit",
            HoleClass::Foreign => "foreign or stale frame",
            HoleClass::Misplaced => "misplaced frame",
        })
    }
}

/// One part of a file; together they are all of it.
#[derive(Debug)]
pub(super) enum Piece<'a> {
    Header(&'a FileHeader),
    Frame {
        offset: u64,
        size: u64,
        kind: Kind,
        synced_upto: u64,
        payload: &'a [u8],
    },
    Hole(Hole),
    /// Zeros up to the end, or what lies behind the settled end.
    Unused {
        offset: u64,
        size: u64,
    },
}

/// What [`walk`] calls with each part.
pub(super) type Visit<'v, E> = dyn FnMut(Piece<'_>) -> Result<(), E> + 'v;

/// Reads a whole file, part by part.
pub(super) fn walk<E: From<Error>>(
    file: &dyn File,
    kind: FileKind,
    expect: &Expect,
    visit: &mut Visit<'_, E>,
) -> Result<(), E> {
    let header = read_header(file, kind, expect)?;
    visit(Piece::Header(&header))?;
    let start = HEADER_SIZE as u64;
    let end = header.size.min(expect.end.unwrap_or(u64::MAX).max(start));
    match header.id {
        Some(id) => Walk::begin(file, kind, id, end, expect)?.run(start, visit)?,
        None if end > start => visit(Piece::Hole(unreadable(file, kind, start, end - start)))?,
        None => {}
    }
    if header.size > end {
        visit(Piece::Unused { offset: end, size: header.size - end })?;
    }
    Ok(())
}

/// All that lies behind a header without which no frame can be verified.
fn unreadable(file: &dyn File, kind: FileKind, offset: u64, size: u64) -> Hole {
    let what = "no frame can be verified without the file's id";
    hole(file, kind, HoleClass::Hole, (offset, size), what)
}

/// A hole that is damage.
pub(super) fn hole(
    file: &dyn File,
    kind: FileKind,
    class: HoleClass,
    (offset, size): (u64, u64),
    what: impl Into<String>,
) -> Hole {
    let finding = Finding::new(code(kind, class), file.path(), what).at(offset, size);
    Hole { offset, size, class, finding, flipped: None, seqno_before: None, seqno_after: None }
}

/// The code for a hole that is damage.
fn code(kind: FileKind, class: HoleClass) -> Code {
    let (log, manifest) = match class {
        HoleClass::TornTail => (Code::LogCut, Code::ManifestCut),
        HoleClass::Hole => (Code::LogHole, Code::ManifestHole),
        HoleClass::ZeroFilled => (Code::LogZeros, Code::ManifestZeros),
        HoleClass::FlippedBit => (Code::LogFlip, Code::ManifestFlip),
        HoleClass::Foreign => (Code::LogForeign, Code::ManifestForeign),
        HoleClass::Misplaced => (Code::LogMisplaced, Code::ManifestMisplaced),
    };
    of_kind(kind, log, manifest)
}

fn of_kind(kind: FileKind, log: Code, manifest: Code) -> Code {
    match kind {
        FileKind::Wal => log,
        FileKind::Manifest => manifest,
    }
}

/// The second reading.
struct Walk<'f> {
    file: &'f dyn File,
    kind: FileKind,
    id: FileId,
    /// Where the file ends for this purpose.
    end: u64,
    settled: bool,
    /// Everything before this offset was on stable storage.
    promised: u64,
    /// The last frame says that the log ends there.
    finished: bool,
    /// Where the last part ended.
    at: u64,
    doubts: u32,
}

/// A bad place as the scanner found it.
struct Bad {
    offset: u64,
    end: u64,
    data_end: u64,
    detail: String,
    flipped: Option<(u64, u8)>,
}

impl<'f> Walk<'f> {
    fn begin(
        file: &'f dyn File,
        kind: FileKind,
        id: FileId,
        end: u64,
        expect: &Expect,
    ) -> Result<Walk<'f>> {
        let mut promised = expect.promised.min(end);
        let mut scanner = Scanner::new(file, id, HEADER_SIZE as u64, Some(end))?;
        while let Some(item) = scanner.next()? {
            if let Item::Frame { synced_upto, .. } = item {
                promised = promised.max(synced_upto);
            }
        }
        let settled = expect.end.is_some();
        let (finished, at, doubts) = (false, 0, DOUBTS_MAX);
        Ok(Walk { file, kind, id, end, settled, promised, finished, at, doubts })
    }

    fn run<E: From<Error>>(mut self, start: u64, visit: &mut Visit<'_, E>) -> Result<(), E> {
        let mut scanner = self.scanner(start)?;
        loop {
            self.at = scanner.offset();
            let bad = match scanner.next()? {
                None => return Ok(()),
                Some(Item::Frame { offset, kind, synced_upto, payload, size }) => {
                    self.finished = kind == Kind::End;
                    visit(Piece::Frame { offset, size, kind, synced_upto, payload })?;
                    continue;
                }
                Some(Item::Zeros { offset, end }) => {
                    visit(self.zeros(offset, end))?;
                    continue;
                }
                Some(Item::Bad { offset, end, data_end, detail, flipped }) => {
                    Bad { offset, end, data_end, detail, flipped }
                }
            };
            if self.doubts > 0 {
                // Perhaps a writer was in the middle of it: damage is there at a second look.
                self.doubts -= 1;
                if !matches!(self.scanner(self.at)?.next()?, Some(Item::Bad { .. })) {
                    scanner = self.scanner(self.at)?;
                    continue;
                }
            }
            self.bad(bad, visit)?;
        }
    }

    fn scanner(&self, from: u64) -> Result<Scanner<'f>> {
        Scanner::new(self.file, self.id, from, Some(self.end))
    }

    /// Zeros up to the end: unused, unless somebody promised more.
    fn zeros(&self, offset: u64, end: u64) -> Piece<'static> {
        if self.promised <= offset && !self.settled {
            return Piece::Unused { offset, size: end - offset };
        }
        let end_of = if self.settled { "its recovered end" } else { "the end of what was synced" };
        let mut hole =
            hole(self.file, self.kind, HoleClass::ZeroFilled, (offset, end - offset), "zeros");
        let upto = if self.settled { self.end } else { self.promised };
        hole.finding.why = format!("{end_of} is {upto:#x}");
        Piece::Hole(hole)
    }

    fn bad<E: From<Error>>(&mut self, bad: Bad, visit: &mut Visit<'_, E>) -> Result<(), E> {
        let is_last = bad.end >= self.end;
        let end = if is_last { bad.data_end.max(bad.offset) } else { bad.end };
        let class = self.classify(&bad, is_last)?;
        let promised = self.promised > bad.offset;
        let mut why = Vec::new();
        if promised {
            why.push(format!("everything before {:#x} was synced", self.promised));
        }
        if let Some((offset, bit)) = bad.flipped {
            why.push(format!("one flipped bit explains it: bit {bit} at {offset:#x}"));
        }
        if self.finished {
            why.push("it lies behind the end of a finished log".to_owned());
        }
        if self.settled {
            why.push(format!("recovery found the log whole up to {:#x}", self.end));
        }
        let place = (bad.offset, end - bad.offset);
        let mut hole = hole(self.file, self.kind, class, place, bad.detail);
        hole.flipped = bad.flipped;
        if why.is_empty() {
            hole.finding.code = of_kind(self.kind, Code::LogTorn, Code::ManifestTorn);
            why.push("nobody promised that it was synced: a crash may leave this".to_owned());
        }
        hole.finding.why = why.join("; ");
        visit(Piece::Hole(hole))?;
        self.finished = false;
        if bad.end > end {
            visit(Piece::Unused { offset: end, size: bad.end - end })?;
        }
        Ok(())
    }

    fn classify(&self, bad: &Bad, is_last: bool) -> Result<HoleClass> {
        if bad.flipped.is_some() {
            return Ok(HoleClass::FlippedBit);
        }
        if bad.data_end <= bad.offset {
            return Ok(HoleClass::ZeroFilled);
        }
        if let Some(mixed) = foreign_mix(self.file, bad.offset)? {
            // Of this file, the mix tells the frame's own offset; of another one it is random.
            let own_offset = u64::from(mixed ^ mix(self.id, 0));
            let is_own = own_offset < self.end && own_offset >= HEADER_SIZE as u64;
            return Ok(if is_own { HoleClass::Misplaced } else { HoleClass::Foreign });
        }
        Ok(if is_last { HoleClass::TornTail } else { HoleClass::Hole })
    }
}

/// Reads the header, and finds a way to go on if it is damaged.
fn read_header(file: &dyn File, kind: FileKind, expect: &Expect) -> Result<FileHeader> {
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
    let Some(mixed) = foreign_mix(file, start)? else { return Ok(None) };
    let id = FileId(u64::from(mixed ^ mix(FileId(0), start)));
    let mut scanner = Scanner::new(file, id, start, None)?;
    Ok(match scanner.next()? {
        Some(Item::Frame { kind: found, .. }) => {
            ((found == Kind::Edit) == (kind == FileKind::Manifest)).then_some(id)
        }
        _ => None,
    })
}

/// What the checksums of the frame at `offset` were mixed with, if it is whole for any mix.
fn foreign_mix(file: &dyn File, offset: u64) -> Result<Option<u32>> {
    let mut head = [0; FRAME_HEADER_SIZE];
    let read = file.read_at(&mut head, offset)?;
    if read < head.len() || !head.starts_with(&MAGIC) {
        return Ok(None);
    }
    let mut stored = Cursor::new(&head[CHECKED_SIZE..]);
    let mixed = crc32(&[&head[..CHECKED_SIZE]]) ^ stored.u32().unwrap_or_default();
    // An id that at this offset gives this mix.
    let id = FileId(u64::from(mixed ^ mix(FileId(0), offset)));
    let Some(head) = frame::head(&head, id, offset) else { return Ok(None) };
    let size = head.size() as u64;
    if offset.checked_add(size).is_none_or(|end| end > file.size().unwrap_or(0)) {
        return Ok(None);
    }
    let mut bytes = vec![0; head.size()];
    let read = file.read_at(&mut bytes, offset)?;
    Ok(head.is_whole(&bytes[..read]).then_some(mixed))
}
