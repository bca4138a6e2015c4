//! `beach-manifest`.

mod check;
mod edits;
mod html;
mod life;
mod summarize;
mod tree;

use std::path::{Path, PathBuf};

use clap::builder::{OsStringValueParser, TypedValueParser};

use super::wal::damage_count;
use super::{Dump, plural};
use crate::cli::args::{self, Common};
use crate::cli::finding;
use crate::cli::output::Object;
use crate::cli::progress::{Progress, Unit};
use crate::cli::{Failure, Out, Outcome};
use crate::inspect::State;
use crate::inspect::frames::Expect;
use crate::inspect::manifest::history::{Gap, History, HistoryTotals, Moment};
use crate::inspect::manifest::{ManifestItem, read_manifest};
use crate::inspect::store;
use crate::types::FileNumber;
use crate::vfs::{Access, File, Vfs};
use tree::Version;

const EXAMPLES: &str = "\
Examples:
  beach-manifest shop
  beach-manifest --at 12 shop
  beach-manifest shop/MANIFEST-000001
  beach-manifest lsm --at 12 shop
  beach-manifest file 7 shop
  beach-manifest html shop -o shop.html
  beach-manifest --json shop | grep '\"reason\":\"flush\"'";

const LSM: &str = "\
Examples:
  beach-manifest lsm shop
  beach-manifest lsm --at 12 shop";

const FILE: &str = "\
Examples:
  beach-manifest file 7 shop
  beach-manifest file 000007.sst shop";

const DIFF: &str = "\
Examples:
  beach-manifest diff 12 20 shop";

const SUMMARIZE: &str = "\
Examples:
  beach-manifest summarize shop
  beach-manifest summarize --json shop";

const CHECK: &str = "\
Examples:
  beach-manifest check shop
  beach-manifest check shop/MANIFEST-000001";

const HTML: &str = "\
Examples:
  beach-manifest html shop -o shop.html
  beach-manifest html shop > shop.html";

/// Show a manifest: every edit, and the version they add up to.
///
/// A directory stands for its current manifest; the commands read the older ones too, as far as they
/// are kept: edits have the numbers of the store's life. Without DIR|FILE it is $BEACH_DB. Exit
/// status 3 when something is damaged; a tail that a crash explains is shown and is no damage.
#[derive(Clone, Debug, clap::Parser)]
#[command(
    name = "beach-manifest",
    before_help = EXAMPLES,
    version = args::version(),
    subcommand_precedence_over_arg = true,
    disable_help_subcommand = true
)]
pub struct ManifestArgs {
    /// Manifests, or stores' directories; one with the name of a command is spelled ./lsm
    #[arg(value_name = "DIR|FILE")]
    pub paths: Vec<PathBuf>,
    /// Only the edits up to this one, also of older manifests, and the version after it
    #[arg(long, value_name = "N")]
    pub at: Option<u64>,
    /// The older manifests too
    #[arg(long)]
    pub history: bool,
    /// What to do.
    #[command(subcommand)]
    pub verb: Option<ManifestVerb>,
    /// How to print.
    #[command(flatten)]
    pub common: Common,
}

/// What `beach-manifest` can do besides showing every edit.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum ManifestVerb {
    /// Show the tree, level by level, after the last edit or another
    #[command(before_help = LSM)]
    Lsm {
        /// After this edit
        #[arg(long, value_name = "N")]
        at: Option<u64>,
        /// Which history.
        #[command(flatten)]
        target: Target,
    },
    /// Tell the life of a file: made when and from what, dropped when and why; exit 1 if unknown
    #[command(before_help = FILE)]
    File {
        /// Its number, or its name
        #[arg(value_parser = file_number)]
        number: FileNumber,
        /// Which history.
        #[command(flatten)]
        target: Target,
    },
    /// Show what changed in the tree between two edits; exit 1 if something did
    #[command(before_help = DIFF)]
    Diff {
        /// The earlier edit
        from: u64,
        /// The later edit
        to: u64,
        /// Which history.
        #[command(flatten)]
        target: Target,
    },
    /// Sum up the traffic by reason and by time
    #[command(before_help = SUMMARIZE)]
    Summarize {
        /// Which history.
        #[command(flatten)]
        target: Target,
    },
    /// Verify all manifests, and hold the directory against the current one; exit 3 on damage
    #[command(before_help = CHECK)]
    Check {
        /// Which history.
        #[command(flatten)]
        target: Target,
    },
    /// Write one self-contained page that plays the tree's history in a browser
    #[command(before_help = HTML)]
    Html {
        /// Where to write it [default: standard output]
        #[arg(short, long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Which history.
        #[command(flatten)]
        target: Target,
    },
}

/// A store or one manifest.
#[derive(Clone, Debug, clap::Args)]
pub struct Target {
    /// A store's directory, or one manifest
    #[arg(
        value_name = "DIR|FILE",
        env = "BEACH_DB",
        // An empty variable must come through, to be told that it names nothing.
        value_parser = OsStringValueParser::new().map(PathBuf::from)
    )]
    path: Option<PathBuf>,
}

