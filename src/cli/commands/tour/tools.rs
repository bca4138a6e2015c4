//! The last step: the dump tools on the tour's own files, if they stand beside this program.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Guide;
use super::place::Place;
use crate::cli::Outcome;
use crate::cli::output::Object;

/// Lines of a tool's output that are shown.
const LINES_MAX: usize = 8;

/// The tools, in the order in which a store is read.
const TOOLS: [&str; 3] = ["beach-manifest", "beach-walDump", "beach-sstDump"];

impl Guide<'_> {
    pub(super) fn look_inside(&mut self, place: &Place) -> Outcome<()> {
        self.title("Look inside: every file can be dumped, without the store and without a lock")?;
        let store = &place.store;
        for tool in TOOLS {
            match dump(tool, store) {
                Some(lines) => self.show_dump(tool, place, &lines)?,
                None => self.say(&format!("{tool} {}", shown(place)))?,
            }
        }
        if !place.keep {
            self.say("beach tour --dir DIR builds the same store and keeps it; then also:")?;
        }
        self.say(&format!("beach --db {} scan --prefix 1F3", shown(place)))?;
        self.say(&format!("beach --db {} lsm", shown(place)))
    }

    fn show_dump(&mut self, tool: &str, place: &Place, lines: &[String]) -> Outcome<()> {
        self.orderly.check()?;
        let command = format!("{tool} {}", shown(place));
        let text = lines.join("\n").replace(&place.store.display().to_string(), &shown(place));
        if self.out.is_json() {
            let object = Object::new("output").number("step", self.step);
            return self.out.object(&object.text("command", &command).text("text", &text));
        }
        self.say(&format!("$ {command}"))?;
        for line in text.lines().take(LINES_MAX) {
            self.say(&format!("  {line}"))?;
        }
        match lines.len().saturating_sub(LINES_MAX) {
            0 => Ok(()),
            more => self.say(&format!("  … and {more} lines more")),
        }
    }
}

/// The store's directory, or what stands for one that will be gone.
fn shown(place: &Place) -> String {
    if place.keep { place.store.display().to_string() } else { "DIR".to_owned() }
}

/// What the tool says about the store; none if there is no such program, or it fails.
fn dump(tool: &str, store: &Path) -> Option<Vec<String>> {
    let output = Command::new(beside(tool)?).arg(store).output().ok()?;
    let text = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    (!lines.is_empty()).then_some(lines)
}

fn beside(tool: &str) -> Option<PathBuf> {
    let path = std::env::current_exe().ok()?.with_file_name(tool);
    path.is_file().then_some(path)
}
