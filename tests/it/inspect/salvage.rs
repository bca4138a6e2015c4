//! `beach-walDump salvage`.

use super::stores::{BEACH, Beach, Ran, WAL};

/// The one log of a store.
fn log(beach: &Beach) -> String {
    beach.names(".wal").remove(0)
}

/// Salvages the store's log into `good.wal`, which is then removed.
fn salvaged(beach: &Beach) -> (Ran, Ran) {
    let bad = format!("sand/{}", log(beach));
    let ran = beach.run(WAL, &["salvage", &bad, "-o", "good.wal", "--json"]);
    ran.is_valid("salvage");
    let dump = beach.run(WAL, &["--ops", "--json", "good.wal"]);
    std::fs::remove_file(beach.home().join("good.wal")).expect("the new log");
    (ran, dump)
}

/// One byte of 3,000 records is overwritten, in the header of the file, and in each region of frames
/// all over it: every record but at most one is shown and saved, the place and the missing number
/// are named, and the new log reads as sound.
#[test]
fn one_bad_byte_costs_at_most_one_record() {
    let beach = Beach::log_of(3000);
    let log = log(&beach);
    let sound = beach.run(WAL, &["--json", &format!("sand/{log}")]);
    let frames: Vec<u64> = sound
        .of_kind("frame")
        .iter()
        .filter(|frame| frame["kind"] == "batch")
        .map(|frame| frame["offset"].as_u64().expect("an offset"))
        .collect();
    assert_eq!(frames.len(), 3000);
    let mut places: Vec<(u64, Option<usize>)> =
        [0, 5, 9, 12, 17, 30, 41, 50, 63].map(|at| (at, None)).to_vec();
    let regions = [0, 2, 3, 5, 9, 17, 22, 24, 30, 33, 37, 45, 55, 63];
    for (turn, index) in [0, 1, 7, 500, 1111, 1500, 2222, 2600, 2998, 2999].into_iter().enumerate()
    {
        for region in regions.iter().skip(turn % 3).step_by(3) {
            places.push((frames[index] + region, Some(index)));
        }
    }
    for (at, index) in places {
        let flip = |bytes: &mut Vec<u8>| bytes[at as usize] ^= 0xa5;
        beach.damage(&log, flip);
        let (ran, dump) = salvaged(&beach);
        let shown = beach.run(WAL, &["--json", "--ops", &format!("sand/{log}")]);
        beach.damage(&log, flip);

        let kept = if index.is_some() { 2999 } else { 3000 };
        assert_eq!(shown.code, 3, "{at:#x}");
        assert_eq!(shown.of_kind("op").len(), kept, "{at:#x}");
        assert_eq!((ran.code, dump.code), (6, 0), "{at:#x}: {}", dump.out);
        assert_eq!(dump.of_kind("op").len(), kept, "{at:#x}");
        assert_eq!(ran.of_kind("summary")[0]["ops_kept"], kept);
        let header = dump.of_kind("header").remove(0);
        let Some(index) = index else { continue };
        assert_eq!(header["id"], sound.of_kind("header")[0]["id"]);
        let hole = ran.of_kind("hole").remove(0);
        assert_eq!(hole["offset"], frames[index], "{hole}");
        let gap = dump.of_kind("frame").into_iter().find(|frame| frame["kind"] == "gap");
        let gap = gap.expect("a gap");
        assert_eq!((&gap["gap_offset"], &gap["gap_size"]), (&hole["offset"], &hole["size"]));
        for place in [&hole, &gap] {
            let (before, after) = (&place["seqno_before"], &place["seqno_after"]);
            assert!(index == 0 || *before == index, "{place}");
            assert!(index == 2999 || *after == index + 2, "{place}");
            assert!([0, 2999].contains(&index) || place["ops_missing"] == 1, "{place}");
        }
        assert_eq!(dump.of_kind("finding")[0]["code"], "BW012");
    }
}

