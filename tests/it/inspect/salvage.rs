//! `beach-walDump salvage`.
