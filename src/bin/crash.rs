//! `beach-crash`: kills a writing process and checks what is left.

use std::process::ExitCode;

fn main() -> ExitCode {
    beachdb::cli::crash::run(std::env::args_os())
}
