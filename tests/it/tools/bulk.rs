//! `dump` and `load`: out and in again without a loss, and no cut or change unnoticed.

use std::path::Path;

use super::Place;

const FORMATS: [&str; 3] = ["ndjson", "tsv", "csv"];

/// The Unicode character database as a table: the code point, a tab, the rest.
fn unicode() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/data/UnicodeData.txt");
    let text = std::fs::read_to_string(path).expect("the fixture");
    text.lines().map(|line| line.replacen(';', "\t", 1) + "\n").collect()
}

/// A store with pairs of every byte, of separators, of quotes, of nothing at all.
fn binary() -> Place {
    let place = Place::new();
    let every: Vec<u8> = (0..=255).collect();
    let values: [&[u8]; 8] = [
        b"",
        b"\0",
        b"\n\r\n",
        b"\t",
        b"\"quoted\", \"\"",
        b"\\x00",
        "é\u{2028}".as_bytes(),
        &every,
    ];
    for (n, value) in values.iter().enumerate() {
        place.feed(&["put", &format!("text{n}"), "-"], value).expect(0);
        let key = hex::encode([&[n as u8, 0xff], *value].concat());
        place.feed(&["put", "--enc", "hex", &key, "-"], value).expect(0);
    }
    place
}

fn dump(place: &Place, format: &str) -> String {
    let ran = place.run(["dump", "--format", format]).expect(0);
    ran.text().to_owned()
}

fn path<'a>(place: &Place, name: &str, text: &'a str) -> (String, &'a str) {
    (place.file(name, text).to_str().expect("a plain path").to_owned(), text)
}

/// Real data in, out in each format, in again, out again: the same bytes, and the scan of the copy
/// is the file that all began with.
#[test]
fn real_data_goes_around_byte_for_byte_in_every_format() {
    let (source, text) = (Place::new(), unicode());
    source.feed(&["load", "-"], &text).expect(0).prints("").says("loaded 34924 records, skipped 0");
    source.run(["get", "1F3D6"]).expect(0).prints("BEACH WITH UMBRELLA;So;0;ON;;;;;N;;;;;\n");
    let mut sorted: Vec<&str> = text.lines().collect();
    sorted.sort_by_key(|line| line.split('\t').next());
    let scanned = source.run(["scan"]).expect(0);
    assert!(scanned.text().lines().eq(sorted));
    for format in FORMATS {
        let copy = Place::new();
        let dumped = dump(&source, format);
        copy.feed(&["load", "-"], &dumped).expect(0);
        assert!(dump(&copy, format) == dumped, "{format}");
        copy.run(["scan"]).expect(0).prints(&scanned.out);
    }
}

/// The same with bytes that each format must spell in some way of its own, through files, with the
/// format told by content and by name.
#[test]
fn any_bytes_go_around_in_every_format() {
    let source = binary();
    source.run(["flush"]).expect(0);
    let scanned = source.run(["scan", "--enc", "hex"]).expect(0);
    assert_eq!(scanned.text().lines().count(), 16);
    for format in FORMATS {
        for told in [&["load"][..], &["load", "--format", format]] {
            let copy = Place::new();
            let (file, _) = path(&copy, "dump", &dump(&source, format));
            copy.run(told.iter().copied().chain([&file[..]])).expect(0);
            copy.run(["scan", "--enc", "hex"]).expect(0).prints(&scanned.out);
        }
    }
    // The dumps agree on the count and the checksum at their ends.
    let ends = FORMATS.map(|format| dump(&source, format).lines().last().unwrap_or("").to_owned());
    let crc = ends[1].rsplit('=').next().expect("a checksum");
    assert!(ends[0].contains("\"records\":16") && ends[0].contains(crc) && ends[2].contains(crc));
}

/// Cut at every line, and inside lines: never 0, unless nothing at all is left.
#[test]
fn a_cut_dump_is_noticed_wherever_it_is_cut() {
    let source = Place::with(&[("a", "1"), ("b", "two\nlines"), ("c", "3")]);
    for format in FORMATS {
        let whole = dump(&source, format);
        for cut in (1..whole.len()).filter(|at| whole.is_char_boundary(*at)) {
            // Losing the last line end alone loses nothing.
            let lossless = whole[cut..].trim().is_empty();
            let ran = Place::new().feed(&["load", "--format", format, "-"], &whole[..cut]);
            match lossless {
                true => assert_eq!(ran.code, 0),
                false => assert!(matches!(ran.code, 2 | 3), "{format} at {cut}: {}", ran.code),
            }
            assert!(lossless || !ran.err.is_empty());
        }
    }
}

/// Cut, changed and shortened in the middle: damage without `--lenient`, losses with it.
#[test]
fn a_changed_dump_is_damage_and_lenient_makes_it_a_loss() {
    let source = Place::with(&[("a", "1"), ("b", "2"), ("c", "3")]);
    for format in FORMATS {
        let whole = dump(&source, format);
        let lines: Vec<&str> = whole.lines().collect();
        let without = |skip: usize| {
            let kept = lines.iter().enumerate().filter(|(index, _)| *index != skip);
            kept.map(|(_, line)| format!("{line}\n")).collect::<String>()
        };
        for (bad, left) in [(without(2), "a\nc\n"), (without(4), "a\nb\nc\n")] {
            Place::new().feed(&["load", "-"], &bad).expect(3).prints("");
            let place = Place::new();
            place.feed(&["load", "--lenient", "-"], &bad).expect(6);
            place.run(["scan", "--keys-only"]).expect(0).prints(left);
        }
        let place = Place::new();
        let changed = ["\"value\":\"2\"", "b\t2", "b,2"]
            .iter()
            .fold(whole.clone(), |text, pair| text.replace(pair, &pair.replace('2', "7")));
        assert!(changed != whole);
        place.feed(&["load", "-"], changed).expect(3).says("promises");
    }
}

