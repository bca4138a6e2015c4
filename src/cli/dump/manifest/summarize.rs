//! `beach-manifest summarize`: the traffic by reason and by time.

use super::{Target, tell};
use crate::cli::Outcome;
use crate::cli::dump::{Dump, plural};
use crate::cli::output::{Object, Table, size};
use crate::inspect::manifest::summary::{Bucket, Summary, Traffic};
use crate::inspect::utc;

/// `summarize`.
pub(super) fn summarize(dump: &mut Dump<'_>, target: &Target) -> Outcome {
    let mut summary = Summary::default();
    tell(dump, target, &mut |_, moment| {
        summary.hear(moment);
        Ok(())
    })?;
    if dump.out.is_json() {
        objects(dump, &summary)?
    } else {
        tables(dump, &summary)?
    }
    let object = traffic(Object::summary(), &summary.total);
    let object = object.number("bucket_ms", summary.width_ms());
    dump.out.summary(object)?;
    Ok(dump.status)
}

fn objects(dump: &mut Dump<'_>, summary: &Summary) -> Outcome<()> {
    for (reason, sums) in &summary.by_reason {
        let object = Object::new("reason").text("reason", &reason.to_string());
        dump.out.object(&traffic(object, sums))?;
    }
    for (time, bucket) in &summary.by_time {
        let object = Object::new("bucket").number("time_ms", *time).text("time", &utc(*time));
        let object = traffic(object, &bucket.traffic);
        dump.out.object(&object.number("tables", bucket.tables).number("bytes", bucket.bytes))?;
    }
    Ok(())
}

/// Adds the sums.
fn traffic(object: Object, sums: &Traffic) -> Object {
    let amplification = sums.write_amplification().map(|hundredths| hundredths as f64 / 100.0);
    object
        .number("edits", sums.edits)
        .number("tables_added", sums.tables_added)
        .number("tables_removed", sums.tables_removed)
        .number("tables_moved", sums.tables_moved)
        .number("bytes_in", sums.bytes_in)
        .number("bytes_out", sums.bytes_out)
        .number("user_bytes", sums.user_bytes)
        .value("write_amplification", amplification)
}

fn tables(dump: &mut Dump<'_>, summary: &Summary) -> Outcome<()> {
    let mut rows =
        Table::new(&["reason", "edits", "tables +", "tables -", "moved", "read", "written"]);
    for (reason, sums) in &summary.by_reason {
        rows.row(std::iter::once(reason.to_string()).chain(counts(sums)));
    }
    rows.row(std::iter::once("all".to_owned()).chain(counts(&summary.total)));
    dump.out.table(&rows)?;
    dump.out.line(format!("\nby time, {} each:", length(summary.width_ms())))?;
    let header =
        ["from", "edits", "tables +", "tables -", "moved", "read", "written", "user", "w-amp"];
    let mut rows = Table::new(&[&header[..], &["tables", "size"]].concat());
    for (time, Bucket { traffic, tables, bytes }) in &summary.by_time {
        let cells = [size(traffic.user_bytes), amplification(traffic)];
        let tree = [tables.to_string(), size(*bytes)];
        rows.row([utc(*time)].into_iter().chain(counts(traffic)).chain(cells).chain(tree));
    }
    dump.out.table(&rows)?;
    let Traffic { edits, bytes_out, user_bytes, .. } = summary.total;
    let edits = plural(edits, "edit");
    let (written, user) = (size(bytes_out), size(user_bytes));
    let amplification = amplification(&summary.total);
    dump.out.line(format!(
        "{edits}: {written} of tables written for {user} of keys and values, write amplification \
         {amplification}"
    ))
}

/// A length of time in the largest unit that fits.
fn length(ms: u64) -> String {
    const UNITS: [(u64, &str); 5] =
        [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s"), (1, "ms")];
    let fits = UNITS.iter().find(|(unit, _)| ms.is_multiple_of(*unit) || ms / unit > 10_000);
    fits.map_or(String::new(), |(unit, name)| format!("{} {name}", ms / unit))
}

fn counts(sums: &Traffic) -> [String; 6] {
    [
        sums.edits.to_string(),
        sums.tables_added.to_string(),
        sums.tables_removed.to_string(),
        sums.tables_moved.to_string(),
        size(sums.bytes_in),
        size(sums.bytes_out),
    ]
}

fn amplification(sums: &Traffic) -> String {
    match sums.write_amplification() {
        Some(hundredths) => format!("{}.{:02}", hundredths / 100, hundredths % 100),
        None => "-".to_owned(),
    }
}
