//! What the binaries share: arguments, statuses, encodings, output.
//!
//! A binary parses, calls, prints, exits. [`run`] is all of `beach`; the other binaries take
//! [`args::Common`], an [`Out`] and [`conclude`] from here, so that they all keep one contract.

pub mod args;
pub mod bulk;
pub mod commands;
pub mod crash;
pub mod dump;
pub mod encode;
mod examples;
pub mod exit;
pub mod finding;
pub mod output;
pub mod progress;
pub mod retry;
pub mod signals;

use std::ffi::OsString;
use std::process::ExitCode;

pub use exit::{Failure, Outcome, Status};
pub use output::Out;

use crate::runtime::limits;

/// Runs `beach` with these words, the program's name first.
pub fn run(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match args::parse(words) {
        Ok(args) => args,
        Err(error) => return not_parsed(&error),
    };
    let common = &args.common;
    let mut out = Out::standard(common.json, common.quiet, common.color);
    limits::raise_open_files();
    let outcome = match signals::install() {
        Ok(()) => commands::run(&args, &mut out),
        Err(error) => Err(Failure::Stream("could not install signal handlers".to_owned(), error)),
    };
    conclude(outcome, &mut out).into()
}

/// Prints clap's help, version or complaint, and says what to exit with.
#[must_use]
pub fn not_parsed(error: &clap::Error) -> ExitCode {
    // A closed stream changes nothing: there is nobody to tell.
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Status::Usage.code()))
}

/// The end of every binary: what was printed before a failure still comes out, the failure is told.
#[must_use]
pub fn conclude(outcome: Outcome, out: &mut Out) -> Ended {
    let flushed = out.finish();
    let failure = match (outcome, flushed) {
        (Ok(status), Ok(())) => return Ended(status.code()),
        (Err(failure), _) | (Ok(_), Err(failure)) => failure,
    };
    if !failure.is_quiet() {
        out.error(&failure);
    }
    Ended(failure.code())
}

/// The number a process exits with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended(pub u8);

impl From<Ended> for ExitCode {
    fn from(ended: Ended) -> ExitCode {
        ExitCode::from(ended.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, Write};

    /// Standard output that takes nothing, for the given reason.
    struct Broken(io::ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Ok(0)
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(self.0.into())
        }
    }

    fn ended(outcome: Outcome, flush: io::ErrorKind) -> u8 {
        let mut out = Out::into(Box::new(Broken(flush)), Box::new(io::sink()), false, false);
        conclude(outcome, &mut out).0
    }

    /// What the command found matters more than that nobody read it; that the output is not all
    /// there matters more than a good end.
    #[test]
    fn the_end_of_the_output_counts_and_a_failure_before_it_counts_more() {
        let damage = || Err(Failure::Damaged("the dump is cut".to_owned()));
        assert_eq!(ended(Ok(Status::Done), io::ErrorKind::BrokenPipe), 0);
        assert_eq!(ended(Ok(Status::Negative), io::ErrorKind::BrokenPipe), 0);
        assert_eq!(ended(Ok(Status::Done), io::ErrorKind::StorageFull), 5);
        assert_eq!(ended(damage(), io::ErrorKind::BrokenPipe), 3);
        assert_eq!(ended(damage(), io::ErrorKind::StorageFull), 3);
        assert_eq!(ended(Err(Failure::Signal(2)), io::ErrorKind::BrokenPipe), 130);
        let mut out = Out::into(Box::new(Vec::new()), Box::new(io::sink()), false, false);
        assert_eq!(conclude(Ok(Status::Losses), &mut out).0, 6);
    }
}
