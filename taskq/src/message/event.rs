//! What happens to tasks and workers, as it is told.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{KEPT_ARGUMENTS, KeptArguments, Labels, Outcome, State, TaskId, TaskMessage};
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
    /// Somebody moved a task that was put off to another time, or to now.
    Rescheduled = "rescheduled",
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
    /// The process of a worker ended that was not told to: told by its pool.
    WorkerDied = "worker_died",
    /// An operator set how many workers a pool keeps.
    PoolScaled = "pool_scaled",
    /// An operator let a pool end.
    PoolStopped = "pool_stopped",
    /// An operator let a worker take nothing new.
    WorkerQuieted = "worker_quieted",
    /// An operator let a quiet worker go on.
    WorkerResumed = "worker_resumed",
    /// An operator told a worker to finish what runs, and end.
    WorkerDrained = "worker_drained",
    /// An operator told a worker to end at once.
    WorkerStopped = "worker_stopped",
    /// A consumer that gave nothing was made anew.
    ConsumerMended = "consumer_mended",
    /// A schedule was made or changed, by an operator or by a worker whose
    /// program declares it.
    ScheduleSet = "schedule_set",
    /// An operator paused a schedule.
    SchedulePaused = "schedule_paused",
    /// An operator resumed a schedule.
    ScheduleResumed = "schedule_resumed",
    /// An operator removed a schedule.
    ScheduleRemoved = "schedule_removed",
    /// An operator ran a schedule's call.
    ScheduleRun = "schedule_run",
    /// Times of a schedule passed without a fire, and are not made up for.
    FiresMissed = "fires_missed",
    /// An operator sent a dead letter again.
    Replayed = "replayed",
    /// An operator removed a dead letter.
    Discarded = "discarded",
    /// An operator began to do one thing to many tasks.
    OperationBegun = "operation_begun",
    /// One thing was done to many tasks.
    OperationDone = "operation_done",
    /// An operator cancelled what was being done to many tasks.
    OperationCancelled = "operation_cancelled",
    /// An operator changed what is set for a queue.
    QueueSet = "queue_set",
    /// An operator paused a queue.
    QueuePaused = "queue_paused",
    /// An operator let a queue go on.
    QueueResumed = "queue_resumed",
    /// An operator cancelled all that waited in a queue.
    QueuePurged = "queue_purged",
    /// An operator paused a task type.
    TaskPaused = "task_paused",
    /// An operator let a task type go on.
    TaskResumed = "task_resumed",
    /// Somebody had what is hidden of a task shown.
    Revealed = "revealed",
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

    /// As a part of a trace, if it is of one.
    pub(crate) fn traced(self, trace_id: Option<&str>) -> Self {
        match trace_id {
            Some(id) => self.with("trace_id", id),
            None => self,
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

    /// With what the task is found by before it ends: nothing else tells that
    /// until then.
    pub(crate) fn whole(mut self, labels: &Labels, kept: &KeptArguments) -> Self {
        let labels = labels.to_outcome();
        if !labels.is_empty() {
            self = self.with("labels", labels);
        }
        kept.values()
            .fold(self, |event, (name, value)| event.with(name, value))
    }

    /// The same, of a message as it is sent.
    pub(crate) fn whole_of(self, body: &Bytes) -> Self {
        match TaskMessage::decode_and_keep(body, KEPT_ARGUMENTS) {
            Ok((message, kept)) => self.whole(&message.labels, &kept),
            Err(_) => self,
        }
    }

    /// What an outcome tells: that the last attempt started, unless that was
    /// told when it did, and how the task ended.
    pub(crate) fn of_outcome(outcome: &Outcome) -> Vec<Self> {
        let at = |kind, time| {
            let event = Self::of(kind, time, &outcome.id, &outcome.task, &outcome.queue)
                .traced(outcome.trace_id());
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
            let text = match outcome.cancelled_by {
                Some(_) => error.message.as_str(),
                None => outcome.hidden().error(error.kind, &error.message),
            };
            end = end.with("error", text);
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
