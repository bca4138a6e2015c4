//! Where an ingested table goes: as deep as it may. Pure.

use crate::engine::compaction::job::Span;
use crate::format::table::TableMeta;
use crate::types::Level;

/// The deepest level such that neither it nor one above it has anything in the table's key range,
/// since everything there is older; L0 if there is none.
///
/// A running job may put tables anywhere in its span at its output level, and takes its inputs to be
/// all there is above: within its span only what lies deeper is open, and L0.
pub(super) fn level_for(
    levels: &[Vec<TableMeta>; Level::COUNT],
    table: &TableMeta,
    running: Option<&Span>,
) -> Level {
    let touches = |smallest: &[u8], largest: &[u8]| {
        smallest <= table.largest.user.as_slice() && table.smallest.user.as_slice() <= largest
    };
    let is_clear = |level: &usize| {
        let mut tables = levels[*level].iter();
        !tables.any(|other| touches(&other.smallest.user, &other.largest.user))
    };
    let deepest = (0..Level::COUNT).take_while(is_clear).last().unwrap_or(0);
    let busy = running.filter(|span| touches(&span.smallest, &span.largest));
    match busy {
        Some(span) if deepest <= usize::from(span.output.0) => Level(0),
        _ => Level(deepest as u8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::key::{InternalKey, Trailer};
    use crate::format::table::Handle;
    use crate::types::{FileId, FileNumber, SeqNo, ValueKind};

    fn table(smallest: &str, largest: &str) -> TableMeta {
        let key = |user: &str| InternalKey {
            user: user.as_bytes().to_vec(),
            trailer: Trailer::new(SeqNo(1), ValueKind::Put),
        };
        let handle = Handle { offset: 0, size: 0 };
        TableMeta {
            number: FileNumber(1),
            id: FileId(1),
            size: 1,
            smallest: key(smallest),
            largest: key(largest),
            min_seqno: SeqNo(1),
            max_seqno: SeqNo(1),
            entries: 1,
            tombstones: 0,
            raw_bytes: 1,
            filter: handle,
            properties: handle,
            index: handle,
        }
    }

    fn tree(tables: &[(u8, &str, &str)]) -> [Vec<TableMeta>; Level::COUNT] {
        let mut levels: [Vec<TableMeta>; Level::COUNT] = Default::default();
        for (level, smallest, largest) in tables {
            levels[usize::from(*level)].push(table(smallest, largest));
        }
        levels
    }

    /// Levels that hold nothing in the range let it pass, one that does stops it, and what lies below
    /// that does not matter. One shared key is an overlap; a gap between two tables is none.
    #[test]
    fn a_table_goes_down_to_where_something_older_lies() {
        let levels = tree(&[(0, "m", "p"), (3, "a", "c"), (3, "e", "g"), (6, "a", "z")]);
        for (smallest, largest, level) in [
            ("n", "n", 0),
            ("a", "z", 0),
            ("p", "q", 0),
            ("q", "r", 5),
            ("d", "d", 5),
            ("d", "e", 2),
            ("c", "d", 2),
            ("b", "b", 2),
        ] {
            let found = level_for(&levels, &table(smallest, largest), None);
            assert_eq!(found, Level(level), "{smallest}..{largest}");
        }
        assert_eq!(level_for(&tree(&[]), &table("a", "z"), None), Level::MAX);
    }

    /// A job from L3 into L4 leaves the range below it free, and nothing else in its span but L0.
    #[test]
    fn a_table_stays_out_of_a_running_jobs_way() {
        let span = |output| Span {
            output: Level(output),
            smallest: b"d".to_vec(),
            largest: b"k".to_vec(),
        };
        let levels = tree(&[(5, "a", "f"), (6, "a", "z")]);
        for (smallest, largest, output, level) in [
            ("g", "h", 4, 5),
            ("g", "h", 5, 0),
            ("a", "b", 4, 4),
            ("a", "d", 4, 0),
            ("k", "l", 6, 0),
            ("l", "m", 6, 5),
            ("g", "h", 0, 5),
        ] {
            let found = level_for(&levels, &table(smallest, largest), Some(&span(output)));
            assert_eq!(found, Level(level), "{smallest}..{largest} beside a job into L{output}");
        }
    }
}
