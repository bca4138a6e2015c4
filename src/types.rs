//! Numbers that must not be mistaken for one another.

use std::fmt;

/// A sequence number: the position of one operation in the history of a store.
///
/// The first operation of a store has 1; 0 is "before everything". At most [`SeqNo::MAX`], because
/// an internal key keeps it in 56 bits beside the [`ValueKind`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeqNo(pub u64);

impl SeqNo {
    /// Before every operation.
    pub const ZERO: SeqNo = SeqNo(0);
    /// The largest sequence number a store can give: 2^56 − 1.
    pub const MAX: SeqNo = SeqNo((1 << 56) - 1);

    /// The number `count` operations later.
    #[must_use]
    pub fn plus(self, count: u64) -> SeqNo {
        SeqNo(self.0 + count)
    }
}

impl fmt::Display for SeqNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The random 64-bit identity of one file (or, as [`StoreId`], of one store), mixed into each of
/// its checksums.
///
/// A frame or block found in a file with another id is foreign or stale, however intact it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u64);

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The random 64-bit identity of a store, in the header of each of its logs and manifests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreId(pub u64);

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The number in a file's name: `000007.sst`, `000006.wal`, `MANIFEST-000005`.
///
/// One counter serves all kinds, and it only rises; 0 names no file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileNumber(pub u64);

impl fmt::Display for FileNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06}", self.0)
    }
}

/// A level of the tree: 0 is where flushes land, [`Level::MAX`] the deepest there can be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Level(pub u8);

impl Level {
    /// The deepest level.
    pub const MAX: Level = Level(6);
    /// How many levels there are.
    pub const COUNT: usize = Level::MAX.0 as usize + 1;
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "L{}", self.0)
    }
}

/// What one version of a key says.
///
/// The numbers are on disk. 2 (range tombstone) and 3 (value kept apart from its key) are reserved:
/// a reader of format 1 that meets them reports an unsupported kind, never skips it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ValueKind {
    /// A tombstone: hides every older version of the key.
    Delete = 0,
    /// A value.
    Put = 1,
}

impl ValueKind {
    /// The kind with this number on disk, if this version knows it.
    #[must_use]
    pub fn from_u8(byte: u8) -> Option<ValueKind> {
        match byte {
            0 => Some(ValueKind::Delete),
            1 => Some(ValueKind::Put),
            _ => None,
        }
    }
}

impl fmt::Display for ValueKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ValueKind::Delete => "DEL",
            ValueKind::Put => "PUT",
        })
    }
}
