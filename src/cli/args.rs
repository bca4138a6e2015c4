//! The command line of `beach`, and the options that all binaries share.
//!
//! Options that are not about one command work before and after the verb. Arguments are bytes: a
//! key or value need not be UTF-8, and is what it looks like unless `--enc` says otherwise. Each
//! help begins with examples, and every example is parsed by a test.

mod bench;
mod inspect;
mod range;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::FORMAT_VERSION;
use crate::cli::bulk::Format;
use crate::cli::encode::Encoding;
use crate::cli::examples;
use crate::cli::exit::{Failure, Outcome};
use crate::cli::output::Color;

pub use bench::{BenchArgs, Packing, Shape};
pub use inspect::{
    CheckArgs, DiffArgs, DuArgs, ExplainArgs, ExplainGetArgs, ExplainVerb, FindArgs, RepairArgs,
};
pub use range::RangeArgs;

/// An LSM key-value store you can see inside.
#[derive(Clone, Debug, Parser)]
#[command(name = "beach", before_help = examples::BEACH, disable_help_subcommand = true)]
pub struct Args {
    /// Which store.
    #[command(flatten)]
    pub store: StoreArgs,
    /// How to print.
    #[command(flatten)]
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
    /// What a person may not expect about how this was read.
    #[arg(skip)]
    pub hint: Option<String>,
}

/// Options of every binary.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Common {
    /// How keys and values are written, in arguments and output alike
    ///
    /// Without it, arguments are literal bytes and output is escaped.
    #[arg(long, global = true, value_name = "ENCODING", help_heading = "Global options")]
    pub enc: Option<Encoding>,
    /// Print NDJSON: one object a line, the last a summary
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,
    /// No hints, no progress
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub quiet: bool,
    /// When to color
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        help_heading = "Global options"
    )]
    pub color: Color,
}

impl Common {
    /// The bytes that an argument stands for; `name` is what the help calls it.
    ///
    /// # Errors
    /// [`Failure::Usage`] when it is not what `--enc` says.
    pub fn decode(&self, name: &str, argument: &OsStr) -> Outcome<Vec<u8>> {
        match self.enc {
            None => Ok(argument.as_bytes().to_vec()),
            Some(encoding) => encoding
                .decode(argument.as_bytes())
                .map_err(|why| Failure::Usage(format!("{name}: {why}"))),
        }
    }

    /// Bytes as a line of output shows them.
    #[must_use]
    pub fn encode(&self, bytes: &[u8]) -> String {
        self.enc.unwrap_or_default().encode(bytes)
    }
}

/// Options of commands on a store.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct StoreArgs {
    /// The store's directory
    #[arg(
        long,
        global = true,
        env = "BEACH_DB",
        value_name = "DIR",
        // An empty variable must come through, to be told that it names nothing.
        value_parser = OsStringValueParser::new().map(PathBuf::from),
        help_heading = "Global options"
    )]
    db: Option<PathBuf>,
    /// How long to wait for another process's lock, in seconds
    #[arg(
        long,
        global = true,
        value_name = "SECS",
        default_value = "5",
        value_parser = parse_seconds,
        help_heading = "Global options"
    )]
    pub wait: Duration,
}

impl StoreArgs {
    /// The store's directory.
    ///
    /// # Errors
    /// [`Failure::Usage`] with a hint when none was named.
    pub fn dir(&self) -> Outcome<&Path> {
        self.named().ok_or_else(|| {
            Failure::Usage("no store named; give --db DIR or set BEACH_DB=DIR".to_owned())
        })
    }

    /// The store's directory, if one was named.
    #[must_use]
    pub fn named(&self) -> Option<&Path> {
        self.db.as_deref().filter(|dir| !dir.as_os_str().is_empty())
    }
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|_| "not a possible number of seconds".to_owned())
}

