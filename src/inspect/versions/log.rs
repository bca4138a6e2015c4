//! The logs of a store as one source of versions: sorted, though logs are not.
//!
//! A log is read from end to end, and the operations that come first in the order of keys are kept,
//! as many as fit a budget. When they are used up the logs are read once more, for those behind. So
//! memory is bounded, and one reading does as long as the logs are of a usual size.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::{Dead, LogParts, Range};
use crate::error::{Error, Result};
use crate::format::frame::{BatchPayload, Kind};
use crate::format::header::HEADER_SIZE;
use crate::format::key::Trailer;
use crate::inspect::finding::{Code, Finding};
use crate::inspect::view::LogView;
use crate::inspect::wal::{Content, LogFrame, LogItem, read_log};
use crate::record::{Item, Scanner};
use crate::types::{FileId, SeqNo};

/// Bytes of operations that are kept at a time.
pub(super) const BUDGET: u64 = 24 << 20;

/// Bytes that an operation takes beside its key and value.
const OP_SIZE: u64 = 160;

/// The logs, oldest first.
#[derive(Debug)]
pub(super) struct Logs {
    logs: Vec<LogSource>,
    range: Range,
    with_values: bool,
    /// Everything up to here is in tables, and recovery leaves it out.
    in_tables: SeqNo,
    budget: u64,
    window: BTreeMap<OpKey, OpAt>,
    /// Bytes that the window takes.
    size: u64,
    /// The operation it is at, none before the first.
    current: Option<(OpKey, OpAt)>,
    /// Operations from here on are not in the window.
    limit: Option<OpKey>,
    pub(super) parts: LogParts,
}

/// A log that may hold versions.
#[derive(Clone, Debug)]
pub(super) struct LogSource {
    pub(super) view: LogView,
    /// Whether the manifest names it.
    pub(super) is_live: bool,
}

/// An operation's place in the order: by key, the newest version first, then by place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct OpKey {
    pub(super) user: Vec<u8>,
    trailer: Reverse<Trailer>,
    pub(super) log: usize,
    pub(super) offset: u64,
    pub(super) op: u64,
}

impl OpKey {
    pub(super) fn trailer(&self) -> Trailer {
        self.trailer.0
    }
}

/// What else is known of an operation.
#[derive(Clone, Debug)]
pub(super) struct OpAt {
    /// Bytes of its frame.
    pub(super) frame_size: u64,
    pub(super) dead: Option<Dead>,
    pub(super) value_size: u64,
    /// Empty where values were not asked for.
    pub(super) value: Vec<u8>,
}

/// Where the reading of one log stands.
struct Reading {
    log: usize,
    /// Why what comes now does not count.
    dead: Option<Dead>,
    id: Option<FileId>,
    /// The last frame ends the log: another may follow it.
    is_ended: bool,
    /// Where recovery gave the rest up.
    given_up: Option<u64>,
}

impl Logs {
    pub(super) fn new(
        logs: Vec<LogSource>,
        range: Range,
        with_values: bool,
        in_tables: SeqNo,
        budget: u64,
    ) -> Logs {
        Logs {
            logs,
            range,
            with_values,
            in_tables,
            budget,
            window: BTreeMap::new(),
            size: 0,
            current: None,
            limit: None,
            parts: LogParts::default(),
        }
    }

    /// Reads the logs for the first time.
    pub(super) fn first(&mut self, findings: &mut Vec<Finding>) -> Result<bool> {
        let mut parts = LogParts::default();
        self.read(None, Some((&mut parts, findings)))?;
        self.parts = parts;
        self.advance()
    }

    /// Moves to the next operation; `false` if there is none.
    pub(super) fn advance(&mut self) -> Result<bool> {
        if self.window.is_empty() && self.limit.take().is_some() {
            let floor = self.current.take().map(|(key, _)| key);
            self.read(floor.as_ref(), None)?;
        }
        self.current = self.window.pop_first();
        if let Some((key, op)) = &self.current {
            self.size = self.size.saturating_sub(weight(key, op));
        }
        Ok(self.current.is_some())
    }

    /// The operation it is at.
    pub(super) fn current(&self) -> Option<&(OpKey, OpAt)> {
        self.current.as_ref()
    }

    pub(super) fn log(&self, log: usize) -> Option<&LogView> {
        self.logs.get(log).map(|source| &source.view)
    }

    /// Fills the window with what comes behind `floor`; tells parts and findings if asked to.
    fn read(
        &mut self,
        floor: Option<&OpKey>,
        mut told: Option<(&mut LogParts, &mut Vec<Finding>)>,
    ) -> Result<()> {
        let mut gap: Option<Dead> = None;
        let logs = std::mem::take(&mut self.logs);
        for (log, source) in logs.iter().enumerate() {
            let dead = if source.is_live { gap } else { Some(Dead::DroppedLog) };
            let mut reading = Reading { log, dead, id: None, is_ended: false, given_up: None };
            let told = told.as_mut().map(|(parts, findings)| (&mut **parts, &mut **findings));
            self.log_of(source, &mut reading, floor, told)?;
            if source.is_live {
                let settled = source.view.expect.end.is_some();
                gap = reading.dead.filter(|dead| *dead != Dead::BehindEnd);
                if gap.is_none() && !settled && !reading.is_ended {
                    gap = Some(Dead::BehindTail);
                }
            }
        }
        self.logs = logs;
        Ok(())
    }

