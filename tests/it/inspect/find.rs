//! `beach find`.
