//! A tree at the granularity of tables: which keys a table has is known as a share of the keys of
//! each cell of the key space, and merging tables merges shares.
//!
//! Keys are written at random, independently of one another, some classes of them more often than
//! others; so the shares are expected values, and the simulation needs no chance.

use std::rc::Rc;

use super::super::{Action, Job, Limits, Shape, Strategy, pick};
use super::rules;
use crate::format::key::{InternalKey, Trailer};
use crate::format::table::{Handle, TableMeta};
use crate::types::{FileId, FileNumber, Level, SeqNo, ValueKind};

/// Pieces of the key space.
const CELLS: usize = 1 << 13;
/// Bytes of a pair.
const PAIR: f64 = 116.0;
/// Bytes of file for a byte of pair, before compression.
const OVERHEAD: f64 = 1.06;
/// What compression leaves.
const LZ4: f64 = 0.55;
/// Pairs of a memtable of 64 MiB.
const FLUSH: f64 = 46e6 / PAIR;
/// Bytes of pairs that a merge reads a second.
const MERGE_SPEED: f64 = 250e6;

/// Keys that are written equally often: their share of all keys, and of all writes.
pub(super) type Class = (f64, f64);

/// What is written.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) keys: f64,
    pub(super) classes: Vec<Class>,
    /// Each key once, in order.
    pub(super) sequential: bool,
    /// Pairs a second, as long as nothing slows them down.
    pub(super) speed: f64,
}

impl Load {
    pub(super) fn uniform(keys: f64, speed: f64) -> Load {
        Load { keys, classes: vec![(1.0, 1.0)], sequential: false, speed }
    }
}

/// A table, and for each class the share of its keys that it has in each cell.
#[derive(Debug)]
struct Run {
    meta: TableMeta,
    first: usize,
    shares: Vec<Vec<f32>>,
}

/// Counters of one simulation.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    pub(super) user: f64,
    pub(super) written: f64,
    pub(super) merged_raw: f64,
    pub(super) jobs: u64,
    pub(super) moves: u64,
    pub(super) job_max: f64,
    pub(super) job_sum: f64,
    pub(super) causes: std::collections::BTreeMap<String, (u64, f64, f64, f64)>,
    pub(super) runs: Vec<usize>,
    pub(super) space_max: f64,
    pub(super) seconds: f64,
}

impl Figures {
    pub(super) fn amplification(&self) -> f64 {
        self.written / self.user
    }

    pub(super) fn runs_at(&self, share: f64) -> usize {
        let mut runs = self.runs.clone();
        runs.sort_unstable();
        runs[((runs.len() - 1) as f64 * share) as usize]
    }
}

pub(super) struct Simulator {
    strategy: Strategy,
    load: Load,
    limits: Limits,
    levels: [Vec<Rc<Run>>; Level::COUNT],
    running: Option<(Job, f64)>,
    seqno: u64,
    number: u64,
    place: usize,
    now: f64,
    pub(super) figures: Figures,
}

impl Simulator {
    pub(super) fn new(strategy: Strategy, load: Load, idle: bool) -> Simulator {
        let limits = Limits {
            memtable_size: 64 << 20,
            table_size: 32 << 20,
            oldest_snapshot: SeqNo::MAX,
            idle,
        };
        Simulator {
            strategy,
            load,
            limits,
            levels: Default::default(),
            running: None,
            seqno: 0,
            number: 0,
            place: 0,
            now: 0.0,
            figures: Figures::default(),
        }
    }

    /// All keys, in the bottom.
    pub(super) fn filled(mut self) -> Simulator {
        let shares = vec![vec![1.0; CELLS]; self.load.classes.len()];
        self.seqno = self.load.keys as u64;
        let seqnos = (SeqNo(1), SeqNo(self.seqno));
        self.levels[Level::COUNT - 1] = self.cut(0, &shares, seqnos, Level::COUNT - 1);
        self
    }

    /// Writes so many bytes of pairs, jobs running beside the writes.
    pub(super) fn write(&mut self, bytes: f64) {
        let count = (bytes / (FLUSH * PAIR)).ceil() as usize;
        for _ in 0..count {
            let slow = self.slowdown();
            self.now += FLUSH / (self.load.speed * slow);
            self.catch_up();
            self.flush();
            self.start();
            self.sample();
        }
        self.figures.seconds = self.now;
    }

    /// Lets jobs run until none is due.
    pub(super) fn settle(&mut self) {
        self.limits.idle = true;
        let mut left = 100_000;
        while self.running.is_some() || self.start() {
            self.now = self.running.as_ref().map_or(self.now, |(_, end)| *end);
            self.catch_up();
            left -= 1;
            assert!(left > 0, "the picks do not end");
        }
    }

    fn slowdown(&self) -> f64 {
        let debt = self.with_shape(|shape| pick::debt(self.strategy, shape, &self.limits));
        let over = debt.bytes as f64 / (debt.limit as f64).max(1.0);
        (1.0 - (over - 0.5).max(0.0) / 0.5).max(0.02)
    }

