//! The commands of `beach-sstDump`, as a person and a script meet them.
#![allow(clippy::disallowed_methods, reason = "these tests prepare files for the tool")]

use std::fs;
use std::path::{Path, PathBuf};

use beachdb::inspect::Compression;

use super::made::{read, small};
use crate::inspect::stores::{Beach, Ran, SST};

/// A table file, `t.sst`, in a directory of its own.
fn home(bytes: &[u8]) -> Beach {
    let beach = Beach::new();
    fs::write(beach.home().join("t.sst"), bytes).expect("a file");
    beach
}

fn json(beach: &Beach, words: &[&str], schema: &str) -> Ran {
    let ran = beach.run(SST, &[words, &["--json"]].concat());
    ran.is_valid(schema);
    ran
}

/// Statuses and numbers of each kind of lookup: found, shadowed versions, absent and filtered, and a
/// false positive; damage on the way outranks the answer.
#[test]
fn get_says_what_the_filter_and_the_blocks_say() {
    let bytes = small(Compression::None);
    let beach = home(&bytes);
    let found = json(&beach, &["get", "t.sst", "shore:003"], "sstDump-get");
    assert_eq!(found.code, 0, "{}", found.err);
    let versions = found.of_kind("version");
    assert_eq!(versions.len(), 2);
    assert_eq!((&versions[0]["seqno"], &versions[1]["value"]), (&103.into(), &"older".into()));
    // The value lies where the answer says.
    let at = versions[1]["offset"].as_u64().expect("an offset") as usize;
    assert_eq!(&bytes[at..at + 5], b"older");
    let text = beach.run(SST, &["get", "t.sst", "shore:004"]);
    assert!(text.code == 0 && text.out.contains("#104,DEL"), "{}", text.out);

    let (mut negatives, mut passes) = (0, 0);
    for n in 100..400 {
        let key = format!("shore:{n}");
        let absent = json(&beach, &["get", "t.sst", &key], "sstDump-get");
        assert_eq!(absent.code, 1, "{}", absent.err);
        let summary = absent.of_kind("summary").remove(0);
        let passed = absent.of_kind("filter")[0]["answer"] == "passes";
        assert_eq!(summary["false_positive"], passed);
        (negatives, passes) = (negatives + i32::from(!passed), passes + i32::from(passed));
        if negatives > 5 && passes > 0 {
            break;
        }
    }
    assert!(negatives > 5, "the filter hides most strangers");

    let mut damaged = bytes.clone();
    let offset = found.of_kind("block")[0]["offset"].as_u64().expect("an offset") as usize;
    damaged[offset + 30] ^= 1;
    damaged[offset + 31] ^= 1;
    let beach = home(&damaged);
    let blocked = json(&beach, &["get", "t.sst", "shore:003"], "sstDump-get");
    assert_eq!((blocked.code, blocked.of_kind("finding").len()), (3, 1));
    assert_eq!(json(&beach, &["get", "t.sst", "zebra"], "sstDump-get").code, 1);
    assert_eq!(beach.run(SST, &["get", "t.sst"]).code, 2);
    assert_eq!(beach.run(SST, &["get", "nowhere.sst", "k"]).code, 5);
}

/// A byte of each part, by decimal and hexadecimal offset, and one that is not there.
#[test]
fn at_names_part_field_and_key() {
    for compression in [Compression::None, Compression::Lz4] {
        let bytes = small(compression);
        let beach = home(&bytes);
        for part in read(&bytes).expect("a reading").parts {
            for offset in [part.offset, part.end - 1] {
                let place = json(&beach, &["at", "t.sst", &offset.to_string()], "sstDump-at");
                let place = (place.code, place.of_kind("byte").remove(0));
                assert_eq!((place.0, &place.1["part"]), (0, &part.name.as_str().into()));
                assert_eq!(place.1["byte"], bytes[offset as usize]);
            }
        }
        let text = beach.run(SST, &["at", "t.sst", "0x10"]);
        assert!(text.code == 0 && text.out.contains("part   data block 0"), "{}", text.out);
    }
    let beach = home(&small(Compression::None));
    assert_eq!(beach.run(SST, &["at", "t.sst", "99999"]).code, 2);
    let entry = (0..200).find_map(|offset| {
        let place = json(&beach, &["at", "t.sst", &offset.to_string()], "sstDump-at");
        let byte = place.of_kind("byte").remove(0);
        byte["key"].is_string().then_some(byte)
    });
    assert_eq!(entry.expect("an entry")["key"], "shore:000");
}

