//! What a writer does between two steps of a look at its store, and files that do not belong together.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use beachdb::inspect::store;
use beachdb::inspect::view::View;
use beachdb::inspect::wal::read_log;
use beachdb::inspect::{Code, Finding};
use beachdb::runtime::inline::InlineRuntime;
use beachdb::vfs::Vfs;
use beachdb::vfs::sim::{CrashPlan, SimVfs};
use beachdb::{Db, Error};

use crate::corners::hook::HookVfs;
use crate::history::{DIR, tiny};

fn open(sim: &SimVfs) -> Db {
    tiny(sim.clone(), &InlineRuntime::new(1)).open(DIR).expect("a store")
}

fn manifests(sim: &SimVfs) -> Vec<PathBuf> {
    let is_manifest = |path: &PathBuf| path.to_string_lossy().contains("MANIFEST-");
    sim.dump().into_keys().filter(is_manifest).collect()
}

/// Writes until the manifest was succeeded.
fn succeed(sim: &SimVfs, db: &Db) {
    let before = manifests(sim).len();
    while manifests(sim).len() == before {
        db.put("key", "value").expect("put");
        db.flush().expect("flush");
    }
}

/// Just before the manifest that CURRENT named is opened, the writer begins another and the old one
/// goes. The look finds nothing wrong: what a second look does not see was no damage.
#[test]
fn a_manifest_that_is_just_succeeded_is_not_called_missing() {
    let sim = SimVfs::new();
    let db = Arc::new(open(&sim));
    let (disk, writer, met) = (sim.clone(), Arc::clone(&db), Arc::new(AtomicBool::new(false)));
    let seen = Arc::clone(&met);
    let vfs = HookVfs::new(sim.clone(), move |call, path, _| {
        let is_manifest = path.to_string_lossy().contains("MANIFEST-");
        if call == "open" && is_manifest && !seen.swap(true, Ordering::SeqCst) {
            succeed(&disk, &writer);
            disk.remove(path)?;
        }
        Ok(())
    });
    let live = store::live(&vfs, Path::new(DIR)).expect("a look");
    assert!(met.load(Ordering::SeqCst), "the writer was at it");
    assert_eq!(live.findings, []);
    assert!(live.state.is_some());
}

/// CURRENT is an older copy of itself, and the manifest that it names is still there, as history. It
/// is CURRENT that is at fault, and not the manifest, which is what it was.
#[test]
fn an_older_current_is_named_itself() {
    let sim = SimVfs::new();
    let db = open(&sim);
    db.put("key", "value").expect("put");
    let current = Path::new(DIR).join("CURRENT");
    let older = sim.read_file(&current).expect("CURRENT");
    succeed(&sim, &db);
    db.close().expect("close");
    let image = sim.crash(&CrashPlan::KEEP_ALL);
    image.install(&current, &older).expect("installed");
    let found = store::live(&image, Path::new(DIR)).expect("a look").findings;
    let told: Vec<_> = found.iter().map(|found| (found.code, found.path.as_path())).collect();
    assert_eq!(told, [(Code::ManifestOlder, current.as_path())]);
}

/// A look says which number a log begins with; before the log is read, an ingest takes that number,
/// and a write follows it in the log. The log is read as whole.
#[test]
fn an_ingest_between_the_look_and_the_reading_is_no_gap() {
    let sim = SimVfs::new();
    let db = open(&sim);
    let ingest = |key: &str| {
        let mut writer = db.ingest_writer().expect("a writer");
        writer.put(key, "taken in").expect("put");
        writer.commit().expect("commit");
    };
    ingest("a");
    let view = View::take(&sim, Path::new(DIR)).expect("a view");
    ingest("b");
    db.put("c", "behind").expect("put");
    let log = view.logs.last().expect("a log");
    let mut damage: Vec<Finding> = Vec::new();
    let totals = read_log(&*log.opened.file, &log.expect, &mut |item| {
        damage.extend(item.finding().filter(|found| found.is_damage()).cloned());
        Ok::<(), Error>(())
    });
    assert_eq!(damage, []);
    let totals = totals.expect("read");
    assert_eq!((totals.batches, totals.ops_missing), (1, 0));
}
