//! Files that are gone, shorter than they were, exchanged, older than the store, or another's.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use beachdb::inspect::{Code, Finding};
use beachdb::vfs::Vfs;
use beachdb::vfs::sim::{CrashPlan, SimVfs};

use super::{busy_store, damage, files, findings, is_log, is_manifest, is_table};

/// The files that damage is told of.
fn named(found: &[Finding]) -> BTreeSet<&Path> {
    found.iter().map(|finding| finding.path.as_path()).collect()
}

/// Changes a copy of the store and holds what is found against the files that are at fault.
fn assert_named(
    vfs: &SimVfs,
    what: &str,
    culprits: &[&PathBuf],
    change: impl FnOnce(&SimVfs),
) -> Vec<Finding> {
    let image = vfs.crash(&CrashPlan::KEEP_ALL);
    change(&image);
    let found = damage(&image);
    let due: BTreeSet<&Path> = culprits.iter().map(|path| path.as_path()).collect();
    assert_eq!(named(&found), due, "{what}: {found:?}");
    found
}

/// Each file in turn: taken away, emptied, halved, cut by one byte, longer by one. The file is
/// named, and no other; what is missing has a code of its own.
#[test]
fn a_file_that_is_gone_or_shorter_is_named() {
    let vfs = busy_store(2, |_| ());
    for (path, bytes) in files(&vfs) {
        let what = path.display().to_string();
        let gone = assert_named(&vfs, &what, &[&path], |image| {
            image.remove(&path).expect("removed");
        });
        let code = match &path {
            path if is_log(path) => Code::LogMissing,
            path if is_table(path) => Code::TableMissing,
            path if is_manifest(path) => Code::ManifestMissing,
            _ => Code::CurrentMissing,
        };
        assert!(gone.len() == 1 && gone[0].code == code, "{gone:?}");
        for size in [0, 1, bytes.len() / 2, bytes.len() - 1] {
            let what = format!("{what} cut to {size}");
            assert_named(&vfs, &what, &[&path], |image| {
                image.corrupt(&path, |bytes| bytes.truncate(size)).expect("cut");
            });
        }
        if is_table(&path) || path.ends_with("CURRENT") {
            assert_named(&vfs, &format!("{what} longer"), &[&path], |image| {
                image.corrupt(&path, |bytes| bytes.push(0)).expect("longer");
            });
        }
    }
}

/// Two tables change places: both are named, as not those of the manifest.
#[test]
fn two_tables_that_changed_places_are_both_named() {
    let vfs = busy_store(3, |_| ());
    let tables: Vec<_> = files(&vfs).into_iter().filter(|(path, _)| is_table(path)).collect();
    assert!(tables.len() >= 4, "{}", tables.len());
    for (index, (one, here)) in tables.iter().enumerate() {
        for (other, there) in &tables[index + 1..] {
            let found = assert_named(&vfs, "exchanged", &[one, other], |image| {
                image.install(one, there).expect("installed");
                image.install(other, here).expect("installed");
            });
            let foreign = found.iter().filter(|found| found.code == Code::TableForeign).count();
            assert_eq!(foreign, 2, "{found:?}");
        }
    }
}

/// Each file replaced by the one of that name in a store with the same history and another
/// identity.
#[test]
fn a_file_of_another_store_is_named() {
    let (vfs, other) = (busy_store(4, |_| ()), busy_store(5, |_| ()));
    let theirs = files(&other);
    let mut exchanged = 0;
    for (path, bytes) in files(&vfs) {
        let foreign = theirs.get(&path).expect("the same names");
        if *foreign == bytes {
            assert!(path.ends_with("CURRENT"));
            continue;
        }
        exchanged += 1;
        let what = format!("{} of another store", path.display());
        let found = assert_named(&vfs, &what, &[&path], |image| {
            image.install(&path, foreign).expect("installed");
        });
        let code = match &path {
            path if is_log(path) => Code::LogStranger,
            path if is_table(path) => Code::TableForeign,
            _ => Code::ManifestStranger,
        };
        assert!(found.iter().any(|found| found.code == code), "{found:?}");
    }
    assert!(exchanged >= 6, "{exchanged}");
}

/// Each file replaced by each older copy of itself. CURRENT and the manifest are always found out,
/// for the logs know of newer ones; of a log only what was promised elsewhere is known, and an
/// older copy may be the whole log of its moment.
#[test]
fn an_older_copy_is_named() {
    let mut older = Vec::new();
    let vfs = busy_store(6, |vfs| older.push(files(vfs)));
    let now = files(&vfs);
    let (mut told, mut logs) = (0, 0);
    for (path, old) in older.iter().flatten() {
        let Some(new) = now.get(path).filter(|new| *new != old) else { continue };
        let image = vfs.crash(&CrashPlan::KEEP_ALL);
        let mut old = old.clone();
        if is_log(path) {
            old.resize(new.len(), 0);
        }
        image.install(path, &old).expect("installed");
        let (found, _) = findings(&image).expect("a store");
        let found: Vec<Finding> = found.into_iter().filter(Finding::is_damage).collect();
        if is_log(path) && found.is_empty() {
            logs += 1;
            continue;
        }
        assert_eq!(named(&found), BTreeSet::from([path.as_path()]), "{found:?}");
        told += 1;
    }
    println!("{told} older copies told, {logs} logs were those of an earlier moment");
    assert!(told >= 4, "{told}");
}
