//! `/queues` and `/queues/{queue}`: what is in them, and what is set.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use futures::StreamExt as _;
use maud::{Markup, html};
use serde_json::{Map, Value, json};
use taskq::admin::queues::Revised;
use taskq::admin::{self, DelayedFilter, DelayedTask, QueueFilter, QueuedTask, WorkerInfo};
use taskq::{QueueDepth, QueueSettings};

use super::address;
use super::form::{Fields, button, form};
use super::frame::View;
use super::icon::Icon;
use super::show::{count, length, moment, since, state};
use super::trends::{Range, Trends};
use crate::http::{Answer, Name, Params, Problem, Role, Shared};
use crate::pulse::Sample;

/// How many tasks of a queue are shown.
const SHOWN: usize = 20;

pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    view: View,
    params: Params,
) -> Answer<Response> {
    params.end()?;
    let (sample, workers) = tokio::join!(shared.pulse.now(), shared.pulse.workers());
    let workers = workers.as_ref().map(|known| known.what.as_slice());
    let past = shared.pulse.past();
    // One that has settings and no message yet is one too.
    let mut queues = sample.queues.clone();
    for name in sample.queue_settings.keys() {
        if !queues.iter().any(|one| one.queue == *name) {
            queues.push(QueueDepth {
                queue: name.clone(),
                ..QueueDepth::default()
            });
        }
    }
    let body = html! {
        div.head { h1 { "Queues" } }
        section.panel aria-label="Queues" {
            @if queues.is_empty() {
                div.empty { strong { "No queue yet" } span { "A queue is made when the first task is sent to it." } }
            } @else {
                div.scroll tabindex="0" role="region" aria-label="Queues" { table.stack {
                    thead { tr {
                        th { "Queue" } th.num { "Waiting" } th.roomy { span.unseen { "Waiting in the last minutes" } }
                        th.num { "Running" } th.num { "Scheduled" } th.num { "First waits" } th.num.less { "Workers" } th.roomy { "Limits" } th { span.unseen { "What to do" } }
                    } }
                    tbody { @for one in &queues { (row(&view, &sample, &past, workers, one)) } }
                } }
            }
        }
    };
    Ok(view.page("Queues", &body))
}

fn row(
    view: &View,
    sample: &Sample,
    past: &[Arc<Sample>],
    workers: Option<&[WorkerInfo]>,
    one: &QueueDepth,
) -> Markup {
    let set = sample.queue_settings.get(&one.queue);
    let paused = set.is_some_and(|set| set.paused.is_some());
    let serving = workers.map(|workers| serving(workers, &one.queue).count());
    html! {
        tr data-key=(one.queue) {
            td { a href=(view.to(&address::of("queues", &one.queue))) { (one.queue) } @if paused { " " (state("paused")) } }
            td.num data-label="Waiting" { (count(one.pending)) @if one.held > 0 { div.sub { (count(one.held)) " for their turn" } } }
            td.roomy { (spark(past, &one.queue)) }
            td.num data-label="Running" { (count(one.running)) }
            td.num data-label="Scheduled" { (count(one.scheduled)) }
            td.num data-label="First waits" { @match sample.oldest.get(&one.queue) {
                Some(at) => (length(view.now.since(*at).as_secs() as f64)),
                None => span.quiet { "–" },
            } }
            td.num.less { @match serving {
                Some(0) => span.tone-bad { "none" },
                Some(some) => (some),
                None => span.quiet { "?" },
            } }
            td.roomy { @match set.and_then(limits) { Some(text) => span.small { (text) }, None => span.quiet { "–" } } }
            td.num {
                @if paused { (button(view, Role::Operator, "queue.resume", &one.queue, "Resume")) }
                @else { (button(view, Role::Operator, "queue.pause", &one.queue, "Pause")) }
            }
        }
    }
}

