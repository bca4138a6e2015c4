//! Writing the new store.
//!
//! In the order of a checkpoint: a mark first, then tables, log and manifest, each durable, then
//! CURRENT, and the mark goes.

use std::collections::BTreeMap;
use std::path::Path;

use super::source::{Source, merge};
use super::survey::Surveyed;
use super::{Recipe, Repaired, Unit};
use crate::error::{Error, Result};
use crate::format::FORMAT_VERSION;
use crate::format::batch::Op;
use crate::format::edit::{Edit, LogMeta, Reason, StoreInfo};
use crate::format::frame::{self, ClosePayload, Kind, MarkPayload, frame_size};
use crate::format::header::{FileKind, HEADER_SIZE, Header};
use crate::format::key::{InternalKey, Trailer};
use crate::format::names;
use crate::format::state::State;
use crate::format::table::{COMPARATOR, Origin, TableMeta};
use crate::inspect::table::read_table;
use crate::runtime::Runtime;
use crate::table::{TableOrigin, TableWriter, WriterOptions};
use crate::types::{FileId, FileNumber, Level, SeqNo, StoreId, ValueKind};
use crate::vfs::{File, Fill, Vfs};

/// Bytes that are copied with one read and one write.
const COPY_SIZE: usize = 1 << 20;

/// Bytes of a table at which a merge begins the next one.
const TABLE_SIZE: u64 = 64 << 20;

/// Bytes of keys and values from logs that are held until they make a table.
const MEMORY_SIZE: usize = 16 << 20;

/// Bytes of the new, empty log.
const LOG_SIZE: u64 = 4096;

/// Makes the store.
pub(super) fn build(
    recipe: &Recipe,
    vfs: &dyn Vfs,
    out: &Path,
    runtime: &dyn Runtime,
) -> Result<Repaired> {
    claim(vfs, out)?;
    let store = StoreId(runtime.random_u64());
    let mut build =
        Build { vfs, out, runtime, store, next: recipe.next_file.0, tables: Vec::new() };
    for unit in &recipe.units {
        if unit.is_copy() {
            build.copy(unit)?;
        } else {
            build.merge(unit)?;
        }
    }
    let last_seqno = build.logs(recipe)?.max(recipe.in_tables);
    let edit = build.begin(recipe, last_seqno)?;
    let added = edit.tables_added.iter().map(|(_, table)| table);
    Ok(Repaired {
        store,
        tables: added.clone().count() as u64,
        table_bytes: added.clone().map(|table| table.size).sum(),
        entries: added.map(|table| table.entries).sum(),
        last_seqno,
    })
}

/// Makes sure of a directory in which nothing is, and marks it.
fn claim(vfs: &dyn Vfs, out: &Path) -> Result<()> {
    if vfs.exists(out)? {
        if let Some(name) = vfs.list(out)?.first() {
            let what = format!("{} holds {name}; a repair needs a new directory", out.display());
            return Err(Error::InvalidArgument(what));
        }
    } else {
        vfs.create_dir_all(out)?;
        vfs.sync_dir(out.parent().unwrap_or(Path::new("")))?;
    }
    vfs.create(&out.join(names::CHECKPOINT_TEMP))?;
    vfs.sync_dir(out)
}

struct Build<'b> {
    vfs: &'b dyn Vfs,
    out: &'b Path,
    runtime: &'b dyn Runtime,
    store: StoreId,
    next: u64,
    tables: Vec<(Level, TableMeta)>,
}

