//! `/schedules` and `/schedules/{name}`: what recurs, in words, and when next.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use taskq::ScheduleSource;
use taskq::admin::schedules::{self, ScheduleInfo};

use super::address;
use super::form::button;
use super::frame::View;
use super::icon::Icon;
use super::show::{copy, json, moment, since, state};
use super::tasks::table;
use crate::http::{Answer, Name, Params, Role, Shared};
use crate::index::TaskQuery;

/// How many times to come are shown.
const TIMES: usize = 5;

pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    view: View,
    params: Params,
) -> Answer<Response> {
    params.end()?;
    let all = schedules::list(&shared.client).await?;
    let body = html! {
        div.head { h1 { "Schedules" } }
        section.panel aria-label="Schedules" {
            @if all.is_empty() {
                div.empty { strong { "No schedule" } span { "A task recurs by " code { "#[task(schedule = \"..\")]" } " or " code { "taskq schedules add" } "." } }
            } @else {
                div.scroll tabindex="0" role="region" aria-label="Schedules" { table.stack {
                    thead { tr { th { "Schedule" } th { "When" } th.num { "Next" } th { "Last" } th { span.unseen { "What to do" } } } }
                    tbody { @for one in &all { (row(&view, one)) } }
                } }
            }
        }
    };
    Ok(view.page("Schedules", &body))
}

fn row(view: &View, one: &ScheduleInfo) -> Markup {
    let name = &one.schedule.name;
    html! {
        tr data-key=(name) {
            td {
                a href=(view.to(&address::of("schedules", name))) { (name) }
                @if one.schedule.paused.is_some() { " " (state("paused")) }
                @if one.schedule.task() != name { div.sub { (one.schedule.task()) } }
            }
            td { (one.in_words) }
            td.num data-label="Next" { @match one.next { Some(at) => (moment(view.now, at)), None => span.quiet { "–" } } }
            td data-label="Last" { (last(view, one)) }
            td.num { div.row.right { (actions(view, one)) } }
        }
    }
}

fn last(view: &View, one: &ScheduleInfo) -> Markup {
    html! { @match &one.last {
        Some(last) => a href=(view.to(&address::of("tasks", last.id.as_str()))) { (state(&last.status)) " " (moment(view.now, last.at)) },
        None => span.quiet { "never" },
    } }
}

fn actions(view: &View, one: &ScheduleInfo) -> Markup {
    let name = &one.schedule.name;
    html! {
        (button(view, Role::Operator, "schedule.run", name, "Run now"))
        @if one.schedule.paused.is_some() { (button(view, Role::Operator, "schedule.resume", name, "Resume")) }
        @else { (button(view, Role::Operator, "schedule.pause", name, "Pause")) }
    }
}

pub(super) async fn one(
    State(shared): State<Arc<Shared>>,
    view: View,
    Name(name): Name,
    params: Params,
) -> Answer<Response> {
    params.end()?;
    let one = schedules::get(&shared.client, &name).await?;
    let schedule = &one.schedule;
    let query = TaskQuery {
        task: Some(schedule.task().to_owned()),
        limit: 20,
        ..TaskQuery::default()
    };
    let last_tasks = shared.index.tasks(query).await?.tasks;
    let times = schedule.next(view.now, TIMES);
    let source = match schedule.source {
        ScheduleSource::Code => "the program of a worker",
        _ => "an operator, or a program",
    };
    let body = html! {
        div.head {
            a.crumb href=(view.to("schedules")) { "Schedules" }
            h1 { (name) }
            @if schedule.paused.is_some() { (state("paused")) }
            div.end { (actions(&view, &one)) (button(&view, Role::Admin, "schedule.remove", &name, "Remove")) }
        }
        @if let Some(paused) = &schedule.paused {
            div.note.warn { (Icon::Pause.draw()) p { "Paused by " strong { (paused.by) } ", " (since(view.now, paused.at))
                @if let Some(because) = &paused.because { ": " (because) } "." } }
        }
        div.cols {
            div {
                section.panel aria-labelledby="times-title" {
                    header { h2 #times-title { "Next times" } span.quiet.small { (one.in_words) } }
                    @if times.is_empty() { div.empty { "None: it has ended." } }
                    @else { table { tbody { @for at in &times { tr { td { (schedule.clock(*at)) } td.num { (moment(view.now, *at)) } } } } } }
                }
                section.panel aria-labelledby="last-title" {
                    header { h2 #last-title { "What " (schedule.task()) " did last" } }
                    @if last_tasks.is_empty() { div.empty { "Nothing yet." } } @else { (table(&view, &last_tasks)) }
                }
            }
            div {
                section.panel aria-labelledby="facts-title" {
                    header { h2 #facts-title { "Facts" } }
                    div.in { dl.facts {
                        dt { "Task" } dd { a href=(view.to(&address::of("types", schedule.task()))) { (schedule.task()) } }
                        dt { "Queue" } dd { a href=(view.to(&address::of("queues", schedule.queue()))) { (schedule.queue()) } }
                        dt { "When" } dd { code { (schedule.when()) } }
                        dt { "Last" } dd { (last(&view, &one)) }
                        dt { "If the one before runs" } dd { (schedule.overlap().to_string()) }
                        dt { "If it was missed" } dd { (schedule.misfire().to_string()) }
                        dt { "Declared by" } dd { (source) @if one.declared == Some(false) { " that no living worker has" } }
                        dt { "Set by" } dd { (schedule.by) ", " (moment(view.now, schedule.since)) }
                    } }
                }
                section.panel aria-labelledby="arguments-title" {
                    header { h2 #arguments-title { "Arguments" } }
                    div.in { (copy(&json(&schedule.arguments().to_string()))) }
                }
            }
        }
    };
    Ok(view.page_of("Schedules", &name, &body))
}
