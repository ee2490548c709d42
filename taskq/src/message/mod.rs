//! What crosses the wire: [`TaskMessage`] one way, [`Outcome`] the other.
//!
//! A message is a Taskiq message in JSON, so a Python Taskiq producer can
//! feed a taskq worker, and the reverse.

mod arguments;
mod attempts;
mod cancel;
mod event;
mod id;
mod journal;
mod label;
mod letter;
mod outcome;
mod wire;

pub use arguments::Arguments;
pub(crate) use arguments::{from_raw, to_raw};
pub use attempts::FailedAttempt;
pub(crate) use attempts::Trail;
pub use cancel::CancelRequest;
pub use event::{Event, EventKind};
pub(crate) use id::IdSource;
pub use id::TaskId;
pub(crate) use journal::Journal;
pub use label::{Label, LabelType, Labels};
pub use letter::{Crash, DeadLetter, DeadReason};
pub use outcome::{Outcome, State};

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
        wire::decode(bytes).map_err(|error| {
            Error::new(
                ErrorKind::Undecodable,
                format!("the message is not a Taskiq message: {error}"),
            )
            .with_source(error)
        })
    }

    /// Writes the message as JSON.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        wire::encode(self)
    }
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
    /// When the call was accepted, where the broker's own time of storing
    /// the message no longer tells: milliseconds since 1970.
    pub(crate) const ENQUEUED_AT: &str = "taskq_enqueued_at";
    /// The key of the uniqueness lock that ends with the task.
    pub(crate) const UNIQUE: &str = "taskq_unique";
    /// By when the task must have ended: milliseconds since 1970.
    pub(crate) const DEADLINE: &str = "taskq_deadline";
    /// The attempts that failed before this message was made, as JSON.
    pub(crate) const ERRORS: &str = "taskq_errors";
    /// How many times an operator has sent the task again.
    pub(crate) const REPLAYS: &str = "taskq_replays";
    /// The arguments are elsewhere: the name of the stored payload.
    pub(crate) const PAYLOAD: &str = "taskq_payload";
}
