//! `bench`: every workload runs, does what it says, and says what it did.

use std::path::Path;

use serde_json::Value;

use super::{Place, Ran, bare};

/// Runs `beach bench` with these words in a place without a store named.
fn bench(place: &Place, words: &[&str]) -> Ran {
    let mut command = bare();
    Ran::of(command.arg("bench").args(words).env("TMPDIR", place.0.path()))
}

fn workloads(objects: &[Value]) -> Vec<&Value> {
    objects.iter().filter(|object| object["t"] == "workload").collect()
}

/// The only workload of a run, as its object.
#[track_caller]
fn last(ran: Ran) -> Value {
    let objects = ran.expect(0).objects();
    (*workloads(&objects).last().expect("a workload")).clone()
}

fn entries(dir: &Path) -> usize {
    std::fs::read_dir(dir).expect("a directory").count()
}

/// All of them in one run on one store, told as objects and then as tables; the temporary store is
/// gone afterwards, and where it was is said.
#[test]
fn every_workload_runs_and_leaves_nothing() {
    let place = Place::new();
    let names = "A,B,C,fillseq,overwrite,readrandom,readmissing,readseq,readreverse,seekrandom,\
                 readwhilewriting,flush,compact,waitcompact,stats,deleterandom,filluniquerandom,\
                 fillrandom,fillsync";
    let words = [names, "--num", "2000", "--memtable", "64KiB"];
    let ran = bench(&place, &[&words[..], &["--json"]].concat()).expect(0);
    let ran = ran.says("working in ").says("removed afterwards");
    let objects = ran.objects();
    let told = workloads(&objects);
    let mut wanted: Vec<&str> = names.split(',').collect();
    wanted.splice(1..1, ["load", "flush", "waitcompact"]);
    assert_eq!(
        told.iter().map(|one| one["workload"].as_str().expect("a name")).collect::<Vec<_>>(),
        wanted
    );
    assert!(told.iter().all(|one| one["ops"].as_u64() > Some(0)), "{told:?}");
    assert_eq!(objects[0]["t"], "setup");
    assert!(objects.iter().any(|object| object["t"] == "level"));
    let summary = objects.last().expect("a summary");
    // The last to begin anew was fillsync, with a thousandth of the keys.
    assert_eq!((&summary["verdict"], summary["keys"].as_u64() <= Some(2)), (&"sound".into(), true));

    let ran = bench(&place, &words).expect(0).says("fillseq: ");
    for text in ["ops/s", "p99.9 us", "write amp", "readwhilewriting", "exactly those"] {
        assert!(ran.text().contains(text), "{text} is not in {}", ran.text());
    }
    bench(&place, &[&words[..], &["-q"]].concat()).expect(0).quietly();
    assert_eq!(entries(place.0.path()), 0);
}

/// What was found is counted: all keys after a sequential fill, none of those between them, a
/// tenth at most after a fill of other keys.
#[test]
fn reads_find_what_is_there_and_nothing_else() {
    let place = Place::new();
    let run = |words: &str| {
        let words = format!("{words} --num 3000 --memtable 32KiB --json");
        last(bench(&place, &words.split(' ').collect::<Vec<_>>()))
    };
    for (words, found) in [
        ("fillseq readrandom", 3000),
        ("fillseq readrandom --threads 3 --batch 10", 3000),
        ("fillseq readmissing", 0),
        ("fillseq readwhilewriting", 3000),
        ("fillseq seekrandom --ops 100", 100),
        ("readrandom", 3000),
        ("readrandom --key-size 40 --value-size 0", 3000),
    ] {
        assert_eq!(run(words)["found"], found, "{words}");
    }
    let after_random = run("fillrandom readrandom")["found"].as_u64().expect("a number");
    assert!((1700..2100).contains(&after_random), "{after_random}");
    let scan = run("fillseq readseq");
    assert_eq!((&scan["ops"], &scan["bytes"]), (&3000.into(), &(3000 * 116).into()));
    let sync = run("fillrandom --ops 20 --sync");
    assert_eq!((&sync["durability"], &sync["samples"]), (&"power-safe".into(), &20.into()));
    assert!(sync["syncs"].as_u64() >= Some(20) && sync["p99_us"].as_f64() > Some(0.0));
}

/// The same seed twice gives the same store, another seed another one.
#[test]
fn a_seed_gives_one_store() {
    let run = |seed: &str| {
        let place = Place::new();
        place.run(["bench", "fillrandom", "overwrite", "--num", "500", "--seed", seed]).expect(0);
        place.run(["scan", "--enc", "hex"]).expect(0).out
    };
    let one = run("1");
    assert!(one == run("1") && one != run("2") && !one.is_empty());
}

/// A store that is there is neither emptied nor written into, unless that is asked for; then it is
/// taken as it is.
#[test]
fn a_store_in_use_is_left_alone() {
    let place = Place::with(&[("mine", "1")]);
    let before = place.picture();
    for workload in ["fillseq", "readrandom", "A"] {
        place.run(["bench", workload, "--num", "100"]).expect(2).says("is not empty").prints("");
    }
    assert_eq!(place.picture(), before);
    let words = ["bench", "fillseq", "readrandom", "--num", "100", "--use-existing", "--json"];
    let objects = place.run(words).expect(0).objects();
    assert_eq!(objects.last().expect("a summary")["verdict"], "readable");
    assert_eq!(objects.last().expect("a summary")["keys"], 101);
    assert_eq!(workloads(&objects)[1]["found"], 100);
    place.run(["get", "mine"]).expect(0).prints("1\n");
    Place::new().run(["bench", "readrandom", "--use-existing"]).expect(5).says("is not a store");
    bench(&place, &["readrandom", "--use-existing"]).expect(2).says("no store named");
}

