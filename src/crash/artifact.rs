//! Artifacts: a failure in one JSON file, enough to see it again.
//!
//! `power` and `faults` repeat bit for bit from the setup and the crashes or the fault; a `run` is
//! checked again in the directory that the kill left.

use std::fmt;

use serde_json::{Value, json};

use super::damage;
use super::faults;
use super::history::Setup;
use super::metamorphic;
use super::oracle::Broken;
use super::power::{self, Crash};
use crate::vfs::fault::{Fault, FaultError, OpKind, Times};
use crate::vfs::sim::{CrashPlan, DataPlan, DirPlan};

/// A failure of a campaign on the simulated disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// What was done.
    pub setup: Setup,
    /// What went wrong then.
    pub cause: Cause,
    /// What was expected and found.
    pub broken: Broken,
}

/// What was done to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Crashes: of the history, of the opening behind it, and so on.
    Power(Vec<Crash>),
    /// A fault of the file system.
    Fault(Fault),
    /// Damage of a file: the number of the case.
    Damage(u64),
    /// Another shape of the same store: the number of the variant.
    Metamorphic(u64),
}

impl Cause {
    /// The campaign's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Cause::Power(_) => "power",
            Cause::Fault(_) => "faults",
            Cause::Damage(_) => "damage",
            Cause::Metamorphic(_) => "metamorphic",
        }
    }
}

/// `power lost at operation 17 (data Prefix, names KeepAll)`.
impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Power(crashes) if crashes.is_empty() => f.write_str("no crash"),
            Cause::Power(crashes) => {
                for (index, Crash { op, plan }) in crashes.iter().enumerate() {
                    let where_it_is = if index == 0 { "" } else { ", then in the opening, " };
                    match plan {
                        Some(CrashPlan { data, dir, .. }) => write!(
                            f,
                            "{where_it_is}power lost at operation {op} (data {data:?}, names {dir:?})"
                        )?,
                        None => write!(f, "{where_it_is}killed at operation {op}")?,
                    }
                }
                Ok(())
            }
            Cause::Fault(Fault { op, path_contains, after, times, error }) => {
                let path = if path_contains.is_empty() { "any file" } else { path_contains };
                write!(f, "{error:?} {times:?} at {op:?} of {path}, after {after} such calls")
            }
            Cause::Damage(case) => write!(f, "damage {case}"),
            Cause::Metamorphic(variant) => write!(f, "variant {variant}"),
        }
    }
}

impl Artifact {
    /// The artifact as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut object = json!({
            "t": "artifact",
            "version": 1,
            "kind": self.cause.name(),
            "setup": self.setup.to_json(),
            "expected": self.broken.expected,
            "found": self.broken.found,
        });
        match &self.cause {
            Cause::Power(crashes) => {
                object["crashes"] = crashes.iter().map(crash_to_json).collect();
            }
            Cause::Fault(fault) => {
                object["fault"] = json!({
                    "op": format!("{:?}", fault.op),
                    "path_contains": fault.path_contains,
                    "after": fault.after,
                    "times": format!("{:?}", fault.times),
                    "error": format!("{:?}", fault.error),
                });
            }
            Cause::Damage(case) => object["case"] = (*case).into(),
            Cause::Metamorphic(variant) => object["variant"] = (*variant).into(),
        }
        object
    }

    /// Reads what [`Artifact::to_json`] wrote.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_json(value: &Value) -> Result<Artifact, String> {
        let cause = match value["kind"].as_str() {
            Some("power") => {
                let crashes = value["crashes"].as_array().ok_or("power without crashes")?;
                Cause::Power(crashes.iter().map(crash_from_json).collect::<Result<_, _>>()?)
            }
            Some("faults") => Cause::Fault(fault_from_json(&value["fault"])?),
            Some("damage") => Cause::Damage(value["case"].as_u64().ok_or("no case")?),
            Some("metamorphic") => {
                Cause::Metamorphic(value["variant"].as_u64().ok_or("no variant")?)
            }
            other => return Err(format!("not an artifact of the simulated disk: {other:?}")),
        };
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        Ok(Artifact {
            setup: Setup::from_json(&value["setup"])?,
            cause,
            broken: Broken { expected: text("expected"), found: text("found") },
        })
    }

    /// Does it again; what is broken now, if anything.
    ///
    /// # Errors
    /// The promise that is broken.
    pub fn replay(&self) -> Result<(), Broken> {
        match &self.cause {
            Cause::Power(crashes) => {
                power::crash_once(&self.setup, crashes).map_err(|violation| violation.broken)
            }
            Cause::Fault(fault) => faults::run(&self.setup, fault).map(drop),
            Cause::Damage(case) => damage::run(&self.setup, *case),
            Cause::Metamorphic(variant) => metamorphic::run(&self.setup, *variant).map(drop),
        }
    }

    /// A test that fails as long as the promise is broken.
    #[must_use]
    pub fn regression_test(&self) -> String {
        format!(
            "/// {}: expected {}.\n#[test]\nfn regression() {{\n    let artifact = r##\"{}\"##;\n    \
             let json = serde_json::from_str(artifact).expect(\"JSON\");\n    \
             let artifact = beachdb::crash::artifact::Artifact::from_json(&json).expect(\"an artifact\");\n    \
             assert_eq!(artifact.replay(), Ok(()));\n}}\n",
            self.cause,
            self.broken.expected,
            self.to_json(),
        )
    }
}

