//! Reading single messages of a stream, from its leader: what a replica
//! answers may be a moment old, and a missed outcome would be missed for good.

use base64::Engine as _;
use serde::Deserialize;
use serde_json::json;
use taskq_syntax::Priority;

use super::JetStream;
use super::layout::Layout;
use crate::broker::names::{Namespace, api};
use crate::broker::{History, Place, Status, Task};
use crate::error::{Error, ErrorKind, Result};
use crate::message::{CancelRequest, Journal, Outcome, TaskId};
use crate::time::Timestamp;

/// How often a message that is seen nowhere is looked for: it may move from
/// where we have yet to look to where we have looked.
pub(super) const PASSES: u32 = 3;

/// A stored message.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) subject: String,
    pub(super) sequence: u64,
    pub(super) body: Vec<u8>,
    pub(super) time: Timestamp,
    /// The headers as they were sent, lines of text; empty if there are none.
    pub(super) headers: String,
}

impl Stored {
    /// The value of a header.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.headers.lines().filter_map(|line| line.split_once(':'));
        lines.find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value.trim()))
    }

    /// When a plan falls due.
    pub(super) fn due(&self) -> Option<Timestamp> {
        let schedule = self.header("Nats-Schedule")?;
        schedule.strip_prefix("@at ")?.trim().parse().ok()
    }
}

#[derive(Deserialize)]
struct Answer {
    message: Option<WireStored>,
    error: Option<ApiError>,
}

#[derive(Deserialize)]
struct WireStored {
    subject: String,
    seq: u64,
    #[serde(default)]
    data: Option<String>,
    #[serde(default)]
    hdrs: Option<String>,
    time: Timestamp,
}

#[derive(Deserialize)]
struct ApiError {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

/// "no message found", "stream not found"
const NOT_FOUND: [u64; 2] = [10037, 10059];

/// What is in base64; empty where there is nothing.
fn decoded(text: Option<String>) -> Vec<u8> {
    text.and_then(|text| base64::engine::general_purpose::STANDARD.decode(text).ok())
        .unwrap_or_default()
}

impl JetStream {
    pub(super) async fn get(
        &self,
        stream: &str,
        query: serde_json::Value,
    ) -> Result<Option<Stored>> {
        let what = || format!("looking into stream {stream}");
        let reply = self
            .ask(&what, api::message_get(stream), query.to_string().into())
            .await?
            .map_err(|error| {
                Error::new(
                    ErrorKind::Unavailable,
                    format!(
                        "{} failed: {error}; NATS may have no leader for it now",
                        what()
                    ),
                )
                .with_source(error)
            })?;
        let answer: Answer = serde_json::from_slice(&reply.payload).map_err(|error| {
            Error::new(
                ErrorKind::Undecodable,
                format!("{} gave no readable answer: {error}", what()),
            )
            .with_source(error)
        })?;
        if let Some(error) = answer.error {
            if NOT_FOUND.contains(&error.err_code) {
                return Ok(None);
            }
            return Err(Error::new(
                ErrorKind::Unavailable,
                format!("{} was refused: {}", what(), error.description),
            ));
        }
        Ok(answer.message.map(|message| Stored {
            subject: message.subject,
            sequence: message.seq,
            body: decoded(message.data),
            time: message.time,
            headers: String::from_utf8_lossy(&decoded(message.hdrs)).into_owned(),
        }))
    }

    /// The last message of a subject.
    pub(super) async fn last(&self, stream: &str, subject: &str) -> Result<Option<Stored>> {
        self.get(stream, json!({ "last_by_subj": subject })).await
    }

    /// The message at a place.
    pub(super) async fn stored_at(&self, stream: &str, sequence: u64) -> Result<Option<Stored>> {
        self.get(stream, json!({ "seq": sequence })).await
    }

