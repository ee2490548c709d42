//! Where a task stands, from the state of the streams.

use std::time::Duration;

use async_nats::jetstream::consumer::{self, pull};
use futures::future::BoxFuture;
use serde_json::json;
use taskq_syntax::Priority;

use super::JetStream;
use crate::broker::names::{Namespace, PRIORITIES, api, untoken};
use crate::broker::standing::{Answering, Finder, Holder, Locate, Standing};
use crate::broker::{Cancelling, Place, Task, asking};
use crate::error::{Error, ErrorKind, Result};
use crate::message::TaskId;
use crate::time::Timestamp;

impl Locate for JetStream {
    fn standing<'a>(&'a self, id: &'a TaskId) -> BoxFuture<'a, Result<Standing>> {
        Box::pin(self.find_standing(id))
    }

    fn holder<'a>(&'a self, id: &'a TaskId) -> BoxFuture<'a, Result<Option<Holder>>> {
        Box::pin(asking::ask(&self.client, &self.layout.names, id))
    }

    fn answer(&self, finder: Finder) -> BoxFuture<'_, Result<Answering>> {
        Box::pin(asking::answer(
            self.client.clone(),
            &self.layout.names,
            finder,
        ))
    }
}

impl JetStream {
    async fn find_standing(&self, id: &TaskId) -> Result<Standing> {
        if let Some(outcome) = self.find_outcome(id).await? {
            return Ok(Standing::Ended(Box::new(outcome)));
        }
        Ok(match self.locate(id).await? {
            Cancelling::Idle(task) | Cancelling::Held(task) => self.stands(task).await?,
            // It ended while we looked.
            Cancelling::Done | Cancelling::Ended(_) => match self.find_outcome(id).await? {
                Some(outcome) => Standing::Ended(Box::new(outcome)),
                None => Standing::Unknown,
            },
            Cancelling::Unknown if self.is_between(id).await? => Standing::Falling,
            Cancelling::Unknown => Standing::Unknown,
        })
    }

    async fn stands(&self, task: Task) -> Result<Standing> {
        let sequence = match task.place {
            Place::Queue { sequence } => sequence,
            Place::Hold { sequence } => return self.waits_for_turn(task, sequence).await,
            Place::Plan { .. } | Place::Memory => return self.planned(task).await,
        };
        if let Some(due) = self.due_later(&task.body) {
            let due = Some(due);
            return Ok(Standing::Planned { task, due });
        }
        let stream = self.layout.names.queue_stream(&task.queue);
        let priority = self.priority_at(&stream, sequence).await?;
        let own = self.lane(&stream, priority).await?;
        if let Some(own) = &own
            && sequence <= own.delivered.stream_sequence
        {
            let lease = own.config.ack_wait;
            return Ok(Standing::Given { task, lease });
        }
        let lane = self.layout.names.work_lane(&task.queue, priority);
        let behind = self.from(&stream, &lane, sequence).await?;
        let waiting = match own {
            Some(own) => own.num_pending,
            // No worker has been there yet, so nothing was given out.
            None => self.from(&stream, &lane, 1).await?,
        };
        let mut urgent = Vec::new();
        for other in PRIORITIES.into_iter().take_while(|it| *it != priority) {
            let waiting = match self.lane(&stream, other).await? {
                Some(lane) => lane.num_pending,
                None => 0,
            };
            if waiting > 0 {
                urgent.push((other, waiting));
            }
        }
        Ok(Standing::Waiting {
            ahead: waiting.saturating_sub(behind),
            task,
            priority,
            urgent,
        })
    }