fn crash_to_json(crash: &Crash) -> Value {
    match crash.plan {
        Some(CrashPlan { data, dir, seed }) => json!({
            "op": crash.op,
            "data": format!("{data:?}"),
            "names": format!("{dir:?}"),
            "seed": seed,
        }),
        None => json!({"op": crash.op, "kill": true}),
    }
}

fn crash_from_json(value: &Value) -> Result<Crash, String> {
    let op = value["op"].as_u64().ok_or("a crash without an operation")?;
    if value["kill"] == true {
        return Ok(Crash { op, plan: None });
    }
    let plan = CrashPlan {
        data: named(&DataPlan::ALL, &value["data"])?,
        dir: named(&DirPlan::ALL, &value["names"])?,
        seed: value["seed"].as_u64().ok_or("a plan without a seed")?,
    };
    Ok(Crash { op, plan: Some(plan) })
}

fn fault_from_json(value: &Value) -> Result<Fault, String> {
    Ok(Fault {
        op: named(&OpKind::ALL, &value["op"])?,
        path_contains: value["path_contains"].as_str().unwrap_or_default().to_owned(),
        after: value["after"].as_u64().ok_or("a fault without a place")?,
        times: named(&[Times::Once, Times::Always], &value["times"])?,
        error: named(&[FaultError::Eio, FaultError::Enospc, FaultError::Short], &value["error"])?,
    })
}

/// The one of this name.
fn named<T: Copy + fmt::Debug>(all: &[T], name: &Value) -> Result<T, String> {
    let found = all.iter().find(|one| name.as_str() == Some(&format!("{one:?}")));
    found.copied().ok_or_else(|| format!("unknown: {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact(cause: Cause) -> Artifact {
        Artifact { setup: Setup::seeded(3), cause, broken: Broken::new("this", "that") }
    }

    /// Every plan, every kind of fault, through JSON and back.
    #[test]
    fn an_artifact_goes_through_json() {
        let crashes = CrashPlan::all(9).map(|plan| Crash { op: 4, plan: Some(plan) });
        let crashes = crashes.chain([Crash { op: 7, plan: None }]).collect();
        let mut causes = vec![Cause::Power(crashes), Cause::Damage(8), Cause::Metamorphic(3)];
        for (op, path) in faults::PLACES {
            for (times, error) in faults::WAYS {
                let path_contains = (*path).to_owned();
                causes.push(Cause::Fault(Fault { op: *op, path_contains, after: 2, times, error }));
            }
        }
        for cause in causes {
            let before = artifact(cause);
            assert_eq!(Artifact::from_json(&before.to_json()), Ok(before.clone()));
            assert!(before.regression_test().contains("\"t\":\"artifact\""));
        }
        assert!(Artifact::from_json(&json!({"kind": "run"})).is_err());
    }

    /// What a sound engine is asked to do again it does well again.
    #[test]
    fn a_replay_of_a_promise_that_holds_is_silent() {
        let plan = Some(CrashPlan::LOSE_ALL);
        let crashes = vec![Crash { op: 12, plan }, Crash { op: 3, plan }];
        assert_eq!(artifact(Cause::Power(crashes)).replay(), Ok(()));
        assert_eq!(artifact(Cause::Metamorphic(5)).replay(), Ok(()));
    }
}
