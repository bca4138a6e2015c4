//! Reading a store as its files are, changing nothing: CURRENT, manifest, logs, and the judgement
//! over them. Shared by writing and read-only handles.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files::FIRST_FRAME;
use super::judge::{self, DroppedTail, LogFacts, Verdict};
use super::memtable::{Memtable, MemtableWriter};
use crate::error::{Error, Result};
use crate::format::batch;
use crate::format::edit::{Edit, LogMeta, StoreInfo};
use crate::format::frame::{self, BatchPayload, Kind};
use crate::format::header::{FileKind, Header};
use crate::format::key::Trailer;
use crate::format::names::{self, FileName};
use crate::format::state::State;
use crate::probe::mutant;
use crate::record::{self, LogScan};
use crate::types::{FileNumber, SeqNo, StoreId, ValueKind};
use crate::vfs::{self, Access, File, Vfs};

/// A store as its files describe it, judged sound.
pub(super) struct Image {
    pub(super) store: StoreInfo,
    pub(super) state: State,
    pub(super) manifest_header: Header,
    pub(super) manifest_file: Arc<dyn File>,
    /// Where the manifest's valid content ends.
    pub(super) manifest_end: u64,
    /// Up to where it is known to be on stable storage.
    pub(super) manifest_promised: u64,
    pub(super) manifest_tail: Option<DroppedTail>,
    pub(super) logs: Vec<OpenLog>,
    pub(super) verdict: Verdict,
    pub(super) memtable: Arc<Memtable>,
    pub(super) memtable_writer: MemtableWriter,
    pub(super) last_seqno: SeqNo,
    /// Bytes of log that were read into the memtable.
    pub(super) replayed_bytes: u64,
    /// The directory, as it was listed.
    pub(super) names: Vec<String>,
}

/// A log the manifest names.
pub(super) struct OpenLog {
    pub(super) meta: LogMeta,
    pub(super) file: Arc<dyn File>,
    pub(super) facts: LogFacts,
    /// Where its last replayed record ends; 0 if it has none.
    pub(super) records_end: u64,
}

impl Image {
    /// Whether the last writer closed the store and nothing happened to it since.
    pub(super) fn is_clean(&self) -> bool {
        let close = self.logs.last().and_then(|log| log.facts.scan.closed.as_ref());
        let manifest = (self.manifest_header.number, self.manifest_end);
        self.verdict.closed
            && self.manifest_tail.is_none()
            && close.is_some_and(|close| (close.manifest, close.manifest_synced) == manifest)
    }

    /// The tails that a crash left unusable.
    pub(super) fn dropped(&self) -> Vec<DroppedTail> {
        self.verdict.dropped.iter().chain(&self.manifest_tail).cloned().collect()
    }

    /// The first number above every number seen.
    pub(super) fn next_number(&self) -> FileNumber {
        let seen = self.names.iter().filter_map(|name| names::parse(name).number());
        let above = seen.map(|number| number.0.saturating_add(1)).max().unwrap_or(1);
        // Rule 10: numbers go past every one seen on disk.
        let above = if mutant("numbers_on_disk_overlooked") { 0 } else { above };
        FileNumber(self.state.next_file.0.max(above))
    }
}

/// What a directory without CURRENT is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Vacancy {
    /// Empty, or a store whose creation was interrupted: one may be created here.
    Free,
    /// A checkpoint whose making was interrupted: it may be made again here.
    Unfinished,
    /// Other people's files.
    Taken(String),
}

/// The manifest number in CURRENT; none where there is no CURRENT.
pub(super) fn read_current(vfs: &dyn Vfs, dir: &Path) -> Result<Option<FileNumber>> {
    let path = dir.join(names::CURRENT);
    let file = match vfs.open(&path, Access::Read) {
        Ok(file) => file,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error),
    };
    let bytes = vfs::read_all(&*file, 1024)?;
    let number = names::decode_current(&bytes);
    number.map(Some).map_err(|reason| Error::corruption(path, 0, reason))
}

