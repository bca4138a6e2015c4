//! `beach-walDump --follow`.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use beachdb::inspect::follow::Follower;
use beachdb::inspect::frames::Expect;
use beachdb::inspect::wal::LogItem;
use beachdb::vfs::os::OsVfs;
use beachdb::vfs::{Access, Vfs};
use beachdb::{Db, Durability, Error, WriteBatch};
use rustix::process::{Pid, Signal, kill_process};

use crate::inspect::stores::{Beach, WAL};

/// A tool that runs on, and what it prints.
struct Following {
    child: Child,
    lines: Receiver<String>,
}

impl Following {
    fn begin(beach: &Beach, words: &[&str]) -> Following {
        let mut child = Command::new(assert_cmd::cargo::cargo_bin(WAL))
            .current_dir(beach.home())
            .args(words)
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let lines = reader(child.stdout.take().expect("a pipe"));
        Following { child, lines }
    }

    /// Reads up to the first line that has this in it.
    fn until(&self, part: &str) -> Vec<String> {
        let mut seen = Vec::new();
        loop {
            let line = self.lines.recv_timeout(Duration::from_secs(20));
            seen.push(line.unwrap_or_else(|_| panic!("no \"{part}\" in {seen:#?}")));
            if seen.last().is_some_and(|line| line.contains(part)) {
                return seen;
            }
        }
    }

    /// Whether nothing more comes for a while.
    fn is_silent(&self) -> bool {
        self.lines.recv_timeout(Duration::from_millis(400)).is_err()
    }

    fn end(mut self, signal: Signal) -> i32 {
        kill_process(Pid::from_child(&self.child), signal).expect("a signal");
        self.child.wait().expect("its end").code().expect("a status")
    }
}

/// If a test fails, nothing goes on for ever.
impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn reader(pipe: ChildStdout) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(|line| line.ok()) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

fn buffered(db: &Db, key: &str) {
    let mut batch = WriteBatch::new();
    batch.put(key, "v");
    db.write(batch, Durability::Buffered).expect("write");
}

/// A writer writes, rotates its log by a flush, and writes on: each record comes once, in order, and
/// a signal ends it with its status.
#[test]
fn a_live_log_is_followed_into_its_successor() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let beach = Beach::new();
        let db = Db::open(beach.store()).expect("open");
        buffered(&db, "first");
        let following = Following::begin(&beach, &["--follow", "--ops", "sand"]);
        following.until("\"first\"#1,PUT");
        buffered(&db, "second");
        following.until("\"second\"#2,PUT");
        db.flush().expect("flush");
        buffered(&db, "third");
        let lines = following.until("\"third\"#3,PUT");
        let text = lines.join("\n");
        assert!(text.contains(" end   ok"), "{text}");
        assert!(!text.contains("first") && !text.contains("DAMAGED"), "{text}");
        db.close().expect("close");
        following.until(" close ok");
        assert_eq!(following.end(signal), code);
    }
}

/// A frame appears byte by byte, as a slow writer would have it: nothing is said until it is whole.
/// A bad place with frames behind it is told, once.
#[test]
fn half_a_frame_is_waited_for() {
    let beach = Beach::log_of(4);
    let name = beach.names(".wal").remove(0);
    let ran = beach.run(WAL, &["--json", &format!("sand/{name}")]);
    let frames: Vec<usize> = ran
        .of_kind("frame")
        .iter()
        .filter(|frame| frame["kind"] == "batch")
        .map(|frame| frame["offset"].as_u64().expect("an offset") as usize)
        .collect();
    let whole = std::fs::read(beach.path(&name)).expect("the log");
    // In place: a file that is cut and written again is another matter.
    let file = OpenOptions::new().write(true).open(beach.path(&name)).expect("the log");
    let put = |from: usize, to: usize| {
        file.write_all_at(&whole[from..to], from as u64).expect("a write");
    };
    beach.damage(&name, |bytes| bytes[frames[1]..].fill(0));
    let following = Following::begin(&beach, &["--follow", &format!("sand/{name}")]);
    following.until("seqno 1,");
    put(frames[1], frames[1] + 30);
    assert!(following.is_silent());
    put(frames[1], frames[2]);
    following.until("seqno 2,");
    put(frames[3], frames[3] + 80);
    let told = following.until("seqno 4,");
    assert!(told[0].contains("zero-filled"), "{told:?}");
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(following.is_silent());
}

/// A look falls between two writes of which the later one came first: nothing is said of the place that
/// is whole at the next look. One that is not is a hole.
#[test]
fn a_place_that_is_just_being_written_is_no_hole() -> beachdb::Result<()> {
    let beach = Beach::log_of(6);
    let path = beach.path(&beach.names(".wal").remove(0));
    let whole = std::fs::read(&path).expect("the log");
    let batches: Vec<usize> = (64..whole.len() - 8)
        .step_by(8)
        .filter(|at| whole[*at..].starts_with(&[0xbe, 0xac, 1]))
        .collect();
    let writer = OpenOptions::new().write(true).open(&path).expect("the log");
    let wipe = |from: usize, to: usize| {
        writer.write_all_at(&vec![0; to - from], from as u64).expect("a write");
    };
    let file = OsVfs.open(&path, Access::Read)?;
    let mut follower = Follower::begin(&*file, &Expect::default());
    let mut look = || -> beachdb::Result<(u64, u64)> {
        let mut holes = 0;
        follower.look(&mut |item| {
            holes += u64::from(matches!(item, LogItem::Hole(_)));
            Ok::<(), Error>(())
        })?;
        Ok((follower.totals().batches, holes))
    };
    wipe(batches[2], batches[3]);
    assert_eq!(look()?, (2, 0));
    writer.write_all_at(&whole, 0).expect("a write");
    wipe(batches[4], batches[5]);
    assert_eq!(look()?, (4, 0));
    assert_eq!(look()?, (5, 1));
    Ok(())
}

/// A log that another has succeeded will not grow: the output ends by itself, with a summary.
#[test]
fn a_finished_log_ends_the_output() {
    let beach = Beach::new();
    let db = Db::open(beach.store()).expect("open");
    buffered(&db, "a");
    let name = beach.names(".wal").remove(0);
    let following = Following::begin(&beach, &["--follow", "--json", &format!("sand/{name}")]);
    following.until("\"seqno\":1");
    db.flush().expect("flush");
    let lines = following.until("\"t\":\"summary\"");
    assert!(lines.last().is_some_and(|line| line.contains("\"complete\":true")));
}
