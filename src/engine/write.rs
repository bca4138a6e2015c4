//! The write path: a queue of waiting writers, one leader, one log append, one sync.
//!
//! Invariants:
//! - Batches are committed in order of arrival; a group is whatever waited when its leader began.
//!   While one group is in its sync the next one forms; nobody waits on purpose.
//! - In a group: log first, sync if anyone asked, then memtable, then the visible sequence number,
//!   then the answers. A failed leader fails its whole group.
//! - A failure before the log was touched refuses the group and leaves the store writable. A failed
//!   append or sync poisons it.
//! - The lead is given on or given up however a commit ends. A panic poisons, and fails the group.

use std::collections::VecDeque;
use std::hint;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Condvar, Mutex};

use super::core::{Core, WriteSide, Writing};
use super::events::Event;
use super::files::Failure;
use super::image::insert_batch;
use super::memtable::Memtable;
use super::superversion::{Immutable, SuperVersion};
use super::wal::Wal;
use crate::error::{Error, Result};
use crate::format::batch::WriteBatch;
use crate::probe::{failpoint, mutant};
use crate::types::SeqNo;

/// When a write returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// When its record is on stable storage: it survives a power loss.
    #[default]
    Sync,
    /// When its record is with the kernel: it survives the end of the process, however it ends. A
    /// power loss may take what was written since the last sync, always a suffix, never half a
    /// batch.
    Buffered,
}

/// Encoded bytes of the batches that share one append: more would make the first of them wait.
const GROUP_SIZE_MAX: usize = 4 << 20;

/// How often a writer looks whether its turn has come before it sleeps: as long as a group without
/// a sync takes, a few microseconds. Going to sleep and being woken would take longer than that.
const LOOKS_MAX: u32 = 100;

/// One batch on its way.
struct Request {
    batch: WriteBatch,
    durability: Durability,
}

/// A writer that waits for another to commit its batch, or to hand it the lead.
struct Ticket {
    state: Mutex<TicketState>,
    /// The state is `Leading` or `Done`; a hint for who does not want to take the lock.
    called: AtomicBool,
    changed: Condvar,
}

enum TicketState {
    Waiting(Option<Request>),
    /// The leader before has finished and this one's turn has come.
    Leading(Option<Request>),
    Done(Result<SeqNo>),
}

/// The writers that wait, in order of arrival.
#[derive(Default)]
pub(super) struct CommitQueue {
    state: Mutex<QueueState>,
}

#[derive(Default)]
struct QueueState {
    /// Somebody is committing a group.
    led: bool,
    waiting: VecDeque<Arc<Ticket>>,
}

impl Core {
    /// Commits a batch and returns the sequence number of its last operation.
    pub(super) fn write(&self, batch: WriteBatch, durability: Durability) -> Result<SeqNo> {
        let side = self.write_side()?;
        batch.check().map_err(Error::InvalidArgument)?;
        side.poison.check()?;
        if batch.is_empty() {
            return self.write_nothing(durability);
        }
        let (lead, request) = match side.queue.enter(Request { batch, durability }) {
            Entered::Lead(request) => (Lead::alone(side), request),
            Entered::Wait(ticket) => match ticket.wait() {
                Turn::Lead(request) => (Lead::with_followers(side), request),
                Turn::Done(result) => return result,
            },
        };
        self.commit(lead, &request)
    }

    /// An empty batch writes no record; asked to be durable, it still is a sync.
    fn write_nothing(&self, durability: Durability) -> Result<SeqNo> {
        let seqno = self.visible_seqno();
        match durability {
            Durability::Sync => self.sync().map(|()| seqno),
            Durability::Buffered => Ok(seqno),
        }
    }

    /// Makes everything written so far durable.
    pub(super) fn sync(&self) -> Result<()> {
        let side = self.write_side()?;
        side.poison.check()?;
        let mut writing = side.writing.lock();
        if !writing.wal.is_dirty() {
            return side.poison.check();
        }
        side.synced(writing.wal.sync())
    }

