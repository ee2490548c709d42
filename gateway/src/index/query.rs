//! What is asked: of which tasks, and of which dead letters.

use serde::Serialize;
use taskq::{DeadReason, Timestamp};

use super::{Cursor, IndexError, Result};

/// The largest page.
pub(super) const MOST: usize = 500;

/// The states in which the index knows tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskState {
    /// It was told to be in its queue: sent again, or its sender tells.
    Waiting,
    /// A worker has it.
    Running,
    /// An attempt failed or was given up, and another follows.
    Retrying,
    /// It ended with a value.
    Succeeded,
    /// It ended without one.
    Failed,
    /// It was cancelled.
    Cancelled,
    /// Its deadline passed before it could start.
    Expired,
}

impl TaskState {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Waiting,
        Self::Running,
        Self::Retrying,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::Expired,
    ];

    /// The state in one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }

    /// Whether it is an end.
    #[must_use]
    pub const fn is_end(self) -> bool {
        matches!(
            self,
            Self::Succeeded | Self::Failed | Self::Cancelled | Self::Expired
        )
    }
}

impl std::str::FromStr for TaskState {
    type Err = IndexError;

    fn from_str(text: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|state| state.as_str() == text);
        found.ok_or_else(|| {
            IndexError::Invalid(format!(
                "`{text}` is no state; the states are {}",
                Self::ALL.map(Self::as_str).join(", ")
            ))
        })
    }
}

/// In which order tasks are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// What has not ended, then the latest end first.
    #[default]
    Newest,
    /// The earliest end first, then what has not ended.
    Oldest,
}

/// Which tasks: those for which all that is set holds.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskQuery {
    /// In one of these states; in any if there are none.
    pub states: Vec<TaskState>,
    /// Of this name.
    pub task: Option<String>,
    /// Of this queue.
    pub queue: Option<String>,
    /// Last run by this worker.
    pub worker: Option<String>,
    /// Whether it has become a dead letter.
    pub dead: Option<bool>,
    /// Ended, or last heard of, at this moment or later.
    pub since: Option<Timestamp>,
    /// Ended, or last heard of, before this moment.
    pub until: Option<Timestamp>,
    /// Of this key: the one of a limit, or the one that makes it unique.
    pub key: Option<String>,
    /// With these labels.
    pub labels: Vec<(String, String)>,
    /// With these values in their arguments, as far as the records keep them.
    pub arguments: Vec<(String, String)>,
    /// With all of these words in an error.
    pub error: Option<String>,
    /// In which order.
    pub order: Order,
    /// How many, at most 500.
    pub limit: usize,
    /// Behind this place.
    pub after: Option<Cursor>,
}

impl Default for TaskQuery {
    fn default() -> Self {
        Self {
            states: Vec::new(),
            task: None,
            queue: None,
            worker: None,
            dead: None,
            since: None,
            until: None,
            key: None,
            labels: Vec::new(),
            arguments: Vec::new(),
            error: None,
            order: Order::Newest,
            limit: 50,
            after: None,
        }
    }
}

/// Which dead letters: those for which all that is set holds.
#[derive(Clone, Debug, Default)]
pub struct LetterQuery {
    /// Of this task.
    pub task: Option<String>,
    /// Of this queue.
    pub queue: Option<String>,
    /// For this reason.
    pub reason: Option<DeadReason>,
    /// In which order.
    pub order: Order,
    /// How many.
    pub limit: usize,
    /// Behind this place.
    pub after: Option<Cursor>,
}
