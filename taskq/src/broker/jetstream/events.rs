//! Telling what happens, and reading what was told.
//!
//! How tasks end is not told twice: the outcomes are read as events. So is
//! the start of an attempt that was over before its start was told. What is
//! left to tell is seldom: hardly any message of the hot path.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use futures::stream::{self, BoxStream, StreamExt as _};
use tokio::sync::mpsc;

use super::JetStream;
use crate::broker::names::Namespace;
use crate::broker::{EventQuery, EventScope};
use crate::error::{Error, ErrorKind, Result};
use crate::message::{Event, EventKind, Outcome};
use crate::time::Timestamp;

/// How many events may wait for the connection before the latest are
/// dropped.
const MOST_WAITING: usize = 8192;

/// What was there when reading began may have been removed since; then the
/// end shows by silence.
const SILENCE: Duration = Duration::from_secs(5);

/// Writes events to the connection, behind whoever tells them.
pub(in crate::broker) struct Teller(mpsc::Sender<(String, Vec<u8>)>);

impl Teller {
    pub(in crate::broker) fn new(client: async_nats::Client) -> Self {
        let (events, mut waiting) = mpsc::channel::<(String, Vec<u8>)>(MOST_WAITING);
        tokio::spawn(async move {
            while let Some((subject, body)) = waiting.recv().await {
                if client.publish(subject, body.into()).await.is_err() {
                    return;
                }
            }
        });
        Self(events)
    }

    pub(in crate::broker) fn tell(&self, names: &Namespace, event: &Event) {
        if self
            .0
            .try_send((names.event(event), event.encode()))
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
            .await?
            .filter_map(|message| async move {
                match message {
                    Ok(body) => Event::decode(&body).map(Ok),
                    Err(error) => Some(Err(error)),
                }
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
            .read(names.done_stream(), vec![ends], &query)
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
    pub(super) async fn read(
        &self,
        stream: String,
        subjects: Vec<String>,
        query: &EventQuery,
    ) -> Result<BoxStream<'static, Result<bytes::Bytes>>> {
        let messages = self.read_stored(stream, subjects, query).await?;
        Ok(messages
            .map(|message| message.map(|(_, body)| body))
            .boxed())
    }

    /// The places and bodies of a stream's messages, in order.
    pub(super) async fn read_stored(
        &self,
        stream: String,
        subjects: Vec<String>,
        query: &EventQuery,
    ) -> Result<BoxStream<'static, Result<(u64, bytes::Bytes)>>> {
        let failed = {
            let stream = stream.clone();
            move |error: crate::error::BoxError| {
                Error::new(
                    ErrorKind::Unavailable,
                    format!("reading stream {stream} failed: {error}"),
                )
                .with_source(error)
            }
        };
        let deliver_policy = match query.since {
            Some(since) => DeliverPolicy::ByStartTime {
                start_time: async_nats::datetime::parse_rfc3339(&since.to_string())
                    .map_err(&failed)?,
            },
            None => DeliverPolicy::New,
        };
        let config = pull::OrderedConfig {
            filter_subjects: subjects,
            deliver_policy,
            ..Default::default()
        };
        let consumer = self
            .layout
            .js
            .create_consumer_on_stream(config, &stream)
            .await
            .map_err(|error| failed(error.into()))?;
        if consumer.cached_info().num_pending == 0 && !query.follow {
            return Ok(stream::empty().boxed());
        }
        let messages = consumer
            .messages()
            .await
            .map_err(|error| failed(error.into()))?;
        let messages = messages.map(move |message| match message {
            Ok(message) => {
                let (sequence, left) = message
                    .info()
                    .map_or((0, 0), |info| (info.stream_sequence, info.pending));
                Ok((sequence, message.message.payload, left))
            }
            Err(error) => Err(failed(error.into())),
        });
        let body = |(sequence, body, _)| (sequence, body);
        if query.follow {
            return Ok(messages.map(move |message| message.map(body)).boxed());
        }
        // What comes while this is read is not waited for.
        let to_the_end = stream::unfold(Some(messages), |messages| async {
            let mut messages = messages?;
            let next = tokio::time::timeout(SILENCE, messages.next());
            let message = next.await.ok()??;
            let over = matches!(message, Ok((_, _, 0)));
            Some((message, (!over).then_some(messages)))
        });
        Ok(to_the_end.map(move |message| message.map(body)).boxed())
    }
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
