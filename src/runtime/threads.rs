//! The real runtime: the system's clocks and randomness, a thread for each worker.
//!
//! A worker's thread is started by its first wake, so that a process which needs none pays for
//! none; it steps until its step function is idle, then sleeps until woken. What must hold: a wake
//! during a step is never lost, and [`Worker::stop`] returns even if a step panicked.
//!
//! A worker of [`Priority::Idle`] gets the processor when no other thread wants it, or hardly ever:
//! it must hold no lock that an urgent thread waits for while it computes.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::thread::{self, JoinHandle, Thread};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use parking_lot::{Condvar, Mutex};
use rustix::rand::{GetRandomFlags, getrandom};

use crate::runtime::inline::InlineRuntime;
use crate::runtime::{Priority, Runtime, Step, StepFn, Worker};

/// System clocks, system randomness, threads.
#[derive(Clone, Debug)]
pub struct ThreadRuntime {
    start: Instant,
}

impl Default for ThreadRuntime {
    #[expect(clippy::disallowed_methods, reason = "this module is what the others go through")]
    fn default() -> ThreadRuntime {
        ThreadRuntime { start: Instant::now() }
    }
}

impl Runtime for ThreadRuntime {
    #[expect(clippy::disallowed_methods, reason = "this module is what the others go through")]
    fn now_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn monotonic_us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn monotonic_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn random_u64(&self) -> u64 {
        let mut bytes = [0; 8];
        match rustix::io::retry_on_intr(|| getrandom(&mut bytes, GetRandomFlags::empty())) {
            Ok(8) => u64::from_le_bytes(bytes),
            // A system without the call: the standard library has its own way to a random seed.
            _ => RandomState::new().build_hasher().finish(),
        }
    }

    fn spawn(&self, name: &str, priority: Priority, step: StepFn) -> Arc<dyn Worker> {
        let stage = Mutex::new(Stage::Waiting(name.to_owned(), priority, step));
        Arc::new(LazyWorker { stage })
    }

    #[expect(clippy::disallowed_methods, reason = "this module is what the others go through")]
    fn sleep_us(&self, us: u64) {
        thread::sleep(std::time::Duration::from_micros(us));
    }
}

/// A worker whose thread begins with its first wake.
struct LazyWorker {
    stage: Mutex<Stage>,
}

enum Stage {
    Waiting(String, Priority, StepFn),
    Running(Arc<dyn Worker>),
    Stopped,
}

impl LazyWorker {
    /// The worker with a thread, if it has begun. It is called without the stage locked, since a
    /// step may wake or stop its own worker.
    fn running(&self) -> Option<Arc<dyn Worker>> {
        match &*self.stage.lock() {
            Stage::Running(worker) => Some(Arc::clone(worker)),
            Stage::Waiting(..) | Stage::Stopped => None,
        }
    }

    fn begin(&self) {
        let mut stage = self.stage.lock();
        *stage = match std::mem::replace(&mut *stage, Stage::Stopped) {
            Stage::Waiting(name, priority, step) => Stage::Running(start(&name, priority, step)),
            other => other,
        };
    }
}

impl fmt::Debug for LazyWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LazyWorker").field("running", &self.running()).finish()
    }
}

impl Worker for LazyWorker {
    fn wake(&self) {
        self.begin();
        if let Some(worker) = self.running() {
            worker.wake();
        }
    }

    fn help(&self) -> bool {
        self.running().is_some_and(|worker| worker.help())
    }

    fn stop(&self) {
        if let Some(worker) = self.running() {
            return worker.stop();
        }
        // Dropped behind the lock: dropping a step function may do anything.
        let waiting = std::mem::replace(&mut *self.stage.lock(), Stage::Stopped);
        drop(waiting);
    }
}

/// Starts a worker's thread.
///
/// If the system refuses one, the worker is an inline one: its steps run in the threads that wait
/// for it ([`Worker::help`]), so work is slower but goes on.
fn start(name: &str, priority: Priority, step: StepFn) -> Arc<dyn Worker> {
    let shared = Arc::new(Shared::default());
    // A closure given to a thread that could not be made is lost, so the step is left here for the
    // thread to fetch.
    let parcel = Arc::new(Mutex::new(Some(step)));
    let (worker, step) = (Arc::clone(&shared), Arc::clone(&parcel));
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(move || {
        // Declared first, so dropped last: at rest means that the step is dropped too.
        let _rest = AtRest(&worker);
        if priority == Priority::Idle {
            yield_to_others();
        }
        let step = step.lock().take();
        if let Some(step) = step {
            run(&worker, step);
        }
    });
    match spawned {
        Ok(join) => Arc::new(ThreadWorker {
            thread: join.thread().clone(),
            shared,
            join: Mutex::new(Some(join)),
        }),
        Err(_) => {
            let step = parcel.lock().take().unwrap_or_else(|| Box::new(|| Step::Idle));
            InlineRuntime::new(0).spawn(name, priority, step)
        }
    }
}

