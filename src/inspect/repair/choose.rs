//! Which tables make up a store whose manifest is lost, and in which levels. Pure.
//!
//! Invariants of the answer:
//! - Of a compaction's inputs and outputs only one side is taken. The outputs, if anything shows that
//!   the compaction was committed: an edit has one of them, another table was made from one, or an
//!   input is dead or gone, since inputs go only after the commit. Else the inputs: they hold all that
//!   the outputs hold. So nothing is lost, and what a compaction dropped, deleted keys above all, does
//!   not come back from its inputs.
//! - For any two tables of different places that share keys, all of the one is newer than all of the
//!   other. Where neither is, they are merged; their levels at the time of writing do not count,
//!   because a table may have moved since.
//! - A table lies as deep as it can: below everything newer that shares keys with it.

use std::collections::{BTreeMap, BTreeSet};

use crate::types::{FileNumber, Level, SeqNo};

/// A table that could be a part of the store.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) number: FileNumber,
    pub(super) smallest: Vec<u8>,
    pub(super) largest: Vec<u8>,
    pub(super) seqnos: (SeqNo, SeqNo),
    pub(super) job: u64,
    /// What it was merged from; empty for other tables.
    pub(super) inputs: Vec<FileNumber>,
    /// An edit says that it was a part of the store.
    pub(super) is_alive: bool,
    /// An edit says that it is not any more.
    pub(super) is_dead: bool,
}

/// Tables that become one sorted run, and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) level: Level,
    /// Positions of the candidates; those of one unit are merged.
    pub(super) tables: Vec<usize>,
}

/// What was chosen.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) units: Vec<Unit>,
    /// Positions of those that were left out, and why.
    pub(super) left_out: Vec<(usize, String)>,
}

/// Chooses.
pub(super) fn choose(tables: &[Candidate]) -> Choice {
    let reasons = superseded(tables);
    let taken: Vec<usize> =
        (0..tables.len()).filter(|index| !reasons.contains_key(index)).collect();
    let left_out = reasons.into_iter().collect();
    Choice { units: place(tables, merge_conflicts(tables, &taken)), left_out }
}

/// The tables that others stand for, and why.
fn superseded(tables: &[Candidate]) -> BTreeMap<usize, String> {
    let mut reasons = BTreeMap::new();
    for (index, _) in tables.iter().enumerate().filter(|(_, table)| table.is_dead) {
        reasons.insert(index, "an edit removed it".to_owned());
    }
    let by_number: BTreeMap<FileNumber, usize> =
        tables.iter().enumerate().map(|(index, table)| (table.number, index)).collect();
    let consumed: BTreeSet<FileNumber> =
        tables.iter().flat_map(|table| table.inputs.iter().copied()).collect();
    let mut jobs: BTreeMap<(u64, &[FileNumber]), Vec<usize>> = BTreeMap::new();
    for (index, table) in tables.iter().enumerate().filter(|(_, table)| !table.inputs.is_empty()) {
        jobs.entry((table.job, &table.inputs)).or_default().push(index);
    }
    for ((job, inputs), outputs) in jobs {
        let present: Vec<usize> =
            inputs.iter().filter_map(|number| by_number.get(number).copied()).collect();
        let is_gone = present.len() < inputs.len() || present.iter().any(|at| tables[*at].is_dead);
        let is_known = |at: &usize| {
            let table = &tables[*at];
            table.is_alive || table.is_dead || consumed.contains(&table.number)
        };
        let (losers, why) = if is_gone || outputs.iter().any(is_known) {
            (present, format!("job {job} merged it into others"))
        } else {
            (outputs, format!("its inputs are all there: job {job} was not finished"))
        };
        for at in losers {
            reasons.entry(at).or_insert_with(|| why.clone());
        }
    }
    reasons
}

/// A run on its way: its tables, the keys and sequence numbers it spans.
#[derive(Clone, Debug)]
struct Run<'t> {
    tables: Vec<usize>,
    smallest: &'t [u8],
    largest: &'t [u8],
    seqnos: (SeqNo, SeqNo),
}

impl<'t> Run<'t> {
    fn shares_keys(&self, other: &Run<'_>) -> bool {
        self.smallest <= other.largest && other.smallest <= self.largest
    }

    fn is_newer(&self, other: &Run<'_>) -> bool {
        self.seqnos.0 > other.seqnos.1
    }

    fn conflicts(&self, other: &Run<'_>) -> bool {
        self.shares_keys(other) && !self.is_newer(other) && !other.is_newer(self)
    }

    fn join(&mut self, other: Run<'t>) {
        self.tables.extend(other.tables);
        self.smallest = self.smallest.min(other.smallest);
        self.largest = self.largest.max(other.largest);
        self.seqnos = (self.seqnos.0.min(other.seqnos.0), self.seqnos.1.max(other.seqnos.1));
    }
}

