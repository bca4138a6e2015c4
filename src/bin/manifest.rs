//! `beach-manifest`: a store's history, edit by edit.

use std::process::ExitCode;

fn main() -> ExitCode {
    beachdb::cli::dump::manifest(std::env::args_os())
}