    /// Commits the leader's batch and its followers', and answers the followers.
    fn commit(&self, lead: Lead<'_>, own: &Request) -> Result<SeqNo> {
        if lead.followers.is_empty() {
            // By far the most frequent case, which needs no list of batches.
            let committed = self.commit_group(lead.side, slice::from_ref(&own));
            lead.finish();
            return committed.map(|first| last_of(first, own));
        }
        let requests: Vec<Request> =
            lead.followers.iter().filter_map(|ticket| ticket.take_request()).collect();
        let group: Vec<&Request> = std::iter::once(own).chain(&requests).collect();
        let committed = self.commit_group(lead.side, &group);
        let followers = lead.finish();
        let first = match committed {
            Ok(first) => first,
            Err(error) => {
                for ticket in followers {
                    // Rule 11: a failed leader fails its whole group.
                    let told = match mutant("followers_of_a_failed_leader_succeed") {
                        true => Ok(self.visible_seqno()),
                        false => Err(error.clone()),
                    };
                    ticket.answer(told);
                }
                return Err(error);
            }
        };
        let own_last = last_of(first, own);
        let mut last = own_last;
        for (ticket, request) in followers.iter().zip(&requests) {
            last = last_of(last.plus(1), request);
            ticket.answer(Ok(last));
        }
        Ok(own_last)
    }

    /// Returns the first sequence number of the group.
    fn commit_group(&self, side: &WriteSide, group: &[&Request]) -> Result<SeqNo> {
        let size = group.iter().map(|request| request.batch.size_bytes() as u64).sum();
        // Without a lock: whoever is slowed down holds up nobody but the writers behind.
        side.throttle.delay(&*self.files.runtime, size);
        let mut writing = side.writing.lock();
        side.poison.check()?;
        side.report_background_error()?;
        if writing.memtable.memtable().size_bytes() >= self.options.memtable_size {
            self.rotate(side, &mut writing)?;
        }
        let count: u64 = group.iter().map(|request| request.batch.len() as u64).sum();
        if count > SeqNo::MAX.0 - writing.last_seqno.0 {
            return Err(Error::InvalidArgument(
                "the store has no sequence numbers left".to_owned(),
            ));
        }
        let first = writing.last_seqno.plus(1);
        failpoint("wal_before_append");
        side.refused_or_poisoned(append(side, &mut writing.wal, first, group))?;
        failpoint("wal_after_append");
        // Rule 11: nothing is visible before it is durable, if it is to be.
        if mutant("visible_number_runs_ahead") {
            self.visible.store(first.0 + count - 1, Ordering::Release);
        }
        let early = mutant("visible_before_sync");
        if early {
            self.publish(&mut writing, first, group)?;
        }
        if group.iter().any(|request| request.durability == Durability::Sync) {
            side.synced(writing.wal.sync())?;
        }
        if !early {
            self.publish(&mut writing, first, group)?;
        }
        Ok(first)
    }

    /// Puts a group into the memtable and makes it visible.
    #[inline]
    fn publish(&self, writing: &mut Writing, first: SeqNo, group: &[&Request]) -> Result<()> {
        let mut next = first;
        for request in group {
            let inserted = insert_batch(&mut writing.memtable, next, request.batch.as_bytes());
            let count = inserted.map_err(Error::InvalidArgument)?;
            next = next.plus(count);
        }
        writing.last_seqno = SeqNo(next.0 - 1);
        failpoint("commit_before_visible");
        self.visible.store(writing.last_seqno.0, Ordering::Release);
        failpoint("commit_after_visible");
        self.counters.writes.add(next.0 - first.0);
        Ok(())
    }

