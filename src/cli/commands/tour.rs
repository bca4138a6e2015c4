//! `tour`: the main job in one command, on real data, explained as it goes.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::admin;
use crate::cli::args::{Args, TourArgs};
use crate::cli::encode::Encoding;
use crate::cli::output::{Object, size};
use crate::cli::signals::Orderly;
use crate::cli::{Failure, Out, Outcome, Status};
use crate::{Db, Durability, Options, WriteBatch};

/// The Unicode character database, keyed by code point.
const DATA: &str = include_str!("../../../fixtures/data/UnicodeData.txt");

/// Small enough for the data to fill several, so that there is a tree to look at.
const MEMTABLE_SIZE: u64 = 1 << 20;

/// So many writes are acknowledged before the writing process is killed.
const ACKED: u64 = 100;

/// Builds a store, uses it, breaks it, and explains what happens.
pub(super) fn tour(args: &Args, wanted: &TourArgs, out: &mut Out) -> Outcome {
    let place = Place::choose(wanted)?;
    let mut guide = Guide { args, out, orderly: Orderly::begin(), step: 0 };
    let db = Options::new().memtable_size(MEMTABLE_SIZE).open(&place.dir)?;
    guide.load(&db)?;
    guide.read(&db)?;
    guide.overwrite(&db)?;
    guide.flush(&db)?;
    db.close()?;
    let status = guide.crash(&place.dir)?;
    guide.farewell(&place)?;
    out.summary(Object::summary().text("verdict", verdict(status)))?;
    Ok(status)
}

fn verdict(status: Status) -> &'static str {
    if status == Status::Done { "kept" } else { "lost" }
}

/// Tells the story, a step at a time.
struct Guide<'a> {
    args: &'a Args,
    out: &'a mut Out,
    orderly: Orderly,
    step: u64,
}

impl Guide<'_> {
    fn title(&mut self, text: &str) -> Outcome<()> {
        self.orderly.check()?;
        self.step += 1;
        if self.out.is_json() {
            return self
                .out
                .object(&Object::new("step").number("step", self.step).text("text", text));
        }
        let gap = if self.step == 1 { "" } else { "\n" };
        self.out.line(format_args!("{gap}{}. {text}", self.step))?;
        self.out.finish()
    }

    fn say(&mut self, text: &str) -> Outcome<()> {
        if self.out.is_json() {
            return self
                .out
                .object(&Object::new("note").number("step", self.step).text("text", text));
        }
        self.out.line(format_args!("   {text}"))
    }

    fn load(&mut self, db: &Db) -> Outcome<()> {
        self.title("Load the Unicode character database, keyed by code point")?;
        let pairs: Vec<(&str, &str)> = pairs().collect();
        for chunk in pairs.chunks(1000) {
            let mut batch = WriteBatch::new();
            for (key, value) in chunk {
                batch.put(key, value);
            }
            db.write(batch, Durability::Buffered)?;
            self.orderly.check()?;
        }
        db.sync()?;
        let (count, bytes) = (pairs.len(), size(DATA.len() as u64));
        self.say(&format!(
            "{count} pairs, {bytes}, in batches of 1000: each whole or not at all."
        ))?;
        self.say("They went into the log and into memory; one sync at the end made them durable.")
    }

    fn read(&mut self, db: &Db) -> Outcome<()> {
        self.title("Read")?;
        self.show_get(db, "1F3D6")?;
        self.show_get(db, "nothing")?;
        let grins = db.range("1F600"..="1F602");
        for pair in grins {
            let (key, value) = pair?;
            let shown = |bytes: &[u8]| Encoding::Escape.encode(bytes);
            self.say(&format!("range 1F600..=1F602: {} → {}", shown(&key), shown(&value)))?;
        }
        Ok(())
    }

    fn show_get(&mut self, db: &Db, key: &str) -> Outcome<()> {
        let value = db.get(key)?;
        let shown = value.map_or("none".to_owned(), |value| Encoding::Escape.encode(&value));
        self.say(&format!("get {key} → {shown}"))
    }

    fn overwrite(&mut self, db: &Db) -> Outcome<()> {
        self.title("Overwrite and delete; a snapshot keeps what it saw")?;
        let snapshot = db.snapshot();
        db.put("1F3D6", "my favourite")?;
        db.delete("1F3D7")?;
        self.show_get(db, "1F3D6")?;
        self.show_get(db, "1F3D7")?;
        let before = snapshot.get("1F3D7")?;
        let shown = before.map_or("none".to_owned(), |value| Encoding::Escape.encode(&value));
        self.say(&format!("snapshot get 1F3D7 → {shown}"))
    }

    fn flush(&mut self, db: &Db) -> Outcome<()> {
        self.title("Flush: memory becomes a sorted table, the log is no longer needed")?;
        db.flush()?;
        if !self.out.is_json() {
            admin::print_lsm(self.args, db, self.out)?;
        }
        Ok(())
    }

    /// Another process writes and is killed with SIGKILL; what it acknowledged must be there.
    fn crash(&mut self, dir: &Path) -> Outcome {
        self.title("Crash: another process writes, and dies of SIGKILL in the middle of it")?;
        let mut writer = Writer::spawn(dir)?;
        let acked = writer.write_until(ACKED, &self.orderly)?;
        writer.kill();
        self.say(&format!("it had acknowledged {acked} writes as durable"))?;
        let db = Db::open(dir)?;
        let kept = has_first(&db, acked)?;
        db.close()?;
        self.say(match kept {
            true => "opened again: every acknowledged write is there, in order and without a gap",
            false => "opened again: ACKNOWLEDGED WRITES ARE MISSING",
        })?;
        Ok(if kept { Status::Done } else { Status::Damage })
    }

    fn farewell(&mut self, place: &Place) -> Outcome<()> {
        self.title("Look inside")?;
        let dir = if place.keep { place.dir.display().to_string() } else { "DIR".to_owned() };
        if !place.keep {
            self.say("beach tour --dir DIR builds the same store and keeps it; then:")?;
        }
        for command in ["beach-manifest", "beach-walDump", "beach-sstDump"] {
            self.say(&format!("{command} {dir}"))?;
        }
        self.say(&format!("beach --db {dir} scan --prefix 1F3"))
    }
}

