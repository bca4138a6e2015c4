//! Waiting for the lock of a store, and reading again when files moved.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// How often a read begins again before it gives up with [`Error::Moved`].
const READS_MAX: u32 = 10;

/// Calls `open` until the store is not locked or `wait` has passed.
///
/// The pauses are of random length, so that many waiting processes do not all come back at once.
///
/// # Errors
/// The last [`Error::Locked`], which names the holder, or any other error at once.
pub fn while_locked<T>(wait: Duration, mut open: impl FnMut() -> Result<T>) -> Result<T> {
    let began = now();
    loop {
        match open() {
            Err(Error::Locked { .. }) if began.elapsed() < wait => {
                pause(jitter().min(wait.saturating_sub(began.elapsed())));
            }
            other => return other,
        }
    }
}

/// Calls `read`, which opens the store, again as long as files moved under it.
///
/// # Errors
/// [`Error::Moved`] when that does not end, or any other error at once.
pub fn while_moved<T>(mut read: impl FnMut() -> Result<T>) -> Result<T> {
    for _ in 1..READS_MAX {
        match read() {
            Err(Error::Moved { .. }) => pause(jitter() / 10),
            other => return other,
        }
    }
    read()
}

/// 10 to 50 milliseconds. The hasher's keys are random, and that is random enough.
fn jitter() -> Duration {
    let random = RandomState::new().hash_one(0u8);
    Duration::from_micros(10_000 + random % 40_000)
}

/// Waiting belongs to the command, not to the engine, so it may use the clock itself.
#[allow(clippy::disallowed_methods)]
fn now() -> Instant {
    Instant::now()
}

#[allow(clippy::disallowed_methods)]
fn pause(length: Duration) {
    std::thread::sleep(length);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn locked() -> Error {
        Error::Locked { path: PathBuf::from("db/LOCK"), pid: Some(42) }
    }

    /// The third attempt gets the lock; the fourth must not be made.
    #[test]
    fn the_lock_is_waited_for() {
        let mut attempts = 0;
        let opened = while_locked(Duration::from_secs(60), || {
            attempts += 1;
            if attempts < 3 { Err(locked()) } else { Ok(attempts) }
        });
        assert_eq!(opened.unwrap(), 3);
        assert_eq!(attempts, 3);
    }

    /// Held for ever: the wait ends about when it should, with the holder's pid. Not waiting at
    /// all is one attempt.
    #[test]
    fn waiting_ends_and_names_the_holder() {
        for wait in [Duration::ZERO, Duration::from_millis(120)] {
            let (began, mut attempts) = (now(), 0);
            let error = while_locked(wait, || -> Result<()> {
                attempts += 1;
                Err(locked())
            });
            assert!(error.unwrap_err().to_string().contains("process 42"));
            assert!(began.elapsed() >= wait);
            assert_eq!(attempts == 1, wait.is_zero());
        }
    }

    /// Another error is not waited for, nor is one read again that did not move.
    #[test]
    fn other_errors_come_at_once() {
        let mut attempts = 0;
        let mut fail = || -> Result<()> {
            attempts += 1;
            Err(Error::ReadOnly)
        };
        assert!(while_locked(Duration::from_secs(60), &mut fail).is_err());
        assert!(while_moved(&mut fail).is_err());
        assert_eq!(attempts, 2);
    }

    /// Moves for ever, and moves twice.
    #[test]
    fn a_moved_file_is_read_again_a_few_times() {
        let moved = || Error::Moved { path: PathBuf::from("db/000007.sst") };
        let mut attempts = 0;
        let error = while_moved(|| -> Result<()> {
            attempts += 1;
            Err(moved())
        });
        assert!(matches!(error, Err(Error::Moved { .. })));
        assert_eq!(attempts, READS_MAX);
        let mut left = 2;
        let read = while_moved(|| {
            left -= 1;
            if left >= 0 { Err(moved()) } else { Ok(()) }
        });
        assert!(read.is_ok());
    }
}
