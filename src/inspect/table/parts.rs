//! The parts of a table that are not data: properties, filter, index.
//!
//! Each is opened on its own. One that a single flipped bit explains is used as it was before, and
//! reported as damaged all the same.

use super::mend::{self, Opened};
use super::{FilterReport, FooterReport};
use crate::error::Result;
use crate::format::block::{self, Block, Compression, Kind, TRAILER_SIZE};
use crate::format::filter::{self, Filter};
use crate::format::key::InternalKey;
use crate::format::table::{COMPARATOR, Handle, Properties};
use crate::inspect::finding::{Code, Finding};
use crate::table::verified_index;
use crate::types::FileId;
use crate::vfs::File;

/// A filter with more bytes is not held in memory: its lines are read one by one.
const FILTER_HELD_MAX: u32 = 16 << 20;

/// A part as far as it can be used, and what is wrong with it.
#[derive(Debug)]
pub(super) struct Part<T> {
    /// What it says; of one that was mended what it said before.
    pub(super) value: Option<T>,
    /// What is wrong with it.
    pub(super) finding: Option<Finding>,
    /// The flipped bit that explains it: (offset in the file, bit).
    pub(super) flipped: Option<(u64, u8)>,
}

impl<T> Part<T> {
    fn absent() -> Part<T> {
        Part { value: None, finding: None, flipped: None }
    }
}

/// A table's parts.
#[derive(Debug)]
pub(super) struct Parts<'f> {
    pub(super) report: FooterReport,
    pub(super) properties: Part<Properties>,
    pub(super) filter: Part<FilterView<'f>>,
    /// The index block, whose handles fill the file from its beginning to the filter.
    pub(super) index: Part<Block>,
}

