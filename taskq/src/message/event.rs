//! What happens to tasks and workers, as it is told.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Outcome, State, TaskId};
use crate::error::{Error, Result};
use crate::time::Timestamp;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $text:literal,)*) => {
        /// What happened.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum EventKind {
            $($(#[$doc])* $kind,)*
            /// A kind that this version does not know.
            #[serde(other)]
            Other,
        }

        impl EventKind {
            /// All kinds that this version knows.
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            /// The kind in one word.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$kind => $text,)*
                    Self::Other => "other",
                }
            }
        }
    };
}

kinds! {
    /// A call was accepted. Told only by clients that were asked to
    /// ([`ClientBuilder::tell_enqueued`](crate::ClientBuilder::tell_enqueued)).
    Enqueued = "enqueued",
    /// An attempt began.
    Started = "started",
    /// A task told how far it is.
    Progress = "progress",
    /// A task said something.
    Log = "log",
    /// An attempt failed, and another will follow.
    Retrying = "retrying",
    /// An attempt lost its lease: its worker was frozen or cut off, and what
    /// it does no longer counts.
    LeaseLost = "lease_lost",
    /// A worker was told to stop and gave an unfinished attempt back.
    HandedBack = "handed_back",
    /// A task ended with a value.
    Succeeded = "succeeded",
    /// A task ended without one.
    Failed = "failed",
    /// Somebody wished that a task should not go on.
    CancelRequested = "cancel_requested",
    /// A task was cancelled.
    Cancelled = "cancelled",
    /// A task's deadline passed before it could start.
    Expired = "expired",
    /// A message became a dead letter.
    Dead = "dead",
    /// A message waits for a worker that knows its task.
    UnknownTask = "unknown_task",
    /// A worker began to take messages.
    WorkerUp = "worker_up",
    /// A worker stopped.
    WorkerDown = "worker_down",
    /// A consumer that gave nothing was made anew.
    ConsumerMended = "consumer_mended",
    /// An operator sent a dead letter again.
    Replayed = "replayed",
    /// An operator removed a dead letter.
    Discarded = "discarded",
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for EventKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = Self::ALL.iter().find(|kind| kind.as_str() == text);
        found.copied().ok_or_else(|| {
            let all: Vec<&str> = Self::ALL.iter().map(|kind| kind.as_str()).collect();
            Error::invalid(format!(
                "`{text}` is not a kind of event; the kinds are {}",
                all.join(", ")
            ))
        })
    }
}

/// Something that happened. Its JSON is flat: what only some kinds have
/// (`error`, `done`, `total`, `message`, `retry_in_ms`, `by`, ..) is in
/// `detail`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// What happened.
    #[serde(rename = "event")]
    pub kind: EventKind,
    /// When, by the clock of whoever tells it.
    pub at: Timestamp,
    /// The task it happened to.
    #[serde(rename = "task_id", default, skip_serializing_if = "Option::is_none")]
    pub id: Option<TaskId>,
    /// The name of the task.
    #[serde(rename = "task_name", default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The queue of the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// The worker it happened on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// The number of the attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// What only this kind has.
    #[serde(flatten)]
    pub detail: Map<String, Value>,
}

impl Event {
    pub(crate) fn new(kind: EventKind, at: Timestamp) -> Self {
        Self {
            kind,
            at,
            id: None,
            task: None,
            queue: None,
            worker: None,
            attempt: None,
            detail: Map::new(),
        }
    }

    /// An event of a task.
    pub(crate) fn of(kind: EventKind, at: Timestamp, id: &TaskId, task: &str, queue: &str) -> Self {
        Self {
            id: Some(id.clone()),
            task: Some(task.to_owned()),
            queue: Some(queue.to_owned()),
            ..Self::new(kind, at)
        }
    }

    pub(crate) fn on(mut self, worker: &str, attempt: u32) -> Self {
        self.worker = Some(worker.to_owned());
        self.attempt = Some(attempt);
        self
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.detail.insert(name.to_owned(), value.into());
        self
    }

    /// What an outcome tells: that the last attempt started, unless that was
    /// told when it did, and how the task ended.
    pub(crate) fn of_outcome(outcome: &Outcome) -> Vec<Self> {
        let at = |kind, time| {
            let event = Self::of(kind, time, &outcome.id, &outcome.task, &outcome.queue);
            match outcome.attempt {
                0 => event,
                number => event.on(&outcome.worker, number),
            }
        };
        let mut events = Vec::with_capacity(2);
        if let (Some(started_at), false) = (outcome.started_at, outcome.start_told) {
            events.push(at(EventKind::Started, started_at));
        }
        let kind = match outcome.state {
            State::Succeeded => EventKind::Succeeded,
            State::Failed => EventKind::Failed,
            State::Cancelled => EventKind::Cancelled,
            State::Expired => EventKind::Expired,
        };
        let mut end = at(kind, outcome.finished_at).with("seconds", outcome.execution_time);
        if let Some(error) = &outcome.error {
            end = end.with("error", error.message.as_str());
        }
        if let Some(by) = &outcome.cancelled_by {
            end = end.with("by", by.as_str());
        }
        if let Some(reason) = outcome.dead {
            end = end.with("reason", reason.as_str());
        }
        events.push(end);
        events
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        // Text keys and JSON values only: this cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_flat_json_and_comes_back() {
        let event = Event::of(
            EventKind::Progress,
            Timestamp::from_millis(5),
            &"1".into(),
            "t",
            "default",
        )
        .on("w", 2)
        .with("done", 3)
        .with("message", "half");
        let json: Value = serde_json::from_slice(&event.encode()).unwrap();
        assert_eq!(json["event"], "progress");
        assert_eq!(json["done"], 3);
        assert_eq!(Event::decode(&event.encode()), Some(event));
    }

    #[test]
    fn every_kind_is_read_by_its_word_and_a_newer_one_is_kept_apart() {
        for kind in EventKind::ALL {
            assert_eq!(kind.as_str().parse::<EventKind>().unwrap(), *kind);
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        let newer = br#"{"event":"teleported","at":"2026-01-01T00:00:00.000Z"}"#;
        assert_eq!(Event::decode(newer).unwrap().kind, EventKind::Other);
    }
}
