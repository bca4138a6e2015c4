//! A tournament: which of several sorted sources comes next.
//!
//! A loser tree over the sources, each represented by eight bytes of the key it stands on. Every
//! inner node keeps the loser of the match played there; when the winner has moved on, only the
//! matches on its way to the root are played again, about log2 of the number of sources, none for
//! one source and one for two. A match is a comparison of two integers that lie in the tree; the
//! sources themselves are asked only when those tie.
//!
//! Invariants:
//! - Nothing is allocated once a tournament has had as many sources as it has now.
//! - Heads must not contradict the order: where `a.head() < b.head()`, `a` comes before `b`.
//! - Between two calls only the winner may move. After anything else, [`Tournament::begin`].
//! - Sources whose entries are equal come in the order in which they stand, in both directions.

use std::cmp::Ordering;

/// A sorted source, standing on an entry or at its end.
pub(super) trait Contender {
    /// Eight bytes that order most entries, or none when there is no entry left. See [`head`].
    fn head(&self) -> Option<u64>;

    /// How its entry compares to the other's. Asked only where both have an entry and the heads
    /// tie.
    fn order(&self, other: &Self) -> Ordering;
}

/// The eight bytes of a user key behind its first `skip`, big-endian, filled with zeros: what a
/// [`Contender`] shows of it. All keys of all contenders must begin with the same `skip` bytes.
#[inline]
pub(super) fn head(user: &[u8], skip: usize) -> u64 {
    let rest = user.get(skip..).unwrap_or_default();
    if let Some(bytes) = rest.first_chunk() {
        return u64::from_be_bytes(*bytes);
    }
    // The end of a key that has eight bytes: those, without what stands before the rest.
    if let (Some(bytes), false) = (user.last_chunk(), rest.is_empty()) {
        return u64::from_be_bytes(*bytes) << (64 - 8 * rest.len());
    }
    rest.iter().enumerate().fold(0, |head, (i, &byte)| head | u64::from(byte) << (56 - 8 * i))
}

