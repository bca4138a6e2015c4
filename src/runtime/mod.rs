//! Clock, randomness and background work as the engine sees them.
//!
//! Background work is a *step function*: a closure that does one bounded piece of work and says
//! whether there is more. [`threads`] runs each on a thread of its own; [`inline`] keeps them until
//! somebody asks, so that a test runs a whole history in one thread and in an order it chooses.

pub mod inline;
pub mod limits;
pub mod ordered;
pub mod threads;

use std::fmt;
use std::sync::Arc;

/// What a step function reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A piece of work was done; there may be more.
    Worked,
    /// Nothing to do until [`Worker::wake`].
    Idle,
}

/// A step function: one bounded piece of background work at each call.
pub type StepFn = Box<dyn FnMut() -> Step + Send>;

/// A background worker. Dropping the handle stops it as [`Worker::stop`] does.
pub trait Worker: Send + Sync + fmt::Debug {
    /// Says that there may be work. Never blocks, never runs a step in the caller's thread.
    fn wake(&self);

    /// Lets the worker run while the caller waits for it: an inline worker runs one step here and
    /// now and returns `true` if it worked; a worker with a thread of its own does nothing and
    /// returns `false` (the caller then waits on a condition variable). Call it without locks held.
    fn help(&self) -> bool;

    /// Lets a running step finish and runs no other; returns when the worker is at rest and its
    /// closure is dropped. Called from within its own step, it only asks.
    fn stop(&self);
}

/// How urgent a worker's steps are to the processor's scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// As the threads that call the engine.
    Normal,
    /// Only when nothing else wants to run.
    Idle,
}

/// Clock, randomness, spawning.
pub trait Runtime: Send + Sync + fmt::Debug {
    /// Wall-clock time in milliseconds since 1970. For people; nothing depends on its order.
    fn now_ms(&self) -> u64;

    /// Monotonic time in microseconds, for durations.
    fn monotonic_us(&self) -> u64;

    /// The same in nanoseconds, for what takes less than a few microseconds.
    fn monotonic_ns(&self) -> u64 {
        self.monotonic_us().saturating_mul(1000)
    }

    /// 64 random bits.
    fn random_u64(&self) -> u64;

    /// Starts a background worker; `name` is what a debugger shows. It first steps when woken.
    fn spawn(&self, name: &str, priority: Priority, step: StepFn) -> Arc<dyn Worker>;

    /// Lets `us` microseconds pass in the calling thread.
    fn sleep_us(&self, us: u64);
}
