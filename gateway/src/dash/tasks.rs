//! `/tasks`: finding tasks. Every view has an address.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use taskq::{Status, Timestamp};

use super::address;
use super::bulk;
use super::frame::View;
use super::icon::Icon;
use super::operations;
use super::query::{self, FILTERS, Pairs, without};
use super::show::{length, moment, state};
use crate::http::{Answer, Listed, Params, Shared, list_tasks};
use crate::index::{TaskState, TaskSummary};

/// The tabs: word and state.
const TABS: [(&str, &str); 9] = [
    ("All", ""),
    ("Running", "running"),
    ("Retrying", "retrying"),
    ("Waiting", "waiting"),
    ("Scheduled", "scheduled"),
    ("Succeeded", "succeeded"),
    ("Failed", "failed"),
    ("Cancelled", "cancelled"),
    ("Expired", "expired"),
];

/// What has not begun, and what alone it can be found by.
const UNBEGUN: [&str; 2] = ["waiting", "scheduled"];
const FILTERS_OF_UNBEGUN: [&str; 3] = ["task", "queue", "label"];

/// `GET /find?q=`: a task by its id, else tasks of that name, else tasks with
/// those words in their error.
pub(super) async fn find(
    State(shared): State<Arc<Shared>>,
    view: View,
    mut params: Params,
) -> Answer<Response> {
    let text = params.one("q")?.unwrap_or_default();
    params.end()?;
    let text = text.trim();
    if !text.is_empty() && !text.contains([' ', ':']) {
        let status = shared
            .client
            .handle::<serde_json::Value>(text)
            .status()
            .await;
        let known = match status {
            Ok(status) if status != Status::Unknown => true,
            _ => shared.index.task(text.to_owned()).await?.is_some(),
        };
        if known {
            return Ok(Redirect::to(&view.to(&address::of("tasks", text))).into_response());
        }
        if shared.index.counts().await?.tasks.contains_key(text) {
            let pairs = vec![("task".to_owned(), text.to_owned())];
            return Ok(Redirect::to(&view.to(&query::address(&pairs))).into_response());
        }
    }
    Ok(Redirect::to(&view.to(&query::address(&query::read(text)))).into_response())
}

pub(super) async fn page(
    State(shared): State<Arc<Shared>>,
    view: View,
    Query(mut pairs): Query<Pairs>,
    mut params: Params,
) -> Answer<Response> {
    let typed = params.all("q");
    pairs.retain(|(name, value)| name != "q" && !value.is_empty());
    if !typed.is_empty() {
        pairs.retain(|(name, _)| name != "cursor");
        query::merge(&mut pairs, query::read(&typed.join(" ")));
        return Ok(Redirect::to(&view.to(&query::address(&pairs))).into_response());
    }
    let page = list_tasks(&shared, params).await?;
    let values = values(&shared).await?;
    let later = pairs.iter().any(|(name, _)| name == "cursor");
    let may = bulk::any(&view, &pairs);
    let table = html! {
        section.panel aria-label="Tasks found" {
            @if page.items.is_empty() { (nothing(&view, &pairs, page.next.is_some())) }
            @else { (rows(&view, &page.items, may)) }
        }
    };
    let body = html! {
        div.head { h1 { "Tasks" } }
        (tabs(&view, &pairs))
        (bar(&view, &pairs, &values))
        (operations::running(&view, &shared).await)
        @if may {
            form.plain method="post" action=(view.to("do")) data-act="" data-pick {
                (view.csrf())
                input type="hidden" name="back" value=(view.here());
                (table)
                (bulk::bar(&view, &pairs, page.items.len()))
            }
        } @else { (table) }
        div.row {
            @if later { a.button href=(view.to(&query::address(&without(&pairs, "cursor")))) { "First page" } }
            @if let Some(next) = &page.next {
                a.button rel="next" href=(view.to(&query::address(&{
                    let mut next_page = without(&pairs, "cursor");
                    next_page.push(("cursor".to_owned(), next.clone()));
                    next_page
                }))) { "Next page" }
            }
            span.quiet.small { (page.items.len()) " shown" }
        }
    };
    Ok(view.page("Tasks", &body))
}

fn tabs(view: &View, pairs: &Pairs) -> Markup {
    let now = pairs
        .iter()
        .find(|one| one.0 == "state")
        .map_or("", |one| one.1.as_str());
    html! {
        div.scroll { nav.group aria-label="States" {
            @for (word, wanted) in TABS {
                a href=(view.to(&query::address(&{
                    let mut there = without(&without(pairs, "cursor"), "state");
                    if UNBEGUN.contains(&wanted) { there.retain(|one| FILTERS_OF_UNBEGUN.contains(&one.0.as_str())); }
                    if !wanted.is_empty() { there.insert(0, ("state".to_owned(), wanted.to_owned())); }
                    there
                }))) aria-current=[(now == wanted).then_some("true")] { (word) }
            }
        } }
    }
}

