//! What became of the tasks that were sent.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, value::RawValue};
use taskq::{Error, Outcome, TaskId};

/// What became of one task. Its JSON is one line of `--json`.
#[derive(Clone, Debug, Serialize)]
pub struct TaskReport {
    /// The task's name.
    pub task: String,
    /// The task's id; null when it could not be sent.
    pub id: Option<TaskId>,
    /// The arguments: an object, or an array when they go by position.
    pub args: Value,
    /// `succeeded`, `failed`, `cancelled`, `expired`; `sent` when nobody
    /// waited, `unsent` when the broker did not take it, `timeout` when it
    /// has not ended in time.
    pub state: &'static str,
    /// What it returned, when it succeeded.
    pub result: Option<Box<RawValue>>,
    /// Why it did not succeed.
    pub error: Option<String>,
    /// The worker of the last attempt.
    pub worker: Option<String>,
    /// The number of the last attempt.
    pub attempt: Option<u32>,
    /// Milliseconds from the sending to this report.
    pub ms: f64,
}

impl TaskReport {
    /// Of a task that was sent and not waited for.
    #[must_use]
    pub fn sent(task: impl Into<String>, args: Value, id: TaskId) -> Self {
        Self {
            id: Some(id),
            ..Self::blank(task.into(), args, "sent")
        }
    }

    /// Of a task that the broker did not take.
    #[must_use]
    pub fn unsent(task: impl Into<String>, args: Value, error: &Error) -> Self {
        Self {
            error: Some(error.to_string()),
            ..Self::blank(task.into(), args, "unsent")
        }
    }

    /// Of a task that was waited for.
    #[must_use]
    pub fn waited(
        task: impl Into<String>,
        args: Value,
        id: TaskId,
        outcome: Result<Outcome, Error>,
    ) -> Self {
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => {
                let state = if error.is_timeout() {
                    "timeout"
                } else {
                    "unknown"
                };
                return Self {
                    id: Some(id),
                    error: Some(error.to_string()),
                    ..Self::blank(task.into(), args, state)
                };
            }
        };
        Self {
            id: Some(id),
            state: outcome.state.as_str(),
            result: outcome.return_value,
            error: outcome.error.map(|failure| failure.message),
            worker: Some(outcome.worker).filter(|worker| !worker.is_empty()),
            attempt: Some(outcome.attempt),
            ..Self::blank(task.into(), args, "")
        }
    }

    fn blank(task: String, args: Value, state: &'static str) -> Self {
        Self {
            task,
            id: None,
            args,
            state,
            result: None,
            error: None,
            worker: None,
            attempt: None,
            ms: 0.0,
        }
    }

    /// Whether it is as the sender wanted it.
    #[must_use]
    pub fn is_good(&self) -> bool {
        matches!(self.state, "succeeded" | "sent")
    }

    /// Takes a wrong result for what it is: a failure.
    #[must_use]
    pub(crate) fn checked(mut self, expected: &Value) -> Self {
        if self.state != "succeeded" {
            return self;
        }
        let text = self.result.as_deref().map_or("null", RawValue::get);
        if serde_json::from_str::<Value>(text).ok().as_ref() != Some(expected) {
            self.error = Some(format!(
                "the result is wrong: expected {expected}, got {text}"
            ));
            self.state = "failed";
        }
        self
    }
}

/// What became of all of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Tasks that the broker took.
    pub sent: u64,
    /// Tasks that returned what they should.
    pub succeeded: u64,
    /// Tasks that did not, or could not be sent.
    pub failed: u64,
    /// How many tasks ended at each worker.
    pub by_worker: BTreeMap<String, u64>,
    /// Seconds from the first sending to the last report.
    pub seconds: f64,
}

impl Summary {
    /// Whether nothing failed.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.failed == 0
    }

    pub(crate) fn add(&mut self, report: &TaskReport) {
        self.sent += u64::from(report.id.is_some());
        match report.state {
            "succeeded" => self.succeeded += 1,
            "sent" => {}
            _ => self.failed += 1,
        }
        if let Some(worker) = &report.worker {
            *self.by_worker.entry(worker.clone()).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn succeeded(result: &str) -> TaskReport {
        TaskReport {
            id: Some("1".into()),
            result: RawValue::from_string(result.to_owned()).ok(),
            worker: Some("w".to_owned()),
            ..TaskReport::blank("t".to_owned(), json!({}), "succeeded")
        }
    }

    #[test]
    fn a_report_has_the_keys_that_scripts_rely_on() {
        let json = serde_json::to_value(succeeded("1")).unwrap();
        for key in [
            "task", "id", "args", "state", "result", "error", "worker", "attempt", "ms",
        ] {
            assert!(json.get(key).is_some(), "{key}");
        }
    }

    #[test]
    fn a_wrong_result_is_a_failure() {
        assert!(succeeded(" 7 ").checked(&json!(7)).is_good());
        let wrong = succeeded("8").checked(&json!(7));
        assert!(!wrong.is_good());
        assert!(
            wrong
                .error
                .as_deref()
                .unwrap()
                .contains("expected 7, got 8")
        );
    }

    #[test]
    fn the_summary_counts_what_was_sent_and_who_ran_it() {
        let mut summary = Summary::default();
        let wrong = succeeded("8").checked(&json!(7));
        let unsent = TaskReport::blank("t".to_owned(), json!({}), "unsent");
        for report in [succeeded("7"), wrong, unsent] {
            summary.add(&report);
        }
        assert_eq!((summary.sent, summary.succeeded, summary.failed), (2, 1, 2));
        assert_eq!(summary.by_worker["w"], 2);
        assert!(!summary.is_good());
    }
}
