//! Small histories whose every legal outcome is known, and one long one that checks the rule
//! behind them all: what was synced is never lost, whatever the plan.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::vfs::read_all;

const SEEDS: std::ops::Range<u64> = 0..200;

fn sim() -> SimVfs {
    let sim = SimVfs::new();
    sim.create_dir_all(Path::new("/db")).expect("a directory");
    sim.sync_dir(Path::new("/")).expect("a sync");
    sim
}

/// A file with durable content and name.
fn file_with(sim: &SimVfs, name: &str, bytes: &[u8]) -> Arc<dyn File> {
    let path = Path::new("/db").join(name);
    sim.install(&path, bytes).expect("an installed file");
    sim.open(&path, Access::ReadWrite).expect("the installed file")
}

/// The distinct contents of `/db/f` over many seeds; none where the file is absent.
fn outcomes(sim: &SimVfs, data: DataPlan) -> BTreeSet<Option<Vec<u8>>> {
    let plan = |seed| CrashPlan { data, dir: DirPlan::KeepAll, seed };
    SEEDS.map(|seed| sim.crash(&plan(seed)).read_file("/db/f").ok()).collect()
}

fn set<const N: usize>(contents: [&[u8]; N]) -> BTreeSet<Option<Vec<u8>>> {
    contents.into_iter().map(|bytes| Some(bytes.to_vec())).collect()
}

/// The distinct listings of `/db` over many seeds.
fn listings(sim: &SimVfs, dir: DirPlan) -> BTreeSet<String> {
    let plan = |seed| CrashPlan { data: DataPlan::KeepAll, dir, seed };
    let list = |seed| sim.crash(&plan(seed)).list(Path::new("/db")).expect("/db is durable");
    SEEDS.map(|seed| list(seed).join(" ")).collect()
}

fn listing_set<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.into_iter().map(str::to_owned).collect()
}

/// The engine's own order of work: content synced, name not, then both.
#[test]
fn content_and_name_become_durable_apart() -> Result<()> {
    let sim = sim();
    let path = Path::new("/db/f");
    let file = sim.create(path)?;
    file.write_at(b"content", 0)?;
    file.sync()?;
    assert!(!sim.crash(&CrashPlan::LOSE_ALL).exists(path)?, "the name was not synced");
    sim.sync_dir(Path::new("/db"))?;
    assert_eq!(sim.crash(&CrashPlan::LOSE_ALL).read_file(path)?, b"content");

    let empty = sim.create(Path::new("/db/g"))?;
    empty.write_at(b"content", 0)?;
    sim.sync_dir(Path::new("/db"))?;
    assert_eq!(sim.crash(&CrashPlan::LOSE_ALL).read_file("/db/g")?, b"", "the content was not");
    Ok(())
}

/// Three appends to a durable file, each plan over two hundred seeds: exactly the listed contents
/// come about, no other and none of them never.
#[test]
fn each_data_plan_leaves_what_it_says() -> Result<()> {
    let sim = sim();
    let file = file_with(&sim, "f", b"D");
    for (index, bytes) in [b"aa", b"bb", b"cc"].into_iter().enumerate() {
        file.write_at(bytes, 1 + 2 * index as u64)?;
    }
    assert_eq!(outcomes(&sim, DataPlan::LoseAll), set([b"D"]));
    assert_eq!(outcomes(&sim, DataPlan::KeepAll), set([b"Daabbcc"]));
    assert_eq!(outcomes(&sim, DataPlan::Prefix), set([b"D", b"Daa", b"Daabb", b"Daabbcc"]));
    assert_eq!(
        outcomes(&sim, DataPlan::DropOne),
        set([b"D\0\0bbcc", b"Daa\0\0cc", b"Daabb"]),
        "what was dropped before a survivor reads as zeros"
    );
    assert_eq!(
        outcomes(&sim, DataPlan::TearLast),
        set([b"D", b"Da", b"Daa", b"Daab", b"Daabb", b"Daabbc", b"Daabbcc"])
    );
    assert_eq!(outcomes(&sim, DataPlan::TearSector), set([b"D", b"Daa", b"Daabb"]));
    assert_eq!(outcomes(&sim, DataPlan::ZeroTail), set([b"Daabb\0\0"]));
    assert_eq!(outcomes(&sim, DataPlan::LastOnly), set([b"D\0\0\0\0cc"]));
    Ok(())
}

