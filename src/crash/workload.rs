//! What the workers are told to do: streams of operations, each a pure function of a seed, the stream
//! and a number.
//!
//! Each *writer* has a stream of its own and keys that nobody else writes, spread over all of the key
//! space; with each operation it also writes the operation's number under its [`counter_key`]. So its
//! writes have one total order, and what the store holds of it tells how many of them are there. The
//! *keeper*, one more stream, writes nothing: it flushes, compacts, syncs and makes checkpoints.

use std::collections::BTreeMap;

use crate::WriteBatch;

/// Streams that write.
pub const WRITERS: u64 = 4;

/// The stream of the keeper.
pub const KEEPER: u64 = WRITERS;

/// Keys of a writer in each of the spaces.
const KEYS: u64 = 50;

/// The first letters of keys: a writer's batches go across all of them.
const SPACES: [char; 4] = ['a', 'h', 'p', 'x'];

/// A small generator (splitmix64): the same seed gives the same numbers.
#[derive(Clone, Copy, Debug)]
pub struct Dice(u64);

impl Dice {
    /// A generator for the `stream`th of the independent streams of this seed.
    #[must_use]
    pub fn new(seed: u64, stream: u64) -> Dice {
        let mut dice = Dice(seed ^ stream.wrapping_mul(0xd134_2543_de82_ef95));
        dice.roll();
        dice
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }
}

/// How an operation gets into the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// A batch that is with the kernel when it returns.
    Buffered,
    /// A batch that is on stable storage when it returns.
    Sync,
    /// Tables past the log.
    Ingest,
}

/// A value of `size` bytes under `key`, or none there any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: String,
    /// Bytes of the value; none deletes.
    pub size: Option<u64>,
}

/// What the keeper does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upkeep {
    /// Memory becomes tables.
    Flush,
    /// What was buffered becomes durable.
    Sync,
    /// The keys from the first to the second (none: to the end) are merged.
    Compact(String, Option<String>),
    /// A store of its own of what is there now.
    Checkpoint,
    /// Nothing, for so many microseconds.
    Nap(u64),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Changes that become visible together, and with them the counter.
    Write {
        /// Through the log or past it.
        how: How,
        /// In their order; ascending for an ingest.
        changes: Vec<Change>,
        /// Whether the writer then looks at a snapshot.
        look: bool,
    },
    /// Money goes from one account of the bank to another.
    Transfer {
        /// Durable or not.
        how: How,
        /// From which account.
        from: u64,
        /// To which.
        to: u64,
        /// How much.
        amount: u64,
    },
    /// The keeper's.
    Keep(Upkeep),
}

/// One operation of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// Whose it is.
    pub stream: u64,
    /// Its number in the stream, from 1.
    pub n: u64,
    /// What is to be done.
    pub task: Task,
}

/// Where a writer keeps the number of its last operation.
#[must_use]
pub fn counter_key(stream: u64) -> Vec<u8> {
    format!("~{stream}").into_bytes()
}

/// What is under [`counter_key`] behind operation `n`.
#[must_use]
pub fn counter_value(n: u64) -> Vec<u8> {
    n.to_string().into_bytes()
}

