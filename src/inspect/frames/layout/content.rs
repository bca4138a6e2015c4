//! What the bytes of a payload are for.

use super::{Place, VisitRegion};
use crate::error::Result;
use crate::format::coding::Cursor;
use crate::format::edit::{Edit, HINT_TAG_MIN};
use crate::format::frame::Kind;
use crate::format::header::FileKind;
use crate::format::key::{KEY_SIZE_MAX, VALUE_SIZE_MAX};
use crate::inspect::region::Purpose;
use crate::inspect::utc;
use crate::types::{SeqNo, ValueKind};

/// Bytes of a key or value that a region shows.
const SHOWN_MAX: usize = 48;

/// Names the bytes of a payload; what cannot be read is unexplained from there on.
pub(super) fn payload<E>(
    place: &mut Place,
    file: FileKind,
    kind: Kind,
    payload: &[u8],
    visit: &mut VisitRegion<'_, E>,
) -> Result<(), E> {
    let begin = place.at;
    let mut cursor = Cursor::new(payload);
    let is_at_home = (kind == Kind::Edit) == (file == FileKind::Manifest);
    let read = match kind {
        _ if !is_at_home => Some(format!("it does not belong in a {file}")),
        Kind::Batch => batch(place, &mut cursor, visit)?,
        Kind::Edit => edit(place, &mut cursor, visit)?,
        Kind::Mark => numbers(place, &mut cursor, &MARK, visit)?,
        Kind::Close => numbers(place, &mut cursor, &CLOSE, visit)?,
        Kind::End => numbers(place, &mut cursor, &END, visit)?,
        Kind::Gap => numbers(place, &mut cursor, &GAP, visit)?,
    };
    let rest = payload.len() as u64 - (place.at - begin);
    let why = read.unwrap_or_else(|| "nothing should follow here".to_owned());
    place.put(rest, Purpose::Unexplained, "unreadable", why, visit)
}

const MARK: [&str; 2] = ["manifest", "manifest synced up to"];
const CLOSE: [&str; 3] = ["log end", "manifest", "manifest synced up to"];
const END: [&str; 1] = ["log end"];
const GAP: [&str; 2] = ["offset in the damaged log", "bytes left out"];

fn numbers<E>(
    place: &mut Place,
    cursor: &mut Cursor<'_>,
    names: &[&str],
    visit: &mut VisitRegion<'_, E>,
) -> Result<Option<String>, E> {
    for name in names {
        let Some(number) = cursor.u64() else { return Ok(Some("the payload is cut".to_owned())) };
        let value = match *name {
            "manifest" => format!("{number:06}"),
            "bytes left out" => number.to_string(),
            _ => format!("{number:#x}"),
        };
        place.field(8, *name, value, visit)?;
    }
    Ok(None)
}

/// First sequence number, version, count, operations; why it could not be read further.
fn batch<E>(
    place: &mut Place,
    cursor: &mut Cursor<'_>,
    visit: &mut VisitRegion<'_, E>,
) -> Result<Option<String>, E> {
    let cut = || Ok(Some("the batch is cut".to_owned()));
    let Some(first) = cursor.u64() else { return cut() };
    place.field(8, "first seqno", first, visit)?;
    match cursor.u8() {
        Some(1) => place.field(1, "batch version", 1, visit)?,
        Some(version) => return Ok(Some(format!("batch version {version}, expected 1"))),
        None => return cut(),
    }
    let Some(count) = cursor.u32() else { return cut() };
    place.field(4, "operations", count, visit)?;
    for index in 0..u64::from(count) {
        let seqno = SeqNo(first.saturating_add(index));
        if let Some(why) = operation(place, cursor, seqno, visit)? {
            return Ok(Some(why));
        }
    }
    Ok(None)
}

fn operation<E>(
    place: &mut Place,
    cursor: &mut Cursor<'_>,
    seqno: SeqNo,
    visit: &mut VisitRegion<'_, E>,
) -> Result<Option<String>, E> {
    let Some(byte) = cursor.u8() else { return Ok(Some("the batch is cut".to_owned())) };
    let Some(kind) = ValueKind::from_u8(byte) else {
        return Ok(Some(format!("unsupported kind {byte}")));
    };
    place.field(1, format!("kind of #{seqno}"), kind, visit)?;
    let parts: &[(&str, usize)] = match kind {
        ValueKind::Put => &[("key", KEY_SIZE_MAX), ("value", VALUE_SIZE_MAX)],
        ValueKind::Delete => &[("key", KEY_SIZE_MAX)],
    };
    for (what, size_max) in parts {
        let before = cursor.position();
        let Some(bytes) = cursor.sized(*size_max) else {
            return Ok(Some(format!("the {what} of #{seqno} is cut, or its length is wrong")));
        };
        let prefix = (cursor.position() - before - bytes.len()) as u64;
        place.field(prefix, format!("{what} length of #{seqno}"), bytes.len(), visit)?;
        let size = bytes.len() as u64;
        place.field(size, format!("{what} of #{seqno}"), shown(bytes), visit)?;
    }
    Ok(None)
}

