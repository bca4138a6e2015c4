//! The rules that every job keeps, whatever picked it.

use super::super::slice::{BOTTOM, Span};
use super::super::{Action, Job, Shape};
use crate::format::table::TableMeta;
use crate::types::{FileNumber, Level};

/// What is wrong with this job for this shape; nothing if it keeps the rules.
pub(super) fn breach(shape: &Shape<'_>, job: &Job) -> Option<String> {
    let output = usize::from(job.output.0);
    let taken =
        |level: usize, table: &TableMeta| job.inputs.contains(&(Level(level as u8), table.number));
    if job.inputs.is_empty() {
        return Some("it has no inputs".to_owned());
    }
    if let Some(problem) = unknown(shape, job) {
        return Some(problem);
    }
    if job.action == Action::Drop {
        return None;
    }
    if job.inputs.iter().any(|(level, _)| level.0 > job.output.0) {
        return Some("an input is deeper than the output".to_owned());
    }
    // An entry may only go past, or into, levels where nothing older of its span stays.
    for level in 0..=output {
        for (at, table) in shape.levels[level].iter().enumerate() {
            if !taken(level, table) || (level == output && output > 0) {
                continue;
            }
            let span = Span::of(table);
            if output > 0 && level == 0 {
                for older in &shape.levels[0][at + 1..] {
                    if !taken(0, older) && Span::of(older).touches(&span) {
                        return Some(format!("{} leaves {} behind", table.number, older.number));
                    }
                }
            }
            for deeper in level.max(1)..=output {
                for older in &shape.levels[deeper] {
                    if deeper != level && !taken(deeper, older) && Span::of(older).touches(&span) {
                        return Some(format!("{} jumps over {}", table.number, older.number));
                    }
                }
            }
        }
    }
    if output == 0 {
        return adjacent(shape, job);
    }
    match job.action {
        Action::Merge => hull(shape, job, output),
        _ => moved(shape, job),
    }
}

/// All inputs are there, once, in order.
fn unknown(shape: &Shape<'_>, job: &Job) -> Option<String> {
    let place = |(level, number): &(Level, FileNumber)| {
        let tables = &shape.levels[usize::from(level.0)];
        tables.iter().position(|table| table.number == *number).map(|at| (level.0, at))
    };
    let places: Vec<_> = job.inputs.iter().map(place).collect();
    if places.iter().any(Option::is_none) {
        return Some("an input is not in the tree".to_owned());
    }
    (!places.windows(2).all(|two| two[0] < two[1]))
        .then(|| "the inputs are not in order".to_owned())
}

/// Runs merged within L0 are neighbours in age, and at least two.
fn adjacent(shape: &Shape<'_>, job: &Job) -> Option<String> {
    let taken: Vec<usize> = (0..shape.levels[0].len())
        .filter(|&at| job.inputs.contains(&(Level(0), shape.levels[0][at].number)))
        .collect();
    let neighbours = taken.windows(2).all(|two| two[0] + 1 == two[1]) && taken.len() > 1;
    (!neighbours || job.action != Action::Merge).then(|| "runs are not neighbours".to_owned())
}

/// The output's tables may lie anywhere in the span of the inputs: nothing of the level may remain
/// there. Inputs of each level are neighbours, too.
fn hull(shape: &Shape<'_>, job: &Job, output: usize) -> Option<String> {
    let is_input =
        |level: usize, table: &TableMeta| job.inputs.contains(&(Level(level as u8), table.number));
    let inputs = (0..=output).flat_map(|level| {
        let tables = shape.levels[level].iter().copied();
        tables.filter(move |table| is_input(level, table))
    });
    let span = Span::around(inputs)?;
    let mut left = shape.levels[output].iter();
    let left = left.find(|table| !is_input(output, table) && Span::of(table).touches(&span));
    left.map(|table| format!("{} stays amid the output", table.number))
}

/// A move loses nothing: tables that go to the same level do not overlap one another.
fn moved(shape: &Shape<'_>, job: &Job) -> Option<String> {
    let find = |&(level, number): &(Level, FileNumber)| {
        let mut tables = shape.levels[usize::from(level.0)].iter();
        tables.find(|table| table.number == number).copied()
    };
    let mut spans: Vec<Span<'_>> = job.inputs.iter().filter_map(find).map(Span::of).collect();
    spans.sort_by_key(|span| span.from);
    if job
        .inputs
        .iter()
        .any(|(level, _)| usize::from(level.0) >= usize::from(job.output.0).min(BOTTOM))
    {
        return Some("a table moves nowhere".to_owned());
    }
    (!spans.windows(2).all(|two| two[0].to < two[1].from))
        .then(|| "moved tables overlap".to_owned())
}
