//! The bytes of tables and what they are: `--layout`, `--block`, `at`.

use std::path::{Path, PathBuf};

use super::print;
use crate::cli::dump::{Dump, open, region_object, verdict};
use crate::cli::finding;
use crate::cli::output::Object;
use crate::cli::{Failure, Outcome, Status};
use crate::inspect::region::{Purpose, Region};
use crate::inspect::table::{self, BytePlace, PartBytes, PartName};

/// Bytes in a line of hexadecimal digits.
const LINE_SIZE: usize = 16;

/// Every field of every table.
pub(super) fn layout(mut dump: Dump<'_>, paths: &[PathBuf]) -> Outcome {
    let (mut regions, mut unexplained) = (0, 0);
    dump.all(
        paths,
        |live| live.tables,
        |dump, file, _level| {
            let mut part = String::new();
            let mut is_sound = true;
            header(dump, file.path(), file.size()?)?;
            table::tree(file, &mut |region, is_packed| {
                if !is_packed {
                    regions += 1;
                    if region.purpose == Purpose::Unexplained {
                        unexplained += region.size;
                        is_sound = false;
                    }
                }
                if dump.out.is_json() {
                    return dump.out.object(&packed_object(&region, is_packed));
                }
                if part != region.part {
                    part.clone_from(&region.part);
                    dump.out.line(&part)?;
                }
                dump.out.line(region_line(&region, is_packed))
            })?;
            let totals = table::read_table(file, false, &mut |item| match item.finding() {
                Some(found) if dump.out.is_json() => dump.out.object(&finding::object(found)),
                _ => Ok(()),
            })?;
            dump.complain(file.path(), totals.damaged)?;
            Ok(is_sound && totals.damaged == 0)
        },
    )?;
    dump.end(|summary| summary.number("regions", regions).number("unexplained_bytes", unexplained))
}

fn header(dump: &mut Dump<'_>, path: &Path, size: u64) -> Outcome<()> {
    if dump.out.is_json() {
        let object = Object::new("header").bytes("path", path.as_os_str().as_encoded_bytes());
        return dump.out.object(&object.text("kind", "table").number("size", size));
    }
    dump.out.line(format!("{}: table, {size} bytes", path.display()))
}

fn packed_object(region: &Region, is_packed: bool) -> Object {
    region_object(region).value("packed", is_packed)
}

fn region_line(region: &Region, is_packed: bool) -> String {
    let Region { offset, size, name, value, .. } = region;
    // An offset within unpacked content is not one of the file.
    let (indent, mark) = if is_packed { ("      ", "+") } else { ("  ", "") };
    let mut line = format!("{indent}{mark}{offset:#010x} {size:>8} {name}");
    if !value.is_empty() {
        line += &format!(": {value}");
    }
    line
}

/// One part of each table.
pub(super) fn block(mut dump: Dump<'_>, paths: &[PathBuf], name: PartName, hex: bool) -> Outcome {
    let mut missing = 0;
    dump.all(
        paths,
        |live| live.tables,
        |dump, file, _level| {
            let Some(part) = table::part(file, name)? else {
                missing += 1;
                dump.out
                    .error(format!("{} has no {name} that can be found", file.path().display()));
                return Ok(true);
            };
            if dump.out.is_json() {
                json_part(dump, &part)?;
            } else {
                dump.out.line(format!("{}: {}", file.path().display(), heading(&part)))?;
                text_part(dump, &part, hex)?;
            }
            Ok(part.finding.is_none())
        },
    )?;
    if missing > 0 {
        dump.status = dump.status.combine(Status::Negative);
    }
    dump.end(|summary| summary.number("missing", missing))
}

fn heading(part: &PartBytes) -> String {
    let verdict = part.finding.as_ref().map_or("checksum ok".to_owned(), verdict);
    format!("{} at {:#x}, {} bytes, {verdict}", part.name, part.handle.offset, part.bytes.len())
}

fn json_part(dump: &mut Dump<'_>, part: &PartBytes) -> Outcome<()> {
    let object = Object::new("part")
        .text("name", &part.name.to_string())
        .number("offset", part.handle.offset)
        .number("size", part.bytes.len() as u64)
        .text("checksum", if part.finding.is_some() { "bad" } else { "ok" });
    dump.out.object(&object)?;
    dump.finding(part.finding.as_ref())?;
    let plain = part.regions.iter().map(|region| (region, false));
    let packed = part.content.iter().flat_map(|(_, regions)| regions).map(|region| (region, true));
    for (region, is_packed) in plain.chain(packed) {
        let bytes = bytes_of(part, region, is_packed);
        let object = packed_object(region, is_packed);
        dump.out.object(&object.text("hex", &hex::encode(bytes)))?;
    }
    Ok(())
}

/// The bytes of a region, as they are in the file.
fn bytes_of<'p>(part: &'p PartBytes, region: &Region, is_packed: bool) -> &'p [u8] {
    let (bytes, base) = match (&part.content, is_packed) {
        (Some((content, _)), true) => (content.as_slice(), 0),
        _ => (part.bytes.as_slice(), part.handle.offset),
    };
    let start = usize::try_from(region.offset.saturating_sub(base)).unwrap_or(usize::MAX);
    let end = start.saturating_add(region.size as usize).min(bytes.len());
    bytes.get(start..end).unwrap_or_default()
}