    /// The first message of a subject that may have wildcards.
    pub(super) async fn first(&self, stream: &str, subject: &str) -> Result<Option<Stored>> {
        self.get(stream, json!({ "seq": 1, "next_by_subj": subject }))
            .await
    }

    pub(super) async fn find_outcome(&self, id: &TaskId) -> Result<Option<Outcome>> {
        let names = &self.layout.names;
        match self.last(&names.done_stream(), &names.done(id)).await? {
            Some(stored) => Outcome::decode(&stored.body).map(Some),
            None => Ok(None),
        }
    }

    /// The stored record of an outcome, as it is.
    pub(super) async fn stored_outcome(&self, id: &TaskId) -> Result<Option<Vec<u8>>> {
        let names = &self.layout.names;
        let stored = self.last(&names.done_stream(), &names.done(id)).await?;
        Ok(stored.map(|stored| stored.body))
    }

    pub(super) async fn find_history(&self, id: &TaskId) -> Result<History> {
        let names = &self.layout.names;
        let state = names.state_stream();
        let (history, cancel) = (names.history(id), names.cancel(id));
        let (outcome, journal, cancel) = futures::try_join!(
            self.find_outcome(id),
            self.last(&state, &history),
            self.last(&state, &cancel)
        )?;
        Ok(History {
            outcome,
            journal: journal
                .map(|stored| Journal::decode(&stored.body))
                .unwrap_or_default(),
            cancel: cancel.and_then(|stored| CancelRequest::decode(&stored.body)),
        })
    }

    /// Where a message is: ended, planned, or in one of the queues.
    pub(super) async fn find_status(&self, id: &TaskId) -> Result<Status> {
        // A message moves on while we look; what left the queue before we
        // looked there has an outcome or a plan by now.
        for _ in 0..PASSES {
            if let Some(outcome) = self.find_outcome(id).await? {
                return Ok(Status::Done(outcome.state));
            }
            if self.find_plan(id).await?.is_some() {
                return Ok(Status::Scheduled);
            }
            if let Some(status) = self.find_in_queues(id).await? {
                return Ok(status);
            }
            if self.is_between(id).await? {
                return Ok(Status::Scheduled);
            }
        }
        Ok(Status::Unknown)
    }

    /// Whether a message has fallen due and is not in its queue yet. What
    /// its queue has taken stays in the plan for a while, and is not it.
    pub(super) async fn is_between(&self, id: &TaskId) -> Result<bool> {
        #[derive(Deserialize)]
        struct Info {
            #[serde(default)]
            sources: Vec<Source>,
        }
        #[derive(Deserialize)]
        struct Source {
            #[serde(default)]
            lag: u64,
        }
        let names = &self.layout.names;
        let plan = names.plan_stream();
        let mut due = self.first(&plan, &names.due_of_id(id)).await?;
        if due.is_none() {
            due = self.first(&plan, &names.due_hold_of_id(id)).await?;
        }
        let Some(queue) = due.as_ref().and_then(|due| names.parse_due(&due.subject)) else {
            return Ok(false);
        };
        let (stream, queue) = match queue.strip_prefix("hold:") {
            Some(queue) => (names.hold_stream(queue), queue),
            None => (names.queue_stream(queue), queue),
        };
        let subject = api::stream_info(&stream);
        let answer = self
            .client
            .request(subject, "".into())
            .await
            .map_err(|error| {
                Error::new(
                    ErrorKind::Unavailable,
                    format!("asking for the state of queue {queue} failed: {error}"),
                )
                .with_source(error)
            })?;
        let info: Option<Info> = serde_json::from_slice(&answer.payload).ok();
        Ok(info.is_some_and(|info| info.sources.iter().any(|source| source.lag > 0)))
    }

    async fn find_in_queues(&self, id: &TaskId) -> Result<Option<Status>> {
        let found = self.find_message(id).await?;
        Ok(found.map(|(task, delivered)| {
            if self.due_later(&task.body).is_some() {
                Status::Scheduled
            } else if delivered {
                Status::Running
            } else {
                Status::Waiting
            }
        }))
    }