/// What `beach` can do.
#[derive(Clone, Debug, Subcommand)]
pub enum Verb {
    /// Store a value under a key
    #[command(before_help = examples::PUT)]
    Put(PutArgs),
    /// Print the values of keys; exit 1 if one is absent
    #[command(before_help = examples::GET)]
    Get(GetArgs),
    /// Remove a key; one that is absent is fine
    #[command(before_help = examples::DEL)]
    Del(DelArgs),
    /// List keys and values in key order
    #[command(before_help = examples::SCAN)]
    Scan(ScanArgs),
    /// Run operations from a file, in atomic batches
    #[command(before_help = examples::APPLY)]
    Apply(ApplyArgs),
    /// Read a dump into the store
    #[command(before_help = examples::LOAD)]
    Load(LoadArgs),
    /// Write the whole store as text, with a checksum at the end
    #[command(before_help = examples::DUMP)]
    Dump(DumpArgs),
    /// Write what is in memory and the log into a table
    #[command(before_help = examples::FLUSH)]
    Flush,
    /// Copy the store of this moment into a new directory, without copying its tables
    #[command(before_help = examples::CHECKPOINT)]
    Checkpoint(CheckpointArgs),
    /// Merge tables into one sorted run, without what no reader can see
    ///
    /// What is in the log is flushed first. Older versions and tombstones go, and a get looks into one
    /// table again. It happens by itself as a store is written; this is for doing it now, or for all of
    /// it. The space of the tables is needed once more while it works. An interrupted one loses nothing:
    /// what was merged stays merged.
    #[command(before_help = examples::COMPACT)]
    Compact(RangeArgs),
    /// Show the tree, level by level
    ///
    /// A row for each level, then one for each table; with --from or --to only the tables that may hold
    /// such keys, and about how many bytes those keys take. The column `of raw` is the bytes of file
    /// for a byte of keys and values: well below 1 they are compressed.
    #[command(before_help = examples::LSM)]
    Lsm(RangeArgs),
    /// Show numbers about the store
    #[command(before_help = examples::STATS)]
    Stats,
    /// Verify every checksum and every invariant of the store; report all that is wrong
    #[command(before_help = examples::CHECK)]
    Check(CheckArgs),
    /// Show every version of a key that is still there, and where it lies
    #[command(before_help = examples::FIND)]
    Find(FindArgs),
    /// Explain how a get runs, or what a code of a finding means
    #[command(before_help = examples::EXPLAIN)]
    Explain(ExplainArgs),
    /// Show what the bytes of the store are for
    #[command(before_help = examples::DU)]
    Du(DuArgs),
    /// Show how two stores, checkpoints or tables differ; exit 1 if they do
    #[command(before_help = examples::DIFF)]
    Diff(DiffArgs),
    /// Plan the rescue of a damaged store; with -o carry it out on a copy
    #[command(before_help = examples::REPAIR)]
    Repair(RepairArgs),
    /// Measure how fast it is: throughput, latencies, and what they cost
    #[command(before_help = examples::BENCH)]
    Bench(BenchArgs),
    /// Build a store from real data, break it, and explain what happens
    #[command(before_help = examples::TOUR)]
    Tour(TourArgs),
    /// Print a completion script for a shell
    #[command(before_help = examples::COMPLETIONS)]
    Completions(CompletionsArgs),
    /// Print the manual page
    #[command(before_help = examples::MAN)]
    Man(ManArgs),
}

/// `put`.
#[derive(Clone, Debug, clap::Args)]
pub struct PutArgs {
    /// The key, 1 to 65,535 bytes
    pub key: OsString,
    /// The value; `-` reads its exact bytes from standard input
    #[arg(allow_hyphen_values = true, required_unless_present = "value_file")]
    pub value: Option<OsString>,
    /// Read the value's exact bytes from a file
    #[arg(long, value_name = "FILE", conflicts_with = "value")]
    pub value_file: Option<PathBuf>,
    /// Do not wait for the disk: survives a kill, not a power cut
    #[arg(long)]
    pub no_sync: bool,
}

