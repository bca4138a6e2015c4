//! `beach diff`.
