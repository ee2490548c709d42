//! `/tasks/{id}`: one task, from when it was accepted to how it ended.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use serde_json::{Map, Value};
use taskq::{Event, EventKind, Hidden, Outcome, Timestamp};

use super::address;
use super::form::{button, form};
use super::frame::View;
use super::icon::Icon;
use super::show::{full, json, length, look, moment, state};
use super::told::{error, told};
use crate::http::{
    Answer, Called, Caller, Found, Name, Params, Role, Shared, Whole, past_of, reveal_task,
    whole_task,
};
use crate::index::TaskSummary;

/// Of how many events the first and the last are shown.
const MOST_SHOWN: usize = 60;
/// What stands where something is hidden.
const HIDDEN: &str = "hidden: the task is sensitive";

/// All that is known of a task.
struct Known {
    id: String,
    state: String,
    task: Option<String>,
    queue: Option<String>,
    worker: Option<String>,
    attempt: Option<u32>,
    enqueued_at: Option<Timestamp>,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    seconds: Option<f64>,
    result: Option<String>,
    error: Option<(String, String, Option<String>)>,
    dead: Option<String>,
    log: Option<String>,
    labels: Map<String, Value>,
    /// What of it is sensitive.
    sensitive: Hidden,
    /// What of that is not shown: nothing where it is revealed.
    hidden: Hidden,
    /// Whether it is revealed.
    revealed: bool,
    /// The trace that it is a part of, as its end tells.
    trace: Option<String>,
}

/// `GET /tasks/{id}`.
pub(super) async fn page(
    State(shared): State<Arc<Shared>>,
    view: View,
    Name(id): Name,
    params: Params,
) -> Answer<Response> {
    params.end()?;
    let whole = whole_task(&shared, &id).await?;
    let known = Known::of(&id, &whole, false);
    let (title, body) = body(&shared, &view, &known, &whole).await;
    Ok(view.page_of("Tasks", &title, &body))
}

/// `POST /tasks/{id}/reveal`: the same page with what is sensitive, for once. It
/// is recorded that somebody looked, so the page does not look again by itself.
pub(super) async fn reveal(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    view: View,
    Name(id): Name,
    params: Params,
) -> Answer<Response> {
    params.end()?;
    let whole = reveal_task(&shared, &caller, &id).await?;
    let known = Known::of(&id, &whole, true);
    let view = view.at(&address::of("tasks", &id));
    let (title, body) = body(&shared, &view, &known, &whole).await;
    Ok(view.still("Tasks", &title, &body))
}

async fn body(shared: &Shared, view: &View, known: &Known, whole: &Whole) -> (String, Markup) {
    let ended = !matches!(whole.found, Found::Live(_));
    let events = past_of(shared, &known.id).await.unwrap_or_default();
    let traced = events.iter().find_map(|event| event.detail.get("trace_id"));
    let trace = known.trace.as_deref();
    let trace = trace.or_else(|| traced.and_then(Value::as_str));
    let title = known.task.clone().unwrap_or_else(|| known.id.clone());
    let body = html! {
        div.head {
            a.crumb href=(view.to("tasks")) { "Tasks" }
            h1 { (title) } (state(&known.state))
            div.end { (actions(view, known, ended)) }
        }
        @if known.revealed {
            div.note { (Icon::Shield.draw()) p {
                @if known.sensitive.is_any() { "What is sensitive is shown, and the audit log has that you looked. " }
                @else { "Nothing of this task is sensitive. " }
                a href=(view.to(&address::of("tasks", &known.id))) { "Hide it" }
            } }
        }
        @if let Some(why) = &whole.explained {
            div.note { (Icon::Alert.draw()) p { strong { "Why it is where it is: " } (why.to_string()) } }
        }
        (progress(&events, ended))
        div.cols {
            div { (outcome(known)) (history(view, known, &events)) }
            div { (facts(view, known, trace)) (arguments(known, &whole.called)) (commands(view, shared, known)) }
        }
    };
    (title, body)
}

