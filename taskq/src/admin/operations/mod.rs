//! Doing one thing to many tasks.
//!
//! An operation is a record on the NATS server, and the ids of the tasks that
//! it is about, which do not change. Whoever runs it has a lease in the
//! record, and moves its place on as it goes; when its runner dies, another
//! goes on from there. So some tasks may be acted on twice, which each action
//! bears: what has ended again since the operation was begun, or was put off
//! again, is left as it is.

mod act;
mod run;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::broker::{Ledger, Setting, act};
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::message::{Event, EventKind, TaskId};
use crate::time::Timestamp;

pub use run::{run, waiting};

/// The most tasks of one operation.
pub const MOST: usize = 100_000;
/// So many ids are stored in one part.
const PART: usize = 1000;
/// How long the record of an operation is kept that has ended.
const KEEP: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long the ids are kept, should nobody finish or remove the operation.
const KEEP_TARGETS: Duration = Duration::from_secs(30 * 24 * 3600);
/// How often a change is tried again that somebody else was in the way of.
const TRIES: u32 = 16;

/// What is done to each task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum BulkAction {
    /// It is cancelled.
    Cancel,
    /// It is run again, if it has ended badly.
    Retry,
    /// It is started now, if it is put off.
    RunNow,
    /// It is to start then, if it is put off.
    Reschedule {
        /// When.
        at: Timestamp,
    },
    /// Its dead letter is removed for good.
    Discard,
}

impl BulkAction {
    /// The action in one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Retry => "retry",
            Self::RunNow => "run-now",
            Self::Reschedule { .. } => "reschedule",
            Self::Discard => "discard",
        }
    }
}

/// Where an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum OperationState {
    /// It is being done, or waits for somebody who does it.
    Running,
    /// All tasks have been acted on.
    Done,
    /// Somebody cancelled it: what was done stays done.
    Cancelled,
}

/// One thing done to many tasks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Operation {
    /// Its id.
    pub id: String,
    /// What is done.
    #[serde(flatten)]
    pub action: BulkAction,
    /// Who wishes it.
    pub by: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// Which tasks were asked for, in the words of who asked; null for a list
    /// of ids.
    #[serde(default)]
    pub filter: Value,
    /// How many tasks a second at most; as many as can be if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// Where it is.
    pub state: OperationState,
    /// When it was begun.
    pub created_at: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// Who cancelled it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled_by: Option<String>,
    /// How many tasks it is about.
    pub total: u64,
    /// How many of them have been acted on.
    pub done: u64,
    /// What became of them, counted: `cancelled`, `requested`, `too_late`,
    /// `sent`, `not_ended`, `succeeded`, `moved`, `discarded`, `gone`,
    /// `done_before`, `failed`.
    pub outcomes: BTreeMap<String, u64>,
    /// The first few of those that failed, and why.
    #[serde(default)]
    pub errors: Vec<OperationError>,
    /// Who runs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner: Option<String>,
    /// Until when it is the runner's alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner_until: Option<Timestamp>,
}

/// Why a task was not acted on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OperationError {
    /// The task.
    pub id: TaskId,
    /// Why.
    pub error: String,
}

/// What is to be done to many tasks.
#[derive(Clone, Debug)]
#[must_use = "nothing is done until it is begun"]
pub struct NewOperation {
    action: BulkAction,
    by: String,
    because: Option<String>,
    rate: Option<f64>,
    filter: Value,
}

impl NewOperation {
    /// What somebody wishes to be done.
    pub fn new(action: BulkAction, by: impl Into<String>) -> Self {
        Self {
            action,
            by: by.into(),
            because: None,
            rate: None,
            filter: Value::Null,
        }
    }

    /// Why, for the record.
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.because = Some(reason.into());
        self
    }

    /// How many tasks a second at most.
    pub fn rate(mut self, per_second: f64) -> Self {
        self.rate = Some(per_second);
        self
    }

    /// How the tasks were found, for the record.
    pub fn filter(mut self, filter: Value) -> Self {
        self.filter = filter;
        self
    }
}

