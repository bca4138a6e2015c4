//! `beach repair`: each kind of damage, and what is in the store that is made.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use beachdb::runtime::inline::{InlineRuntime, SplitMix64};
use beachdb::vfs::sim::SimVfs;
use beachdb::{Db, Durability, Options, WriteBatch};
use serde_json::Value;

use crate::history::{DIR, tiny};

use super::stores::{BEACH, Beach, MANIFEST, Ran, SST, WAL};

type Content = BTreeMap<Vec<u8>, Vec<u8>>;

fn content(db: &Db) -> Content {
    db.range::<&[u8], _>(..)
        .map(|entry| entry.expect("an entry"))
        .map(|(k, v)| (k.to_vec(), v.to_vec()))
        .collect()
}

fn content_of(beach: &Beach, name: &str) -> Content {
    let db = Options::new().open(beach.home().join(name)).expect("it opens");
    let found = content(&db);
    db.close().expect("it closes");
    found
}

/// The store's content, read from a copy so that the store itself is as it was.
fn content_now(beach: &Beach) -> Content {
    let copy = beach.home().join("copy");
    fs::create_dir(&copy).expect("a directory");
    for name in beach.names("") {
        fs::copy(beach.path(&name), copy.join(&name)).expect("a copy");
    }
    let found = content_of(beach, "copy");
    fs::remove_dir_all(copy).expect("gone");
    found
}

/// Plans, repairs, and looks at what was made; the damaged store must be as it was.
fn repaired(beach: &Beach) -> (Ran, Content) {
    let bytes = |beach: &Beach| -> Vec<(String, Vec<u8>)> {
        let names = beach.names("").into_iter();
        names.map(|name| (name.clone(), fs::read(beach.path(&name)).expect("a file"))).collect()
    };
    let before = bytes(beach);
    let plan = beach.run(BEACH, &["--db", "sand", "repair", "--json"]);
    plan.is_valid("repair");
    let ran = beach.run(BEACH, &["--db", "sand", "repair", "-o", "new", "--json"]);
    ran.is_valid("repair");
    assert_eq!(plan.code, ran.code, "{}", ran.err);
    for kind in ["step", "loss", "finding"] {
        assert_eq!(plan.of_kind(kind), ran.of_kind(kind));
    }
    assert!(bytes(beach) == before, "the damaged store was changed");
    for tool in [WAL, SST, MANIFEST] {
        let dump = beach.run(tool, &["new"]);
        assert_eq!((dump.code, dump.err.as_str()), (0, ""), "{}", dump.out);
    }
    let check = beach.run(BEACH, &["--db", "new", "check", "--coverage"]);
    assert_eq!(check.code, 0, "{}", check.out);
    let found = content_of(beach, "new");
    let again = beach.run(BEACH, &["--db", "new", "repair"]);
    assert_eq!(again.code, 0, "{}", again.out);
    assert!(again.out.contains("nothing to do"), "{}", again.out);
    fs::remove_dir_all(beach.home().join("new")).expect("gone");
    (ran, found)
}

/// Keys that a loss of the report may have taken.
fn may_be_lost(losses: &[Value], key: &[u8]) -> bool {
    losses.iter().any(|loss| {
        let bound = |name: &str| loss[name].as_str().map(str::as_bytes);
        let after = bound("first").is_none_or(|first| first <= key);
        bound("last").is_some_and(|last| after && key <= last)
    })
}

/// Nothing is damaged: nothing is done, also where a directory was named.
#[test]
fn a_sound_store_is_left_alone() {
    let beach = Beach::busy();
    for words in [&["--db", "sand", "repair"][..], &["--db", "sand", "repair", "-o", "new"]] {
        let ran = beach.run(BEACH, words);
        assert_eq!(
            (ran.code, ran.out.as_str()),
            (0, "sand is not damaged, there is nothing to do\n")
        );
    }
    assert!(!beach.home().join("new").exists());
    assert_eq!(beach.run(BEACH, &["--db", "absent", "repair"]).code, 5);
}

