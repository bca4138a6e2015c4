//! `diff`: how two stores or tables differ.

use std::ops::Bound;

use super::inspection::{Found, Meter};
use super::range;
use crate::cli::args::{Args, DiffArgs};
use crate::cli::output::Object;
use crate::cli::{Failure, Out, Outcome, Status, retry};
use crate::inspect::diff::{DiffItem, diff as compare, side};
use crate::inspect::versions::Range;
use crate::vfs::os::OsVfs;

pub(super) fn diff(args: &Args, wanted: &DiffArgs, out: &mut Out) -> Outcome {
    if wanted.as_ops && out.is_json() {
        return Err(Failure::Usage("--as-ops has lines of its own; leave out --json".to_owned()));
    }
    let (from, to) = range::bounds(args, &wanted.range, None)?;
    let end = |bound| match bound {
        Bound::Included(key) | Bound::Excluded(key) => Some(key),
        Bound::Unbounded => None,
    };
    let range = Range { from: end(from), to: end(to) };
    let a = retry::while_moved(|| side(&OsVfs, &wanted.a, &range))?;
    let b = retry::while_moved(|| side(&OsVfs, &wanted.b, &range))?;
    let mut found = Found::default();
    let mut meter = Meter::new("diff", true, out);
    let totals = compare(a, b, &mut |item| match item {
        DiffItem::Progress(progress) => {
            meter.set(progress);
            Ok(())
        }
        DiffItem::Finding(finding) => found.tell(args, finding, out),
        item if wanted.as_ops => operations(&item, out),
        item if out.is_json() => object(&item).map_or(Ok(()), |object| out.object(&object)),
        item => line(args, &item).map_or(Ok(()), |line| out.line(line)),
    })?;
    if !wanted.as_ops {
        out.summary(
            Object::summary()
                .number("added", totals.added)
                .number("removed", totals.removed)
                .number("changed", totals.changed)
                .number("equal", totals.equal)
                .number("damaged", totals.damaged),
        )?;
    }
    let answer = if totals.is_equal() { Status::Done } else { Status::Negative };
    Ok(found.status.combine(answer))
}

/// `+ key value`, `- key value`, `~ key old -> new`.
fn line(args: &Args, item: &DiffItem<'_>) -> Option<String> {
    let encode = |bytes: &[u8]| args.common.encode(bytes);
    Some(match item {
        DiffItem::Added { key, value } => format!("+ {}\t{}", encode(key), encode(value)),
        DiffItem::Removed { key, value } => format!("- {}\t{}", encode(key), encode(value)),
        DiffItem::Changed { key, old, new } => {
            format!("~ {}\t{} -> {}", encode(key), encode(old), encode(new))
        }
        DiffItem::Finding(_) | DiffItem::Progress(_) => return None,
    })
}

fn object(item: &DiffItem<'_>) -> Option<Object> {
    Some(match item {
        DiffItem::Added { key, value } => {
            Object::new("added").bytes("key", key).bytes("value", value)
        }
        DiffItem::Removed { key, value } => {
            Object::new("removed").bytes("key", key).bytes("value", value)
        }
        DiffItem::Changed { key, old, new } => {
            Object::new("changed").bytes("key", key).bytes("old", old).bytes("new", new)
        }
        DiffItem::Finding(_) | DiffItem::Progress(_) => return None,
    })
}

/// The operation that makes the first side like the second, as `apply` reads it.
fn operations(item: &DiffItem<'_>, out: &mut Out) -> Outcome<()> {
    let operation = |op: &str, key: &[u8]| Object::bare().text("op", op).bytes("key", key);
    match item {
        DiffItem::Added { key, value } | DiffItem::Changed { key, new: value, .. } => {
            out.object(&operation("put", key).bytes("value", value))
        }
        DiffItem::Removed { key, .. } => out.object(&operation("del", key)),
        DiffItem::Finding(_) | DiffItem::Progress(_) => Ok(()),
    }
}
