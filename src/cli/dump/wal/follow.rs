//! `beach-walDump --follow`: a log as it grows, and then the one that succeeds it.
//!
//! What was read is written out before the next look, so that a signal, which ends the process at
//! once, cuts nothing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::filter::Filter;
use super::{WalArgs, add, print, usage};
use crate::cli::dump::Dump;
use crate::cli::{Failure, Out, Outcome};
use crate::error::Error;
use crate::inspect::follow::{Follower, has_frame, next_log};
use crate::inspect::frames::Expect;
use crate::inspect::store;
use crate::inspect::wal::LogTotals;
use crate::vfs::{Access, Vfs};

/// Between two looks at the log.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) fn follow(args: &WalArgs, filter: &mut Filter, out: &mut Out) -> Outcome {
    let [path] = args.paths.as_slice() else {
        return Err(usage("--follow takes one log, or one store's directory"));
    };
    let mut following = Following {
        dump: Dump::new(out, &args.common),
        filter,
        with_ops: args.ops,
        all: LogTotals::default(),
    };
    if store::is_dir(&following.dump.vfs, path) {
        following.store(path)?;
    } else {
        following.log(path, Expect::default(), None)?;
    }
    let (shown, all) = (following.filter.shown(), following.all);
    following.dump.end(|summary| print::summary(summary, &all, shown))
}

struct Following<'a, 'o> {
    dump: Dump<'o>,
    filter: &'a mut Filter,
    with_ops: bool,
    all: LogTotals,
}

impl Following<'_, '_> {
    /// The live logs of a store, and those that follow; ends only with an error or a signal.
    fn store(&mut self, dir: &Path) -> Outcome<()> {
        let live = store::live(&self.dump.vfs, dir)?;
        for found in live.findings.iter().filter(|found| found.is_damage()) {
            self.dump.out.error(format!("{found}; taking the files by their names"));
        }
        let Some((mut path, mut expect)) = live.logs.into_iter().next() else {
            let detail = "it has no log".to_owned();
            return Err(Error::NoStore { path: dir.to_owned(), detail }.into());
        };
        loop {
            let last = self.log(&path, expect, Some(dir))?;
            let Some(next) = self.successor(dir, &path)? else {
                return Err(Error::Moved { path }.into());
            };
            path = next;
            let first_seqno = last.last_seqno.map(|last| last.plus(1));
            expect = Expect { first_seqno, ..Expect::default() };
        }
    }

    /// One log to its end, which for a single file is when another has succeeded it.
    fn log(&mut self, path: &Path, expect: Expect, dir: Option<&Path>) -> Outcome<LogTotals> {
        let file = self.dump.vfs.open(path, Access::Read)?;
        let mut follower = Follower::begin(&*file, &expect);
        loop {
            let (dump, filter, with_ops) = (&mut self.dump, &mut *self.filter, self.with_ops);
            let news =
                follower.look::<Failure>(&mut |item| print::item(dump, &item, with_ops, filter))?;
            self.dump.out.finish()?;
            if news {
                continue;
            }
            if self.is_over(&follower, path, dir)? {
                break;
            }
            pause();
        }
        let (dump, filter, with_ops) = (&mut self.dump, &mut *self.filter, self.with_ops);
        follower.finish::<Failure>(&mut |item| print::item(dump, &item, with_ops, filter))?;
        let totals = follower.totals();
        print::end_of_file(&mut self.dump, path, &totals)?;
        self.dump.out.finish()?;
        self.dump.read(totals.damaged == 0);
        add(&mut self.all, &totals);
        Ok(totals)
    }

    /// Whether nobody will write this log any more: it says so itself, or its successor has frames.
    fn is_over(&self, log: &Follower<'_>, path: &Path, dir: Option<&Path>) -> Outcome<bool> {
        let Some(dir) = dir else { return Ok(log.is_ended()) };
        let Some(next) = self.successor(dir, path)? else { return Ok(false) };
        if log.is_ended() {
            return Ok(true);
        }
        match self.dump.vfs.open(&next, Access::Read) {
            Ok(file) => Ok(has_frame(&*file)?),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn successor(&self, dir: &Path, path: &Path) -> Outcome<Option<PathBuf>> {
        Ok(next_log(&self.dump.vfs, dir, path)?)
    }
}

/// Waiting belongs to the command, so it may use the clock itself.
#[allow(clippy::disallowed_methods)]
fn pause() {
    std::thread::sleep(PAUSE);
}
