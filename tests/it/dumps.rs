//! The dump tools, as a person and a script meet them.
#![allow(clippy::disallowed_methods, reason = "these tests prepare files for the tools")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use beachdb::inspect::frames::Expect;
use beachdb::inspect::store::{self, Live};
use beachdb::inspect::{manifest, table, wal};
use beachdb::runtime::inline::InlineRuntime;
use beachdb::vfs::sim::{CrashPlan, SimVfs};
use beachdb::vfs::{Access, Vfs};
use beachdb::{Db, Durability, Error, Options, WriteBatch};
use serde_json::Value;

use crate::history::{DIR, tiny};

const WAL: &str = "beach-walDump";
const SST: &str = "beach-sstDump";
const MANIFEST: &str = "beach-manifest";

/// What a run of a tool gave.
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    /// The lines of NDJSON, of which the last must be the summary.
    fn objects(&self) -> Vec<Value> {
        let objects: Vec<Value> = self.out.lines().map(parsed).collect();
        let last = objects.last().expect("a summary");
        assert_eq!((&last["t"], &last["complete"]), (&"summary".into(), &true.into()), "{last}");
        objects
    }

    fn of_kind(&self, kind: &str) -> Vec<Value> {
        self.objects().into_iter().filter(|object| object["t"] == kind).collect()
    }
}

fn parsed(line: &str) -> Value {
    let object: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
    assert!(object["t"].is_string(), "{line}");
    object
}

/// Runs a tool in `dir`.
fn ran(tool: &str, dir: &Path, words: &[&str]) -> Ran {
    let mut command = assert_cmd::Command::cargo_bin(tool).expect("the tool");
    let output = command.current_dir(dir).args(words).output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    let code = output.status.code().expect("an exit");
    Ran { code, out: text(&output.stdout), err: text(&output.stderr) }
}

/// A store in a directory of its own, `sand`.
struct Beach {
    home: tempfile::TempDir,
}

impl Beach {
    fn new() -> Beach {
        Beach { home: tempfile::tempdir().expect("a directory") }
    }

    fn dir(&self) -> &Path {
        self.home.path()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join("sand").join(name)
    }

    fn names(&self, end: &str) -> Vec<String> {
        let listed = fs::read_dir(self.path("")).expect("the store");
        let names = listed.map(|entry| entry.expect("a name").file_name().into_string());
        let mut names: Vec<String> = names.map(|name| name.expect("text")).collect();
        names.retain(|name| name.ends_with(end) || name.starts_with(end));
        names.sort();
        names
    }

    fn damage(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(self.path(name)).expect("the file");
        change(&mut bytes);
        fs::write(self.path(name), bytes).expect("the file");
    }

    fn run(&self, tool: &str, words: &[&str]) -> Ran {
        ran(tool, self.dir(), words)
    }
}

/// `count` records of one operation, closed.
fn log_of(count: u32) -> Beach {
    let beach = Beach::new();
    let db = Options::new().open(beach.path("")).expect("open");
    for n in 0..count {
        let mut batch = WriteBatch::new();
        batch.put(format!("key{n:05}"), format!("value of {n}"));
        db.write(batch, Durability::Buffered).expect("write");
    }
    db.close().expect("close");
    beach
}

/// The same bytes at each run: tables, a tombstone, a batch, a live log, on the simulated disk.
fn fixed() -> SimVfs {
    let (vfs, runtime) = (SimVfs::new(), InlineRuntime::new(42));
    let options = Options::new().log_size(4096).vfs(Arc::new(vfs.clone()));
    let db = options.runtime(Arc::new(runtime)).open(DIR).expect("open");
    db.put("tide", "low").expect("put");
    db.put("shell", vec![b's'; 40]).expect("put");
    db.delete("tide").expect("delete");
    db.flush().expect("flush");
    let mut batch = WriteBatch::new();
    batch.put("crab", "sideways").put(b"\xff\x00", "bin\tary").delete("shell");
    db.write(batch, Durability::Sync).expect("write");
    db.flush().expect("flush");
    db.put("tide", "high \"spring\"").expect("put");
    db.delete("gull").expect("delete");
    db.close().expect("close");
    vfs
}

/// What lies on a simulated disk, in real files.
fn on_disk(vfs: &SimVfs) -> Beach {
    let beach = Beach::new();
    fs::create_dir(beach.path("")).expect("the directory");
    for (path, bytes) in vfs.dump() {
        let name = path.file_name().expect("a name");
        fs::write(beach.path("").join(name), bytes).expect("a file");
    }
    beach
}

fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().expect("a parent")).expect("the directory");
        fs::write(&path, text).expect("the golden file");
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{name} differs; UPDATE_GOLDEN=1 cargo test dumps makes it anew");
}

/// Every byte that the tools print about a fixed store, as text and as NDJSON, is written down;
/// a change of the output shows in review.
#[test]
fn the_dumps_of_a_fixed_store_are_written_down() {
    let beach = on_disk(&fixed());
    for (tool, words, name) in [
        (WAL, &["--ops", "sand"][..], "wal_dump"),
        (SST, &["--entries", "sand"], "sst_dump"),
        (MANIFEST, &["sand"], "manifest"),
    ] {
        let text = beach.run(tool, words);
        assert_eq!((text.code, text.err.as_str()), (0, ""), "{}", text.out);
        golden(&format!("{name}.txt"), &text.out);
        let json = beach.run(tool, &[words, &["--json"]].concat());
        assert_eq!(json.code, 0);
        json.objects();
        golden(&format!("{name}.ndjson"), &json.out);
    }
}

/// Counts what is shown against what was written, in each of the three dumps.
#[test]
fn a_dump_shows_every_record_entry_and_edit() {
    let beach = log_of(300);
    let dump = beach.run(WAL, &["--ops", "--json", "sand"]);
    assert_eq!((dump.code, dump.err.as_str()), (0, ""));
    let ops = dump.of_kind("op");
    assert_eq!(ops.len(), 300);
    for (n, op) in ops.iter().enumerate() {
        assert_eq!(op["seqno"], n as u64 + 1);
        assert_eq!(op["key"], format!("key{n:05}"));
        assert_eq!(op["value"], format!("value of {n}"));
    }
    assert_eq!(dump.of_kind("summary")[0]["ops"], 300);

    Db::open(beach.path("")).expect("open").flush().expect("flush");
    let dump = beach.run(SST, &["--entries", "--json", "sand"]);
    assert_eq!(dump.code, 0);
    let keys: Vec<_> = dump.of_kind("entry").iter().map(|entry| entry["key"].clone()).collect();
    assert_eq!(keys, (0..300).map(|n| format!("key{n:05}")).collect::<Vec<_>>());
    let entries: u64 = dump.of_kind("block").iter().map(|b| b["entries"].as_u64().unwrap()).sum();
    assert_eq!(entries, 300);

    let dump = beach.run(MANIFEST, &["--json", "sand"]);
    assert_eq!(dump.code, 0);
    let reasons: Vec<_> = dump.of_kind("edit").iter().map(|edit| edit["reason"].clone()).collect();
    assert_eq!(reasons.first(), Some(&"create".into()));
    assert!(reasons.contains(&"flush".into()), "{reasons:?}");
    let tables = dump.of_kind("table");
    assert_eq!((tables.len(), &tables[0]["entries"]), (1, &300.into()));
    assert_eq!(dump.of_kind("version")[0]["tables"], 1);
}

/// Where the parts of a log lie, as the dump says.
fn frames(beach: &Beach, log: &str) -> Vec<(u64, u64, String)> {
    let dump = beach.run(WAL, &["--json", &format!("sand/{log}")]);
    let part = |frame: &Value| {
        let number = |name: &str| frame[name].as_u64().expect("a number");
        (number("offset"), number("size"), frame["kind"].as_str().expect("a kind").to_owned())
    };
    dump.of_kind("frame").iter().map(part).collect()
}

/// One byte of 3,000 records is overwritten, at places all over the log: every other record is
/// shown, the hole is where the byte is, and it is known how many operations it took.
#[test]
fn one_bad_byte_costs_one_record_and_is_told() {
    let beach = log_of(3000);
    let log = beach.names(".wal").remove(0);
    let batches: Vec<_> =
        frames(&beach, &log).into_iter().filter(|frame| frame.2 == "batch").collect();
    assert_eq!(batches.len(), 3000);
    for (index, at, byte) in [(0, 0, 0u8), (1500, 20, 0x55), (2000, 30, 0xff), (2998, 45, 0)] {
        let (offset, size, _) = batches[index];
        beach.damage(&log, |bytes| bytes[offset as usize + at] ^= byte | 3);
        let dump = beach.run(WAL, &["--ops", "--json", "sand"]);
        beach.damage(&log, |bytes| bytes[offset as usize + at] ^= byte | 3);
        assert_eq!(dump.code, 3, "{}", dump.err);
        assert!(dump.err.contains("damaged place"), "{}", dump.err);
        assert_eq!(dump.of_kind("op").len(), 2999);
        let holes = dump.of_kind("hole");
        assert_eq!(holes.len(), 1);
        assert_eq!((&holes[0]["offset"], &holes[0]["size"]), (&offset.into(), &size.into()));
        assert_eq!(holes[0]["damaged"], true);
        if index > 0 {
            assert_eq!(
                (&holes[0]["ops_missing"], &holes[0]["seqno_before"]),
                (&1.into(), &index.into())
            );
        }
    }
    assert_eq!(beach.run(WAL, &["sand"]).code, 0);
}

