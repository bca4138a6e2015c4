//! Every bit of every file flipped, every file cut, patched, emptied, removed and exchanged: the
//! store says so, naming the file, or gives exactly the data that was written.

mod exchanged;
mod tails;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use beachdb::format::header::FileKind;
use beachdb::runtime::inline::InlineRuntime;
use beachdb::vfs::sim::{CrashPlan, SimVfs};
use beachdb::vfs::{Access, Vfs};
use beachdb::{Db, Durability, Error, Options, WriteBatch, record};

use crate::history::{Content, DIR, content_of, tiny};

/// Small logs, so that every byte can be tried; flushes only when asked for.
fn options(vfs: &SimVfs, seed: u64) -> Options {
    let runtime = InlineRuntime::new(seed);
    tiny(vfs.clone(), &runtime).memtable_size(1 << 20).manifest_size(1 << 20)
}

/// A store with everything in it: two tables that overlap, overwritten and deleted keys, and a log
/// with batches of both kinds.
fn write_store(vfs: &SimVfs, seed: u64) -> Db {
    let db = options(vfs, seed).open(DIR).expect("a store");
    for n in 0..12 {
        db.put(format!("key{n:02}"), format!("{seed} in the first table")).expect("put");
    }
    db.flush().expect("flush");
    for n in (0..12).step_by(3) {
        db.put(format!("key{n:02}"), format!("{seed} in the second table")).expect("put");
    }
    db.delete("key01").expect("delete");
    db.flush().expect("flush");
    db.put("key02", format!("{seed} in the log")).expect("put");
    let mut batch = WriteBatch::new();
    batch.delete("key03").put("new", "x".repeat(60)).put("key04", "");
    db.write(batch, Durability::Buffered).expect("a batch");
    db.delete("key05").expect("delete");
    db
}

/// The store, closed, and what it holds.
fn closed_store(seed: u64) -> (SimVfs, Content) {
    let vfs = SimVfs::new();
    let db = write_store(&vfs, seed);
    let content = content_of(&db);
    db.close().expect("close");
    // Opened and closed once more, so that a pair of close frames lies inside the log.
    let db = options(&vfs, seed + 100).open(DIR).expect("open");
    db.put("last", "one").expect("put");
    let content = content_of(&db).into_iter().chain(content).collect();
    db.close().expect("close");
    (vfs.crash(&CrashPlan::KEEP_ALL), content)
}

/// The store as a kill leaves it right after a durable write.
fn killed_store(seed: u64) -> (SimVfs, Content) {
    let vfs = SimVfs::new();
    let db = write_store(&vfs, seed);
    let content = content_of(&db);
    (vfs.kill().crash(&CrashPlan::KEEP_ALL), content)
}

/// A store that was recovered once and closed: two logs, the older one settled.
fn recovered_store(seed: u64) -> (SimVfs, Content) {
    let (vfs, content) = killed_store(seed);
    let db = options(&vfs, seed + 100).open(DIR).expect("open");
    assert!(!db.recovery().clean);
    db.put("last", "one").expect("put");
    db.close().expect("close");
    let last = (b"last".to_vec(), b"one".to_vec());
    (vfs.crash(&CrashPlan::KEEP_ALL), content.into_iter().chain([last]).collect())
}

/// All files of the store but LOCK, whose content is for people.
fn store_files(vfs: &SimVfs) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = vfs.dump();
    files.retain(|path, _| !path.ends_with("LOCK"));
    files
}

fn is_table(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "sst")
}

fn is_log(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "wal")
}

/// Where a damaged store was found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    AtOpen,
    OnRead,
    /// Opening dropped it and said so, and all the data was right.
    AsTail,
    /// Nowhere, and all the data was right.
    Nowhere,
}

/// How often each came out, by file name.
type Tally = BTreeMap<(String, Found), u64>;

fn count(tally: &Tally, found: Found, of: impl Fn(&str) -> bool) -> u64 {
    let matching = tally.iter().filter(|((name, how), _)| *how == found && of(name));
    matching.map(|(_, count)| count).sum()
}

/// The file an error is about; panics on an error that is not about damage.
fn culprit(error: &Error, what: &str) -> PathBuf {
    match error {
        Error::Corruption(found) => found.path.clone(),
        Error::NotOurs { path, .. } | Error::Unsupported { path, .. } => path.clone(),
        other => panic!("{what}: {other}"),
    }
}

/// One direction of a scan: right up to the first error, and nothing behind that.
fn scan(
    mut iter: impl DoubleEndedIterator<Item = beachdb::Result<(Vec<u8>, beachdb::Value)>>,
    expected: &mut dyn Iterator<Item = (&Vec<u8>, &Vec<u8>)>,
    what: &str,
) -> Option<Error> {
    while let Some(item) = iter.next() {
        match item {
            Ok((key, value)) => {
                let due = expected.next().expect("no more than was written");
                assert_eq!((&key, &value.to_vec()), due, "{what}");
            }
            Err(error) => {
                assert!(iter.next().is_none(), "{what}: it went on behind an error");
                assert!(iter.next_back().is_none(), "{what}: it went on behind an error");
                return Some(error);
            }
        }
    }
    assert!(expected.next().is_none(), "{what}: the scan ended early");
    None
}

