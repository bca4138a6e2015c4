//! The page that plays a history, in a browser where there is one.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use serde_json::Value;

use super::super::stores::{Beach, MANIFEST};
use super::{on_disk, sea};

/// Debian's browser, or the one that `CHROMIUM` names; none where there is none.
fn chromium() -> Option<PathBuf> {
    let named = env::var_os("CHROMIUM").map(PathBuf::from);
    let usual = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
    named.into_iter().chain(usual.map(PathBuf::from)).find(|path| path.exists())
}

/// Opens the page from its file, lets it test itself, and reads what it says.
fn self_test(browser: &Path, page: &Path, home: &Path) -> Value {
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-quic"])
        .args(["--window-size=1280,800"])
        .arg(format!("--user-data-dir={}", home.join("profile").display()))
        .args(["--dump-dom", &format!("file://{}#selftest", page.display())])
        .output()
        .expect("the browser runs");
    let dom = String::from_utf8_lossy(&output.stdout);
    let found = dom.split_once("data-selftest=\"").and_then(|(_, rest)| rest.split_once('"'));
    let (report, _) = found.unwrap_or_else(|| {
        panic!("no report: {dom:.600}\n{}", String::from_utf8_lossy(&output.stderr))
    });
    let report = report.replace("&quot;", "\"").replace("&lt;", "<").replace("&amp;", "&");
    serde_json::from_str(&report).expect("a report")
}

fn page_of(beach: &Beach) -> PathBuf {
    let ran = beach.run(MANIFEST, &["html", "sand", "-o", "sand.html", "--json"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    ran.is_valid("manifest-html");
    let page = beach.home().join("sand.html");
    assert_eq!(ran.of_kind("summary")[0]["bytes"], fs::metadata(&page).expect("the page").len());
    page
}

/// The page checks itself: the tree after the last edit against what the tool read, jumps against
/// steps, the slider, keys, the tip of a table, playing; no error was thrown.
#[test]
fn the_page_plays_in_a_browser() {
    let beach = on_disk(&sea(60, 8 << 10));
    let page = page_of(&beach);
    let Some(browser) = chromium() else {
        println!("skipped: there is no chromium on this machine");
        return;
    };
    let report = self_test(&browser, &page, beach.home());
    println!("{report}");
    assert_eq!(report["ok"], true, "{report}");
    assert!(report["steps"].as_u64().expect("steps") > 60, "{report}");
}

/// Keys with all bytes, with the end of a script in them, and long ones: the page says what it says
/// without them, and its script runs.
#[test]
fn any_key_fits_into_the_page() {
    let beach = Beach::new();
    let db = beachdb::Db::open(beach.store()).expect("open");
    for key in [&b"</script><script>window.x=1</script>"[..], b"\xff\x00\xfe", b"<!--", b"@DATA@"] {
        db.put(key, "x").expect("put");
        db.flush().expect("flush");
    }
    db.put(vec![b'k'; 60_000], "x").expect("put");
    db.flush().expect("flush");
    db.close().expect("close");
    let page = page_of(&beach);
    let text = fs::read_to_string(&page).expect("UTF-8");
    assert!(text.len() < 100 << 10, "{}", text.len());
    assert_eq!(text.matches("</script>").count(), 2);
    assert!(text.contains("\\\\xff\\\\x00\\\\xfe"));
    let twice = beach.run(MANIFEST, &["html", "sand"]);
    assert_eq!(twice.out, text, "standard output has the same page");
    let again = beach.run(MANIFEST, &["html", "sand", "-o", "sand.html"]);
    assert_eq!(again.code, 0, "an earlier page is replaced: {}", again.err);
    let current = fs::read(beach.path("CURRENT")).expect("CURRENT");
    let refused = beach.run(MANIFEST, &["html", "sand", "-o", "sand/CURRENT"]);
    assert_eq!(refused.code, 2, "no other file is: {}", refused.err);
    assert_eq!(fs::read(beach.path("CURRENT")).expect("CURRENT"), current);
    if let Some(browser) = chromium() {
        let report = self_test(&browser, &page, beach.home());
        assert_eq!(report["ok"], true, "{report}");
    }
}

/// A history of as many edits as `BEACH_EDITS` says; prints how fast the page is.
#[test]
#[ignore = "a measurement: BEACH_EDITS=10000 cargo test --test it long_history -- --ignored"]
fn a_long_history_does_not_stall() {
    let wanted = env::var("BEACH_EDITS").ok().and_then(|n| n.parse().ok()).unwrap_or(10_000);
    let beach = on_disk(&sea(wanted / 4, 1 << 20));
    let page = page_of(&beach);
    if let Some(keep) = env::var_os("BEACH_PAGE") {
        fs::copy(&page, keep).expect("a copy");
    }
    for words in
        [&["lsm", "sand"][..], &["summarize", "sand"], &["check", "sand"], &["file", "7", "sand"]]
    {
        let began = std::time::Instant::now();
        assert!(beach.run(MANIFEST, words).code < 2);
        println!("{}: {:?}", words[0], began.elapsed());
    }
    println!("page: {} bytes", fs::metadata(&page).expect("the page").len());
    let browser = chromium().expect("chromium");
    let report = self_test(&browser, &page, beach.home());
    println!("{report}");
    assert_eq!(report["ok"], true, "{report}");
}
