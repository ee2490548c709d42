//! Calls that become one task with others of their key.
//!
//! What is gathered waits as one plan, of the key; each call puts another in
//! its place, on the condition that it is still the one that was read. So a
//! call is in exactly one task: a plan that has fired, or was started, is
//! not there any more, and the call begins another. A plan that is about to
//! fire is left alone: the server takes what it fires out of the plan and ends
//! the plan in two steps, and what came between them would be lost.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use taskq_syntax::Priority;
use tokio::sync::oneshot;

use super::{Client, TaskHandle};
use crate::broker::{Mode, Plan, PlanName, Publication, Replan};
use crate::error::{Error, ErrorKind, Result};
use crate::message::{
    BURST_DIGITS, Burst, Event, EventKind, Gather, Gathered, TaskId, TaskMessage, key_of, labels,
};
use crate::task::{CallParts, GatherBy, When};
use crate::time::Timestamp;

/// What is to be added to the burst of each key. The calls of this process
/// that come together go together: one plan for all of them.
#[derive(Debug, Default)]
pub(super) struct Desks(Mutex<HashMap<String, VecDeque<Waiting>>>);

/// A call that is to be told what became of it.
#[derive(Debug)]
struct Waiting {
    call: Outgoing,
    since: Instant,
    tell: oneshot::Sender<Result<TaskId>>,
}

impl Waiting {
    /// Whoever gave up waiting does not want it.
    fn tell(self, what: Result<TaskId>) {
        let _ = self.tell.send(what);
    }
}

impl Desks {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, VecDeque<Waiting>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a call; true if nobody is at the desk of its key.
    fn add(&self, waiting: Waiting) -> bool {
        let mut desks = self.lock();
        match desks.get_mut(&waiting.call.key) {
            Some(queue) => {
                queue.push_back(waiting);
                false
            }
            None => {
                let key = waiting.call.key.clone();
                desks.insert(key, [waiting].into());
                true
            }
        }
    }

    /// What has come; none, and the desk is left, if nothing has.
    fn take(&self, key: &str) -> Option<VecDeque<Waiting>> {
        let mut desks = self.lock();
        let queue = desks.get_mut(key)?;
        if queue.is_empty() {
            desks.remove(key);
            return None;
        }
        Some(std::mem::take(queue))
    }
}

/// A call on its way to a burst.
#[derive(Debug)]
struct Outgoing {
    message: TaskMessage,
    queue: String,
    priority: Priority,
    by: GatherBy,
    /// The burst's, for the server.
    key: String,
}

impl Client {
    pub(super) async fn gather<Out>(&self, parts: CallParts) -> Result<TaskHandle<Out>> {
        let place = self.place_of(&parts.task);
        let call = self.prepare_gathered(parts)?;
        let (id, message, queue) = (
            call.message.id.clone(),
            call.message.clone(),
            call.queue.clone(),
        );
        // Should it be the first of its burst.
        let expected = match self.0.results {
            true => Some(self.0.broker.expect(&id).await?),
            false => None,
        };
        let key = call.key.clone();
        let (tell, told) = oneshot::channel();
        let since = Instant::now();
        if self.0.desks.add(Waiting { call, since, tell }) {
            let client = self.clone();
            // Others count on it, whatever becomes of this call.
            tokio::spawn(async move { client.attend(&key).await });
        }
        let sent = told.await.unwrap_or_else(|_| {
            let text = format!("sending task {id} failed: the client is closed");
            Err(Error::new(ErrorKind::Closed, text))
        });
        if self.0.tell_enqueued
            && let Ok(id) = &sent
        {
            let now = self.0.broker.now();
            let event = Event::of(EventKind::Enqueued, now, id, &message.task, &queue);
            self.0.broker.tell(event);
        }
        for hook in &self.0.hooks {
            hook.after(&message, sent.as_ref());
        }
        let of = sent?;
        let existing = of != id;
        if !existing {
            self.0.sent.count(place);
        }
        let expected = expected.filter(|_| !existing);
        Ok(TaskHandle::new(self.clone(), of, expected, existing))
    }

    /// Sends the calls of a key, until there are no more.
    async fn attend(&self, key: &str) {
        while let Some(mut calls) = self.0.desks.take(key) {
            while !calls.is_empty() {
                self.send_gathered(&mut calls).await;
            }
        }
    }