fn serving<'a>(workers: &'a [WorkerInfo], queue: &'a str) -> impl Iterator<Item = &'a WorkerInfo> {
    workers
        .iter()
        .filter(move |worker| worker.queues.iter().any(|one| one == queue))
}

/// What is limited, in few words.
fn limits(set: &QueueSettings) -> Option<String> {
    let mut words = Vec::new();
    if let Some(most) = set.concurrency {
        words.push(format!("{most} at once"));
    }
    if let Some(rate) = &set.rate {
        words.push(rate.to_string());
    }
    if let Some(most) = set.max_backlog {
        words.push(format!("{} at most", count(most)));
    }
    (!words.is_empty()).then(|| words.join(", "))
}

/// How many waited in the last minutes, as a line.
fn spark(past: &[Arc<Sample>], queue: &str) -> Markup {
    let values: Vec<f64> = past
        .iter()
        .filter(|sample| sample.trouble.is_none())
        .map(|sample| {
            let one = sample.queues.iter().find(|one| one.queue == queue);
            one.map_or(0.0, |one| one.pending as f64)
        })
        .collect();
    let most = values.iter().copied().fold(0.0, f64::max);
    html! {
        @if values.len() > 1 && most > 0.0 {
            @let width = (values.len() - 1) as f64;
            @let points: Vec<String> = values.iter().enumerate().map(|(place, value)| {
                format!("{:.1},{:.1}", place as f64 / width * 90.0, 21.0 - value / most * 20.0)
            }).collect();
            svg.spark viewBox="0 0 90 22" aria-hidden="true" { polyline.s-accent points=(points.join(" ")) {} }
        }
    }
}

pub(super) async fn one(
    State(shared): State<Arc<Shared>>,
    view: View,
    Name(queue): Name,
    mut params: Params,
) -> Answer<Response> {
    let range = Range::of(params.one("range")?.as_deref());
    params.end()?;
    let client = &shared.client;
    let (sample, workers) = tokio::join!(shared.pulse.now(), shared.pulse.workers());
    let set = admin::queues::get(client, &queue).await?;
    let depth = sample.queues.iter().find(|one| one.queue == queue).cloned();
    if depth.is_none() && set.revision == 0 {
        return Err(Problem::not_found(format!(
            "there is no queue `{queue}`: nothing was ever sent to it, and nothing is set for it"
        )));
    }
    let depth = depth.unwrap_or_default();
    let mut filter = QueueFilter::of(queue.as_str());
    filter.most = SHOWN;
    let queued = admin::queued(client, filter).await.unwrap_or_default();
    let filter = DelayedFilter {
        queue: Some(queue.clone()),
        ..DelayedFilter::default()
    };
    let delayed: Vec<DelayedTask> = match admin::delayed(client, filter).await {
        Ok(found) => {
            found
                .take(SHOWN)
                .filter_map(|one| async { one.ok() })
                .collect()
                .await
        }
        Err(_) => Vec::new(),
    };
    let trends = Trends::read(&shared, view.now, range, None, Some(&queue)).await?;
    let workers = workers.map(|known| known.what);
    let here = address::of("queues", &queue);
    let body = html! {
        div.head {
            a.crumb href=(view.to("queues")) { "Queues" }
            h1 { (queue) }
            @if set.settings.paused.is_some() { (state("paused")) }
            div.end {
                (range.choice(&view, &here))
                @if set.settings.paused.is_some() { (button(&view, Role::Operator, "queue.resume", &queue, "Resume")) }
                @else { (pause(&view, &queue)) }
                (button(&view, Role::Admin, "queue.purge", &queue, "Purge"))
            }
        }
        @if let Some(paused) = &set.settings.paused {
            div.note.warn { (Icon::Pause.draw()) p { "Paused by " strong { (paused.by) } ", " (since(view.now, paused.at))
                @if let Some(because) = &paused.because { ": " (because) } "." } }
        }
        (tiles(&view, &sample, &depth, &queue))
        div.grid.wide { (trends.throughput()) (trends.waits()) }
        div.cols {
            div { (waiting(&view, &queued.tasks, depth.pending + depth.running)) (scheduled(&view, &delayed, depth.scheduled)) }
            div { (settings(&view, &set)) (serving_panel(&view, workers.as_deref().map(Vec::as_slice), &queue)) }
        }
    };
    Ok(view.page_of("Queues", &queue, &body))
}

