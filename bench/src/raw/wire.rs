//! What the raw loop writes: a task, and its outcome.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Letters of a producer's name.
pub(super) const NAME_LENGTH: usize = 8;

/// A task as it is stored.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Task<'a> {
    pub(super) task_id: Uuid,
    pub(super) task_name: &'a str,
    /// Who is told the outcome.
    pub(super) producer: &'a str,
    /// Plain letters and spaces, so that it can be borrowed from the message.
    pub(super) text: &'a str,
}

impl<'a> Task<'a> {
    /// A new task to convert `text` to uppercase.
    pub(super) fn new(producer: &'a str, text: &'a str) -> Self {
        Self {
            task_id: Uuid::now_v7(),
            task_name: "to_uppercase",
            producer,
            text,
        }
    }

    pub(super) fn encode(&self) -> Result<Bytes> {
        Ok(serde_json::to_vec(self)?.into())
    }
}

/// How a task ended, as it is stored.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Outcome<'a> {
    pub(super) task_id: Uuid,
    pub(super) is_err: bool,
    pub(super) return_value: &'a str,
    /// Milliseconds since 1970.
    pub(super) started_at: u64,
    pub(super) finished_at: u64,
}

/// Milliseconds since 1970.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |time| time.as_millis() as u64)
}

/// A text that makes a task's message `payload` bytes long.
pub(crate) fn text(payload: usize) -> Result<String> {
    let envelope = Task::new(&"n".repeat(NAME_LENGTH), "").encode()?.len();
    let words = "the quick brown fox jumps over the lazy dog ";
    let letters = words.chars().cycle();
    Ok(letters.take(payload.saturating_sub(envelope)).collect())
}

#[cfg(test)]
mod tests {
    use super::{Task, text};

    #[test]
    fn a_message_is_as_long_as_asked_for() {
        for payload in [150, 200, 10_000] {
            let text = text(payload).unwrap();
            let message = Task::new("abcdefgh", &text).encode().unwrap();
            assert_eq!(message.len(), payload);
        }
    }
}
