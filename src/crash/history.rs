//! Histories: what is done to a store on the simulated disk, step by step, as data.
//!
//! A history is a pure function of its [`Setup`]: the same setup makes the same store, byte for
//! byte, so a setup in a file is enough to see a failure again.

use serde_json::{Map, Value, json};

use super::workload::Dice;
use crate::{Compression, Options, Strategy};

/// A store's thresholds and what is done to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// What the ids of files, the order of background work and the crash plans follow from.
    pub seed: u64,
    /// How the tree is kept in shape.
    pub shape: Shape,
    /// What is done, in order. The store is opened before and closed behind.
    pub steps: Vec<Step>,
}

/// Thresholds, all so small that every kind of background work happens within a few steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// 0 hybrid, 1 leveled, 2 size-tiered.
    pub strategy: u8,
    /// [`Options::memtable_size`].
    pub memtable_size: u64,
    /// [`Options::table_size`].
    pub table_size: u64,
    /// [`Options::manifest_size`].
    pub manifest_size: u64,
    /// [`Options::log_size`].
    pub log_size: u64,
    /// Whether merged blocks are compressed.
    pub compressed: bool,
}

impl Default for Shape {
    fn default() -> Shape {
        Shape {
            strategy: 0,
            memtable_size: 1500,
            table_size: 600,
            manifest_size: 700,
            log_size: 4096,
            compressed: true,
        }
    }
}

impl Shape {
    /// Options with these thresholds.
    #[must_use]
    pub fn options(&self) -> Options {
        Options::new()
            .strategy(match self.strategy {
                0 => Strategy::Hybrid,
                1 => Strategy::Leveled,
                _ => Strategy::SizeTiered,
            })
            .memtable_size(self.memtable_size)
            .table_size(self.table_size)
            .manifest_size(self.manifest_size)
            .log_size(self.log_size)
            .cache_size(4096)
            .compression(if self.compressed { Compression::Lz4 } else { Compression::None })
    }
}

/// One operation of a batch: the key, and the size of its value; none deletes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: String,
    /// Bytes of the value, which follow from the batch's number.
    pub size: Option<u32>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Writes a batch.
    Write {
        /// Its operations.
        changes: Vec<Change>,
        /// Whether it is durable when it returns.
        sync: bool,
    },
    /// Makes everything before it durable.
    Sync,
    /// Writes the memtable into a table.
    Flush,
    /// Merges everything.
    Compact,
    /// Runs the background work until nothing is due.
    Background,
    /// Runs one step of one background worker.
    BackgroundStep(u8),
    /// Takes a snapshot and keeps it.
    Snapshot,
    /// Reads the oldest snapshot once more and lets go of it.
    Release,
    /// Closes and opens again.
    Reopen,
    /// Lets go of the store without closing it, and opens it again.
    Drop,
    /// Goes on with what a kill leaves.
    Kill,
    /// Makes a checkpoint beside the store.
    Checkpoint,
}

impl Step {
    /// A write of one value.
    #[must_use]
    pub fn put(key: &str, size: u32, sync: bool) -> Step {
        Step::Write { changes: vec![Change { key: key.to_owned(), size: Some(size) }], sync }
    }

    /// A delete.
    #[must_use]
    pub fn delete(key: &str, sync: bool) -> Step {
        Step::Write { changes: vec![Change { key: key.to_owned(), size: None }], sync }
    }

