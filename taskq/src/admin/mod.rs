//! What operators ask and do.

mod dead;
mod doctor;
mod events;
mod workers;

pub use dead::{DeadFilter, Replay, dead_letters, discard, replay};
pub use doctor::{Finding, Severity, doctor};
pub use events::{EventFilter, events};
#[cfg(feature = "worker")]
pub(crate) use workers::INFO_KEY;
pub use workers::{TaskInfo, WorkerInfo, differences, workers};