/// How many bytes two keys have in common at their beginning: between a smallest and a largest key,
/// all keys begin with these.
pub(super) fn common_size(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// One source in a match.
#[derive(Clone, Copy, Debug)]
struct Seat {
    /// Its head, inverted when it runs backwards: the smaller one always wins.
    head: u64,
    /// Its index, and [`DONE`].
    source: u32,
}

/// Flag of a source without an entry: it loses against every other, and its head is the largest.
const DONE: u32 = 1 << 31;

/// A node where no match has been played yet.
const EMPTY: Seat = Seat { head: u64::MAX, source: u32::MAX };

impl Seat {
    fn is_done(self) -> bool {
        self.source & DONE != 0
    }

    fn index(self) -> usize {
        (self.source & !DONE) as usize
    }
}

/// The state of the matches. It does not own the sources: each call is given the same ones.
#[derive(Debug)]
pub(super) struct Tournament {
    /// Losers by node: the root is 1, the children of `n` are `2n` and `2n + 1`, and source `i`
    /// enters at `count + i`. Node 0 holds the winner.
    seats: Vec<Seat>,
    /// What heads are XORed with: all ones when it runs backwards.
    mask: u64,
}

impl Tournament {
    /// A tournament without sources.
    pub(super) fn new() -> Tournament {
        Tournament { seats: Vec::new(), mask: 0 }
    }

    /// Plays all matches: `forward` lets the smallest entry win, otherwise the largest wins.
    pub(super) fn begin<C: Contender>(&mut self, sources: &[C], forward: bool) {
        self.mask = if forward { 0 } else { u64::MAX };
        self.seats.clear();
        self.seats.resize(sources.len().max(1), EMPTY);
        for (index, source) in sources.iter().enumerate() {
            let mut seat = self.seat(index, source);
            let mut node = (sources.len() + index) / 2;
            // Whoever comes to a node first waits there; whoever comes second plays and goes on.
            while node > 0 {
                if self.seats[node].source == EMPTY.source {
                    break;
                }
                let mask = self.mask;
                play(&mut seat, &mut self.seats[node], |a, b| goes_first(sources, mask, a, b));
                node /= 2;
            }
            self.seats[node] = seat;
        }
    }

    /// The source whose entry comes first; none when all are at their ends.
    #[inline]
    pub(super) fn winner(&self) -> Option<usize> {
        let seat = self.seats.first()?;
        (!seat.is_done()).then_some(seat.index())
    }

    /// Finds the next winner after the winner has moved.
    #[inline]
    pub(super) fn replay<C: Contender>(&mut self, sources: &[C]) {
        let count = self.seats.len();
        let index = self.seats[0].index();
        let Some(source) = sources.get(index) else { return };
        let mut seat = self.seat(index, source);
        let mask = self.mask;
        let mut node = (count + index) / 2;
        while node > 0 {
            play(&mut seat, &mut self.seats[node], |a, b| goes_first(sources, mask, a, b));
            node /= 2;
        }
        self.seats[0] = seat;
    }

    /// The source that would win without the winner; none when no other has an entry.
    pub(super) fn runner_up<C: Contender>(&self, sources: &[C]) -> Option<usize> {
        let count = self.seats.len();
        let mut best = EMPTY;
        let mut node = (count + self.seats.first()?.index()) / 2;
        // It has lost against nobody but the winner.
        while node > 0 {
            let mut other = *self.seats.get(node)?;
            play(&mut best, &mut other, |a, b| goes_first(sources, self.mask, a, b));
            node /= 2;
        }
        (!best.is_done()).then_some(best.index())
    }

    #[inline]
    fn seat<C: Contender>(&self, index: usize, source: &C) -> Seat {
        match source.head() {
            Some(head) => Seat { head: head ^ self.mask, source: index as u32 },
            None => Seat { head: u64::MAX, source: index as u32 | DONE },
        }
    }
}

/// Leaves the winner in `seat` and the loser in `other`. `tie` says whether the first of two seats
/// with equal heads wins.
#[inline(always)]
fn play(seat: &mut Seat, other: &mut Seat, tie: impl FnOnce(Seat, Seat) -> bool) {
    let (a, b) = (*seat, *other);
    let wins = if a.head == b.head { tie(b, a) } else { b.head < a.head };
    // Random keys make the outcome unpredictable, so this exchanges them without a branch.
    let exchange = u64::from(wins).wrapping_neg();
    let heads = (a.head ^ b.head) & exchange;
    let sources = (a.source ^ b.source) & exchange as u32;
    *seat = Seat { head: a.head ^ heads, source: a.source ^ sources };
    *other = Seat { head: b.head ^ heads, source: b.source ^ sources };
}

/// Whether `a` goes before `b`, whose head is the same.
#[cold]
#[inline(never)]
fn goes_first<C: Contender>(sources: &[C], mask: u64, a: Seat, b: Seat) -> bool {
    if a.is_done() || b.is_done() {
        return !a.is_done();
    }
    let order = sources[a.index()].order(&sources[b.index()]);
    let order = if mask == 0 { order } else { order.reverse() };
    order.then(a.source.cmp(&b.source)).is_lt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A sorted list of keys, walked either way; `skip` bytes are left out of the heads.
    struct List {
        keys: Vec<Vec<u8>>,
        at: Option<usize>,
        skip: usize,
    }

    impl List {
        fn new(mut keys: Vec<Vec<u8>>, forward: bool, skip: usize) -> List {
            keys.sort();
            if !forward {
                keys.reverse();
            }
            let at = (!keys.is_empty()).then_some(0);
            List { keys, at, skip }
        }

        fn key(&self) -> Option<&[u8]> {
            self.keys.get(self.at?).map(Vec::as_slice)
        }
    }

    impl Contender for List {
        fn head(&self) -> Option<u64> {
            self.key().map(|key| head(key, self.skip))
        }

        fn order(&self, other: &List) -> Ordering {
            assert!(self.key().is_some() && other.key().is_some());
            self.key().cmp(&other.key())
        }
    }

    /// Merges the lists, checking every runner-up; returns each key with the list it came from.
    fn merge(lists: &[Vec<Vec<u8>>], forward: bool, skip: usize) -> Vec<(Vec<u8>, usize)> {
        let mut sources: Vec<_> =
            lists.iter().map(|keys| List::new(keys.clone(), forward, skip)).collect();
        let mut merged = Vec::new();
        let mut tournament = Tournament::new();
        tournament.begin(&sources, forward);
        while let Some(winner) = tournament.winner() {
            let others = (0..sources.len()).filter(|&i| i != winner && sources[i].key().is_some());
            let expected = others.min_by(|&a, &b| {
                let order = sources[a].key().cmp(&sources[b].key());
                if forward { order } else { order.reverse() }
            });
            assert_eq!(tournament.runner_up(&sources), expected);
            let source = &mut sources[winner];
            merged.push((source.key().unwrap().to_vec(), winner));
            source.at = source.at.map(|at| at + 1);
            tournament.replay(&sources);
        }
        assert_eq!(tournament.runner_up(&sources), None);
        merged
    }

    fn sorted(lists: &[Vec<Vec<u8>>], forward: bool) -> Vec<(Vec<u8>, usize)> {
        let with_source = |(i, list): (usize, &Vec<Vec<u8>>)| {
            list.iter().map(move |key| (key.clone(), i)).collect::<Vec<_>>()
        };
        let mut all: Vec<_> = lists.iter().enumerate().flat_map(with_source).collect();
        // Stable: equal keys stay in the order of their lists.
        all.sort_by(|a, b| if forward { a.0.cmp(&b.0) } else { b.0.cmp(&a.0) });
        all
    }

    /// Few different bytes, so that heads tie, keys are prefixes of each other, and the largest and
    /// the smallest head occur in keys as well.
    fn keys() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let byte = prop::sample::select(vec![0, 1, 0xff]);
        let short = prop::collection::vec(byte.clone(), 1..4);
        let long = prop::collection::vec(byte, 1..3).prop_map(|mut end| {
            let mut key = vec![0xff; 7];
            key.append(&mut end);
            key
        });
        prop::collection::vec(prop_oneof![short, long], 0..12)
    }

    proptest! {
        /// Whatever the lists, the merge is what sorting all of them gives, both ways.
        #[test]
        fn a_tournament_is_a_stable_sort(lists in prop::collection::vec(keys(), 0..10)) {
            for forward in [true, false] {
                prop_assert_eq!(merge(&lists, forward, 0), sorted(&lists, forward));
            }
        }

        /// With what all keys have in common left out of the heads, nothing changes.
        #[test]
        fn heads_may_skip_a_common_beginning(lists in prop::collection::vec(keys(), 0..6)) {
            let longer = |key: &Vec<u8>| [b"common/".as_slice(), key].concat();
            let lists: Vec<Vec<_>> =
                lists.iter().map(|keys| keys.iter().map(longer).collect()).collect();
            for forward in [true, false] {
                prop_assert_eq!(merge(&lists, forward, 7), sorted(&lists, forward));
            }
        }
    }

    /// A tournament that is begun anew, with more and with fewer sources, forgets what was.
    #[test]
    fn a_tournament_can_be_begun_again() {
        let lists = |count: usize| -> Vec<List> {
            let keys = |i: usize| vec![vec![b'a' + i as u8], vec![b'n' + i as u8]];
            (0..count).map(|i| List::new(keys(i), true, 0)).collect()
        };
        let mut tournament = Tournament::new();
        assert_eq!(tournament.winner(), None);
        for count in [3, 8, 1, 2, 0, 5] {
            let mut sources = lists(count);
            tournament.begin(&sources, true);
            let mut seen = Vec::new();
            while let Some(winner) = tournament.winner() {
                seen.push(sources[winner].key().unwrap().to_vec());
                sources[winner].at = sources[winner].at.map(|at| at + 1);
                tournament.replay(&sources);
            }
            assert_eq!(seen.len(), 2 * count);
            assert!(seen.is_sorted());
        }
    }

    /// The order of heads never contradicts the order of keys, and skips what it is told to.
    #[test]
    fn heads_follow_the_order_of_keys() {
        let keys: [&[u8]; 6] = [b"pa", b"pa\0", b"pabcdefg", b"pabcdefgh", b"pabcdefghi", b"pb"];
        for pair in keys.windows(2) {
            assert!(pair[0] < pair[1]);
            assert!(head(pair[0], 0) <= head(pair[1], 0));
            assert!(head(pair[0], 1) <= head(pair[1], 1));
        }
        assert_eq!(head(b"pabcdefgh", 1), u64::from_be_bytes(*b"abcdefgh"));
        assert_eq!(head(b"pa", 1), u64::from_be_bytes(*b"a\0\0\0\0\0\0\0"));
        assert_eq!(head(b"p", 4), 0);
        assert_eq!(common_size(b"table/1", b"table/27"), 6);
    }
}