fn text_part(dump: &mut Dump<'_>, part: &PartBytes, hex: bool) -> Outcome<()> {
    if let Some((offset, bit)) = part.flipped {
        let note = "the fields are those with the bit turned back, the bytes are the file's";
        dump.out.line(format!("  bit {bit} of the byte at {offset:#x} is flipped: {note}"))?;
    }
    for region in &part.regions {
        region_text(dump, part, region, false, hex)?;
    }
    let Some((content, regions)) = &part.content else { return Ok(()) };
    dump.out.line(format!("  unpacked, {} bytes:", content.len()))?;
    for region in regions {
        region_text(dump, part, region, true, hex)?;
    }
    Ok(())
}

fn region_text(
    dump: &mut Dump<'_>,
    part: &PartBytes,
    region: &Region,
    is_packed: bool,
    hex: bool,
) -> Outcome<()> {
    if !hex {
        return dump.out.line(region_line(region, is_packed));
    }
    let mark = if is_packed { '+' } else { ' ' };
    for (number, bytes) in bytes_of(part, region, is_packed).chunks(LINE_SIZE).enumerate() {
        let at = region.offset + (number * LINE_SIZE) as u64;
        let mut digits = String::with_capacity(3 * LINE_SIZE);
        for byte in bytes {
            digits += &format!("{byte:02x} ");
        }
        let label = match (number, region.value.as_str()) {
            (0, "") => region.name.clone(),
            (0, value) => format!("{}: {value}", region.name),
            _ => String::new(),
        };
        let line = format!("{mark}{at:#010x}  {digits:<48} {label}");
        dump.out.line(line.trim_end())?;
    }
    Ok(())
}

/// What a byte is.
pub(super) fn at(dump: &mut Dump<'_>, path: &Path, offset: u64) -> Outcome {
    let file = open(&dump.vfs, path, None)?;
    let Some(place) = table::at(&*file, offset)? else {
        let size = file.size()?;
        let text = format!("{} has no byte at {offset:#x}, it has {size}", path.display());
        return Err(Failure::Usage(text));
    };
    if dump.out.is_json() {
        dump.out.object(&place_object(&place))?;
        dump.finding(place.finding.as_ref())?;
        dump.out.summary(Object::summary())?;
    } else {
        place_text(dump, path, &place)?;
    }
    Ok(place.finding.as_ref().map_or(Status::Done, finding::status))
}

fn place_object(place: &BytePlace) -> Object {
    let region = &place.region;
    let mut object = Object::new("byte")
        .number("offset", place.offset)
        .number("byte", u64::from(place.byte))
        .text("part", &region.part)
        .text("name", &region.name)
        .text("value", &region.value)
        .text("purpose", &region.purpose.to_string())
        .number("field_offset", region.offset)
        .number("field_size", region.size);
    if let Some((what, content)) = &place.packed {
        object = object
            .text("lz4", what)
            .number("content_offset", content.start)
            .number("content_size", content.end - content.start);
        let fields = place.fields.iter().map(|field| {
            let object = Object::bare().number("offset", field.offset).number("size", field.size);
            object.text("name", &field.name).text("value", &field.value).into_value()
        });
        object = object.value("fields", fields.collect::<Vec<_>>());
    }
    match &place.entry {
        Some((entry, key)) => object
            .number("entry", *entry)
            .bytes("key", &key.user)
            .number("seqno", key.trailer.seqno().0)
            .text("kind", crate::cli::dump::op_name(key.trailer.kind())),
        None => object,
    }
}

fn place_text(dump: &mut Dump<'_>, path: &Path, place: &BytePlace) -> Outcome<()> {
    let BytePlace { offset, byte, region, .. } = place;
    dump.out.line(format!("{}@{offset:#x}: {byte:#04x}", path.display()))?;
    dump.out.line(format!("  part   {}", region.part))?;
    let within = match region.size {
        1 => String::new(),
        size => format!(", byte {} of {size} from {:#x} on", offset - region.offset, region.offset),
    };
    dump.out.line(format!("  field  {}{within}", region.name))?;
    if !region.value.is_empty() {
        dump.out.line(format!("  value  {}", region.value))?;
    }
    if let Some((what, content)) = &place.packed {
        let (start, size) = (content.start, content.end - content.start);
        dump.out
            .line(format!("  lz4    {what}, for {size} bytes of content from +{start:#x} on"))?;
    }
    for field in &place.fields {
        dump.out.line(region_line(field, true))?;
    }
    if let Some((entry, key)) = &place.entry {
        let key = dump.key(key);
        dump.out.line(format!("  entry  {entry}, {key}"))?;
    }
    if let Some(found) = &place.finding {
        let keys = print::keys(dump, found);
        dump.out.line(format!("  {}{keys}", verdict(found)))?;
    }
    Ok(())
}