/// `get`.
#[derive(Clone, Debug, clap::Args)]
pub struct GetArgs {
    /// The keys
    #[arg(required = true, value_name = "KEY")]
    pub keys: Vec<OsString>,
    /// The exact bytes: no line end, never escaped
    #[arg(long)]
    pub raw: bool,
}

/// `del`.
#[derive(Clone, Debug, clap::Args)]
pub struct DelArgs {
    /// The key
    pub key: OsString,
    /// Do not wait for the disk: survives a kill, not a power cut
    #[arg(long)]
    pub no_sync: bool,
}

/// `scan`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ScanArgs {
    /// Which keys.
    #[command(flatten)]
    pub range: RangeArgs,
    /// Only keys that begin so
    #[arg(long, allow_hyphen_values = true)]
    pub prefix: Option<OsString>,
    /// At most so many
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// From the last key to the first
    #[arg(long)]
    pub reverse: bool,
    /// Print keys alone
    #[arg(long)]
    pub keys_only: bool,
    /// Print how many there are, and nothing else
    #[arg(long, conflicts_with_all = ["keys_only", "null"])]
    pub count: bool,
    /// End each record with a NUL instead of a line end, and escape nothing
    ///
    /// For `xargs -0` and its like. A key or value in which the separators occur is refused; give
    /// --enc to see it.
    #[arg(short = '0', long)]
    pub null: bool,
}

/// `apply`.
#[derive(Clone, Debug, clap::Args)]
pub struct ApplyArgs {
    /// NDJSON operations; `-` is standard input
    #[arg(default_value = "-")]
    pub file: PathBuf,
    /// Commit every N operations as one batch; 0: only where a commit stands
    #[arg(long, value_name = "N", default_value = "1")]
    pub batch: u64,
    /// Print a line for each batch once it is durable
    #[arg(long)]
    pub ack: bool,
    /// Do not wait for the disk: survives a kill, not a power cut
    #[arg(long)]
    pub no_sync: bool,
}

/// `load`.
#[derive(Clone, Debug, clap::Args)]
pub struct LoadArgs {
    /// The dump; `-` is standard input
    pub file: PathBuf,
    /// The dump's format [default: told by its first line]
    #[arg(long)]
    pub format: Option<Format>,
    /// The keys ascend: build tables directly, without the log, and store all or nothing
    #[arg(long, conflicts_with_all = ["lenient", "no_sync"])]
    pub sorted: bool,
    /// Skip bad lines, count them, and exit with 6
    #[arg(long)]
    pub lenient: bool,
    /// Do not wait for the disk: survives a kill, not a power cut
    #[arg(long)]
    pub no_sync: bool,
}

/// `checkpoint`.
#[derive(Clone, Debug, clap::Args)]
pub struct CheckpointArgs {
    /// The new store's directory, absent or empty
    pub out: PathBuf,
}

/// `dump`.
#[derive(Clone, Debug, clap::Args)]
pub struct DumpArgs {
    /// The format to write
    #[arg(long, default_value = "ndjson")]
    pub format: Format,
}

/// `tour`.
#[derive(Clone, Debug, clap::Args)]
pub struct TourArgs {
    /// Build the store here and keep it [default: a temporary place]
    #[arg(long)]
    pub dir: Option<PathBuf>,
}

/// `completions`.
#[derive(Clone, Debug, clap::Args)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}

/// `man`.
#[derive(Clone, Debug, clap::Args)]
pub struct ManArgs {
    /// The page of one command
    pub command: Option<String>,
}

/// The whole definition, from which help, completions and manual pages are made.
#[must_use]
pub fn command() -> clap::Command {
    Args::command().version(version())
}

/// Parses the words of a command line, the program's name first.
///
/// # Errors
/// Clap's, which prints itself and knows its status: 2 for a mistake, 0 for help and version.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Args, clap::Error> {
    let words: Vec<OsString> = words.into_iter().collect();
    parse_plainly(&words).or_else(|error| parse_value_like_option(&words).ok_or(error))
}

