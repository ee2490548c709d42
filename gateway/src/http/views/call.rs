//! Calls, and what they are answered with.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::task::TaskView;
use crate::http::problem::Problem;

#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Submission {
    /// The task's name.
    #[schema(example = "to_uppercase", min_length = 1, max_length = 128)]
    pub(crate) task: String,
    /// Arguments by position.
    #[serde(default)]
    #[schema(value_type = Vec<Value>)]
    pub(crate) args: Vec<Box<RawValue>>,
    /// Arguments by name.
    #[serde(default)]
    #[schema(value_type = Object, example = json!({"text": "hello"}))]
    pub(crate) kwargs: BTreeMap<String, Box<RawValue>>,
    /// The queue to send to; `default` if there is none.
    pub(crate) queue: Option<String>,
    /// `low`, `normal`, `high` or `critical`.
    pub(crate) priority: Option<String>,
    /// The task's id: the same id sent twice is one task.
    pub(crate) id: Option<String>,
    /// Start no sooner than this long from now: `90s`, `10m`, `1h 30m`.
    pub(crate) delay: Option<String>,
    /// Start no sooner than this moment, in RFC 3339.
    pub(crate) at: Option<String>,
    /// Let it start, and end, no later than this long after it was sent or
    /// was due.
    pub(crate) deadline: Option<String>,
    /// How many attempts may follow a failed one.
    pub(crate) retries: Option<u32>,
    /// The waits between attempts: `exponential(1s, max 5m)`.
    pub(crate) backoff: Option<String>,
    /// How long one attempt may take.
    pub(crate) timeout: Option<String>,
    /// How long its outcome is kept.
    pub(crate) ttl: Option<String>,
    /// Until it has ended, an equal call is the same task.
    #[serde(default)]
    pub(crate) unique: bool,
    /// For this long, an equal call is the same task.
    pub(crate) unique_for: Option<String>,
    /// What makes calls equal, in place of their arguments.
    pub(crate) unique_key: Option<String>,
    /// What becomes of an equal call: `existing` takes the one that is there,
    /// `reject` refuses, `replace` takes its place.
    pub(crate) on_conflict: Option<Conflict>,
    /// Labels to find it by.
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Conflict {
    Existing,
    Reject,
    Replace,
}

/// Calls, as they are sent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Batch {
    /// The calls, at most 1000.
    #[schema(min_items = 1, max_items = 1000)]
    pub(crate) tasks: Vec<Submission>,
    /// Whether all are to be sent or none; then all are of one queue, and none
    /// has a delay or is unique.
    #[serde(default)]
    pub(crate) atomic: bool,
}

/// A call that was accepted.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Accepted {
    /// The task's id.
    pub(crate) id: String,
    /// Whether it was there already: the same id, the same idempotency key, or
    /// an equal call.
    pub(crate) existing: bool,
    /// Whether its arguments were checked against what living workers take. They
    /// are not where no worker knows the task, or with `check=false`.
    pub(crate) checked: bool,
}

/// What a sent call is answered with.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Submitted {
    /// The task has ended.
    Ended(Box<TaskView>),
    /// It is accepted.
    Accepted(Accepted),
}

/// What became of one of several calls.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Sent {
    /// It was accepted.
    Accepted(Accepted),
    /// It was not.
    Refused {
        /// Why.
        problem: Problem,
    },
}

/// What became of several calls, in their order.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SentAll {
    /// One for each call.
    pub(crate) tasks: Vec<Sent>,
}
