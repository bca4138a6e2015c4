//! `beach-crash run` and the worker that it kills.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use crate::cli::dump::plural;
use crate::cli::output::Object;
use crate::cli::progress::{Progress, Unit};
use crate::cli::signals::Orderly;
use crate::cli::{Failure, Out, Outcome, Status};
use crate::crash::{self, Config, Cycle, Report, Stopped};
use crate::runtime::Runtime;
use crate::runtime::threads::ThreadRuntime;

/// Cycles when neither their number nor a duration is given.
const CYCLES: u64 = 20;

/// `run`.
#[derive(Clone, Debug, clap::Args)]
pub struct RunArgs {
    /// The store's directory: absent, empty, or left by a run with the same seed
    #[arg(long)]
    pub dir: PathBuf,
    /// How many kills [default: 20, or no limit with --duration]
    #[arg(long, value_name = "N")]
    pub cycles: Option<u64>,
    /// What the workload follows from [default: random]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Begin no new cycle after so many seconds
    #[arg(long, value_name = "SECS")]
    pub duration: Option<u64>,
}

/// `worker`.
#[derive(Clone, Debug, clap::Args)]
pub struct WorkerArgs {
    /// The store's directory
    #[arg(long)]
    pub dir: PathBuf,
    /// What the workload follows from
    #[arg(long)]
    pub seed: u64,
}

/// The process that is killed.
pub(super) fn work(wanted: &WorkerArgs) -> Outcome {
    crash::work(&wanted.dir, wanted.seed, &mut io::stdout().lock())?;
    Ok(Status::Done)
}

/// Runs the cycles and prints what came of them.
pub(super) fn kill_and_verify(wanted: &RunArgs, out: &mut Out) -> Outcome {
    let runtime = ThreadRuntime::default();
    let seed = wanted.seed.unwrap_or_else(|| runtime.random_u64() >> 16);
    let cycles = wanted.cycles.or(wanted.duration.is_none().then_some(CYCLES));
    let config = Config {
        dir: wanted.dir.clone(),
        seed,
        cycles,
        duration_ms: wanted.duration.map(|seconds| seconds.saturating_mul(1000)),
        worker: worker_words(wanted, seed)?,
    };
    let orderly = Orderly::begin();
    let mut progress = Progress::begin("kills", Unit::Things, cycles, out.is_quiet());
    let mut printed = Ok(());
    let stopping = || orderly.check().is_err();
    let (report, ended) = crash::run(&config, &runtime, &stopping, &mut |cycle| {
        progress.set(cycle.cycle);
        if out.is_json() && printed.is_ok() {
            printed = out.object(&cycle_object(cycle)).and_then(|()| out.finish());
        }
    });
    drop(progress);
    printed?;
    orderly.check()?;
    let violation = match ended {
        Ok(()) => None,
        Err(Stopped::Violation(cycle, what)) => Some((cycle, what)),
        Err(Stopped::Engine(error)) => return Err(error.into()),
        Err(Stopped::Process(error)) => {
            return Err(Failure::Stream("could not run the worker".to_owned(), error));
        }
    };
    if let (true, Some((cycle, what))) = (out.is_json(), &violation) {
        let object = Object::new("violation").number("cycle", *cycle).number("seed", seed);
        out.object(&object.text("detail", what))?;
    }
    print_report(out, seed, &report, violation.is_some())?;
    let Some((cycle, what)) = violation else { return Ok(Status::Done) };
    out.finish()?;
    let dir = wanted.dir.display();
    out.error(format!(
        "seed {seed}, cycle {cycle}: {what}; the store is left in {dir}; to repeat the workload: \
         beach-crash run --dir NEW --seed {seed} --cycles {cycle}"
    ));
    Ok(Status::Violated)
}

/// This program again, as the worker.
fn worker_words(wanted: &RunArgs, seed: u64) -> Outcome<Vec<OsString>> {
    let program = std::env::current_exe();
    let program = program
        .map_err(|error| Failure::Stream("could not find this program".to_owned(), error))?;
    let words = ["worker".into(), "--dir".into(), wanted.dir.clone().into_os_string()];
    let mut words: Vec<OsString> = std::iter::once(program.into_os_string()).chain(words).collect();
    words.extend(["--seed".into(), seed.to_string().into()]);
    Ok(words)
}

fn cycle_object(cycle: &Cycle) -> Object {
    Object::new("cycle")
        .number("cycle", cycle.cycle)
        .number("acknowledged", cycle.acknowledged)
        .number("recovered", cycle.recovered)
        .number("replayed_bytes", cycle.replayed_bytes)
}

fn print_report(out: &mut Out, seed: u64, report: &Report, is_violated: bool) -> Outcome<()> {
    let violations = u64::from(is_violated);
    let Report { cycles, kills, batches, kills_while_opening, kills_in_flight } = *report;
    if !out.is_json() {
        return out.line(format!(
            "{}, {} ({kills_while_opening} while opening, {kills_in_flight} with a batch in \
             flight), {batches} batches, {}, seed {seed}",
            plural(cycles, "cycle"),
            plural(kills, "kill"),
            plural(violations, "violation"),
        ));
    }
    let summary = Object::summary()
        .number("seed", seed)
        .number("cycles", cycles)
        .number("kills", kills)
        .number("kills_while_opening", kills_while_opening)
        .number("kills_in_flight", kills_in_flight)
        .number("batches", batches)
        .number("violations", violations);
    out.summary(summary)
}
