//! What is known of a worker process that died.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Event, EventKind, TaskId};
use crate::time::Timestamp;

/// A task that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunningTask {
    /// Its id.
    #[serde(rename = "task_id")]
    pub id: TaskId,
    /// Its name.
    #[serde(rename = "task_name")]
    pub task: String,
    /// Its queue.
    pub queue: String,
    /// The number of its attempt.
    pub attempt: u32,
    /// Since when it runs.
    pub since: Timestamp,
    /// Whether it is being cancelled.
    #[serde(default)]
    pub stopping: bool,
}

impl RunningTask {
    pub(crate) fn new(id: TaskId, task: &str, queue: &str, attempt: u32, since: Timestamp) -> Self {
        Self {
            id,
            task: task.to_owned(),
            queue: queue.to_owned(),
            attempt,
            since,
            stopping: false,
        }
    }
}

/// The death of a worker process, as the pool saw it that had started it. Its
/// text is how it ended: `killed by signal 9 (SIGKILL) after 2m5s, memory top 212
/// MiB`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerDeath {
    /// The worker.
    pub worker: String,
    /// When its end was seen.
    pub at: Timestamp,
    /// The pool that had it.
    pub pool: String,
    /// The machine it was on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The number that its process had.
    pub process: u32,
    /// How long it lived, in milliseconds.
    pub lived_ms: u64,
    /// The code that it exited with; none if a signal ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// The number of the signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// That signal's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal_name: Option<String>,
    /// Whether the system killed a process at that time since it had no memory
    /// left, and it was this one as far as can be told.
    #[serde(default)]
    pub out_of_memory: bool,
    /// The most memory that it was seen to hold, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory_bytes: Option<u64>,
    /// What it was running, the longest first; not in a dead letter, which is of
    /// one of these.
    #[serde(default)]
    pub running: Vec<RunningTask>,
    /// The last lines that it wrote to stdout and stderr.
    #[serde(default)]
    pub log: Vec<String>,
}

impl WorkerDeath {
    /// As an event.
    pub(crate) fn to_event(&self) -> Event {
        // Texts, numbers and times only: this does not fail.
        let mut detail = match serde_json::to_value(self) {
            Ok(Value::Object(detail)) => detail,
            _ => Map::new(),
        };
        detail.remove("worker");
        detail.remove("at");
        Event {
            worker: Some(self.worker.clone()),
            detail,
            ..Event::new(EventKind::WorkerDied, self.at)
        }
    }

    /// The death that an event tells of; none of another event.
    #[must_use]
    pub fn of(event: &Event) -> Option<Self> {
        if event.kind != EventKind::WorkerDied {
            return None;
        }
        let mut all = event.detail.clone();
        all.insert("worker".to_owned(), event.worker.clone()?.into());
        all.insert("at".to_owned(), event.at.to_string().into());
        serde_json::from_value(Value::Object(all)).ok()
    }

    /// What it was doing with a task; none if it did not run it.
    #[must_use]
    pub fn ran(&self, id: &TaskId) -> Option<&RunningTask> {
        self.running.iter().find(|task| task.id == *id)
    }
}

impl fmt::Display for WorkerDeath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.signal, &self.signal_name, self.code) {
            (Some(signal), Some(name), _) => write!(f, "killed by signal {signal} ({name})")?,
            (Some(signal), None, _) => write!(f, "killed by signal {signal}")?,
            (None, _, Some(code)) => write!(f, "ended with code {code}")?,
            (None, _, None) => f.write_str("ended")?,
        }
        if self.out_of_memory {
            f.write_str(" when the system had no memory left")?;
        }
        // Whole seconds, where it is more than some.
        let lived = match self.lived_ms {
            ms @ ..10_000 => Duration::from_millis(ms),
            ms => Duration::from_secs(ms / 1000),
        };
        write!(f, " after {}", taskq_syntax::format_duration(lived))?;
        match self.peak_memory_bytes {
            Some(bytes) => write!(f, ", memory top {} MiB", bytes >> 20),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn death() -> WorkerDeath {
        WorkerDeath {
            worker: "w".to_owned(),
            at: Timestamp::from_millis(5),
            pool: "p".to_owned(),
            host: None,
            process: 4711,
            lived_ms: 125_300,
            code: None,
            signal: Some(9),
            signal_name: Some("SIGKILL".to_owned()),
            out_of_memory: false,
            peak_memory_bytes: Some(212 << 20),
            running: vec![RunningTask::new(
                "1".into(),
                "t",
                "default",
                2,
                Timestamp::from_millis(1),
            )],
            log: vec!["about to".to_owned()],
        }
    }

    #[test]
    fn a_death_is_an_event_and_comes_back() {
        let event = Event::decode(&death().to_event().encode()).unwrap();
        assert_eq!(event.worker.as_deref(), Some("w"));
        assert_eq!(event.detail["running"][0]["task_id"], "1");
        assert_eq!(WorkerDeath::of(&event), Some(death()));
        let other = Event::new(EventKind::WorkerDown, event.at);
        assert_eq!(WorkerDeath::of(&other), None);
    }

    #[test]
    fn a_death_is_told_in_a_line() {
        assert_eq!(
            death().to_string(),
            "killed by signal 9 (SIGKILL) after 2m5s, memory top 212 MiB"
        );
        let ended = WorkerDeath {
            code: Some(101),
            signal: None,
            lived_ms: 40,
            peak_memory_bytes: None,
            ..death()
        };
        assert_eq!(ended.to_string(), "ended with code 101 after 40ms");
    }
}
