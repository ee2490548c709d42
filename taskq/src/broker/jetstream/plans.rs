//! Plans, one message each with the server's schedule headers.

use std::time::Duration;

use async_nats::{HeaderMap, header};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt as _};
use tokio::time::Instant;

use super::JetStream;
use super::lookup::Stored;
use super::pipe::Refusal;
use crate::broker::{Plan, PlanName, PlanQuery, Plans, Publication, Replan};
use crate::error::Result;
use crate::message::{TaskId, TaskMessage};
use crate::time::Timestamp;

/// How long what has fallen due may take to its queue: a queue that was made
/// a moment ago does not take from the plan yet.
pub(super) const ARRIVAL: Duration = Duration::from_secs(2);

impl Plans for JetStream {
    fn plans(&self, query: PlanQuery) -> BoxFuture<'_, Result<BoxStream<'static, Result<Plan>>>> {
        Box::pin(self.read_plans(query))
    }

    fn plan<'a>(&'a self, name: PlanName<'a>) -> BoxFuture<'a, Result<Option<Plan>>> {
        Box::pin(async move {
            let names = &self.layout.names;
            let stored = match name {
                PlanName::Task(id) => self.find_plan(id).await?,
                PlanName::Burst { queue, task, key } => {
                    let subject = names.burst(queue, task, key);
                    self.last(&names.plan_stream(), &subject).await?
                }
            };
            stored.map(|stored| self.read_plan(&stored)).transpose()
        })
    }

    fn is_falling_due<'a>(&'a self, id: &'a TaskId) -> BoxFuture<'a, Result<bool>> {
        Box::pin(self.fell_due(id))
    }

    fn replan(&self, replan: Replan) -> BoxFuture<'_, Result<bool>> {
        Box::pin(self.change_plan(replan))
    }
}

impl JetStream {
    /// The plan of a message, though it may be a burst's.
    pub(super) async fn find_plan(&self, id: &TaskId) -> Result<Option<Stored>> {
        let names = &self.layout.names;
        let plan = names.plan_stream();
        let own = self.first(&plan, &names.plan_of_id(id)).await?;
        let Some(key) = id.burst().filter(|_| own.is_none()) else {
            return Ok(own);
        };
        let burst = self.first(&plan, &names.plan_of_burst(key)).await?;
        Ok(burst.filter(|stored| TaskMessage::decode(&stored.body).is_ok_and(|it| it.id == *id)))
    }

    /// When a message in its queue is due, if that is to come: a worker may
    /// have it, and wait.
    pub(super) fn due_later(&self, body: &[u8]) -> Option<Timestamp> {
        let due = TaskMessage::decode(body).ok()?.labels.due()?;
        (self.clock.now() < due).then_some(due)
    }