    fn name(&self) -> &'static str {
        match self {
            Step::Write { .. } => "write",
            Step::Sync => "sync",
            Step::Flush => "flush",
            Step::Compact => "compact",
            Step::Background => "background",
            Step::BackgroundStep(_) => "background_step",
            Step::Snapshot => "snapshot",
            Step::Release => "release",
            Step::Reopen => "reopen",
            Step::Drop => "drop",
            Step::Kill => "kill",
            Step::Checkpoint => "checkpoint",
        }
    }

    /// The step as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut object = Map::from_iter([("do".to_owned(), self.name().into())]);
        match self {
            Step::Write { changes, sync } => {
                let change = |change: &Change| match change.size {
                    Some(size) => json!({"put": change.key, "size": size}),
                    None => json!({"del": change.key}),
                };
                object.insert("changes".to_owned(), changes.iter().map(change).collect());
                object.insert("sync".to_owned(), (*sync).into());
            }
            Step::BackgroundStep(choice) => {
                object.insert("worker".to_owned(), (*choice).into());
            }
            _ => {}
        }
        Value::Object(object)
    }

    /// Reads what [`Step::to_json`] wrote.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_json(value: &Value) -> Result<Step, String> {
        let change = |value: &Value| -> Result<Change, String> {
            let (key, size) = match (value["put"].as_str(), value["del"].as_str()) {
                (Some(key), None) => (key, Some(number(&value["size"])?)),
                (None, Some(key)) => (key, None),
                _ => return Err(format!("not a change: {value}")),
            };
            Ok(Change { key: key.to_owned(), size })
        };
        Ok(match value["do"].as_str().ok_or_else(|| format!("not a step: {value}"))? {
            "write" => {
                let changes = value["changes"].as_array().ok_or("a write without changes")?;
                let changes = changes.iter().map(change).collect::<Result<_, _>>()?;
                Step::Write { changes, sync: value["sync"].as_bool().unwrap_or(false) }
            }
            "sync" => Step::Sync,
            "flush" => Step::Flush,
            "compact" => Step::Compact,
            "background" => Step::Background,
            "background_step" => Step::BackgroundStep(number(&value["worker"])?),
            "snapshot" => Step::Snapshot,
            "release" => Step::Release,
            "reopen" => Step::Reopen,
            "drop" => Step::Drop,
            "kill" => Step::Kill,
            "checkpoint" => Step::Checkpoint,
            other => return Err(format!("an unknown step \"{}\"", other.escape_debug())),
        })
    }
}

fn number<T: TryFrom<u64>>(value: &Value) -> Result<T, String> {
    let number = value.as_u64().and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| format!("not a number here: {value}"))
}

impl Setup {
    /// The setup as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let Shape { strategy, memtable_size, table_size, manifest_size, log_size, compressed } =
            self.shape;
        json!({
            "seed": self.seed,
            "strategy": strategy,
            "memtable_size": memtable_size,
            "table_size": table_size,
            "manifest_size": manifest_size,
            "log_size": log_size,
            "compressed": compressed,
            "steps": self.steps.iter().map(Step::to_json).collect::<Vec<_>>(),
        })
    }

    /// Reads what [`Setup::to_json`] wrote.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_json(value: &Value) -> Result<Setup, String> {
        let steps = value["steps"].as_array().ok_or("a history without steps")?;
        Ok(Setup {
            seed: number(&value["seed"])?,
            shape: Shape {
                strategy: number(&value["strategy"])?,
                memtable_size: number(&value["memtable_size"])?,
                table_size: number(&value["table_size"])?,
                manifest_size: number(&value["manifest_size"])?,
                log_size: number(&value["log_size"])?,
                compressed: value["compressed"].as_bool().ok_or("compressed or not?")?,
            },
            steps: steps.iter().map(Step::from_json).collect::<Result<_, _>>()?,
        })
    }

    /// A seeded history of 6 to 25 steps, in which all that a store can do occurs.
    #[must_use]
    pub fn seeded(seed: u64) -> Setup {
        let mut dice = Dice::new(seed, 0x1157);
        let one_of = |dice: &mut Dice, all: &[u64]| all[dice.below(all.len() as u64) as usize];
        let shape = Shape {
            strategy: dice.below(3) as u8,
            memtable_size: one_of(&mut dice, &[1000, 1500, 4000]),
            table_size: one_of(&mut dice, &[1, 600, 32 << 20]),
            manifest_size: one_of(&mut dice, &[500, 700, 4000]),
            log_size: 4096,
            compressed: dice.below(2) == 0,
        };
        let length = 6 + dice.below(20);
        let steps = (0..length).map(|_| seeded_step(&mut dice)).collect();
        Setup { seed, shape, steps }
    }

    /// A seeded history of 20 to 59 steps about few keys: many versions, snapshots between them, many
    /// tables, and merges of some of those, so that what a merge may drop matters.
    #[must_use]
    pub fn layered(seed: u64) -> Setup {
        let mut dice = Dice::new(seed, 0x1a7e);
        let shape = Shape {
            strategy: dice.below(3) as u8,
            memtable_size: 1 << 20,
            table_size: if dice.below(2) == 0 { 1 } else { 600 },
            manifest_size: 1 << 20,
            compressed: dice.below(2) == 0,
            ..Shape::default()
        };
        let length = 20 + dice.below(40);
        let steps = (0..length).map(|_| layered_step(&mut dice)).collect();
        Setup { seed, shape, steps }
    }

    /// How many histories there are of exactly `length` steps of [`ALPHABET`].
    #[must_use]
    pub fn exhaustive_count(length: u32) -> u64 {
        (ALPHABET as u64).pow(length)
    }

    /// The `index`th of the histories of exactly `length` steps.
    #[must_use]
    pub fn exhaustive(length: u32, mut index: u64, sync: bool) -> Setup {
        let mut steps = Vec::new();
        for _ in 0..length {
            steps.push(letter((index % ALPHABET as u64) as usize, sync));
            index /= ALPHABET as u64;
        }
        Setup { seed: 1, shape: Shape::default(), steps }
    }
}

