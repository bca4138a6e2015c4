//! What controller and worker say to each other: NDJSON both ways.
//!
//! The controller sends operations ([`Op`]), many ahead; the worker does those of one stream one after
//! the other, those of different streams at the same time, and answers each ([`Said`]) before it begins
//! the next one of that stream. A line that a kill has cut is no line.

use serde_json::{Value, json};

use super::workload::{Change, How, Op, Task, Upkeep};

/// A line of the worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// The store is open.
    Open {
        /// The last operation in it.
        seqno: u64,
        /// Bytes of log that were replayed.
        replayed_bytes: u64,
    },
    /// An operation is acknowledged.
    Ack {
        /// Whose.
        stream: u64,
        /// Its number.
        n: u64,
        /// The store's number for the last change of it, or of what the keeper made.
        seqno: u64,
        /// The slot of the checkpoint that was made.
        checkpoint: Option<u64>,
    },
    /// So many snapshots were looked at and held what they must.
    Looked(u64),
    /// A promise was broken, or the store said no.
    Broken(String),
}

impl Said {
    /// The line.
    #[must_use]
    pub fn line(&self) -> String {
        let value = match self {
            Said::Open { seqno, replayed_bytes } => {
                json!({"t": "open", "seqno": seqno, "replayed_bytes": replayed_bytes})
            }
            Said::Ack { stream, n, seqno, checkpoint: None } => {
                json!({"t": "ack", "stream": stream, "n": n, "seqno": seqno})
            }
            Said::Ack { stream, n, seqno, checkpoint } => json!({
                "t": "ack", "stream": stream, "n": n, "seqno": seqno, "checkpoint": checkpoint
            }),
            Said::Looked(count) => json!({"t": "looked", "snapshots": count}),
            Said::Broken(detail) => json!({"t": "broken", "detail": detail}),
        };
        format!("{value}\n")
    }

    /// Reads a whole line; none for one that a kill has cut, or that is none of these.
    #[must_use]
    pub fn parse(line: &str) -> Option<Said> {
        let value: Value = serde_json::from_str(line.strip_suffix('\n')?).ok()?;
        let number = |name: &str| value[name].as_u64();
        Some(match value["t"].as_str()? {
            "open" => {
                Said::Open { seqno: number("seqno")?, replayed_bytes: number("replayed_bytes")? }
            }
            "ack" => Said::Ack {
                stream: number("stream")?,
                n: number("n")?,
                seqno: number("seqno")?,
                checkpoint: number("checkpoint"),
            },
            "looked" => Said::Looked(number("snapshots")?),
            "broken" => Said::Broken(value["detail"].as_str()?.to_owned()),
            _ => return None,
        })
    }
}

impl Op {
    /// The line that tells the worker to do it.
    #[must_use]
    pub fn line(&self) -> String {
        let mut value = json!({"t": "op", "stream": self.stream, "n": self.n});
        let rest = match &self.task {
            Task::Write { how, changes, look } => {
                let changes = changes.iter().map(|change| json!([change.key, change.size]));
                let changes: Vec<Value> = changes.collect();
                json!({"do": "write", "how": how.name(), "changes": changes, "look": look})
            }
            Task::Transfer { how, from, to, amount } => json!({
                "do": "transfer", "how": how.name(), "from": from, "to": to, "amount": amount
            }),
            Task::Keep(Upkeep::Flush) => json!({"do": "flush"}),
            Task::Keep(Upkeep::Sync) => json!({"do": "sync"}),
            Task::Keep(Upkeep::Compact(from, to)) => {
                json!({"do": "compact", "from": from, "to": to})
            }
            Task::Keep(Upkeep::Checkpoint) => json!({"do": "checkpoint"}),
            Task::Keep(Upkeep::Nap(us)) => json!({"do": "nap", "us": us}),
        };
        if let (Value::Object(value), Value::Object(rest)) = (&mut value, rest) {
            value.extend(rest);
        }
        format!("{value}\n")
    }

    /// Reads a whole line.
    #[must_use]
    pub fn parse(line: &str) -> Option<Op> {
        let value: Value = serde_json::from_str(line.strip_suffix('\n')?).ok()?;
        let number = |name: &str| value[name].as_u64();
        let how = || How::named(value["how"].as_str()?);
        let task = match value["do"].as_str()? {
            "write" => Task::Write {
                how: how()?,
                changes: value["changes"].as_array()?.iter().map(change).collect::<Option<_>>()?,
                look: value["look"].as_bool()?,
            },
            "transfer" => Task::Transfer {
                how: how()?,
                from: number("from")?,
                to: number("to")?,
                amount: number("amount")?,
            },
            "flush" => Task::Keep(Upkeep::Flush),
            "sync" => Task::Keep(Upkeep::Sync),
            "compact" => {
                let to = value["to"].as_str().map(str::to_owned);
                Task::Keep(Upkeep::Compact(value["from"].as_str()?.to_owned(), to))
            }
            "checkpoint" => Task::Keep(Upkeep::Checkpoint),
            "nap" => Task::Keep(Upkeep::Nap(number("us")?)),
            _ => return None,
        };
        Some(Op { stream: number("stream")?, n: number("n")?, task })
    }
}

fn change(value: &Value) -> Option<Change> {
    Some(Change { key: value[0].as_str()?.to_owned(), size: value[1].as_u64() })
}

impl How {
    fn name(self) -> &'static str {
        match self {
            How::Buffered => "buffered",
            How::Sync => "sync",
            How::Ingest => "ingest",
        }
    }

    fn named(name: &str) -> Option<How> {
        [How::Buffered, How::Sync, How::Ingest].into_iter().find(|how| how.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crash::workload::{KEEPER, Streams};

    /// Every kind of answer reads back; one that a kill cut anywhere does not.
    #[test]
    fn an_answer_is_read_whole_or_not_at_all() {
        let all = [
            Said::Open { seqno: 7, replayed_bytes: 8 },
            Said::Ack { stream: 2, n: 1234, seqno: 56_789, checkpoint: None },
            Said::Ack { stream: 4, n: 5, seqno: 6, checkpoint: Some(0) },
            Said::Looked(3),
            Said::Broken("a \"quoted\"\nword".to_owned()),
        ];
        for said in all {
            let line = said.line();
            assert_eq!(Said::parse(&line), Some(said));
            for cut in 0..line.len() {
                assert_eq!(Said::parse(&line[..cut]), None);
            }
        }
    }

    /// Some hundred operations of each stream, and a transfer, as the worker gets them.
    #[test]
    fn an_operation_reads_back() {
        let how = How::Sync;
        let transfer = Task::Transfer { how, from: 1, to: 2, amount: 3 };
        let streams = Streams::new(1, 0);
        let ops = (0..=KEEPER).flat_map(|stream| (1..200).map(move |n| streams.op(stream, n)));
        for op in ops.chain([Op { stream: 0, n: 1, task: transfer }]) {
            let line = op.line();
            assert_eq!(Op::parse(&line), Some(op));
            assert_eq!(Op::parse(line.trim_end()), None);
        }
    }
}
