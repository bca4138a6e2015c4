//! Golden conversations: `tests/scripts/*.txt`, commands above `---`, below it what was answered.
//!
//! Every command of a script, and what it answers:
//!
//! ```text
//! put a=1 b=2          writes a batch            del a              deletes
//! batch a=1 -b c=2     puts and deletes in one   sync / flush / reopen / kill
//! get a [@s]           a → 1, or a → none        snapshot s         holds the moment as s
//! scan [from..to] [@s] the pairs, in key order   rscan …            the same, from the end
//! prefix p [@s]        the pairs below a prefix  rprefix …          the same, from the end
//! compact [from..to]   merges a range            drop s             lets a snapshot go
//! ```
//!
//! Bytes are written as in Rust strings (`\xff`). Each script is run several times, with flushes,
//! merges or reopenings after each command, without a cache, without compression, under every strategy:
//! the answers are the same. `UPDATE_GOLDEN=1` writes the answers into the scripts.
#![allow(clippy::disallowed_methods, reason = "golden files are the test's own")]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use beachdb::runtime::inline::InlineRuntime;
use beachdb::table::Compression;
use beachdb::vfs::sim::SimVfs;
use beachdb::{Db, Iter, Options, Snapshot, Strategy, WriteBatch};

use crate::history::DIR;

/// What is done besides what the script says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variant {
    Plain,
    FlushEachTime,
    ReopenEachTime,
    KillEachTime,
    TinyEverything,
    NoCacheNoCompression,
    CompactEachTime,
    TinyAndLeveled,
    TinyAndTiered,
}

const VARIANTS: [Variant; 9] = [
    Variant::Plain,
    Variant::FlushEachTime,
    Variant::ReopenEachTime,
    Variant::KillEachTime,
    Variant::TinyEverything,
    Variant::NoCacheNoCompression,
    Variant::CompactEachTime,
    Variant::TinyAndLeveled,
    Variant::TinyAndTiered,
];

/// A conversation under way.
struct Talk {
    variant: Variant,
    vfs: SimVfs,
    runtime: InlineRuntime,
    db: Option<Db>,
    snapshots: BTreeMap<String, Snapshot>,
    answers: String,
}

impl Talk {
    fn new(variant: Variant) -> Talk {
        let (vfs, runtime) = (SimVfs::new(), InlineRuntime::new(1));
        let (snapshots, answers) = (BTreeMap::new(), String::new());
        let mut talk = Talk { variant, vfs, runtime, db: None, snapshots, answers };
        talk.open();
        talk
    }

    fn open(&mut self) {
        let options =
            Options::new().vfs(Arc::new(self.vfs.clone())).runtime(Arc::new(self.runtime.clone()));
        let tiny = || options.clone().memtable_size(100).manifest_size(300).cache_size(300);
        let options = match self.variant {
            Variant::TinyEverything => tiny().log_size(4096),
            Variant::TinyAndLeveled => tiny().table_size(1).strategy(Strategy::Leveled),
            Variant::TinyAndTiered => tiny().strategy(Strategy::SizeTiered),
            Variant::NoCacheNoCompression => options.cache_size(0).compression(Compression::None),
            _ => options,
        };
        self.db = Some(options.open(DIR).expect("open"));
    }

    fn db(&self) -> &Db {
        self.db.as_ref().expect("an open store")
    }

    /// One command. Snapshots live in a handle, so a variant reopens only while none is held.
    fn say(&mut self, line: &str) {
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (rest, snapshot) = rest.split_once('@').unwrap_or((rest, ""));
        let rest = rest.trim();
        match command {
            "put" | "batch" | "del" => self.write(command, rest),
            "sync" => self.db().sync().expect("sync"),
            "flush" => self.db().flush().expect("flush"),
            "compact" => self.compact(rest),
            "drop" => drop(self.snapshots.remove(rest).expect("a snapshot of that name")),
            "reopen" => self.reopen(),
            "kill" => self.kill(),
            "snapshot" => {
                let held = self.db().snapshot();
                self.snapshots.insert(rest.to_owned(), held);
            }
            "get" => self.get(rest, snapshot),
            "scan" | "rscan" | "prefix" | "rprefix" => self.scan(line, command, rest, snapshot),
            other => panic!("no such command: {other}"),
        }
        match self.variant {
            Variant::FlushEachTime => self.db().flush().expect("flush"),
            Variant::ReopenEachTime if self.snapshots.is_empty() => self.reopen(),
            Variant::KillEachTime if self.snapshots.is_empty() => self.kill(),
            Variant::CompactEachTime => self.compact(""),
            Variant::TinyEverything | Variant::TinyAndLeveled | Variant::TinyAndTiered => {
                self.runtime.run_until_idle();
            }
            _ => {}
        }
    }

