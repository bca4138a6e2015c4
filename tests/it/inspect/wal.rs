//! `beach-walDump`.
