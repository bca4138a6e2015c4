//! `load`, `dump`, `apply`.

use std::path::Path;

use super::session;
use crate::cli::args::{ApplyArgs, Args, DumpArgs, LoadArgs};
use crate::cli::bulk::{
    Format, Lines, Operation, Problem, Reader, Record, Writer, parse_operation,
};
use crate::cli::output::Object;
use crate::cli::progress::{Progress, Unit};
use crate::cli::{Failure, Out, Outcome, Status};
use crate::{Db, Durability, Error, SeqNo, WriteBatch};

/// A batch of `load` is written when it has so many records …
const BATCH_COUNT: usize = 1000;
/// … or so many bytes.
const BATCH_SIZE: usize = 4 << 20;
/// So many bad lines are told one by one; the others are counted.
const TOLD_MAX: u64 = 10;

/// Reads a dump into the store.
pub(super) fn load(args: &Args, wanted: &LoadArgs, out: &mut Out) -> Outcome {
    let (input, size) = session::open_input(&wanted.file)?;
    let reader = Reader::open(input, wanted.format).map_err(|why| refuse(&wanted.file, why))?;
    let mut progress = Progress::begin("load", Unit::Bytes, size, out.is_quiet());
    let db = session::open_writer(args, true, out)?;
    if wanted.sorted {
        let loaded = load_sorted(&db, &wanted.file, reader, &mut progress);
        let closed = session::close(db, false);
        drop(progress);
        let records = loaded.map_err(|failure| followed(failure, &stored(0)))?;
        closed?;
        return tell_loaded(records, 0, Status::Done, out);
    }
    let mut loader = Loader { db, wanted, batch: WriteBatch::new(), loaded: 0, skipped: 0 };
    let ended = loader.all(reader, &mut progress, out);
    // What is loaded stays loaded and becomes durable, whether or not the rest is any good.
    let closed = session::close(loader.db, wanted.no_sync);
    drop(progress);
    let status = ended.map_err(|failure| followed(failure, &stored(loader.loaded)))?;
    closed?;
    tell_loaded(loader.loaded, loader.skipped, status, out)
}

fn tell_loaded(records: u64, skipped: u64, status: Status, out: &mut Out) -> Outcome {
    out.summary(Object::summary().number("records", records).number("skipped", skipped))?;
    out.hint(format_args!("loaded {records} records, skipped {skipped} lines"));
    Ok(status)
}

/// Builds tables of the records, which become part of the store at the end, all or none.
fn load_sorted(db: &Db, file: &Path, mut reader: Reader, progress: &mut Progress) -> Outcome<u64> {
    let mut writer = db.ingest_writer()?;
    let mut records = 0;
    while let Some(item) = reader.next() {
        let Record { key, value } = item.map_err(|problem| refuse(file, problem))?;
        writer.put(&key, &value).map_err(|error| match error {
            Error::InvalidArgument(why) => {
                refuse(file, Problem::Line { number: reader.line(), why })
            }
            other => other.into(),
        })?;
        records += 1;
        if records % BATCH_COUNT as u64 == 0 {
            progress.set(reader.position());
        }
    }
    writer.commit()?;
    Ok(records)
}

/// A failure of the input, and what became of what had been read.
fn followed(failure: Failure, by: &str) -> Failure {
    match failure {
        Failure::Usage(text) => Failure::Usage(format!("{text}; {by}")),
        Failure::Damaged(text) => Failure::Damaged(format!("{text}; {by}")),
        other => other,
    }
}

fn stored(count: u64) -> String {
    match count {
        0 => "nothing is stored".to_owned(),
        _ => format!("the {count} records of the batches before are stored"),
    }
}

/// An input's problem as this command's failure.
fn refuse(file: &Path, problem: Problem) -> Failure {
    let name = match file == Path::new("-") {
        true => "standard input".to_owned(),
        false => file.display().to_string(),
    };
    let text = format!("{name}: {problem}");
    match problem {
        Problem::Io(error) => Failure::Stream(format!("could not read {name}"), error),
        Problem::Line { .. } | Problem::Unknown => Failure::Usage(text),
        Problem::Damaged(_) => Failure::Damaged(text),
    }
}

struct Loader<'a> {
    db: Db,
    wanted: &'a LoadArgs,
    batch: WriteBatch,
    loaded: u64,
    skipped: u64,
}

