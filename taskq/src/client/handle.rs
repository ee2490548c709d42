//! The sender's end of a sent call.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::de::DeserializeOwned;

use futures::Stream;

use super::{Cancel, Client, Progress, progress};
use crate::broker::{Expected, Standing, Status};
use crate::error::{Error, ErrorKind, Result};
use crate::message::{Outcome, TaskId, TaskMessage};

/// How often it is looked where a task is that is between two places.
const FALLING_LOOKS: usize = 8;

/// A sent call: its id, where it is, and what it returns.
pub struct TaskHandle<T> {
    id: TaskId,
    client: Client,
    expected: Option<Expected>,
    existing: bool,
    _returns: PhantomData<fn() -> T>,
}

impl<T> TaskHandle<T> {
    pub(super) fn new(
        client: Client,
        id: TaskId,
        expected: Option<Expected>,
        existing: bool,
    ) -> Self {
        Self {
            id,
            client,
            expected,
            existing,
            _returns: PhantomData,
        }
    }

    pub(super) fn of(client: Client, id: TaskId) -> Self {
        Self::new(client, id, None, true)
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// The task's id.
    #[must_use]
    pub fn id(&self) -> &TaskId {
        &self.id
    }

    /// Whether the task was there before this call: sent by somebody else,
    /// or a unique one.
    #[must_use]
    pub fn is_existing(&self) -> bool {
        self.existing
    }

    /// Waits for the task to end, at most the client's result time-out, and
    /// gives what it returned.
    ///
    /// # Errors
    /// [`ErrorKind::TaskFailed`], [`ErrorKind::Cancelled`] or
    /// [`ErrorKind::Expired`] when the task did not succeed,
    /// [`ErrorKind::Timeout`] when it has not ended in time (it goes on),
    /// [`ErrorKind::Undecodable`] when it returned something other than a `T`.
    pub async fn result(&self) -> Result<T>
    where
        T: DeserializeOwned,
    {
        self.result_timeout(self.client.0.result_timeout).await
    }

    /// [`result`](Self::result), waiting at most this long.
    ///
    /// # Errors
    /// As [`result`](Self::result).
    pub async fn result_timeout(&self, timeout: Duration) -> Result<T>
    where
        T: DeserializeOwned,
    {
        self.within(timeout, async |expected: &Expected| {
            let record = expected.record().await?;
            match Outcome::value_of(record) {
                Some(value) => value,
                // Not a success, or not as usual: the whole record tells.
                None => Box::pin(self.whole(record)).await?.value(),
            }
        })
        .await
    }

    /// Waits for the task to end, at most the client's result time-out, and
    /// gives the whole record.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`] when it has not ended in time (it goes on).
    pub async fn outcome(&self) -> Result<Outcome> {
        self.outcome_timeout(self.client.0.result_timeout).await
    }

    /// [`outcome`](Self::outcome), waiting at most this long.
    ///
    /// # Errors
    /// As [`outcome`](Self::outcome).
    pub async fn outcome_timeout(&self, timeout: Duration) -> Result<Outcome> {
        self.within(timeout, async |expected: &Expected| {
            Box::pin(self.whole(expected.record().await?)).await
        })
        .await
    }

    /// An outcome with its value, though that is stored elsewhere.
    async fn whole(&self, record: &[u8]) -> Result<Outcome> {
        let mut outcome = Outcome::decode(record)?;
        let Some(name) = &outcome.payload else {
            return Ok(outcome);
        };
        let stored = self.client.0.broker.payload(name).await?;
        let value = stored
            .and_then(|value| String::from_utf8(value.into()).ok())
            .and_then(|text| serde_json::value::RawValue::from_string(text).ok());
        if value.is_none() {
            return Err(Error::new(
                ErrorKind::Undecodable,
                format!(
                    "task {} ({}) returned a large value, and it is no longer stored",
                    self.id, outcome.task
                ),
            ));
        }
        outcome.return_value = value;
        Ok(outcome)
    }

    /// Asks that the task should not go on; see [`Client::cancel`].
    pub fn cancel(&self) -> Cancel<'_> {
        self.client.cancel(self.id.clone())
    }

    /// How far the task is, as it tells it by
    /// [`Context::progress`](crate::Context::progress): first what it told
    /// last, then what it tells. The stream ends with the task.
    ///
    /// ```no_run
    /// # use taskq::prelude::*;
    /// use futures::{StreamExt as _, TryStreamExt as _};
    /// # async fn f(handle: TaskHandle<u64>) -> taskq::Result<()> {
    /// let mut progress = handle.progress().await?.boxed();
    /// while let Some(step) = progress.try_next().await? {
    ///     println!("{} of {}", step.done, step.total);
    /// }
    /// let value = handle.result().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when NATS does not answer.
    pub async fn progress(&self) -> Result<impl Stream<Item = Result<Progress>> + Send + use<T>> {
        progress::follow(&self.client, &self.id).await
    }

    async fn within<V>(
        &self,
        timeout: Duration,
        wait: impl AsyncFnOnce(&Expected) -> Result<V>,
    ) -> Result<V> {
        let waiting = async {
            match &self.expected {
                Some(expected) => wait(expected).await,
                None => wait(&Box::pin(self.client.0.broker.attach(&self.id)).await?).await,
            }
        };
        tokio::time::timeout(timeout, waiting)
            .await
            .unwrap_or_else(|_| {
                Err(Error::new(
                    ErrorKind::Timeout,
                    format!(
                        "task {} has not ended within {}; it goes on, and \
                         `client.handle(id)` waits for it again",
                        self.id,
                        taskq_syntax::format_duration(timeout)
                    ),
                ))
            })
    }

    /// Where the task is now.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when NATS does not answer.
    pub async fn status(&self) -> Result<Status> {
        self.client.0.broker.status(&self.id).await
    }

    /// The labels of the task, wherever it is: put off, in its queue, with a
    /// worker, or ended. None when there is no trace of it.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when NATS does not answer.
    pub async fn labels(&self) -> Result<Option<serde_json::Map<String, serde_json::Value>>> {
        // It moves on while it is looked for.
        for _ in 0..FALLING_LOOKS {
            let task = match self.client.0.broker.standing(&self.id).await? {
                Standing::Unknown => return Ok(None),
                Standing::Ended(outcome) => return Ok(Some(outcome.labels)),
                Standing::Falling => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    continue;
                }
                Standing::Planned { task, .. }
                | Standing::Waiting { task, .. }
                | Standing::Held { task, .. }
                | Standing::Given { task, .. } => task,
            };
            let message = TaskMessage::decode(&task.body)?;
            return Ok(Some(message.labels.to_outcome()));
        }
        Ok(None)
    }
}

impl<T> fmt::Debug for TaskHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskHandle")
            .field("id", &self.id)
            .field("existing", &self.existing)
            .finish_non_exhaustive()
    }
}
