//! Second thoughts: a task that should not go on.

use std::future::{Future, IntoFuture};
use std::pin::Pin;

use super::Client;
use crate::broker::{Cancelling, Record, Task, act_if_acting};
use crate::error::{Error, ErrorKind, Result};
use crate::message::{
    CancelRequest, Event, EventKind, Label, Outcome, State, TaskId, TaskMessage, Trail, labels,
};
use crate::time::Timestamp;

/// What became of a wish to cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cancellation {
    /// The task is cancelled: its outcome says so. One that no worker had
    /// will not run.
    Cancelled,
    /// A worker has the task, or had it when it died. It is told to stop,
    /// and the outcome says what came first. The wish is kept: should the
    /// worker be cut off, it counts when the task is delivered again.
    Requested,
    /// The task had ended, in this state.
    TooLate(State),
}

/// A wish to cancel a task, not sent yet: `.await` sends it.
#[must_use = "nothing is cancelled until this is awaited"]
#[derive(Debug)]
pub struct Cancel<'a> {
    client: &'a Client,
    id: TaskId,
    by: Option<String>,
    reason: Option<String>,
}

impl Cancel<'_> {
    /// Who wishes it, for the record: the name of the client's connection
    /// unless set.
    pub fn by(mut self, who: impl Into<String>) -> Self {
        self.by = Some(who.into());
        self
    }

    /// Why, for the record.
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }
}

impl<'a> IntoFuture for Cancel<'a> {
    type Output = Result<Cancellation>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let request = CancelRequest {
                id: self.id,
                by: self.by.unwrap_or_else(|| self.client.0.name.clone()),
                reason: self.reason,
                at: self.client.0.broker.now(),
            };
            self.client.send_wish(&request).await
        })
    }
}

impl Client {
    /// Asks that a task should not go on. One that no worker has is
    /// cancelled at once, also out of a delay or the wait for a retry. One
    /// that runs is told by [`Context::cancelled`](crate::Context::cancelled)
    /// and dropped after the worker's grace for cancelled tasks.
    ///
    /// A task is never both cancelled and succeeded: whichever is recorded
    /// first counts, and the outcome says who cancelled it.
    ///
    /// ```no_run
    /// # use taskq::prelude::*;
    /// # async fn f(client: Client) -> taskq::Result<()> {
    /// let what = client.cancel("order-42").by("ada").because("paid twice").await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no trace of the task,
    /// [`ErrorKind::Unavailable`] when NATS does not answer.
    pub fn cancel(&self, id: impl Into<TaskId>) -> Cancel<'_> {
        Cancel {
            client: self,
            id: id.into(),
            by: None,
            reason: None,
        }
    }

    async fn tell_wish(&self, request: &CancelRequest, task: &str, queue: &str) {
        let kind = EventKind::CancelRequested;
        let event = Event::of(kind, request.at, &request.id, task, queue);
        let mut event = event.with("by", request.by.as_str());
        if let Some(reason) = &request.reason {
            event = event.with("reason", reason.as_str());
        }
        act_if_acting(&*self.0.broker, event).await;
    }

    async fn send_wish(&self, request: &CancelRequest) -> Result<Cancellation> {
        let broker = &self.0.broker;
        let found = broker.wish(request).await?;
        let (task, idle) = match found {
            Cancelling::Unknown => {
                return Err(Error::new(
                    ErrorKind::NotFound,
                    format!(
                        "there is no trace of task {}: it was never sent here, or its record has \
                         expired",
                        request.id
                    ),
                ));
            }
            Cancelling::Ended(state) => return Ok(Cancellation::TooLate(state)),
            // A worker was quicker to act upon it than this was to look.
            Cancelling::Done => {
                if let Some(outcome) = broker.outcome(&request.id).await? {
                    self.tell_wish(request, &outcome.task, &outcome.queue).await;
                }
                return Ok(Cancellation::Cancelled);
            }
            Cancelling::Idle(task) => (task, true),
            Cancelling::Held(task) => (task, false),
        };
        let message = TaskMessage::decode(&task.body).ok();
        let name = message.as_ref().map_or("unknown", |message| &message.task);
        self.tell_wish(request, name, &task.queue).await;
        if !idle {
            return Ok(Cancellation::Requested);
        }
        // The outcome first: from then on nothing that a worker may still do
        // counts, and whoever waits knows.
        let most = broker.max_message();
        let record = cancelled(request, &task, message.as_ref(), broker.now(), most);
        let concluded = match broker.conclude(record).await {
            // A producer may ask, and not record: the worker that takes the
            // task will.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                return Ok(Cancellation::Requested);
            }
            concluded => concluded?,
        };
        if concluded {
            broker.withdraw(&task).await?;
            return Ok(Cancellation::Cancelled);
        }
        match broker.outcome(&request.id).await? {
            Some(outcome) => Ok(Cancellation::TooLate(outcome.state)),
            None => Ok(Cancellation::Requested),
        }
    }
}

/// The outcome of a task that no worker had, of at most so many bytes if it can
/// be.
pub(crate) fn cancelled(
    request: &CancelRequest,
    task: &Task,
    message: Option<&TaskMessage>,
    now: Timestamp,
    most: usize,
) -> Record {
    let label = |name| message.and_then(|message| message.labels.get(name));
    let number = |name| label(name).and_then(Label::as_i64);
    let text = |name| label(name).and_then(Label::as_str).map(str::to_owned);
    let attempt = number(labels::ATTEMPT).and_then(|next| u32::try_from(next - 1).ok());
    let mut outcome = Outcome {
        id: task.id.clone(),
        task: message
            .map_or("unknown", |message| &message.task)
            .to_owned(),
        queue: task.queue.clone(),
        state: State::Cancelled,
        is_err: true,
        return_value: None,
        error: Some(request.failure()),
        execution_time: 0.0,
        attempt: attempt.unwrap_or(0),
        worker: String::new(),
        enqueued_at: number(labels::ENQUEUED_AT).map_or(task.stored_at, Timestamp::from_millis),
        due_at: message.and_then(|message| message.labels.due()),
        started_at: None,
        finished_at: now,
        labels: message.map_or_else(Default::default, |message| message.labels.to_outcome()),
        log: None,
        attempts: message.map_or_else(Vec::new, |message| Trail::of(&message.labels).into_vec()),
        dead: None,
        cancelled_by: Some(request.by.clone()),
        payload: None,
        message: None,
        start_told: false,
        args: None,
        kwargs: None,
    };
    outcome.keep_message(&task.body);
    let mut body = outcome.encode();
    if body.len() > most {
        outcome.message = None;
        body = outcome.encode();
    }
    Record {
        id: task.id.clone(),
        body,
        ttl: label(labels::TTL)
            .and_then(Label::as_f64)
            .and_then(|seconds| std::time::Duration::try_from_secs_f64(seconds).ok())
            .filter(|ttl| !ttl.is_zero()),
        unlock: text(labels::UNIQUE),
        payload: None,
        spent: text(labels::PAYLOAD),
    }
}
