#![doc = include_str!("../../docs/formats/batch.md")]

#[cfg(test)]
mod tests;

use std::fmt;

use super::coding::{Cursor, put_sized};
use super::key::{KEY_SIZE_MAX, VALUE_SIZE_MAX};
use crate::types::ValueKind;

/// Largest encoded batch, in bytes: 512 MiB.
pub const BATCH_SIZE_MAX: usize = 512 << 20;

/// Bytes of a batch before its operations: the version and their count.
pub const BATCH_HEADER_SIZE: usize = 5;

/// The version of the encoding.
const BATCH_VERSION: u8 = 1;

/// Most bytes a kind and two lengths can take.
const OP_OVERHEAD_MAX: usize = 11;

/// Operations that are written together: visible as a whole or not at all, after a crash too.
///
/// Later operations on a key win over earlier ones. The batch keeps its encoded form, so writing it
/// copies bytes and nothing else. An operation that breaks a limit is left out and remembered, and
/// the batch is then refused as a whole:
///
/// ```
/// use beachdb::format::batch::WriteBatch;
///
/// let mut batch = WriteBatch::new();
/// batch.put("apple", "red").put("plum", "blue").delete("pear");
/// assert_eq!(batch.len(), 3);
/// assert!(batch.check().is_ok());
///
/// batch.put("", "a key has at least one byte");
/// assert!(batch.check().is_err());
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct WriteBatch {
    /// The encoding, whole after each call.
    bytes: Vec<u8>,
    count: u32,
    /// The first limit that was broken.
    refused: Option<String>,
}

/// One operation of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op<'a> {
    /// The key gets this value.
    Put {
        /// The user key.
        key: &'a [u8],
        /// The value.
        value: &'a [u8],
    },
    /// The key is deleted, whether it was there or not.
    Delete {
        /// The user key.
        key: &'a [u8],
    },
}

impl<'a> Op<'a> {
    /// The user key.
    #[must_use]
    pub fn key(&self) -> &'a [u8] {
        match *self {
            Op::Put { key, .. } | Op::Delete { key } => key,
        }
    }

    /// The value; empty for a delete.
    #[must_use]
    pub fn value(&self) -> &'a [u8] {
        match *self {
            Op::Put { value, .. } => value,
            Op::Delete { .. } => &[],
        }
    }

    /// The kind of version it makes.
    #[must_use]
    pub fn kind(&self) -> ValueKind {
        match self {
            Op::Put { .. } => ValueKind::Put,
            Op::Delete { .. } => ValueKind::Delete,
        }
    }
}

impl WriteBatch {
    /// A batch without operations.
    #[must_use]
    pub fn new() -> WriteBatch {
        // Enough for one usual pair, which then costs one allocation.
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(&[BATCH_VERSION, 0, 0, 0, 0]);
        WriteBatch { bytes, count: 0, refused: None }
    }

    /// Sets a key's value. Key 1 to 65,535 bytes, value at most 256 MiB.
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> &mut WriteBatch {
        let (key, value) = (key.as_ref(), value.as_ref());
        if self.admit(key, value) {
            self.bytes.reserve(key.len() + value.len() + OP_OVERHEAD_MAX);
            self.bytes.push(ValueKind::Put as u8);
            put_sized(&mut self.bytes, key);
            put_sized(&mut self.bytes, value);
            self.counted();
        }
        self
    }

    /// Deletes a key. It need not be there.
    pub fn delete(&mut self, key: impl AsRef<[u8]>) -> &mut WriteBatch {
        let key = key.as_ref();
        if self.admit(key, &[]) {
            self.bytes.reserve(key.len() + OP_OVERHEAD_MAX);
            self.bytes.push(ValueKind::Delete as u8);
            put_sized(&mut self.bytes, key);
            self.counted();
        }
        self
    }

    /// Operations in the batch, each version of a key counted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there are no operations.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the encoded batch.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Forgets operations and broken limits and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.truncate(1);
        self.bytes.extend_from_slice(&[0; 4]);
        self.count = 0;
        self.refused = None;
    }

    /// The operations, in the order they were added.
    pub fn ops(&self) -> impl Iterator<Item = Op<'_>> {
        // The bytes are this batch's own and so decode without an error.
        Decoder { cursor: Cursor::new(&self.bytes[BATCH_HEADER_SIZE..]), left: self.count }
            .flatten()
    }

    /// The encoded batch.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The batch with this encoding, checked as a whole.
    ///
    /// # Errors
    /// The reason why the bytes are not a batch.
    pub fn from_bytes(bytes: &[u8]) -> Result<WriteBatch, String> {
        let count = validate(bytes)?;
        Ok(WriteBatch { bytes: bytes.to_vec(), count, refused: None })
    }

    /// Whether every operation added is within the limits. A batch that is not must not be written:
    /// the operations that broke them are missing from it.
    ///
    /// # Errors
    /// The first limit that was broken, in words.
    pub fn check(&self) -> Result<(), String> {
        match &self.refused {
            Some(reason) => Err(reason.clone()),
            None => Ok(()),
        }
    }

    #[inline]
    fn admit(&mut self, key: &[u8], value: &[u8]) -> bool {
        let fits = !key.is_empty()
            && key.len() <= KEY_SIZE_MAX
            && value.len() <= VALUE_SIZE_MAX
            && key.len() + value.len() + OP_OVERHEAD_MAX <= BATCH_SIZE_MAX - self.bytes.len();
        if !fits {
            self.refuse(key, value);
        }
        fits
    }

    #[cold]
    fn refuse(&mut self, key: &[u8], value: &[u8]) {
        let reason = broken_limit(key, value)
            .unwrap_or_else(|| format!("batch would pass the limit of {BATCH_SIZE_MAX} bytes"));
        self.refused.get_or_insert(reason);
    }

    #[inline]
    fn counted(&mut self) {
        // An operation takes at least three bytes, so the size limit keeps this far from its end.
        self.count += 1;
        self.bytes[1..BATCH_HEADER_SIZE].copy_from_slice(&self.count.to_le_bytes());
    }
}