/// The garbage is in the last write and nowhere else, and begins where the write or a sector does.
#[test]
fn garbage_stays_within_the_last_write() -> Result<()> {
    let sim = sim();
    let file = file_with(&sim, "f", b"D");
    file.write_at(b"aa", 1)?;
    file.write_at(&[b'c'; 1200], 3)?;
    let garbage = outcomes(&sim, DataPlan::GarbageTail);
    assert!(garbage.len() > 100, "only {} kinds of garbage", garbage.len());
    let mut starts = BTreeSet::new();
    for bytes in garbage.into_iter().flatten() {
        assert!(bytes.starts_with(b"Daa") && bytes.len() == 1203);
        // A run of garbage may by chance begin with a byte as it was; eight are out of the question.
        let intact = bytes[3..].iter().take_while(|byte| **byte == b'c').count();
        starts.insert(if intact < 8 { 3 } else { (3 + intact) / 512 * 512 });
        assert!(intact < 8 || (3 + intact) % 512 < 8, "garbage begins at {}", 3 + intact);
    }
    assert_eq!(starts, BTreeSet::from([3, 512, 1024]));
    Ok(())
}

/// A write over several sectors is cut only where sectors meet, counted from the file's beginning
/// and not from the write's.
#[test]
fn a_sector_tear_cuts_between_sectors() -> Result<()> {
    let sim = sim();
    let file = file_with(&sim, "f", &[b'D'; 500]);
    file.write_at(&[b'x'; 1200], 500)?;
    let sizes: BTreeSet<usize> =
        outcomes(&sim, DataPlan::TearSector).iter().flatten().map(Vec::len).collect();
    assert_eq!(sizes, BTreeSet::from([500, 512, 1024, 1536]));
    Ok(())
}

/// Two writes over three sectors of a durable file: each sector is one of its versions, whole;
/// all combinations of the first two come about, and 4 KiB pages never differ within the page.
#[test]
fn subsets_choose_a_version_for_each_sector() -> Result<()> {
    let sim = sim();
    let file = file_with(&sim, "f", &[b'0'; 1536]);
    file.write_at(&[b'1'; 1536], 0)?;
    file.write_at(&[b'2'; 1024], 512)?;
    let mut combinations = BTreeSet::new();
    for bytes in outcomes(&sim, DataPlan::Subset512).into_iter().flatten() {
        assert_eq!(bytes.len(), 1536);
        for sector in bytes.chunks(512) {
            assert!(sector.iter().all(|byte| *byte == sector[0]), "a sector is torn");
        }
        combinations.insert((bytes[0], bytes[512], bytes[1024]));
    }
    assert_eq!(combinations.len(), 2 * 3 * 3);

    let mut second = vec![b'1'; 1536];
    second[512..].fill(b'2');
    assert_eq!(outcomes(&sim, DataPlan::Subset4096), set([&[b'0'; 1536], &[b'1'; 1536], &second]));
    Ok(())
}

/// An append of two sectors of which the second is lost: the file ends behind the first, or has
/// its whole size and zeros.
#[test]
fn a_subset_may_keep_the_size_without_the_bytes() -> Result<()> {
    let sim = sim();
    let file = file_with(&sim, "f", b"");
    file.write_at(&[b'x'; 1024], 0)?;
    let (x, zeros) = ([b'x'; 512], [0; 512]);
    let all = [x, x].concat();
    let (first, second) = ([x, zeros].concat(), [zeros, x].concat());
    let none = [zeros, zeros].concat();
    assert_eq!(outcomes(&sim, DataPlan::Subset512), set([b"", &x, &all, &first, &second, &none]));
    Ok(())
}