    fn write(&self, command: &str, rest: &str) {
        let mut batch = WriteBatch::new();
        for word in rest.split_whitespace() {
            match (word.split_once('='), word.strip_prefix('-')) {
                (Some((key, value)), _) => batch.put(unescape(key), unescape(value)),
                (None, Some(key)) if command == "batch" => batch.delete(unescape(key)),
                _ => batch.delete(unescape(word)),
            };
        }
        self.db().write(batch, beachdb::Durability::Buffered).expect("write");
    }

    fn compact(&self, range: &str) {
        let (from, to) = range.split_once("..").unwrap_or(("", ""));
        let (from, to) = (unescape(from), unescape(to));
        let compacted = match to.is_empty() {
            true => self.db().compact(from..),
            false => self.db().compact(from..to),
        };
        compacted.expect("compact");
    }

    fn reopen(&mut self) {
        self.snapshots.clear();
        self.db.take().expect("an open store").close().expect("close");
        self.open();
    }

    fn kill(&mut self) {
        self.snapshots.clear();
        let killed = self.vfs.kill();
        self.db = None;
        self.vfs = killed;
        self.open();
    }

    fn snapshot(&self, name: &str) -> Option<&Snapshot> {
        let find = || self.snapshots.get(name).unwrap_or_else(|| panic!("no snapshot {name}"));
        (!name.is_empty()).then(find)
    }

    fn get(&mut self, key: &str, snapshot: &str) {
        let bytes = unescape(key);
        let value = match self.snapshot(snapshot) {
            Some(snapshot) => snapshot.get(&bytes),
            None => self.db().get(&bytes),
        };
        let value = value.expect("get");
        let value = value.map_or("none".to_owned(), |value| value.escape_ascii().to_string());
        let at = if snapshot.is_empty() { String::new() } else { format!(" @{snapshot}") };
        writeln!(self.answers, "{key}{at} → {value}").expect("a string");
    }

    fn scan(&mut self, line: &str, command: &str, rest: &str, snapshot: &str) {
        let held;
        let snapshot = match self.snapshot(snapshot) {
            Some(snapshot) => snapshot,
            None => {
                held = self.db().snapshot();
                &held
            }
        };
        let iter: Iter = match command {
            "prefix" | "rprefix" => snapshot.prefix(unescape(rest)),
            _ => {
                let (from, to) = rest.split_once("..").unwrap_or(("", ""));
                let (from, to) = (unescape(from), unescape(to));
                if to.is_empty() { snapshot.range(from..) } else { snapshot.range(from..to) }
            }
        };
        let items: Vec<_> =
            if command.starts_with('r') { iter.rev().collect() } else { iter.collect() };
        let pairs = items.into_iter().map(|item| {
            let (key, value) = item.expect("a pair");
            format!("{}={}", key.escape_ascii(), value.escape_ascii())
        });
        let pairs = pairs.collect::<Vec<_>>().join(" ");
        let pairs = if pairs.is_empty() { "nothing" } else { &pairs };
        writeln!(self.answers, "{line} → {pairs}").expect("a string");
    }
}

/// The bytes of a word in which `\xff` stands for a byte.
fn unescape(word: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = word;
    while let Some((plain, hex)) = rest.split_once("\\x") {
        bytes.extend_from_slice(plain.as_bytes());
        bytes.push(u8::from_str_radix(&hex[..2], 16).expect("two hexadecimal digits"));
        rest = &hex[2..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

fn answers(commands: &str, variant: Variant) -> String {
    let mut talk = Talk::new(variant);
    let lines = commands.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).for_each(|line| talk.say(line));
    talk.answers
}

fn scripts() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let entries = fs::read_dir(dir).expect("the scripts");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    paths
}

/// Each script answers as it says, and the same whatever is done between its commands.
#[test]
fn conversations_go_as_written() {
    let scripts = scripts();
    assert!(scripts.len() >= 8, "{} scripts", scripts.len());
    for path in scripts {
        let text = fs::read_to_string(&path).expect("a script");
        let (commands, written) = text.split_once("---\n").unwrap_or((&text, ""));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            let answers = answers(commands, Variant::Plain);
            fs::write(&path, format!("{commands}---\n{answers}")).expect("written");
            continue;
        }
        assert!(!written.is_empty(), "{} answers nothing", path.display());
        for variant in VARIANTS {
            let found = answers(commands, variant);
            assert_eq!(found, written, "{} ({variant:?})", path.display());
        }
    }
}