    /// Finds a message in the queues, and whether a worker was given it.
    pub(super) async fn find_message(&self, id: &TaskId) -> Result<Option<(Task, bool)>> {
        let names = &self.layout.names;
        let subject = names.work_of_id(id);
        let (queues, holds) = self.layout.list_places().await?;
        // Where it waits before where it is released to: it is in the second
        // before it leaves the first.
        let held = self.find_held(id, &holds).await?;
        for queue in queues {
            let stream = names.queue_stream(&queue);
            let mut stored = self.first(&stream, &subject).await?;
            if stored.is_none() && holds.contains(&queue) {
                stored = self.first(&stream, &names.released_of_id(id)).await?;
            }
            let Some(stored) = stored else {
                continue;
            };
            let lane = names.parse_work(&stored.subject);
            let Some(Ok(priority)) = lane.map(|(_, priority)| priority.parse::<Priority>()) else {
                continue;
            };
            // What the server has handed out and still holds is with a
            // worker.
            let consumer = Namespace::consumer(priority);
            let asked = self
                .layout
                .js
                .get_consumer_from_stream::<async_nats::jetstream::consumer::pull::Config, _, _>(
                    &consumer, &stream,
                );
            let delivered = self
                .denials
                .or_denied(&[&api::consumer_info(&stream, &consumer)], asked)
                .await
                .map_err(|denial| denial.into_error("looking at a queue"))?
                .map_or(0, |consumer| {
                    consumer.cached_info().delivered.stream_sequence
                });
            let task = Task {
                id: id.clone(),
                queue,
                body: stored.body,
                stored_at: stored.time,
                place: Place::Queue {
                    sequence: stored.sequence,
                },
            };
            return Ok(Some((task, stored.sequence <= delivered)));
        }
        Ok(held.map(|task| (task, false)))
    }

    /// Finds a message that waits for the turn of its key.
    async fn find_held(&self, id: &TaskId, holds: &[String]) -> Result<Option<Task>> {
        let names = &self.layout.names;
        let subject = names.hold_of_id(id);
        for queue in holds {
            let stored = self.first(&names.hold_stream(queue), &subject).await?;
            if let Some(stored) = stored {
                return Ok(Some(Task {
                    id: id.clone(),
                    queue: queue.clone(),
                    body: stored.body,
                    stored_at: stored.time,
                    place: Place::Hold {
                        sequence: stored.sequence,
                    },
                }));
            }
        }
        Ok(None)
    }
}

impl Layout {
    /// The queues that have a stream, sorted.
    pub(super) async fn list_queues(&self) -> Result<Vec<String>> {
        self.list_places().await.map(|(queues, _)| queues)
    }

    /// The queues that have a stream, and those that have one for what waits
    /// for the turn of its key; sorted.
    pub(super) async fn list_places(&self) -> Result<(Vec<String>, Vec<String>)> {
        use futures::TryStreamExt as _;
        let listed = self.js.stream_names().try_collect();
        let streams: Vec<String> = self
            .denials
            .or_denied(&[api::STREAM_NAMES], listed)
            .await
            .map_err(|denial| denial.into_error("listing the streams"))?
            .map_err(|error| {
                Error::new(
                    ErrorKind::Unavailable,
                    format!("listing the streams failed: {error}"),
                )
                .with_source(error)
            })?;
        let of = |queue: &dyn Fn(&str) -> Option<String>| {
            let mut queues: Vec<String> = streams.iter().filter_map(|it| queue(it)).collect();
            queues.sort();
            queues
        };
        let queues = of(&|stream| self.names.queue_of_stream(stream).map(str::to_owned));
        let holds = of(&|stream| self.names.queue_of_hold(stream).map(str::to_owned));
        Ok((queues, holds))
    }
}
