//! The arguments of `beach bench`.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

use super::parse_seconds;
use crate::bench::{Settings, Workload};
use crate::{Compression, Options, Strategy};

/// `bench`.
#[derive(Clone, Debug, clap::Args)]
pub struct BenchArgs {
    /// What to run, in this order, on one store; commas do as well
    #[arg(
        required = true,
        value_name = "WORKLOAD",
        value_delimiter = ',',
        value_parser = workloads()
    )]
    pub workloads: Vec<Workload>,
    /// Keys there are, and operations of each workload
    #[arg(long, value_name = "N", default_value = "1000000")]
    pub num: u64,
    /// Operations of workloads that do not walk over the keys once [default: as many as keys]
    #[arg(long, value_name = "N")]
    pub ops: Option<u64>,
    /// End each workload after so many seconds
    #[arg(long, value_name = "SECS", value_parser = parse_seconds, conflicts_with = "ops")]
    pub duration: Option<Duration>,
    /// Bytes of a key: its number in eight, highest first, then zeros in ASCII
    #[arg(long, value_name = "BYTES", default_value = "16")]
    pub key_size: usize,
    /// Bytes of a value, half compressible [default: 256 for A, B and C, else 100]
    #[arg(long, value_name = "BYTES")]
    pub value_size: Option<usize>,
    /// Threads that share the operations
    #[arg(long, value_name = "T", default_value = "1")]
    pub threads: u64,
    /// Writes that are committed together
    #[arg(long, value_name = "N", default_value = "1")]
    pub batch: u64,
    /// Sync each commit: survives power loss, not only a kill
    #[arg(long)]
    pub sync: bool,
    /// Most bytes of block cache, as in 256MiB [default: what --memory leaves]
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    pub cache: Option<u64>,
    /// Bytes of memtable that start a flush [default: the library's]
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    pub memtable: Option<u64>,
    /// Bytes of memory for memtables, filters, indexes and cache together [default: the library's]
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    pub memory: Option<u64>,
    /// How the tree is kept in shape
    #[arg(long, default_value = "hybrid")]
    pub strategy: Shape,
    /// How blocks are compressed
    #[arg(long, default_value = "lz4")]
    pub compression: Packing,
    /// What keys and order follow from
    #[arg(long, value_name = "N", default_value = "1")]
    pub seed: u64,
    /// Time one of N operations, 0 for none [default: 16; 1 for seeks and synced writes; 1024 for scans]
    #[arg(long, value_name = "N")]
    pub sample: Option<u64>,
    /// Run on the store as it is: empty nothing, load nothing unasked
    #[arg(long)]
    pub use_existing: bool,
    /// Do not compare the store with what was written at the end
    #[arg(long)]
    pub no_verify: bool,
    /// Print ratios to the run whose --json output is in this file
    #[arg(long, value_name = "FILE")]
    pub compare: Option<PathBuf>,
    /// Write a line of CSV for each second
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
}

/// A strategy by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Shape {
    /// Runs side by side at the top, one run a level at the bottom
    Hybrid,
    /// One run a level
    Leveled,
    /// Runs of similar size side by side
    Tiered,
}

/// A compression by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Packing {
    /// LZ4
    Lz4,
    /// None
    None,
}

impl BenchArgs {
    /// What the workloads have in common.
    #[must_use]
    pub fn settings(&self) -> Settings {
        let ms = |length: Duration| u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        Settings {
            num: self.num,
            ops: self.ops,
            duration_ms: self.duration.map(ms),
            key_size: self.key_size,
            value_size: self.value_size,
            threads: self.threads,
            batch: self.batch,
            sync: self.sync,
            seed: self.seed,
            sample_every: self.sample,
            use_existing: self.use_existing,
        }
    }

    /// How the store is opened.
    #[must_use]
    pub fn options(&self) -> Options {
        let mut options = Options::new().create(!self.use_existing);
        if let Some(bytes) = self.cache {
            options = options.cache_size(bytes);
        }
        if let Some(bytes) = self.memtable {
            options = options.memtable_size(bytes);
        }
        if let Some(bytes) = self.memory {
            options = options.memory_size(bytes);
        }
        options
            .strategy(match self.strategy {
                Shape::Hybrid => Strategy::Hybrid,
                Shape::Leveled => Strategy::Leveled,
                Shape::Tiered => Strategy::SizeTiered,
            })
            .compression(match self.compression {
                Packing::Lz4 => Compression::Lz4,
                Packing::None => Compression::None,
            })
    }
}

/// Names, each with what it does, for help and completions.
fn workloads() -> impl TypedValueParser<Value = Workload> {
    let told = |one: Workload| PossibleValue::new(one.name()).help(one.about());
    PossibleValuesParser::new(Workload::ALL.map(told)).try_map(|name| name.parse::<Workload>())
}

/// A number of bytes, with an optional unit: `4096`, `64k`, `64KiB`, `1g`.
fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        _ => return Err("the unit is none of KiB, MiB, GiB".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "not a number of bytes".to_owned())?;
    number.checked_mul(1 << shift).ok_or_else(|| "too many bytes".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each unit long and short, and what is no size.
    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("4096B", 4096),
            ("64k", 64 << 10),
            ("64KiB", 64 << 10),
            ("256M", 256 << 20),
            ("1gib", 1 << 30),
        ] {
            assert_eq!(parse_size(text), Ok(bytes));
        }
        for text in ["", "k", "-1", "1.5M", "64 MB", "1T", "99999999999G"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