/// Each class of hole is made, and called by its name.
#[test]
fn holes_are_classed() {
    /// Where a frame begins, and its bytes.
    type Place = (usize, usize);
    let class = |damage: &dyn Fn(&mut Vec<u8>, Place, Place)| {
        let beach = log_of(50);
        let log = beach.names(".wal").remove(0);
        let batches: Vec<_> = frames(&beach, &log)
            .into_iter()
            .filter(|frame| frame.2 == "batch")
            .map(|frame| (frame.0 as usize, frame.1 as usize))
            .collect();
        beach.damage(&log, |bytes| damage(bytes, batches[20], batches[30]));
        let dump = beach.run(WAL, &["--json", "sand"]);
        assert_eq!(dump.code, 3);
        dump.of_kind("hole").remove(0)["class"].as_str().expect("a class").to_owned()
    };
    assert_eq!(class(&|bytes, (at, _), _| bytes[at + 40] ^= 8), "flipped_bit");
    assert_eq!(class(&|bytes, (at, size), _| bytes[at..at + size].fill(0)), "zero_filled");
    assert_eq!(class(&|bytes, (at, _), _| bytes[at + 30..at + 40].fill(0xee)), "hole");
    let copied = |bytes: &mut Vec<u8>, (to, size): Place, (from, _): Place| {
        bytes.copy_within(from..from + size, to);
    };
    assert_eq!(class(&copied), "misplaced");
    let other = log_of(50);
    let foreign = fs::read(other.path(&other.names(".wal")[0])).expect("a log");
    let pasted = |bytes: &mut Vec<u8>, (at, size): Place, _: Place| {
        bytes[at..at + size].copy_from_slice(&foreign[at..at + size]);
    };
    assert_eq!(class(&pasted), "foreign");
}

/// A killed writer's log ends inside a record: shown, and not damage.
#[test]
fn a_torn_tail_is_shown_and_is_no_damage() {
    let beach = Beach::new();
    let db = Options::new().open(beach.path("")).expect("open");
    for n in 0..20 {
        let mut batch = WriteBatch::new();
        batch.put(format!("key{n}"), vec![b'v'; 100]);
        db.write(batch, Durability::Buffered).expect("write");
    }
    let log = beach.names(".wal").remove(0);
    let copy = Beach::new();
    fs::create_dir(copy.path("")).expect("the directory");
    fs::copy(beach.path(&log), copy.path(&log)).expect("a copy");
    drop(db);
    let (offset, size, _) = frames(&copy, &log).pop().expect("a frame");
    copy.damage(&log, |bytes| bytes[(offset + size / 2) as usize..].fill(0));
    let file = format!("sand/{log}");
    let dump = copy.run(WAL, &["--json", &file]);
    assert_eq!((dump.code, dump.err.as_str()), (0, ""));
    let holes = dump.of_kind("hole");
    assert_eq!(holes.len(), 1);
    assert_eq!((&holes[0]["class"], &holes[0]["damaged"]), (&"torn_tail".into(), &false.into()));
    assert_eq!(dump.of_kind("summary")[0]["torn"], 1);
    let text = copy.run(WAL, &[&file]);
    assert!(text.out.contains("a crash may leave this"), "{}", text.out);
}

/// A log without its header: all of it wiped, and every one of its records is still shown.
#[test]
fn a_log_without_its_header_is_read_all_the_same() {
    let beach = log_of(30);
    let log = beach.names(".wal").remove(0);
    for fill in [0, 0x5a] {
        beach.damage(&log, |bytes| bytes[..64].fill(fill));
        let dump = beach.run(WAL, &["--ops", "--json", &format!("sand/{log}")]);
        assert_eq!(dump.code, 3, "{}", dump.err);
        assert!(dump.of_kind("header")[0]["damage"].is_string());
        assert_eq!(dump.of_kind("op").len(), 30);
    }
}

