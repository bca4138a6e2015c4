//! What the doctor says about damage of each kind, and what it mends.

use std::path::Path;

use beachdb::inspect::table::doctor::{Cause, Diagnosis, changes, doctor, write_fixed};
use beachdb::inspect::{Code, Compression};
use beachdb::vfs::sim::SimVfs;
use beachdb::vfs::{Access, Vfs};

use super::made::{Memory, Part, read, small, table};

/// A table of blocks of 4 KiB and more, whose bytes nowhere repeat.
fn large(id: u64, first: u64) -> Vec<u8> {
    let mut state = id | 1;
    let entries = (first..first + 300).map(|n| {
        let value = std::iter::repeat_with(|| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        });
        (format!("key{n:06}").into_bytes(), n, Some(value.take(100).collect()))
    });
    table(id, 4096, Compression::None, entries.collect::<Vec<_>>())
}

fn parts(bytes: &[u8]) -> Vec<Part> {
    read(bytes).expect("a reading").parts
}

fn part(bytes: &[u8], name: &str) -> Part {
    parts(bytes).into_iter().find(|part| part.name == name).expect("the part")
}

/// The table after the cures.
fn mended(bytes: &[u8], diagnoses: &[Diagnosis]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (offset, cure) in changes(diagnoses) {
        let end = offset as usize + cure.len();
        if cure.is_empty() {
            bytes.truncate(end);
        } else {
            bytes.resize(bytes.len().max(end), 0);
            bytes[offset as usize..end].copy_from_slice(&cure);
        }
    }
    bytes
}

fn examined(bytes: &[u8]) -> Vec<Diagnosis> {
    doctor(&Memory::of(bytes.to_vec()), &[]).expect("a diagnosis")
}

/// Filter, index and footer are overwritten, whole or by half; what is made from the rest is what was
/// there. All data is shown meanwhile.
#[test]
fn parts_that_others_tell_are_made_again() {
    for bytes in [small(Compression::Lz4), large(9, 0)] {
        let entries = read(&bytes).expect("a reading").entries;
        for name in ["filter", "index", "footer"] {
            let Part { offset, end, .. } = part(&bytes, name);
            let (start, end) = (offset as usize, end as usize);
            for (from, upto, fill) in
                [(start, end, 0), (start, end, 0xff), (start + 3, end - 20, 0), (start, end - 5, 7)]
            {
                let mut damaged = bytes.clone();
                damaged[from..upto].fill(fill);
                let diagnoses = examined(&damaged);
                assert_eq!(diagnoses.len(), 1, "{name} {from}..{upto}: {diagnoses:?}");
                let seen = read(&damaged).expect("a reading");
                assert!(seen.entries == entries, "{name} {from}..{upto}");
                assert!(mended(&damaged, &diagnoses) == bytes, "{name} {from}..{upto} {fill}");
            }
        }
    }
}

/// A table is cut at every byte: it is never called sound; all blocks before the cut are shown; cut
/// behind its properties it is made whole again.
#[test]
fn a_cut_table_is_told_and_shown_as_far_as_it_goes() {
    for bytes in [small(Compression::None), small(Compression::Lz4)] {
        let sound = read(&bytes).expect("a reading");
        let properties = part(&bytes, "properties").end;
        let first = part(&bytes, "data block 0").end;
        for size in first..bytes.len() as u64 {
            let cut = &bytes[..size as usize];
            let seen = read(cut).expect("a reading");
            assert_eq!(seen.findings[0].code, Code::TableCut, "{size}: {:?}", seen.findings);
            let whole = sound.parts.iter().filter(|part| part.end <= size);
            let whole = whole.filter(|part| part.name.starts_with("data")).map(|part| part.offset);
            let whole: Vec<u64> = whole.collect();
            let kept = sound.entries.iter().filter(|entry| whole.contains(&entry.0));
            assert!(kept.eq(seen.entries.iter()), "{size}: entries are missing or changed");
            let diagnoses = examined(cut);
            assert!(diagnoses.iter().any(|d| d.finding.code == Code::TableCut));
            if size >= properties {
                assert!(mended(cut, &diagnoses) == bytes, "{size}: {diagnoses:?}");
            } else {
                assert!(changes(&diagnoses).is_empty(), "{size}: {diagnoses:?}");
            }
        }
    }
}

