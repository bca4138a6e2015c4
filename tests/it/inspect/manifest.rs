//! `beach-manifest` and its commands.

mod broken;
mod directory;
mod html;

use std::fs;
use std::sync::Arc;

use beachdb::format::edit::{Edit, Lineage, StoreInfo};
use beachdb::runtime::inline::{InlineRuntime, SplitMix64};
use beachdb::types::{FileNumber, Level, StoreId};
use beachdb::vfs::sim::SimVfs;
use beachdb::{Db, Options};

use super::stores::{Beach, MANIFEST};

/// A store on the simulated disk whose history has flushes, compactions, moves, tombstones and
/// rollovers: the same bytes at each run.
fn sea(rounds: u64, manifest_size: u64) -> SimVfs {
    sea_of(42, rounds, manifest_size)
}

/// The same with other identities.
fn sea_of(seed: u64, rounds: u64, manifest_size: u64) -> SimVfs {
    let (vfs, runtime) = (SimVfs::new(), InlineRuntime::new(seed));
    let options = Options::new()
        .memtable_size(2 << 10)
        .log_size(4096)
        .table_size(1200)
        .manifest_size(manifest_size)
        .vfs(Arc::new(vfs.clone()))
        .runtime(Arc::new(runtime.clone()));
    let db = options.open("db").expect("open");
    let mut random = SplitMix64::new(7);
    for round in 0..rounds {
        tide(&db, &mut random, round);
        runtime.run_until_idle();
    }
    db.close().expect("close");
    vfs
}

/// One round of writes: now scattered, now in order, now deletes.
fn tide(db: &Db, random: &mut SplitMix64, round: u64) {
    for n in 0..24 {
        let key = match round % 5 {
            0 => format!("wave/{:06}", round * 40 + n),
            3 => format!("shell/{:05}", random.below(900)),
            _ => format!("grain/{:05}", random.below(4000)),
        };
        if round % 5 == 3 {
            db.delete(key).expect("delete");
        } else {
            db.put(key, vec![b'a' + (n as u8 % 26); 20 + random.below(60) as usize]).expect("put");
        }
    }
    db.flush().expect("flush");
}

/// What lies on a simulated disk, in real files.
fn on_disk(vfs: &SimVfs) -> Beach {
    let beach = Beach::new();
    fs::create_dir(beach.store()).expect("the directory");
    for (path, bytes) in vfs.dump() {
        fs::write(beach.store().join(path.file_name().expect("a name")), bytes).expect("a file");
    }
    beach
}

/// Several rollovers: `lsm` after the last edit is the version of the dump, and after any other edit
/// what the edits up to it, read from all manifests, add up to.
#[test]
fn the_tree_after_any_edit_is_that_of_the_edits_before_it() {
    let beach = on_disk(&sea(30, 4 << 10));
    assert!(beach.names("MANIFEST").len() >= 3, "{:?}", beach.names("MANIFEST"));
    let all = beach.run(MANIFEST, &["--history", "--json", "sand"]);
    assert_eq!(all.code, 0, "{}", all.err);
    all.is_valid("manifest");
    let edits = all.of_kind("edit");
    let last = edits.last().expect("edits")["edit"].as_u64().expect("a number");
    let mut tree = std::collections::BTreeMap::new();
    let mut checked = 0;
    for edit in &edits {
        let at = edit["edit"].as_u64().expect("a number");
        if edit.get("store").is_some() {
            tree.clear();
        }
        for table in edit["tables_removed"].as_array().into_iter().flatten() {
            assert!(tree.remove(&table["number"].as_u64()).is_some(), "{edit}");
        }
        for table in edit["tables_added"].as_array().into_iter().flatten() {
            tree.insert(table["number"].as_u64(), table["level"].clone());
        }
        if at % 7 != 0 && at != last {
            continue;
        }
        checked += 1;
        let lsm = beach.run(MANIFEST, &["lsm", "--at", &at.to_string(), "sand", "--json"]);
        assert_eq!(lsm.code, 0, "{}", lsm.err);
        lsm.is_valid("manifest-lsm");
        let shown: std::collections::BTreeMap<_, _> = lsm
            .of_kind("table")
            .iter()
            .map(|table| (table["number"].as_u64(), table["level"].clone()))
            .collect();
        assert_eq!(shown, tree, "after edit {at}");
        let plain = beach.run(MANIFEST, &["--at", &at.to_string(), "sand", "--json"]);
        assert_eq!(plain.of_kind("table"), lsm.of_kind("table"));
        assert_eq!(plain.of_kind("edit").last().expect("edits")["edit"], at);
    }
    assert!(checked > 8, "{checked}");
    let text = beach.run(MANIFEST, &["lsm", "sand"]);
    assert!(text.out.starts_with(&format!("version after edit {last}, ")), "{}", text.out);
}

