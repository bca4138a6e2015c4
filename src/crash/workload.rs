//! What is written: batch after batch, each a pure function of the seed and its number.

use std::collections::BTreeMap;

use crate::{Durability, WriteBatch};

/// The key under which each batch writes its number and the seed.
pub const COUNTER: &[u8] = b"~batch";

/// Different keys the workload uses besides [`COUNTER`].
const KEY_COUNT: u64 = 500;

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

/// One batch of the workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Its operations in their order: a value, or none for a delete. The last is the counter's.
    pub changes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// How it is written.
    pub durability: Durability,
    /// Whether the store is flushed behind it.
    pub flush: bool,
}

impl Planned {
    /// The batch as the store takes it.
    #[must_use]
    pub fn batch(&self) -> WriteBatch {
        let mut batch = WriteBatch::new();
        for (key, value) in &self.changes {
            match value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            };
        }
        batch
    }
}

/// What [`COUNTER`] holds after batch `number`.
#[must_use]
pub(super) fn counter(seed: u64, number: u64) -> Vec<u8> {
    format!("{number} of seed {seed}").into_bytes()
}

/// The batch with this number, from 1, of the workload of `seed`.
#[must_use]
pub fn planned(seed: u64, number: u64) -> Planned {
    let mut dice = Dice::new(seed, number);
    let count = 1 + dice.below(8);
    let mut changes: Vec<_> = (0..count).map(|_| change(&mut dice)).collect();
    changes.push((COUNTER.to_vec(), Some(counter(seed, number))));
    let durability = if dice.below(4) == 0 { Durability::Sync } else { Durability::Buffered };
    Planned { changes, durability, flush: dice.below(200) == 0 }
}

fn change(dice: &mut Dice) -> (Vec<u8>, Option<Vec<u8>>) {
    let key = format!("key{:05}", dice.below(KEY_COUNT)).into_bytes();
    if dice.below(4) == 0 {
        return (key, None);
    }
    let size = [0, 10, 100, 1000][dice.below(4) as usize] + dice.below(50);
    // Half text that compresses, half noise that does not.
    let noise = dice.below(2) == 0;
    let value = (0..size).map(|index| if noise { dice.below(256) as u8 } else { index as u8 });
    (key, Some(value.collect()))
}

/// What the store must hold after a number of batches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    /// Every pair.
    pub content: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Batches in it.
    pub batches: u64,
    /// Operations in those, which is the last sequence number.
    pub ops: u64,
}

impl Model {
    /// Applies batches of the workload until there are `batches`.
    pub fn advance(&mut self, seed: u64, batches: u64) {
        while self.batches < batches {
            self.batches += 1;
            for (key, value) in planned(seed, self.batches).changes {
                self.ops += 1;
                match value {
                    Some(value) => self.content.insert(key, value),
                    None => self.content.remove(&key),
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two runs of a seed against each other, and against those of another.
    #[test]
    fn a_seed_gives_one_workload() {
        for number in 1..50 {
            assert_eq!(planned(7, number), planned(7, number));
            assert_ne!(planned(7, number).changes, planned(8, number).changes);
        }
    }

    /// Everything that the test is about occurs within a few hundred batches.
    #[test]
    fn a_workload_has_everything_in_it() {
        let all: Vec<Planned> = (1..1000).map(|number| planned(1, number)).collect();
        let count = |what: &dyn Fn(&Planned) -> bool| all.iter().filter(|one| what(one)).count();
        assert!(count(&|one| one.durability == Durability::Sync) > 150);
        assert!(count(&|one| one.durability == Durability::Buffered) > 500);
        assert!(count(&|one| one.flush) > 1);
        assert!(count(&|one| one.changes.iter().any(|(_, value)| value.is_none())) > 300);
        assert!(all.iter().all(|one| one.batch().check().is_ok()));
    }

    /// In two steps as in one, and the counter says how far it has come.
    #[test]
    fn a_model_advances_from_where_it_is() {
        let (mut one, mut two) = (Model::default(), Model::default());
        one.advance(3, 40);
        two.advance(3, 11);
        two.advance(3, 40);
        assert_eq!(one, two);
        assert_eq!(one.content[COUNTER], counter(3, 40));
    }
}
