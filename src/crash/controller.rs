//! The process that kills, and looks at what is left.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::campaign::{Acked, Books, Kind};
use super::oracle::Broken;
use super::site::{SLOTS, Site, tiny_options};
use super::victim::{Heard, Victim};
use super::workload::{Dice, KEEPER, WRITERS};
use crate::probe::FAILPOINTS;
use crate::runtime::Runtime;
use crate::{Db, Error, Result};

/// How long a worker may take to open the store and acknowledge something, or to close it.
const PATIENCE_US: u64 = 60_000_000;

/// How long an armed failpoint is waited for.
const FAILPOINT_US: u64 = 250_000;

/// What to do.
#[derive(Clone, Debug)]
pub struct Config {
    /// The directory of the test.
    pub dir: PathBuf,
    /// What the workers do.
    pub kind: Kind,
    /// What the workload and the moments of the kills follow from.
    pub seed: u64,
    /// Cycles at most; none for no limit.
    pub cycles: Option<u64>,
    /// Milliseconds after which no new cycle begins.
    pub duration_ms: Option<u64>,
    /// Whether failpoints are armed, one after the other.
    pub failpoints: bool,
    /// Removes an empty directory, which the file system interface of the engine has no word for.
    pub remove_dir: fn(&Path) -> std::io::Result<()>,
    /// The program and its first words that run [`super::work`] on `dir`.
    pub worker: Vec<std::ffi::OsString>,
}

/// One cycle: a worker, its end, and what it left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cycle {
    /// Its number, from 1.
    pub cycle: u64,
    /// Whether its worker was killed, and did not come to its end.
    pub killed: bool,
    /// Operations that were acknowledged in it.
    pub acknowledged: u64,
    /// Operations that were there without an acknowledgement.
    pub in_flight: u64,
    /// Bytes of log that the opening afterwards replayed.
    pub replayed_bytes: u64,
    /// Microseconds that it took.
    pub reopen_us: u64,
    /// The failpoint at which the worker died.
    pub failpoint: Option<&'static str>,
}

/// What a run adds up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Cycles that were checked.
    pub cycles: u64,
    /// Workers killed.
    pub kills: u64,
    /// Kills that came before the store was open.
    pub kills_while_opening: u64,
    /// Kills after the last operation, while the store was closed or about to be.
    pub kills_while_closing: u64,
    /// Kills after which something was there that nobody had acknowledged.
    pub kills_in_flight: u64,
    /// Workers that were let to their end.
    pub closed: u64,
    /// Stores that were begun.
    pub stores: u64,
    /// Operations of writers that were acknowledged.
    pub operations: u64,
    /// Snapshots that workers looked at.
    pub snapshots: u64,
    /// Checkpoints that were finished before a kill, and held what they must.
    pub checkpoints: u64,
    /// Checkpoints that a kill had cut short, and that could be made again.
    pub checkpoints_again: u64,
    /// Openings that found a store nobody had closed.
    pub recoveries: u64,
    /// What happened in the stores, by the reasons of the edits.
    pub edits: BTreeMap<String, u64>,
    /// How often each failpoint killed; those that were armed and never did with 0.
    pub fired: BTreeMap<&'static str, u64>,
    /// The middle and the longest of the openings after a kill.
    pub reopen_p50_us: u64,
    /// The longest.
    pub reopen_max_us: u64,
}

