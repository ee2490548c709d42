//! Queues.

use serde::Serialize;
use serde_json::{Map, Value};
use taskq::Timestamp;
use utoipa::ToSchema;

/// A queue.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QueueView {
    /// Its name.
    pub(crate) queue: String,
    /// Tasks that wait for a worker.
    pub(crate) pending: u64,
    /// Tasks that a worker was given and that have not ended.
    pub(crate) running: u64,
    /// Tasks that are not due yet.
    pub(crate) scheduled: u64,
}

/// What an autoscaler goes by.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Scaling {
    /// The queue.
    pub(crate) queue: String,
    /// Tasks that wait for a worker.
    pub(crate) pending: u64,
    /// Tasks that run.
    pub(crate) running: u64,
    /// Tasks that are not due yet.
    pub(crate) scheduled: u64,
    /// Living workers that serve the queue.
    pub(crate) workers: usize,
    /// How many attempts these run at once.
    pub(crate) slots: usize,
    /// What waits and runs, for each slot: above 1 there is more than the
    /// workers take at once. What waits and runs where there is no slot.
    pub(crate) load: f64,
}

/// A message in a queue.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QueuedView {
    /// The task's id.
    pub(crate) id: String,
    /// Its name.
    pub(crate) task: String,
    /// `waiting`, or `running` when a worker was given it.
    pub(crate) state: &'static str,
    /// Its priority.
    pub(crate) priority: String,
    /// When the broker accepted it.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) enqueued_at: Timestamp,
    /// The number of the attempt that it waits for.
    pub(crate) attempt: u32,
    /// The arguments by position.
    pub(crate) args: Vec<Value>,
    /// The arguments by name.
    #[schema(value_type = Object)]
    pub(crate) kwargs: Map<String, Value>,
    /// Whether something of it is sensitive, and shown by `POST /v1/tasks/{id}:reveal` only.
    pub(crate) sensitive: bool,
}

/// What became of what waited in a queue.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PurgedView {
    /// So many tasks were cancelled, or would be.
    pub(crate) cancelled: u64,
    /// So many had ended, or were taken by a worker, at that moment.
    pub(crate) too_late: u64,
}