/// Every table that any edit added has a story that begins with that edit and ends as the tree has
/// it; what a compaction made names what it was made from, and back.
#[test]
fn a_file_has_a_life() {
    let beach = on_disk(&sea(12, 4 << 10));
    let edits = beach.run(MANIFEST, &["--history", "--json", "sand"]).of_kind("edit");
    let live = beach.run(MANIFEST, &["lsm", "sand", "--json"]).of_kind("table");
    let compaction = edits
        .iter()
        .find(|edit| edit["reason"] == "compaction" && edit["tables_added"].is_array())
        .expect("a compaction");
    let input = &compaction["tables_removed"][0]["number"];
    let output = &compaction["tables_added"][0]["number"];

    let story = beach.run(MANIFEST, &["file", &input.to_string(), "sand", "--json"]);
    assert_eq!(story.code, 0, "{}", story.err);
    story.is_valid("manifest-file");
    let events = story.of_kind("event");
    assert_eq!(events[0]["what"], "made");
    let dropped = events.last().expect("an end");
    assert_eq!((&dropped["what"], &dropped["edit"]), (&"dropped".into(), &compaction["edit"]));
    assert!(dropped["into"].as_array().expect("outputs").contains(output), "{dropped}");
    let made: Vec<_> = story.of_kind("descendant").iter().map(|it| it["number"].clone()).collect();
    assert!(made.contains(output), "{made:?}");

    let story = beach.run(MANIFEST, &["file", &output.to_string(), "sand", "--json"]);
    let made = &story.of_kind("event")[0];
    assert_eq!((&made["what"], &made["job"]), (&"made".into(), &compaction["job"]));
    assert!(made["from"].as_array().expect("inputs").contains(input), "{made}");
    let summary = &story.of_kind("summary")[0];
    assert_eq!(summary["live"], live.iter().any(|table| table["number"] == *output));

    let log = beach.run(MANIFEST, &["file", "000001.wal", "sand"]);
    assert!(log.out.contains("log begun") && log.out.contains("log dropped"), "{}", log.out);
    let nobody = beach.run(MANIFEST, &["file", "999999", "sand"]);
    assert_eq!((nobody.code, nobody.out.as_str()), (1, "file 999999: no edit names it\n"));
}

/// The difference between two edits, applied to the tree after the first, gives that after the
/// second; equal trees are status 0, others 1.
#[test]
fn the_difference_of_two_edits_leads_from_one_to_the_other() {
    let beach = on_disk(&sea(12, 4 << 10));
    let tables = |at: &str| {
        let lsm = beach.run(MANIFEST, &["lsm", "--at", at, "sand", "--json"]);
        let row = |table: &serde_json::Value| (table["number"].as_u64(), table["level"].as_u64());
        lsm.of_kind("table").iter().map(row).collect::<std::collections::BTreeMap<_, _>>()
    };
    let (mut before, after) = (tables("9"), tables("31"));
    let diff = beach.run(MANIFEST, &["diff", "9", "31", "sand", "--json"]);
    assert_eq!(diff.code, 1, "{}", diff.err);
    diff.is_valid("manifest-diff");
    for change in diff.of_kind("change") {
        let number = change["number"].as_u64();
        match change["what"].as_str().expect("a word") {
            "removed" => assert!(before.remove(&number).is_some(), "{change}"),
            "added" => assert!(before.insert(number, change["level"].as_u64()).is_none()),
            "moved" => assert!(before.insert(number, change["to_level"].as_u64()).is_some()),
            _ => {}
        }
    }
    assert_eq!(before, after);
    assert_eq!(beach.run(MANIFEST, &["diff", "9", "9", "sand"]).code, 0);
    assert_eq!(beach.run(MANIFEST, &["diff", "9", "99999", "sand"]).code, 2);
}