/// Why a run ended before its last cycle.
#[derive(Debug)]
pub enum Stopped {
    /// A promise was broken: what, in which cycle.
    Violation(u64, Broken),
    /// The directory is wrong, or could not be worked in.
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
/// What ended it early. After a violation the directory's `store` is as the last kill left it, and
/// `artifact.json` beside it says what was acknowledged.
pub fn run(
    config: &Config,
    runtime: &dyn Runtime,
    stopping: &dyn Fn() -> bool,
    seen: &mut dyn FnMut(&Cycle),
) -> (Report, Result<(), Stopped>) {
    let books = Books::new(config.kind, config.seed, 0);
    let site = Site::new(&config.dir);
    let (report, times, armed) = (Report { stores: 1, ..Report::default() }, Vec::new(), 0);
    let mut run = Run { config, runtime, site, books, report, times, armed, kept: 0 };
    let mut ended = run.all(stopping, seen);
    if ended.is_ok() {
        ended = run.count_edits().map_err(Stopped::Engine);
    }
    run.times.sort_unstable();
    run.report.reopen_p50_us = run.times.get(run.times.len() / 2).copied().unwrap_or(0);
    run.report.reopen_max_us = run.times.last().copied().unwrap_or(0);
    (run.report, ended)
}

/// Looks again at what a violation left, as its artifact describes it.
///
/// # Errors
/// The violation, if it is still there; what is wrong with the artifact.
pub fn verify_kept(artifact: &Value, dir: &Path, runtime: &dyn Runtime) -> Result<(), Stopped> {
    let wrong = |what: &str| {
        let what = format!("not an artifact of beach-crash run or bank: {what}");
        Stopped::Engine(Error::InvalidArgument(what))
    };
    let number = |name: &str| artifact[name].as_u64().ok_or_else(|| wrong(name));
    let kinds = [Kind::Workload, Kind::Bank];
    let kind = kinds.into_iter().find(|kind| artifact["kind"] == kind.name());
    let done = artifact["before"]["done"].as_array().ok_or_else(|| wrong("before"))?;
    let done: Vec<u64> = done.iter().filter_map(Value::as_u64).collect();
    let seqno = artifact["before"]["seqno"].as_u64().ok_or_else(|| wrong("before"))?;
    let at = (number("seed")?, number("epoch")?);
    let books = Books::as_of(kind.ok_or_else(|| wrong("kind"))?, at, &done, seqno);
    let acked = artifact["acknowledged"].as_array().ok_or_else(|| wrong("acknowledged"))?;
    let acked: Vec<Acked> = acked.iter().filter_map(acked_from_json).collect();
    let mut look = Look { site: &Site::new(dir), runtime, books, report: &mut Report::default() };
    let cycle = number("cycle")?;
    look.all(cycle, &acked)?.map(drop).map_err(|broken| Stopped::Violation(cycle, broken))
}

fn acked_from_json(value: &Value) -> Option<Acked> {
    let number = |index: usize| value[index].as_u64();
    let (stream, n, seqno) = (number(0)?, number(1)?, number(2)?);
    Some(Acked { stream, n, seqno, checkpoint: number(3) })
}

struct Run<'c> {
    config: &'c Config,
    runtime: &'c dyn Runtime,
    site: Site,
    books: Books,
    report: Report,
    times: Vec<u64>,
    /// Failpoints armed so far.
    armed: u64,
    /// Operations of the keeper.
    kept: u64,
}

/// How a worker is brought to its end.
struct Plan {
    fresh: bool,
    failpoint: Option<(&'static str, u64)>,
    early: bool,
    orderly: bool,
    delay_us: u64,
    /// How long a worker that closes the store is given.
    grace_us: Option<u64>,
}

impl Run<'_> {
    fn all(
        &mut self,
        stopping: &dyn Fn() -> bool,
        seen: &mut dyn FnMut(&Cycle),
    ) -> Result<(), Stopped> {
        self.site.begin()?;
        let began = self.runtime.monotonic_us();
        let config = self.config;
        let enough = |report: &Report| config.cycles.is_some_and(|n| report.cycles >= n);
        let late = |now: u64| config.duration_ms.is_some_and(|ms| (now - began) / 1000 >= ms);
        while !enough(&self.report) && !late(self.runtime.monotonic_us()) {
            let number = self.report.cycles + 1;
            let plan = self.plan(number);
            if plan.fresh {
                self.count_edits()?;
                self.site.wipe_all()?;
                self.site.remove_store(self.config.remove_dir)?.map_err(Stopped::Process)?;
                self.books = self.books.next();
                self.report.stores += 1;
            }
            let kills = self.report.kills;
            let Some((heard, fired)) = self.kill_one(number, &plan, stopping)? else {
                return Ok(());
            };
            let mut cycle = self.look(number, &heard)?;
            cycle.killed = self.report.kills > kills;
            cycle.failpoint = fired;
            self.report.cycles = number;
            self.times.push(cycle.reopen_us);
            seen(&cycle);
        }
        Ok(())
    }

    fn plan(&mut self, number: u64) -> Plan {
        let mut dice = Dice::new(self.config.seed, u64::MAX - number);
        let armed = self.config.failpoints && dice.below(3) > 0;
        let failpoint = armed.then(|| self.arm(&mut dice));
        let begins = |start: &str| failpoint.is_some_and(|(name, _)| name.starts_with(start));
        let fresh = number > 1 && (dice.below(20) == 0 || begins("create"));
        let orderly = dice.below(8) == 0 || begins("close");
        // Some die while they open the store, which is when recovery works.
        let early = !orderly && failpoint.is_none() && dice.below(5) == 0;
        let early_us = dice.below(6_000);
        let delay_us = if early { dice.below(1 + early_us) } else { dice.below(50_000) };
        let grace_us = (failpoint.is_none() && dice.below(2) == 0).then(|| dice.below(4_000));
        Plan { fresh, failpoint, early, orderly, delay_us, grace_us }
    }

