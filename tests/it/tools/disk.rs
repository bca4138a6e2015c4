//! Full disks: under standard output, and under the store.

use std::process::Command;

use super::{BEACH, Place, Ran, has};

/// Every verb that prints, into a device that takes nothing: trouble, and said so.
#[test]
fn output_that_cannot_be_written_is_trouble() {
    if !std::path::Path::new("/dev/full").exists() {
        return eprintln!("skipped: there is no /dev/full here");
    }
    let place = Place::with(&[("a", "1"), ("b", "2")]);
    for words in [
        &["get", "a"][..],
        &["get", "--raw", "a"],
        &["get", "a", "--json"],
        &["scan"],
        &["scan", "--count"],
        &["dump"],
        &["lsm"],
        &["stats"],
        &["man"],
        &["completions", "bash"],
        &["put", "a", "2", "--json"],
    ] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("the device");
        let mut command = Command::new(BEACH);
        command.arg("--db").arg(place.db()).args(words).stdout(full);
        let ran = Ran::from(command.output().expect("the program runs"));
        ran.expect(5).says("could not write to standard output: no space left on device");
    }
}

/// Each line is a scene: what is done, and the status it prints. The store lies in a file system
/// of 3 MiB that the shell makes in a namespace of its own, so that nothing of it stays behind.
const SCENES: &str = r#"
mount -t tmpfs -o size=3m none "$DIR" || exit 77
run() { "$BEACH" --db "$DIR/db" "$@" </dev/null; echo "$? $1 $2"; }
run put early 1
run put second 2
cat /dev/zero >"$DIR/filler" 2>/dev/null
head -c 600000 /dev/zero | "$BEACH" --db "$DIR/db" put large - ; echo "$? large"
run get early
run get second
run get large
run scan --count
rm "$DIR/filler"
head -c 300000 /dev/zero | "$BEACH" --db "$DIR/db" put large - ; echo "$? again"
run put late 3
run scan --keys-only
"#;

/// The disk fills, a put that needs more fails with clear words, what was there is read as before;
/// space comes back, and writing goes on.
#[test]
fn a_full_disk_refuses_a_write_and_harms_nothing() {
    let namespace: &[&str] = match rustix::process::getuid().is_root() {
        true => &["--mount"],
        false => &["--user", "--map-root-user", "--mount"],
    };
    let probe = [namespace, &["sh", "-c", "mount -t tmpfs -o size=1m none /mnt"]].concat();
    if !has("unshare", &probe) {
        return;
    }
    let place = Place::new();
    let mut command = Command::new("unshare");
    command
        .args(namespace)
        .args(["sh", "-c", SCENES])
        .env("BEACH", BEACH)
        .env("DIR", place.0.path());
    let ran = Ran::from(command.output().expect("the shell runs")).expect(0);
    let expected = "0 put early\n0 put second\n5 large\n1\n0 get early\n2\n0 get second\n\
                    1 get large\n2\n0 scan --count\n0 again\n0 put late\n\
                    early\nlarge\nlate\nsecond\n0 scan --keys-only\n";
    assert_eq!(ran.text(), expected, "{}", ran.err);
    ran.says("error: could not extend").says(".wal: no space left on device");
}
