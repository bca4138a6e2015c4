//! Where a merge ends one table and begins the next.

use crate::format::table::TableMeta;

/// A table overlaps at most this many times its size of the level below: merging it further down
/// stays bounded.
const OVERLAP_MAX: u64 = 10;

/// Decides between which user keys output tables end.
///
/// Best where a table of the level below ends, once the output is half as large as it should be:
/// then merging it further down touches no more tables than it must.
#[derive(Debug)]
pub(super) struct Cuts<'a> {
    /// Tables of the level below the output that do not end before the key asked for last.
    below: &'a [&'a TableMeta],
    /// Bytes of tables below that ended since the output began.
    overlap: u64,
    /// Bytes an output table should have.
    table_size: u64,
}

impl<'a> Cuts<'a> {
    pub(super) fn new(below: &'a [&'a TableMeta], table_size: u64) -> Cuts<'a> {
        Cuts { below, overlap: 0, table_size }
    }

    /// Whether the output, which has `written` bytes, shall end before this key; keys ascend.
    #[inline]
    pub(super) fn end_before(&mut self, user: &[u8], written: u64) -> bool {
        let mut boundary = false;
        while let Some((first, rest)) = self.below.split_first()
            && first.largest.user.as_slice() < user
        {
            self.overlap = self.overlap.saturating_add(first.size);
            self.below = rest;
            boundary = true;
        }
        let end = written > 0 && self.is_due(boundary, written);
        if end || written == 0 {
            self.overlap = 0;
        }
        end
    }

    /// Whether there is a good place to end between the key asked for last and `user`.
    pub(super) fn may_end_up_to(&self, user: &[u8], written: u64) -> bool {
        let boundary = self.below.first().is_some_and(|table| table.largest.user.as_slice() < user);
        boundary && written >= self.table_size / 2
    }

    fn is_due(&self, boundary: bool, written: u64) -> bool {
        let overlaps = self.overlap > self.table_size.saturating_mul(OVERLAP_MAX);
        // With a boundary ahead there is reason to wait for it.
        let size_max = match self.below {
            [] => self.table_size,
            _ => self.table_size.saturating_add(self.table_size / 2),
        };
        overlaps || written >= size_max || boundary && written >= self.table_size / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::compaction::drops::tests::table;

    /// Where outputs end when every key from 0 to 999 adds so many bytes, and each table below has
    /// this size and ends at this key.
    fn ends(below: &[(u32, u64)], table_size: u64, entry_size: u64) -> Vec<u32> {
        let key = |i: u32| format!("{i:03}");
        let tables: Vec<TableMeta> = below
            .iter()
            .map(|&(end, size)| TableMeta { size, ..table(&key(end), &key(end)) })
            .collect();
        let tables: Vec<&TableMeta> = tables.iter().collect();
        let mut cuts = Cuts::new(&tables, table_size);
        let (mut written, mut ends) = (0, Vec::new());
        for i in 0..1000 {
            if cuts.end_before(key(i).as_bytes(), written) {
                ends.push(i);
                written = 0;
            }
            written += entry_size;
        }
        ends
    }

    /// Without a level below each output is as large as it should be; with one it waits for an end
    /// there, from half its size on and no longer than for half as much again.
    #[test]
    fn outputs_end_at_ends_below_within_bounds() {
        assert_eq!(ends(&[], 300, 1), [300, 600, 900]);
        assert_eq!(ends(&[(140, 1), (160, 1), (320, 1)], 300, 1), [161, 321, 621, 921]);
        assert_eq!(ends(&[(999, 1)], 300, 1), [450, 900]);
        assert_eq!(ends(&[(430, 1), (460, 1), (999, 1)], 300, 1), [431, 881]);
    }

    /// Many ends below an output, each too early for it: it ends behind the tenth table's worth.
    #[test]
    fn an_output_overlaps_only_so_much_of_the_level_below() {
        let below: Vec<(u32, u64)> = (1..100).map(|i| (10 * i, 100)).collect();
        assert_eq!(ends(&below, 100, 0), [] as [u32; 0]); // Nothing is written, nothing to end.
        let tiny = ends(&below, 10_000, 1);
        assert!(tiny.is_empty(), "{tiny:?}"); // 9,900 bytes below, and 100,000 are allowed.
        let below: Vec<(u32, u64)> = (1..100).map(|i| (10 * i, 20_000)).collect();
        assert_eq!(ends(&below, 10_000, 1)[..3], [61, 121, 181]); // More than 100,000 bytes each.
    }

    /// A place to end counts only from half the size on, and only if it lies before the key.
    #[test]
    fn a_place_to_end_ahead_is_announced() {
        let table = table("m", "m");
        let tables = [&table];
        let cuts = Cuts::new(&tables, 100);
        assert!(cuts.may_end_up_to(b"n", 50));
        assert!(!cuts.may_end_up_to(b"n", 49));
        assert!(!cuts.may_end_up_to(b"m", 50));
    }
}
