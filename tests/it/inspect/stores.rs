//! Stores to look into, and the tools run on them.

use std::fs;
use std::path::{Path, PathBuf};

use beachdb::{Db, Durability, Options, WriteBatch};
use serde_json::Value;

use super::schema;

pub(super) const BEACH: &str = "beach";
pub(super) const WAL: &str = "beach-walDump";
pub(super) const SST: &str = "beach-sstDump";
pub(super) const MANIFEST: &str = "beach-manifest";

/// What a run of a tool gave.
pub(super) struct Ran {
    pub(super) code: i32,
    pub(super) out: String,
    pub(super) err: String,
}

impl Ran {
    /// The lines of NDJSON, of which the last must be the summary.
    pub(super) fn objects(&self) -> Vec<Value> {
        let parsed = |line: &str| -> Value {
            serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"))
        };
        let objects: Vec<Value> = self.out.lines().map(parsed).collect();
        let last = objects.last().unwrap_or_else(|| panic!("no output; {}", self.err));
        assert_eq!((&last["t"], &last["complete"]), (&"summary".into(), &true.into()), "{last}");
        objects
    }

    pub(super) fn of_kind(&self, kind: &str) -> Vec<Value> {
        self.objects().into_iter().filter(|object| object["t"] == kind).collect()
    }

    /// Holds the output against `docs/json/NAME.schema.json`.
    pub(super) fn is_valid(&self, name: &str) {
        schema::assert_valid(name, &self.out);
    }
}

/// A directory with a store in it, `sand`.
pub(super) struct Beach {
    home: tempfile::TempDir,
}

impl Beach {
    /// No store yet.
    pub(super) fn new() -> Beach {
        Beach { home: tempfile::tempdir().expect("a directory") }
    }

    /// A closed store with a live log, several levels and a manifest of many edits, about 40 KiB.
    pub(super) fn busy() -> Beach {
        let beach = Beach::new();
        let options = Options::new().memtable_size(4 << 10).log_size(4 << 10).table_size(4 << 10);
        let db = options.open(beach.store()).expect("open");
        for round in 0..6 {
            for n in 0..40 {
                let key = format!("key{:03}", (n * 7 + round) % 100);
                db.write(
                    put(&key, &format!("{round:02} {}", "sand".repeat(n % 9))),
                    Durability::Buffered,
                )
                .expect("write");
            }
            db.delete(format!("key{:03}", round * 11)).expect("delete");
            db.flush().expect("flush");
            if round == 2 {
                db.compact::<&str, _>(..).expect("compact");
            }
        }
        db.wait_for_compactions().expect("wait");
        let mut batch = WriteBatch::new();
        batch.put("tide", "high").put(b"\xff\x00", "bin\tary").delete("key005");
        db.write(batch, Durability::Sync).expect("write");
        db.put("tide", "low").expect("put");
        db.close().expect("close");
        beach
    }

    /// `count` records of one operation in the log, closed.
    pub(super) fn log_of(count: u32) -> Beach {
        let beach = Beach::new();
        let db = Db::open(beach.store()).expect("open");
        for n in 0..count {
            db.write(put(&format!("key{n:05}"), &format!("value of {n}")), Durability::Buffered)
                .expect("write");
        }
        db.close().expect("close");
        beach
    }

    pub(super) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(super) fn store(&self) -> PathBuf {
        self.home.path().join("sand")
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.store().join(name)
    }

    /// Names in the store that begin or end so, sorted.
    pub(super) fn names(&self, part: &str) -> Vec<String> {
        let listed = fs::read_dir(self.store()).expect("the store");
        let names = listed.map(|entry| entry.expect("a name").file_name().into_string());
        let mut names: Vec<String> = names.map(|name| name.expect("text")).collect();
        names.retain(|name| name.ends_with(part) || name.starts_with(part));
        names.sort();
        names
    }

    /// Changes the bytes of a file.
    pub(super) fn damage(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(self.path(name)).expect("the file");
        change(&mut bytes);
        fs::write(self.path(name), bytes).expect("the file");
    }

    /// Runs a tool beside the store: `sand` is its directory.
    pub(super) fn run(&self, tool: &str, words: &[&str]) -> Ran {
        let mut command = assert_cmd::Command::cargo_bin(tool).expect("the tool");
        let output = command.current_dir(self.home()).args(words).output().expect("it runs");
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        let code = output.status.code().expect("an exit");
        Ran { code, out: text(&output.stdout), err: text(&output.stderr) }
    }
}

fn put(key: &str, value: &str) -> WriteBatch {
    let mut batch = WriteBatch::new();
    batch.put(key, value);
    batch
}
