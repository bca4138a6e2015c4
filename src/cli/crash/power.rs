//! `beach-crash power`, `faults` and `variants`: campaigns on the simulated disk.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::artifacts;
use super::parallel::{self, Ended};
use super::run::Profile;
use crate::cli::dump::plural;
use crate::cli::output::{Object, Table};
use crate::cli::progress::{Progress, Unit};
use crate::cli::signals::Orderly;
use crate::cli::{Failure, Out, Outcome};
use crate::crash::artifact::{Artifact, Cause};
use crate::crash::faults::{self, Tally};
use crate::crash::history::Setup;
use crate::crash::metamorphic;
use crate::crash::power::{self, Known, Seen};

/// Options of the campaigns on the simulated disk.
#[derive(Clone, Debug, clap::Args)]
pub struct CampaignArgs {
    /// How much is done
    #[arg(long, default_value = "ci")]
    pub profile: Profile,
    /// Seeded histories [default: by profile]
    #[arg(long, value_name = "N")]
    pub cycles: Option<u64>,
    /// The first of the seeds
    #[arg(long, value_name = "N", default_value = "1")]
    pub seed: u64,
    /// Begin no new history after so many seconds
    #[arg(long, value_name = "SECS")]
    pub duration: Option<u64>,
    /// Where a failure is written to
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub artifacts: PathBuf,
}

/// `power`.
#[derive(Clone, Debug, clap::Args)]
pub struct PowerArgs {
    /// What all campaigns know.
    #[command(flatten)]
    pub campaign: CampaignArgs,
    /// All histories of up to so many steps [default: by profile]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=5))]
    pub length: Option<u32>,
}

/// The short histories, synced and not, then the seeded ones.
struct Tasks {
    length: u32,
    /// How many short ones there are.
    short: u64,
    cycles: u64,
    seed: u64,
}

impl Tasks {
    fn new(wanted: &PowerArgs) -> Tasks {
        let (length, cycles) = match wanted.campaign.profile {
            Profile::Ci => (2, 30),
            Profile::Full => (4, 400),
        };
        let length = wanted.length.unwrap_or(length);
        let short = 2 * (0..=length).map(Setup::exhaustive_count).sum::<u64>();
        let cycles = wanted.campaign.cycles.unwrap_or(cycles);
        Tasks { length, short, cycles, seed: wanted.campaign.seed }
    }

    fn count(&self) -> u64 {
        self.short + self.cycles
    }

    /// The history of this number, and the step from which on it is crashed: what a shorter one
    /// went through is not gone through again.
    fn get(&self, number: u64) -> (Setup, usize) {
        if number >= self.short {
            return (Setup::seeded(self.seed + number - self.short), 0);
        }
        let (mut index, sync) = (number / 2, number % 2 == 1);
        let mut length = 0;
        while length < self.length && index >= Setup::exhaustive_count(length) {
            index -= Setup::exhaustive_count(length);
            length += 1;
        }
        (Setup::exhaustive(length, index, sync), length as usize)
    }
}

