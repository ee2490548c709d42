//! Events, in words.

use serde_json::Value;
use taskq::{Event, EventKind};

use super::show::length;

/// What an event tells, in a sentence.
pub(super) fn told(event: &Event) -> String {
    let text = |name: &str| {
        event
            .detail
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let number = |name: &str| event.detail.get(name).and_then(Value::as_f64);
    let attempt = event
        .attempt
        .map_or_else(|| "An attempt".to_owned(), |n| format!("Attempt {n}"));
    let on = event
        .worker
        .as_ref()
        .map_or_else(String::new, |worker| format!(" on {worker}"));
    let by = |what: &str| match (text("by"), text("reason")) {
        ("", _) => what.to_owned(),
        (by, "") => format!("{what}, by {by}"),
        (by, reason) => format!("{what}, by {by}: {reason}"),
    };
    match event.kind {
        EventKind::Enqueued => "Accepted".to_owned(),
        EventKind::Started => format!("{attempt} began{on}"),
        EventKind::Progress => {
            let (done, total) = (
                number("done").unwrap_or(0.0),
                number("total").unwrap_or(0.0),
            );
            let of = if total > 0.0 {
                format!("{done} of {total}")
            } else {
                format!("{done}")
            };
            match text("message") {
                "" => of,
                message => format!("{message} ({of})"),
            }
        }
        EventKind::Log => text("message").to_owned(),
        EventKind::Retrying => {
            let wait = number("retry_in_ms").map_or(0.0, |millis| millis / 1000.0);
            format!("{attempt} failed{on}, the next in {}", length(wait))
        }
        EventKind::LeaseLost => format!("{attempt} lost its lease{on}: it no longer counts"),
        EventKind::HandedBack => format!("{attempt} was given back{on}: the worker stops"),
        EventKind::Rescheduled => by("Moved to another time"),
        EventKind::Succeeded => format!("Succeeded{on}"),
        EventKind::Failed => format!("Failed{on}"),
        EventKind::CancelRequested => by("To be cancelled"),
        EventKind::Cancelled => by("Cancelled"),
        EventKind::Expired => "Expired: its deadline passed before it could start".to_owned(),
        EventKind::Dead => "Became a dead letter".to_owned(),
        EventKind::UnknownTask => "Waits for a worker that knows it".to_owned(),
        EventKind::Replayed => by("Sent again"),
        EventKind::Discarded => by("Its dead letter was removed"),
        other => by(&other.as_str().replace('_', " ")),
    }
}

/// The error that an event tells.
pub(super) fn error(event: &Event) -> Option<&str> {
    event
        .detail
        .get("error")
        .and_then(Value::as_str)
        .filter(|error| !error.is_empty())
}
