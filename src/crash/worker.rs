//! The process that is killed: writes batches and says which were acknowledged.

use std::io::{self, Write};
use std::path::Path;

use super::workload::{COUNTER, counter, planned};
use crate::{Db, Error, Options, Result};

/// A line of the worker's output: the store is open (`batch` is what it holds), or a batch was
/// acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The number of the batch.
    pub batch: u64,
    /// The sequence number of its last operation.
    pub seqno: u64,
}

impl Ack {
    /// The line, as an object of NDJSON.
    #[must_use]
    pub fn line(self) -> String {
        let Ack { batch, seqno } = self;
        format!("{{\"t\":\"ack\",\"batch\":{batch},\"seqno\":{seqno}}}\n")
    }

    /// Reads a whole line; none for one that a kill has cut.
    #[must_use]
    pub fn parse(line: &str) -> Option<Ack> {
        let value: serde_json::Value = serde_json::from_str(line.strip_suffix('\n')?).ok()?;
        Some(Ack { batch: value["batch"].as_u64()?, seqno: value["seqno"].as_u64()? })
    }
}

/// Writes batches of the workload until the process is killed or nobody reads `acks` any more.
///
/// # Errors
/// The store's. None of them may happen; the controller reports it.
pub fn work(dir: &Path, seed: u64, acks: &mut dyn Write) -> Result<()> {
    // Small, so that flushes, rotations, growing logs and rollovers come often.
    let options =
        Options::new().memtable_size(512 << 10).manifest_size(32 << 10).log_size(16 << 10);
    let db = options.open(dir)?;
    let mut number = batches_in(&db, seed)?;
    let mut ack = Ack { batch: number, seqno: db.stats().last_seqno.0 };
    while say(ack, acks).is_ok() {
        number += 1;
        let planned = planned(seed, number);
        let seqno = db.write(planned.batch(), planned.durability)?;
        ack = Ack { batch: number, seqno: seqno.0 };
        if planned.flush {
            db.flush()?;
        }
    }
    Ok(())
}

fn say(ack: Ack, acks: &mut dyn Write) -> io::Result<()> {
    acks.write_all(ack.line().as_bytes())?;
    acks.flush()
}

/// How many batches of the workload of `seed` the store holds, as its counter says.
pub(super) fn batches_in(db: &Db, seed: u64) -> Result<u64> {
    let Some(value) = db.get(COUNTER)? else {
        if db.stats().last_seqno.0 == 0 {
            return Ok(0);
        }
        let detail = "the store holds no batch of a crash test, but other things";
        return Err(Error::InvalidArgument(detail.to_owned()));
    };
    let text = String::from_utf8_lossy(&value);
    let number = text.split(' ').next().and_then(|number| number.parse().ok());
    match number {
        Some(number) if counter(seed, number) == *value => Ok(number),
        _ => Err(Error::InvalidArgument(format!(
            "the store's last batch is \"{}\", not one of seed {seed}",
            value.escape_ascii()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line reads back; one that a kill cut anywhere does not.
    #[test]
    fn an_acknowledgement_is_read_whole_or_not_at_all() {
        let ack = Ack { batch: 1234, seqno: 56_789 };
        let line = ack.line();
        assert_eq!(Ack::parse(&line), Some(ack));
        for cut in 0..line.len() {
            assert_eq!(Ack::parse(&line[..cut]), None);
        }
    }
}
