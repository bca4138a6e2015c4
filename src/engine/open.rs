//! Opening: creating a store, resuming a closed one, recovering an unclosed one.
//!
//! Invariants:
//! - Nothing is written before the lock is held and the directory is known to be ours.
//! - A clean reopen writes nothing but the pid in LOCK.
//! - After an unclean end everything replayed is made durable (`recover`), and the ends of the logs
//!   are recorded in the manifest, before the store is served; nothing is appended behind what a
//!   crash left.
//! - Left-over files go only after all of that has succeeded.

use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use parking_lot::{Condvar, Mutex};

use super::compaction::job::Compactions;
use super::core::{Core, Poison, WriteSide, Writing};
use super::counters::Counters;
use super::events::Event;
use super::files::{Failure, Files};
use super::image::{self, Image, Vacancy};
use super::manifest::Manifest;
use super::memtable::Memtable;
use super::options::Options;
use super::recover;
use super::snapshot::SnapshotList;
use super::superversion::SuperVersion;
use super::tables::TableSpace;
use super::throttle::Throttle;
use super::version::Version;
use super::wal::{Resumed, Wal};
use super::write::CommitQueue;
use super::{DroppedTail, Recovery};
use crate::error::{Corruption, Error, Result};
use crate::format::FORMAT_VERSION;
use crate::format::edit::{Edit, Reason, StoreInfo};
use crate::format::names::{self, FileName};
use crate::format::state::State;
use crate::format::table::COMPARATOR;
use crate::probe::{failpoint, mutant};
use crate::runtime::{Priority, Runtime, Step};
use crate::types::{FileNumber, SeqNo, StoreId};
use crate::vfs::{Access, Fill, Lock, Vfs};

/// Replaying more than this, or this many logs, makes a writing handle flush when it closes, so
/// that a loop of short processes stays linear.
const REPLAY_BYTES_MAX: u64 = 1 << 20;
const LIVE_LOGS_MAX: usize = 4;

/// A handle that flushes when it closes also does what is due in compactions, up to so many bytes.
const SETTLE_BYTES_MAX: u64 = 16 << 20;

/// How often a reader starts again because a writer changed the files meanwhile.
const READ_ATTEMPTS_MAX: usize = 100;

/// Microseconds between the looks of a reader at something that looks wrong: the system may put a writer
/// aside in the middle of a record.
const LOOKS_APART_US: [u64; 3] = [1_000, 10_000, 40_000];

/// Opens for reading and writing.
pub(super) fn open(dir: &Path, options: Options) -> Result<Arc<Core>> {
    let vfs = Arc::clone(&options.vfs);
    prepare_dir(&*vfs, dir, options.create)?;
    let pid = format!("{}\n", std::process::id());
    let lock = vfs.lock(&dir.join(names::LOCK), pid.as_bytes())?;
    // Only now is what CURRENT says ours to rely on.
    let core = match image::read_current(&*vfs, dir)? {
        Some(number) => {
            let image = image::load(&*vfs, dir, number, Access::ReadWrite)?;
            resume(dir, options, image, lock)?
        }
        None => {
            check_free(&*vfs, dir)?;
            create(dir, options, lock)?
        }
    };
    let core = Arc::new(core);
    start_workers(&core);
    core.tell(&opened(&core.recovery));
    core.flush_if_many_logs();
    Ok(core)
}

/// Opens for reading: no lock, nothing written.
pub(super) fn open_read_only(dir: &Path, options: Options) -> Result<Arc<Core>> {
    let (vfs, runtime) = (Arc::clone(&options.vfs), Arc::clone(&options.runtime));
    read_until_sound(&*vfs, &*runtime, dir, |image| read_core(dir, &options, image)).map(Arc::new)
}

/// What looks wrong to a reader: it may be what a writer is just doing.
#[derive(PartialEq)]
enum Wrong {
    Tails(Vec<DroppedTail>),
    Damage(Corruption),
}

/// How long a reader doubts what looks wrong.
struct Doubts<'a> {
    runtime: &'a dyn Runtime,
    wrong: Option<Wrong>,
    looks: usize,
}

impl Doubts<'_> {
    /// Whether every look showed exactly this; if it is too early to say, waits for the next one.
    fn are_over(&mut self, wrong: Wrong) -> bool {
        if self.wrong.as_ref() != Some(&wrong) {
            (self.wrong, self.looks) = (Some(wrong), 0);
        }
        let Some(&us) = LOOKS_APART_US.get(self.looks) else { return true };
        self.looks += 1;
        self.runtime.sleep_us(us);
        false
    }
}