/// A line that is none of the format's, in the middle: told with its number, nothing of its batch
/// stored; `--lenient` skips it, says so, and ends with 6.
#[test]
fn a_bad_line_is_told_by_number_or_skipped_on_demand() {
    for (format, text) in [
        ("ndjson", "{\"key\":\"a\",\"value\":\"1\"}\nnonsense\n{\"key\":\"b\",\"value\":\"2\"}\n"),
        ("tsv", "a\t1\nnonsense\nb\t2\n"),
        ("csv", "key,value\na,1\nnonsense\nb,2\n"),
    ] {
        let line = format!("line {}: ", if format == "csv" { 3 } else { 2 });
        let place = Place::new();
        let ran = place.feed(&["load", "--format", format, "-"], text).expect(2);
        ran.prints("").says(&line).says("nothing is stored");
        place.run(["scan", "--count"]).expect(0).prints("0\n");
        let ran = place.feed(&["load", "--lenient", "--format", format, "-"], text).expect(6);
        ran.prints("").says(&line).says("skipped 1");
        place.run(["scan"]).expect(0).prints("a\t1\nb\t2\n");
        let ran = place.feed(&["load", "--lenient", "--json", "--format", format, "-"], text);
        let objects = ran.expect(6).objects();
        assert_eq!(objects[0]["t"], "skipped");
        assert_eq!((&objects[1]["records"], &objects[1]["skipped"]), (&2.into(), &1.into()));
    }
}

/// More records than a batch holds before the bad line: what the message says is stored is stored,
/// and no more.
#[test]
fn what_a_failed_load_says_it_stored_is_what_is_there() {
    let place = Place::new();
    let good: String = (0..2500).map(|n| format!("k{n:05}\tv\n")).collect();
    let ran = place.feed(&["load", "-"], good + "bad\n").expect(2);
    ran.says("line 2501: ").says("the 2000 records of the batches before are stored");
    place.run(["scan", "--count"]).expect(0).prints("2000\n");
}

/// No format at all: nothing is guessed, and no store is made.
#[test]
fn an_input_of_no_format_is_refused() {
    let place = Place::new();
    for input in [&b"\xff\xd8\xff\xe0 JFIF"[..], b"just a word\n"] {
        let ran = super::Ran::of(place.beach().args(["load", "-"]).write_stdin(input));
        ran.expect(2).says("give --format");
        assert!(!place.db().exists());
    }
    place.run(["load", "/no/such"]).expect(5).says("could not open /no/such");
    place.run(["dump", "--format", "xml"]).expect(2);
}

/// An empty store's dump is not an empty file, so that a lost one is noticed.
#[test]
fn an_empty_store_has_a_dump() {
    let source = Place::with(&[("a", "1")]);
    source.run(["del", "a"]).expect(0);
    for format in FORMATS {
        let dumped = dump(&source, format);
        assert!(dumped.lines().count() == 2, "{dumped}");
        Place::new().feed(&["load", "-"], &dumped).expect(0);
    }
}

/// Sorted input becomes tables without a log's help: what `dump` wrote comes back byte for byte, over
/// what was there before, in each format.
#[test]
fn sorted_input_is_loaded_as_tables() {
    let source = binary();
    for format in FORMATS {
        let copy = Place::with(&[("text0", "old"), ("zz", "kept")]);
        let dumped = dump(&source, format);
        let ran = copy.feed(&["load", "--sorted", "-"], &dumped).expect(0);
        ran.prints("").says("loaded 16 records, skipped 0");
        let stats = copy.run(["stats", "--json"]).expect(0).objects();
        assert_eq!((&stats[0]["last_seq"], &stats[0]["memtable_entries"]), (&3.into(), &0.into()));
        copy.run(["get", "zz"]).expect(0).prints("kept\n");
        copy.run(["del", "zz"]).expect(0);
        assert!(dump(&copy, format) == dumped, "{format}");
    }
}

/// A key that does not ascend, one that comes twice, a line of no format, a wrong end: each is told,
/// the first three with the line's number, and nothing at all is stored, however much was read.
#[test]
fn input_that_is_not_sorted_is_refused_as_a_whole() {
    let place = Place::with(&[("a", "old")]);
    let good: String = (0..2500).map(|n| format!("k{n:05}\tv\n")).collect();
    let load = |text: String, code| place.feed(&["load", "--sorted", "-"], text).expect(code);
    for (bad, why) in [
        ("j\tv\n", "line 2501: key \"j\" does not follow \"k02499\""),
        ("k02499\tv\n", "line 2501: key \"k02499\" does not follow \"k02499\""),
        ("bad\n", "line 2501: "),
        ("\tv\n", "line 2501: the key is empty"),
    ] {
        let ran = load(format!("{good}{bad}k9\tv\n"), 2);
        ran.prints("").says(why).says("nothing is stored");
    }
    load(format!("#beach-dump version=1\n{good}"), 3).says("cut").says("nothing is stored");
    place.run(["scan"]).expect(0).prints("a\told\n");
    place.run(["lsm"]).expect(0).prints("no tables; everything is in the log\n");
    load(good, 0).says("loaded 2500 records");
    load(String::new(), 0).says("loaded 0 records");
    place.run(["scan", "--count"]).expect(0).prints("2501\n");
    for flag in ["--lenient", "--no-sync"] {
        place.run(["load", "--sorted", flag, "-"]).expect(2);
    }
}
