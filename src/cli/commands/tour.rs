//! `tour`: the main job in one command, on real data, explained as it goes.
//!
//! Nothing is staged: the store, the killed process, the flipped bits and the errors are real. The
//! same tour prints the same text, but for ids, times and the directory.

mod compaction;
mod damage;
mod place;
mod tools;
mod writer;

use std::path::Path;

use anyhow::Context as _;

use super::admin;
use crate::cli::args::{Args, TourArgs};
use crate::cli::encode::Encoding;
use crate::cli::output::{Object, size};
use crate::cli::signals::Orderly;
use crate::cli::{Failure, Out, Outcome, Status};
use crate::{Db, Durability, WriteBatch};
use place::Place;
use writer::Writer;

/// The Unicode character database, keyed by code point. It travels in the program, so that the
/// tour works wherever that is.
const DATA: &str = include_str!("../../../fixtures/data/UnicodeData.txt");

/// So many writes are acknowledged before the writing process is killed.
const ACKED: u64 = 100;

/// Builds a store, uses it, breaks it, and explains what happens.
pub(super) fn tour(args: &Args, wanted: &TourArgs, out: &mut Out) -> Outcome {
    let place = Place::choose(wanted)?;
    let mut guide = Guide { args, out, orderly: Orderly::begin(), step: 0 };
    let status = guide.all(&place)?;
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
    fn all(&mut self, place: &Place) -> anyhow::Result<Status> {
        // The data fits into a memtable: tables are made where the story says so, and the same in
        // every tour.
        let db = Db::open(&place.store);
        let db = db.map_err(Failure::from).context("the tour's new store")?;
        self.load(&db).context("step load")?;
        self.read(&db).context("step read")?;
        self.overwrite(&db).context("step overwrite")?;
        self.flush(&db).context("step flush")?;
        self.compact(&db).context("step compact")?;
        db.close().map_err(Failure::from).context("closing the tour's store")?;
        let kept = self.crash(&place.store).context("step crash")?;
        let told = self.damage(place).context("step damage")?;
        self.look_inside(place).context("step look inside")?;
        Ok(kept.combine(told))
    }

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
            self.say(&format!("scan 1F600 to 1F602: {} → {}", shown(&key), shown(&value)))?;
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
        self.say("put 1F3D6 'my favourite', del 1F3D7: durable when they return")?;
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
        admin::print_lsm(self.args, db, self.out)
    }

    /// Another process writes and is killed with SIGKILL; what it acknowledged must be there.
    fn crash(&mut self, dir: &Path) -> Outcome {
        self.title("Crash: another process writes, and dies of SIGKILL in the middle of it")?;
        let mut writer = Writer::spawn(dir)?;
        let acked = writer.write_until(ACKED, &self.orderly)?;
        self.say(&format!("it had acknowledged {acked} writes as durable"))?;
        let db = Db::open(dir)?;
        let unclean = !db.recovery().clean;
        let kept = writer::has_first(&db, acked)?;
        db.close()?;
        if unclean {
            self.say("the next opening finds a log that nobody closed, and reads it back")?;
        }
        self.say(match kept {
            true => "every acknowledged write is there, in order and without a gap",
            false => "ACKNOWLEDGED WRITES ARE MISSING",
        })?;
        Ok(if kept { Status::Done } else { Status::Damage })
    }
}

/// The pairs of the data set.
fn pairs() -> impl Iterator<Item = (&'static str, &'static str)> {
    DATA.lines().filter_map(|line| line.split_once(';'))
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
