//! `beach-walDump`.

mod at;
mod filter;
mod follow;
mod print;
mod salvage;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};

use super::Dump;
use crate::cli::args::{self, Common};
use crate::cli::progress::{Progress, Unit};
use crate::cli::{Failure, Out, Outcome};
use crate::inspect::wal::{LogItem, LogTotals, read_log};
use crate::types::SeqNo;
use filter::Filter;

pub(super) use print::damage_count;

const EXAMPLES: &str = "\
Examples:
  beach-walDump shop/000002.wal
  beach-walDump --ops shop
  beach-walDump --ops --key apple shop
  beach-walDump --from-seq 4711 shop/000002.wal
  beach-walDump --follow shop
  beach-walDump --json --ops shop | grep '\"t\":\"hole\"'
  beach-walDump salvage shop/000002.wal -o saved.wal
  beach-walDump at shop/000002.wal 0x62";

const SALVAGE: &str = "\
Examples:
  beach-walDump salvage shop/000002.wal -o saved.wal
  beach-walDump salvage shop/000002.wal --dry-run";

const AT: &str = "\
Examples:
  beach-walDump at shop/000002.wal 0x62
  beach-walDump at shop/000002.wal 4096 --json";

/// Show a write-ahead log, record by record, damage included.
///
/// A directory stands for its live logs. Exit status 3 when something is damaged; a tail that a
/// crash explains is shown and is no damage.
#[derive(Clone, Debug, clap::Parser)]
#[command(
    name = "beach-walDump",
    before_help = EXAMPLES,
    version = args::version(),
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    disable_help_subcommand = true
)]
pub struct WalArgs {
    /// Logs, or stores' directories
    #[arg(required = true, value_name = "FILE|DIR")]
    pub paths: Vec<PathBuf>,
    /// List the operations of each batch
    #[arg(long)]
    pub ops: bool,
    /// Only records from this sequence number on; damage is shown all the same
    #[arg(long, value_name = "N")]
    pub from_seq: Option<u64>,
    /// Only records that put or delete this key; damage is shown all the same
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    pub key: Option<OsString>,
    /// Go on as the log grows, and in the log that succeeds it, until interrupted
    ///
    /// What a writer has written by half is waited for and is no damage. A single log that ended
    /// because another succeeded it ends the output.
    #[arg(long)]
    pub follow: bool,
    /// Something else than a dump.
    #[command(subcommand)]
    pub verb: Option<WalVerb>,
    /// How to print.
    #[command(flatten)]
    pub common: Common,
}

/// What `beach-walDump` does beside dumping.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum WalVerb {
    /// Save every record that verifies into a new log
    ///
    /// What was left out is listed here, and in the new log, which reads as sound. Exit status 6 when
    /// anything was left out; a torn tail that nobody promised is dropped and is no loss.
    #[command(before_help = SALVAGE)]
    Salvage(SalvageArgs),
    /// Say what one byte is: part, field, value
    ///
    /// Exit status 3 when nothing explains the byte, 1 when the file ends before it.
    #[command(before_help = AT)]
    At(AtArgs),
}

/// `salvage`.
#[derive(Clone, Debug, clap::Args)]
pub struct SalvageArgs {
    /// The damaged log; it is not changed
    #[arg(value_name = "BAD")]
    pub bad: PathBuf,
    /// The new log, which must not exist
    #[arg(short, long, value_name = "GOOD", required_unless_present = "dry_run")]
    pub out: Option<PathBuf>,
    /// Write nothing, only say what would be kept
    #[arg(long)]
    pub dry_run: bool,
}

/// `at`.
#[derive(Clone, Debug, clap::Args)]
pub struct AtArgs {
    /// The log
    pub file: PathBuf,
    /// Where in the file, in decimal or as 0x62
    #[arg(value_parser = OsStringValueParser::new().try_map(|text| parse_offset(&text)))]
    pub offset: u64,
}