impl Loader<'_> {
    fn all(&mut self, mut reader: Reader, progress: &mut Progress, out: &mut Out) -> Outcome {
        let mut status = Status::Done;
        while let Some(item) = reader.next() {
            match item {
                Ok(Record { key, value }) => {
                    self.batch.put(&key, &value);
                }
                Err(problem) => status = status.combine(self.tolerate(problem, out)?),
            }
            if self.batch.len() >= BATCH_COUNT || self.batch.size_bytes() >= BATCH_SIZE {
                self.commit()?;
                progress.set(reader.position());
            }
        }
        self.commit()?;
        if self.skipped > TOLD_MAX && !out.is_json() {
            out.warn(format_args!("{} more bad lines", self.skipped - TOLD_MAX));
        }
        Ok(status)
    }

    /// With `--lenient`, a bad line or a bad end line is told and left behind.
    fn tolerate(&mut self, problem: Problem, out: &mut Out) -> Outcome {
        let number = match &problem {
            Problem::Line { number, .. } if self.wanted.lenient => Some(*number),
            Problem::Damaged(_) if self.wanted.lenient => None,
            _ => {
                // Behind the last line everything is read: only the promise is broken.
                if matches!(problem, Problem::Damaged(_)) {
                    self.commit()?;
                }
                return Err(refuse(&self.wanted.file, problem));
            }
        };
        self.skipped += u64::from(number.is_some());
        if out.is_json() {
            let skipped = Object::new("skipped").text("why", &problem.to_string());
            let skipped = number.map_or(skipped.clone(), |line| skipped.number("line", line));
            out.object(&skipped)?;
        } else if number.is_none() || self.skipped <= TOLD_MAX {
            out.warn(&problem);
        }
        Ok(Status::Losses)
    }

    /// One sync at the end serves all batches; until then they are with the kernel.
    fn commit(&mut self) -> Outcome<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.batch);
        let count = batch.len() as u64;
        self.db.write(batch, Durability::Buffered)?;
        self.loaded += count;
        Ok(())
    }
}

/// Writes the whole store as text.
pub(super) fn dump(args: &Args, wanted: &DumpArgs, out: &mut Out) -> Outcome {
    if args.common.json && wanted.format != Format::Ndjson {
        return Err(Failure::Usage("--json is NDJSON; drop it or --format".to_owned()));
    }
    let db = session::open_reader(args, out)?;
    let mut progress = Progress::begin("dump", Unit::Things, None, out.is_quiet());
    let mut writer = Writer::new(wanted.format, out).map_err(Failure::output)?;
    for (count, pair) in (1..).zip(db.iter()) {
        let (key, value) = pair?;
        writer.record(&key, &value).map_err(Failure::output)?;
        if count % BATCH_COUNT as u64 == 0 {
            progress.set(count);
        }
    }
    let total = writer.finish().map_err(Failure::output)?;
    out.finish()?;
    drop(progress);
    out.hint(total);
    Ok(Status::Done)
}

/// Runs operations in atomic batches.
pub(super) fn apply(args: &Args, wanted: &ApplyArgs, out: &mut Out) -> Outcome {
    let (input, _) = session::open_input(&wanted.file)?;
    let db = session::open_writer(args, true, out)?;
    let mut applier = Applier {
        db,
        wanted,
        lines: Lines::new(input),
        batch: WriteBatch::new(),
        operations: 0,
        batches: 0,
        seqno: SeqNo::ZERO,
    };
    let ended = applier.all(out);
    let Applier { db, operations, batches, seqno, .. } = applier;
    let closed = session::close(db, wanted.no_sync);
    ended.and(closed)?;
    let summary = Object::summary().number("operations", operations).number("batches", batches);
    out.summary(summary.number("seq", seqno.0))?;
    out.hint(format_args!("applied {operations} operations in {batches} batches"));
    Ok(Status::Done)
}

struct Applier<'a> {
    db: Db,
    wanted: &'a ApplyArgs,
    lines: Lines,
    batch: WriteBatch,
    operations: u64,
    batches: u64,
    seqno: SeqNo,
}

impl Applier<'_> {
    fn all(&mut self, out: &mut Out) -> Outcome<()> {
        while let Some(operation) = self.next().map_err(|why| refuse(&self.wanted.file, why))? {
            let full = match operation {
                Operation::Put(record) => {
                    self.batch.put(&record.key, &record.value);
                    self.is_full()
                }
                Operation::Delete(key) => {
                    self.batch.delete(&key);
                    self.is_full()
                }
                Operation::Commit => true,
            };
            if full {
                self.commit(out)?;
            }
        }
        if self.batch.is_empty() { Ok(()) } else { self.commit(out) }
    }

    fn next(&mut self) -> Result<Option<Operation>, Problem> {
        let Some(line) = self.lines.next_line()? else { return Ok(None) };
        let parsed = parse_operation(line);
        parsed.map(Some).map_err(|why| self.lines.problem(why))
    }

    fn is_full(&self) -> bool {
        self.wanted.batch > 0 && self.batch.len() as u64 >= self.wanted.batch
    }

    /// A commit with nothing before it writes nothing, but is acknowledged: who asked may wait.
    fn commit(&mut self, out: &mut Out) -> Outcome<()> {
        let line = self.lines.number();
        if !self.batch.is_empty() {
            let batch = std::mem::take(&mut self.batch);
            let count = batch.len() as u64;
            let written = self.db.write(batch, session::durability(self.wanted.no_sync));
            self.seqno = written.map_err(|error| match error {
                Error::InvalidArgument(why) => {
                    Failure::Usage(format!("the batch that ends at line {line}: {why}"))
                }
                other => other.into(),
            })?;
            self.operations += count;
            self.batches += 1;
        }
        if self.wanted.ack {
            out.object(&Object::new("ack").number("line", line).number("seq", self.seqno.0))?;
            out.finish()?;
        }
        Ok(())
    }
}
