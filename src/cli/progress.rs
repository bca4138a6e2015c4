//! A bar for long work: on standard error, after one second, and only for a person.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How long work may take before it shows.
const PATIENCE: Duration = Duration::from_secs(1);

/// Counts bytes or things done; gone from the screen when dropped.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    waiting: bool,
    began: Instant,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes, shown as KiB, MiB, …
    Bytes,
    /// Records, files, …
    Things,
}

impl Progress {
    /// Begins; shows nothing yet. Without a total there is a count instead of a bar.
    #[must_use]
    pub fn begin(label: &'static str, unit: Unit, total: Option<u64>, quiet: bool) -> Progress {
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden());
        bar.set_style(style(unit, total.is_some()));
        bar.set_prefix(label);
        let waiting = !quiet && std::io::stderr().is_terminal();
        Progress { bar, waiting, began: now() }
    }

    /// Says how far the work has come.
    pub fn set(&mut self, position: u64) {
        if self.waiting && self.began.elapsed() >= PATIENCE {
            self.waiting = false;
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.set_position(position);
    }

    /// Says more about it, behind the count.
    pub fn note(&mut self, text: impl Into<String>) {
        self.bar.set_message(text.into());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn style(unit: Unit, has_total: bool) -> ProgressStyle {
    let template = match (unit, has_total) {
        (Unit::Bytes, true) => "{prefix} {wide_bar} {bytes}/{total_bytes} {eta}",
        (Unit::Bytes, false) => "{prefix} {bytes} {bytes_per_sec}",
        (Unit::Things, true) => "{prefix} {wide_bar} {human_pos}/{human_len} {eta} {msg}",
        (Unit::Things, false) => "{prefix} {human_pos} {per_sec} {msg}",
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// A bar on a screen has no part in what the engine does, so it may ask the clock itself.
#[allow(clippy::disallowed_methods)]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A template with a mistake falls back to another one, which would hide it; here it shows.
    #[test]
    fn every_template_is_understood_and_nothing_shows_before_its_time() {
        for unit in [Unit::Bytes, Unit::Things] {
            for total in [None, Some(10)] {
                let mut progress = Progress::begin("load", unit, total, false);
                progress.waiting = true;
                progress.set(5);
                assert!(progress.bar.is_hidden() && progress.waiting);
                progress.began -= PATIENCE;
                progress.set(6);
                assert!(!progress.waiting);
            }
        }
    }
}
