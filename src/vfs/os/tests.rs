//! Against a real directory: what the trait promises is what the system does.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::*;
use crate::vfs::read_all;

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// A buffer larger than the file comes back short, one behind its end empty: the end of a file
/// is a count, never an error.
#[test]
fn a_short_read_means_the_file_ends() -> Result<()> {
    let dir = scratch();
    let file = OsVfs.create(&dir.path().join("f"))?;
    file.write_at(b"hello", 3)?;
    let mut buffer = [9; 16];
    assert_eq!(file.read_at(&mut buffer, 0)?, 8);
    assert_eq!(&buffer[..9], b"\0\0\0hello\x09");
    assert_eq!(file.read_at(&mut buffer, 8)?, 0);
    assert_eq!(file.read_at(&mut buffer, 1 << 40)?, 0);
    assert_eq!(read_all(&*file, 5)?, b"\0\0\0he");
    Ok(())
}

/// The second create fails, says so in our words, and leaves the first file's bytes alone.
#[test]
fn create_refuses_an_existing_file() -> Result<()> {
    let dir = scratch();
    let path = dir.path().join("f");
    OsVfs.create(&path)?.write_at(b"kept", 0)?;
    let error = OsVfs.create(&path).expect_err("the file exists");
    assert_eq!(error.io_kind(), Some(ErrorKind::AlreadyExists));
    assert!(error.to_string().starts_with("could not create "), "{error}");
    assert_eq!(read_all(&*OsVfs.open(&path, Access::Read)?, 99)?, b"kept");
    Ok(())
}

/// The second name shows the same bytes, now and when the first is gone; one that is taken is
/// refused and left alone; and a file system that cannot link is told apart from one that failed.
#[test]
fn a_link_is_a_second_name_of_one_content() -> Result<()> {
    let dir = scratch();
    let (first, second) = (dir.path().join("a"), dir.path().join("b"));
    OsVfs.create(&first)?.write_at(b"content", 0)?;
    OsVfs.link(&first, &second)?;
    OsVfs.remove(&first)?;
    let file = OsVfs.open(&second, Access::Read)?;
    assert_eq!(read_all(&*file, 99)?, b"content");
    OsVfs.create(&first)?;
    let error = OsVfs.link(&second, &first).expect_err("the name is taken");
    assert_eq!(error.io_kind(), Some(ErrorKind::AlreadyExists));
    assert!(!crate::vfs::cannot_link(&error));
    assert_eq!(OsVfs.open(&first, Access::Read)?.size()?, 0);
    let elsewhere = Error::io("link", first, ErrorKind::CrossesDevices.into());
    assert!(crate::vfs::cannot_link(&elsewhere));
    Ok(())
}

/// Both fills give the asked size in zeros behind the old content; the blocks the system counts
/// show that the space is really there, and a smaller size changes nothing.
#[test]
fn allocated_space_is_zeros_and_really_there() -> Result<()> {
    let dir = scratch();
    for (name, fill) in [("reserve", Fill::Reserve), ("zeros", Fill::Zeros)] {
        let path = dir.path().join(name);
        let file = OsVfs.create(&path)?;
        file.write_at(b"head", 0)?;
        file.allocate(100_000, fill)?;
        file.allocate(10, fill)?;
        let bytes = read_all(&*file, u64::MAX)?;
        assert_eq!(bytes.len(), 100_000);
        assert_eq!(&bytes[..4], b"head");
        assert!(bytes[4..].iter().all(|&byte| byte == 0));
        file.sync()?;
        let blocks = path.metadata().expect("metadata").blocks();
        assert!(blocks * 512 >= 100_000, "{name}: {blocks} blocks");
    }
    Ok(())
}

/// More than any disk holds: the call fails, and the file is as it was.
#[test]
fn a_failed_allocation_gives_the_space_back() -> Result<()> {
    let dir = scratch();
    let file = OsVfs.create(&dir.path().join("f"))?;
    file.write_at(b"kept", 0)?;
    let error = file.allocate(1 << 62, Fill::Reserve).expect_err("no disk is so large");
    assert!(error.to_string().starts_with("could not extend "), "{error}");
    assert_eq!(read_all(&*file, 99)?, b"kept");
    Ok(())
}

/// The file is a hole up to just below the largest size its file system allows, so that writing
/// zeros succeeds for a page or so and then fails: the pages written are cut off again.
#[test]
fn zeros_written_before_a_failure_are_taken_back() -> Result<()> {
    let dir = scratch();
    let path = dir.path().join("f");
    let file = OsVfs.create(&path)?;
    let hole = fs::File::options().write(true).open(&path).expect("open");
    let (mut largest, mut too_large) = (1_u64, 1_u64 << 63);
    while too_large - largest > 1 {
        let size = largest.midpoint(too_large);
        match hole.set_len(size) {
            Ok(()) => largest = size,
            Err(_) => too_large = size,
        }
    }
    let old = largest - 10_000;
    hole.set_len(old).expect("a smaller hole");
    file.allocate(largest + 4096, Fill::Zeros).expect_err("too large");
    assert_eq!(file.size()?, old);
    Ok(())
}