/// Looks at a directory without CURRENT.
///
/// # Errors
/// [`Error::Corruption`] when CURRENT must have been there: beside a table, or a log with a frame.
pub(super) fn vacancy(vfs: &dyn Vfs, dir: &Path) -> Result<Vacancy> {
    let missing = |name: &str| {
        Error::corruption(dir.join(names::CURRENT), None, format!("it is missing beside {name}"))
    };
    let mut taken = None;
    let names = vfs.list(dir)?;
    // Here tables come before CURRENT does.
    let unfinished = names.iter().any(|name| name == names::CHECKPOINT_TEMP);
    for name in names {
        match names::parse(&name) {
            // Rule 9: CURRENT is not missing for nothing beside these.
            FileName::Table(_) | FileName::Log(_) if mutant("missing_current_creates") => {}
            // Rule 9: a store whose creation was interrupted can be made again.
            FileName::Log(_) if mutant("half_made_store_refused") => return Err(missing(&name)),
            FileName::Table(_) | FileName::Log(_) if unfinished => {}
            FileName::Table(_) => return Err(missing(&name)),
            FileName::Log(_) if !log_is_blank(vfs, &dir.join(&name))? => {
                return Err(missing(&name));
            }
            FileName::Other => taken = Some(name),
            _ => {}
        }
    }
    let vacant = if unfinished { Vacancy::Unfinished } else { Vacancy::Free };
    Ok(taken.map_or(vacant, Vacancy::Taken))
}

/// Whether a log has no frame: nothing but a header, or not even that.
fn log_is_blank(vfs: &dyn Vfs, path: &Path) -> Result<bool> {
    let file = vfs.open(path, Access::Read)?;
    match record::read_header(&*file, FileKind::Wal) {
        Ok(header) => {
            let scan = record::scan_log(&*file, &header, None, &mut |_, _, _| Ok(()))?;
            Ok(!has_frames(&scan))
        }
        Err(error @ Error::Io { .. }) => Err(error),
        // Without a header no frame can be verified; zeros are blank, anything else is not.
        Err(_) => is_zero_from(&*file, FIRST_FRAME),
    }
}

/// Whether all bytes from `offset` on are zero. Read piece by piece: the file may be anybody's.
fn is_zero_from(file: &dyn File, mut offset: u64) -> Result<bool> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = file.read_at(&mut buffer, offset)?;
        if buffer[..read].iter().any(|&byte| byte != 0) {
            return Ok(false);
        }
        if read < buffer.len() {
            return Ok(true);
        }
        offset += read as u64;
    }
}

/// Whether an unnamed log is one of this store's: dropped, or created and never used. Another
/// store's, or one whose header cannot be read, is left alone.
pub(super) fn log_is_left_over(vfs: &dyn Vfs, path: &Path, store: StoreId) -> Result<bool> {
    let file = vfs.open(path, Access::Read)?;
    match record::read_header(&*file, FileKind::Wal) {
        Ok(header) if header.store == store => Ok(true),
        Err(error @ Error::Io { .. }) => Err(error),
        // Perhaps of a store whose creation did not finish: it had an id of its own.
        Ok(_) => log_is_blank(vfs, path),
        Err(_) => Ok(begins_as_ours(&*file)? && log_is_blank(vfs, path)?),
    }
}

/// Whether a file without a whole header can be a log that was being made: it begins with zeros, or
/// with as much of the magic as there is.
fn begins_as_ours(file: &dyn File) -> Result<bool> {
    let magic = FileKind::Wal.magic();
    let mut start = [0; 8];
    let read = file.read_at(&mut start, 0)?;
    Ok(start == [0; 8] || start[..read] == magic[..read])
}

fn has_frames(scan: &LogScan) -> bool {
    scan.valid_end > FIRST_FRAME || scan.first_bad.as_ref().is_some_and(|bad| bad.frames_after > 0)
}

/// Reads and judges the store whose CURRENT names manifest `number`.
pub(super) fn load(vfs: &dyn Vfs, dir: &Path, number: FileNumber, access: Access) -> Result<Image> {
    let manifest = read_manifest(vfs, dir, number, access)?;
    load_state(vfs, dir, access, &manifest).map_err(|error| match error {
        Error::Corruption(_) => older_manifest(vfs, dir, &manifest).unwrap_or(error),
        other => other,
    })
}

