//! Ends that an ordinary crash explains: dropped and reported, never refused; and nothing of them is
//! touched before it no longer matters.

use super::*;

/// A store killed with three buffered records behind the last sync, and where each begins; last,
/// where the third ends.
fn buffered_store(seed: u64) -> (SimVfs, PathBuf, Vec<usize>) {
    let vfs = SimVfs::new();
    let db = options(&vfs, seed).open(DIR).expect("a store");
    db.put("synced", "1").expect("put");
    let log = vfs.dump().into_keys().find(|path| is_log(path)).expect("a log");
    let end = || {
        let bytes = vfs.read_file(&log).expect("a log");
        bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1)
    };
    let mut begins = Vec::new();
    for n in 0..3 {
        begins.push(end());
        let mut batch = WriteBatch::new();
        batch.put(format!("buffered{n}"), vec![b'a' + n; 100]).put(format!("with{n}"), "x");
        db.write(batch, Durability::Buffered).expect("a batch");
    }
    begins.push(end());
    (vfs.kill(), log, begins)
}

/// The number of buffered batches that are there; whole, and the first ones.
fn batches_left(db: &Db) -> usize {
    let content = content_of(db);
    let count = (0..3).take_while(|n| content.contains_key(&b"buffered"[..].with(*n))).count();
    assert_eq!(content.len(), 1 + 2 * count, "{content:?}");
    count
}

trait With {
    fn with(&self, n: usize) -> Vec<u8>;
}

impl With for [u8] {
    fn with(&self, n: usize) -> Vec<u8> {
        [self, n.to_string().as_bytes()].concat()
    }
}

/// The unsynced end of the log is lost from each byte on, as zeros and as noise: what is before it is
/// there, what is behind it is reported with its place, opening for reading says the same and changes
/// nothing; and the bytes stay in the file until a flush has put what is before them in a table.
#[test]
fn a_torn_tail_is_dropped_and_reported() {
    let (killed, log, begins) = buffered_store(51);
    let mut by_count = [0; 3];
    for cut in (begins[0]..begins[3]).step_by(3) {
        for fill in [0x00, 0x77] {
            let image = killed.crash(&CrashPlan::KEEP_ALL);
            image.corrupt(&log, |bytes| bytes[cut..begins[3]].fill(fill)).expect("a log");
            let before = image.read_file(&log).expect("a log");
            let expected = begins.iter().filter(|&&begin| begin <= cut).count() - 1;
            let hash = image.image_hash();
            let reader = options(&image, 7).open_read_only(DIR).expect("a reader");
            assert_eq!(image.image_hash(), hash);
            let db = options(&image, 7).open(DIR).expect("open");
            assert_eq!(batches_left(&db), expected, "cut at {cut:#x}");
            assert_eq!(batches_left(&reader), expected);
            by_count[expected] += 1;
            assert!(!db.recovery().clean);
            for recovery in [db.recovery(), reader.recovery()] {
                match recovery.dropped.as_slice() {
                    [] => assert!(fill == 0 && begins.contains(&cut), "{cut:#x} was not reported"),
                    [tail] => {
                        assert_eq!(tail.path, log);
                        assert!(
                            tail.offset as usize <= cut
                                && tail.bytes > 0
                                && !tail.reason.is_empty()
                        );
                    }
                    more => panic!("{more:?}"),
                }
            }
            assert_eq!(image.read_file(&log).expect("still there"), before);
            db.put("later", "1").expect("put");
            assert_eq!(image.read_file(&log).expect("still there"), before);
            db.flush().expect("flush");
            assert!(image.read_file(&log).is_err(), "the flushed log is gone");
            db.close().expect("close");
            assert!(options(&image, 8).open(DIR).expect("open").recovery().clean);
        }
    }
    assert!(by_count.iter().all(|&count| count > 20), "{by_count:?}");
}

/// Of three unsynced records the first or the second never reached the disk, and those behind it
/// did: the log ends at the hole.
#[test]
fn what_lies_behind_a_hole_is_not_replayed() {
    let (killed, log, begins) = buffered_store(52);
    for hole in 0..2 {
        let image = killed.crash(&CrashPlan::KEEP_ALL);
        let (from, to) = (begins[hole], begins[hole + 1]);
        image.corrupt(&log, |bytes| bytes[from..to].fill(0)).expect("a log");
        let db = options(&image, 7).open(DIR).expect("open");
        assert_eq!(batches_left(&db), hole);
        let dropped = &db.recovery().dropped;
        assert!(dropped[0].reason.contains("out of order"), "{dropped:?}");
        assert_eq!((dropped.len(), dropped[0].offset as usize), (1, from));
        let again = options(&image.kill(), 8).open(DIR).expect("open");
        assert_eq!(batches_left(&again), hole, "and stays so");
    }
}

/// Half an edit at the end of the manifest, which no log has heard of: dropped and reported, and
/// nothing is appended behind it, a new manifest is begun.
#[test]
fn a_torn_edit_is_dropped_and_reported() {
    let (store, content) = killed_store(53);
    let manifest = store_files(&store)
        .into_keys()
        .find(|path| path.to_string_lossy().contains("MANIFEST"))
        .expect("a manifest");
    let torn = [0xbe, 0xac, 5, 0, 100, 0, 0, 0].iter().chain(&[7; 60]).copied();
    let torn: Vec<u8> = torn.collect();
    store.corrupt(&manifest, |bytes| bytes.extend(torn)).expect("a manifest");
    let before = store.read_file(&manifest).expect("a manifest");
    let db = options(&store, 7).open(DIR).expect("open");
    assert_eq!(content_of(&db), content);
    let dropped = &db.recovery().dropped;
    assert!(dropped.len() == 1 && dropped[0].path == manifest, "{dropped:?}");
    assert_eq!(store.read_file(&manifest).expect("history"), before);
    drop(db);
    let db = options(&store, 8).open(DIR).expect("open");
    assert!(db.recovery().clean && db.recovery().dropped.is_empty());
}