/// CURRENT, or every manifest, is lost or damaged by a bit: what counts is found again, to the last key,
/// and no deleted key comes back.
#[test]
fn without_current_or_manifest_nothing_is_lost() {
    let damage: [fn(&Beach); 5] = [
        |beach| fs::remove_file(beach.path("CURRENT")).expect("gone"),
        |beach| beach.damage("CURRENT", |bytes| bytes[12] ^= 4),
        |beach| {
            for name in beach.names("MANIFEST-") {
                fs::remove_file(beach.path(&name)).expect("gone");
            }
        },
        |beach| {
            let name = beach.names("MANIFEST-").pop().expect("a manifest");
            beach.damage(&name, |bytes| {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 4;
            });
        },
        |beach| {
            let name = beach.names("MANIFEST-").pop().expect("a manifest");
            beach.damage(&name, |bytes| {
                let middle = bytes.len() / 2;
                bytes[middle..middle + 90].fill(0x55);
            });
        },
    ];
    for (index, damage) in damage.into_iter().enumerate() {
        let beach = Beach::busy();
        let before = content_now(&beach);
        assert!(before.len() > 60 && !before.contains_key(&b"key005"[..]));
        damage(&beach);
        let (ran, after) = repaired(&beach);
        assert_eq!(ran.code, 0, "{index}: {}", ran.out);
        assert!(!ran.of_kind("finding").is_empty());
        assert!(after == before, "{index}: {}", ran.out);
    }
}

/// One bit of the log: the one record is lost and named, and what was written later is there.
#[test]
fn a_damaged_log_costs_what_is_damaged() {
    let beach = Beach::log_of(300);
    let mut expected = content_now(&beach);
    let name = beach.names(".wal").remove(0);
    let dump = beach.run(WAL, &["--json", &format!("sand/{name}")]);
    let frame = dump.of_kind("frame").into_iter().find(|frame| frame["seqno"] == 151);
    let offset = frame.expect("a frame")["offset"].as_u64().expect("an offset") as usize;
    beach.damage(&name, |bytes| bytes[offset + 40] ^= 1);
    let (ran, after) = repaired(&beach);
    assert_eq!(ran.code, 6);
    let losses = ran.of_kind("loss");
    assert_eq!(losses.len(), 1);
    assert_eq!(
        (&losses[0]["seqno_before"], &losses[0]["seqno_after"], &losses[0]["ops"]),
        (&150.into(), &152.into(), &1.into())
    );
    assert_eq!(losses[0]["offset"], offset);
    expected.remove(&b"key00150"[..]);
    assert!(after == expected);
}

/// One bit of any part of a table: the checksum proves what was there, so nothing is lost.
#[test]
fn a_flipped_bit_of_a_table_costs_nothing() {
    let beach = Beach::log_of(500);
    Db::open(beach.store()).expect("open").flush().expect("flush");
    let before = content_now(&beach);
    let name = beach.names(".sst").remove(0);
    let size = fs::metadata(beach.path(&name)).expect("the table").len() as usize;
    for at in (3..size).step_by(size / 7) {
        beach.damage(&name, |bytes| bytes[at] ^= 0x10);
        let (ran, after) = repaired(&beach);
        beach.damage(&name, |bytes| bytes[at] ^= 0x10);
        assert_eq!((ran.code, ran.of_kind("loss").len()), (0, 0), "at {at}: {}", ran.out);
        let step = &ran.of_kind("step")[0];
        assert_eq!(step["action"], "copy");
        assert!(step["why"].as_str().expect("why").starts_with("mended"), "{step}");
        assert!(after == before, "at {at}");
    }
}

