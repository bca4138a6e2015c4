//! `flush`, `compact`, `lsm`, `stats`: the tree, and what changes its shape.

mod amplification;
mod compact;
mod levels;
mod lsm;
mod stats;

use super::session;
use crate::cli::args::Args;
use crate::cli::output::Object;
use crate::cli::{Out, Outcome, Status};

pub(super) use amplification::Amplification;
pub(super) use compact::compact;
pub(super) use lsm::{lsm, print_levels, print_lsm};
pub(super) use stats::stats;

/// Writes what is in memory and in the log into a table.
pub(super) fn flush(args: &Args, out: &mut Out) -> Outcome {
    let db = session::open_writer(args, false, out)?;
    db.flush()?;
    let tables = db.tables().len() as u64;
    session::close(db, false)?;
    out.summary(Object::summary().number("tables", tables))?;
    Ok(Status::Done)
}

/// `1 table`, `2 tables`.
fn plural(count: u64, word: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {word}{s}")
}