/// Joins what conflicts until nothing does: a joined run spans more, and may conflict anew.
fn merge_conflicts<'t>(tables: &'t [Candidate], taken: &[usize]) -> Vec<Run<'t>> {
    let mut settled: Vec<Run<'t>> = Vec::new();
    for &index in taken {
        let table = &tables[index];
        let (smallest, largest) = (table.smallest.as_slice(), table.largest.as_slice());
        let mut run = Run { tables: vec![index], smallest, largest, seqnos: table.seqnos };
        while let Some(at) = settled.iter().position(|other| run.conflicts(other)) {
            run.join(settled.swap_remove(at));
        }
        settled.push(run);
    }
    settled
}

/// Gives each run the deepest level that it can have, oldest first.
fn place(tables: &[Candidate], mut runs: Vec<Run<'_>>) -> Vec<Unit> {
    runs.sort_by_key(|run| (run.seqnos, run.smallest.to_vec()));
    let mut levels: Vec<u8> = Vec::with_capacity(runs.len());
    for (index, run) in runs.iter().enumerate() {
        let below = (0..index).filter(|older| runs[*older].shares_keys(run));
        let deepest = below.map(|older| levels[older].saturating_sub(1)).min();
        levels.push(deepest.unwrap_or(Level::MAX.0));
    }
    let unit = |(run, level): (Run<'_>, u8)| {
        let mut merged = run.tables;
        merged.sort_by_key(|index| tables[*index].number);
        Unit { level: Level(level), tables: merged }
    };
    runs.into_iter().zip(levels).map(unit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(number: u64, keys: (&str, &str), seqnos: (u64, u64), inputs: &[u64]) -> Candidate {
        Candidate {
            number: FileNumber(number),
            smallest: keys.0.into(),
            largest: keys.1.into(),
            seqnos: (SeqNo(seqnos.0), SeqNo(seqnos.1)),
            job: number,
            inputs: inputs.iter().copied().map(FileNumber).collect(),
            is_alive: false,
            is_dead: false,
        }
    }

    /// The chosen tables with their levels, those that are merged together.
    fn chosen(tables: &[Candidate]) -> Vec<(u8, Vec<u64>)> {
        let choice = choose(tables);
        let numbers = |unit: Unit| {
            (unit.level.0, unit.tables.iter().map(|index| tables[*index].number.0).collect())
        };
        choice.units.into_iter().map(numbers).collect()
    }

    /// The same tables of one compaction, with each of the signs that it was committed, and without.
    #[test]
    fn of_a_compaction_one_side_is_taken() {
        let (a, b) = (table(1, ("a", "m"), (1, 5), &[]), table(2, ("a", "m"), (6, 9), &[]));
        let c = table(3, ("a", "m"), (1, 9), &[1, 2]);
        let all = [a.clone(), b.clone(), c.clone()];
        assert_eq!(chosen(&all), [(6, vec![1]), (5, vec![2])]);
        // An input is gone.
        assert_eq!(chosen(&[b.clone(), c.clone()]), [(6, vec![3])]);
        // An input is dead.
        let dead = Candidate { is_dead: true, ..a.clone() };
        assert_eq!(chosen(&[dead, b.clone(), c.clone()]), [(6, vec![3])]);
        // An edit has the output.
        let known = Candidate { is_alive: true, ..c.clone() };
        assert_eq!(chosen(&[a.clone(), b.clone(), known]), [(6, vec![3])]);
        // The output was an input itself, of a compaction that was not finished.
        let d = table(4, ("a", "z"), (1, 20), &[3, 5]);
        let e = table(5, ("k", "z"), (10, 20), &[]);
        assert_eq!(chosen(&[a, b, c, e, d]), [(6, vec![3]), (5, vec![5])]);
    }

    /// Ranges of keys and of sequence numbers, apart and interleaved.
    #[test]
    fn tables_that_cannot_be_ordered_are_merged() {
        let apart = [table(1, ("a", "c"), (1, 9), &[]), table(2, ("d", "f"), (3, 5), &[])];
        assert_eq!(chosen(&apart), [(6, vec![1]), (6, vec![2])]);
        let mixed = [table(1, ("a", "e"), (1, 9), &[]), table(2, ("d", "f"), (3, 12), &[])];
        assert_eq!(chosen(&mixed), [(6, vec![1, 2])]);
        // The merged run of 1 and 2 conflicts with 3, which neither of them does alone.
        let chain = [
            table(1, ("a", "e"), (1, 9), &[]),
            table(3, ("a", "b"), (11, 11), &[]),
            table(2, ("d", "f"), (3, 12), &[]),
        ];
        assert_eq!(chosen(&chain), [(6, vec![1, 2, 3])]);
    }

    /// More layers than there are levels: the newest pile up in L0, which keeps them in order.
    #[test]
    fn the_newest_lie_on_top() {
        let tables: Vec<_> =
            (1..=10).map(|n| table(n, ("a", "z"), (n * 10, n * 10 + 9), &[])).collect();
        let levels: Vec<u8> = chosen(&tables).into_iter().map(|(level, _)| level).collect();
        assert_eq!(levels, [6, 5, 4, 3, 2, 1, 0, 0, 0, 0]);
    }
}
