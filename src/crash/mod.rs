//! Kill a writing process at random moments, open what it left, and compare with what it was told.
//!
//! A *worker* process writes the batches of a seeded workload ([`planned`]) and says on its standard output
//! after each that it was acknowledged. The *controller* kills it, reads what it said, opens the
//! store itself and checks that
//! - every acknowledged batch is there (a kill keeps buffered ones too), and at most the one that
//!   was under way besides,
//! - the store equals what that many batches of the workload add up to: no batch torn, none from
//!   elsewhere, no key seen twice,
//! - sequence numbers were counted without a gap.
//!
//! The next cycle goes on from that state.

pub mod artifact;
mod controller;
pub mod crowd;
pub mod damage;
pub mod faults;
pub mod history;
pub mod metamorphic;
pub mod minimize;
pub mod mutants;
pub mod oracle;
pub mod player;
pub mod power;
mod worker;
mod workload;

pub use controller::{Config, Cycle, Report, Stopped, run};
pub use worker::{Ack, work};
pub use workload::{COUNTER, Dice, Model, Planned, planned};
