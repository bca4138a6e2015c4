//! The process that kills, and checks what is left.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::worker::{Ack, batches_in};
use super::workload::{Dice, Model};
use crate::runtime::{Priority, Runtime, Step, Worker};
use crate::{Db, Error, Result};

/// The longest sleep between two looks at `stopping`, in microseconds.
const NAP_US: u64 = 20_000;

/// How long a worker may take to open the store and acknowledge something, in milliseconds.
const FIRST_ACK_MS: u64 = 60_000;

/// What to do.
#[derive(Clone, Debug)]
pub struct Config {
    /// The store's directory.
    pub dir: PathBuf,
    /// What the workload and the moments of the kills follow from.
    pub seed: u64,
    /// Kills at most; none for no limit.
    pub cycles: Option<u64>,
    /// Milliseconds after which no new cycle begins.
    pub duration_ms: Option<u64>,
    /// The program and its first words that run [`super::work`] on `dir` with `seed`.
    pub worker: Vec<std::ffi::OsString>,
}

/// One cycle: a worker, its end, and what it left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cycle {
    /// Its number, from 1.
    pub cycle: u64,
    /// The last batch that was acknowledged before the kill.
    pub acknowledged: u64,
    /// Batches in the store afterwards.
    pub recovered: u64,
    /// Bytes of log that the opening replayed.
    pub replayed_bytes: u64,
}

/// What a run adds up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Cycles that were checked.
    pub cycles: u64,
    /// Workers killed.
    pub kills: u64,
    /// Batches in the store at the end.
    pub batches: u64,
    /// Kills that came before anything was acknowledged.
    pub kills_while_opening: u64,
    /// Kills after which one more batch was there than was acknowledged.
    pub kills_in_flight: u64,
}

/// Why a run ended before its last cycle.
#[derive(Debug)]
pub enum Stopped {
    /// A promise was broken: what, in which cycle.
    Violation(u64, String),
    /// The directory or the seed is wrong, or the store could not be read.
    Engine(Error),
    /// The worker could not be started, or not be listened to.
    Process(std::io::Error),
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Stopped {
        Stopped::Engine(error)
    }
}

/// Runs cycles until there were enough, time is up, or `stopping` says so; `seen` gets each.
///
/// # Errors
/// What ended it early; the directory is left as the last kill left it, or as the check of it did.
pub fn run(
    config: &Config,
    runtime: &dyn Runtime,
    stopping: &dyn Fn() -> bool,
    seen: &mut dyn FnMut(&Cycle),
) -> (Report, Result<(), Stopped>) {
    let mut run = Run { config, runtime, model: Model::default(), report: Report::default() };
    let ended = run.all(stopping, seen);
    run.report.batches = run.model.batches;
    (run.report, ended)
}

struct Run<'c> {
    config: &'c Config,
    runtime: &'c dyn Runtime,
    model: Model,
    report: Report,
}

impl Run<'_> {
    fn all(
        &mut self,
        stopping: &dyn Fn() -> bool,
        seen: &mut dyn FnMut(&Cycle),
    ) -> Result<(), Stopped> {
        let began = self.runtime.monotonic_us();
        self.begin()?;
        let enough = |report: &Report| self.config.cycles.is_some_and(|n| report.cycles >= n);
        let late = |now: u64| self.config.duration_ms.is_some_and(|ms| (now - began) / 1000 >= ms);
        while !enough(&self.report) && !late(self.runtime.monotonic_us()) {
            let number = self.report.cycles + 1;
            let Some(acknowledged) = self.kill_one(number, stopping)? else { return Ok(()) };
            let cycle = self.check(number, acknowledged)?;
            self.report.cycles = number;
            seen(&cycle);
        }
        Ok(())
    }

    /// What is in the directory already must be of this workload.
    fn begin(&mut self) -> Result<(), Stopped> {
        let db = Db::open(&self.config.dir)?;
        self.model.advance(self.config.seed, batches_in(&db, self.config.seed)?);
        let compared = self.compare(&db)?;
        db.close()?;
        compared.map_err(|what| {
            let what = format!("the store as it was found: {what}");
            Stopped::Engine(Error::InvalidArgument(what))
        })
    }

    /// Runs a worker and kills it; the last batch it acknowledged, or none when told to stop.
    fn kill_one(
        &mut self,
        number: u64,
        stopping: &dyn Fn() -> bool,
    ) -> Result<Option<u64>, Stopped> {
        let mut dice = Dice::new(self.config.seed, u64::MAX - number);
        let victim = Victim::start(self.config, self.runtime).map_err(Stopped::Process)?;
        // One in six dies while it opens the store, which is when recovery works.
        let early = dice.below(6) == 0;
        let delay_ms = if early { dice.below(25) } else { dice.below(250) };
        if !early {
            victim.wait(FIRST_ACK_MS, stopping, |acks| acks.last.is_some() || acks.ended);
        }
        victim.wait(delay_ms, stopping, |acks| acks.ended);
        let (status, last) = victim.kill().map_err(Stopped::Process)?;
        if stopping() {
            return Ok(None);
        }
        if !was_killed(status) {
            let what = format!("the worker ended by itself with {status}; it says why above");
            return Err(Stopped::Violation(number, what));
        }
        self.report.kills += 1;
        self.report.kills_while_opening += u64::from(last.is_none());
        Ok(Some(last.map_or(self.model.batches, |ack| ack.batch)))
    }

    /// Opens what the kill left and compares it with the workload.
    fn check(&mut self, number: u64, acknowledged: u64) -> Result<Cycle, Stopped> {
        let violation = |what: String| Stopped::Violation(number, what);
        let opened = Db::open(&self.config.dir);
        let db = opened.map_err(|error| violation(format!("the store does not open: {error}")))?;
        let recovered = batches_in(&db, self.config.seed)
            .map_err(|error| violation(format!("the counter is lost: {error}")))?;
        if recovered < acknowledged {
            return Err(violation(format!(
                "acknowledged writes are lost: {acknowledged} batches were acknowledged, \
                 {recovered} are there"
            )));
        }
        if recovered > acknowledged + 1 {
            return Err(violation(format!(
                "writes from nowhere: {acknowledged} batches were acknowledged, one more can have \
                 been under way, {recovered} are there"
            )));
        }
        self.report.kills_in_flight += u64::from(recovered > acknowledged);
        self.model.advance(self.config.seed, recovered);
        let compared = self.compare(&db).map_err(|error| violation(error.to_string()))?;
        compared.map_err(violation)?;
        let replayed_bytes = db.recovery().replayed_bytes;
        // Half of the stores are closed and half just let go, as a reader of the next state finds.
        if number.is_multiple_of(2) {
            db.close().map_err(|error| violation(format!("the store does not close: {error}")))?;
        }
        Ok(Cycle { cycle: number, acknowledged, recovered, replayed_bytes })
    }

    /// What differs between the store and the model.
    fn compare(&self, db: &Db) -> Result<Result<(), String>> {
        let (model, last) = (&self.model, db.stats().last_seqno.0);
        if last != model.ops {
            let expected = model.ops;
            return Ok(Err(format!("the last sequence number is {last}, expected {expected}")));
        }
        let mut found = BTreeMap::new();
        for item in db.iter() {
            let (key, value) = item?;
            if found.insert(key.clone(), value.to_vec()).is_some() {
                return Ok(Err(format!("key \"{}\" is seen twice", key.escape_ascii())));
            }
        }
        for key in model.content.keys().chain(found.keys()) {
            let (expected, scanned) = (model.content.get(key), found.get(key));
            let got = db.get(key)?;
            if scanned != expected || got.as_deref() != expected.map(Vec::as_slice) {
                return Ok(Err(format!(
                    "after {} batches key \"{}\" should be {}; a scan finds {}, a get {}",
                    model.batches,
                    key.escape_ascii(),
                    Shown(expected.map(Vec::as_slice)),
                    Shown(scanned.map(Vec::as_slice)),
                    Shown(got.as_deref()),
                )));
            }
        }
        Ok(Ok(()))
    }
}

