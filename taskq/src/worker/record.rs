//! What an attempt leaves behind: the record of its outcome, or the message of
//! the next attempt.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::execute::{Executor, Incoming, Started, enqueued_at};
use crate::broker::{Delivery, Publication, Record};
use crate::failure::{Failure, FailureKind};
use crate::message::{
    CancelRequest, DeadReason, FailedAttempt, Journal, KeptArguments, Label, Labels, Outcome,
    State, TaskDefaults, TaskMessage, Trail, key_of, labels,
};
use crate::policy::Policy;
use crate::task::{Registry, TaskError, TaskOptions};
use crate::time::Timestamp;

/// What is recorded of how a task ended.
pub(super) struct Ending {
    state: State,
    value: Option<Box<RawValue>>,
    error: Option<Failure>,
    dead: Option<DeadReason>,
    cancelled_by: Option<String>,
}

impl Ending {
    pub(super) fn value(value: Box<RawValue>) -> Self {
        Self {
            state: State::Succeeded,
            value: Some(value),
            error: None,
            dead: None,
            cancelled_by: None,
        }
    }

    pub(super) fn cancelled(wish: &CancelRequest) -> Self {
        Self {
            state: State::Cancelled,
            value: None,
            error: Some(wish.failure()),
            dead: None,
            cancelled_by: Some(wish.by.clone()),
        }
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    pub(super) fn dead(state: State, reason: DeadReason, error: Failure) -> Self {
        Self {
            state,
            value: None,
            error: Some(error),
            dead: Some(reason),
            cancelled_by: None,
        }
    }
}

impl Incoming {
    /// A delivery of which nothing earlier is known.
    pub(super) fn new(
        delivery: Delivery,
        mut message: TaskMessage,
        registry: &Registry,
        defaults: &TaskDefaults,
    ) -> Self {
        let (place, task) = registry.find(&message.task);
        let none = TaskOptions::new();
        let options = task.map_or(&none, |task| &task.options);
        if options.is_sensitive() && message.labels.get(labels::SENSITIVE).is_none() {
            // Whoever sent it did not know.
            options.write_sensitivity(&mut message.labels);
        }
        let policy = Policy::of(options, defaults, &message.labels, delivery.stored_at);
        Self {
            journal: Journal::default().for_base(policy.first_attempt),
            delivery,
            message,
            task,
            place,
            policy,
            kept: KeptArguments::default(),
        }
    }
}

impl Executor {
    /// The message of the next attempt; none if it does not fit.
    pub(super) fn next_attempt(
        &self,
        started: &Started,
        error: &TaskError,
        due: Timestamp,
    ) -> Option<Publication> {
        let attempt = &started.attempt;
        let mut message = TaskMessage::decode(&started.delivery.body).ok()?;
        let set = &mut message.labels;
        set.set(labels::ATTEMPT, attempt.number.saturating_add(1));
        set.set(labels::FAILURES, started.policy.failures.saturating_add(1));
        set.remove(labels::ASIDE);
        if let Some(hidden) = attempt.labels.get(labels::SENSITIVE) {
            set.set(labels::SENSITIVE, hidden.clone());
        }
        set.set(labels::ENQUEUED_AT, attempt.enqueued_at.as_millis());
        set.set(labels::DUE, due.as_millis());
        if let Some(deadline) = started.policy.deadline {
            set.set(labels::DEADLINE, deadline.as_millis());
        }
        let mut trail = Trail::of(set);
        trail.push(FailedAttempt {
            attempt: attempt.number,
            worker: attempt.worker.to_string(),
            started_at: attempt.started_at,
            finished_at: self.client.0.broker.now(),
            error: error.failure(),
        });
        trail.write(set);
        // As it is, or as the first attempt has begun it.
        for name in [labels::TRACEPARENT, labels::TRACESTATE] {
            if let Some(label) = attempt.labels.get(name) {
                set.set(name, label.clone());
            }
        }
        let mut body = message.encode();
        let limit = self.client.0.broker.max_message() - ROOM_FOR_HEADERS;
        if body.len() > limit {
            // The evidence is worth less than the task.
            message.labels.remove(labels::ERRORS);
            body = message.encode();
        }
        (body.len() <= limit).then(|| Publication {
            id: message.id.clone(),
            named: false,
            task: message.task.clone(),
            queue: attempt.queue.to_string(),
            priority: started.delivery.priority,
            due: Some(due),
            lock: None,
            key: key_of(&message.labels).map(str::to_owned),
            body: body.into(),
        })
    }

    /// The message of a delivery that does not start now, to come again then;
    /// none if it does not fit.
    pub(super) fn message_aside(&self, incoming: &Incoming, due: Timestamp) -> Option<Publication> {
        let mut message = incoming.message.clone();
        let stored_at = incoming.delivery.stored_at;
        let enqueued_at = enqueued_at(&message.labels, stored_at).as_millis();
        let set = &mut message.labels;
        set.set(labels::ASIDE, incoming.delivery.priority.as_str());
        set.set(labels::ATTEMPT, incoming.attempt());
        set.set(labels::ENQUEUED_AT, enqueued_at);
        if let Some(deadline) = incoming.policy.deadline {
            set.set(labels::DEADLINE, deadline.as_millis());
        }
        let body = message.encode();
        let limit = self.client.0.broker.max_message() - ROOM_FOR_HEADERS;
        (body.len() <= limit).then(|| Publication {
            id: message.id.clone(),
            named: false,
            task: message.task.clone(),
            queue: incoming.delivery.queue.to_string(),
            priority: incoming.delivery.priority,
            due: Some(due),
            lock: None,
            key: key_of(&message.labels).map(str::to_owned),
            body: body.into(),
        })
    }

