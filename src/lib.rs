//! BeachDB: an LSM key-value store you can see inside.

#[cfg(feature = "cli")]
pub mod cli;
pub mod error;
pub mod format;
pub mod record;
pub mod runtime;
pub mod table;
pub mod types;
pub mod vfs;

pub mod engine;

pub use error::{Corruption, Error, Result};
