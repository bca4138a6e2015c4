//! The benchmark suite: the fixed workloads, and the usual ones under their usual names.
//!
//! A workload is a stream of operations that follows from the seed alone ([`stream`]), run by one or
//! more threads on an open store (`work`), watched from outside while it runs (`conduct`), and told
//! in a [`Report`].
//!
//! What must hold: measuring does not change what is measured. Throughput comes from the time
//! between first and last operation; a clock is read around every so-manieth operation only
//! ([`Workload::sampled_every`]); keys and values cost a few nanoseconds each. And a fast wrong
//! answer does not count: reads say how many keys they found, and [`Bench::verify`] compares the
//! store with the keys that the streams have written.

mod conduct;
mod figures;
mod latency;
mod process;
pub mod stream;
mod upkeep;
pub mod values;
mod verify;
mod work;
mod workload;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use conduct::{Second, Tick, Watch};
pub use figures::Figures;
pub use latency::Percentiles;
pub use process::Usage;
pub use verify::Verdict;
pub use workload::{Kind, Workload};

use crate::runtime::Runtime;
use crate::{Db, Durability, Error, Result};
use stream::{KEY_SIZE_MIN, Lane, Share, Stream};
use values::Values;
use work::{Job, Task};

/// Seeds of one workload are so far apart that its threads have room between them.
const LANES_PER_WORKLOAD: u64 = 1024;

/// What the workloads of one run have in common.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Keys there are: the numbers below it. Also the operations of a workload, unless `ops` says
    /// otherwise.
    pub num: u64,
    /// Operations of a workload that does not walk over the keys once; they are divided among the
    /// threads.
    pub ops: Option<u64>,
    /// Milliseconds after which a workload ends; those that do not walk then have no other end.
    pub duration_ms: Option<u64>,
    /// Bytes of a key, 8 at least.
    pub key_size: usize,
    /// Bytes of a value, if it is not the workload's own.
    pub value_size: Option<usize>,
    /// Threads.
    pub threads: u64,
    /// Writes that are committed together.
    pub batch: u64,
    /// Whether writes are synced.
    pub sync: bool,
    /// What all choices follow from.
    pub seed: u64,
    /// Of so many operations one is timed: 0 for none; none for the workload's own.
    pub sample_every: Option<u64>,
    /// Whether the store is taken as it is: nothing is emptied, nothing loaded unasked.
    pub use_existing: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            num: 1_000_000,
            ops: None,
            duration_ms: None,
            key_size: 16,
            value_size: None,
            threads: 1,
            batch: 1,
            sync: false,
            seed: 1,
            sample_every: None,
            use_existing: false,
        }
    }
}

impl Settings {
    /// Whether a run with these makes sense.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] with the reason.
    pub fn check(&self) -> Result<()> {
        let refuse = |why: &str| Err(Error::InvalidArgument(why.to_owned()));
        if self.num == 0 || self.threads == 0 || self.batch == 0 {
            return refuse("the number of keys, of threads and of writes in a batch is 1 or more");
        }
        if self.key_size < KEY_SIZE_MIN || self.key_size >= crate::KEY_SIZE_MAX {
            return refuse("a key here has 8 to 65534 bytes");
        }
        if self.value_size.is_some_and(|size| size > crate::VALUE_SIZE_MAX) {
            return refuse("a value has at most 256 MiB");
        }
        if self.threads >= LANES_PER_WORKLOAD / 2 {
            return refuse("the number of threads is at most 511");
        }
        Ok(())
    }

    fn durability(&self, workload: Workload) -> Durability {
        let synced = self.sync || workload == Workload::FillSync;
        if synced { Durability::Sync } else { Durability::Buffered }
    }

    /// Keys that the workload draws from.
    fn space(&self, workload: Workload) -> u64 {
        // As elsewhere: a thousandth of the keys, or it would take forever.
        if workload == Workload::FillSync { (self.num / 1000).max(1) } else { self.num }
    }

    fn ops(&self, workload: Workload) -> u64 {
        match (self.ops, self.duration_ms) {
            _ if workload.walks() => self.space(workload),
            (Some(ops), _) => ops,
            (None, Some(_)) => u64::MAX,
            (None, None) => self.space(workload),
        }
    }

    fn sample_every(&self, workload: Workload) -> u64 {
        let slow = self.durability(workload) == Durability::Sync && workload.writes();
        self.sample_every.unwrap_or(if slow { 1 } else { workload.sampled_every() })
    }
}

