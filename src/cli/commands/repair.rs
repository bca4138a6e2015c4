//! `repair`.

use crate::cli::args::{Args, RepairArgs};
use crate::cli::{Failure, Out, Outcome};

pub(super) fn repair(_args: &Args, _wanted: &RepairArgs, _out: &mut Out) -> Outcome {
    Err(Failure::Usage("not there yet".to_owned()))
}
