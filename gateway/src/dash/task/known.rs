//! What is known of a task.

use serde_json::{Map, Value};
use taskq::{Hidden, Outcome, Timestamp};

use crate::http::{Found, Whole};
use crate::index::TaskSummary;

/// All that is known of a task.
pub(super) struct Known {
    pub(super) id: String,
    pub(super) state: String,
    pub(super) task: Option<String>,
    pub(super) queue: Option<String>,
    pub(super) worker: Option<String>,
    pub(super) attempt: Option<u32>,
    pub(super) enqueued_at: Option<Timestamp>,
    pub(super) started_at: Option<Timestamp>,
    pub(super) finished_at: Option<Timestamp>,
    pub(super) seconds: Option<f64>,
    pub(super) result: Option<String>,
    pub(super) error: Option<(String, String, Option<String>)>,
    pub(super) dead: Option<String>,
    pub(super) log: Option<String>,
    pub(super) labels: Map<String, Value>,
    /// What of it is sensitive.
    pub(super) sensitive: Hidden,
    /// What of that is not shown: nothing where it is revealed.
    pub(super) hidden: Hidden,
    /// Whether it is revealed.
    pub(super) revealed: bool,
    /// The trace that it is a part of, as its end tells.
    pub(super) trace: Option<String>,
}

impl Known {
    pub(super) fn of(id: &str, whole: &Whole, revealed: bool) -> Self {
        let mut known = match &whole.found {
            Found::Ended(outcome) => Self::ended(outcome),
            Found::Expired(summary) => Self::summed(summary),
            Found::Live(status) => {
                let summary = whole.summary.as_ref();
                let mut known = summary.map_or_else(|| Self::nothing(id), Self::summed);
                known.state = status.to_string();
                known
            }
        };
        if let Some(why) = &whole.explained {
            known.task = known.task.or_else(|| why.task.clone());
            known.queue = known.queue.or_else(|| why.queue.clone());
        }
        known.sensitive = whole.sensitive.clone();
        known.revealed = revealed;
        if !revealed {
            known.hidden = whole.sensitive.clone();
        }
        known
    }

    fn nothing(id: &str) -> Self {
        Self {
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
            log: None,
            labels: Map::new(),
            sensitive: Hidden::Nothing,
            hidden: Hidden::Nothing,
            revealed: false,
            trace: None,
        }
    }

    fn ended(outcome: &Outcome) -> Self {
        let error = outcome.error.clone();
        Self {
            id: outcome.id.to_string(),
            state: outcome.state.as_str().to_owned(),
            task: Some(outcome.task.clone()),
            queue: Some(outcome.queue.clone()),
            worker: Some(outcome.worker.clone()).filter(|worker| !worker.is_empty()),
            attempt: Some(outcome.attempt),
            enqueued_at: Some(outcome.enqueued_at),
            started_at: outcome.started_at,
            finished_at: Some(outcome.finished_at),
            seconds: Some(outcome.execution_time),
            result: outcome
                .return_value
                .as_deref()
                .map(|value| value.get().to_owned()),
            error: error.map(|error| (error.type_name, error.message, error.backtrace)),
            dead: outcome.dead.map(|reason| reason.as_str().to_owned()),
            log: outcome.log.clone(),
            labels: outcome.labels.clone(),
            trace: outcome.trace_id().map(str::to_owned),
            ..Self::nothing("")
        }
    }

    fn summed(task: &TaskSummary) -> Self {
        let error = task.error.clone();
        Self {
            id: task.id.clone(),
            state: task.state.clone(),
            task: Some(task.task.clone()),
            queue: Some(task.queue.clone()),
            worker: task.worker.clone(),
            attempt: Some(task.attempt),
            enqueued_at: task.enqueued_at,
            started_at: task.started_at,
            finished_at: task.finished_at,
            seconds: task.seconds,
            error: error.map(|message| (String::new(), message, None)),
            dead: task.dead.clone(),
            labels: task.labels.clone(),
            ..Self::nothing("")
        }
    }

    pub(super) fn failed(&self) -> bool {
        ["failed", "cancelled", "expired"].contains(&self.state.as_str())
    }
}
