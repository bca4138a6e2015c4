//! `du`: what the bytes of a store are for.

use super::inspection::{self, Found, Meter};
use crate::cli::args::{Args, DuArgs};
use crate::cli::output::{Object, Table, size};
use crate::cli::{Out, Outcome};
use crate::inspect::du::{Du, DuItem, PrefixSum, Reason, du as count};
use crate::vfs::os::OsVfs;

pub(super) fn du(args: &Args, wanted: &DuArgs, out: &mut Out) -> Outcome {
    let view = inspection::view(args.store.dir()?)?;
    let mut found = Found::default();
    let mut meter = Meter::new("du", wanted.by_prefix.is_some(), out);
    let by_prefix = wanted.by_prefix;
    if by_prefix.is_some() && !out.is_json() {
        out.line("live\tbytes\tshadowed\tbytes\ttombstones\tbytes\tprefix")?;
    }
    let total = count(&OsVfs, &view, by_prefix, &mut |item| match item {
        DuItem::Progress(progress) => {
            meter.set(progress);
            Ok(())
        }
        DuItem::Finding(finding) => found.tell(args, finding, out),
        DuItem::Prefix(prefix) if out.is_json() => out.object(&prefix_object(prefix)),
        DuItem::Prefix(prefix) => out.line(prefix_line(args, prefix)),
    })?;
    drop(meter);
    match (out.is_json(), by_prefix) {
        (true, _) => objects(&total, out)?,
        (false, None) => table(&total, out)?,
        // The lines are for `sort` and its like: nothing else may stand among them.
        (false, Some(_)) => {}
    }
    Ok(found.status)
}

fn table(total: &Du, out: &mut Out) -> Outcome<()> {
    let mut table = Table::new(&["what", "size", "bytes", "count", "percent"]);
    let percent = |bytes: u64| format!("{:.1}", bytes as f64 * 100.0 / total.bytes().max(1) as f64);
    for reason in Reason::ALL {
        let sum = total.sum(reason);
        if sum.bytes > 0 || sum.count > 0 {
            let count = if sum.count == 0 { "-".to_owned() } else { sum.count.to_string() };
            let bytes = sum.bytes;
            let name = reason.to_string();
            table.row([name, size(bytes), bytes.to_string(), count, percent(bytes)]);
        }
    }
    let bytes = total.bytes();
    let files = total.files.to_string();
    table.row(["all files".to_owned(), size(bytes), bytes.to_string(), files, percent(bytes)]);
    out.table(&table)
}

fn objects(total: &Du, out: &mut Out) -> Outcome<()> {
    for reason in Reason::ALL {
        let sum = total.sum(reason);
        let object = Object::new("use").text("reason", reason.name());
        out.object(&object.number("bytes", sum.bytes).number("count", sum.count))?;
    }
    out.summary(
        Object::summary()
            .number("bytes", total.bytes())
            .number("files", total.files)
            .number("damaged", total.damaged),
    )
}

fn prefix_line(args: &Args, sum: &PrefixSum) -> String {
    let counts = [sum.live, sum.shadowed, sum.tombstones];
    let counts = counts.map(|sum| format!("{}\t{}", sum.count, sum.bytes));
    format!("{}\t{}", counts.join("\t"), args.common.encode(&sum.prefix))
}

fn prefix_object(sum: &PrefixSum) -> Object {
    Object::new("prefix")
        .bytes("prefix", &sum.prefix)
        .number("live", sum.live.count)
        .number("live_bytes", sum.live.bytes)
        .number("shadowed", sum.shadowed.count)
        .number("shadowed_bytes", sum.shadowed.bytes)
        .number("tombstones", sum.tombstones.count)
        .number("tombstone_bytes", sum.tombstones.bytes)
}
