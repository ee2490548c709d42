//! From what is sent to a call.

use taskq::{Backoff, Call, OnConflict, Priority, Timestamp, Untyped};

use crate::http::extract::duration;
use crate::http::problem::{Answer, Problem};
use crate::http::views::{Conflict, Submission};

pub(crate) fn call(submission: Submission, key: Option<&str>) -> Answer<Call<Untyped>> {
    let Submission {
        task,
        args,
        kwargs,
        queue,
        priority,
        id,
        delay,
        at,
        deadline,
        retries,
        backoff,
        timeout,
        ttl,
        unique,
        unique_for,
        unique_key,
        on_conflict,
        labels,
    } = submission;
    let read = |name: &str, text: &Option<String>| {
        let text = text.as_deref();
        text.map(|text| duration(name, text)).transpose()
    };
    let mut call = Call::named(task);
    for value in &args {
        call = call.positional(value);
    }
    for (name, value) in &kwargs {
        call = call.arg(name, value);
    }
    match (id, key) {
        (Some(_), Some(_)) => {
            return Err(Problem::invalid(
                "an id and an Idempotency-Key are two names for one thing; send one of them",
            ));
        }
        (Some(id), None) => call = call.id(id),
        (None, Some(key)) => call = call.id(key),
        (None, None) => {}
    }
    if let Some(queue) = queue {
        call = call.queue(queue);
    }
    if let Some(priority) = priority {
        let priority: Priority = priority
            .parse()
            .map_err(|error| Problem::invalid(format!("`priority`: {error}")))?;
        call = call.priority(priority);
    }
    match (read("delay", &delay)?, at) {
        (Some(_), Some(_)) => {
            return Err(Problem::invalid(
                "`delay` and `at` are two words for one thing; send one of them",
            ));
        }
        (Some(delay), None) => call = call.delay(delay),
        (None, Some(at)) => {
            let at: Timestamp = at
                .parse()
                .map_err(|error| Problem::invalid(format!("`at` is no moment: {error}")))?;
            call = call.at(at);
        }
        (None, None) => {}
    }
    if let Some(deadline) = read("deadline", &deadline)? {
        call = call.deadline(deadline);
    }
    if let Some(retries) = retries {
        call = call.retries(retries);
    }
    if let Some(backoff) = backoff {
        let backoff: Backoff = backoff
            .parse()
            .map_err(|error| Problem::invalid(format!("`backoff`: {error}")))?;
        call = call.backoff(backoff);
    }
    if let Some(timeout) = read("timeout", &timeout)? {
        call = call.timeout(timeout);
    }
    if let Some(ttl) = read("ttl", &ttl)? {
        call = call.ttl(ttl);
    }
    if let Some(window) = read("unique_for", &unique_for)? {
        call = call.unique_for(window);
    } else if unique {
        call = call.unique();
    }
    if let Some(key) = unique_key {
        call = call.unique_key(key);
    }
    if let Some(what) = on_conflict {
        call = call.on_conflict(match what {
            Conflict::Existing => OnConflict::Existing,
            Conflict::Reject => OnConflict::Reject,
            Conflict::Replace => OnConflict::Replace,
        });
    }
    for (name, value) in labels {
        // They are how a caller would pass by the checks above.
        if name.starts_with("taskq_") || ["timeout", "max_retries"].contains(&name.as_str()) {
            return Err(Problem::invalid(format!(
                "the label `{name}` is taskq's own; give the label another name"
            )));
        }
        call = call.label(name, value);
    }
    Ok(call)
}
