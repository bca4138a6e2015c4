//! `beach-crash damage` and `crowd`: what no crash leaves, and what one thread cannot show.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::power::{self, CampaignArgs, MANY};
use super::run::Profile;
use super::{artifacts, parallel};
use crate::cli::dump::plural;
use crate::cli::output::{Object, Table};
use crate::cli::progress::{Progress, Unit};
use crate::cli::signals::Orderly;
use crate::cli::{Out, Outcome, Status};
use crate::crash::artifact::{Artifact, Cause};
use crate::crash::crowd;
use crate::crash::damage::{self, Answers, Tally};
use crate::runtime::Runtime;
use crate::runtime::threads::ThreadRuntime;

/// `crowd`.
#[derive(Clone, Debug, clap::Args)]
pub struct CrowdArgs {
    /// How much is done
    #[arg(long, default_value = "ci")]
    pub profile: Profile,
    /// How many crowds [default: by profile]
    #[arg(long, value_name = "N")]
    pub cycles: Option<u64>,
    /// What they write
    #[arg(long, value_name = "N", default_value = "1")]
    pub seed: u64,
    /// Begin no new crowd after so many seconds
    #[arg(long, value_name = "SECS")]
    pub duration: Option<u64>,
}

/// `damage`.
#[derive(Clone, Debug, clap::Args)]
pub struct DamageArgs {
    /// What all campaigns know.
    #[command(flatten)]
    pub campaign: CampaignArgs,
    /// Flip each bit of each file besides; fewer histories do, as each is thousands of stores
    #[arg(long)]
    pub every_bit: bool,
}

/// Damages the files of many histories.
pub(super) fn damage(wanted: &DamageArgs, out: &mut Out) -> Outcome {
    let campaign = &wanted.campaign;
    let cycles = campaign.cycles.unwrap_or(match (campaign.profile, wanted.every_bit) {
        (Profile::Ci, false) => 40,
        (Profile::Full, false) => 2_000,
        (Profile::Ci, true) => 2,
        (Profile::Full, true) => 30,
    });
    let ended = power::campaign(
        campaign,
        out,
        "histories",
        cycles,
        |number| {
            let setup = damage::setup(campaign.seed + number);
            parallel::guarded(
                || {
                    damage::sweep(&setup, wanted.every_bit)
                        .map_err(|found| (Cause::Damage(found.case), found.broken))
                },
                |broken| (Cause::Damage(0), broken),
            )
            .map_err(|(cause, broken)| Box::new(Artifact { setup, cause, broken }))
        },
        |sum: &mut Tally, part| sum.join(&part),
    )?;
    let violations = u64::from(ended.failure.is_some());
    let (tally, sum) = (ended.sum, ended.sum.sum());
    rows(&tally, out)?;
    if !out.is_json() {
        out.line(format_args!(
            "{} damaged files in {}: {} refused, {} told on reading, {} dropped as a tail, {} \
             without effect, {}",
            sum.damages,
            power::plural_of(cycles, "history", "histories"),
            sum.refused,
            sum.on_read,
            sum.as_tail,
            sum.harmless,
            plural(violations, "violation"),
        ))?;
    }
    out.summary(
        answers(Object::summary().number("seed", campaign.seed).number("cycles", cycles), &sum)
            .number("violations", violations),
    )?;
    if ended.is_complete && cycles >= MANY {
        let promised = |(file, harm, answers): (&str, &str, &Answers)| {
            if (file, harm) == ("log", "older") { answers.must_refuse } else { 0 }
        };
        power::not_vacuous(
            out,
            &[
                ("refusal", sum.refused),
                ("error on reading", sum.on_read),
                ("dropped tail", sum.as_tail),
                ("older log that is promised more", tally.rows().map(promised).sum()),
            ],
        )?;
    }
    artifacts::conclude(&campaign.artifacts, ended.failure.map(|(_, found)| *found), out)
}

/// What came of each kind of damage to each kind of file.
fn rows(tally: &Tally, out: &mut Out) -> Outcome<()> {
    let mut table = Table::new(&[
        "file",
        "damage",
        "times",
        "must refuse",
        "refused",
        "on reading",
        "as tail",
        "harmless",
        "earlier",
    ]);
    for (file, harm, found) in tally.rows() {
        if out.is_json() {
            let object = Object::new("damage").text("file", file).text("damage", harm);
            out.object(&answers(object, found))?;
            continue;
        }
        let names = [file, harm].map(str::to_owned).into_iter();
        table.row(names.chain(counts(found).map(|(_, count)| count.to_string())));
    }
    if out.is_json() { Ok(()) } else { out.table(&table) }
}

fn answers(object: Object, found: &Answers) -> Object {
    counts(found).into_iter().fold(object, |object, (name, count)| object.number(name, count))
}

fn counts(found: &Answers) -> [(&'static str, u64); 7] {
    [
        ("damages", found.damages),
        ("must_refuse", found.must_refuse),
        ("refused", found.refused),
        ("on_read", found.on_read),
        ("as_tail", found.as_tail),
        ("harmless", found.harmless),
        ("earlier", found.earlier),
    ]
}

/// Lets crowds write.
pub(super) fn crowd(wanted: &CrowdArgs, out: &mut Out) -> Outcome {
    let cycles = wanted.cycles.unwrap_or(match wanted.profile {
        Profile::Ci => 100,
        Profile::Full => 5_000,
    });
    let orderly = Orderly::begin();
    let began = now();
    let until = wanted.duration.map(Duration::from_secs);
    let runtime: Arc<dyn Runtime> = Arc::new(ThreadRuntime::default());
    let mut progress = Progress::begin("crowds", Unit::Things, Some(cycles), out.is_quiet());
    let (mut all, mut violation) = (crowd::Tally::default(), None);
    for number in 0..cycles {
        if until.is_some_and(|until| began.elapsed() >= until) {
            break;
        }
        orderly.check()?;
        let ran = parallel::guarded(|| crowd::run(wanted.seed, number, &runtime), |broken| broken);
        match ran {
            Ok(tally) => all.join(&tally),
            Err(broken) => {
                violation = Some((number, broken));
                break;
            }
        }
        progress.set(number + 1);
    }
    drop(progress);
    let violations = u64::from(violation.is_some());
    let crowd::Tally { runs, acknowledged, failed, shared, snapshots } = all;
    if !out.is_json() {
        out.line(format_args!(
            "{}: {acknowledged} writes acknowledged, {failed} failed, {shared} shared a sync, \
             {snapshots} snapshots read twice, {}",
            plural(runs, "crowd"),
            plural(violations, "violation"),
        ))?;
    }
    out.summary(
        Object::summary()
            .number("seed", wanted.seed)
            .number("cycles", runs)
            .number("acknowledged", acknowledged)
            .number("failed", failed)
            .number("shared", shared)
            .number("snapshots", snapshots)
            .number("violations", violations),
    )?;
    let Some((number, broken)) = violation else { return Ok(Status::Done) };
    out.finish()?;
    let seed = wanted.seed;
    out.error(format_args!(
        "crowd {number} of seed {seed}: expected {}, found {}; to try again: beach-crash crowd \
         --seed {seed}",
        broken.expected, broken.found
    ));
    Ok(Status::Violated)
}

#[allow(clippy::disallowed_methods, reason = "a duration was asked for by a person")]
fn now() -> Instant {
    Instant::now()
}
