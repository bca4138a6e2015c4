//! `beach check --coverage`: every byte of every file is accounted for.

use std::fs;

use beachdb::runtime::inline::InlineRuntime;
use beachdb::vfs::sim::{CrashPlan, SimVfs};
use beachdb::{Durability, Error, WriteBatch};

use beachdb::inspect::coverage::{Bytes, coverage};

use super::stores::{BEACH, Beach};
use crate::history::{DIR, tiny};

/// All bytes of the store in `DIR`, and those of its files.
fn covered(vfs: &SimVfs) -> (Bytes, u64) {
    let mut files = 0;
    let sum = coverage(vfs, DIR.as_ref(), &mut |file, findings| {
        assert!(findings.is_empty(), "{findings:?}");
        let size = vfs.read_file(&file.path).expect("the file").len() as u64;
        assert_eq!(file.bytes.total(), size, "{}", file.path.display());
        files += size;
        Ok::<(), Error>(())
    })
    .expect("a store");
    (sum, files)
}

/// Every file of a busy store has as many bytes as are accounted for, in text and in JSON, and none
/// is unexplained; LOCK, CURRENT and other people's files are counted too.
#[test]
fn no_byte_of_a_busy_store_is_unexplained() {
    let beach = Beach::busy();
    fs::write(beach.path("notes.txt"), "not a file of the store's").expect("a file");
    fs::create_dir(beach.path("folder")).expect("a directory");
    let ran = beach.run(BEACH, &["--db", "sand", "check", "--coverage"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let ran = beach.run(BEACH, &["--db", "sand", "check", "--coverage", "--json"]);
    ran.is_valid("check");
    let mut sum = 0;
    for file in ran.of_kind("coverage") {
        let size = fs::metadata(beach.home().join(file["path"].as_str().expect("a path")))
            .expect("a file")
            .len();
        assert_eq!((&file["size"], &file["unexplained"]), (&size.into(), &0.into()), "{file}");
        sum += size;
    }
    let files = beach.names("").len() - 1;
    assert_eq!(ran.of_kind("coverage").len(), files, "all but the directory");
    let summary = &ran.of_kind("summary")[0];
    assert_eq!((&summary["size"], &summary["unexplained"]), (&sum.into(), &0.into()));
    assert_eq!(summary["other"], 25);
}

/// Bytes that are no frame and no crash explains are unexplained, and told with their place.
#[test]
fn damaged_bytes_are_unexplained() {
    let beach = Beach::log_of(30);
    let log = beach.names(".wal").remove(0);
    beach.damage(&log, |bytes| bytes[300..320].fill(0x55));
    let ran = beach.run(BEACH, &["--db", "sand", "check", "--coverage", "--json"]);
    assert_eq!(ran.code, 3, "{}", ran.err);
    let findings = ran.of_kind("finding");
    let unexplained: Vec<_> = findings.iter().filter(|found| found["code"] == "BS009").collect();
    assert_eq!(unexplained.len(), 1, "{findings:?}");
    let start = unexplained[0]["offset"].as_u64().expect("an offset");
    let size = unexplained[0]["size"].as_u64().expect("a size");
    assert!(start <= 300 && start + size >= 320, "{}", unexplained[0]);
    assert_eq!(ran.of_kind("summary")[0]["unexplained"], size);
}

/// A store with flushes, merges, an ingest and buffered writes, crashed at many moments in many
/// ways; then recovered, and a checkpoint of it: torn is what the crash tore, and nothing is left
/// unexplained.
#[test]
fn no_byte_is_unexplained_after_a_crash() {
    let vfs = SimVfs::new();
    let runtime = InlineRuntime::new(61);
    let db = tiny(vfs.clone(), &runtime).open(DIR).expect("a store");
    let (mut images, mut torn) = (0, 0);
    for n in 0..120u64 {
        let mut batch = WriteBatch::new();
        let value = format!("{n} {}", "x".repeat(n as usize % 50));
        batch.put(format!("key{:02}", n % 37), value).delete(format!("key{:02}", n % 5));
        let durability = if n % 3 == 0 { Durability::Sync } else { Durability::Buffered };
        db.write(batch, durability).expect("write");
        if n % 4 == 1 {
            runtime.run_until_idle();
        }
        if n == 60 {
            let mut ingest = db.ingest_writer().expect("begin");
            for key in ["key01", "key50", "z"] {
                ingest.put(key, "taken in").expect("put");
            }
            ingest.commit().expect("commit");
        }
        for plan in CrashPlan::all(n).step_by(11) {
            let image = vfs.crash(&plan);
            let (sum, files) = covered(&image);
            assert_eq!((sum.total(), sum.unexplained), (files, 0), "after {n}: {sum:?}");
            images += 1;
            torn += sum.torn;
        }
    }
    let image = vfs.crash(&CrashPlan::KEEP_ALL);
    let recovered = tiny(image.clone(), &InlineRuntime::new(62)).open(DIR).expect("open");
    let (sum, files) = covered(&image);
    assert_eq!((sum.total(), sum.unexplained), (files, 0), "{sum:?}");
    drop(recovered);
    println!("{images} images, {torn} torn bytes");
    assert!(torn > 0);
}