/// The number that a counter's value says.
#[must_use]
pub fn counted(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// The value that the change with this index of an operation writes: first whose it is, then filling.
#[must_use]
pub fn value(stream: u64, n: u64, index: u64, size: u64) -> Vec<u8> {
    let mut value = format!("{stream}.{n}.{index};").into_bytes();
    let mut dice = Dice::new(n, stream << 32 | index);
    // Half text that compresses, half noise that does not.
    let noise = dice.below(2) == 0;
    while (value.len() as u64) < size {
        value.push(if noise { dice.below(256) as u8 } else { b'a' + (value.len() % 26) as u8 });
    }
    value
}

/// Which operation of which stream wrote a value.
#[must_use]
pub fn origin(value: &[u8]) -> Option<(u64, u64)> {
    let stamp = value.split(|byte| *byte == b';').next()?;
    let mut parts = std::str::from_utf8(stamp).ok()?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Whose key this is; none for a counter.
#[must_use]
pub fn owner(key: &[u8]) -> Option<u64> {
    let (_, stream) = std::str::from_utf8(key).ok()?.split_once('-')?;
    stream.parse().ok()
}

impl Op {
    /// What the store holds otherwise behind this operation: keys, and values or none. The last is
    /// the counter's.
    #[must_use]
    pub fn effects(&self) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let Task::Write { changes, .. } = &self.task else { return Vec::new() };
        let effect = |(index, change): (u64, &Change)| {
            let value = change.size.map(|size| value(self.stream, self.n, index, size));
            (change.key.clone().into_bytes(), value)
        };
        let mut effects: Vec<_> = (0..).zip(changes).map(effect).collect();
        effects.push((counter_key(self.stream), Some(counter_value(self.n))));
        effects
    }

    /// The effects as the store takes them.
    #[must_use]
    pub fn batch(&self) -> WriteBatch {
        let mut batch = WriteBatch::new();
        for (key, value) in self.effects() {
            match value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            };
        }
        batch
    }

    /// Whether it goes past the log.
    #[must_use]
    pub fn is_ingest(&self) -> bool {
        matches!(self.task, Task::Write { how: How::Ingest, .. })
    }
}

/// All streams of one life of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streams {
    seed: u64,
    /// Of a hundred writes, those that are synced: after some kills there is much that nobody promised
    /// to be durable, after others little.
    synced: u64,
}

impl Streams {
    /// Those of the `epoch`th store of a run.
    #[must_use]
    pub fn new(seed: u64, epoch: u64) -> Streams {
        let mut dice = Dice::new(seed, epoch.wrapping_add(1 << 40));
        Streams { synced: [0, 1, 22][dice.below(3) as usize], seed: dice.roll() }
    }

    /// The operation with this number, from 1.
    #[must_use]
    pub fn op(self, stream: u64, n: u64) -> Op {
        let mut dice = Dice::new(self.seed, stream << 48 | n);
        let task = if stream == KEEPER {
            Task::Keep(upkeep(&mut dice))
        } else {
            self.write(&mut dice, stream)
        };
        Op { stream, n, task }
    }

    fn write(self, dice: &mut Dice, stream: u64) -> Task {
        // One writes single keys, one small batches, one large ones, and one goes past the log at times.
        let count = match stream {
            0 => 1,
            1 => 1 + dice.below(8),
            2 => 1 + dice.below(4),
            _ => 1 + dice.below(30),
        };
        let mut changes: Vec<Change> = (0..count).map(|_| change(dice, stream)).collect();
        let how = match dice.below(100) {
            0..3 if stream == 2 => How::Ingest,
            roll if (3..3 + self.synced).contains(&roll) => How::Sync,
            _ => How::Buffered,
        };
        if how == How::Ingest {
            changes.sort_by(|one, other| one.key.cmp(&other.key));
            changes.dedup_by(|one, other| one.key == other.key);
        }
        Task::Write { how, changes, look: dice.below(40) == 0 }
    }
}

pub(super) fn upkeep(dice: &mut Dice) -> Upkeep {
    let nap = 500 + dice.below(6_000);
    match dice.below(20) {
        0 => Upkeep::Flush,
        1 => Upkeep::Sync,
        2 => Upkeep::Compact(String::new(), None),
        3 => {
            let space = dice.below(3) as usize;
            let letter = |index: usize| SPACES[index].to_string();
            Upkeep::Compact(letter(space), Some(letter(space + 1)))
        }
        4..7 => Upkeep::Checkpoint,
        _ => Upkeep::Nap(nap),
    }
}

fn change(dice: &mut Dice, stream: u64) -> Change {
    let space = SPACES[dice.below(SPACES.len() as u64) as usize];
    let key = format!("{space}{:03}-{stream}", dice.below(KEYS));
    let is_gone = dice.below(4) == 0;
    let size = [0, 10, 100, 700][dice.below(4) as usize] + dice.below(50);
    Change { key, size: (!is_gone).then_some(size) }
}