    /// Of a message that waits for the turn of its key.
    async fn waits_for_turn(&self, task: Task, sequence: u64) -> Result<Standing> {
        let names = &self.layout.names;
        let (queue, hold) = (task.queue.as_str(), names.hold_stream(&task.queue));
        let stored = self.stored_at(&hold, sequence).await?;
        let name = stored
            .as_ref()
            .and_then(|stored| names.parse_hold(&stored.subject));
        let Some(name) = name else {
            // Its turn came while we looked.
            return Ok(Standing::Falling);
        };
        let of_key = names.released_of_key(queue, name.key);
        let released = self
            .stream_state(&names.queue_stream(queue), &of_key)
            .await?;
        let held_by = released.subjects.keys().filter_map(|subject| {
            let (_, id) = names.parse_released(subject)?;
            Some(TaskId::from(untoken(id)?))
        });
        let held_by: Vec<TaskId> = held_by.collect();
        if held_by.contains(&task.id) {
            return Ok(Standing::Falling);
        }
        let waiting = names.hold_of_key(queue, name.key);
        let all = self.from(&hold, &waiting, 1).await?;
        let behind = self.from(&hold, &waiting, sequence).await?;
        let rate_until = self.rate_until(queue, name.key).await;
        Ok(Standing::Held {
            priority: name.priority,
            held_by,
            ahead: all.saturating_sub(behind),
            rate_until,
            task,
        })
    }

    /// Until when its rate holds back a key, as who releases tells it.
    async fn rate_until(&self, queue: &str, key: &str) -> Option<Timestamp> {
        const PATIENCE: Duration = Duration::from_millis(500);
        let asked = self
            .client
            .request(self.layout.names.gate_ask(queue), key.to_owned().into());
        let answer = tokio::time::timeout(PATIENCE, asked).await.ok()?.ok()?;
        let millis = String::from_utf8_lossy(&answer.payload).parse().ok()?;
        Some(Timestamp::from_millis(millis))
    }

    async fn planned(&self, task: Task) -> Result<Standing> {
        let Place::Plan { subject } = &task.place else {
            return Ok(Standing::Unknown);
        };
        let plan = self.last(&self.layout.names.plan_stream(), subject).await?;
        Ok(match plan {
            Some(plan) => Standing::Planned {
                task,
                due: plan.due(),
            },
            // It fell due while we looked.
            None => Standing::Falling,
        })
    }

    /// The priority of a queue's message; normal if it is gone by now.
    async fn priority_at(&self, stream: &str, sequence: u64) -> Result<Priority> {
        let stored = self.get(stream, json!({ "seq": sequence })).await?;
        let names = &self.layout.names;
        let lane = stored
            .as_ref()
            .and_then(|stored| names.parse_work(&stored.subject));
        Ok(lane
            .and_then(|(_, priority)| priority.parse().ok())
            .unwrap_or_default())
    }

    /// How many messages of a subject a stream has, from this one on.
    async fn from(&self, stream: &str, subject: &str, sequence: u64) -> Result<u64> {
        let query = json!({ "seq": sequence, "next_by_subj": subject, "batch": 1 });
        self.count_from(stream, &query).await
    }

    /// The state of a lane; none if no worker has made it yet.
    async fn lane(&self, stream: &str, priority: Priority) -> Result<Option<consumer::Info>> {
        let name = Namespace::consumer(priority);
        let asked = self
            .layout
            .js
            .get_consumer_from_stream::<pull::Config, _, _>(&name, stream);
        let info = api::consumer_info(stream, &name);
        let found = self
            .denials
            .or_denied(&[&info], asked)
            .await
            .map_err(|denial| denial.into_error("looking at a queue"))?;
        match found {
            Ok(consumer) => Ok(Some(consumer.cached_info().clone())),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(Error::new(
                ErrorKind::Unavailable,
                format!("asking how lane {name} of stream {stream} does failed: {error}"),
            )
            .with_source(error)),
        }
    }
}

fn is_missing(error: &async_nats::jetstream::stream::ConsumerError) -> bool {
    use async_nats::jetstream::ErrorCode;
    use async_nats::jetstream::stream::ConsumerErrorKind::JetStream;
    matches!(error.kind(), JetStream(told) if told.error_code() == ErrorCode::CONSUMER_NOT_FOUND)
}
