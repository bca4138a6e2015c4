//! `bench`: workloads on a store, told as tables or as objects.

mod compare;
mod place;
mod print;
mod watcher;

use std::path::Path;
use std::sync::Arc;

use super::admin::Amplification;
use crate::bench::{Bench, Report, Settings, Verdict, Workload};
use crate::cli::args::{Args, BenchArgs};
use crate::cli::output::Object;
use crate::cli::signals::Orderly;
use crate::cli::{Failure, Out, Outcome, Status, retry};
use crate::runtime::Runtime;
use crate::runtime::threads::ThreadRuntime;
use compare::Earlier;
use place::Place;
use watcher::{Trace, Watcher};

/// A workload's report, and how the tree stood after it.
struct Row {
    /// `load` for what was loaded unasked, else the workload's.
    name: &'static str,
    report: Report,
    tree: Amplification,
}

/// Runs the workloads.
pub(super) fn bench(args: &Args, wanted: &BenchArgs, out: &mut Out) -> Outcome {
    let settings = wanted.settings();
    settings.check()?;
    let earlier = wanted.compare.as_deref().map(Earlier::read).transpose()?;
    let trace = wanted.trace.as_deref().map(Trace::create).transpose()?;
    let place = Place::choose(args, wanted)?;
    if place.is_temporary() {
        out.hint(format!(
            "working in {}, removed afterwards; --db DIR chooses the disk",
            place.store().display()
        ));
    }
    let setup = print::setup(wanted, place.store());
    if let Some(earlier) = &earlier {
        earlier.warn_of_other_setup(&setup, out);
    }
    if out.is_json() {
        out.object(&setup)?;
    }
    let mut session = Session {
        bench: open(args, wanted, settings, place.store())?,
        orderly: Orderly::begin(),
        trace,
        rows: Vec::new(),
    };
    for workload in &wanted.workloads {
        session.run(*workload, out)?;
    }
    let verdict = if wanted.no_verify { None } else { Some(session.bench.verify()?) };
    session.bench.close()?;
    if let Some(Verdict::Wrong(what)) = verdict {
        return Err(Failure::Damaged(format!("the store is not what was written: {what}")));
    }
    if !out.is_json() {
        print::tables(&session.rows, out)?;
    }
    if let Some(earlier) = &earlier {
        earlier.print(&session.rows, out)?;
    }
    print::summary(&session.rows, verdict.as_ref(), out)?;
    Ok(Status::Done)
}

/// The run; its store is opened by its first workload.
fn open(args: &Args, wanted: &BenchArgs, settings: Settings, dir: &Path) -> Outcome<Bench> {
    let runtime: Arc<dyn Runtime> = Arc::new(ThreadRuntime::default());
    let options = wanted.options().runtime(Arc::clone(&runtime));
    let (dir, wait) = (dir.to_owned(), args.store.wait);
    let opener = move |fresh: bool| {
        if fresh {
            place::empty(&dir)?;
        }
        retry::while_locked(wait, || options.clone().open(&dir))
    };
    Ok(Bench::new(settings, runtime, Box::new(opener))?)
}

struct Session {
    bench: Bench,
    orderly: Orderly,
    trace: Option<Trace>,
    rows: Vec<Row>,
}

impl Session {
    /// Runs a workload, and before it the load that it needs.
    fn run(&mut self, workload: Workload, out: &mut Out) -> Outcome<()> {
        if let Some(load) = self.bench.prepare(workload)? {
            self.run_one("load", load, Some(workload), out)?;
            for settle in [Workload::Flush, Workload::WaitCompact] {
                self.run_one(settle.name(), settle, None, out)?;
            }
        }
        self.run_one(workload.name(), workload, None, out)
    }

    fn run_one(
        &mut self,
        name: &'static str,
        workload: Workload,
        like: Option<Workload>,
        out: &mut Out,
    ) -> Outcome<()> {
        self.orderly.check()?;
        let mut watcher = Watcher::new(name, &self.orderly, self.trace.as_mut(), out.is_quiet());
        let report = self.bench.run(workload, like, &mut watcher)?;
        watcher.finish()?;
        self.orderly.check()?;
        let db = self.bench.open()?;
        let stats = db.stats();
        let row = Row { name, report, tree: Amplification::of(&stats) };
        if workload == Workload::Stats {
            print::levels(&stats, out)?;
        }
        if out.is_json() {
            out.object(&print::object(&row))?;
            out.finish()?;
        } else {
            out.hint(print::line(&row));
        }
        self.rows.push(row);
        Ok(())
    }
}

/// Adds a ratio or another measurement: no more digits than it deserves, or null.
fn measured(object: Object, name: &str, number: impl Into<Option<f64>>) -> Object {
    let rounded = number.into().filter(|number| number.is_finite()).map(|number| {
        let scale = if number.abs() < 10.0 { 1e4 } else { 1e2 };
        (number * scale).round() / scale
    });
    object.value(name, rounded)
}