/// One block of a table: the keys of the others are there with their newest values, and those that are
/// not are within the range that is named.
#[test]
fn a_damaged_table_costs_its_bad_block() {
    let beach = Beach::log_of(3000);
    Db::open(beach.store()).expect("open").flush().expect("flush");
    let before = content_now(&beach);
    let name = beach.names(".sst").remove(0);
    let dump = beach.run(SST, &["--json", &format!("sand/{name}")]);
    let blocks = dump.of_kind("block");
    for index in [0, blocks.len() / 2, blocks.len() - 1] {
        let at = blocks[index]["offset"].as_u64().expect("an offset") as usize + 20;
        beach.damage(&name, |bytes| bytes[at] ^= 0x11);
        let (ran, after) = repaired(&beach);
        beach.damage(&name, |bytes| bytes[at] ^= 0x11);
        assert_eq!(ran.code, 6);
        let losses = ran.of_kind("loss");
        assert_eq!(losses.len(), 1);
        assert_eq!(losses[0]["last"], blocks[index]["last"]);
        let entries = blocks[index]["entries"].as_u64().expect("a count") as usize;
        assert_eq!(after.len(), before.len() - entries);
        assert!(after.iter().all(|(key, value)| before.get(key) == Some(value)));
        assert!(before.keys().all(|key| after.contains_key(key) || may_be_lost(&losses, key)));
    }
    // Filter, properties, footer: what they say is in the data, or in the manifest.
    for part in ["filter", "properties"] {
        let at = dump.of_kind(part)[0]["offset"].as_u64().expect("an offset") as usize + 9;
        beach.damage(&name, |bytes| bytes[at] ^= 0x11);
        let (ran, after) = repaired(&beach);
        beach.damage(&name, |bytes| bytes[at] ^= 0x11);
        // A filter is made again of the keys, and its checksum proves it.
        let action = if part == "filter" { "copy" } else { "rewrite" };
        assert_eq!((ran.code, ran.of_kind("step")[0]["action"].as_str()), (0, Some(action)));
        assert!(after == before, "{part}");
    }
    let at = dump.of_kind("header")[0]["footer_offset"].as_u64().expect("an offset") as usize;
    beach.damage(&name, |bytes| bytes[at..].fill(0));
    let (ran, after) = repaired(&beach);
    assert_eq!(ran.code, 0, "{}", ran.out);
    assert!(after == before);
}

/// A table that is gone, and one that is another store's: the other keys are as they were, and the
/// range that is named has all that are not. An index that cannot be read costs nothing: it is made
/// again from the blocks.
#[test]
fn a_lost_table_costs_its_keys() {
    /// What is done to a table of a store, and how many losses are due.
    type Damage = (fn(&Beach, &str), usize);
    let damages: [Damage; 3] = [
        (|beach, name| fs::remove_file(beach.path(name)).expect("gone"), 1),
        (
            |beach, name| {
                let other = Beach::busy();
                let foreign = fs::read(other.path(&other.names(".sst")[0])).expect("a table");
                fs::write(beach.path(name), foreign).expect("a table");
            },
            1,
        ),
        (
            |beach, name| {
                let dump = beach.run(SST, &["--json", &format!("sand/{name}")]);
                let at =
                    dump.of_kind("index")[0]["offset"].as_u64().expect("an offset") as usize + 9;
                beach.damage(name, |bytes| bytes[at] ^= 0x11);
            },
            0,
        ),
    ];
    for (damage, due) in damages {
        let beach = Beach::busy();
        let before = content_now(&beach);
        let lsm = beach.run(BEACH, &["--db", "sand", "lsm", "--json"]);
        let table = lsm.of_kind("table").pop().expect("a table");
        let name = format!("{:06}.sst", table["number"].as_u64().expect("a number"));
        damage(&beach, &name);
        let (ran, after) = repaired(&beach);
        assert_eq!(ran.code, if due > 0 { 6 } else { 0 });
        let losses = ran.of_kind("loss");
        assert_eq!(losses.len(), due, "{losses:?}");
        for (key, value) in &before {
            assert!(after.get(key) == Some(value) || may_be_lost(&losses, key), "{losses:?}");
        }
        assert!(after.keys().all(|key| before.contains_key(key) || may_be_lost(&losses, key)));
    }
}

