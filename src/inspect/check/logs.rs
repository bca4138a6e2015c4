//! The logs, each on its own and how they follow each other.
//!
//! The rules are those of recovery. The operations behind the last one that is in tables go on
//! without a gap from log to log. A log may break off only if no later log promises that something
//! was synced, because a promise speaks for all logs before it; what follows such a break never
//! counted. A log of this store that holds records and that no edit ever named means that the
//! manifest is an older one.
//!
//! A writer may be at work in the newest log, or change to the next one between two readings: what
//! is wrong counts when a second reading of a new view shows exactly the same.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::Path;

use crate::error::{Error, Result};
use crate::format::header::{FileKind, HEADER_SIZE};
use crate::format::names::{self, FileName};
use crate::format::state::State;
use crate::inspect::finding::{Code, Finding};
use crate::inspect::frames::Hole;
use crate::inspect::view::{LogView, View};
use crate::inspect::wal::{Content, LogFrame, LogItem, read_log};
use crate::record;
use crate::runtime::Runtime;
use crate::runtime::threads::ThreadRuntime;
use crate::types::{FileNumber, SeqNo};
use crate::vfs::{Access, Vfs};

/// Findings that are kept between two readings; of more there is only a hash.
const KEPT_MAX: usize = 10_000;

/// Readings until two agree.
const READINGS_MAX: u32 = 50;

/// How long a writer gets to go on before the third reading and each later one.
const PAUSE_US: u64 = 500;

/// All logs, read once.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// What was found; none if it was too much to keep.
    pub(super) findings: Option<Vec<Finding>>,
    /// Logs that the manifest should have named.
    pub(super) unnamed: Vec<Finding>,
    /// Operations in them.
    pub(super) ops: u64,
    /// Why logs could not be read at all.
    pub(super) failed: Vec<Error>,
    /// Of all findings.
    hash: u64,
}

/// Takes a view and reads its logs until nothing is wrong or two readings agree on what is.
pub(super) fn settled(vfs: &dyn Vfs, dir: &Path) -> Result<(View, Reading)> {
    let mut before = None;
    for _ in 0..READINGS_MAX {
        let view = View::take(vfs, dir)?;
        let mut kept = Vec::new();
        let mut hasher = DefaultHasher::new();
        let mut is_whole = true;
        let mut reading = read(&view, &mut |finding| {
            finding.code.hash(&mut hasher);
            finding.to_string().hash(&mut hasher);
            is_whole &= kept.len() < KEPT_MAX;
            if is_whole {
                kept.push(finding);
            }
            Ok::<(), Error>(())
        })?;
        reading.unnamed = unnamed_logs(vfs, &view)?;
        reading.unnamed.iter().for_each(|finding| finding.to_string().hash(&mut hasher));
        let is_clean = kept.is_empty() && reading.unnamed.is_empty() && is_whole;
        reading.hash = hasher.finish();
        reading.findings = is_whole.then_some(kept);
        if is_clean || before == Some(reading.hash) {
            return Ok((view, reading));
        }
        if before.is_some() {
            ThreadRuntime::default().sleep_us(PAUSE_US);
        }
        before = Some(reading.hash);
    }
    Err(Error::Moved { path: dir.to_owned() })
}

/// Reads all logs of a view.
pub(super) fn read<E: From<Error>>(
    view: &View,
    visit: &mut dyn FnMut(Finding) -> Result<(), E>,
) -> Result<Reading, E> {
    let mut reading = Reading::default();
    let mut all = Vec::new();
    for log in &view.logs {
        let mut facts = Facts::of(log);
        let read = read_log(&*log.opened.file, &log.expect, &mut |item| {
            facts.take(&item);
            item.finding().map_or(Ok(()), |finding| visit(finding.clone()).map_err(Halt::Visit))
        });
        match read {
            Ok(totals) => reading.ops += totals.ops,
            Err(Halt::Visit(error)) => return Err(error),
            Err(Halt::File(Error::NotOurs { path, detail, .. })) => {
                facts.is_damaged = true;
                visit(Finding::new(Code::LogHeader, path, detail).at(0, 0))?;
            }
            Err(Halt::File(error)) => {
                facts.is_damaged = true;
                reading.failed.push(error);
            }
        }
        all.push(facts);
    }
    if let Some(state) = &view.state {
        together(&all, state).into_iter().try_for_each(visit)?;
    }
    Ok(reading)
}

/// Why the reading of a log ended.
enum Halt<E> {
    File(Error),
    Visit(E),
}

impl<E> From<Error> for Halt<E> {
    fn from(error: Error) -> Halt<E> {
        Halt::File(error)
    }
}

/// What the logs around it need to know of a log.
#[derive(Debug)]
struct Facts<'v> {
    log: &'v LogView,
    /// Where its gapless prefix ends.
    end: u64,
    /// The operations of that, and where the first of them is: (first, last, offset and size).
    seqnos: Option<(SeqNo, SeqNo, (u64, u64))>,
    /// The last frame of that is an end.
    is_ended: bool,
    /// The largest promise about itself in any frame.
    promised: u64,
    /// Whole frames.
    frames: u64,
    /// Something is there that is no frame.
    is_broken: bool,
    /// And no crash explains it.
    is_damaged: bool,
}

