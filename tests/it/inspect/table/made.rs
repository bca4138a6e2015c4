//! Tables made for these tests: small, of several blocks, the same bytes at each run.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use beachdb::format::key::Trailer;
use beachdb::format::table::Origin;
use beachdb::inspect::table::{TableItem, read_table};
use beachdb::inspect::{Compression, Finding};
use beachdb::table::{TableOrigin, TableWriter, WriterOptions};
use beachdb::vfs::{File, Fill};
use beachdb::{Error, FileId, FileNumber, Level, Result, SeqNo, StoreId, ValueKind};

/// A file in memory.
#[derive(Debug)]
pub(super) struct Memory {
    path: PathBuf,
    bytes: Mutex<Vec<u8>>,
}

impl Memory {
    pub(super) fn of(bytes: Vec<u8>) -> Memory {
        Memory::named("t.sst", bytes)
    }

    pub(super) fn named(path: &str, bytes: Vec<u8>) -> Memory {
        Memory { path: PathBuf::from(path), bytes: Mutex::new(bytes) }
    }
}

impl File for Memory {
    fn path(&self) -> &Path {
        &self.path
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        let bytes = self.bytes.lock().expect("a lock");
        let rest = bytes.get(offset as usize..).unwrap_or_default();
        let size = rest.len().min(buffer.len());
        buffer[..size].copy_from_slice(&rest[..size]);
        Ok(size)
    }

    fn write_at(&self, new: &[u8], offset: u64) -> Result<()> {
        let mut bytes = self.bytes.lock().expect("a lock");
        let end = offset as usize + new.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[offset as usize..end].copy_from_slice(new);
        Ok(())
    }

    fn allocate(&self, _: u64, _: Fill) -> Result<()> {
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn size(&self) -> Result<u64> {
        Ok(self.bytes.lock().expect("a lock").len() as u64)
    }
}

/// The bytes of a table with these entries.
pub(super) fn table(
    id: u64,
    block_size: usize,
    compression: Compression,
    entries: impl IntoIterator<Item = (Vec<u8>, u64, Option<Vec<u8>>)>,
) -> Vec<u8> {
    let file = Arc::new(Memory::of(Vec::new()));
    let options = WriterOptions { block_size, compression, ..WriterOptions::default() };
    let origin = TableOrigin {
        store: StoreId(0x57),
        number: FileNumber(7),
        id: FileId(id),
        level: Level(1),
        origin: Origin::Compaction,
        job: 3,
        inputs: vec![FileNumber(4), FileNumber(5)],
        created_ms: 1_700_000_000_000,
    };
    let mut writer = TableWriter::new(file.clone(), options, origin);
    for (user, seqno, value) in entries {
        let kind = if value.is_some() { ValueKind::Put } else { ValueKind::Delete };
        let trailer = Trailer::new(SeqNo(seqno), kind);
        writer.add(&user, trailer, &value.unwrap_or_default()).expect("an entry");
    }
    writer.finish().expect("a table");
    file.bytes.lock().expect("a lock").clone()
}

/// Two dozen entries in several blocks: two versions of a key, tombstones, bytes that are no text,
/// values that LZ4 makes smaller and some that it does not.
pub(super) fn small(compression: Compression) -> Vec<u8> {
    let entries = (0..24u64).flat_map(|n| {
        let user = format!("shore:{n:03}").into_bytes();
        let value = match n % 4 {
            0 => vec![b's'; 40],
            1 => (0..30).map(|at| (at * 37 + n * 11) as u8).collect(),
            _ => format!("sand {n}").into_bytes(),
        };
        let newest = (user.clone(), 100 + n, (n % 5 != 4).then_some(value));
        let older = (n % 6 == 3).then(|| (user, n + 1, Some(b"older".to_vec())));
        std::iter::once(newest).chain(older)
    });
    table(0x0123_4567_89ab_cdef, 160, compression, entries)
}

/// A part of a table as the report names it, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) name: String,
    pub(super) offset: u64,
    pub(super) end: u64,
}

/// What reading a table gives.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) findings: Vec<Finding>,
    /// Entries by the offset of their block: key, trailer, value.
    pub(super) entries: Vec<(u64, Vec<u8>, u64, Vec<u8>)>,
    pub(super) parts: Vec<Part>,
    pub(super) damaged: u64,
}

pub(super) fn read(bytes: &[u8]) -> Result<Read> {
    let (mut read, mut block) = (Read::default(), 0);
    let file = Memory::of(bytes.to_vec());
    let totals = read_table(&file, true, &mut |item| {
        read.findings.extend(item.finding().cloned());
        let mut part = |name: &str, offset: u64, size: u64| {
            read.parts.push(Part { name: name.to_owned(), offset, end: offset + size });
        };
        match item {
            TableItem::Footer(report) => part("footer", report.offset, report.size - report.offset),
            TableItem::Properties(handle, _) => {
                part("properties", handle.offset, handle.size.into());
            }
            TableItem::Filter(handle, _) => part("filter", handle.offset, handle.size.into()),
            TableItem::Index(handle, _) => part("index", handle.offset, handle.size.into()),
            TableItem::Block(report) => {
                block = report.handle.offset;
                part(&format!("data block {}", report.position), block, report.handle.size.into());
            }
            TableItem::Entry(entry) => {
                let (key, value) = (entry.key.to_vec(), entry.value.to_vec());
                read.entries.push((block, key, entry.trailer.0, value));
            }
            TableItem::Damage(_) => {}
        }
        Ok::<(), Error>(())
    })?;
    read.damaged = totals.damaged;
    assert_eq!(read.findings.len() as u64, totals.damaged);
    read.parts.sort_by_key(|part| part.offset);
    Ok(read)
}