/// The beginning of a byte string, in quotes.
fn shown(bytes: &[u8]) -> String {
    let cut = bytes.len().min(SHOWN_MAX);
    let more = if bytes.len() > cut { "…" } else { "" };
    format!("\"{}\"{more}", bytes[..cut].escape_ascii())
}

/// The fields of an edit; why it could not be read further.
fn edit<E>(
    place: &mut Place,
    cursor: &mut Cursor<'_>,
    visit: &mut VisitRegion<'_, E>,
) -> Result<Option<String>, E> {
    while !cursor.is_empty() {
        let before = cursor.position();
        let Some((tag, content)) = cursor.field() else {
            return Ok(Some("the edit ends inside a field".to_owned()));
        };
        let Some(name) = field_name(tag) else { return Ok(Some(format!("unknown field {tag}"))) };
        let head = (cursor.position() - before - content.len()) as u64;
        place.field(1, format!("tag of {name}"), tag, visit)?;
        place.field(head - 1, format!("length of {name}"), content.len(), visit)?;
        let size = content.len() as u64;
        match field_value(tag, content) {
            Some(value) => place.field(size, name, value, visit)?,
            None => {
                let why = format!("{name} is malformed");
                place.put(size, Purpose::Unexplained, name, why, visit)?;
            }
        }
    }
    Ok(None)
}

fn field_name(tag: u8) -> Option<&'static str> {
    const NAMES: [&str; 16] = [
        "time",
        "reason",
        "job",
        "store",
        "next file",
        "last seqno",
        "log added",
        "log grown",
        "log ended",
        "log dropped",
        "logs dropped up to",
        "log synced",
        "table added",
        "table removed",
        "lineage",
        "counters",
    ];
    match tag {
        HINT_TAG_MIN.. => Some("hint"),
        _ => NAMES.get(usize::from(tag).checked_sub(1)?).copied(),
    }
}

/// What a field says; none if it cannot be read.
///
/// It is put alone into an edit, so that the one decoder there is reads it.
fn field_value(tag: u8, content: &[u8]) -> Option<String> {
    if tag >= HINT_TAG_MIN {
        return Some(format!("{} bytes", content.len()));
    }
    let mut alone = Vec::new();
    for (required, any) in [(1, 0), (2, 1), (3, 0)] {
        if required != tag {
            crate::format::coding::put_field(&mut alone, required, &[any]);
        }
    }
    crate::format::coding::put_field(&mut alone, tag, content);
    let edit = Edit::decode(&alone).ok()?;
    let pair = |pair: Option<&(crate::types::FileNumber, u64)>| {
        pair.map(|(number, size)| format!("{number} {size:#x}"))
    };
    match tag {
        1 => Some(utc(edit.time_ms)),
        2 => Some(edit.reason.to_string()),
        3 => Some(edit.job.to_string()),
        4 => edit.store.map(|store| {
            format!("{}, format {}, {}", store.id, store.format_version, store.comparator)
        }),
        5 => edit.next_file.map(|number| number.to_string()),
        6 => edit.last_seqno.map(|seqno| seqno.to_string()),
        7 => edit
            .logs_added
            .first()
            .map(|log| format!("{}, id {}, {} bytes", log.number, log.id, log.size)),
        8 => pair(edit.logs_grown.first()),
        9 => pair(edit.logs_ended.first()),
        10 => edit.logs_dropped.first().map(ToString::to_string),
        11 => edit.logs_dropped_upto.map(|number| number.to_string()),
        12 => pair(edit.log_synced.as_ref()),
        13 => edit.tables_added.first().map(|(level, table)| {
            format!("{} in {level}, {} bytes, {} entries", table.number, table.size, table.entries)
        }),
        14 => edit.tables_removed.first().map(|(level, number)| format!("{number} in {level}")),
        15 => edit
            .lineage
            .map(|lineage| format!("after {}, {} edits before", lineage.previous, lineage.edits)),
        _ => edit.counters.map(|counters| {
            format!("{} flushes, {} compactions", counters.flushes, counters.compactions)
        }),
    }
}
