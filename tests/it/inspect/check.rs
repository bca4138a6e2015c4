//! `beach check`, and the library's check.

use super::stores::{BEACH, Beach};

/// A healthy store has no finding, in text and in JSON, and the counts are of all its files.
#[test]
fn a_sound_store_is_sound() {
    let beach = Beach::busy();
    let ran = beach.run(BEACH, &["--db", "sand", "check"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
    assert!(ran.out.starts_with("sound: ") && ran.out.lines().count() == 1, "{}", ran.out);
    let ran = beach.run(BEACH, &["--db", "sand", "check", "--json"]);
    ran.is_valid("check");
    let summary = &ran.objects()[0];
    let files = beach.names("").len() as u64;
    assert_eq!(summary["files"], files - 1, "all but LOCK: {summary}");
    assert_eq!((&summary["damaged"], &summary["notices"]), (&0.into(), &0.into()));
}