/// Whether the other process's first `count` writes are there, in order and without a gap.
///
/// One more may be, whose acknowledgement nobody heard; that differs from run to run, and is fine.
fn has_first(db: &Db, count: u64) -> Outcome<bool> {
    for (number, pair) in (0..count).zip(db.prefix("crash:")) {
        let (key, value) = pair?;
        if key != crash_key(number).as_bytes() || *value != *number.to_string().as_bytes() {
            return Ok(false);
        }
    }
    Ok(db.prefix("crash:").count() as u64 >= count)
}

fn crash_key(number: u64) -> String {
    format!("crash:{number:04}")
}

/// The pairs of the data set.
fn pairs() -> impl Iterator<Item = (&'static str, &'static str)> {
    DATA.lines().filter_map(|line| line.split_once(';'))
}

/// Where the tour's store is; a temporary one goes when the tour ends, however it ends.
struct Place {
    dir: PathBuf,
    keep: bool,
}

impl Place {
    #[allow(clippy::disallowed_methods, reason = "looks for an empty place, not into a store")]
    fn choose(wanted: &TourArgs) -> Outcome<Place> {
        let Some(dir) = &wanted.dir else {
            let name = format!("beach-tour-{}", std::process::id());
            return Ok(Place { dir: std::env::temp_dir().join(name), keep: false });
        };
        if std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
            let text = format!("{} is not empty; the tour begins a new store", dir.display());
            return Err(Failure::Usage(text));
        }
        Ok(Place { dir: dir.clone(), keep: true })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.keep {
            // What cannot be removed is left to whoever cleans the temporary directory.
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

/// A process of this very program that runs `apply --ack`; killed when dropped.
struct Writer {
    child: Child,
}

impl Writer {
    fn spawn(dir: &Path) -> Outcome<Writer> {
        let failed = |error| Failure::Stream("could not start a second process".to_owned(), error);
        let program = std::env::current_exe().map_err(failed)?;
        let mut command = Command::new(program);
        command.arg("--db").arg(dir).args(["--quiet", "apply", "--ack", "-"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        Ok(Writer { child: command.spawn().map_err(failed)? })
    }

    /// Feeds it one operation after the other until it has acknowledged `count`.
    fn write_until(&mut self, count: u64, orderly: &Orderly) -> Outcome<u64> {
        let failed = |error| Failure::Stream("the second process ended early".to_owned(), error);
        let gone = || failed(std::io::ErrorKind::UnexpectedEof.into());
        let mut input = self.child.stdin.take().ok_or_else(gone)?;
        let mut output = BufReader::new(self.child.stdout.take().ok_or_else(gone)?);
        let mut line = String::new();
        for number in 0..count {
            orderly.check()?;
            let key = crash_key(number);
            let operation =
                format!("{{\"op\":\"put\",\"key\":\"{key}\",\"value\":\"{number}\"}}\n");
            input.write_all(operation.as_bytes()).map_err(failed)?;
            line.clear();
            if output.read_line(&mut line).map_err(failed)? == 0 {
                return Err(gone());
            }
        }
        // One that is under way when the end comes.
        let last = b"{\"op\":\"put\",\"key\":\"crash:last\",\"value\":\"maybe\"}\n";
        input.write_all(last).map_err(failed)?;
        Ok(count)
    }

    fn kill(&mut self) {
        // It may have ended by itself; either way it is gone after the wait.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tour names two code points; they and the shape of every line are held here.
    #[test]
    fn the_data_is_what_the_tour_says() {
        assert_eq!(pairs().count(), DATA.lines().count());
        assert!(pairs().all(|(key, _)| u32::from_str_radix(key, 16).is_ok()));
        let name = |wanted| pairs().find(|(key, _)| *key == wanted).map(|(_, value)| value);
        assert!(name("1F3D6").unwrap().starts_with("BEACH WITH UMBRELLA;"));
        assert!(name("1F3D7").is_some());
    }
}