/// Reads everything in every way; panics at wrong data.
fn read_errors(db: &Db, expected: &Content, what: &str) -> Vec<Error> {
    let mut errors = Vec::new();
    errors.extend(scan(db.iter(), &mut expected.iter(), what));
    errors.extend(scan(db.iter().rev(), &mut expected.iter().rev(), what));
    let others = [&b"key01"[..], b"key03", b"key05", b"absent", b"zz"].map(<[u8]>::to_vec);
    for key in expected.keys().chain(&others) {
        match db.get(key) {
            Ok(value) => assert_eq!(
                value.as_deref(),
                expected.get(key).map(Vec::as_slice),
                "{what}: {}",
                key.escape_ascii()
            ),
            Err(error) => errors.push(error),
        }
    }
    errors
}

/// Opens a damaged store, for writing and for reading, and reads everything. Whatever is found must
/// be about one of the `culprits`.
fn examine(image: &SimVfs, culprits: &[&Path], expected: &Content, what: &str) -> Found {
    let check = |error: &Error| {
        let path = culprit(error, what);
        assert!(culprits.is_empty() || culprits.contains(&path.as_path()), "{what}: {error}");
    };
    let reader = options(image, 7).open_read_only(DIR);
    let writer = options(image, 7).open(DIR);
    match (reader, writer) {
        (Err(read), Err(written)) => {
            check(&read);
            check(&written);
            Found::AtOpen
        }
        (Ok(reader), Ok(writer)) => {
            let errors = read_errors(&writer, expected, what);
            errors.iter().for_each(check);
            let by_reader = read_errors(&reader, expected, what);
            assert_eq!(by_reader.is_empty(), errors.is_empty(), "{what}");
            match (errors.is_empty(), writer.recovery().dropped.is_empty()) {
                (false, _) => Found::OnRead,
                (true, false) => Found::AsTail,
                (true, true) => Found::Nowhere,
            }
        }
        (reader, writer) => panic!("{what}: a reader finds {reader:?}, a writer {writer:?}"),
    }
}

/// Damages one file of a copy of the store and examines that.
fn damage(
    (vfs, expected): &(SimVfs, Content),
    path: &Path,
    what: &str,
    change: impl FnOnce(&mut Vec<u8>),
) -> Found {
    let image = vfs.crash(&CrashPlan::KEEP_ALL);
    image.corrupt(path, change).expect("a file");
    let what = format!("{} {what}", path.display());
    examine(&image, &[path], expected, &what)
}

fn note(tally: &mut Tally, path: &Path, found: Found) {
    let name = path.file_name().expect("a name").to_string_lossy().into_owned();
    *tally.entry((name, found)).or_default() += 1;
}

/// Up to where a log or manifest promises, in one of its own frames, to be on stable storage.
fn promised(vfs: &SimVfs, path: &Path) -> u64 {
    let kind = if is_log(path) { FileKind::Wal } else { FileKind::Manifest };
    let file = vfs.open(path, Access::Read).expect("a file");
    let header = record::read_header(&*file, kind).expect("a header");
    let scan = record::scan_log(&*file, &header, None, &mut |_, _, _| Ok(())).expect("a scan");
    assert_eq!(scan.first_bad, None);
    scan.promised
}

fn flip_every_bit(store: &(SimVfs, Content), which: impl Fn(&Path) -> bool) -> Tally {
    let mut tally = Tally::new();
    for (path, bytes) in store_files(&store.0).into_iter().filter(|(path, _)| which(path)) {
        for index in 0..bytes.len() {
            for bit in 0..8 {
                let what = format!("bit {bit} of byte {index:#x}");
                note(
                    &mut tally,
                    &path,
                    damage(store, &path, &what, |bytes| bytes[index] ^= 1 << bit),
                );
            }
        }
    }
    tally
}

/// Each bit of CURRENT, manifest and log of a closed store, the unused zeros of the log included:
/// all are found when opening. Each bit of the tables: found when reading, or without effect (the
/// properties are for the tools), but never wrong data.
#[test]
fn every_flipped_bit_of_a_closed_store_is_found() {
    let tally = flip_every_bit(&closed_store(1), |_| true);
    println!("{tally:#?}");
    let is_table = |name: &str| name.ends_with(".sst");
    assert!(count(&tally, Found::AtOpen, |name| !is_table(name)) > 8 * (4096 + 500 + 31));
    assert_eq!(count(&tally, Found::OnRead, |name| !is_table(name)), 0);
    assert_eq!(count(&tally, Found::Nowhere, |name| !is_table(name)), 0);
    let (read, nowhere) =
        (count(&tally, Found::OnRead, is_table), count(&tally, Found::Nowhere, is_table));
    assert!(read > 8 * 500 && read > nowhere, "{read} on reading, {nowhere} nowhere");
}

