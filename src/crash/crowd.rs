//! A crowd: many writers and a reader at once, on a disk that is slow and fails once.
//!
//! What one thread cannot show: writers wait for each other's syncs, and one of them commits for
//! all. Checked are
//! - every write that returned is read by its writer, whole; one that failed is nobody's,
//! - a snapshot shows the same twice, and only whole batches,
//! - after a kill every acknowledged write is there, after a power loss every durable one, and of
//!   all of them exactly those up to the last sequence number.
//!
//! The threads' order is the system's: a seed says what is written and what fails, not what meets.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::oracle::{Broken, Content, content_of, failing};
use super::player::DIR;
use crate::runtime::{Priority, Runtime, Step, StepFn};
use crate::vfs::fault::{Fault, FaultError, FaultVfs, OpKind, Times};
use crate::vfs::sim::{CrashPlan, SimVfs};
use crate::{Db, Durability, Options, SeqNo, WriteBatch};

/// Threads that write.
const WRITERS: u64 = 4;

/// Batches of each.
const WRITES: u64 = 12;

/// How long an operation on the disk takes, in microseconds: so long that writers line up.
const OPERATION_US: u64 = 40;

/// When a run that has not ended is taken for one that hangs, in microseconds.
const HANG_US: u64 = 30_000_000;

/// What runs saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Runs.
    pub runs: u64,
    /// Writes that were acknowledged.
    pub acknowledged: u64,
    /// Writes that failed.
    pub failed: u64,
    /// Writes that shared a sync with another.
    pub shared: u64,
    /// Snapshots that were read twice.
    pub snapshots: u64,
}

impl Tally {
    /// Adds another.
    pub fn join(&mut self, other: &Tally) {
        self.runs += other.runs;
        self.acknowledged += other.acknowledged;
        self.failed += other.failed;
        self.shared += other.shared;
        self.snapshots += other.snapshots;
    }
}

/// A write that returned.
#[derive(Clone, Copy, Debug)]
struct Acked {
    writer: u64,
    number: u64,
    seqno: SeqNo,
    durable: bool,
}

/// What the threads tell.
#[derive(Default)]
struct Told {
    acked: Mutex<Vec<Acked>>,
    failed: AtomicU64,
    broken: Mutex<Option<Broken>>,
    done: AtomicU64,
    snapshots: AtomicU64,
}

impl Told {
    fn broken(&self, broken: Broken) {
        self.broken.lock().get_or_insert(broken);
    }
}

/// Lets a crowd write, with one fault where `number` says; every sixth run is without.
///
/// # Errors
/// The promise that was broken.
pub fn run(seed: u64, number: u64, runtime: &Arc<dyn Runtime>) -> Result<Tally, Broken> {
    let sim = SimVfs::new();
    let vfs = FaultVfs::over_sim(sim.clone());
    let options = Options::new().memtable_size(4000).log_size(4096).manifest_size(1000);
    let options = options.vfs(Arc::new(vfs.clone())).runtime(Arc::clone(runtime));
    let db = Arc::new(failing("an opening", options.clone().open(Path::new(DIR)))?);
    if !number.is_multiple_of(6) {
        let op = if number.is_multiple_of(2) { OpKind::Write } else { OpKind::Sync };
        vfs.add(Fault {
            op,
            path_contains: ".wal".to_owned(),
            after: number / 2 % 17,
            times: Times::Once,
            error: FaultError::Eio,
        });
    }
    let slow = Arc::clone(runtime);
    sim.set_observer(Box::new(move |_, _| slow.sleep_us(OPERATION_US)));
    let told = Arc::new(Told::default());
    let mut workers: Vec<_> = (0..WRITERS)
        .map(|writer| runtime.spawn("crowd", Priority::Normal, writing(&db, &told, seed, writer)))
        .collect();
    workers.push(runtime.spawn("crowd", Priority::Normal, reading(&db, &told)));
    workers.iter().for_each(|worker| worker.wake());
    let began = runtime.monotonic_us();
    while told.done.load(Ordering::Acquire) < WRITERS {
        if runtime.monotonic_us() - began > HANG_US {
            // They cannot be stopped either.
            std::mem::forget(workers);
            return Err(Broken::new("writers that come to an end", "they wait for ever"));
        }
        runtime.sleep_us(200);
    }
    workers.iter().for_each(|worker| worker.stop());
    sim.clear_observer();
    let syncs = db.stats().syncs;
    let (killed, lost) = (sim.kill(), sim.crash(&CrashPlan::LOSE_ALL));
    drop(db);
    if let Some(broken) = told.broken.lock().take() {
        return Err(broken);
    }
    let acked = told.acked.lock();
    check_numbers(&acked)?;
    for (image, is_kill) in [(killed, true), (lost, false)] {
        let db = options.clone().vfs(Arc::new(image)).open(Path::new(DIR));
        check_left(&failing("an opening afterwards", db)?, &acked, seed, is_kill)?;
    }
    let durable = acked.iter().filter(|acked| acked.durable).count() as u64;
    Ok(Tally {
        runs: 1,
        acknowledged: acked.len() as u64,
        failed: told.failed.load(Ordering::Relaxed),
        shared: durable.saturating_sub(syncs),
        snapshots: told.snapshots.load(Ordering::Relaxed),
    })
}

