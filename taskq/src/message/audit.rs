//! What operators did, as it is recorded.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Event, TaskId};
use crate::error::{Error, ErrorKind, Result};
use crate::time::Timestamp;

/// What is kept of an event's details. Others may be a task's own (arguments,
/// labels, errors), which may be secret.
const KEPT: [&str; 15] = [
    "before",
    "after",
    "reason",
    "cancelled",
    "count",
    "done",
    "due",
    "fields",
    "grace",
    "operation",
    "pool",
    "schedule",
    "total",
    "verb",
    "when",
];

/// Who did something, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Actor {
    /// Their name.
    pub name: String,
    /// How they were known: `session`, `token`, `jwt`, `system` for who was at a
    /// command line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_by: Option<String>,
    /// Through which program: `gateway`, `taskq`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
    /// From which address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// By which request, as in the program's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
}

impl Actor {
    /// Somebody of this name, of whom no more is known.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    /// How it is known who they are.
    #[must_use = "this returns an actor, and changes none"]
    pub fn known_by(mut self, what: impl Into<String>) -> Self {
        self.known_by = Some(what.into());
        self
    }

    /// Through which program they act.
    #[must_use = "this returns an actor, and changes none"]
    pub fn via(mut self, program: impl Into<String>) -> Self {
        self.via = Some(program.into());
        self
    }

    /// From which address.
    #[must_use = "this returns an actor, and changes none"]
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.address = Some(address.into());
        self
    }

    /// By which request.
    #[must_use = "this returns an actor, and changes none"]
    pub fn request(mut self, id: impl Into<String>) -> Self {
        self.request = Some(id.into());
        self
    }
}

impl fmt::Display for Actor {
    /// `ada via gateway from 192.0.2.1`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(via) = &self.via {
            write!(f, " via {via}")?;
        }
        if let Some(address) = &self.address {
            write!(f, " from {address}")?;
        }
        Ok(())
    }
}

/// Something that an operator did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AuditEntry {
    /// Its place in the log; 0 for what is not in it yet.
    #[serde(default)]
    pub sequence: u64,
    /// When, by the clock of whoever did it.
    pub at: Timestamp,
    /// What, in one word: the kind of its event, such as `queue_paused`, or what
    /// a program calls it, such as `logged_in`.
    pub action: String,
    /// Who did it.
    pub actor: Actor,
    /// The task it was done to.
    #[serde(rename = "task_id", default, skip_serializing_if = "Option::is_none")]
    pub id: Option<TaskId>,
    /// The name of the task.
    #[serde(rename = "task_name", default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// The worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// What only this action has: `before` and `after`, `reason`, `schedule`,
    /// `cancelled`, ..
    #[serde(flatten)]
    pub detail: Map<String, Value>,
}

impl AuditEntry {
    /// Something that is done now.
    pub fn new(action: impl Into<String>, actor: Actor) -> Self {
        Self {
            sequence: 0,
            at: Timestamp::now(),
            action: action.into(),
            actor,
            id: None,
            task: None,
            queue: None,
            worker: None,
            detail: Map::new(),
        }
    }

    /// What only this action has.
    #[must_use = "this returns an entry, and changes none"]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.detail.insert(name.to_owned(), value.into());
        self
    }

    /// What an event tells, done by somebody; by whom it names where nobody is.
    /// In whose name somebody acts, if in another's, stays as `by`.
    pub(crate) fn of(event: &Event, actor: Option<Actor>) -> Self {
        let told = event.detail.iter();
        let mut detail: Map<String, Value> = told
            .filter(|(name, _)| KEPT.contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        // What is done to many tasks; the entry's own action is that it began.
        if let Some(verb) = event.detail.get("action") {
            detail.insert("verb".to_owned(), verb.clone());
        }
        let by = event.detail.get("by");
        let by = by.and_then(Value::as_str).unwrap_or("unknown");
        let actor = actor.unwrap_or_else(|| Actor::new(by));
        if by != actor.name && by != actor.to_string() {
            detail.insert("by".to_owned(), by.into());
        }
        Self {
            sequence: 0,
            at: event.at,
            action: event.kind.as_str().to_owned(),
            actor,
            id: event.id.clone(),
            task: event.task.clone(),
            queue: event.queue.clone(),
            worker: event.worker.clone(),
            detail,
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        // Text keys and JSON values only: this cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(crate) fn decode(sequence: u64, bytes: &[u8]) -> Result<Self> {
        let entry: Self = serde_json::from_slice(bytes).map_err(|error| {
            Error::new(
                ErrorKind::Undecodable,
                format!("entry {sequence} of the audit log cannot be read: {error}"),
            )
        })?;
        Ok(Self { sequence, ..entry })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::EventKind;

    #[test]
    fn an_entry_says_who_did_what_and_comes_back() {
        let event = Event {
            queue: Some("email".to_owned()),
            ..Event::new(EventKind::QueuePurged, Timestamp::from_millis(5))
        };
        let event = event.with("by", "ada").with("cancelled", 3);
        let event = event.with("kwargs", "hunter2");
        let entry = AuditEntry::of(&event, None);
        assert_eq!(entry.actor, Actor::new("ada"));
        let actor = Actor::new("ada").via("gateway").address("192.0.2.1");
        assert_eq!(actor.to_string(), "ada via gateway from 192.0.2.1");
        let entry = AuditEntry::of(&event, Some(actor.request("r1")));
        let json: Value = serde_json::from_slice(&entry.encode()).unwrap();
        assert_eq!(json["action"], "queue_purged");
        assert_eq!(json["actor"]["request"], "r1");
        assert_eq!(json["cancelled"], 3);
        assert!(json.get("by").is_none());
        assert!(json.get("kwargs").is_none());
        let read = AuditEntry::decode(7, &entry.encode()).unwrap();
        assert_eq!((read.sequence, read.queue), (7, entry.queue));
    }
}