/// Reads a store beside its writer and makes something of what was read. What looks wrong, a torn
/// tail too, counts only if several looks show exactly the same, since the writer may be at work; and
/// all is read again when a file was gone before it was opened.
fn read_until_sound<T>(
    vfs: &dyn Vfs,
    runtime: &dyn Runtime,
    dir: &Path,
    mut make: impl FnMut(Image) -> Result<T>,
) -> Result<T> {
    let mut doubts = Doubts { runtime, wrong: None, looks: 0 };
    for _ in 0..READ_ATTEMPTS_MAX {
        let made = read_image(vfs, dir).and_then(|image| {
            let dropped = image.dropped();
            if dropped.is_empty() || doubts.are_over(Wrong::Tails(dropped)) {
                return make(image).map(Some);
            }
            Ok(None)
        });
        match made {
            Ok(Some(made)) => return Ok(made),
            Ok(None) | Err(Error::Moved { .. }) => {}
            Err(Error::Corruption(found)) => {
                if doubts.are_over(Wrong::Damage(found.clone())) {
                    return Err(Error::Corruption(found));
                }
            }
            Err(error) => return Err(error),
        }
    }
    Err(Error::Moved { path: dir.join(names::CURRENT) })
}

fn read_image(vfs: &dyn Vfs, dir: &Path) -> Result<Image> {
    match image::read_current(vfs, dir)? {
        Some(number) => image::load(vfs, dir, number, Access::Read),
        None => {
            let no_store =
                |detail: &str| Err(Error::NoStore { path: dir.into(), detail: detail.into() });
            if !vfs.exists(dir)? {
                return no_store("no such directory");
            }
            image::vacancy(vfs, dir)?;
            no_store("it has no CURRENT")
        }
    }
}

/// Makes sure there is a directory that holds a store or may hold one; creates it if asked to.
fn prepare_dir(vfs: &dyn Vfs, dir: &Path, create: bool) -> Result<()> {
    if !vfs.exists(dir)? {
        if !create {
            let detail = "no such directory".to_owned();
            return Err(Error::NoStore { path: dir.to_owned(), detail });
        }
        return create_dir(vfs, dir);
    }
    if image::read_current(vfs, dir)?.is_some() {
        return Ok(());
    }
    match check_creatable(vfs, dir, create) {
        // Another process made the store meanwhile; without its CURRENT it looked like a damaged one.
        Err(_) if image::read_current(vfs, dir)?.is_some() => Ok(()),
        checked => checked,
    }
}

fn check_creatable(vfs: &dyn Vfs, dir: &Path, create: bool) -> Result<()> {
    if create {
        return check_free(vfs, dir);
    }
    image::vacancy(vfs, dir)?;
    let detail = "it has no CURRENT".to_owned();
    Err(Error::NoStore { path: dir.to_owned(), detail })
}

/// Creates the directory and makes its name, and those of the ones above it, durable.
pub(super) fn create_dir(vfs: &dyn Vfs, dir: &Path) -> Result<()> {
    let mut made = Vec::new();
    for ancestor in dir.ancestors() {
        if ancestor.as_os_str().is_empty() || vfs.exists(ancestor)? {
            break;
        }
        made.push(ancestor);
    }
    vfs.create_dir_all(dir)?;
    failpoint("create_after_dir");
    // Rule 9: making a store makes its name durable too.
    if mutant("parent_dir_not_synced") {
        made.clear();
    }
    for path in made {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        vfs.sync_dir(parent.unwrap_or(Path::new(".")))?;
    }
    Ok(())
}

fn check_free(vfs: &dyn Vfs, dir: &Path) -> Result<()> {
    match image::vacancy(vfs, dir)? {
        Vacancy::Free => Ok(()),
        Vacancy::Unfinished => {
            let detail = "it holds a checkpoint that was not finished".to_owned();
            Err(Error::NoStore { path: dir.to_owned(), detail })
        }
        Vacancy::Taken(name) => {
            let detail = format!("it holds other files ({name}) and no CURRENT");
            Err(Error::NoStore { path: dir.to_owned(), detail })
        }
    }
}

