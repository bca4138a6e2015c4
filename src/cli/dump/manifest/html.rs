//! `beach-manifest html`: one page that plays the tree's history.
//!
//! The page is self-contained: style, script and data are in it, and its policy forbids it to load
//! anything. The data is JSON in an element that is not run; `<` is escaped in it, so that no key can
//! end the element.

use std::collections::{BTreeSet, HashMap};
use std::io::{ErrorKind, IsTerminal, Read};
use std::path::Path;

use serde_json::{Value, json};

use super::{Target, gap_text, tell};
use crate::cli::dump::{Dump, plural};
use crate::cli::output::Object;
use crate::cli::{Failure, Outcome};
use crate::inspect::manifest::history::{Gap, Moment, Told};
use crate::inspect::{Edit, State, TableMeta};
use crate::types::{FileNumber, Level};

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// What every page begins with.
const BEGINNING: &str = "<!doctype html>";

/// Bytes of a key by which it is placed: longer keys that begin alike share a place, and memory does
/// not grow with the keys.
const KEY_PLACED_MAX: usize = 1024;

/// Characters of a key that the page shows.
const KEY_SHOWN_MAX: usize = 96;

/// `html`.
pub(super) fn html(dump: &mut Dump<'_>, target: &Target, out: Option<&Path>) -> Outcome {
    if out.is_none() && (dump.out.is_json() || std::io::stdout().is_terminal()) {
        return Err(Failure::Usage("give -o FILE to write the page to".to_owned()));
    }
    let mut film = Film::default();
    let end = tell(dump, target, &mut |_, moment| {
        film.hear(moment);
        Ok(())
    })?;
    let name = target.path()?.display().to_string();
    let data = film.data(&name, &end.state, |key| shown(&dump.common.encode(key)));
    let page = page(&data);
    match out {
        Some(path) => {
            write(path, &page)?;
            let edits = plural(film.edits.len() as u64, "edit");
            dump.out.hint(format!("{}: {edits}; open it in a browser", path.display()));
        }
        None => dump.out.bytes(page.as_bytes())?,
    }
    if dump.out.is_json() {
        let (edits, tables) = (film.edits.len() as u64, film.tables.len() as u64);
        let summary = Object::summary().number("edits", edits).number("tables", tables);
        dump.out.summary(summary.number("bytes", page.len() as u64))?;
    }
    Ok(dump.status)
}

