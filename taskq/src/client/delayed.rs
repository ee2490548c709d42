//! Other times for what is put off.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Client, TaskHandle};
use crate::broker::{PlanName, Publication, Replan, SOON, Status, act_if_acting};
use crate::error::{Error, ErrorKind, Result};
use crate::message::{Event, EventKind, Label, TaskId, TaskMessage, key_of, labels};
use crate::time::Timestamp;

/// How long a change is tried against others who change the same, and a task
/// looked for that is on its way to its queue.
const PATIENCE: Duration = Duration::from_secs(2);

/// How soon it is looked for again.
const BETWEEN: Duration = Duration::from_millis(5);

/// What became of the wish that a task should start at another time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rescheduled {
    /// It starts then, and at no other time.
    Moved,
    /// It was not put off any more: it is in its queue, runs or has ended.
    /// [`Status::Scheduled`] if it was due within half a second.
    TooLate(Status),
}

impl Client {
    /// Lets a task that is put off, by its sender or for a retry, start at
    /// another time: a [`Timestamp`] or a
    /// [`SystemTime`](std::time::SystemTime), of the server's clock. One step
    /// for the server: the task starts once, whoever else moves it, cancels
    /// it, or whatever falls due meanwhile.
    ///
    /// A deadline that counts from the due time moves with it; that of a task
    /// which waits for a retry does not.
    ///
    /// ```no_run
    /// # use taskq::prelude::*;
    /// # use taskq::{Rescheduled, Timestamp};
    /// # async fn f(client: Client) -> taskq::Result<()> {
    /// let tomorrow = Timestamp::now().plus(1.day());
    /// match client.reschedule("order-42", tomorrow).await? {
    ///     Rescheduled::Moved => println!("tomorrow, then"),
    ///     other => println!("{other:?}"),
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no trace of the task,
    /// [`ErrorKind::Invalid`] for a retry after the task's deadline,
    /// [`ErrorKind::Unavailable`] when NATS does not answer.
    pub async fn reschedule(
        &self,
        id: impl Into<TaskId>,
        to: impl Into<Timestamp>,
    ) -> Result<Rescheduled> {
        self.move_task(&id.into(), Some(to.into()), &self.0.name)
            .await
    }

    /// Lets a task that is put off, by its sender or for a retry, start now.
    /// As [`reschedule`](Self::reschedule): it starts once, and a second wish
    /// is too late.
    ///
    /// # Errors
    /// As [`reschedule`](Self::reschedule).
    pub async fn run_now(&self, id: impl Into<TaskId>) -> Result<Rescheduled> {
        self.move_task(&id.into(), None, &self.0.name).await
    }

    /// Moves a task, to now if there is no other time.
    pub(crate) async fn move_task(
        &self,
        id: &TaskId,
        to: Option<Timestamp>,
        by: &str,
    ) -> Result<Rescheduled> {
        let broker = &self.0.broker;
        broker.compare_clocks().await;
        let started = Instant::now();
        loop {
            let Some(plan) = broker.plan(PlanName::Task(id)).await? else {
                let status = broker.status(id).await?;
                let is_on_its_way = match status {
                    Status::Unknown => broker.is_falling_due(id).await?,
                    // On its way too, or with a worker that waits for its
                    // time.
                    Status::Scheduled => true,
                    _ => false,
                };
                if is_on_its_way && started.elapsed() < PATIENCE {
                    tokio::time::sleep(BETWEEN).await;
                    continue;
                }
                if status == Status::Unknown {
                    return Err(self.no_trace(id));
                }
                return Ok(Rescheduled::TooLate(status));
            };
            let now = broker.now();
            let to = to.unwrap_or(now);
            let message = moved(TaskMessage::decode(&plan.body)?, plan.due, to)?;
            let has_key = key_of(&message.labels).is_some();
            let event = Event::of(EventKind::Rescheduled, now, id, &plan.task, &plan.queue)
                .with("by", by)
                .with("due", to.to_string())
                .with("before", plan.due.to_string());
            let replan = Replan {
                publication: Publication {
                    id: plan.id,
                    named: false,
                    task: plan.task,
                    queue: plan.queue,
                    priority: plan.priority,
                    due: Some(to),
                    lock: None,
                    key: key_of(&message.labels).map(str::to_owned),
                    body: Bytes::from(message.encode()),
                },
                burst: plan.burst,
                revision: plan.revision,
                // With a key it would have its turn before its time.
                release: to <= now || (!has_key && to.since(now) < SOON),
            };
            if broker.replan(replan).await? {
                act_if_acting(&**broker, event).await;
                return Ok(Rescheduled::Moved);
            }
            if started.elapsed() >= PATIENCE {
                return Err(Error::new(
                    ErrorKind::Unavailable,
                    format!(
                        "the due time of task {id} is changed by others all the time; try again"
                    ),
                ));
            }
        }
    }

