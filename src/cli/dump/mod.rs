//! The dump tools: print the reports of [`inspect`](crate::inspect) as text or NDJSON.
//!
//! What they share: a path may be a file or a store's directory, of which the live files are
//! dumped; a file that cannot be read is told on standard error and the next one follows; the most
//! important status stands. The last line of NDJSON is left out when a file could not be read to
//! its end.

mod manifest;
mod table;
mod wal;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;

use super::args::Common;
use super::output::Object;
use super::{Failure, Out, Outcome, Status, conclude, not_parsed, retry, signals};
use crate::cli::finding;
use crate::error::{Error, Result};
use crate::inspect::frames::{FileHeader, Hole};
use crate::inspect::region::Region;
use crate::inspect::store::{self, Live};
use crate::inspect::{Finding, InternalKey, utc};
use crate::runtime::limits;
use crate::types::ValueKind;
use crate::vfs::os::OsVfs;
use crate::vfs::{Access, File, Vfs};

pub use manifest::ManifestArgs;
pub use table::TableArgs;
pub use wal::WalArgs;

/// Runs `beach-walDump` with these words, the program's name first.
pub fn wal(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    run(words, |args: &WalArgs| &args.common, wal::dump)
}

/// Runs `beach-sstDump` with these words, the program's name first.
pub fn table(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    run(words, |args: &TableArgs| &args.common, table::dump)
}

/// Runs `beach-manifest` with these words, the program's name first.
pub fn manifest(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    run(words, |args: &ManifestArgs| &args.common, manifest::run)
}

/// Parses, runs, concludes.
pub(super) fn run<A: Parser>(
    words: impl IntoIterator<Item = OsString>,
    common: impl Fn(&A) -> &Common,
    work: impl FnOnce(&A, &mut Out) -> Outcome,
) -> ExitCode {
    let args = match A::try_parse_from(words) {
        Ok(args) => args,
        Err(error) => return not_parsed(&error),
    };
    let common = common(&args);
    let mut out = Out::standard(common.json, common.quiet, common.color);
    limits::raise_open_files();
    let outcome = match signals::install() {
        Ok(()) => work(&args, &mut out),
        Err(error) => Err(Failure::Stream("could not install signal handlers".to_owned(), error)),
    };
    conclude(outcome, &mut out).into()
}

/// A file to dump: all that a directory stands for are opened before the first is read, so that none
/// can be removed meanwhile.
struct Target<X> {
    file: Result<Arc<dyn File>>,
    /// What the store says about it.
    extra: X,
}

/// Dumps of several files, and how they ended.
struct Dump<'o> {
    out: &'o mut Out,
    common: &'o Common,
    vfs: OsVfs,
    status: Status,
    /// Files read to their end.
    files: u64,
    /// A file was not.
    is_cut: bool,
    /// Found in files that are not dumped, and not printed yet.
    elsewhere: Vec<Finding>,
}