/// Lets this thread run only when no other wants to.
///
/// On Linux that is `SCHED_IDLE`, for which nobody needs a privilege: a thread that wakes from its
/// `fdatasync` gets the processor at once instead of at the next tick. Elsewhere, or refused, the
/// thread stays as it is.
fn yield_to_others() {
    #[cfg(target_os = "linux")]
    {
        use thread_priority::{
            NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy,
            set_thread_priority_and_policy, thread_native_id,
        };
        let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
        let _ = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, policy);
    }
}

/// What a worker's thread and its handle share.
#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Any field of `state` became true.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    woken: bool,
    stopping: bool,
    at_rest: bool,
}

impl Shared {
    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
        self.changed.notify_all();
    }

    /// Waits for work; false when the worker is to stop.
    fn wait_for_work(&self) -> bool {
        let mut state = self.state.lock();
        while !state.woken && !state.stopping {
            self.changed.wait(&mut state);
        }
        // Taken back before the steps run: a wake from now on causes another round.
        state.woken = false;
        !state.stopping
    }

    fn is_stopping(&self) -> bool {
        self.state.lock().stopping
    }
}

/// The worker's thread.
fn run(shared: &Shared, mut step: StepFn) {
    while shared.wait_for_work() {
        while step() == Step::Worked && !shared.is_stopping() {}
    }
}

/// Reports the end of the thread however it comes about, a panic included.
struct AtRest<'a>(&'a Shared);

impl Drop for AtRest<'_> {
    fn drop(&mut self) {
        self.0.set(|state| state.at_rest = true);
    }
}

/// The handle. The thread holds only [`Shared`], so dropping the last handle stops it.
#[derive(Debug)]
struct ThreadWorker {
    thread: Thread,
    shared: Arc<Shared>,
    join: Mutex<Option<JoinHandle<()>>>,
}

impl Worker for ThreadWorker {
    fn wake(&self) {
        self.shared.set(|state| state.woken = true);
    }

    fn help(&self) -> bool {
        false
    }

    fn stop(&self) {
        self.shared.set(|state| state.stopping = true);
        if thread::current().id() == self.thread.id() {
            return;
        }
        let mut state = self.shared.state.lock();
        while !state.at_rest {
            self.shared.changed.wait(&mut state);
        }
        drop(state);
        let join = self.join.lock().take();
        if let Some(join) = join {
            // An error is the step's panic, which the panic hook has already reported.
            let _ = join.join();
        }
    }
}

impl Drop for ThreadWorker {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{OnceLock, mpsc};
    use std::time::Duration;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// Wakes a worker whose steps report three pieces of work: all three and the idle step come,
    /// then nothing until the next wake.
    #[test]
    fn a_woken_worker_steps_until_idle() {
        let (send, receive) = mpsc::channel();
        let mut count = 0;
        let worker = ThreadRuntime::default().spawn(
            "steps",
            Priority::Normal,
            Box::new(move || {
                count += 1;
                let name = thread::current().name().map(str::to_owned);
                send.send((count, name)).expect("the test listens");
                if count % 4 == 0 { Step::Idle } else { Step::Worked }
            }),
        );
        assert!(receive.recv_timeout(Duration::from_millis(20)).is_err(), "stepped unasked");
        for round in 0..2 {
            worker.wake();
            for step in 1..=4 {
                let (count, name) = receive.recv_timeout(PATIENCE).expect("a step");
                assert_eq!((count, name.as_deref()), (round * 4 + step, Some("steps")));
            }
            assert!(receive.recv_timeout(Duration::from_millis(20)).is_err());
        }
        assert!(!worker.help());
    }

    /// The step wakes its own worker and says that it is idle: it must be called again, or work
    /// that came in during a step would be left lying.
    #[test]
    fn a_wake_during_a_step_is_not_lost() {
        let (send, receive) = mpsc::channel();
        let itself: Arc<OnceLock<Arc<dyn Worker>>> = Arc::default();
        let mut left = 3;
        let worker = ThreadRuntime::default().spawn("again", Priority::Normal, {
            let itself = Arc::clone(&itself);
            Box::new(move || {
                send.send(left).expect("the test listens");
                left -= 1;
                if left > 0 {
                    itself.get().expect("set before the wake").wake();
                }
                Step::Idle
            })
        });
        assert!(itself.set(Arc::clone(&worker)).is_ok());
        worker.wake();
        for expected in [3, 2, 1] {
            assert_eq!(receive.recv_timeout(PATIENCE), Ok(expected));
        }
        worker.stop();
    }

