//! `beach du`.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use super::histories::{History, bytes, size_of};
use super::stores::{BEACH, Beach, Ran};

fn du(beach: &Beach, words: &[&str]) -> Ran {
    let ran = beach.run(BEACH, &[&["--db", "sand", "--json", "du"], words].concat());
    ran.is_valid("du");
    ran
}

fn sum(ran: &Ran, reason: &str, field: &str) -> u64 {
    let uses = ran.of_kind("use");
    let found = uses.iter().find(|it| it["reason"] == reason).expect("the reason");
    found[field].as_u64().expect("a number")
}

fn number(object: &Value, field: &str) -> u64 {
    object[field].as_u64().unwrap_or_else(|| panic!("no {field} in {object}"))
}

/// Random histories, with other people's files and an orphan beside: the reasons add up to the
/// directory's files, and the versions of each kind to what `find` shows of them.
#[test]
fn the_reasons_add_up_to_the_directory() {
    for seed in 20..26 {
        let history = History::of(seed);
        let beach = &history.beach;
        let versions = beach.run(BEACH, &["--db", "sand", "--json", "find", "--prefix", ""]);
        let versions = versions.of_kind("found");
        fs::write(beach.path("notes.txt"), "not ours").expect("a file");
        fs::write(beach.path("000999.sst"), "an orphan").expect("a file");
        let ran = du(beach, &[]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        let summary = &ran.of_kind("summary")[0];
        let total: u64 = ran.of_kind("use").iter().map(|it| number(it, "bytes")).sum();
        assert_eq!(total, size_of(&beach.store()), "seed {seed}");
        assert_eq!(number(summary, "bytes"), total);
        let files = fs::read_dir(beach.store()).expect("the store").count() as u64;
        assert_eq!(number(summary, "files"), files);
        assert_eq!((sum(&ran, "unknown", "bytes"), sum(&ran, "orphans", "bytes")), (8, 9));
        assert_eq!(sum(&ran, "damaged", "bytes"), 0);
        let both = |table: &str, log: &str| sum(&ran, table, "count") + sum(&ran, log, "count");
        assert_eq!(both("live", "log_live"), history.pairs.len() as u64, "seed {seed}");
        let count = |kept: &dyn Fn(&Value) -> bool| versions.iter().filter(|it| kept(it)).count();
        let tombstones = count(&|it| it["kind"] == "del");
        assert_eq!(both("tombstones", "log_tombstones"), tombstones as u64);
        let shadowed = count(&|it| it["kind"] == "put" && it["fate"] == "shadowed");
        assert_eq!(both("shadowed", "log_shadowed"), shadowed as u64);
    }
}

/// Every prefix of the model stands there once, in order, with as many live keys as the model has;
/// without compression their bytes are at least those of keys and values.
#[test]
fn prefixes_are_summed_up() {
    let history = History::of(31);
    let ran = du(&history.beach, &["--by-prefix", "6"]);
    let rows = ran.of_kind("prefix");
    let mut model: BTreeMap<Vec<u8>, (u64, u64)> = BTreeMap::new();
    for (key, value) in &history.pairs {
        let (count, size) = model.entry(key[..key.len().min(6)].to_vec()).or_default();
        *count += 1;
        *size += (key.len() + value.len()) as u64;
    }
    let prefixes: Vec<Vec<u8>> = rows.iter().map(|row| bytes(row, "prefix")).collect();
    assert!(prefixes.is_sorted() && prefixes.windows(2).all(|pair| pair[0] != pair[1]));
    for row in &rows {
        let (count, size) = model.remove(&bytes(row, "prefix")).unwrap_or_default();
        assert_eq!(number(row, "live"), count, "{row}");
        assert!(number(row, "live_bytes") >= size, "{row}: {size}");
    }
    assert!(model.is_empty(), "{model:?}");
    let sums = |field: &str| rows.iter().map(|row| number(row, field)).sum::<u64>();
    assert_eq!(sums("live_bytes"), sum(&ran, "live", "bytes") + sum(&ran, "log_live", "bytes"));
    let shadowed = sum(&ran, "shadowed", "bytes") + sum(&ran, "log_shadowed", "bytes");
    assert_eq!(sums("shadowed_bytes"), shadowed);
    let text =
        history.beach.run(BEACH, &["--db", "sand", "--enc", "hex", "du", "--by-prefix", "1"]);
    let lines: Vec<&str> = text.out.lines().collect();
    assert!(lines[0].starts_with("live\tbytes\t") && lines[0].ends_with("\tprefix"));
    let last: Vec<&str> =
        lines.iter().skip(1).filter_map(|it| it.split('\t').next_back()).collect();
    assert_eq!(last, ["61", "62", "ff"], "{}", text.out);
}

/// A damaged block and a table without a footer count as damaged, and the sum is still right.
#[test]
fn damaged_bytes_are_counted_as_damaged() {
    let beach = Beach::busy();
    let tables = beach.names(".sst");
    beach.damage(&tables[0], |bytes| bytes[12] ^= 1);
    let ran = du(&beach, &[]);
    assert_eq!(ran.code, 3, "{}", ran.err);
    assert_eq!(ran.of_kind("finding")[0]["code"], "BT005");
    let block = number(&ran.of_kind("finding")[0], "size");
    assert_eq!(sum(&ran, "damaged", "bytes"), block);
    assert_eq!(number(&ran.of_kind("summary")[0], "bytes"), size_of(&beach.store()));
    beach.damage(&tables[0], |bytes| bytes.truncate(100));
    let ran = du(&beach, &[]);
    assert_eq!((ran.code, sum(&ran, "damaged", "bytes")), (3, 100), "{}", ran.out);
    assert_eq!(number(&ran.of_kind("summary")[0], "bytes"), size_of(&beach.store()));
}

/// The table for people ends with the sum.
#[test]
fn the_table_ends_with_all_files() {
    let beach = Beach::busy();
    let ran = beach.run(BEACH, &["--db", "sand", "du"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let last = ran.out.lines().last().expect("a line");
    assert!(last.starts_with("all files") && last.contains(&size_of(&beach.store()).to_string()));
    assert!(ran.out.contains("logs: allocated, not used yet"), "{}", ran.out);
}