    /// All that needs no broker.
    fn prepare_gathered(&self, parts: CallParts) -> Result<Outgoing> {
        taskq_syntax::check_task_name(&parts.task)?;
        taskq_syntax::check_queue_name(&parts.queue)?;
        refuse_odd(&parts, self.mode())?;
        let Some(by) = parts.gather else {
            return Err(Error::invalid("a call without a key is not gathered"));
        };
        let key = digest(&[&parts.queue, &parts.task, &by.key]);
        let now = self.0.broker.now();
        let mut message = TaskMessage {
            id: self.0.ids.next().of_burst(&key),
            task: parts.task.into_owned(),
            labels: parts.labels,
            arguments: parts.arguments,
        };
        if let Some(key) = parts.key.key(&message.task, &message.arguments, &[]) {
            message.labels.set(labels::KEY, key);
        }
        // Both move with the burst.
        message.labels.set(labels::DUE, now.as_millis());
        if let Some(deadline) = parts.deadline {
            let deadline = now.plus(deadline).as_millis();
            message.labels.set(labels::DEADLINE, deadline);
        }
        for hook in &self.0.hooks {
            hook.before(&mut message)?;
        }
        let (size, most) = (message.encode().len(), self.largest_gathered());
        if size > most {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!(
                    "task {} ({}) is {size} bytes long, and what is debounced or sent in a batch \
                     may have {most}; send a reference to the data instead",
                    message.id, message.task
                ),
            ));
        }
        Ok(Outgoing {
            message,
            queue: parts.queue.into_owned(),
            priority: parts.priority,
            by,
            key,
        })
    }

    /// The largest message of a burst: with its headers it must fit.
    fn largest_gathered(&self) -> usize {
        self.0.broker.max_message().saturating_sub(ROOM)
    }

    /// Puts calls in the burst of their key, as far as they fit in one.
    async fn send_gathered(&self, calls: &mut VecDeque<Waiting>) {
        let Some(Waiting { call, .. }) = calls.front() else {
            return;
        };
        let burst = BurstName {
            queue: call.queue.clone(),
            task: call.message.task.clone(),
            key: call.key.clone(),
        };
        let plan = match self.0.broker.plan(burst.as_plan()).await {
            Ok(plan) => plan,
            Err(error) => {
                self.try_later(calls, Some(error)).await;
                return;
            }
        };
        let mut taken = VecDeque::new();
        match self.try_gathered(&burst, plan, calls, &mut taken).await {
            Ok(Some(id)) => taken.into_iter().for_each(|it| it.tell(Ok(id.clone()))),
            // Another process was first.
            Ok(None) => {
                taken.append(calls);
                *calls = taken;
                self.try_later(calls, None).await;
            }
            // It was tried for as long as it may take, and may be stored: it
            // is not for this to send it once more.
            Err(error) => taken.into_iter().for_each(|it| it.tell(Err(copy(&error)))),
        }
    }

    /// How long it is until a plan fires, if it is about to, or may be firing
    /// now. One that is overdue for longer is held up by something, and still
    /// takes calls.
    fn fires_in(&self, due: Timestamp, by: &Gather) -> Option<Duration> {
        if self.mode() != Mode::JetStream {
            return None;
        }
        let now = self.0.broker.now();
        let wait = due.since(now);
        let about_to = wait <= by.margin() && now.since(due) <= OVERDUE;
        about_to.then_some(wait)
    }

    /// Waits a moment, and tells those whose time is over.
    async fn try_later(&self, calls: &mut VecDeque<Waiting>, why: Option<Error>) {
        let hopeless = why.as_ref().is_some_and(|error| !error.is_retryable());
        let patience = self.0.enqueue_timeout;
        let (left, over) = std::mem::take(calls)
            .into_iter()
            .partition(|it| !hopeless && it.since.elapsed() < patience);
        *calls = left;
        let over: VecDeque<Waiting> = over;
        for waiting in over {
            let message = &waiting.call.message;
            let error = why.as_ref().map_or_else(
                || {
                    Error::new(
                        ErrorKind::Unavailable,
                        format!(
                            "task {} ({}) was not sent: others send calls of its key faster than \
                             it can be added to them; try again, or use more keys",
                            message.id, message.task
                        ),
                    )
                },
                copy,
            );
            waiting.tell(Err(error));
        }
        // Not in step with the other process again.
        let pause = match why {
            Some(_) => Duration::from_millis(50),
            None => Duration::from_micros(fastrand::u64(..2_000)),
        };
        tokio::time::sleep(pause).await;
    }

    /// One step: as many calls as fit are taken to the burst that waits, and
    /// put in its place with it; the id of their task, if nobody else was
    /// first.
    async fn try_gathered(
        &self,
        name: &BurstName,
        plan: Option<Plan>,
        calls: &mut VecDeque<Waiting>,
        taken: &mut VecDeque<Waiting>,
    ) -> Result<Option<TaskId>> {
        let broker = &self.0.broker;
        if let (Some(plan), Some(next)) = (&plan, calls.front())
            && let Some(wait) = self.fires_in(plan.due, &next.call.by.gather)
        {
            tokio::time::sleep(wait).await;
            return Ok(None);
        }
        let revision = plan.as_ref().map_or(0, |plan| plan.revision);
        let mut priority = plan.as_ref().map(|plan| plan.priority);
        let mut waits = match plan {
            None => None,
            Some(plan) => Some(Burst {
                message: TaskMessage::decode(&plan.body)?,
                due: plan.due,
            }),
        };
        let mut release = false;
        while let Some(waiting) = calls.pop_front() {
            let Outgoing { message, by, .. } = &waiting.call;
            let (now, largest) = (broker.now(), self.largest_gathered());
            let added = by.gather.add(waits.clone(), message.clone(), now, largest);
            // The last of a debounced burst says how; the first of a batch.
            let of_call = waiting.call.priority;
            match by.gather {
                Gather::Debounce { .. } => priority = Some(of_call),
                Gather::Batch { .. } => priority = priority.or(Some(of_call)),
            }
            match added {
                Err(error) => {
                    waiting.tell(Err(error));
                    continue;
                }
                Ok(Gathered::Wait(burst)) => waits = Some(burst),
                Ok(Gathered::Release(burst)) => {
                    (waits, release) = (Some(burst), true);
                }
                Ok(Gathered::Full(burst)) => {
                    (waits, release) = (Some(burst), true);
                    calls.push_front(waiting);
                    break;
                }
                Ok(Gathered::Alone(message)) => {
                    let burst = Burst { message, due: now };
                    let publication = publication(&name.queue, burst, of_call);
                    let id = publication.id.clone();
                    taken.push_back(waiting);
                    broker
                        .publish(Publication {
                            due: None,
                            ..publication
                        })
                        .await?;
                    return Ok(Some(id));
                }
            }
            taken.push_back(waiting);
            if release {
                break;
            }
        }
        let Some(burst) = waits.filter(|_| release || !taken.is_empty()) else {
            return Ok(None);
        };
        let publication = publication(&name.queue, burst, priority.unwrap_or_default());
        let id = publication.id.clone();
        let replan = Replan {
            publication,
            burst: Some(name.key.clone()),
            revision,
            release,
        };
        let done = broker.replan(replan).await?;
        Ok(done.then_some(id))
    }
}

