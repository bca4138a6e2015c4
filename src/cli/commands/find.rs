//! `find`.

use crate::cli::args::{Args, FindArgs};
use crate::cli::{Failure, Out, Outcome};

pub(super) fn find(_args: &Args, _wanted: &FindArgs, _out: &mut Out) -> Outcome {
    Err(Failure::Usage("not there yet".to_owned()))
}
