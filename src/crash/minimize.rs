//! Makes a failure small: delta debugging over the steps, then over what is in them, then over the crashes.
//!
//! Operations on the disk move when a step goes, so a smaller history is not crashed at the old
//! place but searched for any violation of the same kind.

use std::sync::Arc;

use super::artifact::{Artifact, Cause};
use super::damage;
use super::faults;
use super::history::{Setup, Shape, Step};
use super::metamorphic;
use super::oracle::Broken;
use super::power::{self, Crash};
use crate::vfs::sim::{CrashPlan, DataPlan, DirPlan};

/// The smallest failure found, and how many histories were tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Minimized {
    /// The failure.
    pub artifact: Artifact,
    /// Histories that were played.
    pub tried: u64,
}

/// The failure of a setup, if it has one.
pub type Fails<'f> = dyn FnMut(&Setup) -> Option<Artifact> + 'f;

/// Shrinks a failure; `told` gets the number of steps left after each success.
///
/// None if it does not fail at all (any more).
pub fn minimize(artifact: &Artifact, told: &mut dyn FnMut(usize)) -> Option<Minimized> {
    let mut small = minimize_with(artifact, &mut |setup| fails(&artifact.cause, setup), told)?;
    if let Cause::Power(crashes) = &small.artifact.cause {
        let mut tried = 0;
        let again = |crashes: &[Crash]| {
            tried += 1;
            Some(power::crash_once(&small.artifact.setup, crashes).err()?.broken)
        };
        if let Some((crashes, broken)) = fewer_crashes(crashes, again) {
            small.artifact = Artifact { cause: Cause::Power(crashes), broken, ..small.artifact };
        }
        small.tried += tried;
    }
    Some(small)
}

/// Losses of power that are easy to follow, the easiest first.
const PLAIN: [CrashPlan; 4] = [
    CrashPlan::LOSE_ALL,
    CrashPlan::KEEP_ALL,
    CrashPlan { data: DataPlan::LoseAll, dir: DirPlan::KeepAll, seed: 0 },
    CrashPlan { data: DataPlan::KeepAll, dir: DirPlan::LoseAll, seed: 0 },
];

/// How much later in a history a single crash is looked for.
const LATER: u64 = 64;

/// Simpler crashes that break a promise too: a single plain one if there is one, else fewer of these, and
/// plain ones in their place. None if these are as simple as it gets.
fn fewer_crashes(
    crashes: &[Crash],
    mut fails: impl FnMut(&[Crash]) -> Option<Broken>,
) -> Option<(Vec<Crash>, Broken)> {
    let first = crashes.first()?;
    for plan in PLAIN {
        for op in 0..=first.op + LATER {
            let single = vec![Crash { op, plan: Some(plan) }];
            if let Some(broken) = fails(&single) {
                return (single != crashes).then_some((single, broken));
            }
        }
    }
    let mut best = None;
    let mut left = crashes.to_vec();
    let shorter = (1..crashes.len()).map(|count| crashes[..count].to_vec());
    if let Some((fewer, broken)) =
        shorter.filter_map(|few| Some((few.clone(), fails(&few)?))).next()
    {
        best = Some(broken);
        left = fewer;
    }
    for index in 0..left.len() {
        for plan in PLAIN {
            let mut plainer = left.clone();
            plainer[index].plan = Some(plan);
            if plainer == left {
                break;
            }
            if let Some(broken) = fails(&plainer) {
                best = Some(broken);
                left = plainer;
                break;
            }
        }
    }
    best.map(|broken| (left, broken))
}

/// The failure of this setup, if it has one of the same kind.
fn fails(cause: &Cause, setup: &Setup) -> Option<Artifact> {
    let (cause, broken) = match cause {
        Cause::Power(_) => {
            let violation = power::crash_everywhere(setup, 0, &Arc::default()).err()?;
            (Cause::Power(violation.crashes), violation.broken)
        }
        Cause::Fault(fault) => {
            let place = (fault.op, fault.path_contains.as_str());
            let violation = faults::sweep(setup, place, (fault.times, fault.error)).err()?;
            (Cause::Fault(violation.fault), violation.broken)
        }
        Cause::Damage(_) => {
            // Every bit takes seconds, so it comes second.
            let few = damage::sweep(setup, false).err();
            let violation = few.or_else(|| damage::sweep(setup, true).err())?;
            (Cause::Damage(violation.case), violation.broken)
        }
        Cause::Metamorphic(_) => {
            let (variant, broken) = *metamorphic::compare(setup).err()?;
            (Cause::Metamorphic(variant), broken)
        }
    };
    Some(Artifact { setup: setup.clone(), cause, broken })
}

/// The same for any way to fail.
pub fn minimize_with(
    artifact: &Artifact,
    fails: &mut Fails<'_>,
    told: &mut dyn FnMut(usize),
) -> Option<Minimized> {
    let mut shrinking = Shrinking { best: artifact.clone(), tried: 0, fails };
    shrinking.best = shrinking.fails(&artifact.setup)?;
    loop {
        let before = shrinking.best.setup.clone();
        shrinking.steps(told);
        shrinking.contents();
        shrinking.shape();
        if shrinking.best.setup == before {
            let Shrinking { best, tried, .. } = shrinking;
            return Some(Minimized { artifact: best, tried });
        }
    }
}

struct Shrinking<'s, 'f> {
    best: Artifact,
    tried: u64,
    fails: &'s mut Fails<'f>,
}

impl Shrinking<'_, '_> {
    fn fails(&mut self, setup: &Setup) -> Option<Artifact> {
        self.tried += 1;
        (self.fails)(setup)
    }

