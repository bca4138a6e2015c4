//! `beach-crash`: the command line of the crash tester.

mod artifacts;
mod damage;
mod mutants;
mod parallel;
mod power;
mod run;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use super::args::{self, Common};
use super::dump;

pub use artifacts::{ArtifactArgs, ListArgs};
pub use damage::{CrowdArgs, DamageArgs};
pub use mutants::MutantsArgs;
pub use power::{CampaignArgs, PowerArgs};
pub use run::{KillArgs, Profile, RunArgs, WorkerArgs};

const EXAMPLES: &str = "\
Examples:
  beach-crash run --dir scratch
  beach-crash run --dir scratch --cycles 1000 --seed 42
  beach-crash run --dir scratch --duration 60 --json
  beach-crash bank --dir scratch --cycles 50";

const POWER: &str = "\
Examples:
  beach-crash power
  beach-crash power --profile full
  beach-crash power --length 0 --cycles 500 --seed 1000 --json";

const FAULTS: &str = "\
Examples:
  beach-crash faults
  beach-crash faults --cycles 20 --seed 7";

const VARIANTS: &str = "\
Examples:
  beach-crash variants
  beach-crash variants --cycles 1000 --json";

const DAMAGE: &str = "\
Examples:
  beach-crash damage
  beach-crash damage --every-bit --seed 7
  beach-crash damage --cycles 1000 --seed 7 --json";

const CROWD: &str = "\
Examples:
  beach-crash crowd
  beach-crash crowd --duration 60 --json";

const MUTANTS: &str = "\
Examples:
  beach-crash mutants --list
  beach-crash mutants
  beach-crash mutants --profile ci --json
  beach-crash mutants --only no_mix no_poison";

const REPLAY: &str = "\
Examples:
  beach-crash replay beach-crash-power-1f2e3d4c.json";

const MINIMIZE: &str = "\
Examples:
  beach-crash minimize beach-crash-power-1f2e3d4c.json";

const LIST: &str = "\
Examples:
  beach-crash list
  beach-crash list artifacts --json";

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
    /// Lose power on a simulated disk at every operation, in every legal way; exit 7 if a promise
    /// breaks
    #[command(before_help = POWER)]
    Power(PowerArgs),
    /// Fail every call to a simulated file system, once and for ever; exit 7 for a wrong answer
    #[command(before_help = FAULTS)]
    Faults(CampaignArgs),
    /// Play one history under many options: the answers must be the same
    #[command(before_help = VARIANTS)]
    Variants(CampaignArgs),
    /// Flip, overwrite, cut, exchange and take away the files of small stores; exit 7 if it passes
    #[command(before_help = DAMAGE)]
    Damage(DamageArgs),
    /// Let many threads write to a disk that is slow and fails; exit 7 if a promise breaks
    #[command(before_help = CROWD)]
    Crowd(CrowdArgs),
    /// Run the campaigns against deliberate bugs in the engine; exit 7 if one is not noticed
    #[command(before_help = MUTANTS)]
    Mutants(MutantsArgs),
    /// Do a failure again; exit 7 if it still fails
    #[command(before_help = REPLAY)]
    Replay(ArtifactArgs),
    /// Find the fewest operations that still fail, and print a test
    #[command(before_help = MINIMIZE)]
    Minimize(ArtifactArgs),
    /// Explain the failures that were written down
    #[command(before_help = LIST)]
    List(ListArgs),
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
            CrashVerb::Power(wanted) => power::power(wanted, out),
            CrashVerb::Faults(wanted) => power::faults(wanted, out),
            CrashVerb::Variants(wanted) => power::variants(wanted, out),
            CrashVerb::Damage(wanted) => damage::damage(wanted, out),
            CrashVerb::Crowd(wanted) => damage::crowd(wanted, out),
            CrashVerb::Mutants(wanted) => mutants::mutants(wanted, out),
            CrashVerb::Replay(wanted) => artifacts::replay(wanted, out),
            CrashVerb::Minimize(wanted) => artifacts::minimize(wanted, out),
            CrashVerb::List(wanted) => artifacts::list(wanted, out),
            CrashVerb::Run(wanted) => run::run(wanted, out),
            CrashVerb::Bank(wanted) => run::bank(wanted, out),
            CrashVerb::Worker(wanted) => run::work(wanted),
        },
    )
}