impl<'f> Parts<'f> {
    /// Reads the footer and the parts that it names.
    pub(super) fn read(file: &'f dyn File) -> Result<Parts<'f>> {
        let report = super::footer::read(file)?;
        let Some(footer) = report.footer else {
            let (properties, filter, index) = (Part::absent(), Part::absent(), Part::absent());
            return Ok(Parts { report, properties, filter, index });
        };
        let (id, data_end) = (footer.id, footer.filter.offset);
        let properties = open(file, id, Kind::Properties, footer.properties, Properties::decode)?;
        let index = open(file, id, Kind::Index, footer.index, |content| {
            verified_index(content.to_vec(), data_end).map(|(block, _)| block)
        })?;
        let filter = FilterView::open(file, id, footer.filter, FILTER_HELD_MAX)?;
        Ok(Parts { report, properties, filter, index })
    }

    /// Number of data blocks that the index names; none without one.
    pub(super) fn count(&self) -> Option<usize> {
        self.index.value.as_ref().map(Block::count)
    }

    /// The data block at a position of the index.
    pub(super) fn handle(&self, position: usize) -> Option<Handle> {
        let index = self.index.value.as_ref().filter(|index| position < index.count())?;
        Handle::decode(index.value(position))
    }

    /// The block whose bytes hold this offset.
    pub(super) fn position_of(&self, offset: u64) -> Option<usize> {
        let (mut start, mut end) = (0, self.count()?);
        while start < end {
            let middle = start + (end - start) / 2;
            match self.handle(middle)?.end()? <= offset {
                true => start = middle + 1,
                false => end = middle,
            }
        }
        Some(start).filter(|position| self.handle(*position).is_some())
    }

    /// The user keys that a data block can hold, both inclusive, as far as its neighbours tell.
    pub(super) fn range(&self, position: usize) -> Option<(Vec<u8>, Vec<u8>)> {
        let index = self.index.value.as_ref().filter(|index| position < index.count())?;
        let first = match position.checked_sub(1) {
            Some(before) => index.user_key(before),
            None => self.properties.value.as_ref()?.smallest.user.clone(),
        };
        Some((first, index.user_key(position)))
    }
}

/// Opens one part: what `decode` makes of its content.
fn open<T>(
    file: &dyn File,
    id: FileId,
    kind: Kind,
    handle: Handle,
    decode: impl Fn(&[u8]) -> Result<T, String>,
) -> Result<Part<T>> {
    let mut bytes = vec![0; handle.size as usize];
    let read = file.read_at(&mut bytes, handle.offset)?;
    bytes.truncate(read);
    let opened = mend::open(kind, bytes, (id, handle.offset), &|bytes| decode(bytes).map(drop));
    let finding = |what: String| {
        Finding::new(code(kind), file.path(), what).at(handle.offset, u64::from(handle.size))
    };
    Ok(match opened {
        Opened::Sound(content) => {
            Part { value: decode(&content).ok(), finding: None, flipped: None }
        }
        Opened::Mended(content, what, (byte, bit)) => {
            let place = handle.offset + byte as u64;
            let finding = finding(what).because(mend::explain(place, bit));
            let value = decode(&content).ok();
            Part { value, finding: Some(finding), flipped: Some((place, bit)) }
        }
        Opened::Damaged(what) => Part { value: None, finding: Some(finding(what)), flipped: None },
    })
}

/// What a damaged part of this kind is called.
pub(super) fn code(kind: Kind) -> Code {
    match kind {
        Kind::Data => Code::BlockDamaged,
        Kind::Index => Code::IndexDamaged,
        Kind::Filter => Code::FilterDamaged,
        Kind::Properties => Code::PropertiesDamaged,
    }
}

/// What contradicts the properties, short of reading the entries.
pub(super) fn contradiction(properties: &Properties, id: FileId) -> Option<String> {
    if properties.id != id {
        let found = properties.id;
        return Some(format!("properties block: file id is {found}, the footer says {id}"));
    }
    let comparator = &properties.comparator;
    (comparator != COMPARATOR).then(|| {
        format!("properties block: the order of keys is \"{}\"", comparator.escape_debug())
    })
}

/// A filter, held in memory or, if it is large, left in the file.
#[derive(Debug)]
pub(super) enum FilterView<'f> {
    Held(Filter),
    /// The offset of its lines, and what its header says.
    InFile {
        file: &'f dyn File,
        lines_at: u64,
        report: FilterReport,
    },
}

impl<'f> FilterView<'f> {
    fn open(
        file: &'f dyn File,
        id: FileId,
        handle: Handle,
        held_max: u32,
    ) -> Result<Part<FilterView<'f>>> {
        if handle.size > held_max
            && let Some(report) = large(file, id, handle)?
        {
            let value = Some(FilterView::InFile { file, lines_at: handle.offset + 8, report });
            return Ok(Part { value, finding: None, flipped: None });
        }
        let part = open(file, id, Kind::Filter, handle, Filter::decode)?;
        let Part { value, finding, flipped } = part;
        Ok(Part { value: value.map(FilterView::Held), finding, flipped })
    }

    /// Whether a user key may be in the table.
    pub(super) fn may_contain(&self, user: &[u8]) -> Result<bool> {
        let hash = filter::hash(user);
        match self {
            FilterView::Held(filter) => Ok(filter.may_contain(hash)),
            FilterView::InFile { file, lines_at, report } => {
                let line = ((hash >> 32) * report.lines) >> 32;
                // A filter of this one line.
                let mut bytes = [0; 8 + 64];
                (bytes[0], bytes[4]) = (report.probes, 1);
                file.read_at(&mut bytes[8..], lines_at + line * 64)?;
                Ok(Filter::decode(&bytes).map_or(true, |line| line.may_contain(hash)))
            }
        }
    }

    /// What it adds up to.
    pub(super) fn report(&self) -> FilterReport {
        match self {
            FilterView::Held(filter) => FilterReport {
                probes: filter.probes(),
                lines: filter.line_count() as u64,
                fill: filter.fill(),
            },
            FilterView::InFile { report, .. } => *report,
        }
    }
}

