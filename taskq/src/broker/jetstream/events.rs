//! Telling what happens, and reading what was told.
//!
//! How tasks end is not told twice: the outcomes are read as events. So is
//! the start of an attempt that was over before its start was told. What is
//! left to tell is seldom: hardly any message of the hot path.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use super::JetStream;
use crate::broker::names::{Namespace, api};
use crate::broker::{EventQuery, EventScope, Recorded};
use crate::error::{BoxError, Error, ErrorKind, Result};
use crate::message::{Event, EventKind, Outcome};
use crate::time::Timestamp;

/// How many events may wait for the connection before the latest are
/// dropped.
const MOST_WAITING: usize = 8192;

/// How many messages are read at once.
pub(super) const BATCH: usize = 256;
/// How long the server may take for the next one.
const SILENCE: Duration = Duration::from_secs(5);

/// How often a stream that gives nothing is looked at all the same.
const LOOK: Duration = Duration::from_secs(1);

/// Writes events to the connection, behind whoever tells them.
pub(in crate::broker) struct Teller(mpsc::Sender<Order>);

/// What a teller is to do.
enum Order {
    /// To write an event.
    Tell(String, Vec<u8>),
    /// To say that all before this is written.
    Mark(oneshot::Sender<()>),
}

impl Teller {
    pub(in crate::broker) fn new(client: async_nats::Client) -> Self {
        let (orders, mut waiting) = mpsc::channel(MOST_WAITING);
        tokio::spawn(async move {
            while let Some(order) = waiting.recv().await {
                match order {
                    Order::Tell(subject, body) => {
                        if client.publish(subject, body.into()).await.is_err() {
                            return;
                        }
                    }
                    // Who asked may be gone.
                    Order::Mark(told) => drop(told.send(())),
                }
            }
        });
        Self(orders)
    }

    /// Waits until what was told so far is with the connection: what is sent from then on
    /// comes behind it.
    pub(in crate::broker) async fn told(&self) {
        let (tell, told) = oneshot::channel();
        if self.0.send(Order::Mark(tell)).await.is_ok() {
            let _ = told.await;
        }
    }

    pub(in crate::broker) fn tell(&self, names: &Namespace, event: &Event) {
        if self
            .0
            .try_send(Order::Tell(names.event(event), event.encode()))
            .is_err()
        {
            tracing::debug!(kind = %event.kind, "an event is not told: too many wait already");
        }
    }
}