impl Default for WriteBatch {
    fn default() -> WriteBatch {
        WriteBatch::new()
    }
}

impl fmt::Debug for WriteBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteBatch")
            .field("count", &self.count)
            .field("size_bytes", &self.bytes.len())
            .field("refused", &self.refused)
            .finish()
    }
}

/// The operations of an encoded batch, one by one; a wrong one is an error, and the last item.
///
/// That the count is exact and nothing follows is known only when the iterator has ended without an
/// error. [`validate`] runs it to its end.
#[derive(Clone, Debug)]
pub struct Decoder<'a> {
    cursor: Cursor<'a>,
    /// Operations still to come.
    left: u32,
}

impl<'a> Decoder<'a> {
    /// Reads the batch's version and count.
    ///
    /// # Errors
    /// The reason.
    pub fn new(bytes: &'a [u8]) -> Result<Decoder<'a>, String> {
        if bytes.len() > BATCH_SIZE_MAX {
            return Err(format!("batch has {} bytes, limit is {BATCH_SIZE_MAX}", bytes.len()));
        }
        let mut cursor = Cursor::new(bytes);
        match (cursor.u8(), cursor.u32()) {
            (Some(BATCH_VERSION), Some(left)) => Ok(Decoder { cursor, left }),
            (None | Some(BATCH_VERSION), _) => Err("batch ends inside its header".to_owned()),
            (Some(version), _) => Err(format!("batch has version {version}, expected 1")),
        }
    }

    /// Operations still to come, as the header counts them.
    #[must_use]
    pub fn left(&self) -> u32 {
        self.left
    }

    fn op(&mut self) -> Result<Op<'a>, String> {
        let truncated = |what: &str| format!("batch ends inside a {what}, or its length is wrong");
        let kind = match self.cursor.u8() {
            Some(byte) => {
                ValueKind::from_u8(byte).ok_or_else(|| format!("unsupported kind {byte}"))?
            }
            None => return Err(format!("batch ends with {} operations to come", self.left)),
        };
        let key = self.cursor.sized(KEY_SIZE_MAX).ok_or_else(|| truncated("key"))?;
        if key.is_empty() {
            return Err("key is empty".to_owned());
        }
        match kind {
            ValueKind::Delete => Ok(Op::Delete { key }),
            ValueKind::Put => {
                let value = self.cursor.sized(VALUE_SIZE_MAX).ok_or_else(|| truncated("value"))?;
                Ok(Op::Put { key, value })
            }
        }
    }
}

impl<'a> Iterator for Decoder<'a> {
    type Item = Result<Op<'a>, String>;

    #[inline]
    fn next(&mut self) -> Option<Result<Op<'a>, String>> {
        if self.left == 0 {
            if self.cursor.is_empty() {
                return None;
            }
            self.cursor = Cursor::new(&[]);
            return Some(Err("batch has bytes behind its last operation".to_owned()));
        }
        let op = self.op();
        match op {
            Ok(_) => self.left -= 1,
            Err(_) => *self = Decoder { cursor: Cursor::new(&[]), left: 0 },
        }
        Some(op)
    }
}

/// Checks a whole encoded batch and returns how many operations it has.
///
/// # Errors
/// The first thing wrong with it.
pub fn validate(bytes: &[u8]) -> Result<u32, String> {
    let mut decoder = Decoder::new(bytes)?;
    let count = decoder.left();
    decoder.try_for_each(|op| op.map(drop))?;
    Ok(count)
}

/// Why this key and value cannot be written, if they cannot.
#[must_use]
pub fn broken_limit(key: &[u8], value: &[u8]) -> Option<String> {
    if key.is_empty() {
        Some("key is empty".to_owned())
    } else if key.len() > KEY_SIZE_MAX {
        Some(format!("key has {} bytes, limit is {KEY_SIZE_MAX}", key.len()))
    } else if value.len() > VALUE_SIZE_MAX {
        Some(format!("value has {} bytes, limit is {VALUE_SIZE_MAX}", value.len()))
    } else {
        None
    }
}