fn parse_plainly(words: &[OsString]) -> Result<Args, clap::Error> {
    Args::from_arg_matches(&command().try_get_matches_from(words)?)
}

/// Reads `put KEY --json`, where the value is spelled like an option that exists.
///
/// A script that stores whatever it was given must not end up with a page of help and status 0
/// because that was `-h`. So when a command line does not parse, each word with a hyphen is tried
/// as the value: a stand-in that no argument can be takes its place.
fn parse_value_like_option(words: &[OsString]) -> Option<Args> {
    let hyphened = |word: &OsString| word.as_bytes().starts_with(b"-");
    (1..words.len()).filter(|index| hyphened(&words[*index])).find_map(|index| {
        let mut tried = words.to_vec();
        tried[index] = OsString::from("\0");
        let mut args = parse_plainly(&tried).ok()?;
        let Verb::Put(put) = &mut args.verb else { return None };
        let value = put.value.as_mut().filter(|value| **value == tried[index])?;
        value.clone_from(&words[index]);
        args.hint = Some(format!("took {} as the value", words[index].display()));
        Some(args)
    })
}

/// The version of the program, and those of the formats it knows.
#[must_use]
pub fn version() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let program = env!("CARGO_PKG_VERSION");
        format!("{program} (store format: writes {FORMAT_VERSION}, reads 1 to {FORMAT_VERSION})")
    });
    &TEXT
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    fn words(line: &[&str]) -> Vec<OsString> {
        std::iter::once("beach").chain(line.iter().copied()).map(OsString::from).collect()
    }

    fn parsed(line: &[&str]) -> Args {
        parse(words(line)).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }

    fn refused(line: &[&str]) -> i32 {
        parse(words(line)).unwrap_err().exit_code()
    }

    /// Clap's own check of the definition: no clashes, no impossible defaults.
    #[test]
    fn the_definition_is_sound() {
        command().debug_assert();
    }

    /// Each global option on either side of the verb, and on both sides of its arguments.
    #[test]
    fn global_options_stand_before_and_after_the_verb() {
        for line in [
            &["--db", "d", "--enc", "hex", "--json", "-q", "--wait", "1.5", "put", "6b", "76"][..],
            &["put", "--db", "d", "--enc", "hex", "--json", "-q", "--wait", "1.5", "6b", "76"],
            &["put", "6b", "76", "--db", "d", "--enc", "hex", "--json", "-q", "--wait", "1.5"],
        ] {
            let args = parsed(line);
            assert_eq!(args.store.dir().unwrap(), Path::new("d"));
            assert_eq!(args.store.wait, Duration::from_millis(1500));
            assert_eq!(args.common.enc, Some(Encoding::Hex));
            assert!(args.common.json && args.common.quiet);
            let Verb::Put(put) = args.verb else { panic!("not put") };
            assert_eq!(args.common.decode("KEY", &put.key).unwrap(), b"k");
        }
    }

    /// Values with hyphens, among them ones that look like options, and bytes that are no UTF-8.
    #[test]
    fn values_are_any_bytes() {
        for value in ["-", "-5", "-x", "--flag", "--flag=1", "---", ""] {
            let Verb::Put(put) = parsed(&["put", "k", value]).verb else { panic!("not put") };
            assert_eq!(put.value.unwrap(), value);
            let Verb::Scan(scan) = parsed(&["scan", "--from", value]).verb else { panic!() };
            assert_eq!(scan.range.from.unwrap(), value);
        }
        let raw = OsString::from_vec(vec![0xff, b'\\', 0x80]);
        let line = [words(&["put"]), vec![raw.clone(), raw]].concat();
        let args = parse(line).unwrap();
        let Verb::Put(put) = args.verb else { panic!("not put") };
        assert_eq!(args.common.decode("KEY", &put.key).unwrap(), [0xff, b'\\', 0x80]);
    }

    /// The same where an option of that name exists, wherever the value stands.
    #[test]
    fn values_that_look_like_known_options_are_values() {
        for value in ["-q", "-h", "--help", "--json", "--no-sync", "--db", "--value-file"] {
            for line in [
                &["put", "k", value][..],
                &["--db", "d", "put", "k", value],
                &["put", "k", value, "--db", "d"],
                &["put", "-q", "k", value],
            ] {
                let args = parsed(line);
                let Verb::Put(put) = args.verb else { panic!("not put") };
                assert_eq!((put.key, put.value), ("k".into(), Some(value.into())), "{line:?}");
                assert!(args.hint.is_some());
            }
            let Verb::Scan(scan) = parsed(&["scan", "--from", value]).verb else { panic!() };
            assert_eq!(scan.range.from.unwrap(), value);
        }
        assert_eq!(refused(&["put", "--help", "k"]), 0);
        assert_eq!(refused(&["put", "k", "v", "--help"]), 0);
        assert_eq!(refused(&["put", "-q", "k"]), 2);
        assert_eq!(refused(&["put", "k", "--db", "d"]), 2);
        assert!(parsed(&["put", "k", "v", "-q"]).hint.is_none());
    }

    /// Statuses as a script sees them.
    #[test]
    fn wrong_usage_is_2_and_help_is_0() {
        for line in [
            &[][..],
            &["nonsense"],
            &["get"],
            &["get", "--jsno", "k"],
            &["put", "k"],
            &["put", "k", "v", "w"],
            &["put", "k", "v", "--value-file", "f"],
            &["put", "--no-snyc", "k", "v"],
            &["scan", "--limit", "-1"],
            &["scan", "--limit", "many"],
            &["--wait", "-1", "get", "k"],
            &["--wait", "nan", "get", "k"],
            &["--enc", "rot13", "get", "k"],
            &["dump", "--format", "xml"],
        ] {
            assert_eq!(refused(line), 2, "{line:?}");
        }
        for line in [&["--help"][..], &["-h"], &["--version"], &["put", "--help"]] {
            assert_eq!(refused(line), 0, "{line:?}");
        }
        assert!(parse(words(&["--version"])).unwrap_err().to_string().contains("writes 1"));
    }

    /// A wrong argument names itself and the place in it.
    #[test]
    fn a_badly_encoded_argument_is_wrong_usage() {
        let common = Common { enc: Some(Encoding::Hex), ..Common::default() };
        let failure = common.decode("KEY", OsStr::new("0g")).unwrap_err();
        assert_eq!(failure.code(), 2);
        assert_eq!(failure.to_string(), "KEY: bad hex: byte g at 1 is not a hexadecimal digit");
        let literal = Common::default().decode("KEY", OsStr::new(r"C:\temp")).unwrap();
        assert_eq!(literal, br"C:\temp");
    }

    /// Without a store named the hint says how to name one; an empty variable names none.
    #[test]
    fn a_store_must_be_named() {
        for db in [None, Some(PathBuf::new())] {
            let args = StoreArgs { db, ..StoreArgs::default() };
            let failure = args.dir().unwrap_err();
            assert_eq!(failure.code(), 2);
            assert!(failure.to_string().contains("--db DIR"));
        }
    }

    /// Every help begins with examples, and every example is a command line that parses.
    #[test]
    fn every_example_in_the_help_parses() {
        let mut commands = vec![command()];
        commands.extend(command().get_subcommands().cloned());
        for mut command in commands {
            let help = command.render_long_help().to_string();
            assert!(help.starts_with("Examples:\n"), "{} has no examples", command.get_name());
            let lines = help.lines().skip(1).take_while(|line| !line.is_empty());
            for line in lines {
                for example in line.split(" | ").filter(|part| part.trim().starts_with("beach ")) {
                    let bare = example.split(" > ").next().unwrap().split("  #").next().unwrap();
                    let words = bare.split_whitespace().map(|word| word.trim_matches('\''));
                    if let Err(error) = parse(words.map(OsString::from)) {
                        panic!("{bare}: {error}");
                    }
                }
            }
        }
    }
}
