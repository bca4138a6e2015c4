//! Internal keys: a user key with the sequence number and kind of one version of it.
//!
//! Order: user key ascending by unsigned bytes, then sequence number descending, then kind
//! descending, so that the newest version of a key comes first.

use std::cmp::Ordering;
use std::fmt;

use crate::types::{SeqNo, ValueKind};

/// Longest user key, in bytes. The shortest has one.
pub const KEY_SIZE_MAX: usize = 65_535;

/// Largest value, in bytes: 256 MiB.
pub const VALUE_SIZE_MAX: usize = 256 << 20;

/// Sequence number and kind in one integer: `seqno << 8 | kind`. On disk: 8 bytes, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Trailer(pub u64);

impl Trailer {
    /// Sorts before every version of a key visible at `seqno`: where a seek for it begins.
    #[must_use]
    pub fn seek(seqno: SeqNo) -> Trailer {
        Trailer(seqno.0 << 8 | 0xff)
    }

    /// Sorts before every version of a key.
    pub const FIRST: Trailer = Trailer(u64::MAX);
    /// Sorts behind every version of a key.
    pub const LAST: Trailer = Trailer(0);

    /// Packs the two.
    #[must_use]
    pub fn new(seqno: SeqNo, kind: ValueKind) -> Trailer {
        Trailer(seqno.0 << 8 | kind as u64)
    }

    /// The sequence number.
    #[must_use]
    pub fn seqno(self) -> SeqNo {
        SeqNo(self.0 >> 8)
    }

    /// The kind; none if this version of the code does not know it.
    #[must_use]
    pub fn kind(self) -> Option<ValueKind> {
        ValueKind::from_u8(self.0 as u8)
    }
}

/// Compares two internal keys.
#[must_use]
pub fn compare(a: (&[u8], Trailer), b: (&[u8], Trailer)) -> Ordering {
    a.0.cmp(b.0).then(b.1.cmp(&a.1))
}

/// An owned internal key: the bound of a table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InternalKey {
    /// The user key.
    pub user: Vec<u8>,
    /// Sequence number and kind.
    pub trailer: Trailer,
}

impl InternalKey {
    /// The key as the pair that [`compare`] takes.
    #[must_use]
    pub fn as_pair(&self) -> (&[u8], Trailer) {
        (&self.user, self.trailer)
    }
}

/// `"bar"#14,DEL`, non-printing bytes as `\xNN`.
impl fmt::Display for InternalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"#{}", self.user.escape_ascii(), self.trailer.seqno())?;
        match self.trailer.kind() {
            Some(kind) => write!(f, ",{kind}"),
            None => write!(f, ",kind {}", self.trailer.0 as u8),
        }
    }
}