/// What a workload did and what it took.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// Which one.
    pub workload: Workload,
    /// Operations: pairs for a scan, seeks for a seek with its steps.
    pub ops: u64,
    /// Seconds from the first to the last.
    pub seconds: f64,
    /// Of the keys asked for, how many were there.
    pub found: Option<u64>,
    /// How many operations asked for a key.
    pub gets: u64,
    /// Bytes of keys and values that were written and read.
    pub bytes: u64,
    /// Whether writes were synced; none without writes.
    pub durability: Option<Durability>,
    /// One operation of so many was timed; 0 for none.
    pub sampled_every: u64,
    /// Latencies, if any operation was timed.
    pub latency: Option<Percentiles>,
    /// The least operations a second in any whole second, if there were two of them.
    pub worst_second: Option<f64>,
    /// Writes of the thread beside those that are measured.
    pub background_ops: Option<u64>,
    /// What the store did meanwhile.
    pub figures: Figures,
    /// What the process used meanwhile.
    pub usage: Usage,
}

/// How a store is opened; `true` asks for an empty one in place of what this run has made so far.
pub type Opener = Box<dyn FnMut(bool) -> Result<Db>>;

/// A run: one store at a time, one workload after another.
pub struct Bench {
    settings: Settings,
    runtime: Arc<dyn Runtime>,
    opener: Opener,
    db: Option<Arc<Db>>,
    /// Workloads run so far, for seeds of their own.
    run_count: u64,
    /// What has been written since the store was empty; none if it was not empty when it came.
    written: Option<Vec<Written>>,
}

/// A workload that has written, so that it can be followed again.
struct Written {
    workload: Workload,
    /// The streams, and how many operations were taken from each.
    streams: Vec<(Stream, u64)>,
    value_size: usize,
}

impl Bench {
    /// A run that has not opened its store yet.
    ///
    /// # Errors
    /// As [`Settings::check`].
    pub fn new(settings: Settings, runtime: Arc<dyn Runtime>, opener: Opener) -> Result<Bench> {
        settings.check()?;
        Ok(Bench { settings, runtime, opener, db: None, run_count: 0, written: None })
    }

    /// The workload that must be run first, so that this one finds what it needs.
    ///
    /// One that reads an empty store is preceded by a load of all keys, and so is a fixed one that
    /// finds other keys or values than its own.
    ///
    /// # Errors
    /// Those of opening the store.
    pub fn prepare(&mut self, workload: Workload) -> Result<Option<Workload>> {
        if self.settings.use_existing || !workload.needs_data() {
            return Ok(None);
        }
        let is_empty = self.open()?.stats().last_seqno.0 == 0;
        let wanted = self.value_size(workload);
        let others = |all: &Vec<Written>| {
            let loaded = |one: &Written| one.workload.fills_all() && one.value_size == wanted;
            let deletes = |one: &Written| one.workload == Workload::DeleteRandom;
            !all.first().is_some_and(loaded) || all.iter().any(deletes)
        };
        let wrong = workload.is_fixed() && self.written.as_ref().is_some_and(others);
        Ok((is_empty || wrong).then_some(Workload::FillUniqueRandom))
    }

    /// Runs a workload; the report of a load that `prepare` asked for is made by running that.
    /// `like` lends a load the size of its values.
    ///
    /// # Errors
    /// The store's.
    pub fn run(
        &mut self,
        workload: Workload,
        like: Option<Workload>,
        watch: &mut dyn Watch,
    ) -> Result<Report> {
        let is_fresh = workload.is_fresh() && !self.settings.use_existing;
        let db = if is_fresh { self.begin_empty()? } else { self.open()? };
        process::begin_peak();
        let (figures, usage) = (Figures::of(&db.stats()), Usage::now());
        self.run_count += 1;
        let value_size = self.value_size(like.unwrap_or(workload));
        let ran = match workload.kind() {
            Kind::Ops | Kind::Scan => self.work(&db, workload, value_size, watch)?,
            Kind::Upkeep => upkeep::run(&db, workload, &self.runtime, watch)?,
        };
        let tally = conduct::sum(&ran.tallies);
        let asks = workload.asks();
        Ok(Report {
            workload,
            ops: tally.ops,
            seconds: tally.seconds(),
            found: asks.then_some(tally.found),
            gets: tally.gets,
            bytes: tally.bytes,
            durability: workload.writes().then(|| self.settings.durability(workload)),
            sampled_every: self.settings.sample_every(workload),
            latency: tally.latency.percentiles(),
            worst_second: ran.worst_second,
            background_ops: ran.background_ops,
            figures: Figures::of(&db.stats()).since(&figures),
            usage: Usage::now().since(&usage),
        })
    }

