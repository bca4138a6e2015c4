//! What a snapshot must look like from within the process that writes.

use std::collections::BTreeMap;

use super::worker::Trouble;
use super::workload::{self, KEEPER, Op, WRITERS};
use crate::{Db, Result, Snapshot};

/// What the store must hold of one writer's keys.
#[derive(Clone, Debug, Default)]
pub(super) struct Mirror {
    stream: u64,
    content: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Mirror {
    /// What a snapshot holds of them.
    pub(super) fn of(stream: u64, snapshot: &Snapshot) -> Result<Mirror> {
        let mut mirror = Mirror { stream, content: BTreeMap::new() };
        if stream != KEEPER {
            for item in snapshot.iter() {
                let (key, value) = item?;
                if mirror.owns(&key) {
                    mirror.content.insert(key, value.to_vec());
                }
            }
        }
        Ok(mirror)
    }

    fn owns(&self, key: &[u8]) -> bool {
        workload::owner(key) == Some(self.stream) || *key == workload::counter_key(self.stream)
    }

    /// Takes note of an operation.
    pub(super) fn apply(&mut self, op: &Op) {
        for (key, value) in op.effects() {
            match value {
                Some(value) => self.content.insert(key, value),
                None => self.content.remove(&key),
            };
        }
    }
}

/// Looks at a snapshot of now: it must be the same each time, in both directions and key by key; hold
/// exactly what the writer that asks has written; and nothing of another one that is newer than the
/// number that this one counted.
pub(super) fn look(db: &Db, mirror: &Mirror) -> Result<(), Trouble> {
    let snapshot = db.snapshot();
    let first = pairs(snapshot.iter())?;
    let mut backwards = pairs(snapshot.iter().rev())?;
    backwards.reverse();
    if first != backwards {
        return wrong("backwards it holds other pairs than forwards");
    }
    if first != pairs(snapshot.iter())? {
        return wrong("it holds other pairs the second time");
    }
    let own: BTreeMap<_, _> = first.iter().filter(|(key, _)| mirror.owns(key)).cloned().collect();
    if own != mirror.content {
        return wrong(&format!("it does not hold what stream {} has written", mirror.stream));
    }
    for (key, value) in mirror.content.iter().step_by(7) {
        if snapshot.get(key)?.as_deref() != Some(value) {
            return wrong(&format!("a get of \"{}\" finds something else", key.escape_ascii()));
        }
    }
    others(&first)
}

/// No value is of an operation that its writer's counter does not know.
fn others(pairs: &[(Vec<u8>, Vec<u8>)]) -> Result<(), Trouble> {
    let mut counters = [0; WRITERS as usize];
    for (stream, counter) in (0..).zip(&mut counters) {
        let key = workload::counter_key(stream);
        let found = pairs.binary_search_by(|pair| pair.0.cmp(&key)).ok();
        *counter = found.and_then(|at| workload::counted(&pairs[at].1)).unwrap_or(0);
    }
    for (key, value) in pairs {
        let Some(owner) = workload::owner(key) else { continue };
        let known = counters.get(owner as usize).copied().unwrap_or(0);
        if !workload::origin(value).is_some_and(|(stream, n)| stream == owner && n <= known) {
            let key = key.escape_ascii();
            return wrong(&format!("\"{key}\" is of an operation beyond number {known}"));
        }
    }
    Ok(())
}

fn pairs(
    items: impl Iterator<Item = Result<(Vec<u8>, crate::Value)>>,
) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    items.map(|item| item.map(|(key, value)| (key, value.to_vec()))).collect()
}

fn wrong<T>(what: &str) -> Result<T, Trouble> {
    Err(Trouble::Wrong(format!("a snapshot is wrong: {what}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crash::workload::Streams;

    fn said(looked: Result<(), Trouble>) -> String {
        match looked {
            Ok(()) => String::new(),
            Err(Trouble::Wrong(what)) => what,
            Err(Trouble::Engine(error)) => panic!("{error}"),
        }
    }

    /// A store of two writers that is as it must be, then one with a key too few, then one with a value
    /// that its writer's counter does not know.
    #[test]
    fn a_snapshot_that_lacks_something_or_has_too_much_is_noticed() {
        let home = tempfile::tempdir().unwrap();
        let db = Db::open(home.path()).unwrap();
        let streams = Streams::new(1, 0);
        let mut mirror = Mirror::of(1, &db.snapshot()).unwrap();
        for n in 1..40 {
            for stream in [1, 3] {
                let op = streams.op(stream, n);
                db.write(op.batch(), crate::Durability::Buffered).unwrap();
                if stream == 1 {
                    mirror.apply(&op);
                }
            }
        }
        assert_eq!(said(look(&db, &mirror)), "");
        let (key, value) = mirror.content.first_key_value().unwrap();
        db.delete(key).unwrap();
        assert!(said(look(&db, &mirror)).contains("what stream 1 has written"));
        db.put(key, value).unwrap();
        assert_eq!(said(look(&db, &mirror)), "");
        db.put("a000-3", workload::value(3, 40, 0, 10)).unwrap();
        assert!(said(look(&db, &mirror)).contains("beyond number 39"));
    }
}
