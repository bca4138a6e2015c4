//! The operations of a workload: a pure function of workload, seed, thread and number of keys.
//!
//! A key is a number: eight bytes, the highest first, then `0` up to its size. So keys are in the
//! order of their numbers, and are those of `db_bench`. The absent key of a number is that key with
//! one more `0`: right behind it, before the next.

use super::workload::Workload;

/// Least bytes of a key: a number.
pub const KEY_SIZE_MIN: usize = 8;

/// What follows the number in a key.
const PADDING: u8 = b'0';

/// A put of the write-heavy workload goes to an earlier key once in so many times.
const OVERWRITE_ONE_IN: u64 = 5;

/// One operation, on the key of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Write it.
    Put(u64),
    /// Read it.
    Get(u64),
    /// Read the absent key behind it.
    GetAbsent(u64),
    /// Delete it.
    Delete(u64),
    /// Go there and take the pairs from there on.
    Seek(u64),
}

/// Spells keys; the spelling is kept between two, so that only the number changes.
#[derive(Clone, Debug)]
pub struct Keys {
    bytes: Vec<u8>,
}

impl Keys {
    /// Keys of `size` bytes, [`KEY_SIZE_MIN`] or more.
    #[must_use]
    pub fn new(size: usize) -> Keys {
        Keys { bytes: vec![PADDING; size + 1] }
    }

    /// The key of a number.
    pub fn key(&mut self, number: u64) -> &[u8] {
        self.bytes[..KEY_SIZE_MIN].copy_from_slice(&number.to_be_bytes());
        &self.bytes[..self.bytes.len() - 1]
    }

    /// The absent key behind it.
    pub fn absent(&mut self, number: u64) -> &[u8] {
        self.bytes[..KEY_SIZE_MIN].copy_from_slice(&number.to_be_bytes());
        &self.bytes
    }

    /// The number of a key; none if it is not one of these.
    #[must_use]
    pub fn number(&self, key: &[u8]) -> Option<u64> {
        let (number, padding) = key.split_first_chunk::<KEY_SIZE_MIN>()?;
        let is_ours =
            key.len() == self.bytes.len() - 1 && padding.iter().all(|byte| *byte == PADDING);
        is_ours.then(|| u64::from_be_bytes(*number))
    }
}

/// Which numbers a generator gives.
#[derive(Clone, Copy, Debug)]
pub struct Lane {
    /// Of the run.
    pub seed: u64,
    /// Of workload and thread within the run.
    pub index: u64,
}

/// A small generator (splitmix64): the same lane gives the same numbers.
#[derive(Clone, Copy, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The generator of a lane.
    #[must_use]
    pub fn new(seed: u64, lane: u64) -> Dice {
        let mut dice = Dice(seed.wrapping_mul(0xd134_2543_de82_ef95) ^ lane);
        // Neighbouring lanes are far apart from here on.
        dice.0 = dice.roll();
        dice
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The high half of the product: no division, and evenly spread for any bound met here.
        ((u128::from(self.roll()) * u128::from(bound)) >> 64) as u64
    }
}

/// What one thread has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Operations.
    pub ops: u64,
    /// Keys there are.
    pub space: u64,
    /// The first key that is this thread's to write, where keys are divided.
    pub first: u64,
    /// The key behind the last such.
    pub end: u64,
}

impl Share {
    /// The share of one of `threads`. Together they have `ops` operations; with `u64::MAX` each
    /// goes on until it is stopped.
    #[must_use]
    pub fn of(thread: u64, threads: u64, ops: u64, space: u64) -> Share {
        let bound = |whole: u64, index: u64| {
            (u128::from(whole) * u128::from(index) / u128::from(threads)) as u64
        };
        let ops = match ops {
            u64::MAX => u64::MAX,
            ops => bound(ops, thread + 1) - bound(ops, thread),
        };
        Share { ops, space, first: bound(space, thread), end: bound(space, thread + 1) }
    }
}

/// One thread's operations, in their order.
#[derive(Clone, Debug)]
pub struct Stream {
    workload: Workload,
    dice: Dice,
    share: Share,
    shuffle: Shuffle,
    /// Operations taken.
    taken: u64,
    /// The next key of the share that was not written yet.
    next: u64,
}

