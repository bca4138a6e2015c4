//! The integration tests: one binary.

mod api;
mod busy;
mod checkpoint;
mod compaction;
mod concurrent;
mod corners;
mod crash;
mod damage;
#[cfg(feature = "cli")]
mod dumps;
mod faults;
mod history;
mod ingest;
#[cfg(feature = "cli")]
mod inspect;
#[cfg(feature = "cli")]
mod kept;
#[cfg(feature = "cli")]
mod kills;
#[cfg(feature = "cli")]
mod lab;
mod model;
#[cfg(feature = "cli")]
mod mutants;
mod orderings;
mod schedules;
mod scripts;
mod tidy;
#[cfg(feature = "cli")]
mod tools;
