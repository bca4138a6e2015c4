//! `beach-manifest` and its commands.