/// A value short enough for a message.
struct Shown<'v>(Option<&'v [u8]>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("absent"),
            Some(value) if value.len() <= 24 => write!(f, "\"{}\"", value.escape_ascii()),
            Some(value) => {
                write!(f, "\"{}…\" ({} bytes)", value[..24].escape_ascii(), value.len())
            }
        }
    }
}

fn was_killed(status: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    status.signal() == Some(9)
}

/// What a worker has said.
#[derive(Debug, Default)]
struct Acks {
    last: Option<Ack>,
    /// It says nothing more.
    ended: bool,
}

/// A running worker and the thread that listens to it. Killed and waited for when dropped.
struct Victim<'r> {
    runtime: &'r dyn Runtime,
    child: Child,
    heard: Arc<(Mutex<Acks>, Condvar)>,
    listener: Arc<dyn Worker>,
}

impl<'r> Victim<'r> {
    fn start(config: &Config, runtime: &'r dyn Runtime) -> std::io::Result<Victim<'r>> {
        let [program, words @ ..] = &config.worker[..] else {
            return Err(std::io::ErrorKind::InvalidInput.into());
        };
        let mut command = Command::new(program);
        let mut child = command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let heard = Arc::new((Mutex::new(Acks::default()), Condvar::new()));
        let mut lines = child.stdout.take().map(BufReader::new);
        let told = Arc::clone(&heard);
        let step = move || listen(lines.as_mut(), &told);
        let listener = runtime.spawn("listener", Priority::Normal, Box::new(step));
        listener.wake();
        Ok(Victim { runtime, child, heard, listener })
    }

    /// Waits until `done`, for so long at most, or until `stopping`.
    fn wait(&self, ms: u64, stopping: &dyn Fn() -> bool, done: impl Fn(&Acks) -> bool) {
        let (acks, changed) = &*self.heard;
        let mut acks = acks.lock();
        let until = self.runtime.monotonic_us() + ms * 1000;
        while !done(&acks) && !stopping() {
            let left = until.saturating_sub(self.runtime.monotonic_us());
            if left == 0 {
                break;
            }
            changed.wait_for(&mut acks, Duration::from_micros(left.min(NAP_US)));
        }
    }

    /// Kills the process, waits for it, and hears what it had said.
    fn kill(mut self) -> std::io::Result<(ExitStatus, Option<Ack>)> {
        self.child.kill()?;
        let status = self.child.wait()?;
        let (acks, changed) = &*self.heard;
        let mut acks = acks.lock();
        // The pipe ends with the process, so the listener comes to an end.
        while !acks.ended {
            changed.wait(&mut acks);
        }
        Ok((status, acks.last))
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

/// Reads one line.
fn listen(lines: Option<&mut BufReader<ChildStdout>>, heard: &(Mutex<Acks>, Condvar)) -> Step {
    let mut line = String::new();
    let read = lines.map_or(Ok(0), |lines| lines.read_line(&mut line));
    let (acks, changed) = heard;
    let mut acks = acks.lock();
    // Only the first acknowledgement and the end are waited for.
    if !matches!(read, Ok(1..)) {
        acks.ended = true;
        changed.notify_all();
        return Step::Idle;
    }
    let is_first = acks.last.is_none();
    acks.last = Ack::parse(&line).or(acks.last);
    if is_first {
        changed.notify_all();
    }
    Step::Worked
}