/// When what the manifest names is not as it says: whether that is because the manifest lost its
/// end, as any log of the store may know, also one that this manifest does not name.
fn older_manifest(vfs: &dyn Vfs, dir: &Path, manifest: &LoadedManifest) -> Option<Error> {
    let mut marks = None;
    for name in vfs.list(dir).ok()? {
        let FileName::Log(_) = names::parse(&name) else { continue };
        let Ok(file) = vfs.open(&dir.join(name), Access::Read) else { continue };
        let Ok(header) = record::read_header(&*file, FileKind::Wal) else { continue };
        if header.store == manifest.store.id
            && let Ok(scan) = record::scan_log(&*file, &header, None, &mut |_, _, _| Ok(()))
        {
            marks = marks.max(scan.manifest_promise);
        }
    }
    manifest.judge(marks).err()
}

/// Reads and judges what a manifest names, and then the manifest's own tail.
fn load_state(
    vfs: &dyn Vfs,
    dir: &Path,
    access: Access,
    manifest: &LoadedManifest,
) -> Result<Image> {
    let (state, store) = (&manifest.state, &manifest.store);
    let names = vfs.list(dir)?;
    // Rule 10: orphans go only when the store was found sound.
    if mutant("orphans_removed_before_the_verdict") && access == Access::ReadWrite {
        for name in &names {
            if let FileName::Table(number) = names::parse(name)
                && state.tables().all(|(_, table)| table.number != number)
            {
                vfs.remove(&dir.join(name))?;
            }
        }
    }
    check_tables_exist(dir, state, &names)?;

    let (memtable, memtable_writer) = Memtable::new();
    let mut replay =
        Replay { memtable_writer, last_seqno: state.last_seqno, bytes: 0, records_end: 0 };
    let mut logs: Vec<OpenLog> = Vec::new();
    let mut gapless = true;
    for log in state.logs.values() {
        // Rule 3: a log that the manifest names is there.
        let name = names::log(log.meta.number);
        if mutant("missing_log_taken_for_empty") && names.binary_search(&name).is_err() {
            continue;
        }
        let mut log = open_log(vfs, dir, store.id, log.clone(), access, |file, header, end| {
            replay.log(file, header, end, gapless)
        })?;
        log.records_end = replay.records_end;
        // Rule 4: replay stops at the first hole.
        gapless &= log.facts.is_complete() || mutant("replay_goes_on_behind_a_hole");
        logs.push(log);
    }
    let marks = logs.iter().filter_map(|log| log.facts.scan.manifest_promise).max();
    let manifest_tail = manifest.judge(marks)?;
    let facts: Vec<LogFacts> = logs.iter().map(|log| log.facts.clone()).collect();
    let verdict = judge::judge_logs(&facts, state.log_synced)?;
    check_unnamed_logs(vfs, dir, store.id, state, &names)?;
    Ok(Image {
        store: store.clone(),
        state: state.clone(),
        manifest_header: manifest.header,
        manifest_file: Arc::clone(&manifest.file),
        manifest_end: manifest.scan.valid_end,
        manifest_promised: judge::manifest_promised(manifest.header.number, &manifest.scan, marks),
        manifest_tail,
        logs,
        verdict,
        memtable,
        last_seqno: replay.last_seqno,
        replayed_bytes: replay.bytes,
        memtable_writer: replay.memtable_writer,
        names,
    })
}

/// A manifest that was read to the end of its gapless prefix, and what its edits add up to.
struct LoadedManifest {
    path: PathBuf,
    file: Arc<dyn File>,
    header: Header,
    scan: LogScan,
    state: State,
    store: StoreInfo,
}

impl LoadedManifest {
    fn judge(&self, marks: Option<(FileNumber, u64)>) -> Result<Option<DroppedTail>> {
        judge::judge_manifest(&self.path, self.header.number, &self.scan, marks)
    }
}

/// Opens a file that another names: that it is missing is damage.
fn open_named(vfs: &dyn Vfs, path: &Path, access: Access, by: &str) -> Result<Arc<dyn File>> {
    vfs.open(path, access).map_err(|error| {
        if error.is_not_found() {
            Error::corruption(path, None, format!("it is missing, but {by} names it"))
        } else {
            error
        }
    })
}

