//! Records, as the streams would give them.

use std::time::Duration;

use serde_json::json;
use taskq::Timestamp;
use taskq::admin::{Record, RecordBody};
use taskq_gateway::index::{Retention, Seen};

/// The outcome of task `n`: of four names, two queues, ten workers; each fifth
/// failed, with an error of its own.
pub(crate) fn outcome(n: u64) -> Record {
    let state = if n.is_multiple_of(5) {
        "failed"
    } else {
        "succeeded"
    };
    let at =
        |millis: u64| Timestamp::from_millis(1_700_000_000_000 + i64::try_from(millis).unwrap());
    let error = (n.is_multiple_of(5)).then(|| {
        json!({
            "exc_type": "SmtpError", "exc_module": "mail", "exc_cause": null,
            "exc_message": [format!("mailbox m{n} is full: code {}", n % 7)],
        })
    });
    let body = json!({
        "task_id": format!("task-{n}"), "task_name": format!("name_{}", n % 4),
        "queue": if n.is_multiple_of(3) { "email" } else { "default" }, "state": state,
        "is_err": n.is_multiple_of(5), "return_value": null, "error": error, "execution_time": 0.25,
        "attempt": 1, "worker": format!("w{}", n % 10), "enqueued_at": at(n), "started_at": at(n + 1),
        "finished_at": at(n + 2),
        "kwargs": {"order": {"id": n, "size": if n.is_multiple_of(2) { "large" } else { "small" }}},
        "labels": {"env": if n.is_multiple_of(2) { "prod" } else { "test" }, "taskq_attempt": "1",
                   "taskq_unique": format!("digest-{n}"), "taskq_unique_key": format!("key-{n}"),
                   "taskq_key": format!("tenant-{}", n % 9)},
    });
    record(
        n,
        RecordBody::Outcome(Box::new(serde_json::from_value(body).unwrap())),
    )
}

pub(crate) fn record(sequence: u64, body: RecordBody) -> Record {
    Record {
        sequence,
        body,
        left: 0,
    }
}

pub(crate) fn event(kind: &str, id: &str, millis: i64) -> Record {
    let body = json!({
        "event": kind, "at": Timestamp::from_millis(1_700_000_000_000 + millis),
        "task_id": id, "task_name": "name_1", "queue": "email", "worker": "w1", "attempt": 1,
    });
    record(
        1,
        RecordBody::Event(Box::new(serde_json::from_value(body).unwrap())),
    )
}

/// An event of a task of which all is told.
pub(crate) fn told(kind: &str, id: &str, millis: i64) -> Record {
    let mut told = event(kind, id, millis);
    if let RecordBody::Event(event) = &mut told.body {
        let detail = json!({
            "error": "mailbox is full", "args": [7], "kwargs": {"user": {"id": 42}},
            "labels": {"env": "prod", "taskq_key": "tenant-1", "taskq_unique": "digest",
                       "taskq_unique_key": "order-9"},
        });
        event.detail = detail.as_object().unwrap().clone();
    }
    told
}

pub(crate) fn letter(sequence: u64, id: &str) -> Record {
    let at = Timestamp::from_millis(1_700_000_000_000);
    let message = json!({
        "task_id": id, "task_name": "name_0", "labels": {}, "labels_types": {},
        "args": [7], "kwargs": {"user": {"id": 42, "tags": ["x", "y"]}, "text": "hello"},
    });
    let body = json!({
        "task_id": id, "task_name": "name_0", "queue": "email", "priority": "normal",
        "reason": "exhausted", "error": "mailbox full", "worker": "w1", "enqueued_at": at,
        "dead_at": at, "message": message,
    });
    record(
        sequence,
        RecordBody::DeadLetter(Box::new(serde_json::from_value(body).unwrap())),
    )
}

pub(crate) fn seen(source: &'static str, sequence: u64) -> Seen {
    Seen {
        source,
        created: 1,
        sequence,
    }
}

pub(crate) fn forever() -> Retention {
    Retention {
        age: Duration::from_secs(100 * 365 * 24 * 3600),
        most: 1_000_000,
    }
}
