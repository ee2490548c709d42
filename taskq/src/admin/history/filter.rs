//! Which entries of the history.

use serde::Serialize;
use serde_json::Value;

use super::HistoryEntry;
use crate::admin::past::RecordBody;
use crate::error::{Error, Result};
use crate::message::{AuditEntry, Event, EventKind, Outcome, State, TaskId, labels};
use crate::time::Timestamp;

/// What kind of thing the history tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum HistoryKind {
    /// A task has ended.
    Task,
    /// An operator did something.
    Audit,
    /// A worker came, went, or was told to.
    Worker,
}

impl HistoryKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Task, Self::Audit, Self::Worker];
}

impl std::str::FromStr for HistoryKind {
    type Err = Error;

    /// Reads `tasks`, `audit` or `workers`; `task` and `worker` too.
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "task" | "tasks" => Ok(Self::Task),
            "audit" => Ok(Self::Audit),
            "worker" | "workers" => Ok(Self::Worker),
            _ => Err(Error::invalid(format!(
                "`{text}` is no kind of history; the kinds are tasks, audit, workers"
            ))),
        }
    }
}

/// Which entries: those for which all that is set holds. What an entry cannot
/// have does not hold for it: only tasks have a state.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HistoryFilter {
    /// Of these kinds; of all if there are none.
    pub kinds: Vec<HistoryKind>,
    /// At this moment or later.
    pub since: Option<Timestamp>,
    /// Before this moment.
    pub until: Option<Timestamp>,
    /// The task of this id, and what operators did to it.
    pub id: Option<TaskId>,
    /// Tasks of this name, and what operators did to them and their type.
    pub task: Option<String>,
    /// Tasks of this queue, what operators did to it, and workers that serve it.
    pub queue: Option<String>,
    /// Tasks that this worker ran last, what operators did to it, and its life.
    pub worker: Option<String>,
    /// Tasks that ended so; however they ended if there are none.
    pub states: Vec<State>,
    /// Tasks that have become a dead letter, or have not.
    pub dead: Option<bool>,
    /// Tasks of this key: the one of a limit, or the one that makes it unique.
    pub key: Option<String>,
    /// Tasks with these labels, names and values.
    pub labels: Vec<(String, String)>,
    /// Tasks with these values in their arguments, as far as the records keep
    /// them: paths, such as `user.id` or `0`, and values.
    pub arguments: Vec<(String, String)>,
    /// Tasks with all of these words in their error, or in that of an attempt
    /// before. Words are runs of letters and digits, in either case.
    pub error: Option<String>,
    /// Whether the newest come first.
    pub newest_first: bool,
}

impl Default for HistoryFilter {
    /// All there is, the newest first.
    fn default() -> Self {
        Self {
            kinds: Vec::new(),
            since: None,
            until: None,
            id: None,
            task: None,
            queue: None,
            worker: None,
            states: Vec::new(),
            dead: None,
            key: None,
            labels: Vec::new(),
            arguments: Vec::new(),
            error: None,
            newest_first: true,
        }
    }
}

impl HistoryFilter {
    /// The kinds that have what is asked for: others need not be read.
    pub(super) fn kinds_read(&self) -> Vec<HistoryKind> {
        let only_tasks = !self.states.is_empty()
            || self.dead.is_some()
            || self.key.is_some()
            || !self.labels.is_empty()
            || !self.arguments.is_empty()
            || self.error.is_some();
        let of_a_task = self.id.is_some() || self.task.is_some();
        let asked = HistoryKind::ALL.into_iter();
        let asked = asked.filter(|kind| self.kinds.is_empty() || self.kinds.contains(kind));
        asked
            .filter(|kind| match kind {
                HistoryKind::Task => true,
                HistoryKind::Audit => !only_tasks,
                HistoryKind::Worker => !only_tasks && !of_a_task,
            })
            .collect()
    }

