//! The integration tests: one binary.

mod api;
mod crash;
mod history;
mod model;
mod tidy;