    /// Whether a message fell due a moment ago, so that it may be on its way
    /// to its queue, and seen nowhere else.
    pub(super) async fn fell_due(&self, id: &TaskId) -> Result<bool> {
        let names = &self.layout.names;
        for subject in [names.due_of_id(id), names.due_hold_of_id(id)] {
            let due = self.first(&names.plan_stream(), &subject).await?;
            if due.is_some_and(|due| self.clock.now().since(due.time) < ARRIVAL) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn read_plans(&self, query: PlanQuery) -> Result<BoxStream<'static, Result<Plan>>> {
        self.layout.ensure_shared().await?;
        let names = &self.layout.names;
        let (queue, task) = (query.queue.as_deref(), query.task.as_deref());
        let found =
            self.read_subjects_behind(names.plan_stream(), names.plans(queue, task), query.after)?;
        let broker = self.me()?;
        Ok(found
            .map(move |found| {
                let found = found?;
                let header = |name: &str| Some(found.headers.as_ref()?.get(name)?.to_string());
                let (schedule, target) = (header("Nats-Schedule"), header("Nats-Schedule-Target"));
                let time = header("Nats-Time-Stamp").and_then(|time| time.parse().ok());
                broker.plan_of(
                    &found.subject,
                    found.sequence,
                    found.body,
                    schedule.as_deref(),
                    target.as_deref(),
                    time,
                )
            })
            .boxed())
    }

    fn read_plan(&self, stored: &Stored) -> Result<Plan> {
        self.plan_of(
            &stored.subject,
            stored.sequence,
            stored.body.clone().into(),
            stored.header("Nats-Schedule"),
            stored.header("Nats-Schedule-Target"),
            Some(stored.time),
        )
    }

    fn plan_of(
        &self,
        subject: &str,
        revision: u64,
        body: Bytes,
        schedule: Option<&str>,
        target: Option<&str>,
        stored_at: Option<Timestamp>,
    ) -> Result<Plan> {
        let names = &self.layout.names;
        let message = TaskMessage::decode(&body)?;
        let due = schedule
            .and_then(|text| text.strip_prefix("@at ")?.parse().ok())
            .or_else(|| message.labels.due());
        let priority = target.and_then(|target| names.parse_due_priority(target)?.parse().ok());
        let stored_at = stored_at.unwrap_or_else(|| self.clock.now());
        Ok(Plan {
            id: message.id,
            task: message.task,
            queue: names.parse_plan(subject).unwrap_or_default().to_owned(),
            priority: priority.unwrap_or_default(),
            due: due.unwrap_or(stored_at),
            stored_at,
            body,
            burst: names.parse_burst(subject).map(str::to_owned),
            revision,
        })
    }

    async fn change_plan(&self, replan: Replan) -> Result<bool> {
        let publication = &replan.publication;
        self.ensure_fed(publication).await?;
        let (subject, mut headers) = self.change(&replan);
        // So that a repetition is known as one, whatever has become of the
        // first try.
        headers.insert(
            header::NATS_MESSAGE_ID,
            format!("{:032x}", fastrand::u128(..)),
        );
        let what = || format!("putting off task {} ({})", publication.id, publication.task);
        let started = Instant::now();
        let mut pause = Duration::from_millis(20);
        loop {
            let (subject, headers) = (subject.clone(), headers.clone());
            let sent = self
                .pipe
                .publish(subject, Some(headers), publication.body.clone());
            let refusal = match sent.await {
                Ok(()) => return Ok(true),
                Err(refusal) if refusal.is_wrong_last_sequence() => return Ok(false),
                Err(refusal) => refusal,
            };
            if refusal == Refusal::NobodyThere {
                self.layout.forget();
                // What goes wrong here shows again at the next try.
                let _ = self.ensure_fed(publication).await;
            }
            if !refusal.is_transient() || started.elapsed() + pause >= self.patience {
                return Err(refusal.into_error(&what()));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    /// Where the message goes, and the headers that let it take the plan's
    /// place.
    fn change(&self, replan: &Replan) -> (String, HeaderMap) {
        let names = &self.layout.names;
        let Publication {
            id,
            task,
            queue,
            due,
            ..
        } = &replan.publication;
        let plan = match &replan.burst {
            Some(key) => names.burst(queue, task, key),
            None => names.plan(queue, task, id),
        };
        let mut headers = HeaderMap::new();
        let revision = replan.revision.to_string();
        headers.insert(header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, revision);
        if !replan.release {
            let due = due.unwrap_or_else(|| self.clock.now());
            self.set_schedule(&mut headers, &replan.publication, due);
            return (plan, headers);
        }
        // As the server does it when the time comes: the message, and the end
        // of the plan, are one.
        headers.insert("Nats-Expected-Last-Subject-Sequence-Subject", plan.as_str());
        headers.insert(header::NATS_SCHEDULER, plan);
        headers.insert(header::NATS_SCHEDULE_NEXT, "purge");
        (self.subject_due(&replan.publication), headers)
    }

    /// Takes a message out of its plan; one of a burst only as long as it
    /// stands for it.
    pub(super) async fn withdraw_plan(&self, id: &TaskId, subject: &str) -> Result<()> {
        if self.layout.names.parse_burst(subject).is_none() {
            return self
                .purge_plan(id, serde_json::json!({ "filter": subject }))
                .await;
        }
        while let Some(stored) = self.find_plan(id).await? {
            // Not what has come since: it is of the next burst.
            let query = serde_json::json!({ "filter": subject, "seq": stored.sequence + 1 });
            self.purge_plan(id, query).await?;
        }
        Ok(())
    }
}
