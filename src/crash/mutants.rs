//! The mutants: deliberate bugs in the engine, one or more for each of the rules that it lives by,
//! and the campaigns that have to notice each of them.
//!
//! A mutant stands in the engine as `mutant("name")` and is switched on by `BEACH_MUTANT=name` in a
//! build with the feature `mutants`; elsewhere it is no code at all. What the campaigns do not
//! notice they do not test.

/// A deliberate bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mutant {
    /// Its name, in the engine and in `BEACH_MUTANT`.
    pub name: &'static str,
    /// The number of the rule that it breaks; see [`RULES`].
    pub rule: u8,
    /// What it does.
    pub what: &'static str,
    /// Where it was a bug, as reported by others; empty if it is made up.
    pub source: &'static str,
    /// Whether it is one of the few of `--profile ci`.
    pub quick: bool,
}

impl Mutant {
    /// The mutant of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Mutant> {
        MUTANTS.iter().find(|mutant| mutant.name == name)
    }
}

/// The rules, by number from 1, in a few words.
pub const RULES: [&str; 17] = [
    "a torn tail is allowed only past the last promise",
    "marks promise what was synced; closes come in pairs",
    "the manifest knows the live log before the first acknowledgement",
    "logs are strict once synced; replay stops at the first hole",
    "checksums cover headers, identity and place",
    "a failed append or sync has an unknown outcome for ever",
    "what was replayed is durable before it is served",
    "each step is durable before the next relies on it",
    "a missing CURRENT is damage; creation can be repeated",
    "file numbers are used once; orphans go last",
    "visible means whole, in order and, if asked, durable",
    "a log goes when its memtables are flushed, oldest first",
    "snapshots are registered, and compaction keeps what they see",
    "a tombstone goes only where nothing older can be",
    "all ways of reading agree",
    "errors of reading are no ends, and nothing is installed after them",
    "nothing is marked clean after an error; checkpoints are whole",
];

/// A campaign, as `beach-crash` is told to run it against a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Campaign {
    /// How it is called in the table.
    pub name: &'static str,
    /// The words behind `beach-crash`; a directory of its own is added.
    pub words: &'static [&'static str],
    /// Whether it is only for what no other notices.
    pub is_long: bool,
}

/// The campaigns in the order in which they are tried: the quickest for most mutants first.
pub const CAMPAIGNS: &[Campaign] = &[
    short("variants", &["variants", "--cycles", "6"]),
    short("faults", &["faults", "--cycles", "3"]),
    short("damage", &["damage", "--cycles", "40"]),
    short("crowd", &["crowd", "--cycles", "24"]),
    short("power", &["power", "--length", "1", "--cycles", "8"]),
    short("run", &["run", "--cycles", "12", "--seed", "1"]),
    short("bank", &["bank", "--cycles", "8", "--seed", "1"]),
    long("variants, long", &["variants", "--cycles", "400"]),
    long(
        "power, long",
        &["power", "--length", "2", "--cycles", "40", "--seed", "9", "--duration", "30"],
    ),
];

