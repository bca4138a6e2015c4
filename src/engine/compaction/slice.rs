//! Key spans over a shape, and slices: inputs from neighbouring levels that may be merged together.
//!
//! Invariants of a closed [`Slice`]:
//! - Below L0 its tables of a level are neighbours there.
//! - For each of its levels it has all deeper tables, down to its output, that overlap the span of
//!   what it has above: nothing older stays between its inputs and its output.
//! - Its tables of L0 come with every older table of L0 that overlaps one of them.

use std::ops::Range;

use super::{Action, Cause, Job, Shape};
use crate::format::table::TableMeta;
use crate::types::Level;

/// The deepest level: where everything ends.
pub(super) const BOTTOM: usize = Level::COUNT - 1;

/// User keys from one to another, both inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span<'a> {
    pub(super) from: &'a [u8],
    pub(super) to: &'a [u8],
}

impl<'a> Span<'a> {
    pub(super) fn of(table: &'a TableMeta) -> Span<'a> {
        Span { from: &table.smallest.user, to: &table.largest.user }
    }

    /// The smallest span around all of them; none around nothing.
    pub(super) fn around(tables: impl IntoIterator<Item = &'a TableMeta>) -> Option<Span<'a>> {
        tables.into_iter().map(Span::of).reduce(Span::join)
    }

    pub(super) fn join(self, other: Span<'a>) -> Span<'a> {
        Span { from: self.from.min(other.from), to: self.to.max(other.to) }
    }

    pub(super) fn touches(&self, other: &Span<'_>) -> bool {
        self.from <= other.to && other.from <= self.to
    }

    fn contains(&self, other: &Span<'_>) -> bool {
        self.from <= other.from && other.to <= self.to
    }
}

/// Bytes of these tables.
pub(super) fn bytes(tables: &[&TableMeta]) -> u64 {
    tables.iter().map(|table| table.size).sum()
}

impl<'a> Shape<'a> {
    pub(super) fn bytes(&self, level: usize) -> u64 {
        bytes(&self.levels[level])
    }

    /// The tables of a level below L0 that overlap the span.
    pub(super) fn within(&self, level: usize, span: &Span<'_>) -> Range<usize> {
        let tables = &self.levels[level];
        let start = tables.partition_point(|table| table.largest.user.as_slice() < span.from);
        let size =
            tables[start..].partition_point(|table| table.smallest.user.as_slice() <= span.to);
        start..start + size
    }

    /// Whether no table of these levels overlaps the span.
    pub(super) fn is_clear(&self, levels: Range<usize>, span: &Span<'_>) -> bool {
        levels.into_iter().all(|level| self.within(level, span).is_empty())
    }

    /// The shallowest level below L0 with a table.
    pub(super) fn first_run(&self) -> Option<usize> {
        (1..Level::COUNT).find(|&level| !self.levels[level].is_empty())
    }

    /// The tables of L0 at these indices with every older one that overlaps, transitively; newest
    /// first.
    pub(super) fn with_older(&self, mut is_seed: impl FnMut(&TableMeta) -> bool) -> Vec<usize> {
        let mut taken: Vec<usize> = Vec::new();
        for (index, table) in self.levels[0].iter().enumerate() {
            let span = Span::of(table);
            let overlaps = |&newer: &usize| Span::of(self.levels[0][newer]).touches(&span);
            if is_seed(table) || taken.iter().any(overlaps) {
                taken.push(index);
            }
        }
        taken
    }
}

/// Inputs for a merge: see the module's invariants.
#[derive(Clone, Debug)]
pub(super) struct Slice<'s, 'a> {
    shape: &'s Shape<'a>,
    /// Indices in L0, ascending: newest first.
    top: Vec<usize>,
    /// Tables of the levels below L0; that of L0 stays empty.
    ranges: [Range<usize>; Level::COUNT],
    output: usize,
}

impl<'s, 'a> Slice<'s, 'a> {
    /// These tables of L0 (closed under "older and overlapping") and what is under them.
    pub(super) fn of_top(shape: &'s Shape<'a>, top: Vec<usize>, output: usize) -> Slice<'s, 'a> {
        Slice { shape, top, ranges: Default::default(), output }.closed()
    }

    /// These neighbours of a level below L0 and what is under them.
    pub(super) fn of_run(
        shape: &'s Shape<'a>,
        level: usize,
        tables: Range<usize>,
        output: usize,
    ) -> Slice<'s, 'a> {
        let mut ranges: [Range<usize>; Level::COUNT] = Default::default();
        ranges[level] = tables;
        Slice { shape, top: Vec::new(), ranges, output }.closed()
    }

    fn closed(mut self) -> Slice<'s, 'a> {
        let mut span = Span::around(self.top.iter().map(|&index| self.shape.levels[0][index]));
        for level in 1..=self.output {
            if let Some(span) = &span {
                let found = self.shape.within(level, span);
                self.ranges[level] = union(self.ranges[level].clone(), found);
            }
            span = [span, self.span_at(level)].into_iter().flatten().reduce(Span::join);
        }
        self
    }

    /// Takes along the tables above that lie over it and need no further table below.
    pub(super) fn with_covered(mut self) -> Slice<'s, 'a> {
        let Some(first) = (1..=self.output).find(|&level| !self.ranges[level].is_empty()) else {
            return self;
        };
        for level in (1..first).rev() {
            let Some(span) = self.span() else { break };
            let mut range = 0..0;
            for index in self.shape.within(level, &span) {
                let wider = union(range.clone(), index..index + 1);
                match self.covers(level, &wider, &span) {
                    true => range = wider,
                    false if range.is_empty() => {}
                    false => break,
                }
            }
            self.ranges[level] = range;
        }
        self
    }

    fn covers(&self, level: usize, tables: &Range<usize>, span: &Span<'_>) -> bool {
        let tables = &self.shape.levels[level][tables.clone()];
        Span::around(tables.iter().copied()).is_some_and(|theirs| {
            span.contains(&theirs)
                && (level + 1..=self.output).all(|deeper| {
                    let under = self.shape.within(deeper, &theirs);
                    let mine = &self.ranges[deeper];
                    under.is_empty() || (mine.start <= under.start && under.end <= mine.end)
                })
        })
    }

    fn span_at(&self, level: usize) -> Option<Span<'a>> {
        Span::around(self.shape.levels[level][self.ranges[level].clone()].iter().copied())
    }

    fn span(&self) -> Option<Span<'a>> {
        (1..=self.output).filter_map(|level| self.span_at(level)).reduce(Span::join)
    }

    fn tables(&self, level: usize) -> impl Iterator<Item = &'a TableMeta> {
        let top: &[usize] = if level == 0 { &self.top } else { &[] };
        top.iter()
            .copied()
            .chain(self.ranges[level].clone())
            .map(move |at| self.shape.levels[level][at])
    }