    pub(super) fn has(&self, entry: &HistoryEntry) -> bool {
        self.since.is_none_or(|since| entry.at >= since)
            && self.until.is_none_or(|until| entry.at < until)
            && match &entry.body {
                RecordBody::Outcome(outcome) => self.has_outcome(outcome),
                RecordBody::Action(action) => self.has_action(action),
                RecordBody::Event(event) => self.has_event(event),
                // Nobody knows what it is of, so it is of all.
                _ => true,
            }
    }

    fn has_outcome(&self, outcome: &Outcome) -> bool {
        is(&self.id, Some(&outcome.id))
            && is(&self.task, Some(&outcome.task))
            && is(&self.queue, Some(&outcome.queue))
            && is(&self.worker, Some(&outcome.worker))
            && (self.states.is_empty() || self.states.contains(&outcome.state))
            && self.dead.is_none_or(|dead| dead == outcome.dead.is_some())
            && self.key.as_deref().is_none_or(|key| has_key(outcome, key))
            && self.labels.iter().all(|(name, value)| {
                let label = outcome.labels.get(name);
                label.is_some_and(|label| is_value(label, value))
            })
            && self.has_arguments(outcome)
            && (self.error.as_deref()).is_none_or(|words| has_words(outcome, words))
    }

    fn has_arguments(&self, outcome: &Outcome) -> bool {
        if self.arguments.is_empty() {
            return true;
        }
        let Some(arguments) = outcome.arguments() else {
            return false;
        };
        let value = |text: &str| serde_json::from_str(text).unwrap_or(Value::Null);
        let positional = arguments.positional().enumerate();
        let positional = positional.map(|(place, text)| (place.to_string(), value(text)));
        let named = arguments.iter_named();
        let named = named.map(|(name, text)| (name.to_owned(), value(text)));
        let arguments = Value::Object(positional.chain(named).collect());
        let wanted = self.arguments.iter();
        let mut wanted = wanted.map(|(path, wanted)| has_at(&arguments, path, wanted));
        wanted.all(|has| has)
    }

    fn has_action(&self, action: &AuditEntry) -> bool {
        is(&self.id, action.id.as_ref())
            && is(&self.task, action.task.as_ref())
            && is(&self.queue, action.queue.as_ref())
            && is(&self.worker, action.worker.as_ref())
    }

    fn has_event(&self, event: &Event) -> bool {
        let serves = |queue: &String| {
            let queues = event.detail.get("queues").and_then(Value::as_array);
            let mut queues = queues.into_iter().flatten().filter_map(Value::as_str);
            queues.any(|served| served == queue)
        };
        is_life(event.kind)
            && is(&self.worker, event.worker.as_ref())
            && self.queue.as_ref().is_none_or(serves)
    }
}

/// Whether it tells what became of a worker.
fn is_life(kind: EventKind) -> bool {
    kind.as_str().starts_with("worker_")
}

fn is<T: PartialEq>(wanted: &Option<T>, is: Option<&T>) -> bool {
    wanted.is_none() || wanted.as_ref() == is
}

/// Text as it is, anything else as JSON.
fn is_value(value: &Value, wanted: &str) -> bool {
    match value {
        Value::String(text) => text == wanted,
        other => format!("{other}") == wanted,
    }
}

fn has_key(outcome: &Outcome, key: &str) -> bool {
    // The text that its sender gave, where one was given.
    let keys = [labels::UNIQUE_KEY, labels::UNIQUE, labels::KEY];
    let mut keys = keys.into_iter().filter_map(|name| outcome.labels.get(name));
    keys.any(|value| is_value(value, key))
}

/// Whether there is a value at a path, such as `user.id` or `items.0.sku`.
fn has_at(value: &Value, path: &str, wanted: &str) -> bool {
    // A name may have a point in it.
    let below = |name: &str, value: &Value| match path.strip_prefix(name) {
        Some("") => !value.is_object() && !value.is_array() && is_value(value, wanted),
        Some(rest) => match rest.strip_prefix('.') {
            Some(rest) => has_at(value, rest, wanted),
            None => false,
        },
        None => false,
    };
    match value {
        Value::Object(values) => values.iter().any(|(name, value)| below(name, value)),
        Value::Array(values) => {
            let mut places = values.iter().enumerate();
            places.any(|(place, value)| below(&place.to_string(), value))
        }
        _ => false,
    }
}

