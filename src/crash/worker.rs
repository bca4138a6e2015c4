//! The process that is killed: does what it is told, and says what is acknowledged.
//!
//! Each stream of operations has a thread of its own. An operation is answered before the next one
//! of its stream begins, so at most one of each stream is done and not acknowledged. A writer that
//! looks at a snapshot compares it with what its own operations so far add up to; whatever is wrong is
//! said at once.

use std::collections::VecDeque;
use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use super::bank;
use super::protocol::Said;
use super::site::{SLOTS, Site, tiny_options};
use super::snapshots::{self, Mirror};
use super::workload::{How, KEEPER, Op, Task, Upkeep};
use crate::runtime::{Priority, Runtime, Step, Worker};
use crate::{Db, Durability, Error, Result, SeqNo};

/// What a worker process is for.
#[derive(Clone, Debug)]
pub struct Duty {
    /// The directory of the crash test.
    pub dir: PathBuf,
    /// Whether the store is a bank.
    pub bank: bool,
    /// Threads that look at snapshots of the bank all the time.
    pub readers: u64,
}

/// Why an operation was not done.
pub(super) enum Trouble {
    Engine(Error),
    /// What was found is not what must be.
    Wrong(String),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        Trouble::Engine(error)
    }
}

/// What the threads of the process share.
pub(super) struct Shared {
    pub(super) db: Db,
    pub(super) locks: bank::Locks,
    site: Site,
    runtime: Arc<dyn Runtime>,
    output: Mutex<Box<dyn Write + Send>>,
}

/// Operations that wait for their thread, and how many are not answered.
#[derive(Default)]
struct Queue {
    state: Mutex<(VecDeque<Op>, u64)>,
    answered: Condvar,
}

/// What does the operations of one stream.
struct Hand {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    /// What the store must hold of this stream.
    mirror: Mirror,
    checkpoints: u64,
}

/// Does the operations that `input` brings until it ends, then closes the store; or until the process
/// is killed.
///
/// # Errors
/// Of opening and closing; those of operations are said on `output`.
pub fn work(
    duty: &Duty,
    runtime: &Arc<dyn Runtime>,
    input: &mut dyn BufRead,
    output: Box<dyn Write + Send>,
) -> Result<()> {
    let site = Site::new(&duty.dir);
    let db = tiny_options().open(site.store())?;
    if duty.bank {
        bank::found(&db)?;
    }
    let (runtime, output) = (Arc::clone(runtime), Mutex::new(output));
    let shared = Arc::new(Shared { db, locks: bank::Locks::default(), site, runtime, output });
    let mut hands = Vec::new();
    for stream in 0..=KEEPER {
        hands.push(shared.hand(stream)?);
    }
    let readers: Vec<_> = (0..duty.readers).map(|_| shared.reader()).collect();
    shared.say(&Said::Open {
        seqno: shared.db.stats().last_seqno.0,
        replayed_bytes: shared.db.recovery().replayed_bytes,
    });
    readers.iter().for_each(|reader| reader.wake());
    // Nobody is left to say it to when reading fails.
    let _ = hand_out(input, &hands);
    for (worker, queue) in &hands {
        queue.wait();
        worker.stop();
    }
    readers.iter().for_each(|reader| reader.stop());
    drop((hands, readers));
    Arc::into_inner(shared).map_or(Ok(()), |shared| shared.db.close())
}

fn hand_out(input: &mut dyn BufRead, hands: &[(Arc<dyn Worker>, Arc<Queue>)]) -> io::Result<()> {
    let mut line = String::new();
    while input.read_line(&mut line)? > 0 {
        let op = Op::parse(&line);
        line.clear();
        let Some(op) = op else { continue };
        let Some((worker, queue)) = hands.get(op.stream as usize) else { continue };
        queue.push(op);
        worker.wake();
    }
    Ok(())
}

impl Queue {
    fn push(&self, op: Op) {
        let mut state = self.state.lock();
        state.0.push_back(op);
        state.1 += 1;
    }

    fn pop(&self) -> Option<Op> {
        self.state.lock().0.pop_front()
    }

    fn answer(&self) {
        self.state.lock().1 -= 1;
        self.answered.notify_all();
    }

    /// Waits until everything is answered.
    fn wait(&self) {
        let mut state = self.state.lock();
        while state.1 > 0 {
            self.answered.wait(&mut state);
        }
    }
}

impl Shared {
    pub(super) fn say(&self, said: &Said) {
        let mut output = self.output.lock();
        // When nobody listens any more, the input has ended too.
        let _ = output.write_all(said.line().as_bytes()).and_then(|()| output.flush());
    }

    pub(super) fn complain(&self, trouble: Trouble) {
        self.say(&Said::Broken(match trouble {
            Trouble::Engine(error) => format!("the store says: {error}"),
            Trouble::Wrong(what) => what,
        }));
    }

    fn hand(self: &Arc<Shared>, stream: u64) -> Result<(Arc<dyn Worker>, Arc<Queue>)> {
        let queue = Arc::new(Queue::default());
        let mirror = Mirror::of(stream, &self.db.snapshot())?;
        let (shared, inner) = (Arc::clone(self), Arc::clone(&queue));
        let mut hand = Hand { shared, queue: inner, mirror, checkpoints: 0 };
        let step = Box::new(move || hand.step());
        Ok((self.runtime.spawn(&format!("stream-{stream}"), Priority::Normal, step), queue))
    }

