//! Where a task stands: what the broker, and the worker that has it, know of
//! it.

use std::sync::Arc;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use taskq_syntax::Priority;

use super::Task;
use crate::error::Result;
use crate::message::{Outcome, TaskId};
use crate::time::Timestamp;

/// Finding out where a task stands.
pub(crate) trait Locate {
    /// Where a task is, by the broker's own state.
    fn standing<'a>(&'a self, id: &'a TaskId) -> BoxFuture<'a, Result<Standing>>;

    /// What the worker that has a task tells of it; none if no worker says
    /// that it has it.
    fn holder<'a>(&'a self, id: &'a TaskId) -> BoxFuture<'a, Result<Option<Holder>>>;

    /// Answers such questions for a worker, until what comes back is dropped.
    fn answer(&self, finder: Finder) -> BoxFuture<'_, Result<Answering>>;
}

/// Finds a task in a worker.
pub(crate) type Finder = Arc<dyn Fn(&TaskId) -> Option<Holder> + Send + Sync>;

/// Answers until it is dropped.
pub(crate) type Answering = Box<dyn Send>;

/// Where a task is.
#[derive(Debug)]
pub(crate) enum Standing {
    /// There is no trace of it.
    Unknown,
    /// It has ended.
    Ended(Box<Outcome>),
    /// It is not due yet.
    Planned {
        task: Task,
        /// As far as the broker tells.
        due: Option<Timestamp>,
    },
    /// It has fallen due, and is on its way to its queue.
    Falling,
    /// It waits in its queue.
    Waiting {
        task: Task,
        priority: Priority,
        /// How many wait before it in its lane.
        ahead: u64,
        /// How many wait in more urgent lanes, the most urgent first.
        urgent: Vec<(Priority, u64)>,
    },
    /// It waits for the turn of its key.
    Held {
        task: Task,
        priority: Priority,
        /// The tasks of its key that have a turn.
        held_by: Vec<TaskId>,
        /// How many of its key wait before it.
        ahead: u64,
        /// Until when the rate of its key holds it back.
        rate_until: Option<Timestamp>,
    },
    /// It was given to a worker, and has not ended.
    Given {
        task: Task,
        /// Since when the broker waits for the worker at the most.
        lease: std::time::Duration,
    },
}

/// A task in the hands of a worker, as the worker tells of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holder {
    pub(crate) worker: String,
    /// The number of the attempt.
    pub(crate) attempt: u32,
    /// Since when it runs; none while it waits there.
    pub(crate) since: Option<Timestamp>,
    /// What it waits for there; none while it runs.
    #[serde(default)]
    pub(crate) waits: Option<String>,
    /// Whether it is being stopped.
    #[serde(default)]
    pub(crate) stopping: bool,
}