/// An allocation is pending like a write, and zeros wherever it survives.
#[test]
fn an_extension_is_lost_or_kept_like_a_write() -> Result<()> {
    let sim = sim();
    let file = file_with(&sim, "f", b"D");
    file.allocate(4, Fill::Reserve)?;
    file.allocate(2, Fill::Zeros)?;
    assert_eq!(file.size()?, 4, "never smaller");
    assert_eq!(outcomes(&sim, DataPlan::Prefix), set([b"D", b"D\0\0\0"]));
    file.write_at(b"x", 2)?;
    assert_eq!(outcomes(&sim, DataPlan::LoseAll), set([b"D"]));
    assert_eq!(outcomes(&sim, DataPlan::LastOnly), set([b"D\0x"]));
    file.sync()?;
    assert_eq!(outcomes(&sim, DataPlan::LoseAll), set([b"D\0x\0"]));
    Ok(())
}

/// Writes to two files in turn: a prefix never has a later write without an earlier one, though
/// they are of different files.
#[test]
fn a_prefix_is_in_order_over_all_files() -> Result<()> {
    let sim = sim();
    let files = [file_with(&sim, "f", b""), file_with(&sim, "g", b"")];
    for index in 0..6 {
        files[index % 2].write_at(b"x", index as u64 / 2)?;
    }
    let mut seen = BTreeSet::new();
    for seed in SEEDS {
        let plan = CrashPlan { data: DataPlan::Prefix, dir: DirPlan::LoseAll, seed };
        let image = sim.crash(&plan);
        let sizes = ["/db/f", "/db/g"].map(|path| image.read_file(path).map_or(0, |b| b.len()));
        assert!(sizes[0] == sizes[1] || sizes[0] == sizes[1] + 1, "{sizes:?}");
        seen.insert(sizes);
    }
    assert_eq!(seen.len(), 7);
    Ok(())
}

/// A create, a rename over an existing file and a remove, each plan over two hundred seeds:
/// exactly the listed directories come about.
#[test]
fn each_directory_plan_leaves_what_it_says() -> Result<()> {
    let sim = sim();
    for name in ["old", "target"] {
        file_with(&sim, name, name.as_bytes());
    }
    sim.create(Path::new("/db/new"))?.write_at(b"new", 0)?;
    sim.rename(Path::new("/db/new"), Path::new("/db/target"))?;
    sim.remove(Path::new("/db/old"))?;

    assert_eq!(sim.list(Path::new("/db"))?, ["target"]);
    assert_eq!(listings(&sim, DirPlan::LoseAll), listing_set(["old target"]));
    assert_eq!(listings(&sim, DirPlan::KeepAll), listing_set(["target"]));
    assert_eq!(
        listings(&sim, DirPlan::Prefix),
        listing_set(["old target", "new old target", "target"])
    );
    assert_eq!(
        listings(&sim, DirPlan::Subset),
        listing_set(["old target", "target", "new old target", "new target"])
    );
    assert_eq!(listings(&sim, DirPlan::UndoRemoves), listing_set(["old target"]));
    assert_eq!(listings(&sim, DirPlan::RenameBoth), listing_set(["new target"]));

    let target = |dir| {
        sim.crash(&CrashPlan { data: DataPlan::KeepAll, dir, seed: 0 }).read_file("/db/target")
    };
    assert_eq!(target(DirPlan::LoseAll)?, b"target", "the old name still has the old file");
    assert_eq!(target(DirPlan::KeepAll)?, b"new");
    Ok(())
}

/// Every subset of names: the renamed file is whole under its new name or absent there, never
/// a mixture of old name gone and new name missing.
#[test]
fn a_rename_happens_or_does_not() -> Result<()> {
    let sim = sim();
    file_with(&sim, "f", b"f");
    sim.rename(Path::new("/db/f"), Path::new("/db/g"))?;
    assert_eq!(listings(&sim, DirPlan::Subset), listing_set(["f", "g"]));
    sim.create_dir_all(Path::new("/other"))?;
    sim.sync_dir(Path::new("/"))?;
    sim.sync_dir(Path::new("/db"))?;
    sim.rename(Path::new("/db/g"), Path::new("/other/g"))?;
    for seed in SEEDS {
        let plan = CrashPlan { data: DataPlan::LoseAll, dir: DirPlan::Subset, seed };
        let files: Vec<PathBuf> = sim.crash(&plan).dump().into_keys().collect();
        assert_eq!(files.len(), 1, "{files:?}");
    }
    Ok(())
}

