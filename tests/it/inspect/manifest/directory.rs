//! The manifest against the directory.
