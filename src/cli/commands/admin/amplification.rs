//! What the tree costs: tables for a read, bytes for a byte.

use crate::Stats;
use crate::cli::output::Object;

/// The three amplifications of a store at one moment.
pub(in crate::cli::commands) struct Amplification {
    /// Tables that one `get` may have to look into: those of L0 that overlap at some key, one of each
    /// level below.
    pub(in crate::cli::commands) read: u64,
    /// Bytes of tables written in the store's life for each byte of keys and values flushed. The
    /// log, which every byte goes through once, is not in it.
    pub(in crate::cli::commands) write: Option<f64>,
    /// Bytes of tables for each byte of the largest sorted run, which in a tree in shape is the last
    /// level: what it would be if every entry of the other runs were an older version of one there.
    /// Without deletes it is not more than that.
    pub(in crate::cli::commands) space_max: Option<f64>,
}

impl Amplification {
    /// Of the tree as it is, and of its life so far.
    pub(in crate::cli::commands) fn of(stats: &Stats) -> Amplification {
        Amplification {
            read: stats.read_amplification,
            write: stats.write_amplification(),
            space_max: stats.space_amplification,
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
        [
            ("read_amplification", self.read.to_string()),
            ("write_amplification", text(self.write)),
            ("space_amplification_max", text(self.space_max)),
        ]
    }
}

/// One number divided by another; none if there is nothing to divide by.
pub(super) fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// A ratio for people: two digits, a dash for none.
pub(super) fn text(ratio: Option<f64>) -> String {
    ratio.map_or("-".to_owned(), |it| format!("{it:.2}"))
}

/// Two digits behind the point: the rest is noise.
fn rounded(ratio: f64) -> f64 {
    (ratio * 100.0).round() / 100.0
}
