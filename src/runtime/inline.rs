//! A runtime for tests: everything in one thread, in an order the test chooses, the same each time.
//!
//! Workers are kept in a list. A step runs only inside [`Worker::help`],
//! [`InlineRuntime::step_one`] or [`InlineRuntime::run_until_idle`], always in the caller's
//! thread and with none of this module's locks held: it may wake, help or stop any worker.
//! A worker never runs inside itself; it may run inside a step of another, as it would beside it
//! on a thread of its own.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{self, ThreadId};

use parking_lot::{Condvar, Mutex};

use crate::runtime::{Priority, Runtime, Step, StepFn, Worker};

/// The wall clock before its first tick, in milliseconds since 1970: 2023-11-14T22:13:20Z.
const EPOCH_MS: u64 = 1_700_000_000_000;

/// A deterministic runtime. Clones are the same runtime.
#[derive(Clone, Debug)]
pub struct InlineRuntime {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Calls to either clock; each is one millisecond later than the one before.
    ticks: AtomicU64,
    random: Mutex<SplitMix64>,
    /// In the order they were spawned; those whose handle is gone are swept out at a spawn.
    workers: Mutex<Vec<Weak<Core>>>,
}

impl InlineRuntime {
    /// A runtime whose random numbers follow from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> InlineRuntime {
        let random = Mutex::new(SplitMix64::new(seed));
        let inner = Inner { ticks: AtomicU64::new(0), random, workers: Mutex::default() };
        InlineRuntime { inner: Arc::new(inner) }
    }

    /// How many workers are woken and not inside a step: what [`InlineRuntime::step_one`] chooses
    /// from.
    #[must_use]
    pub fn woken_count(&self) -> usize {
        self.woken().len()
    }

    /// Runs one step of a woken worker, the `index_choice`th modulo their number, in the order
    /// they were spawned. False if none is woken.
    pub fn step_one(&self, index_choice: usize) -> bool {
        let woken = self.woken();
        if woken.is_empty() {
            return false;
        }
        woken[index_choice % woken.len()].step().is_some()
    }

    /// Runs the woken workers in turn until none is woken.
    pub fn run_until_idle(&self) {
        let mut turn = 0;
        while self.step_one(turn) {
            turn += 1;
        }
    }

    fn woken(&self) -> Vec<Arc<Core>> {
        let mut workers: Vec<_> =
            self.inner.workers.lock().iter().filter_map(Weak::upgrade).collect();
        workers.retain(|worker| worker.is_ready());
        workers
    }

    fn tick(&self) -> u64 {
        self.inner.ticks.fetch_add(1, Ordering::Relaxed)
    }
}

impl Runtime for InlineRuntime {
    fn now_ms(&self) -> u64 {
        EPOCH_MS + self.tick()
    }

    fn monotonic_us(&self) -> u64 {
        self.tick() * 1000
    }

    fn random_u64(&self) -> u64 {
        self.inner.random.lock().next_u64()
    }

    fn spawn(&self, name: &str, _priority: Priority, step: StepFn) -> Arc<dyn Worker> {
        let state = State { woken: false, stopped: false, running: None, step: Some(step) };
        let core = Arc::new(Core {
            name: name.to_owned(),
            state: Mutex::new(state),
            rest: Condvar::new(),
        });
        let mut workers = self.inner.workers.lock();
        workers.retain(|worker| worker.strong_count() > 0);
        workers.push(Arc::downgrade(&core));
        Arc::new(InlineWorker { core })
    }

    fn sleep_us(&self, us: u64) {
        self.inner.ticks.fetch_add(us.div_ceil(1000), Ordering::Relaxed);
    }
}

/// One worker.
struct Core {
    name: String,
    state: Mutex<State>,
    /// `running` became none.
    rest: Condvar,
}

struct State {
    woken: bool,
    stopped: bool,
    /// The thread the step runs in just now.
    running: Option<ThreadId>,
    /// Away while it runs, and for good once stopped.
    step: Option<StepFn>,
}

impl Core {
    fn is_ready(&self) -> bool {
        let state = self.state.lock();
        state.woken && !state.stopped && state.step.is_some()
    }

    /// Runs one step if woken; none if it was not, or is already inside a step.
    fn step(&self) -> Option<Step> {
        let mut step = self.begin()?;
        let mut running = Running { core: self, worked: None, step: None };
        let result = step();
        running.worked = Some(result == Step::Worked);
        running.step = Some(step);
        drop(running);
        Some(result)
    }

    fn begin(&self) -> Option<StepFn> {
        let mut state = self.state.lock();
        if !state.woken || state.stopped {
            return None;
        }
        let step = state.step.take()?;
        // Taken back before the step runs: a wake from now on causes another step.
        state.woken = false;
        state.running = Some(thread::current().id());
        Some(step)
    }

    fn stop(&self) {
        let mut state = self.state.lock();
        state.stopped = true;
        while let Some(thread) = state.running
            && thread != thread::current().id()
        {
            self.rest.wait(&mut state);
        }
        // Dropped without the lock, because what the closure holds may call us.
        let step = state.step.take();
        drop(state);
        drop(step);
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InlineWorker").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A step under way; its drop puts the step function back, or ends the worker if it panicked.
struct Running<'a> {
    core: &'a Core,
    /// What the step reported; none after a panic.
    worked: Option<bool>,
    step: Option<StepFn>,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let stopped = self.core.state.lock().stopped;
        if stopped || self.worked.is_none() {
            // At rest means that the closure is dropped too, so this comes first.
            self.step = None;
        }
        let mut state = self.core.state.lock();
        state.stopped |= self.worked.is_none();
        state.woken |= self.worked == Some(true);
        state.step = self.step.take();
        state.running = None;
        drop(state);
        self.core.rest.notify_all();
    }
}

/// The handle; the runtime's list holds only the core, so that dropping the handle stops it.
#[derive(Debug)]
struct InlineWorker {
    core: Arc<Core>,
}

impl Worker for InlineWorker {
    fn wake(&self) {
        self.core.state.lock().woken = true;
    }

    fn help(&self) -> bool {
        self.core.step() == Some(Step::Worked)
    }

    fn stop(&self) {
        self.core.stop();
    }
}

impl Drop for InlineWorker {
    fn drop(&mut self) {
        self.core.stop();
    }
}

/// The SplitMix64 generator: small, fast, and the same for ever from the same seed.
#[derive(Clone, Debug)]
pub struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    /// A generator that starts at `seed`; any seed is as good as another.
    #[must_use]
    pub fn new(seed: u64) -> SplitMix64 {
        SplitMix64 { state: seed }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which must not be 0. Not quite uniform: low numbers are favoured
    /// by at most `bound / 2^64`.
    pub fn below(&mut self, bound: u64) -> u64 {
        debug_assert!(bound > 0);
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests;
