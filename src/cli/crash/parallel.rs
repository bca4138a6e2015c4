//! Independent tasks on all processors.
#![allow(clippy::disallowed_methods, reason = "the watching thread sleeps between two looks")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::crash::oracle::Broken;

/// How often the watching thread looks.
const LOOK: Duration = Duration::from_millis(50);

/// What came of the tasks.
pub(super) struct Ended<T, F> {
    /// The sum over those that went well.
    pub(super) sum: T,
    /// The failure of the lowest number.
    pub(super) failure: Option<(u64, F)>,
    /// All tasks were done.
    pub(super) is_complete: bool,
}

/// Runs tasks 0 to `count`, until one fails or `look` says stop; `look` gets the sum so far.
pub(super) fn run<T: Default + Copy + Send, F: Send>(
    count: u64,
    task: impl Fn(u64) -> Result<T, F> + Sync,
    join: impl Fn(&mut T, T) + Sync,
    mut look: impl FnMut(u64, &T) -> bool,
) -> Ended<T, F> {
    let (next, done, stop) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let sum = Mutex::new(T::default());
    let failure: Mutex<Option<(u64, F)>> = Mutex::new(None);
    let work = || {
        while !stop.load(Ordering::SeqCst) {
            let number = next.fetch_add(1, Ordering::SeqCst);
            if number >= count {
                return;
            }
            match task(number) {
                Ok(part) => {
                    let mut sum = sum.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                    join(&mut sum, part);
                    done.fetch_add(1, Ordering::SeqCst);
                }
                Err(found) => {
                    let mut failure = failure.lock().unwrap_or_else(|p| p.into_inner());
                    if failure.as_ref().is_none_or(|(other, _)| number < *other) {
                        *failure = Some((number, found));
                    }
                    stop.store(true, Ordering::SeqCst);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        while workers.iter().any(|worker| !worker.is_finished()) {
            std::thread::sleep(LOOK);
            let so_far = *sum.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            if look(done.load(Ordering::SeqCst), &so_far) {
                stop.store(true, Ordering::SeqCst);
            }
        }
    });
    Ended {
        sum: sum.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()),
        failure: failure.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()),
        is_complete: done.load(Ordering::SeqCst) == count,
    }
}

/// Runs a task in which the engine may panic: that is a broken promise too.
pub(super) fn guarded<T, F>(
    task: impl FnOnce() -> Result<T, F>,
    failure: impl FnOnce(Broken) -> F,
) -> Result<T, F> {
    catch_unwind(AssertUnwindSafe(task)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
        Err(failure(Broken::new("no panic", text)))
    })
}
