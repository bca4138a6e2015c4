//! The repository keeps its own rules: layers, edges, sizes, links, promises.
//!
//! Each check is a function from a [`Tree`] to its findings. It runs here over the files of the
//! repository, and beside its definition over a small tree made to break the rule.
#![allow(clippy::disallowed_methods, reason = "these tests read the sources, not a store")]

mod layers;
mod papers;
mod source;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// Text files by their path from the repository's root.
struct Tree {
    files: BTreeMap<String, String>,
}

impl Tree {
    /// A tree made up for a test.
    fn of(files: &[(&str, &str)]) -> Tree {
        let owned = files.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned()));
        Tree { files: owned.collect() }
    }

    /// The repository: what git tracks or would, or all but the build's output without git.
    fn repository() -> Tree {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let names = listed_by_git(root).unwrap_or_else(|| {
            let mut names = Vec::new();
            walk(root, "", &mut names);
            names
        });
        let read = |name: String| {
            let bytes = std::fs::read(root.join(&name)).ok()?;
            // A picture is there, though it has no text.
            Some((name, String::from_utf8(bytes).unwrap_or_default()))
        };
        let tree = Tree { files: names.into_iter().filter_map(read).collect() };
        assert!(tree.files.contains_key("src/lib.rs"), "found no sources in {}", root.display());
        tree
    }

    /// The files whose path begins with `start`.
    fn under<'a>(&'a self, start: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let begins = move |(file, _): &(&str, &str)| file.starts_with(start);
        self.files.iter().map(|(file, text)| (file.as_str(), text.as_str())).filter(begins)
    }
}

fn listed_by_git(root: &Path) -> Option<Vec<String>> {
    let args = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").arg("-C").arg(root).args(args).output().ok()?;
    let names = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
    let names: Vec<String> =
        names.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    // A package unpacked inside some other repository is not what that repository lists.
    names.iter().any(|name| name == "src/lib.rs").then_some(names)
}

fn walk(root: &Path, dir: &str, names: &mut Vec<String>) {
    for entry in std::fs::read_dir(root.join(dir)).expect("a directory just listed").flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = if dir.is_empty() { name } else { format!("{dir}/{name}") };
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && !matches!(path.as_str(), ".git" | "target") => {
                walk(root, &path, names);
            }
            Ok(kind) if kind.is_file() => names.push(path),
            _ => {}
        }
    }
}

/// Fails with every finding, one a line.
fn assert_none(findings: &[String]) {
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

#[test]
fn modules_use_only_what_the_table_allows() {
    assert_none(&layers::breaches(&Tree::repository()));
}

#[test]
fn the_table_of_who_may_use_whom_is_the_documented_one() {
    assert_none(&layers::undocumented_rows(&Tree::repository()));
}

#[test]
fn no_source_file_is_too_long() {
    assert_none(&layers::long_files(&Tree::repository()));
}

#[test]
fn unsafe_stays_where_it_is_expected() {
    assert_none(&layers::unsafe_code(&Tree::repository()));
}

#[test]
fn every_source_file_is_part_of_the_crate() {
    assert_none(&layers::unreachable_files(&Tree::repository()));
}

#[test]
fn no_file_names_the_place_where_it_was_written() {
    assert_none(&papers::private_words(&Tree::repository()));
}

#[test]
fn every_link_leads_somewhere() {
    assert_none(&papers::dead_links(&Tree::repository()));
}

#[test]
fn every_page_is_within_reach() {
    assert_none(&papers::unreachable_pages(&Tree::repository()));
}

#[test]
fn every_promise_has_its_row_and_every_row_its_tests() {
    assert_none(&papers::unproven_promises(&Tree::repository()));
}

#[test]
fn every_bug_on_the_page_of_evidence_has_its_test() {
    assert_none(&papers::bugs_without_a_test(&Tree::repository()));
}

#[test]
fn the_commands_checked_are_those_of_the_front_page() {
    assert_none(&papers::commands_missing_from_the_front_page(&Tree::repository()));
}
