//! Every byte of a log or manifest belongs to exactly one region, whatever happened to the file.

use std::path::Path;

use beachdb::inspect::FileKind;
use beachdb::inspect::frames::{self, Expect};
use beachdb::inspect::region::{Purpose, Region};
use beachdb::vfs::os::OsVfs;
use beachdb::vfs::{Access, Vfs};
use beachdb::{Error, Result};

use crate::inspect::stores::Beach;

fn regions(path: &Path, kind: FileKind) -> Result<Vec<Region>> {
    let file = OsVfs.open(path, Access::Read)?;
    let mut regions: Vec<Region> = Vec::new();
    frames::layout(&*file, kind, &Expect::default(), &mut |region| {
        regions.push(region);
        Ok::<(), Error>(())
    })?;
    let mut at = 0;
    for region in &regions {
        assert_eq!(region.offset, at, "{region:?}");
        assert!(region.size > 0 && !region.part.is_empty() && !region.name.is_empty());
        at += region.size;
    }
    assert_eq!(at, file.size()?, "{}", path.display());
    Ok(regions)
}

fn bytes_of(regions: &[Region], purpose: Purpose) -> u64 {
    regions.iter().filter(|region| region.purpose == purpose).map(|region| region.size).sum()
}

/// The sizes add up to the file's without a gap, and nothing in a sound file is left unexplained.
#[test]
fn a_sound_file_is_explained_to_the_last_byte() -> Result<()> {
    let beach = Beach::busy();
    let logs = beach.names(".wal");
    let manifests = beach.names("MANIFEST-");
    let kinds = [(logs, FileKind::Wal), (manifests, FileKind::Manifest)];
    for (names, kind) in kinds {
        assert!(!names.is_empty());
        for name in names {
            let regions = regions(&beach.path(&name), kind)?;
            let unexplained: Vec<_> =
                regions.iter().filter(|region| region.purpose > Purpose::Preallocated).collect();
            assert!(unexplained.is_empty(), "{name}: {unexplained:?}");
            assert!(regions.len() > 30, "{name}");
        }
    }
    Ok(())
}

/// Each byte of a small log is overwritten in turn: the regions still follow each other, what was
/// damaged is unexplained, and the byte itself is in it, or in the frame around it.
#[test]
fn every_damaged_byte_leaves_the_rest_explained() -> Result<()> {
    let beach = Beach::log_of(6);
    let log = beach.names(".wal").remove(0);
    let sound = regions(&beach.path(&log), FileKind::Wal)?;
    let used = sound.iter().filter(|region| region.part != "unused");
    let end = used.map(|region| region.offset + region.size).max().expect("frames");
    for at in 0..end {
        beach.damage(&log, |bytes| bytes[at as usize] ^= 0x11);
        let damaged = regions(&beach.path(&log), FileKind::Wal)?;
        let lost = bytes_of(&damaged, Purpose::Unexplained) + bytes_of(&damaged, Purpose::Torn);
        assert!(lost > 0 && lost <= 64, "byte {at:#x}: {lost} bytes");
        let file = OsVfs.open(&beach.path(&log), Access::Read)?;
        let there = frames::region_at(&*file, FileKind::Wal, &Expect::default(), at)?;
        let there = there.unwrap_or_else(|| panic!("byte {at:#x} is nowhere"));
        assert!(there.purpose >= Purpose::Torn, "byte {at:#x}: {there:?}");
        beach.damage(&log, |bytes| bytes[at as usize] ^= 0x11);
    }
    Ok(())
}

/// One operation's key and value are found by their offsets, with what they say.
#[test]
fn a_byte_is_known_by_its_offset() -> Result<()> {
    let beach = Beach::log_of(3);
    let path = beach.path(&beach.names(".wal").remove(0));
    let all = regions(&path, FileKind::Wal)?;
    let file = OsVfs.open(&path, Access::Read)?;
    for region in &all {
        for offset in [region.offset, region.offset + region.size - 1] {
            let found = frames::region_at(&*file, FileKind::Wal, &Expect::default(), offset)?;
            assert_eq!(found.as_ref(), Some(region));
        }
    }
    let end = file.size()?;
    assert_eq!(frames::region_at(&*file, FileKind::Wal, &Expect::default(), end)?, None);
    let value = all.iter().find(|region| region.name == "value of #2").expect("a value");
    assert_eq!((value.value.as_str(), value.size), ("\"value of 1\"", 10));
    Ok(())
}
