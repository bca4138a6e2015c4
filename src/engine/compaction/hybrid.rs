//! The default strategy: sorted runs side by side at the top, one run at the bottom.
//!
//! The bottom (L6) holds nearly everything, once. Above it L5, L4, … are slots of one sorted run each,
//! filled from below: when L0 has [`RUNS`] tables they are merged into one run in the next free slot,
//! without touching what lies deeper. Slots are merged into a deeper one, a slice of keys at a time,
//! when there are more than the data needs. When all that lies above the bottom exceeds a quarter of
//! it, a slice through all slots goes down: the one with most above for each byte below. The others
//! fill up meanwhile, so that a slice has about twice the average above it when its turn comes, and
//! the bottom is rewritten half as often as the quarter would suggest.
//!
//! Every job carries entries down, or takes tombstones out of the bottom; so without writes the
//! picks end.

use std::ops::Range;

use super::slice::{BOTTOM, Slice, Span};
use super::tombstones;
use super::{Action, Cause, Debt, Job, Limits, Shape};
use crate::format::table::TableMeta;
use crate::types::Level;

/// Tables in L0 that make a merge due.
pub(super) const RUNS: usize = 4;

/// Tables of L0 that one job takes at most, as long as others can be left: the oldest.
const RUNS_MAX: usize = 2 * RUNS;

/// Slots that may always be in use.
const SLOTS: usize = 3;

/// The bottom's bytes for each byte that may lie above it.
const SPACE: u64 = 4;

/// L0 is merged into the bottom at once if that rewrites at most so many bytes for each that goes
/// down: small stores need no slots.
const DIRECT: f64 = 4.0;

/// Most output tables of a merge that could also be done in steps.
pub(super) const JOB_TABLES: u64 = 16;

/// Output tables of a step.
pub(super) const STEP_TABLES: u64 = 8;

pub(super) fn pick(shape: &Shape<'_>, limits: &Limits) -> Option<Job> {
    sink(shape)
        .or_else(|| settle(shape))
        .or_else(|| full(shape, limits))
        .or_else(|| runs(shape, limits))
        .or_else(|| slots(shape, limits))
        .or_else(|| space(shape, limits))
        .or_else(|| tombstones::pick(shape, limits))
}

/// Bytes above the bottom: of L0, of the slots.
fn bytes_above(shape: &Shape<'_>) -> (u64, u64) {
    (shape.bytes(0), (1..BOTTOM).map(|level| shape.bytes(level)).sum())
}

/// Whether too many bytes lie above the bottom: while writes go on L0 counts as what it will be
/// when it is compressed.
fn is_crowded(shape: &Shape<'_>, limits: &Limits) -> bool {
    let (top, slots) = bytes_above(shape);
    let top = if limits.idle { top } else { compressed(shape, shape.levels[0].iter().copied()) };
    (top + slots).saturating_mul(SPACE) > shape.bytes(BOTTOM)
}

/// Bytes of these tables when they are compressed as the bottom is.
fn compressed<'a>(shape: &Shape<'a>, tables: impl Iterator<Item = &'a TableMeta>) -> u64 {
    let scale = density(shape).unwrap_or(f64::MAX);
    tables.map(|table| ((table.raw_bytes as f64 * scale) as u64).min(table.size)).sum()
}

/// A slot over an empty level goes down as it is: slots lie close to the bottom.
fn sink(shape: &Shape<'_>) -> Option<Job> {
    let is_empty = |level: usize| shape.levels[level].is_empty();
    let level = (1..BOTTOM).find(|&level| !is_empty(level) && is_empty(level + 1))?;
    let output = (level + 1..=BOTTOM).take_while(|&below| is_empty(below)).last()?;
    let inputs = shape.levels[level].iter().map(|table| (Level(level as u8), table.number));
    Some(Job {
        cause: Cause::LevelFull(Level(level as u8)),
        action: Action::Move,
        inputs: inputs.collect(),
        output: Level(output as u8),
    })
}

