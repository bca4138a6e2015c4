//! One table: what of it can be read.

use std::path::PathBuf;
use std::sync::Arc;

use super::Loss;
use super::choose::Candidate;
use super::source::{LostBlock, Places, Source};
use super::stock::{Stock, StockTable};
use crate::error::{Error, Result};
use crate::format::table::{Footer, Properties, TableMeta};
use crate::inspect::finding::{Code, Finding};
use crate::inspect::table::{TableItem, read_table};
use crate::types::{FileNumber, Level, SeqNo};
use crate::vfs::File;

/// A table of which something can be read.
#[derive(Debug)]
pub(super) struct Surveyed {
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn File>,
    /// The level that the manifest gives it.
    pub(super) level: Option<Level>,
    pub(super) places: Places,
    /// What the manifest keeps of it; of a damaged one only keys and sequence numbers count.
    pub(super) meta: TableMeta,
    /// It can be copied as it is.
    pub(super) is_sound: bool,
    /// It is read with what was damaged put right.
    pub(super) is_mended: bool,
    job: u64,
    inputs: Vec<FileNumber>,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pub(super) found: Option<Surveyed>,
    pub(super) findings: Vec<Finding>,
    pub(super) losses: Vec<Loss>,
}

impl Surveyed {
    /// The same, read with what was damaged put right.
    pub(super) fn mended(self) -> Surveyed {
        Surveyed { is_mended: true, ..self }
    }

    pub(super) fn candidate(&self, stock: &Stock) -> Candidate {
        let number = self.meta.number;
        Candidate {
            number,
            smallest: self.meta.smallest.user.clone(),
            largest: self.meta.largest.user.clone(),
            seqnos: (self.meta.min_seqno, self.meta.max_seqno),
            job: self.job,
            inputs: self.inputs.clone(),
            is_alive: stock.history.alive.contains(&number),
            is_dead: stock.history.is_dead(number),
        }
    }
}

/// What a reading of the whole table says.
#[derive(Debug, Default)]
struct Parts {
    footer: Option<Footer>,
    properties: Option<Properties>,
    findings: Vec<Finding>,
}

/// Reads a table from its footer to its last block.
pub(super) fn survey(table: &StockTable) -> Result<Survey> {
    let mut parts = Parts::default();
    let read = read_table(&*table.file, false, &mut |item| {
        parts.findings.extend(item.finding().cloned());
        match item {
            TableItem::Footer(report) => parts.footer = report.footer,
            TableItem::Properties(_, properties) => parts.properties = Some(properties.clone()),
            _ => {}
        }
        Ok::<(), Error>(())
    });
    match read {
        Ok(_) => {}
        Err(Error::NotOurs { detail, .. }) => {
            parts.findings.push(Finding::new(Code::FooterDamaged, &table.path, detail));
        }
        Err(error) => return Err(error),
    }
    let is_foreign = foreign(table, &mut parts);
    for finding in &mut parts.findings {
        finding.level = table.level;
    }
    let Parts { footer, properties, findings } = parts;
    let mut survey = Survey { findings, ..Survey::default() };
    let of_footer = |footer: Footer| Places {
        id: footer.id,
        index: footer.index,
        data_end: footer.filter.offset,
    };
    let of_meta =
        |meta: &TableMeta| Places { id: meta.id, index: meta.index, data_end: meta.filter.offset };
    // Intact, the footer says it best; damaged, the manifest knows as well.
    let places = footer.map(of_footer).or(table.meta.as_ref().map(of_meta));
    match places.filter(|_| !is_foreign) {
        Some(places) => survey.read(table, places, footer.as_ref(), properties)?,
        None => survey.losses.push(all_of(table, "no part of the table can be found")),
    }
    Ok(survey)
}

/// Whether it is another table than the manifest has by this name; says so, and what else it says
/// that is not so.
fn foreign(table: &StockTable, parts: &mut Parts) -> bool {
    let (Some(meta), Some(footer)) = (&table.meta, &parts.footer) else { return false };
    if footer.id != meta.id {
        let what = format!("its id is {}, the manifest says {}", footer.id, meta.id);
        parts.findings.push(Finding::new(Code::TableForeign, &table.path, what));
        return true;
    }
    if let Some(properties) = &parts.properties
        && let Ok(size) = table.file.size()
    {
        let found = TableMeta { number: meta.number, ..TableMeta::of(properties, footer, size) };
        if found != *meta {
            let what = "it is not as the manifest describes it";
            parts.findings.push(Finding::new(Code::TableDisagrees, &table.path, what));
        }
    }
    false
}

