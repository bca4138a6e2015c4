//! The fields of an edit, each with its tag. The numbers are on disk and are not used again.

use super::{Counters, Edit, Lineage, LogMeta, Reason, StoreInfo};
use crate::format::coding::{Cursor, put_field, put_varint};
use crate::format::table::TableMeta;
use crate::types::{FileId, FileNumber, Level, SeqNo, StoreId};

const TIME: u8 = 1;
const REASON: u8 = 2;
const JOB: u8 = 3;
const STORE: u8 = 4;
const NEXT_FILE: u8 = 5;
const LAST_SEQNO: u8 = 6;
const LOG_ADDED: u8 = 7;
const LOG_GROWN: u8 = 8;
const LOG_ENDED: u8 = 9;
const LOG_DROPPED: u8 = 10;
const LOGS_DROPPED_UPTO: u8 = 11;
const LOG_SYNCED: u8 = 12;
const TABLE_ADDED: u8 = 13;
const TABLE_REMOVED: u8 = 14;
const LINEAGE: u8 = 15;
const COUNTERS: u8 = 16;

/// The fields that every edit has.
pub(super) const REQUIRED: [u8; 3] = [TIME, REASON, JOB];

/// Whether an edit may have several fields with this tag.
pub(super) fn may_repeat(tag: u8) -> bool {
    matches!(tag, LOG_ADDED | LOG_GROWN | LOG_ENDED | LOG_DROPPED | TABLE_ADDED | TABLE_REMOVED)
}

/// Writes fields, one buffer for all their contents.
struct Fields {
    out: Vec<u8>,
    content: Vec<u8>,
}

impl Fields {
    fn put(&mut self, tag: u8, fill: impl FnOnce(&mut Vec<u8>)) {
        self.content.clear();
        fill(&mut self.content);
        put_field(&mut self.out, tag, &self.content);
    }

    fn numbers(&mut self, tag: u8, numbers: &[u64]) {
        self.put(tag, |out| numbers.iter().for_each(|&number| put_varint(out, number)));
    }
}

/// Fields in the order of their tags, those of one tag in the order of the list.
pub(super) fn encode(edit: &Edit) -> Vec<u8> {
    let mut fields = Fields { out: Vec::new(), content: Vec::new() };
    fields.numbers(TIME, &[edit.time_ms]);
    fields.put(REASON, |out| out.push(edit.reason as u8));
    fields.numbers(JOB, &[edit.job]);
    if let Some(store) = &edit.store {
        fields.put(STORE, |out| {
            out.extend_from_slice(&store.id.0.to_le_bytes());
            out.extend_from_slice(&store.format_version.to_le_bytes());
            out.extend_from_slice(store.comparator.as_bytes());
        });
    }
    if let Some(number) = edit.next_file {
        fields.numbers(NEXT_FILE, &[number.0]);
    }
    if let Some(seqno) = edit.last_seqno {
        fields.numbers(LAST_SEQNO, &[seqno.0]);
    }
    encode_logs(&mut fields, edit);
    for (level, table) in &edit.tables_added {
        fields.put(TABLE_ADDED, |out| {
            out.push(level.0);
            table.encode(out);
        });
    }
    for (level, number) in &edit.tables_removed {
        fields.put(TABLE_REMOVED, |out| {
            out.push(level.0);
            put_varint(out, number.0);
        });
    }
    if let Some(Lineage { previous, edits, rollovers }) = edit.lineage {
        fields.numbers(LINEAGE, &[previous.0, edits, rollovers]);
    }
    if let Some(counters) = &edit.counters {
        fields.numbers(COUNTERS, &counters_as_array(counters));
    }
    fields.out
}

fn encode_logs(fields: &mut Fields, edit: &Edit) {
    for log in &edit.logs_added {
        fields.put(LOG_ADDED, |out| {
            put_varint(out, log.number.0);
            out.extend_from_slice(&log.id.0.to_le_bytes());
            put_varint(out, log.size);
        });
    }
    for (number, size) in &edit.logs_grown {
        fields.numbers(LOG_GROWN, &[number.0, *size]);
    }
    for (number, end) in &edit.logs_ended {
        fields.numbers(LOG_ENDED, &[number.0, *end]);
    }
    for number in &edit.logs_dropped {
        fields.numbers(LOG_DROPPED, &[number.0]);
    }
    if let Some(number) = edit.logs_dropped_upto {
        fields.numbers(LOGS_DROPPED_UPTO, &[number.0]);
    }
    if let Some((number, upto)) = edit.log_synced {
        fields.numbers(LOG_SYNCED, &[number.0, upto]);
    }
}