/// Reads a large filter once without holding it; none if anything is wrong with it.
fn large(file: &dyn File, id: FileId, handle: Handle) -> Result<Option<FilterReport>> {
    let (mut hasher, mut set) = (crc32fast::Hasher::new(), 0u64);
    let mut buffer = vec![0; 1 << 20];
    let checked = u64::from(handle.size) - 4;
    let content = u64::from(handle.size) - TRAILER_SIZE as u64;
    let mut at = 0;
    while at < checked {
        let size = buffer.len().min((checked - at) as usize);
        if file.read_at(&mut buffer[..size], handle.offset + at)? < size {
            return Ok(None);
        }
        hasher.update(&buffer[..size]);
        let bits = &buffer[(8u64.saturating_sub(at) as usize).min(size)..];
        let bits = &bits[..bits.len().min(content.saturating_sub(at.max(8)) as usize)];
        set += bits.iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>();
        at += size as u64;
    }
    let (mut crc, mut header) = ([0; 4], [0; 8]);
    let mut trailer = [0; TRAILER_SIZE];
    file.read_at(&mut crc, handle.offset + checked)?;
    file.read_at(&mut header, handle.offset)?;
    file.read_at(&mut trailer, handle.offset + content)?;
    let computed = hasher.finalize() ^ crate::format::coding::mix(id, handle.offset);
    let [probes @ 1..=16, 0, 0, 0, l0, l1, l2, l3] = header else { return Ok(None) };
    let lines = u64::from(u32::from_le_bytes([l0, l1, l2, l3]));
    let expected = [block::Kind::Filter as u8, Compression::None as u8, 0, 0];
    let is_sound = crc == computed.to_le_bytes()
        && trailer.starts_with(&expected)
        && 8 + lines * 64 == content;
    let fill = set as f64 / (lines * 512).max(1) as f64;
    Ok(is_sound.then_some(FilterReport { probes, lines, fill }))
}

/// The key at an index, put together.
pub(super) fn key_at(block: &Block, index: usize) -> InternalKey {
    InternalKey { user: block.user_key(index), trailer: block.trailer(index) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::block::Sealer;
    use crate::vfs::Vfs;
    use crate::vfs::sim::SimVfs;
    use std::path::Path;

    /// The same filter held and in the file: the report is equal, and so is the answer for keys that are
    /// in it and keys that are not. A wrong bit is noticed.
    #[test]
    fn a_filter_in_the_file_answers_as_one_in_memory() {
        let key = |n: u32| format!("key{n}").into_bytes();
        let hashes: Vec<u64> = (0..40_000).map(|n| filter::hash(&key(n))).collect();
        let (id, offset, mut bytes) = (FileId(77), 1000, vec![0; 1000]);
        let content = filter::build(&hashes, 300);
        let mut sealer = Sealer::new(id, Compression::None);
        let size = sealer.seal(&mut bytes, Kind::Filter, &content, offset);
        let handle = Handle { offset, size };
        assert!(size > 1 << 20, "more than one reading");
        let vfs = SimVfs::new();
        let file = vfs.create(Path::new("/t.sst")).unwrap();
        file.write_at(&bytes, 0).unwrap();
        let open = |held_max| FilterView::open(&*file, id, handle, held_max).unwrap();
        let (held, left) = (open(u32::MAX).value.unwrap(), open(0).value.unwrap());
        assert!(matches!((&held, &left), (FilterView::Held(_), FilterView::InFile { .. })));
        assert_eq!(held.report(), left.report());
        for n in (0..80_000).step_by(7) {
            let expected = held.may_contain(&key(n)).unwrap();
            assert_eq!(left.may_contain(&key(n)).unwrap(), expected);
            assert!(expected || n >= 40_000);
        }
        file.write_at(&[bytes[900_000] ^ 1], 900_000).unwrap();
        assert_eq!(open(0).flipped, Some((900_000, 0)));
    }
}