/// A second name is durable only with its directory, under every plan like one that was created; it
/// shows what is written through the first, and keeps the content when the first is gone.
#[test]
fn a_link_is_a_name_of_its_own_and_the_content_is_one() -> Result<()> {
    let sim = sim();
    let file = file_with(&sim, "f", b"old");
    let (f, g) = (Path::new("/db/f"), Path::new("/db/g"));
    sim.link(f, g)?;
    assert_eq!(listings(&sim, DirPlan::LoseAll), listing_set(["f"]));
    assert_eq!(listings(&sim, DirPlan::Subset), listing_set(["f", "f g"]));
    assert_eq!(listings(&sim, DirPlan::UndoRemoves), listing_set(["f g"]));
    let error = sim.link(f, g).expect_err("it exists");
    assert_eq!(error.io_kind(), Some(io::ErrorKind::AlreadyExists));
    sim.link(Path::new("/db/none"), Path::new("/db/h")).expect_err("there is no such file");

    sim.sync_dir(Path::new("/db"))?;
    file.write_at(b"new", 0)?;
    assert_eq!(sim.read_file(g)?, b"new");
    assert_eq!(sim.crash(&CrashPlan::LOSE_ALL).read_file(g)?, b"old");
    sim.remove(f)?;
    sim.sync_dir(Path::new("/db"))?;
    file.sync()?;
    assert_eq!(sim.crash(&CrashPlan::LOSE_ALL).dump().into_values().collect::<Vec<_>>(), [b"new"]);
    Ok(())
}

/// The store's own directory is a name like any other: without a sync of its parent it is gone
/// with all that is in it, synced or not.
#[test]
fn an_unsynced_directory_is_lost_with_its_files() -> Result<()> {
    let sim = SimVfs::new();
    assert!(sim.create_dir_all(Path::new("/a/db"))?);
    assert!(!sim.create_dir_all(Path::new("a/db/"))?);
    let file = sim.create(Path::new("/a/db/f"))?;
    file.write_at(b"x", 0)?;
    file.sync()?;
    sim.sync_dir(Path::new("/a/db"))?;
    sim.sync_dir(Path::new("/a"))?;
    let lost = sim.crash(&CrashPlan::LOSE_ALL);
    assert!(!lost.exists(Path::new("/a"))? && lost.dump().is_empty());
    assert!(lost.create(Path::new("/a/db/f")).expect_err("no directory").is_not_found());
    sim.sync_dir(Path::new("/"))?;
    assert_eq!(sim.crash(&CrashPlan::LOSE_ALL).read_file("/a/db/f")?, b"x");
    Ok(())
}

/// After a kill all is there, and a power loss after the kill takes the same as one before it.
#[test]
fn a_kill_keeps_what_a_power_loss_still_takes() -> Result<()> {
    let sim = sim();
    let file = file_with(&sim, "f", b"durable");
    file.write_at(b"written", 0)?;
    sim.create(Path::new("/db/g"))?;
    let killed = sim.kill();
    assert_eq!(killed.read_file("/db/f")?, b"written");
    assert_eq!(killed.image_hash(), sim.image_hash());
    assert_eq!(killed.pending_count(), sim.pending_count());
    let lost = killed.crash(&CrashPlan::LOSE_ALL);
    assert_eq!(lost.read_file("/db/f")?, b"durable");
    assert!(!lost.exists(Path::new("/db/g"))?);
    assert_eq!(killed.crash(&CrashPlan::KEEP_ALL).pending_count(), 0);
    Ok(())
}

/// A crashed disk and its original go their own ways.
#[test]
fn an_image_and_its_original_are_independent() -> Result<()> {
    let sim = sim();
    let file = file_with(&sim, "f", b"one");
    let image = sim.crash(&CrashPlan::KEEP_ALL);
    file.write_at(b"two", 0)?;
    image.open(Path::new("/db/f"), Access::ReadWrite)?.write_at(b"six", 0)?;
    assert_eq!(sim.read_file("/db/f")?, b"two");
    assert_eq!(image.read_file("/db/f")?, b"six");
    Ok(())
}

