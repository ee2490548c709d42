//! `/workers` and `/workers/{worker}`: who works, at what, and how they do.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use taskq::ErrorKind;
use taskq::admin::pools::Pool;
use taskq::admin::{self, WorkerDetail, WorkerInfo};

use super::address;
use super::chart::share;
use super::form::button;
use super::frame::View;
use super::icon::Icon;
use super::pools;
use super::show::{count, counted, length, memory, moment, state};
use super::tasks::table;
use crate::http::{Answer, Name, Params, Problem, Role, Shared};
use crate::index::TaskQuery;

/// For how long a worker may be without an answer of NATS.
const SILENT: Duration = Duration::from_secs(30);

pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    view: View,
    params: Params,
) -> Answer<Response> {
    params.end()?;
    let pulse = &shared.pulse;
    let (infos, details, pools) = tokio::join!(pulse.workers(), pulse.details(), pulse.pools());
    let infos = infos.map(|known| known.what);
    let details = details.map(|known| known.what);
    let pools = pools.map(|known| known.what);
    let pools = pools.as_deref().map(Vec::as_slice);
    let details = details.as_deref().map_or(&[][..], Vec::as_slice);
    // One of an older version tells less.
    let older = infos.iter().flat_map(|infos| infos.iter());
    let older: Vec<&WorkerInfo> = older
        .filter(|info| details.iter().all(|one| one.worker != info.worker))
        .collect();
    let body = html! {
        div.head { h1 { "Workers" } }
        section.panel aria-label="Workers" {
            @if infos.is_none() && details.is_empty() { div.empty { strong { "The workers did not answer" } } }
            @else if details.is_empty() && older.is_empty() {
                div.empty { strong { "No worker answers" } span { "Start one: " code { "worker" } } }
            } @else {
                div.scroll tabindex="0" role="region" aria-label="Workers" { table.stack {
                    thead { tr {
                        th { "Worker" } th { "State" } th.num { "Slots" } th.less { span.unseen { "Share of slots" } }
                        th.num.less { "Processors" } th.num.less { "Memory" } th.num.less { "Up" } th.roomy { "Queues" } th { span.unseen { "What to do" } }
                    } }
                    tbody {
                        @for one in details { (row(&view, one, pools.unwrap_or_default())) }
                        @for one in &older { tr data-key=(one.worker) {
                            td { a href=(view.to(&address::of("workers", &one.worker))) { (one.worker) } }
                            td { (state("running")) div.sub { "of an older version" } }
                            td.num data-label="Slots" { (one.concurrency) } td.less {} td.less {} td.less {} td.less {}
                            td.roomy { (one.queues.join(", ")) } td {}
                        } }
                    }
                } }
            }
        }
        (pools::part(&view, pools))
    };
    Ok(view.page("Workers", &body))
}

fn row(view: &View, one: &WorkerDetail, pools: &[Pool]) -> Markup {
    let pool = pools.iter().find(|pool| pool.has(&one.worker));
    html! {
        tr data-key=(one.worker) {
            td { a href=(view.to(&address::of("workers", &one.worker))) { (one.worker) }
                @if one.host.is_some() || pool.is_some() { div.sub {
                    @if let Some(host) = &one.host { (host) }
                    @if one.host.is_some() && pool.is_some() { ", " }
                    @if let Some(pool) = pool { "pool " (pool.pool) }
                } } }
            td { (state(&one.state)) @if let Some(trouble) = trouble(one) { div.sub.tone-bad { (trouble) } } }
            td.num data-label="Slots" { (one.running) " of " (one.concurrency) }
            td.less { (share(one.running as f64, one.concurrency as f64, "f-run")) }
            td.num.less { @match one.cpu { Some(cpu) => (format!("{cpu:.2}")), None => span.quiet { "–" } } }
            td.num.less { @match one.memory_bytes { Some(bytes) => (memory(bytes)), None => span.quiet { "–" } } }
            td.num.less { (length(view.now.since(one.started_at).as_secs() as f64)) }
            td.roomy { (one.queues.join(", ")) }
            td.num { div.row.right { (actions(view, one, false)) } }
        }
    }
}

/// Why it does not get on.
fn trouble(one: &WorkerDetail) -> Option<String> {
    let silent = Duration::from_millis(one.silence_ms);
    let silence = (silent > SILENT).then(|| {
        format!(
            "NATS has not answered it for {}",
            length(silent.as_secs_f64())
        )
    });
    one.trouble.clone().or(silence)
}

fn actions(view: &View, one: &WorkerDetail, all: bool) -> Markup {
    let name = &one.worker;
    html! {
        @if one.state == "quiet" { (button(view, Role::Operator, "worker.resume", name, "Resume")) }
        @if one.state == "running" { (button(view, Role::Operator, "worker.quiet", name, "Quiet")) }
        @if one.state != "draining" { (button(view, Role::Operator, "worker.drain", name, "Drain")) }
        @if all { (button(view, Role::Admin, "worker.stop", name, "Stop")) }
    }
}

