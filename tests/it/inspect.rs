//! The inspecting tools: what they find, what they say, and what they leave alone.
#![allow(clippy::disallowed_methods, reason = "these tests prepare files for the tools")]

mod check;
mod coverage;
mod diff;
mod du;
mod explain;
mod find;
mod histories;
mod live;
mod manifest;
mod repair;
mod salvage;
pub(crate) mod schema;
mod stores;
mod table;
mod wal;
