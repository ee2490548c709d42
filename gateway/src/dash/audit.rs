//! `/audit`: what operators did, from the audit log.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::Response;
use maud::{Markup, html};
use serde_json::{Map, Value};
use taskq::EventKind;
use taskq::admin::AuditEntry;

use super::address;
use super::form::moment as as_rfc;
use super::frame::View;
use super::query::{Pairs, without};
use super::show::{full, moment, state};
use crate::http::{Answer, Params, Shared, audited};

/// What the log can be narrowed by, besides what was done and when.
const FILTERS: [(&str, &str); 4] = [
    ("by", "Who"),
    ("queue", "Queue"),
    ("task", "Task type"),
    ("id", "Task id"),
];
/// What operators do, as far as it is told as an event.
const DEEDS: [EventKind; 25] = [
    EventKind::CancelRequested,
    EventKind::Rescheduled,
    EventKind::Replayed,
    EventKind::Discarded,
    EventKind::Revealed,
    EventKind::OperationBegun,
    EventKind::OperationDone,
    EventKind::OperationCancelled,
    EventKind::QueueSet,
    EventKind::QueuePaused,
    EventKind::QueueResumed,
    EventKind::QueuePurged,
    EventKind::TaskPaused,
    EventKind::TaskResumed,
    EventKind::ScheduleSet,
    EventKind::SchedulePaused,
    EventKind::ScheduleResumed,
    EventKind::ScheduleRemoved,
    EventKind::ScheduleRun,
    EventKind::WorkerQuieted,
    EventKind::WorkerResumed,
    EventKind::WorkerDrained,
    EventKind::WorkerStopped,
    EventKind::PoolScaled,
    EventKind::PoolStopped,
];
/// What only a program records.
const OTHERS: [&str; 3] = ["logged_in", "logged_out", "index_rebuilt"];

pub(super) async fn page(
    State(shared): State<Arc<Shared>>,
    view: View,
    Query(pairs): Query<Pairs>,
    mut params: Params,
) -> Answer<Response> {
    for name in ["since", "until"] {
        // A browser's field has no zone, and not always seconds.
        params.change(name, |text| {
            as_rfc(text).map_or_else(|_| text.to_owned(), |at| at.to_string())
        });
    }
    let page = audited(&shared, params).await?;
    let pairs: Pairs = pairs.into_iter().filter(|one| !one.1.is_empty()).collect();
    let later = pairs.iter().any(|one| one.0 == "cursor");
    let narrowed = pairs
        .iter()
        .any(|one| one.0 != "cursor" && one.0 != "limit");
    let to = |pairs: &Pairs| {
        let pairs = pairs.iter().map(|one| (one.0.as_str(), one.1.as_str()));
        view.to(&address::with("audit", pairs))
    };
    let body = html! {
        div.head { h1 { "Audit" } p.quiet { "What operators did, from where, and what was before and after; kept for 400 days, and deleted by nobody." } }
        (bar(&view, &pairs))
        section.panel aria-label="Audit" {
            @if page.entries.is_empty() { (nothing(&view, narrowed, page.next.is_some())) } @else {
                div.scroll tabindex="0" role="region" aria-label="Audit" { table.stack {
                    thead { tr { th { "What" } th { "To" } th { "Who" } th { "Before and after" } th.num { "When" } } }
                    tbody { @for entry in &page.entries { (row(&view, entry)) } }
                } }
            }
        }
        div.row {
            @if later { a.button href=(to(&without(&pairs, "cursor"))) { "First page" } }
            @if let Some(next) = page.next {
                a.button rel="next" href=(to(&{
                    let mut next_page = without(&pairs, "cursor");
                    next_page.push(("cursor".to_owned(), next.to_string()));
                    next_page
                })) { "Next page" }
            }
            span.quiet.small { (page.entries.len()) " shown" }
        }
    };
    Ok(view.page("Audit", &body))
}

fn bar(view: &View, pairs: &Pairs) -> Markup {
    let set = |name: &str| {
        let found = pairs.iter().find(|one| one.0 == name);
        found.map_or("", |one| one.1.as_str())
    };
    // A field of a browser takes a moment without its zone.
    let moment = |name: &str| as_rfc(set(name)).map_or_else(|_| String::new(), |at| at.to_string());
    html! {
        form.panel action=(view.to("audit")) aria-label="Filter" data-keep { div.in { div.fields {
            div.field { label for="action" { "What" } select #action name="action" {
                option value="" { "all" }
                @for word in DEEDS.iter().map(|kind| kind.as_str()).chain(OTHERS) {
                    option value=(word) selected[set("action") == word] { (word.replace('_', " ")) }
                }
                // Several have no place in a list to choose one from.
                @if set("action").contains(',') { option value=(set("action")) selected { (set("action").replace('_', " ")) } }
            } }
            @for (name, word) in FILTERS {
                div.field { label for=(name) { (word) } input id=(name) name=(name) value=(set(name)) placeholder="all"; }
            }
            @for (name, word) in [("since", "From (UTC)"), ("until", "Before (UTC)")] {
                div.field.long { label for=(name) { (word) } input id=(name) name=(name) type="datetime-local" step="1" value=(moment(name).get(..19).unwrap_or("")); }
            }
            div.field { span.unseen { "Filter" } button.button.main { "Filter" } }
        } } }
    }
}