pub(super) async fn one(
    State(shared): State<Arc<Shared>>,
    view: View,
    Name(name): Name,
    params: Params,
) -> Answer<Response> {
    params.end()?;
    let (detail, infos) =
        tokio::join!(admin::worker(&shared.client, &name), shared.pulse.workers());
    let detail = match detail {
        Ok(detail) => Some(detail),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error.into()),
    };
    let infos = infos.map(|known| known.what);
    let info = infos
        .as_ref()
        .and_then(|infos| infos.iter().find(|one| one.worker == name));
    let query = TaskQuery {
        worker: Some(name.clone()),
        limit: 20,
        ..TaskQuery::default()
    };
    let last = shared.index.tasks(query).await?.tasks;
    if detail.is_none() && info.is_none() && last.is_empty() {
        return Err(Problem::not_found(format!(
            "no worker `{name}` answers, and none ran anything that is known"
        )));
    }
    let body = html! {
        div.head {
            a.crumb href=(view.to("workers")) { "Workers" }
            h1 { (name) }
            @match &detail { Some(one) => (state(&one.state)), None => @if info.is_none() { span.state.bad { (Icon::Cross.draw()) "gone" } } }
            @if let Some(one) = &detail { div.end { (actions(&view, one, true)) } }
        }
        @if detail.is_none() && info.is_none() {
            div.note.warn { (Icon::Alert.draw()) p { "It does not answer: it has stopped, or is cut off. What it ran is below." } }
        }
        @if let Some(trouble) = detail.as_ref().and_then(trouble) { div.note.bad { (Icon::Alert.draw()) p { (trouble) } } }
        @if let Some(one) = &detail { (tiles(&view, one)) }
        div.cols {
            div {
                @if let Some(one) = &detail { (current(&view, one)) }
                section.panel aria-labelledby="last-title" {
                    header { h2 #last-title { "What it ran last" } div.end { a href=(view.to(&address::with("tasks", [("worker", name.as_str())]))) { "All" } } }
                    @if last.is_empty() { div.empty { "Nothing yet." } } @else { (table(&view, &last)) }
                }
            }
            div { (facts(&view, detail.as_ref(), info)) }
        }
    };
    Ok(view.page_of("Workers", &name, &body))
}

fn tiles(view: &View, one: &WorkerDetail) -> Markup {
    let tile = |name: &str, value: Markup, more: Markup| {
        html! {
            div.tile { span.name { (name) } span.value { (value) } span.more { (more) } }
        }
    };
    html! {
        section.tiles aria-label="Figures" {
            (tile("Running", html! { (one.running) small { " of " (one.concurrency) } }, share(one.running as f64, one.concurrency as f64, "f-run")))
            (tile("Held", html! { (one.held) }, html! { "fetched, not begun" }))
            (tile("Processors", html! { @match one.cpu { Some(cpu) => (format!("{cpu:.2}")), None => "?" } }, html! { "kept busy just now" }))
            (tile("Memory", html! { @match one.memory_bytes { Some(bytes) => (memory(bytes)), None => "?" } }, html! { "of its process" }))
            (tile("Heartbeat", html! { (length(one.silence_ms as f64 / 1000.0)) }, html! { "since NATS answered" }))
            (tile("Up", html! { (length(view.now.since(one.started_at).as_secs() as f64)) }, html! { "since " (moment(view.now, one.started_at)) }))
        }
    }
}

fn current(view: &View, one: &WorkerDetail) -> Markup {
    html! {
        section.panel aria-labelledby="now-title" {
            header { h2 #now-title { "Running now" } span.quiet.small { (counted(one.tasks.len() as u64, "task")) } }
            @if one.tasks.is_empty() { div.empty { "Nothing." } } @else {
                div.scroll tabindex="0" role="region" aria-label="Running now" { table {
                    thead { tr { th { "Task" } th.less { "Queue" } th.num { "Attempt" } th.num { "For" } } }
                    tbody { @for task in &one.tasks { tr data-key=(task.id) {
                        td.grow { div.cut { a href=(view.to(&address::of("tasks", task.id.as_str()))) { (task.task) " " span.id.quiet { (task.id) } } @if task.stopping { " " (state("cancelled")) } } }
                        td.less { (task.queue) }
                        td.num { (task.attempt) }
                        td.num { (length(view.now.since(task.since).as_secs_f64())) }
                    } } }
                } }
            }
        }
    }
}

fn facts(view: &View, detail: Option<&WorkerDetail>, info: Option<&WorkerInfo>) -> Markup {
    let queues = detail
        .map(|one| &one.queues)
        .or(info.map(|one| &one.queues));
    html! {
        section.panel aria-labelledby="facts-title" {
            header { h2 #facts-title { "Facts" } }
            div.in { dl.facts {
                @if let Some(queues) = queues { dt { "Queues" } dd { @for (place, queue) in queues.iter().enumerate() {
                    @if place > 0 { ", " } a href=(view.to(&address::of("queues", queue))) { (queue) }
                } } }
                @if let Some(one) = detail {
                    @if let Some(host) = &one.host { dt { "Machine" } dd { (host) } }
                    dt { "Process" } dd { (one.process) @if let Some(program) = &one.program { ", " code { (program) } } }
                    dt { "Version" } dd { (one.version) }
                    dt { "Succeeded" } dd { (count(one.succeeded)) }
                    dt { "Failed" } dd { (count(one.failed)) }
                    dt { "Tried again" } dd { (count(one.retried)) }
                    dt { "Leases lost" } dd { (count(one.leases_lost)) }
                }
                @if let Some(one) = info { dt { "Tasks" } dd { @for (place, task) in one.tasks.iter().enumerate() {
                    @if place > 0 { ", " } a href=(view.to(&address::of("types", &task.name))) { (task.name) }
                } } }
            } }
        }
    }
}
