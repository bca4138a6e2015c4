//! `beach-sstDump`.

mod bytes;
mod doctor;
mod get;
mod histogram;
mod print;

use std::ffi::OsString;
use std::path::PathBuf;

use super::wal::damage_count;
use super::{Dump, plural};
use crate::cli::args::{self, Common};
use crate::cli::progress::{Progress, Unit};
use crate::cli::{Failure, Out, Outcome};
use crate::inspect::table::{PartName, TableItem, TableTotals, read_table};
use crate::vfs::File;

use print::Printer;

pub(super) use print::entry_count;

const EXAMPLES: &str = "\
Examples:
  beach-sstDump shop/000007.sst
  beach-sstDump --entries shop/000007.sst
  beach-sstDump --layout shop/000007.sst
  beach-sstDump --block 3 --hex shop/000007.sst
  beach-sstDump at shop/000007.sst 0x1271
  beach-sstDump get shop/000007.sst apple
  beach-sstDump histogram shop
  beach-sstDump doctor shop/000007.sst --write-fixed mended.sst
  beach-sstDump --json shop";

const AT: &str = "\
Examples:
  beach-sstDump at shop/000007.sst 0x1271
  beach-sstDump at shop/000007.sst 4096 --json";

const GET: &str = "\
Examples:
  beach-sstDump get shop/000007.sst apple
  beach-sstDump get --enc hex shop/000007.sst 6170706c65";

const HISTOGRAM: &str = "\
Examples:
  beach-sstDump histogram shop/000007.sst
  beach-sstDump histogram --prefix 6 shop";

