//! `beach-crash replay`, `minimize` and `list`: failures in files.
#![allow(clippy::disallowed_methods, reason = "artifacts are a person's files, no part of a store")]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

use crate::cli::dump::plural;
use crate::cli::output::{Object, Table};
use crate::cli::{Failure, Out, Outcome, Status};
use crate::crash::artifact::Artifact;
use crate::crash::minimize;
use crate::crash::{self, Stopped};
use crate::runtime::threads::ThreadRuntime;

/// How the names of artifacts begin.
const PREFIX: &str = "beach-crash-";

/// The artifact of kills, in the directory that they left.
const OF_KILLS: &str = "artifact.json";

/// `replay` and `minimize`.
#[derive(Clone, Debug, clap::Args)]
pub struct ArtifactArgs {
    /// The file that a failed campaign wrote
    pub artifact: PathBuf,
}

/// `list`.
#[derive(Clone, Debug, clap::Args)]
pub struct ListArgs {
    /// Artifacts, or directories with them
    #[arg(default_value = ".")]
    pub paths: Vec<PathBuf>,
}

/// Writes the artifact of a failure and says how to see it again; the status of the campaign.
pub(super) fn conclude(dir: &Path, found: Option<Artifact>, out: &mut Out) -> Outcome {
    let Some(artifact) = found else { return Ok(Status::Done) };
    let path = write(dir, &artifact)?;
    out.finish()?;
    out.error(format!(
        "{}: expected {}, found {}; run: beach-crash replay {}",
        artifact.cause,
        artifact.broken.expected,
        artifact.broken.found,
        path.display()
    ));
    Ok(Status::Violated)
}

fn write(dir: &Path, artifact: &Artifact) -> Outcome<PathBuf> {
    let json = artifact.to_json();
    let text = format!("{json:#}\n");
    // The name follows from the content: the same failure is the same file.
    let name =
        format!("{PREFIX}{}-{:08x}.json", artifact.cause.name(), xxh3_64(text.as_bytes()) as u32);
    let path = dir.join(name);
    fs::write(&path, text)
        .map_err(|error| Failure::Stream(format!("could not write {}", path.display()), error))?;
    Ok(path)
}

fn read(path: &Path) -> Outcome<Value> {
    let text = fs::read_to_string(path)
        .map_err(|error| Failure::Stream(format!("could not read {}", path.display()), error))?;
    serde_json::from_str(&text)
        .map_err(|error| Failure::Usage(format!("{} is no artifact: {error}", path.display())))
}

fn parse(path: &Path) -> Outcome<Artifact> {
    let why = |why| Failure::Usage(format!("{} is no artifact: {why}", path.display()));
    Artifact::from_json(&read(path)?).map_err(why)
}

/// Does it again; 7 if it still fails.
pub(super) fn replay(wanted: &ArtifactArgs, out: &mut Out) -> Outcome {
    let json = read(&wanted.artifact)?;
    if is_of_kills(&json) {
        return replay_kills(&json, home(&wanted.artifact), out);
    }
    let artifact = parse(&wanted.artifact)?;
    let broken = artifact.replay().err();
    if out.is_json() {
        let object = Object::new("replay")
            .text("kind", artifact.cause.name())
            .text("cause", &artifact.cause.to_string())
            .number("steps", artifact.setup.steps.len() as u64);
        out.object(&match &broken {
            Some(broken) => object.text("expected", &broken.expected).text("found", &broken.found),
            None => object,
        })?;
    } else {
        let steps = plural(artifact.setup.steps.len() as u64, "step");
        out.line(format_args!("{}, {steps}: {}", artifact.cause.name(), artifact.cause))?;
        match &broken {
            Some(broken) => {
                out.line(format_args!("expected {}", broken.expected))?;
                out.line(format_args!("found    {}", broken.found))?;
            }
            None => out.line("it does not fail any more")?,
        }
    }
    out.summary(Object::summary().number("violations", u64::from(broken.is_some())))?;
    Ok(if broken.is_some() { Status::Violated } else { Status::Done })
}

