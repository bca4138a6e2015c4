//! The process that writes until it is killed, and what must be left of its work.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::Db;
use crate::cli::signals::Orderly;
use crate::cli::{Failure, Outcome};

/// A process of this very program that runs `apply --ack`; killed when dropped.
pub(super) struct Writer {
    child: Child,
}

impl Writer {
    pub(super) fn spawn(dir: &Path) -> Outcome<Writer> {
        let failed = |error| Failure::Stream("could not start a second process".to_owned(), error);
        let program = std::env::current_exe().map_err(failed)?;
        let mut command = Command::new(program);
        command.arg("--db").arg(dir).args(["--quiet", "apply", "--ack", "-"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        Ok(Writer { child: command.spawn().map_err(failed)? })
    }

    /// Feeds it one operation after the other until it has acknowledged `count`.
    pub(super) fn write_until(&mut self, count: u64, orderly: &Orderly) -> Outcome<u64> {
        let failed = |error| Failure::Stream("the second process ended early".to_owned(), error);
        let gone = || failed(std::io::ErrorKind::UnexpectedEof.into());
        let mut input = self.child.stdin.take().ok_or_else(gone)?;
        let mut output = BufReader::new(self.child.stdout.take().ok_or_else(gone)?);
        let mut line = String::new();
        for number in 0..count {
            orderly.check()?;
            let key = crash_key(number);
            let operation =
                format!("{{\"op\":\"put\",\"key\":\"{key}\",\"value\":\"{number}\"}}\n");
            input.write_all(operation.as_bytes()).map_err(failed)?;
            line.clear();
            if output.read_line(&mut line).map_err(failed)? == 0 {
                return Err(gone());
            }
        }
        // One that is under way when the end comes.
        let last = b"{\"op\":\"put\",\"key\":\"crash:last\",\"value\":\"maybe\"}\n";
        input.write_all(last).map_err(failed)?;
        // Killed before its input ends: at the end of it, it would close the store in order.
        self.kill();
        Ok(count)
    }

    fn kill(&mut self) {
        // It may have ended by itself; either way it is gone after the wait.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether the other process's first `count` writes are there, in order and without a gap.
///
/// One more may be, whose acknowledgement nobody heard; that differs from run to run, and is fine.
pub(super) fn has_first(db: &Db, count: u64) -> Outcome<bool> {
    for (number, pair) in (0..count).zip(db.prefix("crash:")) {
        let (key, value) = pair?;
        if key != crash_key(number).as_bytes() || *value != *number.to_string().as_bytes() {
            return Ok(false);
        }
    }
    Ok(db.prefix("crash:").count() as u64 >= count)
}

/// The key of the other process's write with this number.
pub(super) fn crash_key(number: u64) -> String {
    format!("crash:{number:04}")
}
