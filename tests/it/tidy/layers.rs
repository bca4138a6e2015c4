//! Who may use whom: the table of `docs/architecture.md` as data, and the checks over `src`.

use std::collections::{BTreeMap, BTreeSet};

use super::Tree;
use super::source::{self, Source};

/// In a row of [`LAYERS`]: the names that `lib.rs` re-exports, whatever module they come from.
const FACE: &str = "the public face";

/// What each module of the crate may name, itself excepted. `bin` is every file in `src/bin`.
const LAYERS: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("error", &["types"]),
    ("probe", &[]),
    ("format", &["types", "probe"]),
    ("vfs", &["types", "error"]),
    ("runtime", &["types", "error"]),
    ("record", &["types", "error", "probe", "format", "vfs", "runtime"]),
    ("table", &["types", "error", "probe", "format", "vfs", "runtime"]),
    ("engine", &["types", "error", "probe", "format", "vfs", "runtime", "record", "table"]),
    ("inspect", &["types", "error", "format", "vfs", "runtime", "record", "table", FACE]),
    ("crash", &["types", "error", "probe", "vfs", "runtime", "inspect", FACE]),
    ("bench", &["types", "error", "vfs", "runtime", "inspect", FACE]),
    ("cli", &["types", "error", "probe", "vfs", "runtime", "inspect", "crash", "bench", FACE]),
    ("bin", &["types", "error", "vfs", "runtime", "inspect", "crash", "bench", "cli", FACE]),
];

/// What only some files may name: a path, and the beginnings of the file names that may.
const EDGES: &[(&str, &[&str])] = &[
    ("std::fs", &["src/vfs/os.rs", "src/vfs/os/", "src/cli/"]),
    ("std::os::unix::fs", &["src/vfs/os.rs", "src/vfs/os/", "src/cli/"]),
    ("rustix::fs", &["src/vfs/os.rs", "src/vfs/os/"]),
    ("rustix", &["src/vfs/", "src/runtime/", "src/probe.rs"]),
    ("std::net", &[]),
    ("std::thread", &["src/runtime/", "src/cli/"]),
    ("std::time::Instant", &["src/runtime/", "src/cli/"]),
    ("std::time::SystemTime", &["src/runtime/", "src/cli/"]),
];

/// What `format` must do without: it is pure.
const IMPURE: &[&str] =
    &["std::env", "std::fs", "std::io", "std::net", "std::process", "std::thread", "std::time"];

/// Where `unsafe` may stand.
const UNSAFE: &[&str] = &["src/engine/memtable.rs", "src/engine/memtable/", "src/vfs/os/map.rs"];

/// Most lines a file in `src` may have.
const LINES_MAX: usize = 600;

/// Imports against the table, and the standard library's edges.
pub(super) fn breaches(tree: &Tree) -> Vec<String> {
    let library = Library::read(tree);
    let mut found = Vec::new();
    for (file, text) in tree.under("src/") {
        if library.test_files.contains(file) {
            continue;
        }
        let source = source::read(text);
        for path in source::paths(&source.tokens) {
            let at = format!("{file}:{}: ", path.line);
            let spelled = path.segments.join("::");
            found.extend(edge_breach(file, &spelled).map(|why| at.clone() + &why));
            if file != "src/lib.rs" {
                found.extend(library.breach(file, &path).map(|why| at + &why));
            }
        }
    }
    found
}

/// Rows of [`LAYERS`] that `docs/architecture.md` has otherwise or not at all.
///
/// Its rows are `| `module` | `used`, `used` |`; names behind a third bar are left to people.
pub(super) fn undocumented_rows(tree: &Tree) -> Vec<String> {
    let page = tree.files.get("docs/architecture.md").map_or("", |text| text);
    let mut rows = BTreeMap::new();
    for line in page.lines() {
        if let [module, may] = &line.split('|').skip(1).take(2).collect::<Vec<_>>()[..] {
            let mut names: BTreeSet<&str> = may.split('`').skip(1).step_by(2).collect();
            names.extend(may.contains(FACE).then_some(FACE));
            rows.insert(module.trim().trim_matches('`'), names);
        }
    }
    let differs = |(module, may): &&(&str, &[&str])| {
        rows.get(module) != Some(&may.iter().copied().collect::<BTreeSet<_>>())
    };
    let different = LAYERS.iter().filter(differs);
    different
        .map(|(module, _)| format!("docs/architecture.md: the row of {module} differs"))
        .collect()
}

