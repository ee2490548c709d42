//! A message that will not be tried again, kept whole with its evidence.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{FailedAttempt, Labels, Outcome, TaskId, TaskMessage, WorkerDeath, labels};
use crate::error::{Error, ErrorKind, Result};
use crate::time::Timestamp;

/// Why a message will not be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DeadReason {
    /// Its last attempt failed.
    Exhausted,
    /// It failed in a way that no further attempt would mend.
    Permanent,
    /// It is no message.
    Undecodable,
    /// No worker knew its task until its deadline.
    UnknownTask,
    /// Its deadline passed before it could start.
    Expired,
    /// The workers that ran it died, again and again.
    Crashed,
}

impl DeadReason {
    /// All reasons.
    pub const ALL: [Self; 6] = [
        Self::Exhausted,
        Self::Permanent,
        Self::Undecodable,
        Self::UnknownTask,
        Self::Expired,
        Self::Crashed,
    ];

    /// The reason in one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exhausted => "exhausted",
            Self::Permanent => "permanent",
            Self::Undecodable => "undecodable",
            Self::UnknownTask => "unknown_task",
            Self::Expired => "expired",
            Self::Crashed => "crashed",
        }
    }
}

impl fmt::Display for DeadReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for DeadReason {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|reason| reason.as_str() == text);
        found.ok_or_else(|| {
            Error::invalid(format!(
                "`{text}` is not a reason; the reasons are {}",
                Self::ALL.map(Self::as_str).join(", ")
            ))
        })
    }
}

/// A worker that died, or lost touch, while it ran a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crash {
    /// The worker.
    pub worker: String,
    /// When it started the message, by its clock.
    pub started_at: Timestamp,
    /// How its process ended, where a pool had it; what it ran is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub death: Option<WorkerDeath>,
}

/// A message that will not be tried again: all of it, why, and what every
/// attempt left behind.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The task's id; one of its own for what is no message.
    #[serde(rename = "task_id")]
    pub id: TaskId,
    /// The task's name; `undecodable` for what is no message.
    #[serde(rename = "task_name")]
    pub task: String,
    /// The queue it came through.
    pub queue: String,
    /// Its priority in the queue.
    pub priority: String,
    /// Why it will not be tried again.
    pub reason: DeadReason,
    /// The same in a sentence: the last error.
    pub error: String,
    /// Every attempt that failed, the oldest first: error, worker, times. Of
    /// more than ten the first and the latest.
    #[serde(default)]
    pub attempts: Vec<FailedAttempt>,
    /// The workers that died while they ran it, as far as they are known.
    #[serde(default)]
    pub crashes: Vec<Crash>,
    /// The worker that gave it up.
    pub worker: String,
    /// When the call was accepted.
    pub enqueued_at: Timestamp,
    /// When it was given up.
    pub dead_at: Timestamp,
    /// How many times it has been sent again before.
    #[serde(default)]
    pub replays: u32,
    /// The message as it came, in JSON; none for what is no message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Box<RawValue>>,
    /// Its place among the dead letters; 0 while it has none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub sequence: u64,
    /// The bytes of what is no message, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The message is too large for this record: the name it is stored
    /// under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
    /// What is hidden of it from who does not ask: `*` for all, or the names of
    /// arguments with commas between them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensitive: Option<String>,
}

fn is_zero(sequence: &u64) -> bool {
    *sequence == 0
}

impl DeadLetter {
    /// Reads a letter from its JSON.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes).map_err(|error| {
            Error::new(
                ErrorKind::Undecodable,
                format!("a dead letter cannot be read: {error}"),
            )
            .with_source(error)
        })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        // Text keys, numbers and JSON values only: this cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The letter of a task that ended badly: what its outcome says, and the
    /// message itself.
    pub(crate) fn of(outcome: &Outcome, reason: DeadReason, priority: &str, body: &[u8]) -> Self {
        let error = outcome.error.clone();
        let mut attempts = outcome.attempts.clone();
        if let (Some(error), Some(started_at)) = (&error, outcome.started_at) {
            attempts.push(FailedAttempt {
                attempt: outcome.attempt,
                worker: outcome.worker.clone(),
                started_at,
                finished_at: outcome.finished_at,
                error: error.clone(),
            });
        }
        let message = std::str::from_utf8(body)
            .ok()
            .and_then(|text| RawValue::from_string(text.to_owned()).ok());
        Self {
            id: outcome.id.clone(),
            task: outcome.task.clone(),
            queue: outcome.queue.clone(),
            priority: priority.to_owned(),
            reason,
            error: error.map_or_else(String::new, |error| error.message),
            attempts,
            crashes: Vec::new(),
            worker: outcome.worker.clone(),
            enqueued_at: outcome.enqueued_at,
            dead_at: outcome.finished_at,
            replays: outcome
                .labels
                .get(labels::REPLAYS)
                .and_then(|count| count.as_str()?.parse().ok())
                .unwrap_or(0),
            sequence: 0,
            message,
            body: None,
            payload: None,
            sensitive: outcome
                .labels
                .get(labels::SENSITIVE)
                .and_then(|label| Some(label.as_str()?.to_owned())),
        }
    }

    /// The labels of the message; none of what is no message.
    #[must_use]
    pub fn labels(&self) -> Option<Labels> {
        let message = self.message.as_ref()?;
        Some(TaskMessage::decode(message.get().as_bytes()).ok()?.labels)
    }
}