    /// The next failpoint: first each at its first visit, later those that have killed least at some
    /// other one.
    fn arm(&mut self, dice: &mut Dice) -> (&'static str, u64) {
        let count = FAILPOINTS.len() as u64;
        let name = FAILPOINTS[(self.armed % count) as usize];
        let round = self.armed / count;
        self.armed += 1;
        let fired = *self.report.fired.entry(name).or_default();
        let range = 1 << dice.below(7);
        let visit = if round == 0 || fired == 0 { 1 } else { 1 + dice.below(range) };
        (name, visit)
    }

    /// Runs a worker and brings it to its end; none when told to stop.
    fn kill_one(
        &mut self,
        number: u64,
        plan: &Plan,
        stopping: &dyn Fn() -> bool,
    ) -> Result<Option<(Heard, Option<&'static str>)>, Stopped> {
        let failpoint = plan.failpoint.map(|(name, visit)| format!("{name}:{visit}"));
        let mut done = self.books.known.done().to_vec();
        done.push(self.kept);
        let (ops, words) = (self.books.ops(), &self.config.worker);
        let victim = Victim::start(words, failpoint.as_deref(), self.runtime, ops, &done);
        let victim = victim.map_err(Stopped::Process)?;
        let over = |heard: &Heard| heard.ended || heard.broken.is_some();
        if !plan.early {
            victim.wait(PATIENCE_US, stopping, |heard| !heard.acked.is_empty() || over(heard));
        }
        let more_us = if failpoint.is_some() && !plan.orderly { FAILPOINT_US } else { 0 };
        victim.wait(plan.delay_us + more_us, stopping, over);
        if plan.orderly {
            victim.finish();
            victim.wait(plan.grace_us.unwrap_or(PATIENCE_US), stopping, over);
        }
        let ended = victim.has_ended();
        let (status, heard) = victim.kill().map_err(Stopped::Process)?;
        if stopping() {
            return Ok(None);
        }
        let fired = plan.failpoint.filter(|_| ended && status.signal() == Some(9)).map(|it| it.0);
        self.count_end(number, plan, (&heard, fired), status)?;
        Ok(Some((heard, fired)))
    }

    fn count_end(
        &mut self,
        number: u64,
        plan: &Plan,
        (heard, fired): (&Heard, Option<&'static str>),
        status: std::process::ExitStatus,
    ) -> Result<(), Stopped> {
        let closed = plan.orderly && status.success();
        let what = match &heard.broken {
            Some(what) => Some(what.clone()),
            None if closed || status.signal() == Some(9) => None,
            None => Some(format!("the worker ended by itself with {status}; it says why above")),
        };
        if let Some(found) = what {
            let broken = Broken::new("a worker that is told nothing but yes", found);
            return Err(self.violation(number, broken, heard));
        }
        if let Some(count) = fired.and_then(|name| self.report.fired.get_mut(name)) {
            *count += 1;
        }
        self.kept = heard.sent.get(&KEEPER).copied().unwrap_or(self.kept);
        let report = &mut self.report;
        report.kills += u64::from(!closed);
        report.closed += u64::from(closed);
        report.kills_while_opening += u64::from(!closed && heard.open.is_none());
        report.kills_while_closing += u64::from(!closed && plan.orderly);
        report.snapshots += heard.looked;
        Ok(())
    }

    /// Looks at what the worker left.
    fn look(&mut self, number: u64, heard: &Heard) -> Result<Cycle, Stopped> {
        let books = self.books.clone();
        let mut look =
            Look { site: &self.site, runtime: self.runtime, books, report: &mut self.report };
        let looked = look.all(number, &heard.acked)?;
        let after = look.books;
        let cycle = match looked {
            Ok(cycle) => cycle,
            Err(broken) => return Err(self.violation(number, broken, heard)),
        };
        self.books = after;
        self.report.operations += cycle.acknowledged;
        self.report.kills_in_flight += u64::from(cycle.in_flight > 0);
        Ok(cycle)
    }

    /// Writes the artifact.
    fn violation(&self, cycle: u64, broken: Broken, heard: &Heard) -> Stopped {
        let acked =
            heard.acked.iter().map(|ack| json!([ack.stream, ack.n, ack.seqno, ack.checkpoint]));
        let dir = std::path::absolute(&self.config.dir).unwrap_or_else(|_| self.config.dir.clone());
        let artifact = json!({
            "t": "artifact",
            "version": 1,
            "kind": self.config.kind.name(),
            "seed": self.config.seed,
            "epoch": self.books.epoch,
            "cycle": cycle,
            "dir": dir.to_string_lossy(),
            "before": {"done": self.books.known.done(), "seqno": self.books.seqno},
            "acknowledged": acked.collect::<Vec<Value>>(),
            "expected": broken.expected,
            "found": broken.found,
        });
        match self.site.write(&self.site.artifact(), format!("{artifact:#}\n").as_bytes()) {
            Ok(()) => Stopped::Violation(cycle, broken),
            Err(error) => {
                let found = format!("{}; the artifact could not be written: {error}", broken.found);
                Stopped::Violation(cycle, Broken { found, ..broken })
            }
        }
    }

    fn count_edits(&mut self) -> Result<()> {
        let edits = &mut self.report.edits;
        self.site.edits(&mut |reason| *edits.entry(reason).or_default() += 1)
    }
}

/// A look at what a kill left: at a copy, so that it stays as it is.
struct Look<'l> {
    site: &'l Site,
    runtime: &'l dyn Runtime,
    books: Books,
    report: &'l mut Report,
}

