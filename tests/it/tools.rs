//! `beach` as a person and a script meet it: run as a process, in a directory of its own.
//!
//! What is held here is the contract: exit statuses, what is on which stream, bytes that come back
//! as they went in, and what is in the store's directory before and after.
#![allow(clippy::disallowed_methods, reason = "these tests look at files as their owner does")]

mod apply;
mod bench;
mod bulk;
mod checkpoint;
mod compact;
mod cost;
mod damage;
mod disk;
mod json;
mod kv;
mod locks;
mod pages;
mod scan;
mod signals;
mod stores;
mod tour;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use assert_cmd::Command;
use tempfile::TempDir;

/// Longer than anything here takes on a busy machine.
const MINUTE: Duration = Duration::from_secs(60);

/// The program under test.
const BEACH: &str = env!("CARGO_BIN_EXE_beach");

/// A directory of the test's own, in which `db` is the store.
pub(crate) struct Place(TempDir);

/// How a process ended, and what it said.
#[derive(Debug)]
pub(crate) struct Ran {
    code: i32,
    out: Vec<u8>,
    err: String,
}

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().expect("a temporary directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn db(&self) -> PathBuf {
        self.path("db")
    }

    /// Writes a file beside the store.
    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).expect("a file");
        path
    }

    /// `beach --db db`, to be completed.
    fn beach(&self) -> Command {
        let mut command = bare();
        command.arg("--db").arg(self.db());
        command
    }

    /// Runs `beach --db db` with these words and nothing on standard input.
    fn run<W: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = W>) -> Ran {
        Ran::of(self.beach().args(words))
    }

    /// The same with something on standard input.
    fn feed(&self, words: &[&str], input: impl AsRef<[u8]>) -> Ran {
        Ran::of(self.beach().args(words).write_stdin(input.as_ref()))
    }

    /// A process that goes on while the test does other things; all its streams are pipes.
    fn start(&self, words: &[&str]) -> Running {
        let mut command = std::process::Command::new(BEACH);
        command.arg("--db").arg(self.db()).args(words).env_remove("BEACH_DB");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Running(Some(command.spawn().expect("the program")))
    }

    /// A store with these pairs, made by one `apply`.
    fn with(pairs: &[(&str, &str)]) -> Place {
        let place = Place::new();
        let lines = pairs.iter().map(|(key, value)| operation(key, value)).collect::<String>();
        place.feed(&["apply", "--batch", "0"], lines).expect(0);
        place
    }

    /// Name, length, content and times of every file of the store.
    fn picture(&self) -> BTreeMap<PathBuf, (Vec<u8>, i64, i64)> {
        picture(&self.db())
    }
}

fn picture(dir: &Path) -> BTreeMap<PathBuf, (Vec<u8>, i64, i64)> {
    let entries = std::fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("entry"));
    let look = |entry: std::fs::DirEntry| {
        let meta = entry.metadata().expect("metadata");
        let bytes = std::fs::read(entry.path()).unwrap_or_default();
        (entry.path(), (bytes, meta.mtime(), meta.mtime_nsec()))
    };
    entries.map(look).collect()
}

/// `beach` without a store named.
fn bare() -> Command {
    let mut command = Command::new(BEACH);
    command.env_remove("BEACH_DB").env_remove("NO_COLOR");
    command.timeout(2 * MINUTE);
    command
}

/// A line of `apply`'s input.
fn operation(key: &str, value: &str) -> String {
    format!("{}\n", serde_json::json!({"op": "put", "key": key, "value": value}))
}

impl Ran {
    fn of(command: &mut Command) -> Ran {
        let output = command.output().expect("the program runs");
        Ran::from(output)
    }

    fn from(output: std::process::Output) -> Ran {
        let code = output.status.code().unwrap_or(-1);
        let err = String::from_utf8(output.stderr).expect("messages are text");
        Ran { code, out: output.stdout, err }
    }

    /// Goes on only with this status.
    #[track_caller]
    fn expect(self, code: i32) -> Ran {
        assert_eq!(self.code, code, "{}", self.err);
        self
    }

    /// Goes on only if standard output is exactly this.
    #[track_caller]
    fn prints(self, out: impl AsRef<[u8]>) -> Ran {
        let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(self.out == out.as_ref(), "{:?}, {}", shown(&self.out), self.err);
        self
    }

    /// Goes on only if standard error has this in it.
    #[track_caller]
    fn says(self, text: &str) -> Ran {
        assert!(self.err.contains(text), "{:?} is not in {:?}", text, self.err);
        self
    }

    /// Goes on only if nothing was said on standard error.
    #[track_caller]
    fn quietly(self) -> Ran {
        assert_eq!(self.err, "");
        self
    }

    fn text(&self) -> &str {
        str::from_utf8(&self.out).expect("text")
    }

    /// The objects of NDJSON output: each line one with a kind, the last a complete summary.
    #[track_caller]
    fn objects(&self) -> Vec<serde_json::Value> {
        assert!(self.text().ends_with('\n'), "{}", self.err);
        let objects: Vec<serde_json::Value> =
            self.text().lines().map(|line| serde_json::from_str(line).expect(line)).collect();
        assert!(objects.iter().all(|object| object["t"].is_string()), "{objects:?}");
        let (last, before) = objects.split_last().expect("a summary");
        assert_eq!((&last["t"], &last["complete"]), (&"summary".into(), &true.into()));
        assert!(before.iter().all(|object| object["t"] != "summary"));
        objects
    }
}

/// A process under way; killed if the test ends first.
struct Running(Option<Child>);

impl Running {
    fn child(&mut self) -> &mut Child {
        self.0.as_mut().expect("it was not waited for yet")
    }

    fn pid(&mut self) -> u32 {
        self.child().id()
    }

    fn write(&mut self, text: &str) {
        let input = self.child().stdin.as_mut().expect("an open input");
        input.write_all(text.as_bytes()).expect("it reads");
    }

    /// Reads a line, byte by byte so that nothing behind it is taken. One that does not come within
    /// a minute fails the test instead of hanging it.
    fn read_line(&mut self) -> String {
        let mut output = self.child().stdout.take().expect("an open output");
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let bytes = std::io::Read::bytes(&mut output).map_while(|byte| byte.ok());
            let line: Vec<u8> = bytes.take_while(|byte| *byte != b'\n').collect();
            let _ = sender.send((line, output));
        });
        let (line, output) = receiver.recv_timeout(MINUTE).expect("a line within a minute");
        self.child().stdout = Some(output);
        String::from_utf8(line).expect("text")
    }

    fn signal(&mut self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(self.child());
        rustix::process::kill_process(pid, signal).expect("it is alive");
    }

    /// Waits for its end; its standard input ends first.
    fn wait(mut self) -> Ran {
        let child = self.0.take().expect("it was not waited for yet");
        Ran::from(child.wait_with_output().expect("its end"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Whether a program is there and runs; if not, says that a test is skipped.
fn has(program: &str, args: &[&str]) -> bool {
    let ran = std::process::Command::new(program).args(args).output();
    let works = ran.is_ok_and(|output| output.status.success());
    if !works {
        eprintln!("skipped: {program} {} does not work here", args.join(" "));
    }
    works
}
