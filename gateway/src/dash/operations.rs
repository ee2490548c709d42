//! `/operations`: what is done to many tasks at once, and how far it is.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use serde_json::Value;
use taskq::admin::operations::{self, BulkAction, Operation, OperationState};

use super::address;
use super::chart::share;
use super::form::button;
use super::frame::View;
use super::show::{copy, count, counted, full, json, length, moment, state};
use crate::http::{Answer, Name, Params, Role, Shared};

/// Those that run, for the top of a page.
pub(super) async fn running(view: &View, shared: &Shared) -> Markup {
    let all = operations::list(&shared.client).await.unwrap_or_default();
    let running: Vec<&Operation> = all
        .iter()
        .filter(|one| one.state == OperationState::Running)
        .collect();
    html! {
        @if !running.is_empty() {
            section.panel aria-labelledby="running-title" {
                header { h2 #running-title { "Being done" } div.end { a href=(view.to("operations")) { "All operations" } } }
                (rows(view, &running))
            }
        }
    }
}

pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    view: View,
    params: Params,
) -> Answer<Response> {
    params.end()?;
    let all = operations::list(&shared.client).await?;
    let body = html! {
        div.head { a.crumb href=(view.to("tasks")) { "Tasks" } h1 { "Operations" } p.quiet { "What is done to many tasks at once, and what was in the last week." } }
        section.panel aria-label="Operations" {
            @if all.is_empty() { div.empty { strong { "None yet" } span { "Pick tasks in a " a href=(view.to("tasks")) { "list" } ", and choose what to do." } } }
            @else { (rows(&view, &all.iter().collect::<Vec<_>>())) }
        }
    };
    Ok(view.page_of("Tasks", "Operations", &body))
}

fn rows(view: &View, operations: &[&Operation]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Operations" { table {
            thead { tr { th { "What" } th { "How far" } th.less { "What became of them" } th.less { "Who" } th.num { "Begun" } th { span.unseen { "What to do" } } } }
            tbody { @for one in operations {
                tr data-key=(one.id) {
                    td { a href=(view.to(&address::of("operations", &one.id))) { (verb(one)) } div.sub { (state(word(one))) } }
                    td { (count(one.done)) " of " (count(one.total)) (share(one.done as f64, one.total as f64, "f-run"))
                        @if let Some(rate) = one.rate { div.sub { "one each " (length(1.0 / rate)) } } }
                    td.less { @for (outcome, many) in &one.outcomes { div.sub { (outcome.replace('_', " ")) ": " (count(*many)) } }
                        @if let Some(first) = one.errors.first() { div.sub.tone-bad { a href=(view.to(&address::of("tasks", first.id.as_str()))) { (first.id) } ": " (first.error) } } }
                    td.less { (one.by) @if let Some(why) = &one.because { div.sub { (why) } } }
                    td.num { (moment(view.now, one.created_at)) }
                    td.num { @if one.state == OperationState::Running { (button(view, Role::Operator, "operation.cancel", &one.id, "Stop")) } }
                }
            } }
        } }
    }
}

/// What is done, as the buttons have it.
fn verb(operation: &Operation) -> &'static str {
    match operation.action {
        BulkAction::Cancel => "Cancel",
        BulkAction::Retry => "Retry",
        BulkAction::RunNow => "Run now",
        BulkAction::Reschedule { .. } => "Move",
        BulkAction::Discard => "Discard",
        _ => "Other",
    }
}

fn word(operation: &Operation) -> &'static str {
    match operation.state {
        OperationState::Running => "running",
        OperationState::Cancelled => "cancelled",
        _ => "done",
    }
}

/// What became of a task, in words.
fn became(outcome: &str) -> &str {
    match outcome {
        "sent" => "sent again",
        "requested" => "its worker is told to stop it",
        "too_late" => "had ended or begun",
        "not_ended" => "had not ended",
        "succeeded" => "had succeeded",
        "gone" => "had no dead letter",
        "done_before" => "was done already, or changed meanwhile",
        other => other,
    }
}

/// `/operations/{id}`.
pub(super) async fn one(
    State(shared): State<Arc<Shared>>,
    view: View,
    Name(id): Name,
    params: Params,
) -> Answer<Response> {
    params.end()?;
    let one = operations::get(&shared.client, &id).await?;
    let title = format!("{} {}", verb(&one), counted(one.total, "task"));
    let body = html! {
        div.head {
            a.crumb href=(view.to("operations")) { "Operations" }
            h1 { (title) } (state(word(&one)))
            div.end { @if one.state == OperationState::Running { (button(&view, Role::Operator, "operation.cancel", &one.id, "Stop")) } }
        }
        section.panel aria-labelledby="far-title" {
            header { h2 #far-title { "How far" } }
            div.in {
                div.row { strong { (count(one.done)) " of " (count(one.total)) }
                    @if let Some(rate) = one.rate { span.quiet { "one each " (length(1.0 / rate)) } } }
                progress.wide value=(one.done) max=(one.total) aria-label="How far" {}
                @if one.state == OperationState::Running { p.quiet.small { "It goes on when this page is closed, and when this gateway ends." } }
            }
        }
        div.cols {
            div { (outcomes(&view, &one)) }
            div { (facts(&view, &one)) }
        }
    };
    Ok(view.page_of("Tasks", &title, &body))
}

fn outcomes(view: &View, one: &Operation) -> Markup {
    html! {
        section.panel aria-labelledby="became-title" {
            header { h2 #became-title { "What became of them" } }
            div.in {
                @if one.outcomes.is_empty() { p.quiet { "Nothing yet." } }
                @else { dl.facts { @for (outcome, many) in &one.outcomes { dt { (became(outcome)) } dd { (count(*many)) } } } }
            }
        }
        @if !one.errors.is_empty() {
            section.panel aria-labelledby="errors-title" {
                header { h2 #errors-title { "Why some were not" } span.quiet.small { "the first " (one.errors.len()) } }
                div.in { @for failed in &one.errors {
                    div { a.id href=(view.to(&address::of("tasks", failed.id.as_str()))) { (failed.id) } pre { (failed.error) } }
                } }
            }
        }
    }
}

fn facts(view: &View, one: &Operation) -> Markup {
    html! {
        section.panel aria-labelledby="facts-title" {
            header { h2 #facts-title { "Facts" } }
            div.in {
                dl.facts {
                    dt { "Id" } dd.id { (one.id) }
                    dt { "Who" } dd { (one.by) }
                    @if let Some(why) = &one.because { dt { "Why" } dd { (why) } }
                    @if let BulkAction::Reschedule { at } = one.action { dt { "Moved to" } dd { (full(at)) } }
                    dt { "Begun" } dd { (full(one.created_at)) " " span.quiet { "(" (moment(view.now, one.created_at)) ")" } }
                    @if let Some(at) = one.finished_at {
                        dt { "Ended" } dd { (full(at)) " " span.quiet { "after " (length(at.since(one.created_at).as_secs_f64())) } }
                    }
                    @if let Some(by) = &one.cancelled_by { dt { "Stopped by" } dd { (by) } }
                    @if let Some(runner) = &one.runner { dt { "Run by" } dd.id { (runner) } }
                }
                @if one.filter != Value::Null { h3 { "Found by" } (copy(&json(&one.filter.to_string()))) }
            }
        }
    }
}
