//! Typed values in tagged fields, as properties and [`TableMeta`](super::TableMeta) use them.

use crate::format::coding::{self, Cursor};
use crate::format::key::{InternalKey, KEY_SIZE_MAX, Trailer};
use crate::format::table::Handle;

/// Appends a number as a varint.
pub(super) fn put_number(out: &mut Vec<u8>, tag: u8, value: u64) {
    let mut bytes = Vec::new();
    coding::put_varint(&mut bytes, value);
    coding::put_field(out, tag, &bytes);
}

/// Appends an identity: eight bytes, little-endian, because random bits make long varints.
pub(super) fn put_id(out: &mut Vec<u8>, tag: u8, value: u64) {
    coding::put_field(out, tag, &value.to_le_bytes());
}

/// Appends an internal key: the user key, then the trailer in eight bytes.
pub(super) fn put_key(out: &mut Vec<u8>, tag: u8, key: &InternalKey) {
    let mut bytes = key.user.clone();
    bytes.extend_from_slice(&key.trailer.0.to_le_bytes());
    coding::put_field(out, tag, &bytes);
}

/// Appends a block handle.
pub(super) fn put_handle(out: &mut Vec<u8>, tag: u8, handle: Handle) {
    let mut bytes = Vec::with_capacity(Handle::SIZE);
    handle.encode(&mut bytes);
    coding::put_field(out, tag, &bytes);
}

/// Fields by tag. A tag that nobody asks for is stepped over.
pub(super) struct Fields<'a>(Vec<(u8, &'a [u8])>);

impl<'a> Fields<'a> {
    /// Splits the bytes into fields; no tag may occur twice.
    pub(super) fn decode(bytes: &'a [u8]) -> Result<Fields<'a>, String> {
        let mut cursor = Cursor::new(bytes);
        let mut fields: Vec<(u8, &[u8])> = Vec::new();
        while !cursor.is_empty() {
            let position = cursor.position();
            let field = cursor.field().ok_or_else(|| format!("broken field at byte {position}"))?;
            if fields.iter().any(|(tag, _)| *tag == field.0) {
                return Err(format!("field {} occurs twice", field.0));
            }
            fields.push(field);
        }
        Ok(Fields(fields))
    }

    /// The bytes of a field that must be there.
    pub(super) fn bytes(&self, tag: u8, name: &str) -> Result<&'a [u8], String> {
        let found = self.0.iter().find(|(found, _)| *found == tag);
        found.map(|(_, bytes)| *bytes).ok_or_else(|| format!("no {name} (field {tag})"))
    }

    fn typed<T>(
        &self,
        tag: u8,
        name: &str,
        read: impl FnOnce(&'a [u8]) -> Option<T>,
    ) -> Result<T, String> {
        read(self.bytes(tag, name)?).ok_or_else(|| format!("malformed {name} (field {tag})"))
    }

    pub(super) fn number(&self, tag: u8, name: &str) -> Result<u64, String> {
        self.typed(tag, name, |bytes| {
            numbers(bytes)?.try_into().ok().map(|[number]: [u64; 1]| number)
        })
    }

    pub(super) fn numbers(&self, tag: u8, name: &str) -> Result<Vec<u64>, String> {
        self.typed(tag, name, numbers)
    }

    pub(super) fn id(&self, tag: u8, name: &str) -> Result<u64, String> {
        self.typed(tag, name, |bytes| bytes.try_into().ok().map(u64::from_le_bytes))
    }

    pub(super) fn text(&self, tag: u8, name: &str) -> Result<String, String> {
        self.typed(tag, name, |bytes| String::from_utf8(bytes.to_vec()).ok())
    }

    pub(super) fn handle(&self, tag: u8, name: &str) -> Result<Handle, String> {
        self.typed(tag, name, Handle::decode)
    }

    pub(super) fn key(&self, tag: u8, name: &str) -> Result<InternalKey, String> {
        self.typed(tag, name, |bytes| {
            let (user, trailer) = bytes.split_last_chunk()?;
            (1..=KEY_SIZE_MAX).contains(&user.len()).then(|| InternalKey {
                user: user.to_vec(),
                trailer: Trailer(u64::from_le_bytes(*trailer)),
            })
        })
    }
}

/// Varints, one behind the other.
fn numbers(bytes: &[u8]) -> Option<Vec<u64>> {
    let mut cursor = Cursor::new(bytes);
    let mut numbers = Vec::new();
    while !cursor.is_empty() {
        numbers.push(cursor.varint()?);
    }
    Some(numbers)
}
