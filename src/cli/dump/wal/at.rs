//! `beach-walDump at`: what is this byte?

use super::{AtArgs, WalArgs};
use crate::cli::dump::region_object;
use crate::cli::output::Object;
use crate::cli::{Out, Outcome, Status};
use crate::inspect::FileKind;
use crate::inspect::frames::{self, Expect};
use crate::inspect::region::{Purpose, Region};
use crate::vfs::os::OsVfs;
use crate::vfs::{Access, Vfs};

pub(super) fn at(_args: &WalArgs, wanted: &AtArgs, out: &mut Out) -> Outcome {
    let file = OsVfs.open(&wanted.file, Access::Read)?;
    let found = frames::region_at(&*file, FileKind::Wal, &Expect::default(), wanted.offset)?;
    let Some(region) = found else {
        let size = file.size()?;
        out.hint(format_args!("{} has {size} bytes", wanted.file.display()));
        out.summary(Object::summary().number("regions", 0))?;
        return Ok(Status::Negative);
    };
    if out.is_json() {
        out.object(&region_object(&region).number("byte", wanted.offset))?;
        out.summary(Object::summary().number("regions", 1))?;
    } else {
        let path = wanted.file.display();
        out.line(format!("{path}@{:#x}: {}", wanted.offset, line(&region)))?;
    }
    Ok(match region.purpose {
        Purpose::Unexplained => Status::Damage,
        _ => Status::Done,
    })
}

/// `batch frame at 0x40: first seqno = 1 (field, 8 bytes from 0x58)`.
fn line(region: &Region) -> String {
    let Region { offset, size, purpose, part, name, value } = region;
    let value = if value.is_empty() { String::new() } else { format!(" = {value}") };
    let s = if *size == 1 { "" } else { "s" };
    format!("{part}: {name}{value} ({purpose}, {size} byte{s} from {offset:#x})")
}
