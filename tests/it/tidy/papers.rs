//! The papers: links that lead somewhere, every page within reach, every promise with its row in
//! the table of tests, and no word of the place where a file was written.

use std::collections::{BTreeMap, BTreeSet};

use super::Tree;

/// Directories of a writer's machine. In halves, so that this file does not contain them.
const PRIVATE: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/tmp/", "wt/"),
    concat!(".lib", "rary"),
    concat!("far", "m-"),
];

/// What was run, and what was found by it.
const EVIDENCE: &str = "docs/evidence.md";

/// Where a reader begins.
const ENTRANCES: &[&str] = &["README.md", "docs/architecture.md"];

/// The pages whose sentences are numbered, each with its letter.
const PROMISES: &[(&str, char)] = &[("docs/semantics.md", 'S'), ("docs/durability.md", 'D')];

/// The page with a row for each of those sentences.
const PROOFS: &str = "docs/testing.md";

/// Promises that may still be without a test. It only ever falls.
const UNPROVEN_MAX: usize = 0;

/// Words of [`PRIVATE`] in any text file.
pub(super) fn private_words(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for (file, text) in tree.under("") {
        for (index, line) in text.lines().enumerate() {
            let words = PRIVATE.iter().filter(|word| line.contains(*word));
            found.extend(words.map(|word| format!("{file}:{}: contains {word}", index + 1)));
        }
    }
    found
}

/// Links between pages that lead to no file, or to no heading or anchor of it.
pub(super) fn dead_links(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for (page, text) in pages(tree) {
        for link in links(text) {
            let at = format!("{page}:{}: ", link.line);
            match resolve(page, &link.target) {
                None => found.push(format!("{at}{} leads out of the repository", link.target)),
                Some((file, anchor)) => {
                    found.extend(dead(tree, &file, &anchor).map(|why| at + &why));
                }
            }
        }
    }
    found
}

/// Pages in `docs` to which no link leads from [`ENTRANCES`].
pub(super) fn unreachable_pages(tree: &Tree) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut next: Vec<String> = ENTRANCES.iter().map(|&page| page.to_owned()).collect();
    while let Some(page) = next.pop() {
        let Some(text) = tree.files.get(&page).filter(|_| page.ends_with(".md")) else { continue };
        if seen.insert(page.clone()) {
            let targets = links(text).into_iter().filter_map(|link| resolve(&page, &link.target));
            next.extend(targets.map(|(file, _)| file));
        }
    }
    let all = pages(tree).filter(|(page, _)| page.starts_with("docs/") && !seen.contains(*page));
    all.map(|(page, _)| format!("{page}: no link leads here")).collect()
}

/// Promises without a row in [`PROOFS`], rows without a promise, rows that name a test that is
/// not there, and more promises without a test than there may be.
pub(super) fn unproven_promises(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    let promised = promises(tree, &mut found);
    let proofs = tree.files.get(PROOFS).map(|text| proofs(text, &mut found)).unwrap_or_default();
    let tests = test_names(tree);
    let missing =
        promised.difference(&proofs.keys().cloned().collect()).cloned().collect::<Vec<_>>();
    found.extend(missing.iter().map(|id| format!("{PROOFS}: no row for {id}")));
    for (id, names) in &proofs {
        if !promised.contains(id) {
            found.push(format!("{PROOFS}: {id} is promised nowhere"));
        }
        let lost = names.iter().filter(|name| !tests.contains(name.as_str()));
        found.extend(lost.map(|name| format!("{PROOFS}: {id}: there is no test {name}")));
    }
    let unproven = proofs.values().filter(|names| names.is_empty()).count();
    if unproven > UNPROVEN_MAX {
        found.push(format!("{PROOFS}: {unproven} rows without a test, limit is {UNPROVEN_MAX}"));
    }
    found
}

/// Bugs on the page of evidence whose test is not there.
pub(super) fn bugs_without_a_test(tree: &Tree) -> Vec<String> {
    let page = tree.files.get(EVIDENCE).map(String::as_str).unwrap_or_default();
    let bugs = page.split("## Bugs that were found").nth(1).unwrap_or_default();
    let bugs = bugs.split("\n## ").next().unwrap_or_default();
    let tests = test_names(tree);
    let mut found = Vec::new();
    for row in bugs.lines().filter(|line| line.starts_with('|')).skip(2) {
        let cell = row.trim_matches('|').rsplit('|').next().unwrap_or_default();
        let mut named = cell.split('`').skip(1).step_by(2).peekable();
        if named.peek().is_none() {
            found.push(format!("{EVIDENCE}: a bug without a test: {row}"));
        }
        let lost = named.filter(|name| !tests.contains(name));
        found.extend(lost.map(|name| format!("{EVIDENCE}: there is no test {name}")));
    }
    found
}

