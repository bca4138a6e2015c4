//! Crash tests: real processes that are killed, and power losses and faults on a simulated disk.
//!
//! Kills: a *worker* process does what the *controller* tells it, several streams of operations at the
//! same time, and acknowledges each. The controller kills it, at a random moment or at a failpoint of the
//! engine, looks at a copy of what is left, and checks that
//! - every acknowledged operation of each stream is there (a kill keeps buffered ones too), and at most
//!   the one that was under way besides,
//! - the content is exactly what these operations add up to: no batch torn, nothing from elsewhere, no
//!   key seen twice, the same by scans in both directions and by gets,
//! - sequence numbers were counted without a gap,
//! - checkpoints hold what the store held at their moment.
//!
//! The store itself stays as the kill left it. The next worker recovers it, and may be killed while
//! it does. `power`, `faults` and `metamorphic` do the like on a simulated disk, one history at a time.

pub mod artifact;
mod bank;
mod campaign;
mod controller;
pub mod crowd;
pub mod damage;
pub mod faults;
pub mod history;
pub mod hostile;
pub mod metamorphic;
pub mod minimize;
pub mod mutants;
pub mod oracle;
pub mod player;
pub mod power;
pub mod protocol;
mod site;
mod snapshots;
mod victim;
mod worker;
mod workload;

pub use campaign::Kind;
pub use controller::{Config, Cycle, Report, Stopped, run, verify_kept};
pub use site::tiny_options;
pub use worker::{Duty, work};
pub use workload::{
    Change, Dice, How, KEEPER, Model, Op, Streams, Task, Upkeep, WRITERS, counted, counter_key,
    counter_value, origin, owner, value,
};
