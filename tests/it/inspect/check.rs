//! `beach check`, and the library's check.

mod campaign;
mod exchanged;
mod forged;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use beachdb::inspect::check::{CheckOptions, CheckReport, check};
use beachdb::inspect::{Code, Finding};
use beachdb::runtime::inline::InlineRuntime;
use beachdb::vfs::sim::{CrashPlan, SimVfs};
use beachdb::{Db, Durability, Error, Options, WriteBatch};

use super::stores::{BEACH, Beach};
use crate::history::{DIR, Dice, tiny};

/// All findings of the store in `DIR`.
fn findings(vfs: &SimVfs) -> Result<(Vec<Finding>, CheckReport), Error> {
    let mut all = Vec::new();
    let report = check(vfs, Path::new(DIR), &CheckOptions::default(), &mut |found| {
        all.push(found);
        Ok::<(), Error>(())
    })?;
    Ok((all, report))
}

/// What is broken in the store in `DIR`.
fn damage(vfs: &SimVfs) -> Vec<Finding> {
    let (mut all, report) = findings(vfs).expect("a store");
    assert!(report.failed.is_empty(), "{:?}", report.failed);
    all.retain(Finding::is_damage);
    assert_eq!(report.damaged, all.len() as u64);
    all
}

fn options(vfs: &SimVfs, seed: u64) -> (Options, InlineRuntime) {
    let runtime = InlineRuntime::new(seed);
    let options = tiny(vfs.clone(), &runtime).memtable_size(6 << 10).manifest_size(16 << 10);
    (options.table_size(6 << 10), runtime)
}

/// A closed store of several levels, with a live log that has content and a closed end, and a
/// manifest of many edits. `moment` is called after each round of writes.
fn busy_store(seed: u64, mut moment: impl FnMut(&SimVfs)) -> SimVfs {
    let vfs = SimVfs::new();
    let (options, runtime) = options(&vfs, seed);
    let db = options.open(DIR).expect("a store");
    let mut dice = Dice(seed);
    for n in 0..240 {
        // Values that do not compress: the bottom is to be large.
        let value: String = (0..8).map(|_| format!("{:08x}", dice.below(1 << 32))).collect();
        db.put(format!("key{n:03}"), value).expect("put");
    }
    db.compact::<&str, _>(..).expect("compact");
    moment(&vfs);
    for round in 0..7 {
        write_round(&db, seed, round);
        runtime.run_until_idle();
        moment(&vfs);
    }
    let mut levels: Vec<u8> = db.tables().iter().map(|(level, _)| level.0).collect();
    levels.dedup();
    assert!(levels.len() >= 3, "{levels:?}");
    write_tail(&db, seed);
    db.close().expect("close");
    drop(runtime);
    // Opened and closed once more, so that a pair of close frames lies inside the log.
    let (options, _runtime) = self::options(&vfs, seed + 100);
    let db = options.open(DIR).expect("open");
    db.put("last", "one").expect("put");
    db.close().expect("close");
    vfs.crash(&CrashPlan::KEEP_ALL)
}

fn write_round(db: &Db, seed: u64, round: u64) {
    for n in 0..10 {
        let key = format!("key{:03}", (n * 7 + round * 13) % 240);
        let value = format!("{seed} {round} {}", "sand".repeat((n % 7) as usize));
        let mut batch = WriteBatch::new();
        batch.put(&key, &value);
        if n % 8 == 3 {
            batch.delete(format!("key{:03}", (n + round) % 60));
        }
        db.write(batch, Durability::Sync).expect("write");
    }
    db.flush().expect("flush");
}

/// What stays in the log.
fn write_tail(db: &Db, seed: u64) {
    db.put("key001", format!("{seed} in the log")).expect("put");
    let mut batch = WriteBatch::new();
    batch.delete("key003").put("new", "x".repeat(60)).put(b"\xff\x00", "");
    db.write(batch, Durability::Buffered).expect("a batch");
    db.delete("key005").expect("delete");
}

/// All files of a store but LOCK, whose content is for people.
fn files(vfs: &SimVfs) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = vfs.dump();
    files.retain(|path, _| !path.ends_with("LOCK"));
    files
}

fn is_log(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "wal")
}

fn is_table(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "sst")
}

fn is_manifest(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("MANIFEST"))
}

/// A process that dies while it begins a manifest leaves one that was never the current one, and a later
/// manifest may get a higher number: such a file is no history, and no damage. The same content in the
/// place of a manifest that was current is.
#[test]
fn a_manifest_that_never_was_current_is_no_damage() {
    let vfs = SimVfs::new();
    let db = options(&vfs, 7).0.manifest_size(500).open(DIR).expect("a store");
    for round in 0..12 {
        write_round(&db, 7, round);
    }
    db.close().expect("close");
    let manifests: Vec<PathBuf> =
        files(&vfs).into_keys().filter(|path| is_manifest(path)).collect();
    let [.., previous, current] = manifests.as_slice() else { panic!("{manifests:?}") };
    let mut header = vfs.read_file(current).expect("a manifest");
    header.truncate(64);
    let text = current.to_string_lossy();
    let (name, number) = text.split_at(text.len() - 6);
    let number = number.parse::<u64>().expect("a number") - 1;
    let between = PathBuf::from(format!("{name}{number:06}"));
    assert!(previous < &between, "{manifests:?}");
    vfs.install(&between, &header).expect("installed");
    assert_eq!(damage(&vfs), []);
    vfs.install(previous, &header).expect("installed");
    let codes: Vec<_> = damage(&vfs).iter().map(|found| found.code).collect();
    assert_eq!(codes, [Code::ManifestEmpty]);
}

/// A healthy store has no finding, in text and in JSON, and the counts are of all its files.
#[test]
fn a_sound_store_is_sound() {
    let beach = Beach::busy();
    let ran = beach.run(BEACH, &["--db", "sand", "check"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
    assert!(ran.out.starts_with("sound: ") && ran.out.lines().count() == 1, "{}", ran.out);
    let ran = beach.run(BEACH, &["--db", "sand", "check", "--json"]);
    ran.is_valid("check");
    let summary = &ran.objects()[0];
    let files = beach.names("").len() as u64;
    assert_eq!(summary["files"], files - 1, "all but LOCK: {summary}");
    assert_eq!((&summary["damaged"], &summary["notices"]), (&0.into(), &0.into()));
}
