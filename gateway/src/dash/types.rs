//! `/types` and `/types/{task}`: what workers can run, how it goes, and running
//! one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use serde_json::{Map, Value};
use taskq::admin::{TaskDetail, TaskInfo, WorkerInfo};
use taskq::{TaskSettings, Timestamp};

use super::address;
use super::chart::{Chart, Part};
use super::fingerprint::pattern;
use super::form::{button, form};
use super::frame::View;
use super::icon::Icon;
use super::run;
use super::show::{copy, count, json, length, moment, short, since, state};
use super::tasks::table;
use super::trends::{Range, Trends, share_below};
use crate::http::{Answer, Name, Params, Problem, Role, Shared};
use crate::index::{TaskQuery, TaskState, TaskSummary};

/// How old what workers tell of a task may be.
const FRESH: Duration = Duration::from_secs(2);
/// Of how many failed tasks, the latest, errors are put together.
const MOST_FAILED: usize = 500;

/// What a worker says of a task, and how many do.
struct Kind<'a> {
    info: Option<&'a TaskInfo>,
    workers: usize,
}

fn kinds(workers: &[WorkerInfo]) -> BTreeMap<&str, Kind<'_>> {
    let mut kinds: BTreeMap<&str, Kind<'_>> = BTreeMap::new();
    for worker in workers {
        for task in &worker.tasks {
            let kind = kinds.entry(&task.name).or_insert(Kind {
                info: Some(task),
                workers: 0,
            });
            kind.workers += 1;
        }
    }
    kinds
}

pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    view: View,
    params: Params,
) -> Answer<Response> {
    params.end()?;
    let (sample, workers) = tokio::join!(shared.pulse.now(), shared.pulse.workers());
    let workers = workers.map(|known| known.what);
    let kinds = kinds(workers.as_deref().map_or(&[], Vec::as_slice));
    let hour = Duration::from_secs(3600).as_millis() as i64;
    let since = Timestamp::from_millis(view.now.as_millis() - hour);
    let lately = shared.index.types_since(since).await?;
    let ended: BTreeMap<&str, (u64, u64)> = lately
        .iter()
        .map(|one| (one.task.as_str(), (one.ended, one.failed)))
        .collect();
    let names: BTreeSet<&str> = kinds
        .keys()
        .chain(ended.keys())
        .copied()
        .chain(sample.task_settings.keys().map(String::as_str))
        .collect();
    let body = html! {
        div.head { h1 { "Task types" } p.quiet { "What living workers can run, and what ended in the last hour." } }
        section.panel aria-label="Task types" {
            @if names.is_empty() { div.empty { strong { "No task type" } span { "No worker answers, and no task has ended lately." } } } @else {
                div.scroll tabindex="0" role="region" aria-label="Task types" { table {
                    thead { tr { th { "Type" } th.less { "Queue" } th.num { "Ended" } th.num { "Failed" } th.num.less { "Workers" } th { span.unseen { "What to do" } } } }
                    tbody { @for name in names {
                        (row(&view, name, kinds.get(name), ended.get(name).copied(), sample.task_settings.get(name)))
                    } }
                } }
            }
        }
    };
    Ok(view.page("Task types", &body))
}

fn row(
    view: &View,
    name: &str,
    kind: Option<&Kind<'_>>,
    ended: Option<(u64, u64)>,
    set: Option<&TaskSettings>,
) -> Markup {
    let paused = set.is_some_and(|set| set.paused.is_some());
    let (all, failed) = ended.unwrap_or_default();
    let info = kind.and_then(|kind| kind.info);
    html! {
        tr data-key=(name) {
            td.grow {
                div.cut { a href=(view.to(&address::of("types", name))) { (name) } @if paused { " " (state("paused")) } }
                @if let Some(info) = info { div.cut.sub { (info.doc) } }
            }
            td.less { @if let Some(info) = info { (info.queue) } }
            td.num { (count(all)) }
            td.num { @if failed > 0 { a.tone-bad href=(view.to(&address::with("tasks", [("task", name), ("state", "failed")]))) { (count(failed)) } } @else { "0" } }
            td.num.less { @match kind { Some(kind) => (kind.workers), None => span.tone-bad { "none" } } }
            td.num {
                @if paused { (button(view, Role::Operator, "type.resume", name, "Resume")) }
                @else { (button(view, Role::Operator, "type.pause", name, "Pause")) }
            }
        }
    }
}

