//! An ingest beside somebody who waits for the compactor.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

use beachdb::runtime::threads::ThreadRuntime;
use beachdb::runtime::{Priority, Runtime, StepFn, Worker};
use beachdb::vfs::sim::SimVfs;
use beachdb::{Options, Result};

use super::{ingest, value};
use crate::corners::hook::HookVfs;
use crate::history::DIR;

/// Called when somebody who waits for a worker offers it help.
type Hook = Arc<dyn Fn() + Send + Sync>;

/// Threads, but whoever waits for one of them is held up for a moment.
struct Held {
    inner: ThreadRuntime,
    hook: Hook,
}

struct HeldWorker {
    inner: Arc<dyn Worker>,
    hook: Hook,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held")
    }
}

impl fmt::Debug for HeldWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HeldWorker")
    }
}

impl Runtime for Held {
    fn now_ms(&self) -> u64 {
        self.inner.now_ms()
    }
    fn monotonic_us(&self) -> u64 {
        self.inner.monotonic_us()
    }
    fn random_u64(&self) -> u64 {
        self.inner.random_u64()
    }
    fn spawn(&self, name: &str, priority: Priority, step: StepFn) -> Arc<dyn Worker> {
        let inner = self.inner.spawn(name, priority, step);
        Arc::new(HeldWorker { inner, hook: Arc::clone(&self.hook) })
    }
    fn sleep_us(&self, us: u64) {
        self.inner.sleep_us(us);
    }
}

impl Worker for HeldWorker {
    fn wake(&self) {
        self.inner.wake();
    }
    fn help(&self) -> bool {
        (self.hook)();
        self.inner.help()
    }
    fn stop(&self) {
        self.inner.stop();
    }
}

/// Somebody has just seen that the compactor is not at rest and goes on to wait for it; at that very
/// moment an ingest is in the middle of its edit, and takes long. Neither waits for the other: both
/// come to their end.
#[test]
fn an_ingest_and_a_wait_for_the_compactor_do_not_wait_for_each_other() -> Result<()> {
    let armed = Arc::new(AtomicBool::new(false));
    let (begin, begun) = mpsc::channel::<()>();
    let (publish, published) = mpsc::channel::<()>();
    let published = Mutex::new(published);
    let (arm, disarm) = (Arc::clone(&armed), Arc::clone(&armed));
    let vfs = HookVfs::new(SimVfs::new(), move |call, path, _| {
        let is_edit = call == "sync" && path.to_string_lossy().contains("MANIFEST");
        if is_edit && arm.load(Ordering::Acquire) {
            let _ = publish.send(());
            thread::park_timeout(Duration::from_millis(200));
        }
        Ok(())
    });
    let hook = move || {
        if disarm.load(Ordering::Acquire) && begin.send(()).is_ok() {
            let _ = published.lock().recv_timeout(Duration::from_secs(5));
            // What it waited for lies before; the ingest is held a little longer.
            disarm.store(false, Ordering::Release);
        }
    };
    let runtime = Held { inner: ThreadRuntime::default(), hook: Arc::new(hook) };
    let options = Options::new().vfs(Arc::new(vfs)).runtime(Arc::new(runtime));
    let db = Arc::new(options.open(Path::new(DIR))?);
    db.put("a", "old")?;
    db.flush()?;
    db.wait_for_compactions()?;
    let (done, ended) = mpsc::channel();
    armed.store(true, Ordering::Release);
    let (waiter, told) = (Arc::clone(&db), done.clone());
    let waits = thread::Builder::new().spawn(move || told.send(waiter.wait_for_compactions()));
    let ingester = Arc::clone(&db);
    let ingests = thread::Builder::new().spawn(move || {
        begun.recv_timeout(Duration::from_secs(5)).expect("somebody waits");
        done.send(ingest(&ingester, &["m"], "taken in").map(drop))
    });
    assert!(waits.is_ok() && ingests.is_ok());
    for _ in 0..2 {
        ended.recv_timeout(Duration::from_secs(10)).expect("they wait for each other")?;
    }
    assert!(!armed.load(Ordering::Acquire), "they met");
    assert_eq!(value(&db, "m").as_deref(), Some("taken in"));
    Ok(())
}
