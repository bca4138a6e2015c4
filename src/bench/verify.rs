//! Whether the store holds what was written: a fast wrong answer does not count.

use super::Written;
use super::stream::{Keys, Op};
use crate::{Db, Result};

/// Of so many pairs one is also read by a get.
const SAMPLE_EVERY: u64 = 101;

/// What came of the comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The keys are exactly those that were written.
    Sound {
        /// How many there are.
        keys: u64,
    },
    /// The store was not empty when the run began: its keys are in order and can be read, but
    /// which there must be is not known.
    Readable {
        /// How many there are.
        keys: u64,
    },
    /// Something is wrong, and what.
    Wrong(String),
}

/// A set of numbers below some bound.
pub(super) struct Set {
    words: Vec<u64>,
}

impl Set {
    fn new(bound: u64) -> Set {
        Set { words: vec![0; usize::try_from(bound / 64 + 1).unwrap_or(usize::MAX)] }
    }

    fn put(&mut self, number: u64, is_in: bool) {
        let (word, bit) = ((number / 64) as usize, 1 << (number % 64));
        if is_in {
            self.words[word] |= bit;
        } else {
            self.words[word] &= !bit;
        }
    }

    fn has(&self, number: u64) -> bool {
        let word = usize::try_from(number / 64).ok().and_then(|index| self.words.get(index));
        word.is_some_and(|word| word & (1 << (number % 64)) != 0)
    }

    fn count(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }
}

/// The keys that must be there: the streams are followed again.
///
/// Within one workload all writes put or all delete, so the order among its threads does not matter.
pub(super) fn expected(space: u64, written: &[Written]) -> Set {
    let mut keys = Set::new(space);
    for one in written {
        for (stream, taken) in &one.streams {
            let ops = stream.clone().take(usize::try_from(*taken).unwrap_or(usize::MAX));
            for op in ops {
                match op {
                    Op::Put(number) => keys.put(number, true),
                    Op::Delete(number) => keys.put(number, false),
                    Op::Get(_) | Op::GetAbsent(_) | Op::Seek(_) => {}
                }
            }
        }
    }
    keys
}

/// Scans the store and compares.
pub(super) fn verify(db: &Db, key_size: usize, expected: Option<&Set>) -> Result<Verdict> {
    let keys = Keys::new(key_size);
    let mut count = 0;
    let mut last = Vec::new();
    for pair in db.iter() {
        let (key, value) = pair?;
        let shown = || key.escape_ascii();
        if key <= last {
            return Ok(Verdict::Wrong(format!("the scan does not rise at key \"{}\"", shown())));
        }
        let belongs = |set: &Set| keys.number(&key).is_some_and(|number| set.has(number));
        if expected.is_some_and(|set| !belongs(set)) {
            return Ok(Verdict::Wrong(format!("nobody has written the key \"{}\"", shown())));
        }
        if count % SAMPLE_EVERY == 0 && db.get(&key)?.as_ref() != Some(&value) {
            let text = format!("a get of the key \"{}\" does not find what a scan does", shown());
            return Ok(Verdict::Wrong(text));
        }
        count += 1;
        last = key;
    }
    match expected.map(Set::count) {
        None => Ok(Verdict::Readable { keys: count }),
        Some(wanted) if wanted == count => Ok(Verdict::Sound { keys: count }),
        Some(wanted) => {
            let text = format!("{wanted} keys were written, {count} are there");
            Ok(Verdict::Wrong(text))
        }
    }
}
