//! Round trips byte for byte, and what is refused.

use super::*;
use proptest::prelude::*;

const ALL: [Format; 3] = [Format::Ndjson, Format::Tsv, Format::Csv];

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn dump(format: Format, pairs: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = Writer::new(format, &mut out).unwrap();
    for (key, value) in pairs {
        writer.record(key, value).unwrap();
    }
    writer.finish().unwrap();
    out
}

fn open(input: &[u8], format: Option<Format>) -> Result<Reader, Problem> {
    Reader::open(Box::new(io::Cursor::new(input.to_vec())), format)
}

/// Everything that can be read, and everything that cannot.
fn read(input: &[u8]) -> (Vec<(String, String)>, Vec<String>) {
    let mut found = (Vec::new(), Vec::new());
    for item in open(input, None).unwrap() {
        match item {
            Ok(record) => found.0.push((
                record.key.escape_ascii().to_string(),
                record.value.escape_ascii().to_string(),
            )),
            Err(problem) => found.1.push(problem.to_string()),
        }
    }
    found
}

fn entries(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Text with the separators and quotes of all three formats is frequent, raw bytes are too.
fn pairs() -> impl Strategy<Value = Pairs> {
    let key = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..20),
        "[\\{\\}\"',;\\\\#\r\n\t a-c\u{feff}é\\x00]{1,12}".prop_map(String::into_bytes),
    ];
    let value = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        "[\\{\\}\"',;\\\\#\r\n\t a-c\u{feff}é\\x00]{0,20}".prop_map(String::into_bytes),
    ];
    prop::collection::vec((key, value), 0..12)
}

