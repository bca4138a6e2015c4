//! How the tables of a tree lie over each other, by their bounds.
//!
//! A read looks into the tables of L0 from the newest to the oldest, then into one table of each
//! deeper level, and believes the first version of the key that it finds. So below L0 no two tables
//! of a level may overlap, and of two tables that both have a key the one that is read first must
//! have the newer versions of it. Where the lowest sequence number of the upper one is above the
//! highest of the lower one, that is certain; of the others the keys decide, in
//! [`merge`](super::merge).

use super::tables::TableFacts;
use crate::format::state::State;
use crate::inspect::finding::{Code, Finding};
use crate::inspect::view::{TableView, View};
use crate::types::Level;

/// Tables of one level that overlap, and sequence numbers beyond the manifest's last.
pub(super) fn problems(view: &View, facts: &[TableFacts]) -> Vec<Finding> {
    let Some(state) = &view.state else { return Vec::new() };
    let mut found: Vec<Finding> = beyond(view, facts, state);
    for level in 1..Level::COUNT as u8 {
        found.extend(overlaps(&of_level(view, facts, Level(level))));
    }
    found
}

/// The tables of a level whose bounds are known, as the tree orders them.
pub(super) fn of_level<'v>(
    view: &'v View,
    facts: &'v [TableFacts],
    level: Level,
) -> Vec<(&'v TableView, &'v TableFacts)> {
    let tables = view.tables.iter().zip(facts);
    tables.filter(|(table, facts)| table.level == Some(level) && facts.bounds.is_some()).collect()
}

fn beyond(view: &View, facts: &[TableFacts], state: &State) -> Vec<Finding> {
    let mut found = Vec::new();
    for (table, facts) in view.tables.iter().zip(facts) {
        let Some((_, high)) = facts.seqnos.filter(|(_, high)| *high > state.last_seqno) else {
            continue;
        };
        let last = state.last_seqno;
        let what = format!("its highest sequence number is {high}, the manifest's last is {last}");
        let finding = Finding::new(Code::SeqnoBeyond, &table.opened.path, what);
        let why = "the next operations would be given numbers that are taken";
        found.push(finding.in_level(table.level).because(why));
    }
    found
}

fn overlaps(tables: &[(&TableView, &TableFacts)]) -> Vec<Finding> {
    let mut found = Vec::new();
    // The one that reaches furthest so far: a long table may overlap more than its neighbour.
    let mut reach: Option<(&TableView, &[u8])> = None;
    for (table, facts) in tables {
        let Some((first, last)) = &facts.bounds else { continue };
        if let Some((before, upto)) = reach
            && first.user.as_slice() <= upto
        {
            let what = format!("it overlaps table {}", before.opened.number);
            let finding = Finding::new(Code::TablesOverlap, &table.opened.path, what);
            let end = last.user.as_slice().min(upto);
            found.push(finding.in_level(table.level).of_keys(&first.user, end));
        }
        if reach.is_none_or(|(_, upto)| last.user.as_slice() > upto) {
            reach = Some((table, &last.user));
        }
    }
    found
}

/// Whether each table takes part in a pair of which the sequence numbers do not say that the upper
/// one is newer throughout, although a key may be in both.
pub(super) fn undecided(view: &View, facts: &[TableFacts]) -> Vec<bool> {
    let mut is_undecided = vec![false; facts.len()];
    let sorted = sorted_levels(view, facts);
    for (upper, table) in view.tables.iter().enumerate() {
        let Some(level) = table.level else { continue };
        let mut mark = |lower: usize| {
            if lower != upper && overlap(&facts[upper], &facts[lower]) {
                (is_undecided[upper], is_undecided[lower]) = (true, true);
            }
        };
        if level == Level(0) {
            let others = view.tables.iter().enumerate().skip(upper + 1);
            let others = others.take_while(|(_, other)| other.level == Some(level));
            others.for_each(|(lower, _)| mark(lower));
        }
        for below in sorted.iter().skip(usize::from(level.0) + 1) {
            let Some((first, last)) = &facts[upper].bounds else { continue };
            let start = below.partition_point(|lower| last_key(facts, *lower) < &first.user);
            let within = below[start..].iter();
            within
                .take_while(|lower| first_key(facts, **lower) <= &last.user)
                .for_each(|l| mark(*l));
        }
    }
    is_undecided
}

/// For each level the positions of its tables by key; of L0 none, there they are not in order.
fn sorted_levels(view: &View, facts: &[TableFacts]) -> Vec<Vec<usize>> {
    let mut levels = vec![Vec::new(); Level::COUNT];
    for (index, table) in view.tables.iter().enumerate() {
        if let Some(level) = table.level.filter(|level| level.0 > 0)
            && facts[index].bounds.is_some()
            && let Some(level) = levels.get_mut(usize::from(level.0))
        {
            level.push(index);
        }
    }
    levels
}

fn first_key(facts: &[TableFacts], index: usize) -> &Vec<u8> {
    const NONE: &Vec<u8> = &Vec::new();
    facts[index].bounds.as_ref().map_or(NONE, |(first, _)| &first.user)
}

fn last_key(facts: &[TableFacts], index: usize) -> &Vec<u8> {
    const NONE: &Vec<u8> = &Vec::new();
    facts[index].bounds.as_ref().map_or(NONE, |(_, last)| &last.user)
}

/// Whether a key may be in both, and the sequence numbers do not say whose version is newer.
fn overlap(upper: &TableFacts, lower: &TableFacts) -> bool {
    let (Some((low, _)), Some((_, high))) = (upper.seqnos, lower.seqnos) else { return false };
    if low > high {
        return false;
    }
    let (Some(upper), Some(lower)) = (&upper.bounds, &lower.bounds) else { return false };
    upper.0.user <= lower.1.user && lower.0.user <= upper.1.user
}