fn all_of(table: &StockTable, what: &str) -> Loss {
    let keys = table.meta.as_ref();
    let keys = keys.map(|meta| (Some(meta.smallest.user.clone()), meta.largest.user.clone()));
    Loss { keys, ops: table.meta.as_ref().map(|meta| meta.entries), ..Loss::new(&table.path, what) }
}

impl Survey {
    fn read(
        &mut self,
        table: &StockTable,
        places: Places,
        footer: Option<&Footer>,
        properties: Option<Properties>,
    ) -> Result<()> {
        let is_sound = !self.findings.iter().any(Finding::is_damage);
        let described = match (&table.meta, &properties, footer) {
            (Some(meta), ..) => Some(meta.clone()),
            (None, Some(properties), Some(footer)) => {
                let meta = TableMeta::of(properties, footer, table.file.size()?);
                Some(TableMeta { number: table.number, ..meta })
            }
            _ => None,
        };
        let meta = match (is_sound, described) {
            (true, Some(meta)) => meta,
            (_, described) => match self.count(table, places, described)? {
                Some(meta) => meta,
                None => return Ok(()),
            },
        };
        let (job, inputs) = properties.map_or((0, Vec::new()), |it| (it.job, it.inputs));
        let (path, file, level) = (table.path.clone(), Arc::clone(&table.file), table.level);
        let is_mended = false;
        let found = Surveyed { path, file, level, places, meta, is_sound, is_mended, job, inputs };
        self.found = Some(found);
        Ok(())
    }

    /// Reads all entries of a damaged table: what is lost, and what the rest spans.
    fn count(
        &mut self,
        table: &StockTable,
        places: Places,
        described: Option<TableMeta>,
    ) -> Result<Option<TableMeta>> {
        let mut source = match Source::open(&table.file, places)? {
            Ok(source) => source,
            Err(reason) => {
                let what = format!("its index cannot be read: {reason}");
                self.losses.push(all_of(table, &what));
                return Ok(None);
            }
        };
        let mut span: Option<TableMeta> = None;
        while source.advance()? {
            let Some((key, _)) = source.entry() else { continue };
            let seqno = key.trailer.seqno();
            let span = span.get_or_insert_with(|| TableMeta {
                number: table.number,
                id: places.id,
                size: 0,
                smallest: key.clone(),
                largest: key.clone(),
                min_seqno: seqno,
                max_seqno: seqno,
                entries: 0,
                tombstones: 0,
                raw_bytes: 0,
                filter: places.index,
                properties: places.index,
                index: places.index,
            });
            span.largest.clone_from(key);
            span.entries += 1;
            (span.min_seqno, span.max_seqno) =
                (span.min_seqno.min(seqno), span.max_seqno.max(seqno));
        }
        let lost = source.lost.iter().map(|lost| of_block(table, lost));
        self.losses.extend(lost);
        // What it had counts for the order of the tables: blocks that are lost were in it too.
        Ok(match (span, described) {
            (Some(span), Some(was)) => Some(TableMeta {
                min_seqno: span.min_seqno.min(was.min_seqno).max(SeqNo(1)),
                max_seqno: span.max_seqno.max(was.max_seqno),
                ..span
            }),
            (span, _) => span,
        })
    }
}

fn of_block(table: &StockTable, lost: &LostBlock) -> Loss {
    let (handle, keys) = (lost.handle, Some(lost.keys.clone()));
    let what = "a data block; older versions of its keys may show again";
    Loss { keys, ..Loss::new(&table.path, what).at(handle.offset, u64::from(handle.size)) }
}

/// The tables that a table was made from, if it says so.
pub(super) fn inputs(file: &dyn File) -> Result<Vec<FileNumber>> {
    let mut inputs = Vec::new();
    let Ok((footer, _)) = crate::table::read_footer(file) else { return Ok(inputs) };
    let kind = crate::format::block::Kind::Properties;
    if let Ok(content) = crate::table::read_block(file, footer.id, kind, footer.properties)
        && let Ok(properties) = Properties::decode(&content)
    {
        inputs = properties.inputs;
    }
    Ok(inputs)
}
