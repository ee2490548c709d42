//! What operators, and callers who change their mind, ask of a transport.

use futures::future::BoxFuture;
use futures::stream::BoxStream;

use super::Record;
use crate::error::Result;
use crate::message::{
    AuditEntry, CancelRequest, DeadLetter, DeadReason, Event, EventKind, State, TaskId,
};
use crate::time::Timestamp;

/// The operators' side of a transport.
pub(crate) trait Operate {
    /// Tells what happened. Returns at once; it is told when there is a
    /// connection, and lost when there is none for long.
    fn tell(&self, event: Event);

    /// Waits until what was told so far is with the connection.
    fn told(&self) -> BoxFuture<'_, ()>;

    /// Records what an operator did, for as long as the log is kept.
    fn record_action<'a>(&'a self, entry: &'a AuditEntry) -> BoxFuture<'a, Result<()>>;

    /// What operators did before a place, or up to now, the newest first.
    fn actions(&self, before: Option<u64>, most: usize) -> BoxFuture<'_, Result<Vec<AuditEntry>>>;

    /// What is told, and how tasks end.
    fn events(&self, query: EventQuery)
    -> BoxFuture<'_, Result<BoxStream<'static, Result<Event>>>>;

    /// Makes a wish known to whoever has the task, and finds out whether
    /// anybody has.
    fn wish<'a>(&'a self, request: &'a CancelRequest) -> BoxFuture<'a, Result<Cancelling>>;

    /// Stores an outcome that no worker makes; false if there is one.
    fn conclude(&self, record: Record) -> BoxFuture<'_, Result<bool>>;

    /// Takes a message that no worker has out of its queue or its plan.
    fn withdraw<'a>(&'a self, task: &'a Task) -> BoxFuture<'a, Result<()>>;

    /// The dead letters, the oldest first.
    fn letters(
        &self,
        query: LetterQuery,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<DeadLetter>>>>;

    /// Removes a dead letter; false if it was gone.
    fn remove_letter<'a>(&'a self, letter: &'a DeadLetter) -> BoxFuture<'a, Result<bool>>;

    /// Removes the outcome of a task, so that it can have another.
    fn reopen<'a>(&'a self, id: &'a TaskId) -> BoxFuture<'a, Result<()>>;
}

/// What becomes of a wish to cancel.
#[derive(Clone, Debug)]
pub(crate) enum Cancelling {
    /// There is no such task.
    Unknown,
    /// It has ended.
    Ended(State),
    /// It has ended as was wished.
    Done,
    /// No worker has it; it can be ended here.
    Idle(Task),
    /// A worker has it, or had it; it will act upon the wish.
    Held(Task),
}

/// A message that has not ended, where it is.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) id: TaskId,
    pub(crate) queue: String,
    pub(crate) body: Vec<u8>,
    pub(crate) stored_at: Timestamp,
    /// Where it is stored.
    pub(crate) place: Place,
}

/// Where a message is that has not ended.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// In the plan.
    Plan { subject: String },
    /// In the queue.
    Queue { sequence: u64 },
    /// Where it waits for the turn of its key.
    Hold { sequence: u64 },
    /// In this process's memory.
    Memory,
}

/// Which events.
#[derive(Clone, Debug, Default)]
pub(crate) struct EventQuery {
    pub(crate) scope: EventScope,
    /// From this moment on; from now on if there is none.
    pub(crate) since: Option<Timestamp>,
    /// Whether to go on with what will happen.
    pub(crate) follow: bool,
}

/// What events are about, as far as the server can tell them apart.
#[derive(Clone, Debug, Default)]
pub(crate) struct EventScope {
    pub(crate) kinds: Vec<EventKind>,
    pub(crate) queue: Option<String>,
    pub(crate) task: Option<String>,
    pub(crate) id: Option<TaskId>,
}

/// Which dead letters.
#[derive(Clone, Debug, Default)]
pub(crate) struct LetterQuery {
    pub(crate) queue: Option<String>,
    pub(crate) task: Option<String>,
    pub(crate) id: Option<TaskId>,
    pub(crate) reason: Option<DeadReason>,
}
