//! A file system of byte vectors, and tables in it, for the tests of this module.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::*;
use crate::error::{Error, Result};
use crate::format::block::{Builder, Kind, Sealer};
use crate::format::key::{InternalKey, Trailer};
use crate::format::table::{Footer, Handle, Origin, Properties};
use crate::types::{FileId, FileNumber, Level, SeqNo, StoreId, ValueKind};
use crate::vfs::{Access, File, Fill, Lock, Vfs};

/// Entries in the order of a table: user key ascending, trailer descending.
pub(super) type Model = BTreeMap<(Vec<u8>, Reverse<Trailer>), Vec<u8>>;

#[derive(Debug)]
pub(super) struct MemFile {
    path: PathBuf,
    pub(super) bytes: Mutex<Vec<u8>>,
    pub(super) syncs: AtomicUsize,
    pub(super) reads: AtomicUsize,
    /// From now on reads and writes fail.
    pub(super) broken: AtomicBool,
}

impl MemFile {
    pub(super) fn new(path: impl Into<PathBuf>) -> Arc<MemFile> {
        Arc::new(MemFile {
            path: path.into(),
            bytes: Mutex::default(),
            syncs: AtomicUsize::new(0),
            reads: AtomicUsize::new(0),
            broken: AtomicBool::new(false),
        })
    }

    fn check(&self, action: &'static str) -> Result<()> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(Error::io(action, &self.path, io::Error::other("made to fail")));
        }
        Ok(())
    }
}

impl File for MemFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        self.check("read")?;
        self.reads.fetch_add(1, Ordering::Relaxed);
        let bytes = self.bytes.lock();
        let rest = bytes.get(offset as usize..).unwrap_or_default();
        let size = rest.len().min(buffer.len());
        buffer[..size].copy_from_slice(&rest[..size]);
        Ok(size)
    }

    fn write_at(&self, new: &[u8], offset: u64) -> Result<()> {
        self.check("write")?;
        let mut bytes = self.bytes.lock();
        let end = offset as usize + new.len();
        let size = bytes.len().max(end);
        bytes.resize(size, 0);
        bytes[offset as usize..end].copy_from_slice(new);
        Ok(())
    }

    fn allocate(&self, _: u64, _: Fill) -> Result<()> {
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        self.check("sync")?;
        self.syncs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn size(&self) -> Result<u64> {
        Ok(self.bytes.lock().len() as u64)
    }
}

/// A directory of one file.
#[derive(Debug)]
pub(super) struct OneFile(pub(super) Arc<MemFile>);

impl OneFile {
    /// The same file with other bytes.
    pub(super) fn with(&self, bytes: Vec<u8>) -> OneFile {
        let file = MemFile::new(&self.0.path);
        *file.bytes.lock() = bytes;
        OneFile(file)
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.0.bytes.lock().clone()
    }

    fn missing<T>(&self, path: &Path) -> Result<T> {
        Err(Error::io("open", path, io::ErrorKind::NotFound.into()))
    }
}

impl Vfs for OneFile {
    fn create(&self, path: &Path) -> Result<Arc<dyn File>> {
        self.missing(path)
    }
    fn open(&self, path: &Path, _: Access) -> Result<Arc<dyn File>> {
        if path == self.0.path {
            return Ok(Arc::clone(&self.0) as Arc<dyn File>);
        }
        self.missing(path)
    }
    fn exists(&self, path: &Path) -> Result<bool> {
        Ok(path == self.0.path)
    }
    fn list(&self, dir: &Path) -> Result<Vec<String>> {
        self.missing(dir)
    }
    fn rename(&self, from: &Path, _: &Path) -> Result<()> {
        self.missing(from)
    }
    fn link(&self, from: &Path, _: &Path) -> Result<()> {
        self.missing(from)
    }
    fn remove(&self, path: &Path) -> Result<()> {
        self.missing(path)
    }
    fn create_dir_all(&self, path: &Path) -> Result<bool> {
        self.missing(path)
    }
    fn sync_dir(&self, path: &Path) -> Result<()> {
        self.missing(path)
    }
    fn lock(&self, path: &Path, _: &[u8]) -> Result<Box<dyn Lock>> {
        self.missing(path)
    }
}

pub(super) fn put(seqno: u64) -> Trailer {
    Trailer::new(SeqNo(seqno), ValueKind::Put)
}

pub(super) fn path() -> &'static Path {
    Path::new("db/000007.sst")
}

pub(super) fn origin(id: u64) -> TableOrigin {
    TableOrigin {
        store: StoreId(0x5704),
        number: FileNumber(7),
        id: FileId(id),
        level: Level(2),
        origin: Origin::Compaction,
        job: 12,
        inputs: vec![FileNumber(3), FileNumber(500)],
        created_ms: 1_700_000_000_000,
    }
}

pub(super) fn options(block_size: usize, compression: Compression) -> WriterOptions {
    WriterOptions { block_size, compression, ..WriterOptions::default() }
}

/// Writes the entries as the table `id`.
pub(super) fn write(model: &Model, id: u64, options: WriterOptions) -> (OneFile, TableMeta) {
    let file = MemFile::new(path());
    let mut writer = TableWriter::new(Arc::clone(&file) as Arc<dyn File>, options, origin(id));
    for ((user, Reverse(trailer)), value) in model {
        writer.add(user, *trailer, value).unwrap();
    }
    let meta = writer.finish().unwrap();
    assert_eq!(file.syncs.load(Ordering::Relaxed), 1);
    (OneFile(file), meta)
}

