//! From a call to an accepted message.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use sha2::{Digest as _, Sha256};

use super::{Client, TaskHandle};
use crate::broker::{Lock, Publication, Published};
use crate::error::{Error, ErrorKind, Result};
use crate::message::{Arguments, TaskMessage, labels};
use crate::task::{Call, CallParts, Returns, Unique, UniqueLock, When};
use crate::time::Timestamp;

/// A call on its way; the handle when the broker has acknowledged it.
#[must_use = "nothing is sent until this is awaited"]
pub struct Enqueue<'a, Out>(BoxFuture<'a, Result<TaskHandle<Out>>>);

impl<Out> Future for Enqueue<'_, Out> {
    type Output = Result<TaskHandle<Out>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<Out> std::fmt::Debug for Enqueue<'_, Out> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Enqueue")
    }
}

impl<T: Returns> Call<T> {
    /// Sends the call. Ok when the broker has acknowledged it.
    ///
    /// A call that the broker already has (the same id, or a unique one)
    /// gives the handle of that; see
    /// [`TaskHandle::is_existing`].
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a name or an argument that cannot be sent,
    /// [`ErrorKind::TooLarge`] for a message above the broker's limit,
    /// [`ErrorKind::NoWorker`] in core mode when nobody listens,
    /// [`ErrorKind::QueueFull`] at the queue's cap,
    /// [`ErrorKind::Unavailable`] when the broker did not acknowledge: the
    /// call may or may not have been accepted, and sending it again with the
    /// same [`id`](Call::id) is safe.
    pub fn enqueue(self, client: &Client) -> Enqueue<'_, T::Output> {
        Enqueue(Box::pin(async move {
            let outgoing = client.prepare(*self.parts?)?;
            client.send(outgoing).await
        }))
    }
}

/// A call, ready to be sent.
struct Outgoing {
    publication: Publication,
    /// Kept for the hooks that are told how it went, if there are any.
    message: Option<Box<TaskMessage>>,
}

impl Client {
    /// All that needs no broker.
    fn prepare(&self, parts: CallParts) -> Result<Outgoing> {
        taskq_syntax::check_task_name(&parts.task)?;
        taskq_syntax::check_queue_name(&parts.queue)?;
        let named = parts.id.is_some();
        let id = parts.id.unwrap_or_else(|| self.0.ids.next());
        let lock = parts
            .unique
            .as_ref()
            .map(|unique| lock(&parts.task, unique, &parts.arguments));
        let due = match parts.when {
            When::Now => None,
            When::After(delay) if delay.is_zero() => None,
            When::After(delay) => Some(Timestamp::now().plus(delay)),
            When::At(time) => Some(time),
        };
        let mut message = TaskMessage {
            id: id.clone(),
            task: parts.task.into_owned(),
            labels: parts.labels,
            arguments: parts.arguments,
        };
        if due.is_some() {
            // The plan's own message is stored when it falls due.
            let now = Timestamp::now().as_millis();
            message.labels.set(labels::ENQUEUED_AT, now);
        }
        if let Some(Lock { key, window: None }) = &lock {
            message.labels.set(labels::UNIQUE, key.as_str());
        }
        for hook in &self.0.hooks {
            hook.before(&mut message)?;
        }
        let body = message.encode();
        let limit = self.0.broker.max_message();
        if body.len() > limit {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!(
                    "task {id} ({}) is {} bytes long and the broker takes {limit}; send a \
                     reference to the data instead, or raise the server's max_payload",
                    message.task,
                    body.len()
                ),
            ));
        }
        let publication = Publication {
            id,
            named,
            task: message.task.clone(),
            queue: parts.queue.into_owned(),
            priority: parts.priority,
            due,
            lock,
            body: Bytes::from(body),
        };
        let message = (!self.0.hooks.is_empty()).then(|| Box::new(message));
        Ok(Outgoing {
            publication,
            message,
        })
    }

    async fn send<Out>(&self, outgoing: Outgoing) -> Result<TaskHandle<Out>> {
        let id = outgoing.publication.id.clone();
        let expected = if self.0.results {
            Some(self.0.broker.expect(&id).await?)
        } else {
            None
        };
        let sent = match self.0.broker.publish(outgoing.publication).await {
            Ok(Published::Accepted) => Ok((id, expected, false)),
            Ok(Published::Existing(existing)) => Ok((existing, None, true)),
            Err(error) => Err(error),
        };
        if let Some(message) = outgoing.message {
            for hook in &self.0.hooks {
                hook.after(&message, sent.as_ref().map(|(id, ..)| id));
            }
        }
        let (id, expected, existing) = sent?;
        Ok(TaskHandle::new(self.clone(), id, expected, existing))
    }
}

/// The lock of a unique call: a digest of the task and of the key, or of the
/// arguments in an order that does not depend on how they were given.
fn lock(task: &str, unique: &UniqueLock, arguments: &Arguments) -> Lock {
    let mut digest = Sha256::new();
    let mut part = |text: &str| {
        digest.update((text.len() as u64).to_le_bytes());
        digest.update(text);
    };
    part(task);
    match &unique.key {
        Some(key) => {
            part("key");
            part(key);
        }
        None => {
            part("arguments");
            for value in arguments.positional() {
                part(value);
            }
            let mut named: Vec<(&str, &str)> = arguments.iter_named().collect();
            named.sort_unstable();
            for (name, value) in named {
                part(name);
                part(value);
            }
        }
    }
    let key = digest.finalize()[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let window = match unique.scope {
        Unique::UntilDone => None,
        Unique::For(window) => Some(window),
    };
    Lock { key, window }
}
