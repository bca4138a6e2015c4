//! A file of frames from end to end: what WAL and manifest reports have in common.
//!
//! The file is read twice. The first time for its promises (`synced_upto` in any whole frame, also
//! behind a bad place); the second time part by part, each bad place judged by them. So memory
//! does not grow with the file.
//!
//! A bad place is damage when something promises that it was on stable storage, when one flipped
//! bit explains it, or when it follows the end of a finished log. Everything else a crash may
//! leave.

mod foreign;
mod header;
mod layout;

use std::fmt;
use std::path::PathBuf;

use super::finding::{Code, Finding};
use crate::error::{Error, Result};
use crate::format::coding::mix;
use crate::format::frame::Kind;
use crate::format::header::{FileKind, HEADER_SIZE, Header};
use crate::record::{Item, Scanner};
use crate::types::{FileId, SeqNo};
use crate::vfs::File;

use foreign::foreign_mix;

pub(super) use header::read_header;
pub use layout::{VisitRegion, layout, region_at};

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
    /// The sequence number that its first operation has.
    pub first_seqno: Option<SeqNo>,
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
        between((self.seqno_before, self.seqno_after))
    }
}

/// How many operations lie between two.
pub(super) fn between((before, after): (Option<SeqNo>, Option<SeqNo>)) -> Option<u64> {
    after?.0.checked_sub(before?.0.checked_add(1)?)
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

/// The rest of a file from `offset` on, where a frame ended.
pub(super) fn walk_from<E: From<Error>>(
    file: &dyn File,
    kind: FileKind,
    id: FileId,
    offset: u64,
    visit: &mut Visit<'_, E>,
) -> Result<(), E> {
    Walk::begin(file, kind, id, file.size()?, &Expect::default())?.run(offset, visit)
}

/// The bad place at `offset` as a hole, if whole frames follow it, and where the first of them begins.
pub(super) fn hole_at(
    file: &dyn File,
    kind: FileKind,
    id: FileId,
    offset: u64,
) -> Result<Option<(Hole, u64)>> {
    let mut walk = Walk::begin(file, kind, id, file.size()?, &Expect::default())?;
    let mut scanner = walk.scanner(offset)?;
    let Some(Item::Bad { offset, end, data_end, detail, flipped }) = scanner.next()? else {
        return Ok(None);
    };
    if end >= walk.end {
        return Ok(None);
    }
    let mut found = None;
    let bad = Bad { offset, end, data_end, detail, flipped };
    walk.bad(bad, &mut |piece| {
        if let Piece::Hole(hole) = piece {
            found = Some(hole);
        }
        Ok::<(), Error>(())
    })?;
    Ok(found.map(|hole| (hole, end)))
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
        if bad.flipped.is_some() {
            why.push("a crash flips no bits".to_owned());
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
        if let Some(mixed) = foreign_mix(self.file, bad.offset, bad.end)? {
            // Of this file, the mix tells the frame's own offset; of another one it is random.
            let own_offset = u64::from(mixed ^ mix(self.id, 0));
            let is_own = own_offset < self.end && own_offset >= HEADER_SIZE as u64;
            return Ok(if is_own { HoleClass::Misplaced } else { HoleClass::Foreign });
        }
        Ok(if is_last { HoleClass::TornTail } else { HoleClass::Hole })
    }
}
