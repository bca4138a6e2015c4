//! `flush`, `compact`, `checkpoint`, `lsm`, `stats`: the tree, and what changes its shape.

mod amplification;
mod compact;
mod levels;
mod lsm;
mod stats;

use super::session;
use crate::cli::args::{Args, CheckpointArgs};
use crate::cli::output::{Object, size};
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

/// Makes a store of its own of this moment. From a handle that reads: it works beside a writer.
pub(super) fn checkpoint(args: &Args, wanted: &CheckpointArgs, out: &mut Out) -> Outcome {
    let made = session::read(args, out, |db| db.checkpoint(&wanted.out))?;
    out.hint(format_args!(
        "{} holds {} of {}, {} of them shared with {}",
        wanted.out.display(),
        plural(made.tables, "table"),
        size(made.table_bytes),
        made.linked,
        args.store.dir()?.display(),
    ));
    out.summary(
        Object::summary()
            .text("store", &made.store.to_string())
            .number("seq", made.last_seqno.0)
            .number("tables", made.tables)
            .number("linked", made.linked)
            .number("bytes", made.table_bytes),
    )?;
    Ok(Status::Done)
}

/// `1 table`, `2 tables`.
fn plural(count: u64, word: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {word}{s}")
}
