//! `beach`: the command line of a store.

use std::process::ExitCode;

fn main() -> ExitCode {
    beachdb::cli::run(std::env::args_os())
}