/// Writes the page; over an earlier one, but over no other file.
#[allow(clippy::disallowed_methods, reason = "a page of the person's own, in no store")]
fn write(path: &Path, page: &str) -> Outcome<()> {
    let could_not = |error| Failure::Stream(format!("could not write {}", path.display()), error);
    match std::fs::File::open(path) {
        Ok(file) => {
            let mut start = Vec::new();
            file.take(BEGINNING.len() as u64).read_to_end(&mut start).map_err(could_not)?;
            if !start.is_empty() && start != BEGINNING.as_bytes() {
                let path = path.display();
                return Err(Failure::Usage(format!(
                    "{path} is there and is no page: not replaced"
                )));
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(could_not(error)),
    }
    std::fs::write(path, page).map_err(could_not)
}

/// The template with everything in it.
fn page(data: &Value) -> String {
    let data = data.to_string().replace('<', "\\u003c");
    // The script and the data may hold the marks of one another: each is looked for where it stands
    // in the template alone.
    let mut page = String::with_capacity(PAGE.len() + STYLE.len() + SCRIPT.len() + data.len());
    let mut rest = PAGE;
    for (mark, content) in [("@STYLE@", STYLE), ("@DATA@", data.as_str()), ("@SCRIPT@", SCRIPT)] {
        let (before, after) = rest.split_once(mark).unwrap_or((rest, ""));
        page.push_str(before);
        page.push_str(content);
        rest = after;
    }
    page.push_str(rest);
    page
}

/// A key as the page shows it, cut where it is long.
fn shown(key: &str) -> String {
    match key.char_indices().nth(KEY_SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &key[..end]),
        None => key.to_owned(),
    }
}

/// What the page plays.
#[derive(Default)]
struct Film {
    tables: Vec<TableMeta>,
    positions: HashMap<FileNumber, usize>,
    edits: Vec<Value>,
    /// Edits that are missing before the next one.
    gap: Option<Gap>,
}

impl Film {
    fn hear(&mut self, moment: &Moment<'_>) {
        match moment {
            Moment::Edit(told) => self.edit(told),
            Moment::Gap(gap) => self.gap = Some(*gap),
            Moment::Manifest(_) | Moment::Finding(_) => {}
        }
    }

    fn edit(&mut self, told: &Told<'_>) {
        let Edit { time_ms, reason, job, .. } = *told.edit;
        let removed = self.placed(&told.change.removed);
        let added = self.placed(&told.change.added);
        let gap = self.gap.take();
        let mut edit = vec![
            json!(told.number),
            json!(time_ms),
            json!(reason as u8),
            json!(job),
            json!(removed),
            json!(added),
        ];
        let note = note(told);
        if !note.is_empty() || gap.is_some() {
            edit.push(json!(note));
        }
        edit.extend(gap.map(|gap| json!([gap.first, gap.last])));
        self.edits.push(Value::Array(edit));
    }

    /// Level and position of each table, one after the other.
    fn placed(&mut self, tables: &[(Level, TableMeta)]) -> Vec<usize> {
        let mut flat = Vec::with_capacity(2 * tables.len());
        for (level, table) in tables {
            let next = self.tables.len();
            let position = *self.positions.entry(table.number).or_insert(next);
            if position == next {
                self.tables.push(clipped(table));
            }
            flat.extend([usize::from(level.0), position]);
        }
        flat
    }

    fn data(&self, name: &str, end: &State, encode: impl Fn(&[u8]) -> String) -> Value {
        let bounds = |table: &TableMeta| [table.smallest.user.clone(), table.largest.user.clone()];
        let keys: BTreeSet<Vec<u8>> =
            self.tables.iter().flat_map(|table| bounds(table).map(|key| key.to_vec())).collect();
        let keys: Vec<Vec<u8>> = keys.into_iter().collect();
        let rank = |key: &[u8]| keys.partition_point(|other| other.as_slice() < key);
        let tables: Vec<Value> = self
            .tables
            .iter()
            .map(|table| {
                let (first, last) = (rank(&table.smallest.user), rank(&table.largest.user));
                let seqnos = [table.min_seqno.to_string(), table.max_seqno.to_string()];
                json!([
                    table.number.0,
                    first,
                    last.max(first),
                    table.size,
                    table.entries,
                    table.tombstones,
                    seqnos[0],
                    seqnos[1]
                ])
            })
            .collect();
        let sizes = |tables: &Vec<TableMeta>| {
            tables.iter().fold(0u64, |sum, table| sum.saturating_add(table.size))
        };
        let bytes: Vec<u64> = end.levels.iter().map(sizes).collect();
        let cut = self.gap.map(gap_text);
        json!({
            "name": name,
            "store": end.store.as_ref().map(|store| store.id.to_string()),
            "keys": keys.iter().map(|key| encode(key)).collect::<Vec<_>>(),
            "tables": tables,
            "edits": self.edits,
            "cut": cut,
            "end": {"tables": end.tables().count(), "bytes": bytes},
        })
    }
}

/// The table with keys that are not too long.
fn clipped(table: &TableMeta) -> TableMeta {
    let mut table = table.clone();
    for key in [&mut table.smallest.user, &mut table.largest.user] {
        key.truncate(KEY_PLACED_MAX);
    }
    table
}

/// What an edit says about logs.
fn note(told: &Told<'_>) -> String {
    if told.is_restatement() {
        return String::new();
    }
    let edit = told.edit;
    let begun = edit.logs_added.iter().map(|log| format!("log {} begins", log.number));
    let grown =
        edit.logs_grown.iter().map(|(log, size)| format!("log {log} grows to {size} bytes"));
    let ended = edit.logs_ended.iter().map(|(log, end)| format!("log {log} ends at {end:#x}"));
    let dropped = edit.logs_dropped.iter().map(|log| format!("log {log} is not needed any more"));
    begun.chain(grown).chain(ended).chain(dropped).take(4).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys that look like the end of the element, or like the marks of the template, change neither
    /// the page around them nor what the script reads.
    #[test]
    fn no_key_leaves_its_place() {
        let data = json!({"keys": ["</script><script>alert(1)</script>", "@SCRIPT@", "<!--"]});
        let page = page(&data);
        assert_eq!(page.matches("<script").count(), PAGE.matches("<script").count());
        assert_eq!(page.matches("</script").count(), PAGE.matches("</script").count());
        assert!(!page.contains("<!--"));
        let begin = "type=\"application/json\">";
        let inner = page.split_once(begin).and_then(|(_, rest)| rest.split_once("</script>"));
        let read: Value = serde_json::from_str(inner.expect("the data").0).expect("JSON");
        assert_eq!(read, data);
    }

    /// Nothing in the page names another place: no address, no import.
    #[test]
    fn the_page_loads_nothing() {
        let page = page(&json!({}));
        for word in ["http://", "https://", "src=", "@import", "url(", "fetch(", "import("] {
            assert!(!page.contains(word), "{word}");
        }
    }

    /// A long key is cut between characters.
    #[test]
    fn long_keys_are_cut() {
        assert_eq!(shown("short"), "short");
        let cut = shown(&"ä".repeat(500));
        assert_eq!((cut.chars().count(), cut.ends_with('…')), (KEY_SHOWN_MAX + 1, true));
    }
}
