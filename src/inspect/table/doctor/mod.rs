//! What is wrong with a damaged table, and what would make it whole again.
//!
//! A cure is certain or it is none: it turns back the one bit that explains a checksum, or puts a
//! part together from others and the part's own checksum agrees. Where a checksum is lost itself,
//! the properties' counts must agree.

mod causes;
mod rebuild;
mod write;

use std::collections::BTreeMap;

use super::parts::Parts;
use super::raw::PartName;
use super::{TableItem, read_table};
use crate::error::{Error, Result};
use crate::format::block::Kind;
use crate::format::table::Handle;
use crate::inspect::finding::{Code, Finding};
use crate::vfs::File;

pub use write::write_fixed;

/// What made a part as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// One bit was flipped: the byte's offset in the file, and the bit.
    FlippedBit(u64, u8),
    /// Bytes were overwritten with zeros or ones: the offset of the first, how many, with what, and
    /// the size of the sectors or pages that they fill; 1 where they fill none.
    Overwritten(u64, u64, u8, u32),
    /// Bytes of another place: the offset of the first, how many, the file they are from (none:
    /// this one), and where they lie there.
    Elsewhere(u64, u64, Option<std::path::PathBuf>, u64),
    /// A block that is whole in itself, but was written for another file or place.
    Foreign,
    /// The file ends too early; how many bytes are there.
    Cut(u64),
    /// Bytes were appended: where they begin, and how many there are.
    Appended(u64, u64),
    /// More than one bit is wrong.
    Unknown,
    /// The checksum is right: it was written as it is.
    Written,
}

impl Cause {
    /// The word for it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Cause::FlippedBit(..) => "flipped_bit",
            Cause::Overwritten(..) => "overwritten",
            Cause::Elsewhere(..) => "elsewhere",
            Cause::Foreign => "foreign",
            Cause::Cut(_) => "cut",
            Cause::Appended(..) => "appended",
            Cause::Unknown => "unknown",
            Cause::Written => "written",
        }
    }
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Cause::FlippedBit(offset, bit) => {
                write!(f, "one flipped bit: bit {bit} at {offset:#x}")
            }
            Cause::Overwritten(offset, size, byte, sector) => {
                write!(f, "{size} bytes from {offset:#x} on are all {byte:#04x}")?;
                match sector {
                    1 => Ok(()),
                    _ => write!(f, ", whole units of {sector}"),
                }
            }
            Cause::Elsewhere(offset, size, file, from) => {
                write!(f, "{size} bytes from {offset:#x} on are those at {from:#x}")?;
                file.as_ref().map_or(Ok(()), |file| write!(f, " of {}", file.display()))
            }
            Cause::Foreign => {
                f.write_str("whole in itself, but written for another file or another place")
            }
            Cause::Cut(present) => write!(f, "the file ends early, after {present:#x}"),
            Cause::Appended(offset, size) => {
                write!(f, "{size} bytes were appended, from {offset:#x} on")
            }
            Cause::Unknown => f.write_str("more than one bit is wrong"),
            Cause::Written => f.write_str("the checksum is right: it was written as it is"),
        }
    }
}

/// Bytes that make a part whole again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cure {
    /// Where they go.
    pub offset: u64,
    /// The bytes; none where the file must end.
    pub bytes: Vec<u8>,
    /// Where they are from.
    pub from: &'static str,
}

/// One problem of a table, looked into.
#[derive(Clone, Debug)]
pub struct Diagnosis {
    /// What was found.
    pub finding: Finding,
    /// What explains it.
    pub causes: Vec<Cause>,
    /// What mends it, if anything can.
    pub cure: Option<Cure>,
}

/// Looks into all problems of a table. `others` are tables whose blocks may have come into it.
///
/// # Errors
/// As [`read_table`].
pub fn doctor(file: &dyn File, others: &[&dyn File]) -> Result<Vec<Diagnosis>> {
    let mut findings = Vec::new();
    read_table(file, false, &mut |item: TableItem<'_>| {
        findings.extend(item.finding().cloned());
        Ok::<(), Error>(())
    })?;
    let parts = Parts::read(file)?;
    let mut diagnoses = Vec::new();
    for finding in findings {
        diagnoses.push(diagnosis(file, &parts, finding)?);
    }
    causes::search_elsewhere(file, others, &mut diagnoses)?;
    rebuild::rebuild(file, &parts, &mut diagnoses)?;
    Ok(diagnoses)
}

fn diagnosis(file: &dyn File, parts: &Parts<'_>, finding: Finding) -> Result<Diagnosis> {
    let (mut causes, mut cure) = (Vec::new(), None);
    let flipped = match finding.code {
        Code::FooterDamaged => parts.report.flipped,
        Code::PropertiesDamaged => parts.properties.flipped,
        Code::FilterDamaged => parts.filter.flipped,
        Code::IndexDamaged => parts.index.flipped,
        Code::BlockDamaged => causes::flipped(file, parts, &finding)?,
        _ => None,
    };
    match (finding.code, flipped) {
        (_, Some((offset, bit))) => {
            let mut byte = [0];
            file.read_at(&mut byte, offset)?;
            let bytes = vec![byte[0] ^ 1 << bit];
            causes.push(Cause::FlippedBit(offset, bit));
            cure = Some(Cure { offset, bytes, from: "the checksum" });
        }
        (Code::TableCut, None) if parts.report.end < parts.report.size => {
            let behind = parts.report.size - parts.report.end;
            causes.push(Cause::Appended(parts.report.end, behind));
        }
        (Code::TableCut, None) => causes.push(Cause::Cut(parts.report.size)),
        (
            Code::FooterDamaged
            | Code::PropertiesDamaged
            | Code::FilterDamaged
            | Code::IndexDamaged
            | Code::BlockDamaged,
            None,
        ) => causes = causes::of(file, parts, &finding)?,
        _ => causes.push(Cause::Written),
    }
    Ok(Diagnosis { finding, causes, cure })
}

/// The part that a finding is about, if it is about one with a checksum.
fn part_of(finding: &Finding, parts: &Parts<'_>) -> Option<(PartName, Handle)> {
    let name = match finding.code {
        Code::FooterDamaged => PartName::Footer,
        Code::PropertiesDamaged => PartName::Properties,
        Code::FilterDamaged => PartName::Filter,
        Code::IndexDamaged => PartName::Index,
        Code::BlockDamaged => {
            let position = parts.position_of(finding.offset?);
            PartName::Data(position.map_or(u64::MAX, |position| position as u64))
        }
        _ => return None,
    };
    let handle = Handle { offset: finding.offset?, size: u32::try_from(finding.size?).ok()? };
    Some((name, handle))
}

/// The changes that all cures make, by their offsets.
#[must_use]
pub fn changes(diagnoses: &[Diagnosis]) -> BTreeMap<u64, Vec<u8>> {
    let cures = diagnoses.iter().filter_map(|diagnosis| diagnosis.cure.as_ref());
    cures.map(|cure| (cure.offset, cure.bytes.clone())).collect()
}

/// The kind of block that a code of damage is about.
fn kind_of(code: Code) -> Option<Kind> {
    Some(match code {
        Code::PropertiesDamaged => Kind::Properties,
        Code::FilterDamaged => Kind::Filter,
        Code::IndexDamaged => Kind::Index,
        Code::BlockDamaged => Kind::Data,
        _ => return None,
    })
}