/// Which burst.
struct BurstName {
    queue: String,
    task: String,
    key: String,
}

impl BurstName {
    fn as_plan(&self) -> PlanName<'_> {
        PlanName::Burst {
            queue: &self.queue,
            task: &self.task,
            key: &self.key,
        }
    }
}

/// The same error, for one more who is to be told.
fn copy(error: &Error) -> Error {
    Error::new(error.kind(), error.to_string())
}

/// A plan that is due for so long is not just firing.
const OVERDUE: Duration = Duration::from_secs(1);

/// What a message may grow by when it is stored.
const ROOM: usize = 2048;

fn publication(queue: &str, burst: Burst, priority: Priority) -> Publication {
    let Burst { message, due } = burst;
    let key = key_of(&message.labels).map(str::to_owned);
    Publication {
        id: message.id.clone(),
        named: false,
        body: Bytes::from(message.encode()),
        task: message.task,
        queue: queue.to_owned(),
        priority,
        due: Some(due),
        lock: None,
        key,
    }
}

/// Refuses what makes no sense of a call that becomes one with others.
fn refuse_odd(parts: &CallParts, mode: Mode) -> Result<()> {
    if mode == Mode::Core {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "task {} cannot be debounced or sent in a batch in core mode, which keeps \
                 nothing; use jetstream mode (TASKQ_MODE=jetstream)",
                parts.task
            ),
        ));
    }
    let odd = if parts.id.is_some() {
        "has an id, and a task that is made of several calls has one of its own; remove `id`"
    } else if parts.unique.is_some() {
        "is unique, and calls of one key are one task as it is; remove `unique`, also from the \
         task's options"
    } else if parts.when != When::Now {
        "is put off, and when it starts is for the burst to say; remove `delay` or `at`"
    } else {
        return Ok(());
    };
    Err(Error::invalid(format!(
        "task {} cannot be debounced or sent in a batch: the call {odd}",
        parts.task
    )))
}

/// A digest of texts, of so many hex digits as the key of a burst has.
fn digest(parts: &[&str]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    digest.finalize()[..BURST_DIGITS / 2]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
