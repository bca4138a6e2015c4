//! Several processes at one store.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{Place, Running, operation};

/// A process that has the lock, until its input ends.
fn holder(place: &Place) -> Running {
    let mut running = place.start(&["apply", "--ack"]);
    running.write(&operation("held", "1"));
    assert!(running.read_line().contains("\"ack\""));
    running
}

/// Eight at once, one process a put: none is refused, and every pair is there.
#[test]
fn eight_parallel_writers_all_get_through() {
    let place = Place::new();
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let place = &place;
            scope.spawn(move || {
                for n in 0..25 {
                    let key = format!("{writer}-{n:02}");
                    // Long enough for a machine that does other things too.
                    place.run(["put", "--wait", "60", &key, "v"]).expect(0).prints("").quietly();
                }
            });
        }
    });
    let keys: Vec<String> =
        (0..8).flat_map(|w| (0..25).map(move |n| format!("{w}-{n:02}\n"))).collect();
    place.run(["scan", "--keys-only"]).expect(0).prints(keys.concat()).quietly();
}

/// Every verb that writes waits as long as it was told to and no longer, and names the holder;
/// readers do not wait at all, and see what the holder has written.
#[test]
fn a_held_lock_is_waited_for_and_its_holder_named() {
    let place = Place::new();
    let mut held = holder(&place);
    let pid = format!("process {}", held.pid());
    for words in [
        &["put", "k", "v"][..],
        &["del", "k"],
        &["flush"],
        &["compact"],
        &["apply"],
        &["load", "-"],
    ] {
        let began = Instant::now();
        let ran = place.run(words.iter().copied().chain(["--wait", "0.3"]));
        ran.expect(4).prints("").says(&pid).says("LOCK").says("--wait SECS");
        assert!(began.elapsed() >= Duration::from_millis(300), "{words:?}");
    }
    let began = Instant::now();
    place.run(["put", "k", "v", "--wait", "0"]).expect(4).says(&pid);
    assert!(began.elapsed() < Duration::from_secs(4));
    place.run(["get", "held"]).expect(0).prints("1\n");
    place.run(["scan"]).expect(0).prints("held\t1\n").quietly();
    held.wait().expect(0);
    place.run(["put", "k", "v", "--wait", "0"]).expect(0);
}

/// A writer that waits goes on when the holder ends.
#[test]
fn a_waiting_writer_gets_the_lock_when_it_is_free() {
    let place = Place::new();
    let held = holder(&place);
    let mut waiting = place.start(&["put", "--wait", "60", "k", "v"]);
    std::thread::sleep(Duration::from_millis(200));
    assert!(waiting.child().try_wait().expect("its state").is_none(), "it did not wait");
    held.wait().expect(0);
    waiting.wait().expect(0);
    place.run(["scan", "--keys-only"]).expect(0).prints("held\nk\n");
}

/// A lock dies with its process, however that ends; what it had acknowledged is there.
#[test]
fn a_killed_holder_leaves_the_lock_free() {
    let place = Place::new();
    let mut held = holder(&place);
    held.signal(Signal::KILL);
    held.child().wait().expect("its end");
    place.run(["put", "--wait", "0", "k", "v"]).expect(0);
    place.run(["scan", "--keys-only"]).expect(0).prints("held\nk\n");
}

/// Readers in a loop while a writer puts, flushes and puts again: each sees a prefix of what was
/// written, and none sees an error.
#[test]
fn readers_work_while_another_process_writes() {
    let place = Place::with(&[("k0000", "v")]);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let value = "x".repeat(20_000);
            for round in 0..15 {
                let lines: String =
                    (0..20).map(|n| operation(&format!("k{round:02}{n:02}"), &value)).collect();
                place.feed(&["apply", "--wait", "60"], lines).expect(0);
                place.run(["flush", "--wait", "60"]).expect(0);
            }
        });
        let mut seen = 0;
        while !writer.is_finished() {
            let ran = place.run(["scan", "--count", "-q"]).expect(0).quietly();
            let count: u64 = ran.text().trim().parse().expect("a number");
            assert!(count >= seen, "{count} keys after {seen}");
            seen = count;
        }
    });
    place.run(["scan", "--count"]).expect(0).prints("300\n");
}
