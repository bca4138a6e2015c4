//! Frames in a file: writing them, reading them back, and telling what a crash may leave from
//! what it may not.
//!
//! - [`Writer`] gathers frames and writes them with one call. After a failed write it is dead: what
//!   reached the file is unknown, so nothing may follow.
//! - [`Scanner`] reads frames one by one in bounded memory. It never stops at a bad place: it finds
//!   the next whole frame behind it.
//! - [`scan_log`] sums a log up for recovery: the gapless prefix, what was promised anywhere in the
//!   file, and the first bad place. It judges nothing; the caller knows what else was promised.
//!
//! An I/O error while reading is an error, never the end of the file.

mod log;
mod reader;
#[cfg(test)]
mod testing;
mod window;
mod writer;

pub use log::{Bad, LogScan, OnFrame, read_header, scan_log};
pub use reader::{Item, Scanner};
pub use writer::Writer;
