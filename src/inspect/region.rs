//! What the bytes of a file are: every byte belongs to exactly one region.

use std::fmt;

/// A run of bytes with one meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// Where it begins in the file.
    pub offset: u64,
    /// Its bytes.
    pub size: u64,
    /// What it is for.
    pub purpose: Purpose,
    /// The part of the file it belongs to: `footer`, `data block 7`, `frame`, `header`.
    pub part: String,
    /// What it is: `checksum`, `trailer of entry 3`.
    pub name: String,
    /// What it says, for people; empty where there is nothing to say.
    pub value: String,
}

/// What bytes are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// They say something.
    Field,
    /// They fill up to a boundary, or are reserved, and have the value that the format asks for.
    Padding,
    /// They were allocated and not used yet, or given up by recovery.
    Preallocated,
    /// A torn tail: a crash left them, and nothing reads them.
    Torn,
    /// Nothing explains them.
    Unexplained,
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Purpose::Field => "field",
            Purpose::Padding => "padding",
            Purpose::Preallocated => "preallocated",
            Purpose::Torn => "torn",
            Purpose::Unexplained => "unexplained",
        })
    }
}
