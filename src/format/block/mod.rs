//! Blocks: what a table is made of, and how each lies in the file.
//!
//! [`Block`] and [`Builder`] are the content of data and index blocks: sorted entries that are
//! searched without decoding them. [`Sealer`] and [`unseal`] turn the content of a block of any
//! [`Kind`] into bytes of a file and back: compression, trailer, checksum. The layout, byte by
//! byte, is in [`format::table`](super::table).
//!
//! Invariants: content that [`Block::new`] accepted can be read at every index without another
//! check; whether its keys ascend is [`Block::verify_order`]'s business alone. A sealed block
//! opens only at its own offset of its own file and as its own kind.

mod build;
mod content;
mod seal;

pub use build::Builder;
pub use content::{Block, Place};
pub use seal::{Compression, Kind, Sealed, Sealer, TRAILER_SIZE, check, unseal, unseal_into};

/// Largest content of a block, in bytes: 1 GiB. A larger size in a file is damage.
pub const CONTENT_SIZE_MAX: u32 = 1 << 30;

/// Bytes before the common prefix in the content of a data or index block.
const HEADER_SIZE: usize = 8;

/// Flag: the ends of keys and values are `u32` instead of `u16`.
const FLAG_WIDE: u8 = 1;

#[cfg(test)]
mod tests;
