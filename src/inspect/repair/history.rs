//! What the readable edits of all manifests in a directory say, when the state as a whole cannot be
//! believed.
//!
//! Single edits stay true whatever is missing between them: file numbers are never used again, so a
//! table that one edit removed is dead for ever, and what a manifest's first edit does not name, with a
//! number below the next one that it gives out, is dead too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::error::{Error, Result};
use crate::format::edit::{Counters, Edit};
use crate::format::header::FileKind;
use crate::format::names::{self, FileName};
use crate::inspect::frames::Expect;
use crate::inspect::manifest::{ManifestItem, read_manifest};
use crate::inspect::store::Witness;
use crate::record;
use crate::types::{FileNumber, SeqNo, StoreId};
use crate::vfs::{Access, Vfs};

/// What is known of a store from single edits.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) store: Option<StoreId>,
    /// Tables that were there after the last readable edit.
    pub(super) alive: BTreeSet<FileNumber>,
    dead: BTreeSet<FileNumber>,
    /// Tables that were removed, and no readable edit had added them.
    unknown: BTreeSet<FileNumber>,
    /// Below this number a table is there only if it is in `alive`.
    known_below: FileNumber,
    /// Everything up to it is in tables.
    pub(super) last_seqno: SeqNo,
    /// No log up to this number is needed.
    pub(super) logs_dropped_upto: FileNumber,
    logs_dropped: BTreeSet<FileNumber>,
    /// Where recovery settled that logs end.
    pub(super) log_ends: BTreeMap<FileNumber, u64>,
    pub(super) counters: Counters,
}

impl History {
    /// Reads all manifests of the store: that of the newest one, unless all logs are of another.
    pub(super) fn read(
        vfs: &dyn Vfs,
        dir: &Path,
        names: &[String],
        logs: &[Witness],
    ) -> Result<History> {
        let mut history = History::default();
        let mut numbers: Vec<FileNumber> = names.iter().filter_map(|name| manifest(name)).collect();
        numbers.sort_unstable();
        let path = |number: &FileNumber| dir.join(names::manifest(*number));
        for number in numbers.iter().rev() {
            let file = vfs.open(&path(number), Access::Read)?;
            let header = record::read_header(&*file, FileKind::Manifest);
            history.store = header.ok().map(|header| header.store);
            if history.store.is_some() {
                break;
            }
        }
        if let Some(log) = logs.last()
            && logs.iter().all(|log| Some(log.store) != history.store)
        {
            history.store = Some(log.store);
        }
        for number in &numbers {
            history.manifest(vfs, &path(number))?;
        }
        Ok(history)
    }

    /// Whether no version of the store has this table any more.
    pub(super) fn is_dead(&self, table: FileNumber) -> bool {
        self.dead.contains(&table) || (table < self.known_below && !self.alive.contains(&table))
    }

    /// Whether an edit is missing that added tables which are gone by now: what it removed is not known.
    pub(super) fn has_lost_merge(&self) -> bool {
        !self.unknown.is_empty()
    }

    /// Whether everything in this log is in tables.
    pub(super) fn is_dropped(&self, log: FileNumber) -> bool {
        log <= self.logs_dropped_upto || self.logs_dropped.contains(&log)
    }

    fn manifest(&mut self, vfs: &dyn Vfs, path: &Path) -> Result<()> {
        let file = vfs.open(path, Access::Read)?;
        let mut edits = Vec::new();
        let mut is_stranger = false;
        let read = read_manifest(&*file, &Expect::default(), &mut |item| {
            match item {
                ManifestItem::Header(header) => {
                    let store = header.header.map(|header| header.store);
                    is_stranger = store.is_some() && self.store.is_some() && store != self.store;
                }
                ManifestItem::Edit(edit) => edits.extend(edit.edit),
                _ => {}
            }
            Ok::<(), Error>(())
        });
        match read {
            Ok(_) if !is_stranger => edits.iter().for_each(|edit| self.edit(edit)),
            Ok(_) | Err(Error::NotOurs { .. } | Error::Corruption(_)) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn edit(&mut self, edit: &Edit) {
        let added = edit.tables_added.iter().map(|(_, table)| table.number);
        if edit.store.is_some() {
            self.store = self.store.or(edit.store.as_ref().map(|store| store.id));
            self.alive = added.clone().collect();
            self.known_below = self.known_below.max(edit.next_file.unwrap_or_default());
        }
        for (_, number) in &edit.tables_removed {
            if !self.alive.remove(number) && !self.dead.contains(number) {
                self.unknown.insert(*number);
            }
            self.dead.insert(*number);
        }
        for number in added {
            self.alive.insert(number);
            self.dead.remove(&number);
        }
        self.last_seqno = self.last_seqno.max(edit.last_seqno.unwrap_or_default());
        self.logs_dropped.extend(&edit.logs_dropped);
        let upto = edit.logs_dropped_upto.unwrap_or_default();
        self.logs_dropped_upto = self.logs_dropped_upto.max(upto);
        self.log_ends.extend(edit.logs_ended.iter().copied());
        self.counters = edit.counters.unwrap_or(self.counters);
    }
}

fn manifest(name: &str) -> Option<FileNumber> {
    match names::parse(name) {
        FileName::Manifest(number) => Some(number),
        _ => None,
    }
}
