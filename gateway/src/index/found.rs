//! What is found: tasks, dead letters, and how many there are.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};
use taskq::Timestamp;
use utoipa::ToSchema;

use super::Cursor;

/// What is known of a task.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct TaskSummary {
    /// Its id.
    pub id: String,
    /// Its name.
    pub task: String,
    /// Its queue.
    pub queue: String,
    /// Its state.
    pub state: String,
    /// The worker that ran it last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// The number of its last attempt; 0 if it never started.
    pub attempt: u32,
    /// When the broker accepted it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub enqueued_at: Option<Timestamp>,
    /// When its last attempt started.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
    /// When it was last heard of, if it has not ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub heard_at: Option<Timestamp>,
    /// How long its last attempt ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Why it ended without a value, or its last attempt failed, in a
    /// sentence; its start, if it is long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Why it has become a dead letter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead: Option<String>,
    /// Who cancelled it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancelled_by: Option<String>,
    /// Its uniqueness key: its sender's text, or the digest that the lock is
    /// named by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The key by which it had to wait for its turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_key: Option<String>,
    /// The labels that its sender gave it.
    #[serde(skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object)]
    pub labels: Map<String, Value>,
}

/// Some tasks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskPage {
    /// The tasks.
    pub tasks: Vec<TaskSummary>,
    /// Where the next page begins; none at the end.
    pub next: Option<Cursor>,
}

/// What is known of a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct LetterSummary {
    /// The task's id.
    pub id: String,
    /// The task's name.
    pub task: String,
    /// Its queue.
    pub queue: String,
    /// Why it will not be tried again.
    pub reason: String,
    /// The last error; its start, if it is long.
    pub error: String,
    /// The worker that gave it up.
    pub worker: String,
    /// How many of its failed attempts it has the evidence of.
    pub attempts: u64,
    /// How many times it was sent again before.
    pub replays: u32,
    /// When it was given up.
    #[schema(value_type = String, format = DateTime)]
    pub dead_at: Timestamp,
}

/// Some dead letters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LetterPage {
    /// The letters.
    pub letters: Vec<LetterSummary>,
    /// Where the next page begins; none at the end.
    pub next: Option<Cursor>,
}

/// How many ended tasks there are of each state, queue and name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// By state.
    pub states: BTreeMap<String, u64>,
    /// By queue.
    pub queues: BTreeMap<String, u64>,
    /// By the task's name.
    pub tasks: BTreeMap<String, u64>,
}
