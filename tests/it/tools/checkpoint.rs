//! `checkpoint`: a copy that is a store, made beside whoever works on the original.

use super::{Place, Ran, bare, picture};

fn copy(place: &Place, words: &[&str]) -> Ran {
    Ran::of(bare().arg("--db").arg(place.path("copy")).args(words))
}

/// With a table and a log, while another process holds the lock: the copy has what was there, the
/// original is byte for byte as it was, and the two go on apart.
#[test]
fn a_checkpoint_is_made_beside_a_writer_and_is_a_store() {
    let place = Place::with(&[("a", "1"), ("b", "2")]);
    place.run(["flush"]).expect(0);
    let mut writer = place.start(&["apply", "--ack"]);
    writer.write(&super::operation("c", "3"));
    assert!(writer.read_line().contains("\"seq\":3"));
    let before = place.picture();
    let out = place.path("copy");
    let ran = place.run(["checkpoint", out.to_str().expect("text"), "--json"]).expect(0);
    let made = &ran.objects()[0];
    assert_eq!((&made["seq"], &made["tables"], &made["linked"]), (&3.into(), &2.into(), &1.into()));
    assert_eq!(place.picture(), before);
    copy(&place, &["scan"]).expect(0).prints("a\t1\nb\t2\nc\t3\n").quietly();
    copy(&place, &["del", "a"]).expect(0).quietly();
    writer.write(&super::operation("d", "4"));
    assert!(writer.read_line().contains("\"seq\":4"));
    writer.wait().expect(0);
    place.run(["scan", "--keys-only"]).expect(0).prints("a\nb\nc\nd\n");
    copy(&place, &["scan", "--keys-only"]).expect(0).prints("b\nc\n");
}

/// A place that is taken, or that cannot be made: told, and left as it was.
#[test]
fn a_checkpoint_needs_a_place_of_its_own() {
    let place = Place::with(&[("a", "1")]);
    let strangers = place.path("strangers");
    std::fs::create_dir(&strangers).expect("a directory");
    std::fs::write(strangers.join("letter"), "private").expect("a file");
    let before = picture(&strangers);
    let run = |out: &std::path::Path| place.run(["checkpoint", out.to_str().expect("text")]);
    run(&strangers).expect(2).prints("").says("it holds letter");
    run(&place.db()).expect(2).prints("").says("it holds a store");
    run(&strangers.join("letter")).expect(5).prints("");
    assert_eq!(picture(&strangers), before);
    run(&place.path("copy")).expect(0).prints("").says("1 table of");
    run(&place.path("copy")).expect(2).says("it holds a store");
}
