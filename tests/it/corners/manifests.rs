//! Manifests that cannot be written, and manifests that are too long.

use beachdb::runtime::inline::InlineRuntime;
use beachdb::vfs::fault::{FaultError, FaultVfs, OpKind};
use beachdb::vfs::sim::SimVfs;
use beachdb::{Durability, Strategy};

use super::{always, count_files, put};
use crate::history::{DIR, tiny};

/// A memtable waits to become a table, and the manifest cannot be synced: the disk is full. Each try
/// would write the table anew, and none of them could be named: there is one at most.
#[test]
fn trying_a_flush_again_leaves_no_tables_behind() {
    let sim = SimVfs::new();
    let (vfs, runtime) = (FaultVfs::over_sim(sim.clone()), InlineRuntime::new(1));
    let db = tiny(vfs.clone(), &runtime).open(DIR).expect("a store");
    while db.stats().immutable_memtables == 0 {
        put(&db, "key", 300, Durability::Buffered).expect("put");
    }
    vfs.add(always(OpKind::Sync, "MANIFEST", FaultError::Enospc));
    let mut told = 0;
    for n in 0..60 {
        runtime.run_until_idle();
        told += u64::from(put(&db, &format!("key{n}"), 1, Durability::Buffered).is_err());
    }
    assert!(told > 20, "{told}");
    assert!(count_files(&sim, ".sst") <= 1, "{} tables", count_files(&sim, ".sst"));
}

/// The tree alone is larger than a manifest may be. It is not written again with each edit, but when
/// the file has doubled: two hundred flushes make a few manifests and not as many as there are edits.
#[test]
fn a_tree_larger_than_the_limit_is_not_written_with_each_edit() {
    let sim = SimVfs::new();
    let options = tiny(sim.clone(), &InlineRuntime::new(1)).manifest_size(1);
    let db = options.strategy(Strategy::Fifo { size_max: u64::MAX }).open(DIR).expect("a store");
    for n in 0..200 {
        put(&db, &format!("key{n}"), 10, Durability::Buffered).expect("put");
        db.flush().expect("flush");
    }
    assert_eq!(db.tables().len(), 200);
    let manifests = count_files(&sim, "MANIFEST");
    assert!((3..40).contains(&manifests), "{manifests} manifests");
}