/// Tables with nothing older under them go to the bottom as they are.
///
/// Unless they are less dense than the bottom: an uncompressed table of L0 waits for a merge that
/// compresses it. And unless they have tombstones: in a merge those vanish.
pub(super) fn settle(shape: &Shape<'_>) -> Option<Job> {
    let mut inputs = Vec::new();
    for (at, table) in shape.levels[0].iter().enumerate() {
        let span = Span::of(table);
        let older = &shape.levels[0][at + 1..];
        if table.tombstones == 0
            && is_dense(shape, table.size, table.raw_bytes)
            && !older.iter().any(|older| Span::of(older).touches(&span))
            && shape.is_clear(1..Level::COUNT, &span)
        {
            inputs.push((Level(0), table.number));
        }
    }
    for level in 1..BOTTOM {
        for table in &shape.levels[level] {
            if table.tombstones == 0 && shape.is_clear(level + 1..Level::COUNT, &Span::of(table)) {
                inputs.push((Level(level as u8), table.number));
            }
        }
    }
    let output = Level(BOTTOM as u8);
    let cause = Cause::Runs;
    (!inputs.is_empty()).then_some(Job { cause, action: Action::Move, inputs, output })
}

/// Whether a table of L0 is about as well compressed as the bottom is.
fn is_dense(shape: &Shape<'_>, size: u64, raw: u64) -> bool {
    match density(shape) {
        Some(bottom) => size as f64 <= raw as f64 * bottom * 1.2,
        None => size as f64 <= raw as f64 * 0.9,
    }
}

/// Bytes of file that a byte of keys and values takes in the bottom.
fn density(shape: &Shape<'_>) -> Option<f64> {
    let raw: u64 = shape.levels[BOTTOM].iter().map(|table| table.raw_bytes).sum();
    (raw > 0).then(|| shape.bytes(BOTTOM) as f64 / raw as f64)
}

/// L0 into a slot, or into the bottom.
fn runs(shape: &Shape<'_>, limits: &Limits) -> Option<Job> {
    let tables = &shape.levels[0];
    let lags = limits.idle && is_crowded(shape, limits) && bytes_above(shape).1 == 0;
    if tables.is_empty() || !(tables.len() >= RUNS || lags) {
        return None;
    }
    // The oldest ones: nothing older in L0 remains.
    let oldest = tables.len().saturating_sub(RUNS_MAX)..tables.len();
    Some(top_slice(shape, limits, oldest.collect()).job(Cause::Runs))
}

/// These tables of L0 and what they are merged with: all the way down if that is cheap, otherwise
/// nothing, where a slot is free.
pub(super) fn top_slice<'s, 'a>(
    shape: &'s Shape<'a>,
    limits: &Limits,
    top: Vec<usize>,
) -> Slice<'s, 'a> {
    let through = Slice::of_top(shape, top.clone(), BOTTOM);
    let down = compressed(shape, through.above()) as f64;
    let bounded = through.bytes_below() <= limits.table_size.saturating_mul(JOB_TABLES);
    let direct = through.bytes_below() as f64 <= down * DIRECT && bounded;
    match shape.first_run() {
        Some(first) if !direct => Slice::of_top(shape, top, (first - 1).max(1)),
        _ => through,
    }
}

/// No slot is free: L0 waits for one, within limits, rather than being merged with a whole run.
fn full(shape: &Shape<'_>, limits: &Limits) -> Option<Job> {
    let waits = shape.first_run() == Some(1) && shape.levels[0].len() < RUNS_MAX;
    waits.then(|| slots(shape, limits)).flatten()
}

/// Slots that the data needs: each about four times the one above it.
fn slots_max(shape: &Shape<'_>, limits: &Limits) -> usize {
    let one = (limits.memtable_size.saturating_mul(RUNS as u64) / 2).max(1);
    let slots = bytes_above(shape).1 / one;
    // Four to the power of n in a number: half its digits in base two.
    (2 + (slots.max(1).ilog2() / 2) as usize).clamp(SLOTS, BOTTOM - 2)
}

/// A slice of one slot into a deeper one, when there are more slots than needed: of the two that are
/// most alike, what lies between them counted to the upper one.
fn slots(shape: &Shape<'_>, limits: &Limits) -> Option<Job> {
    let used = (1..BOTTOM).filter(|&level| !shape.levels[level].is_empty()).count();
    if used <= slots_max(shape, limits) {
        return None;
    }
    let gain = |&(level, output): &(usize, usize)| {
        let slices = (0..shape.levels[level].len())
            .map(|at| Slice::of_run(shape, level, at..at + 1, output));
        let (above, below) = slices.fold((0, 0), |(above, below), slice| {
            (above + slice.bytes_above(), below + slice.bytes_below())
        });
        above as f64 / (below as f64).max(1.0)
    };
    let groups = (1..BOTTOM - 1)
        .filter(|&level| !shape.levels[level].is_empty())
        .flat_map(|level| (level + 1..BOTTOM).map(move |output| (level, output)));
    let (level, output) = groups.max_by(|a, b| gain(a).total_cmp(&gain(b)))?;
    let slice = best(shape, limits, level..level + 1, output)?;
    Some(slice.job(Cause::LevelFull(Level(level as u8))))
}

