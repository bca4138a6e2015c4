//! Every bit of a small table, flipped.

use std::collections::HashSet;

use beachdb::Error;
use beachdb::inspect::table::doctor::{Cause, changes, doctor};
use beachdb::inspect::table::{at, layout, part, tree};
use beachdb::inspect::{Code, Compression};

use super::made::{Memory, read, small, table};

/// What a damaged part is called.
fn code(part: &str) -> Code {
    match part {
        "footer" => Code::FooterDamaged,
        "properties" => Code::PropertiesDamaged,
        "filter" => Code::FilterDamaged,
        "index" => Code::IndexDamaged,
        _ => Code::BlockDamaged,
    }
}

/// Each bit of a table of many blocks, one after the other: the report blames the part it is in and
/// no other, names the bit, and shows every entry of all other blocks; the cure is the very byte that
/// was there.
#[test]
fn every_flipped_bit_costs_its_own_block_at_most() {
    for compression in [Compression::None, Compression::Lz4] {
        let bytes = small(compression);
        let sound = read(&bytes).expect("a reading");
        assert_eq!(sound.damaged, 0, "{:?}", sound.findings);
        assert!(sound.parts.len() >= 9 && sound.entries.len() == 28, "{:?}", sound.parts);
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let place = (bit / 8) as u64;
            let hit = sound.parts.iter().find(|part| (part.offset..part.end).contains(&place));
            let hit = hit.expect("a part");
            let seen = read(&damaged).expect("a reading");
            let [finding] = &seen.findings[..] else { panic!("bit {bit}: {:?}", seen.findings) };
            assert_eq!((finding.code, finding.offset), (code(&hit.name), Some(hit.offset)));
            let named = format!("bit {} at {place:#x}", bit % 8);
            assert!(finding.why.ends_with(&named), "{finding}, expected {named}");
            let is_data = hit.name.starts_with("data");
            let kept = sound.entries.iter().filter(|entry| !is_data || entry.0 != hit.offset);
            assert!(kept.eq(seen.entries.iter()), "bit {bit}: entries are missing or changed");
            if is_data {
                let (first, last) = finding.keys.as_ref().expect("the keys concerned");
                let lost = sound.entries.iter().filter(|entry| entry.0 == hit.offset);
                for (_, key, _, _) in lost {
                    assert!(first <= key && key <= last, "{finding:?}");
                }
            }
            let file = Memory::of(damaged.clone());
            let diagnoses = doctor(&file, &[]).expect("a diagnosis");
            assert_eq!(diagnoses.len(), 1);
            assert_eq!(diagnoses[0].causes, [Cause::FlippedBit(place, (bit % 8) as u8)]);
            for (offset, cure) in changes(&diagnoses) {
                damaged[offset as usize..][..cure.len()].copy_from_slice(&cure);
            }
            assert!(damaged == bytes, "bit {bit}");
        }
    }
}

/// With each bit flipped, the regions still follow each other from the first byte to the last.
#[test]
fn the_layout_has_no_gap_whatever_bit_is_flipped() {
    for compression in [Compression::None, Compression::Lz4] {
        let bytes = small(compression);
        for bit in (0..bytes.len() * 8).step_by(3) {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let mut end = 0;
            layout(&Memory::of(damaged), &mut |region| {
                assert_eq!(region.offset, end, "bit {bit}: {region:?}");
                assert!(region.size > 0 && !region.name.is_empty());
                end += region.size;
                Ok::<(), Error>(())
            })
            .expect("a layout");
            assert_eq!(end, bytes.len() as u64);
        }
    }
}

/// Every byte of a sound table is asked for: the answer is the region of the layout, and in data it
/// names the entry. In compressed blocks every byte is some element of LZ4.
#[test]
fn every_byte_has_a_name() {
    for compression in [Compression::None, Compression::Lz4] {
        let file = Memory::of(small(compression));
        let (mut regions, mut packed, mut names) = (Vec::new(), 0, HashSet::new());
        tree(&file, &mut |region, is_packed| {
            names.insert(region.name.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned());
            if is_packed {
                packed += 1
            } else {
                regions.push(region)
            }
            Ok::<(), Error>(())
        })
        .expect("a layout");
        for name in ["prefix", "trailer of entry ", "suffix of entry ", "value of entry ", "line "]
        {
            assert!(names.contains(name), "{name}: {names:?}");
        }
        assert_eq!(packed > 0, compression == Compression::Lz4);
        let mut keys = HashSet::new();
        for region in &regions {
            for offset in region.offset..region.offset + region.size {
                let place = at(&file, offset).expect("a reading").expect("a byte");
                assert_eq!((&place.region, place.finding), (region, None));
                assert_eq!(place.packed.is_some(), region.name == "LZ4 bytes", "{region:?}");
                if region.name.contains("of entry") && region.part.starts_with("data") {
                    assert!(place.entry.is_some(), "{region:?}");
                }
                keys.extend(place.entry.map(|(_, key)| (key.user, key.trailer.0)));
            }
        }
        assert_eq!(keys.len(), 28);
        let size = regions.last().map_or(0, |region| region.offset + region.size);
        assert_eq!(at(&file, size).expect("a reading"), None);
    }
}

/// A block with ends of four bytes, and keys without a common prefix: the fields still meet.
#[test]
fn wide_blocks_are_laid_out_too() {
    let entries = (0..3u64).map(|n| (vec![b'a' + n as u8; 70], n, Some(vec![n as u8; 70_000])));
    let bytes = table(5, 1 << 20, Compression::None, entries);
    let (mut end, mut wide) = (0, 0);
    layout(&Memory::of(bytes.clone()), &mut |region| {
        assert_eq!(region.offset, end, "{region:?}");
        end += region.size;
        wide += u32::from(region.name.contains(" end of entry") && region.size == 4);
        Ok::<(), Error>(())
    })
    .expect("a layout");
    assert_eq!((end, wide), (bytes.len() as u64, 6));
    let seen = read(&bytes).expect("a reading");
    assert_eq!((seen.damaged, seen.entries.len()), (0, 3));
}

/// The bytes of a part and its regions fit together, and what is not there is not found.
#[test]
fn a_part_comes_with_its_bytes() {
    let bytes = small(Compression::Lz4);
    let file = Memory::of(bytes.clone());
    for name in ["0", "3", "filter", "properties", "index", "footer"] {
        let part = part(&file, name.parse().expect("a name")).expect("a reading").expect("a part");
        let start = part.handle.offset as usize;
        assert_eq!(part.bytes, bytes[start..start + part.handle.size as usize]);
        let sum: u64 = part.regions.iter().map(|region| region.size).sum();
        assert_eq!(sum, part.bytes.len() as u64);
    }
    assert!(part(&file, "99".parse().expect("a name")).expect("a reading").is_none());
    assert!("data".parse::<beachdb::inspect::table::PartName>().is_err());
}
