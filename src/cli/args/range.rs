//! A range of keys, as verbs on the tree take it.

use std::ffi::OsString;

/// `--from` and `--to`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct RangeArgs {
    /// Begin at this key
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    pub from: Option<OsString>,
    /// End before this key
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    pub to: Option<OsString>,
}
