//! The queue of waiting writers (`engine/write`): one leads and commits whoever waited, then hands the
//! lead on.
//!
//! The model has the engine's two kinds of lock and its steps in the engine's order. It has no lock
//! around the log: that two never lead at once is what the queue is for. Left out are the flag
//! `called`, which only says when to look at the ticket, and the limit on a group's bytes. A panic is a
//! call of what the dropped lead does. `loom` fails a model in which somebody waits for ever.

use std::collections::VecDeque;
use std::process::Command;

use loom::model::Builder;
use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

/// How many writers there are; with three, one can lead while another waits behind a third.
const WRITERS: u64 = 3;

/// How often a running writer is interrupted at most. What is wrong below shows with one or two.
const PREEMPTIONS_MAX: usize = 4;

/// The number of the batch, or nothing if it was not committed.
type Outcome = Option<u64>;

/// How the commits end that the last writer leads.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Commits,
    IsRefused,
    Panics,
}

/// What the model does otherwise than the engine.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Flaw {
    None,
    /// Whether somebody leads is asked in one step, and lining up is another.
    LinesUpLater,
    /// Who waits is woken first and told afterwards.
    WakesThenTells,
    /// The lead is handed on before the group is committed.
    LeavesEarly,
    /// A panic answers the followers and keeps the lead.
    KeepsTheLead,
    /// The followers of a refused leader hear that they are written.
    HidesFailure,
}

enum Turn {
    Waiting,
    Leading,
    Done(Outcome),
}

struct Ticket {
    turn: Mutex<Turn>,
    changed: Condvar,
}

impl Ticket {
    fn tell(&self, turn: Turn, flaw: Flaw) {
        if flaw == Flaw::WakesThenTells {
            self.changed.notify_one();
        }
        *self.turn.lock().expect("a ticket") = turn;
        if flaw != Flaw::WakesThenTells {
            self.changed.notify_one();
        }
    }

    /// `None` when the writer is to lead.
    fn wait(&self) -> Option<Outcome> {
        let mut turn = self.turn.lock().expect("a ticket");
        loop {
            match *turn {
                Turn::Waiting => turn = self.changed.wait(turn).expect("a ticket"),
                Turn::Leading => return None,
                Turn::Done(outcome) => return Some(outcome),
            }
        }
    }
}

#[derive(Default)]
struct Line {
    led: bool,
    waiting: VecDeque<Arc<Ticket>>,
    /// How many have entered, to compare the order of numbers with the order of arrival.
    entered: u64,
}

struct Store {
    flaw: Flaw,
    line: Mutex<Line>,
    poisoned: AtomicBool,
    /// Batches in the log; only the lead keeps two from counting at once.
    log: AtomicU64,
    visible: AtomicU64,
}

impl Store {
    fn new(flaw: Flaw) -> Store {
        let (log, visible) = (AtomicU64::new(0), AtomicU64::new(0));
        let line = Mutex::new(Line::default());
        Store { flaw, line, poisoned: AtomicBool::new(false), log, visible }
    }

    /// The place in the order of arrival, and what became of the batch.
    fn write(&self, end: End) -> (u64, Outcome) {
        let (place, ticket) = self.enter();
        let followers = match ticket {
            None => Vec::new(),
            Some(ticket) => match ticket.wait() {
                None => self.gather(),
                Some(outcome) => return (place, outcome),
            },
        };
        (place, self.commit(&followers, end))
    }

    fn enter(&self) -> (u64, Option<Arc<Ticket>>) {
        let mut line = self.line.lock().expect("the line");
        line.entered += 1;
        let place = line.entered;
        if !line.led {
            line.led = true;
            return (place, None);
        }
        if self.flaw == Flaw::LinesUpLater {
            drop(line);
            line = self.line.lock().expect("the line");
        }
        let ticket = Arc::new(Ticket { turn: Mutex::new(Turn::Waiting), changed: Condvar::new() });
        line.waiting.push_back(Arc::clone(&ticket));
        (place, Some(ticket))
    }

    fn gather(&self) -> Vec<Arc<Ticket>> {
        self.line.lock().expect("the line").waiting.drain(..).collect()
    }

    fn leave(&self) {
        let mut line = self.line.lock().expect("the line");
        match line.waiting.pop_front() {
            Some(ticket) => ticket.tell(Turn::Leading, self.flaw),
            None => line.led = false,
        }
    }

    fn commit(&self, followers: &[Arc<Ticket>], end: End) -> Outcome {
        if end == End::Panics {
            self.abandon(followers);
            return None;
        }
        if self.flaw == Flaw::LeavesEarly {
            self.leave();
        }
        let first = self.commit_group(1 + followers.len() as u64, end);
        if self.flaw != Flaw::LeavesEarly {
            self.leave();
        }
        let told = first.or((self.flaw == Flaw::HidesFailure).then_some(0));
        for (follower, behind) in followers.iter().zip(1..) {
            follower.tell(Turn::Done(told.map(|first| first + behind)), self.flaw);
        }
        first
    }

