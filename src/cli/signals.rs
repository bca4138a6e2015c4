//! SIGINT ends a command with 130, SIGTERM with 143.
//!
//! By default at once: a store is made to be killed at any moment, and output without a summary
//! says that it was cut. A command that has something to tidy up (a temporary store, child
//! processes) holds an [`Orderly`] and asks it between two steps; a second signal ends even that
//! at once.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::cli::exit::{Failure, Outcome};

static AT_ONCE: AtomicBool = AtomicBool::new(true);
static CAUGHT: AtomicUsize = AtomicUsize::new(0);

/// Installs the handlers; called once, when a binary starts.
///
/// # Errors
/// The operating system's.
pub fn install() -> io::Result<()> {
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal under an `Orderly` finds `AT_ONCE` false, is remembered,
        // and sets it for the second.
        flag::register_conditional_shutdown(signal, 128 + signal, &AT_ONCE)?;
        flag::register_usize(signal, &CAUGHT, signal as usize)?;
        flag::register(signal, &AT_ONCE)?;
    }
    Ok(())
}

/// While it lives, a first signal does not end the process.
#[derive(Debug)]
pub struct Orderly(());

impl Orderly {
    /// From here on [`Orderly::check`] is asked often.
    #[must_use]
    pub fn begin() -> Orderly {
        AT_ONCE.store(false, SeqCst);
        Orderly(())
    }

    /// Whether a signal came.
    ///
    /// # Errors
    /// [`Failure::Signal`] if so.
    pub fn check(&self) -> Outcome<()> {
        match CAUGHT.load(SeqCst) {
            0 => Ok(()),
            signal => Err(Failure::Signal(signal as i32)),
        }
    }
}

impl Drop for Orderly {
    fn drop(&mut self) {
        AT_ONCE.store(true, SeqCst);
    }
}
