//! Every byte that reaches a disk. Pure: slices in, structures out, never a panic; a decoder
//! returns a reason, the caller adds file and offset.

pub mod batch;
pub mod block;
pub mod coding;
pub mod edit;
pub mod filter;
pub mod frame;
pub mod header;
pub mod key;
pub mod names;
pub mod state;
pub mod table;

/// The format version this code writes, and the newest it reads.
pub const FORMAT_VERSION: u16 = 1;
