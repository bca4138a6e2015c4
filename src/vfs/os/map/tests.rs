use std::os::unix::fs::{FileExt, MetadataExt};

use super::*;

/// An open file of `size` zeros in a directory that goes with the guard.
fn file(size: u64) -> (tempfile::TempDir, fs::File) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut options = fs::File::options();
    let file = options.read(true).write(true).create(true).truncate(true);
    let file = file.open(dir.path().join("f")).expect("a new file");
    if size > 0 {
        super::super::reserve(&file, 0, size).expect("space");
    }
    (dir, file)
}

/// Whether files in the temporary directory can be mapped at all; most tests here need it.
fn mappable() -> bool {
    let (_dir, file) = file(WINDOW_ALIGN);
    let window = Window::open(&file, 1, 0);
    if window.is_err() {
        eprintln!("skipped: this file system does not overwrite in place");
    }
    window.is_ok()
}

/// A mapping that takes the next small write for part of a stream.
fn streaming() -> Mapped {
    let mapped = Mapped::default();
    mapped.state.lock().writes = STREAM_WRITES;
    mapped
}

fn content(dir: &tempfile::TempDir) -> Vec<u8> {
    fs::read(dir.path().join("f")).expect("the file")
}

/// Pseudo-random sizes at ascending and at random offsets, over several windows: the file, read
/// through another descriptor after each write and as a whole in the end, is byte for byte what the
/// same writes make of a vector. Both ways of writing were taken, often.
#[test]
fn the_bytes_are_those_that_pwrite_would_leave() {
    const SIZE: usize = 3 * WINDOW_SIZE as usize + 12_345;
    if !mappable() {
        return;
    }
    let (dir, file) = file(SIZE as u64);
    let other = fs::File::open(dir.path().join("f")).expect("a reader");
    let mapped = streaming();
    let mut model = vec![0; SIZE];
    let (mut random, mut end, mut through) = (1u64, 0, [0; 2]);
    let mut next = |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) as usize % below
    };
    for round in 0..6000 {
        let size = if next(8) == 0 { next(2 * SMALL_MAX) } else { next(2000) };
        let offset = if next(4) == 0 { next(SIZE - size) } else { end };
        let offset = if offset + size > SIZE { 0 } else { offset };
        let bytes = vec![round as u8; size];
        let done = mapped.write(&file, &bytes, offset as u64);
        if !done {
            file.write_all_at(&bytes, offset as u64).expect("written");
        }
        through[usize::from(done)] += 1;
        end = offset + size;
        model[offset..end].copy_from_slice(&bytes);
        let mut seen = vec![0; size];
        other.read_exact_at(&mut seen, offset as u64).expect("read");
        assert!(seen == bytes, "round {round}: {size} bytes at {offset}");
    }
    assert!(through.iter().all(|count| *count > 300), "{through:?}");
    assert!(content(&dir) == model);
}

/// The first write of a window, the last that fits, one across the edge, one behind the end: the
/// window moves where it can, refuses where the file ends, and the file keeps its size.
#[test]
fn a_window_moves_over_its_edge_and_stops_at_the_end() {
    const SIZE: u64 = WINDOW_SIZE + 2 * WINDOW_ALIGN;
    if !mappable() {
        return;
    }
    let (dir, file) = file(SIZE);
    let mapped = streaming();
    for (offset, size, done) in [
        (0, 1, true),
        (WINDOW_SIZE - 8, 8, true),
        (WINDOW_SIZE - 4, 8, true),
        (SIZE - 8, 8, true),
        (SIZE - 4, 8, false),
        (SIZE, 8, false),
        (u64::MAX - 4, 8, false),
        (8, 8, true),
    ] {
        assert_eq!(mapped.write(&file, &vec![7; size], offset), done, "{size} at {offset}");
    }
    let content = content(&dir);
    assert_eq!(content.len() as u64, SIZE);
    assert_eq!(content.iter().filter(|byte| **byte == 7).count(), 1 + 8 + 4 + 8 + 8);
}

/// Where the file ended yesterday it goes on today: growth is seen at the next write that needs it.
#[test]
fn a_file_that_grew_is_mapped_farther() {
    if !mappable() {
        return;
    }
    let (_dir, file) = file(WINDOW_ALIGN);
    let mapped = streaming();
    assert!(mapped.write(&file, b"one", 0));
    assert!(!mapped.write(&file, b"two", WINDOW_ALIGN));
    super::super::reserve(&file, WINDOW_ALIGN, 2 * WINDOW_ALIGN).expect("space");
    assert!(mapped.write(&file, b"two", WINDOW_ALIGN));
}

/// A few writes a sync stay with `pwrite`, and end the mapping of an earlier stream; a long stream
/// between two syncs stays mapped.
#[test]
fn only_streams_are_mapped() {
    if !mappable() {
        return;
    }
    let (_dir, file) = file(WINDOW_SIZE);
    let mapped = Mapped::default();
    let is_mapped = || mapped.state.lock().window.is_some();
    let write = |count| {
        let write = |n| usize::from(mapped.write(&file, b"record", 6 * n));
        (0..count).map(write).sum::<usize>()
    };
    for _ in 0..3 {
        assert_eq!(write(u64::from(STREAM_WRITES)), 0);
        assert!(!is_mapped());
        mapped.before_sync();
    }
    assert_eq!(write(u64::from(STREAM_WRITES) + 10), 10);
    mapped.before_sync();
    assert!(is_mapped());
    assert_eq!(write(5), 0);
    mapped.before_sync();
    assert!(!is_mapped());
    assert!(!mapped.write(&file, &[0; SMALL_MAX + 1], 0), "too large to be worth it");
}

/// A sparse copy of a log has holes, which no copy may meet: the window's blocks are there
/// before anything is written.
#[test]
fn a_hole_gets_blocks_before_it_is_mapped() {
    if !mappable() {
        return;
    }
    let (_dir, file) = file(0);
    file.set_len(4 * WINDOW_SIZE).expect("a hole");
    assert!(file.metadata().expect("metadata").blocks() * 512 < WINDOW_SIZE);
    assert!(streaming().write(&file, b"x", WINDOW_SIZE));
    assert!(file.metadata().expect("metadata").blocks() * 512 >= WINDOW_SIZE);
    assert_eq!(file.metadata().expect("metadata").len(), 4 * WINDOW_SIZE);
}

/// A descriptor that may not write cannot be mapped for writing: refused once, and not tried again.
#[test]
fn what_cannot_be_mapped_is_left_to_pwrite() {
    let (dir, _file) = file(WINDOW_SIZE);
    let reader = fs::File::open(dir.path().join("f")).expect("a reader");
    let mapped = streaming();
    assert!(!mapped.write(&reader, b"x", 0));
    assert!(mapped.state.lock().refused);
    assert!(!mapped.write(&reader, b"x", 0));
}
