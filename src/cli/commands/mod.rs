//! The verbs of `beach`, a file a group.

mod meta;

use crate::cli::args::{Args, Verb};
use crate::cli::{Failure, Out, Outcome};

/// Runs one verb.
///
/// # Errors
/// Whatever stopped it; the caller tells it and exits with its status.
pub fn run(args: &Args, out: &mut Out) -> Outcome {
    match &args.verb {
        Verb::Completions(wanted) => meta::completions(wanted, out),
        Verb::Man(wanted) => meta::man(wanted, out),
        _ => Err(Failure::Usage("not in this build yet".to_owned())),
    }
}
