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

    /// Whether [`Cuts::end_before`] might find an end at `user` or before it that is not at the
    /// keys it was asked for.
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