    fn with_shape<T>(&self, read: impl FnOnce(&Shape<'_>) -> T) -> T {
        let mut shape = Shape::default();
        for (level, runs) in self.levels.iter().enumerate() {
            shape.levels[level] = runs.iter().map(|run| &run.meta).collect();
        }
        read(&shape)
    }

    fn catch_up(&mut self) {
        while let Some((job, end)) = self.running.take() {
            if end > self.now {
                self.running = Some((job, end));
                return;
            }
            self.apply(&job);
            self.start_at(end);
        }
    }

    fn start(&mut self) -> bool {
        self.running.is_none() && self.start_at(self.now)
    }

    fn start_at(&mut self, now: f64) -> bool {
        loop {
            let job = self.with_shape(|shape| {
                let job = pick::pick(self.strategy, shape, &self.limits)?;
                assert_eq!(rules::breach(shape, &job), None, "{job:?}");
                Some(job)
            });
            let Some(job) = job else { return false };
            if job.action != Action::Merge {
                self.apply(&job);
                continue;
            }
            let inputs = self.inputs(&job);
            let raw: f64 = inputs.iter().map(|run| run.meta.raw_bytes as f64).sum();
            self.running = Some((job, now + raw / MERGE_SPEED));
            return true;
        }
    }

    fn inputs(&self, job: &Job) -> Vec<Rc<Run>> {
        let find = |(level, number): &(Level, FileNumber)| {
            let mut runs = self.levels[usize::from(level.0)].iter();
            Rc::clone(runs.find(|run| run.meta.number == *number).expect("an input"))
        };
        job.inputs.iter().map(find).collect()
    }

    fn apply(&mut self, job: &Job) {
        let inputs = self.inputs(job);
        for runs in &mut self.levels {
            runs.retain(|run| !job.inputs.iter().any(|(_, number)| *number == run.meta.number));
        }
        let output = usize::from(job.output.0);
        match job.action {
            Action::Drop => {}
            Action::Move => {
                self.figures.moves += inputs.len() as u64;
                self.levels[output].extend(inputs);
            }
            Action::Merge => {
                let size: f64 = inputs.iter().map(|run| run.meta.size as f64).sum();
                self.figures.jobs += 1;
                self.figures.job_sum += size;
                self.figures.job_max = self.figures.job_max.max(size);
                let raw: f64 = inputs.iter().map(|run| run.meta.raw_bytes as f64).sum();
                self.figures.merged_raw += raw;
                let below: f64 = job
                    .inputs
                    .iter()
                    .zip(&inputs)
                    .filter(|((level, _), _)| *level == job.output)
                    .map(|(_, run)| run.meta.size as f64)
                    .sum();
                let merged = self.merge(&inputs, output);
                let written = merged.iter().map(|run| run.meta.size as f64).sum::<f64>();
                self.figures.written += written;
                let cause =
                    self.figures.causes.entry(format!("{}>{}", job.cause, job.output)).or_default();
                cause.0 += 1;
                cause.1 += size - below;
                cause.2 += below;
                cause.3 += written;
                self.levels[output].extend(merged);
            }
        }
        match output {
            0 => self.levels[0].sort_by_key(|run| std::cmp::Reverse(run.meta.max_seqno)),
            _ => {
                self.levels[output].sort_by(|a, b| a.meta.smallest.user.cmp(&b.meta.smallest.user))
            }
        }
    }

    fn merge(&mut self, inputs: &[Rc<Run>], output: usize) -> Vec<Rc<Run>> {
        let first = inputs.iter().map(|run| run.first).min().unwrap_or(0);
        let end = inputs.iter().map(|run| run.first + run.shares[0].len()).max().unwrap_or(0);
        let mut shares = vec![vec![0.0f32; end - first]; self.load.classes.len()];
        for run in inputs {
            for (all, one) in shares.iter_mut().zip(&run.shares) {
                for (cell, share) in all[run.first - first..].iter_mut().zip(one) {
                    *cell = 1.0 - (1.0 - *cell) * (1.0 - share);
                }
            }
        }
        let min = inputs.iter().map(|run| run.meta.min_seqno).min().unwrap_or_default();
        let max = inputs.iter().map(|run| run.meta.max_seqno).max().unwrap_or_default();
        self.cut(first, &shares, (min, max), output)
    }

    /// Output tables: they end where a table of the bottom ends once they have half their size, at the
    /// latest when they are half as large again or lie over ten tables.
    fn cut(
        &mut self,
        first: usize,
        shares: &[Vec<f32>],
        seqnos: (SeqNo, SeqNo),
        output: usize,
    ) -> Vec<Rc<Run>> {
        let size = self.limits.table_size as f64;
        let below: Vec<(usize, f64)> = match output {
            0 | 6 => Vec::new(),
            _ => self.levels[6]
                .iter()
                .map(|run| (run.first + run.shares[0].len(), run.meta.size as f64))
                .collect(),
        };
        let mut below = below.into_iter().skip_while(|(end, _)| *end <= first).peekable();
        let (mut out, mut start, mut had, mut under) = (Vec::new(), 0, 0.0, 0.0);
        for at in 0..shares[0].len() {
            had += self.bytes(shares, at..at + 1);
            let mut boundary = false;
            while let Some((_, size)) = below.next_if(|(end, _)| *end <= first + at + 1) {
                boundary = true;
                under += size;
            }
            let full = match boundary {
                true => had >= size / 2.0 || under >= 10.0 * size,
                false => had >= if below.peek().is_some() { size * 1.5 } else { size },
            };
            if (full && output > 0) || at + 1 == shares[0].len() {
                let part: Vec<Vec<f32>> =
                    shares.iter().map(|all| all[start..=at].to_vec()).collect();
                if self.bytes(&part, 0..part[0].len()) > 0.0 {
                    out.push(self.run(first + start, part, seqnos));
                }
                (start, had, under) = (at + 1, 0.0, 0.0);
            }
        }
        out
    }

    fn entries(&self, shares: &[Vec<f32>], cells: std::ops::Range<usize>) -> f64 {
        let of = |(all, class): (&Vec<f32>, &Class)| {
            let keys = self.load.keys * class.0 / CELLS as f64;
            all[cells.clone()].iter().map(|share| f64::from(*share) * keys).sum::<f64>()
        };
        shares.iter().zip(&self.load.classes).map(of).sum()
    }

    fn bytes(&self, shares: &[Vec<f32>], cells: std::ops::Range<usize>) -> f64 {
        self.entries(shares, cells) * PAIR * OVERHEAD * LZ4
    }

    fn run(&mut self, first: usize, shares: Vec<Vec<f32>>, seqnos: (SeqNo, SeqNo)) -> Rc<Run> {
        self.number += 1;
        let count = shares[0].len();
        let key = |cell: usize, low: u8, seqno| InternalKey {
            user: [(cell as u32).to_be_bytes().as_slice(), &[low]].concat(),
            trailer: Trailer::new(seqno, ValueKind::Put),
        };
        let nowhere = Handle { offset: 0, size: 0 };
        let entries = self.entries(&shares, 0..count);
        let meta = TableMeta {
            number: FileNumber(self.number),
            id: FileId(self.number),
            size: self.bytes(&shares, 0..count) as u64,
            smallest: key(first, 0, seqnos.1),
            largest: key(first + count - 1, 255, seqnos.0),
            min_seqno: seqnos.0,
            max_seqno: seqnos.1,
            entries: (entries as u64).max(1),
            tombstones: 0,
            raw_bytes: (entries * PAIR) as u64,
            filter: nowhere,
            properties: nowhere,
            index: nowhere,
        };
        Rc::new(Run { meta, first, shares })
    }

    fn flush(&mut self) {
        let seqnos = (SeqNo(self.seqno + 1), SeqNo(self.seqno + FLUSH as u64));
        self.seqno = seqnos.1.0;
        let (first, shares) = match self.load.sequential {
            true => {
                let cells = (FLUSH / self.load.keys * CELLS as f64).round() as usize;
                let first = self.place;
                self.place += cells;
                (first, vec![vec![1.0; cells]])
            }
            false => {
                let share = |(keys, writes): &Class| {
                    let share = 1.0 - (-FLUSH * writes / (self.load.keys * keys)).exp();
                    vec![share as f32; CELLS]
                };
                (0, self.load.classes.iter().map(share).collect())
            }
        };
        let mut run = self.run(first, shares, seqnos);
        let compresses = self.with_shape(|shape| {
            let (from, to) = (&run.meta.smallest.user, &run.meta.largest.user);
            pick::flush_compresses(self.strategy, shape, from, to)
        });
        if !compresses && let Some(run) = Rc::get_mut(&mut run) {
            run.meta.size = (run.meta.size as f64 / LZ4) as u64;
        }
        self.figures.user += FLUSH * PAIR;
        self.figures.written += run.meta.size as f64;
        self.levels[0].insert(0, run);
    }

    /// Sorted runs that a read may look into.
    pub(super) fn runs(&self) -> usize {
        self.levels[0].len() + self.levels[1..].iter().filter(|runs| !runs.is_empty()).count()
    }

    /// Bytes of each level.
    pub(super) fn sizes(&self) -> [u64; Level::COUNT] {
        std::array::from_fn(|level| self.levels[level].iter().map(|run| run.meta.size).sum())
    }

    /// Bytes of the tree for each byte that its live pairs would take in one run.
    pub(super) fn space(&self) -> f64 {
        let mut left = vec![vec![1.0f32; CELLS + CELLS / 8]; self.load.classes.len()];
        for run in self.levels.iter().flatten() {
            for (all, one) in left.iter_mut().zip(&run.shares) {
                for (cell, share) in all[run.first..].iter_mut().zip(one) {
                    *cell *= 1.0 - share;
                }
            }
        }
        let live: Vec<Vec<f32>> =
            left.iter().map(|all| all.iter().map(|cell| 1.0 - cell).collect()).collect();
        let live = self.bytes(&live, 0..live[0].len());
        self.sizes().iter().sum::<u64>() as f64 / live
    }

    fn sample(&mut self) {
        let runs = self.runs();
        self.figures.runs.push(runs);
        if self.figures.runs.len().is_multiple_of(8) {
            self.figures.space_max = self.figures.space_max.max(self.space());
        }
    }
}