/// Loses power at every operation of many histories.
pub(super) fn power(wanted: &PowerArgs, out: &mut Out) -> Outcome {
    let tasks = Tasks::new(wanted);
    let known = Arc::new(Known::default());
    let began = now();
    let ended = campaign(
        &wanted.campaign,
        out,
        "histories",
        tasks.count(),
        |number| {
            let (setup, from) = tasks.get(number);
            parallel::guarded(
                || {
                    power::crash_everywhere(&setup, from, &known)
                        .map_err(|found| (Cause::Power(found.crashes), found.broken))
                },
                |broken| (Cause::Power(Vec::new()), broken),
            )
            .map_err(|(cause, broken)| Box::new(Artifact { setup, cause, broken }))
        },
        |sum: &mut Seen, part| sum.join(&part),
    )?;
    let seconds = began.elapsed().as_secs_f64().max(0.001);
    let violations = u64::from(ended.failure.is_some());
    let seen = ended.sum;
    let per_minute = (seen.states as f64 * 60.0 / seconds) as u64;
    let happened = seen.happened;
    if !out.is_json() {
        out.line(format_args!(
            "{} states, {} of them different, in {}: {per_minute} a minute",
            seen.states,
            seen.distinct,
            plural_of(seen.histories, "history", "histories"),
        ))?;
        out.line(format_args!(
            "{} unclean ends, {} torn tails, {} with buffered batches lost, {} with a batch whose \
             write had not returned, {} crashed openings, {}",
            seen.unclean,
            seen.torn_tails,
            seen.lost_batches,
            seen.unknown_kept,
            seen.recoveries_crashed,
            plural(seen.kills, "kill"),
        ))?;
        out.line(format_args!(
            "{} damaged stores refused; meanwhile {} flushes, {} compactions, {} manifest rollovers, \
             {} checkpoints; {}",
            seen.refused,
            happened.flushes,
            happened.compactions,
            happened.rollovers,
            happened.checkpoints,
            plural(violations, "violation"),
        ))?;
    }
    let exhausted = if ended.is_complete { tasks.length.into() } else { 0u64 };
    out.summary(
        Object::summary()
            .number("seed", wanted.campaign.seed)
            .number("cycles", seen.histories)
            .number("exhaustive_length", exhausted)
            .number("states", seen.states)
            .number("distinct", seen.distinct)
            .number("states_per_minute", per_minute)
            .number("kills", seen.kills)
            .number("recoveries_crashed", seen.recoveries_crashed)
            .number("unclean", seen.unclean)
            .number("torn_tails", seen.torn_tails)
            .number("lost_batches", seen.lost_batches)
            .number("unknown_kept", seen.unknown_kept)
            .number("refused", seen.refused)
            .number("flushes", happened.flushes)
            .number("compactions", happened.compactions)
            .number("rollovers", happened.rollovers)
            .number("checkpoints", happened.checkpoints)
            .number("violations", violations),
    )?;
    if ended.is_complete && seen.histories >= MANY {
        not_vacuous(
            out,
            &[
                ("flush", happened.flushes),
                ("compaction", happened.compactions),
                ("manifest rollover", happened.rollovers),
                ("torn tail", seen.torn_tails),
                ("refusal", seen.refused),
                ("batch of unknown outcome", seen.unknown_kept),
                ("lost buffered batch", seen.lost_batches),
                ("crashed opening", seen.recoveries_crashed),
            ],
        )?;
    }
    artifacts::conclude(&wanted.campaign.artifacts, ended.failure.map(|(_, found)| *found), out)
}

/// So many histories must have met everything that a campaign is about.
pub(super) const MANY: u64 = 100;