impl<'v> Facts<'v> {
    fn of(log: &'v LogView) -> Facts<'v> {
        let (end, seqnos, is_ended, promised, frames) = (HEADER_SIZE as u64, None, false, 0, 0);
        let (is_broken, is_damaged) = (false, false);
        Facts { log, end, seqnos, is_ended, promised, frames, is_broken, is_damaged }
    }

    fn number(&self) -> FileNumber {
        self.log.opened.number
    }

    fn take(&mut self, item: &LogItem<'_>) {
        self.is_damaged |= item.finding().is_some_and(Finding::is_damage);
        match item {
            LogItem::Frame(frame) => self.frame(frame),
            LogItem::Hole(Hole { .. }) => self.is_broken = true,
            LogItem::Header(_) | LogItem::Unused { .. } => {}
        }
    }

    fn frame(&mut self, frame: &LogFrame<'_>) {
        self.promised = self.promised.max(frame.synced_upto);
        self.frames += 1;
        if self.is_broken {
            return;
        }
        self.end = frame.offset + frame.size;
        self.is_ended = matches!(frame.content, Content::End(_));
        if let Content::Batch(payload, count) = frame.content {
            let last = SeqNo((payload.first.0 + count).saturating_sub(1));
            let (first, _, place) =
                self.seqnos.unwrap_or((payload.first, last, (frame.offset, frame.size)));
            self.seqnos = Some((first, last, place));
        }
    }

    /// Whether every record it ever held is there, so that those of the next log may follow.
    fn is_complete(&self) -> bool {
        match self.log.expect.end {
            Some(end) => !self.is_broken && self.end == end,
            None => self.is_ended && !self.is_broken,
        }
    }

    fn finding(&self, code: Code, what: String) -> Finding {
        Finding::new(code, self.log.opened.path.clone(), what)
    }
}

/// How the logs follow each other, and the tables.
fn together(logs: &[Facts<'_>], state: &State) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut last = state.last_seqno;
    let mut behind = "the tables".to_owned();
    for (index, log) in logs.iter().enumerate() {
        if let Some((first, last_in_it, (offset, size))) = log.seqnos {
            let expected = last.plus(1);
            if first != expected && !log.is_damaged {
                let what = format!("it begins with seqno {first}, expected {expected}");
                let why = format!("{behind} end with {last}");
                found.push(log.finding(Code::LogsGap, what).at(offset, size).because(why));
            }
            last = last_in_it;
            behind = format!("the operations up to log {}", log.number());
        }
        if log.is_complete() {
            continue;
        }
        if log.is_damaged {
            // The gap behind it is its own.
            last = logs[index + 1..]
                .iter()
                .find_map(|log| log.seqnos)
                .map_or(last, |(first, ..)| SeqNo(first.0.saturating_sub(1)));
            continue;
        }
        let later = &logs[index + 1..];
        if let Some(next) = later.iter().find(|next| next.promised > 0) {
            let what = "the log breaks off here".to_owned();
            let why = format!("log {} promises that it was synced to its end", next.number());
            found.push(log.finding(Code::LogsGap, what).at(log.end, 0).because(why));
            continue;
        }
        for next in later.iter().filter(|next| next.frames > 0) {
            let (start, end) = (HEADER_SIZE as u64, next.end);
            let what = format!("nothing in it counts, because log {} breaks off", log.number());
            let why = "nobody promised that it was synced: a crash may leave this";
            let torn = next.finding(Code::LogTorn, what).at(start, end - start);
            found.push(torn.because(why));
        }
        break;
    }
    found
}

/// Logs of this store that hold records and that no edit ever named.
fn unnamed_logs(vfs: &dyn Vfs, view: &View) -> Result<Vec<Finding>> {
    let Some(state) = &view.state else { return Ok(Vec::new()) };
    let Some(store) = &state.store else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for name in &view.names {
        let FileName::Log(number) = names::parse(name) else { continue };
        if number <= state.logs_dropped_upto || state.logs.contains_key(&number) {
            continue;
        }
        let file = match vfs.open(&view.dir.join(name), Access::Read) {
            Err(error) if error.is_not_found() => continue,
            opened => opened?,
        };
        let Ok(header) = record::read_header(&*file, FileKind::Wal) else { continue };
        let scan = record::scan_log(&*file, &header, None, &mut |_, _, _| Ok(()));
        let has_frames = scan.is_ok_and(|scan| scan.records > 0);
        if header.store == store.id && has_frames {
            let what = "it holds records of this store, but no edit ever named it";
            let why = "the manifest is older than the store, or the log is of another copy of it";
            let finding = Finding::new(Code::ManifestOlder, file.path(), what);
            found.push(finding.because(why));
        }
    }
    Ok(found)
}
