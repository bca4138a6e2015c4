//! `beach find`.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use beachdb::format::block::{Compression, Kind, Sealer};
use beachdb::inspect::table::{TableItem, read_table};
use beachdb::inspect::wal::{LogItem, read_log};
use beachdb::table::read_footer;
use beachdb::vfs::os::OsVfs;
use beachdb::vfs::{Access, Vfs};
use beachdb::{Db, Durability, Error, Options, SeqNo, WriteBatch};
use serde_json::Value;

use super::histories::{History, KEYS, bytes, key};
use super::stores::{BEACH, Beach};

/// Every version in the files of a directory, read file by file: key, sequence number, file.
fn versions_in_files(beach: &Beach) -> BTreeSet<(Vec<u8>, u64, String)> {
    let mut versions = BTreeSet::new();
    let open = |name: &str| OsVfs.open(&beach.path(name), Access::Read).expect("open");
    for name in beach.names(".sst") {
        read_table::<Error>(&*open(&name), true, &mut |item| {
            if let TableItem::Entry(entry) = item {
                versions.insert((entry.key.to_vec(), entry.trailer.seqno().0, name.clone()));
            }
            Ok(())
        })
        .expect("the table");
    }
    for name in beach.names(".wal") {
        read_log::<Error>(&*open(&name), &Default::default(), &mut |item| {
            if let LogItem::Frame(frame) = item {
                for (seqno, op) in frame.content.ops() {
                    versions.insert((op.key().to_vec(), seqno.0, name.clone()));
                }
            }
            Ok(())
        })
        .expect("the log");
    }
    versions
}

fn file_name(found: &Value) -> String {
    let path = found["path"].as_str().expect("a path");
    path.rsplit('/').next().expect("a name").to_owned()
}

