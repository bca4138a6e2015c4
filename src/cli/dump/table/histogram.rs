//! `beach-sstDump histogram`.

use std::path::PathBuf;

use crate::cli::Outcome;
use crate::cli::dump::Dump;
use crate::cli::output::{Object, Table};
use crate::inspect::table::{Histogram, Sizes};

/// Columns of the longest bar.
const BAR_WIDTH: u64 = 40;

/// Prefixes listed; of more, those with the most entries.
const PREFIXES_SHOWN: usize = 64;

/// Counts over all tables named.
pub(super) fn histogram(mut dump: Dump<'_>, paths: &[PathBuf], prefix_size: usize) -> Outcome {
    let mut counts = Histogram::default();
    let (mut entries, mut damaged) = (0, 0);
    dump.all(
        paths,
        |live| live.tables,
        |dump, file, level| {
            let totals = counts.add(file, prefix_size, &mut |found| {
                dump.finding(Some(&found.clone().in_level(level)))
            })?;
            entries += totals.entries;
            damaged += totals.damaged;
            dump.complain_quietly(file.path(), totals.damaged);
            Ok(totals.damaged == 0)
        },
    )?;
    for (name, title, sizes) in [
        ("key_size", "bytes of keys", &counts.keys),
        ("value_size", "bytes of values", &counts.values),
        ("block_entries", "entries per data block", &counts.blocks),
    ] {
        spread(&mut dump, name, title, sizes)?;
    }
    prefixes(&mut dump, prefix_size, &counts)?;
    dump.end(|summary| {
        summary
            .number("entries", entries)
            .number("prefixes", counts.prefixes.len() as u64)
            .number("other_prefixes_entries", counts.other_prefixes)
            .number("damaged", damaged)
    })
}

fn spread(dump: &mut Dump<'_>, name: &str, title: &str, sizes: &Sizes) -> Outcome<()> {
    let buckets = sizes.buckets();
    if dump.out.is_json() {
        for (from, upto, count) in buckets {
            let object = Object::new("bucket").text("of", name).number("from", from);
            dump.out.object(&object.number("upto", upto).number("count", count))?;
        }
        return Ok(());
    }
    let Some((low, high)) = sizes.bounds else { return Ok(()) };
    let mean = sizes.sum as f64 / sizes.count.max(1) as f64;
    dump.out
        .line(format!("{title}: {} counted, {low} to {high}, {mean:.1} on average", sizes.count))?;
    let most = buckets.iter().map(|(_, _, count)| *count).max().unwrap_or(1);
    let mut table = Table::new(&["from", "to", "count", ""]);
    for (from, upto, count) in buckets {
        table.row([from.to_string(), upto.to_string(), count.to_string(), bar(count, most)]);
    }
    dump.out.table(&table)?;
    dump.out.line("")
}

fn prefixes(dump: &mut Dump<'_>, size: usize, counts: &Histogram) -> Outcome<()> {
    if dump.out.is_json() {
        for (prefix, count) in &counts.prefixes {
            dump.out
                .object(&Object::new("prefix").bytes("prefix", prefix).number("count", *count))?;
        }
        return Ok(());
    }
    let mut shown: Vec<(&Vec<u8>, u64)> =
        counts.prefixes.iter().map(|(prefix, count)| (prefix, *count)).collect();
    shown.sort_by_key(|(prefix, count)| (std::cmp::Reverse(*count), *prefix));
    let most = shown.first().map_or(1, |(_, count)| *count);
    let left: u64 = shown.iter().skip(PREFIXES_SHOWN).map(|(_, count)| count).sum();
    let others = shown.len().saturating_sub(PREFIXES_SHOWN);
    shown.truncate(PREFIXES_SHOWN);
    shown.sort_unstable();
    dump.out
        .line(format!("entries by the first {} of the key:", super::plural(size as u64, "byte")))?;
    let mut table = Table::new(&["prefix", "count", ""]);
    for (prefix, count) in shown {
        table.row([dump.quoted(prefix), count.to_string(), bar(count, most)]);
    }
    dump.out.table(&table)?;
    let left = left + counts.other_prefixes;
    match (others, left) {
        (_, 0) => Ok(()),
        (0, left) => dump.out.line(format!("and {left} entries with other prefixes")),
        (others, left) => dump.out.line(format!("and {left} entries with {others} other prefixes")),
    }
}

/// A bar as long as the share of the largest; something for what is there at all.
fn bar(count: u64, most: u64) -> String {
    let width = (count * BAR_WIDTH).div_ceil(most.max(1));
    "#".repeat(usize::try_from(width).unwrap_or_default())
}

impl Dump<'_> {
    /// Says on standard error that a file has damaged places, where they are not shown.
    fn complain_quietly(&mut self, path: &std::path::Path, damaged: u64) {
        if damaged > 0 {
            let places = super::plural(damaged, "damaged place");
            let path = path.display();
            self.out.error(format!("{path} has {places}; run: beach-sstDump {path}"));
        }
    }
}
