//! Tasks.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use taskq::{Hidden, Outcome, Timestamp};
use utoipa::ToSchema;

use crate::index::TaskSummary;

/// A task of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Listed {
    /// What is known of it.
    #[serde(flatten)]
    pub(crate) task: TaskSummary,
    /// When it is to start, if it is put off.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) due: Option<Timestamp>,
}

impl From<TaskSummary> for Listed {
    fn from(task: TaskSummary) -> Self {
        Self { task, due: None }
    }
}

/// A task, wherever it is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TaskView {
    /// Its id.
    pub(crate) id: String,
    /// `scheduled`, `waiting`, `running`, `succeeded`, `failed`, `cancelled`,
    /// `expired`.
    pub(crate) state: String,
    /// Its name; null where it is not known yet.
    pub(crate) task: Option<String>,
    /// Its queue.
    pub(crate) queue: Option<String>,
    /// The worker of its last attempt.
    pub(crate) worker: Option<String>,
    /// The number of its last attempt; 0 if it never started, null where it is
    /// not known.
    pub(crate) attempt: Option<u32>,
    /// When the broker accepted it.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) enqueued_at: Option<Timestamp>,
    /// When its last attempt started.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) started_at: Option<Timestamp>,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) finished_at: Option<Timestamp>,
    /// How long its last attempt ran.
    pub(crate) seconds: Option<f64>,
    /// What it returned; null unless it succeeded.
    #[schema(value_type = Value)]
    pub(crate) result: Option<Box<RawValue>>,
    /// Why it did not succeed.
    pub(crate) error: Option<ErrorView>,
    /// Why it has become a dead letter.
    pub(crate) dead: Option<String>,
    /// Who cancelled it.
    pub(crate) cancelled_by: Option<String>,
    /// What its last attempt said.
    pub(crate) log: Option<String>,
    /// The trace that it is a part of, 32 hex digits.
    pub(crate) trace_id: Option<String>,
    /// Its labels.
    #[schema(value_type = Object)]
    pub(crate) labels: Map<String, Value>,
    /// Whether something of it is sensitive, and shown by `POST /v1/tasks/{id}:reveal` only.
    pub(crate) sensitive: bool,
}

/// An error.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ErrorView {
    /// The full name of the error's type; empty where there is none.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// What it says.
    pub(crate) message: String,
    /// Where it happened, if that was captured.
    pub(crate) backtrace: Option<String>,
}

impl From<&taskq::Failure> for ErrorView {
    fn from(failure: &taskq::Failure) -> Self {
        Self {
            kind: failure.type_name.clone(),
            message: failure.message.clone(),
            backtrace: failure.backtrace.clone(),
        }
    }
}

fn trace_id(labels: &Map<String, Value>) -> Option<String> {
    let parent = labels.get("traceparent")?.as_str()?;
    taskq::telemetry::trace_id(parent).map(str::to_owned)
}

fn filled(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

impl TaskView {
    /// Of a task that has not ended.
    pub(crate) fn live(id: &str, state: &str, known: Option<TaskSummary>) -> Self {
        let mut view = known.map_or_else(
            || Self {
                id: id.to_owned(),
                state: String::new(),
                task: None,
                queue: None,
                worker: None,
                attempt: None,
                enqueued_at: None,
                started_at: None,
                finished_at: None,
                seconds: None,
                result: None,
                error: None,
                dead: None,
                cancelled_by: None,
                log: None,
                trace_id: None,
                labels: Map::new(),
                sensitive: false,
            },
            Self::from,
        );
        state.clone_into(&mut view.state);
        view
    }
}

impl From<Outcome> for TaskView {
    fn from(outcome: Outcome) -> Self {
        Self {
            id: outcome.id.to_string(),
            state: outcome.state.as_str().to_owned(),
            task: Some(outcome.task),
            queue: Some(outcome.queue),
            worker: filled(&outcome.worker),
            attempt: Some(outcome.attempt),
            enqueued_at: Some(outcome.enqueued_at),
            started_at: outcome.started_at,
            finished_at: Some(outcome.finished_at),
            seconds: Some(outcome.execution_time),
            result: outcome.return_value,
            error: outcome.error.as_ref().map(ErrorView::from),
            dead: outcome.dead.map(|reason| reason.as_str().to_owned()),
            cancelled_by: outcome.cancelled_by,
            log: outcome.log,
            trace_id: trace_id(&outcome.labels),
            sensitive: Hidden::of_outcome(&outcome.labels).is_any(),
            labels: outcome.labels,
        }
    }
}

impl From<TaskSummary> for TaskView {
    /// Of a task whose record has expired: its value is gone.
    fn from(task: TaskSummary) -> Self {
        Self {
            id: task.id,
            state: task.state,
            task: Some(task.task),
            queue: Some(task.queue),
            worker: task.worker,
            attempt: Some(task.attempt),
            enqueued_at: task.enqueued_at,
            started_at: task.started_at,
            finished_at: task.finished_at,
            seconds: task.seconds,
            result: None,
            error: task.error.map(|message| ErrorView {
                kind: String::new(),
                message,
                backtrace: None,
            }),
            dead: task.dead,
            cancelled_by: task.cancelled_by,
            log: None,
            trace_id: trace_id(&task.labels),
            sensitive: Hidden::of_outcome(&task.labels).is_any(),
            labels: task.labels,
        }
    }
}

/// How a task ended.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ResultView {
    /// The task's id.
    pub(crate) id: String,
    /// Its state.
    pub(crate) state: String,
    /// What it returned; null unless it succeeded.
    #[schema(value_type = Value)]
    pub(crate) result: Option<Box<RawValue>>,
    /// Why it did not succeed.
    pub(crate) error: Option<ErrorView>,
    /// Whether something of it is sensitive, and shown by `POST /v1/tasks/{id}:reveal` only.
    pub(crate) sensitive: bool,
}

