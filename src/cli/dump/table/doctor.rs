//! `beach-sstDump doctor`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::print;
use crate::cli::dump::{Dump, open, plural, verdict};
use crate::cli::output::Object;
use crate::cli::{Failure, Outcome, Status};
use crate::inspect::store;
use crate::inspect::table::doctor::{self, Cause, Diagnosis};
use crate::vfs::File;

/// Looks into what is wrong with tables, and writes a mended copy of one.
pub(super) fn doctor(mut dump: Dump<'_>, paths: &[PathBuf], copy: Option<&Path>) -> Outcome {
    if copy.is_some() && paths.len() > 1 {
        return Err(Failure::Usage("--write-fixed takes one table".to_owned()));
    }
    let others = all_of(&dump, paths);
    let (mut damaged, mut mended) = (0, 0);
    let mut written = None;
    dump.all(
        paths,
        |live| live.tables,
        |dump, file, level| {
            let strangers = others.iter().filter(|other| other.path() != file.path());
            let strangers: Vec<&dyn File> = strangers.map(|other| &**other).collect();
            let mut diagnoses = doctor::doctor(file, &strangers)?;
            for diagnosis in &mut diagnoses {
                diagnosis.finding = diagnosis.finding.clone().in_level(level);
                tell(dump, diagnosis)?;
            }
            let cured = diagnoses.iter().filter(|diagnosis| diagnosis.cure.is_some()).count();
            damaged += diagnoses.len() as u64;
            mended += cured as u64;
            conclusion(dump, file.path(), diagnoses.len() as u64, cured as u64)?;
            if let Some(copy) = copy {
                written = write(dump, file, &diagnoses, copy)?;
                return Ok(diagnoses.is_empty() || written.is_some());
            }
            Ok(diagnoses.is_empty())
        },
    )?;
    if written.is_some_and(|left| left > 0) {
        dump.status = dump.status.combine(Status::Losses);
    }
    dump.end(|summary| {
        let summary = summary.number("damaged", damaged).number("mendable", mended);
        written.into_iter().fold(summary, |summary, left| summary.number("left", left))
    })
}

/// All tables named. One that cannot be opened is told when its turn comes.
fn all_of(dump: &Dump<'_>, paths: &[PathBuf]) -> Vec<Arc<dyn File>> {
    let mut files = Vec::new();
    for path in paths {
        if store::is_dir(&dump.vfs, path) {
            let tables =
                store::live(&dump.vfs, path).map_or_else(|_| Vec::new(), |live| live.tables);
            files.extend(tables.iter().filter_map(|(path, _)| open(&dump.vfs, path, None).ok()));
        } else {
            files.extend(open(&dump.vfs, path, None).ok());
        }
    }
    files
}

fn tell(dump: &mut Dump<'_>, diagnosis: &Diagnosis) -> Outcome<()> {
    let Diagnosis { finding, causes, cure } = diagnosis;
    if dump.out.is_json() {
        dump.finding(Some(finding))?;
        let causes: Vec<_> = causes.iter().map(|cause| cause_object(cause).into_value()).collect();
        let mut object = Object::new("diagnosis").text("code", finding.code.id());
        for (name, number) in [("offset", finding.offset), ("size", finding.size)] {
            object = number.into_iter().fold(object, |object, number| object.number(name, number));
        }
        object = object.value("causes", causes).value("mendable", cure.is_some());
        if let Some(cure) = cure {
            object = object
                .number("cure_offset", cure.offset)
                .number("cure_size", cure.bytes.len() as u64)
                .text("cure_from", cure.from);
        }
        return dump.out.object(&object);
    }
    let place = match (finding.offset, finding.size) {
        (Some(offset), Some(size)) => format!("{offset:#010x} {size:>8} "),
        _ => String::new(),
    };
    dump.out.line(format!("{place}{}{}", verdict(finding), print::keys(dump, finding)))?;
    for cause in causes {
        dump.out.line(format!("    cause: {cause}"))?;
    }
    dump.out.line(match cure {
        Some(cure) if cure.bytes.is_empty() => {
            format!("    cure: end the file at {:#x}, by {}", cure.offset, cure.from)
        }
        Some(cure) if cure.bytes.len() == 1 => {
            format!("    cure: {:#04x} at {:#x}, by {}", cure.bytes[0], cure.offset, cure.from)
        }
        Some(cure) => {
            let size = cure.bytes.len();
            format!("    cure: {size} bytes at {:#x}, made again from {}", cure.offset, cure.from)
        }
        None => "    cure: none is known".to_owned(),
    })
}

fn cause_object(cause: &Cause) -> Object {
    let object = Object::bare().text("cause", cause.name());
    match cause {
        Cause::FlippedBit(offset, bit) => {
            object.number("offset", *offset).number("bit", u64::from(*bit))
        }
        Cause::Overwritten(offset, size, byte, sector) => object
            .number("offset", *offset)
            .number("size", *size)
            .number("byte", u64::from(*byte))
            .number("sector_size", u64::from(*sector)),
        Cause::Elsewhere(offset, size, file, from) => {
            let object = object.number("offset", *offset).number("size", *size);
            let object = object.number("from_offset", *from);
            match file {
                Some(file) => object.bytes("from_path", file.as_os_str().as_encoded_bytes()),
                None => object,
            }
        }
        Cause::Cut(size) => object.number("size", *size),
        Cause::Appended(offset, size) => object.number("offset", *offset).number("size", *size),
        Cause::Foreign | Cause::Unknown | Cause::Written => object,
    }
}

fn conclusion(dump: &mut Dump<'_>, path: &Path, damaged: u64, mended: u64) -> Outcome<()> {
    if dump.out.is_json() {
        return Ok(());
    }
    let path = path.display();
    dump.out.line(match damaged {
        0 => format!("{path}: sound, nothing to do"),
        _ => format!("{path}: {}, of which {mended} can be mended", plural(damaged, "problem")),
    })
}

/// Writes the mended copy, if there is anything to mend; returns how many damaged places it has.
fn write(
    dump: &mut Dump<'_>,
    file: &dyn File,
    diagnoses: &[Diagnosis],
    copy: &Path,
) -> Outcome<Option<u64>> {
    let changes = doctor::changes(diagnoses);
    if changes.is_empty() {
        if !diagnoses.is_empty() {
            dump.out.error(format!("nothing can be mended, {} was not written", copy.display()));
        }
        return Ok(None);
    }
    let left = doctor::write_fixed(&dump.vfs, file, &changes, copy)?;
    let copy = copy.display();
    match left {
        0 => dump.out.hint(format!("wrote {copy}, it is sound")),
        _ => dump.out.warn(format!("wrote {copy}, with {} left", plural(left, "damaged place"))),
    }
    Ok(Some(left))
}