    fn reader(self: &Arc<Shared>) -> Arc<dyn Worker> {
        let shared = Arc::clone(self);
        let step = Box::new(move || {
            let fallen = Fallen(&shared);
            let looked = bank::look(&shared.db);
            std::mem::forget(fallen);
            match looked {
                Ok(()) => shared.say(&Said::Looked(1)),
                Err(trouble) => {
                    shared.complain(trouble);
                    return Step::Idle;
                }
            }
            Step::Worked
        });
        self.runtime.spawn("reader", Priority::Normal, step)
    }
}

/// Says that a thread panicked, when it is dropped.
struct Fallen<'s>(&'s Shared);

impl Drop for Fallen<'_> {
    fn drop(&mut self) {
        self.0.complain(Trouble::Wrong("a thread of the worker panicked".to_owned()));
    }
}

impl Hand {
    fn step(&mut self) -> Step {
        let Some(op) = self.queue.pop() else { return Step::Idle };
        let shared = Arc::clone(&self.shared);
        let fallen = Fallen(&shared);
        let done = self.perform(&op);
        std::mem::forget(fallen);
        if let Err(trouble) = done {
            shared.complain(trouble);
        }
        self.queue.answer();
        Step::Worked
    }

    fn perform(&mut self, op: &Op) -> Result<(), Trouble> {
        let shared = Arc::clone(&self.shared);
        let mut checkpoint = None;
        let seqno = match &op.task {
            Task::Write { how: How::Ingest, .. } => ingest(&shared.db, op)?,
            Task::Write { how, .. } => shared.db.write(op.batch(), durability(*how))?,
            Task::Transfer { how, from, to, amount } => {
                let batch = (op.stream, op.n, durability(*how));
                bank::transfer(&shared, batch, (*from, *to), *amount)?
            }
            Task::Keep(upkeep) => {
                let (seqno, slot) = self.keep(upkeep)?;
                checkpoint = slot;
                seqno
            }
        };
        self.mirror.apply(op);
        shared.say(&Said::Ack { stream: op.stream, n: op.n, seqno: seqno.0, checkpoint });
        if matches!(op.task, Task::Write { look: true, .. }) {
            snapshots::look(&shared.db, &self.mirror)?;
            shared.say(&Said::Looked(1));
        }
        Ok(())
    }

    fn keep(&mut self, upkeep: &Upkeep) -> Result<(SeqNo, Option<u64>)> {
        let db = &self.shared.db;
        match upkeep {
            Upkeep::Flush => db.flush()?,
            Upkeep::Sync => db.sync()?,
            Upkeep::Compact(from, Some(to)) => db.compact(from.as_str()..to.as_str())?,
            Upkeep::Compact(from, None) => db.compact(from.as_str()..)?,
            Upkeep::Checkpoint if self.checkpoints < SLOTS => {
                let slot = self.checkpoints;
                self.checkpoints += 1;
                let made = db.checkpoint(self.shared.site.checkpoint(slot))?;
                return Ok((made.last_seqno, Some(slot)));
            }
            Upkeep::Checkpoint => {}
            Upkeep::Nap(us) => self.shared.runtime.sleep_us(*us),
        }
        Ok((SeqNo(0), None))
    }
}

fn durability(how: How) -> Durability {
    if how == How::Sync { Durability::Sync } else { Durability::Buffered }
}

fn ingest(db: &Db, op: &Op) -> Result<SeqNo> {
    let mut writer = db.ingest_writer()?;
    // The counter's key is greater than all others.
    for (key, value) in op.effects() {
        match value {
            Some(value) => writer.put(key, value)?,
            None => writer.delete(key)?,
        }
    }
    writer.commit()
}

#[cfg(test)]
mod tests {
    use super::super::workload::Streams;
    use super::*;
    use crate::runtime::threads::ThreadRuntime;

    /// Output that a test reads afterwards.
    #[derive(Clone, Default)]
    struct Pipe(Arc<Mutex<Vec<u8>>>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Some hundred operations of each stream in one process: each is answered, in the order of its
    /// stream, snapshots were looked at, checkpoints made, nothing was wrong, and the store is closed.
    #[test]
    fn a_worker_answers_each_operation_and_closes_the_store() {
        let home = tempfile::tempdir().unwrap();
        let duty = Duty { dir: home.path().to_owned(), bank: false, readers: 0 };
        let streams = Streams::new(2, 0);
        let lines = (1..150).flat_map(|n| (0..=KEEPER).map(move |s| streams.op(s, n).line()));
        let lines: String = lines.chain(["{\"cut".to_owned()]).collect();
        let pipe = Pipe::default();
        let runtime: Arc<dyn Runtime> = Arc::new(ThreadRuntime::default());
        work(&duty, &runtime, &mut lines.as_bytes(), Box::new(pipe.clone())).unwrap();
        let text = String::from_utf8(pipe.0.lock().clone()).unwrap();
        let (mut last, mut looked, mut slots) = ([0; KEEPER as usize + 1], 0, 0);
        for line in text.split_inclusive('\n') {
            match Said::parse(line).unwrap() {
                Said::Ack { stream, n, checkpoint, .. } => {
                    assert_eq!(n, last[stream as usize] + 1);
                    last[stream as usize] = n;
                    slots += u64::from(checkpoint.is_some());
                }
                Said::Looked(count) => looked += count,
                Said::Open { .. } => {}
                Said::Broken(what) => panic!("{what}"),
            }
        }
        assert_eq!(last, [149; KEEPER as usize + 1]);
        assert!(looked > 3 && slots == SLOTS, "{looked} {slots}");
        assert!(tiny_options().open(duty.dir.join("store")).unwrap().recovery().clean);
    }
}