    /// The number of the group's first batch.
    fn commit_group(&self, count: u64, end: End) -> Outcome {
        if self.poisoned.load(Ordering::Acquire) || end == End::IsRefused {
            return None;
        }
        let last = self.log.load(Ordering::Relaxed) + count;
        self.log.store(last, Ordering::Relaxed);
        self.visible.store(last, Ordering::Release);
        Some(last + 1 - count)
    }

    /// What the lead does when it is dropped unfinished.
    fn abandon(&self, followers: &[Arc<Ticket>]) {
        self.poisoned.store(true, Ordering::Release);
        for follower in followers {
            follower.tell(Turn::Done(None), self.flaw);
        }
        if self.flaw != Flaw::KeepsTheLead {
            self.leave();
        }
    }

    /// One write, behind which the batch is visible if it was committed.
    fn checked_write(&self, end: End) -> (u64, Outcome) {
        let (place, outcome) = self.write(end);
        let visible = self.visible.load(Ordering::Acquire);
        assert!(outcome.is_none_or(|number| number <= visible), "written and not visible");
        (place, outcome)
    }
}

/// Every writer writes once; in every order all must return, with what happened.
fn run_model(end: End, flaw: Flaw) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS_MAX);
    builder.check(move || {
        let store = Arc::new(Store::new(flaw));
        let write = |end| {
            let store = Arc::clone(&store);
            thread::spawn(move || store.checked_write(end))
        };
        let others: Vec<_> = (1..WRITERS).map(|_| write(End::Commits)).collect();
        let mut written = vec![store.checked_write(end)];
        written.extend(others.into_iter().map(|writer| writer.join().expect("a writer")));
        written.sort_unstable();
        // In the order of arrival the numbers of those who were committed count up, with no gap.
        let numbers: Vec<u64> = written.iter().filter_map(|(_, outcome)| *outcome).collect();
        let due: Vec<u64> = (1..=store.log.load(Ordering::Relaxed)).collect();
        assert_eq!(numbers, due, "the answers are not what the log has");
        assert!(end != End::Commits || due.len() as u64 == WRITERS, "a batch was lost");
    })
}

/// What is wrong, how the commits end that show it, and what the model then fails with.
const FLAWS: [(Flaw, End, &str); 5] = [
    (Flaw::LinesUpLater, End::Commits, "deadlock"),
    (Flaw::WakesThenTells, End::Commits, "deadlock"),
    (Flaw::LeavesEarly, End::Commits, "the answers are not what the log has"),
    (Flaw::KeepsTheLead, End::Panics, "deadlock"),
    (Flaw::HidesFailure, End::IsRefused, "the answers are not what the log has"),
];

/// Which flaw a process is to run, by its place in the list.
const FLAW_VARIABLE: &str = "BEACH_QUEUE_FLAW";

/// Whoever writes at the same time gets an answer, the batches are in the log once each in the order of
/// arrival, and an answer comes when they are visible: in every order the numbers are those of the log.
#[test]
fn every_writer_is_led_once() {
    run_model(End::Commits, Flaw::None);
}

/// A leader that is refused fails whom it leads and nobody else: the log has those who were told so.
#[test]
fn a_refused_leader_fails_its_group_alone() {
    run_model(End::IsRefused, Flaw::None);
}

/// A leader that panics leaves nobody waiting: all return, and the log has those who were told so.
#[test]
fn a_panic_gives_the_lead_on() {
    run_model(End::Panics, Flaw::None);
}

/// One flawed model, for the test below.
#[test]
#[ignore = "fails on purpose, in a process of its own"]
fn a_flawed_queue() {
    let Ok(place) = std::env::var(FLAW_VARIABLE) else { return };
    let (flaw, end, _) = FLAWS[place.parse::<usize>().expect("a place in the list")];
    run_model(end, flaw);
}

/// With one step changed somebody waits for ever, two lead at once or an answer is false, and the model
/// fails with just that. In processes of their own, because `loom` cannot unwind from a deadlock.
#[test]
fn a_flaw_in_the_queue_is_found() {
    for (place, (flaw, _, message)) in FLAWS.iter().enumerate() {
        let mut child = Command::new(std::env::current_exe().expect("this program"));
        child.args(["--ignored", "--exact", "--nocapture", "orderings::queue::a_flawed_queue"]);
        let child = child.env(FLAW_VARIABLE, place.to_string()).env("RUST_BACKTRACE", "0");
        let output = child.output().expect("the flawed model");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(message), "{flaw:?}: {said}");
    }
}