/// Files over [`LINES_MAX`].
pub(super) fn long_files(tree: &Tree) -> Vec<String> {
    let files = tree.under("src/").map(|(file, text)| (file, text.lines().count()));
    let long = files.filter(|(_, lines)| *lines > LINES_MAX);
    long.map(|(file, lines)| format!("{file} has {lines} lines, limit is {LINES_MAX}")).collect()
}

/// `unsafe` outside [`UNSAFE`], in tests too.
pub(super) fn unsafe_code(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for (file, text) in tree.under("src/").filter(|(file, _)| !begins(file, UNSAFE)) {
        let code = source::tokens(text);
        let used = code.iter().filter(|token| token.text == "unsafe");
        found.extend(
            used.map(|token| format!("{file}:{}: unsafe is not expected here", token.line)),
        );
    }
    found
}

/// Files of the library that no `mod` line leads to. One without code is a place kept, no loss.
pub(super) fn unreachable_files(tree: &Tree) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut next = vec!["src/lib.rs".to_owned()];
    while let Some(file) = next.pop() {
        let Some(text) = tree.files.get(&file) else { continue };
        next.extend(children(&file, &source::read(text).modules));
        seen.insert(file);
    }
    let code = |text| !source::tokens(text).is_empty();
    let files = tree.under("src/").filter(|(file, text)| file.ends_with(".rs") && code(text));
    let lost = files.filter(|(file, _)| !file.starts_with("src/bin/") && !seen.contains(*file));
    lost.map(|(file, _)| format!("{file}: no mod line leads here")).collect()
}

/// Why `file` may not name this path of the standard library or of the operating system.
fn edge_breach(file: &str, spelled: &str) -> Option<String> {
    let names = |edge: &&str| covers(edge, spelled);
    if file.starts_with("src/format/") && IMPURE.iter().any(names) {
        return Some(format!("format is pure, it may not use {spelled}"));
    }
    let edge = EDGES.iter().find(|(edge, may)| names(edge) && !begins(file, may))?;
    Some(format!("{} may not be used here", edge.0))
}

/// Whether naming `spelled` names `edge`, something in it, or by a glob something around it.
fn covers(edge: &str, spelled: &str) -> bool {
    let inside =
        spelled.strip_prefix(edge).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    let around = spelled.strip_suffix('*').is_some_and(|outer| edge.starts_with(outer));
    inside || around
}

fn begins(file: &str, starts: &[&str]) -> bool {
    starts.iter().any(|start| file.starts_with(start))
}

/// The crate's modules and the names `lib.rs` re-exports.
struct Library {
    modules: BTreeSet<String>,
    face: BTreeMap<String, String>,
    test_files: BTreeSet<String>,
}

impl Library {
    fn read(tree: &Tree) -> Library {
        let root = tree.files.get("src/lib.rs").map_or("", |text| text);
        let root = source::read(root);
        let mut test_files = BTreeSet::new();
        for (file, text) in tree.under("src/") {
            test_files.extend(children(file, &source::read(text).test_modules));
            if file.ends_with("/tests.rs") {
                test_files.insert(file.to_owned());
            }
        }
        let modules = root.modules.iter().cloned().collect();
        Library { modules, face: face(&root), test_files }
    }

    /// Why this file may not name this path.
    fn breach(&self, file: &str, path: &source::Path) -> Option<String> {
        let home = module_path(file);
        let user = home.first()?;
        let full = absolute(&home, path)?;
        let first = full.first()?;
        if first == user {
            return None;
        }
        let Some((_, may)) = LAYERS.iter().find(|(module, _)| module == user) else {
            return Some(format!("module {user} has no row in the table of who may use whom"));
        };
        let may_use = |used: &str| may.contains(&used);
        if self.modules.contains(first) {
            let breach = || format!("{user} may not use {first}");
            return (!may_use(first)).then(breach);
        }
        match self.face.get(first) {
            Some(origin) if origin == user || may_use(origin) || may_use(FACE) => None,
            Some(origin) => Some(format!("{user} may not use {origin} (as crate::{first})")),
            None => Some(format!("lib.rs has no {first}")),
        }
    }
}

/// What `lib.rs` re-exports: the name, and the module it comes from.
fn face(root: &Source) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    for path in source::paths(&root.tokens) {
        let crate_root = usize::from(path.segments[0] == "crate");
        let (Some(module), Some(last)) = (path.segments.get(crate_root), path.segments.last())
        else {
            continue;
        };
        if root.modules.contains(module) {
            names.insert(path.alias.unwrap_or_else(|| last.clone()), module.clone());
        }
    }
    names
}

