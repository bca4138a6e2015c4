//! The tables of a tree added up by level, and drawn.

use super::amplification::ratio;
use crate::Level;
use crate::inspect::TableMeta;

/// The tables of one level.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LevelRow {
    pub(super) level: Level,
    pub(super) tables: u64,
    /// Sorted runs: how many of its tables may hold the same key.
    pub(super) runs: u64,
    pub(super) bytes: u64,
    /// Bytes of the largest of these runs.
    pub(super) largest_run: u64,
    /// Bytes of keys and values before compression.
    pub(super) raw_bytes: u64,
    pub(super) entries: u64,
    pub(super) tombstones: u64,
    pub(super) smallest: Vec<u8>,
    pub(super) largest: Vec<u8>,
}

impl LevelRow {
    /// Bytes of file for a byte of keys and values: below 1 it is compressed.
    pub(super) fn density(&self) -> Option<f64> {
        ratio(self.bytes, self.raw_bytes)
    }

    fn add(&mut self, table: &TableMeta) {
        if self.tables == 0 || table.smallest.user < self.smallest {
            self.smallest.clone_from(&table.smallest.user);
        }
        if self.tables == 0 || self.largest < table.largest.user {
            self.largest.clone_from(&table.largest.user);
        }
        self.tables += 1;
        self.bytes += table.size;
        self.raw_bytes += table.raw_bytes;
        self.entries += table.entries;
        self.tombstones += table.tombstones;
    }
}

/// The levels that have tables, L0 first.
pub(super) fn of(tables: &[(Level, TableMeta)]) -> Vec<LevelRow> {
    let mut levels: Vec<LevelRow> = Vec::new();
    for group in tables.chunk_by(|(one, _), (other, _)| one == other) {
        let mut row = LevelRow { level: group[0].0, ..LevelRow::default() };
        group.iter().for_each(|(_, table)| row.add(table));
        let runs = runs(group.iter().map(|(_, table)| table).collect());
        row.runs = runs.len() as u64;
        row.largest_run = runs.into_iter().max().unwrap_or(0);
        levels.push(row);
    }
    levels
}

/// All levels as one.
pub(super) fn total(levels: &[LevelRow]) -> LevelRow {
    let mut total = LevelRow::default();
    for level in levels {
        total.tables += level.tables;
        total.runs += level.runs;
        total.bytes += level.bytes;
        total.raw_bytes += level.raw_bytes;
        total.entries += level.entries;
        total.tombstones += level.tombstones;
    }
    total
}

/// The bytes of each set of tables that do not overlap: each such set is as good as a level. There
/// are as few of them as there can be.
fn runs(mut tables: Vec<&TableMeta>) -> Vec<u64> {
    tables.sort_by(|a, b| a.smallest.user.cmp(&b.smallest.user));
    let mut runs: Vec<(&[u8], u64)> = Vec::new();
    for table in tables {
        match runs.iter_mut().find(|(end, _)| *end < table.smallest.user.as_slice()) {
            Some((end, bytes)) => (*end, *bytes) = (&table.largest.user, *bytes + table.size),
            None => runs.push((&table.largest.user, table.size)),
        }
    }
    runs.into_iter().map(|(_, bytes)| bytes).collect()
}

/// A bar of at most `width` cells, filled in proportion, an eighth of a cell at least.
pub(super) fn bar(bytes: u64, largest: u64, width: usize) -> String {
    const PARTS: [char; 8] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];
    let full = width * PARTS.len();
    let eighths = ratio(bytes, largest).map_or(0, |part| (part * full as f64).round() as usize);
    let eighths = eighths.clamp(1, full.max(1));
    let mut bar = "█".repeat(eighths / PARTS.len());
    if let Some(rest) = (eighths % PARTS.len()).checked_sub(1) {
        bar.push(PARTS[rest]);
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Options, Result};

    /// Tables of a real store: three that overlap, then two more behind them, so that five tables
    /// are three runs; merged, they are one.
    #[test]
    fn runs_are_the_most_tables_that_may_hold_one_key() -> Result<()> {
        let dir = tempfile::tempdir().unwrap();
        let db = Options::new().strategy(crate::Strategy::Fifo { size_max: u64::MAX });
        let db = db.open(dir.path())?;
        for keys in [["a", "d"], ["b", "c"], ["c", "e"], ["f", "g"], ["h", "i"]] {
            keys.iter().try_for_each(|key| db.put(key, "v").map(drop))?;
            db.flush()?;
        }
        let levels = of(&db.tables());
        assert_eq!((levels.len(), levels[0].tables, levels[0].runs), (1, 5, 3));
        assert_eq!((&*levels[0].smallest, &*levels[0].largest), (&b"a"[..], &b"i"[..]));
        assert_eq!(levels[0].entries, 10);
        drop(db);
        let db = crate::Db::open(dir.path())?;
        db.compact::<&[u8], _>(..)?;
        let levels = of(&db.tables());
        assert_eq!((levels[0].runs, levels[0].tables, levels[0].entries), (1, 1, 9));
        assert_eq!(levels[0].largest_run, levels[0].bytes);
        Ok(())
    }

    /// The longest fills the width, nothing vanishes, and what is in between is in proportion.
    #[test]
    fn bars_are_in_proportion() {
        assert_eq!(bar(80, 80, 10), "█".repeat(10));
        assert_eq!(bar(40, 80, 10), "█████");
        assert_eq!(bar(43, 80, 10), "█████▍");
        assert_eq!((bar(1, 1 << 40, 10), bar(0, 0, 10)), ("▏".to_owned(), "▏".to_owned()));
    }
}