fn nothing(view: &View, narrowed: bool, more: bool) -> Markup {
    html! { div.empty {
        @if more { strong { "None among those looked at so far" } span { "The next page goes on where this one ends." } }
        @else if narrowed { strong { "Nobody did such a thing" } span { "Filters hold together. " a href=(view.to("audit")) { "Take them away" } } }
        @else { strong { "Nobody did anything" } span { "What is done with a button, over HTTP or by the " code { "taskq" } " command is recorded here." } }
    } }
}

fn row(view: &View, entry: &AuditEntry) -> Markup {
    let text = |name: &str| entry.detail.get(name).and_then(Value::as_str);
    let actor = &entry.actor;
    let from = [
        actor.via.as_ref().map(|via| format!("via {via}")),
        actor
            .address
            .as_ref()
            .map(|address| format!("from {address}")),
        actor.known_by.as_ref().map(|how| format!("known by {how}")),
    ];
    let from: Vec<String> = from.into_iter().flatten().collect();
    html! {
        tr data-key=(entry.sequence) {
            td { (state(&entry.action)) @if let Some(verb) = text("verb") { div.sub { (verb) } } }
            td.wrap { (object(view, entry)) @if let Some(why) = text("reason").or(text("because")) { div.sub { (why) } } }
            td.wrap {
                a href=(view.to(&address::with("audit", [("by", actor.name.as_str())]))) { (actor.name) }
                @if !from.is_empty() { div.sub { (from.join(", ")) } }
                @if let Some(by) = text("by") { div.sub { "for " (by) } }
                @if let Some(request) = &actor.request { div.sub { "request " span.id { (request) } } }
            }
            td.told { (changes(&entry.detail)) }
            td.num { (moment(view.now, entry.at)) div.sub { (full(entry.at)) } }
        }
    }
}

/// What it was done to.
fn object(view: &View, entry: &AuditEntry) -> Markup {
    let text = |name: &str| entry.detail.get(name).and_then(Value::as_str);
    let link = |what: &str, name: &str, word: &str| {
        html! { a href=(view.to(&address::of(what, name))) { (word) } }
    };
    if let Some(schedule) = text("schedule") {
        return link("schedules", schedule, schedule);
    }
    if let Some(operation) = text("operation") {
        return link("operations", operation, "many tasks");
    }
    if let Some(pool) = text("pool") {
        return html! {
            a href=(view.to("workers")) { (pool) }
            @if let Some(worker) = &entry.worker { div.sub { (link("workers", worker, worker)) } }
        };
    }
    if let Some(id) = &entry.id {
        let id = id.as_str();
        return html! {
            (link("tasks", id, entry.task.as_deref().unwrap_or(id)))
            @if entry.task.is_some() { div.sub.id { (id) } }
        };
    }
    match (&entry.queue, &entry.task, &entry.worker) {
        (Some(queue), ..) => link("queues", queue, queue),
        (_, Some(task), _) => link("types", task, task),
        (_, _, Some(worker)) => link("workers", worker, worker),
        _ => html! { span.quiet { "–" } },
    }
}

/// What was before and after, where it differs; and what else is told.
fn changes(detail: &Map<String, Value>) -> Markup {
    let elsewhere = [
        "reason",
        "because",
        "by",
        "schedule",
        "operation",
        "pool",
        "verb",
        "before",
        "after",
    ];
    let others = detail
        .iter()
        .filter(|one| !elsewhere.contains(&one.0.as_str()));
    html! {
        @for (name, before, after) in differences(detail.get("before"), detail.get("after")) {
            div { @if !name.is_empty() { span.quiet { (name.replace('_', " ")) ": " } } (said(before)) " → " (said(after)) }
        }
        @for (name, value) in others { div { span.quiet { (name.replace('_', " ")) ": " } (said(Some(value))) } }
    }
}

/// A value in few signs.
fn said(value: Option<&Value>) -> Markup {
    match value {
        None | Some(Value::Null) => html! { span.quiet { "nothing" } },
        Some(Value::String(text)) => html! { (text) },
        Some(Value::Object(fields)) => html! {
            @for (place, (name, value)) in fields.iter().enumerate() {
                @if place > 0 { ", " } (name.replace('_', " ")) " " (said(Some(value)))
            }
        },
        Some(other) => html! { code { (other) } },
    }
}

/// Names, what was, and what is; without those that are as they were.
fn differences<'a>(
    before: Option<&'a Value>,
    after: Option<&'a Value>,
) -> Vec<(&'a str, Option<&'a Value>, Option<&'a Value>)> {
    let (was, is) = match (before, after) {
        (None, None) => return Vec::new(),
        (Some(Value::Object(was)), Some(Value::Object(is))) => (was, is),
        _ => return vec![("", before, after)],
    };
    let added = is.keys().filter(|name| !was.contains_key(*name));
    let names = was.keys().chain(added);
    let all = names.map(|name| (name.as_str(), was.get(name), is.get(name)));
    all.filter(|(_, was, is)| was != is).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_what_was_and_is_only_that_is_told_which_differs() {
        let (was, is) = (
            json!({"rate": "5/s", "depth": 3}),
            json!({"rate": "7/s", "depth": 3, "ttl": 1}),
        );
        let told = differences(Some(&was), Some(&is));
        assert_eq!(
            told,
            [
                ("rate", Some(&json!("5/s")), Some(&json!("7/s"))),
                ("ttl", None, Some(&json!(1))),
            ]
        );
        assert!(differences(None, None).is_empty());
        assert_eq!(differences(None, Some(&was)), [("", None, Some(&was))]);
    }
}