impl Stream {
    /// The stream of a workload that has one.
    #[must_use]
    pub fn new(workload: Workload, lane: Lane, share: Share) -> Stream {
        Stream {
            workload,
            dice: Dice::new(lane.seed, lane.index),
            // All threads need the same order, whatever their lane.
            shuffle: Shuffle::new(share.space, lane.seed),
            share,
            taken: 0,
            next: share.first,
        }
    }

    fn random(&mut self) -> u64 {
        self.dice.below(self.share.space)
    }

    /// The next key of the share; after the last, random ones of it.
    fn sequential(&mut self) -> u64 {
        if self.next == self.share.end {
            return self.earlier();
        }
        self.next += 1;
        self.next - 1
    }

    /// A key of the share that was written before.
    fn earlier(&mut self) -> u64 {
        self.share.first + self.dice.below(self.next - self.share.first)
    }

    fn write_heavy(&mut self) -> Op {
        let draw = self.dice.below(100);
        if self.next == self.share.first {
            return Op::Put(self.sequential());
        }
        match draw {
            0..5 => Op::Get(self.earlier()),
            _ if self.dice.below(OVERWRITE_ONE_IN) == 0 => Op::Put(self.earlier()),
            _ => Op::Put(self.sequential()),
        }
    }
}

impl Iterator for Stream {
    type Item = Op;

    fn next(&mut self) -> Option<Op> {
        let walked = self.workload.walks() && self.next == self.share.end;
        let empty = self.share.first == self.share.end;
        if self.taken >= self.share.ops || walked || empty {
            return None;
        }
        self.taken += 1;
        Some(match self.workload {
            Workload::A => self.write_heavy(),
            Workload::B => match self.dice.below(100) {
                0..95 => Op::Get(self.random()),
                _ => Op::Put(self.random()),
            },
            Workload::C => match self.dice.below(100) {
                0..99 => Op::GetAbsent(self.random()),
                _ => Op::Get(self.random()),
            },
            Workload::FillSeq => Op::Put(self.sequential()),
            Workload::FillUniqueRandom => {
                let number = self.sequential();
                Op::Put(self.shuffle.at(number))
            }
            Workload::FillRandom | Workload::FillSync | Workload::Overwrite => {
                Op::Put(self.random())
            }
            Workload::ReadRandom | Workload::ReadWhileWriting => Op::Get(self.random()),
            Workload::ReadMissing => Op::GetAbsent(self.random()),
            Workload::SeekRandom => Op::Seek(self.random()),
            Workload::DeleteRandom => Op::Delete(self.random()),
            Workload::ReadSeq
            | Workload::ReadReverse
            | Workload::Flush
            | Workload::Compact
            | Workload::WaitCompact
            | Workload::Stats => return None,
        })
    }
}

/// The numbers below `space` in another order, each once: no table of them is needed.
///
/// Steps that can be undone permute the numbers below the next power of two; those that fall
/// outside are permuted again until they fall inside.
#[derive(Clone, Copy, Debug)]
struct Shuffle {
    space: u64,
    bits: u32,
    offset: u64,
}

impl Shuffle {
    fn new(space: u64, seed: u64) -> Shuffle {
        let bits = (64 - space.saturating_sub(1).leading_zeros()).max(1);
        Shuffle { space, bits, offset: Dice::new(seed, u64::MAX).roll() }
    }

    fn at(&self, number: u64) -> u64 {
        let mut mixed = number;
        loop {
            mixed = self.mix(mixed);
            if mixed < self.space {
                return mixed;
            }
        }
    }

