//! What must be in a store after a kill: the oracle of real processes.
//!
//! Each writer's operations have one order and at most one of each is under way, so the store must hold
//! the acknowledged ones of each writer and at most one more. The store counts operations without a
//! gap: if what the writers' counters say adds up to its last sequence number, nothing of the
//! common order is missing in between. And the content must be exactly what these operations add up to.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::bank::{self, Ledger};
use super::oracle::Broken;
use super::workload::{Dice, Model, Op, Streams, WRITERS, counted, counter_key};
use crate::{Db, Result};

/// Which operations the workers get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Puts, deletes, batches, ingests; flushes, compactions, checkpoints.
    Workload,
    /// Transfers between accounts, and readers who add everything up.
    Bank,
}

impl Kind {
    /// `run` or `bank`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Workload => "run",
            Kind::Bank => "bank",
        }
    }
}

/// An operation that was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Acked {
    pub(super) stream: u64,
    pub(super) n: u64,
    pub(super) seqno: u64,
    /// The slot of a checkpoint.
    pub(super) checkpoint: Option<u64>,
}

/// What is known of a store.
#[derive(Clone, Debug)]
pub(super) struct Books {
    kind: Kind,
    seed: u64,
    pub(super) epoch: u64,
    /// As of the last look at the store.
    pub(super) known: Known,
    pub(super) seqno: u64,
    /// Sequence numbers that ingests have left out, and ingests.
    slack: u64,
    ingests: u64,
}

/// What a store must hold.
#[derive(Clone, Debug)]
pub(super) enum Known {
    Workload(Streams, Model),
    Bank(Ledger),
}

type Judged<T> = Result<Result<T, Broken>>;

impl Known {
    pub(super) fn done(&self) -> [u64; WRITERS as usize] {
        match self {
            Known::Workload(_, model) => model.done,
            Known::Bank(ledger) => ledger.done,
        }
    }

    fn advance(&mut self, upto: &[u64; WRITERS as usize]) {
        for (writer, upto) in (0..).zip(upto) {
            match self {
                Known::Workload(streams, model) => model.advance(*streams, writer, *upto),
                Known::Bank(ledger) => ledger.advance(writer, *upto),
            }
        }
    }

    /// Sequence numbers that the operations took, and ingests, each of which may leave out some more.
    fn seqnos(&self) -> (u64, u64) {
        match self {
            Known::Workload(_, model) => (model.seqnos, model.ingests),
            Known::Bank(ledger) => (ledger.seqnos(), 0),
        }
    }

    fn compare(&self, db: &Db) -> Judged<()> {
        match self {
            Known::Workload(_, model) => compare(db, &model.content),
            Known::Bank(ledger) => ledger.compare(db),
        }
    }
}

impl Books {
    pub(super) fn new(kind: Kind, seed: u64, epoch: u64) -> Books {
        let known = match kind {
            Kind::Workload => Known::Workload(Streams::new(seed, epoch), Model::default()),
            Kind::Bank => Known::Bank(Ledger::new(Dice::new(seed, epoch).below(u64::MAX))),
        };
        Books { kind, seed, epoch, known, seqno: 0, slack: 0, ingests: 0 }
    }

    /// As they were when the store was last looked at.
    pub(super) fn as_of(kind: Kind, (seed, epoch): (u64, u64), done: &[u64], seqno: u64) -> Books {
        let mut books = Books::new(kind, seed, epoch);
        let mut upto = [0; WRITERS as usize];
        upto.iter_mut().zip(done).for_each(|(upto, done)| *upto = *done);
        books.known.advance(&upto);
        books.settle(seqno);
        books
    }

    /// Those of the next store.
    pub(super) fn next(&self) -> Books {
        Books::new(self.kind, self.seed, self.epoch + 1)
    }

    /// What makes operations.
    pub(super) fn ops(&self) -> Arc<dyn Fn(u64, u64) -> Op + Send + Sync> {
        match &self.known {
            Known::Workload(streams, _) => {
                let streams = *streams;
                Arc::new(move |stream, n| streams.op(stream, n))
            }
            Known::Bank(ledger) => {
                let seed = ledger.seed;
                Arc::new(move |stream, n| bank::op(seed, stream, n))
            }
        }
    }

    /// Judges a store that was recovered from what a kill left; says how many operations were there
    /// that nobody acknowledged.
    pub(super) fn judge(&mut self, db: &Db, acked: &[Acked]) -> Judged<u64> {
        let found = counters(db)?;
        let mut in_flight = 0;
        for (writer, (found, done)) in (0..).zip(found.iter().zip(self.known.done())) {
            let own = acked.iter().filter(|ack| ack.stream == writer);
            let floor = own.map(|ack| ack.n).max().unwrap_or(0).max(done);
            if *found < floor || *found > floor + 1 {
                let what =
                    if *found < floor { "acknowledged" } else { "acknowledged, one under way" };
                let expected = format!("{floor} operations of writer {writer} ({what})");
                return Ok(Err(Broken::new(expected, format!("{found} of them"))));
            }
            in_flight += found - floor;
        }
        let last = db.stats().last_seqno.0;
        if let Some(ack) = acked.iter().find(|ack| ack.seqno > last) {
            let expected = format!("operation {} of writer {} at {}", ack.n, ack.stream, ack.seqno);
            return Ok(Err(Broken::new(expected, format!("a store that ends at {last}"))));
        }
        if last < self.seqno {
            let expected = format!("sequence number {} at least, as before", self.seqno);
            return Ok(Err(Broken::new(expected, format!("{last}"))));
        }
        self.known.advance(&found);
        let judged = self.judge_content(db)?;
        self.settle(last);
        Ok(judged.map(|()| in_flight))
    }