impl<'o> Dump<'o> {
    fn new(out: &'o mut Out, common: &'o Common) -> Dump<'o> {
        let (status, files, is_cut, elsewhere) = (Status::Done, 0, false, Vec::new());
        Dump { out, common, vfs: OsVfs, status, files, is_cut, elsewhere }
    }

    /// Dumps each of the paths; `pick` chooses from the live files of a directory.
    fn all<X: Default>(
        &mut self,
        paths: &[PathBuf],
        pick: impl Fn(Live) -> Vec<(PathBuf, X)>,
        mut one: impl FnMut(&mut Dump<'_>, &dyn File, X) -> Outcome<bool>,
    ) -> Outcome<()> {
        for path in paths {
            let targets = match self.targets(path, &pick) {
                Ok(targets) => targets,
                Err(error) => {
                    self.failed(error)?;
                    continue;
                }
            };
            for found in std::mem::take(&mut self.elsewhere) {
                self.finding(Some(&found))?;
            }
            for Target { file, extra } in targets {
                let dumped = match file {
                    Ok(file) => one(self, &*file, extra),
                    Err(error) => Err(error.into()),
                };
                match dumped {
                    Ok(is_sound) => self.read(is_sound),
                    Err(Failure::Engine(error)) => self.failed(error)?,
                    Err(failure) => return Err(failure),
                }
            }
        }
        Ok(())
    }

    fn targets<X: Default>(
        &mut self,
        path: &Path,
        pick: &impl Fn(Live) -> Vec<(PathBuf, X)>,
    ) -> Result<Vec<Target<X>>> {
        if !store::is_dir(&self.vfs, path) {
            let file = self.vfs.open(path, Access::Read);
            return Ok(vec![Target { file, extra: X::default() }]);
        }
        let (findings, shown, targets) = retry::while_moved(|| {
            let mut live = store::live(&self.vfs, path)?;
            let findings = std::mem::take(&mut live.findings);
            let (mut shown, mut targets) = (Vec::new(), Vec::new());
            for (file, extra) in pick(live) {
                shown.push(file.clone());
                match open(&self.vfs, &file, Some(path)) {
                    Err(moved @ Error::Moved { .. }) => return Err(moved),
                    file => targets.push(Target { file, extra }),
                }
            }
            Ok((findings, shown, targets))
        })?;
        for found in findings.into_iter().filter(Finding::is_damage) {
            self.status = self.status.combine(finding::status(&found));
            // A file that is dumped shows its own damage.
            if !shown.contains(&found.path) {
                self.out.error(format!("{found}; taking the files by their names"));
                self.elsewhere.push(found);
            }
        }
        Ok(targets)
    }

    /// A file was read to its end.
    fn read(&mut self, is_sound: bool) {
        self.files += 1;
        if !is_sound {
            self.status = self.status.combine(Status::Damage);
        }
    }

    /// A file was not read to its end.
    fn failed(&mut self, error: Error) -> Outcome<()> {
        self.out.finish()?;
        self.status = self.status.combine(Status::of(&error));
        self.is_cut = true;
        self.out.error(error);
        Ok(())
    }

    /// Ends the dump; `summary` gets its number of files and its last field.
    fn end(self, fill: impl FnOnce(Object) -> Object) -> Outcome {
        if !self.is_cut {
            self.out.summary(fill(Object::summary().number("files", self.files)))?;
        }
        Ok(self.status)
    }

    /// Says on standard error what is wrong with a file that was dumped.
    fn complain(&mut self, path: &Path, damaged: u64) -> Outcome<()> {
        if damaged > 0 {
            self.out.finish()?;
            let places = plural(damaged, "damaged place");
            self.out.error(format!("{} has {places}, shown above", path.display()));
        }
        Ok(())
    }

    /// A key or value in quotes.
    fn quoted(&self, bytes: &[u8]) -> String {
        format!("\"{}\"", self.common.encode(bytes))
    }

    /// `"bar"#14,DEL`.
    fn key(&self, key: &InternalKey) -> String {
        let kind = match key.trailer.kind() {
            Some(kind) => kind.to_string(),
            None => format!("kind {}", key.trailer.0 as u8),
        };
        format!("{}#{},{kind}", self.quoted(&key.user), key.trailer.seqno())
    }

    fn header(&mut self, header: &FileHeader) -> Outcome<()> {
        if self.out.is_json() {
            return self.out.object(&header_object(header));
        }
        let path = header.path.display();
        let size = header.size;
        let mut line = match &header.header {
            Some(header) => format!(
                "{path}: {} {}, format {}, id {}, store {}, made {}, {size} bytes",
                header.kind,
                header.number,
                header.version,
                header.id,
                header.store,
                utc(header.created_ms),
            ),
            None => format!("{path}: {}, {size} bytes", header.kind),
        };
        if let Some(damage) = &header.damage {
            line += &format!("\n0x00000000       64 header  {}", verdict(damage));
        }
        self.out.line(line)
    }

    fn hole(&mut self, hole: &Hole) -> Outcome<()> {
        if self.out.is_json() {
            return self.out.object(&hole_object(hole));
        }
        let Hole { offset, size, class, finding, .. } = hole;
        let mut line = format!("{offset:#010x} {size:>8} {class}  {}", verdict(finding));
        line += &match (hole.seqno_before, hole.seqno_after) {
            (Some(before), Some(after)) => format!("; between seqno {before} and {after}"),
            (Some(before), None) => format!("; behind seqno {before}"),
            (None, Some(after)) => format!("; before seqno {after}"),
            (None, None) => String::new(),
        };
        if let Some(count) = hole.ops_missing() {
            line += &format!(", {} missing", plural(count, "operation"));
        }
        self.out.line(line)
    }

    /// In NDJSON a finding is a line of its own behind the part it is about.
    fn finding(&mut self, found: Option<&Finding>) -> Outcome<()> {
        match found {
            Some(found) if self.out.is_json() => self.out.object(&finding::object(found)),
            _ => Ok(()),
        }
    }

    fn unused(&mut self, offset: u64, size: u64) -> Outcome<()> {
        if self.out.is_json() {
            let object = Object::new("unused").number("offset", offset).number("size", size);
            return self.out.object(&object);
        }
        self.out.line(format!("{offset:#010x} {size:>8} unused"))
    }
}