    fn log_of(
        &mut self,
        source: &LogSource,
        reading: &mut Reading,
        floor: Option<&OpKey>,
        mut told: Option<(&mut LogParts, &mut Vec<Finding>)>,
    ) -> Result<()> {
        let LogView { opened, expect } = &source.view;
        let read = read_log::<Error>(&*opened.file, expect, &mut |item| {
            if let Some((parts, findings)) = &mut told {
                parts.add(&item);
                findings.extend(item.finding().filter(|_| source.is_live).cloned());
            }
            self.item(&item, reading, expect.end, floor);
            Ok(())
        });
        match read {
            Err(Error::NotOurs { detail, .. }) => {
                let size = opened.file.size()?;
                if let Some((parts, findings)) = &mut told {
                    parts.damaged += size;
                    if source.is_live {
                        let found = Finding::new(Code::LogHeader, &opened.path, detail);
                        findings.push(found.at(0, size.min(HEADER_SIZE as u64)));
                    }
                }
                reading.dead = reading.dead.or(Some(Dead::BehindDamage));
            }
            read => drop(read?),
        }
        match (reading.given_up, reading.id) {
            (Some(offset), Some(id)) => {
                self.behind_end(source, offset, id, reading.log, floor, told.map(|told| told.0))
            }
            _ => Ok(()),
        }
    }

    fn item(
        &mut self,
        item: &LogItem<'_>,
        reading: &mut Reading,
        end: Option<u64>,
        floor: Option<&OpKey>,
    ) {
        match item {
            LogItem::Header(header) => reading.id = header.id,
            LogItem::Hole(hole) => {
                let dead = if hole.is_damage() { Dead::BehindDamage } else { Dead::BehindTail };
                reading.dead = reading.dead.or(Some(dead));
            }
            LogItem::Unused { offset, .. } => {
                reading.given_up = Some(*offset).filter(|_| end == Some(*offset));
            }
            LogItem::Frame(frame) => {
                reading.is_ended = frame.kind == Kind::End;
                if frame.damage().is_some() || matches!(frame.content, Content::Gap(_)) {
                    reading.dead = reading.dead.or(Some(Dead::BehindDamage));
                }
                self.frame(frame, reading, floor);
            }
        }
    }

    fn frame(&mut self, frame: &LogFrame<'_>, reading: &Reading, floor: Option<&OpKey>) {
        for (op, (seqno, content)) in (0..).zip(frame.content.ops()) {
            if self.range.contains(content.key()) {
                let key = OpKey {
                    user: content.key().to_vec(),
                    trailer: Reverse(Trailer::new(seqno, content.kind())),
                    log: reading.log,
                    offset: frame.offset,
                    op,
                };
                let flushed = (seqno <= self.in_tables).then_some(Dead::Flushed);
                let dead = reading.dead.or(flushed);
                self.keep(key, content.value(), frame.size, dead, floor);
            }
        }
    }

    /// What lies behind the end that recovery settled; nothing there counts.
    fn behind_end(
        &mut self,
        source: &LogSource,
        offset: u64,
        id: FileId,
        log: usize,
        floor: Option<&OpKey>,
        mut parts: Option<&mut LogParts>,
    ) -> Result<()> {
        let mut scanner = Scanner::new(&*source.view.opened.file, id, offset, None)?;
        let dead = if source.is_live { Dead::BehindEnd } else { Dead::DroppedLog };
        while let Some(item) = scanner.next()? {
            let (kind, offset, payload, size) = match item {
                Item::Frame { offset, kind, payload, size, .. } => (kind, offset, payload, size),
                Item::Bad { offset, data_end, .. } => {
                    if let Some(parts) = &mut parts {
                        parts.give_up(data_end.saturating_sub(offset));
                    }
                    continue;
                }
                Item::Zeros { .. } => continue,
            };
            if let Some(parts) = &mut parts {
                parts.give_up(size);
            }
            if kind != Kind::Batch {
                continue;
            }
            let Ok(payload) = BatchPayload::decode(payload) else { continue };
            let content = Content::Batch(payload, 0);
            let reading =
                Reading { log, dead: Some(dead), id: None, is_ended: false, given_up: None };
            let (sides, finding) = ((None, None), None);
            let frame = LogFrame { offset, size, kind, synced_upto: 0, content, sides, finding };
            self.frame(&frame, &reading, floor);
        }
        Ok(())
    }

    /// Keeps an operation, unless it comes later than there is room for.
    fn keep(
        &mut self,
        key: OpKey,
        value: &[u8],
        frame_size: u64,
        dead: Option<Dead>,
        floor: Option<&OpKey>,
    ) {
        let is_late = self.limit.as_ref().is_some_and(|limit| key >= *limit);
        if is_late || floor.is_some_and(|floor| key <= *floor) {
            return;
        }
        let value_size = value.len() as u64;
        let value = if self.with_values { value.to_vec() } else { Vec::new() };
        let op = OpAt { frame_size, dead, value_size, value };
        self.size += weight(&key, &op);
        self.window.insert(key, op);
        while self.size > self.budget && self.window.len() > 1 {
            if let Some((key, op)) = self.window.pop_last() {
                self.size = self.size.saturating_sub(weight(&key, &op));
                self.limit = Some(key);
            }
        }
    }
}

fn weight(key: &OpKey, op: &OpAt) -> u64 {
    (key.user.len() + op.value.len()) as u64 + OP_SIZE
}