impl JetStream {
    pub(super) async fn read_events(
        &self,
        query: EventQuery,
    ) -> Result<BoxStream<'static, Result<Event>>> {
        self.layout.ensure_shared().await?;
        let names = &self.layout.names;
        let scope = Arc::new(query.scope.clone());
        let told = self
            .read(names.events_stream(), names.events_in(&scope), &query)
            .await?;
        let told_scope = Arc::clone(&scope);
        let told = told
            .filter_map(move |message| {
                let event = match message {
                    Ok(body) => Event::decode(&body).map(Ok),
                    Err(error) => Some(Err(error)),
                };
                let wanted = event.filter(|event| match event {
                    Ok(event) => told_scope.has(event),
                    Err(_) => true,
                });
                std::future::ready(wanted)
            })
            .boxed();
        if !scope.includes_ends() {
            return Ok(told);
        }
        let ends = match &scope.id {
            Some(id) => names.done(id),
            None => names.done_all(),
        };
        let ends = self
            .read(names.done_stream(), ends, &query)
            .await?
            .flat_map(move |message| {
                let events = match message {
                    Ok(body) => match Outcome::decode(&body) {
                        Ok(outcome) => Event::of_outcome(&outcome),
                        Err(_) => Vec::new(),
                    },
                    Err(error) => return stream::iter(vec![Err(error)]),
                };
                let scope = Arc::clone(&scope);
                let wanted = events.into_iter().filter(move |event| scope.has(event));
                stream::iter(wanted.map(Ok).collect::<Vec<_>>())
            })
            .boxed();
        Ok(if query.follow {
            stream::select(told, ends).boxed()
        } else {
            merge(told, ends).boxed()
        })
    }

    /// The bodies of a stream's messages.
    async fn read(
        &self,
        stream: String,
        subject: String,
        query: &EventQuery,
    ) -> Result<BoxStream<'static, Result<Bytes>>> {
        if query.follow {
            return self.read_on(stream, subject, query.since).await;
        }
        let since = query.since.unwrap_or_else(|| self.clock.now());
        let past = self.read_past(stream, subject, since)?;
        Ok(past.map(|message| message.map(|(_, body)| body)).boxed())
    }

    /// What is in a stream since a moment, and what will be.
    async fn read_on(
        &self,
        stream: String,
        subject: String,
        since: Option<Timestamp>,
    ) -> Result<BoxStream<'static, Result<Bytes>>> {
        let policy = match since {
            Some(since) => {
                let start = async_nats::datetime::parse_rfc3339(&since.to_string());
                let start_time = start.map_err(|error| unreadable(&stream, error))?;
                DeliverPolicy::ByStartTime { start_time }
            }
            None => DeliverPolicy::New,
        };
        let (_, found) = self.read_from(stream, subject, policy).await?;
        Ok(found.map_ok(|found| found.body).boxed())
    }

    /// What is in a stream from a place on, and what will be, in order; how
    /// much there is now, too.
    pub(super) async fn read_from(
        &self,
        stream: String,
        subject: String,
        deliver_policy: DeliverPolicy,
    ) -> Result<(u64, BoxStream<'static, Result<Recorded>>)> {
        let failed = {
            let stream = stream.clone();
            move |error: BoxError| unreadable(&stream, error)
        };
        let from = match deliver_policy {
            DeliverPolicy::ByStartSequence { start_sequence } => start_sequence,
            _ => 0,
        };
        let config = pull::OrderedConfig {
            filter_subject: subject,
            deliver_policy,
            ..Default::default()
        };
        let create = self.layout.js.create_consumer_on_stream(config, &stream);
        let [nameless, named] = api::consumers_create(&stream);
        let consumer = self
            .denials
            .or_denied(&[&nameless, &named], create)
            .await
            .map_err(|denial| denial.into_error(&format!("reading stream {stream}")))?
            .map_err(|error| failed(error.into()))?;
        // An ordered consumer that async-nats makes anew before it gave a
        // message begins at the start of the stream, whatever it was asked.
        let start = match from {
            0 => consumer.cached_info().delivered.stream_sequence + 1,
            from => from,
        };
        let pending = consumer.cached_info().num_pending;
        let messages = consumer
            .messages()
            .await
            .map_err(|error| failed(error.into()))?;
        let lasting = stream::unfold(messages, |mut messages| async {
            loop {
                // Polled now and then without being woken: after the first
                // missed heartbeat async-nats' stream forgets to ask for it,
                // and would neither go on nor end.
                let next = tokio::time::timeout(LOOK, messages.next()).await;
                if let Ok(next) = next {
                    return next.map(|message| (message, messages));
                }
            }
        });
        let found = lasting.filter_map(move |message| {
            std::future::ready(match message {
                Ok(message) => {
                    let place = message.info();
                    let place = place.map(|info| {
                        let stored_at = info.published.unix_timestamp_nanos() / 1_000_000;
                        let stored_at = i64::try_from(stored_at).unwrap_or(0);
                        (info.stream_sequence, stored_at, info.pending)
                    });
                    let (sequence, stored_at, left) = place.unwrap_or_default();
                    let body = message.message.payload;
                    let recorded = Recorded {
                        sequence,
                        body,
                        stored_at: Timestamp::from_millis(stored_at),
                        left,
                    };
                    (sequence >= start).then_some(Ok(recorded))
                }
                Err(error) => Some(Err(failed(error.into()))),
            })
        });
        Ok((pending, found.boxed()))
    }

    /// What is in a stream since a moment: each message's place and body, in
    /// order. Read in batches and without a consumer, so nothing is left
    /// behind on the server.
    pub(super) fn read_past(
        &self,
        stream: String,
        subject: String,
        since: Timestamp,
    ) -> Result<BoxStream<'static, Result<(u64, Bytes)>>> {
        let found = self.read_past_subjects(stream, subject, since)?;
        Ok(found.map_ok(|found| (found.sequence, found.body)).boxed())
    }

    /// The same, with the subjects.
    pub(super) fn read_past_subjects(
        &self,
        stream: String,
        subject: String,
        since: Timestamp,
    ) -> Result<BoxStream<'static, Result<Found>>> {
        match since.as_millis() {
            ..=0 => self.read_subjects_behind(stream, subject, 0),
            _ => self.read_subjects(stream, subject, json!({ "start_time": since.to_string() })),
        }
    }

    /// As [`read_past_subjects`](Self::read_past_subjects), behind a sequence.
    pub(super) fn read_subjects_behind(
        &self,
        stream: String,
        subject: String,
        after: u64,
    ) -> Result<BoxStream<'static, Result<Found>>> {
        let from = json!({ "seq": after.saturating_add(1) });
        self.read_subjects(stream, subject, from)
    }

    fn read_subjects(
        &self,
        stream: String,
        subject: String,
        from: serde_json::Value,
    ) -> Result<BoxStream<'static, Result<Found>>> {
        let broker = self.me()?;
        let batches = stream::try_unfold(Some(from), move |from| {
            let (broker, stream, subject) = (Arc::clone(&broker), stream.clone(), subject.clone());
            async move {
                let Some(mut query) = from else {
                    return Ok::<_, Error>(None);
                };
                query["batch"] = BATCH.into();
                query["next_by_subj"] = subject.into();
                let batch = broker.read_batch(&stream, &query).await?;
                let next = batch.next.map(|sequence| json!({ "seq": sequence }));
                Ok(Some((stream::iter(batch.messages).map(Ok), next)))
            }
        });
        Ok(batches.try_flatten().boxed())
    }

    /// How many messages there are from the first that a query finds on.
    pub(super) async fn count_from(&self, stream: &str, query: &serde_json::Value) -> Result<u64> {
        let batch = self.read_batch(stream, query).await?;
        Ok(batch.messages.len() as u64 + batch.left)
    }

    /// Some messages of a stream, as its leader or a replica has them.
    pub(super) async fn read_batch(
        &self,
        stream: &str,
        query: &serde_json::Value,
    ) -> Result<Batch> {
        let failed = |why: &dyn std::fmt::Display| {
            Error::new(
                ErrorKind::Unavailable,
                format!("reading stream {stream} failed: {why}"),
            )
        };
        let inbox = self.client.new_inbox();
        let mut answers = self
            .client
            .subscribe(inbox.clone())
            .await
            .map_err(|error| failed(&error))?;
        let request = api::direct_get(stream);
        self.client
            .publish_with_reply(request.clone(), inbox, query.to_string().into())
            .await
            .map_err(|error| failed(&error))?;
        let mut batch = Batch {
            messages: Vec::new(),
            next: None,
            left: 0,
        };
        loop {
            let answer = tokio::time::timeout(SILENCE, answers.next());
            let answer = self.denials.or_denied(&[&request], answer).await;
            let answer =
                answer.map_err(|denial| denial.into_error(&format!("reading stream {stream}")))?;
            let Ok(Some(answer)) = answer else {
                return Err(failed(&"no answer"));
            };
            if let Some(status) = answer.status {
                // Nothing more: the end of the batch, or nothing to give.
                return match status.as_u16() {
                    204 | 404 => Ok(batch),
                    503 => Err(failed(&"no such stream, or no leader for it now")),
                    _ => Err(failed(&answer.description.as_deref().unwrap_or("refused"))),
                };
            }
            let number = |name: &str| -> Option<u64> {
                let headers = answer.headers.as_ref()?;
                headers.get(name)?.as_str().parse().ok()
            };
            let Some(sequence) = number("Nats-Sequence") else {
                return Err(failed(&"an answer without its place"));
            };
            let left = number("Nats-Num-Pending").unwrap_or(0);
            batch.next = (left > 0).then_some(sequence + 1);
            batch.left = left;
            let header = |name: &str| Some(answer.headers.as_ref()?.get(name)?.as_str());
            batch.messages.push(Found {
                subject: header("Nats-Subject").unwrap_or_default().to_owned(),
                sequence,
                time: header("Nats-Time-Stamp").and_then(|time| time.parse().ok()),
                body: answer.payload,
                headers: answer.headers,
            });
        }
    }
}