/// The second lock is refused with the first's pid and changes nothing; a kill frees the lock,
/// as does dropping it.
#[test]
fn a_lock_excludes_and_dies_with_its_holder() -> Result<()> {
    let sim = sim();
    let path = Path::new("/db/LOCK");
    let held = sim.lock(path, b"4711 long\n")?;
    let before = sim.op_count();
    match sim.lock(path, b"1\n") {
        Err(Error::Locked { pid, .. }) => assert_eq!(pid, Some(4711)),
        other => panic!("{other:?}"),
    }
    assert_eq!((sim.op_count(), sim.read_file(path)?), (before, b"4711 long\n".to_vec()));
    drop(sim.kill().lock(path, b"2\n")?);
    assert!(sim.lock(path, b"1\n").is_err(), "the kill made another disk");
    drop(held);
    let _held = sim.lock(path, b"1\n")?;
    assert_eq!(sim.read_file(path)?, b"1\n");
    assert!(sim.lock(Path::new("/absent/LOCK"), b"").expect_err("absent").is_not_found());
    Ok(())
}

/// A removed file is there for who has it open, and gone when nobody has.
#[test]
fn a_removed_file_lives_as_long_as_its_handles() -> Result<()> {
    let sim = sim();
    let file = file_with(&sim, "f", b"bytes");
    sim.remove(Path::new("/db/f"))?;
    sim.sync_dir(Path::new("/db"))?;
    assert_eq!(read_all(&*file, 9)?, b"bytes");
    drop(file);
    sim.sync_dir(Path::new("/db"))?;
    assert_eq!(sim.shared.state.lock().disk.files.len(), 0);
    Ok(())
}

/// A file replaced by a rename is led to by its durable name alone, one created and removed by
/// unsynced operations alone. Either may come back, so the bytes outlast the sync of another
/// directory.
#[test]
fn a_file_is_kept_as_long_as_a_power_loss_may_show_it() -> Result<()> {
    let sim = sim();
    drop(file_with(&sim, "f", b"old"));
    sim.create(Path::new("/db/new"))?.write_at(b"new", 0)?;
    sim.rename(Path::new("/db/new"), Path::new("/db/f"))?;
    sim.create(Path::new("/db/brief"))?.write_at(b"brief", 0)?;
    sim.remove(Path::new("/db/brief"))?;
    sim.sync_dir(Path::new("/"))?;
    for sim in [&sim, &sim.kill()] {
        assert_eq!(sim.crash(&CrashPlan::LOSE_ALL).read_file("/db/f")?, b"old");
        let undone = CrashPlan { dir: DirPlan::UndoRemoves, ..CrashPlan::KEEP_ALL };
        assert_eq!(sim.crash(&undone).read_file("/db/brief")?, b"brief");
    }
    Ok(())
}

/// What the real file system refuses is refused here, with the same kind of error, and does not
/// count as an operation.
#[test]
fn refusals_are_those_of_a_real_disk() -> Result<()> {
    let sim = sim();
    file_with(&sim, "f", b"x");
    let before = sim.op_count();
    let kind = |result: Result<()>| result.expect_err("refused").io_kind();
    let (f, absent, db) = (Path::new("/db/f"), Path::new("/db/absent"), Path::new("/db"));
    assert_eq!(kind(sim.create(f).map(drop)), Some(io::ErrorKind::AlreadyExists));
    assert_eq!(kind(sim.open(absent, Access::Read).map(drop)), Some(io::ErrorKind::NotFound));
    assert_eq!(kind(sim.rename(absent, f)), Some(io::ErrorKind::NotFound));
    assert_eq!(kind(sim.remove(absent)), Some(io::ErrorKind::NotFound));
    assert_eq!(kind(sim.remove(db)), Some(io::ErrorKind::IsADirectory));
    assert_eq!(kind(sim.rename(f, db)), Some(io::ErrorKind::IsADirectory));
    assert_eq!(kind(sim.sync_dir(absent)), Some(io::ErrorKind::NotFound));
    assert_eq!(kind(sim.list(f).map(drop)), Some(io::ErrorKind::NotADirectory));
    assert_eq!(kind(sim.create_dir_all(f).map(drop)), Some(io::ErrorKind::NotADirectory));
    assert!(sim.open(f, Access::Read)?.write_at(b"y", 0).is_err());
    assert_eq!((sim.op_count(), sim.read_file(f)?), (before, b"x".to_vec()));
    Ok(())
}

