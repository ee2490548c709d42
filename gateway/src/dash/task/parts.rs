//! How a task ended, what it was called with, and what else is known of it.

use maud::{Markup, html};
use taskq::Timestamp;

use super::known::Known;
use crate::dash::address;
use crate::dash::frame::View;
use crate::dash::show::{copy, full, json, length, moment};
use crate::http::{Called, Shared};

/// What stands where something is hidden.
pub(super) const HIDDEN: &str = "hidden: the task is sensitive";

pub(super) fn outcome(known: &Known) -> Markup {
    html! {
        @if let Some((kind, message, backtrace)) = &known.error {
            section.panel aria-labelledby="error-title" {
                header { h2 #error-title { "Error" } @if !kind.is_empty() { code.quiet.small { (kind) } } }
                div.in {
                    @if known.hidden.is_all() { p.quiet { (HIDDEN) } }
                    @else {
                        pre { (message) }
                        @if let Some(trace) = backtrace { details { summary { "Backtrace" } pre { (trace) } } }
                    }
                }
            }
        }
        @if known.state == "succeeded" {
            section.panel aria-labelledby="result-title" {
                header { h2 #result-title { "Result" } }
                div.in {
                    @if known.hidden.is_all() { p.quiet { (HIDDEN) } }
                    @else { @match &known.result {
                        Some(result) => (copy(&json(result))),
                        None => p.quiet { "It is not kept any more, or is stored apart for its size." },
                    } }
                }
            }
        }
        @if let Some(log) = known.log.as_ref().filter(|log| !log.is_empty()) {
            section.panel aria-labelledby="log-title" {
                header { h2 #log-title { "Log" } span.quiet.small { "of the last attempt" } }
                div.in { @if known.hidden.is_all() { p.quiet { (HIDDEN) } } @else { (copy(log)) } }
            }
        }
    }
}

pub(super) fn facts(view: &View, known: &Known, trace: Option<&str>) -> Markup {
    let time =
        |at: Timestamp| html! { (full(at)) " " span.quiet { "(" (moment(view.now, at)) ")" } };
    html! {
        section.panel aria-labelledby="facts-title" {
            header { h2 #facts-title { "Facts" } }
            div.in { dl.facts {
                dt { "Id" } dd.id { (known.id) }
                @if let Some(task) = &known.task { dt { "Task" } dd { a href=(view.to(&address::of("types", task))) { (task) } } }
                @if let Some(queue) = &known.queue { dt { "Queue" } dd { a href=(view.to(&address::of("queues", queue))) { (queue) } } }
                @if let Some(worker) = &known.worker { dt { "Worker" } dd { a href=(view.to(&address::of("workers", worker))) { (worker) } } }
                @if let Some(attempt) = known.attempt { dt { "Attempt" } dd { (attempt) } }
                @if let Some(at) = known.enqueued_at { dt { "Accepted" } dd { (time(at)) } }
                @if let Some(at) = known.started_at { dt { "Started" } dd { (time(at))
                    @if let Some(begin) = known.enqueued_at { br; span.quiet { "after " (length(at.since(begin).as_secs_f64())) } } } }
                @if let Some(at) = known.finished_at { dt { "Ended" } dd { (time(at)) } }
                @if let Some(seconds) = known.seconds { dt { "Ran" } dd { (length(seconds)) } }
                @if let Some(dead) = &known.dead { dt { "Dead letter" } dd { (dead.replace('_', " ")) } }
                @if let Some(trace) = trace { dt { "Trace" } dd.id { (trace) } }
                @for (name, value) in &known.labels {
                    @if !["traceparent", "tracestate"].contains(&name.as_str()) && !name.starts_with("taskq_") {
                        @let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                        dt { (name) } dd { a href=(view.to(&address::with("tasks", [("label", format!("{name}={text}").as_str())]))) { (text) } }
                    }
                }
            } }
        }
    }
}

pub(super) fn arguments(known: &Known, call: &Called) -> Markup {
    let hides = |name: &str| known.hidden.hides_argument(name);
    html! {
        section.panel aria-labelledby="arguments-title" {
            header { h2 #arguments-title { "Arguments" } }
            div.in {
                @if !call.known { p.quiet { "They are not kept with this task." } }
                @else if call.args.is_empty() && call.kwargs.is_empty() { p.quiet { "None" } }
                @else {
                    @for (place, value) in call.args.iter().enumerate() {
                        div { h3 { (place) } @if known.hidden.is_any() { p.quiet { (HIDDEN) } } @else { (copy(&json(&value.to_string()))) } }
                    }
                    @for (name, value) in &call.kwargs {
                        div { h3 { (name) } @if hides(name) { p.quiet { (HIDDEN) } } @else { (copy(&json(&value.to_string()))) } }
                    }
                }
            }
        }
    }
}

/// The same by the command line, and over HTTP.
pub(super) fn commands(view: &View, shared: &Shared, known: &Known) -> Markup {
    let id = &known.id;
    let quoted = if id
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
    {
        id.clone()
    } else {
        format!("'{}'", id.replace('\'', "'\\''"))
    };
    let place = shared
        .limits
        .prefix
        .at(&format!("/v1/tasks/{}", address::part(id)));
    let verb = if known.failed() { "retry" } else { "cancel" };
    let url = format!("{}{place}", view.origin());
    html! {
        section.panel aria-labelledby="commands-title" {
            header { h2 #commands-title { "The same elsewhere" } }
            div.in {
                (copy(&format!("taskq explain {quoted}")))
                (copy(&format!("taskq {verb} {quoted}")))
                (copy(&format!("curl -s {url}")))
                (copy(&format!("curl -s -X POST {url}:{verb}")))
            }
        }
    }
}
