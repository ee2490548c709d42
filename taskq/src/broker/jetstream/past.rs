//! Reading what is stored, in the order in which it was.

use std::collections::HashMap;

use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use futures::stream::{BoxStream, StreamExt as _};
use serde_json::json;
use taskq_syntax::Priority;

use super::JetStream;
use crate::broker::names::{Namespace, PRIORITIES, api};
use crate::broker::past::QueuedMessage;
use crate::broker::{Extent, Peek, Peeked, Recorded, Source};
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
            "next_by_subj": names.work_of_task(&query.queue, query.task.as_deref()),
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