impl Target {
    fn path(&self) -> Outcome<&Path> {
        self.path.as_deref().filter(|path| !path.as_os_str().is_empty()).ok_or_else(unnamed)
    }
}

fn unnamed() -> Failure {
    Failure::Usage("nothing named; give DIR|FILE or set BEACH_DB=DIR".to_owned())
}

/// `7`, `000007` or `000007.sst`.
fn file_number(text: &str) -> Result<FileNumber, String> {
    let name = text.rsplit('/').next().unwrap_or(text);
    let name = name.strip_prefix("MANIFEST-").unwrap_or(name);
    let digits = name.strip_suffix(".sst").or(name.strip_suffix(".wal")).unwrap_or(name);
    digits.parse().map(FileNumber).map_err(|_| "not the number or name of a file".to_owned())
}

/// Runs the command.
pub(super) fn run(args: &ManifestArgs, out: &mut Out) -> Outcome {
    let Some(verb) = &args.verb else { return dump(args, out) };
    if !args.paths.is_empty() || args.at.is_some() || args.history {
        let what = "DIR|FILE and options stand behind the command, as in: beach-manifest lsm shop";
        return Err(Failure::Usage(what.to_owned()));
    }
    let dump = &mut Dump::new(out, &args.common);
    match verb {
        ManifestVerb::Lsm { at, target } => tree::lsm(dump, target, *at),
        ManifestVerb::File { number, target } => life::file(dump, target, *number),
        ManifestVerb::Diff { from, to, target } => tree::diff(dump, target, *from, *to),
        ManifestVerb::Summarize { target } => summarize::summarize(dump, target),
        ManifestVerb::Check { target } => check::check(dump, target),
        ManifestVerb::Html { out, target } => html::html(dump, target, out.as_deref()),
    }
}

/// The history of a directory or of a manifest.
fn open(dump: &Dump<'_>, target: &Target) -> Outcome<History> {
    let path = target.path()?;
    if store::is_dir(&dump.vfs, path) {
        return Ok(History::of_store(&dump.vfs, path)?);
    }
    Ok(History::of_file(dump.vfs.open(path, Access::Read)?)?)
}

/// What a reading came to.
struct Reading {
    state: State,
    /// The last edits could not be read.
    is_cut: bool,
}

/// Reads the history, says what is missing and what is damaged, and hands every moment on.
fn tell(
    dump: &mut Dump<'_>,
    target: &Target,
    hear: &mut dyn FnMut(&mut Dump<'_>, &Moment<'_>) -> Outcome<()>,
) -> Outcome<Reading> {
    let history = open(dump, target)?;
    let mut is_cut = false;
    let mut edits = 0;
    let mut progress = Progress::begin("edits", Unit::Things, None, dump.out.is_quiet());
    let totals: HistoryTotals = history.read(&mut |moment| {
        match &moment {
            Moment::Finding(found) => {
                dump.status = dump.status.combine(finding::status(found));
                dump.finding(Some(found))?;
                if found.is_damage() {
                    dump.out.error(found);
                }
            }
            Moment::Gap(gap) => {
                is_cut |= gap.last.is_none();
                self::gap(dump, *gap)?;
            }
            Moment::Manifest(_) => {}
            Moment::Edit(_) => {
                edits += 1;
                progress.set(edits);
            }
        }
        hear(dump, &moment)
    })?;
    drop(progress);
    Ok(Reading { state: totals.state, is_cut })
}

/// Says which edits are missing.
fn gap(dump: &mut Dump<'_>, gap: Gap) -> Outcome<()> {
    let Gap { first, last } = gap;
    if dump.out.is_json() {
        let object = Object::new("gap").number("first", first);
        let object = last.into_iter().fold(object, |object, last| object.number("last", last));
        return dump.out.object(&object);
    }
    dump.out.hint(gap_text(gap));
    Ok(())
}

/// `edits 1 to 40 are not there any more`.
fn gap_text(gap: Gap) -> String {
    match gap {
        Gap { first: 1, last: Some(last) } => {
            format!("edits 1 to {last} are not there any more: their manifests were dropped")
        }
        Gap { first, last: Some(last) } if first == last => format!("edit {first} is missing"),
        Gap { first, last: Some(last) } => format!("edits {first} to {last} are missing"),
        Gap { first, last: None } => format!("edit {first} and what follows cannot be read"),
    }
}

/// What a dump counted.
#[derive(Default)]
struct Counts {
    edits: u64,
    torn: u64,
    damaged: u64,
}