const fn short(name: &'static str, words: &'static [&'static str]) -> Campaign {
    Campaign { name, words, is_long: false }
}

const fn long(name: &'static str, words: &'static [&'static str]) -> Campaign {
    Campaign { name, words, is_long: true }
}

/// Shorthand for the table below.
const fn made_up(name: &'static str, rule: u8, what: &'static str) -> Mutant {
    Mutant { name, rule, what, source: "", quick: false }
}

const fn reported(
    name: &'static str,
    rule: u8,
    what: &'static str,
    source: &'static str,
) -> Mutant {
    Mutant { name, rule, what, source, quick: false }
}

const fn quick(mutant: Mutant) -> Mutant {
    Mutant { quick: true, ..mutant }
}

/// Every mutant, by rule.
pub const MUTANTS: &[Mutant] = &[
    quick(reported(
        "promises_ignored",
        1,
        "a log that ends before what was promised synced is taken for torn",
        "Pebble issue 453",
    )),
    made_up("no_look_behind_a_bad_record", 1, "what lies behind a bad record is not looked at"),
    made_up("flipped_bit_taken_for_a_tear", 1, "a flipped bit in the tail is taken for a tear"),
    made_up("no_mark_after_sync", 2, "no mark promises the record synced last"),
    quick(made_up("mark_before_sync", 2, "the mark promises before the sync is done")),
    made_up("closed_once", 2, "a close writes one frame, not a pair"),
    made_up("marks_about_the_manifest_ignored", 2, "a manifest that lost its end is believed"),
    quick(reported(
        "missing_log_taken_for_empty",
        3,
        "a log that the manifest names and that is not there is skipped",
        "Badger issue 541",
    )),
    made_up("short_log_accepted", 3, "a log shorter than the manifest knows it is accepted"),
    made_up("foreign_log_accepted", 3, "a log of another store is replayed"),
    made_up("growth_not_recorded", 3, "a log grows without the manifest"),
    reported(
        "growth_not_synced",
        3,
        "the manifest knows a size that is not durable",
        "Bolt issue 284",
    ),
    made_up("later_promise_ignored", 4, "a log may break off although the next one was synced"),
    reported(
        "replay_goes_on_behind_a_hole",
        4,
        "the next log is replayed behind one that breaks off",
        "RocksDB pull request 7859, unistore issue 567",
    ),
    made_up("ends_not_settled", 4, "recovery does not record where the old logs end"),
    reported(
        "older_logs_not_synced",
        4,
        "a durable write syncs its own log only",
        "LevelDB issue 193",
    ),
    quick(made_up("no_mix", 5, "checksums know neither file nor place")),
    made_up("frame_header_unchecked", 5, "a frame's header is believed unchecked"),
    reported(
        "frame_payload_unchecked",
        5,
        "a half-written record is replayed",
        "LevelDB issue 251",
    ),
    made_up("block_unchecked", 5, "a table's block is read whatever its checksum"),
    quick(made_up("no_poison", 6, "writing goes on after an unknown outcome")),
    made_up("failed_sync_tried_again", 6, "a failed sync is tried again, and then believed"),
    reported(
        "append_behind_failed_append",
        6,
        "the next record goes behind one whose append failed",
        "RocksDB pull request 12448",
    ),
    reported(
        "edits_behind_a_failed_edit",
        6,
        "the manifest takes edits behind one whose sync failed",
        "RocksDB issue 4990, Pebble issue 153",
    ),
    made_up("last_seqno_not_recorded", 6, "a flush forgets the last sequence number given"),
    made_up("read_error_is_the_end", 7, "an I/O error while a log is read is taken for its end"),
    made_up("replayed_records_not_synced", 7, "what was replayed is served without a sync"),
    reported(
        "log_reused_behind_a_tear",
        7,
        "after an unclean end writing goes on in the same log",
        "LevelDB pull request 1336",
    ),
    made_up("table_not_synced", 8, "a table is named before it is durable"),
    reported(
        "table_sync_error_ignored",
        8,
        "the failed sync of a table goes unnoticed",
        "RocksDB pull request 2495",
    ),
    reported(
        "table_name_not_synced",
        8,
        "a flushed table is named before its directory is synced",
        "LevelDB issue 196",
    ),
    made_up("merged_names_not_synced", 8, "the same of merged tables"),
    made_up("edit_not_synced", 8, "an edit is relied on before it is durable"),
    reported(
        "new_manifest_not_synced",
        8,
        "CURRENT names a manifest that is not durable",
        "LevelDB issue 189",
    ),
    reported(
        "current_not_synced",
        8,
        "CURRENT is renamed before it has content",
        "LevelDB issue 74",
    ),
    reported(
        "rename_not_synced",
        8,
        "the rename of CURRENT is relied on before it is durable",
        "LevelDB issue 195, RocksDB pull request 10573",
    ),
    made_up("inputs_removed_before_the_edit", 8, "merged tables go before the edit"),
    made_up("logs_removed_before_the_edit", 8, "flushed logs go before the edit"),
    quick(made_up("missing_current_creates", 9, "a store without CURRENT is made anew")),
    made_up("parent_dir_not_synced", 9, "a new store's own name is not durable"),
    made_up("half_made_store_refused", 9, "an interrupted creation cannot be repeated"),
    made_up("numbers_on_disk_overlooked", 10, "a new file may get the number of a left-over one"),
    made_up("orphans_removed_before_the_verdict", 10, "a refused opening removes tables"),
    made_up("table_removed_under_readers", 10, "a table goes while iterators name it"),
    made_up("wal_not_synced", 11, "a durable write is not synced"),
    quick(made_up("visible_before_sync", 11, "a write is read before it is durable")),
    made_up("visible_number_runs_ahead", 11, "a snapshot can be taken of what is not there yet"),
    quick(reported(
        "followers_of_a_failed_leader_succeed",
        11,
        "those who waited for a failed write are told that theirs went well",
        "RocksDB issue 3096",
    )),
    made_up("third_operation_of_a_batch_lost", 11, "a batch is applied in part"),
    made_up("log_removed_at_rotation", 12, "a full log goes before its memtable is flushed"),
    made_up("newest_memtable_flushed_first", 12, "memtables are flushed in the wrong order"),
    made_up("snapshot_not_registered", 13, "compaction does not know of a snapshot"),
    made_up("only_the_oldest_snapshot_counts", 13, "compaction knows of one snapshot only"),
    made_up("snapshot_off_by_one", 13, "what was written right before a snapshot is dropped"),
    quick(reported(
        "tombstones_dropped_early",
        14,
        "a deleted value comes back when its tombstone is merged away",
        "RocksDB issue 2722",
    )),
    reported(
        "tables_beside_the_inputs_overlooked",
        14,
        "older tables of L0 beside the inputs are not counted as older",
        "LevelDB issue 205",
    ),
    made_up("filter_forgets_a_key", 15, "a filter hides a key"),
    made_up("last_key_of_a_block_not_found", 15, "a search in the index is off by one"),
    made_up("reverse_scan_skips_an_entry", 15, "a reverse scan skips an entry between blocks"),
    made_up("oldest_table_read_first", 15, "L0 is read in the wrong order"),
    reported(
        "key_cut_in_two",
        15,
        "versions of one key end up in two tables of a level",
        "LevelDB issue 320",
    ),
    quick(made_up("read_error_ends_an_input", 16, "a merge goes on without what it cannot read")),
    made_up("iterator_goes_on_behind_an_error", 16, "an iterator yields more after an error"),
    quick(made_up("clean_after_a_failure", 17, "a poisoned store is marked as closed well")),
    made_up("clean_after_a_failed_job", 17, "a store is closed well after a failed job"),
    made_up("checkpoint_without_the_memtable", 17, "a checkpoint lacks what is in memory"),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Every rule has a mutant, no name comes twice, and the quick ones are about ten.
    #[test]
    fn every_rule_has_a_mutant() {
        for rule in 1..=RULES.len() {
            assert!(MUTANTS.iter().any(|mutant| usize::from(mutant.rule) == rule), "rule {rule}");
        }
        let names: std::collections::BTreeSet<_> = MUTANTS.iter().map(|one| one.name).collect();
        assert_eq!(names.len(), MUTANTS.len());
        assert!(MUTANTS.is_sorted_by_key(|mutant| mutant.rule));
        assert!(MUTANTS.len() >= 30, "{} mutants", MUTANTS.len());
        let reported = MUTANTS.iter().filter(|mutant| !mutant.source.is_empty()).count();
        assert!(reported >= 4, "{reported} that others reported");
        let quick = MUTANTS.iter().filter(|mutant| mutant.quick).count();
        assert!((8..=14).contains(&quick), "{quick} quick ones");
        assert_eq!(Mutant::named("no_mix").map(|mutant| mutant.rule), Some(5));
        assert_eq!(Mutant::named("no_such"), None);
    }
}