impl From<Outcome> for ResultView {
    fn from(outcome: Outcome) -> Self {
        Self {
            sensitive: outcome.hidden().is_any(),
            id: outcome.id.to_string(),
            state: outcome.state.as_str().to_owned(),
            error: outcome.error.as_ref().map(ErrorView::from),
            result: outcome.return_value,
        }
    }
}

/// An attempt.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AttemptView {
    /// Its number, from 1.
    pub(crate) attempt: u32,
    /// How it ended; `running` if it has not.
    pub(crate) state: String,
    /// The worker that ran it.
    pub(crate) worker: Option<String>,
    /// When it started, by the worker's clock.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) started_at: Option<Timestamp>,
    /// When it ended, by the worker's clock.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) finished_at: Option<Timestamp>,
    /// How it failed.
    pub(crate) error: Option<ErrorView>,
}

impl AttemptView {
    pub(crate) fn failed(failed: &taskq::FailedAttempt) -> Self {
        Self {
            attempt: failed.attempt,
            state: "failed".to_owned(),
            worker: (!failed.worker.is_empty()).then(|| failed.worker.clone()),
            started_at: Some(failed.started_at),
            finished_at: Some(failed.finished_at),
            error: Some((&failed.error).into()),
        }
    }
}

/// A task with what is sensitive of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RevealedView {
    /// The task: result, error and log are shown.
    #[serde(flatten)]
    pub(crate) task: TaskView,
    /// The arguments by position; null where they are not kept any more.
    pub(crate) args: Option<Vec<Value>>,
    /// The arguments by name; null where they are not kept any more.
    #[schema(value_type = Option<Object>)]
    pub(crate) kwargs: Option<Map<String, Value>>,
    /// Its attempts, the oldest first; of more than ten the first and the latest.
    pub(crate) attempts: Vec<AttemptView>,
}

/// Attempts, the oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Attempts {
    /// The attempts; of more than ten the first and the latest.
    pub(crate) items: Vec<AttemptView>,
}

/// Events, the oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Events {
    /// The events, flat: `event`, `at`, `task_id`, `task_name`, `queue`,
    /// `worker`, `attempt`, and what only some kinds have.
    #[schema(value_type = Vec<Object>)]
    pub(crate) items: Vec<taskq::Event>,
}

/// What became of a wish.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Done {
    /// The task's id.
    pub(crate) id: String,
    /// What became of it: of `:cancel` `cancelled`, `requested` (a worker has
    /// the task and is told) or `too_late`; of `:run-now` and `:reschedule`
    /// `moved` or `too_late`; of `:retry` `sent`; of `:replay` `sent`,
    /// `already_sent` or `ended`; of `:discard` `discarded` or `gone`.
    pub(crate) outcome: String,
    /// The state in which the task has ended, if it has.
    pub(crate) state: Option<String>,
}

/// Another time.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reschedule {
    /// When it is to start, in RFC 3339.
    #[schema(format = DateTime)]
    pub(crate) at: String,
}
