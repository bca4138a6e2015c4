//! The inspecting tools beside a writer: no false alarm, and nothing is touched.

mod between;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use beachdb::inspect::check::{CheckOptions, check};
use beachdb::inspect::coverage::coverage;
use beachdb::inspect::manifest::read_manifest;
use beachdb::inspect::table::read_table;
use beachdb::inspect::view::View;
use beachdb::inspect::wal::read_log;
use beachdb::inspect::{Code, Finding, store};
use beachdb::vfs::os::OsVfs;
use beachdb::{Db, Durability, Error, Options, WriteBatch};

use super::stores::{BEACH, Beach, MANIFEST, SST, WAL};
use crate::history::Dice;

/// How many openings are made beside the writer.
fn openings() -> u64 {
    let wanted = std::env::var("BEACH_INSPECT_OPENINGS").ok();
    wanted.map_or(1500, |count| count.parse().expect("a number"))
}

/// Everything that an open store does to its files, in small: logs change and grow, memory is
/// flushed, tables are merged, moved and ingested, manifests are succeeded; closed and opened again
/// now and then. Returns how often each happened.
fn write_until(over: &AtomicBool, dir: &Path) -> (u64, u64, u64) {
    let mut dice = Dice(5);
    let (mut flushes, mut compactions, mut rounds) = (0, 0, 0);
    while !over.load(Ordering::Acquire) {
        let options = Options::new().memtable_size(12 << 10).log_size(4 << 10);
        let options = options.table_size(8 << 10).manifest_size(3 << 10);
        let db = options.open(dir).expect("open");
        for round in 0..400 {
            for _ in 0..dice.below(20) {
                write_one(&db, &mut dice);
            }
            if round % 97 == 30 {
                ingest(&db, round);
            }
            if round % 40 == 10 {
                trim_history(dir);
            }
            if over.load(Ordering::Acquire) {
                break;
            }
        }
        let stats = db.stats();
        (flushes, compactions) = (flushes + stats.flushes, compactions + stats.compactions);
        rounds += 1;
        if dice.below(2) == 0 {
            db.close().expect("close");
        }
    }
    (flushes, compactions, rounds)
}

/// What the engine does when history exceeds 16 MiB, earlier: each check reads all that there is.
fn trim_history(dir: &Path) {
    let listed = fs::read_dir(dir).expect("the store").map(|entry| entry.expect("a name").path());
    let is_manifest = |path: &PathBuf| path.to_string_lossy().contains("MANIFEST-");
    let mut manifests: Vec<PathBuf> = listed.filter(is_manifest).collect();
    manifests.sort();
    manifests.iter().rev().skip(8).for_each(|path| fs::remove_file(path).expect("removed"));
}

fn write_one(db: &Db, dice: &mut Dice) {
    let mut batch = WriteBatch::new();
    for _ in 0..=dice.below(3) {
        let key = format!("key{:03}", dice.below(300));
        match dice.below(5) {
            0 => batch.delete(key),
            size => batch.put(key, "v".repeat(1 + 60 * size as usize)),
        };
    }
    let durability = if dice.below(8) == 0 { Durability::Sync } else { Durability::Buffered };
    db.write(batch, durability).expect("write");
}

fn ingest(db: &Db, round: u64) {
    let mut writer = db.ingest_writer().expect("begin");
    for n in 0..20 {
        writer.put(format!("key{n:03}x"), format!("taken in {round}")).expect("put");
    }
    writer.commit().expect("commit");
}

/// The whole store with all that is found.
fn check_whole(vfs: &OsVfs, dir: &Path) -> Result<(), Error> {
    let report = check(vfs, dir, &CheckOptions::default(), &mut |found| {
        assert_no_damage(&found);
        Ok::<(), Error>(())
    })?;
    assert!(report.failed.is_empty(), "{:?}", report.failed);
    Ok(())
}

fn assert_no_damage(found: &Finding) {
    assert!(!found.is_damage(), "a false alarm: {} {found}", found.code);
}

/// The three readers over all files of a view.
fn read_view(vfs: &OsVfs, dir: &Path) -> Result<(), Error> {
    let view = View::take(vfs, dir)?;
    assert!(view.state.is_some() && view.manifest.is_some());
    view.findings.iter().for_each(assert_no_damage);
    let look = |found: Option<&Finding>| {
        found.into_iter().for_each(assert_no_damage);
        Ok::<(), Error>(())
    };
    for log in &view.logs {
        read_log(&*log.opened.file, &log.expect, &mut |item| look(item.finding()))?;
    }
    if let Some(manifest) = &view.manifest {
        read_manifest(&*manifest.file, &view.manifest_expect, &mut |item| look(item.finding()))?;
    }
    for table in &view.tables {
        let totals = read_table(&*table.opened.file, false, &mut |item| look(item.finding()))?;
        assert_eq!(Some(totals.entries), table.meta.as_ref().map(|meta| meta.entries));
    }
    Ok(())
}