/// What the store must hold after so many operations of each writer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    /// Every pair.
    pub content: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The last operation of each writer that is in it.
    pub done: [u64; WRITERS as usize],
    /// Sequence numbers that these took, and ingests among them, which may have left some out.
    pub seqnos: u64,
    /// Ingests.
    pub ingests: u64,
}

impl Model {
    /// Applies the operations of a writer up to number `upto`.
    pub fn advance(&mut self, streams: Streams, writer: u64, upto: u64) {
        let Some(done) = self.done.get(writer as usize).copied() else { return };
        for n in done + 1..=upto {
            let op = streams.op(writer, n);
            let effects = op.effects();
            self.ingests += u64::from(op.is_ingest());
            self.seqnos += if op.is_ingest() { 1 } else { effects.len() as u64 };
            for (key, value) in effects {
                match value {
                    Some(value) => self.content.insert(key, value),
                    None => self.content.remove(&key),
                };
            }
            self.done[writer as usize] = n;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two runs of a seed against each other, and against those of another, and of a later store.
    #[test]
    fn a_seed_gives_one_workload() {
        let streams = Streams::new(7, 0);
        for stream in 0..=KEEPER {
            let ops = |streams: Streams| (1..50).map(|n| streams.op(stream, n)).collect::<Vec<_>>();
            assert_eq!(ops(streams), ops(Streams::new(7, 0)));
            assert_ne!(ops(streams), ops(Streams::new(8, 0)));
            assert_ne!(ops(streams), ops(Streams::new(7, 1)));
        }
    }

    /// Everything that the test is about occurs within some hundred operations.
    #[test]
    fn a_workload_has_everything_in_it() {
        let lives = (0..4).map(|epoch| Streams::new(1, epoch));
        let all: Vec<Op> = lives
            .flat_map(|life| (0..=KEEPER).flat_map(move |s| (1..200).map(move |n| life.op(s, n))))
            .collect();
        let count = |what: &dyn Fn(&Task) -> bool| all.iter().filter(|op| what(&op.task)).count();
        for wanted in [How::Buffered, How::Sync, How::Ingest] {
            assert!(count(&|task| matches!(task, Task::Write { how, .. } if *how == wanted)) > 5);
        }
        let keeps = |kept: fn(&Upkeep) -> bool| {
            count(&|task| matches!(task, Task::Keep(upkeep) if kept(upkeep)))
        };
        assert!(keeps(|it| *it == Upkeep::Flush) > 5 && keeps(|it| *it == Upkeep::Checkpoint) > 5);
        assert!(keeps(|it| matches!(it, Upkeep::Compact(_, Some(_)))) > 5);
        assert!(count(&|task| matches!(task, Task::Write { look: true, .. })) > 5);
        let deletes = |change: &Change| change.size.is_none();
        assert!(
            count(
                &|task| matches!(task, Task::Write { changes, .. } if changes.iter().any(deletes))
            ) > 100
        );
        assert!(all.iter().all(|op| op.batch().check().is_ok()));
    }

    /// In two steps as in one; the writers' order does not matter, since they share no key.
    #[test]
    fn a_model_advances_from_where_it_is() {
        let streams = Streams::new(3, 0);
        let (mut one, mut two) = (Model::default(), Model::default());
        one.advance(streams, 0, 40);
        one.advance(streams, 2, 70);
        two.advance(streams, 2, 11);
        two.advance(streams, 0, 40);
        two.advance(streams, 2, 70);
        assert_eq!(one, two);
        assert_eq!(one.content[&counter_key(2)], counter_value(70));
    }

    /// A value says who wrote it, and its key whose it is.
    #[test]
    fn a_value_and_its_key_tell_where_they_come_from() {
        let op = Streams::new(5, 0).op(3, 17);
        let (key, written) = op.effects().into_iter().find(|it| it.1.is_some()).unwrap();
        assert_eq!((owner(&key), origin(&written.unwrap())), (Some(3), Some((3, 17))));
        assert_eq!(owner(&counter_key(3)), None);
        assert_eq!(value(1, 2, 3, 100).len(), 100);
        assert_eq!(value(1, 2, 3, 0), b"1.2.3;");
    }
}