impl Known {
    fn of(id: &str, whole: &Whole, revealed: bool) -> Self {
        let mut known = match &whole.found {
            Found::Ended(outcome) => Self::ended(outcome),
            Found::Expired(summary) => Self::summed(summary),
            Found::Live(status) => {
                let summary = whole.summary.as_ref();
                let mut known = summary.map_or_else(|| Self::nothing(id), Self::summed);
                known.state = status.to_string();
                known
            }
        };
        if let Some(why) = &whole.explained {
            known.task = known.task.or_else(|| why.task.clone());
            known.queue = known.queue.or_else(|| why.queue.clone());
        }
        known.sensitive = whole.sensitive.clone();
        known.revealed = revealed;
        if !revealed {
            known.hidden = whole.sensitive.clone();
        }
        known
    }

    fn nothing(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            state: String::new(),
            task: None,
            queue: None,
            worker: None,
            attempt: None,
            enqueued_at: None,
            started_at: None,
            finished_at: None,
            seconds: None,
            result: None,
            error: None,
            dead: None,
            log: None,
            labels: Map::new(),
            sensitive: Hidden::Nothing,
            hidden: Hidden::Nothing,
            revealed: false,
            trace: None,
        }
    }

    fn ended(outcome: &Outcome) -> Self {
        let error = outcome.error.clone();
        Self {
            id: outcome.id.to_string(),
            state: outcome.state.as_str().to_owned(),
            task: Some(outcome.task.clone()),
            queue: Some(outcome.queue.clone()),
            worker: Some(outcome.worker.clone()).filter(|worker| !worker.is_empty()),
            attempt: Some(outcome.attempt),
            enqueued_at: Some(outcome.enqueued_at),
            started_at: outcome.started_at,
            finished_at: Some(outcome.finished_at),
            seconds: Some(outcome.execution_time),
            result: outcome
                .return_value
                .as_deref()
                .map(|value| value.get().to_owned()),
            error: error.map(|error| (error.type_name, error.message, error.backtrace)),
            dead: outcome.dead.map(|reason| reason.as_str().to_owned()),
            log: outcome.log.clone(),
            labels: outcome.labels.clone(),
            trace: outcome.trace_id().map(str::to_owned),
            ..Self::nothing("")
        }
    }

    fn summed(task: &TaskSummary) -> Self {
        let error = task.error.clone();
        Self {
            id: task.id.clone(),
            state: task.state.clone(),
            task: Some(task.task.clone()),
            queue: Some(task.queue.clone()),
            worker: task.worker.clone(),
            attempt: Some(task.attempt),
            enqueued_at: task.enqueued_at,
            started_at: task.started_at,
            finished_at: task.finished_at,
            seconds: task.seconds,
            error: error.map(|message| (String::new(), message, None)),
            dead: task.dead.clone(),
            labels: task.labels.clone(),
            ..Self::nothing("")
        }
    }

    fn failed(&self) -> bool {
        ["failed", "cancelled", "expired"].contains(&self.state.as_str())
    }
}

/// The arguments by name that a task was called with, as far as anybody may
/// see them.
pub(super) async fn kwargs(shared: &Shared, id: &str) -> Map<String, Value> {
    let Ok(whole) = whole_task(shared, id).await else {
        return Map::new();
    };
    let hidden = whole.sensitive;
    let seen = whole.called.kwargs.into_iter();
    seen.filter(|(name, _)| !hidden.hides_argument(name))
        .collect()
}

fn actions(view: &View, known: &Known, ended: bool) -> Markup {
    let id = &known.id;
    html! {
        @if !ended && known.state == "scheduled" {
            @if view.may(Role::Operator) { (reschedule(view, id)) }
            (button(view, Role::Operator, "task.run-now", id, "Run now"))
        }
        @if !ended { (button(view, Role::Operator, "task.cancel", id, "Cancel")) }
        @if known.failed() { (button(view, Role::Operator, "task.retry", id, "Retry")) }
        @if known.dead.is_some() { (button(view, Role::Admin, "letter.discard", id, "Discard")) }
        @if known.hidden.is_any() && view.may(Role::Operator) {
            form method="post" action=(view.to(&format!("{}/reveal", address::of("tasks", id)))) {
                (view.csrf())
                button.button title="Shows what is sensitive; that you looked is recorded" { (Icon::Shield.draw()) "Reveal" }
            }
        }
        @if ended && view.may(Role::Operator)
            && let Some(task) = &known.task {
            a.button href=(view.to(&format!("{}#run", address::with(&address::of("types", task), [("from", id.as_str())])))) { (Icon::Play.draw()) "Edit and run" }
        }
    }
}