/// Reads one field into the edit. Its content must be used up.
pub(super) fn decode(edit: &mut Edit, tag: u8, bytes: &[u8]) -> Result<(), String> {
    let mut cursor = Cursor::new(bytes);
    let known = match tag {
        STORE => return decode_store(edit, bytes),
        TABLE_ADDED => return decode_table(edit, bytes),
        REASON => return decode_reason(edit, bytes),
        TIME | JOB | NEXT_FILE | LAST_SEQNO | LINEAGE | COUNTERS => {
            decode_scalar(edit, tag, &mut cursor)
        }
        LOG_ADDED..=LOG_SYNCED => decode_log(edit, tag, &mut cursor),
        TABLE_REMOVED => decode_removed(edit, &mut cursor),
        _ => return Err(format!("unknown field {tag}")),
    };
    match known {
        Some(()) if cursor.is_empty() => Ok(()),
        _ => Err(format!("field {tag} is malformed")),
    }
}

fn decode_scalar(edit: &mut Edit, tag: u8, cursor: &mut Cursor<'_>) -> Option<()> {
    match tag {
        TIME => edit.time_ms = cursor.varint()?,
        JOB => edit.job = cursor.varint()?,
        NEXT_FILE => edit.next_file = Some(number(cursor)?),
        LAST_SEQNO => {
            let seqno = SeqNo(cursor.varint()?);
            edit.last_seqno = Some(seqno).filter(|&seqno| seqno <= SeqNo::MAX);
            edit.last_seqno?;
        }
        LINEAGE => {
            edit.lineage = Some(Lineage {
                previous: number(cursor)?,
                edits: cursor.varint()?,
                rollovers: cursor.varint()?,
            });
        }
        _ => edit.counters = Some(read_counters(cursor)?),
    }
    Some(())
}

fn decode_log(edit: &mut Edit, tag: u8, cursor: &mut Cursor<'_>) -> Option<()> {
    let number = number(cursor)?;
    match tag {
        LOG_ADDED => {
            let (id, size) = (FileId(cursor.u64()?), cursor.varint()?);
            edit.logs_added.push(LogMeta { number, id, size });
        }
        LOG_GROWN => edit.logs_grown.push((number, cursor.varint()?)),
        LOG_ENDED => edit.logs_ended.push((number, cursor.varint()?)),
        LOG_DROPPED => edit.logs_dropped.push(number),
        LOGS_DROPPED_UPTO => edit.logs_dropped_upto = Some(number),
        _ => edit.log_synced = Some((number, cursor.varint()?)),
    }
    Some(())
}

fn decode_removed(edit: &mut Edit, cursor: &mut Cursor<'_>) -> Option<()> {
    let level = level(cursor)?;
    edit.tables_removed.push((level, number(cursor)?));
    Some(())
}

fn decode_store(edit: &mut Edit, bytes: &[u8]) -> Result<(), String> {
    let mut cursor = Cursor::new(bytes);
    let (Some(id), Some(format_version)) = (cursor.u64(), cursor.u16()) else {
        return Err(format!("field {STORE} is malformed"));
    };
    let comparator = String::from_utf8(bytes[cursor.position()..].to_vec())
        .map_err(|_| "the comparator's name is not UTF-8".to_owned())?;
    edit.store = Some(StoreInfo { id: StoreId(id), comparator, format_version });
    Ok(())
}

fn decode_table(edit: &mut Edit, bytes: &[u8]) -> Result<(), String> {
    let mut cursor = Cursor::new(bytes);
    let level = level(&mut cursor).ok_or_else(|| format!("field {TABLE_ADDED} is malformed"))?;
    edit.tables_added.push((level, TableMeta::decode(&bytes[cursor.position()..])?));
    Ok(())
}

fn decode_reason(edit: &mut Edit, bytes: &[u8]) -> Result<(), String> {
    let &[byte] = bytes else { return Err(format!("field {REASON} is malformed")) };
    edit.reason = Reason::from_u8(byte).ok_or_else(|| format!("unknown reason {byte}"))?;
    Ok(())
}

fn number(cursor: &mut Cursor<'_>) -> Option<FileNumber> {
    cursor.varint().map(FileNumber)
}

fn level(cursor: &mut Cursor<'_>) -> Option<Level> {
    cursor.u8().map(Level).filter(|&level| level <= Level::MAX)
}

fn counters_as_array(counters: &Counters) -> [u64; 6] {
    let Counters { flushes, compactions, flushed_bytes, .. } = *counters;
    let Counters { compacted_bytes_in, compacted_bytes_out, user_bytes, .. } = *counters;
    [flushes, compactions, flushed_bytes, compacted_bytes_in, compacted_bytes_out, user_bytes]
}

fn read_counters(cursor: &mut Cursor<'_>) -> Option<Counters> {
    Some(Counters {
        flushes: cursor.varint()?,
        compactions: cursor.varint()?,
        flushed_bytes: cursor.varint()?,
        compacted_bytes_in: cursor.varint()?,
        compacted_bytes_out: cursor.varint()?,
        user_bytes: cursor.varint()?,
    })
}
