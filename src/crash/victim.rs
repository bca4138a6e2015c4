//! A worker process from the outside: what it is sent, what it says, its end.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::campaign::Acked;
use super::protocol::Said;
use super::workload::{KEEPER, Op};
use crate::runtime::{Priority, Runtime, Step, Worker};

/// Operations of a stream that are sent ahead of the answers.
const AHEAD: u64 = 16;

/// The longest sleep between two looks at whether to stop, in microseconds.
const NAP_US: u64 = 20_000;

/// Makes the operation of a stream with a number.
pub(super) type Ops = Arc<dyn Fn(u64, u64) -> Op + Send + Sync>;

/// What a worker has said.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// The store is open, and so many bytes of log were replayed.
    pub(super) open: Option<u64>,
    /// In the order in which it was said.
    pub(super) acked: Vec<Acked>,
    /// Snapshots that held what they must.
    pub(super) looked: u64,
    /// What was wrong.
    pub(super) broken: Option<String>,
    /// The last operation of each stream that was sent.
    pub(super) sent: BTreeMap<u64, u64>,
    /// It says nothing more.
    pub(super) ended: bool,
}

type Line = Arc<Mutex<Option<BufWriter<ChildStdin>>>>;

/// A running worker and the thread that listens to it. Killed and waited for when dropped.
pub(super) struct Victim<'r> {
    runtime: &'r dyn Runtime,
    child: Child,
    heard: Arc<(Mutex<Heard>, Condvar)>,
    line: Line,
    listener: Arc<dyn Worker>,
}

impl<'r> Victim<'r> {
    /// Starts a worker and sends it the first operations: each stream goes on behind `done`.
    pub(super) fn start(
        words: &[OsString],
        failpoint: Option<&str>,
        runtime: &'r dyn Runtime,
        ops: Ops,
        done: &[u64],
    ) -> io::Result<Victim<'r>> {
        let [program, words @ ..] = words else { return Err(io::ErrorKind::InvalidInput.into()) };
        let mut command = Command::new(program);
        command.args(words).env_remove("BEACH_FAILPOINT");
        if let Some(failpoint) = failpoint {
            command.env("BEACH_FAILPOINT", failpoint);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let line: Line = Arc::new(Mutex::new(child.stdin.take().map(BufWriter::new)));
        let heard = Arc::new((Mutex::new(Heard::default()), Condvar::new()));
        let lines = child.stdout.take().map(BufReader::new);
        let (heard_too, line_too) = (Arc::clone(&heard), Arc::clone(&line));
        let mut ear = Ear { lines, line: line_too, heard: heard_too, ops };
        ear.begin(done);
        let listener = runtime.spawn("listener", Priority::Normal, Box::new(move || ear.listen()));
        listener.wake();
        Ok(Victim { runtime, child, heard, line, listener })
    }

    /// Waits until `done`, for so long at most, or until `stopping`.
    pub(super) fn wait(&self, us: u64, stopping: &dyn Fn() -> bool, done: impl Fn(&Heard) -> bool) {
        let (heard, changed) = &*self.heard;
        let mut heard = heard.lock();
        let until = self.runtime.monotonic_us() + us;
        while !done(&heard) && !stopping() {
            let left = until.saturating_sub(self.runtime.monotonic_us());
            if left == 0 {
                break;
            }
            changed.wait_for(&mut heard, Duration::from_micros(left.min(NAP_US)));
        }
    }

    /// Sends nothing more: the worker does what it was sent, closes the store and ends.
    pub(super) fn finish(&self) {
        *self.line.lock() = None;
    }

    /// Whether the worker has ended by itself.
    pub(super) fn has_ended(&self) -> bool {
        self.heard.0.lock().ended
    }

    /// Kills the process, waits for it, and hears what it had said.
    pub(super) fn kill(mut self) -> io::Result<(ExitStatus, Heard)> {
        // It may have ended already.
        self.child.kill()?;
        let status = self.child.wait()?;
        let (heard, changed) = &*self.heard;
        let mut heard = heard.lock();
        // The pipe ends with the process, so the listener comes to an end.
        while !heard.ended {
            changed.wait(&mut heard);
        }
        Ok((status, std::mem::take(&mut heard)))
    }
}

impl Drop for Victim<'_> {
    fn drop(&mut self) {
        // Dead already, unless an error came in between; then nothing more can be done.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.listener.stop();
    }
}

/// Listens, and sends the next operation for each that is answered.
struct Ear {
    lines: Option<BufReader<ChildStdout>>,
    line: Line,
    heard: Arc<(Mutex<Heard>, Condvar)>,
    ops: Ops,
}

impl Ear {
    fn begin(&mut self, done: &[u64]) {
        for stream in 0..=KEEPER {
            let done = done.get(stream as usize).copied().unwrap_or(0);
            self.heard.0.lock().sent.insert(stream, done);
            (0..AHEAD).for_each(|_| self.send(stream));
        }
        self.flush();
    }

    fn send(&self, stream: u64) {
        let mut line = self.line.lock();
        let Some(out) = line.as_mut() else { return };
        let n = {
            let mut heard = self.heard.0.lock();
            let sent = heard.sent.entry(stream).or_default();
            *sent += 1;
            *sent
        };
        // A worker that was killed reads no more; what it said is heard all the same.
        if out.write_all((self.ops)(stream, n).line().as_bytes()).is_err() {
            *line = None;
        }
    }

    fn flush(&self) {
        let mut line = self.line.lock();
        if line.as_mut().is_some_and(|out| out.flush().is_err()) {
            *line = None;
        }
    }

    /// Reads one line.
    fn listen(&mut self) -> Step {
        let mut text = String::new();
        let read = self.lines.as_mut().map_or(Ok(0), |lines| lines.read_line(&mut text));
        if !matches!(read, Ok(1..)) {
            self.note(|heard| heard.ended = true);
            return Step::Idle;
        }
        match Said::parse(&text) {
            Some(Said::Open { replayed_bytes, .. }) => {
                self.note(|heard| heard.open = Some(replayed_bytes));
            }
            Some(Said::Ack { stream, n, seqno, checkpoint }) => {
                let is_first = {
                    let mut heard = self.heard.0.lock();
                    heard.acked.push(Acked { stream, n, seqno, checkpoint });
                    heard.acked.len() == 1
                };
                if is_first {
                    self.note(|_| ());
                }
                self.send(stream);
            }
            Some(Said::Looked(count)) => self.heard.0.lock().looked += count,
            Some(Said::Broken(what)) => self.note(|heard| heard.broken = Some(what)),
            // Cut by the kill.
            None => {}
        }
        if self.lines.as_ref().is_none_or(|lines| lines.buffer().is_empty()) {
            self.flush();
        }
        Step::Worked
    }

    fn note(&self, change: impl FnOnce(&mut Heard)) {
        let (heard, changed) = &*self.heard;
        change(&mut heard.lock());
        changed.notify_all();
    }
}