    /// `stop` comes while a step is under way; afterwards the step has finished and the closure
    /// is gone, which the count of its captured `Arc` shows.
    #[test]
    fn stop_lets_the_step_finish_and_drops_the_closure() {
        let count = Arc::new(AtomicU64::new(0));
        let (send, receive) = mpsc::channel();
        let worker = ThreadRuntime::default().spawn("busy", Priority::Normal, {
            let count = Arc::clone(&count);
            Box::new(move || {
                let _ = send.send(());
                thread::park_timeout(Duration::from_millis(50));
                count.fetch_add(1, Ordering::SeqCst);
                Step::Worked
            })
        });
        worker.wake();
        receive.recv_timeout(PATIENCE).expect("a step began");
        worker.stop();
        let finished = count.load(Ordering::SeqCst);
        assert!(finished >= 1);
        assert_eq!(Arc::strong_count(&count), 1);
        worker.wake();
        worker.stop();
        assert_eq!(count.load(Ordering::SeqCst), finished);
    }

    /// The fields of a thread's `stat` behind its name, which ends with the last parenthesis: the
    /// thirty-ninth is its scheduling policy (see `proc_pid_stat(5)`, which counts from the pid).
    #[cfg(target_os = "linux")]
    #[test]
    fn idle_workers_and_only_they_give_way() {
        for (priority, expected) in [(Priority::Idle, "5"), (Priority::Normal, "0")] {
            let (send, receive) = mpsc::channel();
            let step = move || {
                let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("its stat");
                let fields = stat.rsplit(')').next().expect("fields");
                let policy = fields.split_whitespace().nth(38).map(str::to_owned);
                let _ = send.send(policy);
                Step::Idle
            };
            let worker = ThreadRuntime::default().spawn("policy", priority, Box::new(step));
            worker.wake();
            let policy = receive.recv_timeout(PATIENCE).expect("a step");
            assert_eq!(policy.as_deref(), Some(expected), "{priority:?}");
        }
    }

    /// A panicking step ends its worker; `stop` and drop return all the same.
    #[test]
    fn a_panic_in_a_step_does_not_hang_stop() {
        let worker = ThreadRuntime::default().spawn(
            "panics",
            Priority::Normal,
            Box::new(|| panic!("on purpose")),
        );
        worker.wake();
        let (send, receive) = mpsc::channel();
        // In a thread of its own, so that a stop that hangs is a failure and not a hang.
        let stopping = thread::Builder::new().spawn(move || {
            worker.stop();
            drop(worker);
            send.send(())
        });
        assert_eq!(receive.recv_timeout(PATIENCE), Ok(()));
        assert!(stopping.is_ok());
    }

    /// The step stops its own worker, which would wait for itself for ever if it waited.
    #[test]
    fn stopping_from_within_a_step_only_asks() {
        let (send, receive) = mpsc::channel();
        let itself: Arc<OnceLock<Arc<dyn Worker>>> = Arc::default();
        let worker = ThreadRuntime::default().spawn("own end", Priority::Normal, {
            let itself = Arc::clone(&itself);
            Box::new(move || {
                itself.get().expect("set before the wake").stop();
                let _ = send.send(());
                Step::Worked
            })
        });
        assert!(itself.set(Arc::clone(&worker)).is_ok());
        worker.wake();
        assert_eq!(receive.recv_timeout(PATIENCE), Ok(()));
        assert_eq!(receive.recv_timeout(PATIENCE), Err(mpsc::RecvTimeoutError::Disconnected));
        worker.stop();
    }

    /// Dropping the only handle ends the thread, which drops what the closure holds.
    #[test]
    fn dropping_the_handle_stops_the_worker() {
        let held = Arc::new(());
        let worker = ThreadRuntime::default().spawn("dropped", Priority::Normal, {
            let held = Arc::clone(&held);
            Box::new(move || {
                let _ = &held;
                Step::Idle
            })
        });
        worker.wake();
        drop(worker);
        assert_eq!(Arc::strong_count(&held), 1);
    }

    /// A plausible date, a clock that does not run backwards, numbers that differ.
    #[test]
    fn clocks_and_randomness_work() {
        let runtime = ThreadRuntime::default();
        assert!(runtime.now_ms() > 1_600_000_000_000);
        let earlier = runtime.monotonic_us();
        assert!(runtime.monotonic_us() >= earlier);
        assert_ne!(runtime.random_u64(), runtime.random_u64());
    }
}
