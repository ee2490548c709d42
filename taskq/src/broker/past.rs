//! What is stored, read in the order in which it was.

use bytes::Bytes;
use futures::future::BoxFuture;
use taskq_syntax::Priority;

use super::Mode;
use crate::error::{Error, ErrorKind, Result};
use crate::message::TaskId;
use crate::time::Timestamp;

/// A source of records: each is a sequence that only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// How tasks ended.
    Outcomes,
    /// What was told.
    Events,
    /// What will not be tried again.
    DeadLetters,
    /// What operators did.
    Audit,
}

/// From where to where a source reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The place of the oldest record; one more than `last` if there is none.
    pub first: u64,
    /// The place of the newest record there has been; 0 if there was none.
    pub last: u64,
    /// How many records there are.
    pub records: u64,
    /// When the source was made. A source of another time is another one, and
    /// its places mean nothing in this one.
    pub created: Timestamp,
}

/// A record, as it is stored.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) sequence: u64,
    pub(crate) body: Bytes,
    /// When it was stored, by the server's clock.
    pub(crate) stored_at: Timestamp,
    /// How many more there were behind it.
    pub(crate) left: u64,
}

/// Which records, of those that are stored now.
#[derive(Clone, Debug)]
pub(crate) struct PastQuery {
    pub(crate) of: PastOf,
    /// Those that were stored at this moment or later.
    pub(crate) since: Option<Timestamp>,
    /// Whether the newest come first.
    pub(crate) newest_first: bool,
}

/// What records are about, as far as the server can tell them apart.
#[derive(Clone, Debug)]
pub(crate) enum PastOf {
    /// How tasks ended, or how this one did.
    Outcomes(Option<TaskId>),
    /// What was told of workers, or of this one.
    Workers(Option<String>),
    /// What operators did.
    Actions,
}

/// Which messages of a queue.
#[derive(Clone, Debug)]
pub(crate) struct Peek {
    pub(crate) queue: String,
    pub(crate) task: Option<String>,
    pub(crate) id: Option<TaskId>,
    /// Those behind this place.
    pub(crate) after: u64,
    /// At most so many.
    pub(crate) most: usize,
}

/// Some of a queue's messages, in the order in which they were stored.
#[derive(Debug)]
pub(crate) struct Peeked {
    pub(crate) messages: Vec<QueuedMessage>,
    /// Whether there are more behind the last.
    pub(crate) more: bool,
}

/// A message in a queue.
#[derive(Debug)]
pub(crate) struct QueuedMessage {
    pub(crate) id: TaskId,
    pub(crate) priority: Priority,
    pub(crate) sequence: u64,
    pub(crate) stored_at: Timestamp,
    /// Whether a worker was given it.
    pub(crate) given: bool,
    pub(crate) body: Bytes,
}

/// What a transport answers that has no past to read.
pub(super) fn unsupported<'a, T: Send + 'a>(mode: Mode) -> BoxFuture<'a, Result<T>> {
    Box::pin(std::future::ready(Err(Error::new(
        ErrorKind::Unsupported,
        format!(
            "there are no stored records to read in {mode} mode: only jetstream mode keeps them in \
             streams; set TASKQ_MODE=jetstream"
        ),
    ))))
}
