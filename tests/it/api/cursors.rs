//! Cursors and iterators against a sorted map.

use std::ops::RangeBounds;

use beachdb::{Cursor, Strategy};

use super::*;

type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;
type Range = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// The same numbers in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) % sides
    }
}

fn key(n: u64) -> Vec<u8> {
    // Of different lengths, and some the beginning of others.
    let text = format!("beach/{:03}", n / 2);
    if n.is_multiple_of(2) { text.into_bytes() } else { format!("{text}/x").into_bytes() }
}

/// Rounds of random writes and deletes, each flushed but the last: versions of a key lie in several
/// tables and in the memtable. After `pinned` rounds `at_pin` looks at the store.
fn fill(db: &Db, dice: &mut Dice, pairs: &mut Pairs, rounds: std::ops::Range<u64>) -> Result<()> {
    for round in rounds {
        let mut batch = WriteBatch::new();
        for _ in 0..150 {
            let key = key(dice.roll(200));
            if dice.roll(3) == 0 {
                batch.delete(&key);
                pairs.remove(&key);
            } else {
                let value = format!("{round}").repeat(dice.roll(30) as usize).into_bytes();
                batch.put(&key, &value);
                pairs.insert(key, value);
            }
        }
        db.write(batch, Durability::Buffered)?;
        if round % 5 != 4 {
            db.flush()?;
        }
    }
    Ok(())
}

fn bound(dice: &mut Dice) -> Bound<Vec<u8>> {
    match dice.roll(3) {
        0 => Bound::Unbounded,
        1 => Bound::Included(key(dice.roll(200))),
        _ => Bound::Excluded(key(dice.roll(200))),
    }
}

/// Moves a cursor at random and a position in the map likewise; compares them after each step.
fn walk(cursor: &mut Cursor, pairs: &Pairs, range: &Range, dice: &mut Dice) -> Result<()> {
    let inside: Vec<_> = pairs.iter().filter(|(key, _)| range.contains(*key)).collect();
    let mut at: Option<usize> = None;
    for _ in 0..200 {
        let target = key(dice.roll(200));
        let behind = |index: usize| Some(index).filter(|&index| index < inside.len());
        let (moved, name) = match dice.roll(12) {
            0 => (cursor.first(), "first"),
            1 => (cursor.last(), "last"),
            2 => (cursor.seek(&target), "seek"),
            3 => (cursor.seek_back(&target), "seek_back"),
            4..8 => (cursor.next(), "next"),
            _ => (cursor.prev(), "prev"),
        };
        moved?;
        at = match name {
            "first" => behind(0),
            "last" => inside.len().checked_sub(1),
            "seek" => behind(inside.partition_point(|pair| *pair.0 < target)),
            "seek_back" => inside.partition_point(|pair| *pair.0 <= target).checked_sub(1),
            "next" => at.and_then(|at| behind(at + 1)),
            _ => at.and_then(|at| at.checked_sub(1)),
        };
        let expected = at.map(|at| (inside[at].0.as_slice(), inside[at].1.as_slice()));
        let found = cursor.valid().then(|| (cursor.key(), cursor.value()));
        assert_eq!(found, expected, "after {name} {}", target.escape_ascii());
        let pinned = cursor.value_pinned();
        assert_eq!(pinned.as_deref(), expected.map(|pair| pair.1));
    }
    Ok(())
}

/// Random walks of cursors over the newest state and over a snapshot, in ranges of every kind, while
/// versions of the same keys lie in several tables and memtables.
#[test]
fn a_cursor_walks_like_one_over_a_map() -> Result<()> {
    for (seed, strategy) in
        [Strategy::Hybrid, Strategy::Fifo { size_max: 1 << 40 }].iter().enumerate()
    {
        let (_dir, sand) = sand();
        let db = Options::new().strategy(*strategy).cache_size(20_000).open(&sand)?;
        let (mut dice, mut pairs) = (Dice(seed as u64), Pairs::new());
        fill(&db, &mut dice, &mut pairs, 0..9)?;
        let (snapshot, old) = (db.snapshot(), pairs.clone());
        fill(&db, &mut dice, &mut pairs, 9..15)?;
        for _ in 0..40 {
            let range = (bound(&mut dice), bound(&mut dice));
            walk(&mut db.cursor_within(range.clone()), &pairs, &range, &mut dice)?;
            walk(&mut snapshot.cursor_within(range.clone()), &old, &range, &mut dice)?;
        }
        let all = (Bound::Unbounded, Bound::Unbounded);
        walk(&mut db.cursor(), &pairs, &all, &mut dice)?;
        walk(&mut snapshot.cursor(), &old, &all, &mut dice)?;
    }
    Ok(())
}

/// Takes pairs from both ends in random turns until there are none: each comes once, and after the
/// end, whichever end reached it, nothing comes from either.
#[test]
fn both_ends_of_an_iterator_meet() -> Result<()> {
    let (_dir, sand) = sand();
    let db = Db::open(&sand)?;
    let (mut dice, mut pairs) = (Dice(7), Pairs::new());
    fill(&db, &mut dice, &mut pairs, 0..6)?;
    for bias in [0, 1, 5, 9, 10] {
        let mut iter = db.iter();
        let mut left: std::collections::VecDeque<_> = pairs.keys().cloned().collect();
        for _ in 0..pairs.len() + 5 {
            let (found, expected) = if dice.roll(10) < bias {
                (iter.next_back(), left.pop_back())
            } else {
                (iter.next(), left.pop_front())
            };
            assert_eq!(found.transpose()?.map(|pair| pair.0), expected);
        }
        assert!(iter.next().is_none() && iter.next_back().is_none());
    }
    Ok(())
}

/// A cursor sees the store as it was when it was made, whatever is written, flushed and compacted
/// meanwhile.
#[test]
fn a_cursor_stays_in_its_moment() -> Result<()> {
    let (_dir, sand) = sand();
    let db = Db::open(&sand)?;
    let (mut dice, mut pairs) = (Dice(3), Pairs::new());
    fill(&db, &mut dice, &mut pairs, 0..4)?;
    let (mut cursor, old) = (db.cursor(), pairs.clone());
    fill(&db, &mut dice, &mut pairs, 4..30)?;
    walk(&mut cursor, &old, &(Bound::Unbounded, Bound::Unbounded), &mut dice)
}
