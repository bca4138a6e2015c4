//! Recovering an unclosed store: what was replayed is made durable before it is served.
//!
//! What nobody promised may be with the kernel alone. Worse, a sync of an earlier handle may have
//! failed, and the kernel then drops the pages: they can still be read, and a sync of ours would
//! succeed without them. So nothing unpromised is synced where it lies. A manifest with such an end is
//! begun anew, and such records are written again, into the new log.
//!
//! Order: the new log in the manifest; the records in it, synced, without a promise, because one would
//! speak for the old logs too; the edit that ends the old logs where they are durable; then the mark. A
//! crash before that edit leaves the old logs as they were, and behind them, where nothing counts, the
//! new one.

use std::sync::Arc;

use super::counters::Counters;
use super::files::{FIRST_FRAME, Files};
use super::image::{Image, OpenLog};
use super::manifest::Manifest;
use super::open::plain;
use super::wal::Wal;
use crate::error::{Error, Result};
use crate::format::edit::{Edit, Reason};
use crate::format::frame::Kind;
use crate::probe::{failpoint, mutant};
use crate::record;
use crate::types::SeqNo;
use crate::vfs::Fill;

/// Bytes of records that are written again with one call.
const CHUNK_SIZE: usize = 4 << 20;

/// Records of more than this are not worth filling their log with zeros first.
const ZEROS_SIZE_MAX: u64 = 1 << 20;

/// Makes what was replayed durable and begins a new log behind it.
pub(super) fn recover(
    files: &Arc<Files>,
    counters: &Arc<Counters>,
    manifest: &mut Manifest,
    image: &Image,
) -> Result<Wal> {
    if image.manifest_tail.is_some() || image.manifest_promised < image.manifest_end {
        manifest.distrust_tail();
    }
    let doubtful: u64 = image.logs.iter().map(|log| doubtful_size(image, log)).sum();
    let fill = if doubtful > ZEROS_SIZE_MAX { Fill::Reserve } else { Fill::Zeros };
    let log = files.create_log(fill, doubtful)?;
    let added = vec![log.0];
    let mut wal = Wal::fresh(files, counters, log);
    failpoint("recovery_after_log");
    let mut edit = Edit { reason: Reason::Recovery, ..Edit::default() };
    if doubtful > 0 {
        plain(manifest.append(Edit { logs_added: added, ..edit.clone() }))?;
        failpoint("recovery_after_log_edit");
        write_again(&mut wal, image)?;
        failpoint("recovery_after_copy");
        // Rule 7: what was replayed is durable before it is served.
        if !mutant("replayed_records_not_synced") {
            wal.sync_written()?;
        }
        failpoint("recovery_after_copy_sync");
    } else {
        edit.logs_added = added;
    }
    // Rule 4: the edit that begins the next log settles where the old ones end.
    if !mutant("ends_not_settled") {
        end_logs(&mut edit, image);
    }
    failpoint("recovery_before_end_edit");
    plain(manifest.append(edit))?;
    failpoint("recovery_after_end_edit");
    if doubtful > 0 {
        wal.promise();
    }
    wal.mark()?;
    failpoint("recovery_after_mark");
    Ok(wal)
}

/// Up to where a log is known to be on stable storage.
fn durable_end(image: &Image, log: &OpenLog) -> u64 {
    let scan = &log.facts.scan;
    let number = log.meta.number;
    // A promise about a later log speaks for the older ones too.
    let mut later = image.logs.iter().filter(|later| later.meta.number > number);
    let by_manifest = image.state.log_synced;
    if by_manifest.is_some_and(|(promised, _)| promised > number)
        || later.any(|later| later.facts.scan.promised > 0)
    {
        return scan.valid_end;
    }
    let by_manifest = by_manifest.filter(|(promised, _)| *promised == number);
    scan.promised.max(by_manifest.map_or(0, |(_, upto)| upto)).max(FIRST_FRAME)
}

/// Bytes of a log within which replayed records lie that nobody promised.
fn doubtful_size(image: &Image, log: &OpenLog) -> u64 {
    match log.facts.settled {
        Some(_) => 0,
        None => log.records_end.saturating_sub(durable_end(image, log)),
    }
}

/// Says of each log where it ends.
fn end_logs(edit: &mut Edit, image: &Image) {
    for (index, log) in image.logs.iter().enumerate() {
        let number = log.meta.number;
        match (log.facts.settled, index < image.verdict.live) {
            (Some(_), _) => {}
            // It never held a record: an opening that wrote nothing left it.
            (None, true) if log.records_end == 0 => edit.logs_dropped.push(number),
            (None, true) => edit.logs_ended.push((number, durable_end(image, log))),
            // Behind the first hole nothing counts, but its bytes stay until the flush.
            (None, false) => edit.logs_ended.push((number, FIRST_FRAME)),
        }
    }
}

/// Copies the records that nobody promised.
fn write_again(wal: &mut Wal, image: &Image) -> Result<()> {
    for log in image.logs.iter().filter(|log| doubtful_size(image, log) > 0) {
        let end = durable_end(image, log);
        let header = &log.facts.scan.header;
        record::scan_log(&*log.file, header, None, &mut |offset, kind, payload| {
            if kind != Kind::Batch || offset < end || offset >= log.records_end {
                return Ok(());
            }
            let Some((first, batch)) = payload.split_first_chunk() else {
                let detail = "a batch record without a sequence number";
                return Err(Error::corruption(log.file.path(), offset, detail));
            };
            wal.push_batch(SeqNo(u64::from_le_bytes(*first)), batch);
            if wal.pending_size() > CHUNK_SIZE { wal.write() } else { Ok(()) }
        })?;
    }
    wal.write()
}