    /// The tables that leave their level.
    pub(super) fn above(&self) -> impl Iterator<Item = &'a TableMeta> {
        (0..self.output).flat_map(|level| self.tables(level))
    }

    /// The tables of the output level.
    pub(super) fn below(&self) -> impl Iterator<Item = &'a TableMeta> {
        self.tables(self.output)
    }

    /// Bytes that leave their level.
    pub(super) fn bytes_above(&self) -> u64 {
        self.above().map(|table| table.size).sum()
    }

    /// Bytes that are rewritten where they are.
    pub(super) fn bytes_below(&self) -> u64 {
        self.below().map(|table| table.size).sum()
    }

    /// Bytes that the merge reads.
    pub(super) fn size(&self) -> u64 {
        self.bytes_above() + self.bytes_below()
    }

    /// Bytes above for each byte below: how much the merge achieves for what it costs.
    pub(super) fn gain(&self) -> f64 {
        self.bytes_above() as f64 / (self.bytes_below() as f64).max(1.0)
    }

    /// The merge of its tables.
    pub(super) fn job(&self, cause: Cause) -> Job {
        let named = |level: usize| {
            let level_name = Level(level as u8);
            self.tables(level).map(move |table| (level_name, table.number))
        };
        Job {
            cause,
            action: Action::Merge,
            inputs: (0..=self.output).flat_map(named).collect(),
            output: Level(self.output as u8),
        }
    }
}

fn union(a: Range<usize>, b: Range<usize>) -> Range<usize> {
    match (a.is_empty(), b.is_empty()) {
        (true, _) => b,
        (_, true) => a,
        _ => a.start.min(b.start)..a.end.max(b.end),
    }
}
