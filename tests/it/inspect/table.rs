//! `beach-sstDump` and its commands.
