//! The window over the logs, and runs of tables.

use std::path::Path;
use std::sync::Arc;

use super::log::{LogSource, Logs};
use super::*;
use crate::vfs::sim::SimVfs;
use crate::{Durability, Options, WriteBatch};

/// A store with several live logs and no table, and a view of it.
fn of_logs(count: u64) -> (Arc<SimVfs>, View) {
    let vfs = Arc::new(SimVfs::new());
    let dir = Path::new("sand");
    let db = Options::new().vfs(vfs.clone()).open(dir).unwrap();
    for n in 0..count {
        let mut batch = WriteBatch::new();
        batch.put(format!("key{:03}", n * 37 % 100), format!("value {n}"));
        batch.delete(format!("key{:03}", n * 11 % 100));
        db.write(batch, Durability::Buffered).unwrap();
    }
    db.close().unwrap();
    let view = View::take(&*vfs, dir).unwrap();
    (vfs, view)
}

/// Every operation through a window of `budget` bytes: key, sequence number, value.
fn through(view: &View, budget: u64, range: &Range) -> Vec<(Vec<u8>, SeqNo, Vec<u8>)> {
    let source = |log: &LogView| LogSource { view: log.clone(), is_live: true };
    let logs = view.logs.iter().map(source).collect();
    let mut logs = Logs::new(logs, range.clone(), true, SeqNo::ZERO, budget);
    let mut findings = Vec::new();
    let mut all = Vec::new();
    let mut more = logs.first(&mut findings).unwrap();
    while more {
        let (key, op) = logs.current().unwrap();
        all.push((key.user.clone(), key.trailer().seqno(), op.value.clone()));
        more = logs.advance().unwrap();
    }
    assert_eq!(findings, []);
    all
}

/// The same operations in the same order whether all fit the window, few do, or one at a time.
#[test]
fn a_small_window_shows_what_a_large_one_does() {
    let (_vfs, view) = of_logs(120);
    let all = through(&view, u64::MAX, &Range::default());
    assert_eq!(all.len(), 240);
    let place =
        |(key, seqno, _): &(Vec<u8>, SeqNo, Vec<u8>)| (key.clone(), std::cmp::Reverse(*seqno));
    assert!(all.iter().map(place).is_sorted());
    for budget in [0, 1000, 5000, 20_000] {
        assert!(through(&view, budget, &Range::default()) == all, "{budget}");
    }
    let range = Range { from: Some(b"key010".to_vec()), to: Some(b"key020".to_vec()) };
    let within: Vec<_> = all.into_iter().filter(|(key, ..)| range.contains(key)).collect();
    assert!(!within.is_empty());
    assert_eq!(through(&view, 2000, &range), within);
}

/// Prefixes that end in the highest byte, and the one that is all of it.
#[test]
fn a_prefix_is_a_range() {
    for prefix in [&b""[..], b"a", b"a\xff", b"\xff\xff"] {
        let range = Range::prefix(prefix);
        for key in [&b"a"[..], b"b", b"a\xff", b"a\xff\x01", b"\xff", b"\xff\xff", b"\xff\xff\x07"]
        {
            assert_eq!(range.contains(key), key.starts_with(prefix), "{prefix:?} {key:?}");
        }
    }
    assert!(Range::key(b"a").contains(b"a") && !Range::key(b"a").contains(b"a\0"));
}

/// Tables from an ascending fill lie behind one another, so they are one run and one is open at a
/// time; those that lie over each other are not.
#[test]
fn tables_that_do_not_overlap_are_one_run() {
    let vfs = Arc::new(SimVfs::new());
    let dir = Path::new("sand");
    let strategy = crate::Strategy::SizeTiered;
    let db = Options::new().vfs(vfs.clone()).strategy(strategy).open(dir).unwrap();
    // Four tables would be merged.
    for n in 0..2 {
        db.put(format!("key{n}"), "x").unwrap();
        db.flush().unwrap();
    }
    let runs = || {
        let view = View::take(&*vfs, dir).unwrap();
        Versions::of_store(&*vfs, &view, Wanted::default()).unwrap().runs.len()
    };
    assert_eq!(runs(), 1);
    db.put("key1", "y").unwrap();
    db.flush().unwrap();
    assert_eq!(runs(), 2);
}