/// An offset in decimal or, with `0x`, in hexadecimal.
fn parse_offset(text: &std::ffi::OsStr) -> Result<u64, String> {
    let text = text.to_str().unwrap_or_default();
    let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| "not an offset, in decimal or hexadecimal with 0x".to_owned())
}

pub(super) fn dump(args: &WalArgs, out: &mut Out) -> Outcome {
    match &args.verb {
        Some(WalVerb::Salvage(wanted)) => return salvage::salvage(args, wanted, out),
        Some(WalVerb::At(wanted)) => return at::at(args, wanted, out),
        None => {}
    }
    let key = args.key.as_ref().map(|key| args.common.decode("--key", key)).transpose()?;
    let mut filter = Filter::new(args.from_seq.map(SeqNo), key);
    if args.follow {
        return follow::follow(args, &mut filter, out);
    }
    let mut dump = Dump::new(out, &args.common);
    let mut all = LogTotals::default();
    dump.all(
        &args.paths,
        |live| live.logs,
        |dump, file, expect| {
            let mut bar = Bar::begin("dump", file.size()?, dump.out);
            let totals = read_log(file, &expect, &mut |item| {
                bar.reach(&item);
                print::item(dump, &item, args.ops, &mut filter)
            })?;
            drop(bar);
            print::end_of_file(dump, file.path(), &totals)?;
            add(&mut all, &totals);
            Ok(totals.damaged == 0)
        },
    )?;
    let shown = filter.shown();
    dump.end(|summary| print::summary(summary, &all, shown))
}

fn add(all: &mut LogTotals, one: &LogTotals) {
    all.frames += one.frames;
    all.batches += one.batches;
    all.ops += one.ops;
    all.ops_missing += one.ops_missing;
    all.torn += one.torn;
    all.damaged += one.damaged;
    all.gaps += one.gaps;
}

/// A bar over the bytes of a log; none where the lines themselves show how far it is.
struct Bar {
    progress: Progress,
    next: u64,
}

impl Bar {
    /// Bytes between two moves of the bar.
    const STEP: u64 = 1 << 20;

    fn begin(label: &'static str, size: u64, out: &Out) -> Bar {
        let quiet = out.is_quiet() || out.is_terminal();
        Bar { progress: Progress::begin(label, Unit::Bytes, Some(size), quiet), next: Bar::STEP }
    }

    fn reach(&mut self, item: &LogItem<'_>) {
        let at = item.offset();
        if at >= self.next {
            self.progress.set(at);
            self.next = at + Bar::STEP;
        }
    }
}

/// A failure about the command line.
fn usage(what: impl Into<String>) -> Failure {
    Failure::Usage(what.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::ffi::OsStr;

    /// Decimal, hexadecimal, and what is neither.
    #[test]
    fn offsets_are_read_in_both_ways() {
        let parsed = |text: &str| parse_offset(OsStr::new(text)).ok();
        assert_eq!((parsed("98"), parsed("0x62"), parsed("0X62")), (Some(98), Some(98), Some(98)));
        for wrong in ["", "0x", "62h", "-1", "0x1g", "99999999999999999999"] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }

    /// The definition is sound, and every example of its helps is understood.
    #[test]
    fn every_example_is_parsed() {
        <WalArgs as clap::CommandFactory>::command().debug_assert();
        let examples = [EXAMPLES, SALVAGE, AT].join("\n");
        let mut count = 0;
        for line in examples.lines().filter_map(|line| line.trim().strip_prefix("beach-walDump")) {
            let words = line.split('|').next().unwrap_or_default().split_whitespace();
            let parsed = WalArgs::try_parse_from(std::iter::once("beach-walDump").chain(words));
            assert!(parsed.is_ok(), "{line}: {parsed:?}");
            count += 1;
        }
        assert_eq!(count, 12);
        for wrong in [&["salvage", "a.wal"][..], &[], &["at", "a.wal"], &["--follow"]] {
            let words = std::iter::once("beach-walDump").chain(wrong.iter().copied());
            assert!(WalArgs::try_parse_from(words).is_err(), "{wrong:?}");
        }
    }
}
