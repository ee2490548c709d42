//! Operators' verbs, and callers' second thoughts.

use std::time::{Duration, Instant};

use async_nats::{HeaderMap, header};
use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt as _};

use super::JetStream;
use super::layout::KEEP_OUTCOMES;
use super::lookup::PASSES;
use super::plans::ARRIVAL;
use super::publish::ttl;
use crate::broker::names::api;
use crate::broker::{Cancelling, EventQuery, LetterQuery, Operate, Place, Record, Task};
use crate::error::{Error, ErrorKind, Result};
use crate::message::{AuditEntry, CancelRequest, DeadLetter, Event, State, TaskId};
use crate::time::Timestamp;

impl Operate for JetStream {
    fn tell(&self, event: Event) {
        self.teller.tell(&self.layout.names, &event);
    }

    fn told(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.teller.told())
    }

    fn record_action<'a>(&'a self, entry: &'a AuditEntry) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.write_action(entry))
    }

    fn actions(&self, before: Option<u64>, most: usize) -> BoxFuture<'_, Result<Vec<AuditEntry>>> {
        Box::pin(self.read_actions(before, most))
    }

    fn events(
        &self,
        query: EventQuery,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<Event>>>> {
        Box::pin(self.read_events(query))
    }

    fn wish<'a>(&'a self, request: &'a CancelRequest) -> BoxFuture<'a, Result<Cancelling>> {
        Box::pin(self.make_wish(request))
    }

    fn conclude(&self, record: Record) -> BoxFuture<'_, Result<bool>> {
        Box::pin(self.store_outcome(record))
    }

    fn withdraw<'a>(&'a self, task: &'a Task) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.take_out(task))
    }

    fn letters(
        &self,
        query: LetterQuery,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<DeadLetter>>>> {
        Box::pin(self.read_letters(query))
    }

    fn remove_letter<'a>(&'a self, letter: &'a DeadLetter) -> BoxFuture<'a, Result<bool>> {
        Box::pin(async move {
            let names = &self.layout.names;
            let (queue, task, id) = (&letter.queue, &letter.task, &letter.id);
            let subject = names.dead(queue, task, id);
            let stream = names.dead_stream();
            // A newer letter of the same message is not this one.
            match self.last(&stream, &subject).await? {
                Some(stored) if stored.sequence == letter.sequence => {
                    self.delete(&stream, letter.sequence).await?;
                    Ok(true)
                }
                _ => Ok(false),
            }
        })
    }

    fn reopen<'a>(&'a self, id: &'a TaskId) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let names = &self.layout.names;
            let (done, state) = (names.done_stream(), names.state_stream());
            if let Some(stored) = self.last(&done, &names.done(id)).await? {
                self.remove_leavings(id, stored.time).await?;
                self.delete(&done, stored.sequence).await?;
            }
            // What was known of its deliveries, and a wish to cancel it, are
            // of its life before.
            for subject in [names.history(id), names.cancel(id)] {
                if let Some(stored) = self.last(&state, &subject).await? {
                    self.delete(&state, stored.sequence).await?;
                }
            }
            Ok(())
        })
    }
}

impl JetStream {
    /// Removes the message of a task that has ended: it stays in its queue,
    /// or where it waited for its turn, for a moment after the end, and would
    /// be taken for the task that is sent again.
    async fn remove_leavings(&self, id: &TaskId, ended: Timestamp) -> Result<()> {
        // In its queue, and where it waited.
        for _ in 0..2 {
            let Some((task, _)) = self.find_message(id).await? else {
                break;
            };
            if task.stored_at > ended {
                break;
            }
            let names = &self.layout.names;
            match task.place {
                Place::Queue { sequence } => {
                    let stream = names.queue_stream(&task.queue);
                    self.delete(&stream, sequence).await?;
                }
                Place::Hold { sequence } => {
                    let stream = names.hold_stream(&task.queue);
                    self.delete(&stream, sequence).await?;
                }
                Place::Plan { .. } | Place::Memory => return Ok(()),
            }
        }
        Ok(())
    }

    /// Stored before anybody looks for the task: a worker that takes it from
    /// now on hears of it, or finds it.
    async fn make_wish(&self, request: &CancelRequest) -> Result<Cancelling> {
        self.layout.ensure_shared().await?;
        let id = &request.id;
        if let Some(outcome) = self.find_outcome(id).await? {
            return Ok(Cancelling::Ended(outcome.state));
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::NATS_MESSAGE_TTL, ttl(KEEP_OUTCOMES));
        self.pipe
            .publish(
                self.layout.names.cancel(id),
                Some(headers),
                request.encode().into(),
            )
            .await
            .map_err(|refusal| refusal.into_error(&format!("asking to cancel task {id}")))?;
        self.locate(id).await
    }

    /// Finds a message that has not ended, and whether a worker has it.
    pub(super) async fn locate(&self, id: &TaskId) -> Result<Cancelling> {
        let names = &self.layout.names;
        // A message moves on while we look: from the plan to the queue, out
        // of it, and, for its next attempt, back to the plan. What was seen
        // nowhere is looked for again before it is said to be nowhere.
        let started = Instant::now();
        let mut passes = 0;
        loop {
            if let Some(stored) = self.find_plan(id).await? {
                let parts = names.parse_plan(&stored.subject);
                let queue = parts.unwrap_or_default().to_owned();
                return Ok(Cancelling::Idle(Task {
                    id: id.clone(),
                    queue,
                    body: stored.body,
                    stored_at: stored.time,
                    place: Place::Plan {
                        subject: stored.subject,
                    },
                }));
            }
            if let Some((task, delivered)) = self.find_message(id).await? {
                return Ok(if delivered {
                    Cancelling::Held(task)
                } else {
                    Cancelling::Idle(task)
                });
            }
            if let Some(outcome) = self.find_outcome(id).await? {
                return Ok(match outcome.state {
                    State::Cancelled => Cancelling::Done,
                    state => Cancelling::Ended(state),
                });
            }
            // On its way to the queue; it is there in a moment, and until
            // then may be seen nowhere.
            let is_near = started.elapsed() < ARRIVAL
                && (self.is_between(id).await? || self.fell_due(id).await?);
            passes += 1;
            if is_near {
                tokio::time::sleep(Duration::from_millis(5)).await;
            } else if passes >= PASSES {
                return Ok(Cancelling::Unknown);
            }
        }
    }