fn has_words(outcome: &Outcome, wanted: &str) -> bool {
    if outcome.hidden().is_all() {
        return false;
    }
    let before = outcome.attempts.iter().map(|attempt| &attempt.error);
    let errors = before.chain(&outcome.error).map(|error| &error.message);
    let found: Vec<String> = errors.flat_map(|text| words(text)).collect();
    words(wanted).all(|word| found.contains(&word))
}

/// Runs of letters and digits, in small letters.
fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn outcome(changes: Value) -> Outcome {
        let mut record = json!({
            "task_id": "order-42", "task_name": "charge", "queue": "payments",
            "state": "failed", "is_err": true, "return_value": null,
            "error": {"kind": "error", "exc_type": "E", "exc_module": "m",
                "exc_message": ["No route to the bank"], "message": "No route to the bank"},
            "execution_time": 0.1, "attempt": 2, "worker": "w1",
            "enqueued_at": "2026-11-22T04:32:01.756Z", "started_at": null,
            "finished_at": "2026-11-22T04:32:02.000Z",
            "labels": {"customer": 42, "taskq_unique_key": "k1", "taskq_key": "acme"},
            "args": ["first"],
            "kwargs": {"user": {"id": 7, "a.b": "dot"}, "items": [{"sku": "x"}]},
        });
        if let (Value::Object(record), Value::Object(changes)) = (&mut record, changes) {
            record.extend(changes);
        }
        Outcome::decode(record.to_string().as_bytes()).unwrap()
    }

    fn finds(set: impl FnOnce(&mut HistoryFilter)) -> bool {
        let mut filter = HistoryFilter::default();
        set(&mut filter);
        filter.has_outcome(&outcome(json!({})))
    }

    #[test]
    fn a_task_is_found_by_keys_labels_arguments_and_words() {
        for key in ["k1", "acme"] {
            assert!(finds(|filter| filter.key = Some(key.to_owned())), "{key}");
        }
        assert!(!finds(|filter| filter.key = Some("k".to_owned())));
        let pair = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        assert!(finds(|filter| filter.labels = pair("customer", "42")));
        assert!(!finds(|filter| filter.labels = pair("customer", "4")));
        for (path, value) in [
            ("0", "first"),
            ("user.id", "7"),
            ("user.a.b", "dot"),
            ("items.0.sku", "x"),
        ] {
            assert!(
                finds(|filter| filter.arguments = pair(path, value)),
                "{path}"
            );
        }
        for (path, value) in [("user", "7"), ("user.i", "7"), ("items.1.sku", "x")] {
            assert!(
                !finds(|filter| filter.arguments = pair(path, value)),
                "{path}"
            );
        }
        assert!(finds(|filter| filter.error = Some("BANK, route".to_owned())));
        assert!(!finds(|filter| filter.error = Some("ban".to_owned())));
        assert!(finds(
            |filter| filter.states = vec![State::Expired, State::Failed]
        ));
        assert!(!finds(|filter| filter.dead = Some(true)));
    }

    #[test]
    fn the_words_of_a_sensitive_error_find_nothing() {
        let mut sensitive = outcome(json!({"labels": {"taskq_sensitive": "*"}}));
        sensitive.hide();
        let filter = HistoryFilter {
            error: Some("hidden".to_owned()),
            ..HistoryFilter::default()
        };
        assert!(!filter.has_outcome(&sensitive));
    }

    #[test]
    fn only_the_kinds_are_read_that_have_what_is_asked_for() {
        use HistoryKind::{Audit, Task, Worker};
        let mut filter = HistoryFilter::default();
        assert_eq!(filter.kinds_read(), [Task, Audit, Worker]);
        filter.id = Some("order-42".into());
        assert_eq!(filter.kinds_read(), [Task, Audit]);
        filter.error = Some("bank".to_owned());
        assert_eq!(filter.kinds_read(), [Task]);
        filter.kinds = vec![Worker];
        assert!(filter.kinds_read().is_empty());
    }
}