/// Random histories: what is found is what a reading of every file by itself gives, each version is
/// an operation that was made, and those that a read returns are the pairs of the model.
#[test]
fn every_version_is_found_where_it_lies() {
    for seed in 0..6 {
        let history = History::of(seed);
        let ran = history.beach.run(BEACH, &["--db", "sand", "--json", "find", "--prefix", ""]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        ran.is_valid("find");
        let found = ran.of_kind("found");
        let mut returned = std::collections::BTreeMap::new();
        let mut places = BTreeSet::new();
        let mut last: Option<(Vec<u8>, std::cmp::Reverse<u64>)> = None;
        for version in &found {
            let (key, seqno) = (bytes(version, "key"), version["seqno"].as_u64().expect("seqno"));
            let (made, value) = &history.ops[&SeqNo(seqno)];
            assert_eq!(*made, key, "{version}");
            assert_eq!(version["kind"], if value.is_some() { "put" } else { "del" });
            let size = value.as_ref().map_or(0, Vec::len) as u64;
            assert_eq!(version["value_size"], size, "{version}");
            if version["fate"] == "returned" {
                assert!(returned.insert(key.clone(), value.clone().expect("a value")).is_none());
            }
            places.insert((key.clone(), seqno, file_name(version)));
            let place = (key, std::cmp::Reverse(seqno));
            assert!(last.is_none_or(|last| last <= place), "out of order: {version}");
            last = Some(place);
        }
        assert_eq!(returned, history.pairs, "seed {seed}");
        assert_eq!(places, versions_in_files(&history.beach), "seed {seed}");
        assert_eq!(places.len(), found.len());
        assert!(found.iter().any(|version| version["fate"] == "shadowed"));
    }
}

/// One key at a time gives the same as all at once, keys that others begin with among them; a key
/// that was never there is a negative answer.
#[test]
fn one_key_is_found_as_among_all() {
    let history = History::of(11);
    let run = |words: &[&str]| {
        history
            .beach
            .run(BEACH, &[&["--db", "sand", "--json", "--enc", "hex", "find"], words].concat())
    };
    let all = run(&["--prefix", ""]).of_kind("found");
    for n in (0..KEYS).step_by(7) {
        let key = key(n);
        let ran = run(&[&hex::encode(&key)]);
        let expected: Vec<&Value> = all.iter().filter(|it| bytes(it, "key") == key).collect();
        assert_eq!(ran.code, i32::from(expected.is_empty()), "{}", ran.err);
        assert_eq!(ran.of_kind("found").iter().collect::<Vec<_>>(), expected);
    }
    let prefix = run(&["--prefix", &hex::encode("beach0")]).of_kind("found");
    let expected = all.iter().filter(|it| bytes(it, "key").starts_with(b"beach0")).count();
    assert!(expected > 0 && prefix.len() == expected);
    assert_eq!(run(&["00"]).code, 1);
    assert_eq!(history.beach.run(BEACH, &["--db", "sand", "find", ""]).code, 2);
}

/// A line for each version, with what a person wants to know in it.
#[test]
fn a_line_tells_where_a_version_is() {
    let beach = Beach::busy();
    let ran = beach.run(BEACH, &["--db", "sand", "find", "tide"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines.len(), 2, "{}", ran.out);
    assert!(
        lines[0].starts_with("tide\t#") && lines[0].contains("\tPUT\t3 bytes\treturned\tsand/")
    );
    assert!(
        lines[1].contains("\tshadowed\t") && lines[1].ends_with(" operation 0"),
        "{}",
        lines[1]
    );
    let old = beach.run(BEACH, &["--db", "sand", "find", "key005"]);
    assert!(old.out.contains("\tDEL\t") && old.out.contains(".sst L"), "{}", old.out);
    assert!(old.out.contains("compaction, job ") || old.out.contains("flush, job "), "{}", old.out);
}

/// A flipped bit in a data block: its keys may be there, which is told, and all others are found.
#[test]
fn a_damaged_block_is_told_and_the_rest_is_found() {
    let history = History::of(0);
    let beach = &history.beach;
    let table = beach.names(".sst").pop().expect("a table");
    let whole = beach.run(BEACH, &["--db", "sand", "--json", "find", "--prefix", ""]);
    beach.damage(&table, |bytes| bytes[20] ^= 4);
    let ran = beach.run(BEACH, &["--db", "sand", "--json", "find", "--prefix", ""]);
    assert_eq!(ran.code, 3, "{}", ran.err);
    ran.is_valid("find");
    let findings = ran.of_kind("finding");
    assert_eq!(findings.len(), 1);
    assert_eq!((&findings[0]["code"], &findings[0]["offset"]), (&"BT005".into(), &0.into()));
    let (first, last) = (bytes(&findings[0], "first"), bytes(&findings[0], "last"));
    let (found, all) = (ran.of_kind("found"), whole.of_kind("found"));
    assert!(found.len() < all.len() && !found.is_empty());
    for version in all.iter().filter(|version| !places(&found).contains(&place(version))) {
        let key = bytes(version, "key");
        assert!(file_name(version) == table && first <= key && key <= last, "{version}");
    }
    let text = beach.run(BEACH, &["--db", "sand", "find", "--prefix", ""]);
    assert_eq!((text.code, text.out.lines().count()), (3, found.len()));
    assert!(text.err.contains("BT005"), "{}", text.err);
}

fn place(version: &Value) -> (String, u64, u64) {
    let number = |name: &str| version[name].as_u64().expect("a number");
    (file_name(version), number("offset"), number("seqno"))
}

fn places(found: &[Value]) -> BTreeSet<(String, u64, u64)> {
    found.iter().map(place).collect()
}

/// A store of one table.
fn one_table() -> (Beach, String) {
    let beach = Beach::new();
    let db = Db::open(beach.store()).expect("open");
    for n in 0..50 {
        db.put(format!("key{n:02}"), "sand").expect("put");
    }
    db.flush().expect("flush");
    db.close().expect("close");
    let table = beach.names(".sst").pop().expect("a table");
    (beach, table)
}

/// Overwrites the content of the filter with zeros; sealed again if asked to.
fn empty_filter(beach: &Beach, table: &str, sealed: bool) {
    let file = OsVfs.open(&beach.path(table), Access::Read).expect("open");
    let (footer, _) = read_footer(&*file).expect("a footer");
    beach.damage(table, |bytes| {
        let (start, size) = (footer.filter.offset as usize, footer.filter.size as usize);
        let mut content = bytes[start..start + size - 12].to_vec();
        content[8..].fill(0);
        let mut block = Vec::new();
        let mut sealer = Sealer::new(footer.id, Compression::None);
        sealer.seal(&mut block, Kind::Filter, &content, footer.filter.offset);
        let end = if sealed { size } else { size - 12 };
        bytes[start..start + end].copy_from_slice(&block[..end]);
    });
}

/// A filter that is damaged, and one that is intact and lies: the version is found all the same, and
/// the second is marked as what no read sees, which the engine confirms.
#[test]
fn a_filter_is_not_believed() {
    let (beach, table) = one_table();
    empty_filter(&beach, &table, false);
    let ran = beach.run(BEACH, &["--db", "sand", "--json", "find", "key07"]);
    assert_eq!((ran.code, &ran.of_kind("finding")[0]["code"]), (3, &"BT003".into()), "{}", ran.err);
    assert_eq!(ran.of_kind("found").len(), 1);
    let (beach, table) = one_table();
    empty_filter(&beach, &table, true);
    let ran = beach.run(BEACH, &["--db", "sand", "--json", "find", "key07"]);
    ran.is_valid("find");
    assert_eq!((ran.code, &ran.of_kind("finding")[0]["code"]), (3, &"BT009".into()), "{}", ran.err);
    assert_eq!(ran.of_kind("found")[0]["fate"], "hidden");
    assert_eq!(beach.run(BEACH, &["--db", "sand", "get", "key07"]).code, 1);
}

/// Without an intact footer a table is found through what the manifest says about it.
#[test]
fn a_damaged_footer_hides_nothing() {
    let (beach, table) = one_table();
    beach.damage(&table, |bytes| {
        let end = bytes.len();
        bytes[end - 30..end].fill(0xaa);
    });
    let ran = beach.run(BEACH, &["--db", "sand", "--json", "find", "--prefix", "key"]);
    assert_eq!((ran.code, &ran.of_kind("finding")[0]["code"]), (3, &"BT001".into()), "{}", ran.err);
    assert_eq!(ran.of_kind("found").len(), 50);
}

/// A table that no manifest names: its versions are shown, and are not what a read returns.
#[test]
fn orphans_are_shown_as_dead() {
    let (beach, table) = one_table();
    fs::copy(beach.path(&table), beach.path("000099.sst")).expect("copy");
    let ran = beach.run(BEACH, &["--db", "sand", "--json", "find", "key07"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    ran.is_valid("find");
    let found = ran.of_kind("found");
    let fates: Vec<(String, &Value)> =
        found.iter().map(|it| (file_name(it), &it["fate"])).collect();
    assert!(fates.contains(&(table, &"returned".into())), "{fates:?}");
    assert!(fates.contains(&("000099.sst".to_owned(), &"dead".into())), "{fates:?}");
    assert!(found.iter().any(|it| it["dead"] == "orphan"));
}

/// A record that was never promised is zeroed, as a crash may leave it: what lies behind it is dead
/// before the recovery and after it.
#[test]
fn what_lies_behind_a_torn_tail_is_dead() {
    let beach = Beach::new();
    let db = Db::open(beach.store()).expect("open");
    for n in 0..6 {
        let mut batch = WriteBatch::new();
        batch.put("tide", format!("height {n}").repeat(300));
        db.write(batch, Durability::Buffered).expect("write");
    }
    drop(db);
    let log = beach.names(".wal").pop().expect("a log");
    let find = || beach.run(BEACH, &["--db", "sand", "--json", "find", "tide"]);
    let whole = find().of_kind("found");
    assert!(whole.len() == 6 && whole[0]["fate"] == "returned");
    let hole = &whole[2];
    let number = |name: &str| hole[name].as_u64().expect("a number") as usize;
    let (start, size) = (number("offset"), number("size"));
    beach.damage(&log, |bytes| bytes[start..start + size].fill(0));
    let ran = find();
    ran.is_valid("find");
    let findings = ran.of_kind("finding");
    assert_eq!((ran.code, &findings[0]["severity"]), (0, &"notice".into()), "{}", ran.err);
    let fates: Vec<Value> = ran.of_kind("found").iter().map(|it| it["fate"].clone()).collect();
    assert_eq!(fates, ["dead", "dead", "returned", "shadowed", "shadowed"]);
    assert_eq!(ran.of_kind("found")[0]["dead"], "behind_tail");
    let value = Db::open_read_only(beach.store()).expect("open").get("tide").expect("get");
    assert_eq!(value.as_deref(), Some("height 2".repeat(300).as_bytes()));
}

/// A writer that flushes and compacts all the time: nothing it does is taken for damage, and a key
/// that is always there is always found.
#[test]
fn a_writer_disturbs_nobody() {
    let beach = Beach::new();
    let options = Options::new().memtable_size(8 << 10).log_size(4 << 10).table_size(4 << 10);
    let db = options.open(beach.store()).expect("open");
    db.put("anchor", "0").expect("put");
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0_u64.. {
                let mut batch = WriteBatch::new();
                batch.put(format!("key{:03}", n * 7 % 500), "sand".repeat(20)).put("anchor", "1");
                db.write(batch, Durability::Buffered).expect("write");
                if is_done.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        for _ in 0..8 {
            for (words, codes) in [
                (&["find", "anchor"][..], &[0][..]),
                (&["find", "--prefix", "key"], &[0]),
                (&["du"], &[0]),
                (&["explain", "get", "anchor"], &[0]),
                (&["diff", "sand", "sand"], &[0, 1]),
            ] {
                let ran = beach.run(BEACH, &[&["--db", "sand", "--json"], words].concat());
                assert!(codes.contains(&ran.code), "{words:?} {}: {}", ran.code, ran.err);
                assert_eq!(ran.of_kind("summary").len(), 1);
                let damage =
                    ran.of_kind("finding").into_iter().find(|it| it["severity"] == "damage");
                assert_eq!(damage, None, "{words:?}");
            }
        }
        is_done.store(true, Ordering::Relaxed);
    });
}
