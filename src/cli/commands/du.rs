//! `du`.

use crate::cli::args::{Args, DuArgs};
use crate::cli::{Failure, Out, Outcome};

pub(super) fn du(_args: &Args, _wanted: &DuArgs, _out: &mut Out) -> Outcome {
    Err(Failure::Usage("not there yet".to_owned()))
}
