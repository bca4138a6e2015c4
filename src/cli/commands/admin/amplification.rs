//! What the tree costs: tables for a read, bytes for a byte.

use crate::cli::output::Object;
use crate::{Db, Level, Stats};

/// The three amplifications of a store at one moment.
pub(in crate::cli::commands) struct Amplification {
    /// Tables that one `get` may have to look into: all of L0, one of each level below.
    pub(in crate::cli::commands) read: u64,
    /// Bytes of tables written in the store's life for each byte of keys and values flushed. The
    /// log, which every byte goes through once, is not in it.
    pub(in crate::cli::commands) write: Option<f64>,
    /// Bytes of tables for each byte of the largest sorted run: what it would be if every entry of
    /// the others were an older version. Without deletes it is not more than that.
    pub(in crate::cli::commands) space_max: Option<f64>,
}

impl Amplification {
    pub(in crate::cli::commands) fn of(db: &Db, stats: &Stats) -> Amplification {
        let [level0, below @ ..] = &stats.levels;
        let total: u64 = stats.levels.iter().map(|level| level.bytes).sum();
        let life = &stats.lifetime;
        let deepest = below.iter().map(|level| level.bytes).max().unwrap_or(0);
        Amplification {
            read: level0.tables + below.iter().filter(|level| level.tables > 0).count() as u64,
            write: ratio(life.flushed_bytes + life.compacted_bytes_out, life.user_bytes),
            space_max: ratio(total, largest_run(db).max(deepest)),
        }
    }

    /// The figures as a summary has them; null where nothing was flushed yet.
    pub(in crate::cli::commands) fn add_to(&self, summary: Object) -> Object {
        let [write, space] = [self.write, self.space_max].map(|ratio| ratio.map(rounded));
        summary
            .number("read_amplification", self.read)
            .value("write_amplification", write)
            .value("space_amplification_max", space)
    }

    /// Names and texts for a table.
    pub(in crate::cli::commands) fn shown(&self) -> [(&'static str, String); 3] {
        let text = |ratio: Option<f64>| ratio.map_or("-".to_owned(), |it| format!("{it:.2}"));
        [
            ("read_amplification", self.read.to_string()),
            ("write_amplification", text(self.write)),
            ("space_amplification_max", text(self.space_max)),
        ]
    }
}

/// Bytes of the largest set of L0 tables, as they lie, that do not overlap: each such set is as good
/// as a level.
fn largest_run(db: &Db) -> u64 {
    let mut tables: Vec<_> =
        db.tables().into_iter().filter(|(level, _)| *level == Level(0)).collect();
    tables.sort_by(|(_, a), (_, b)| a.smallest.user.cmp(&b.smallest.user));
    let mut runs: Vec<(Vec<u8>, u64)> = Vec::new();
    for (_, table) in tables {
        match runs.iter_mut().find(|(end, _)| *end < table.smallest.user) {
            Some((end, bytes)) => (*end, *bytes) = (table.largest.user, *bytes + table.size),
            None => runs.push((table.largest.user, table.size)),
        }
    }
    runs.into_iter().map(|(_, bytes)| bytes).max().unwrap_or(0)
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Two digits behind the point: the rest is noise.
fn rounded(ratio: f64) -> f64 {
    (ratio * 100.0).round() / 100.0
}