/// The regions of `--layout` cover the file, and those of `--block --hex` have its very bytes.
#[test]
fn layout_and_hex_show_every_byte() {
    for compression in [Compression::None, Compression::Lz4] {
        let bytes = small(compression);
        let beach = home(&bytes);
        let layout = json(&beach, &["--layout", "t.sst"], "sstDump-layout");
        assert_eq!(layout.code, 0, "{}", layout.err);
        let mut end = 0;
        for region in layout.of_kind("region").iter().filter(|region| region["packed"] == false) {
            assert_eq!(region["offset"], end);
            end += region["size"].as_u64().expect("a size");
        }
        assert_eq!(end, bytes.len() as u64);
        for part in read(&bytes).expect("a reading").parts {
            let name = part.name.trim_start_matches("data block ");
            let shown = json(&beach, &["--block", name, "--hex", "t.sst"], "sstDump-block");
            assert_eq!(shown.code, 0, "{}", shown.err);
            let regions = shown.of_kind("region");
            let plain = regions.iter().filter(|region| region["packed"] == false);
            let digits: String = plain.map(|region| region["hex"].as_str().expect("hex")).collect();
            assert_eq!(digits, hex::encode(&bytes[part.offset as usize..part.end as usize]));
            let text = beach.run(SST, &["--block", name, "--hex", "t.sst"]);
            assert!(
                text.out.contains("checksum ok") && text.out.lines().count() > 4,
                "{}",
                text.out
            );
        }
        assert_eq!(beach.run(SST, &["--block", "99", "t.sst"]).code, 1);
        assert_eq!(beach.run(SST, &["--block", "x", "t.sst"]).code, 2);
    }
}

/// Counts of the histogram add up to the entries, whatever is counted.
#[test]
fn a_histogram_counts_every_entry() {
    let beach = Beach::busy();
    let ran = json(&beach, &["histogram", "--prefix", "4", "sand"], "sstDump-histogram");
    assert_eq!(ran.code, 0, "{}", ran.err);
    let entries = ran.of_kind("summary")[0]["entries"].as_u64().expect("a count");
    let sum = |objects: Vec<serde_json::Value>| -> u64 {
        objects.iter().map(|object| object["count"].as_u64().expect("a count")).sum()
    };
    assert_eq!(sum(ran.of_kind("prefix")), entries);
    let mut keys = ran.of_kind("bucket");
    keys.retain(|bucket| bucket["of"] == "key_size");
    assert_eq!(sum(keys), entries);
    let text = beach.run(SST, &["histogram", "sand"]);
    assert!(text.out.contains("bytes of values") && text.out.contains("####"), "{}", text.out);
}

/// Statuses of the doctor: sound, damaged, mended, mended in part, nothing to mend with.
#[test]
fn the_doctor_ends_as_the_contract_says() {
    let bytes = small(Compression::None);
    let sound = home(&bytes);
    let healthy = json(&sound, &["doctor", "t.sst", "--write-fixed", "c.sst"], "sstDump-doctor");
    assert_eq!((healthy.code, sound.home().join("c.sst").exists()), (0, false));
    assert!(sound.run(SST, &["doctor", "t.sst"]).out.contains("nothing to do"));

    let mut flipped = bytes.clone();
    flipped[40] ^= 8;
    let beach = home(&flipped);
    assert_eq!(json(&beach, &["doctor", "t.sst"], "sstDump-doctor").code, 3);
    let fixed = json(&beach, &["doctor", "t.sst", "--write-fixed", "c.sst"], "sstDump-doctor");
    assert_eq!(fixed.code, 0, "{}", fixed.err);
    assert_eq!(fs::read(beach.home().join("c.sst")).expect("the copy"), bytes);
    assert_eq!(fs::read(beach.home().join("t.sst")).expect("the table"), flipped);
    let again = beach.run(SST, &["doctor", "t.sst", "--write-fixed", "c.sst"]);
    assert_eq!(again.code, 2, "it would overwrite: {}", again.err);
    assert_eq!(beach.run(SST, &["doctor", "t.sst", "t.sst", "--write-fixed", "d.sst"]).code, 2);

    let lost = read(&bytes).expect("a reading").parts[2].offset as usize;
    flipped[lost..lost + 2].fill(0x5a);
    let beach = home(&flipped);
    let partly = json(&beach, &["doctor", "t.sst", "--write-fixed", "c.sst"], "sstDump-doctor");
    assert_eq!(partly.code, 6, "{}", partly.err);
    assert_eq!(partly.of_kind("summary")[0]["left"], 1);
    assert_eq!(beach.run(SST, &["c.sst"]).code, 3);
    let nothing = beach.run(SST, &["doctor", "c.sst", "--write-fixed", "d.sst"]);
    assert_eq!((nothing.code, beach.home().join("d.sst").exists()), (3, false));
}