/// Without an index, and with a block damaged beyond mending: the blocks behind it are found again,
/// and nothing is made up.
#[test]
fn blocks_behind_a_damaged_one_are_found_without_an_index() {
    for bytes in [small(Compression::Lz4), small(Compression::None), large(9, 0)] {
        let sound = read(&bytes).expect("a reading");
        let index = part(&bytes, "index");
        for name in ["data block 0", "data block 3"] {
            let lost = part(&bytes, name);
            let mut damaged = bytes.clone();
            damaged[index.offset as usize..index.end as usize - 3].fill(0xff);
            damaged[lost.offset as usize + 10] ^= 0x5a;
            damaged[lost.offset as usize + 20] ^= 0x5a;
            let seen = read(&damaged).expect("a reading");
            let kept = sound.entries.iter().filter(|entry| entry.0 != lost.offset);
            assert!(kept.eq(seen.entries.iter()), "{name}: {:?}", seen.findings);
            let found: Vec<_> =
                seen.findings.iter().map(|found| (found.code, found.offset)).collect();
            let expected =
                [(Code::IndexDamaged, Some(index.offset)), (Code::BlockDamaged, Some(lost.offset))];
            assert_eq!(found, expected, "{name}");
            assert!(changes(&examined(&damaged)).is_empty(), "{name}");
        }
    }
}

/// A filter whose header is lost and that was made with another number of probes than is usual: what
/// could be made does not have the stored checksum, so it is no cure.
#[test]
fn a_cure_that_nothing_proves_is_none() {
    let bytes = large(9, 0);
    let filter = part(&bytes, "filter");
    let (start, end) = (filter.offset as usize, filter.end as usize);
    let mut damaged = bytes.clone();
    // Another key's bits, sealed: the checksum is that of a filter that these keys do not make.
    damaged[start + 8] ^= 0x81;
    let crc = crc32(&damaged[start..end - 4]) ^ 9 ^ filter.offset as u32;
    damaged[end - 4..end].copy_from_slice(&crc.to_le_bytes());
    damaged[start..start + 80].fill(0);
    let diagnoses = examined(&damaged);
    assert_eq!((diagnoses.len(), diagnoses[0].finding.code), (1, Code::FilterDamaged));
    assert_eq!(diagnoses[0].cure, None);
}

/// Bytes behind the footer are told, nothing else is blamed, and the cure takes them away.
#[test]
fn bytes_behind_the_footer_are_cut_off() {
    let bytes = small(Compression::None);
    for appended in [&[0; 1][..], &[0; 4096], b"BEACHSST", &bytes[..100]] {
        let long = [&bytes, appended].concat();
        let seen = read(&long).expect("a reading");
        let [finding] = &seen.findings[..] else { panic!("{:?}", seen.findings) };
        assert_eq!((finding.code, finding.offset), (Code::TableCut, Some(bytes.len() as u64)));
        assert_eq!(seen.entries, read(&bytes).expect("a reading").entries);
        assert_eq!(mended(&long, &examined(&long)), bytes);
    }
}

/// Bytes were lost in the middle: the footer says how many, and what lies before is shown.
#[test]
fn bytes_missing_in_the_middle_are_counted() {
    let bytes = large(9, 0);
    let lost = part(&bytes, "data block 3");
    let mut damaged = bytes.clone();
    damaged.drain(lost.offset as usize + 10..lost.offset as usize + 110);
    let seen = read(&damaged).expect("a reading");
    assert_eq!(seen.findings[0].code, Code::TableCut);
    assert!(
        seen.findings[0].why.contains("100 bytes before it are missing"),
        "{:?}",
        seen.findings
    );
    let before = seen.entries.iter().filter(|entry| entry.0 < lost.offset).count();
    let whole = read(&bytes).expect("a reading").entries;
    assert_eq!(before, whole.iter().filter(|entry| entry.0 < lost.offset).count());
    assert!(changes(&examined(&damaged)).is_empty());
}

/// A sector and a page of zeros or ones: named to the byte, not mended, and no other block is lost.
#[test]
fn overwritten_sectors_are_named() {
    let bytes = large(9, 0);
    let hit = part(&bytes, "data block 2");
    let sector = hit.offset.next_multiple_of(512);
    for fill in [0, 0xff] {
        let mut damaged = bytes.clone();
        damaged[sector as usize..sector as usize + 512].fill(fill);
        let diagnoses = examined(&damaged);
        assert_eq!(diagnoses.len(), 1);
        let Cause::Overwritten(offset, size, byte, 512) = diagnoses[0].causes[0] else {
            panic!("{diagnoses:?}");
        };
        // A byte beside the sector may be the same by chance, and then the next sector is not.
        assert_eq!((offset, size, byte), (sector, 512, fill));
        assert_eq!((diagnoses[0].finding.offset, &diagnoses[0].cure), (Some(hit.offset), &None));
    }
    let mut damaged = bytes.clone();
    damaged[8192..12_288].fill(0);
    let diagnoses = examined(&damaged);
    assert_eq!(diagnoses.len(), 2, "a page lies over two blocks: {diagnoses:?}");
    for diagnosis in diagnoses {
        assert!(
            matches!(diagnosis.causes[..], [Cause::Overwritten(_, _, 0, 4096)]),
            "{diagnosis:?}"
        );
    }
}

