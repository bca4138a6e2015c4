//! What can be saved of a damaged store, and a new store made of it.
//!
//! A plan reads everything and writes nothing; [`Plan::apply`] writes a new store beside the damaged
//! one, with an id of its own like a checkpoint.
//!
//! Rules:
//! - The newest manifest is believed if nothing in it is damaged and no log knows of a newer one: its
//!   tables keep their levels. Else the tables tell by their properties what they are, and single
//!   edits of all manifests what is dead; how it is put together is in `choose`.
//! - A table with a bad part is written anew without it. Every data block that can be read is kept.
//! - Logs become tables of L0. Every record that verifies is kept, also behind a hole: which of them
//!   recovery would have dropped is not known any more, and what is there is better than nothing.
//!   Operations that are in tables already are left out.
//! - Where the same sequence number is in two logs, the younger log has it: recovery wrote it there.

mod build;
mod choose;
mod history;
mod lenient;
mod logs;
mod mended;
mod source;
mod stock;
mod survey;

use std::path::{Path, PathBuf};

use super::finding::Finding;
use crate::error::Result;
use crate::runtime::Runtime;
use crate::types::{FileNumber, Level, SeqNo, StoreId};
use crate::vfs::Vfs;

/// What would be done.
#[derive(Debug)]
pub struct Plan {
    /// The damaged store.
    pub dir: PathBuf,
    /// Its identity, if anything says it.
    pub store: Option<StoreId>,
    /// Everything that is not as it should be.
    pub findings: Vec<Finding>,
    /// What becomes of each file.
    pub steps: Vec<Step>,
    /// What cannot be saved.
    pub losses: Vec<Loss>,
    recipe: Recipe,
}

/// What becomes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is done with it.
    pub action: Action,
    /// The file.
    pub path: PathBuf,
    /// Where a table goes.
    pub level: Option<Level>,
    /// Why, or with what; may be empty.
    pub why: String,
}

/// What is done with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is copied as it is.
    Copy,
    /// It is written anew from what can be read of it.
    Rewrite,
    /// It is merged with others.
    Merge,
    /// The records of a log go into a table.
    Replay,
    /// It is made anew.
    Rebuild,
    /// It is not taken over.
    LeaveOut,
}

impl Action {
    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Action::Copy => "copy",
            Action::Rewrite => "rewrite",
            Action::Merge => "merge",
            Action::Replay => "replay",
            Action::Rebuild => "rebuild",
            Action::LeaveOut => "leave_out",
        }
    }
}

/// Something that cannot be saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The file it was in.
    pub path: PathBuf,
    /// Where in the file.
    pub offset: Option<u64>,
    /// Its bytes.
    pub size: Option<u64>,
    /// What is lost.
    pub what: String,
    /// Every lost key lies between these; without a first one, from the first there is.
    pub keys: Option<(Option<Vec<u8>>, Vec<u8>)>,
    /// The operations on both sides of it.
    pub seqnos: (Option<SeqNo>, Option<SeqNo>),
    /// How many operations, if that is known.
    pub ops: Option<u64>,
}

impl Loss {
    fn new(path: &Path, what: impl Into<String>) -> Loss {
        let (path, what) = (path.to_owned(), what.into());
        let (offset, size, keys, seqnos, ops) = (None, None, None, (None, None), None);
        Loss { path, offset, size, what, keys, seqnos, ops }
    }

    fn at(mut self, offset: u64, size: u64) -> Loss {
        (self.offset, self.size) = (Some(offset), Some(size));
        self
    }
}

/// What was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// The identity of the new store.
    pub store: StoreId,
    /// Its tables.
    pub tables: u64,
    /// Bytes of them.
    pub table_bytes: u64,
    /// Entries in them.
    pub entries: u64,
    /// The last operation in it.
    pub last_seqno: SeqNo,
}

/// What the new store is made of.
#[derive(Debug)]
struct Recipe {
    units: Vec<Unit>,
    logs: Vec<logs::LogPart>,
    /// Every operation up to it is in tables.
    in_tables: SeqNo,
    /// No file has this number, or a larger one.
    next_file: FileNumber,
    counters: super::Counters,
}

/// Tables that become one sorted run of a level.
#[derive(Debug)]
struct Unit {
    level: Level,
    tables: Vec<survey::Surveyed>,
}

impl Unit {
    /// One sound table is copied as it is.
    fn is_copy(&self) -> bool {
        matches!(self.tables.as_slice(), [table] if table.is_sound)
    }
}

impl Plan {
    /// Whether anything is damaged.
    #[must_use]
    pub fn is_needed(&self) -> bool {
        self.findings.iter().any(Finding::is_damage)
    }

    /// Makes the new store in `out`, which must not exist or be empty.
    ///
    /// CURRENT comes last: without it there is no store, and the directory says that it was not
    /// finished.
    ///
    /// # Errors
    /// [`crate::Error::InvalidArgument`] when `out` holds something; the files' own.
    pub fn apply(&self, vfs: &dyn Vfs, out: &Path, runtime: &dyn Runtime) -> Result<Repaired> {
        build::build(&self.recipe, vfs, out, runtime)
    }
}

