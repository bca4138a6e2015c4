//! To come.
pub mod memtable;