/// Opens a file. One that a directory's manifest named and that is gone was removed by a writer
/// meanwhile, or is missing.
fn open(vfs: &dyn Vfs, path: &Path, dir: Option<&Path>) -> Result<Arc<dyn File>> {
    let dir = match (vfs.open(path, Access::Read), dir) {
        (Err(error), Some(dir)) if error.is_not_found() => dir,
        (opened, _) => return opened,
    };
    let live = store::live(vfs, dir)?;
    let is_named = live.logs.iter().any(|(log, _)| log == path)
        || live.tables.iter().any(|(table, _)| table == path)
        || live.manifest.as_deref() == Some(path);
    Err(if is_named {
        Error::corruption(path, None, "it is missing, but the manifest names it")
    } else {
        Error::Moved { path: path.to_owned() }
    })
}

fn header_object(header: &FileHeader) -> Object {
    let object = Object::new("header")
        .bytes("path", header.path.as_os_str().as_encoded_bytes())
        .text("kind", if header.kind.name() == "WAL" { "wal" } else { "manifest" })
        .number("size", header.size);
    let object = match &header.header {
        Some(header) => object
            .number("format_version", u64::from(header.version))
            .number("number", header.number.0)
            .text("id", &header.id.to_string())
            .text("store", &header.store.to_string())
            .number("created_ms", header.created_ms)
            .text("created", &utc(header.created_ms)),
        None => object,
    };
    with_damage(object, header.damage.as_ref())
}

fn hole_object(hole: &Hole) -> Object {
    let mut object = Object::new("hole")
        .number("offset", hole.offset)
        .number("size", hole.size)
        .text("class", hole.class.name())
        .value("damaged", hole.is_damage())
        .text("code", hole.finding.code.id())
        .text("detail", &finding::detail(&hole.finding));
    if let Some((offset, bit)) = hole.flipped {
        object = object.number("flipped_offset", offset).number("flipped_bit", u64::from(bit));
    }
    let numbers = [
        ("seqno_before", hole.seqno_before.map(|seqno| seqno.0)),
        ("seqno_after", hole.seqno_after.map(|seqno| seqno.0)),
        ("ops_missing", hole.ops_missing()),
    ];
    for (name, number) in numbers {
        object = number.into_iter().fold(object, |object, number| object.number(name, number));
    }
    object
}

fn region_object(region: &Region) -> Object {
    Object::new("region")
        .number("offset", region.offset)
        .number("size", region.size)
        .text("purpose", &region.purpose.to_string())
        .text("part", &region.part)
        .text("name", &region.name)
        .text("value", &region.value)
}

/// Adds what is wrong, where something is.
fn with_damage(object: Object, damage: Option<&Finding>) -> Object {
    match damage {
        Some(damage) => {
            object.text("damage", &finding::detail(damage)).text("code", damage.code.id())
        }
        None => object,
    }
}

/// `DAMAGED BW002: checksum mismatch; one flipped bit explains it`.
fn verdict(found: &Finding) -> String {
    let word = if found.is_damage() { "DAMAGED" } else { "notice" };
    format!("{word} {}: {}", found.code, finding::detail(found))
}

/// The word for a kind of version in JSON, as in the operations that `beach apply` reads.
pub(super) fn op_name(kind: Option<ValueKind>) -> &'static str {
    match kind {
        Some(ValueKind::Put) => "put",
        Some(ValueKind::Delete) => "del",
        None => "unknown",
    }
}

/// `1 entry`-style counts: the word takes an `s` unless there is one.
pub(super) fn plural(count: u64, word: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {word}{s}")
}
