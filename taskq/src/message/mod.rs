//! What crosses the wire: [`TaskMessage`] one way, [`Outcome`] the other.
//!
//! A message is a Taskiq message in JSON, so a Python Taskiq producer can
//! feed a taskq worker, and the reverse.

mod arguments;
mod attempts;
mod audit;
mod cancel;
mod death;
mod event;
mod gather;
mod id;
mod journal;
mod kept;
mod label;
mod letter;
mod limits;
mod outcome;
mod queue;
mod sensitive;
mod trace;
mod wire;

pub use arguments::Arguments;
pub(crate) use arguments::{from_raw, to_raw};
pub use attempts::FailedAttempt;
pub(crate) use attempts::Trail;
pub use audit::{Actor, AuditEntry};
pub use cancel::CancelRequest;
pub use death::{RunningTask, WorkerDeath};
pub use event::{Event, EventKind};
pub(crate) use gather::{Burst, Gather, Gathered};
pub use id::TaskId;
pub(crate) use id::{BURST_DIGITS, IdSource};
pub(crate) use journal::Journal;
pub(crate) use kept::{KEPT_ARGUMENTS, KeptArguments};
pub use label::{Label, LabelType, Labels};
pub use letter::{Crash, DeadLetter, DeadReason};
pub(crate) use limits::{KeyLimits, key_of};
pub use outcome::{Outcome, State};
pub(crate) use queue::TaskDefaults;
pub use queue::{Paused, QueueSettings, TaskSettings};
pub use sensitive::Hidden;
pub(crate) use trace::Traceparent;

use bytes::Bytes;

use crate::error::{Error, ErrorKind, Result};

/// One sent call.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskMessage {
    /// Names this message; every attempt and the outcome bear it.
    pub id: TaskId,
    /// The task to run.
    pub task: String,
    /// Options and metadata.
    pub labels: Labels,
    /// What to run it with.
    pub arguments: Arguments,
}

impl TaskMessage {
    /// Reads a message from its JSON.
    ///
    /// # Errors
    /// [`ErrorKind::Undecodable`] with what is wrong and where, if it is not
    /// JSON or lacks `task_id` or `task_name`. Unknown fields are ignored.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let (message, ..) = wire::decode(bytes).map_err(not_taskiq)?;
        Ok(message)
    }

    /// Reads a message from its JSON, and keeps its arguments as they stand
    /// there, if they are not longer than this.
    pub(crate) fn decode_and_keep(bytes: &Bytes, most: usize) -> Result<(Self, KeptArguments)> {
        let (message, args, kwargs) = wire::decode(bytes).map_err(not_taskiq)?;
        let is_sensitive = message.labels.get(labels::SENSITIVE).is_some();
        let most = if is_sensitive { 0 } else { most };
        let kept = KeptArguments::of(bytes, args, kwargs, most);
        Ok((message, kept))
    }

    /// Writes the message as JSON.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        wire::encode(self)
    }
}

fn not_taskiq(error: serde_json::Error) -> Error {
    Error::new(
        ErrorKind::Undecodable,
        format!("the message is not a Taskiq message: {error}"),
    )
    .with_source(error)
}

/// Labels that taskq itself sets on a message. Those without the prefix are
/// Taskiq's own words.
pub(crate) mod labels {
    /// Seconds that one attempt may take.
    pub(crate) const TIMEOUT: &str = "timeout";
    /// How many times a failed attempt is followed by another.
    pub(crate) const MAX_RETRIES: &str = "max_retries";
    /// The wait before each retry: `exponential(1s, max 5m)`.
    pub(crate) const BACKOFF: &str = "taskq_backoff";
    /// Seconds that the outcome is kept.
    pub(crate) const TTL: &str = "taskq_ttl";
    /// The number of the attempt that this delivery is the first of.
    pub(crate) const ATTEMPT: &str = "taskq_attempt";
    /// How many attempts have failed so far.
    pub(crate) const FAILURES: &str = "taskq_failures";
    /// The trace that the message is a part of, and the span that sent it: W3C
    /// trace context, in the words of Taskiq's own middleware.
    pub(crate) const TRACEPARENT: &str = "traceparent";
    /// What tracing systems add to that.
    pub(crate) const TRACESTATE: &str = "tracestate";
    /// When the call was accepted, where the broker's own time of storing
    /// the message no longer tells: milliseconds since 1970.
    pub(crate) const ENQUEUED_AT: &str = "taskq_enqueued_at";
    /// When the task, or its next attempt, is to start: milliseconds since
    /// 1970, by the server's clock. Set where it is put off.
    pub(crate) const DUE: &str = "taskq_due";
    /// How many calls a task stands for that was made of a burst of them.
    pub(crate) const CALLS: &str = "taskq_calls";
    /// The key of the uniqueness lock that ends with the task.
    pub(crate) const UNIQUE: &str = "taskq_unique";
    /// The text that its sender made it unique by.
    pub(crate) const UNIQUE_KEY: &str = "taskq_unique_key";
    /// By when the task must have ended: milliseconds since 1970.
    pub(crate) const DEADLINE: &str = "taskq_deadline";
    /// The attempts that failed before this message was made, as JSON.
    pub(crate) const ERRORS: &str = "taskq_errors";
    /// How many times an operator has sent the task again.
    pub(crate) const REPLAYS: &str = "taskq_replays";
    /// When it was last sent again: a wish to cancel from before is of its life
    /// before.
    pub(crate) const RESENT_AT: &str = "taskq_resent_at";
    /// The message was put aside since its task type was paused: its
    /// priority.
    pub(crate) const ASIDE: &str = "taskq_aside";
    /// The arguments are elsewhere: the name of the stored payload.
    pub(crate) const PAYLOAD: &str = "taskq_payload";
    /// The schedule whose fire it is.
    pub(crate) const SCHEDULE: &str = "taskq_schedule";
    /// The time of the schedule that it is the fire of: milliseconds since
    /// 1970.
    pub(crate) const NOMINAL: &str = "taskq_nominal";
    /// Which declaration of the schedule it was planned by, and which of
    /// several messages of the same fire it is.
    pub(crate) const FIRE: &str = "taskq_fire";
    /// The key that the task waits for its turn by, in its queue.
    pub(crate) const KEY: &str = "taskq_key";
    /// How many tasks of the key may run at once.
    pub(crate) const CONCURRENCY: &str = "taskq_concurrency";
    /// How many tasks of the key may start in a time: `10/s`.
    pub(crate) const RATE: &str = "taskq_rate";
    /// How many of them may start at once after a pause.
    pub(crate) const BURST: &str = "taskq_burst";
    /// What nobody is to see who does not ask for it: `*` for all, or the names
    /// of arguments with commas between them.
    pub(crate) const SENSITIVE: &str = "taskq_sensitive";
    /// How many tasks of the key have a turn, for one of others.
    pub(crate) const WEIGHT: &str = "taskq_weight";
}
