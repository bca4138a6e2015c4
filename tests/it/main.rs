//! The integration tests: one binary.

mod crash;
mod history;
mod model;
mod tidy;
#[cfg(feature = "cli")]
mod tools;