/// The steps of which all short histories are made: put, delete, batch, sync, flush, compact,
/// snapshot, reopen.
pub const ALPHABET: usize = 8;

fn letter(index: usize, sync: bool) -> Step {
    let change = |key: &str, size| Change { key: key.to_owned(), size };
    match index {
        0 => Step::put("a", 700, sync),
        1 => Step::delete("a", sync),
        2 => Step::Write {
            changes: vec![change("b", Some(900)), change("a", None), change("c", Some(20))],
            sync,
        },
        3 => Step::Sync,
        4 => Step::Flush,
        5 => Step::Compact,
        6 => Step::Snapshot,
        _ => Step::Reopen,
    }
}

fn seeded_step(dice: &mut Dice) -> Step {
    match dice.below(24) {
        0 => Step::Sync,
        1 => Step::Flush,
        2 => Step::Background,
        3 => Step::Reopen,
        4 => Step::Drop,
        5 => Step::Kill,
        6 | 7 => Step::BackgroundStep(dice.below(2) as u8),
        8 => Step::Compact,
        9 => Step::Snapshot,
        10 => Step::Release,
        11 => Step::Checkpoint,
        _ => {
            let count = 1 + dice.below(3);
            let changes = (0..count).map(|_| Change {
                key: format!("k{}", dice.below(6)),
                size: (dice.below(4) > 0).then(|| [3, 40, 400, 1600, 6000][dice.below(5) as usize]),
            });
            Step::Write { changes: changes.collect(), sync: dice.below(3) == 0 }
        }
    }
}

fn layered_step(dice: &mut Dice) -> Step {
    match dice.below(24) {
        0..=6 => Step::Flush,
        7..=9 => Step::Snapshot,
        10 => Step::Release,
        11 => Step::Compact,
        12 | 13 => Step::Background,
        14 => Step::BackgroundStep(dice.below(2) as u8),
        _ => {
            let size = (dice.below(3) > 0).then(|| [3, 40][dice.below(2) as usize]);
            let change = Change { key: format!("k{}", dice.below(3)), size };
            Step::Write { changes: vec![change], sync: dice.below(8) == 0 }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every kind of step occurs in seeded histories, and all of them go through JSON unchanged.
    #[test]
    fn a_setup_goes_through_json() {
        let mut names = std::collections::BTreeSet::new();
        for seed in 0..300 {
            let setup = Setup::seeded(seed);
            assert_eq!(Setup::from_json(&setup.to_json()), Ok(setup.clone()));
            names.extend(setup.steps.iter().map(Step::name));
        }
        assert_eq!(names.len(), 12, "{names:?}");
        assert!(Setup::from_json(&json!({"steps": []})).is_err());
        assert!(Step::from_json(&json!({"do": "dance"})).is_err());
    }

    /// As many different histories as there should be.
    #[test]
    fn the_short_histories_are_all_there() {
        let all: std::collections::HashSet<String> = (0..Setup::exhaustive_count(3))
            .map(|index| Setup::exhaustive(3, index, false).to_json().to_string())
            .collect();
        assert_eq!(all.len(), 512);
    }
}
