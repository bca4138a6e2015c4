//! A scan over what was deleted: as fast as one over live data, and faster once tombstones are gone.

use std::sync::Arc;

use beachdb::runtime::Runtime;
use beachdb::runtime::threads::ThreadRuntime;
use beachdb::{Db, Durability, Options, WriteBatch};

use super::*;

const COUNT: u32 = 100_000;

/// Writes or deletes all keys of a prefix.
fn fill(db: &Db, prefix: &str, value: Option<&[u8]>) {
    for start in (0..COUNT).step_by(1000) {
        let mut batch = WriteBatch::new();
        for n in start..start + 1000 {
            let key = format!("{prefix}/{n:08}");
            match value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            };
        }
        db.write(batch, Durability::Buffered).expect("write");
    }
}

/// The shortest of three scans of a prefix, microseconds, forwards and backwards, and how many
/// pairs each found.
fn scan(db: &Db, clock: &ThreadRuntime, prefix: &str) -> (u64, usize) {
    let scans = (0..3).map(|_| {
        let started = clock.monotonic_us();
        let found = db.prefix(prefix).count();
        assert_eq!(db.prefix(prefix).rev().count(), found);
        (clock.monotonic_us() - started, found)
    });
    scans.min().expect("three scans")
}

/// A hundred thousand keys that were deleted cost a scan no more than a small multiple of as many
/// that are there: nothing in it grows with the number of tombstones passed. When the tree is in
/// shape again the tombstones are gone, without anybody asking for it, and the scan costs nothing.
#[test]
fn a_scan_over_deleted_keys_stays_fast() {
    let clock = ThreadRuntime::default();
    let inline = InlineRuntime::new(1);
    let options = Options::new().vfs(Arc::new(SimVfs::new())).runtime(Arc::new(inline.clone()));
    let db = options.open(DIR).expect("a store");
    fill(&db, "dead", Some(b"some value"));
    fill(&db, "live", Some(b"some value"));
    db.flush().expect("flush");
    fill(&db, "dead", None);
    db.flush().expect("flush");
    let tombstones = || -> u64 { db.stats().levels.iter().map(|level| level.tombstones).sum() };
    assert_eq!(tombstones(), u64::from(COUNT));
    let (live, dead) = (scan(&db, &clock, "live"), scan(&db, &clock, "dead"));
    assert_eq!((live.1, dead.1), (COUNT as usize, 0));
    // Twice as many entries have to be passed, in two tables.
    assert!(dead.0 < 8 * live.0, "{} us over deleted keys, {} over live ones", dead.0, live.0);
    inline.run_until_idle();
    assert_eq!(tombstones(), 0, "tombstones are reason enough for a merge");
    let gone = scan(&db, &clock, "dead");
    println!("live {} us, deleted {} us, merged {} us", live.0, dead.0, gone.0);
    assert!(gone.1 == 0 && gone.0 < live.0 / 20 + 100, "{} us over nothing", gone.0);
    assert_eq!(scan(&db, &clock, "live").1, COUNT as usize);
}
