//! `beach-crash run` and `beach-crash bank`, and the worker that they kill.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use clap::ValueEnum;
use serde_json::{Map, Value};

use crate::cli::dump::plural;
use crate::cli::output::Object;
use crate::cli::progress::{Progress, Unit};
use crate::cli::signals::Orderly;
use crate::cli::{Failure, Out, Outcome, Status};
use crate::crash::{self, Config, Cycle, Duty, Kind, Report, Stopped};
use crate::probe::{FAILPOINTS, HAS_FAILPOINTS};
use crate::runtime::Runtime;
use crate::runtime::threads::ThreadRuntime;

/// Threads that add up the bank's accounts all the time.
const READERS: u64 = 2;

/// How much is done when nothing else is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Profile {
    /// What fits into a minute: of kills, 100
    #[default]
    Ci,
    /// Everything: of kills 2,000, after which all that is worth a kill must have been killed in
    Full,
}

impl Profile {
    /// Processes that are killed.
    fn kills(self) -> u64 {
        match self {
            Profile::Ci => 100,
            Profile::Full => 2000,
        }
    }
}

/// `run`.
#[derive(Clone, Debug, clap::Args)]
pub struct RunArgs {
    /// What both campaigns take.
    #[command(flatten)]
    pub kills: KillArgs,
    /// Kill at the engine's failpoints too, one after the other (needs a build with them)
    #[arg(long)]
    pub failpoints: bool,
}

/// What `run` and `bank` take.
#[derive(Clone, Debug, clap::Args)]
pub struct KillArgs {
    /// A directory for the test: absent, empty, or left by another one
    #[arg(long)]
    pub dir: PathBuf,
    /// How many workers, most of which are killed [default: enough for the kills of the profile, or no
    /// limit with --duration]
    #[arg(long, value_name = "N")]
    pub cycles: Option<u64>,
    /// What the workload follows from [default: random]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Begin no new cycle after so many seconds
    #[arg(long, value_name = "SECS")]
    pub duration: Option<u64>,
    /// ci: 100 kills; full: 2,000, and each kind of event must have occurred
    #[arg(long, value_enum, default_value_t)]
    pub profile: Profile,
}

/// `worker`.
#[derive(Clone, Debug, clap::Args)]
pub struct WorkerArgs {
    /// The directory of the test
    #[arg(long)]
    pub dir: PathBuf,
    /// The store is a bank
    #[arg(long)]
    pub bank: bool,
}

/// The process that is killed.
pub(super) fn work(wanted: &WorkerArgs) -> Outcome {
    let readers = if wanted.bank { READERS } else { 0 };
    let duty = Duty { dir: wanted.dir.clone(), bank: wanted.bank, readers };
    let runtime: Arc<dyn Runtime> = Arc::new(ThreadRuntime::default());
    crash::work(&duty, &runtime, &mut io::stdin().lock(), Box::new(io::stdout()))?;
    Ok(Status::Done)
}

/// `run`: runs the cycles and prints what came of them.
pub(super) fn run(wanted: &RunArgs, out: &mut Out) -> Outcome {
    if wanted.failpoints && !HAS_FAILPOINTS {
        let how = "cargo build --release --features failpoints";
        return Err(Failure::Usage(format!("this build has no failpoints; to have them: {how}")));
    }
    kill_and_verify(&wanted.kills, Kind::Workload, wanted.failpoints, out)
}

/// `bank`: the same with transfers.
pub(super) fn bank(wanted: &KillArgs, out: &mut Out) -> Outcome {
    kill_and_verify(wanted, Kind::Bank, false, out)
}

