//! BeachDB: an LSM key-value store you can see inside.
//!
//! ```
//! use beachdb::{Db, Durability, WriteBatch};
//!
//! # fn main() -> beachdb::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let sand = dir.path().join("sand");
//! let db = Db::open(&sand)?;
//! db.put(b"tide", b"low")?;                       // durable when it returns
//! assert_eq!(db.get(b"tide")?.as_deref(), Some(&b"low"[..]));
//!
//! let mut batch = WriteBatch::new();
//! batch.put(b"a", b"1").delete(b"tide");
//! db.write(batch, Durability::Buffered)?;         // whole or not at all
//!
//! let snapshot = db.snapshot();
//! db.put(b"b", b"2")?;
//! for item in snapshot.range(b"a".as_slice()..b"n".as_slice()).rev() {
//!     let (key, value) = item?;
//!     println!("{key:?} = {value:?}");
//! }
//! db.close()
//! # }
//! ```
//!
//! What it promises is in `docs/semantics.md`; every byte it writes is described in [`mod@format`].

#[cfg(feature = "cli")]
pub mod bench;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "cli")]
pub mod crash;
pub mod engine;

pub mod error;
pub mod format;
pub mod inspect;
pub mod probe;
pub mod record;
pub mod runtime;
pub mod table;
pub mod types;
pub mod vfs;

pub use engine::{
    Action, Cause, Checkpoint, Cursor, Db, DroppedTail, Durability, Event, IngestWriter, Iter,
    LevelStats, Listener, MemoryStats, Options, ReadStats, Recovery, Snapshot, StallStats, Stats,
    Strategy, TableBuilder, Times, Trace, TraceBlock, TraceOutcome, TracePlace, TraceStep, Value,
};
pub use error::{Corruption, Error, Result};
pub use format::FORMAT_VERSION;
pub use format::batch::WriteBatch;
pub use format::key::{KEY_SIZE_MAX, VALUE_SIZE_MAX};
pub use table::Compression;
pub use types::{FileId, FileNumber, Level, SeqNo, StoreId, ValueKind};
