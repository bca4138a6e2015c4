//! A value where it lies: in a memtable or in a block, pinned, not copied.

use std::fmt;
use std::ops::Deref;

use super::memtable::MemValue;
use crate::table::BlockValue;

/// The bytes of a value. Holding it keeps the memtable or block it lies in; to keep a small value
/// for long, copy it with `to_vec`.
#[derive(Clone)]
pub struct Value(Place);

#[derive(Clone)]
enum Place {
    Memtable(MemValue),
    Block(BlockValue),
}

impl Value {
    pub(super) fn memtable(value: MemValue) -> Value {
        Value(Place::Memtable(value))
    }

    pub(super) fn block(value: BlockValue) -> Value {
        Value(Place::Block(value))
    }
}

impl Deref for Value {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Place::Memtable(value) => value,
            Place::Block(value) => value,
        }
    }
}

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        **self == **other
    }
}

impl Eq for Value {}

impl PartialEq<[u8]> for Value {
    fn eq(&self, other: &[u8]) -> bool {
        **self == *other
    }
}

impl PartialEq<&[u8]> for Value {
    fn eq(&self, other: &&[u8]) -> bool {
        **self == **other
    }
}

impl<const N: usize> PartialEq<&[u8; N]> for Value {
    fn eq(&self, other: &&[u8; N]) -> bool {
        **self == other[..]
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.escape_ascii())
    }
}
