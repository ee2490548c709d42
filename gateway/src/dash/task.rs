//! `/tasks/{id}`: one task, from when it was accepted to how it ended.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use futures::{StreamExt as _, TryStreamExt as _};
use maud::{Markup, html};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use taskq::admin::{self, DelayedFilter, QueueFilter};
use taskq::{Arguments, Event, EventKind, Hidden, Outcome, Timestamp};

use super::address;
use super::form::{button, form};
use super::frame::View;
use super::icon::Icon;
use super::show::{full, json, length, look, moment, state};
use super::told::{error, told};
use crate::http::{
    Answer, Caller, Found, Name, Params, Reveal, Role, Shared, dead_letter, find_task,
    find_task_as, past_of,
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
    /// The trace that it is a part of.
    trace: Option<String>,
    /// What it was called with, if its end tells that.
    called: Option<Call>,
}

pub(super) async fn page(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    view: View,
    Name(id): Name,
    mut params: Params,
) -> Answer<Response> {
    let reveal = Reveal::read(&mut params, &caller)?;
    params.end()?;
    let found = find_task_as(&shared, &id, None, reveal).await?;
    // Who sees how it ended is told already.
    let told = matches!(&found, Found::Ended(_));
    let ended = matches!(&found, Found::Ended(_) | Found::Expired(_));
    let known = match found {
        Found::Ended(outcome) => Known::ended(*outcome),
        Found::Expired(summary) => Known::summed(*summary),
        Found::Live(status) => {
            let summary = shared.index.task(id.clone()).await?;
            let mut known = summary.map_or_else(|| Known::nothing(&id), Known::summed);
            known.state = status.to_string();
            known
        }
    };
    let explained = match ended {
        true => None,
        false => admin::explain(&shared.client, id.as_str()).await.ok(),
    };
    let events = past_of(&shared, &id).await.unwrap_or_default();
    let mut known = known;
    if let Some(why) = &explained {
        known.task = known.task.or_else(|| why.task.clone());
        known.queue = known.queue.or_else(|| why.queue.clone());
    }
    let put_off = ["scheduled", "retrying"].contains(&known.state.as_str());
    let traced = events.iter().find_map(|event| event.detail.get("trace_id"));
    let traced = traced.and_then(Value::as_str).map(str::to_owned);
    known.trace = known.trace.or(traced);
    let call = match known.called.take() {
        Some(call) => call,
        None => {
            let (dead, queue) = (known.dead.is_some(), known.queue.as_deref());
            let queue = queue.filter(|_| !ended);
            Call::find(&shared, &known.id, dead, put_off, queue, reveal).await
        }
    };
    if let Some(hidden) = &call.hidden {
        known.sensitive = hidden.clone();
    }
    if !reveal.is_wanted() {
        known.hidden = known.sensitive.clone();
    } else if known.sensitive.is_any() && !told {
        let task = known.task.as_deref().unwrap_or_default();
        reveal.tell(&shared, &id.as_str().into(), task).await;
    }
    let title = known.task.clone().unwrap_or_else(|| id.clone());
    let body = html! {
        div.head {
            a.crumb href=(view.to("tasks")) { "Tasks" }
            h1 { (title) } (state(&known.state))
            div.end { (actions(&view, &known, ended)) }
        }
        @if reveal.is_wanted() {
            div.note { (Icon::Shield.draw()) p {
                @if known.sensitive.is_any() { "What is sensitive is shown, and the audit log has that you looked. " }
                @else { "Nothing of this task is sensitive. " }
                a href=(view.to(&address::of("tasks", &id))) { "Hide it" }
            } }
        }
        @if let Some(why) = &explained {
            div.note { (Icon::Alert.draw()) p { strong { "Why it is where it is: " } (why.to_string()) } }
        }
        (progress(&events, ended))
        div.cols {
            div { (outcome(&known)) (history(&view, &known, &events)) }
            div { (facts(&view, &known)) (arguments(&known, &call)) (commands(&view, &shared, &known)) }
        }
    };
    // What is looked at anew would be recorded anew.
    Ok(match reveal.is_wanted() {
        true => view.still("Tasks", &title, &body),
        false => view.page_of("Tasks", &title, &body),
    })
}