/// A campaign that did not meet what it is about proves nothing, and says so.
pub(super) fn not_vacuous(out: &mut Out, met: &[(&str, u64)]) -> Outcome<()> {
    let missing: Vec<&str> =
        met.iter().filter(|(_, count)| *count == 0).map(|(name, _)| *name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    out.finish()?;
    Err(Failure::Vacuous(format!("the campaign met no {}", missing.join(", no "))))
}

/// What was seen at each of [`faults::PLACES`].
#[derive(Clone, Copy, Default)]
struct Places([Tally; faults::PLACES.len()]);

/// Fails every call of many histories.
pub(super) fn faults(wanted: &CampaignArgs, out: &mut Out) -> Outcome {
    let cycles = wanted.cycles.unwrap_or(match wanted.profile {
        Profile::Ci => 4,
        Profile::Full => 100,
    });
    // A task for each place, so that the threads share the work of one history.
    let places = faults::PLACES.len() as u64;
    let ended = campaign(
        wanted,
        out,
        "places",
        cycles * places,
        |number| {
            let setup = Setup::seeded(wanted.seed + number / places);
            let place = (number % places) as usize;
            let mut all = Places::default();
            for way in faults::WAYS {
                let swept = parallel::guarded(
                    || {
                        faults::sweep(&setup, faults::PLACES[place], way)
                            .map_err(|found| (Some(found.fault.clone()), found.broken))
                    },
                    |broken| (None, broken),
                );
                match swept {
                    Ok(tally) => all.0[place].join(&tally),
                    Err((fault, broken)) => {
                        let cause = fault.map_or(Cause::Power(Vec::new()), Cause::Fault);
                        return Err(Box::new(Artifact { setup, cause, broken }));
                    }
                }
            }
            Ok(all)
        },
        |sum: &mut Places, part| {
            sum.0.iter_mut().zip(&part.0).for_each(|(sum, part)| sum.join(part))
        },
    )?;
    let mut sum = Tally::default();
    ended.sum.0.iter().for_each(|tally| sum.join(tally));
    let violations = u64::from(ended.failure.is_some());
    fault_rows(&ended.sum, out)?;
    if !out.is_json() {
        let Tally { runs, injected, told, unknown, poisoned, silent } = sum;
        out.line(format_args!(
            "{runs} runs with {injected} failed calls in {}: {told} errors told, {poisoned} handles \
             poisoned, {unknown} batches of unknown outcome, {silent} runs without a word, {}",
            plural_of(cycles, "history", "histories"),
            plural(violations, "violation"),
        ))?;
    }
    let summary = Object::summary().number("seed", wanted.seed).number("cycles", cycles);
    // Behind each run, what a kill leaves and what a power loss leaves.
    let summary = summary.number("states", 2 * sum.runs).number("kills", sum.runs);
    out.summary(tallied(summary, &sum).number("violations", violations))?;
    if ended.is_complete && cycles >= MANY {
        let called = ended.sum.0.iter().all(|tally| tally.runs > 0);
        not_vacuous(
            out,
            &[
                ("error", sum.told),
                ("poisoned handle", sum.poisoned),
                ("batch of unknown outcome", sum.unknown),
                ("call of some kind", called.into()),
            ],
        )?;
    }
    artifacts::conclude(&wanted.artifacts, ended.failure.map(|(_, found)| *found), out)
}

/// What came of the faults at each place.
fn fault_rows(places: &Places, out: &mut Out) -> Outcome<()> {
    let mut table =
        Table::new(&["call", "path", "runs", "failed", "told", "poisoned", "unknown", "silent"]);
    for ((op, path), tally) in faults::PLACES.iter().zip(&places.0) {
        let op = format!("{op:?}").to_lowercase();
        if out.is_json() {
            out.object(&tallied(Object::new("place").text("op", &op).text("path", path), tally))?;
            continue;
        }
        let names = [op, (*path).to_owned()].into_iter();
        table.row(names.chain(counts(tally).map(|(_, count)| count.to_string())));
    }
    if out.is_json() { Ok(()) } else { out.table(&table) }
}

fn tallied(object: Object, tally: &Tally) -> Object {
    counts(tally).into_iter().fold(object, |object, (name, count)| object.number(name, count))
}

fn counts(tally: &Tally) -> [(&'static str, u64); 6] {
    [
        ("runs", tally.runs),
        ("injected", tally.injected),
        ("told", tally.told),
        ("poisoned", tally.poisoned),
        ("unknown", tally.unknown),
        ("silent", tally.silent),
    ]
}

/// Plays histories under many options.
pub(super) fn variants(wanted: &CampaignArgs, out: &mut Out) -> Outcome {
    let cycles = wanted.cycles.unwrap_or(match wanted.profile {
        Profile::Ci => 20,
        Profile::Full => 2_000,
    });
    let ended = campaign(
        wanted,
        out,
        "histories",
        cycles,
        |number| {
            // In turn, all that a store can do, and what merges may drop.
            let setup = match number % 2 {
                0 => Setup::seeded(wanted.seed + number),
                _ => Setup::layered(wanted.seed + number),
            };
            parallel::guarded(|| metamorphic::compare(&setup), |broken| Box::new((0, broken)))
                .map_err(|found| {
                    let (variant, broken) = *found;
                    Box::new(Artifact { setup, cause: Cause::Metamorphic(variant), broken })
                })
        },
        |sum: &mut u64, part| *sum += part,
    )?;
    let (answers, violations) = (ended.sum, u64::from(ended.failure.is_some()));
    if !out.is_json() {
        out.line(format_args!(
            "{answers} answers compared in {}, each under {} sets of options, {}",
            plural_of(cycles, "history", "histories"),
            metamorphic::VARIANTS,
            plural(violations, "violation"),
        ))?;
    }
    out.summary(
        Object::summary()
            .number("seed", wanted.seed)
            .number("cycles", cycles)
            .number("variants", metamorphic::VARIANTS)
            .number("answers", answers)
            .number("violations", violations),
    )?;
    artifacts::conclude(&wanted.artifacts, ended.failure.map(|(_, found)| *found), out)
}

/// Runs the tasks of a campaign with a bar, until time is up or a signal comes.
pub(super) fn campaign<T: Default + Copy + Send>(
    wanted: &CampaignArgs,
    out: &Out,
    label: &'static str,
    count: u64,
    task: impl Fn(u64) -> Result<T, Box<Artifact>> + Sync,
    join: impl Fn(&mut T, T) + Sync,
) -> Outcome<Ended<T, Box<Artifact>>> {
    let orderly = Orderly::begin();
    let began = now();
    let until = wanted.duration.map(Duration::from_secs);
    let mut progress = Progress::begin(label, Unit::Things, Some(count), out.is_quiet());
    let ended = parallel::run(count, task, join, |done, _| {
        progress.set(done);
        orderly.check().is_err() || until.is_some_and(|until| began.elapsed() >= until)
    });
    drop(progress);
    orderly.check()?;
    Ok(ended)
}

pub(super) fn plural_of(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[allow(clippy::disallowed_methods, reason = "the rate of a campaign is told to a person")]
fn now() -> Instant {
    Instant::now()
}
