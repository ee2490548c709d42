//! An event as a line for a person.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use serde_json::Value;
use taskq::{Event, EventKind};

use crate::output::one_line;

/// Prints it, with colour where a person looks on.
pub(crate) fn print(event: &Event) -> anyhow::Result<()> {
    let style = style(event.kind);
    // It takes the colour out where stdout is no terminal, or NO_COLOR is set.
    let mut out = anstream::stdout();
    writeln!(
        out,
        "{}  {style}{:<16}{style:#}  {}",
        event.at,
        event.kind.as_str(),
        describe(event)
    )?;
    Ok(())
}

/// Good is green, bad is red, what may need somebody is yellow.
fn style(kind: EventKind) -> Style {
    use EventKind::{
        CancelRequested, Cancelled, ConsumerMended, Dead, Discarded, Expired, Failed, HandedBack,
        LeaseLost, Log, Progress, Replayed, Retrying, Succeeded, UnknownTask, WorkerDown,
        WorkerDrained, WorkerQuieted, WorkerResumed, WorkerStopped, WorkerUp,
    };
    let colour = match kind {
        Succeeded => AnsiColor::Green,
        Failed | Dead | Expired => AnsiColor::Red,
        Retrying | LeaseLost | HandedBack | UnknownTask | ConsumerMended => AnsiColor::Yellow,
        CancelRequested | Cancelled | Replayed | Discarded => AnsiColor::Magenta,
        WorkerUp | WorkerDown | WorkerQuieted | WorkerResumed | WorkerDrained | WorkerStopped => {
            AnsiColor::Cyan
        }
        Progress | Log => return Style::new().dimmed(),
        _ => return Style::new(),
    };
    colour.on_default()
}

/// `send_email order-42, attempt 2 on worker-1: again in 1s: no route`
fn describe(event: &Event) -> String {
    let mut text = String::new();
    let id = event.id.as_ref().map(taskq::TaskId::as_str);
    for part in event.task.as_deref().into_iter().chain(id) {
        push(&mut text, " ", &one_line(part));
    }
    if let Some(attempt) = event.attempt {
        push(&mut text, ", ", &format!("attempt {attempt}"));
    }
    if let Some(worker) = &event.worker {
        let on = if text.is_empty() { "" } else { " on " };
        push(&mut text, on, &one_line(worker));
    }
    let detail = detail(event);
    if !detail.is_empty() {
        push(&mut text, ": ", &detail);
    }
    text
}

fn push(text: &mut String, between: &str, part: &str) {
    if !text.is_empty() {
        text.push_str(between);
    }
    text.push_str(part);
}

/// What only this kind has: what is known of it in words, the rest by name.
fn detail(event: &Event) -> String {
    let mut rest = event.detail.clone();
    let mut text = String::new();
    let number = |value: Value| value.as_f64();
    if let Some(done) = rest.remove("done") {
        push(&mut text, "", &plain(&done));
        match rest.remove("total") {
            Some(total) if total.as_u64() != Some(0) => {
                let _ = write!(text, " of {}", plain(&total));
            }
            _ => {}
        }
    }
    if let Some(seconds) = rest.remove("seconds").and_then(number) {
        push(&mut text, ", ", &format!("{:.1} ms", seconds * 1e3));
    }
    if let Some(ms) = rest.remove("retry_in_ms").and_then(|ms| ms.as_u64()) {
        let wait = taskq::format_duration(Duration::from_millis(ms));
        push(&mut text, ", ", &format!("again in {wait}"));
    }
    if let Some(by) = rest.remove("by") {
        push(&mut text, ", ", &format!("by {}", plain(&by)));
    }
    for name in ["reason", "error", "message"] {
        if let Some(said) = rest.remove(name) {
            push(&mut text, ": ", &plain(&said));
        }
    }
    for (name, value) in rest {
        let pair = format!("{}={}", one_line(&name), plain(&value));
        push(&mut text, " ", &pair);
    }
    text
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => one_line(text).into_owned(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(mut event: Value) -> String {
        event["at"] = "2026-11-22T04:32:01.756Z".into();
        describe(&serde_json::from_value(event).unwrap())
    }

    #[test]
    fn an_event_is_one_line_that_a_person_reads() {
        assert_eq!(
            told(json!({
                "event": "retrying", "task_id": "order-42", "task_name": "send_email",
                "queue": "email", "worker": "w1", "attempt": 2,
                "error": "no\nroute", "retry_in_ms": 1500,
            })),
            "send_email order-42, attempt 2 on w1: again in 1.5s: no\\nroute"
        );
        assert_eq!(
            told(json!({
                "event": "progress", "task_id": "1", "task_name": "import", "worker": "w1",
                "attempt": 1, "done": 3, "total": 10, "message": "half",
            })),
            "import 1, attempt 1 on w1: 3 of 10: half"
        );
        assert_eq!(
            told(json!({
                "event": "worker_up", "worker": "w1", "queues": ["a", "b"], "concurrency": 4,
            })),
            "w1: concurrency=4 queues=a,b"
        );
        assert_eq!(
            told(json!({
                "event": "cancelled", "task_id": "1", "task_name": "t", "by": "ada",
                "seconds": 0.0125, "error": "cancelled by ada",
            })),
            "t 1: 12.5 ms, by ada: cancelled by ada"
        );
    }
}