/// The module a file is: `src/engine/flush.rs` is `engine::flush`, every binary is `bin`.
fn module_path(file: &str) -> Vec<String> {
    let inner = file.trim_start_matches("src/").trim_end_matches(".rs");
    if inner.starts_with("bin/") {
        return vec!["bin".to_owned()];
    }
    let mut path: Vec<String> = inner.split('/').map(str::to_owned).collect();
    if matches!(path.last().map(String::as_str), Some("mod" | "lib")) {
        path.pop();
    }
    path
}

/// The path from the crate's root; none if it does not lead into this crate.
fn absolute(home: &[String], path: &source::Path) -> Option<Vec<String>> {
    let mut base: Vec<String> = home.iter().chain(&path.inside).cloned().collect();
    let mut rest = path.segments.as_slice();
    match rest[0].as_str() {
        "crate" if home[0] == "bin" => return None,
        "crate" | "beachdb" => (base, rest) = (Vec::new(), &rest[1..]),
        "self" => rest = &rest[1..],
        "super" => {}
        _ => return None,
    }
    while rest.first().is_some_and(|segment| segment == "super") {
        base.pop();
        rest = &rest[1..];
    }
    base.extend_from_slice(rest);
    Some(base)
}

/// The files that `mod` lines in `file` may mean.
fn children(file: &str, modules: &[String]) -> Vec<String> {
    let own = file.trim_end_matches(".rs");
    let dir = ["/mod", "/lib"].iter().find_map(|end| own.strip_suffix(end)).unwrap_or(own);
    let both = |module: &String| [format!("{dir}/{module}.rs"), format!("{dir}/{module}/mod.rs")];
    modules.iter().flat_map(both).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "pub mod types; pub mod error; pub mod format; pub mod vfs; pub mod engine;
        pub mod inspect; pub mod crash; pub mod cli;
        pub use error::{Error, Result}; pub use crate::engine::Db;";

    fn found(file: &str, text: &str) -> Vec<String> {
        breaches(&Tree::of(&[("src/lib.rs", ROOT), (file, text)]))
    }

    /// Every way of spelling an import that breaks the table, each of which must be found once.
    #[test]
    fn a_breach_is_found_however_it_is_spelled() {
        for (file, text) in [
            ("src/engine/mod.rs", "use crate::inspect::check;"),
            ("src/engine/mod.rs", "use crate::{types::SeqNo, cli};\n use crate::cli::args;"),
            ("src/engine/flush.rs", "use super::super::crash::oracle;"),
            ("src/engine/flush.rs", "mod inner { use super::super::super::crash::oracle; }"),
            ("src/engine/flush.rs", "fn f() { crate::inspect::check() }"),
            ("src/format/key.rs", "use crate::Error;"),
            ("src/format/key.rs", "use crate::error::Error;"),
            ("src/vfs/os.rs", "use crate::{Result, format::names};"),
            ("src/inspect/mod.rs", "use crate::engine::flush;"),
            ("src/cli/mod.rs", "use crate::engine::Db;"),
            ("src/cli/mod.rs", "use crate::format::key;"),
            ("src/bin/beach.rs", "use beachdb::{cli, engine};\nuse beachdb::engine::Db;"),
            ("src/bin/beach.rs", "use beachdb::format::key;"),
            ("src/types.rs", "use crate::*;"),
            ("src/newcomer.rs", "use crate::types::SeqNo;"),
        ] {
            assert!(!found(file, text).is_empty(), "{file}: {text}");
        }
    }

    /// The neighbours of those breaches that the table allows.
    #[test]
    fn what_the_table_allows_is_no_breach() {
        for (file, text) in [
            ("src/engine/mod.rs", "use crate::{Error, format::key, engine::flush, types::SeqNo};"),
            ("src/engine/flush.rs", "use super::Db; mod inner { use super::super::Db; }"),
            ("src/engine/mod.rs", "#[cfg(test)] mod tests { use crate::cli::args; }"),
            ("src/engine/tests.rs", "use crate::cli::args; use std::fs;"),
            ("src/inspect/mod.rs", "use crate::Db;"),
            ("src/cli/mod.rs", "use crate::{Db, inspect};"),
            ("src/bin/beach.rs", "use beachdb::{Db, cli}; mod own; use crate::own::Thing;"),
        ] {
            assert_eq!(found(file, text), [""; 0], "{file}: {text}");
        }
    }

    /// The standard library's edges, each crossed and each respected.
    #[test]
    fn the_edges_of_the_standard_library_are_kept() {
        for (file, text, breach) in [
            ("src/engine/mod.rs", "use std::{fs, io};", true),
            ("src/engine/mod.rs", "use std::io;", false),
            ("src/engine/mod.rs", "let f = std::fs::read(p);", true),
            ("src/engine/mod.rs", "use std::os::unix::fs::FileExt;", true),
            ("src/vfs/sim.rs", "use std::fs;", true),
            ("src/vfs/os.rs", "use std::fs::File;", false),
            ("src/cli/bulk.rs", "use std::fs::File;", false),
            ("src/engine/mod.rs", "use std::time::{Duration, Instant};", true),
            ("src/engine/mod.rs", "use std::time::Duration;", false),
            ("src/engine/mod.rs", "use std::time::*;", true),
            ("src/engine/mod.rs", "std::thread::spawn(f);", true),
            ("src/runtime/threads.rs", "use std::thread; use std::time::Instant;", false),
            ("src/cli/mod.rs", "std::thread::sleep(d);", false),
            ("src/cli/mod.rs", "use std::net::TcpStream;", true),
            ("src/engine/mod.rs", "use rustix::thread;", true),
            ("src/vfs/sim.rs", "use rustix::io::Errno;", false),
            ("src/vfs/sim.rs", "use rustix::{fs, io};", true),
            ("src/format/key.rs", "use std::io;", true),
            ("src/format/key.rs", "use std::fmt;", false),
        ] {
            assert_eq!(!found(file, text).is_empty(), breach, "{file}: {text}");
        }
    }

    /// A page with all rows but that of `types`, and with one too generous.
    #[test]
    fn a_row_that_differs_from_the_documented_one_is_found() {
        let row = |(module, may): &(&str, &[&str])| {
            let names: Vec<String> = may.iter().map(|name| format!("`{name}`")).collect();
            format!("| `{module}` | {} |\n", names.join(", "))
        };
        let page: String = LAYERS[1..].iter().map(row).collect();
        let page = page
            .replace(&format!("`{FACE}`"), FACE)
            .replace("| `record` | ", "| `record` | `cli` ");
        let found = undocumented_rows(&Tree::of(&[("docs/architecture.md", page.as_str())]));
        let expected = ["types", "record"]
            .map(|row| format!("docs/architecture.md: the row of {row} differs"));
        assert_eq!(found, expected);
    }

    /// A file at the limit and one a line over it.
    #[test]
    fn a_file_too_long_is_found() {
        let (fits, long) = ("\n".repeat(LINES_MAX), "\n".repeat(LINES_MAX + 1));
        let tree = Tree::of(&[("src/a.rs", fits.as_str()), ("src/b.rs", long.as_str())]);
        assert_eq!(long_files(&tree), ["src/b.rs has 601 lines, limit is 600"]);
    }

    /// The word in a comment, in a longer word, in the memtable, and in earnest.
    #[test]
    fn unsafe_outside_its_list_is_found() {
        let tree = Tree::of(&[
            ("src/a.rs", "// unsafe\n#![allow(unsafe_code)]"),
            ("src/b.rs", "\n#[cfg(test)] mod tests { fn f() { unsafe { g() } } }"),
            ("src/engine/memtable/arena.rs", "unsafe fn f() {}"),
        ]);
        assert_eq!(unsafe_code(&tree), ["src/b.rs:2: unsafe is not expected here"]);
    }

    /// Modules declared in each of the places they may be, and two that nobody declares.
    #[test]
    fn a_file_that_no_mod_line_names_is_found() {
        let tree = Tree::of(&[
            ("src/lib.rs", "mod a; mod b;"),
            ("src/a.rs", "mod c; #[cfg(test)] mod tests;"),
            ("src/a/c.rs", ""),
            ("src/a/tests.rs", ""),
            ("src/b/mod.rs", "// mod e;"),
            ("src/b/e.rs", "struct Lost;"),
            ("src/d.rs", "fn lost() {}"),
            ("src/f.rs", "//! To come."),
            ("src/bin/beach.rs", ""),
        ]);
        let expected = ["src/b/e.rs: no mod line leads here", "src/d.rs: no mod line leads here"];
        assert_eq!(unreachable_files(&tree), expected);
    }
}
