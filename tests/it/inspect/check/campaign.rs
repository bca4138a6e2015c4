//! Every byte of every live file flipped: the check names the file and the place, and the dump of
//! the file still shows everything else.

use std::path::Path;

use beachdb::Error;
use beachdb::inspect::frames::Expect;
use beachdb::inspect::manifest::{ManifestItem, read_manifest};
use beachdb::inspect::table::{TableItem, read_table};
use beachdb::inspect::wal::{LogItem, read_log};
use beachdb::vfs::sim::SimVfs;
use beachdb::vfs::{Access, Vfs};

use super::{busy_store, damage, files, is_log, is_manifest, is_table};

/// What a dump shows of a file: frames, edits or entries; and where each frame or block lies.
struct Shown {
    count: u64,
    /// (offset, size, how much is in it)
    places: Vec<(u64, u64, u64)>,
}

fn shown(vfs: &SimVfs, path: &Path) -> Shown {
    let file = vfs.open(path, Access::Read).expect("the file");
    let mut places = Vec::new();
    let ok = Ok::<(), Error>;
    let expect = Expect::default();
    let count = if is_log(path) {
        let visit = &mut |item: LogItem<'_>| {
            if let LogItem::Frame(frame) = item {
                places.push((frame.offset, frame.size, 1));
            }
            ok(())
        };
        read_log(&*file, &expect, visit).expect("a log").frames
    } else if is_manifest(path) {
        let visit = &mut |item: ManifestItem<'_>| {
            if let ManifestItem::Edit(edit) = item {
                places.push((edit.offset, edit.size, 1));
            }
            ok(())
        };
        read_manifest(&*file, &expect, visit).expect("a manifest").edits
    } else {
        let visit = &mut |item: TableItem<'_>| {
            if let TableItem::Block(block) = item {
                places.push((block.handle.offset, u64::from(block.handle.size), block.entries));
            }
            ok(())
        };
        read_table(&*file, false, visit).expect("a table").entries
    };
    Shown { count, places }
}

/// The bits to flip of a byte: all of headers, footers and frame headers, else one, which one
/// turning with the position.
fn bits(path: &Path, size: usize, sound: &Shown, offset: usize) -> Vec<u8> {
    let at = offset as u64;
    let is_head = match path {
        _ if is_table(path) => offset + 64 >= size,
        _ if is_log(path) || is_manifest(path) => {
            at < 64 || sound.places.iter().any(|(start, ..)| (*start..start + 24).contains(&at))
        }
        _ => true,
    };
    if is_head { (0..8).collect() } else { vec![(offset % 8) as u8] }
}

/// What a flip of this byte may take from the dump of its file.
fn at_most_lost(sound: &Shown, offset: usize) -> u64 {
    let at = offset as u64;
    let of = |(start, size, count): &(u64, u64, u64)| {
        (*start..start + size).contains(&at).then_some(*count)
    };
    let in_data = sound.places.iter().find_map(of);
    in_data.unwrap_or(0)
}

/// One flipped bit after the other: each is damage, told of this file and no other, at the frame,
/// block or header that it is in. Zeros behind the closed end of the log count too.
#[test]
fn every_flipped_bit_is_found_where_it_is() {
    let vfs = busy_store(1, |_| ());
    assert_eq!(damage(&vfs), []);
    let all = files(&vfs);
    let (mut flips, mut bytes) = (0, 0);
    for (path, content) in &all {
        let is_current = path.ends_with("CURRENT");
        let sound = match is_current {
            true => Shown { count: 0, places: Vec::new() },
            false => shown(&vfs, path),
        };
        for offset in 0..content.len() {
            bytes += 1;
            for bit in bits(path, content.len(), &sound, offset) {
                let flip = |vfs: &SimVfs| {
                    vfs.corrupt(path, |bytes| bytes[offset] ^= 1 << bit).expect("the file");
                };
                let what = || format!("{} bit {bit} at {offset:#x}", path.display());
                flip(&vfs);
                let found = damage(&vfs);
                assert!(!found.is_empty(), "{}: nothing found", what());
                for finding in &found {
                    assert_eq!(&finding.path, path, "{}: {finding}", what());
                }
                let covers = |start: Option<u64>, size: Option<u64>| {
                    let start = start.unwrap_or(0);
                    (start..start + size.unwrap_or(u64::MAX)).contains(&(offset as u64))
                };
                assert!(
                    found.iter().any(|finding| covers(finding.offset, finding.size)),
                    "{}: {found:?}",
                    what()
                );
                if !is_current {
                    let left = shown(&vfs, path).count;
                    let lost = at_most_lost(&sound, offset);
                    assert!(left + lost >= sound.count, "{}: {left} shown", what());
                }
                flip(&vfs);
                flips += 1;
            }
        }
    }
    assert_eq!(damage(&vfs), []);
    assert_eq!(files(&vfs), all);
    println!("{flips} flipped bits in {bytes} bytes of {} files, all found", all.len());
    assert!(bytes > 20_000 && all.len() >= 8, "{bytes} bytes of {} files", all.len());
}
