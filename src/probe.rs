//! Probes: places in the engine where a test build can be killed or made wrong on purpose.
//!
//! Without the features `failpoints` and `mutants` they are nothing: the calls compile to no code.
//!
//! - A *failpoint* stands where order matters. `BEACH_FAILPOINT=NAME` kills the process, as SIGKILL
//!   would, when it comes to the failpoint of that name; `NAME:3` when it comes there for the third
//!   time.
//! - A *mutant* is a deliberate bug, one for each rule that the tests are there to guard.
//!   `BEACH_MUTANT=NAME` switches one on. A campaign that does not notice it is worth nothing.

/// Dies here if this failpoint is armed.
#[inline(always)]
pub fn failpoint(name: &'static str) {
    #[cfg(feature = "failpoints")]
    failpoints::reached(name);
    #[cfg(not(feature = "failpoints"))]
    let _ = name;
}

/// Whether this mutant is switched on.
#[inline(always)]
#[must_use]
pub fn mutant(name: &'static str) -> bool {
    #[cfg(feature = "mutants")]
    return mutants::is_on(name);
    #[cfg(not(feature = "mutants"))]
    {
        let _ = name;
        false
    }
}

/// The build has failpoints.
pub const HAS_FAILPOINTS: bool = cfg!(feature = "failpoints");

/// The build has mutants.
pub const HAS_MUTANTS: bool = cfg!(feature = "mutants");

/// Every failpoint of the engine, in the order of their names.
pub const FAILPOINTS: &[&str] = &[
    "checkpoint_after_claim",
    "checkpoint_after_close",
    "checkpoint_after_link",
    "checkpoint_after_links",
    "checkpoint_after_log",
    "checkpoint_after_manifest",
    "checkpoint_after_mark",
    "checkpoint_after_memtables",
    "checkpoint_after_store",
    "checkpoint_after_unmark",
    "close_after_flush",
    "close_after_frames",
    "close_after_sync",
    "close_before_frames",
    "close_before_sync",
    "commit_after_visible",
    "commit_before_visible",
    "compaction_after_create",
    "compaction_after_install",
    "compaction_after_manifest",
    "compaction_after_mark",
    "compaction_after_obsolete",
    "compaction_after_publish",
    "compaction_after_table_sync",
    "compaction_before_dir_sync",
    "compaction_before_install",
    "compaction_before_merge",
    "create_after_dir",
    "create_after_log",
    "create_after_manifest",
    "create_after_mark",
    "create_before_log",
    "current_after_create",
    "current_after_dir_sync",
    "current_after_rename",
    "current_after_write",
    "current_before_rename",
    "flush_after_create",
    "flush_after_dir_sync",
    "flush_after_install",
    "flush_after_log_removed",
    "flush_after_manifest",
    "flush_after_mark",
    "flush_after_publish",
    "flush_after_table_sync",
    "flush_before_install",
    "ingest_after_dir_sync",
    "ingest_after_empty_memory",
    "ingest_after_flush",
    "ingest_after_manifest",
    "ingest_after_mark",
    "ingest_after_publish",
    "ingest_after_renumber",
    "ingest_after_tables",
    "ingest_after_visible",
    "log_begin_after_allocate",
    "log_begin_after_create",
    "log_begin_after_dir_sync",
    "log_begin_after_header",
    "log_begin_after_sync",
    "manifest_after_append",
    "manifest_after_sync",
    "manifest_begin_after_create",
    "manifest_begin_after_dir_sync",
    "manifest_begin_after_sync",
    "manifest_begin_after_write",
    "manifest_rollover_after_begin",
    "manifest_rollover_after_install",
    "manifest_rollover_before_begin",
    "obsolete_after_remove",
    "obsolete_before_remove",
    "recovery_after_copy",
    "recovery_after_copy_sync",
    "recovery_after_end_edit",
    "recovery_after_left_over_removed",
    "recovery_after_log",
    "recovery_after_log_edit",
    "recovery_after_mark",
    "recovery_before_end_edit",
    "rotate_after_create",
    "rotate_after_end",
    "rotate_after_manifest",
    "rotate_after_mark",
    "rotate_after_publish",
    "table_before_last_write",
    "table_before_sync",
    "wal_after_append",
    "wal_after_mark",
    "wal_after_sync",
    "wal_after_sync_of_older",
    "wal_before_append",
    "wal_grow_after_allocate",
    "wal_grow_after_manifest",
    "wal_grow_after_sync",
];

#[cfg(feature = "failpoints")]
mod failpoints {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::FAILPOINTS;

    /// The armed one, and at how manieth visit it kills.
    fn armed() -> Option<&'static (String, u64)> {
        static ARMED: OnceLock<Option<(String, u64)>> = OnceLock::new();
        let read = || {
            let text = std::env::var("BEACH_FAILPOINT").ok()?;
            let (name, visit) = text.split_once(':').unwrap_or((&text, "1"));
            // A name misspelt would be a failpoint that nothing reaches.
            assert!(FAILPOINTS.contains(&name), "BEACH_FAILPOINT: there is no failpoint {name:?}");
            Some((name.to_owned(), visit.parse().unwrap_or(1)))
        };
        ARMED.get_or_init(read).as_ref()
    }

    pub(super) fn reached(name: &'static str) {
        static VISITS: AtomicU64 = AtomicU64::new(0);
        let Some((armed, visit)) = armed() else { return };
        if armed == name && VISITS.fetch_add(1, Ordering::SeqCst) + 1 == *visit {
            let me = rustix::process::getpid();
            // A process that cannot kill itself must not go on either.
            let _ = rustix::process::kill_process(me, rustix::process::Signal::KILL);
            std::process::abort();
        }
    }
}

#[cfg(feature = "mutants")]
mod mutants {
    use std::sync::OnceLock;

    pub(super) fn is_on(name: &'static str) -> bool {
        static ON: OnceLock<Option<String>> = OnceLock::new();
        ON.get_or_init(|| std::env::var("BEACH_MUTANT").ok()).as_deref() == Some(name)
    }
}
