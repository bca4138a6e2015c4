//! `beach-sstDump get`.

use std::path::Path;

use super::print;
use crate::cli::dump::{Dump, op_name, open, plural, verdict};
use crate::cli::output::Object;
use crate::cli::{Outcome, Status};
use crate::inspect::table::{self, FilterAnswer, GetItem};
use crate::types::ValueKind;

/// Looks a key up in one table.
pub(super) fn get(mut dump: Dump<'_>, path: &Path, user: &[u8]) -> Outcome {
    let file = open(&dump.vfs, path, None)?;
    let totals = table::get(&*file, user, &mut |item| print(&mut dump, &item))?;
    if totals.false_positive && !dump.out.is_json() {
        dump.out.line("the filter passed it in vain: a false positive")?;
    }
    if totals.versions == 0 && !dump.out.is_json() {
        let blocks = plural(totals.blocks, "block");
        let key = dump.quoted(user);
        dump.out.line(format!("{key} is not there, by {blocks}"))?;
    }
    let found = if totals.versions > 0 { Status::Done } else { Status::Negative };
    let damage = if totals.damaged > 0 { Status::Damage } else { Status::Done };
    dump.out.summary(
        Object::summary()
            .number("versions", totals.versions)
            .number("blocks", totals.blocks)
            .value("false_positive", totals.false_positive)
            .number("damaged", totals.damaged),
    )?;
    Ok(found.combine(damage))
}

fn print(dump: &mut Dump<'_>, item: &GetItem<'_>) -> Outcome<()> {
    if dump.out.is_json() {
        return match item {
            GetItem::Damage(found) => dump.finding(Some(found)),
            item => object(item).map_or(Ok(()), |object| dump.out.object(&object)),
        };
    }
    let line = match item {
        GetItem::Filter(answer) => format!(
            "filter: {}",
            match answer {
                FilterAnswer::None => "none, every key passes",
                FilterAnswer::Unknown => "damaged, it says nothing",
                FilterAnswer::Negative => "negative, the key is not here",
                FilterAnswer::Passes => "passes, the key may be here",
            }
        ),
        GetItem::Block(position, handle, count) => {
            let versions = plural(*count, "version");
            format!("block {position} at {:#x}, {} bytes: {versions}", handle.offset, handle.size)
        }
        GetItem::Version { entry, offset, found } => {
            let mut line = format!("    entry {entry}: ").into_bytes();
            print::entry_text(dump, &mut line, found);
            if let Some(offset) = offset.filter(|_| found.trailer.kind() == Some(ValueKind::Put)) {
                line.extend_from_slice(format!(", value at {offset:#x}").as_bytes());
            }
            line.push(b'\n');
            return dump.out.bytes(&line);
        }
        GetItem::Damage(found) => format!("{}{}", verdict(found), print::keys(dump, found)),
    };
    dump.out.line(line)
}

fn object(item: &GetItem<'_>) -> Option<Object> {
    Some(match item {
        GetItem::Filter(answer) => Object::new("filter").text("answer", answer.name()),
        GetItem::Block(position, handle, count) => Object::new("block")
            .number("block", *position)
            .number("offset", handle.offset)
            .number("size", u64::from(handle.size))
            .number("versions", *count),
        GetItem::Version { entry, offset, found } => {
            let kind = found.trailer.kind();
            let mut object = Object::new("version")
                .number("entry", *entry)
                .bytes("key", found.key)
                .number("seqno", found.trailer.seqno().0)
                .text("kind", op_name(kind));
            if kind == Some(ValueKind::Put) {
                object = object.bytes("value", found.value);
                object = offset.iter().fold(object, |object, at| object.number("offset", *at));
            }
            object
        }
        GetItem::Damage(_) => return None,
    })
}