/// The first number above those of a half-made store.
fn first_number(vfs: &dyn Vfs, dir: &Path) -> Result<FileNumber> {
    let names = vfs.list(dir)?;
    let seen = names.iter().filter_map(|name| names::parse(name).number());
    Ok(FileNumber(seen.map(|number| number.0.saturating_add(1)).max().unwrap_or(1)))
}

fn create(dir: &Path, options: Options, lock: Box<dyn Lock>) -> Result<Core> {
    let store = StoreId(options.runtime.random_u64());
    let next = first_number(&*options.vfs, dir)?;
    let files = Arc::new(Files::new(&options, dir, store, next));
    let counters = Arc::new(Counters::default());
    // It will see syncs, or stay small: zeros pay.
    failpoint("create_before_log");
    let log = files.create_log(Fill::Zeros, 0)?;
    failpoint("create_after_log");
    let first = Edit {
        reason: Reason::Create,
        store: Some(StoreInfo {
            id: store,
            comparator: COMPARATOR.to_owned(),
            format_version: FORMAT_VERSION,
        }),
        last_seqno: Some(SeqNo::ZERO),
        logs_added: vec![log.0],
        ..Edit::default()
    };
    let manifest = plain(Manifest::create(&files, first, options.manifest_size))?;
    failpoint("create_after_manifest");
    let mut wal = Wal::fresh(&files, &counters, log);
    wal.mark()?;
    failpoint("create_after_mark");
    remove_left_over(&files, manifest.state(), manifest.position().0)?;
    let (memtable, memtable_writer) = Memtable::new();
    let writing = Writing {
        memtable_logs: vec![wal.number()],
        wal,
        memtable: memtable_writer,
        last_seqno: SeqNo::ZERO,
    };
    let side = write_side(manifest, writing, lock);
    core(options, files, counters, Some(side), memtable, &State::default(), Recovery::created())
}

fn resume(dir: &Path, options: Options, image: Image, lock: Box<dyn Lock>) -> Result<Core> {
    let next = image.next_number();
    let files = Arc::new(Files::new(&options, dir, image.store.id, next));
    let counters = Arc::new(Counters::default());
    let clean = image.is_clean();
    let recovery = Recovery::of(&image, clean);
    let mut manifest = Manifest::resume(
        &files,
        Arc::clone(&image.manifest_file),
        &image.manifest_header,
        image.state.clone(),
        image.manifest_end,
        options.manifest_size,
    );
    // Rule 7: nothing is appended behind what a crash left.
    let wal = if clean || mutant("log_reused_behind_a_tear") {
        resume_clean(&files, &counters, &image)?
    } else {
        recover::recover(&files, &counters, &mut manifest, &image)?
    };
    remove_left_over(&files, manifest.state(), manifest.position().0)?;
    let state = manifest.state().clone();
    let writing = Writing {
        memtable_logs: state.logs.keys().copied().collect(),
        wal,
        memtable: image.memtable_writer,
        last_seqno: image.last_seqno,
    };
    let side = write_side(manifest, writing, lock);
    core(options, files, counters, Some(side), image.memtable, &state, recovery)
}

/// Goes on in the log that was closed, as if it had not been.
fn resume_clean(files: &Arc<Files>, counters: &Arc<Counters>, image: &Image) -> Result<Wal> {
    let Some((live, older)) = image.logs.split_last() else {
        // `is_clean` looked at the last log.
        return Err(Error::corruption(&files.dir, None, "a closed store without a log"));
    };
    let scan = &live.facts.scan;
    // A promise in the live log speaks for the older ones too.
    let unsynced: Vec<_> = older
        .iter()
        .filter(|log| log.facts.settled.is_none() && scan.promised == 0)
        .map(|log| (log.meta.number, Arc::clone(&log.file)))
        .collect();
    let at = Resumed {
        end: scan.valid_end,
        synced_upto: scan.promised,
        dirty: !unsynced.is_empty() || live.records_end > scan.promised,
        unsynced,
    };
    Ok(Wal::resume(files, counters, (live.meta, Arc::clone(&live.file)), at))
}

/// A failure while opening is an error either way: there is no handle to poison.
pub(super) fn plain<T>(result: Result<T, Failure>) -> Result<T> {
    result.map_err(|failure| match failure {
        Failure::Refused(error) | Failure::Poison(error) => error,
    })
}