/// Looks once more at the directory that the kill left.
fn replay_kills(json: &Value, dir: &Path, out: &mut Out) -> Outcome {
    let broken = match crash::verify_kept(json, dir, &ThreadRuntime::default()) {
        Ok(()) => None,
        Err(Stopped::Violation(_, what)) => Some(what),
        Err(Stopped::Engine(error)) => return Err(error.into()),
        Err(Stopped::Process(error)) => {
            return Err(Failure::Stream("could not look at the store".to_owned(), error));
        }
    };
    let kind = json["kind"].as_str().unwrap_or_default();
    let cause = format!("seed {}, cycle {}", json["seed"], json["cycle"]);
    if out.is_json() {
        let object = Object::new("replay").text("kind", kind).text("cause", &cause);
        let object = object.number("steps", 0);
        out.object(&match &broken {
            Some(broken) => object.text("expected", &broken.expected).text("found", &broken.found),
            None => object,
        })?;
    } else {
        let verdict = match &broken {
            Some(broken) => format!("expected {}, found {}", broken.expected, broken.found),
            None => "what was kept is as it should be".to_owned(),
        };
        out.line(format_args!("{kind}, {cause}: {verdict}"))?;
    }
    out.summary(Object::summary().number("violations", u64::from(broken.is_some())))?;
    Ok(if broken.is_some() { Status::Violated } else { Status::Done })
}

/// The directory that a file is in: of an artifact of kills, the one that they left.
fn home(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn is_of_kills(json: &Value) -> bool {
    matches!(json["kind"].as_str(), Some("run" | "bank"))
}

/// Shrinks a failure and prints a test for it.
pub(super) fn minimize(wanted: &ArtifactArgs, out: &mut Out) -> Outcome {
    if is_of_kills(&read(&wanted.artifact)?) {
        return Err(Failure::Usage(
            "processes do not repeat themselves, so a run cannot be shrunk; beach-crash replay looks once \
             more at what it left"
                .to_owned(),
        ));
    }
    let artifact = parse(&wanted.artifact)?;
    let before = artifact.setup.steps.len() as u64;
    let Some(small) = minimize::minimize(&artifact, &mut |_| {}) else {
        out.error("it does not fail any more, so there is nothing to shrink");
        return Ok(Status::Negative);
    };
    let path = write(home(&wanted.artifact), &small.artifact)?;
    let after = small.artifact.setup.steps.len() as u64;
    let test = small.artifact.regression_test();
    if out.is_json() {
        let object = Object::new("minimized")
            .bytes("path", path.as_os_str().as_encoded_bytes())
            .number("steps_before", before)
            .number("steps", after)
            .number("tried", small.tried)
            .text("cause", &small.artifact.cause.to_string())
            .text("test", &test);
        out.object(&object)?;
    } else {
        out.line(format_args!(
            "// {before} steps became {after}, after {} histories; in {}",
            small.tried,
            path.display()
        ))?;
        for step in &small.artifact.setup.steps {
            out.line(format_args!("//   {}", step.to_json()))?;
        }
        out.line(&test)?;
    }
    out.summary(Object::summary().number("steps", after))?;
    Ok(Status::Done)
}

/// Explains artifacts.
pub(super) fn list(wanted: &ListArgs, out: &mut Out) -> Outcome {
    let mut table = Table::new(&["artifact", "kind", "steps", "what", "expected", "found"]);
    let mut count = 0;
    for path in files(&wanted.paths)? {
        let value = read(&path)?;
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let parsed = Artifact::from_json(&value);
        let steps = value["setup"]["steps"].as_array().map_or(0, Vec::len) as u64;
        let what = match &parsed {
            Ok(artifact) => artifact.cause.to_string(),
            Err(_) => format!("seed {}, cycle {}", value["seed"], value["cycle"]),
        };
        count += 1;
        if out.is_json() {
            let object = Object::new("artifact")
                .bytes("path", path.as_os_str().as_encoded_bytes())
                .text("kind", &text("kind"))
                .number("steps", steps)
                .text("what", &what)
                .text("expected", &text("expected"))
                .text("found", &text("found"));
            out.object(&object)?;
        }
        let cells = [path.display().to_string(), text("kind"), steps.to_string(), what];
        table.row(cells.into_iter().chain([text("expected"), text("found")]));
    }
    if !out.is_json() && count > 0 {
        out.table(&table)?;
    }
    out.summary(Object::summary().number("artifacts", count))?;
    Ok(if count == 0 { Status::Negative } else { Status::Done })
}

/// The files named, and the artifacts in the directories named.
fn files(paths: &[PathBuf]) -> Outcome<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let failed = |error| Failure::Stream(format!("could not list {}", path.display()), error);
        let mut found = Vec::new();
        for entry in fs::read_dir(path).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let is_ours = |name: &str| {
                name == OF_KILLS || name.starts_with(PREFIX) && name.ends_with(".json")
            };
            if name.to_str().is_some_and(is_ours) {
                found.push(path.join(name));
            }
        }
        found.sort();
        files.append(&mut found);
    }
    Ok(files)
}
