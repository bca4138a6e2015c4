//! `beach-walDump`, and what every byte of a log is.

mod damaged;
mod dump;
mod follow;
mod hostile;
mod layout;
