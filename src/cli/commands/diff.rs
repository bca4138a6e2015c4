//! `diff`.

use crate::cli::args::{Args, DiffArgs};
use crate::cli::{Failure, Out, Outcome};

pub(super) fn diff(_args: &Args, _wanted: &DiffArgs, _out: &mut Out) -> Outcome {
    Err(Failure::Usage("not there yet".to_owned()))
}