pub(super) fn open(vfs: &OneFile, meta: &TableMeta) -> Result<Arc<Table>> {
    Table::open(vfs, path(), meta, None).map(Arc::new)
}

/// All entries, forwards.
pub(super) fn scan(table: &Arc<Table>) -> Result<Model> {
    let mut model = Model::new();
    let mut iter = TableIter::new(Arc::clone(table));
    iter.first()?;
    while iter.valid() {
        let (user, trailer) = iter.key();
        model.insert((user.to_vec(), Reverse(trailer)), iter.value().to_vec());
        iter.next()?;
    }
    Ok(model)
}

/// `count` keys with a version each, and every fifth with a second and a tombstone.
pub(super) fn small_model(count: u64) -> Model {
    let mut model = Model::new();
    for i in 0..count {
        let user = format!("user{i:04}").into_bytes();
        model.insert((user.clone(), Reverse(put(i + 1))), format!("value {i}").into_bytes());
        if i % 5 == 0 {
            let delete = Trailer::new(SeqNo(i + 1000), ValueKind::Delete);
            model.insert((user.clone(), Reverse(delete)), Vec::new());
            model.insert((user, Reverse(put(i + 500))), vec![b'x'; 30]);
        }
    }
    model
}

/// A table with right checksums as no writer makes it: these data blocks, a filter over their keys,
/// an index and properties that agree with them but for what the fields say.
pub(super) struct Forgery {
    pub(super) blocks: Vec<Vec<(&'static str, Trailer)>>,
    /// A key that the filter does not know.
    pub(super) hidden: Option<&'static str>,
    /// The data block behind which there are bytes that belong to none.
    pub(super) gap_behind: Option<usize>,
    /// How many entries the properties count.
    pub(super) entries: u64,
    /// What the index says is the last key of the first data block.
    pub(super) first_last: Option<&'static str>,
}

impl Forgery {
    pub(super) fn new(blocks: &[&[(&'static str, Trailer)]]) -> Forgery {
        let blocks: Vec<_> = blocks.iter().map(|block| block.to_vec()).collect();
        let entries = blocks.iter().map(|block| block.len() as u64).sum();
        Forgery { blocks, hidden: None, gap_behind: None, entries, first_last: None }
    }

    pub(super) fn write(&self) -> OneFile {
        let key = |(user, trailer): &(&str, Trailer)| InternalKey {
            user: user.as_bytes().to_vec(),
            trailer: *trailer,
        };
        let id = FileId(99);
        let (mut bytes, mut index, mut hashes) = (Vec::new(), Builder::new(), Vec::new());
        let mut sealer = Sealer::new(id, Compression::None);
        let mut seal = |bytes: &mut Vec<u8>, kind, content: &[u8]| {
            let offset = bytes.len() as u64;
            Handle { offset, size: sealer.seal(bytes, kind, content, offset) }
        };
        for (number, entries) in self.blocks.iter().enumerate() {
            let (mut block, mut content) = (Builder::new(), Vec::new());
            for (user, trailer) in entries {
                block.add(user.as_bytes(), *trailer, b"value");
                if self.hidden != Some(*user) {
                    hashes.push(crate::format::filter::hash(user.as_bytes()));
                }
            }
            block.finish(&mut content);
            let mut place = Vec::new();
            seal(&mut bytes, Kind::Data, &content).encode(&mut place);
            let last = entries.last().unwrap();
            let user = if number == 0 { self.first_last.unwrap_or(last.0) } else { last.0 };
            index.add(user.as_bytes(), last.1, &place);
            if self.gap_behind == Some(number) {
                bytes.extend_from_slice(&[0; 3]);
            }
        }
        let data_bytes = bytes.len() as u64;
        let content = crate::format::filter::build(&hashes, 1000);
        let filter = seal(&mut bytes, Kind::Filter, &content);
        let mut content = Vec::new();
        Properties {
            store: StoreId(1),
            id,
            number: FileNumber(7),
            format_version: 1,
            writer: String::new(),
            origin: Origin::Ingest,
            job: 0,
            level: Level(0),
            inputs: Vec::new(),
            created_ms: 0,
            entries: self.entries,
            tombstones: 0,
            distinct_keys: 0,
            raw_key_bytes: 0,
            raw_value_bytes: 0,
            smallest: key(&self.blocks[0][0]),
            largest: key(self.blocks.last().unwrap().last().unwrap()),
            min_seqno: SeqNo(1),
            max_seqno: SeqNo(1),
            data_blocks: self.blocks.len() as u64,
            data_bytes,
            comparator: "bytewise".to_owned(),
        }
        .encode(&mut content);
        let properties = seal(&mut bytes, Kind::Properties, &content);
        content.clear();
        index.finish(&mut content);
        let index = seal(&mut bytes, Kind::Index, &content);
        let offset = bytes.len() as u64;
        Footer { id, filter, properties, index, version: 1 }.encode(&mut bytes, offset);
        OneFile(MemFile::new(path())).with(bytes)
    }
}