/// The two keys of a batch, and what is under both.
fn pairs(seed: u64, writer: u64, number: u64) -> [(Vec<u8>, Vec<u8>); 2] {
    let value = format!("{seed}, {}", "x".repeat((number * 29 % 200) as usize)).into_bytes();
    ["a", "b"].map(|part| (format!("{writer}-{number:02}-{part}").into_bytes(), value.clone()))
}

fn writing(db: &Arc<Db>, told: &Arc<Told>, seed: u64, writer: u64) -> StepFn {
    let (db, told) = (Arc::clone(db), Arc::clone(told));
    let mut number = 0;
    Box::new(move || {
        if number == WRITES {
            return Step::Idle;
        }
        if let Err(broken) = write_one(&db, &told, seed, (writer, number)) {
            told.broken(broken);
        }
        number += 1;
        if number < WRITES {
            return Step::Worked;
        }
        told.done.fetch_add(1, Ordering::AcqRel);
        Step::Idle
    })
}

fn write_one(db: &Db, told: &Told, seed: u64, (writer, number): (u64, u64)) -> Result<(), Broken> {
    let pairs = pairs(seed, writer, number);
    let mut batch = WriteBatch::new();
    for (key, value) in &pairs {
        batch.put(key, value);
    }
    let durable = !(writer + number).is_multiple_of(5);
    let durability = if durable { Durability::Sync } else { Durability::Buffered };
    let Ok(seqno) = db.write(batch, durability) else {
        told.failed.fetch_add(1, Ordering::Relaxed);
        return Ok(());
    };
    told.acked.lock().push(Acked { writer, number, seqno, durable });
    for (key, value) in &pairs {
        if failing("a get", db.get(key))?.as_deref() != Some(value.as_slice()) {
            let expected = format!("{} right after it was acknowledged", key.escape_ascii());
            return Err(Broken::new(expected, "another value, or none"));
        }
    }
    Ok(())
}

fn reading(db: &Arc<Db>, told: &Arc<Told>) -> StepFn {
    let (db, told) = (Arc::clone(db), Arc::clone(told));
    Box::new(move || {
        if told.done.load(Ordering::Acquire) == WRITERS {
            return Step::Idle;
        }
        if let Err(broken) = read_twice(&db) {
            told.broken(broken);
        }
        told.snapshots.fetch_add(1, Ordering::Relaxed);
        Step::Worked
    })
}

fn read_twice(db: &Db) -> Result<(), Broken> {
    let snapshot = db.snapshot();
    let first = content_of(&snapshot)?;
    let second = content_of(&snapshot)?;
    if first != second {
        let found = format!("{} pairs and then {}", first.len(), second.len());
        return Err(Broken::new("a snapshot that shows the same twice", found));
    }
    check_whole(&first)
}

/// Of each batch both keys are there, or none.
fn check_whole(content: &Content) -> Result<(), Broken> {
    let mut parts: BTreeMap<&[u8], usize> = BTreeMap::new();
    for key in content.keys() {
        *parts.entry(&key[..key.len() - 1]).or_default() += 1;
    }
    match parts.iter().find(|(_, count)| **count != 2) {
        None => Ok(()),
        Some((batch, _)) => {
            let found = format!("half of {}", batch.escape_ascii());
            Err(Broken::new("whole batches", found))
        }
    }
}

/// No two writes got the same sequence numbers.
fn check_numbers(acked: &[Acked]) -> Result<(), Broken> {
    let numbers: BTreeSet<SeqNo> = acked.iter().map(|acked| acked.seqno).collect();
    if numbers.len() == acked.len() {
        return Ok(());
    }
    let found = format!("{} among {} writes", numbers.len(), acked.len());
    Err(Broken::new("a sequence number of its own for each write", found))
}

/// Everything up to the last sequence number is there, nothing behind it, and all that must be.
fn check_left(db: &Db, acked: &[Acked], seed: u64, is_kill: bool) -> Result<(), Broken> {
    let last = db.stats().last_seqno;
    let content = content_of(&db.snapshot())?;
    check_whole(&content)?;
    for Acked { writer, number, seqno, durable } in acked {
        let must = is_kill || *durable;
        if must && *seqno > last {
            let after = if is_kill { "a kill" } else { "a power loss" };
            let expected = format!("write {number} of writer {writer} after {after}");
            return Err(Broken::new(expected, format!("the store ends at {last}, before {seqno}")));
        }
        for (key, value) in pairs(seed, *writer, *number) {
            let due = (*seqno <= last).then_some(&value);
            if content.get(&key) != due {
                let expected = format!("{} as of sequence number {last}", key.escape_ascii());
                return Err(Broken::new(expected, "another value, or none, or one too many"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::threads::ThreadRuntime;

    /// A few crowds: writers do meet, writes do fail, and all promises hold.
    #[test]
    fn a_crowd_is_promised_what_one_is() {
        let runtime: Arc<dyn Runtime> = Arc::new(ThreadRuntime::default());
        let mut all = Tally::default();
        for number in 0..12 {
            all.join(&run(1, number, &runtime).expect("promises that hold"));
        }
        println!("{all:?}");
        assert!(all.acknowledged > 0 && all.failed > 0 && all.snapshots > 0, "{all:?}");
        assert!(all.shared > 0, "{all:?}");
    }
}
