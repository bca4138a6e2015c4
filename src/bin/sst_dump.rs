//! `beach-sstDump`: a sorted table, block by block.

use std::process::ExitCode;

fn main() -> ExitCode {
    beachdb::cli::dump::table(std::env::args_os())
}