impl Look<'_> {
    fn all(&mut self, number: u64, acked: &[Acked]) -> Result<Result<Cycle, Broken>, Error> {
        self.site.copy_store()?;
        let began = self.runtime.monotonic_us();
        let db = match tiny_options().open(self.site.copy()) {
            Ok(db) => db,
            Err(error) => return Ok(Err(unreadable("the store to open", &error))),
        };
        let reopen_us = self.runtime.monotonic_us() - began;
        self.report.recoveries += u64::from(!db.recovery().clean);
        if let Err(broken) = self.checkpoints(&db, acked)? {
            return Ok(Err(broken));
        }
        let in_flight = match self.books.judge(&db, acked) {
            Ok(Ok(in_flight)) => in_flight,
            Ok(Err(broken)) => return Ok(Err(broken)),
            Err(error) => return Ok(Err(unreadable("the store to be readable", &error))),
        };
        let replayed_bytes = db.recovery().replayed_bytes;
        let acknowledged = acked.iter().filter(|ack| ack.stream < WRITERS).count() as u64;
        if let Err(broken) = self.go_on(number, db)? {
            return Ok(Err(broken));
        }
        self.site.wipe_checkpoints()?;
        // Who killed it, and where, is not to be seen in what is left.
        let (cycle, killed, failpoint) = (number, false, None);
        Ok(Ok(Cycle {
            cycle,
            killed,
            acknowledged,
            in_flight,
            replayed_bytes,
            reopen_us,
            failpoint,
        }))
    }

    /// What was recovered is closed, or let go, and must be there when it is opened again; then it must
    /// take a write and hold it.
    fn go_on(&self, number: u64, db: Db) -> Result<Result<(), Broken>, Error> {
        let again = || -> Result<Result<(), Broken>> {
            let last = db.stats().last_seqno.0;
            match number.is_multiple_of(2) {
                true => db.close()?,
                false => drop(db),
            }
            let db = tiny_options().open(self.site.copy())?;
            if let Err(broken) = self.books.judge_content(&db)? {
                let found = format!("the second time: {}", broken.found);
                return Ok(Err(Broken { found, ..broken }));
            }
            let written = db.put("~~", "again")?.0;
            db.close()?;
            let db = tiny_options().open(self.site.copy())?;
            let found = (db.stats().last_seqno.0, db.get("~~")?.is_some());
            if (written, found) != (last + 1, (last + 1, true)) {
                let expected = format!("a write at {} and nothing behind it", last + 1);
                return Ok(Err(Broken::new(expected, format!("{written}, {found:?}"))));
            }
            db.close()?;
            Ok(Ok(()))
        };
        match again() {
            Ok(Ok(())) => {}
            Ok(Err(broken)) => return Ok(Err(broken)),
            Err(error) => return Ok(Err(unreadable("writing and opening again", &error))),
        }
        let unsound = self.site.unsound(&self.site.copy())?;
        Ok(unsound.map_or(Ok(()), |what| Err(Broken::new("a store without findings", what))))
    }

    fn checkpoints(&mut self, db: &Db, acked: &[Acked]) -> Result<Result<(), Broken>, Error> {
        for slot in 0..SLOTS {
            let dir = self.site.checkpoint(slot);
            let is_made = acked.iter().any(|ack| ack.checkpoint == Some(slot));
            if !is_made && self.site.is_empty(&dir)? {
                continue;
            }
            if !is_made && !self.site.has_current(&dir)? {
                if let Err(error) = db.checkpoint(&dir) {
                    return Ok(Err(unreadable(
                        "an unfinished checkpoint to be made again",
                        &error,
                    )));
                }
                self.report.checkpoints_again += 1;
                continue;
            }
            let judged = tiny_options()
                .open_read_only(&dir)
                .and_then(|made| self.books.judge_checkpoint(&made, slot, acked));
            match judged {
                Ok(Ok(())) => self.report.checkpoints += u64::from(is_made),
                Ok(Err(broken)) => return Ok(Err(broken)),
                Err(error) => return Ok(Err(unreadable("a checkpoint to open", &error))),
            }
        }
        Ok(Ok(()))
    }
}

fn unreadable(expected: &str, error: &Error) -> Broken {
    Broken::new(expected, error.to_string())
}