/// Ratios to an earlier run, in both forms; the second of two alike is compared with the second. A
/// difference between the runs is said.
#[test]
fn a_run_is_compared_with_an_earlier_one() {
    let place = Place::new();
    let words = ["fillseq", "readrandom", "readrandom", "--num", "1000"];
    let first = bench(&place, &[&words[..], &["--json"]].concat()).expect(0);
    let told = first.objects();
    let file = place.file("before.ndjson", &first.out);
    let file = file.to_str().expect("a path in UTF-8");
    let again = [&words[..], &["--compare", file]].concat();
    let objects = bench(&place, &[&again[..], &["--json"]].concat()).expect(0).objects();
    let ratios: Vec<&Value> = objects.iter().filter(|object| object["t"] == "ratio").collect();
    assert_eq!(ratios.len(), 3);
    for ((ratio, now), then) in ratios.iter().zip(workloads(&objects)).zip(workloads(&told)) {
        assert_eq!(ratio["ops_per_second_then"], then["ops_per_second"]);
        let wanted = now["ops_per_second"].as_f64().expect("a rate")
            / then["ops_per_second"].as_f64().expect("a rate");
        let is = ratio["ops_per_second"].as_f64().expect("a ratio");
        assert!((is / wanted - 1.0).abs() < 0.01, "{is} is not {wanted}");
    }
    let ran = bench(&place, &again).expect(0);
    assert!(ran.text().contains("ratio") && !ran.err.contains("warning"), "{}", ran.err);
    let other = [&again[..], &["--value-size", "200"]].concat();
    bench(&place, &other).expect(0).says("warning: the earlier run had value_size null");
    for (name, text) in [("empty", ""), ("other", "{\"t\":\"summary\"}\n"), ("prose", "fast\n")] {
        let file = place.file(name, text);
        let file = file.to_str().expect("a path in UTF-8");
        bench(&place, &["fillseq", "--compare", file]).expect(2).prints("");
    }
    bench(&place, &["fillseq", "--compare", "/no/such/file"]).expect(5).prints("");
}

/// A workload for a little more than a second: it ends in time, and the trace has a line for the
/// whole second and for what came after it, which add up.
#[test]
fn the_trace_has_a_line_for_each_second() {
    let place = Place::new();
    let csv = place.path("trace.csv");
    let path = csv.to_str().expect("a path in UTF-8");
    let words = ["overwrite", "--num", "500", "--duration", "1.3", "--trace", path, "--json"];
    let objects = bench(&place, &words).expect(0).objects();
    let overwrite = (*workloads(&objects).last().expect("a workload")).clone();
    let seconds = overwrite["seconds"].as_f64().expect("seconds");
    assert!((1.2..10.0).contains(&seconds), "{seconds}");
    let text = std::fs::read_to_string(csv).expect("a trace");
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(lines[0][..4], ["workload", "second", "ops", "ops_per_second"]);
    assert!(lines.iter().all(|line| line.len() == lines[0].len()));
    let of_it: Vec<_> = lines.iter().filter(|line| line[0] == "overwrite").collect();
    let ops: u64 = of_it.iter().map(|line| line[2].parse::<u64>().expect("a number")).sum();
    assert!(of_it.len() >= 2 && Some(ops) == overwrite["ops"].as_u64(), "{text}");
    assert!(lines.iter().any(|line| line[0] == "load"));
}

/// Nothing is run, nothing printed, and the complaint names what is wrong.
#[test]
fn wrong_usage_is_2() {
    let place = Place::new();
    for (words, text) in [
        (&["fillsequence"][..], "fillsequence"),
        (&[], "WORKLOAD"),
        (&["fillseq,nonsense"], "nonsense"),
        (&["fillseq", "--num", "0"], "1 or more"),
        (&["fillseq", "--key-size", "4"], "a key here has"),
        (&["fillseq", "--cache", "1T"], "KiB"),
        (&["fillseq", "--ops", "1", "--duration", "1"], "cannot be used with"),
        (&["fillseq", "--strategy", "none"], "none"),
    ] {
        bench(&place, words).expect(2).prints("").says(text);
    }
    assert_eq!(entries(place.0.path()), 0);
}

/// A signal in the middle of a run that would last for hours: the status is the signal's, the
/// temporary store is gone.
#[test]
fn a_signal_ends_a_run_and_its_store_goes() {
    let place = Place::new();
    let mut command = std::process::Command::new(super::BEACH);
    command.args([
        "bench",
        "fillseq",
        "readrandom",
        "--num",
        "1000",
        "--duration",
        "3600",
        "--json",
    ]);
    command.env("TMPDIR", place.0.path()).env_remove("BEACH_DB");
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    command.stderr(std::process::Stdio::piped());
    let mut running = super::Running(Some(command.spawn().expect("the program")));
    // The setup and the fill come out together, before the endless workload begins.
    assert!(running.read_line().starts_with("{\"t\":\"setup\""));
    running.signal(rustix::process::Signal::INT);
    let ran = running.wait();
    assert_eq!(ran.code, 130, "{}", ran.err);
    assert_eq!(entries(place.0.path()), 0);
}