/// Begins an operation on tasks, in their order. It is done when somebody
/// [`run`]s it: any gateway does, or whoever calls that.
///
/// ```no_run
/// # async fn f(client: taskq::Client) -> taskq::Result<()> {
/// use taskq::admin::operations::{self, BulkAction, NewOperation};
/// let new = NewOperation::new(BulkAction::Retry, "ada").rate(50.0);
/// let begun = operations::begin(&client, new, ["order-1", "order-2"]).await?;
/// let ended = operations::run(&client, &begun.id, "ada@shop").await?;
/// println!("{:?}", ended.map(|ended| ended.outcomes));
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`ErrorKind::Invalid`] for no tasks, more than [`MOST`], or a rate that is
/// none; [`ErrorKind::Unsupported`] in the modes that keep nothing;
/// [`ErrorKind::Unavailable`] when NATS does not answer.
pub async fn begin<I>(client: &Client, new: NewOperation, ids: I) -> Result<Operation>
where
    I: IntoIterator,
    I::Item: Into<TaskId>,
{
    let ledger = ledger(client)?;
    let ids: Vec<TaskId> = ids.into_iter().map(Into::into).collect();
    if ids.is_empty() || ids.len() > MOST {
        return Err(Error::invalid(format!(
            "an operation is about 1 to {MOST} tasks, this one is about {}",
            ids.len()
        )));
    }
    if new
        .rate
        .is_some_and(|rate| !(rate.is_finite() && rate > 0.0))
    {
        return Err(Error::invalid("a rate is more than 0 tasks a second"));
    }
    let operation = Operation {
        id: client.new_id().to_string(),
        action: new.action,
        by: new.by,
        because: new.because,
        filter: new.filter,
        rate: new.rate,
        state: OperationState::Running,
        created_at: client.0.broker.now(),
        finished_at: None,
        cancelled_by: None,
        total: ids.len() as u64,
        done: 0,
        outcomes: BTreeMap::new(),
        errors: Vec::new(),
        runner: None,
        runner_until: None,
    };
    // The tasks first: what has a record can be done.
    for (part, ids) in (0..).zip(ids.chunks(PART)) {
        let body: Bytes = serde_json::to_vec(ids).unwrap_or_default().into();
        let stored = ledger.store_targets(&operation.id, part, body, KEEP_TARGETS);
        stored.await?;
    }
    let body = encode(&operation);
    ledger.write_operation(&operation.id, body, 0, None).await?;
    tell(client, EventKind::OperationBegun, &operation, &operation.by).await;
    Ok(operation)
}

/// One operation.
///
/// # Errors
/// [`ErrorKind::NotFound`] when there is none of this id; else as [`begin`].
pub async fn get(client: &Client, id: &str) -> Result<Operation> {
    read(id, &ledger(client)?.operation(id).await?)
}

/// All operations that run, and those that have ended in the past week; the
/// latest first.
///
/// # Errors
/// As [`begin`].
pub async fn list(client: &Client) -> Result<Vec<Operation>> {
    let records = ledger(client)?.operations().await?;
    let mut found: Vec<Operation> = records
        .iter()
        .filter_map(|record| read(&record.name, record).ok())
        .collect();
    found.sort_by_key(|one| std::cmp::Reverse(one.created_at));
    Ok(found)
}

/// Cancels an operation: what was done stays done, and what is under way may
/// be done yet. An operation that has ended is left as it is.
///
/// # Errors
/// As [`get`].
pub async fn cancel(client: &Client, id: &str, by: &str) -> Result<Operation> {
    let ledger = ledger(client)?;
    for _ in 0..TRIES {
        let record = ledger.operation(id).await?;
        let mut operation = read(id, &record)?;
        if operation.state != OperationState::Running {
            return Ok(operation);
        }
        operation.state = OperationState::Cancelled;
        operation.cancelled_by = Some(by.to_owned());
        operation.finished_at = Some(client.0.broker.now());
        let body = encode(&operation);
        let written = ledger.write_operation(id, body, record.revision, Some(KEEP));
        if written.await? {
            tell(client, EventKind::OperationCancelled, &operation, by).await;
            ledger.drop_targets(id, parts(&operation)).await?;
            return Ok(operation);
        }
    }
    Err(Error::new(
        ErrorKind::Conflict,
        format!("operation {id} is changed by others all the time; try again"),
    ))
}

fn ledger(client: &Client) -> Result<&dyn Ledger> {
    client.0.broker.ledger().ok_or_else(|| {
        Error::new(
            ErrorKind::Unsupported,
            format!(
                "there are no operations in {} mode, which keeps nothing for others; use jetstream \
                 mode (TASKQ_MODE=jetstream)",
                client.mode()
            ),
        )
    })
}

fn read(id: &str, record: &Setting) -> Result<Operation> {
    let Some(body) = &record.body else {
        return Err(Error::new(
            ErrorKind::NotFound,
            format!("there is no operation {id}: it was never begun, or its record has expired"),
        ));
    };
    serde_json::from_slice(body).map_err(|error| {
        Error::new(
            ErrorKind::Undecodable,
            format!("the record of operation {id} cannot be read: {error}"),
        )
        .with_source(error)
    })
}

fn encode(operation: &Operation) -> Bytes {
    // Text keys, numbers and JSON values only: this cannot fail.
    serde_json::to_vec(operation).unwrap_or_default().into()
}

/// In how many parts its tasks are stored.
fn parts(operation: &Operation) -> u64 {
    operation.total.div_ceil(PART as u64)
}

async fn tell(client: &Client, kind: EventKind, operation: &Operation, by: &str) {
    let broker = &client.0.broker;
    let event = Event::new(kind, broker.now())
        .with("by", by)
        .with("operation", operation.id.as_str())
        .with("action", operation.action.as_str())
        .with("total", operation.total)
        .with("done", operation.done);
    let event = match &operation.because {
        Some(because) => event.with("reason", because.as_str()),
        None => event,
    };
    act(&**broker, event).await;
}
