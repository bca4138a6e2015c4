//! The default strategy: sorted runs side by side at the top, one run at the bottom.
//!
//! The bottom (L6) holds nearly everything, once. Above it L5, L4, … are slots of one sorted run each,
//! filled from below: when L0 has [`RUNS`] tables they are merged into one run in the next free slot,
//! without touching what lies deeper. Two neighbouring slots are merged, a slice of keys at a time,
//! when there are more than the data needs; and when all that lies above the bottom exceeds a
//! quarter of it, the slice of keys where most lies above for each byte below is merged into the
//! bottom, through all slots at once. Choosing that slice leaves the others to fill up: the merged
//! slice has about twice the average above it, which halves the cost of the quarter.
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
const STEP_TABLES: u64 = 8;

pub(super) fn pick(shape: &Shape<'_>, limits: &Limits) -> Option<Job> {
    sink(shape)
        .or_else(|| settle(shape))
        .or_else(|| {
            if shape.first_run() == Some(1) && shape.levels[0].len() < 2 * RUNS {
                slots(shape, limits)
            } else {
                None
            }
        })
        .or_else(|| runs(shape, limits))
        .or_else(|| slots(shape, limits))
        .or_else(|| space(shape, limits))
        .or_else(|| tombstones::pick(shape, limits))
}

/// Bytes above the bottom: of L0, of the slots.
fn bytes_above(shape: &Shape<'_>) -> (u64, u64) {
    (shape.bytes(0), (1..BOTTOM).map(|level| shape.bytes(level)).sum())
}

/// Whether so many bytes above the bottom are too many.
fn is_crowded(shape: &Shape<'_>) -> bool {
    let (top, slots) = bytes_above(shape);
    (top + slots).saturating_mul(SPACE) > shape.bytes(BOTTOM)
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
    let lags = limits.idle && is_crowded(shape) && bytes_above(shape).1 == 0;
    if tables.is_empty() || !(tables.len() >= RUNS || lags) {
        return None;
    }
    // The oldest ones: nothing older in L0 remains.
    let oldest = tables.len().saturating_sub(2 * RUNS)..tables.len();
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
    let scale = density(shape).unwrap_or(1.0);
    let down: f64 =
        through.above().map(|table| (table.raw_bytes as f64 * scale).min(table.size as f64)).sum();
    let bounded = through.bytes_below() <= limits.table_size.saturating_mul(JOB_TABLES);
    let direct = through.bytes_below() as f64 <= down * DIRECT && bounded;
    match shape.first_run() {
        Some(first) if !direct => Slice::of_top(shape, top, (first - 1).max(1)),
        _ => through,
    }
}

/// Slots that the data needs: each about four times the one above it.
fn slots_max(shape: &Shape<'_>, limits: &Limits) -> usize {
    let one = (limits.memtable_size * RUNS as u64 / 2).max(1);
    let slots = bytes_above(shape).1 / one;
    // Four to the power of n in a number: half its digits in base two.
    (2 + (slots.max(1).ilog2() / 2) as usize).clamp(SLOTS, BOTTOM - 2)
}

/// A slice of one slot into the next, when there are more slots than needed: of the two neighbours
/// that are merged with the least work.
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
    if !is_crowded(shape) {
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
    let through = |level: usize, tables: Range<usize>| {
        let slice = Slice::of_run(shape, level, tables, output);
        if output == BOTTOM { slice.with_covered() } else { slice }
    };
    let (level, at, mut slice) = levels
        .flat_map(|level| (0..shape.levels[level].len()).map(move |at| (level, at)))
        .map(|(level, at)| (level, at, through(level, at..at + 1)))
        .max_by(|a, b| a.2.gain().total_cmp(&b.2.gain()))?;
    // Neighbours that gain as much go along: every job rewrites something in vain at its ends.
    let least = slice.gain() * 0.9;
    let room = limits.table_size.saturating_mul(STEP_TABLES);
    let mut tables = at..at + 1;
    loop {
        let left = (tables.start > 0).then(|| tables.start - 1..tables.end);
        let right = (tables.end < shape.levels[level].len()).then(|| tables.start..tables.end + 1);
        let wider =
            [left, right].into_iter().flatten().map(|wider| (wider.clone(), through(level, wider)));
        let Some(wider) = wider
            .filter(|(_, slice)| {
                slice.gain() >= least && slice.bytes_above() + slice.bytes_below() <= room
            })
            .max_by(|a, b| a.1.gain().total_cmp(&b.1.gain()))
        else {
            return Some(slice);
        };
        (tables, slice) = wider;
    }
}

/// L0's runs beyond those that make a merge due, and what lies above the bottom beyond its share.
pub(super) fn debt(shape: &Shape<'_>, limits: &Limits) -> Debt {
    let (top, slots) = bytes_above(shape);
    let count = shape.levels[0].len() as u64;
    let excess = count.saturating_sub(RUNS as u64) * (top / count.max(1));
    let share = shape.bytes(BOTTOM) / SPACE;
    let crowd = (top + slots).saturating_sub(share.max(limits.memtable_size * 8));
    let runs = (2 * excess, 2 * 8 * (top / count.max(1)).max(1));
    let space = (4 * crowd, 4 * share.max(limits.memtable_size * 8));
    heavier(runs, space)
}

fn heavier(a: (u64, u64), b: (u64, u64)) -> Debt {
    let weight = |(bytes, limit): (u64, u64)| bytes as f64 / (limit as f64).max(1.0);
    let bytes = a.0 + b.0;
    let most = weight(a).max(weight(b));
    let limit = if most > 0.0 { (bytes as f64 / most) as u64 } else { a.1 };
    Debt { bytes, limit }
}
