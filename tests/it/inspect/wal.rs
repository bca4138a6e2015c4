//! `beach-walDump`, and what every byte of a log is.

#![allow(clippy::disallowed_methods, reason = "these tests prepare files for the tools")]

mod layout;