impl Known {
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
            trace: None,
            called: None,
        }
    }

    fn ended(outcome: Outcome) -> Self {
        let sensitive = Hidden::of_outcome(&outcome.labels);
        let trace = outcome.trace_id().map(str::to_owned);
        let called = outcome.arguments().as_ref().map(Call::from);
        let error = outcome
            .error
            .map(|error| (error.type_name, error.message, error.backtrace));
        Self {
            id: outcome.id.to_string(),
            state: outcome.state.as_str().to_owned(),
            task: Some(outcome.task),
            queue: Some(outcome.queue),
            worker: Some(outcome.worker).filter(|worker| !worker.is_empty()),
            attempt: Some(outcome.attempt),
            enqueued_at: Some(outcome.enqueued_at),
            started_at: outcome.started_at,
            finished_at: Some(outcome.finished_at),
            seconds: Some(outcome.execution_time),
            result: outcome
                .return_value
                .as_deref()
                .map(|value| value.get().to_owned()),
            error,
            dead: outcome.dead.map(|reason| reason.as_str().to_owned()),
            log: outcome.log,
            labels: outcome.labels,
            sensitive,
            hidden: Hidden::Nothing,
            trace,
            called,
        }
    }

    fn summed(task: TaskSummary) -> Self {
        Self {
            sensitive: Hidden::of_outcome(&task.labels),
            hidden: Hidden::Nothing,
            trace: None,
            called: None,
            id: task.id,
            state: task.state,
            task: Some(task.task),
            queue: Some(task.queue),
            worker: task.worker,
            attempt: Some(task.attempt),
            enqueued_at: task.enqueued_at,
            started_at: task.started_at,
            finished_at: task.finished_at,
            seconds: task.seconds,
            result: None,
            error: task.error.map(|message| (String::new(), message, None)),
            dead: task.dead,
            log: None,
            labels: task.labels,
        }
    }

    fn failed(&self) -> bool {
        ["failed", "cancelled", "expired"].contains(&self.state.as_str())
    }
}

/// What a task was called with, where that is still known.
#[derive(Default)]
struct Call {
    args: Vec<Value>,
    kwargs: Map<String, Value>,
    known: bool,
    /// What of it is sensitive, where that is told with it.
    hidden: Option<Hidden>,
}

impl From<&Arguments> for Call {
    fn from(arguments: &Arguments) -> Self {
        let value = |text: &str| serde_json::from_str(text).unwrap_or_default();
        let named = arguments.iter_named();
        Self {
            args: arguments.positional().map(value).collect(),
            kwargs: named
                .map(|(name, text)| (name.to_owned(), value(text)))
                .collect(),
            known: true,
            hidden: None,
        }
    }
}

impl Call {
    async fn find(
        shared: &Shared,
        id: &str,
        dead: bool,
        put_off: bool,
        queue: Option<&str>,
        reveal: Reveal<'_>,
    ) -> Self {
        if dead && let Ok(letter) = dead_letter(shared, id).await {
            let hidden = letter.hidden();
            if let Some(message) = letter.message.as_deref() {
                return Self::of(message, hidden);
            }
        }
        if put_off {
            let filter = DelayedFilter {
                id: Some(id.into()),
                reveal: reveal.is_wanted(),
                ..DelayedFilter::default()
            };
            if let Ok(found) = admin::delayed(&shared.client, filter).await
                && let Ok(Some(delayed)) = found.boxed().try_next().await
            {
                return Self {
                    hidden: Some(Hidden::of_outcome(&delayed.labels)),
                    args: delayed.args,
                    kwargs: delayed.kwargs,
                    known: true,
                };
            }
        }
        if let Some(queue) = queue {
            let mut filter = QueueFilter::of(queue);
            filter.id = Some(id.into());
            filter.reveal = reveal.is_wanted();
            if let Ok(page) = admin::queued(&shared.client, filter).await
                && let Some(queued) = page.tasks.into_iter().next()
            {
                return Self {
                    hidden: Some(Hidden::of_outcome(&queued.labels)),
                    args: queued.args,
                    kwargs: queued.kwargs,
                    known: true,
                };
            }
        }
        Self::default()
    }

    fn of(message: &RawValue, hidden: Hidden) -> Self {
        let mut message: Value = serde_json::from_str(message.get()).unwrap_or_default();
        let args = message["args"].take();
        let kwargs = message["kwargs"].take();
        Self {
            args: args.as_array().cloned().unwrap_or_default(),
            kwargs: kwargs.as_object().cloned().unwrap_or_default(),
            known: true,
            hidden: Some(hidden),
        }
    }
}

/// The arguments by name that a task was called with, as far as anybody may
/// see them.
pub(super) async fn kwargs(shared: &Shared, id: &str) -> Map<String, Value> {
    let Ok(Found::Ended(outcome)) = find_task(shared, id, None).await else {
        return Map::new();
    };
    let hidden = Hidden::of_outcome(&outcome.labels);
    let call = match outcome.arguments() {
        Some(arguments) => Call::from(&arguments),
        None => {
            let dead = outcome.dead.is_some();
            Call::find(shared, id, dead, false, None, Reveal::default()).await
        }
    };
    let seen = call.kwargs.into_iter();
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
            a.button href=(view.to(&address::with(&address::of("tasks", id), [("reveal", "true")])))
                title="Shows what is sensitive; that you looked is recorded" { (Icon::Shield.draw()) "Reveal" }
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

fn facts(view: &View, known: &Known) -> Markup {
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
                @if let Some(trace) = &known.trace { dt { "Trace" } dd.id { (trace) } }
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

fn arguments(known: &Known, call: &Call) -> Markup {
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