fn kill_and_verify(wanted: &KillArgs, kind: Kind, failpoints: bool, out: &mut Out) -> Outcome {
    let runtime = ThreadRuntime::default();
    let seed = wanted.seed.unwrap_or_else(|| runtime.random_u64() >> 16);
    let kills = wanted.profile.kills();
    // One in fourteen or so comes to its end before it is killed.
    let by_profile = kills + kills / 8;
    let cycles = wanted.cycles.or(wanted.duration.is_none().then_some(by_profile));
    let config = Config {
        dir: wanted.dir.clone(),
        kind,
        seed,
        cycles,
        duration_ms: wanted.duration.map(|seconds| seconds.saturating_mul(1000)),
        failpoints,
        remove_dir: |dir| std::fs::remove_dir(dir),
        worker: worker_words(wanted, kind)?,
    };
    let orderly = Orderly::begin();
    let mut progress = Progress::begin("cycles", Unit::Things, cycles, out.is_quiet());
    let (mut printed, mut killed, mut slowest_us) = (Ok(()), 0, 0);
    let stopping = || orderly.check().is_err();
    let (report, ended) = crash::run(&config, &runtime, &stopping, &mut |cycle| {
        killed += u64::from(cycle.killed);
        slowest_us = cycle.reopen_us.max(slowest_us);
        progress.set(cycle.cycle);
        progress.note(format!(
            "{}, opened in {} us, {slowest_us} us at most",
            plural(killed, "kill"),
            cycle.reopen_us
        ));
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
    let artifact = wanted.dir.join("artifact.json");
    if let (true, Some((cycle, what))) = (out.is_json(), &violation) {
        let object = Object::new("violation").number("cycle", *cycle).number("seed", seed);
        let object = object.text("expected", &what.expected).text("found", &what.found);
        out.object(&object.bytes("artifact", artifact.as_os_str().as_encoded_bytes()))?;
    }
    let missing = match (&violation, wanted.profile) {
        (None, Profile::Full) => {
            let mut missing = missing(&report, kind, failpoints);
            let is_short = cycles >= Some(by_profile) && report.kills < kills;
            missing.extend(is_short.then(|| format!("{kills} kills")));
            missing
        }
        _ => Vec::new(),
    };
    print_report(out, seed, &report, violation.is_some(), &missing)?;
    out.finish()?;
    if let Some((cycle, what)) = violation {
        let artifact = artifact.display();
        out.error(format!(
            "seed {seed}, cycle {cycle}: expected {}, found {}; the store is left as the kill left \
             it; to look at it again: beach-crash replay {artifact}",
            what.expected, what.found
        ));
        return Ok(Status::Violated);
    }
    if !missing.is_empty() {
        out.error(format!("nothing was broken, but this never occurred: {}", missing.join(", ")));
        return Ok(Status::Undecided);
    }
    Ok(Status::Done)
}

/// This program again, as the worker.
fn worker_words(wanted: &KillArgs, kind: Kind) -> Outcome<Vec<OsString>> {
    let program = std::env::current_exe();
    let program = program
        .map_err(|error| Failure::Stream("could not find this program".to_owned(), error))?;
    let words = ["worker".into(), "--dir".into(), wanted.dir.clone().into_os_string()];
    let mut words: Vec<OsString> = std::iter::once(program.into_os_string()).chain(words).collect();
    words.extend((kind == Kind::Bank).then(|| "--bank".into()));
    Ok(words)
}

/// What a campaign that is worth its name has met, and this one has not.
fn missing(report: &Report, kind: Kind, failpoints: bool) -> Vec<String> {
    let is_run = kind == Kind::Workload;
    let edits = ["flush", "compaction", "rotate", "grow", "rollover", "recovery"];
    let edits = edits.into_iter().chain(is_run.then_some("ingest"));
    let mut counts: Vec<(&str, u64)> =
        edits.map(|name| (name, report.edits.get(name).copied().unwrap_or(0))).collect();
    counts.extend([
        ("a kill while opening", report.kills_while_opening),
        ("a kill while closing", report.kills_while_closing),
        ("a kill with an operation in flight", report.kills_in_flight),
        ("a snapshot", report.snapshots),
        ("a checkpoint", report.checkpoints),
        ("a checkpoint cut short", report.checkpoints_again),
        ("a second store", report.stores - 1),
    ]);
    let never = counts.into_iter().filter(|(_, count)| *count == 0);
    let mut missing: Vec<String> = never.map(|(name, _)| name.to_owned()).collect();
    if failpoints {
        missing.extend(never_fired(report).map(|name| format!("failpoint {name}")));
    }
    missing
}

fn never_fired(report: &Report) -> impl Iterator<Item = &'static str> {
    FAILPOINTS.iter().copied().filter(|name| report.fired.get(name).is_none_or(|count| *count == 0))
}

fn cycle_object(cycle: &Cycle) -> Object {
    let object = Object::new("cycle")
        .number("cycle", cycle.cycle)
        .value("killed", cycle.killed)
        .number("acknowledged", cycle.acknowledged)
        .number("in_flight", cycle.in_flight)
        .number("replayed_bytes", cycle.replayed_bytes)
        .number("reopen_us", cycle.reopen_us);
    cycle.failpoint.into_iter().fold(object, |object, name| object.text("failpoint", name))
}

fn print_report(
    out: &mut Out,
    seed: u64,
    report: &Report,
    is_violated: bool,
    missing: &[String],
) -> Outcome<()> {
    let violations = u64::from(is_violated);
    if !out.is_json() {
        return print_text(out, seed, report, violations);
    }
    let map = |pairs: Vec<(String, u64)>| {
        Value::Object(
            pairs.into_iter().map(|(name, count)| (name, count.into())).collect::<Map<_, _>>(),
        )
    };
    let edits = report.edits.iter().map(|(name, count)| (name.clone(), *count)).collect();
    let mut summary = Object::summary()
        .number("seed", seed)
        .number("cycles", report.cycles)
        .number("states", report.cycles)
        .number("kills", report.kills)
        .number("kills_while_opening", report.kills_while_opening)
        .number("kills_while_closing", report.kills_while_closing)
        .number("kills_in_flight", report.kills_in_flight)
        .number("closed", report.closed)
        .number("stores", report.stores)
        .number("operations", report.operations)
        .number("snapshots", report.snapshots)
        .number("checkpoints", report.checkpoints)
        .number("checkpoints_again", report.checkpoints_again)
        .number("recoveries", report.recoveries)
        .number("reopen_p50_us", report.reopen_p50_us)
        .number("reopen_max_us", report.reopen_max_us)
        .value("edits", map(edits));
    if !report.fired.is_empty() {
        let fired = report.fired.iter().map(|(name, count)| ((*name).to_owned(), *count));
        summary = summary.value("fired", map(fired.collect()));
        summary = summary.value("never_fired", never_fired(report).collect::<Vec<_>>());
    }
    out.summary(summary.value("missing", missing.to_vec()).number("violations", violations))
}

fn print_text(out: &mut Out, seed: u64, report: &Report, violations: u64) -> Outcome<()> {
    out.line(format!(
        "{}, {} ({} while opening, {} while closing, {} with an operation in flight), {}, {}, seed \
         {seed}",
        plural(report.cycles, "cycle"),
        plural(report.kills, "kill"),
        report.kills_while_opening,
        report.kills_while_closing,
        report.kills_in_flight,
        plural(report.operations, "operation"),
        plural(violations, "violation"),
    ))?;
    let edits: Vec<String> =
        report.edits.iter().map(|(name, count)| format!("{name} {count}")).collect();
    out.line(format!("edits: {}", edits.join(", ")))?;
    out.line(format!(
        "{}, {}, {} and {} made again, {} in {}; opening took {} us (median), {} us at most",
        plural(report.closed, "orderly end"),
        plural(report.snapshots, "snapshot"),
        plural(report.checkpoints, "checkpoint"),
        report.checkpoints_again,
        plural(report.recoveries, "recovery").replace("recoverys", "recoveries"),
        plural(report.stores, "store"),
        report.reopen_p50_us,
        report.reopen_max_us,
    ))?;
    if report.fired.is_empty() {
        return Ok(());
    }
    let kills: u64 = report.fired.values().sum();
    let never: Vec<&str> = never_fired(report).collect();
    let mut line = format!("{kills} kills at {} failpoints", FAILPOINTS.len() - never.len());
    if !never.is_empty() {
        line += &format!("; never at {}", never.join(", "));
    }
    out.line(line)
}