/// A bad block, a bad index, a bad footer: what can be read is shown, each time with status 3.
#[test]
fn a_damaged_table_is_read_as_far_as_it_goes() {
    let beach = log_of(3000);
    Db::open(beach.path("")).expect("open").flush().expect("flush");
    let name = beach.names(".sst").remove(0);
    let dump = || beach.run(SST, &["--entries", "--json", "sand"]);
    let sound = dump();
    assert_eq!((sound.code, sound.of_kind("entry").len()), (0, 3000));
    let block = sound.of_kind("block")[1].clone();
    let at = block["offset"].as_u64().expect("an offset") as usize;
    let index = sound.of_kind("index")[0]["offset"].as_u64().expect("an offset") as usize;

    beach.damage(&name, |bytes| bytes[at + 9] ^= 1);
    let bad = dump();
    assert_eq!(bad.code, 3);
    let lost = block["entries"].as_u64().expect("a count") as usize;
    assert_eq!(bad.of_kind("entry").len(), 3000 - lost);
    assert!(bad.of_kind("block")[1]["damage"].as_str().expect("damage").contains("checksum"));
    beach.damage(&name, |bytes| bytes[at + 9] ^= 1);

    beach.damage(&name, |bytes| bytes[index + 9] ^= 1);
    let bad = dump();
    assert_eq!((bad.code, bad.of_kind("entry").len()), (3, 3000));
    assert!(bad.of_kind("damage")[0]["detail"].as_str().expect("text").contains("index"));
    beach.damage(&name, |bytes| bytes[index + 9] ^= 1);

    let footer = |bytes: &mut Vec<u8>| {
        let at = bytes.len() - 30;
        bytes[at] ^= 4;
    };
    beach.damage(&name, footer);
    let bad = dump();
    assert_eq!((bad.code, bad.of_kind("entry").len()), (3, 3000));
    beach.damage(&name, footer);
    assert_eq!(dump().code, 0);
}

/// Each tool gets each of the other kinds of file, and a stranger.
#[test]
fn the_wrong_kind_of_file_names_the_tool_for_it() {
    let beach = on_disk(&fixed());
    let path = |end: &str| format!("sand/{}", beach.names(end)[0]);
    let (log, table, manifest) = (path(".wal"), path(".sst"), path("MANIFEST-"));
    fs::write(beach.path("photo.jpg"), [&b"\xff\xd8\xff\xe0"[..], &[7; 300]].concat())
        .expect("a file");
    for (tool, file, says) in [
        (WAL, table.as_str(), SST),
        (WAL, &manifest, MANIFEST),
        (SST, &log, WAL),
        (SST, &manifest, MANIFEST),
        (MANIFEST, &log, WAL),
        (MANIFEST, &table, SST),
        (WAL, "sand/photo.jpg", "begins with"),
        (SST, "sand/photo.jpg", "begins with"),
        (MANIFEST, "sand/photo.jpg", "begins with"),
        (WAL, "sand/CURRENT", "CURRENT"),
        (WAL, "sand/nowhere", "no such file"),
    ] {
        let dump = beach.run(tool, &[file]);
        assert_eq!((dump.code, dump.out.as_str()), (5, ""), "{tool} {file}: {}", dump.err);
        assert!(dump.err.contains(says), "{tool} {file}: {}", dump.err);
    }
    fs::create_dir(beach.dir().join("empty")).expect("a directory");
    assert_eq!(beach.run(WAL, &["empty"]).code, 5);
    assert_eq!(beach.run(WAL, &[]).code, 2);
}

/// With CURRENT or the manifest damaged the files are found by their names, and the status says
/// that something is wrong.
#[test]
fn a_store_without_its_manifest_is_still_dumped() {
    let beach = on_disk(&fixed());
    let whole = beach.run(WAL, &["sand"]).out;
    beach.damage("CURRENT", |bytes| bytes[3] ^= 1);
    let dump = beach.run(WAL, &["sand"]);
    assert_eq!((dump.code, dump.out.as_str()), (3, whole.as_str()));
    assert!(dump.err.contains("CURRENT") && dump.err.contains("names"), "{}", dump.err);
    assert_eq!(beach.run(MANIFEST, &["sand"]).code, 3);

    let beach = on_disk(&fixed());
    let name = beach.names("MANIFEST-").remove(0);
    beach.damage(&name, |bytes| bytes[100] ^= 1);
    assert_eq!(beach.run(SST, &["sand"]).code, 3);
    let dump = beach.run(MANIFEST, &["--json", "sand"]);
    assert_eq!(dump.code, 3);
    assert_eq!(dump.of_kind("hole").len(), 1);
    assert!(dump.of_kind("edit").len() > 2);
    assert_eq!(dump.of_kind("version")[0]["partial"], true);
}