proptest! {
    /// The reader is not told the format, and compares with the end line itself.
    #[test]
    fn every_dump_loads_byte_for_byte(pairs in pairs()) {
        for format in ALL {
            let bytes = dump(format, &pairs);
            let mut reader = open(&bytes, None).unwrap();
            prop_assert_eq!(reader.format(), format);
            let loaded: Pairs = reader
                .by_ref()
                .map(|item| item.map(|record| (record.key, record.value)))
                .collect::<Result<_, _>>()
                .unwrap();
            prop_assert_eq!(&loaded, &pairs);
            prop_assert_eq!(reader.position(), bytes.len() as u64);
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Cuts a dump everywhere behind its header's text.
    #[test]
    fn a_dump_that_was_cut_is_noticed(pairs in pairs()) {
        for format in ALL {
            let bytes = dump(format, &pairs);
            let header = bytes.iter().position(|byte| *byte == b'\n').unwrap();
            for cut in header..bytes.len() - 1 {
                let found: Result<Vec<Record>, _> = open(&bytes[..cut], Some(format)).unwrap().collect();
                prop_assert!(found.is_err(), "{:?} cut at {} is accepted", format, cut);
            }
        }
    }
}

/// The bytes of each format, and the checksum as Python's `zlib.crc32` computes it over
/// `b"\1\0\0\0a\1\0\0\x001" b"\2\0\0\0b\xff\3\0\0\0x,y"`.
#[test]
fn the_formats_are_as_documented() {
    let pairs = [(b"a".to_vec(), b"1".to_vec()), (b"b\xff".to_vec(), b"x,y".to_vec())];
    let text = |format| String::from_utf8(dump(format, &pairs)).unwrap();
    assert_eq!(
        text(Format::Ndjson),
        "{\"t\":\"dump\",\"version\":1}\n\
         {\"t\":\"entry\",\"key\":\"a\",\"value\":\"1\"}\n\
         {\"t\":\"entry\",\"key_b64\":\"Yv8=\",\"value\":\"x,y\"}\n\
         {\"t\":\"summary\",\"records\":2,\"crc32\":\"c3565c1b\",\"complete\":true}\n"
    );
    assert_eq!(
        text(Format::Tsv),
        "#beach-dump version=1\na\t1\nb\\xff\tx,y\n#end records=2 crc32=c3565c1b\n"
    );
    assert_eq!(
        text(Format::Csv),
        "t,key,value,key_b64,value_b64\n\
         entry,a,1,,\n\
         entry,,\"x,y\",Yv8=,\n\
         summary,2,c3565c1b,,\n"
    );
}

/// A record more, a record less, a changed byte: the count or the checksum tells.
#[test]
fn a_dump_that_was_changed_is_noticed() {
    let pairs = [(b"a".to_vec(), b"1".to_vec()), (b"b".to_vec(), b"zz".to_vec())];
    for format in ALL {
        let text = String::from_utf8(dump(format, &pairs)).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let fewer = [lines[0], lines[1], lines[3]].join("\n");
        let more = [lines[0], lines[1], lines[1], lines[2], lines[3]].join("\n");
        let swapped = [lines[0], lines[2], lines[1], lines[3]].join("\n");
        for changed in [fewer, more, swapped, text.replace("zz", "zy")] {
            let last = open(changed.as_bytes(), None).unwrap().last().unwrap();
            assert!(matches!(last, Err(Problem::Damaged(_))), "{changed}");
        }
        let (_, problems) = read([text.as_str(), &text].concat().as_bytes());
        assert!(problems[0].contains("behind the dump's end line"), "{problems:?}");
    }
}

/// What people have: no header, no end line, Windows line ends, a byte order mark, blank lines.
#[test]
fn files_from_elsewhere_are_read_and_told_apart() {
    let two = entries(&[("a", "1"), ("b", "2")]);
    for input in [
        "{\"key\":\"a\",\"value\":\"1\"}\r\n\r\n{\"value\":\"2\",\"key\":\"b\",\"more\":[]}",
        "{\"t\":\"entry\",\"key_b64\":\"YQ==\",\"value\":\"1\"}\n{\"key\":\"b\",\"value\":\"2\"}\n",
        "a\t1\r\nb\t2\r\n",
        "\u{feff}a\t1\n\nb\t2",
        "key,value\na,1\nb,2\n",
        "\u{feff}\"value\",\"key\"\r\n\"1\",a\r\n2,\"b\"\r\n",
        "key_b64,value\nYQ==,1\nYg==,2",
    ] {
        assert_eq!(read(input.as_bytes()), (two.clone(), vec![]), "{input}");
    }
    assert_eq!(read(b"{a}\t1\n"), (entries(&[("{a}", "1")]), vec![]));
    assert_eq!(read(b"#a\t\n"), (entries(&[("#a", "")]), vec![]));
    assert_eq!(read(b"key,value\na,\"1\r\n2\n\"\"3\"\n").0, entries(&[("a", "1\\r\\n2\\n\\\"3")]));
    assert_eq!(read(b""), (vec![], vec![]));
    assert!(matches!(open(b"just words\n", None), Err(Problem::Unknown)));
    assert!(matches!(open(b"id,name\n1,x\n", None), Err(Problem::Unknown)));
}

/// Each bad line is told with its number, and the good line behind it is still read.
#[test]
fn a_bad_line_has_a_number_and_reading_goes_on() {
    for (input, why) in [
        (
            "{\"key\":\"a\",\"value\":\"1\"}\n{\"key\":\"b\"\n{\"key\":\"c\",\"value\":\"3\"}\n",
            "bad JSON at column 10",
        ),
        (
            "{\"key\":\"a\",\"value\":\"1\"}\n{\"key\":\"b\"}\n{\"key\":\"c\",\"value\":\"3\"}\n",
            "no \"value\"",
        ),
        (
            "{\"key\":\"a\",\"value\":\"1\"}\n{\"key\":1,\"value\":\"\"}\n{\"key\":\"c\",\"value\":\"3\"}\n",
            "\"key\" is not a string",
        ),
        (
            "{\"key\":\"a\",\"value\":\"1\"}\n[]\n{\"key\":\"c\",\"value\":\"3\"}\n",
            "not a JSON object",
        ),
        (
            "{\"key\":\"a\",\"value\":\"1\"}\n{\"key\":\"\",\"value\":\"\"}\n{\"key\":\"c\",\"value\":\"3\"}\n",
            "the key is empty",
        ),
        (
            "{\"key\":\"a\",\"value\":\"1\"}\n{\"key\":\"b\",\"key_b64\":\"\",\"value\":\"\"}\n{\"key\":\"c\",\"value\":\"3\"}\n",
            "both there",
        ),
        (
            "{\"key\":\"a\",\"value\":\"1\"}\n{\"op\":\"del\",\"key\":\"b\"}\n{\"key\":\"c\",\"value\":\"3\"}\n",
            "beach apply",
        ),
        (
            "{\"key\":\"a\",\"value\":\"1\"}\n{\"key\":\"b\",\"value_b64\":\"*\"}\n{\"key\":\"c\",\"value\":\"3\"}\n",
            "bad base64",
        ),
        ("a\t1\nb\nc\t3\n", "no tab"),
        ("a\t1\nb\t2\t\nc\t3\n", "more than one tab"),
        ("a\t1\nb\t\\q\nc\t3\n", "value: bad escape at 0"),
        ("a\t1\n#beach-dump version=9\nc\t3\n", "version=9"),
        ("key,value\na,1\nb\nc,3\n", "1 cells, but 2 columns"),
        ("key,value\na,1\nb,x\"y\nc,3\n", "a quote within"),
        ("key,value\na,1\nb,\"x\"y\nc,3\n", "follows a closing quote"),
        ("key,value,key_b64\na,1,\nb,2,Yg==\nc,3,\n", "both filled"),
    ] {
        let number = if input.starts_with("key,") { 3 } else { 2 };
        let (found, problems) = read(input.as_bytes());
        assert_eq!(found, entries(&[("a", "1"), ("c", "3")]), "{input}");
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with(&format!("line {number}: ")), "{problems:?}");
        assert!(problems[0].contains(why), "{problems:?} does not say {why}");
    }
}

/// Without strict quoting the value would be everything up to the end of the file.
#[test]
fn a_quote_that_is_never_closed_is_told_where_it_opens() {
    let (found, problems) = read(b"key,value\na,\"1\nb,2\nc,3\n");
    assert_eq!(found, []);
    assert_eq!(problems, ["line 2: a quote that opens here is never closed"]);
}

/// The operations of `apply`, and near misses.
#[test]
fn operations_are_parsed_strictly() {
    let parse = |line: &str| parse_operation(line.as_bytes());
    let record = Record { key: b"a".to_vec(), value: vec![0xff] };
    assert_eq!(parse(r#"{"op":"put","key":"a","value_b64":"/w=="}"#), Ok(Operation::Put(record)));
    assert_eq!(parse(r#"{"op":"del","key":"a"}"#), Ok(Operation::Delete(b"a".to_vec())));
    assert_eq!(parse(r#"{"op":"commit"}"#), Ok(Operation::Commit));
    for (line, why) in [
        (r#"{"op":"put","key":"a"}"#, "no \"value\""),
        (r#"{"op":"del"}"#, "no \"key\""),
        (r#"{"op":"del","key":""}"#, "the key is empty"),
        (r#"{"op":"delete","key":"a"}"#, "unknown operation \"delete\""),
        (r#"{"key":"a","value":"1"}"#, "beach load"),
        (r#"{"op":"put","key":"\ud800","value":""}"#, "bad JSON"),
    ] {
        let refused = parse(line).unwrap_err();
        assert!(refused.contains(why), "{refused} does not say {why}");
    }
}

/// A key that is one byte too long is the line's fault, not found out when the batch is written.
#[test]
fn sizes_are_checked_with_the_line() {
    let longest = "k".repeat(KEY_SIZE_MAX);
    let (found, problems) = read(format!("{longest}\t1\n{longest}k\t2\n").as_bytes());
    assert_eq!(found.len(), 1);
    assert_eq!(problems, ["line 2: the key has 65536 bytes, limit is 65535"]);
}
