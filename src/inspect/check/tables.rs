//! Every table, byte by byte, and against what the manifest says of it.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Check, CheckOptions};
use crate::error::{Error, Result};
use crate::format::key::InternalKey;
use crate::format::table::{Footer, Handle, Properties, TableMeta};
use crate::inspect::finding::{Code, Finding};
use crate::inspect::table::{TableItem, TableTotals, read_table};
use crate::inspect::view::{TableView, View};
use crate::runtime::ordered::{self, Give, Stopped};
use crate::types::{SeqNo, StoreId};

/// Bytes of blocks between two tellings of how far a table is read.
const PROGRESS_STEP: u64 = 1 << 20;

/// What the order of the tree needs to know of a table, as it was found and not as it is described.
#[derive(Clone, Debug, Default)]
pub(super) struct TableFacts {
    /// Its footer, if there is one to go by.
    pub(super) footer: Option<Footer>,
    /// Its first and last key; those of the manifest where its own could not be read.
    pub(super) bounds: Option<(InternalKey, InternalKey)>,
    /// Its lowest and highest sequence number, likewise.
    pub(super) seqnos: Option<(SeqNo, SeqNo)>,
}

/// What a thread tells of a table.
enum Told {
    Found(Finding),
    Read(u64),
    Done(Box<TableFacts>, u64, u64),
    Failed(Error),
}

/// Why the reading of a table ended.
enum Halt {
    File(Error),
    Stopped,
}

impl From<Error> for Halt {
    fn from(error: Error) -> Halt {
        Halt::File(error)
    }
}

/// Reads all tables of a view; the facts of each, in the order of the view.
pub(super) fn read<E: From<Error>>(
    view: &View,
    options: &CheckOptions<'_>,
    check: &mut Check<'_, E>,
) -> Result<Vec<TableFacts>, E> {
    let store = view.state.as_ref().and_then(|state| state.store.as_ref()).map(|store| store.id);
    let mut total = 0;
    for table in &view.tables {
        total += table.opened.file.size()?;
    }
    let work = |index: usize, give: &mut Give<'_, Told>| {
        // When nobody listens any more there is nothing left to do.
        let _ = tell(&view.tables[index], store, give);
    };
    let mut all = Vec::with_capacity(view.tables.len());
    let mut done = 0;
    ordered::in_order(options.threads, view.tables.len(), &work, &mut |told| {
        match told {
            Told::Found(finding) => return check.found(finding),
            Told::Failed(error) => {
                check.report.failed.push(error);
                all.push(TableFacts::default());
            }
            Told::Done(facts, size, entries) => {
                check.report.file(size);
                check.report.entries += entries;
                all.push(*facts);
            }
            Told::Read(bytes) => {
                done += bytes;
                if let Some(progress) = options.progress {
                    progress(done, total);
                }
            }
        }
        Ok(())
    })?;
    Ok(all)
}

/// Reads one table and tells what there is to tell of it.
fn tell(
    table: &TableView,
    store: Option<StoreId>,
    give: &mut Give<'_, Told>,
) -> Result<(), Stopped> {
    match verify(table, store, give) {
        Ok((facts, entries)) => {
            let size = table.opened.file.size().unwrap_or(0);
            give(Told::Done(Box::new(facts), size, entries))
        }
        Err(Halt::File(Error::NotOurs { path, detail, .. })) => {
            let finding = Finding::new(Code::FooterDamaged, path, detail).in_level(table.level);
            let finding = match &table.meta {
                Some(meta) => of_all_keys(finding, meta),
                None => finding,
            };
            give(Told::Found(finding))?;
            give(Told::Done(Box::default(), table.opened.file.size().unwrap_or(0), 0))
        }
        Err(Halt::File(error)) => give(Told::Failed(error)),
        Err(Halt::Stopped) => Err(Stopped),
    }
}

fn verify(
    table: &TableView,
    store: Option<StoreId>,
    give: &mut Give<'_, Told>,
) -> Result<(TableFacts, u64), Halt> {
    let file = &*table.opened.file;
    let mut seen = Seen::default();
    let unread = AtomicU64::new(0);
    let size = file.size()?;
    if let Some(meta) = table.meta.as_ref().filter(|meta| meta.size != size) {
        let what = format!("it has {size} bytes, the manifest says {}", meta.size);
        let finding = Finding::new(Code::TableCut, file.path(), what).in_level(table.level);
        told(give, of_all_keys(finding, meta))?;
    }
    let totals = read_table(file, false, &mut |item| {
        seen.take(&item);
        if let TableItem::Block(block) = &item {
            let bytes = unread.fetch_add(u64::from(block.handle.size), Ordering::Relaxed);
            if bytes >= PROGRESS_STEP {
                unread.store(0, Ordering::Relaxed);
                give(Told::Read(bytes)).map_err(|_| Halt::Stopped)?;
            }
        }
        match item.finding() {
            Some(finding) => told(give, finding.clone().in_level(table.level)),
            None => Ok(()),
        }
    })?;
    for finding in seen.against(table, store, &totals) {
        told(give, finding.in_level(table.level))?;
    }
    Ok((seen.facts(table, &totals), totals.entries))
}