/// Every byte of every file.
fn cover(vfs: &OsVfs, dir: &Path) -> Result<(), Error> {
    coverage(vfs, dir, &mut |_, findings| {
        findings.iter().for_each(assert_no_damage);
        Ok::<(), Error>(())
    })
    .map(drop)
}

/// As the dump tools begin.
fn look(vfs: &OsVfs, dir: &Path) -> Result<(), Error> {
    let live = store::live(vfs, dir)?;
    live.findings.iter().for_each(assert_no_damage);
    assert!(live.state.is_some());
    Ok(())
}

/// The binaries, each over the store's directory.
const TOOLS: [(&str, &[&str]); 6] = [
    (BEACH, &["--db", "sand", "check"]),
    (BEACH, &["--db", "sand", "check", "--coverage", "--json"]),
    (WAL, &["sand"]),
    (SST, &["sand"]),
    (MANIFEST, &["sand"]),
    (BEACH, &["--db", "sand", "lsm"]),
];

/// Thousands of openings while a writer does all it can to the files: nothing is ever called
/// damaged, and no tool gives up because files moved.
#[test]
fn there_is_no_false_alarm_beside_a_busy_writer() {
    let beach = Beach::new();
    let (dir, over) = (beach.store(), AtomicBool::new(false));
    drop(Db::open(&dir).expect("a store"));
    let openings = openings();
    let (flushes, compactions, rounds) = thread::scope(|scope| {
        let writer = scope.spawn(|| write_until(&over, &dir));
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for n in 0..openings {
                let read = match n % 4 {
                    0 => check_whole(&OsVfs, &dir),
                    1 => read_view(&OsVfs, &dir),
                    2 => look(&OsVfs, &dir),
                    _ => cover(&OsVfs, &dir),
                };
                read.unwrap_or_else(|error| panic!("opening {n}: {error}"));
                if n % 25 == 7 {
                    let (tool, words) = TOOLS[(n / 25) as usize % TOOLS.len()];
                    let ran = beach.run(tool, words);
                    assert_eq!(ran.code, 0, "{tool} {words:?}: {}{}", ran.out, ran.err);
                }
            }
        }));
        over.store(true, Ordering::Release);
        let written = writer.join().expect("the writer");
        ended.map(|()| written).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    println!("{openings} openings, {flushes} flushes, {compactions} compactions, {rounds} handles");
    assert!(flushes > 10 && compactions > 2, "{flushes} flushes, {compactions} compactions");
}

/// The verbs of `beach` that write, or that have no store to look into.
const NOT_INSPECTING: [&str; 13] = [
    "put",
    "del",
    "apply",
    "load",
    "flush",
    "compact",
    "checkpoint",
    "bench",
    "tour",
    "completions",
    "man",
    "help",
    "repair",
];

/// Everything that looks into a store or a file of one: tool, words. `TABLE`, `LOG` and `MANIFEST`
/// stand for files; `-o` goes elsewhere. A new command is added here, or the test below fails.
const LOOKING: &[(&str, &str)] = &[
    (BEACH, "--db sand get key001"),
    (BEACH, "--db sand scan"),
    (BEACH, "--db sand dump"),
    (BEACH, "--db sand lsm"),
    (BEACH, "--db sand stats"),
    (BEACH, "--db sand check"),
    (BEACH, "--db sand check --coverage"),
    (BEACH, "--db sand find key001"),
    (BEACH, "--db sand explain get key001"),
    (BEACH, "--db sand du"),
    (BEACH, "--db sand du --by-prefix 4"),
    (BEACH, "diff sand sand"),
    (BEACH, "--db sand repair"),
    (BEACH, "--db sand repair -o repaired"),
    (WAL, "sand"),
    (WAL, "--ops sand"),
    (WAL, "salvage LOG -o salvaged.wal"),
    (WAL, "at LOG 70"),
    (SST, "sand"),
    (SST, "--entries sand"),
    (SST, "at TABLE 70"),
    (SST, "get TABLE key001"),
    (SST, "histogram TABLE"),
    (SST, "doctor TABLE"),
    (SST, "doctor TABLE --write-fixed fixed.sst"),
    (MANIFEST, "sand"),
    (MANIFEST, "--at 3 sand"),
    (MANIFEST, "lsm sand"),
    (MANIFEST, "file 7 sand"),
    (MANIFEST, "diff 1 3 sand"),
    (MANIFEST, "summarize sand"),
    (MANIFEST, "check sand"),
    (MANIFEST, "html sand -o page.html"),
];