/// A slice through all slots into the bottom, when too much lies above it.
fn space(shape: &Shape<'_>, limits: &Limits) -> Option<Job> {
    if !is_crowded(shape, limits) {
        return None;
    }
    let slice = best(shape, limits, 1..BOTTOM, BOTTOM)?;
    Some(slice.job(Cause::LevelFull(Level(BOTTOM as u8 - 1))))
}

/// The slice from neighbours on one of these levels down to the output that gains most.
fn best<'s, 'a>(
    shape: &'s Shape<'a>,
    limits: &Limits,
    levels: Range<usize>,
    output: usize,
) -> Option<Slice<'s, 'a>> {
    let room = limits.table_size.saturating_mul(STEP_TABLES);
    let through = |level: usize, tables: Range<usize>| {
        let slice = Slice::of_run(shape, level, tables, output);
        if output == BOTTOM { slice.with_covered() } else { slice }
    };
    let (level, at, mut slice) = levels
        .flat_map(|level| (0..shape.levels[level].len()).map(move |at| (level, at)))
        .map(|(level, at)| (level, at, through(level, at..at + 1)))
        .max_by(|a, b| {
            let fits = |slice: &Slice<'_, '_>| slice.size() <= room;
            fits(&a.2).cmp(&fits(&b.2)).then(a.2.gain().total_cmp(&b.2.gain()))
        })?;
    // Neighbours that gain about as much go along: each job rewrites in vain what only its ends touch.
    let least = slice.gain() * 0.9;
    let mut tables = at..at + 1;
    loop {
        let left = (tables.start > 0).then(|| tables.start - 1..tables.end);
        let right = (tables.end < shape.levels[level].len()).then(|| tables.start..tables.end + 1);
        let wider =
            [left, right].into_iter().flatten().map(|wider| (wider.clone(), through(level, wider)));
        let Some(wider) = wider
            .filter(|(_, slice)| slice.gain() >= least && slice.size() <= room)
            .max_by(|a, b| a.1.gain().total_cmp(&b.1.gain()))
        else {
            return Some(slice);
        };
        (tables, slice) = wider;
    }
}

/// L0's runs beyond those that make a merge due, and what lies above the bottom beyond its share.
///
/// The more pressing of the two sets the limit. Runs slow the writers down from twice [`RUNS`] on,
/// and most at three times as many; space from 1.5 times its share on, and most at twice.
pub(super) fn debt(shape: &Shape<'_>, limits: &Limits) -> Debt {
    let (top, slots) = bytes_above(shape);
    let share = (shape.bytes(BOTTOM) / SPACE).max(limits.memtable_size.saturating_mul(8));
    let crowd = (top + slots).saturating_sub(share);
    // A byte that goes to the bottom goes with about two and a half bytes there.
    let space = (crowd.saturating_mul(7) / 2, share.saturating_mul(7) / 2);
    heavier(runs_debt(shape.levels[0].len(), top), space)
}

/// Bytes that the merges of these runs of L0 will read, and how many slow writers down most.
pub(super) fn runs_debt(count: usize, size: u64) -> (u64, u64) {
    let one = (size / (count as u64).max(1)).max(1).saturating_mul(2);
    (one.saturating_mul(count.saturating_sub(RUNS) as u64), one.saturating_mul(2 * RUNS as u64))
}

/// Both debts (bytes, limit) together, as close to the limit as the one that is closer to its own.
pub(super) fn heavier(a: (u64, u64), b: (u64, u64)) -> Debt {
    let weight = |(bytes, limit): (u64, u64)| bytes as f64 / (limit as f64).max(1.0);
    let bytes = a.0.saturating_add(b.0);
    let most = weight(a).max(weight(b));
    let limit = if most > 0.0 { (bytes as f64 / most) as u64 } else { a.1 };
    Debt { bytes, limit: limit.max(1) }
}
