//! The wish that a task should not go on.

use serde::{Deserialize, Serialize};

use super::TaskId;
use crate::failure::{Failure, FailureKind};
use crate::time::Timestamp;

/// Somebody's wish that a task should not start, or should stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelRequest {
    /// The task.
    #[serde(rename = "task_id")]
    pub id: TaskId,
    /// Who wishes it: a name for people to read.
    pub by: String,
    /// Why, in their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When they said so, by their clock.
    pub at: Timestamp,
}

impl CancelRequest {
    /// What the outcome says of it.
    pub(crate) fn failure(&self) -> Failure {
        let mut text = format!("cancelled by {}", self.by);
        if let Some(reason) = &self.reason {
            text.push_str(": ");
            text.push_str(reason);
        }
        Failure::new(FailureKind::Cancelled, text)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        // Text and a time only: this cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}