/// Commands that `.ci/run` takes from the front page and that are not on it.
pub(super) fn commands_missing_from_the_front_page(tree: &Tree) -> Vec<String> {
    let (Some(run), Some(page)) = (tree.files.get(".ci/run"), tree.files.get("README.md")) else {
        return Vec::new();
    };
    let on_page =
        |command: &str| page.lines().any(|line| line.trim().trim_start_matches("$ ") == command);
    let taken = run.lines().filter_map(|line| line.strip_prefix("from_readme "));
    let lost = taken.filter(|command| !on_page(command));
    lost.map(|command| format!("README.md: no line `{command}`")).collect()
}

fn pages(tree: &Tree) -> impl Iterator<Item = (&str, &str)> {
    tree.under("").filter(|(file, _)| file.ends_with(".md"))
}

struct Link {
    target: String,
    line: usize,
}

/// The links of a page that do not lead to another site; code is not searched.
fn links(text: &str) -> Vec<Link> {
    let mut found = Vec::new();
    for (line, prose) in prose_lines(text) {
        let mut rest = prose.as_str();
        while let Some(start) = rest.find("](") {
            rest = &rest[start + 2..];
            let end = rest.find([')', ' ']).unwrap_or(rest.len());
            found.push(Link { target: rest[..end].to_owned(), line });
        }
        if let Some((_, target)) = prose.strip_prefix('[').and_then(|rest| rest.split_once("]: ")) {
            found.push(Link { target: target.trim().to_owned(), line });
        }
    }
    found.retain(|link| !link.target.contains("://") && !link.target.starts_with("mailto:"));
    found
}

/// The lines of a page with their numbers, without code blocks and code spans.
fn prose_lines(text: &str) -> Vec<(usize, String)> {
    let mut fenced = false;
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
            found.push((index + 1, prose));
        }
    }
    found
}

/// The file and the anchor a link on `page` leads to; none if it leads out of the repository.
fn resolve(page: &str, target: &str) -> Option<(String, String)> {
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    if path.is_empty() {
        return Some((page.to_owned(), anchor.to_owned()));
    }
    if path.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            _ => parts.push(part),
        }
    }
    Some((parts.join("/"), anchor.to_owned()))
}

/// Why a link to this place is dead.
fn dead(tree: &Tree, file: &str, anchor: &str) -> Option<String> {
    let Some(text) = tree.files.get(file) else {
        let is_directory = tree.under(&format!("{file}/")).next().is_some();
        return (!is_directory).then(|| format!("there is no {file}"));
    };
    let known = anchor.is_empty() || !file.ends_with(".md") || anchors(text).contains(anchor);
    (!known).then(|| format!("{file} has no anchor #{anchor}"))
}

/// The anchors of a page: those set by hand, and those that headings get.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in text.lines() {
        let by_hand = line.split("<a id=\"").skip(1).filter_map(|rest| rest.split('"').next());
        found.extend(by_hand.map(str::to_owned));
        let title = line.trim_start_matches('#');
        if title.len() < line.len() && title.starts_with(' ') {
            let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
            let slug: String = title.trim().chars().filter(kept).collect();
            found.insert(slug.to_lowercase().replace(' ', "-"));
        }
    }
    found
}

/// The numbered sentences, `**S1**` with its anchor before it; they rise, and none comes twice.
fn promises(tree: &Tree, found: &mut Vec<String>) -> BTreeSet<String> {
    let mut promised = BTreeSet::new();
    for (page, letter) in PROMISES {
        let Some(text) = tree.files.get(*page) else { continue };
        let mut last = 0;
        for (index, line) in text.lines().enumerate() {
            let Some(number) = bold_number(line, *letter) else { continue };
            let id = format!("{letter}{number}");
            if number <= last {
                found.push(format!("{page}:{}: {id} does not rise", index + 1));
            }
            if !line.contains(&format!("<a id=\"{}\">", id.to_lowercase())) {
                found.push(format!("{page}:{}: {id} has no anchor", index + 1));
            }
            last = number;
            promised.insert(id);
        }
    }
    promised
}

/// The number in `**S1**`.
fn bold_number(line: &str, letter: char) -> Option<u32> {
    let (_, rest) = line.split_once(&format!("**{letter}"))?;
    rest.split_once("**")?.0.parse().ok()
}

/// The rows `| S1 | … | tests |`: the names in code spans in the last column.
fn proofs(text: &str, found: &mut Vec<String>) -> BTreeMap<String, Vec<String>> {
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with('|')) {
        let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        let id = cells[0].trim_start_matches('[').split(']').next().unwrap_or_default();
        let numbered = |(_, letter): &&(&str, char)| {
            id.strip_prefix(*letter).is_some_and(|number| number.parse::<u32>().is_ok())
        };
        if PROMISES.iter().find(numbered).is_none() {
            continue;
        }
        let spans = cells[cells.len() - 1].split('`').skip(1).step_by(2);
        if rows.insert(id.to_owned(), spans.map(str::to_owned).collect()).is_some() {
            found.push(format!("{PROOFS}: {id} has two rows"));
        }
    }
    rows
}

