//! Ranges of keys, from the options that name them.

use std::ffi::OsString;
use std::ops::Bound;

use crate::cli::Outcome;
use crate::cli::args::{Args, RangeArgs};

/// From a key, up to and without another.
pub(super) type Range = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// `--from`, `--to` and, where a verb has it, `--prefix` together are one range.
pub(super) fn bounds(args: &Args, wanted: &RangeArgs, prefix: Option<&OsString>) -> Outcome<Range> {
    let decode = |name: &str, argument: Option<&OsString>| {
        argument.map(|argument| args.common.decode(name, argument)).transpose()
    };
    let from = decode("--from", wanted.from.as_ref())?;
    let to = decode("--to", wanted.to.as_ref())?;
    let prefix = decode("--prefix", prefix)?;
    let behind = prefix.as_deref().and_then(behind_prefix);
    let begin = [from, prefix].into_iter().flatten().max();
    let end = [to, behind].into_iter().flatten().min();
    Ok((
        begin.map_or(Bound::Unbounded, Bound::Included),
        end.map_or(Bound::Unbounded, Bound::Excluded),
    ))
}

/// The first key behind all that begin with `prefix`; none if there is no key behind them.
fn behind_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut behind = prefix[..=last].to_vec();
    behind[last] += 1;
    Some(behind)
}

/// Whether no key lies in it.
pub(super) fn is_empty(range: &Range) -> bool {
    matches!(range, (Bound::Included(begin), Bound::Excluded(end)) if begin >= end)
}

/// Whether it is all keys.
pub(super) fn is_full(range: &Range) -> bool {
    matches!(range, (Bound::Unbounded, Bound::Unbounded))
}

/// Whether keys from `smallest` to `largest`, both inclusive, may lie in it.
pub(super) fn touches(range: &Range, smallest: &[u8], largest: &[u8]) -> bool {
    let begins = match &range.0 {
        Bound::Included(begin) => begin.as_slice() <= largest,
        _ => true,
    };
    let ends = match &range.1 {
        Bound::Excluded(end) => smallest < end.as_slice(),
        _ => true,
    };
    begins && ends && !is_empty(range)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args;

    fn range(words: &[&str]) -> Range {
        let line = ["beach", "scan"].iter().chain(words).map(OsString::from);
        let args = args::parse(line).unwrap();
        let args::Verb::Scan(wanted) = &args.verb else { panic!("not scan") };
        bounds(&args, &wanted.range, wanted.prefix.as_ref()).unwrap()
    }

    /// Known ranges, among them a prefix that ends in the highest byte and one that is all of it.
    #[test]
    fn from_to_and_prefix_make_one_range() {
        let half_open = |from: &str, to: &str| {
            (Bound::Included(from.as_bytes().to_vec()), Bound::Excluded(to.as_bytes().to_vec()))
        };
        assert_eq!(range(&[]), (Bound::Unbounded, Bound::Unbounded));
        assert_eq!(range(&["--prefix", "ab"]), half_open("ab", "ac"));
        assert_eq!(range(&["--prefix", "ab", "--from", "abx"]), half_open("abx", "ac"));
        assert_eq!(
            range(&["--prefix", "ab", "--from", "a", "--to", "abc"]),
            half_open("ab", "abc")
        );
        assert!(is_empty(&range(&["--from", "b", "--to", "a"])));
        assert!(is_empty(&range(&["--from", "a", "--to", "a"])));
        assert!(is_empty(&range(&["--prefix", "a", "--to", "a"])));
        assert_eq!(
            range(&["--enc", "hex", "--prefix", "01ffff"]),
            (Bound::Included(vec![1, 0xff, 0xff]), Bound::Excluded(vec![2]))
        );
        assert_eq!(
            range(&["--enc", "hex", "--prefix", "ffff"]),
            (Bound::Included(vec![0xff, 0xff]), Bound::Unbounded)
        );
    }

    /// Every pair of ends against every table of two keys, by the definition.
    #[test]
    fn a_range_touches_a_table_that_may_hold_one_of_its_keys() {
        let keys = [&b"a"[..], b"b", b"c", b"d"];
        let ends = || std::iter::once(None).chain(keys.map(|key| Some(key.to_vec())));
        for (from, to) in ends().flat_map(|from| ends().map(move |to| (from.clone(), to))) {
            let range = (
                from.clone().map_or(Bound::Unbounded, Bound::Included),
                to.clone().map_or(Bound::Unbounded, Bound::Excluded),
            );
            // A table may hold any key between its own two, not only these four.
            let within = |key: &[u8]| {
                from.as_deref().is_none_or(|from| from <= key)
                    && to.as_deref().is_none_or(|to| key < to)
            };
            for (smallest, largest) in [(b"a", b"a"), (b"b", b"c"), (b"a", b"d"), (b"d", b"d")] {
                let between = [&b"a"[..], b"a5", b"b", b"b5", b"c", b"c5", b"d"];
                let held = between.iter().filter(|key| (&smallest[..]..=largest).contains(*key));
                let expected = held.clone().any(|key| within(key));
                assert_eq!(touches(&range, smallest, largest), expected, "{range:?}");
            }
        }
    }
}