const DOCTOR: &str = "\
Examples:
  beach-sstDump doctor shop/000007.sst
  beach-sstDump doctor shop/000007.sst --write-fixed mended.sst
  beach-sstDump doctor shop/*.sst";

/// Show a sorted table: footer, properties, filter, index, blocks, entries.
///
/// A directory stands for its live tables. Exit status 3 when something is damaged; reading goes on
/// behind damaged blocks.
#[derive(Clone, Debug, clap::Parser)]
#[command(
    name = "beach-sstDump",
    before_help = EXAMPLES,
    version = args::version(),
    subcommand_negates_reqs = true,
    disable_help_subcommand = true
)]
pub struct TableArgs {
    /// Tables, or stores' directories
    #[arg(required = true, value_name = "FILE|DIR")]
    pub paths: Vec<PathBuf>,
    /// List the entries of each block
    #[arg(long)]
    pub entries: bool,
    /// List every field with its offset and size, down to the parts of each entry
    #[arg(long, conflicts_with = "entries")]
    pub layout: bool,
    /// Show one part: a data block by its number, or filter, properties, index, footer
    #[arg(long, value_name = "N|PART", conflicts_with_all = ["entries", "layout"])]
    pub block: Option<PartName>,
    /// With --block: its bytes on the left, what they are on the right
    #[arg(long, requires = "block")]
    pub hex: bool,
    /// How to print.
    #[command(flatten)]
    pub common: Common,
    /// What else to do.
    #[command(subcommand)]
    pub verb: Option<TableVerb>,
}

/// What else to do with tables.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum TableVerb {
    /// Say what a byte is: its part, its field, and in data its entry's key
    #[command(before_help = AT)]
    At {
        /// A table
        file: PathBuf,
        /// The byte's offset, decimal or 0x and hexadecimal
        #[arg(value_parser = parse_offset)]
        offset: u64,
    },
    /// Look a key up: what the filter says, which block, every version there is
    #[command(before_help = GET)]
    Get {
        /// A table
        file: PathBuf,
        /// The key
        key: OsString,
    },
    /// Show how sizes are spread: keys, values, entries per block, entries per prefix
    #[command(before_help = HISTOGRAM)]
    Histogram {
        /// Tables, or stores' directories; all are counted together
        #[arg(required = true, value_name = "FILE|DIR")]
        paths: Vec<PathBuf>,
        /// Tell keys apart by their first N bytes
        #[arg(long, value_name = "N", default_value_t = 1)]
        prefix: usize,
    },
    /// Find out what happened to damaged parts, and mend them in a copy
    ///
    /// Looks for the one flipped bit that explains a checksum, for sectors of zeros or ones, for blocks
    /// of another place or of the other tables named, and for a lost end. Exit status 3 for a damaged
    /// table; with --write-fixed 0 if the copy is sound, and 6 if some damage could not be mended.
    #[command(before_help = DOCTOR)]
    Doctor {
        /// Tables, or stores' directories
        #[arg(required = true, value_name = "FILE|DIR")]
        paths: Vec<PathBuf>,
        /// Write a mended copy, which must not exist; of one table only
        #[arg(long, value_name = "COPY")]
        write_fixed: Option<PathBuf>,
    },
}

fn parse_offset(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| "not an offset".to_owned())
}

pub(super) fn dump(args: &TableArgs, out: &mut Out) -> Outcome {
    let mut dump = Dump::new(out, &args.common);
    let Some(verb) = &args.verb else {
        return match args.block {
            _ if args.layout => bytes::layout(dump, &args.paths),
            Some(name) => bytes::block(dump, &args.paths, name, args.hex),
            None => parts(dump, &args.paths, args.entries),
        };
    };
    if !args.paths.is_empty() || args.entries || args.layout || args.block.is_some() {
        return Err(Failure::Usage(
            "files and options of the dump go without a command".to_owned(),
        ));
    }
    match verb {
        TableVerb::At { file, offset } => bytes::at(&mut dump, file, *offset),
        TableVerb::Get { file, key } => get::get(dump, file, &args.common.decode("KEY", key)?),
        TableVerb::Histogram { paths, prefix } => histogram::histogram(dump, paths, *prefix),
        TableVerb::Doctor { paths, write_fixed } => {
            doctor::doctor(dump, paths, write_fixed.as_deref())
        }
    }
}

/// The parts of each table.
fn parts(mut dump: Dump<'_>, paths: &[PathBuf], with_entries: bool) -> Outcome {
    let (mut blocks, mut entries, mut tombstones, mut damaged) = (0, 0, 0, 0);
    dump.all(
        paths,
        |live| live.tables,
        |dump, file, level| {
            let mut printer = Printer::new(level);
            // On a terminal the lines themselves show how far it is.
            let quiet = dump.common.quiet || dump.out.is_terminal();
            let mut progress = Progress::begin("read", Unit::Bytes, Some(file.size()?), quiet);
            let totals = read_table(file, with_entries, &mut |item| {
                if let TableItem::Block(report) = &item {
                    progress.set(report.handle.offset);
                }
                printer.item(dump, &item)
            })?;
            drop(progress);
            end_of_file(dump, file, &totals)?;
            blocks += totals.blocks;
            entries += totals.entries;
            tombstones += totals.tombstones;
            damaged += totals.damaged;
            Ok(totals.damaged == 0)
        },
    )?;
    dump.end(|summary| {
        summary
            .number("blocks", blocks)
            .number("entries", entries)
            .number("tombstones", tombstones)
            .number("damaged", damaged)
    })
}

fn end_of_file(dump: &mut Dump<'_>, file: &dyn File, totals: &TableTotals) -> Outcome<()> {
    if !dump.out.is_json() {
        dump.out.line(format!(
            "{}: {}, {}, {}, {}",
            file.path().display(),
            plural(totals.blocks, "block"),
            entry_count(totals.entries),
            plural(totals.tombstones, "tombstone"),
            damage_count(totals.damaged),
        ))?;
    }
    dump.complain(file.path(), totals.damaged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser};

    /// Every help begins with examples, and every example parses.
    #[test]
    fn every_example_in_the_help_parses() {
        let mut commands = vec![TableArgs::command()];
        commands.extend(TableArgs::command().get_subcommands().cloned());
        for mut command in commands {
            let help = command.render_long_help().to_string();
            assert!(help.starts_with("Examples:\n"), "{} has no examples", command.get_name());
            for line in help.lines().skip(1).take_while(|line| !line.is_empty()) {
                let args = TableArgs::try_parse_from(line.split_whitespace());
                assert!(args.is_ok(), "{line}: {}", args.unwrap_err());
            }
        }
    }

    /// Options that are not about one command work on both sides of it.
    #[test]
    fn global_options_stand_anywhere() {
        for line in ["x --json at f 0x10", "x at --json f 16", "x at f 16 --json"] {
            let args = TableArgs::try_parse_from(line.split(' ')).unwrap();
            assert!(args.common.json);
            assert!(matches!(args.verb, Some(TableVerb::At { offset: 16, .. })), "{line}");
        }
        for line in ["x", "x --hex f", "x --block x f", "x at f 0xg", "x --layout --entries f"] {
            assert!(TableArgs::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
