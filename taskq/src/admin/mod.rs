//! What operators ask and do.

mod dead;
mod doctor;
mod events;
mod init;
mod workers;

pub use crate::broker::{Provision, ProvisionAction, ProvisionKind};
pub use dead::{DeadFilter, Replay, dead_letters, discard, replay};
pub use doctor::{Finding, Severity, doctor};
pub use events::{EventFilter, events};
pub use init::{InitOptions, init};
#[cfg(feature = "worker")]
pub(crate) use workers::INFO_KEY;
pub use workers::{TaskInfo, WorkerInfo, differences, workers};
