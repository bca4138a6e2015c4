//! Files that are shorter than they were, gone, of another store, or older than the store.

use super::*;

/// Each file cut to each shorter length, 0 and half included. Logs, the manifest and CURRENT are
/// refused at once: the manifest knows the log's size, the log the manifest's, and CURRENT has a
/// checksum. A table's size is checked when it is first read.
#[test]
fn every_cut_is_found() {
    for store in [closed_store(11), killed_store(12), recovered_store(13)] {
        let mut tally = Tally::new();
        for (path, bytes) in store_files(&store.0) {
            for size in 0..bytes.len() {
                let what = format!("cut to {size:#x}");
                let found = damage(&store, &path, &what, |bytes| bytes.truncate(size));
                assert_eq!(found == Found::OnRead, is_table(&path), "{} {what}", path.display());
                note(&mut tally, &path, found);
            }
        }
        println!("{tally:?}");
        assert_eq!(count(&tally, Found::Nowhere, |_| true), 0);
        assert!(count(&tally, Found::AtOpen, |_| true) > 4096);
    }
}

/// Each file taken away, and each replaced by the file of that name in a store with the same
/// history but another identity. CURRENT names no store, so only that one may pass, and then
/// because it is the same to the byte.
#[test]
fn a_missing_or_foreign_file_is_found() {
    for (store, other) in [
        (closed_store(21), closed_store(22)),
        (killed_store(23), killed_store(24)),
        (recovered_store(25), recovered_store(26)),
    ] {
        let theirs = store_files(&other.0);
        let mut exchanged = 0;
        for (path, bytes) in store_files(&store.0) {
            let image = store.0.crash(&CrashPlan::KEEP_ALL);
            image.remove(&path).expect("removed");
            let what = format!("{} removed", path.display());
            assert_eq!(examine(&image, &[&path], &store.1, &what), Found::AtOpen, "{what}");

            let foreign = theirs.get(&path).expect("the same names");
            if *foreign == bytes {
                assert!(path.ends_with("CURRENT"));
                continue;
            }
            exchanged += 1;
            let image = store.0.crash(&CrashPlan::KEEP_ALL);
            image.install(&path, foreign).expect("installed");
            let what = format!("{} of another store", path.display());
            // A foreign manifest is believed, and then the logs are not the ones it names.
            let found = match is_log(&path) || is_table(&path) {
                true => examine(&image, &[&path], &store.1, &what),
                false => examine(&image, &[], &store.1, &what),
            };
            let expected = if is_table(&path) { Found::OnRead } else { Found::AtOpen };
            assert_eq!(found, expected, "{what}");
        }
        assert!(exchanged >= 4, "{exchanged} files were exchanged");
    }
}

/// A store in which the manifest promises more of the live log than an older copy of it holds: a
/// flush is finished in the background after two durable writes in the new log. The copy of the
/// log from before the second is refused.
#[test]
fn an_older_log_is_found_where_the_manifest_promises_beyond_it() {
    let vfs = SimVfs::new();
    let runtime = InlineRuntime::new(31);
    let db = tiny(vfs.clone(), &runtime).manifest_size(1 << 20).open(DIR).expect("a store");
    let mut n = 0;
    while db.stats().immutable_memtables == 0 {
        db.put(format!("key{n:02}"), "x".repeat(200)).expect("put");
        n += 1;
    }
    db.put("first", "1").expect("put");
    let log = vfs.dump().into_keys().rfind(|path| is_log(path)).expect("a log");
    let older = vfs.read_file(&log).expect("a log");
    db.put("second", "2").expect("put");
    runtime.run_until_idle();
    assert_eq!((db.stats().immutable_memtables, db.stats().flushes), (0, 1));
    let content = content_of(&db);
    let unclosed = vfs.kill();
    db.close().expect("close");
    for store in [(vfs.clone(), content.clone()), (unclosed, content)] {
        assert_eq!(examine(&store.0.kill(), &[], &store.1, "untouched"), Found::Nowhere);
        let found = damage(&store, &log, "is an older copy", |bytes| bytes.clone_from(&older));
        assert_eq!(found, Found::AtOpen);
    }
}

/// Every file is replaced by each older copy of itself, cut or stretched to the size that is
/// expected. The manifest and CURRENT are always found out, because the logs know of the newer ones;
/// only manifests that have become history change nothing. A log is found out, or the store is the
/// one of the copy's moment to the last batch.
#[test]
fn an_older_copy_is_found_or_is_the_store_of_its_moment() {
    let vfs = SimVfs::new();
    let runtime = InlineRuntime::new(41);
    let db = tiny(vfs.clone(), &runtime).memtable_size(4000).open(DIR).expect("a store");
    let mut moments = Vec::new();
    for n in 0..60 {
        db.put(format!("key{:02}", n % 17), vec![b'a' + (n % 26) as u8; 100]).expect("put");
        runtime.run_until_idle();
        moments.push((store_files(&vfs), content_of(&db)));
    }
    let content = content_of(&db);
    assert!(db.stats().flushes >= 2, "{}", db.stats().flushes);
    db.close().expect("close");
    let now = store_files(&vfs);
    let (mut refused, mut earlier) = (0, 0);
    for (files, then) in &moments {
        for (path, old) in files {
            let Some(new) = now.get(path).filter(|new| *new != old) else { continue };
            let image = vfs.kill();
            let mut old = old.clone();
            if is_log(path) {
                old.resize(new.len(), 0);
            }
            image.install(path, &old).expect("installed");
            match options(&image, 8).open(DIR) {
                Err(error) => {
                    culprit(&error, "an older copy");
                    refused += 1;
                }
                Ok(db) => {
                    let found = content_of(&db);
                    let right = if is_log(path) { found == *then } else { found == content };
                    assert!(right, "an older {} passed", path.display());
                    earlier += usize::from(found != content);
                }
            }
        }
    }
    println!("{refused} older copies refused, {earlier} logs were those of an earlier moment");
    assert!(refused > 60);
}
