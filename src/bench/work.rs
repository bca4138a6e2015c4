//! What one thread of a workload does: operation after operation, with as little beside them as
//! possible.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use super::latency::Latency;
use super::stream::{Keys, Op, Stream};
use super::values::Values;
use super::workload::Scan;
use crate::runtime::Runtime;
use crate::{Db, Durability, Error, Result, WriteBatch};

/// Pairs taken behind a seek.
const SEEK_PAIRS: usize = 50;

/// What a thread is given.
pub(super) struct Job {
    pub(super) db: Arc<Db>,
    pub(super) task: Task,
    pub(super) key_size: usize,
    pub(super) values: Values,
    /// Writes that are committed together.
    pub(super) batch: u64,
    pub(super) durability: Durability,
    /// One operation of so many is timed; 0 for none.
    pub(super) sample_every: u64,
    pub(super) clock: Arc<dyn Runtime>,
}

/// What there is to do.
pub(super) enum Task {
    Stream(Stream),
    Scan(Scan),
}

impl Task {
    pub(super) fn stream(&self) -> Option<&Stream> {
        match self {
            Task::Stream(stream) => Some(stream),
            Task::Scan(_) => None,
        }
    }
}

/// What a thread and the one that watches it share.
#[derive(Debug, Default)]
pub(super) struct Controls {
    /// Set by the watcher: end with the next operation.
    pub(super) stop: AtomicBool,
    /// Set by the thread: operations done.
    pub(super) done: AtomicU64,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) ops: u64,
    /// Operations taken from the stream.
    pub(super) taken: u64,
    pub(super) gets: u64,
    pub(super) found: u64,
    /// Of keys and values, written or read.
    pub(super) bytes: u64,
    pub(super) latency: Latency,
    pub(super) began_ns: u64,
    pub(super) ended_ns: u64,
    pub(super) error: Option<Error>,
}

impl Tally {
    pub(super) fn new() -> Tally {
        Tally {
            ops: 0,
            taken: 0,
            gets: 0,
            found: 0,
            bytes: 0,
            latency: Latency::new(),
            began_ns: u64::MAX,
            ended_ns: 0,
            error: None,
        }
    }

    pub(super) fn seconds(&self) -> f64 {
        self.ended_ns.saturating_sub(self.began_ns) as f64 / 1e9
    }

    /// Adds another thread's.
    pub(super) fn add(&mut self, other: &Tally) {
        self.ops += other.ops;
        self.taken += other.taken;
        self.gets += other.gets;
        self.found += other.found;
        self.bytes += other.bytes;
        self.latency.add(&other.latency);
        self.began_ns = self.began_ns.min(other.began_ns);
        self.ended_ns = self.ended_ns.max(other.ended_ns);
    }
}

impl Job {
    /// Works until there is no more to do, it is told to stop, or the store fails.
    pub(super) fn run(self, controls: &Controls) -> Tally {
        let Job { db, task, key_size, values, batch, durability, sample_every, clock } = self;
        let hand = Hand {
            keys: Keys::new(key_size),
            copy: Vec::new(),
            pending: WriteBatch::new(),
            pending_count: 0,
            tally: Tally::new(),
            until_sample: if sample_every == 0 { u64::MAX } else { 1 },
            sample_every,
            db: &db,
            values,
            batch,
            durability,
            clock: &*clock,
            controls,
        };
        hand.run(task)
    }
}

/// A thread at work.
struct Hand<'a> {
    db: &'a Db,
    keys: Keys,
    values: Values,
    batch: u64,
    durability: Durability,
    /// Where values of a seek go.
    copy: Vec<u8>,
    pending: WriteBatch,
    pending_count: u64,
    /// Operations until the next that is timed.
    until_sample: u64,
    sample_every: u64,
    clock: &'a dyn Runtime,
    controls: &'a Controls,
    tally: Tally,
}

