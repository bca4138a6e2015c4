//! Runs the threads of a workload and watches them from outside.
//!
//! Each thread counts what it does; this one wakes ten times a second, adds up, tells whoever
//! watches, and ends the work when its time is over. It takes no part in the work.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use super::figures::Figures;
use super::process;
use super::work::{Controls, Job, Tally};
use crate::runtime::{Priority, Runtime, Step, Worker};
use crate::{Db, Result};

/// Between two looks at the work.
const TICK_US: u64 = 100_000;

const SECOND_US: u64 = 1_000_000;

/// How far the work has come.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Tick {
    /// Operations done.
    pub done: u64,
    /// Operations there are, if that is known.
    pub total: Option<u64>,
}

/// What happened in about one second of a workload.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Second {
    /// Seconds since the workload began, when this one ended.
    pub at: f64,
    /// Seconds it lasted.
    pub length: f64,
    /// Operations done in it.
    pub ops: u64,
    /// Bytes in the memtable and those that wait to be flushed.
    pub memtable_bytes: u64,
    /// Memtables that wait.
    pub immutable_memtables: u64,
    /// Tables in L0.
    pub l0_tables: u64,
    /// Bytes of all tables.
    pub table_bytes: u64,
    /// Bytes that compactions have yet to read.
    pub debt_bytes: u64,
    /// Microseconds for which writers were held back in this second.
    pub stall_us: u64,
    /// Memory of the process, if the system says.
    pub rss_bytes: Option<u64>,
}

impl Second {
    /// Operations a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.ops as f64 / self.length
    }
}

/// Whoever watches a workload.
pub trait Watch {
    /// About ten times a second, in the thread that called [`super::Bench::run`]. `false` ends the
    /// workload.
    fn tick(&mut self, tick: &Tick) -> bool;

    /// Once a second, and once more at the end.
    fn second(&mut self, second: &Second);
}

/// The work of a workload.
pub(super) struct Jobs {
    /// What is measured.
    pub(super) front: Vec<Job>,
    /// What goes on beside it until it ends.
    pub(super) back: Option<Job>,
    /// Operations of the front, if there is an end to them.
    pub(super) total: Option<u64>,
    /// When to end the front.
    pub(super) duration_us: Option<u64>,
}

/// What came of it.
pub(super) struct Ran {
    /// By thread.
    pub(super) tallies: Vec<Tally>,
    pub(super) background: Option<Tally>,
    pub(super) background_ops: Option<u64>,
    pub(super) worst_second: Option<f64>,
}

/// Runs the jobs, each on a thread of its own, until the front is done.
///
/// # Errors
/// The first that a job ended with.
pub(super) fn conduct(
    jobs: Jobs,
    runtime: &Arc<dyn Runtime>,
    watch: &mut dyn Watch,
) -> Result<Ran> {
    let Some(db) = jobs.front.first().map(|job| Arc::clone(&job.db)) else {
        return Ok(Ran {
            tallies: Vec::new(),
            background: None,
            background_ops: None,
            worst_second: None,
        });
    };
    let front = Crew::start(jobs.front, "bench", runtime);
    let back = Crew::start(jobs.back.into_iter().collect(), "bench-back", runtime);
    let mut seconds = Seconds::new(db);
    let mut tallies = Vec::new();
    let began_us = runtime.monotonic_us();
    let elapsed = || runtime.monotonic_us() - began_us;
    while tallies.len() < front.workers.len() {
        front.help();
        let pause_us = seconds.until_next(elapsed()).min(TICK_US);
        tallies.extend(front.wait(pause_us));
        let (now_us, done) = (elapsed(), front.done());
        let over = jobs.duration_us.is_some_and(|duration_us| now_us >= duration_us);
        let failed = tallies.iter().any(|(_, tally): &(usize, Tally)| tally.error.is_some());
        let wanted = watch.tick(&Tick { done, total: jobs.total });
        if over || failed || !wanted {
            front.stop();
        }
        seconds.look(now_us, done, tallies.len() == front.workers.len(), watch);
    }
    back.stop();
    back.help();
    let mut background: Vec<(usize, Tally)> = Vec::new();
    while background.len() < back.workers.len() {
        background.extend(back.wait(TICK_US));
    }
    tallies.sort_by_key(|(index, _)| *index);
    if let Some(error) =
        tallies.iter_mut().chain(&mut background).find_map(|(_, tally)| tally.error.take())
    {
        return Err(error);
    }
    let background = background.pop().map(|(_, tally)| tally);
    Ok(Ran {
        tallies: tallies.into_iter().map(|(_, tally)| tally).collect(),
        background_ops: background.as_ref().map(|tally| tally.ops),
        background,
        worst_second: seconds.worst(),
    })
}