/// The reader leaves after one line of a long dump: the tool ends quietly, with 0.
#[test]
fn a_closed_pipe_ends_a_dump_quietly() {
    let beach = log_of(3000);
    let mut child = Command::new(env!("CARGO_BIN_EXE_beach-walDump"))
        .args(["--ops", "sand"])
        .current_dir(beach.dir())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut line = String::new();
    let mut reader = BufReader::with_capacity(16, child.stdout.take().expect("its output"));
    reader.read_line(&mut line).expect("a line");
    drop(reader);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

/// What reading all live files of a store on a simulated disk finds: damaged places.
fn damaged(vfs: &SimVfs) -> Result<u64, Error> {
    let Live { manifest: path, manifest_expect, logs, tables, findings, .. } =
        store::live(vfs, Path::new(DIR))?;
    let mut count = findings.iter().filter(|found| found.is_damage()).count() as u64;
    let open = |path: &Path| vfs.open(path, Access::Read);
    if let Some(path) = path {
        let read =
            manifest::read_manifest(&*open(&path)?, &manifest_expect, &mut |_| Ok::<(), Error>(()));
        count += read?.damaged;
    }
    for (path, expect) in logs {
        count += wal::read_log(&*open(&path)?, &expect, &mut |_| Ok::<(), Error>(()))?.damaged;
    }
    for (path, _) in tables {
        count += table::read_table(&*open(&path)?, true, &mut |_| Ok::<(), Error>(()))?.damaged;
    }
    Ok(count)
}

/// Crashes a store at every operation in every way the simulated disk knows: what the engine opens,
/// the tools call sound. Torn tails must have been among them.
#[test]
fn what_a_crash_leaves_is_not_called_damage() {
    let (vfs, runtime) = (SimVfs::new(), InlineRuntime::new(3));
    let db = tiny(vfs.clone(), &runtime).open(Path::new(DIR)).expect("open");
    let (mut images, mut torn) = (0, 0);
    for n in 0..12u32 {
        let durability = if n % 3 == 0 { Durability::Sync } else { Durability::Buffered };
        let mut batch = WriteBatch::new();
        batch.put(format!("key{n}"), vec![n as u8; 100 * n as usize]).delete("key0");
        db.write(batch, durability).expect("write");
        for plan in CrashPlan::all(u64::from(n)) {
            let image = vfs.crash(&plan);
            assert_eq!(damaged(&image).expect("a reading"), 0, "after {n}: {plan:?}");
            torn += torn_tails(&image);
            images += 1;
        }
        runtime.run_until_idle();
    }
    assert!(images > 300 && torn > 10, "{images} images, {torn} torn tails");
}

fn torn_tails(vfs: &SimVfs) -> u64 {
    let live = store::live(vfs, Path::new(DIR)).expect("a store");
    let count = |(path, expect): &(PathBuf, Expect)| {
        let file = vfs.open(path, Access::Read).expect("a log");
        wal::read_log(&*file, expect, &mut |_| Ok::<(), Error>(())).expect("a reading").torn
    };
    live.logs.iter().map(count).sum()
}

/// Flips bits all over every live file of a closed store: none goes unnoticed.
#[test]
fn no_flipped_bit_of_any_file_goes_unnoticed() {
    let vfs = fixed();
    assert_eq!(damaged(&vfs).expect("a reading"), 0);
    let mut flips = 0;
    for (path, bytes) in vfs.dump() {
        if path.ends_with("LOCK") {
            continue;
        }
        for bit in (0..bytes.len() * 8).step_by(if bytes.len() > 2000 { 13 } else { 3 }) {
            let image = vfs.kill();
            image.corrupt(&path, |bytes| bytes[bit / 8] ^= 1 << (bit % 8)).expect("a file");
            let found = damaged(&image);
            let noticed = !matches!(found, Ok(0));
            assert!(noticed, "{}: bit {bit} of {}", path.display(), bytes.len() * 8);
            flips += 1;
        }
    }
    assert!(flips > 3000, "{flips} flips");
}

/// Cuts every live file in many places, the manifest also where an edit ends.
#[test]
fn no_cut_of_any_file_goes_unnoticed() {
    let vfs = fixed();
    for (path, bytes) in vfs.dump() {
        if path.ends_with("LOCK") {
            continue;
        }
        for size in (0..bytes.len()).step_by(8) {
            let image = vfs.kill();
            image.corrupt(&path, |bytes| bytes.truncate(size)).expect("a file");
            let noticed = !matches!(damaged(&image), Ok(0));
            assert!(noticed, "{} of {} bytes of {}", size, bytes.len(), path.display());
        }
    }
}
