//! SIGINT ends a command with 130, SIGTERM with 143, and neither harms the store.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;

use super::{BEACH, Place, Ran, Running, operation};

const BOTH: [(Signal, i32); 2] = [(Signal::INT, 130), (Signal::TERM, 143)];

/// Within `apply`, between two batches, with half a batch read: what was acknowledged stays.
#[test]
fn a_signal_ends_a_writer_at_once_and_keeps_what_it_acknowledged() {
    for (signal, code) in BOTH {
        let place = Place::new();
        let mut running = place.start(&["apply", "--ack", "--batch", "2"]);
        for key in ["a", "b", "c"] {
            running.write(&operation(key, "v"));
        }
        running.read_line();
        running.signal(signal);
        let status = running.child().wait().expect("its end");
        assert_eq!(status.code(), Some(code));
        place.run(["scan", "--keys-only"]).expect(0).prints("a\nb\n");
        place.run(["put", "--wait", "0", "c", "v"]).expect(0);
    }
}

/// Waiting for a lock, and writing into a pipe that nobody reads.
#[test]
fn a_signal_ends_what_waits() {
    let place = Place::new();
    let lines: String = (0..20_000).map(|n| operation(&format!("k{n:06}"), "v")).collect();
    place.feed(&["apply", "--batch", "0"], lines).expect(0);
    for (signal, code) in BOTH {
        let mut held = place.start(&["apply", "--ack"]);
        held.write(&operation("held", "1"));
        held.read_line();
        let waiting = place.start(&["put", "--wait", "60", "k", "v"]);
        let mut scanning = place.start(&["scan"]);
        scanning.read_line();
        std::thread::sleep(Duration::from_millis(150));
        for mut running in [waiting, scanning] {
            running.signal(signal);
            assert_eq!(running.wait().expect(code).err, "");
        }
        held.wait().expect(0);
    }
}

/// The tour has a temporary store and a child process: both are gone after the signal.
#[test]
fn a_signal_ends_the_tour_in_order() {
    for (signal, code) in BOTH {
        let place = Place::new();
        // On a busy machine the tour may be over before the signal comes; then it is tried again.
        let mut tours = (0..10).map(|_| interrupted_tour(&place, signal));
        let ran = tours.find(|ran| ran.code != 0).expect("a tour that was interrupted");
        assert!(!ran.expect(code).text().contains("Look inside"));
        assert_eq!(std::fs::read_dir(place.0.path()).expect("a directory").count(), 0);
    }
}

fn interrupted_tour(place: &Place, signal: Signal) -> Ran {
    let mut command = std::process::Command::new(BEACH);
    command.arg("tour").env("TMPDIR", place.0.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = Running(Some(command.spawn().expect("the program")));
    running.read_line();
    running.signal(signal);
    running.wait()
}
