//! How a task ended.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    Arguments, DeadReason, FailedAttempt, KeptArguments, TaskId, TaskMessage, arguments::from_raw,
    labels,
};
use crate::error::{Error, ErrorKind, Result};
use crate::failure::{Failure, FailureKind};
use crate::time::Timestamp;

/// The four ways a task ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It returned a value.
    Succeeded,
    /// Its last attempt failed.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
    /// Its time was over before it started.
    Expired,
}

impl State {
    /// The state in one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }
}

impl std::str::FromStr for State {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let all = [
            Self::Succeeded,
            Self::Failed,
            Self::Cancelled,
            Self::Expired,
        ];
        let found = all.into_iter().find(|state| state.as_str() == text);
        found.ok_or_else(|| {
            Error::invalid(format!(
                "`{text}` is no end of a task; it ends {}",
                all.map(Self::as_str).join(", ")
            ))
        })
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The single terminal record of a task. Its JSON has Taskiq's result keys
/// (`is_err`, `return_value`, `execution_time`, `error`, `labels`, `log`) and
/// taskq's own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// The task's id.
    #[serde(rename = "task_id")]
    pub id: TaskId,
    /// The task's name.
    #[serde(rename = "task_name")]
    pub task: String,
    /// The queue it went through.
    pub queue: String,
    /// How it ended.
    pub state: State,
    /// Whether it ended otherwise than with a value.
    pub is_err: bool,
    /// What it returned, as JSON; null unless it succeeded.
    pub return_value: Option<Box<RawValue>>,
    /// Why it did not succeed.
    pub error: Option<Failure>,
    /// Seconds that the last attempt ran.
    pub execution_time: f64,
    /// The number of the last attempt, from 1; 0 if it never started.
    pub attempt: u32,
    /// The worker of the last attempt; empty if it never started.
    pub worker: String,
    /// When the broker accepted the call.
    pub enqueued_at: Timestamp,
    /// When the last attempt was to start; none if it was not put off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Timestamp>,
    /// When the last attempt started, by the server's clock.
    pub started_at: Option<Timestamp>,
    /// When this record was made, by the server's clock.
    pub finished_at: Timestamp,
    /// The labels of the message, as they crossed the wire.
    #[serde(default)]
    pub labels: serde_json::Map<String, serde_json::Value>,
    /// What the last attempt said by [`Context::log`](crate::Context::log);
    /// Taskiq's field for captured output.
    #[serde(default)]
    pub log: Option<String>,
    /// The attempts that failed before the last one, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<FailedAttempt>,
    /// Why the message is a dead letter; none if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead: Option<DeadReason>,
    /// Who cancelled it; none if nobody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled_by: Option<String>,
    /// The value was too large for this record: the name it is stored under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
    /// The message as it came, where the task was cancelled: a cancelled task
    /// leaves no dead letter, and can be run again all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<Box<RawValue>>,
    /// Whether the start of the last attempt was told as an event.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) start_told: bool,
    /// The arguments by position, where the record keeps them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) args: Option<Box<RawValue>>,
    /// The arguments by name, where the record keeps them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kwargs: Option<Box<RawValue>>,
}

impl Outcome {
    /// Keeps the message of a cancelled task, so that it can be run again. Not
    /// one whose arguments are stored apart: they go with the task.
    pub(crate) fn keep_message(&mut self, body: &[u8]) {
        if self.labels.contains_key(labels::PAYLOAD) {
            return;
        }
        self.message = std::str::from_utf8(body)
            .ok()
            .and_then(|text| RawValue::from_string(text.to_owned()).ok());
    }

