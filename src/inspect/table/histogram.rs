//! How the sizes of keys and values are spread over tables.

use std::collections::BTreeMap;

use super::{TableItem, TableTotals, read_table};
use crate::error::{Error, Result};
use crate::inspect::finding::Finding;
use crate::vfs::File;

/// Most prefixes that are told apart; entries of others are counted together.
const PREFIXES_MAX: usize = 1 << 16;

/// Counts by powers of two: bucket 0 is for 0, bucket *n* for 2^(n-1) up to 2^n - 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    buckets: Vec<u64>,
    /// How many were counted.
    pub count: u64,
    /// Their sum.
    pub sum: u64,
    /// The smallest and the largest.
    pub bounds: Option<(u64, u64)>,
}

impl Sizes {
    fn add(&mut self, size: u64) {
        let bucket = (u64::BITS - size.leading_zeros()) as usize;
        if self.buckets.len() <= bucket {
            self.buckets.resize(bucket + 1, 0);
        }
        self.buckets[bucket] += 1;
        self.count += 1;
        self.sum = self.sum.saturating_add(size);
        let (low, high) = self.bounds.unwrap_or((size, size));
        self.bounds = Some((low.min(size), high.max(size)));
    }

    /// The buckets from the first that has something to the last: smallest and largest size, count.
    #[must_use]
    pub fn buckets(&self) -> Vec<(u64, u64, u64)> {
        let bounds = |bucket: usize| match bucket {
            0 => (0, 0),
            _ => (1 << (bucket - 1), u64::MAX >> (64 - bucket)),
        };
        let all = self.buckets.iter().enumerate().skip_while(|(_, count)| **count == 0);
        all.map(|(bucket, &count)| (bounds(bucket).0, bounds(bucket).1, count)).collect()
    }
}

/// What was counted, over one or several tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Bytes of each entry's user key.
    pub keys: Sizes,
    /// Bytes of each value; tombstones have none and are not counted.
    pub values: Sizes,
    /// Entries of each data block.
    pub blocks: Sizes,
    /// Entries by the first bytes of their keys.
    pub prefixes: BTreeMap<Vec<u8>, u64>,
    /// Entries with prefixes beyond the first 65,536.
    pub other_prefixes: u64,
}

impl Histogram {
    /// Adds the entries of a table, calling `damage` with what is wrong with it; keys are told apart by
    /// their first `prefix_size` bytes.
    ///
    /// # Errors
    /// Those of `damage`, and as [`read_table`].
    pub fn add<E: From<Error>>(
        &mut self,
        file: &dyn File,
        prefix_size: usize,
        damage: &mut dyn FnMut(&Finding) -> Result<(), E>,
    ) -> Result<TableTotals, E> {
        let (mut prefix, mut run) = (Vec::new(), 0);
        let totals = read_table(file, true, &mut |item| {
            match &item {
                TableItem::Block(report) if report.bounds.is_some() => {
                    self.blocks.add(report.entries);
                }
                TableItem::Entry(entry) => {
                    self.keys.add(entry.key.len() as u64);
                    if entry.trailer.kind() == Some(crate::types::ValueKind::Put) {
                        self.values.add(entry.value.len() as u64);
                    }
                    let begin = &entry.key[..prefix_size.min(entry.key.len())];
                    // Equal prefixes follow each other, so the map is asked once for each.
                    if prefix != begin {
                        self.count(&prefix, run);
                        prefix.clear();
                        prefix.extend_from_slice(begin);
                        run = 0;
                    }
                    run += 1;
                }
                _ => {}
            }
            item.finding().map_or(Ok(()), &mut *damage)
        })?;
        self.count(&prefix, run);
        Ok(totals)
    }

    fn count(&mut self, prefix: &[u8], run: u64) {
        if run == 0 {
            return;
        }
        if let Some(count) = self.prefixes.get_mut(prefix) {
            *count += run;
        } else if self.prefixes.len() < PREFIXES_MAX {
            self.prefixes.insert(prefix.to_vec(), run);
        } else {
            self.other_prefixes += run;
        }
    }
}