    /// Memtable and log switch together: the full memtable becomes immutable, and a new log begins
    /// for a new one. Waits while as many immutable memtables as may be held are not flushed.
    pub(super) fn rotate(&self, side: &WriteSide, writing: &mut Writing) -> Result<()> {
        self.wait_for_memory(side)?;
        // What is flushed needs no sync any more; the worker cannot say so while this lock is held.
        let view = self.superversion.load_full();
        let logs = view.immutables.last().map_or(&writing.memtable_logs, |oldest| &oldest.logs);
        if let Some(oldest) = logs.first() {
            writing.wal.forget_before(*oldest);
        }
        side.refused_or_poisoned(writing.wal.rotate(&side.manifest))?;
        // Rule 12: a log goes when every memtable it feeds is in a table.
        if mutant("log_removed_at_rotation") {
            let log = writing.memtable_logs.last().map(|log| self.files.log_path(*log));
            let _ = log.map(|path| self.files.vfs.remove(&path));
        }
        let (memtable, memtable_writer) = Memtable::new();
        let old = std::mem::replace(&mut writing.memtable, memtable_writer);
        let logs = std::mem::replace(&mut writing.memtable_logs, vec![writing.wal.number()]);
        let memtable_bytes = old.memtable().size_bytes();
        let immutable = Arc::new(Immutable {
            memtable: Arc::clone(old.memtable()),
            logs,
            last_seqno: writing.last_seqno,
        });
        self.replace_view(|view| {
            let mut immutables = vec![immutable];
            immutables.extend(view.immutables.iter().cloned());
            let version = Arc::clone(&view.version);
            SuperVersion { memtable, immutables, version, upto: None }
        });
        failpoint("rotate_after_publish");
        self.tell(&Event::Rotated { log: writing.wal.number(), memtable_bytes });
        self.update_pressure();
        side.wake_flusher();
        Ok(())
    }
}

/// Log and only log: nothing else has happened when this fails.
fn append(
    side: &WriteSide,
    wal: &mut Wal,
    first: SeqNo,
    group: &[&Request],
) -> Result<(), Failure> {
    let size = group.iter().map(|request| Wal::record_size(request.batch.size_bytes() as u64));
    wal.reserve(size.sum(), &side.manifest)?;
    let mut next = first;
    for request in group {
        wal.push_batch(next, request.batch.as_bytes());
        next = next.plus(request.batch.len() as u64);
    }
    // Rule 6: nothing is appended behind a failed append.
    let behind = mutant("append_behind_failed_append");
    wal.write().map_err(if behind { Failure::Refused } else { Failure::Poison })
}

fn last_of(first: SeqNo, request: &Request) -> SeqNo {
    SeqNo(first.0 + request.batch.len() as u64 - 1)
}

impl WriteSide {
    /// Turns a failure into the caller's error, and stops writing if its outcome is unknown.
    pub(super) fn refused_or_poisoned(&self, result: Result<(), Failure>) -> Result<()> {
        match result {
            Ok(()) => Ok(()),
            Err(Failure::Refused(error)) => Err(error),
            Err(Failure::Poison(error)) => {
                // Rule 6: an unknown outcome stays unknown, so writing stops.
                if mutant("no_poison") {
                    return Err(error);
                }
                self.poison.set(&error);
                Err(error)
            }
        }
    }

    /// A sync or log write whose failure poisons.
    pub(super) fn synced(&self, result: Result<()>) -> Result<()> {
        self.refused_or_poisoned(result.map_err(Failure::Poison))
    }

    pub(super) fn has_background_error(&self) -> bool {
        self.background_error.lock().is_some()
    }

    /// Reports what a background job failed with, once, and lets it try again.
    pub(super) fn report_background_error(&self) -> Result<()> {
        let Some(error) = self.background_error.lock().take() else { return Ok(()) };
        self.wake_flusher();
        self.wake_compactor();
        Err(error)
    }

    pub(super) fn wake_flusher(&self) {
        if let Some(worker) = self.flusher.get() {
            worker.wake();
        }
    }

    pub(super) fn wake_compactor(&self) {
        if let Some(worker) = self.compactor.get() {
            worker.wake();
        }
    }
}

