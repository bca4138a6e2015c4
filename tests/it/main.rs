//! The integration tests: one binary.

mod crash;
mod dumps;
mod history;
mod model;
mod tidy;