/// The threads' results as one.
pub(super) fn sum(tallies: &[Tally]) -> Tally {
    let mut sum = Tally::new();
    for tally in tallies {
        sum.add(tally);
    }
    sum
}

/// Threads at work. Dropping it waits for them, so no thread outlives its workload.
struct Crew {
    workers: Vec<Arc<dyn Worker>>,
    controls: Vec<Arc<Controls>>,
    results: Receiver<(usize, Tally)>,
}

impl Crew {
    fn start(jobs: Vec<Job>, name: &str, runtime: &Arc<dyn Runtime>) -> Crew {
        let (sender, results) = mpsc::channel();
        let (mut workers, mut controls) = (Vec::new(), Vec::new());
        for (index, job) in jobs.into_iter().enumerate() {
            let control = Arc::new(Controls::default());
            let step = step(index, job, Arc::clone(&control), sender.clone());
            workers.push(runtime.spawn(&format!("{name}-{index}"), Priority::Normal, step));
            controls.push(control);
        }
        for worker in &workers {
            worker.wake();
        }
        Crew { workers, controls, results }
    }

    /// Works here and now where the runtime has no threads.
    fn help(&self) {
        for worker in &self.workers {
            worker.help();
        }
    }

    fn wait(&self, pause_us: u64) -> Option<(usize, Tally)> {
        match self.results.recv_timeout(Duration::from_micros(pause_us)) {
            Ok(result) => Some(result),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => panic!("a thread of the benchmark panicked"),
        }
    }

    fn done(&self) -> u64 {
        self.controls.iter().map(|control| control.done.load(Relaxed)).sum()
    }

    fn stop(&self) {
        for control in &self.controls {
            control.stop.store(true, Relaxed);
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.stop();
        for worker in &self.workers {
            worker.stop();
        }
    }
}

/// The job as a step function: the whole of it is one step.
fn step(
    index: usize,
    job: Job,
    controls: Arc<Controls>,
    results: Sender<(usize, Tally)>,
) -> crate::runtime::StepFn {
    let mut left = Some((job, results));
    Box::new(move || {
        if let Some((job, results)) = left.take() {
            let tally = job.run(&controls);
            // Nobody listens any more if another job failed.
            let _ = results.send((index, tally));
        }
        Step::Idle
    })
}

/// Cuts a workload into seconds.
struct Seconds {
    db: Arc<Db>,
    next_us: u64,
    last_us: u64,
    last_done: u64,
    last_stall_us: u64,
    told: u64,
    whole: u64,
    worst: f64,
}

impl Seconds {
    fn new(db: Arc<Db>) -> Seconds {
        let last_stall_us = Figures::of(&db.stats()).stall_us;
        Seconds {
            db,
            next_us: SECOND_US,
            last_us: 0,
            last_done: 0,
            last_stall_us,
            told: 0,
            whole: 0,
            worst: f64::INFINITY,
        }
    }

    fn until_next(&self, now_us: u64) -> u64 {
        self.next_us.saturating_sub(now_us).max(1000)
    }

    /// Tells of the second that has ended, if one has.
    fn look(&mut self, now_us: u64, done: u64, is_end: bool, watch: &mut dyn Watch) {
        let length_us = now_us - self.last_us;
        let is_whole = now_us >= self.next_us;
        // A splinter at the end says little, unless it is all there is.
        let is_last = is_end && (length_us > TICK_US || self.told == 0);
        if !is_whole && !is_last {
            return;
        }
        let length = length_us.max(1) as f64 / SECOND_US as f64;
        let second = self.measure(now_us, length, done - self.last_done);
        if is_whole {
            self.whole += 1;
            self.worst = self.worst.min(second.rate());
        }
        self.told += 1;
        (self.last_us, self.last_done) = (now_us, done);
        self.next_us = (now_us / SECOND_US + 1) * SECOND_US;
        watch.second(&second);
    }

    fn measure(&mut self, now_us: u64, length: f64, ops: u64) -> Second {
        let stats = self.db.stats();
        let figures = Figures::of(&stats);
        let stalled = figures.stall_us.saturating_sub(self.last_stall_us);
        self.last_stall_us = figures.stall_us;
        Second {
            at: now_us as f64 / SECOND_US as f64,
            length,
            ops,
            memtable_bytes: stats.memtable_bytes,
            immutable_memtables: stats.immutable_memtables,
            l0_tables: stats.levels[0].tables,
            table_bytes: stats.levels.iter().map(|level| level.bytes).sum(),
            debt_bytes: figures.debt_bytes,
            stall_us: stalled,
            rss_bytes: process::rss_bytes(),
        }
    }

    /// The least rate of a whole second, if there were two.
    fn worst(&self) -> Option<f64> {
        (self.whole >= 2).then_some(self.worst)
    }
}