    /// Compares the store with the keys that were written, and a sample of gets with the scan.
    ///
    /// # Errors
    /// The store's.
    pub fn verify(&mut self) -> Result<Verdict> {
        let db = self.open()?;
        let expected = self.written.as_deref().map(|all| verify::expected(self.settings.num, all));
        verify::verify(&db, self.settings.key_size, expected.as_ref())
    }

    /// The store, opened if it was not yet.
    ///
    /// # Errors
    /// Those of opening it.
    pub fn open(&mut self) -> Result<Arc<Db>> {
        if let Some(db) = &self.db {
            return Ok(Arc::clone(db));
        }
        let db = Arc::new((self.opener)(false)?);
        self.written = (db.stats().last_seqno.0 == 0).then(Vec::new);
        self.db = Some(Arc::clone(&db));
        Ok(db)
    }

    /// Closes the store.
    ///
    /// # Errors
    /// The store's.
    pub fn close(&mut self) -> Result<()> {
        match self.db.take().map(Arc::try_unwrap) {
            Some(Ok(db)) => db.close(),
            // Somebody else still holds it and closes it by letting go.
            Some(Err(_)) | None => Ok(()),
        }
    }

    /// An empty store: the one at hand, or a new one in place of what this run has made.
    fn begin_empty(&mut self) -> Result<Arc<Db>> {
        let db = self.open()?;
        if db.stats().last_seqno.0 == 0 {
            return Ok(db);
        }
        if self.written.is_none() {
            return Err(Error::InvalidArgument("the store is not empty".to_owned()));
        }
        drop(db);
        self.close()?;
        let db = Arc::new((self.opener)(true)?);
        self.db = Some(Arc::clone(&db));
        self.written = Some(Vec::new());
        Ok(db)
    }

    fn value_size(&self, workload: Workload) -> usize {
        self.settings.value_size.unwrap_or(workload.value_size())
    }

    /// Runs a workload that has operations of its own, and remembers what it wrote.
    fn work(
        &mut self,
        db: &Arc<Db>,
        workload: Workload,
        value_size: usize,
        watch: &mut dyn Watch,
    ) -> Result<conduct::Ran> {
        let values = Values::new(value_size);
        let mut jobs = self.jobs(db, workload, &values);
        let streams: Vec<Option<Stream>> =
            jobs.front.iter().chain(&jobs.back).map(|job| job.task.stream().cloned()).collect();
        jobs.duration_us = self.settings.duration_ms.map(|ms| ms.saturating_mul(1000));
        let ran = conduct::conduct(jobs, &self.runtime, watch)?;
        if let Some(written) = &mut self.written
            && (workload.writes() || ran.background_ops.is_some())
        {
            let taken = ran.tallies.iter().chain(&ran.background).map(|tally| tally.taken);
            let streams = streams.into_iter().flatten().zip(taken).collect();
            written.push(Written { workload, streams, value_size });
        }
        Ok(ran)
    }

    fn jobs(&self, db: &Arc<Db>, workload: Workload, values: &Values) -> conduct::Jobs {
        let settings = &self.settings;
        let total = settings.ops(workload);
        let job = |task: Task, sample_every: u64| Job {
            db: Arc::clone(db),
            task,
            key_size: settings.key_size,
            values: values.clone(),
            batch: settings.batch,
            durability: settings.durability(workload),
            sample_every,
            clock: Arc::clone(&self.runtime),
        };
        let every = settings.sample_every(workload);
        let space = settings.space(workload);
        if let Some(scan) = workload.scan() {
            // One walk, whatever the number of threads.
            let front = vec![job(Task::Scan(scan), every)];
            return conduct::Jobs { front, back: None, total: None, duration_us: None };
        }
        let lane = |index| Lane { seed: settings.seed, index };
        let first = self.run_count * LANES_PER_WORKLOAD;
        let front = (0..settings.threads)
            .map(|thread| {
                let share = Share::of(thread, settings.threads, total, space);
                job(Task::Stream(Stream::new(workload, lane(first + thread), share)), every)
            })
            .collect();
        let back = (workload == Workload::ReadWhileWriting).then(|| {
            let lane = lane(first + LANES_PER_WORKLOAD / 2);
            let share = Share::of(0, 1, u64::MAX, space);
            job(Task::Stream(Stream::new(Workload::Overwrite, lane, share)), 0)
        });
        let total = (total != u64::MAX).then_some(total);
        conduct::Jobs { front, back, total, duration_us: None }
    }
}
