//! The verbs that look into a store.

use std::ffi::OsString;
use std::path::PathBuf;

use super::RangeArgs;

/// `check`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct CheckArgs {
    /// Also account for every byte of every file
    #[arg(long)]
    pub coverage: bool,
}

/// `find`.
#[derive(Clone, Debug, clap::Args)]
pub struct FindArgs {
    /// The key
    pub key: OsString,
    /// Every key that begins so
    #[arg(long)]
    pub prefix: bool,
}

/// `explain`.
#[derive(Clone, Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct ExplainArgs {
    /// A code, as in BW002; all of them without one
    pub code: Option<String>,
    /// What is explained.
    #[command(subcommand)]
    pub verb: Option<ExplainVerb>,
}

/// What is explained as it runs.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum ExplainVerb {
    /// Run a get, and show every table, filter and block that it looks into
    #[command(before_help = crate::cli::examples::EXPLAIN_GET)]
    Get(ExplainGetArgs),
}

/// `explain get`.
#[derive(Clone, Debug, clap::Args)]
pub struct ExplainGetArgs {
    /// The key
    pub key: OsString,
}

/// `du`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct DuArgs {
    /// Sum up by the first N bytes of the keys
    #[arg(long, value_name = "N")]
    pub by_prefix: Option<usize>,
}

/// `diff`.
#[derive(Clone, Debug, clap::Args)]
pub struct DiffArgs {
    /// A store's directory, or a table
    pub a: PathBuf,
    /// What it is compared with
    pub b: PathBuf,
    /// Print the operations that make A like B, for `beach apply`
    #[arg(long)]
    pub as_ops: bool,
    /// Which keys.
    #[command(flatten)]
    pub range: RangeArgs,
}

/// `repair`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct RepairArgs {
    /// Carry the plan out, into this new directory
    #[arg(short, long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Only print the plan; so it is without -o
    #[arg(long)]
    pub dry_run: bool,
}