/// A handle opened for reading cannot write, and reading through it leaves the access time (set
/// to long ago, so that `relatime` would move it) as it was.
#[test]
fn a_reader_changes_nothing() -> Result<()> {
    let dir = scratch();
    let path = dir.path().join("f");
    let file = OsVfs.create(&path)?;
    file.write_at(b"content", 0)?;
    let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
    let times = fs::FileTimes::new().set_accessed(long_ago);
    fs::File::options().write(true).open(&path).expect("open").set_times(times).expect("times");

    let reader = OsVfs.open(&path, Access::Read)?;
    assert_eq!(read_all(&*reader, 99)?, b"content");
    assert!(reader.write_at(b"x", 0).is_err());
    assert_eq!(path.metadata().expect("metadata").accessed().expect("atime"), long_ago);
    Ok(())
}

/// Created out of order and listed in order; a name that is not UTF-8 is not among them.
#[test]
fn a_listing_is_sorted_and_only_of_readable_names() -> Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let dir = scratch();
    for name in ["b", "CURRENT", "a"] {
        OsVfs.create(&dir.path().join(name))?;
    }
    OsVfs.create(&dir.path().join(std::ffi::OsStr::from_bytes(b"\xff\xfe")))?;
    assert_eq!(OsVfs.list(dir.path())?, ["CURRENT", "a", "b"]);
    assert!(OsVfs.list(&dir.path().join("absent")).expect_err("absent").is_not_found());
    Ok(())
}

/// A rename replaces its target; a removed file is gone from the listing.
#[test]
fn names_move_and_go() -> Result<()> {
    let dir = scratch();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    OsVfs.create(&from)?.write_at(b"new", 0)?;
    OsVfs.create(&to)?.write_at(b"older", 0)?;
    OsVfs.rename(&from, &to)?;
    OsVfs.sync_dir(dir.path())?;
    assert!(!OsVfs.exists(&from)?);
    assert_eq!(read_all(&*OsVfs.open(&to, Access::Read)?, 99)?, b"new");
    OsVfs.remove(&to)?;
    assert!(OsVfs.list(dir.path())?.is_empty());
    assert!(OsVfs.remove(&to).expect_err("gone").is_not_found());
    Ok(())
}

/// The first call makes the whole chain and says so, the second finds it there.
#[test]
fn creating_directories_says_whether_they_were_there() -> Result<()> {
    let dir = scratch();
    let deep = dir.path().join("a/b/c");
    assert!(OsVfs.create_dir_all(&deep)?);
    assert!(!OsVfs.create_dir_all(&deep)?);
    assert!(!OsVfs.create_dir_all(Path::new(""))?, "the empty path is the current directory");
    OsVfs.create(&deep.join("f"))?;
    assert!(OsVfs.create_dir_all(&deep.join("f")).is_err());
    Ok(())
}

/// The second handle is of the same process, the harder case: it is refused with the pid the
/// first wrote, changes nothing in the file, and succeeds once the first is dropped.
#[test]
fn a_lock_excludes_another_handle_of_this_process() -> Result<()> {
    let dir = scratch();
    let path = dir.path().join("LOCK");
    fs::write(&path, b"987654321 and a long text of an earlier holder").expect("write");
    let held = OsVfs.lock(&path, b"4711\n")?;
    assert_eq!(fs::read(&path).expect("read"), b"4711\n");
    match OsVfs.lock(&path, b"1\n") {
        Err(Error::Locked { pid, .. }) => assert_eq!(pid, Some(4711)),
        other => panic!("{other:?}"),
    }
    assert_eq!(fs::read(&path).expect("read"), b"4711\n");
    drop(held);
    drop(OsVfs.lock(&path, b"1\n")?);
    assert_eq!(fs::read(&path).expect("read"), b"1\n");
    Ok(())
}

/// A lock file that cannot be opened is an I/O error, not a held lock.
#[test]
fn a_lock_that_cannot_be_taken_is_an_io_error() {
    let dir = scratch();
    let error = OsVfs.lock(&dir.path().join("absent/LOCK"), b"1\n").expect_err("no directory");
    assert!(error.is_not_found(), "{error}");
    assert!(error.to_string().starts_with("could not lock "), "{error}");

    let path = dir.path().join("LOCK");
    fs::write(&path, b"").expect("write");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).expect("permissions");
    // The superuser may write it all the same.
    if let Err(error) = OsVfs.lock(&path, b"1\n") {
        assert_eq!(error.io_kind(), Some(ErrorKind::PermissionDenied));
    }
}

/// Taken and dropped in a loop while another thread starts processes, each of which has a copy of
/// every descriptor until it runs its program: dropped is free all the same.
#[test]
fn a_dropped_lock_is_free_even_while_processes_are_started() {
    let dir = scratch();
    let path = dir.path().join("LOCK");
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = std::process::Command::new("true").status();
            }
        });
        let failed = (0..20_000).find_map(|_| OsVfs.lock(&path, b"1\n").map(drop).err());
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(failed.is_none(), "{failed:?}");
    });
}