    fn mix(&self, number: u64) -> u64 {
        let mask = u64::MAX >> (64 - self.bits);
        let half = (self.bits / 2).max(1);
        let mut mixed = number.wrapping_add(self.offset) & mask;
        for odd in [0xbf58_476d_1ce4_e5b9_u64, 0x94d0_49bb_1331_11eb, 0xd134_2543_de82_ef95] {
            mixed = mixed.wrapping_mul(odd) & mask;
            mixed ^= mixed >> half;
        }
        mixed
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn stream(workload: Workload, seed: u64, thread: u64, threads: u64, n: u64) -> Vec<Op> {
        let share = Share::of(thread, threads, n, n);
        Stream::new(workload, Lane { seed, index: thread }, share).collect()
    }

    /// Each workload with a stream twice with one seed, and once with another.
    #[test]
    fn a_seed_gives_one_stream_of_operations() {
        for workload in Workload::ALL {
            let one = stream(workload, 7, 0, 1, 1000);
            assert_eq!(one, stream(workload, 7, 0, 1, 1000));
            let is_fixed_order = workload == Workload::FillSeq || one.is_empty();
            assert_eq!(one == stream(workload, 8, 0, 1, 1000), is_fixed_order, "{workload}");
            assert_eq!(one.len(), if one.is_empty() { 0 } else { 1000 }, "{workload}");
        }
    }

    /// Spaces of all sizes around the powers of two, divided among one and among three threads.
    #[test]
    fn a_walk_takes_every_key_once_whatever_the_threads() {
        for space in (1..70).chain([1000, 1023, 1024, 1025]) {
            for workload in [Workload::FillSeq, Workload::FillUniqueRandom] {
                for threads in [1, 3] {
                    let all = (0..threads).flat_map(|t| stream(workload, 3, t, threads, space));
                    let all: Vec<Op> = all.collect();
                    let different: HashSet<Op> = all.iter().copied().collect();
                    assert_eq!((all.len(), different.len()), (space as usize, space as usize));
                    assert!(all.iter().all(|op| matches!(op, Op::Put(key) if *key < space)));
                }
            }
        }
        let shuffled = stream(Workload::FillUniqueRandom, 3, 0, 1, 1000);
        let steps = shuffled
            .windows(2)
            .filter(|two| matches!(two, [Op::Put(a), Op::Put(b)] if a + 1 == *b));
        assert!(steps.count() < 20);
    }

    /// Counts what the fixed workloads are made of.
    #[test]
    fn the_fixed_workloads_are_what_they_are_said_to_be() {
        let share = |ops: &[Op], wanted: fn(&Op) -> bool| {
            ops.iter().filter(|op| wanted(op)).count() as f64 / ops.len() as f64
        };
        let near = |share: f64, wanted: f64| (share - wanted).abs() < 0.01;
        let a = stream(Workload::A, 1, 0, 1, 100_000);
        assert!(near(share(&a, |op| matches!(op, Op::Put(_))), 0.95));
        let puts: Vec<Op> = a.iter().copied().filter(|op| matches!(op, Op::Put(_))).collect();
        let new = puts.iter().collect::<HashSet<_>>().len() as f64 / puts.len() as f64;
        assert!(near(new, 0.8), "{new}");
        let written: HashSet<u64> = puts
            .iter()
            .filter_map(|op| if let Op::Put(key) = op { Some(*key) } else { None })
            .collect();
        assert!(a.iter().all(|op| !matches!(op, Op::Get(key) if !written.contains(key))));
        let b = stream(Workload::B, 1, 0, 1, 100_000);
        assert!(near(share(&b, |op| matches!(op, Op::Get(_))), 0.95));
        let c = stream(Workload::C, 1, 0, 1, 100_000);
        assert!(near(share(&c, |op| matches!(op, Op::GetAbsent(_))), 0.99));
    }

    /// Draws are even over the keys: four quarters, within a percent.
    #[test]
    fn draws_are_even() {
        let ops = stream(Workload::ReadRandom, 5, 0, 1, 100_000);
        let mut quarters = [0; 4];
        for op in ops {
            let Op::Get(key) = op else { panic!("{op:?}") };
            quarters[(key / 25_000) as usize] += 1;
        }
        assert!(quarters.iter().all(|count| (24_000..26_000).contains(count)), "{quarters:?}");
    }

    /// Threads draw different keys.
    #[test]
    fn threads_have_lanes_of_their_own() {
        let [one, two] = [0, 1].map(|t| stream(Workload::Overwrite, 5, t, 2, 1000));
        assert_ne!(one, two);
    }

    /// Keys sort as their numbers do and read back; the absent key lies between two.
    #[test]
    fn keys_are_numbers_in_their_order() {
        let mut keys = Keys::new(16);
        let spelled: Vec<Vec<u8>> =
            [0, 1, 255, 256, 1 << 40, u64::MAX].map(|n| keys.key(n).to_vec()).to_vec();
        assert!(spelled.is_sorted());
        assert_eq!(spelled[1], b"\0\0\0\0\0\0\0\x0100000000");
        let absent = keys.absent(255).to_vec();
        assert!(spelled[2] < absent && absent < spelled[3]);
        assert_eq!(keys.number(&spelled[4]), Some(1 << 40));
        for other in [&absent[..], b"0000000", b"", b"\0\0\0\0\0\0\0\x0100000001"] {
            assert_eq!(keys.number(other), None);
        }
    }
}