fn read_manifest(
    vfs: &dyn Vfs,
    dir: &Path,
    number: FileNumber,
    access: Access,
) -> Result<LoadedManifest> {
    let path = dir.join(names::manifest(number));
    let file = open_named(vfs, &path, access, "CURRENT")?;
    let header = record::read_header(&*file, FileKind::Manifest).map_err(ours_by_name)?;
    if header.number != number {
        let detail = format!("its header says it is manifest {}", header.number);
        return Err(Error::corruption(path, 0, detail));
    }
    let mut state = State::default();
    let scan = record::scan_log(&*file, &header, None, &mut |offset, kind, payload| {
        apply_edit(&mut state, kind, payload)
            .map_err(|reason| Error::corruption(&path, offset, reason))
    })?;
    // By its own promises first: half a manifest names the wrong tables and logs.
    judge::judge_manifest(&path, number, &scan, None)?;
    let store = check_store(&path, &header, &state)?;
    Ok(LoadedManifest { path, file, header, scan, state, store })
}

fn apply_edit(state: &mut State, kind: Kind, payload: &[u8]) -> Result<(), String> {
    if kind != Kind::Edit {
        return Err(format!("a frame of kind {kind} in a manifest"));
    }
    let edit = Edit::decode(payload)?;
    edit.tables_added.iter().try_for_each(|(_, table)| table.check())?;
    state.apply(&edit)
}

/// A file that bears one of our names where we expect it, but not our bytes, is damaged.
fn ours_by_name(error: Error) -> Error {
    match error {
        Error::NotOurs { path, detail, .. } => Error::corruption(path, 0, detail),
        other => other,
    }
}

fn check_store(path: &Path, header: &Header, state: &State) -> Result<StoreInfo> {
    let Some(store) = state.store.clone() else {
        return Err(Error::corruption(path, FIRST_FRAME, "no edit says which store this is"));
    };
    if store.id != header.store {
        let detail = format!("its header is of store {}, its edits of {}", header.store, store.id);
        return Err(Error::corruption(path, 0, detail));
    }
    if store.comparator != crate::format::table::COMPARATOR {
        let what = format!("comparator {:?}", store.comparator);
        return Err(Error::Unsupported { path: path.to_owned(), what });
    }
    Ok(store)
}

fn check_tables_exist(dir: &Path, state: &State, names: &[String]) -> Result<()> {
    for (level, table) in state.tables() {
        let name = names::table(table.number);
        if names.binary_search(&name).is_err() {
            let detail = format!("it is missing, but the manifest has it in {level}");
            return Err(Error::corruption(dir.join(name), None, detail));
        }
    }
    Ok(())
}

fn open_log(
    vfs: &dyn Vfs,
    dir: &Path,
    store: StoreId,
    log: crate::format::state::LogState,
    access: Access,
    scan: impl FnOnce(&dyn File, &Header, Option<u64>) -> Result<LogScan>,
) -> Result<OpenLog> {
    let meta = log.meta;
    let path = dir.join(names::log(meta.number));
    let file = open_named(vfs, &path, access, "the manifest")?;
    let size = file.size()?;
    // Rule 3: a log is as large as the manifest knows it.
    if size < meta.size && !mutant("short_log_accepted") {
        let detail = format!("it has {size} bytes, the manifest says {}", meta.size);
        return Err(Error::corruption(path, size, detail));
    }
    let header = record::read_header(&*file, FileKind::Wal).map_err(ours_by_name)?;
    // Rule 3: the log is the one that the manifest means.
    let is_meant = (header.id, header.store, header.number) == (meta.id, store, meta.number);
    if !is_meant && !mutant("foreign_log_accepted") {
        let detail = format!(
            "a foreign or older file: log {} with id {} of store {}, not log {} with id {} of {}",
            header.number, header.id, header.store, meta.number, meta.id, store
        );
        return Err(Error::corruption(path, 0, detail));
    }
    let scan = scan(&*file, &header, log.end)?;
    let facts = LogFacts { path, number: meta.number, settled: log.end, scan };
    Ok(OpenLog { meta, file, facts, records_end: 0 })
}