/// Removes files of ours that no edit names: tables and manifests of interrupted jobs, dropped
/// logs, a half-written CURRENT. Older manifests are history; what is not ours stays.
fn remove_left_over(files: &Files, state: &State, manifest: FileNumber) -> Result<()> {
    for name in files.vfs.list(&files.dir)? {
        let left_over = match names::parse(&name) {
            FileName::Table(number) => !state.tables().any(|(_, table)| table.number == number),
            FileName::Log(number) => {
                !state.logs.contains_key(&number)
                    && image::log_is_left_over(&*files.vfs, &files.path(&name), files.store)?
            }
            // Older ones are history, but a store that was just made has none.
            FileName::Manifest(number) => {
                number > manifest || number < manifest && state.lineage.is_none()
            }
            FileName::CurrentTemp | FileName::CheckpointTemp => true,
            FileName::Current | FileName::Lock | FileName::Other => false,
        };
        if left_over {
            files.vfs.remove(&files.path(&name))?;
            failpoint("recovery_after_left_over_removed");
        }
    }
    Ok(())
}

fn write_side(manifest: Manifest, writing: Writing, lock: Box<dyn Lock>) -> WriteSide {
    let edits = manifest.state().edits;
    WriteSide {
        queue: CommitQueue::default(),
        writing: Mutex::new(writing),
        manifest: Mutex::new(manifest),
        poison: Poison::default(),
        background_error: Mutex::new(None),
        flusher: OnceLock::new(),
        compactor: OnceLock::new(),
        compactions: Compactions::default(),
        throttle: Throttle::default(),
        // Every job makes an edit, so the count of edits is above every job so far.
        next_job: AtomicU64::new(edits.saturating_add(1)),
        _lock: lock,
    }
}

fn read_core(dir: &Path, options: &Options, image: Image) -> Result<Core> {
    let next = image.next_number();
    let files = Arc::new(Files::new(options, dir, image.store.id, next));
    let recovery = Recovery::of(&image, image.is_clean());
    let counters = Arc::new(Counters::default());
    core(options.clone(), files, counters, None, image.memtable, &image.state, recovery)
}

fn core(
    options: Options,
    files: Arc<Files>,
    counters: Arc<Counters>,
    writer: Option<WriteSide>,
    memtable: Arc<Memtable>,
    state: &State,
    recovery: Recovery,
) -> Result<Core> {
    let tables = Arc::new(TableSpace::new(&options, &files, writer.is_none()));
    let version = Arc::new(Version::from_state(state, &Version::default(), &tables)?);
    let visible = AtomicU64::new(recovery.last_seqno.0);
    let upto = writer.is_none().then_some(recovery.last_seqno);
    let view = SuperVersion { memtable, immutables: Vec::new(), version, upto };
    tables.budget.share_with_memtables(&view);
    Ok(Core {
        options,
        files,
        tables,
        counters,
        recovery,
        refreshing: Mutex::new(()),
        lifetime: Mutex::new(state.counters),
        writer,
        superversion: ArcSwap::from_pointee(view),
        tree: Mutex::new(()),
        tree_changed: Condvar::new(),
        visible,
        snapshots: SnapshotList::default(),
    })
}

fn opened(recovery: &Recovery) -> Event {
    Event::Opened {
        clean: recovery.clean,
        logs: recovery.logs,
        replayed_bytes: recovery.replayed_bytes,
        dropped_tails: recovery.dropped.len() as u64,
    }
}

fn start_workers(core: &Arc<Core>) {
    let Some(side) = &core.writer else { return };
    let runtime = &core.files.runtime;
    let weak = Arc::downgrade(core);
    let step = move || weak.upgrade().map_or(Step::Idle, |core| core.flush_step());
    let flusher = runtime.spawn("beachdb-flush", Priority::Normal, Box::new(step));
    let weak = Arc::downgrade(core);
    let step = move || weak.upgrade().map_or(Step::Idle, |core| core.compaction_step());
    let compactor = runtime.spawn("beachdb-compact", Priority::Idle, Box::new(step));
    // Each is set once, here.
    let _ = core.tables.collector.set(Arc::downgrade(&compactor));
    let _ = side.flusher.set(flusher);
    let _ = side.compactor.set(compactor);
}