fn unreadable(stream: &str, error: BoxError) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        format!("reading stream {stream} failed: {error}"),
    )
    .with_source(error)
}

/// A message of a stream.
pub(super) struct Found {
    pub(super) subject: String,
    pub(super) sequence: u64,
    /// When it was stored.
    pub(super) time: Option<Timestamp>,
    pub(super) body: Bytes,
    /// Its own, and the server's of where it is.
    pub(super) headers: Option<async_nats::HeaderMap>,
}

/// Some messages of a stream.
pub(super) struct Batch {
    pub(super) messages: Vec<Found>,
    /// Where to go on; none at the end.
    pub(super) next: Option<u64>,
    /// How many there are behind the last.
    left: u64,
}

/// Two streams of events as one, by their times. Each is nearly in order.
fn merge(
    one: BoxStream<'static, Result<Event>>,
    other: BoxStream<'static, Result<Event>>,
) -> impl futures::Stream<Item = Result<Event>> + Send {
    let heads = (one.peekable(), other.peekable());
    stream::unfold(heads, |(mut one, mut other)| async {
        let time = |event: Option<&Result<Event>>| match event {
            Some(Ok(event)) => Some(event.at),
            // An error is told at once.
            Some(Err(_)) => Some(Timestamp::from_millis(i64::MIN)),
            None => None,
        };
        let first = time(Pin::new(&mut one).peek().await);
        let second = time(Pin::new(&mut other).peek().await);
        let next = match (first, second) {
            (Some(first), Some(second)) if first <= second => one.next().await,
            (Some(_), None) => one.next().await,
            _ => other.next().await,
        };
        next.map(|event| (event, (one, other)))
    })
}

impl EventScope {
    /// Whether an outcome could be in it.
    fn includes_ends(&self) -> bool {
        use EventKind::{Cancelled, Expired, Failed, Started, Succeeded};
        let of_outcomes = [Started, Succeeded, Failed, Cancelled, Expired];
        self.kinds.is_empty() || self.kinds.iter().any(|kind| of_outcomes.contains(kind))
    }

    /// Whether an event is in it.
    pub(in crate::broker) fn has(&self, event: &Event) -> bool {
        let is = |wanted: &Option<String>, is: &Option<String>| {
            wanted.is_none() || wanted.as_deref() == is.as_deref()
        };
        (self.kinds.is_empty() || self.kinds.contains(&event.kind))
            && is(&self.queue, &event.queue)
            && is(&self.task, &event.task)
            && (self.id.is_none() || self.id == event.id)
    }
}
