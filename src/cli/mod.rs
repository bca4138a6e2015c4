//! What the binaries share: statuses, encodings, output.

pub mod bulk;
pub mod encode;
pub mod exit;
pub mod output;
pub mod progress;
pub mod retry;
pub mod signals;

pub use exit::{Failure, Outcome, Status};
pub use output::Out;