/// The names of all functions in `src` and `tests`.
fn test_names(tree: &Tree) -> BTreeSet<&str> {
    let files =
        tree.under("").filter(|(file, _)| file.starts_with("src/") || file.starts_with("tests/"));
    let starts = files.flat_map(|(_, text)| text.split("fn ").skip(1));
    starts.filter_map(|rest| rest.split(['(', '<']).next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bug whose test has another name by now, and one that never had any.
    #[test]
    fn a_bug_without_its_test_is_found() {
        let page = "## Bugs that were found\n\n| bug | by | test |\n|---|---|---|\n| a | b | `kept` |\n\
                    | a | b | `gone`, `kept` |\n| a | b | c |\n\n## What\n| a | b | `other` |\n";
        let tree = Tree::of(&[(EVIDENCE, page), ("src/lib.rs", "fn kept() {}")]);
        let found = bugs_without_a_test(&tree);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("gone") && found[1].contains("without a test"), "{found:?}");
    }

    /// The word in a page, and in a program.
    #[test]
    fn a_private_word_is_found() {
        let word = PRIVATE[0];
        let text = format!("fine\nsee {word}x\n");
        let tree = Tree::of(&[("a.txt", text.as_str()), ("b.rs", "network/ of farms")]);
        assert_eq!(private_words(&tree), [format!("a.txt:2: contains {word}")]);
    }

    /// Good and dead links of each kind; only the dead are reported.
    #[test]
    fn a_dead_link_is_found() {
        let tree = Tree::of(&[
            ("README.md", "[a](docs/a.md#two-words--here) [d](docs/) [w](https://x.y/z)"),
            (
                "docs/a.md",
                "# Two words — here\n<a id=\"s1\"></a> [up](../README.md) [here](#s1)
                 ```\n[code](nowhere.md)\n```\n`[code](nowhere.md)`
[ref]: b.md\n[dead](b.md) [dead](#s2) [out](../../x) [root](/README.md)",
            ),
        ]);
        let expected = [
            "docs/a.md:7: there is no docs/b.md",
            "docs/a.md:8: there is no docs/b.md",
            "docs/a.md:8: docs/a.md has no anchor #s2",
            "docs/a.md:8: ../../x leads out of the repository",
            "docs/a.md:8: /README.md leads out of the repository",
        ];
        let mut found = dead_links(&tree);
        found.sort();
        let mut expected = expected.map(str::to_owned);
        expected.sort();
        assert_eq!(found, expected);
    }

    /// A page linked through another, and one that only links back.
    #[test]
    fn a_page_out_of_reach_is_found() {
        let tree = Tree::of(&[
            ("README.md", "[a](docs/a.md)"),
            ("docs/a.md", "[b](formats/b.md)"),
            ("docs/formats/b.md", ""),
            ("docs/c.md", "[a](a.md)"),
        ]);
        assert_eq!(unreachable_pages(&tree), ["docs/c.md: no link leads here"]);
    }

    /// One fault of each kind in a page of promises and its table.
    #[test]
    fn a_promise_without_its_proof_is_found() {
        let tree = Tree::of(&[
            (
                "docs/semantics.md",
                "<a id=\"s1\"></a>**S1** a\n<a id=\"s2\"></a>**S2** b\n**S2** c\n<a id=\"s3\"></a>**S3** d",
            ),
            (
                "docs/testing.md",
                "| sentence | test |\n| [S1](semantics.md#s1) | `it_holds`, `lost` |\n| S2 | |\n| S2 | |\n| S4 | |",
            ),
            ("src/lib.rs", "fn it_holds() {}"),
        ]);
        let expected = [
            "docs/semantics.md:3: S2 does not rise",
            "docs/semantics.md:3: S2 has no anchor",
            "docs/testing.md: S2 has two rows",
            "docs/testing.md: no row for S3",
            "docs/testing.md: S1: there is no test lost",
            "docs/testing.md: S4 is promised nowhere",
            "docs/testing.md: 2 rows without a test, limit is 0",
        ];
        assert_eq!(unproven_promises(&tree), expected);
    }

    /// One command that is on the front page, one that is there only in part.
    #[test]
    fn a_command_missing_from_the_front_page_is_found() {
        let run = "from_readme cargo test\nfrom_readme cargo run\n";
        let tree =
            Tree::of(&[(".ci/run", run), ("README.md", "    cargo test\n    cargo run x\n")]);
        assert_eq!(commands_missing_from_the_front_page(&tree), ["README.md: no line `cargo run`"]);
    }
}
