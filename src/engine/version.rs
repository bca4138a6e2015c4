//! The tables that make up the tree at one moment.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use super::compaction::Shape;
use super::tables::{TableFile, TableSpace};
use super::tournament;
use crate::error::Result;
use crate::format::state::State;
use crate::probe::mutant;
use crate::types::{FileNumber, Level};

/// The tree: L0 newest first (its tables may overlap), every other level sorted without overlap.
#[derive(Debug, Default)]
pub(super) struct Version {
    pub(super) levels: [Vec<Arc<TableFile>>; Level::COUNT],
    /// Made from the levels when it is first asked for, which is when they change no more.
    runs: OnceLock<Runs>,
}

/// The tables as an iterator reads them.
#[derive(Debug, Default)]
struct Runs {
    runs: Vec<Vec<Arc<TableFile>>>,
    /// Bytes that all user keys begin with.
    common_size: usize,
}

impl Version {
    /// The version the manifest's state describes; tables that `previous` has stay open.
    ///
    /// # Errors
    /// As [`TableFile::new`]: none in a writing handle.
    pub(super) fn from_state(
        state: &State,
        previous: &Version,
        space: &Arc<TableSpace>,
    ) -> Result<Version> {
        let known: HashMap<FileNumber, &Arc<TableFile>> =
            previous.levels.iter().flatten().map(|file| (file.meta.number, file)).collect();
        let mut version = Version::default();
        for (level, meta) in state.tables() {
            let table = match known.get(&meta.number) {
                Some(table) => Arc::clone(table),
                None => Arc::new(TableFile::new(meta.clone(), Arc::clone(space))?),
            };
            version.levels[usize::from(level.0)].push(table);
        }
        // Rule 15: the newest table of L0 comes first.
        if mutant("oldest_table_read_first") {
            version.levels[0].reverse();
        }
        Ok(version)
    }

    /// Checks what every read relies on: L0 newest first, every other level in key order and without
    /// overlap.
    ///
    /// # Errors
    /// Which table breaks it.
    pub(super) fn check(&self) -> Result<(), String> {
        let (top, below) = self.levels.split_at(1);
        for pair in top[0].windows(2) {
            let newest_first = !mutant("oldest_table_read_first");
            if newest_first && pair[0].meta.max_seqno < pair[1].meta.max_seqno {
                return Err(format!("table {} is out of order in L0", pair[1].meta.number));
            }
        }
        for pair in below.iter().flat_map(|tables| tables.windows(2)) {
            if pair[0].meta.largest.user >= pair[1].meta.smallest.user {
                let (one, other) = (pair[0].meta.number, pair[1].meta.number);
                return Err(format!("tables {one} and {other} overlap"));
            }
        }
        Ok(())
    }

    /// What a picker looks at.
    pub(super) fn shape(&self) -> Shape<'_> {
        Shape {
            levels: self.levels.each_ref().map(|tables| tables.iter().map(|it| &it.meta).collect()),
        }
    }

    /// The tables as few sorted runs without overlap, in no particular order: the levels below L0, and
    /// L0's tables with those beside one another that do not overlap (as after a sequential fill).
    pub(super) fn runs(&self) -> &[Vec<Arc<TableFile>>] {
        &self.as_runs().runs
    }

    /// Bytes that the user keys of all tables begin with.
    pub(super) fn common_size(&self) -> usize {
        self.as_runs().common_size
    }

    fn as_runs(&self) -> &Runs {
        self.runs.get_or_init(|| {
            let below = self.levels[1..].iter().filter(|tables| !tables.is_empty()).cloned();
            let mut runs: Vec<Vec<Arc<TableFile>>> = below.collect();
            let levels = runs.len();
            for table in &self.levels[0] {
                let place = runs[levels..].iter_mut().find_map(|run| Some((gap(run, table)?, run)));
                match place {
                    Some((index, run)) => run.insert(index, Arc::clone(table)),
                    None => runs.push(vec![Arc::clone(table)]),
                }
            }
            let smallest = runs.iter().filter_map(|run| Some(&run.first()?.meta.smallest.user));
            let largest = runs.iter().filter_map(|run| Some(&run.last()?.meta.largest.user));
            let common_size = match (smallest.min(), largest.max()) {
                (Some(smallest), Some(largest)) => tournament::common_size(smallest, largest),
                _ => 0,
            };
            Runs { runs, common_size }
        })
    }

    /// The tables that may hold `key`, in the order in which the newest version is found first.
    pub(super) fn candidates<'a>(
        &'a self,
        key: &'a [u8],
    ) -> impl Iterator<Item = &'a Arc<TableFile>> {
        let top = self.levels[0].iter().filter(move |table| table.covers(key));
        let below = self.levels[1..].iter().filter_map(move |tables| {
            let index = tables.partition_point(|table| table.meta.largest.user.as_slice() < key);
            tables.get(index).filter(|table| table.covers(key))
        });
        top.chain(below)
    }
}

/// Where in a sorted run the table fits without sharing a user key with another, if it does.
fn gap(run: &[Arc<TableFile>], table: &TableFile) -> Option<usize> {
    let (smallest, largest) = (&table.meta.smallest.user, &table.meta.largest.user);
    let index = run.partition_point(|other| other.meta.largest.user < *smallest);
    run.get(index).is_none_or(|next| *largest < next.meta.smallest.user).then_some(index)
}