/// A block over another of the same size, sectors of the same file, sectors of another table, and a
/// whole block of a table that is not at hand.
#[test]
fn bytes_from_elsewhere_are_traced() {
    let (bytes, other) = (large(9, 0), large(10, 600));
    let (a, b) = (part(&bytes, "data block 1"), part(&bytes, "data block 4"));
    let (from, to) = (b.offset as usize, a.offset as usize);
    let size = (b.end - b.offset) as usize;
    assert_eq!(size as u64, a.end - a.offset, "blocks of one size");
    let mut damaged = bytes.clone();
    damaged.copy_within(from..from + size, to);
    let causes = &examined(&damaged)[0].causes;
    assert_eq!(*causes, [Cause::Elsewhere(a.offset, size as u64, None, b.offset)]);

    let mut damaged = bytes.clone();
    damaged.copy_within(16_384..17_408, 5_120);
    let causes = &examined(&damaged)[0].causes;
    assert_eq!(*causes, [Cause::Elsewhere(5_120, 1024, None, 16_384)]);

    let mut damaged = bytes.clone();
    damaged[5_120..6_144].copy_from_slice(&other[20_480..21_504]);
    let stranger = Memory::named("other.sst", other.clone());
    let diagnoses = doctor(&Memory::of(damaged), &[&stranger]).expect("a diagnosis");
    let file = Some(Path::new("other.sst").to_owned());
    assert_eq!(diagnoses[0].causes, [Cause::Elsewhere(5_120, 1024, file, 20_480)]);

    let mut damaged = bytes.clone();
    damaged[to..to + size].copy_from_slice(&other[to..to + size]);
    assert_eq!(examined(&damaged)[0].causes, [Cause::Foreign]);

    let mut damaged = bytes;
    damaged[to + 2000] ^= 0x55;
    assert_eq!(examined(&damaged)[0].causes, [Cause::Unknown]);
}

/// A filter that lacks a key, sealed with a right checksum, was written so: no cure is made up.
#[test]
fn what_was_written_wrong_is_not_mended() {
    let bytes = large(9, 0);
    let filter = part(&bytes, "filter");
    let mut damaged = bytes.clone();
    let (start, end) = (filter.offset as usize, filter.end as usize);
    damaged[start + 8..end - 12].fill(0);
    let crc = crc32(&damaged[start..end - 4]) ^ 9 ^ filter.offset as u32;
    damaged[end - 4..end].copy_from_slice(&crc.to_le_bytes());
    let diagnoses = examined(&damaged);
    assert!(!diagnoses.is_empty());
    for diagnosis in diagnoses {
        assert_eq!(diagnosis.finding.code, Code::FilterHides);
        assert_eq!((diagnosis.causes, diagnosis.cure), (vec![Cause::Written], None));
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
        }
    }
    !crc
}

/// The copy is complete and durable or not there; the table is untouched, and nothing is overwritten.
#[test]
fn a_mended_copy_is_written_beside_the_table() {
    let bytes = small(Compression::None);
    let vfs = SimVfs::new();
    let (table, copy) = (Path::new("/t.sst"), Path::new("/copy.sst"));
    let mut damaged = bytes.clone();
    damaged[100] ^= 4;
    let file = vfs.create(table).expect("a file");
    file.write_at(&damaged, 0).expect("bytes");
    file.sync().expect("synced");
    vfs.sync_dir(Path::new("/")).expect("synced");
    let cures = changes(&doctor(&*file, &[]).expect("a diagnosis"));
    assert_eq!(write_fixed(&vfs, &*file, &cures, copy).expect("a copy"), 0);
    let content = |vfs: &SimVfs, path: &Path| {
        let file = vfs.open(path, Access::Read).expect("a file");
        let mut bytes = vec![0; file.size().expect("a size") as usize];
        file.read_at(&mut bytes, 0).expect("bytes");
        bytes
    };
    assert_eq!(content(&vfs, copy), bytes);
    assert_eq!(content(&vfs, table), damaged);
    let crashed = vfs.crash(&beachdb::vfs::sim::CrashPlan::LOSE_ALL);
    assert_eq!(content(&crashed, copy), bytes, "it survives a crash");
    assert_eq!(vfs.list(Path::new("/")).expect("names"), ["copy.sst", "t.sst"]);
    assert!(write_fixed(&vfs, &*file, &cures, copy).is_err(), "it exists");
}