fn pause(view: &View, queue: &str) -> Markup {
    html! { @if view.may(Role::Operator) { (form(view, "queue.pause", queue, &html! {
        label.unseen for="because" { "Why it is paused" }
        input #because name="because" placeholder="Why" size="16" maxlength="200";
        button.button { (Icon::Pause.draw()) "Pause" }
    })) } }
}

fn tiles(view: &View, sample: &Sample, depth: &QueueDepth, queue: &str) -> Markup {
    let tile = |name: &str, value: u64, more: Markup| {
        html! {
            div.tile { span.name { (name) } span.value { (count(value)) } span.more { (more) } }
        }
    };
    html! {
        section.tiles aria-label="Figures" {
            (tile("Waiting", depth.pending, html! { @match sample.oldest.get(queue) {
                Some(at) => { "the first " (since(view.now, *at)) }, None => "for a worker" } }))
            (tile("For their turn", depth.held, html! { "of those that wait" }))
            (tile("Running", depth.running, html! { "given to workers" }))
            (tile("Scheduled", depth.scheduled, html! { "not due yet" }))
        }
    }
}

fn waiting(view: &View, tasks: &[QueuedTask], all: u64) -> Markup {
    html! {
        section.panel aria-labelledby="waiting-title" {
            header { h2 #waiting-title { "In the queue" } @if all > 0 { span.quiet.small { "the first " (tasks.len()) " of " (count(all)) } } }
            @if tasks.is_empty() { div.empty { "Nothing waits and nothing runs." } }
            @else { div.scroll tabindex="0" role="region" aria-label="In the queue" { table {
                thead { tr { th { "State" } th { "Task" } th.less { "Priority" } th.num { "Waits" } } }
                tbody { @for task in tasks { tr data-key=(task.id) {
                    td { (state(if task.given { "running" } else { "waiting" })) }
                    td.grow { div.cut { a href=(view.to(&address::of("tasks", task.id.as_str()))) { (task.task) " " span.id.quiet { (task.id) } } } }
                    td.less { (task.priority) }
                    td.num { (moment(view.now, task.enqueued_at)) }
                } } }
            } } }
        }
    }
}

fn scheduled(view: &View, tasks: &[DelayedTask], all: u64) -> Markup {
    html! {
        @if !tasks.is_empty() {
            section.panel aria-labelledby="scheduled-title" {
                header { h2 #scheduled-title { "Scheduled" } span.quiet.small { (tasks.len()) " of " (count(all.max(tasks.len() as u64))) } }
                div.scroll tabindex="0" role="region" aria-label="Scheduled" { table {
                    thead { tr { th { "State" } th { "Task" } th.num { "Due" } } }
                    tbody { @for task in tasks { tr data-key=(task.id) {
                        td { (state(if task.attempt > 1 { "retrying" } else { "scheduled" })) }
                        td.grow { div.cut { a href=(view.to(&address::of("tasks", task.id.as_str()))) { (task.task) " " span.id.quiet { (task.id) } } } }
                        td.num { (moment(view.now, task.due)) }
                    } } }
                } }
            }
        }
    }
}

fn serving_panel(view: &View, workers: Option<&[WorkerInfo]>, queue: &str) -> Markup {
    html! {
        section.panel aria-labelledby="serving-title" {
            header { h2 #serving-title { "Workers that serve it" } }
            @match workers {
                None => div.empty { "The workers did not answer." },
                Some(workers) => @if serving(workers, queue).next().is_none() {
                    div.empty { strong { "None" } span { "Start one: " code { "worker --queues " (queue) } } }
                } @else { table {
                    thead { tr { th { "Worker" } th.num { "Slots" } } }
                    tbody { @for worker in serving(workers, queue) { tr data-key=(worker.worker) {
                        td.grow { div.cut { a href=(view.to(&address::of("workers", &worker.worker))) { (worker.worker) } } } td.num { (worker.concurrency) }
                    } } }
                } }
            }
        }
    }
}

/// What can be set: name, word, what it is, what it looks like.
const SETTINGS: [(&str, &str, &str, &str); 7] = [
    (
        "concurrency",
        "At once",
        "How many run at once, on all workers together",
        "20",
    ),
    (
        "rate",
        "Rate",
        "How many begin, on all workers together",
        "100/s",
    ),
    (
        "burst",
        "Burst",
        "How many may begin at once after a pause",
        "10",
    ),
    (
        "max_backlog",
        "Backlog",
        "The most in the queue; more are refused",
        "100000",
    ),
    (
        "retries",
        "Retries",
        "Where neither task nor call says",
        "3",
    ),
    (
        "backoff",
        "Backoff",
        "The wait before each retry",
        "exponential(1s, max 5m)",
    ),
    ("timeout", "Timeout", "How long one attempt may take", "30s"),
];

fn settings(view: &View, set: &Revised<QueueSettings>) -> Markup {
    let now = json!(set.settings);
    let value = |name: &str| match &now[name] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let may = view.may(Role::Operator);
    html! {
        section.panel aria-labelledby="settings-title" {
            header { h2 #settings-title { "Settings" } span.quiet.small { @if set.revision == 0 { "nothing set" } @else { "revision " (set.revision) } } }
            div.in {
                @if may {
                    (form(view, "queue.set", &set.name, &html! {
                        div.in.bare {
                            input type="hidden" name="revision" value=(set.revision);
                            div.fields { @for (name, word, what, like) in SETTINGS {
                                div.field {
                                    label for=(format!("set-{name}")) { (word) }
                                    input id=(format!("set-{name}")) name=(name) value=(value(name)) placeholder=(like) aria-describedby=(format!("hint-{name}"));
                                    span.hint id=(format!("hint-{name}")) { (what) }
                                }
                            } }
                            div.row { button.button.main { "Set" } span.quiet.small { "In force at once, on all workers. Empty is not set." } }
                        }
                    }))
                } @else {
                    dl.facts { @for (name, word, _, _) in SETTINGS { dt { (word) } dd { @if value(name).is_empty() { "not set" } @else { (value(name)) } } } }
                }
            }
        }
    }
}

/// Sets what a form says, if it is still as it was seen.
pub(super) async fn set(shared: &Shared, queue: &str, fields: &Fields, by: &str) -> Answer<()> {
    let field = |name: &str| fields.get(name).map_or("", |text| text.trim());
    let revision: u64 = field("revision").parse().map_err(|_| {
        Problem::invalid("the form does not say what was seen; open the page again")
    })?;
    let now = admin::queues::get(&shared.client, queue).await?;
    let mut wanted: Map<String, Value> = match json!(now.settings) {
        Value::Object(all) => all,
        _ => Map::new(),
    };
    for (name, word, _, _) in SETTINGS {
        let text = field(name);
        if text.is_empty() {
            wanted.remove(name);
            continue;
        }
        let value = if ["concurrency", "burst", "max_backlog", "retries"].contains(&name) {
            let number: u64 = text.parse().map_err(|_| {
                Problem::invalid(format!("{word} is a number, and `{text}` is none"))
            })?;
            number.into()
        } else {
            Value::from(text)
        };
        wanted.insert(name.to_owned(), value);
    }
    let wanted: QueueSettings = serde_json::from_value(Value::Object(wanted))
        .map_err(|error| Problem::invalid(error.to_string()))?;
    admin::queues::set(&shared.client, queue, &wanted, revision, by).await?;
    Ok(())
}
