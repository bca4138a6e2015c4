//! Who watches a workload: the bar on the screen, the trace in a file, the signal that ends it.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::bench::{Second, Tick, Watch};
use crate::cli::progress::{Progress, Unit};
use crate::cli::signals::Orderly;
use crate::cli::{Failure, Outcome};

const HEADER: &str = "workload,second,ops,ops_per_second,memtable_bytes,immutable_memtables,\
                      l0_tables,table_bytes,debt_bytes,stall_us,rss_bytes\n";

/// A file with a line for each second of each workload.
pub(super) struct Trace {
    file: File,
    path: PathBuf,
}

impl Trace {
    #[allow(clippy::disallowed_methods, reason = "a person's file is no part of a store")]
    pub(super) fn create(path: &Path) -> Outcome<Trace> {
        let failed = |error| Failure::Stream(format!("could not make {}", path.display()), error);
        let mut trace = Trace { file: File::create(path).map_err(failed)?, path: path.to_owned() };
        trace.write(HEADER)?;
        Ok(trace)
    }

    /// Written at once: a run may be long, and may be killed.
    fn write(&mut self, text: &str) -> Outcome<()> {
        let path = &self.path;
        let failed = |error| Failure::Stream(format!("could not write {}", path.display()), error);
        self.file.write_all(text.as_bytes()).map_err(failed)
    }
}

/// Watches one workload.
pub(super) struct Watcher<'a> {
    name: &'static str,
    progress: Option<Progress>,
    is_quiet: bool,
    orderly: &'a Orderly,
    trace: Option<&'a mut Trace>,
    failed: Option<Failure>,
}

impl<'a> Watcher<'a> {
    pub(super) fn new(
        name: &'static str,
        orderly: &'a Orderly,
        trace: Option<&'a mut Trace>,
        is_quiet: bool,
    ) -> Watcher<'a> {
        Watcher { name, progress: None, is_quiet, orderly, trace, failed: None }
    }

    /// The end, with the failure that was met on the way.
    pub(super) fn finish(self) -> Outcome<()> {
        self.failed.map_or(Ok(()), Err)
    }
}

impl Watch for Watcher<'_> {
    fn tick(&mut self, tick: &Tick) -> bool {
        let progress = self.progress.get_or_insert_with(|| {
            Progress::begin(self.name, Unit::Things, tick.total, self.is_quiet)
        });
        progress.set(tick.done);
        self.failed.is_none() && self.orderly.check().is_ok()
    }

    fn second(&mut self, second: &Second) {
        if let Some(trace) = &mut self.trace
            && let Err(failure) = trace.write(&row(self.name, second))
        {
            self.failed = Some(failure);
        }
    }
}

/// A line of the trace; a figure that nobody knows is empty.
fn row(name: &str, second: &Second) -> String {
    let known = |number: Option<u64>| number.map_or(String::new(), |number| number.to_string());
    format!(
        "{name},{:.3},{},{:.0},{},{},{},{},{},{},{}\n",
        second.at,
        second.ops,
        second.rate(),
        second.memtable_bytes,
        second.immutable_memtables,
        second.l0_tables,
        second.table_bytes,
        second.debt_bytes,
        second.stall_us,
        known(second.rss_bytes),
    )
}