/// The observer is called at every operation with its number, before a sync too; it crashes the
/// disk at each, and even changes it, without waiting for itself.
#[test]
fn an_observer_sees_every_moment() -> Result<()> {
    let sim = sim();
    let start = sim.op_count();
    let seen: Arc<Mutex<Vec<(u64, usize)>>> = Arc::default();
    let log = Arc::clone(&seen);
    sim.set_observer(Box::new(move |op, sim| {
        let lost = sim.crash(&CrashPlan::LOSE_ALL);
        assert_eq!(sim.kill().image_hash(), sim.image_hash());
        log.lock().push((op - start, lost.read_file("/db/f").map_or(0, |bytes| bytes.len())));
        if op - start == 5 {
            let path = Path::new("/db/by the observer");
            assert!(sim.create(path).is_ok() && sim.remove(path).is_ok());
        }
    }));
    let path = Path::new("/db/f");
    let file = sim.create(path)?;
    file.write_at(b"abc", 0)?;
    sim.sync_dir(Path::new("/db"))?;
    file.sync()?;
    sim.rename(path, Path::new("/db/g"))?;
    let _lock = sim.lock(Path::new("/db/LOCK"), b"1\n")?;
    assert_eq!(
        *seen.lock(),
        [(1, 0), (2, 0), (2, 0), (3, 0), (3, 0), (4, 3), (5, 3), (8, 3)],
        "syncs are the third and the fourth"
    );
    assert_eq!((sim.op_count() - start, sim.sync_count()), (8, 3));
    sim.clear_observer();
    sim.remove(Path::new("/db/g"))?;
    assert_eq!(seen.lock().len(), 8);
    Ok(())
}

/// After a failed sync the bytes can be read and are never durable, even when a later sync
/// succeeds; what is written afterwards is.
#[test]
fn writes_lost_by_a_failed_sync_stay_lost() -> Result<()> {
    let sim = sim();
    let file = file_with(&sim, "f", b"..");
    file.write_at(b"ab", 1)?;
    sim.lose_pending("/db/f")?;
    file.write_at(b"c", 4)?;
    file.sync()?;
    assert_eq!(sim.read_file("/db/f")?, b".ab\0c");
    assert_eq!(sim.kill().read_file("/db/f")?, b".ab\0c");
    for plan in CrashPlan::all(1) {
        assert_eq!(sim.crash(&plan).read_file("/db/f")?, b"..\0\0c", "{plan:?}");
    }
    Ok(())
}

/// Damage done to a file is seen by who has it open and is durable.
#[test]
fn damage_is_durable_and_seen_by_open_handles() -> Result<()> {
    let sim = sim();
    let file = file_with(&sim, "f", b"bytes");
    sim.corrupt("/db/f", |bytes| bytes[0] ^= 1)?;
    assert_eq!(read_all(&*file, 9)?, b"cytes");
    assert_eq!(sim.crash(&CrashPlan::LOSE_ALL).read_file("/db/f")?, b"cytes");
    assert!(sim.corrupt("/db/absent", |_| {}).expect_err("absent").is_not_found());
    sim.install("/new/dir/f", b"x")?;
    assert_eq!(sim.pending_count(), 0);
    let dump = sim.crash(&CrashPlan::LOSE_ALL).dump();
    assert_eq!(dump.get(Path::new("/new/dir/f")), Some(&b"x".to_vec()));
    assert_eq!(dump.len(), 2);
    Ok(())
}

