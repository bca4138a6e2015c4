//! Sorted tables: files of ascending internal keys, written once and never changed.
//!
//! [`TableWriter`] makes one, [`Table`] looks keys up in it, [`TableIter`] walks over it both ways,
//! [`TableScan`] reads it once from end to end, [`BlockCache`] keeps blocks of many tables in memory. What lies in the file is described in
//! [`format::table`](crate::format::table).
//!
//! Invariants:
//! - [`TableWriter::finish`] returns only when the file is whole and synced. Making its *name*
//!   durable is the caller's part.
//! - An open table has checked its footer, filter and index, and that index and footer account for
//!   every byte of the file. A data block is checked whenever it is read from the file, and has to
//!   fit between its neighbours in the index.
//! - What is damaged is an error that names file and offset. A key is never reported as absent
//!   because something could not be read.
//! - Tables are immutable: a block, once checked, may be kept and shared without a lock.

mod ahead;
mod cache;
mod index;
mod iter;
mod parts;
mod reader;
mod scan;
mod stats;
mod watch;
mod writer;

pub use crate::format::block::Compression;
pub use crate::format::table::TableMeta;
pub use cache::{BlockCache, CacheCounts, CachedBlock};
pub use index::{Index, verified_index};
pub use iter::TableIter;
pub use parts::{read_block, read_footer};
pub use reader::{BlockEntry, BlockValue, Table};
pub use scan::{Stored, TableScan};
pub use stats::{Count, TableStats};
pub use watch::{Unwatched, Watch};
pub use writer::{TableOrigin, TableWriter, WriterOptions};

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
