//! `find`: every version of a key, and where it lies.

use super::inspection::{self, Found, Meter};
use crate::cli::args::{Args, FindArgs};
use crate::cli::dump::op_name;
use crate::cli::output::Object;
use crate::cli::{Failure, Out, Outcome, Status};
use crate::inspect::find::Fate;
use crate::inspect::find::{FindItem, Maker, Sought, find as search};
use crate::inspect::utc;
use crate::inspect::versions::{Place, Version};
use crate::vfs::os::OsVfs;

pub(super) fn find(args: &Args, wanted: &FindArgs, out: &mut Out) -> Outcome {
    let key = args.common.decode("KEY", &wanted.key)?;
    if key.is_empty() && !wanted.prefix {
        return Err(Failure::Usage("KEY: a key has at least one byte".to_owned()));
    }
    let view = inspection::view(args.store.dir()?)?;
    let sought = if wanted.prefix { Sought::Prefix(&key) } else { Sought::Key(&key) };
    let mut found = Found::default();
    let mut meter = Meter::new("find", true, out);
    let totals = search(&OsVfs, &view, sought, &mut |item| match item {
        FindItem::Progress(progress) => {
            meter.set(progress);
            Ok(())
        }
        FindItem::Finding(finding) => found.tell(args, finding, out),
        FindItem::Version(version, fate, maker) if out.is_json() => {
            out.object(&object(version, fate, maker))
        }
        FindItem::Version(version, fate, maker) => out.line(line(args, version, fate, maker)),
    })?;
    out.summary(
        Object::summary()
            .number("keys", totals.keys)
            .number("versions", totals.versions)
            .number("returned", totals.returned)
            .number("damaged", totals.damaged),
    )?;
    let answer = if totals.versions == 0 { Status::Negative } else { Status::Done };
    Ok(found.status.combine(answer))
}

/// `apple #14 PUT 3 bytes returned sand/000013.sst L1 block 7 at 0x1271 entry 3 compaction, job 5, …`.
fn line(args: &Args, version: &Version<'_>, fate: Fate, maker: Option<&Maker>) -> String {
    let key = args.common.encode(version.key);
    let (seqno, kind, size) = (version.seqno, version.kind, version.value_size);
    let path = version.place.path().display();
    let place = match version.place {
        Place::Log { offset, op, .. } => format!("{path} record at {offset:#x} operation {op}"),
        Place::Table { source, block, offset, entry, .. } => {
            let level = source.level.map_or(String::new(), |level| format!(" {level}"));
            format!("{path}{level} block {block} at {offset:#x} entry {entry}")
        }
    };
    let mut line = format!("{key}\t#{seqno}\t{kind}\t{size} bytes\t{fate}\t{place}");
    if let Some(Maker { origin, job, created_ms }) = maker {
        line += &format!("\t{origin}, job {job}, {}", utc(*created_ms));
    }
    line
}

fn object(version: &Version<'_>, fate: Fate, maker: Option<&Maker>) -> Object {
    let mut object = Object::new("found")
        .bytes("key", version.key)
        .number("seqno", version.seqno.0)
        .text("kind", op_name(Some(version.kind)))
        .number("value_size", version.value_size)
        .text("fate", fate.name());
    if let Fate::Dead(why) = fate {
        object = object.text("dead", why.name());
    }
    object = object.bytes("path", version.place.path().as_os_str().as_encoded_bytes());
    object = match version.place {
        Place::Log { offset, size, op, .. } => {
            object.number("offset", offset).number("size", size).number("op", op)
        }
        Place::Table { block, offset, size, entry, source } => {
            if let Some(level) = source.level {
                object = object.number("level", u64::from(level.0));
            }
            let object = object.number("offset", offset).number("size", size);
            object.number("block", block).number("entry", entry)
        }
    };
    match maker {
        Some(Maker { origin, job, created_ms }) => object
            .text("origin", &origin.to_string())
            .number("job", *job)
            .number("created_ms", *created_ms)
            .text("created", &utc(*created_ms)),
        None => object,
    }
}
