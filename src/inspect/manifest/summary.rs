//! What a history adds up to: the traffic by reason, and by time.

use std::collections::BTreeMap;

use super::history::{Moment, Told};
use crate::format::edit::{Counters, Reason};

/// Lengths of time that people count in, in milliseconds: 1 ms to about a thousand years.
const WIDTHS: &[u64] = &[
    1,
    10,
    100,
    1000,
    10_000,
    60_000,
    600_000,
    3_600_000,
    21_600_000,
    86_400_000,
    604_800_000,
    2_592_000_000,
    31_536_000_000,
    31_536_000_000_000,
    u64::MAX,
];

/// Buckets of time that are shown at most.
const BUCKETS_MAX: usize = 24;

/// The traffic of a history. Feed it the moments in order.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// By reason.
    pub by_reason: BTreeMap<Reason, Traffic>,
    /// By time: the beginning of each bucket, in milliseconds since 1970, and what was in it.
    pub by_time: BTreeMap<u64, Bucket>,
    /// Of all edits.
    pub total: Traffic,
    /// When the first and the last edit were made.
    pub times_ms: Option<(u64, u64)>,
    /// Position in [`WIDTHS`].
    width: usize,
    /// The counters after the last edit.
    counters: Option<Counters>,
}

/// What edits did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Edits.
    pub edits: u64,
    /// Tables they added; those that moved are not counted.
    pub tables_added: u64,
    /// Tables they removed; likewise.
    pub tables_removed: u64,
    /// Tables that went to another level as they were.
    pub tables_moved: u64,
    /// Bytes of the tables removed: what compactions read.
    pub bytes_in: u64,
    /// Bytes of the tables added: what was written.
    pub bytes_out: u64,
    /// Bytes of keys and values that users wrote and flushes brought into tables, as far as the
    /// edits say so.
    pub user_bytes: u64,
}

/// What happened in a length of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// What edits did.
    pub traffic: Traffic,
    /// Tables of the tree at its end.
    pub tables: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Traffic {
    /// Bytes of tables written for each byte of keys and values flushed, in hundredths; none where
    /// nothing was flushed.
    #[must_use]
    pub fn write_amplification(&self) -> Option<u64> {
        let written = u128::from(self.bytes_out) * 100;
        let user = u128::from(self.user_bytes);
        let rounded = (written + user / 2).checked_div(user)?;
        Some(u64::try_from(rounded).unwrap_or(u64::MAX))
    }

    fn add(&mut self, other: &Traffic) {
        let pairs = [
            (&mut self.edits, other.edits),
            (&mut self.tables_added, other.tables_added),
            (&mut self.tables_removed, other.tables_removed),
            (&mut self.tables_moved, other.tables_moved),
            (&mut self.bytes_in, other.bytes_in),
            (&mut self.bytes_out, other.bytes_out),
            (&mut self.user_bytes, other.user_bytes),
        ];
        for (sum, more) in pairs {
            *sum = sum.saturating_add(more);
        }
    }
}

impl Summary {
    /// Takes the next moment.
    pub fn hear(&mut self, moment: &Moment<'_>) {
        let Moment::Edit(told) = moment else { return };
        let traffic = self.traffic(told);
        let time = told.edit.time_ms;
        self.total.add(&traffic);
        self.by_reason.entry(told.edit.reason).or_default().add(&traffic);
        let (first, last) = self.times_ms.unwrap_or((time, time));
        self.times_ms = Some((first.min(time), last.max(time)));
        let bucket = self.by_time.entry(time - time % self.width_ms()).or_default();
        bucket.traffic.add(&traffic);
        bucket.tables = told.state.tables().count() as u64;
        bucket.bytes = sizes(told.state.tables().map(|(_, table)| table.size));
        while self.by_time.len() > BUCKETS_MAX && self.width + 1 < WIDTHS.len() {
            self.widen();
        }
    }

    /// The length of a bucket of [`Summary::by_time`].
    #[must_use]
    pub fn width_ms(&self) -> u64 {
        WIDTHS.get(self.width).copied().unwrap_or(u64::MAX)
    }

    fn traffic(&mut self, told: &Told<'_>) -> Traffic {
        let mut traffic = Traffic { edits: 1, ..Traffic::default() };
        let before = self.counters.replace(told.state.counters);
        // Of the edits before the first one that is still there nothing is known.
        if let Some(before) = before {
            let after = told.state.counters.user_bytes;
            traffic.user_bytes = after.saturating_sub(before.user_bytes);
        } else if told.number == 1 {
            traffic.user_bytes = told.state.counters.user_bytes;
        }
        if told.edit.store.is_some() {
            return traffic;
        }
        let change = told.change;
        let has_moved = |number| change.removed.iter().any(|(_, table)| table.number == number);
        let added = || change.added.iter().filter(|(_, table)| !has_moved(table.number));
        traffic.tables_added = added().count() as u64;
        traffic.tables_moved = change.added.len() as u64 - traffic.tables_added;
        traffic.tables_removed = (change.removed.len() as u64).saturating_sub(traffic.tables_moved);
        let stays = |number| change.added.iter().any(|(_, table)| table.number == number);
        let removed = change.removed.iter().filter(|(_, table)| !stays(table.number));
        traffic.bytes_out = sizes(added().map(|(_, table)| table.size));
        traffic.bytes_in = sizes(removed.map(|(_, table)| table.size));
        traffic
    }

    fn widen(&mut self) {
        self.width += 1;
        let width = self.width_ms();
        for (time, bucket) in std::mem::take(&mut self.by_time) {
            let wide = self.by_time.entry(time - time % width).or_default();
            wide.traffic.add(&bucket.traffic);
            (wide.tables, wide.bytes) = (bucket.tables, bucket.bytes);
        }
    }
}

fn sizes(sizes: impl Iterator<Item = u64>) -> u64 {
    sizes.fold(0, u64::saturating_add)
}
