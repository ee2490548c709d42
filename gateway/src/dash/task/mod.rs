//! `/tasks/{id}`: one task, from when it was accepted to how it ended.

mod history;
mod known;
mod parts;

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use serde_json::{Map, Value};
use taskq::{Event, EventKind};

use self::history::history;
use self::known::Known;
use self::parts::{arguments, commands, facts, outcome};
use super::address;
use super::form::{button, form};
use super::frame::View;
use super::icon::Icon;
use super::show::state;
use super::told::told;
use crate::http::{
    Answer, Caller, Found, Name, Params, Role, Shared, Whole, past_of, reveal_task, whole_task,
};

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