    /// Keeps this setup if it still fails.
    fn try_setup(&mut self, setup: Setup) -> bool {
        match self.fails(&setup) {
            Some(artifact) => {
                self.best = artifact;
                true
            }
            None => false,
        }
    }

    /// Leaves out steps: halves first, single ones at last.
    fn steps(&mut self, told: &mut dyn FnMut(usize)) {
        let mut size = self.best.setup.steps.len().div_ceil(2).max(1);
        loop {
            let mut at = 0;
            while at < self.best.setup.steps.len() {
                let mut setup = self.best.setup.clone();
                let end = (at + size).min(setup.steps.len());
                setup.steps.drain(at..end);
                if self.try_setup(setup) {
                    told(self.best.setup.steps.len());
                } else {
                    at += size;
                }
            }
            if size == 1 {
                return;
            }
            size = size.div_ceil(2);
        }
    }

    /// Makes batches and values smaller.
    fn contents(&mut self) {
        for index in 0..self.best.setup.steps.len() {
            while self.drop_a_change(index) {}
            for size in [1, 20, 100, 700] {
                if self.resize(index, size) {
                    break;
                }
            }
        }
    }

    fn drop_a_change(&mut self, index: usize) -> bool {
        let Step::Write { changes, .. } = &self.best.setup.steps[index] else { return false };
        let count = changes.len();
        count > 1
            && (0..count).any(|change| {
                let mut setup = self.best.setup.clone();
                if let Step::Write { changes, .. } = &mut setup.steps[index] {
                    changes.remove(change);
                }
                self.try_setup(setup)
            })
    }

    fn resize(&mut self, index: usize, size: u32) -> bool {
        let mut setup = self.best.setup.clone();
        if let Step::Write { changes, .. } = &mut setup.steps[index] {
            for change in changes.iter_mut().filter_map(|change| change.size.as_mut()) {
                *change = (*change).min(size);
            }
        }
        setup != self.best.setup && self.try_setup(setup)
    }

    /// Prefers the usual thresholds.
    fn shape(&mut self) {
        if self.best.setup.shape != Shape::default() {
            let setup = Setup { shape: Shape::default(), ..self.best.setup.clone() };
            self.try_setup(setup);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact(setup: &Setup) -> Artifact {
        let broken = Broken::new("this", "that");
        Artifact { setup: setup.clone(), cause: Cause::Power(Vec::new()), broken }
    }

    /// The position of a put of this key.
    fn put_of(setup: &Setup, key: &str) -> Option<usize> {
        let is_put = |step: &Step| match step {
            Step::Write { changes, .. } => {
                changes.iter().any(|change| change.key == key && change.size.is_some())
            }
            _ => false,
        };
        setup.steps.iter().position(is_put)
    }

    /// A failure that needs three steps in order, hidden in a long history, comes down to those
    /// three, with one small change in the batch.
    #[test]
    fn a_failure_becomes_as_small_as_it_can() {
        let mut fails = |setup: &Setup| {
            let put = put_of(setup, "k1")?;
            let flush = setup.steps[put..].iter().position(|step| *step == Step::Flush)?;
            let after = &setup.steps[put + flush..];
            after.contains(&Step::Reopen).then(|| artifact(setup))
        };
        let mut seen = 0;
        for seed in 0..200 {
            let setup = Setup::seeded(seed);
            let Some(small) = minimize_with(&artifact(&setup), &mut fails, &mut |_| {}) else {
                continue;
            };
            seen += 1;
            let steps = &small.artifact.setup.steps;
            assert_eq!(steps[1..], [Step::Flush, Step::Reopen], "seed {seed}");
            let Step::Write { changes, .. } = &steps[0] else { panic!("not a write") };
            assert_eq!((changes.len(), changes[0].size), (1, Some(1)));
            assert_eq!(small.artifact.setup.shape, Shape::default());
        }
        assert!(seen > 3, "{seen} of the histories fail so");
    }

    /// Three crashes come down to the one that matters where that is enough, and else to fewer and plainer
    /// ones: here the second may be any that loses the names, the third says nothing.
    #[test]
    fn crashes_become_few_and_plain() {
        let odd = CrashPlan { data: DataPlan::ALL[5], dir: DirPlan::LoseAll, seed: 9 };
        let crash = |op, plan| Crash { op, plan: Some(plan) };
        let crashes = [crash(30, odd), crash(18, odd), crash(10, odd)];
        let broken = || Some(Broken::new("this", "that"));
        let one = fewer_crashes(&crashes, |tried| {
            let enough = |crash: &Crash| crash.op >= 33 && crash.plan == Some(CrashPlan::KEEP_ALL);
            tried.first().is_some_and(enough).then(broken)?
        });
        assert_eq!(one.map(|found| found.0), Some(vec![crash(33, CrashPlan::KEEP_ALL)]));
        let two = fewer_crashes(&crashes, |tried| {
            let loses = |crash: &Crash| crash.plan.is_some_and(|plan| plan.dir == DirPlan::LoseAll);
            (tried.len() > 1 && tried[0] == crashes[0] && loses(&tried[1])).then(broken)?
        });
        let expected = vec![crash(30, odd), crash(18, CrashPlan::LOSE_ALL)];
        assert_eq!(two.map(|found| found.0), Some(expected));
        assert_eq!(fewer_crashes(&crashes, |tried| (*tried == crashes).then(broken)?), None);
    }

    /// What does not fail cannot shrink; nor does a sound engine fail.
    #[test]
    fn nothing_becomes_of_what_does_not_fail() {
        assert_eq!(minimize(&artifact(&Setup::exhaustive(2, 9, true)), &mut |_| {}), None);
    }
}
