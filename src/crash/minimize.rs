//! Makes a failure small: delta debugging over the steps, then over what is in them.
//!
//! Operations on the disk move when a step goes, so a smaller history is not crashed at the old
//! place but searched for any violation of the same kind.

use std::sync::Arc;

use super::artifact::{Artifact, Cause};
use super::faults;
use super::history::{Setup, Shape, Step};
use super::metamorphic;
use super::power;

/// The smallest failure found, and how many histories were tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Minimized {
    /// The failure.
    pub artifact: Artifact,
    /// Histories that were played.
    pub tried: u64,
}

/// Shrinks a failure; `told` gets the number of steps left after each success.
///
/// None if it does not fail at all (any more).
pub fn minimize(artifact: &Artifact, told: &mut dyn FnMut(usize)) -> Option<Minimized> {
    let mut shrinking = Shrinking { best: artifact.clone(), tried: 0 };
    shrinking.best = shrinking.fails(&artifact.setup)?;
    loop {
        let before = shrinking.best.setup.clone();
        shrinking.steps(told);
        shrinking.contents();
        shrinking.shape();
        if shrinking.best.setup == before {
            let Shrinking { best, tried } = shrinking;
            return Some(Minimized { artifact: best, tried });
        }
    }
}

struct Shrinking {
    best: Artifact,
    tried: u64,
}

impl Shrinking {
    /// The failure of this setup, if it has one of the same kind.
    fn fails(&mut self, setup: &Setup) -> Option<Artifact> {
        self.tried += 1;
        let (cause, broken) = match &self.best.cause {
            Cause::Power(_) => {
                let violation = power::crash_everywhere(setup, 0, &Arc::default()).err()?;
                (Cause::Power(violation.crashes), violation.broken)
            }
            Cause::Fault(fault) => {
                let place = (fault.op, fault.path_contains.as_str());
                let violation = faults::sweep(setup, place, (fault.times, fault.error)).err()?;
                (Cause::Fault(violation.fault), violation.broken)
            }
            Cause::Metamorphic(_) => {
                let (variant, broken) = *metamorphic::compare(setup).err()?;
                (Cause::Metamorphic(variant), broken)
            }
        };
        Some(Artifact { setup: setup.clone(), cause, broken })
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
