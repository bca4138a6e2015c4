//! What the verbs that look into a store's files share.

use std::path::Path;

use crate::cli::args::Args;
use crate::cli::progress::{Progress, Unit};
use crate::cli::{Out, Outcome, Status, finding, retry};
use crate::inspect::view::View;
use crate::inspect::{Finding, versions};
use crate::vfs::os::OsVfs;

/// A view of a store, taken again if files moved.
pub(super) fn view(dir: &Path) -> Outcome<View> {
    Ok(retry::while_moved(|| View::take(&OsVfs, dir))?)
}

/// A bar for what goes through many tables; none where the output itself fills the screen.
#[derive(Debug)]
pub(super) struct Meter {
    label: &'static str,
    is_quiet: bool,
    bar: Option<Progress>,
}

impl Meter {
    pub(super) fn new(label: &'static str, streams: bool, out: &Out) -> Meter {
        let is_quiet = out.is_quiet() || (streams && out.is_terminal());
        Meter { label, is_quiet, bar: None }
    }

    pub(super) fn set(&mut self, progress: versions::Progress) {
        let begin =
            || Progress::begin(self.label, Unit::Bytes, Some(progress.total), self.is_quiet);
        self.bar.get_or_insert_with(begin).set(progress.done);
    }
}

/// What was found on the way, and what it means for the exit status.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) status: Status,
}

impl Found {
    /// Prints a finding: as a line of NDJSON, or on standard error, for it is not what was asked for.
    pub(super) fn tell(&mut self, args: &Args, found: &Finding, out: &mut Out) -> Outcome<()> {
        self.status = self.status.combine(finding::status(found));
        if out.is_json() {
            return out.object(&finding::object(found));
        }
        let line = finding::line(found, |bytes| args.common.encode(bytes));
        if found.is_damage() {
            out.finish()?;
            out.error(line);
        } else {
            out.hint(line);
        }
        Ok(())
    }
}