    /// The outcome of an attempt.
    pub(super) fn outcome_of(&self, started: &Started, ending: Ending) -> Outcome {
        let attempt = &started.attempt;
        let log = attempt.said.get().map(|_| attempt.said().log.clone());
        Outcome {
            id: attempt.id.clone(),
            task: attempt.task.to_owned(),
            queue: attempt.queue.to_string(),
            state: ending.state,
            is_err: ending.state != State::Succeeded,
            return_value: ending.value,
            error: ending.error,
            execution_time: started.ran.as_secs_f64(),
            attempt: attempt.number,
            worker: attempt.worker.to_string(),
            enqueued_at: attempt.enqueued_at,
            due_at: attempt.due,
            started_at: Some(attempt.started_at),
            finished_at: self.client.0.broker.now(),
            labels: attempt.labels.to_outcome(),
            log: log.filter(|log| !log.is_empty()),
            attempts: trail(&attempt.labels),
            dead: ending.dead,
            cancelled_by: ending.cancelled_by,
            payload: None,
            message: None,
            start_told: attempt.start_told.load(Ordering::Acquire),
            args: None,
            kwargs: None,
        }
    }

    /// The outcome of a delivery that was not started.
    pub(super) fn unstarted(&self, incoming: &Incoming, ending: Ending) -> Outcome {
        let message = &incoming.message;
        Outcome {
            id: message.id.clone(),
            task: message.task.clone(),
            queue: incoming.delivery.queue.to_string(),
            state: ending.state,
            is_err: true,
            return_value: None,
            error: ending.error,
            execution_time: 0.0,
            // The last one that was.
            attempt: incoming.attempt() - 1,
            worker: self.worker.to_string(),
            enqueued_at: enqueued_at(&message.labels, incoming.delivery.stored_at),
            due_at: message.labels.due(),
            started_at: None,
            finished_at: self.client.0.broker.now(),
            labels: message.labels.to_outcome(),
            log: None,
            attempts: trail(&message.labels),
            dead: ending.dead,
            cancelled_by: ending.cancelled_by,
            payload: None,
            message: None,
            start_told: false,
            args: None,
            kwargs: None,
        }
    }

    pub(super) fn record(&self, started: &Started, ending: Ending) -> Record {
        let outcome = self.outcome_of(started, ending);
        self.seal_with(outcome, started.policy.ttl, &started.attempt.kept)
    }

    /// Makes a record of an outcome whose message is kept, or is to be
    /// forgotten.
    pub(super) fn seal(&self, outcome: Outcome, ttl: Option<Duration>) -> Record {
        self.seal_with(outcome, ttl, &KeptArguments::default())
    }

    /// Makes a record of an outcome. A value that is too large for it is
    /// stored apart.
    fn seal_with(
        &self,
        mut outcome: Outcome,
        ttl: Option<Duration>,
        kept: &KeptArguments,
    ) -> Record {
        let label = |name: &str| outcome.labels.get(name)?.as_str().map(str::to_owned);
        let unlock = label(labels::UNIQUE);
        // A dead letter can be sent again, and needs its arguments then.
        let spent = label(labels::PAYLOAD).filter(|_| outcome.dead.is_none());
        let mut payload = None;
        let limit = self.client.0.broker.max_message() - ROOM_FOR_HEADERS;
        let mut body = outcome.encode_with(kept);
        if body.len() > limit && outcome.message.take().is_some() {
            body = outcome.encode();
        }
        if body.len() > limit
            && let Some(value) = outcome.return_value.take()
            && self.client.mode() != crate::broker::Mode::Core
        {
            let name = format!("value.{}", outcome.id);
            outcome.payload = Some(name.clone());
            payload = Some((name, Bytes::from(value.get().to_owned())));
            body = outcome.encode_with(kept);
        }
        if body.len() > limit {
            payload = None;
            body = too_large(&mut outcome, body.len(), limit);
        }
        Record {
            id: outcome.id,
            body,
            ttl,
            unlock,
            payload,
            spent,
        }
    }
}

/// What a message may grow by when it is stored.
const ROOM_FOR_HEADERS: usize = 512;

/// An outcome that the broker cannot take would never be recorded: one that
/// says so takes its place.
fn too_large(outcome: &mut Outcome, size: usize, limit: usize) -> Vec<u8> {
    let state = outcome.state;
    outcome.state = State::Failed;
    outcome.is_err = true;
    outcome.return_value = None;
    outcome.payload = None;
    outcome.labels.retain(|name, _| name == labels::SENSITIVE);
    outcome.attempts.clear();
    outcome.log = None;
    outcome.error = Some(Failure::new(
        FailureKind::ReturnValue,
        format!(
            "the task {state}, but its record is {size} bytes long and the broker takes {limit}; \
             return a reference to the data instead"
        ),
    ));
    outcome.encode()
}

fn trail(labels: &Labels) -> Vec<FailedAttempt> {
    match labels.get(labels::ERRORS).and_then(Label::as_str) {
        Some(_) => Trail::of(labels).into_vec(),
        None => Vec::new(),
    }
}
