//! One thread, a chosen order: each test drives the workers by hand and reads what they logged.

use std::sync::{OnceLock, mpsc};

use super::*;
use crate::runtime::Priority;

/// A worker that logs its name at each step and works as often as `work` says before it is idle.
fn logger(
    runtime: &InlineRuntime,
    name: &'static str,
    mut work: usize,
) -> (Arc<dyn Worker>, mpsc::Receiver<&'static str>) {
    let (send, receive) = mpsc::channel();
    let step = move || {
        let _ = send.send(name);
        work = work.saturating_sub(1);
        if work > 0 { Step::Worked } else { Step::Idle }
    };
    (runtime.spawn(name, Priority::Normal, Box::new(step)), receive)
}

/// The same seed gives the same numbers and the same times; the known first output of the
/// generator for seed 0 shows that it is SplitMix64 and not something like it.
#[test]
fn the_same_seed_gives_the_same_run() {
    let (one, two) = (InlineRuntime::new(7), InlineRuntime::new(7));
    for _ in 0..10 {
        assert_eq!(one.random_u64(), two.random_u64());
        assert_eq!(one.now_ms(), two.now_ms());
        assert_eq!(one.monotonic_us(), two.monotonic_us());
    }
    assert_eq!(InlineRuntime::new(0).random_u64(), 0xe220_a839_7b1d_cdaf);
    assert!(one.now_ms() < one.now_ms());
}

/// A wake alone runs nothing; `help` runs exactly one step and says whether it worked.
#[test]
fn help_runs_one_step_of_a_woken_worker() {
    let runtime = InlineRuntime::new(0);
    let (worker, log) = logger(&runtime, "w", 2);
    assert!(!worker.help(), "not woken yet");
    worker.wake();
    assert_eq!(log.try_iter().count(), 0);
    assert!(worker.help());
    assert!(!worker.help(), "the second step is idle");
    assert_eq!(log.try_iter().count(), 2);
    assert!(!worker.help());
    assert_eq!(log.try_iter().count(), 0);
}

/// Two woken workers: the choice picks which, and beyond their number it wraps around.
#[test]
fn a_test_chooses_who_steps() {
    let runtime = InlineRuntime::new(0);
    let (a, log_a) = logger(&runtime, "a", 9);
    let (b, log_b) = logger(&runtime, "b", 9);
    assert!(!runtime.step_one(0));
    a.wake();
    b.wake();
    assert_eq!(runtime.woken_count(), 2);
    for (choice, steps) in [(1, (0, 1)), (0, (1, 0)), (3, (0, 1)), (2, (1, 0))] {
        assert!(runtime.step_one(choice));
        assert_eq!((log_a.try_iter().count(), log_b.try_iter().count()), steps);
    }
    runtime.run_until_idle();
    assert_eq!((log_a.try_iter().count(), log_b.try_iter().count()), (7, 7));
    assert_eq!(runtime.woken_count(), 0);
}

/// The step helps and wakes its own worker: the help does nothing, the wake is not lost.
#[test]
fn a_worker_does_not_run_inside_itself() {
    let runtime = InlineRuntime::new(0);
    let itself: Arc<OnceLock<Arc<dyn Worker>>> = Arc::default();
    let (send, receive) = mpsc::channel();
    let mut steps = 0;
    let worker = runtime.spawn("self", Priority::Normal, {
        let itself = Arc::clone(&itself);
        Box::new(move || {
            steps += 1;
            let itself = itself.get().expect("set before the wake");
            if steps < 3 {
                itself.wake();
            }
            let _ = send.send((steps, itself.help()));
            Step::Idle
        })
    });
    assert!(itself.set(Arc::clone(&worker)).is_ok());
    worker.wake();
    runtime.run_until_idle();
    assert_eq!(receive.try_iter().collect::<Vec<_>>(), [(1, false), (2, false), (3, false)]);
}

/// Stopped and woken again, it does not step; its closure is dropped by `stop`, and likewise by
/// the drop of the handle.
#[test]
fn a_stopped_worker_drops_its_closure() {
    let runtime = InlineRuntime::new(0);
    let (worker, log) = logger(&runtime, "w", 9);
    worker.wake();
    worker.stop();
    worker.wake();
    runtime.run_until_idle();
    assert_eq!(log.try_recv(), Err(mpsc::TryRecvError::Disconnected));

    let (worker, log) = logger(&runtime, "w", 9);
    worker.wake();
    drop(worker);
    assert!(!runtime.step_one(0));
    assert_eq!(log.try_recv(), Err(mpsc::TryRecvError::Disconnected));
}

/// The step stops its own worker: that returns, and the closure goes when the step ends.
#[test]
fn stopping_from_within_a_step_only_asks() {
    let runtime = InlineRuntime::new(0);
    let itself: Arc<OnceLock<Arc<dyn Worker>>> = Arc::default();
    let (send, receive) = mpsc::channel();
    let worker = runtime.spawn("self", Priority::Normal, {
        let itself = Arc::clone(&itself);
        Box::new(move || {
            itself.get().expect("set before the wake").stop();
            let _ = send.send(());
            Step::Worked
        })
    });
    assert!(itself.set(Arc::clone(&worker)).is_ok());
    worker.wake();
    runtime.run_until_idle();
    assert_eq!(receive.try_recv(), Ok(()));
    assert_eq!(receive.try_recv(), Err(mpsc::TryRecvError::Disconnected));
}

/// A step that panics takes its worker with it, and `stop` still returns.
#[test]
fn a_panic_in_a_step_ends_the_worker() {
    let runtime = InlineRuntime::new(0);
    let worker = runtime.spawn("panics", Priority::Normal, Box::new(|| panic!("on purpose")));
    worker.wake();
    let help = std::panic::AssertUnwindSafe(|| worker.help());
    assert!(std::panic::catch_unwind(help).is_err());
    worker.wake();
    assert!(!worker.help());
    worker.stop();
}

/// `stop` in one thread waits for a step in another: by then the step has set its flag.
#[test]
fn stop_waits_for_a_step_in_another_thread() {
    let runtime = InlineRuntime::new(0);
    let (began, begun) = mpsc::channel();
    let done = Arc::new(AtomicU64::new(0));
    let worker = runtime.spawn("slow", Priority::Normal, {
        let done = Arc::clone(&done);
        Box::new(move || {
            let _ = began.send(());
            thread::park_timeout(std::time::Duration::from_millis(50));
            done.store(1, Ordering::SeqCst);
            Step::Worked
        })
    });
    worker.wake();
    thread::scope(|scope| {
        scope.spawn(|| worker.help());
        begun.recv().expect("the step began");
        worker.stop();
        assert_eq!(done.load(Ordering::SeqCst), 1);
        assert_eq!(Arc::strong_count(&done), 1);
    });
}
