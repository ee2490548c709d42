//! Reading what is stored, in the order in which it was.

use std::collections::HashMap;
use std::sync::Arc;

use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use serde_json::json;
use taskq_syntax::Priority;

use super::JetStream;
use super::events::{BATCH, Found};
use crate::broker::names::{Namespace, PRIORITIES, api};
use crate::broker::past::QueuedMessage;
use crate::broker::{Extent, PastOf, PastQuery, Peek, Peeked, Recorded, Source};
use crate::error::{Error, ErrorKind, Result};
use crate::time::Timestamp;

impl JetStream {
    fn stream_of(&self, source: Source) -> (String, String) {
        let names = &self.layout.names;
        match source {
            Source::Outcomes => (names.done_stream(), names.done_all()),
            Source::Events => (names.events_stream(), names.event_all()),
            Source::DeadLetters => (names.dead_stream(), names.dead_all()),
            Source::Audit => (names.audit_stream(), names.audit_all()),
        }
    }

    pub(super) async fn look_at(&self, source: Source) -> Result<Extent> {
        self.layout.ensure_shared().await?;
        let (name, _) = self.stream_of(source);
        let asked = self.layout.js.get_stream(&name);
        let stream = self
            .denials
            .or_denied(&[&api::stream_info(&name)], asked)
            .await
            .map_err(|denial| denial.into_error(&format!("looking at stream {name}")))?
            .map_err(|error| {
                Error::new(
                    ErrorKind::Unavailable,
                    format!("looking at stream {name} failed: {error}"),
                )
                .with_source(error)
            })?;
        let info = stream.cached_info();
        let created = i64::try_from(info.created.unix_timestamp_nanos() / 1_000_000);
        Ok(Extent {
            first: info.state.first_sequence,
            last: info.state.last_sequence,
            records: info.state.messages,
            created: Timestamp::from_millis(created.unwrap_or(0)),
        })
    }

    pub(super) async fn read_records(
        &self,
        source: Source,
        after: u64,
    ) -> Result<(u64, BoxStream<'static, Result<Recorded>>)> {
        self.layout.ensure_shared().await?;
        let (stream, subject) = self.stream_of(source);
        let policy = DeliverPolicy::ByStartSequence {
            start_sequence: after.saturating_add(1),
        };
        let (pending, found) = self.read_from(stream, subject, policy).await?;
        Ok((pending, found.boxed()))
    }