pub(super) async fn one(
    State(shared): State<Arc<Shared>>,
    view: View,
    Name(name): Name,
    mut params: Params,
) -> Answer<Response> {
    let range = Range::of(params.one("range")?.as_deref());
    let from = params.one("from")?;
    params.end()?;
    let (sample, workers) = tokio::join!(shared.pulse.now(), shared.pulse.workers());
    let workers = workers.map(|known| known.what);
    let all = workers.as_deref().map_or(&[][..], Vec::as_slice);
    let info = all
        .iter()
        .flat_map(|worker| &worker.tasks)
        .find(|task| task.name == name);
    let trends = Trends::read(&shared, view.now, range, Some(&name), None).await?;
    let failed = TaskQuery {
        states: vec![TaskState::Failed],
        task: Some(name.clone()),
        since: Some(range.begin(view.now)),
        limit: MOST_FAILED,
        ..TaskQuery::default()
    };
    let failed = shared.index.tasks(failed).await?.tasks;
    let last = TaskQuery {
        task: Some(name.clone()),
        limit: 10,
        ..TaskQuery::default()
    };
    let last = shared.index.tasks(last).await?.tasks;
    if info.is_none() && last.is_empty() {
        return Err(Problem::not_found(format!(
            "no living worker knows a task `{name}`, and none is known to have run"
        )));
    }
    let called = match &from {
        Some(id) => super::task::kwargs(&shared, id).await,
        None => Map::new(),
    };
    let known = shared.types.known(&name, FRESH).await.ok().flatten();
    let first = known
        .as_ref()
        .and_then(|known| known.task_type.definitions.first());
    let detail = first.map(|first| &first.detail);
    let set = sample.task_settings.get(&name);
    let paused = set.and_then(|set| set.paused.as_ref());
    let here = address::of("types", &name);
    let body = html! {
        div.head {
            a.crumb href=(view.to("types")) { "Task types" }
            h1 { (name) }
            @if paused.is_some() { (state("paused")) }
            div.end {
                (range.choice(&view, &here))
                @if paused.is_some() { (button(&view, Role::Operator, "type.resume", &name, "Resume")) }
                @else if view.may(Role::Operator) { (form(&view, "type.pause", &name, &html! {
                    label.unseen for="because" { "Why it is paused" }
                    input #because name="because" placeholder="Why" size="16" maxlength="200";
                    button.button { (Icon::Pause.draw()) "Pause" }
                })) }
            }
            @if let Some(info) = info { p.quiet { (info.doc) } }
        }
        @if let Some(paused) = paused {
            div.note.warn { (Icon::Pause.draw()) p { "Paused by " strong { (paused.by) } ", " (since(view.now, paused.at))
                @if let Some(because) = &paused.because { ": " (because) } "." } }
        }
        @if info.is_none() { div.note.warn { (Icon::Alert.draw()) p { "No living worker knows it." } } }
        div.grid.wide { (trends.throughput()) (histogram(&trends)) (trends.waits()) (trends.runs()) }
        div.cols {
            div { (errors(&view, &name, &failed)) (last_tasks(&view, &name, &last)) }
            div {
                @if let Some(info) = info {
                    @if view.may(Role::Operator) { (form_of(&view, info, detail, &called)) }
                    (facts(&view, info, all))
                    (schemas(detail))
                }
            }
        }
    };
    Ok(view.page_of("Task types", &name, &body))
}

fn form_of(
    view: &View,
    info: &TaskInfo,
    detail: Option<&TaskDetail>,
    called: &Map<String, Value>,
) -> Markup {
    let inputs = match detail {
        Some(detail) => run::of_detail(detail),
        None => run::of_signature(&info.signature),
    };
    run::draw(view, &info.name, &info.queue, &inputs, called)
}

