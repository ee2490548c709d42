//! What operators ask and do.

mod audit;
mod changes;
#[cfg(feature = "check")]
mod check;
mod control;
mod dead;
mod delayed;
mod doctor;
mod events;
mod explain;
mod history;
mod init;
pub mod operations;
mod past;
pub mod pools;
pub mod queues;
mod retry;
mod reveal;
pub mod schedules;
mod task_types;
pub mod tasks;
mod workers;

pub use crate::broker::{Extent, Provision, ProvisionAction, ProvisionKind, Source};
pub use crate::message::{RunningTask, WorkerDeath};
pub use audit::{Actor, AuditEntry, AuditFilter, AuditPage, acting, acting_as, audit, record};
pub use changes::{Change, changes};
#[cfg(feature = "check")]
pub use check::{ArgumentCheck, ArgumentError};
#[cfg(feature = "worker")]
pub(crate) use control::WishAnswer;
pub use control::{Steered, WorkerDetail, WorkerWish, steer, worker, worker_details};
pub use dead::{DeadFilter, Replay, dead_letters, discard, replay};
pub use delayed::{DelayedFilter, DelayedTask, delayed, reschedule, run_now};
pub use doctor::{Finding, Severity, doctor};
pub use events::{EventFilter, events};
pub use explain::{Explanation, Reason, explain};
pub use history::{HistoryEntry, HistoryFilter, HistoryKind, history};
pub use init::{InitOptions, init};
pub use past::{
    QueueFilter, QueuePage, QueuedTask, Record, RecordBody, Records, extent, queued, records,
};
pub use retry::{Retried, retry};
pub use reveal::revealed;
#[cfg(feature = "worker")]
pub(crate) use task_types::answer as answer_task_detail;
pub use task_types::{
    Definition, ParamInfo, TaskDetail, TaskType, definitions, task_type, task_types,
};
#[cfg(feature = "worker")]
pub(crate) use workers::INFO_KEY;
pub use workers::{TaskInfo, WorkerInfo, differences, workers};
