//! What an attempt leaves behind: the record of its outcome, or the message of
//! the next attempt.

use std::time::Duration;

use serde_json::value::RawValue;

use super::execute::{Executor, Started};
use crate::broker::{Publication, Record};
use crate::failure::{Failure, FailureKind};
use crate::message::{Label, Outcome, State, TaskMessage, labels};
use crate::time::Timestamp;

impl Executor {
    /// The message of the next attempt.
    pub(super) fn next_attempt(&self, started: &Started, delay: Duration) -> Option<Publication> {
        let attempt = &started.attempt;
        let mut message = TaskMessage::decode(&started.delivery.body).ok()?;
        let set = &mut message.labels;
        set.set(labels::ATTEMPT, attempt.number.saturating_add(1));
        set.set(labels::FAILURES, started.policy.failures.saturating_add(1));
        set.set(labels::ENQUEUED_AT, attempt.enqueued_at.as_millis());
        Some(Publication {
            id: message.id.clone(),
            named: false,
            task: message.task.clone(),
            queue: attempt.queue.to_string(),
            priority: started.delivery.priority,
            due: Some(Timestamp::now().plus(delay)),
            lock: None,
            body: message.encode().into(),
        })
    }

    pub(super) fn record(
        &self,
        started: &Started,
        state: State,
        value: Option<Box<RawValue>>,
        error: Option<Failure>,
    ) -> Record {
        let attempt = &started.attempt;
        let outcome = Outcome {
            id: attempt.id.clone(),
            task: attempt.task.to_owned(),
            queue: attempt.queue.to_string(),
            state,
            is_err: state != State::Succeeded,
            return_value: value,
            error,
            execution_time: started.since.elapsed().as_secs_f64(),
            attempt: attempt.number,
            worker: attempt.worker.to_string(),
            enqueued_at: attempt.enqueued_at,
            started_at: Some(attempt.started_at),
            finished_at: Timestamp::now(),
            labels: attempt
                .labels
                .iter()
                .map(|(name, label)| (name.to_owned(), label.wire_value().clone()))
                .collect(),
            log: None,
        };
        let body = self.fit(outcome);
        Record {
            id: attempt.id.clone(),
            body,
            ttl: started.policy.ttl,
            unlock: attempt
                .labels
                .get(labels::UNIQUE)
                .and_then(Label::as_str)
                .map(str::to_owned),
        }
    }

    /// An outcome that the broker cannot take would never be recorded: one
    /// that says so takes its place.
    fn fit(&self, mut outcome: Outcome) -> Vec<u8> {
        let body = outcome.encode();
        let limit = self.client.0.broker.max_message();
        if body.len() <= limit {
            return body;
        }
        let (state, size) = (outcome.state, body.len());
        outcome.state = State::Failed;
        outcome.is_err = true;
        outcome.return_value = None;
        outcome.labels.clear();
        outcome.error = Some(Failure {
            kind: FailureKind::ReturnValue,
            type_name: String::new(),
            message: format!(
                "the task {state}, but its record is {size} bytes long and the broker takes \
                 {limit}; return a reference to the data instead"
            ),
        });
        outcome.encode()
    }
}
