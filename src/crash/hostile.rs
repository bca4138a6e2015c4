//! Hostile stores: directories that somebody made to break whoever opens them. What the fuzz targets
//! and the tests of hostile files call, with the [decoders](crate::inspect::hostile) in the same list.
//!
//! Invariants:
//! - A target takes any bytes and returns; work is bounded by their number and by the small stores in
//!   `fixtures/v1` that some begin from.
//! - Inspection and a reader leave every file as it was, and so does an opening that is refused.

mod plan;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::inspect::check::{CheckOptions, check};
use crate::inspect::coverage::coverage;
use crate::inspect::diff;
use crate::inspect::du::du;
use crate::inspect::find::{Sought, find};
use crate::inspect::frames::Expect;
use crate::inspect::hostile::{self, Target};
use crate::inspect::manifest::history::History;
use crate::inspect::table::{self, doctor};
use crate::inspect::versions::Range;
use crate::inspect::view::View;
use crate::inspect::wal::read_log;
use crate::inspect::{FileType, identify, repair, salvage, store};
use crate::runtime::inline::InlineRuntime;
use crate::vfs::sim::SimVfs;
use crate::vfs::{Access, Vfs};
use crate::{Db, Error, Options, Result};

/// Where the store lies.
const DIR: &str = "/hostile";

/// Where a repair is built.
const OUT: &str = "/repaired";

/// Every target: one for each decoder, for each kind of file and for whole stores.
#[must_use]
pub fn targets() -> Vec<Target> {
    let stores: [Target; 2] = [("store", store), ("archive", archive)];
    hostile::DECODERS.iter().copied().chain(stores).collect()
}

/// Calls the target of this name with the bytes.
///
/// # Panics
/// When there is none, and when the target found a bug.
pub fn run(name: &str, bytes: &[u8]) {
    let target = targets().into_iter().find(|(own, _)| *own == name);
    target.unwrap_or_else(|| panic!("no target is called {name}")).1(bytes);
}

/// A sound store that the bytes say how to damage.
fn store(bytes: &[u8]) {
    everything(&plan::damaged(bytes));
}

/// A store that consists of what the bytes say.
fn archive(bytes: &[u8]) {
    everything(&plan::unpacked(bytes));
}

fn everything(files: &BTreeMap<String, Vec<u8>>) {
    let vfs = SimVfs::new();
    for (name, bytes) in files {
        let installed = vfs.install(Path::new(DIR).join(name), bytes);
        installed.unwrap_or_else(|error| panic!("cannot install {name}: {error}"));
    }
    let before = contents(&vfs);
    let _ = inspect(&vfs);
    for name in files.keys() {
        let _ = inspect_file(&vfs, &Path::new(DIR).join(name));
    }
    assert!(contents(&vfs) == before, "inspection changed a file");
    if let Ok(db) = options(&vfs).open_read_only(DIR) {
        let _ = read(&db);
    }
    assert!(contents(&vfs) == before, "a reader changed a file");
    let _ = repaired(&vfs);
    assert!(contents(&vfs) == before, "a repair changed a file of the store");
    match options(&vfs).open(DIR) {
        Ok(db) => {
            let _ = read(&db);
            let _ = write(&db);
            let _ = db.close();
        }
        Err(_) => assert!(contents(&vfs) == before, "a refused opening changed a file"),
    }
}

/// The files of the store without the lock, whose content is for people.
fn contents(vfs: &SimVfs) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = vfs.dump();
    files.retain(|path, _| path.starts_with(DIR) && !path.ends_with("LOCK"));
    files
}

fn options(vfs: &SimVfs) -> Options {
    let runtime = InlineRuntime::new(1);
    let options = Options::new().memtable_size(1 << 20).cache_size(1 << 20);
    options.vfs(Arc::new(vfs.clone())).runtime(Arc::new(runtime))
}

/// The reports over a whole store. Each goes as far as it can.
fn inspect(vfs: &SimVfs) -> Result<()> {
    let dir = Path::new(DIR);
    let _ = store::live(vfs, dir);
    let _ = check(vfs, dir, &CheckOptions::default(), &mut |found| {
        let _ = (found.to_string(), found.next_step());
        Ok::<(), Error>(())
    });
    let _ = coverage(vfs, dir, &mut |_, _| Ok::<(), Error>(()));
    if let Ok(history) = History::of_store(vfs, dir) {
        let _ = history.read(&mut |_| Ok::<(), Error>(()));
    }
    let side = || diff::side(vfs, dir, &Range::default());
    if let (Ok(a), Ok(b)) = (side(), side()) {
        let totals = diff::diff(a, b, &mut |_| Ok::<(), Error>(()));
        assert!(totals.map_or(true, |totals| totals.is_equal()), "a store differs from itself");
    }
    let view = View::take(vfs, dir)?;
    let _ = du(vfs, &view, Some(1), &mut |_| Ok::<(), Error>(()));
    let _ = find(vfs, &view, Sought::Key(b"key005"), &mut |_| Ok::<(), Error>(()));
    let _ = find(vfs, &view, Sought::Prefix(b""), &mut |_| Ok::<(), Error>(()));
    Ok(())
}

/// The reports over one of its files; the others are left to the targets of single files.
fn inspect_file(vfs: &SimVfs, path: &Path) -> Result<()> {
    let file = vfs.open(path, Access::Read)?;
    match identify(&*file)? {
        FileType::Log => {
            let expect = Expect::default();
            let read = read_log(&*file, &expect, &mut |_| Ok::<(), Error>(()))?;
            let salvaged = salvage::salvage(&*file, &expect, None, &mut |_| Ok::<(), Error>(()))?;
            assert_eq!(salvaged.found, read, "a salvage reads what the dump reads");
        }
        FileType::Table => {
            let _ = doctor::doctor(&*file, &[]);
            table::read_table(&*file, true, &mut |_| Ok::<(), Error>(()))?;
        }
        FileType::Manifest | FileType::Current | FileType::Unknown => {}
    }
    Ok(())
}

fn read(db: &Db) -> Result<()> {
    for pair in db.iter().rev() {
        pair?;
    }
    for pair in db.iter() {
        let (key, _) = pair?;
        db.get(&key)?;
    }
    let _ = db.approximate_size::<&[u8], _>(..);
    let _ = (db.stats(), db.recovery());
    Ok(())
}

fn write(db: &Db) -> Result<()> {
    db.put("hostile", "guest")?;
    db.sync()?;
    db.flush()?;
    db.compact::<&[u8], _>(..)
}

/// Plans a repair; one that is planned is built, and what is built can be opened and read.
fn repaired(vfs: &SimVfs) -> Result<()> {
    let plan = repair::plan(vfs, Path::new(DIR), &mut |_| {})?;
    plan.apply(vfs, Path::new(OUT), &InlineRuntime::new(2))?;
    if let Err(error) = options(vfs).create(false).open_read_only(OUT) {
        panic!("what a repair built cannot be opened: {error}");
    }
    Ok(())
}
