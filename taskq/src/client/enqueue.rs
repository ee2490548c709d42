//! From a call to an accepted message.

use std::borrow::Cow;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use sha2::{Digest as _, Sha256};

use super::{Client, TaskHandle};
use crate::broker::{Lock, Publication, Published};
use crate::error::{Error, ErrorKind, Result};
use crate::message::{
    Arguments, Event, EventKind, TaskId, TaskMessage, Traceparent, key_of, labels,
};
use crate::task::{Call, CallParts, KeyBy, OnConflict, Returns, Unique, UniqueLock, When};
use crate::telemetry::{Place, Sending};

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
    /// [`ErrorKind::TooLarge`] for a call above
    /// [`ClientBuilder::largest_call`](crate::ClientBuilder::largest_call),
    /// or above the broker's limit where there is no store for it,
    /// [`ErrorKind::Duplicate`] for a call that another keeps from being a
    /// task, if it is to be refused then,
    /// [`ErrorKind::NoWorker`] in core mode when nobody listens,
    /// [`ErrorKind::QueueFull`] at the queue's cap,
    /// [`ErrorKind::Unavailable`] when the broker did not acknowledge: the
    /// call may or may not have been accepted, and sending it again with the
    /// same [`id`](Call::id) is safe.
    pub fn enqueue(self, client: &Client) -> Enqueue<'_, T::Output> {
        Enqueue(Box::pin(async move {
            let parts = self.parts?;
            if parts.gather.is_some() {
                Box::pin(client.0.broker.compare_clocks()).await;
                return Box::pin(client.gather(*parts)).await;
            }
            if parts.when != When::Now || parts.deadline.is_some() || parts.key != KeyBy::None {
                // These times are by the broker's clock.
                Box::pin(client.0.broker.compare_clocks()).await;
            }
            let outgoing = client.prepare(*parts)?;
            client.send(outgoing).await
        }))
    }
}

/// A call, ready to be sent.
struct Outgoing {
    publication: Publication,
    /// The whole message, where it is too large for the broker.
    payload: Option<Bytes>,
    conflict: OnConflict,
    /// Where it is counted.
    place: Place,
    /// What is told of it to who traces.
    span: Option<Sending>,
    /// The trace that it is a part of, if it is told as an event.
    trace_id: Option<String>,
    /// Kept for the hooks that are told how it went, if there are any.
    message: Option<Box<TaskMessage>>,
}

