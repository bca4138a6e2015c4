//! The verbs of `beach`, a file a group.

mod admin;
mod bench;
mod bulk;
mod check;
mod diff;
mod du;
mod explain;
mod find;
mod inspection;
mod kv;
mod meta;
mod range;
mod repair;
mod session;
mod tour;

use crate::cli::args::{Args, Verb};
use crate::cli::{Out, Outcome};

/// Runs one verb.
///
/// # Errors
/// Whatever stopped it; the caller tells it and exits with its status.
pub fn run(args: &Args, out: &mut Out) -> Outcome {
    if let Some(hint) = &args.hint {
        out.hint(hint);
    }
    match &args.verb {
        Verb::Put(wanted) => kv::put(args, wanted, out),
        Verb::Get(wanted) => kv::get(args, wanted, out),
        Verb::Del(wanted) => kv::del(args, wanted, out),
        Verb::Scan(wanted) => kv::scan(args, wanted, out),
        Verb::Apply(wanted) => bulk::apply(args, wanted, out),
        Verb::Load(wanted) => bulk::load(args, wanted, out),
        Verb::Dump(wanted) => bulk::dump(args, wanted, out),
        Verb::Flush => admin::flush(args, out),
        Verb::Checkpoint(wanted) => admin::checkpoint(args, wanted, out),
        Verb::Compact(wanted) => admin::compact(args, wanted, out),
        Verb::Lsm(wanted) => admin::lsm(args, wanted, out),
        Verb::Stats => admin::stats(args, out),
        Verb::Check(wanted) => check::check(args, wanted, out),
        Verb::Find(wanted) => find::find(args, wanted, out),
        Verb::Explain(wanted) => explain::explain(args, wanted, out),
        Verb::Du(wanted) => du::du(args, wanted, out),
        Verb::Diff(wanted) => diff::diff(args, wanted, out),
        Verb::Repair(wanted) => repair::repair(args, wanted, out),
        Verb::Bench(wanted) => bench::bench(args, wanted, out),
        Verb::Tour(wanted) => tour::tour(args, wanted, out),
        Verb::Completions(wanted) => meta::completions(wanted, out),
        Verb::Man(wanted) => meta::man(wanted, out),
    }
}
