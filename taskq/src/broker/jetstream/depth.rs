//! How much is in the queues.

use std::collections::HashMap;

use async_nats::jetstream::consumer;
use futures::TryStreamExt as _;
use serde::Deserialize;

use super::JetStream;
use crate::broker::QueueDepth;
use crate::broker::names::api;
use crate::error::{Error, ErrorKind, Result};

impl JetStream {
    pub(super) async fn count_queues(&self) -> Result<Vec<QueueDepth>> {
        let queues = self.layout.list_queues().await?;
        futures::future::try_join_all(queues.into_iter().map(|queue| self.count_queue(queue))).await
    }

    async fn count_queue(&self, queue: String) -> Result<QueueDepth> {
        let names = &self.layout.names;
        let due = self.count_due(&queue).await?;
        // Without a stream for plans nothing is planned.
        let scheduled = match self.layout.js.get_stream_no_info(names.plan_stream()).await {
            Ok(plan) => match plan.info_with_subjects(names.plan_queue(&queue)).await {
                Ok(subjects) => subjects
                    .try_fold(
                        0u64,
                        |sum, (_, count)| async move { Ok(sum + count as u64) },
                    )
                    .await
                    .unwrap_or(0),
                Err(_) => 0,
            },
            Err(_) => 0,
        };
        Ok(QueueDepth { scheduled, ..due })
    }

    /// How much of a queue is due.
    pub(super) async fn count_due(&self, queue: &str) -> Result<QueueDepth> {
        let names = &self.layout.names;
        let failed = |error: &dyn std::fmt::Display| {
            Error::new(
                ErrorKind::Unavailable,
                format!("counting queue {queue} failed: {error}"),
            )
        };
        let name = names.queue_stream(queue);
        let asked = async {
            let messages = self.count_messages(queue).await?;
            let held = self.count_held(queue).await?;
            let stream = self
                .layout
                .js
                .get_stream_no_info(&name)
                .await
                .map_err(|error| failed(&error))?;
            let consumers: Vec<consumer::Info> = stream
                .consumers()
                .try_collect()
                .await
                .map_err(|error| failed(&error))?;
            Ok::<_, Error>((messages, held, consumers))
        };
        let subjects = [&*api::stream_info(&name), &*api::consumer_list(&name)];
        let (messages, held, consumers) = self
            .denials
            .or_denied(&subjects, asked)
            .await
            .map_err(|denial| denial.into_error(&format!("counting queue {queue}")))??;
        let running = consumers
            .iter()
            .map(|consumer| consumer.num_ack_pending as u64)
            .sum::<u64>()
            .min(messages);
        Ok(QueueDepth {
            pending: messages - running + held,
            held,
            running,
            scheduled: 0,
            queue: queue.to_owned(),
        })
    }

    /// How many messages are in a queue's stream, without the marks of who
    /// releases into it.
    pub(super) async fn count_messages(&self, queue: &str) -> Result<u64> {
        let names = &self.layout.names;
        let stream = names.queue_stream(queue);
        let state = self.stream_state(&stream, &names.epoch(queue)).await?;
        let marks: u64 = state.subjects.values().sum();
        Ok(state.messages.saturating_sub(marks))
    }

    /// How many messages wait for the turn of their key.
    async fn count_held(&self, queue: &str) -> Result<u64> {
        let names = &self.layout.names;
        let stream = names.hold_stream(queue);
        // A subject that nothing has.
        let none = names.epoch(queue);
        match self.stream_state(&stream, &none).await {
            Ok(state) => Ok(state.messages),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// The state of a stream, with how many messages its subjects have that
    /// match.
    pub(super) async fn stream_state(&self, stream: &str, subjects: &str) -> Result<StreamState> {
        let mut all = StreamState::default();
        loop {
            let (state, total) = self
                .state_page(stream, subjects, all.subjects.len())
                .await?;
            let got = state.subjects.len();
            all.messages = state.messages;
            all.last_seq = state.last_seq;
            all.num_subjects = state.num_subjects;
            all.subjects.extend(state.subjects);
            if got == 0 || all.subjects.len() >= total {
                return Ok(all);
            }
        }
    }

    /// The server tells so many subjects at once, and how many there are.
    async fn state_page(
        &self,
        stream: &str,
        subjects: &str,
        offset: usize,
    ) -> Result<(StreamState, usize)> {
        #[derive(Deserialize)]
        struct Answer {
            error: Option<Refused>,
            state: Option<StreamState>,
            #[serde(default)]
            total: usize,
        }
        #[derive(Deserialize)]
        struct Refused {
            #[serde(default)]
            err_code: u64,
            #[serde(default)]
            description: String,
        }
        /// "stream not found"
        const MISSING: u64 = 10059;
        let what = || format!("looking at stream {stream}");
        let query = serde_json::json!({ "subjects_filter": subjects, "offset": offset });
        let failed = |kind, why: &dyn std::fmt::Display| {
            Error::new(kind, format!("{} failed: {why}", what()))
        };
        let answer = self
            .ask(&what, api::stream_info(stream), query.to_string().into())
            .await?
            .map_err(|error| failed(ErrorKind::Unavailable, &error))?;
        let answer: Answer = serde_json::from_slice(&answer.payload)
            .map_err(|error| failed(ErrorKind::Undecodable, &error))?;
        match (answer.error, answer.state) {
            (Some(refused), _) if refused.err_code == MISSING => {
                Err(failed(ErrorKind::NotFound, &"there is none"))
            }
            (Some(refused), _) => Err(failed(ErrorKind::Unavailable, &refused.description)),
            (None, Some(state)) => Ok((state, answer.total)),
            (None, None) => Err(failed(ErrorKind::Undecodable, &"an answer without a state")),
        }
    }
}

/// What a stream holds.
#[derive(Debug, Default, Deserialize)]
pub(super) struct StreamState {
    pub(super) messages: u64,
    #[serde(default)]
    pub(super) last_seq: u64,
    /// How many subjects there are.
    #[serde(default)]
    pub(super) num_subjects: u64,
    /// How many messages each of the subjects has that were asked for.
    #[serde(default)]
    pub(super) subjects: HashMap<String, u64>,
}