/// The same of a store that nobody closed, killed right after a durable write: nothing but the
/// marks says where it ends, and still no flipped bit passes. Far behind that end a lone bit may be
/// all that a crash left of a write, so there it is dropped, and told.
#[test]
fn every_flipped_bit_of_an_unclosed_store_is_found() {
    let tally = flip_every_bit(&killed_store(2), |path| !is_table(path));
    println!("{tally:#?}");
    assert_eq!(count(&tally, Found::OnRead, |_| true), 0);
    assert_eq!(count(&tally, Found::Nowhere, |_| true), 0);
    assert_eq!(count(&tally, Found::AsTail, |name| !is_log(Path::new(name))), 0);
    assert!(count(&tally, Found::AtOpen, |name| is_log(Path::new(name))) > 8 * 500);
}

/// The same of a store that was recovered once. Of the log that recovery had ended, the bytes
/// behind that end count no more, nor does the last mark: a flip there changes nothing.
#[test]
fn every_flipped_bit_of_a_recovered_store_is_found() {
    let store = recovered_store(3);
    let logs: Vec<_> = store_files(&store.0).into_keys().filter(|path| is_log(path)).collect();
    assert_eq!(logs.len(), 2);
    let used = store_files(&store.0)[&logs[0]].iter().rposition(|&byte| byte != 0).expect("frames");
    let tally = flip_every_bit(&store, |path| !is_table(path));
    println!("{tally:#?}");
    let unused = (4096 - 1 - used as u64) * 8;
    let nowhere = count(&tally, Found::Nowhere, |_| true);
    assert!(nowhere <= unused + 8 * 64, "{nowhere} without effect, {unused} bits are unused");
    let older = logs[0].to_string_lossy().into_owned();
    assert_eq!(count(&tally, Found::Nowhere, |name| !older.ends_with(name)), 0);
}

/// A killed process left a mark behind its last sync, so that the last durable record is promised
/// too, and what was in the tables' manifest edits.
#[test]
fn the_last_durable_write_is_promised() {
    let (store, _) = killed_store(9);
    for (path, bytes) in store_files(&store) {
        if is_log(&path) {
            let used = bytes.iter().rposition(|&byte| byte != 0).expect("frames") as u64 + 1;
            let promised = promised(&store, &path);
            assert!(used - promised <= 64, "{promised:#x} of {used:#x}: more than a mark");
            let hurt = promised as usize - 30..promised as usize - 10;
            let found =
                damage(&(store.clone(), Content::new()), &path, "its last record", |bytes| {
                    bytes[hurt].fill(0x33);
                });
            assert_eq!(found, Found::AtOpen);
        }
    }
}

/// Runs of zeros, ones and noise, of up to 64 bytes: wherever one touches what was promised to be on
/// stable storage, or CURRENT, opening refuses, in a closed store and in a killed one.
#[test]
fn every_patch_on_synced_bytes_is_found() {
    for store in [closed_store(4), killed_store(5), recovered_store(6)] {
        let mut refused = 0;
        for (path, bytes) in store_files(&store.0).into_iter().filter(|(path, _)| !is_table(path)) {
            let synced = match path.ends_with("CURRENT") {
                true => bytes.len(),
                false => promised(&store.0, &path).max(64) as usize,
            };
            for start in (0..synced).step_by(5) {
                for size in [2, 13, 64] {
                    let end = (start + size).min(synced);
                    for fill in [0x00, 0xff, 0x5a] {
                        if bytes[start..end].iter().all(|&byte| byte == fill) {
                            continue;
                        }
                        let what = format!("{start:#x}..{end:#x} filled with {fill:02x}");
                        let found =
                            damage(&store, &path, &what, |bytes| bytes[start..end].fill(fill));
                        assert_eq!(found, Found::AtOpen, "{} {what}", path.display());
                        refused += 1;
                    }
                }
            }
        }
        println!("{refused} patches refused");
        assert!(refused > 1000);
    }
}

/// Runs of the same in tables: found when read, or beside the data, never wrong data.
#[test]
fn every_patch_on_a_table_is_found_or_harmless() {
    let store = closed_store(7);
    let mut tally = Tally::new();
    for (path, bytes) in store_files(&store.0).into_iter().filter(|(path, _)| is_table(path)) {
        for start in (0..bytes.len()).step_by(3) {
            for (size, fill) in [(2, 0x00), (9, 0xff), (64, 0x00), (200, 0x5a)] {
                let end = (start + size).min(bytes.len());
                let what = format!("{start:#x}..{end:#x} filled with {fill:02x}");
                note(
                    &mut tally,
                    &path,
                    damage(&store, &path, &what, |bytes| bytes[start..end].fill(fill)),
                );
            }
        }
    }
    println!("{tally:?}");
    assert!(count(&tally, Found::OnRead, |_| true) > 500);
}
