//! `beach-manifest check`: the manifests, and the directory against the current one.

use std::collections::BTreeSet;

use super::{Target, open};
use crate::cli::dump::{Dump, plural};
use crate::cli::finding;
use crate::cli::output::Object;
use crate::cli::{Outcome, Status};
use crate::inspect::Finding;
use crate::inspect::directory::check_directory;
use crate::inspect::manifest::history::Moment;
use crate::inspect::store;
use crate::inspect::view::View;

/// `check`.
pub(super) fn check(dump: &mut Dump<'_>, target: &Target) -> Outcome {
    let path = target.path()?;
    let mut found = Vec::new();
    let mut files = 0;
    if store::is_dir(&dump.vfs, path) {
        let view = View::take(&dump.vfs, path)?;
        files += view.logs.len() as u64 + view.tables.len() as u64;
        found.extend(check_directory(&dump.vfs, &view)?);
        found.extend(view.findings);
    }
    let history = open(dump, target)?;
    let totals = history.read(&mut |moment| {
        if let Moment::Finding(finding) = moment {
            found.push(finding.clone());
        }
        Ok::<(), crate::Error>(())
    })?;
    files += history.links.len() as u64;
    let (damaged, notices) = print(dump, found)?;
    if !dump.out.is_json() {
        let (files, edits) = (plural(files, "file"), plural(totals.edits, "edit"));
        let verdict = if damaged > 0 { "damaged" } else { "sound" };
        let damage = if damaged > 0 { plural(damaged, "problem") } else { "no damage".to_owned() };
        let notices = plural(notices, "notice");
        dump.out.line(format!("{verdict}: {files}, {edits}, {damage}, {notices}"))?;
    }
    let numbers = [("files", files), ("edits", totals.edits), ("damaged", damaged)];
    let summary = numbers.iter().fold(Object::summary(), |it, (name, n)| it.number(name, *n));
    dump.out.summary(summary.number("notices", notices))?;
    Ok(dump.status)
}

/// Prints each finding once, by file and place; how many are damage, and how many are not.
fn print(dump: &mut Dump<'_>, mut found: Vec<Finding>) -> Outcome<(u64, u64)> {
    found.sort_by(|a, b| (&a.path, a.offset, a.code).cmp(&(&b.path, b.offset, b.code)));
    let mut seen = BTreeSet::new();
    found.retain(|one| seen.insert((one.path.clone(), one.offset, one.code)));
    let damaged = found.iter().filter(|one| one.is_damage()).count() as u64;
    for one in &found {
        dump.status = dump.status.combine(finding::status(one));
        finding::print(dump.out, one, |bytes| dump.common.encode(bytes))?;
    }
    if damaged > 0 {
        dump.status = dump.status.combine(Status::Damage);
    }
    Ok((damaged, found.len() as u64 - damaged))
}