impl Core {
    /// Moves a read-only handle to what the store holds now. A writing handle is always there.
    pub(super) fn refresh(&self) -> Result<()> {
        if self.writer.is_some() {
            return Ok(());
        }
        let dir = self.files.dir.clone();
        let _one_at_a_time = self.refreshing.lock();
        read_until_sound(&*self.files.vfs, &*self.files.runtime, &dir, |image| {
            if image.store.id != self.files.store {
                let detail = "another store has taken its place".to_owned();
                return Err(Error::NoStore { path: dir.clone(), detail });
            }
            let previous = Arc::clone(&self.superversion.load().version);
            let version = Arc::new(Version::from_state(&image.state, &previous, &self.tables)?);
            // A checkpoint of this handle makes files beside those.
            self.files.raise_next(image.next_number());
            let (memtable, upto) = (image.memtable, Some(image.last_seqno));
            *self.lifetime.lock() = image.state.counters;
            self.replace_view(|_| SuperVersion { memtable, immutables: Vec::new(), version, upto });
            Ok(())
        })
    }

    /// Whether the next opening would have too much to replay, so that closing should flush.
    fn should_flush(&self, side: &WriteSide) -> bool {
        let logs = side.writing.lock().memtable_logs.len();
        self.recovery.replayed_bytes > REPLAY_BYTES_MAX || logs >= LIVE_LOGS_MAX
    }

    /// After many unclean ends in a row nobody may come to close the store and flush.
    fn flush_if_many_logs(&self) {
        let Some(side) = &self.writer else { return };
        let mut writing = side.writing.lock();
        if self.recovery.clean || writing.memtable_logs.len() <= LIVE_LOGS_MAX {
            return;
        }
        if let Err(error) = self.rotate(side, &mut writing) {
            *side.background_error.lock() = Some(error);
        }
    }

    /// Flushes if the next opening would have much to replay, syncs, and closes.
    pub(super) fn close(&self) -> Result<()> {
        let Some(side) = &self.writer else { return Ok(()) };
        side.poison.check()?;
        let closed = self.close_flushed(side);
        if let Err(error) = &closed {
            // Dropping the handle must not mark as clean what could not be closed.
            side.poison.set(error);
        }
        closed
    }

    fn close_flushed(&self, side: &WriteSide) -> Result<()> {
        let tidied = self.tidy(side);
        failpoint("close_before_sync");
        // The log is as good as before: what was only buffered is made durable whatever became of the rest.
        self.sync()?;
        failpoint("close_after_sync");
        tidied?;
        self.finish(side)
    }

    /// Flushes and merges what the next opening should not find undone.
    fn tidy(&self, side: &WriteSide) -> Result<()> {
        if self.should_flush(side) {
            self.flush()?;
        }
        failpoint("close_after_flush");
        // After an error the next handle has a look; this one does not wait until it may try again.
        if self.counters.flushes.get() > 0 && self.counters.background_errors.get() == 0 {
            self.settle_small(side)?;
        }
        Ok(())
    }

    /// Does what is due while it is little: a loop of short processes would otherwise leave tables and
    /// nobody to merge them.
    fn settle_small(&self, side: &WriteSide) -> Result<()> {
        let debt = self.debt(&self.superversion.load().version);
        if debt.bytes > SETTLE_BYTES_MAX || side.compactions.is_closing() {
            return Ok(());
        }
        // Only what is due: what could wait is for those who wait for it.
        side.wake_compactor();
        self.wait_for_compactor(side, || side.compactions.is_settled())
    }

    /// Closes without a sync: what was promised is kept, buffered data stays buffered.
    pub(super) fn close_quietly(&self) {
        if let Some(side) = &self.writer {
            // After an error the log is left as it is, and the next opening recovers.
            let _ = self.finish(side);
        }
    }

    /// Lets the worker come to rest and says in the log that it was closed.
    fn finish(&self, side: &WriteSide) -> Result<()> {
        side.compactions.close();
        for worker in [&side.compactor, &side.flusher] {
            if let Some(worker) = worker.get() {
                worker.stop();
            }
        }
        self.tables.collect_garbage();
        let mut writing = side.writing.lock();
        // Rule 17: a store is never marked clean after an error.
        if !mutant("clean_after_a_failure") {
            side.poison.check()?;
            if let Some(error) = side.background_error.lock().clone() {
                return Err(error);
            }
        }
        // After a failed job the next opening had better look at everything.
        let failed =
            self.counters.background_errors.get() > 0 && !mutant("clean_after_a_failed_job");
        if !writing.wal.touched() || failed {
            return Ok(());
        }
        let closed = writing.wal.close();
        // Whatever happens now, this handle writes no more.
        side.poison.set(&Error::Poisoned("the store was closed".to_owned()));
        closed
    }
}