impl Build<'_> {
    fn new_number(&mut self) -> FileNumber {
        self.next += 1;
        FileNumber(self.next - 1)
    }

    fn new_id(&self) -> FileId {
        FileId(self.runtime.random_u64())
    }

    fn copy(&mut self, unit: &Unit) -> Result<()> {
        for table in &unit.tables {
            let path = self.out.join(names::table(table.meta.number));
            let to = self.vfs.create(&path)?;
            copy(&*table.file, &*to)?;
            let totals = read_table(&*to, false, &mut |_| Ok::<(), Error>(()))?;
            if totals.damaged > 0 {
                let what = "it changed while it was copied; the disk is failing";
                return Err(Error::corruption(&table.path, None, what));
            }
            self.tables.push((unit.level, table.meta.clone()));
        }
        Ok(())
    }

    fn merge(&mut self, unit: &Unit) -> Result<()> {
        let mut sources = Vec::new();
        for Surveyed { file, places, path, .. } in &unit.tables {
            match Source::open(file, *places)? {
                Ok(source) => sources.push(source),
                Err(reason) => return Err(Error::corruption(path, places.index.offset, reason)),
            }
        }
        let inputs: Vec<FileNumber> = unit.tables.iter().map(|table| table.meta.number).collect();
        let mut run = Run { level: unit.level, inputs, writer: None, last: Vec::new() };
        merge(&mut sources, &mut |key, value| run.add(self, key, value))?;
        run.finish(self)
    }

    fn create_table(&mut self, level: Level, inputs: &[FileNumber]) -> Result<TableWriter> {
        let number = self.new_number();
        let origin = TableOrigin {
            store: self.store,
            number,
            id: self.new_id(),
            level,
            origin: Origin::Repair,
            job: 0,
            inputs: inputs.to_vec(),
            created_ms: self.runtime.now_ms(),
        };
        let file = self.vfs.create(&self.out.join(names::table(number)))?;
        Ok(TableWriter::new(file, WriterOptions::default(), origin))
    }

    /// Tables of L0 from the records of the logs; the last sequence number among them.
    fn logs(&mut self, recipe: &Recipe) -> Result<SeqNo> {
        let mut memory = Memory::default();
        let mut last = SeqNo::ZERO;
        for part in &recipe.logs {
            part.ops(recipe.in_tables, &mut |op| {
                let Some((seqno, op)) = op else {
                    return if memory.size > MEMORY_SIZE { memory.flush(self) } else { Ok(()) };
                };
                last = last.max(seqno);
                memory.add(seqno, op);
                Ok(())
            })?;
        }
        memory.flush(self)?;
        Ok(last)
    }

    /// A log, a manifest with everything, CURRENT.
    fn begin(&mut self, recipe: &Recipe, last_seqno: SeqNo) -> Result<Edit> {
        let (log, manifest) = (self.new_number(), self.new_number());
        let meta = LogMeta { number: log, id: self.new_id(), size: LOG_SIZE };
        let mut state = State {
            store: Some(StoreInfo {
                id: self.store,
                comparator: COMPARATOR.to_owned(),
                format_version: FORMAT_VERSION,
            }),
            next_file: FileNumber(self.next),
            last_seqno,
            counters: recipe.counters,
            ..State::default()
        };
        // Through `apply`, which refuses a tree that makes no sense.
        let edit = Edit {
            time_ms: self.runtime.now_ms(),
            reason: Reason::Recovery,
            logs_added: vec![meta],
            tables_added: std::mem::take(&mut self.tables),
            ..state.to_edit()
        };
        state = State::default();
        state.apply(&edit).map_err(|reason| Error::corruption(self.out, None, reason))?;

        let (id, path) = (self.new_id(), self.out.join(names::manifest(manifest)));
        let mut bytes = self.header(FileKind::Manifest, id, manifest);
        frame::encode(&mut bytes, id, HEADER_SIZE as u64, Kind::Edit, 0, &[&edit.encode()]);
        self.write(&path, &bytes, 0)?;
        let log_bytes = self.log(meta, manifest, bytes.len() as u64);
        self.write(&self.out.join(names::log(log)), &log_bytes, LOG_SIZE)?;
        self.vfs.sync_dir(self.out)?;

        let temp = self.out.join(names::CURRENT_TEMP);
        self.write(&temp, names::encode_current(manifest).as_bytes(), 0)?;
        self.vfs.rename(&temp, &self.out.join(names::CURRENT))?;
        self.vfs.sync_dir(self.out)?;
        self.vfs.remove(&self.out.join(names::CHECKPOINT_TEMP))?;
        self.vfs.sync_dir(self.out)?;
        Ok(edit)
    }

    fn header(&self, kind: FileKind, id: FileId, number: FileNumber) -> Vec<u8> {
        let (version, store, created_ms) = (FORMAT_VERSION, self.store, self.runtime.now_ms());
        Header { kind, version, id, store, number, created_ms }.encode().to_vec()
    }

    /// A log that was closed: what the manifest promises, and the pair of close frames.
    fn log(&self, meta: LogMeta, manifest: FileNumber, manifest_synced: u64) -> Vec<u8> {
        let mut bytes = self.header(FileKind::Wal, meta.id, meta.number);
        let mark = MarkPayload { manifest, manifest_synced }.encode();
        frame::encode(&mut bytes, meta.id, HEADER_SIZE as u64, Kind::Mark, 0, &[&mark]);
        let log_end = bytes.len() as u64;
        let close = ClosePayload { log_end, manifest, manifest_synced }.encode();
        debug_assert!(bytes.len() + 2 * frame_size(close.len()) <= LOG_SIZE as usize);
        for _ in 0..2 {
            let at = bytes.len() as u64;
            frame::encode(&mut bytes, meta.id, at, Kind::Close, 0, &[&close]);
        }
        bytes
    }

    /// A new file with these bytes, and zeros up to `size`; its content is durable then.
    fn write(&self, path: &Path, bytes: &[u8], size: u64) -> Result<()> {
        let file = self.vfs.create(path)?;
        file.allocate(size, Fill::Zeros)?;
        file.write_at(bytes, 0)?;
        file.sync()
    }
}