fn bar(view: &View, pairs: &Pairs, values: &str) -> Markup {
    let shown = |name: &str| !["cursor", "limit"].contains(&name);
    html! {
        form.query action=(view.to("tasks")) role="search" aria-label="Filter" {
            @for (place, (name, value)) in pairs.iter().enumerate() {
                @if shown(name) {
                    input type="hidden" name=(name) value=(value);
                    span.chip {
                        b { (name) ": " (value) }
                        a aria-label=(format!("Without {name}: {value}")) href=(view.to(&query::address(&{
                            let mut less = pairs.clone();
                            less.remove(place);
                            without(&less, "cursor")
                        }))) { (Icon::Cross.draw()) }
                    }
                }
            }
            input name="q" data-query autocomplete="off" aria-label="Filter tasks" data-values=(values)
                placeholder=(if pairs.is_empty() { "state:failed queue:email mailbox full" } else { "and" });
            button.button { "Filter" }
        }
    }
}

/// What can be typed, for the completion: by filter, the values that there
/// are.
async fn values(shared: &Shared) -> Answer<String> {
    let counts = shared.index.counts().await?;
    let workers = shared.pulse.workers().await;
    let mut all: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, _) in FILTERS {
        all.insert(name, Vec::new());
    }
    let most = |names: BTreeMap<String, u64>| names.into_keys().take(200).collect::<Vec<_>>();
    all.insert(
        "state",
        TaskState::ALL
            .iter()
            .map(|one| one.as_str())
            .chain(UNBEGUN)
            .map(str::to_owned)
            .collect(),
    );
    all.insert("task", most(counts.tasks));
    all.insert("queue", most(counts.queues));
    let names = workers
        .iter()
        .flat_map(|known| known.what.iter().map(|one| one.worker.clone()));
    all.insert("worker", names.take(200).collect());
    Ok(serde_json::to_string(&all).unwrap_or_default())
}

fn nothing(view: &View, pairs: &Pairs, more: bool) -> Markup {
    html! {
        div.empty {
            @if pairs.is_empty() {
                strong { "No task yet" }
                span { "A task is listed when a worker has begun it. What has not begun is under "
                    a href=(view.to("tasks?state=waiting")) { "Waiting" } " and " a href=(view.to("tasks?state=scheduled")) { "Scheduled" } "." }
            } @else if more {
                strong { "None among those looked at so far" }
                span { "The next page goes on where this one ends." }
            } @else {
                strong { "No task is like that" }
                span { "Filters hold together. " a href=(view.to("tasks")) { "Take them away" } }
            }
        }
    }
}

/// Tasks, a row each.
pub(super) fn table(view: &View, tasks: &[TaskSummary]) -> Markup {
    let rows = tasks.iter().map(|task| row(view, task, None, false));
    framed(&rows.collect::<Vec<_>>(), false)
}

/// Tasks wherever they are, a row each, which can be picked.
fn rows(view: &View, tasks: &[Listed], pick: bool) -> Markup {
    let rows = tasks
        .iter()
        .map(|listed| row(view, &listed.task, listed.due, pick));
    framed(&rows.collect::<Vec<_>>(), pick)
}

fn framed(rows: &[Markup], pick: bool) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Tasks" {
            table {
                thead { tr {
                    @if pick { th.check { input type="checkbox" data-pick-all aria-label="Pick all shown" hidden; } }
                    th { "State" } th { "Task" } th.less { "Queue" } th.less { "Worker" }
                    th.num { "When" } th.num.less { "Ran" }
                } }
                tbody { @for row in rows { (row) } }
            }
        }
    }
}

fn row(view: &View, task: &TaskSummary, due: Option<Timestamp>, pick: bool) -> Markup {
    // What has not begun is as old as its message.
    let sent = UNBEGUN
        .contains(&task.state.as_str())
        .then_some(task.enqueued_at);
    let when = due
        .or(task.finished_at)
        .or(task.heard_at)
        .or(sent.flatten());
    html! {
        tr data-key=(task.id) {
            @if pick { td.check { input type="checkbox" name="id" value=(task.id) aria-label=(format!("Pick {} {}", task.task, task.id)); } }
            td { (state(&task.state)) }
            td.grow {
                div.cut { a href=(view.to(&address::of("tasks", &task.id))) { (task.task) " " span.id.quiet { (task.id) } } }
                @if let Some(error) = &task.error { div.cut.sub title=(error) { (error) } }
            }
            td.less { (task.queue) }
            td.less { @match &task.worker { Some(worker) => (worker), None => span.quiet { "–" } } }
            td.num { @if let Some(at) = when { (moment(view.now, at)) } }
            td.num.less {
                @if let Some(seconds) = task.seconds { (length(seconds)) }
                @if task.attempt > 1 { span.sub { " attempt " (task.attempt) } }
            }
        }
    }
}