    fn no_trace(&self, id: &TaskId) -> Error {
        if self.mode() == crate::broker::Mode::Core {
            return Error::new(
                ErrorKind::Unsupported,
                format!(
                    "task {id} cannot be put off in core mode, which keeps nothing; use jetstream \
                     mode (TASKQ_MODE=jetstream)"
                ),
            );
        }
        Error::new(
            ErrorKind::NotFound,
            format!(
                "there is no trace of task {id}: it was never sent here, or its record has expired"
            ),
        )
    }
}

impl<T> TaskHandle<T> {
    /// Lets the task start at another time; see [`Client::reschedule`].
    ///
    /// # Errors
    /// As [`Client::reschedule`].
    pub async fn reschedule(&self, to: impl Into<Timestamp>) -> Result<Rescheduled> {
        self.client().reschedule(self.id().clone(), to).await
    }

    /// Lets the task start now; see [`Client::run_now`].
    ///
    /// # Errors
    /// As [`Client::run_now`].
    pub async fn run_now(&self) -> Result<Rescheduled> {
        self.client().run_now(self.id().clone()).await
    }
}

/// A message that was to start at `from`, as it is when it starts at `to`.
fn moved(mut message: TaskMessage, from: Timestamp, to: Timestamp) -> Result<TaskMessage> {
    let number = |name| message.labels.get(name).and_then(Label::as_i64);
    let is_retry = number(labels::ATTEMPT).is_some_and(|next| next > 1);
    match number(labels::DEADLINE) {
        Some(deadline) if is_retry && deadline <= to.as_millis() => {
            return Err(Error::invalid(format!(
                "task {} must have ended by {}, so its retry cannot be put off to {to}; choose an \
                 earlier time, or cancel it",
                message.id,
                Timestamp::from_millis(deadline)
            )));
        }
        // It counts from the due time.
        Some(deadline) if !is_retry => {
            let later = to.as_millis().saturating_sub(from.as_millis());
            let deadline = deadline.saturating_add(later);
            message.labels.set(labels::DEADLINE, deadline);
        }
        _ => {}
    }
    message.labels.set(labels::DUE, to.as_millis());
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Arguments, Labels};

    fn message(pairs: &[(&str, i64)]) -> TaskMessage {
        let mut labels = Labels::default();
        for (name, value) in pairs {
            labels.set(*name, *value);
        }
        TaskMessage {
            id: "1".into(),
            task: "t".to_owned(),
            labels,
            arguments: Arguments::default(),
        }
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn a_deadline_that_counts_from_the_due_time_moves_with_it() {
        let put_off = message(&[(labels::DUE, 100), (labels::DEADLINE, 150)]);
        for (to, deadline) in [(300, 350), (20, 70)] {
            let moved = moved(put_off.clone(), at(100), at(to)).unwrap();
            let label = |name| moved.labels.get(name).and_then(Label::as_i64);
            assert_eq!(label(labels::DUE), Some(to));
            assert_eq!(label(labels::DEADLINE), Some(deadline));
        }
    }

    #[test]
    fn a_retry_cannot_be_put_off_past_the_deadline() {
        let retry = message(&[(labels::ATTEMPT, 2), (labels::DEADLINE, 150)]);
        let moved_to = |to| moved(retry.clone(), at(100), at(to));
        assert_eq!(moved_to(150).unwrap_err().kind(), ErrorKind::Invalid);
        let moved = moved_to(149).unwrap();
        let deadline = moved.labels.get(labels::DEADLINE).and_then(Label::as_i64);
        assert_eq!(deadline, Some(150));
    }
}