/// A sorted run being written, cut into tables between user keys.
struct Run {
    level: Level,
    inputs: Vec<FileNumber>,
    writer: Option<TableWriter>,
    last: Vec<u8>,
}

impl Run {
    fn add(&mut self, build: &mut Build<'_>, key: &InternalKey, value: &[u8]) -> Result<()> {
        let is_full = self.writer.as_ref().is_some_and(|it| it.written_bytes() > TABLE_SIZE);
        if is_full && self.last != key.user {
            self.finish_table(build)?;
        }
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => none.insert(build.create_table(self.level, &self.inputs)?),
        };
        self.last.clone_from(&key.user);
        writer.add(&key.user, key.trailer, value)
    }

    fn finish_table(&mut self, build: &mut Build<'_>) -> Result<()> {
        if let Some(writer) = self.writer.take() {
            build.tables.push((self.level, writer.finish()?));
        }
        Ok(())
    }

    fn finish(mut self, build: &mut Build<'_>) -> Result<()> {
        self.finish_table(build)
    }
}

/// Operations from logs on their way into a table.
#[derive(Default)]
struct Memory {
    /// By user key, then newest first; what comes twice, as it came last.
    entries: BTreeMap<(Vec<u8>, std::cmp::Reverse<Trailer>), Vec<u8>>,
    size: usize,
}

impl Memory {
    fn add(&mut self, seqno: SeqNo, op: Op<'_>) {
        let (kind, value) = match op {
            Op::Put { value, .. } => (ValueKind::Put, value),
            Op::Delete { .. } => (ValueKind::Delete, &[][..]),
        };
        self.size += op.key().len() + value.len() + 64;
        let trailer = std::cmp::Reverse(Trailer::new(seqno, kind));
        self.entries.insert((op.key().to_vec(), trailer), value.to_vec());
    }

    fn flush(&mut self, build: &mut Build<'_>) -> Result<()> {
        if self.entries.is_empty() {
            return Ok(());
        }
        let mut writer = build.create_table(Level(0), &[])?;
        for ((user, trailer), value) in std::mem::take(&mut self.entries) {
            writer.add(&user, trailer.0, &value)?;
        }
        self.size = 0;
        build.tables.push((Level(0), writer.finish()?));
        Ok(())
    }
}

/// Copies a file's bytes and makes them durable.
fn copy(from: &dyn File, to: &dyn File) -> Result<()> {
    let mut buffer = vec![0; COPY_SIZE];
    let mut offset = 0;
    loop {
        let read = from.read_at(&mut buffer, offset)?;
        to.write_at(&buffer[..read], offset)?;
        offset += read as u64;
        if read < buffer.len() {
            return to.sync();
        }
    }
}