/// How long it ran, by how often: each bar is twice as long as the one before.
fn histogram(trends: &Trends) -> Markup {
    let (_, mut runs) = trends.waits_and_runs();
    let place = |seconds: f64| (seconds.max(1e-5) / 1e-5).log2().floor() as usize;
    let mut bars = vec![0_u64; runs.iter().map(|run| place(*run) + 1).max().unwrap_or(0)];
    for run in &runs {
        bars[place(*run)] += 1;
    }
    let first = bars.iter().position(|bar| *bar > 0).unwrap_or(0);
    let below = |place: usize| 1e-5 * 2f64.powi(place as i32 + 1);
    let parts: Vec<Part> = bars
        .iter()
        .enumerate()
        .skip(first)
        .map(|(place, bar)| Part {
            title: format!(
                "{} to {}: {}",
                length(below(place) / 2.0),
                length(below(place)),
                count(*bar)
            ),
            values: vec![Some(*bar as f64)],
        })
        .collect();
    let ends = match bars.len() {
        0 => (String::new(), String::new()),
        all => (length(below(first) / 2.0), length(below(all - 1))),
    };
    let told = match (share_below(&mut runs, 0.5), share_below(&mut runs, 0.95)) {
        (Some(half), Some(most)) => format!(
            "Half ran below {}, 95 percent below {}",
            length(half),
            length(most)
        ),
        _ => "None ran in the time shown".to_owned(),
    };
    Chart {
        title: "Run times",
        told,
        kinds: &[("tasks by how long they ran", "f-run")],
        parts,
        write: short,
        ends,
        room: 4.0,
    }
    .bars()
}

fn errors(view: &View, name: &str, failed: &[TaskSummary]) -> Markup {
    let mut groups: BTreeMap<String, Vec<&TaskSummary>> = BTreeMap::new();
    for task in failed {
        groups
            .entry(pattern(task.error.as_deref().unwrap_or_default()))
            .or_default()
            .push(task);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, tasks)| std::cmp::Reverse(tasks.len()));
    html! {
        section.panel aria-labelledby="errors-title" {
            header { h2 #errors-title { "Errors" } span.quiet.small { "in the time shown" @if failed.len() == MOST_FAILED { ", of the latest " (MOST_FAILED) } }
                div.end { a href=(view.to(&address::with("failures", [("task", name)]))) { "Dead letters" } } }
            @if groups.is_empty() { div.empty { "None failed." } } @else { table {
                thead { tr { th { "Error" } th.num { "Tasks" } th.num { "Last" } } }
                tbody { @for (pattern, tasks) in groups.iter().take(12) { tr data-key=(pattern) {
                    td.grow { div.cut title=(pattern) { @if let Some(last) = tasks.first() {
                        a href=(view.to(&address::of("tasks", &last.id))) { (if pattern.is_empty() { "no message" } else { pattern.as_str() }) }
                    } } }
                    td.num { (count(tasks.len() as u64)) }
                    td.num { @if let Some(at) = tasks.first().and_then(|task| task.finished_at) { (moment(view.now, at)) } }
                } } }
            } }
        }
    }
}

fn last_tasks(view: &View, name: &str, last: &[TaskSummary]) -> Markup {
    html! {
        section.panel aria-labelledby="last-title" {
            header { h2 #last-title { "The latest" } div.end { a href=(view.to(&address::with("tasks", [("task", name)]))) { "All" } } }
            @if last.is_empty() { div.empty { "None has run yet." } } @else { (table(view, last)) }
        }
    }
}

fn facts(view: &View, info: &TaskInfo, workers: &[WorkerInfo]) -> Markup {
    let knowing = workers
        .iter()
        .filter(|worker| worker.tasks.iter().any(|task| task.name == info.name));
    let signatures: BTreeSet<&str> = workers
        .iter()
        .flat_map(|worker| &worker.tasks)
        .filter(|task| task.name == info.name)
        .map(|task| task.signature.as_str())
        .collect();
    html! {
        section.panel aria-labelledby="facts-title" {
            header { h2 #facts-title { "Facts" } }
            div.in { dl.facts {
                dt { "Signature" } dd { @for signature in &signatures { div { code { (signature) } } }
                    @if signatures.len() > 1 { span.tone-warn { "Workers differ: an update is under way, or they have another version." } } }
                dt { "Queue" } dd { a href=(view.to(&address::of("queues", &info.queue))) { (info.queue) } }
                dt { "Retries" } dd { (info.retries) }
                @if let Some(schedule) = &info.schedule { dt { "Recurs" } dd { code { (schedule) } } }
                dt { "Defined at" } dd { code { (info.place) } }
                dt { "Workers" } dd { @for (place, worker) in knowing.enumerate() {
                    @if place > 0 { ", " } a href=(view.to(&address::of("workers", &worker.worker))) { (worker.worker) }
                } }
            } }
        }
    }
}

fn schemas(detail: Option<&TaskDetail>) -> Markup {
    html! {
        @if let Some(detail) = detail {
            section.panel aria-label="Schemas" {
                @for (word, schema) in [("Schema of the arguments", &detail.arguments), ("Schema of the result", &detail.result)] {
                    details { summary { (word) } div.in { (copy(&json(&schema.to_string()))) } }
                }
            }
        }
    }
}
