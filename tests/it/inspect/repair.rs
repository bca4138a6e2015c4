//! `beach repair`.