/// The commands that a tool's help lists.
fn commands(beach: &Beach, tool: &str) -> BTreeSet<String> {
    let help = beach.run(tool, &["--help"]).out;
    let Some((_, list)) = help.split_once("\nCommands:\n") else { return BTreeSet::new() };
    let lines = list.lines().take_while(|line| !line.is_empty());
    let command = |line: &str| line.strip_prefix("  ")?.split(' ').next().map(str::to_owned);
    lines.filter_map(command).filter(|command| !command.is_empty()).collect()
}

/// Bytes, size, inode and times of every file, and of the directory.
fn face(dir: &Path) -> BTreeMap<String, (Vec<u8>, [i64; 6])> {
    let of = |path: &Path| {
        let meta = fs::metadata(path).expect("metadata");
        let times = [meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()];
        let bytes = if meta.is_file() { fs::read(path).expect("bytes") } else { Vec::new() };
        (bytes, [meta.ino() as i64, meta.size() as i64, times[0], times[1], times[2], times[3]])
    };
    let mut face = BTreeMap::from([(".".to_owned(), of(dir))]);
    for entry in fs::read_dir(dir).expect("a directory") {
        let entry = entry.expect("an entry");
        face.insert(entry.file_name().into_string().expect("a name"), of(&entry.path()));
    }
    face
}

/// Runs everything that looks; nothing may have changed afterwards.
fn look_with_everything(beach: &Beach) -> usize {
    let file = |part: &str| format!("sand/{}", beach.names(part).first().expect("a file"));
    let before = face(&beach.store());
    let mut ran = 0;
    for (tool, line) in LOOKING {
        let first = line.split(' ').next().unwrap_or_default();
        let is_command = !first.starts_with("--") && first != "sand";
        if is_command && !commands(beach, tool).contains(first) {
            continue;
        }
        let line = line.replace("LOG", &file(".wal")).replace("TABLE", &file(".sst"));
        let words: Vec<&str> = line.split(' ').collect();
        let run = beach.run(tool, &words);
        if run.err.contains("not there yet") {
            continue;
        }
        assert!(matches!(run.code, 0 | 1), "{tool} {line}: {} {}", run.code, run.err);
        assert_eq!(face(&beach.store()), before, "{tool} {line} changed something");
        ran += 1;
    }
    ran
}

/// Every tool over an idle store that a writer holds open, and then over a closed one in a directory
/// that may only be read: no byte, size or time of a file or of the directory changes, and no lock is
/// waited for.
#[test]
fn looking_changes_nothing_and_needs_no_lock() {
    let beach = Beach::busy();
    let writer = Db::open(beach.store()).expect("a writer");
    writer.put("key001", "newest").expect("put");
    let ran = look_with_everything(&beach);
    assert!(ran >= 20, "only {ran} commands ran");
    writer.close().expect("close");

    let allow = |mode| {
        for name in beach.names("") {
            let file = fs::Permissions::from_mode(mode & 0o666);
            fs::set_permissions(beach.path(&name), file).expect("permissions");
        }
        let dir = fs::Permissions::from_mode(mode);
        fs::set_permissions(beach.store(), dir).expect("permissions");
    };
    for name in ["repaired", "salvaged.wal", "fixed.sst", "page.html"] {
        let path = beach.home().join(name);
        let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    }
    allow(0o555);
    let again = look_with_everything(&beach);
    allow(0o755);
    assert_eq!(again, ran);
}

/// What the tools' help lists is in the table above, or writes by design.
#[test]
fn every_command_that_looks_is_tried() {
    let beach = Beach::new();
    let mut seen = 0;
    for tool in [BEACH, WAL, SST, MANIFEST] {
        let tried: BTreeSet<&str> = LOOKING
            .iter()
            .filter(|(of, _)| *of == tool)
            .flat_map(|(_, line)| line.split(' '))
            .collect();
        for command in commands(&beach, tool) {
            let known =
                tried.contains(command.as_str()) || NOT_INSPECTING.contains(&command.as_str());
            assert!(known, "{tool} {command} is not in the table of tools that look");
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
}

/// A table that goes away after a view was taken is still read, and its check is whole.
#[test]
fn what_a_view_has_opened_stays_readable() {
    let beach = Beach::busy();
    let view = View::take(&OsVfs, &beach.store()).expect("a view");
    for name in beach.names(".sst") {
        fs::remove_file(beach.path(&name)).expect("removed");
    }
    for table in &view.tables {
        let totals = read_table(&*table.opened.file, false, &mut |_| Ok::<(), Error>(()));
        let entries = table.meta.as_ref().map(|meta| meta.entries);
        assert_eq!(totals.ok().map(|totals| totals.entries), entries);
    }
    assert!(!view.tables.is_empty());
    let found = View::take(&OsVfs, &beach.store()).expect("a view").findings;
    let missing = found.iter().filter(|found| found.code == Code::TableMissing).count();
    assert_eq!(missing, view.tables.len());
}
