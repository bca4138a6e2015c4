//! `beach du`.
