//! What happens in a store, told as it happens: to a listener, and to `tracing`.

use std::fmt;
use std::sync::Arc;

use super::compaction::{Action, Cause};
use crate::types::{FileNumber, Level, SeqNo};

/// Something that happened in an open store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A store was opened for writing; `clean` says whether its last writer had closed it.
    Opened {
        /// Whether nothing had to be recovered.
        clean: bool,
        /// Logs that were read, and bytes of them that went into the memtable.
        logs: u64,
        /// Bytes of log replayed.
        replayed_bytes: u64,
        /// Unsynced tails that were dropped.
        dropped_tails: u64,
    },
    /// The memtable was full, or a flush was asked for: it waits now, and a new log has begun.
    Rotated {
        /// The new log.
        log: FileNumber,
        /// Bytes of the memtable that waits.
        memtable_bytes: u64,
    },
    /// A flush begins.
    FlushBegun {
        /// The job.
        job: u64,
        /// Entries of the memtable.
        entries: u64,
    },
    /// A flush is done and its table is in the tree.
    FlushEnded {
        /// The job.
        job: u64,
        /// The table and its bytes; none if the memtable was empty.
        table: Option<(FileNumber, u64)>,
        /// Microseconds it took.
        us: u64,
    },
    /// A compaction begins.
    CompactionBegun {
        /// The job.
        job: u64,
        /// Why it is due.
        cause: Cause,
        /// What is done with the inputs.
        action: Action,
        /// Tables taken, and their bytes.
        tables: u64,
        /// Bytes of the tables taken.
        bytes: u64,
        /// Where its tables go.
        output: Level,
    },
    /// A compaction is done and the tree is as it says.
    CompactionEnded {
        /// The job.
        job: u64,
        /// Tables written.
        tables: u64,
        /// Bytes written.
        bytes: u64,
        /// Versions dropped because a newer one hides them.
        dropped_shadowed: u64,
        /// Tombstones dropped because nothing older is left.
        dropped_tombstones: u64,
        /// Microseconds it took.
        us: u64,
    },
    /// Tables were taken in.
    Ingested {
        /// The job.
        job: u64,
        /// How many.
        tables: u64,
        /// Their bytes.
        bytes: u64,
        /// The sequence number of everything in them.
        seqno: SeqNo,
        /// Microseconds from the first key to the last step.
        us: u64,
    },
    /// A job failed; the next write reports it.
    JobFailed {
        /// Why, as text.
        error: String,
    },
    /// Writers begin to be slowed down, or their delays end.
    Slowed {
        /// Whether they are slowed down from now on.
        slowed: bool,
    },
    /// A writer had to wait for a flush, since no more memtables may be held.
    Stopped {
        /// Microseconds it waited.
        us: u64,
    },
}

/// Is told of every [`Event`], in the thread in which it happens and perhaps with locks held: it
/// must be quick and must not call the store.
pub trait Listener: Send + Sync + fmt::Debug {
    /// Something happened.
    fn event(&self, event: &Event);
}

/// Who is told.
#[derive(Clone, Debug, Default)]
pub(super) struct Events {
    pub(super) listener: Option<Arc<dyn Listener>>,
}

impl Events {
    pub(super) fn tell(&self, event: &Event) {
        trace(event);
        if let Some(listener) = &self.listener {
            listener.event(event);
        }
    }
}

/// The same for whoever collects `tracing` events of the target `beachdb`.
fn trace(event: &Event) {
    const TARGET: &str = "beachdb";
    match event {
        Event::JobFailed { error } => {
            tracing::warn!(target: TARGET, %error, "a background job failed");
        }
        Event::Stopped { us } => {
            tracing::warn!(target: TARGET, us, "a writer waited for a flush");
        }
        Event::Slowed { slowed } => tracing::info!(target: TARGET, slowed, "writers slowed down"),
        other => tracing::info!(target: TARGET, event = ?other),
    }
}
