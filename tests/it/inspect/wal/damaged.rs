//! `fixtures/damaged`: a small log for each kind of damage, and what the tool says about it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use beachdb::runtime::inline::InlineRuntime;
use beachdb::vfs::sim::SimVfs;
use beachdb::{Durability, Options, WriteBatch};

use crate::history::DIR;
use crate::inspect::stores::WAL;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/damaged")
}

/// The log of a store with a fixed seed: ten records, the first two synced, then not closed.
fn sound(seed: u64) -> Vec<u8> {
    let (vfs, runtime) = (SimVfs::new(), InlineRuntime::new(seed));
    let options = Options::new().log_size(1024).vfs(Arc::new(vfs.clone()));
    let db = options.runtime(Arc::new(runtime)).open(DIR).expect("open");
    for n in 0..10 {
        let mut batch = WriteBatch::new();
        batch.put(format!("key{n}"), format!("value of {n}"));
        if n == 7 {
            batch.delete("key0").put("key7", "twice");
        }
        let durability = if n < 2 { Durability::Sync } else { Durability::Buffered };
        db.write(batch, durability).expect("write");
    }
    let mut files = vfs.dump().into_iter();
    let (_, bytes) =
        files.find(|(path, _)| path.extension().is_some_and(|end| end == "wal")).expect("a log");
    bytes
}

/// Where the batches of [`sound`] begin, and where the last of them ends.
fn batches(bytes: &[u8]) -> Vec<usize> {
    let is_batch = |at: &usize| bytes[*at..].starts_with(&[0xbe, 0xac, 1, 0]);
    (64..bytes.len() - 24).step_by(8).filter(is_batch).collect()
}

/// A way to damage [`sound`], given where its batches begin.
type Damage = fn(&mut Vec<u8>, &[usize]);

const KINDS: &[(&str, i32, Damage)] = &[
    ("sound", 0, |_, _| {}),
    ("torn-tail", 0, |bytes, at| bytes[at[9] + 20..].fill(0)),
    ("flipped-bit", 3, |bytes, at| bytes[at[4] + 41] ^= 8),
    ("flipped-byte", 3, |bytes, at| bytes[at[0] + 41] ^= 0xff),
    ("zeros", 3, |bytes, at| bytes[at[0]..at[1]].fill(0)),
    ("unsynced-hole", 0, |bytes, at| bytes[at[4] + 30..at[5]].fill(0xee)),
    ("foreign-frame", 3, |bytes, at| {
        let other = sound(43);
        bytes[at[1]..at[2]].copy_from_slice(&other[at[1]..at[2]]);
    }),
    ("misplaced-frame", 3, |bytes, at| bytes.copy_within(at[3]..at[4], at[0])),
    ("header-bit", 3, |bytes, _| bytes[33] ^= 1),
    ("header-lost", 3, |bytes, _| bytes[..64].fill(0)),
    ("cut", 0, |bytes, at| bytes.truncate(at[1] + 10)),
    ("cut-in-header", 3, |bytes, _| bytes.truncate(40)),
];

fn golden(name: &str, found: &[u8]) {
    let path = folder().join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(folder()).expect("the directory");
        fs::write(&path, found).expect("the golden file");
    }
    let expected = fs::read(&path).unwrap_or_default();
    let text = String::from_utf8_lossy;
    assert!(
        found == expected,
        "{name} differs; UPDATE_GOLDEN=1 cargo test damaged makes it anew\n{}\n{}",
        text(found),
        text(&expected)
    );
}

/// Each log is made anew and is byte for byte the one that is kept; so is what is said about it.
#[test]
fn each_kind_of_damage_is_told_as_it_is_written_down() {
    let log = sound(42);
    let at = batches(&log);
    assert_eq!(at.len(), 10);
    for (name, code, damage) in KINDS {
        let mut bytes = log.clone();
        damage(&mut bytes, &at);
        golden(&format!("{name}.wal"), &bytes);
        let mut command = assert_cmd::Command::cargo_bin(WAL).expect("the tool");
        let file = format!("{name}.wal");
        let ran = command.current_dir(folder()).args(["--ops", &file]).output().expect("it runs");
        assert_eq!(ran.status.code(), Some(*code), "{name}");
        golden(&format!("{name}.txt"), &ran.stdout);
    }
}