/// The dump of a store's tables, sound and damaged, is as its schema says; findings name the level
/// and the keys.
#[test]
fn the_dump_is_as_its_schema_says() {
    let beach = Beach::busy();
    let sound = json(&beach, &["--entries", "sand"], "sstDump");
    assert_eq!((sound.code, sound.of_kind("finding").len()), (0, 0));
    for name in beach.names(".sst") {
        beach.damage(&name, |bytes| {
            bytes[20] ^= 0x11;
            let filter = bytes.len() - 64 + 40;
            bytes[filter] ^= 1;
        });
    }
    let damaged = json(&beach, &["--entries", "sand"], "sstDump");
    assert_eq!(damaged.code, 3);
    let findings = damaged.of_kind("finding");
    assert_eq!(findings.len(), 2 * beach.names(".sst").len());
    assert!(findings.iter().all(|found| found["level"].is_number()));
    let of_data = findings.iter().filter(|found| found["code"] == "BT005");
    assert!(
        of_data.into_iter().all(|found| found["first"].is_string() && found["last"].is_string())
    );
}

/// One small table for each kind of damage, and what dump and doctor say about it.
fn cases() -> Vec<(&'static str, Vec<u8>)> {
    let sound = small(Compression::Lz4);
    let parts = read(&sound).expect("a reading").parts;
    let part = |name: &str| {
        let part = parts.iter().find(|part| part.name == name).expect("a part");
        part.offset as usize..part.end as usize
    };
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = sound.clone();
        change(&mut bytes);
        bytes
    };
    vec![
        ("table-sound", sound.clone()),
        ("table-flip-in-data", changed(&|bytes| bytes[part("data block 2").start + 20] ^= 0x10)),
        ("table-flip-in-filter", changed(&|bytes| bytes[part("filter").start + 30] ^= 1)),
        ("table-flip-in-properties", changed(&|bytes| bytes[part("properties").start + 5] ^= 2)),
        ("table-flip-in-index", changed(&|bytes| bytes[part("index").start + 4] ^= 4)),
        ("table-flip-in-footer", changed(&|bytes| bytes[part("footer").start + 9] ^= 0x80)),
        (
            "table-two-bytes-wrong",
            changed(&|bytes| {
                let start = part("data block 1").start;
                bytes[start + 9] ^= 0xff;
                bytes[start + 50] ^= 0xff;
            }),
        ),
        ("table-zeroed-sector", changed(&|bytes| bytes[512..1024].fill(0))),
        (
            "table-zeroed-end",
            changed(&|bytes| {
                let start = part("index").start;
                bytes[start..].fill(0);
            }),
        ),
        ("table-cut-in-data", changed(&|bytes| bytes.truncate(part("data block 4").start + 30))),
        ("table-cut-in-index", changed(&|bytes| bytes.truncate(part("index").end - 40))),
        ("table-appended", changed(&|bytes| bytes.extend_from_slice(&[0; 100]))),
    ]
}

/// The damaged tables are in `fixtures/damaged`, each with what the tool prints about it; a change
/// of what is printed shows in review.
#[test]
fn what_is_said_about_damage_is_written_down() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/damaged");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    for (name, bytes) in cases() {
        let path = |end: &str| -> PathBuf { folder.join(format!("{name}.{end}")) };
        if update {
            fs::create_dir_all(&folder).expect("the directory");
            fs::write(path("sst"), &bytes).expect("the table");
        }
        let beach = Beach::new();
        let file = format!("{name}.sst");
        fs::copy(path("sst"), beach.home().join(&file)).expect("a file");
        let mut text = String::new();
        for words in [&["--entries", &file][..], &["doctor", &file]] {
            let ran = beach.run(SST, words);
            let (out, err) = (&ran.out, &ran.err);
            text +=
                &format!("$ beach-sstDump {}\n{out}{err}exit {}\n\n", words.join(" "), ran.code);
            let sound = name == "table-sound";
            assert_eq!(ran.code, if sound { 0 } else { 3 }, "{name}: {err}");
        }
        if update {
            fs::write(path("txt"), &text).expect("the text");
        }
        let expected = fs::read_to_string(path("txt")).unwrap_or_default();
        assert_eq!(text, expected, "{name}: UPDATE_GOLDEN=1 makes it anew");
    }
}