/// The lead in the queue. Dropped without [`Lead::finish`], which a panic alone does, it stops
/// writing, because nobody knows how far the commit came, and lets everybody who waits know.
struct Lead<'c> {
    side: &'c WriteSide,
    followers: Vec<Arc<Ticket>>,
    finished: bool,
}

impl<'c> Lead<'c> {
    fn alone(side: &'c WriteSide) -> Lead<'c> {
        Lead { side, followers: Vec::new(), finished: false }
    }

    /// The lead with those who have waited meanwhile.
    fn with_followers(side: &'c WriteSide) -> Lead<'c> {
        let mut lead = Lead::alone(side);
        lead.followers = side.queue.gather();
        lead
    }

    /// Gives the lead to the next in line; returns the followers, who wait for their answers.
    fn finish(mut self) -> Vec<Arc<Ticket>> {
        self.finished = true;
        self.side.queue.leave();
        std::mem::take(&mut self.followers)
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let error = Error::Poisoned("a write panicked".to_owned());
        self.side.poison.set(&error);
        for ticket in &self.followers {
            ticket.answer(Err(error.clone()));
        }
        // Whoever leads next finds the store poisoned.
        self.side.queue.leave();
    }
}

enum Entered {
    Lead(Request),
    Wait(Arc<Ticket>),
}

enum Turn {
    Lead(Request),
    Done(Result<SeqNo>),
}

impl CommitQueue {
    /// Takes the lead if nobody has it, else lines up.
    fn enter(&self, request: Request) -> Entered {
        let mut state = self.state.lock();
        if !state.led {
            state.led = true;
            return Entered::Lead(request);
        }
        let ticket = Arc::new(Ticket {
            state: Mutex::new(TicketState::Waiting(Some(request))),
            called: AtomicBool::new(false),
            changed: Condvar::new(),
        });
        state.waiting.push_back(Arc::clone(&ticket));
        Entered::Wait(ticket)
    }

    /// The writers that wait now, in order, as many as a group may hold.
    fn gather(&self) -> Vec<Arc<Ticket>> {
        let mut state = self.state.lock();
        let mut size = 0;
        let mut group = Vec::new();
        while let Some(ticket) = state.waiting.front() {
            size += ticket.size_bytes();
            if size > GROUP_SIZE_MAX {
                break;
            }
            group.extend(state.waiting.pop_front());
        }
        group
    }

    /// Hands the lead to the next in line, or gives it up.
    fn leave(&self) {
        let mut state = self.state.lock();
        match state.waiting.pop_front() {
            Some(ticket) => ticket.lead(),
            None => state.led = false,
        }
    }
}

impl Ticket {
    fn size_bytes(&self) -> usize {
        match &*self.state.lock() {
            TicketState::Waiting(Some(request)) => request.batch.size_bytes(),
            _ => 0,
        }
    }

    fn take_request(&self) -> Option<Request> {
        match &mut *self.state.lock() {
            TicketState::Waiting(request) => request.take(),
            _ => None,
        }
    }

    fn lead(&self) {
        let mut state = self.state.lock();
        if let TicketState::Waiting(request) = &mut *state {
            *state = TicketState::Leading(request.take());
        }
        drop(state);
        self.call();
    }

    fn answer(&self, result: Result<SeqNo>) {
        *self.state.lock() = TicketState::Done(result);
        self.call();
    }

    fn call(&self) {
        self.called.store(true, Ordering::Release);
        self.changed.notify_one();
    }

    fn wait(&self) -> Turn {
        let mut looks = 0;
        while looks < LOOKS_MAX && !self.called.load(Ordering::Acquire) {
            hint::spin_loop();
            looks += 1;
        }
        let mut state = self.state.lock();
        loop {
            match &mut *state {
                TicketState::Waiting(_) => self.changed.wait(&mut state),
                TicketState::Leading(request) => {
                    // A ticket is made with a request and leads once.
                    if let Some(request) = request.take() {
                        return Turn::Lead(request);
                    }
                }
                TicketState::Done(result) => return Turn::Done(result.clone()),
            }
        }
    }
}