/// Equal trees hash alike however they came about; another byte, name or directory does not.
#[test]
fn equal_images_have_equal_hashes() -> Result<()> {
    let (one, two) = (sim(), sim());
    for (name, bytes) in [("f", b"a"), ("g", b"b")] {
        one.install(Path::new("/db").join(name), bytes)?;
    }
    let file = two.create(Path::new("/db/h"))?;
    file.write_at(b"x", 0)?;
    file.write_at(b"a", 0)?;
    two.create(Path::new("/db/g"))?.write_at(b"b", 0)?;
    two.rename(Path::new("/db/h"), Path::new("/db/f"))?;
    assert_eq!(one.image_hash(), two.image_hash());
    two.rename(Path::new("/db/g"), Path::new("/db/i"))?;
    assert_ne!(one.image_hash(), two.image_hash(), "another name");
    two.rename(Path::new("/db/i"), Path::new("/db/g"))?;
    file.write_at(b"\0", 1)?;
    assert_ne!(one.image_hash(), two.image_hash(), "another size");
    one.create_dir_all(Path::new("/db/sub"))?;
    assert_ne!(one.image_hash(), sim().image_hash());
    Ok(())
}

/// Three thousand random operations on four files. A log of what each sync promised is kept
/// beside it, and every so often all sixty-six plans are tried: synced bytes that were not
/// written since are there, a file whose name was synced and not touched since is there, and the
/// same plan gives the same image twice.
#[test]
fn what_was_synced_survives_every_plan() -> Result<()> {
    let sim = sim();
    let names = ["a", "b", "c", "d"];
    let path = |index: usize| Path::new("/db").join(names[index]);
    // By file: the promised content, none when its name is not promised; the offset from which
    // on bytes may have changed since the sync.
    let mut promised: [Option<Vec<u8>>; 4] = Default::default();
    let tried = AtomicU64::new(0);
    let mut random = random_below(42);
    for round in 0..3000_u64 {
        let index = random(4);
        let (path, live) = (path(index), sim.read_file(path(index)).ok());
        match (random(10), live) {
            (0..=5, Some(live)) => {
                let file = sim.open(&path, Access::ReadWrite)?;
                // Behind what was promised, as the engine writes.
                let from = promised[index].as_ref().map_or(0, Vec::len);
                let offset = from + random(live.len() - from + 600);
                file.write_at(&vec![round as u8; 1 + random(1500)], offset as u64)?;
            }
            (6, Some(live)) if live.len() < 20_000 => {
                sim.open(&path, Access::ReadWrite)?.sync()?;
                sim.sync_dir(Path::new("/db"))?;
                for (index, promise) in promised.iter_mut().enumerate() {
                    let there = sim.exists(&Path::new("/db").join(names[index]))?;
                    // The directory's sync promises names; content not yet promised is empty.
                    *promise = there.then(|| promise.take().unwrap_or_default());
                }
                promised[index] = Some(live);
            }
            (7, Some(live)) if live.len() > 10_000 => {
                sim.remove(&path)?;
                promised[index] = None;
            }
            (8, None) => drop(sim.create(&path)?),
            _ => continue,
        }
        if round % 10 == 0 {
            for plan in CrashPlan::all(round) {
                let image = sim.crash(&plan);
                assert_eq!(image.image_hash(), sim.crash(&plan).image_hash(), "{plan:?}");
                for (name, promise) in names.iter().zip(&promised) {
                    let Some(promise) = promise else { continue };
                    let found = image.read_file(Path::new("/db").join(name))?;
                    assert!(found.starts_with(promise), "{plan:?} took synced bytes of {name}");
                    tried.fetch_add(u64::from(!promise.is_empty()), Ordering::Relaxed);
                }
            }
        }
    }
    assert!(tried.into_inner() > 10_000, "hardly anything was promised");
    Ok(())
}

/// Numbers below a bound, from a seed.
fn random_below(seed: u64) -> impl FnMut(usize) -> usize {
    let mut count = 0;
    move |bound| {
        count += 1;
        (content::mix(seed, count) % bound as u64) as usize
    }
}
