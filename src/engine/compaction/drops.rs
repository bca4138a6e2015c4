//! Which versions of a key a merge leaves out.
//!
//! Pure. The versions of one user key are judged newest first. The live snapshots divide sequence
//! numbers into stripes: all versions within one stripe are seen, or not, by the same readers.
//!
//! - Of each stripe the newest version is kept. The others are *shadowed*: whoever sees them sees
//!   the newer one too.
//! - A kept tombstone hides only what is older than it. If the next older version that is kept is a
//!   tombstone as well, readers find nothing with either of them, so the newer one goes. If there is
//!   no older version, kept or outside the merge, there is nothing to hide, and it goes too. This is
//!   right whatever the snapshots: reads that met it find nothing either way.
//!
//! Both rely on what the tree promises: versions outside the merge in tables older than its inputs
//! are older than every version inside, and all others are newer. A snapshot taken after the list
//! of snapshots was made sees everything in the inputs, and so the newest version of each key.

use crate::format::key::Trailer;
use crate::format::table::TableMeta;
use crate::probe::mutant;
use crate::types::{SeqNo, ValueKind};

/// Judges the versions of one key after the other.
#[derive(Debug)]
pub(super) struct Judge<'a> {
    /// Live snapshots, ascending.
    snapshots: &'a [SeqNo],
    /// The stripe of the version kept last, none for a key of which none is kept yet.
    stripe: Option<usize>,
    /// A tombstone that is kept if anything older is.
    held: Option<Trailer>,
}

/// What becomes of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is written, and before it the tombstone that was held for the same key.
    Keep(Option<Trailer>),
    /// It is a tombstone that is needed only if something older follows: the judge holds it.
    Hold,
    /// It takes the place of the newer tombstone that was held, which is dropped.
    HoldInstead,
    /// A newer version hides it from everybody.
    Shadowed,
}

impl<'a> Judge<'a> {
    /// A judge for these live snapshots, in ascending order.
    pub(super) fn new(snapshots: &'a [SeqNo]) -> Judge<'a> {
        debug_assert!(snapshots.is_sorted(), "snapshots ascend");
        Judge { snapshots, stripe: None, held: None }
    }

    /// Ends the key judged so far. A tombstone that is still held is returned: it is needed only if
    /// an older version of the key may lie outside the merge.
    #[inline]
    pub(super) fn end_key(&mut self) -> Option<Trailer> {
        self.stripe = None;
        self.held.take()
    }

    /// Judges the next version of the key; it is older than those before.
    #[inline]
    pub(super) fn judge(&mut self, trailer: Trailer) -> Verdict {
        let stripe = self.stripe_of(trailer.seqno());
        if self.stripe.replace(stripe) == Some(stripe) {
            return Verdict::Shadowed;
        }
        if trailer.kind() != Some(ValueKind::Delete) {
            return Verdict::Keep(self.held.take());
        }
        match self.held.replace(trailer) {
            None => Verdict::Hold,
            Some(_) => Verdict::HoldInstead,
        }
    }

    /// How many snapshots do not see an entry with this sequence number.
    #[inline]
    fn stripe_of(&self, seqno: SeqNo) -> usize {
        match self.snapshots.last() {
            Some(&last) if seqno <= last => {
                // Rule 13: a snapshot sees what was written right before it.
                let blind = mutant("snapshot_off_by_one");
                self.snapshots.partition_point(|&s| s < seqno || blind && s == seqno)
            }
            _ => self.snapshots.len(),
        }
    }
}

/// The tables outside a merge that may hold versions older than its inputs'.
///
/// Asked for ascending keys only: it never looks back.
#[derive(Clone, Debug, Default)]
pub struct Older<'a> {
    /// Tables that may overlap each other.
    loose: Vec<&'a TableMeta>,
    /// Runs of tables by key, without overlap; those that lie before the key asked for last are cut
    /// off.
    runs: Vec<&'a [&'a TableMeta]>,
}

