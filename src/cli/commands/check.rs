//! `check`.

use crate::cli::args::{Args, CheckArgs};
use crate::cli::{Failure, Out, Outcome};

pub(super) fn check(_args: &Args, _wanted: &CheckArgs, _out: &mut Out) -> Outcome {
    Err(Failure::Usage("not there yet".to_owned()))
}