fn told(give: &mut Give<'_, Told>, finding: Finding) -> Result<(), Halt> {
    give(Told::Found(finding)).map_err(|_| Halt::Stopped)
}

/// `4096 bytes at 0x1000`.
fn place(handle: Handle) -> String {
    format!("{} bytes at {:#x}", handle.size, handle.offset)
}

fn of_all_keys(finding: Finding, meta: &TableMeta) -> Finding {
    finding.of_keys(&meta.smallest.user, &meta.largest.user)
}

/// What the parts of a table said.
#[derive(Debug, Default)]
struct Seen {
    footer: Option<(Footer, u64)>,
    is_footer_whole: bool,
    properties: Option<Properties>,
    first: Option<InternalKey>,
    last: Option<InternalKey>,
    /// A data block could not be read, so that counts and bounds are not the table's.
    is_partial: bool,
}

impl Seen {
    fn take(&mut self, item: &TableItem<'_>) {
        match item {
            TableItem::Footer(report) => {
                self.footer = report.footer.map(|footer| (footer, report.offset));
                self.is_footer_whole = report.damage.is_none();
            }
            TableItem::Properties(_, properties) => self.properties = Some((*properties).clone()),
            TableItem::Block(block) => match &block.bounds {
                Some((first, last)) => {
                    if self.first.is_none() {
                        self.first = Some(first.clone());
                    }
                    self.last = Some(last.clone());
                }
                None => self.is_partial = true,
            },
            _ => {}
        }
    }

    /// What contradicts the manifest.
    fn against(
        &self,
        table: &TableView,
        store: Option<StoreId>,
        totals: &TableTotals,
    ) -> Vec<Finding> {
        let (Some(meta), Some((footer, offset))) = (&table.meta, self.footer) else {
            return Vec::new();
        };
        let path = &table.opened.path;
        let finding = |code, what: String| Finding::new(code, path, what);
        if !self.is_footer_whole {
            return Vec::new();
        }
        if footer.id != meta.id {
            let what = format!("its id is {}, the manifest says {}", footer.id, meta.id);
            let finding = finding(Code::TableForeign, what).at(offset, 8);
            return vec![of_all_keys(finding, meta)];
        }
        let mut wrong = Vec::new();
        let mut differs = |what: &str, found: String, said: String| {
            if found != said {
                let what = format!("{what}: it has {found}, the manifest says {said}");
                wrong.push(finding(Code::TableDisagrees, what));
            }
        };
        for (what, found, said) in [
            ("filter block", footer.filter, meta.filter),
            ("properties block", footer.properties, meta.properties),
            ("index block", footer.index, meta.index),
        ] {
            differs(what, place(found), place(said));
        }
        if !self.is_partial && totals.blocks > 0 && totals.damaged == 0 {
            let raw_bytes = totals.raw_bytes.0.saturating_add(totals.raw_bytes.1);
            for (what, found, said) in [
                ("entries", totals.entries, meta.entries),
                ("tombstones", totals.tombstones, meta.tombstones),
                ("bytes of keys and values", raw_bytes, meta.raw_bytes),
            ] {
                differs(what, found.to_string(), said.to_string());
            }
            let (low, high) = totals.seqnos.unwrap_or_default();
            differs("lowest sequence number", low.to_string(), meta.min_seqno.to_string());
            differs("highest sequence number", high.to_string(), meta.max_seqno.to_string());
            for (what, found, said) in [
                ("first key", &self.first, &meta.smallest),
                ("last key", &self.last, &meta.largest),
            ] {
                if let Some(found) = found {
                    differs(what, found.to_string(), said.to_string());
                }
            }
        }
        if let Some(properties) = &self.properties
            && Some(properties.store) == store
        {
            differs("number", properties.number.to_string(), table.opened.number.to_string());
        }
        wrong
    }

    fn facts(self, table: &TableView, totals: &TableTotals) -> TableFacts {
        let meta = table.meta.as_ref();
        let is_foreign = |meta: &TableMeta| self.footer.is_some_and(|(it, _)| it.id != meta.id);
        if meta.is_some_and(is_foreign) {
            // It has no place in the tree, so how it lies there means nothing.
            return TableFacts::default();
        }
        let found = self.first.zip(self.last).filter(|_| !self.is_partial);
        let said = meta.map(|meta| (meta.smallest.clone(), meta.largest.clone()));
        let seqnos = totals.seqnos.filter(|_| !self.is_partial);
        TableFacts {
            footer: self.footer.map(|(footer, _)| footer),
            bounds: found.or(said),
            seqnos: seqnos.or(meta.map(|meta| (meta.min_seqno, meta.max_seqno))),
        }
    }
}
