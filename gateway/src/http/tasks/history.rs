//! What happened to a task.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::Value;
use taskq::{EventKind, Status, Timestamp, admin};

use super::look::{Found, find, unknown};
use crate::http::extract::{Json, Name, Params};
use crate::http::problem::{Answer, Problems};
use crate::http::views::{AttemptView, Attempts, ErrorView, Events};
use crate::http::{Shared, events};

/// The most events of a task that are listed.
const MOST_EVENTS: usize = 1000;

/// The attempts of a task.
#[utoipa::path(
    get, path = "/v1/tasks/{id}/attempts", tag = "tasks",
    params(("id" = String, Path, description = "The task's id")),
    responses(
        (status = 200, body = Attempts, description = "Its attempts, the oldest first"),
        Problems,
    )
)]
pub(crate) async fn attempts(
    State(shared): State<Arc<Shared>>,
    Name(id): Name,
    params: Params,
) -> Answer<Json<Attempts>> {
    params.end()?;
    let found = find(&shared, &id, None).await?;
    let items = attempts_of(&shared, &id, &found).await?;
    Ok(Json(Attempts { items }))
}

/// The attempts of a task, the oldest first.
pub(super) async fn attempts_of(
    shared: &Shared,
    id: &str,
    found: &Found,
) -> Answer<Vec<AttemptView>> {
    Ok(match found {
        Found::Ended(outcome) => {
            let mut items: Vec<AttemptView> =
                outcome.attempts.iter().map(AttemptView::failed).collect();
            if outcome.attempt > 0 {
                items.push(AttemptView {
                    attempt: outcome.attempt,
                    state: outcome.state.as_str().to_owned(),
                    worker: (!outcome.worker.is_empty()).then(|| outcome.worker.clone()),
                    started_at: outcome.started_at,
                    finished_at: Some(outcome.finished_at),
                    error: outcome.error.as_ref().map(Into::into),
                });
            }
            items
        }
        Found::Expired(_) => Vec::new(),
        // Of what has not ended, events tell.
        Found::Live(_) => of_events(&past(shared, id).await?),
    })
}

fn of_events(events: &[taskq::Event]) -> Vec<AttemptView> {
    let mut items: Vec<AttemptView> = Vec::new();
    for event in events {
        let Some(attempt) = event.attempt else {
            continue;
        };
        let state = match event.kind {
            EventKind::Started => "running",
            EventKind::Retrying => "failed",
            EventKind::LeaseLost => "lost",
            EventKind::HandedBack => "handed_back",
            _ => continue,
        };
        let place = items.iter().position(|item| item.attempt == attempt);
        let place = place.unwrap_or_else(|| {
            items.push(AttemptView {
                attempt,
                state: String::new(),
                worker: None,
                started_at: None,
                finished_at: None,
                error: None,
            });
            items.len() - 1
        });
        let item = &mut items[place];
        state.clone_into(&mut item.state);
        item.worker.clone_from(&event.worker);
        if event.kind == EventKind::Started {
            item.started_at = Some(event.at);
        } else {
            item.finished_at = Some(event.at);
        }
        let message = event.detail.get("error").and_then(Value::as_str);
        if let Some(message) = message {
            item.error = Some(ErrorView {
                kind: String::new(),
                message: message.to_owned(),
                backtrace: None,
            });
        }
    }
    items
}

/// What was told of a task.
pub(crate) async fn past(shared: &Shared, id: &str) -> Answer<Vec<taskq::Event>> {
    let mut filter = admin::EventFilter::default();
    filter.id = Some(id.into());
    let since = Some(Timestamp::from_millis(0));
    let events = admin::events(&shared.client, filter, since, false).await?;
    Ok(events.take(MOST_EVENTS).try_collect().await?)
}

/// What happened to a task; live as server-sent events, where these are
/// accepted.
#[utoipa::path(
    get, path = "/v1/tasks/{id}/events", tag = "tasks",
    params(
        ("id" = String, Path, description = "The task's id"),
        ("after" = Option<String>, Query, description = "As Last-Event-ID, for who cannot set a header"),
        ("Last-Event-ID" = Option<String>, Header, description = "Of server-sent events: go on behind this one"),
    ),
    responses(
        (status = 200, description = "What happened, the oldest first", content(
            (Events = "application/json"), (String = "text/event-stream"),
        )),
        Problems,
    )
)]
pub(crate) async fn task_events(
    State(shared): State<Arc<Shared>>,
    Name(id): Name,
    headers: HeaderMap,
    params: Params,
) -> Answer<Response> {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    if accept.is_some_and(|accept| accept.contains("text/event-stream")) {
        return events::stream_of_task(&shared, &id, &headers, params).await;
    }
    params.end()?;
    let items = past(&shared, &id).await?;
    if items.is_empty()
        && shared.client.handle::<Value>(id.as_str()).status().await? == Status::Unknown
    {
        return Err(unknown(&id));
    }
    Ok(Json(Events { items }).into_response())
}