fn progress(events: &[Event], ended: bool) -> Markup {
    let last = events
        .iter()
        .rev()
        .find(|event| event.kind == EventKind::Progress);
    let number = |event: &Event, name| {
        event
            .detail
            .get(name)
            .and_then(Value::as_f64)
            .unwrap_or(0.0)
    };
    html! {
        @if let Some(last) = last.filter(|_| !ended) {
            @let (done, total) = (number(last, "done"), number(last, "total"));
            section.panel aria-label="Progress" { div.in {
                div.row { strong { (told(last)) } }
                progress.wide value=[(total > 0.0).then_some(done)] max=[(total > 0.0).then_some(total)] aria-label="Progress" {}
            } }
        }
    }
}

fn outcome(known: &Known) -> Markup {
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

/// Text that can be taken along.
pub(super) fn copy(text: &str) -> Markup {
    html! { div.copy { pre { (text) } button.button type="button" data-copy { "Copy" } } }
}

fn history(view: &View, known: &Known, events: &[Event]) -> Markup {
    let cut = events.len().saturating_sub(MOST_SHOWN);
    let hides = |event: &Event| {
        known.sensitive.is_all() && [EventKind::Log, EventKind::Progress].contains(&event.kind)
    };
    html! {
        section.panel aria-labelledby="history-title" {
            header { h2 #history-title { "History" } @if cut > 0 { span.quiet.small { (cut) " events between are left out" } } }
            div.in { ol.timeline {
                @if let Some(at) = known.enqueued_at {
                    (step(view, known.enqueued_at, at, "scheduled", "Accepted", None))
                }
                @for (place, event) in events.iter().enumerate() {
                    @if place < MOST_SHOWN / 2 || place >= cut + MOST_SHOWN / 2 {
                        @let text = if hides(event) { format!("{} ({HIDDEN})", event.kind) } else { told(event) };
                        // What was just told is not told again.
                        @let before = place.checked_sub(1).and_then(|place| error(&events[place]));
                        @let new = error(event).filter(|text| !known.hidden.is_all() && before != Some(*text));
                        (step(view, known.enqueued_at, event.at, event.kind.as_str(), &text, new))
                    }
                }
                @if events.is_empty() && let Some(at) = known.finished_at {
                    (step(view, known.enqueued_at, at, &known.state, "Ended", None))
                }
                @if known.enqueued_at.is_none() && events.is_empty() {
                    li { span.dot { (Icon::Dots.draw()) } div.text.quiet { "Nothing was told of it yet." } }
                }
            } }
        }
    }
}

fn step(
    view: &View,
    begin: Option<Timestamp>,
    at: Timestamp,
    kind: &str,
    text: &str,
    error: Option<&str>,
) -> Markup {
    let (tone, icon) = look(kind);
    let later = begin
        .filter(|begin| *begin < at)
        .map(|begin| at.since(begin).as_secs_f64());
    html! {
        li {
            span.dot.(tone) { (icon.draw()) }
            div.text { (text) @if let Some(error) = error { pre { (error) } } }
            div.when { @match later { Some(later) => time datetime=(at) title=(full(at)) { "+" (length(later)) }, None => (moment(view.now, at)) } }
        }
    }
}

fn facts(view: &View, known: &Known, trace: Option<&str>) -> Markup {
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

fn arguments(known: &Known, call: &Called) -> Markup {
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
fn commands(view: &View, shared: &Shared, known: &Known) -> Markup {
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

/// Moves a task that is put off.
fn reschedule(view: &View, id: &str) -> Markup {
    form(
        view,
        "task.reschedule",
        id,
        &html! {
            label.unseen for="at" { "Start at (UTC)" }
            input #at type="datetime-local" name="at" required;
            button.button { "Move" }
        },
    )
}
