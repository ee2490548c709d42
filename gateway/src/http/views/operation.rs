//! One thing done to many tasks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use taskq::Timestamp;
use taskq::admin::operations::{BulkAction, Operation, OperationState};
use utoipa::ToSchema;

use crate::http::bulk::Filter;

/// What is to be done to many tasks.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bulk {
    /// What is to be done.
    pub(crate) action: BulkVerb,
    /// To the tasks of these ids, at most 100000.
    #[schema(max_items = 100_000)]
    pub(crate) ids: Option<Vec<String>>,
    /// Or to all that this finds.
    pub(crate) filter: Option<Filter>,
    /// Of `reschedule`: when they are to start, in RFC 3339.
    #[schema(format = DateTime)]
    pub(crate) at: Option<String>,
    /// How many at most: `50/s`, `10/m`, `100/h`.
    #[schema(example = "50/s")]
    pub(crate) rate: Option<String>,
    /// Why, for the record.
    pub(crate) reason: Option<String>,
    /// Only count.
    #[serde(default)]
    pub(crate) dry_run: bool,
}

/// What is done to each task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum BulkVerb {
    /// It is cancelled.
    Cancel,
    /// It is run again, if it has ended badly.
    Retry,
    /// It is started now, if it is put off.
    RunNow,
    /// It is to start `at` another time, if it is put off.
    Reschedule,
    /// Its dead letter is removed for good.
    Discard,
}

/// How many tasks an operation would be about.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Counting {
    /// What would be done.
    pub(crate) action: String,
    /// To so many tasks.
    pub(crate) total: usize,
    /// Whether there are more than one operation takes, which is 100000.
    pub(crate) more: bool,
}

/// One thing done to many tasks.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OperationView {
    /// Its id.
    pub(crate) id: String,
    /// What is done: `cancel`, `retry`, `run-now`, `reschedule`, `discard`.
    pub(crate) action: String,
    /// Of `reschedule`: when the tasks are to start.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) at: Option<Timestamp>,
    /// `running`, `done` or `cancelled`.
    pub(crate) state: &'static str,
    /// How many tasks it is about.
    pub(crate) total: u64,
    /// How many of them have been acted on.
    pub(crate) done: u64,
    /// What became of them, counted. `cancelled`; `requested`: a worker has it
    /// and is told; `too_late`; `sent`: in its queue again; `not_ended`,
    /// `succeeded`: nothing to run again; `moved`; `discarded`; `gone`: there
    /// was no dead letter; `done_before`: it was so already, or has changed
    /// since the operation was begun; `failed`.
    pub(crate) outcomes: BTreeMap<String, u64>,
    /// The first of those that failed, and why.
    pub(crate) errors: Vec<FailedView>,
    /// How many tasks a second at most.
    pub(crate) rate: Option<f64>,
    /// The filter by which the tasks were found; null for ids.
    #[schema(value_type = Option<Object>)]
    pub(crate) filter: Value,
    /// Whether the filter finds more tasks than one operation takes; begin
    /// another for those.
    pub(crate) more: bool,
    /// Who wishes it.
    pub(crate) by: String,
    /// Why.
    pub(crate) reason: Option<String>,
    /// Who cancelled it.
    pub(crate) cancelled_by: Option<String>,
    /// When it was begun.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) created_at: Timestamp,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) finished_at: Option<Timestamp>,
    /// The replica that runs it, or did.
    pub(crate) runner: Option<String>,
}

/// A task that could not be acted on.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FailedView {
    /// Its id.
    pub(crate) id: String,
    /// Why.
    pub(crate) error: String,
}

impl OperationView {
    pub(crate) fn of(operation: Operation, more: bool) -> Self {
        let at = match operation.action {
            BulkAction::Reschedule { at } => Some(at),
            _ => None,
        };
        let errors = operation.errors.into_iter().map(|failed| FailedView {
            id: failed.id.to_string(),
            error: failed.error,
        });
        Self {
            id: operation.id,
            action: operation.action.as_str().to_owned(),
            at,
            state: match operation.state {
                OperationState::Done => "done",
                OperationState::Cancelled => "cancelled",
                _ => "running",
            },
            total: operation.total,
            done: operation.done,
            outcomes: operation.outcomes,
            errors: errors.collect(),
            rate: operation.rate,
            filter: operation.filter,
            more,
            by: operation.by,
            reason: operation.because,
            cancelled_by: operation.cancelled_by,
            created_at: operation.created_at,
            finished_at: operation.finished_at,
            runner: operation.runner,
        }
    }
}