    async fn store_outcome(&self, record: Record) -> Result<bool> {
        let headers = record.ttl.map(|keep| {
            let mut headers = HeaderMap::new();
            headers.insert(header::NATS_MESSAGE_TTL, ttl(keep));
            headers
        });
        let names = &self.layout.names;
        let what = || format!("recording the outcome of task {}", record.id);
        let body: bytes::Bytes = record.body.into();
        let mut asked = false;
        let stored = loop {
            let sent = self
                .pipe
                .publish(names.done(&record.id), headers.clone(), body.clone());
            match sent.await {
                Ok(()) => break true,
                Err(refusal) if refusal.is_subject_taken() => {
                    // After an unanswered try it may be this very record.
                    break asked
                        && self
                            .last(&names.done_stream(), &names.done(&record.id))
                            .await?
                            .is_some_and(|stored| stored.body == body);
                }
                Err(super::pipe::Refusal::Unanswered) if !asked => asked = true,
                Err(refusal) => return Err(refusal.into_error(&what())),
            }
        };
        // Whoever waits for it is to look it up.
        let told = format!("{}\n- {}", self.pipe.replies(), record.id);
        let subject = names.stored(record.id.origin());
        // Who is not told looks for the record after a while.
        let _ = self.client.publish(subject, told.into()).await;
        if stored && let Some(key) = &record.unlock {
            self.release_lock(key, &record.id).await?;
        }
        if stored && let Some(name) = &record.spent {
            self.delete_payload(name).await?;
        }
        Ok(stored)
    }

    async fn take_out(&self, task: &Task) -> Result<()> {
        let names = &self.layout.names;
        match &task.place {
            Place::Plan { subject } => {
                self.withdraw_plan(&task.id, subject).await?;
                // It may have fallen due a moment before.
                match self.locate(&task.id).await? {
                    Cancelling::Idle(Task {
                        queue,
                        place: Place::Queue { sequence },
                        ..
                    }) => self.delete(&names.queue_stream(&queue), sequence).await,
                    Cancelling::Idle(
                        task @ Task {
                            place: Place::Hold { .. },
                            ..
                        },
                    ) => Box::pin(self.take_out(&task)).await,
                    _ => Ok(()),
                }
            }
            Place::Hold { sequence } => {
                self.delete(&names.hold_stream(&task.queue), *sequence)
                    .await?;
                // Whoever releases may have it at hand, and must not go by
                // that.
                let wake = names.gate_wake(&task.queue);
                let id = crate::broker::names::id_token(&task.id);
                let _ = self.client.publish(wake, id.into()).await;
                // It may have been released a moment before.
                match self.find_message(&task.id).await? {
                    Some((
                        Task {
                            queue,
                            place: Place::Queue { sequence },
                            ..
                        },
                        false,
                    )) => self.delete(&names.queue_stream(&queue), sequence).await,
                    _ => Ok(()),
                }
            }
            Place::Queue { sequence } => {
                self.delete(&names.queue_stream(&task.queue), *sequence)
                    .await
            }
            Place::Memory => Ok(()),
        }
    }

    /// No consumer is on the subjects of plans, so a purge is safe.
    pub(super) async fn purge_plan(&self, id: &TaskId, query: serde_json::Value) -> Result<()> {
        let plan = self.layout.names.plan_stream();
        let what = || format!("taking task {id} out of its plan");
        self.ask(&what, api::stream_purge(&plan), query.to_string().into())
            .await?
            .map(drop)
            .map_err(|error| {
                Error::new(
                    ErrorKind::Unavailable,
                    format!("{} failed: {error}", what()),
                )
                .with_source(error)
            })
    }

    async fn read_letters(
        &self,
        query: LetterQuery,
    ) -> Result<BoxStream<'static, Result<DeadLetter>>> {
        self.layout.ensure_shared().await?;
        let names = &self.layout.names;
        let reason = query.reason;
        if query.id.is_some() {
            // One question, where a list takes a consumer.
            let stored = self
                .first(&names.dead_stream(), &names.letters(&query))
                .await?;
            let letter = stored.map(|stored| {
                let sequence = stored.sequence;
                DeadLetter::decode(&stored.body).map(|letter| DeadLetter { sequence, ..letter })
            });
            let wanted = letter.filter(|letter| match (letter, reason) {
                (Ok(letter), Some(reason)) => letter.reason == reason,
                _ => true,
            });
            return Ok(futures::stream::iter(wanted).boxed());
        }
        let letters = self.read_past(
            names.dead_stream(),
            names.letters(&query),
            Timestamp::from_millis(0),
        )?;
        Ok(letters
            .filter_map(move |message| {
                let letter = message.and_then(|(sequence, body)| {
                    DeadLetter::decode(&body).map(|letter| DeadLetter { sequence, ..letter })
                });
                let wanted = match (&letter, reason) {
                    (Ok(letter), Some(reason)) => letter.reason == reason,
                    _ => true,
                };
                std::future::ready(wanted.then_some(letter))
            })
            .boxed())
    }
}