impl<'a> Older<'a> {
    /// `loose` may overlap; each of `runs` is sorted by key and without overlap.
    #[must_use]
    pub fn new(loose: Vec<&'a TableMeta>, runs: Vec<&'a [&'a TableMeta]>) -> Older<'a> {
        Older { loose, runs }
    }

    /// Whether an older version of the key may exist.
    pub(super) fn may_hold(&mut self, user: &[u8]) -> bool {
        let begins = |table: &TableMeta| table.smallest.user.as_slice() <= user;
        let ends = |table: &TableMeta| table.largest.user.as_slice() < user;
        if self.loose.iter().any(|table| begins(table) && !ends(table)) {
            return true;
        }
        self.runs.iter_mut().any(|run| {
            while let Some((first, rest)) = run.split_first()
                && ends(first)
            {
                *run = rest;
            }
            run.first().is_some_and(|table| begins(table))
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::format::key::InternalKey;
    use crate::format::table::Handle;
    use crate::types::{FileId, FileNumber};

    /// What a reader at `seqno` finds among versions, newest first: the seqno of a value.
    fn read(versions: &[Trailer], seqno: u64) -> Option<u64> {
        let found = versions.iter().find(|version| version.seqno().0 <= seqno)?;
        (found.kind() == Some(ValueKind::Put)).then_some(found.seqno().0)
    }

    /// What a merge leaves of `versions`, and how many it dropped as shadowed and as tombstones.
    fn merge(versions: &[Trailer], snapshots: &[SeqNo], older: bool) -> (Vec<Trailer>, [usize; 2]) {
        let mut judge = Judge::new(snapshots);
        let (mut kept, mut dropped) = (Vec::new(), [0, 0]);
        for &version in versions {
            match judge.judge(version) {
                Verdict::Keep(held) => kept.extend(held.into_iter().chain([version])),
                Verdict::Hold => {}
                Verdict::HoldInstead => dropped[1] += 1,
                Verdict::Shadowed => dropped[0] += 1,
            }
        }
        match judge.end_key() {
            Some(held) if older => kept.push(held),
            Some(_) => dropped[1] += 1,
            None => {}
        }
        (kept, dropped)
    }

    /// Sequence numbers 2, 4, 6, … newest first, kinds by the bits of `kinds`.
    fn versions(count: usize, kinds: u32) -> Vec<Trailer> {
        let kind = |i| if kinds >> i & 1 == 1 { ValueKind::Put } else { ValueKind::Delete };
        (1..=count).rev().map(|i| Trailer::new(SeqNo(2 * i as u64), kind(i - 1))).collect()
    }

    /// Every history of up to six versions with every set of snapshots at, between, before and
    /// behind them, with an older value elsewhere, an older tombstone, and nothing: each snapshot
    /// and the latest reader see after the merge what they saw before, with what lies elsewhere
    /// behind it. And no version could be left out beyond those: without any one of the kept, and
    /// nothing known of what is elsewhere, somebody would see something else.
    #[test]
    fn every_reader_sees_what_it_saw_and_nothing_is_kept_in_vain() {
        let mut cases = 0;
        for count in 1..=6usize {
            for kinds in 0..1 << count {
                let versions = versions(count, kinds);
                // Snapshots at 1, 2, …, 2 × count + 1.
                for set in 0..1u32 << (2 * count + 1) {
                    let snapshots: Vec<SeqNo> = (0..=2 * count as u64)
                        .filter(|i| set >> i & 1 == 1)
                        .map(|i| SeqNo(i + 1))
                        .collect();
                    check(&versions, &snapshots);
                    cases += 1;
                }
            }
        }
        assert!(cases > 500_000, "{cases} cases");
    }

    fn check(versions: &[Trailer], snapshots: &[SeqNo]) {
        let value = Trailer::new(SeqNo(0), ValueKind::Put);
        let tombstone = Trailer::new(SeqNo(0), ValueKind::Delete);
        let readers = || snapshots.iter().map(|s| s.0).chain([SeqNo::MAX.0]);
        let same = |left: &[Trailer], elsewhere: Option<Trailer>| {
            let with = |list: &[Trailer]| -> Vec<Trailer> {
                list.iter().copied().chain(elsewhere).collect()
            };
            let (before, after) = (with(versions), with(left));
            readers().all(|reader| read(&before, reader) == read(&after, reader))
        };
        for older in [true, false] {
            let (kept, dropped) = merge(versions, snapshots, older);
            let context = || format!("{versions:?} at {snapshots:?}, older {older}: {kept:?}");
            assert_eq!(kept.len() + dropped[0] + dropped[1], versions.len(), "{}", context());
            assert!(kept.is_sorted_by(|a, b| a > b), "{}", context());
            let possible: &[Option<Trailer>] =
                if older { &[None, Some(value), Some(tombstone)] } else { &[None] };
            let right = |list: &[Trailer]| possible.iter().all(|&elsewhere| same(list, elsewhere));
            assert!(right(&kept), "{}", context());
            for index in 0..kept.len() {
                let mut fewer = kept.clone();
                fewer.remove(index);
                assert!(!right(&fewer), "{}, without {index}", context());
            }
        }
    }

    /// The cases of the rule by name, to be read.
    #[test]
    fn the_rules_in_examples() {
        let put = |seqno| Trailer::new(SeqNo(seqno), ValueKind::Put);
        let del = |seqno| Trailer::new(SeqNo(seqno), ValueKind::Delete);
        let history = [put(9), del(7), put(5), del(3)];
        let kept = |snapshots: &[u64], older| {
            let snapshots: Vec<SeqNo> = snapshots.iter().map(|&s| SeqNo(s)).collect();
            merge(&history, &snapshots, older).0
        };
        assert_eq!(kept(&[], true), [put(9)]);
        assert_eq!(kept(&[7], false), [put(9)]); // Snapshot 7 found a tombstone, now nothing.
        assert_eq!(kept(&[7], true), [put(9), del(7)]);
        assert_eq!(kept(&[5, 8], false), [put(9), del(7), put(5)]);
        assert_eq!(kept(&[4], true), [put(9), del(3)]);
        assert_eq!(kept(&[4, 8], true), [put(9), del(3)]); // One tombstone is as good as two.
        assert_eq!(merge(&history, &[SeqNo(4), SeqNo(8)], true).1, [1, 1]);
        assert_eq!(merge(&history, &[SeqNo(4), SeqNo(8)], false).1, [1, 2]);
    }

    /// A table with these bounds, and nothing else of use.
    pub(in crate::engine::compaction) fn table(smallest: &str, largest: &str) -> TableMeta {
        let key = |user: &str| InternalKey { user: user.into(), trailer: Trailer::FIRST };
        TableMeta {
            number: FileNumber(1),
            id: FileId(1),
            size: 0,
            smallest: key(smallest),
            largest: key(largest),
            min_seqno: SeqNo(1),
            max_seqno: SeqNo(1),
            entries: 1,
            tombstones: 0,
            raw_bytes: 0,
            filter: Handle::default(),
            properties: Handle::default(),
            index: Handle::default(),
        }
    }

    /// All keys of one and two letters against loose tables and runs, in every order of asking that
    /// ascends: the answer is what a look at all tables says.
    #[test]
    fn older_versions_are_looked_for_in_every_table() {
        let run = [table("b", "b"), table("d", "ea"), table("h", "h")];
        let other = [table("eb", "f")];
        let loose = [table("m", "p"), table("n", "q"), table("b", "c")];
        let (run_refs, other_refs): (Vec<_>, Vec<_>) =
            (run.iter().collect(), other.iter().collect());
        let all: Vec<&TableMeta> = run.iter().chain(&other).chain(&loose).collect();
        let keys: Vec<String> =
            ('a'..='r').flat_map(|c| ["", "a", "b", "c"].map(|end| format!("{c}{end}"))).collect();
        for stride in 1..keys.len() {
            let mut older =
                Older::new(loose.iter().collect(), vec![run_refs.as_slice(), &other_refs]);
            for key in keys.iter().step_by(stride) {
                let key = key.as_bytes();
                let covers = |t: &&TableMeta| *t.smallest.user <= *key && *key <= *t.largest.user;
                assert_eq!(older.may_hold(key), all.iter().any(covers), "{key:?}");
            }
        }
        assert!(!Older::default().may_hold(b"a"));
    }
}
