//! Probes: places in the engine where a test build can be killed or made wrong on purpose.
//!
//! Without the features `failpoints` and `mutants` they are nothing: the calls compile to no code.
//!
//! - A *failpoint* stands where order matters. `BEACH_FAILPOINT=NAME` kills the process, as SIGKILL
//!   would, when it comes to the failpoint of that name; `NAME:3` when it comes there for the third
//!   time.
//! - A *mutant* is a deliberate bug, one for each rule that the tests are there to guard.
//!   `BEACH_MUTANT=NAME` switches one on. A campaign that does not notice it is worth nothing.

/// Dies here if this failpoint is armed.
#[inline(always)]
pub fn failpoint(name: &'static str) {
    #[cfg(feature = "failpoints")]
    failpoints::reached(name);
    #[cfg(not(feature = "failpoints"))]
    let _ = name;
}

/// Whether this mutant is switched on.
#[inline(always)]
#[must_use]
pub fn mutant(name: &'static str) -> bool {
    #[cfg(feature = "mutants")]
    return mutants::is_on(name);
    #[cfg(not(feature = "mutants"))]
    {
        let _ = name;
        false
    }
}

/// The build has failpoints.
pub const HAS_FAILPOINTS: bool = cfg!(feature = "failpoints");

/// The build has mutants.
pub const HAS_MUTANTS: bool = cfg!(feature = "mutants");

#[cfg(feature = "failpoints")]
mod failpoints {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// The armed one, and at how manieth visit it kills.
    fn armed() -> Option<&'static (String, u64)> {
        static ARMED: OnceLock<Option<(String, u64)>> = OnceLock::new();
        let read = || {
            let text = std::env::var("BEACH_FAILPOINT").ok()?;
            let (name, visit) = text.split_once(':').unwrap_or((&text, "1"));
            Some((name.to_owned(), visit.parse().unwrap_or(1)))
        };
        ARMED.get_or_init(read).as_ref()
    }

    pub(super) fn reached(name: &'static str) {
        static VISITS: AtomicU64 = AtomicU64::new(0);
        let Some((armed, visit)) = armed() else { return };
        if armed == name && VISITS.fetch_add(1, Ordering::SeqCst) + 1 == *visit {
            let me = rustix::process::getpid();
            // A process that cannot kill itself must not go on either.
            let _ = rustix::process::kill_process(me, rustix::process::Signal::KILL);
            std::process::abort();
        }
    }
}

#[cfg(feature = "mutants")]
mod mutants {
    use std::sync::OnceLock;

    pub(super) fn is_on(name: &'static str) -> bool {
        static ON: OnceLock<Option<String>> = OnceLock::new();
        ON.get_or_init(|| std::env::var("BEACH_MUTANT").ok()).as_deref() == Some(name)
    }
}