/// Every edit.
fn dump(args: &ManifestArgs, out: &mut Out) -> Outcome {
    let mut paths = args.paths.clone();
    let named = std::env::var_os("BEACH_DB").filter(|name| !name.is_empty());
    if paths.is_empty() {
        paths.push(named.map(PathBuf::from).ok_or_else(unnamed)?);
    }
    let whole = args.history || args.at.is_some();
    let mut dump = Dump::new(out, &args.common);
    let mut counts = Counts::default();
    let mut is_found = false;
    dump.all(
        &paths,
        |live| {
            let current = live.manifest.map(|path| (path, live.manifest_expect));
            let Some((path, _)) = current.as_ref().filter(|_| whole) else {
                return current.into_iter().collect();
            };
            let dir = path.parent().unwrap_or(Path::new("."));
            match History::of_store(&crate::vfs::os::OsVfs, dir) {
                Ok(history) => {
                    let links = history.links.into_iter();
                    links.map(|link| (link.file.path().to_owned(), link.expect)).collect()
                }
                Err(_) => current.into_iter().collect(),
            }
        },
        |dump, file, expect| {
            if is_found {
                return Ok(true);
            }
            one(dump, file, &expect, args.at, &mut counts, &mut is_found)
        },
    )?;
    if let Some(at) = args.at.filter(|_| !is_found && !dump.is_cut) {
        dump.out.finish()?;
        return Err(tree::no_such_edit(Some(at)));
    }
    let Counts { edits, torn, damaged } = counts;
    dump.end(|summary| {
        summary.number("edits", edits).number("torn", torn).number("damaged", damaged)
    })
}

/// One manifest; its edits up to `at`.
fn one(
    dump: &mut Dump<'_>,
    file: &dyn File,
    expect: &Expect,
    at: Option<u64>,
    counts: &mut Counts,
    is_found: &mut bool,
) -> Outcome<bool> {
    let (mut state, mut end, mut shown) = (State::default(), 0, 0);
    let totals = read_manifest(file, expect, &mut |item| {
        if *is_found {
            return Ok(());
        }
        print(dump, &item)?;
        dump.finding(item.finding())?;
        if let (Some(at), ManifestItem::Edit(report)) = (at, &item) {
            shown += 1;
            if let Some(edit) = report.edit.as_ref().filter(|_| report.number.is_some()) {
                let applied = state.apply(edit);
                end = report.offset + report.size;
                *is_found = applied.is_ok() && report.number == Some(at);
            }
        }
        Ok::<(), Failure>(())
    })?;
    let version = match at {
        Some(_) if *is_found => Some(Version { state, end, is_partial: false }),
        Some(_) => None,
        None => {
            shown = totals.edits;
            let (end, is_partial) = (totals.state_end, totals.is_partial);
            Some(Version { state: totals.state, end, is_partial })
        }
    };
    if let Some(version) = version {
        tree::version(dump, &version)?;
    }
    end_of_file(dump, file, shown, totals.damaged)?;
    counts.edits += shown;
    counts.torn += totals.torn;
    counts.damaged += totals.damaged;
    Ok(totals.damaged == 0)
}

fn end_of_file(dump: &mut Dump<'_>, file: &dyn File, edits: u64, damaged: u64) -> Outcome<()> {
    if !dump.out.is_json() {
        let (path, edits) = (file.path().display(), plural(edits, "edit"));
        dump.out.line(format!("{path}: {edits}, {}", damage_count(damaged)))?;
    }
    dump.complain(file.path(), damaged)
}

fn print(dump: &mut Dump<'_>, item: &ManifestItem<'_>) -> Outcome<()> {
    match item {
        ManifestItem::Header(header) => dump.header(header),
        ManifestItem::Hole(hole) => dump.hole(hole),
        ManifestItem::Unused { offset, size } => dump.unused(*offset, *size),
        ManifestItem::Edit(edit) if dump.out.is_json() => dump.out.object(&edits::object(edit)),
        ManifestItem::Edit(edit) => edits::lines(dump, edit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser};

    fn parsed(line: &[&str]) -> Result<ManifestArgs, clap::Error> {
        ManifestArgs::try_parse_from(std::iter::once(&"beach-manifest").chain(line))
    }

    /// Clap's own check, and every example of every help.
    #[test]
    fn the_definition_is_sound_and_every_example_parses() {
        ManifestArgs::command().debug_assert();
        for text in [EXAMPLES, LSM, FILE, DIFF, SUMMARIZE, CHECK, HTML] {
            for line in text.lines().skip(1) {
                let bare = line.split(['|', '>']).next().unwrap_or_default();
                let words: Vec<&str> = bare.split_whitespace().skip(1).collect();
                assert!(parsed(&words).is_ok(), "{line}");
            }
        }
    }

    /// Options of all binaries stand before and behind the command; a file that is named as the log
    /// or the table it is.
    #[test]
    fn commands_are_told_from_paths() {
        for line in [&["--json", "file", "7", "shop"][..], &["file", "7", "shop", "--json"]] {
            let args = parsed(line).expect("it parses");
            assert!(args.common.json && args.paths.is_empty());
            let Some(ManifestVerb::File { number, target }) = args.verb else { panic!("{line:?}") };
            assert_eq!((number, target.path), (FileNumber(7), Some("shop".into())));
        }
        assert_eq!(parsed(&["./lsm", "a"]).expect("paths").paths.len(), 2);
        for name in ["7", "000007", "000007.sst", "shop/000007.wal", "MANIFEST-000007"] {
            assert_eq!(file_number(name), Ok(FileNumber(7)));
        }
        assert!(parsed(&["file", "seven", "shop"]).is_err());
        assert!(parsed(&["diff", "7"]).is_err());
    }
}
