//! `beach explain`.

use super::stores::{BEACH, Beach};

/// Every code of the list has a page of its own, and both outputs are as documented.
#[test]
fn every_code_is_explained() {
    let beach = Beach::new();
    let list = beach.run(BEACH, &["explain", "--json"]);
    assert_eq!(list.code, 0, "{}", list.err);
    list.is_valid("explain");
    let codes = list.of_kind("code");
    assert_eq!(codes.len(), beachdb::inspect::Code::ALL.len());
    for code in codes {
        let page = beach.run(BEACH, &["explain", code["code"].as_str().expect("a code"), "--json"]);
        page.is_valid("explain");
        assert!(page.of_kind("code")[0]["page"].as_str().expect("a page").len() > 80, "{code}");
    }
    let unknown = beach.run(BEACH, &["explain", "BX999"]);
    assert_eq!((unknown.code, unknown.out.as_str()), (2, ""));
    assert!(unknown.err.contains("beach explain"), "{}", unknown.err);
}
