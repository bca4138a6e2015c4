//! `beach-walDump`: a write-ahead log, record by record.

use std::process::ExitCode;

fn main() -> ExitCode {
    beachdb::cli::dump::wal(std::env::args_os())
}