/// Sums by reason and sums by time are each the whole, and the whole is that of the edits.
#[test]
fn the_traffic_adds_up() {
    let beach = on_disk(&sea(12, 4 << 10));
    let edits = beach.run(MANIFEST, &["--history", "--json", "sand"]).of_kind("edit");
    let ran = beach.run(MANIFEST, &["summarize", "sand", "--json"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    ran.is_valid("manifest-summarize");
    let whole = &ran.of_kind("summary")[0];
    assert_eq!(whole["edits"], edits.len() as u64);
    for field in ["edits", "tables_added", "bytes_in", "bytes_out", "user_bytes"] {
        for kind in ["reason", "bucket"] {
            let sum: u64 = ran.of_kind(kind).iter().map(|it| it[field].as_u64().unwrap()).sum();
            assert_eq!(whole[field], sum, "{kind} {field}");
        }
    }
    // What the store itself counted: flushes and compactions, over its life.
    let counters = edits.iter().rev().find_map(|edit| edit.get("counters")).expect("counters");
    let total = ["flushed_bytes", "compacted_bytes_out"].map(|name| counters[name].as_u64());
    assert_eq!(whole["bytes_out"].as_u64(), Some(total[0].unwrap() + total[1].unwrap()));
    assert_eq!(whole["user_bytes"], counters["user_bytes"]);
    let text = beach.run(MANIFEST, &["summarize", "sand"]);
    assert!(text.out.contains("write amplification"), "{}", text.out);
}

/// Without the oldest manifests, and without one in between: every command says which edits are
/// missing, and what it shows of the rest is as before.
#[test]
fn missing_pieces_of_the_history_are_told() {
    let beach = on_disk(&sea(40, 4 << 10));
    let names = beach.names("MANIFEST");
    assert!(names.len() >= 5, "{names:?}");
    let before = beach.run(MANIFEST, &["lsm", "sand"]).out;
    fs::remove_file(beach.path(&names[0])).expect("remove");
    fs::remove_file(beach.path(&names[2])).expect("remove");
    let lsm = beach.run(MANIFEST, &["lsm", "sand"]);
    assert_eq!((lsm.code, lsm.out), (0, before));
    assert!(lsm.err.contains("edits 1 to ") && lsm.err.contains("missing"), "{}", lsm.err);
    for (words, schema) in [
        (&["lsm"][..], "manifest-lsm"),
        (&["summarize"], "manifest-summarize"),
        (&["file", "7"], "manifest-file"),
    ] {
        let ran = beach.run(MANIFEST, &[words, &["sand", "--json"]].concat());
        ran.is_valid(schema);
        let gaps = ran.of_kind("gap");
        assert_eq!((gaps.len(), &gaps[0]["first"]), (2, &1.into()), "{}", ran.out);
    }
    let gone = beach.run(MANIFEST, &["lsm", "--at", "1", "sand"]);
    assert_eq!(gone.code, 2, "{}", gone.err);
}

/// An append whose sync failed has an unknown outcome, and the rollover behind it decides that it
/// never was: an older manifest with one more edit, or with half of one, tells the same history.
#[test]
fn edits_that_the_next_manifest_does_not_know_never_were() {
    let beach = on_disk(&sea(30, 4 << 10));
    let history = |beach: &Beach| {
        let all = [&["summarize", "sand"][..], &["lsm", "sand"], &["file", "7", "sand"]];
        all.map(|words| beach.run(MANIFEST, words).out)
    };
    let before = history(&beach);
    let names = beach.names("MANIFEST");
    let whole = fs::read(beach.path(&names[1])).expect("a manifest");
    let last = beach.run(MANIFEST, &["--json", &format!("sand/{}", names[1])]);
    let table = last.of_kind("table")[0].clone();
    let level = Level(table["level"].as_u64().expect("a level") as u8);
    let number = FileNumber(table["number"].as_u64().expect("a number"));
    let edit = Edit { tables_removed: vec![(level, number)], ..Edit::default() };
    beach.damage(&names[1], |bytes| broken::append(bytes, &edit.encode()));
    assert_eq!(history(&beach), before);
    beach.damage(&names[1], |bytes| bytes.truncate(whole.len() + 25));
    assert_eq!(history(&beach), before);
    let check = beach.run(MANIFEST, &["check", "sand"]);
    assert_eq!(check.code, 0, "{}", check.out);
    assert!(check.out.contains("BM011 notice"), "{}", check.out);
}

/// Numbers at the end of what they can be, repeated and falling: every command ends, none panics.
#[test]
fn hostile_numbers_end_nothing() {
    let beach = on_disk(&sea(8, 4 << 10));
    let names = beach.names("MANIFEST");
    let first = |edits: u64| {
        let lineage = Lineage { previous: FileNumber(u64::MAX), edits, rollovers: u64::MAX };
        let id = StoreId(u64::MAX);
        let store = StoreInfo { id, comparator: String::new(), format_version: 1 };
        let (time_ms, next_file) = (u64::MAX, Some(FileNumber(u64::MAX)));
        let (store, lineage) = (Some(store), Some(lineage));
        Edit { time_ms, job: u64::MAX, store, lineage, next_file, ..Edit::default() }
    };
    let last = names.last().expect("a manifest");
    for edits in [u64::MAX, u64::MAX - 1, 0, 5] {
        beach.damage(last, |bytes| {
            bytes.truncate(64);
            for _ in 0..3 {
                broken::append(bytes, &first(edits).encode());
            }
        });
        for words in [
            &["sand"][..],
            &["--history", "sand"],
            &["lsm", "sand"],
            &["summarize", "sand"],
            &["file", "7", "sand"],
            &["diff", "1", "5", "sand"],
            &["check", "sand"],
            &["html", "sand", "-o", "sand.html"],
        ] {
            let ran = beach.run(MANIFEST, words);
            assert!((1..=5).contains(&ran.code) && ran.code != 4, "{words:?} {}", ran.err);
            assert!(!ran.err.contains("panicked"), "{words:?}: {}", ran.err);
        }
    }
}

/// Wrong words, missing stores, other files: the statuses of the contract.
#[test]
fn statuses_are_those_of_the_contract() {
    let beach = Beach::busy();
    fs::write(beach.home().join("beach.jpg"), b"\xff\xd8\xff\xe0 not a manifest").expect("a file");
    for (code, words) in [
        (0, &["sand"][..]),
        (0, &["lsm", "sand"]),
        (0, &["check", "sand"]),
        (1, &["file", "99999", "sand"]),
        (2, &["sand", "lsm"]),
        (2, &["lsm", "--at", "99999", "sand"]),
        (2, &["file", "seven", "sand"]),
        (2, &[]),
        (2, &["lsm", ""]),
        (5, &["lsm", "nowhere"]),
        (5, &["lsm", "beach.jpg"]),
        (5, &["check", "beach.jpg"]),
        (5, &["html", "nowhere", "-o", "x.html"]),
    ] {
        let ran = beach.run(MANIFEST, words);
        assert_eq!(ran.code, code, "{words:?}: {}{}", ran.out, ran.err);
        assert_eq!(code == 2 || code == 5, ran.err.contains("rror: "), "{words:?}: {}", ran.err);
    }
}