    fn settle(&mut self, last: u64) {
        let (count, ingests) = self.known.seqnos();
        (self.seqno, self.ingests) = (last, ingests);
        self.slack = last.saturating_sub(count);
    }

    /// Judges a store whose operations are known.
    pub(super) fn judge_content(&self, db: &Db) -> Judged<()> {
        let last = db.stats().last_seqno.0;
        let (count, ingests) = self.known.seqnos();
        let is_unfounded = last == 0 && self.known.done() == [0; WRITERS as usize];
        let expected = count + self.slack;
        if !is_unfounded && (last < expected || last > expected && ingests == self.ingests) {
            let expected = format!("{expected} as the last sequence number: what the counters say");
            return Ok(Err(Broken::new(expected, format!("{last}"))));
        }
        self.known.compare(db)
    }

    /// Judges a checkpoint that was made since the store was last looked at: everything up to its
    /// moment, and nothing behind it.
    pub(super) fn judge_checkpoint(&self, db: &Db, slot: u64, acked: &[Acked]) -> Judged<()> {
        let last = db.stats().last_seqno.0;
        let made = acked.iter().find(|ack| ack.checkpoint == Some(slot)).map(|ack| ack.seqno);
        if made.is_some_and(|made| made != last) {
            let expected = format!("checkpoint {slot} ends at {}", made.unwrap_or(0));
            return Ok(Err(Broken::new(expected, format!("{last}"))));
        }
        let found = counters(db)?;
        for ack in acked.iter().filter(|ack| ack.stream < WRITERS) {
            let is_there = ack.n <= found[ack.stream as usize];
            if is_there != (ack.seqno <= last) {
                let expected = format!("checkpoint {slot} of {last} holds what came until then");
                let there = if is_there { "there" } else { "missing" };
                let found = format!(
                    "operation {} of writer {}, at {}, is {there}",
                    ack.n, ack.stream, ack.seqno
                );
                return Ok(Err(Broken::new(expected, found)));
            }
        }
        let mut then = self.clone();
        then.known.advance(&found);
        then.judge_content(db)
    }
}

/// What the writers' counters say.
fn counters(db: &Db) -> Result<[u64; WRITERS as usize]> {
    let mut found = [0; WRITERS as usize];
    for (writer, found) in (0..).zip(&mut found) {
        let value = db.get(counter_key(writer))?;
        *found = value.and_then(|value| counted(&value)).unwrap_or(0);
    }
    Ok(found)
}

/// Compares what scans in both directions and gets find with what must be there.
fn compare(db: &Db, expected: &BTreeMap<Vec<u8>, Vec<u8>>) -> Judged<()> {
    let snapshot = db.snapshot();
    let mut found = Vec::new();
    for item in snapshot.iter() {
        let (key, value) = item?;
        found.push((key, value.to_vec()));
    }
    let mut back = Vec::new();
    for item in snapshot.iter().rev() {
        let (key, value) = item?;
        back.push((key, value.to_vec()));
    }
    back.reverse();
    for (way, found) in [("scan", &found), ("reverse scan", &back)] {
        if !found.iter().map(|(key, value)| (key, value)).eq(expected.iter()) {
            return Ok(Err(difference(way, found, expected)));
        }
    }
    for (key, value) in expected {
        let got = snapshot.get(key)?;
        if got.as_deref() != Some(value) {
            return Ok(Err(Broken::new(
                shown("get", key, Some(value)),
                shown("get", key, got.as_deref()),
            )));
        }
    }
    Ok(Ok(()))
}

/// The first key that differs.
fn difference(
    way: &str,
    found: &[(Vec<u8>, Vec<u8>)],
    expected: &BTreeMap<Vec<u8>, Vec<u8>>,
) -> Broken {
    let seen: BTreeMap<_, _> = found.iter().cloned().collect();
    let mut keys = expected.keys().chain(seen.keys());
    match keys.find(|key| expected.get(*key) != seen.get(*key)) {
        Some(key) => {
            let of = |from: &BTreeMap<Vec<u8>, Vec<u8>>| {
                shown(way, key, from.get(key).map(Vec::as_slice))
            };
            Broken::new(of(expected), of(&seen))
        }
        None => {
            Broken::new(format!("{way}: each key once"), "one twice, or out of order".to_owned())
        }
    }
}

/// `get "a" = "1"`.
fn shown(way: &str, key: &[u8], value: Option<&[u8]>) -> String {
    let key = key.escape_ascii();
    match value {
        None => format!("{way}: \"{key}\" is absent"),
        Some(value) if value.len() <= 24 => {
            format!("{way}: \"{key}\" is \"{}\"", value.escape_ascii())
        }
        Some(value) => {
            let (begin, size) = (value[..24].escape_ascii(), value.len());
            format!("{way}: \"{key}\" is \"{begin}…\" ({size} bytes)")
        }
    }
}