    /// Read in batches and without a consumer, so nothing is left behind on the
    /// server; of what is stored while it is read nothing.
    pub(super) async fn read_stored(
        &self,
        query: PastQuery,
    ) -> Result<BoxStream<'static, Result<Recorded>>> {
        let names = &self.layout.names;
        let (source, subject) = match &query.of {
            PastOf::Outcomes(Some(id)) => (Source::Outcomes, names.done(id)),
            PastOf::Outcomes(None) => (Source::Outcomes, names.done_all()),
            PastOf::Workers(worker) => (Source::Events, names.events_of_worker(worker.as_deref())),
            PastOf::Actions => (Source::Audit, names.audit_all()),
        };
        let extent = self.look_at(source).await?;
        let (stream, _) = self.stream_of(source);
        let since = query.since.filter(|since| since.as_millis() > 0);
        let found = if query.newest_first {
            let first = match since {
                Some(since) => {
                    let query = json!({
                        "start_time": since.to_string(),
                        "batch": 1,
                        "next_by_subj": subject,
                    });
                    let batch = self.read_batch(&stream, &query).await?;
                    match batch.messages.first() {
                        Some(first) => first.sequence,
                        None => return Ok(stream::empty().boxed()),
                    }
                }
                None => extent.first,
            };
            self.read_back(stream, subject, first, extent.last)?
        } else {
            let since = since.unwrap_or(Timestamp::from_millis(0));
            let found = self.read_past_subjects(stream, subject, since)?;
            let last = extent.last;
            found
                .try_take_while(move |found| std::future::ready(Ok(found.sequence <= last)))
                .boxed()
        };
        Ok(found.map_ok(Recorded::from).boxed())
    }

    /// What is in a stream between two places, from the last to the first: in
    /// spans, each as wide as it may be for one batch to hold what it finds.
    fn read_back(
        &self,
        stream: String,
        subject: String,
        first: u64,
        last: u64,
    ) -> Result<BoxStream<'static, Result<Found>>> {
        let broker = self.me()?;
        let from = (last.saturating_add(1), BATCH as u64);
        let spans = stream::try_unfold(from, move |(end, width)| {
            let (broker, stream, subject) = (Arc::clone(&broker), stream.clone(), subject.clone());
            async move {
                let (end, mut width) = (end, width);
                if end <= first {
                    return Ok::<_, Error>(None);
                }
                loop {
                    let start = end.saturating_sub(width).max(first);
                    let query = json!({
                        "seq": start,
                        "batch": BATCH,
                        "next_by_subj": subject,
                    });
                    let batch = broker.read_batch(&stream, &query).await?;
                    if batch.next.is_some_and(|next| next < end) {
                        // More than one batch holds.
                        width = (width / 2).max(1);
                        continue;
                    }
                    let mut found = batch.messages;
                    found.retain(|found| found.sequence < end);
                    found.reverse();
                    if found.len() < BATCH / 2 {
                        width = width.saturating_mul(2);
                    }
                    let found = stream::iter(found).map(Ok);
                    return Ok(Some((found, (start, width))));
                }
            }
        });
        Ok(spans.try_flatten().boxed())
    }

    /// Some of a queue's messages, read without a consumer: nothing is taken
    /// from a worker, and nothing is left behind.
    pub(super) async fn look_into(&self, query: &Peek) -> Result<Peeked> {
        let names = &self.layout.names;
        let stream = names.queue_stream(&query.queue);
        if !self.layout.list_queues().await?.contains(&query.queue) {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!(
                    "there is no queue `{}`: nothing was ever sent to it",
                    query.queue
                ),
            ));
        }
        let request = json!({
            "seq": query.after.saturating_add(1),
            "batch": query.most,
            "next_by_subj": names.work_like(&query.queue, query.task.as_deref(), query.id.as_ref()),
        });
        let batch = self.read_batch(&stream, &request).await?;
        let mut given_up_to: HashMap<Priority, u64> = HashMap::new();
        for priority in PRIORITIES {
            let given = self.given_up_to(&stream, priority).await?;
            given_up_to.insert(priority, given);
        }
        let messages = batch.messages.into_iter().filter_map(|found| {
            let id = found.subject.rsplit('.').next()?;
            let id = crate::broker::names::untoken(id)?;
            let (_, priority) = names.parse_work(&found.subject)?;
            let priority = priority.parse().ok()?;
            let given = given_up_to
                .get(&priority)
                .is_some_and(|up_to| found.sequence <= *up_to);
            Some(QueuedMessage {
                id: id.into(),
                priority,
                sequence: found.sequence,
                stored_at: found.time.unwrap_or(Timestamp::from_millis(0)),
                given,
                body: found.body,
            })
        });
        Ok(Peeked {
            messages: messages.collect(),
            more: batch.next.is_some(),
        })
    }

    /// Up to which message a lane's workers were given its messages; 0 while
    /// there is no worker.
    async fn given_up_to(&self, stream: &str, priority: Priority) -> Result<u64> {
        let consumer = Namespace::consumer(priority);
        let asked = self
            .layout
            .js
            .get_consumer_from_stream::<pull::Config, _, _>(&consumer, stream);
        let found = self
            .denials
            .or_denied(&[&api::consumer_info(stream, &consumer)], asked)
            .await
            .map_err(|denial| denial.into_error("looking at a queue"))?;
        Ok(found.map_or(0, |consumer| {
            consumer.cached_info().delivered.stream_sequence
        }))
    }
}

impl From<Found> for Recorded {
    fn from(found: Found) -> Self {
        Self {
            sequence: found.sequence,
            body: found.body,
            stored_at: found.time.unwrap_or(Timestamp::from_millis(0)),
            left: 0,
        }
    }
}
