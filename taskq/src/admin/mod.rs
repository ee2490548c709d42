//! What operators ask and do.

mod doctor;
mod workers;

pub use doctor::{Finding, Severity, doctor};
#[cfg(feature = "worker")]
pub(crate) use workers::INFO_KEY;
pub use workers::{TaskInfo, WorkerInfo, differences, workers};
