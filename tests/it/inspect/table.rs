//! `beach-sstDump` and its commands.

mod bits;
mod doctor;
mod made;
mod verbs;
