//! Which records of a log are shown.

use crate::inspect::Op;
use crate::inspect::wal::{Content, LogFrame};
use crate::types::SeqNo;

/// Records from a sequence number on, or with a key, or both; damage and gaps are always shown.
#[derive(Debug)]
pub(super) struct Filter {
    from: Option<SeqNo>,
    key: Option<Vec<u8>>,
    /// The first record from `from` on was met.
    reached: bool,
    /// Batches that were shown.
    shown: u64,
}

impl Filter {
    pub(super) fn new(from: Option<SeqNo>, key: Option<Vec<u8>>) -> Filter {
        Filter { from, key, reached: from.is_none(), shown: 0 }
    }

    /// Batches that were shown; none if all are.
    pub(super) fn shown(&self) -> Option<u64> {
        (self.from.is_some() || self.key.is_some()).then_some(self.shown)
    }

    /// Whether a frame is shown.
    pub(super) fn shows(&mut self, frame: &LogFrame<'_>) -> bool {
        let is_record = match &frame.content {
            Content::Batch(payload, count) => {
                let end = payload.first.0.saturating_add(*count);
                let is_late = self.from.is_none_or(|from| end > from.0);
                self.reached |= is_late;
                is_late && self.has_key(frame)
            }
            Content::Gap(_) => return true,
            _ => self.reached && self.key.is_none(),
        };
        let shown = is_record || frame.finding.is_some();
        self.shown += u64::from(shown && matches!(frame.content, Content::Batch(..)));
        shown
    }

    /// Whether an operation of a shown record is.
    pub(super) fn shows_op(&self, seqno: SeqNo, op: &Op<'_>) -> bool {
        self.from.is_none_or(|from| seqno >= from)
            && self.key.as_deref().is_none_or(|key| op.key() == key)
    }

    fn has_key(&self, frame: &LogFrame<'_>) -> bool {
        self.key.is_none() || frame.content.ops().any(|(seqno, op)| self.shows_op(seqno, &op))
    }
}
