//! `beach-crash`: the command line of the crash tester.

mod run;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use super::args::{self, Common};
use super::dump;

pub use run::{KillArgs, Profile, RunArgs, WorkerArgs};

const EXAMPLES: &str = "\
Examples:
  beach-crash run --dir scratch
  beach-crash run --dir scratch --cycles 1000 --seed 42
  beach-crash run --dir scratch --duration 60 --json
  beach-crash bank --dir scratch --cycles 50";

/// Kill a writing process at random moments and check that no promise was broken.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "beach-crash",
    before_help = EXAMPLES,
    version = args::version(),
    disable_help_subcommand = true
)]
pub struct CrashArgs {
    /// How to print.
    #[command(flatten)]
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub verb: CrashVerb,
}

/// What `beach-crash` can do.
#[derive(Clone, Debug, Subcommand)]
pub enum CrashVerb {
    /// Write, kill with SIGKILL, reopen, compare; exit 7 if something is lost, torn or invented
    #[command(before_help = EXAMPLES)]
    Run(RunArgs),
    /// Transfer money between accounts, kill, reopen, add up; exit 7 if a cent is made or lost
    #[command(before_help = EXAMPLES)]
    Bank(KillArgs),
    /// The process that is killed
    #[command(hide = true)]
    Worker(WorkerArgs),
}

/// Runs `beach-crash` with these words, the program's name first.
pub fn run(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    dump::run(
        words,
        |args: &CrashArgs| &args.common,
        |args, out| match &args.verb {
            CrashVerb::Run(wanted) => run::run(wanted, out),
            CrashVerb::Bank(wanted) => run::bank(wanted, out),
            CrashVerb::Worker(wanted) => run::work(wanted),
        },
    )
}