    /// Whether the task succeeded.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.state == State::Succeeded
    }

    /// The trace that the task is a part of (32 hex digits), if whoever sent it
    /// or ran it was traced.
    #[must_use]
    pub fn trace_id(&self) -> Option<&str> {
        let parent = self.labels.get(super::labels::TRACEPARENT)?.as_str()?;
        Some(super::Traceparent::parse(parent)?.trace_id)
    }

    /// How long after its time the last attempt started; none if it was not
    /// put off, or never started. To the millisecond, by the server's clock.
    #[must_use]
    pub fn lateness(&self) -> Option<std::time::Duration> {
        Some(self.started_at?.since(self.due_at?))
    }

    /// What the task was called with, where the record keeps it: always where
    /// the task was cancelled; of a success not where there were no arguments,
    /// where they are sensitive, or where they are longer than the worker keeps
    /// ([`WorkerBuilder::keep_arguments`](crate::WorkerBuilder::keep_arguments));
    /// otherwise its dead letter has them.
    #[must_use]
    pub fn arguments(&self) -> Option<Arguments> {
        if let Some(message) = &self.message {
            let message = TaskMessage::decode(message.get().as_bytes());
            return message.ok().map(|message| message.arguments);
        }
        Arguments::from_json(self.args.as_deref(), self.kwargs.as_deref())
    }

    /// The value that the task returned.
    ///
    /// # Errors
    /// [`ErrorKind::TaskFailed`], [`ErrorKind::Cancelled`] or
    /// [`ErrorKind::Expired`] if it did not succeed;
    /// [`ErrorKind::Undecodable`] if the value is not a `T`.
    pub fn value<T: DeserializeOwned>(&self) -> Result<T> {
        let kind = match self.state {
            State::Succeeded => {
                return match &self.return_value {
                    Some(value) => from_raw(value),
                    None => serde_json::from_str("null"),
                }
                .map_err(|error| wrong_type(self.id.as_str(), &self.task, error));
            }
            State::Failed => ErrorKind::TaskFailed,
            State::Cancelled => ErrorKind::Cancelled,
            State::Expired => ErrorKind::Expired,
        };
        let failure = self
            .error
            .clone()
            .unwrap_or_else(|| Failure::new(FailureKind::Error, "no error was recorded"));
        let attempt = match self.attempt {
            0 => "before it started".to_owned(),
            n => format!("at attempt {n} on worker {}", self.worker),
        };
        Err(Error::new(
            kind,
            format!(
                "task {} ({}) {} {attempt}: {failure}",
                self.id, self.task, self.state
            ),
        )
        .with_failure(failure))
    }

    /// The value of a success, read without the rest of its record; none for
    /// what is not a success.
    pub(crate) fn value_of<T: DeserializeOwned>(record: &[u8]) -> Option<Result<T>> {
        #[derive(Deserialize)]
        struct Glance<'a> {
            #[serde(rename = "task_id")]
            id: &'a str,
            #[serde(rename = "task_name")]
            task: &'a str,
            state: State,
            #[serde(borrow)]
            return_value: Option<&'a RawValue>,
            #[serde(default)]
            payload: Option<&'a str>,
        }
        let glance: Glance<'_> = serde_json::from_slice(record).ok()?;
        if glance.state != State::Succeeded || glance.payload.is_some() {
            return None;
        }
        let value = glance.return_value.map_or("null", RawValue::get);
        Some(serde_json::from_str(value).map_err(|error| wrong_type(glance.id, glance.task, error)))
    }

    /// Reads an outcome from its JSON.
    ///
    /// # Errors
    /// [`ErrorKind::Undecodable`] with what is wrong and where.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes).map_err(|error| {
            Error::new(
                ErrorKind::Undecodable,
                format!("the record of an outcome is not one: {error}"),
            )
            .with_source(error)
        })
    }

    /// Writes the outcome as JSON, with these arguments.
    pub(crate) fn encode_with(&self, kept: &KeptArguments) -> Vec<u8> {
        let mut bytes = self.encode_into(Vec::with_capacity(512 + kept.len()));
        if self.args.is_none() && self.kwargs.is_none() && self.message.is_none() {
            kept.write_into(&mut bytes);
        }
        bytes
    }

    /// Writes the outcome as JSON.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.encode_into(Vec::with_capacity(512))
    }

    fn encode_into(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        // Text keys, numbers and JSON values only: this cannot fail.
        let written = serde_json::to_writer(&mut bytes, self);
        debug_assert!(written.is_ok());
        bytes
    }
}

fn wrong_type(id: &str, task: &str, error: serde_json::Error) -> Error {
    Error::new(
        ErrorKind::Undecodable,
        format!("task {id} ({task}) returned a value of another type than was asked for: {error}"),
    )
    .with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(state: State) -> Outcome {
        Outcome {
            id: "1".into(),
            task: "t".into(),
            queue: "default".into(),
            state,
            is_err: state != State::Succeeded,
            return_value: None,
            error: None,
            execution_time: 0.25,
            attempt: 2,
            worker: "w1".into(),
            enqueued_at: Timestamp::from_millis(1),
            due_at: None,
            started_at: Some(Timestamp::from_millis(2)),
            finished_at: Timestamp::from_millis(3),
            labels: serde_json::Map::new(),
            log: None,
            attempts: Vec::new(),
            dead: None,
            cancelled_by: None,
            payload: None,
            message: None,
            start_told: false,
            args: None,
            kwargs: None,
        }
    }

    #[test]
    fn an_outcome_has_taskiqs_keys_and_comes_back() {
        let mut outcome = outcome(State::Failed);
        outcome.error = Some(Failure {
            type_name: "shop::mail::SendError".into(),
            ..Failure::new(FailureKind::Panic, "no route")
        });
        let json: serde_json::Value = serde_json::from_slice(&outcome.encode()).unwrap();
        for key in [
            "is_err",
            "return_value",
            "execution_time",
            "error",
            "labels",
            "log",
        ] {
            assert!(json.get(key).is_some(), "{key}");
        }
        assert_eq!(json["error"]["exc_type"], "SendError");
        assert_eq!(json["error"]["exc_module"], "shop::mail");
        let back = Outcome::decode(&outcome.encode()).unwrap();
        assert_eq!(back.error, outcome.error);
        assert_eq!(back.finished_at, outcome.finished_at);
    }

    #[test]
    fn a_failed_outcome_says_where_and_why() {
        let mut outcome = outcome(State::Failed);
        outcome.error = Some(Failure::new(FailureKind::Error, "no route"));
        let error = outcome.value::<u32>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TaskFailed);
        assert_eq!(
            error.to_string(),
            "task 1 (t) failed at attempt 2 on worker w1: no route"
        );
    }

    #[test]
    fn a_value_of_another_type_is_told() {
        let mut outcome = outcome(State::Succeeded);
        outcome.return_value = Some(super::super::to_raw("text").unwrap());
        assert_eq!(outcome.value::<String>().unwrap(), "text");
        let error = outcome.value::<u32>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Undecodable);
    }
}
