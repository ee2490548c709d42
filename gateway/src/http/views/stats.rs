//! Numbers.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::queue::QueueView;

/// The totals, on one page.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Stats {
    /// What is in all queues together.
    pub(crate) totals: Totals,
    /// The living workers together.
    pub(crate) workers: WorkerTotals,
    /// What has ended in the last hour.
    pub(crate) last_hour: LastHour,
    /// The queues.
    pub(crate) queues: Vec<QueueView>,
    /// Ended tasks in the index.
    pub(crate) ended: Counted,
    /// How far the index is.
    pub(crate) index: Vec<LagView>,
}

/// What is in all queues together.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct Totals {
    /// How many queues there are.
    pub(crate) queues: usize,
    /// Tasks that wait for a worker.
    pub(crate) pending: u64,
    /// Tasks that a worker was given and that have not ended.
    pub(crate) running: u64,
    /// Tasks that are not due yet.
    pub(crate) scheduled: u64,
}

/// The living workers together.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct WorkerTotals {
    /// How many live.
    pub(crate) count: usize,
    /// How many attempts they run at once.
    pub(crate) slots: usize,
}

/// What has ended in the last hour.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LastHour {
    /// How many tasks, by the state in which they ended.
    pub(crate) states: BTreeMap<String, u64>,
    /// How many in all.
    pub(crate) total: u64,
    /// Ends a second, on average over the hour.
    pub(crate) per_second: f64,
    /// Ends a second, on average over the last minute.
    pub(crate) per_second_now: f64,
}

/// Ended tasks, counted.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Counted {
    /// By state.
    pub(crate) states: BTreeMap<String, u64>,
    /// By queue.
    pub(crate) queues: BTreeMap<String, u64>,
    /// By name.
    pub(crate) tasks: BTreeMap<String, u64>,
}

/// How far behind a source the index is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LagView {
    /// `outcomes`, `events`, `dead_letters`.
    pub(crate) source: &'static str,
    /// How many records it has not seen; null while that is not known.
    pub(crate) records: Option<u64>,
    /// Why it gets no further, if it does not.
    pub(crate) trouble: Option<String>,
}

impl From<crate::index::Lag> for LagView {
    fn from(lag: crate::index::Lag) -> Self {
        Self {
            source: lag.source,
            records: lag.records,
            trouble: lag.trouble,
        }
    }
}