impl Hand<'_> {
    fn run(mut self, task: Task) -> Tally {
        self.tally.began_ns = self.clock.monotonic_ns();
        let worked = match task {
            Task::Stream(stream) => self.stream(stream),
            Task::Scan(scan) => self.scan(scan),
        };
        self.tally.ended_ns = self.clock.monotonic_ns();
        self.tally.error = worked.err();
        self.tally
    }

    fn stream(&mut self, stream: Stream) -> Result<()> {
        for op in stream {
            if self.controls.stop.load(Relaxed) {
                break;
            }
            self.tally.taken += 1;
            match op {
                Op::Put(number) => self.write(|hand| hand.add_put(number))?,
                Op::Delete(number) => self.write(|hand| hand.add_delete(number))?,
                Op::Get(number) => self.timed(|hand| hand.get(number))?,
                Op::GetAbsent(number) => self.timed(|hand| hand.get_absent(number))?,
                Op::Seek(number) => self.timed(|hand| hand.seek(number))?,
            }
            self.controls.done.store(self.tally.ops, Relaxed);
        }
        if self.pending_count > 0 {
            self.commit()?;
        }
        self.controls.done.store(self.tally.ops, Relaxed);
        Ok(())
    }

    fn scan(&mut self, scan: Scan) -> Result<()> {
        let mut cursor = self.db.cursor();
        self.timed(|_| match scan {
            Scan::Forward => cursor.first(),
            Scan::Backward => cursor.last(),
        })?;
        while cursor.valid() && !self.controls.stop.load(Relaxed) {
            self.tally.bytes += (cursor.key().len() + cursor.value().len()) as u64;
            self.tally.ops += 1;
            self.controls.done.store(self.tally.ops, Relaxed);
            self.timed(|_| match scan {
                Scan::Forward => cursor.next(),
                Scan::Backward => cursor.prev(),
            })?;
        }
        Ok(())
    }

    /// Does one operation, with the clock read around it if it is its turn.
    fn timed<T>(&mut self, operation: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.until_sample -= 1;
        if self.until_sample > 0 {
            return operation(self);
        }
        self.until_sample = self.sample_every;
        let began = self.clock.monotonic_ns();
        let done = operation(self);
        self.tally.latency.record(self.clock.monotonic_ns() - began);
        done
    }

    /// Adds a write to the batch, and commits the batch if it is full. What is timed is the whole
    /// write, or the commit of the whole batch where there is more in it.
    fn write(&mut self, add: impl FnOnce(&mut Self)) -> Result<()> {
        if self.batch == 1 {
            return self.timed(|hand| {
                add(hand);
                hand.commit()
            });
        }
        add(self);
        if self.pending_count == self.batch { self.timed(Hand::commit) } else { Ok(()) }
    }

    fn add_put(&mut self, number: u64) {
        let (key, value) = (self.keys.key(number), self.values.take());
        self.pending.put(key, value);
        self.pending_count += 1;
        self.tally.bytes += (key.len() + value.len()) as u64;
    }

    fn add_delete(&mut self, number: u64) {
        let key = self.keys.key(number);
        self.pending.delete(key);
        self.pending_count += 1;
        self.tally.bytes += key.len() as u64;
    }

    fn commit(&mut self) -> Result<()> {
        let batch = std::mem::take(&mut self.pending);
        self.db.write(batch, self.durability)?;
        self.tally.ops += self.pending_count;
        self.pending_count = 0;
        Ok(())
    }

    fn get(&mut self, number: u64) -> Result<()> {
        let key = self.keys.key(number);
        let found = self.db.get_with(key, <[u8]>::len)?;
        let size = key.len();
        self.got(size, found);
        Ok(())
    }

    fn get_absent(&mut self, number: u64) -> Result<()> {
        let key = self.keys.absent(number);
        let found = self.db.get_with(key, <[u8]>::len)?;
        let size = key.len();
        self.got(size, found);
        Ok(())
    }

    /// Counts a get, and the value's size if there is one.
    fn got(&mut self, key_size: usize, value_size: Option<usize>) {
        if let Some(value_size) = value_size {
            self.tally.found += 1;
            self.tally.bytes += (key_size + value_size) as u64;
        }
        self.tally.gets += 1;
        self.tally.ops += 1;
    }

    /// A new cursor each time, as an application would; the values are copied out.
    fn seek(&mut self, number: u64) -> Result<()> {
        let wanted = self.keys.key(number);
        let mut cursor = self.db.cursor();
        cursor.seek(wanted)?;
        self.tally.found += u64::from(cursor.key() == wanted);
        for _ in 0..SEEK_PAIRS {
            if !cursor.valid() {
                break;
            }
            self.copy.clear();
            self.copy.extend_from_slice(cursor.value());
            self.tally.bytes += (cursor.key().len() + self.copy.len()) as u64;
            cursor.next()?;
        }
        self.tally.gets += 1;
        self.tally.ops += 1;
        Ok(())
    }
}
