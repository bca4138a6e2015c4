//! Tables that do not lie over one another, walked over one behind the other.

use std::collections::VecDeque;

use super::table::TableWalk;
use super::{Range, TableParts, TableSource};
use crate::error::Result;
use crate::inspect::finding::Finding;

/// Tables that do not lie over one another, in the order of keys.
#[derive(Debug)]
pub(super) struct Run {
    /// The next first.
    pub(super) tables: VecDeque<TableSource>,
    pub(super) walk: Option<TableWalk>,
}

impl Run {
    /// Opens the next table that has a key of the range.
    pub(super) fn open(
        &mut self,
        range: &Range,
        parts: &mut TableParts,
        findings: &mut Vec<Finding>,
    ) -> Result<bool> {
        self.close(parts);
        while let Some(source) = self.tables.pop_front() {
            let size = source.file.size()?;
            let mut found = Vec::new();
            let is_live = source.is_live;
            let mut more = false;
            match TableWalk::open(source, &mut found)? {
                Some(mut walk) => {
                    more = match &range.from {
                        Some(from) => walk.seek(from, &mut found)?,
                        None => walk.advance(&mut found)?,
                    };
                    more = more && !range.is_passed(walk.key());
                    self.walk = Some(walk);
                }
                None => parts.damaged += size,
            }
            // What is wrong with a file that nobody needs is nobody's loss.
            findings.extend(found.into_iter().filter(|_| is_live));
            if more {
                return Ok(true);
            }
            self.close(parts);
        }
        Ok(false)
    }

    pub(super) fn advance(
        &mut self,
        range: &Range,
        parts: &mut TableParts,
        findings: &mut Vec<Finding>,
    ) -> Result<bool> {
        let Some(walk) = &mut self.walk else { return Ok(false) };
        let mut found = Vec::new();
        let more = walk.advance(&mut found)? && !range.is_passed(walk.key());
        findings.extend(found.into_iter().filter(|_| walk.source.is_live));
        if more { Ok(true) } else { self.open(range, parts, findings) }
    }

    /// Lets the table go; what it consists of is counted.
    fn close(&mut self, parts: &mut TableParts) {
        if let Some(walk) = self.walk.take() {
            parts.add(walk.parts);
        }
    }
}

/// A table and, if they are known, its first and last user key.
type Bounded = (Option<(Vec<u8>, Vec<u8>)>, TableSource);

/// Puts the tables that touch the range into as few runs as can be.
pub(super) fn of(tables: Vec<TableSource>, range: &Range) -> Result<Vec<Run>> {
    let mut bounded: Vec<Bounded> = Vec::new();
    for table in tables {
        let bounds = match &table.meta {
            Some(meta) => Some((meta.smallest.user.clone(), meta.largest.user.clone())),
            // Unless they can be read, the table is a run of its own; it is told elsewhere.
            None => table
                .properties(&mut Vec::new())?
                .map(|properties| (properties.smallest.user, properties.largest.user)),
        };
        if bounds.as_ref().is_none_or(|(smallest, largest)| range.touches(smallest, largest)) {
            bounded.push((bounds, table));
        }
    }
    bounded.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut runs: Vec<(Option<Vec<u8>>, Run)> = Vec::new();
    for (bounds, table) in bounded {
        let fits = |end: &Option<Vec<u8>>| match (end, &bounds) {
            (Some(end), Some((smallest, _))) => end < smallest,
            _ => false,
        };
        let largest = bounds.as_ref().map(|(_, largest)| largest.clone());
        match runs.iter_mut().find(|(end, _)| fits(end)) {
            Some((end, run)) => {
                run.tables.push_back(table);
                *end = largest;
            }
            None => runs.push((largest, Run { tables: [table].into(), walk: None })),
        }
    }
    Ok(runs.into_iter().map(|(_, run)| run).collect())
}