/// Everything at once: a bad block, a bad record, neither CURRENT nor manifest. What is there is right,
/// and what is not is in the report.
#[test]
fn everything_at_once() {
    let beach = Beach::busy();
    let before = content_now(&beach);
    let table = beach.names(".sst").remove(0);
    beach.damage(&table, |bytes| bytes[30] ^= 0x11);
    let log = beach.names(".wal").pop().expect("a log");
    let dump = beach.run(WAL, &["--json", &format!("sand/{log}")]);
    let batches: Vec<Value> =
        dump.of_kind("frame").into_iter().filter(|frame| frame["kind"] == "batch").collect();
    let last = batches.last().expect("a batch")["offset"].as_u64().expect("an offset") as usize;
    beach.damage(&log, |bytes| bytes[last + 30] ^= 0x11);
    fs::remove_file(beach.path("CURRENT")).expect("gone");
    for name in beach.names("MANIFEST-") {
        fs::remove_file(beach.path(&name)).expect("gone");
    }
    let (ran, after) = repaired(&beach);
    assert_eq!(ran.code, 6);
    let losses = ran.of_kind("loss");
    assert_eq!(losses.len(), 2, "{losses:?}");
    assert_eq!(after.get(&b"tide"[..]), Some(&b"high".to_vec()));
    for (key, value) in before.iter().filter(|(key, _)| key.as_slice() != b"tide") {
        assert!(after.get(key) == Some(value) || may_be_lost(&losses, key), "{losses:?}");
    }
}

/// The new store goes where nothing is.
#[test]
fn a_repair_replaces_nothing() {
    let beach = Beach::busy();
    beach.damage("CURRENT", |bytes| bytes[12] ^= 4);
    for target in ["sand", "."] {
        let ran = beach.run(BEACH, &["--db", "sand", "repair", "-o", target]);
        assert_eq!(ran.code, 2, "{}", ran.err);
    }
    let dry = beach.run(BEACH, &["--db", "sand", "repair", "--dry-run", "-o", "new"]);
    assert_eq!(dry.code, 0, "{}", dry.err);
    assert!(dry.out.contains("this is a plan"), "{}", dry.out);
    assert!(!beach.home().join("new").exists());
}

/// Histories of puts, deletes, flushes and compactions in small steps, cut off between two of them:
/// jobs are unfinished, files that nobody needs are still there, tables have moved. Then there is no
/// manifest, and from the tables' properties and the logs alone comes exactly what was there. Deleted
/// keys and older values are still in tables, and must not come back.
#[test]
fn a_tree_is_put_together_from_its_tables() {
    let (mut merged, mut levels) = (0, 0);
    for seed in 1..=16u64 {
        let (vfs, runtime) = (SimVfs::new(), InlineRuntime::new(seed));
        let mut random = SplitMix64::new(seed);
        let db = tiny(vfs.clone(), &runtime).table_size(600).open(DIR).expect("open");
        let mut model = Content::new();
        for step in 0..1500 + 100 * seed {
            let key = format!("key{:04}", random.below(400)).into_bytes();
            let mut batch = WriteBatch::new();
            if random.below(3) == 0 {
                model.remove(&key);
                batch.delete(&key);
            } else {
                let size = random.below(60) as usize;
                let value = format!("{step} {}", "x".repeat(size)).into_bytes();
                batch.put(&key, &value);
                model.insert(key, value);
            }
            db.write(batch, Durability::Buffered).expect("write");
            for _ in 0..random.below(12) {
                runtime.step_one(random.below(8) as usize);
            }
        }
        let left = Beach::new();
        fs::create_dir(left.store()).expect("a directory");
        for (path, bytes) in vfs.dump() {
            let name = path.file_name().expect("a name").to_str().expect("text");
            if !name.starts_with("MANIFEST-") {
                fs::write(left.path(name), bytes).expect("a copy");
            }
        }
        let (ran, found) = repaired(&left);
        assert!(found == model, "seed {seed}: {}", ran.out);
        assert!(ran.of_kind("loss").is_empty(), "seed {seed}: {}", ran.out);
        let summary = ran.of_kind("summary").remove(0);
        merged += summary["merged"].as_u64().expect("a count");
        let steps = ran.of_kind("step");
        levels +=
            steps.iter().filter_map(|step| step["level"].as_u64()).collect::<BTreeSet<_>>().len();
    }
    assert!(merged > 16 && levels > 2 * 16, "{merged} merged, {levels} levels");
}