/// A log of this store that holds a frame and that no edit ever named or dropped: the manifest is
/// not the one that belongs here.
fn check_unnamed_logs(
    vfs: &dyn Vfs,
    dir: &Path,
    store: StoreId,
    state: &State,
    names: &[String],
) -> Result<()> {
    for name in names {
        let FileName::Log(number) = names::parse(name) else { continue };
        if number <= state.logs_dropped_upto || state.logs.contains_key(&number) {
            continue;
        }
        let path = dir.join(name);
        let file = match vfs.open(&path, Access::Read) {
            Ok(file) => file,
            // Beside a writer: made and dropped since the manifest was read.
            Err(error) if error.is_not_found() => continue,
            Err(error) => return Err(error),
        };
        let header = match record::read_header(&*file, FileKind::Wal) {
            Ok(header) => header,
            Err(error @ Error::Io { .. }) => return Err(error),
            Err(_) => continue,
        };
        let scan = record::scan_log(&*file, &header, None, &mut |_, _, _| Ok(()))?;
        if header.store == store && has_frames(&scan) {
            let detail = "it holds records of this store, but the manifest does not name it";
            return Err(Error::corruption(path, FIRST_FRAME, detail));
        }
    }
    Ok(())
}

/// Logs read back into a memtable.
struct Replay {
    memtable_writer: MemtableWriter,
    last_seqno: SeqNo,
    bytes: u64,
    /// In the log being read, where its last record ends.
    records_end: u64,
}

impl Replay {
    /// Scans a log; its gapless prefix goes into the memtable if all logs before it were complete.
    fn log(
        &mut self,
        file: &dyn File,
        header: &Header,
        end: Option<u64>,
        gapless: bool,
    ) -> Result<LogScan> {
        self.records_end = 0;
        let scan = record::scan_log(file, header, end, &mut |offset, kind, payload| {
            let taken = match kind {
                Kind::Batch if gapless => {
                    self.records_end = offset + frame::frame_size(payload.len()) as u64;
                    self.batch(payload)
                }
                Kind::Batch | Kind::Mark | Kind::Close | Kind::End => Ok(()),
                Kind::Edit | Kind::Gap => Err(format!("a frame of kind {kind} in a live log")),
            };
            taken.map_err(|reason| Error::corruption(file.path(), offset, reason))
        })?;
        if gapless {
            self.bytes += scan.valid_end - FIRST_FRAME;
        }
        Ok(scan)
    }

    fn batch(&mut self, payload: &[u8]) -> Result<(), String> {
        let BatchPayload { first, batch } = BatchPayload::decode(payload)?;
        let expected = self.last_seqno.plus(1);
        let skips = mutant("replay_goes_on_behind_a_hole") && first > expected;
        if skips {
            self.last_seqno = SeqNo(first.0 - 1);
        } else if first != expected {
            return Err(format!("it begins with seqno {first}, expected {expected}"));
        }
        let count = u64::from(batch::validate(batch)?);
        if count > SeqNo::MAX.0 - self.last_seqno.0 {
            return Err(format!("{count} operations from seqno {first} on pass the last there is"));
        }
        insert_batch(&mut self.memtable_writer, first, batch)?;
        self.last_seqno = self.last_seqno.plus(count);
        Ok(())
    }
}

/// Puts a batch's operations into the memtable and returns how many there are.
pub(super) fn insert_batch(
    memtable: &mut MemtableWriter,
    first: SeqNo,
    bytes: &[u8],
) -> Result<u64, String> {
    let mut count = 0;
    for op in batch::Decoder::new(bytes)? {
        let seqno = first.plus(count);
        // Rule 11: a batch is there as a whole.
        if mutant("third_operation_of_a_batch_lost") && count == 2 {
            op?;
            count += 1;
            continue;
        }
        match op? {
            batch::Op::Put { key, value } => {
                memtable.insert(key, Trailer::new(seqno, ValueKind::Put), value);
            }
            batch::Op::Delete { key } => {
                memtable.insert(key, Trailer::new(seqno, ValueKind::Delete), &[]);
            }
        }
        count += 1;
    }
    Ok(count)
}