/// Frames move when something of another size takes the place before them: every checksum of the new
/// log is right for its place, and whatever happens to it later is damage, not a torn tail.
#[test]
fn a_salvaged_log_protects_itself() {
    let beach = Beach::log_of(20);
    beach.damage(&log(&beach), |bytes| bytes[64 + 100..64 + 250].fill(0x33));
    let bad = format!("sand/{}", log(&beach));
    assert_eq!(beach.run(WAL, &["salvage", &bad, "-o", "good.wal"]).code, 6);
    let sound = beach.run(WAL, &["--json", "good.wal"]);
    assert_eq!((sound.code, sound.err.as_str()), (0, ""));
    let frames = sound.of_kind("frame");
    assert!(sound.of_kind("hole").is_empty() && sound.of_kind("unused").is_empty());
    let path = beach.home().join("good.wal");
    let bytes = std::fs::read(&path).expect("the new log");
    let last = frames.last().expect("frames")["offset"].as_u64().expect("an offset") as usize;
    for at in (64..last).step_by(7) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0xa5;
        std::fs::write(&path, damaged).expect("the new log");
        assert_eq!(beach.run(WAL, &["good.wal"]).code, 3, "{at:#x}");
    }
    // Salvaging what was salvaged loses nothing more.
    std::fs::write(&path, bytes).expect("the new log");
    let again = beach.run(WAL, &["salvage", "good.wal", "-o", "better.wal", "--json"]);
    assert_eq!(again.of_kind("summary")[0]["lost_bytes"], 0);
    let better = std::fs::read(beach.home().join("better.wal")).expect("the newest log");
    assert_eq!(std::fs::read(&path).expect("the new log"), better);
}

/// Nothing is wrong, or only what a crash leaves: status 0, and all that was there is there.
#[test]
fn a_torn_tail_is_dropped_and_no_loss() {
    let beach = Beach::log_of(30);
    let (ran, dump) = salvaged(&beach);
    assert_eq!((ran.code, dump.of_kind("op").len()), (0, 30));
    let name = log(&beach);
    let frames: Vec<_> =
        dump.of_kind("frame").into_iter().filter(|frame| frame["kind"] == "batch").collect();
    let offset = frames[29]["offset"].as_u64().expect("an offset") as usize;
    // Without the promises of a close, half of the last record is a torn tail.
    beach.damage(&name, |bytes| {
        bytes[offset + 20..].fill(0);
    });
    let (ran, dump) = salvaged(&beach);
    let summary = ran.of_kind("summary").remove(0);
    assert_eq!((ran.code, &summary["torn_bytes"]), (0, &20.into()), "{summary}");
    assert_eq!((dump.code, dump.of_kind("op").len()), (0, 29));
    assert!(dump.of_kind("finding").is_empty());
}

/// What is there is never replaced, a dry run makes nothing, and mistakes leave nothing behind.
#[test]
fn a_salvage_replaces_nothing() {
    let beach = Beach::log_of(5);
    let bad = format!("sand/{}", log(&beach));
    let bytes = std::fs::read(beach.home().join(&bad)).expect("the log");
    let names = || {
        let entries = std::fs::read_dir(beach.home()).expect("a directory");
        entries.map(|entry| entry.expect("a name").file_name()).collect::<Vec<_>>()
    };
    let dry = beach.run(WAL, &["salvage", &bad, "--dry-run"]);
    assert_eq!(dry.code, 0, "{}", dry.err);
    assert!(dry.out.contains("kept 5 batches with 5 operations"), "{}", dry.out);
    assert_eq!(beach.run(WAL, &["salvage", &bad, "--dry-run", "-o", "x.wal"]).code, 0);
    let same = beach.run(WAL, &["salvage", &bad, "-o", &bad]);
    assert_eq!(same.code, 2, "{}", same.err);
    assert!(same.err.contains("exists"), "{}", same.err);
    assert_eq!(beach.run(WAL, &["salvage", &bad]).code, 2);
    assert_eq!(beach.run(WAL, &["salvage", "sand/absent.wal", "-o", "x.wal"]).code, 5);
    assert_eq!(beach.run(WAL, &["salvage", "sand/CURRENT", "-o", "x.wal"]).code, 5);
    assert_eq!(beach.run(WAL, &["salvage", &bad, "-o", "absent/x.wal"]).code, 5);
    assert_eq!(names(), ["sand"]);
    assert_eq!(std::fs::read(beach.home().join(&bad)).expect("the log"), bytes);
}

/// The engine does not take a log with a gap for a whole one.
#[test]
fn a_store_does_not_open_with_a_gap() {
    let beach = Beach::log_of(40);
    let name = log(&beach);
    beach.damage(&name, |bytes| bytes[64 + 200] ^= 0xa5);
    let bad = format!("sand/{name}");
    assert_eq!(beach.run(WAL, &["salvage", &bad, "-o", "good.wal"]).code, 6);
    let size = std::fs::metadata(beach.path(&name)).expect("the log").len();
    let mut good = std::fs::read(beach.home().join("good.wal")).expect("the new log");
    // As large as the manifest says, so that it is read at all.
    good.resize(good.len().max(size as usize), 0);
    std::fs::write(beach.path(&name), good).expect("the log");
    for words in [&["--db", "sand", "scan"][..], &["--db", "sand", "put", "a", "b"]] {
        let ran = beach.run(BEACH, words);
        assert_eq!((ran.code, ran.out.as_str()), (3, ""), "{}", ran.err);
        assert!(ran.err.contains("gap"), "{}", ran.err);
    }
}