/// Reads the store in `dir` and plans its repair. `progress` is called with each file.
///
/// # Errors
/// [`crate::Error::NoStore`] when there is no file of a store; [`crate::Error::Unsupported`] for a
/// later format version; [`crate::Error::Io`] when the directory cannot be read. What cannot be read
/// of a file is damage.
pub fn plan(vfs: &dyn Vfs, dir: &Path, progress: &mut dyn FnMut(&Path)) -> Result<Plan> {
    let lenient = lenient::Lenient(vfs);
    let stock = stock::take(&lenient, dir)?;
    let mut plan = Plan {
        dir: dir.to_owned(),
        store: stock.store,
        findings: stock.findings.clone(),
        steps: stock.rebuilt.clone(),
        losses: stock.losses(),
        recipe: Recipe {
            units: Vec::new(),
            logs: Vec::new(),
            in_tables: stock.in_tables,
            next_file: stock.next_file,
            counters: stock.counters,
        },
    };
    plan.tables(&stock, progress)?;
    plan.logs(stock.logs, stock.has_state, progress)?;
    for path in stock.strays {
        let why = "the manifest does not name it".to_owned();
        plan.steps.push(Step { action: Action::LeaveOut, path, level: None, why });
    }
    Ok(plan)
}

impl Plan {
    fn tables(&mut self, stock: &stock::Stock, progress: &mut dyn FnMut(&Path)) -> Result<()> {
        let mut surveyed = Vec::new();
        for table in &stock.tables {
            progress(&table.path);
            let mut survey = survey::survey(table)?;
            let is_damaged = survey.findings.iter().any(Finding::is_damage);
            if is_damaged && let Some(mended) = mended::mended(table)? {
                let again = survey::survey(&mended)?;
                let found = again.found.map(survey::Surveyed::mended);
                survey = survey::Survey { found, losses: again.losses, ..survey };
            }
            self.findings.extend(survey.findings);
            self.losses.extend(survey.losses);
            match survey.found {
                Some(found) => surveyed.push(found),
                None => self.leave_out(&table.path, "nothing in it can be read"),
            }
        }
        if stock.has_state {
            let units = surveyed.into_iter().map(|table| {
                let level = table.level.unwrap_or_default();
                Unit { level, tables: vec![table] }
            });
            self.recipe.units = units.collect();
        } else {
            self.arrange(surveyed, stock);
        }
        let highest = self.recipe.units.iter().flat_map(|unit| &unit.tables);
        let highest = highest.map(|table| table.meta.max_seqno).max();
        self.recipe.in_tables = self.recipe.in_tables.max(highest.unwrap_or_default());
        for unit in &self.recipe.units {
            for table in &unit.tables {
                let (action, why) = match unit.tables.len() {
                    1 if table.is_sound && table.is_mended => {
                        (Action::Copy, "mended: its checksums prove what was there".to_owned())
                    }
                    1 if table.is_sound => (Action::Copy, String::new()),
                    1 => (Action::Rewrite, "from what can be read of it".to_owned()),
                    count => (Action::Merge, format!("{count} tables share keys and times")),
                };
                let (path, level) = (table.path.clone(), Some(unit.level));
                self.steps.push(Step { action, path, level, why });
            }
        }
        Ok(())
    }

    /// Puts a tree together of which no manifest tells.
    fn arrange(&mut self, surveyed: Vec<survey::Surveyed>, stock: &stock::Stock) {
        let candidates: Vec<choose::Candidate> =
            surveyed.iter().map(|table| table.candidate(stock)).collect();
        // Whatever is in any table is not only in the logs, also if that table is superseded.
        let highest = candidates.iter().map(|table| table.seqnos.1).max();
        self.recipe.in_tables = self.recipe.in_tables.max(highest.unwrap_or_default());
        let choice = choose::choose(&candidates);
        let mut surveyed: Vec<Option<survey::Surveyed>> = surveyed.into_iter().map(Some).collect();
        for (index, why) in choice.left_out {
            if let Some(table) = surveyed[index].take() {
                // What is wrong with a table that nobody needs costs nothing.
                self.losses.retain(|loss| loss.path != table.path);
                self.leave_out(&table.path, &why);
            }
        }
        for unit in choice.units {
            let tables: Vec<_> =
                unit.tables.iter().filter_map(|index| surveyed[*index].take()).collect();
            self.recipe.units.push(Unit { level: unit.level, tables });
        }
    }

    fn leave_out(&mut self, path: &Path, why: &str) {
        let (path, why) = (path.to_owned(), why.to_owned());
        self.steps.push(Step { action: Action::LeaveOut, path, level: None, why });
    }

    fn logs(
        &mut self,
        mut parts: Vec<logs::LogPart>,
        has_state: bool,
        progress: &mut dyn FnMut(&Path),
    ) -> Result<()> {
        logs::settle_overlaps(&mut parts)?;
        // Without a manifest it is not known which was the last operation in tables: a compaction may
        // have dropped it.
        let mut expected = has_state.then(|| self.recipe.in_tables.plus(1));
        for part in parts {
            progress(part.file.path());
            let survey = logs::survey(&part, self.recipe.in_tables, expected)?;
            expected = survey.next.max(expected);
            self.findings.extend(survey.findings);
            self.losses.extend(survey.losses);
            let path = part.file.path().to_owned();
            let (action, level, why) = match survey.ops {
                0 => (Action::LeaveOut, None, "everything in it is in tables".to_owned()),
                ops => (Action::Replay, Some(Level(0)), format!("{ops} operations")),
            };
            self.steps.push(Step { action, path, level, why });
            self.recipe.logs.push(part);
        }
        Ok(())
    }
}
