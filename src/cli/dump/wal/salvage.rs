//! `beach-walDump salvage`.

use super::filter::Filter;
use super::{Bar, SalvageArgs, WalArgs, print};
use crate::cli::dump::{Dump, plural};
use crate::cli::output::Object;
use crate::cli::{Failure, Out, Outcome, Status};
use crate::inspect::frames::Expect;
use crate::inspect::salvage::{self, Salvaged};
use crate::inspect::wal::LogItem;
use crate::vfs::{Access, Vfs};

pub(super) fn salvage(args: &WalArgs, wanted: &SalvageArgs, out: &mut Out) -> Outcome {
    let mut dump = Dump::new(out, &args.common);
    let vfs = dump.vfs;
    let bad = vfs.open(&wanted.bad, Access::Read)?;
    let mut bar = Bar::begin("salvage", bad.size()?, dump.out);
    let expect = Expect::default();
    let mut tell = |item: &LogItem<'_>| {
        bar.reach(item);
        told(&mut dump, item)
    };
    let salvaged = match &wanted.out {
        Some(good) if !wanted.dry_run => {
            salvage::salvage_to::<Failure>(&vfs, &*bad, &expect, good, &mut tell)?
        }
        _ => salvage::salvage::<Failure>(&*bad, &expect, None, &mut tell)?,
    };
    drop(bar);
    if dump.out.is_json() {
        dump.out.summary(summary(wanted, &salvaged))?;
    } else {
        for line in lines(wanted, &salvaged) {
            dump.out.line(line)?;
        }
    }
    Ok(if salvaged.has_losses() { Status::Losses } else { Status::Done })
}

/// Of a log that is salvaged only what is not as it should be is shown.
fn told(dump: &mut Dump<'_>, item: &LogItem<'_>) -> Outcome<()> {
    match item {
        LogItem::Header(_) => {}
        _ if item.finding().is_none() => return Ok(()),
        _ => {}
    }
    print::item(dump, item, false, &mut Filter::new(None, None))
}

fn lines(wanted: &SalvageArgs, salvaged: &Salvaged) -> Vec<String> {
    let found = &salvaged.found;
    let place = match &wanted.out {
        Some(good) if !wanted.dry_run => format!("{}: {} bytes", good.display(), salvaged.size),
        _ => "a dry run, nothing was written".to_owned(),
    };
    let lost = salvaged.lost_bytes;
    vec![
        format!(
            "kept {} with {} of {} frames, {} left out, {} missing",
            print::batches(salvaged.batches),
            plural(salvaged.ops, "operation"),
            found.frames,
            plural(lost, "byte"),
            plural(found.ops_missing, "operation"),
        ),
        place,
    ]
}

fn summary(wanted: &SalvageArgs, salvaged: &Salvaged) -> Object {
    let written = wanted.out.as_ref().filter(|_| !wanted.dry_run);
    let summary = Object::summary()
        .number("frames_kept", salvaged.frames)
        .number("batches_kept", salvaged.batches)
        .number("ops_kept", salvaged.ops)
        .number("ops_missing", salvaged.found.ops_missing)
        .number("gaps", salvaged.gaps)
        .number("lost_bytes", salvaged.lost_bytes)
        .number("torn_bytes", salvaged.torn_bytes)
        .value("header_lost", salvaged.is_header_lost)
        .number("size", salvaged.size);
    match written {
        Some(good) => summary.bytes("out", good.as_os_str().as_encoded_bytes()),
        None => summary,
    }
}