impl Client {
    /// Where calls of a task are counted.
    #[expect(
        clippy::ptr_arg,
        reason = "whose the name is tells whether it is known"
    )]
    pub(super) fn place_of(&self, task: &Cow<'static, str>) -> Place {
        match task {
            // A type of this program.
            Cow::Borrowed(task) => self.0.sent.know(task),
            // Whatever a sender calls it.
            Cow::Owned(task) => self.0.sent.place(task),
        }
    }

    /// All that needs no broker.
    fn prepare(&self, parts: CallParts) -> Result<Outgoing> {
        taskq_syntax::check_task_name(&parts.task)?;
        taskq_syntax::check_queue_name(&parts.queue)?;
        let place = self.place_of(&parts.task);
        let named = parts.id.is_some();
        let id = parts.id.unwrap_or_else(|| self.0.ids.next());
        let replace = parts.conflict == OnConflict::Replace;
        let lock = parts
            .unique
            .as_ref()
            .map(|unique| lock(&parts.task, unique, &parts.arguments, replace));
        let now = || self.0.broker.now();
        let due = match parts.when {
            When::Now => None,
            When::After(delay) if delay.is_zero() => None,
            When::After(delay) => Some(now().plus(delay)),
            When::At(time) => Some(time),
        };
        let mut message = TaskMessage {
            id: id.clone(),
            task: parts.task.into_owned(),
            labels: parts.labels,
            arguments: parts.arguments,
        };
        if let Some(key) = parts.key.key(&message.task, &message.arguments, &[]) {
            message.labels.set(labels::KEY, key);
        }
        let has_key = message.labels.get(labels::KEY).is_some();
        if due.is_some() || has_key {
            // What falls due, or has its turn, is stored once more then.
            message.labels.set(labels::ENQUEUED_AT, now().as_millis());
        }
        if let Some(due) = due {
            message.labels.set(labels::DUE, due.as_millis());
        }
        if let Some(deadline) = parts.deadline {
            let from = due.unwrap_or_else(now);
            message
                .labels
                .set(labels::DEADLINE, from.plus(deadline).as_millis());
        }
        if let Some(lock) = &lock
            && lock.window.is_none()
        {
            message.labels.set(labels::UNIQUE, lock.key.as_str());
        }
        if let Some(UniqueLock { key: Some(key), .. }) = &parts.unique
            && message.labels.get(labels::SENSITIVE).is_none()
        {
            message.labels.set(labels::UNIQUE_KEY, key.as_str());
        }
        let span = Sending::start(&message.task, &parts.queue, &id, &mut message.labels);
        for hook in &self.0.hooks {
            hook.before(&mut message)?;
        }
        let trace = Traceparent::of(&message.labels).filter(|_| self.0.tell_enqueued);
        let trace_id = trace.map(|trace| trace.trace_id.to_owned());
        let mut body = Bytes::from(message.encode());
        let mut payload = None;
        if body.len() > self.0.broker.max_message() {
            let limit = self.0.largest_call;
            if body.len() > limit {
                return Err(Error::new(
                    ErrorKind::TooLarge,
                    format!(
                        "task {id} ({}) is {} bytes long and this client sends {limit} at most; \
                         send a reference to the data instead, or raise \
                         ClientBuilder::largest_call",
                        message.task,
                        body.len()
                    ),
                ));
            }
            let mut ticket = TaskMessage {
                arguments: Arguments::default(),
                ..message.clone()
            };
            ticket.labels.set(labels::PAYLOAD, payload_name(&id));
            payload = Some(std::mem::replace(&mut body, ticket.encode().into()));
        }
        let publication = Publication {
            id,
            named,
            task: message.task.clone(),
            queue: parts.queue.into_owned(),
            priority: parts.priority,
            due,
            lock,
            key: key_of(&message.labels).map(str::to_owned),
            body,
        };
        let message = (!self.0.hooks.is_empty()).then(|| Box::new(message));
        Ok(Outgoing {
            publication,
            payload,
            conflict: parts.conflict,
            place,
            span,
            trace_id,
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
        if let Some(payload) = outgoing.payload {
            Box::pin(self.0.broker.put_payload(&payload_name(&id), payload)).await?;
        }
        let told = self.0.tell_enqueued.then(|| {
            let sent = &outgoing.publication;
            Event::of(
                EventKind::Enqueued,
                self.0.broker.now(),
                &id,
                &sent.task,
                &sent.queue,
            )
            .whole_of(&sent.body)
            .traced(outgoing.trace_id.as_deref())
        });
        let size = outgoing.publication.body.len();
        let sent = match self.0.broker.publish(outgoing.publication).await {
            Ok(Published::Accepted) => {
                self.0.sent.count(outgoing.place);
                Ok((id, expected, false))
            }
            Ok(Published::Replaced(other)) => {
                self.0.sent.count(outgoing.place);
                Box::pin(self.dismiss(other, &id)).await;
                Ok((id, expected, false))
            }
            Ok(Published::Existing(existing)) if outgoing.conflict == OnConflict::Reject => {
                Err(Error::new(
                    ErrorKind::Duplicate,
                    format!(
                        "task {id} was refused: task {existing} of the same id or uniqueness key \
                         is there already"
                    ),
                ))
            }
            Ok(Published::Existing(existing)) => Ok((existing, None, true)),
            Err(error) => Err(error),
        };
        if let Some(span) = outgoing.span {
            span.end(size, sent.as_ref().map(|(id, ..)| id));
        }
        if let (Some(event), Ok((_, _, false))) = (told, &sent) {
            self.0.broker.tell(event);
        }
        if let Some(message) = outgoing.message {
            for hook in &self.0.hooks {
                hook.after(&message, sent.as_ref().map(|(id, ..)| id));
            }
        }
        let (id, expected, existing) = sent?;
        Ok(TaskHandle::new(self.clone(), id, expected, existing))
    }
}

/// The most calls that are sent all or none: the server's own limit.
const LARGEST_BATCH: usize = 1000;

impl Client {
    pub(super) async fn send_atomic<T: Returns>(
        &self,
        calls: impl IntoIterator<Item = Call<T>>,
    ) -> Result<Vec<TaskHandle<T::Output>>> {
        let outgoing: Vec<Outgoing> = calls
            .into_iter()
            .map(|call| {
                let parts = call.parts?;
                match parts.gather {
                    None => self.prepare(*parts),
                    Some(_) => Err(Error::invalid(format!(
                        "task {} is debounced or sent in a batch, so it cannot be sent at once \
                         with others; use enqueue_many",
                        parts.task
                    ))),
                }
            })
            .collect::<Result<_>>()?;
        if outgoing.len() > LARGEST_BATCH {
            return Err(Error::invalid(format!(
                "{} calls are too many to send at once; send {LARGEST_BATCH} at most, or use \
                 enqueue_many",
                outgoing.len()
            )));
        }
        let mut batch = Vec::with_capacity(outgoing.len());
        let mut expected = Vec::with_capacity(outgoing.len());
        let mut told = Vec::new();
        let mut places = Vec::with_capacity(outgoing.len());
        let mut spans = Vec::new();
        for Outgoing {
            publication,
            payload,
            place,
            span,
            message,
            ..
        } in outgoing
        {
            let odd = if publication.due.is_some() {
                Some("is put off")
            } else if publication.lock.is_some() {
                Some("is unique")
            } else if payload.is_some() {
                Some("is larger than a message")
            } else if batch
                .first()
                .is_some_and(|first: &Publication| first.key.is_some() != publication.key.is_some())
            {
                Some("waits for the turn of a key, or others of them do")
            } else if batch
                .first()
                .is_some_and(|first: &Publication| first.queue != publication.queue)
            {
                Some("is of another queue")
            } else {
                None
            };
            if let Some(odd) = odd {
                return Err(Error::invalid(format!(
                    "task {} ({}) {odd}, so it cannot be sent at once with others; use \
                     enqueue_many",
                    publication.id, publication.task
                )));
            }
            expected.push(match self.0.results {
                true => Some(self.0.broker.expect(&publication.id).await?),
                false => None,
            });
            told.extend(message);
            places.push(place);
            spans.extend(span);
            batch.push(publication);
        }
        let sent = self.0.broker.publish_all(&batch).await;
        for (span, one) in spans.into_iter().zip(&batch) {
            span.end(one.body.len(), sent.as_ref().map(|_| &one.id));
        }
        for message in &told {
            for hook in &self.0.hooks {
                hook.after(message, sent.as_ref().map(|_| &message.id));
            }
        }
        let existing = sent?;
        if !existing {
            places
                .into_iter()
                .for_each(|place| self.0.sent.count(place));
        }
        let handles = batch.into_iter().zip(expected).map(|(sent, expected)| {
            let expected = expected.filter(|_| !existing);
            TaskHandle::new(self.clone(), sent.id, expected, existing)
        });
        Ok(handles.collect())
    }

    /// Cancels the task whose place another has taken. The other is accepted
    /// whatever becomes of this.
    async fn dismiss(&self, other: TaskId, id: &TaskId) {
        let asked = self
            .cancel(other.clone())
            .because(format!("replaced by {id}"));
        if let Err(error) = asked.await {
            tracing::warn!(task_id = %other, "replaced, but not cancelled: {error}");
        }
    }
}

/// What the arguments of a call are stored under, where they are too large.
fn payload_name(id: &TaskId) -> String {
    format!("call.{id}")
}

/// The lock of a unique call: a digest of the task and of the key, or of the
/// arguments in an order that does not depend on how they were given.
fn lock(task: &str, unique: &UniqueLock, arguments: &Arguments, replace: bool) -> Lock {
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
    Lock {
        key,
        window,
        replace,
    }
}
