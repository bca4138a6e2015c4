//! `beach-crash damage` and `crowd`: what no crash leaves, and what one thread cannot show.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::power::{CampaignArgs, campaign};
use super::run::Profile;
use super::{artifacts, parallel};
use crate::cli::dump::plural;
use crate::cli::output::Object;
use crate::cli::progress::{Progress, Unit};
use crate::cli::signals::Orderly;
use crate::cli::{Out, Outcome, Status};
use crate::crash::artifact::{Artifact, Cause};
use crate::crash::crowd;
use crate::crash::damage::{self, Tally};
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

/// Damages the files of many histories.
pub(super) fn damage(wanted: &CampaignArgs, out: &mut Out) -> Outcome {
    let cycles = wanted.cycles.unwrap_or(match wanted.profile {
        Profile::Ci => 40,
        Profile::Full => 2_000,
    });
    let ended = campaign(
        wanted,
        out,
        "histories",
        cycles,
        |number| {
            let setup = damage::setup(wanted.seed + number);
            parallel::guarded(
                || damage::sweep(&setup).map_err(|found| (Cause::Damage(found.case), found.broken)),
                |broken| (Cause::Damage(0), broken),
            )
            .map_err(|(cause, broken)| Box::new(Artifact { setup, cause, broken }))
        },
        |sum: &mut Tally, part| sum.join(&part),
    )?;
    let Tally { damages, refused, on_read, as_tail, harmless } = ended.sum;
    let violations = u64::from(ended.failure.is_some());
    if !out.is_json() {
        out.line(format_args!(
            "{damages} damaged files in {}: {refused} refused, {on_read} told on reading, {as_tail} \
             dropped as a tail, {harmless} without effect, {}",
            super::power::plural_of(cycles, "history", "histories"),
            plural(violations, "violation"),
        ))?;
    }
    out.summary(
        Object::summary()
            .number("seed", wanted.seed)
            .number("cycles", cycles)
            .number("damages", damages)
            .number("refused", refused)
            .number("on_read", on_read)
            .number("as_tail", as_tail)
            .number("harmless", harmless)
            .number("violations", violations),
    )?;
    artifacts::conclude(&wanted.artifacts, ended.failure.map(|(_, found)| *found), out)
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
