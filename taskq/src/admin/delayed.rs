//! What is put off: looking at it, moving it, starting it now.

use futures::{Stream, StreamExt as _};
use serde::Serialize;
use serde_json::Value;

use crate::broker::{Plan, PlanName, PlanQuery};
use crate::client::{Client, Rescheduled};
use crate::error::Result;
use crate::message::{FailedAttempt, Hidden, Label, TaskId, TaskMessage, Trail, labels};
use crate::time::Timestamp;

/// Which delayed tasks: those for which all that is set holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DelayedFilter {
    /// Of this message.
    pub id: Option<TaskId>,
    /// Of this queue.
    pub queue: Option<String>,
    /// Of this task.
    pub task: Option<String>,
    /// Due at this moment or later.
    pub due_after: Option<Timestamp>,
    /// Due before this moment.
    pub due_before: Option<Timestamp>,
    /// Only those that wait for a retry, or only those that do not.
    pub retries: Option<bool>,
    /// Whether to show what is hidden of sensitive tasks.
    pub reveal: bool,
    /// Behind this place: [`DelayedTask::sequence`] of the last one that was
    /// seen; 0 for all.
    pub after: u64,
}

impl DelayedFilter {
    /// What the broker cannot tell apart.
    fn has(&self, delayed: &DelayedTask) -> bool {
        let is = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|it| it == is);
        is(&self.queue, &delayed.queue)
            && is(&self.task, &delayed.task)
            && self.due_after.is_none_or(|after| delayed.due >= after)
            && self.due_before.is_none_or(|before| delayed.due < before)
            && self
                .retries
                .is_none_or(|retries| retries == (delayed.attempt > 1))
    }
}

/// A task that is put off: by its sender, or for a retry.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct DelayedTask {
    /// The task's id.
    #[serde(rename = "task_id")]
    pub id: TaskId,
    /// The task's name.
    #[serde(rename = "task_name")]
    pub task: String,
    /// The queue that it is for.
    pub queue: String,
    /// Its priority there.
    pub priority: String,
    /// When it is to start.
    pub due: Timestamp,
    /// When the broker accepted the call.
    pub enqueued_at: Timestamp,
    /// The number of the attempt that is to start: 1 for a delay, more for a
    /// retry.
    pub attempt: u32,
    /// The last failed attempt, if it waits for a retry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<FailedAttempt>,
    /// Its place among those that are put off. One that is moved goes to the
    /// end.
    #[serde(skip)]
    pub sequence: u64,
    /// The labels, as they cross the wire.
    #[serde(skip)]
    pub labels: serde_json::Map<String, Value>,
    /// How many calls it stands for, if it is of a burst.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls: Option<u32>,
    /// The arguments by position.
    pub args: Vec<Value>,
    /// The arguments by name.
    pub kwargs: serde_json::Map<String, Value>,
    /// Whether something of it is hidden from who does not ask for it.
    pub sensitive: bool,
}

impl DelayedTask {
    fn of(plan: Plan, reveal: bool) -> Result<Self> {
        let mut message = TaskMessage::decode(&plan.body)?;
        let mut error = Trail::of(&message.labels).into_vec().pop();
        let hidden = Hidden::of(&message.labels);
        if !reveal {
            message.arguments = hidden.arguments(&message.arguments);
            if let Some(attempt) = &mut error {
                hidden.failure(&mut attempt.error);
            }
        }
        let number = |name| message.labels.get(name).and_then(Label::as_i64);
        let count = |name| number(name).and_then(|number| u32::try_from(number).ok());
        let value = |text: &str| serde_json::from_str(text).unwrap_or(Value::Null);
        Ok(Self {
            task: plan.task,
            queue: plan.queue,
            priority: plan.priority.as_str().to_owned(),
            due: plan.due,
            enqueued_at: number(labels::ENQUEUED_AT).map_or(plan.stored_at, Timestamp::from_millis),
            attempt: count(labels::ATTEMPT).unwrap_or(1),
            error,
            sequence: plan.revision,
            labels: message.labels.to_outcome(),
            calls: count(labels::CALLS),
            args: message.arguments.positional().map(value).collect(),
            kwargs: message
                .arguments
                .iter_named()
                .map(|(name, text)| (name.to_owned(), value(text)))
                .collect(),
            sensitive: hidden.is_any(),
            id: plan.id,
        })
    }
}

/// The tasks that are put off: delays, and waits before a retry. In the order in
/// which they were put off; empty in core mode, which keeps none. What is due within half a second
/// may be with a worker already, and is not among them.
///
/// ```no_run
/// # use taskq::prelude::*;
/// use futures::{StreamExt as _, TryStreamExt as _};
/// use taskq::admin::{self, DelayedFilter};
/// # async fn f(client: Client) -> taskq::Result<()> {
/// let filter = DelayedFilter {
///     queue: Some("email".to_owned()),
///     ..DelayedFilter::default()
/// };
/// let mut delayed = admin::delayed(&client, filter).await?.boxed();
/// while let Some(task) = delayed.try_next().await? {
///     println!("{} {} at {}", task.id, task.task, task.due);
///     admin::run_now(&client, task.id, "ada").await?;
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when NATS does
/// not answer.
pub async fn delayed(
    client: &Client,
    filter: DelayedFilter,
) -> Result<impl Stream<Item = Result<DelayedTask>> + Send + use<>> {
    let broker = &client.0.broker;
    let plans = match &filter.id {
        Some(id) => {
            let plan = broker.plan(PlanName::Task(id)).await?;
            futures::stream::iter(plan.map(Ok)).boxed()
        }
        None => {
            let query = PlanQuery {
                queue: filter.queue.clone(),
                task: filter.task.clone(),
                after: filter.after,
            };
            broker.plans(query).await?
        }
    };
    Ok(plans.filter_map(move |plan| {
        let delayed = plan.and_then(|plan| DelayedTask::of(plan, filter.reveal));
        let wanted = delayed.as_ref().map_or(true, |delayed| filter.has(delayed));
        std::future::ready(wanted.then_some(delayed))
    }))
}

/// Lets a task that is put off start at another time, for the record by
/// somebody; see [`Client::reschedule`].
///
/// # Errors
/// As [`Client::reschedule`].
pub async fn reschedule(
    client: &Client,
    id: impl Into<TaskId>,
    to: impl Into<Timestamp>,
    by: &str,
) -> Result<Rescheduled> {
    client.move_task(&id.into(), Some(to.into()), by).await
}

/// Lets a task that is put off start now, for the record by somebody; see
/// [`Client::run_now`].
///
/// # Errors
/// As [`Client::run_now`].
pub async fn run_now(client: &Client, id: impl Into<TaskId>, by: &str) -> Result<Rescheduled> {
    client.move_task(&id.into(), None, by).await
}
