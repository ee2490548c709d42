//! One task: where it is, and how it ended.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;
use taskq::{Outcome, Status, TaskHandle, admin};

use crate::http::extract::{Json, Name, Params};
use crate::http::problem::{Answer, Problem, Problems};
use crate::http::views::{ResultView, TaskView};
use crate::http::{LONGEST_WAIT, Shared};
use crate::index::TaskSummary;

/// One task.
#[utoipa::path(
    get, path = "/v1/tasks/{id}", tag = "tasks",
    params(
        ("id" = String, Path, description = "The task's id"),
        ("wait" = Option<String>, Query, description = "Wait so long, at most 60s, for it to end"),
    ),
    responses(
        (status = 200, body = TaskView, description = "The task"),
        (status = 202, body = TaskView, description = "With `wait`: it has not ended yet"),
        Problems,
    )
)]
pub(crate) async fn show(
    State(shared): State<Arc<Shared>>,
    Name(id): Name,
    mut params: Params,
) -> Answer<Response> {
    let wait = params.wait()?;
    params.end()?;
    Ok(match find(&shared, &id, wait).await? {
        Found::Ended(outcome) => Json(TaskView::from(*outcome)).into_response(),
        Found::Expired(summary) => Json(TaskView::from(*summary)).into_response(),
        Found::Live(status) => {
            let known = shared.index.task(id.clone()).await?;
            let view = TaskView::live(&id, &status.to_string(), known);
            let code = wait.map_or(StatusCode::OK, |_| StatusCode::ACCEPTED);
            (code, Json(view)).into_response()
        }
    })
}

/// How a task ended.
#[utoipa::path(
    get, path = "/v1/tasks/{id}/result", tag = "tasks",
    params(
        ("id" = String, Path, description = "The task's id"),
        ("wait" = Option<String>, Query, description = "Wait so long, at most 60s, for it to end"),
    ),
    responses(
        (status = 200, body = ResultView, description = "It has ended"),
        (status = 202, body = ResultView, description = "It has not ended yet"),
        Problems,
    )
)]
pub(crate) async fn result(
    State(shared): State<Arc<Shared>>,
    Name(id): Name,
    mut params: Params,
) -> Answer<Response> {
    let wait = params.wait()?;
    params.end()?;
    Ok(match find(&shared, &id, wait).await? {
        Found::Ended(outcome) => Json(ResultView::from(*outcome)).into_response(),
        Found::Expired(_) => {
            return Err(Problem::not_found(format!(
                "task {id} has ended, and the record of what it returned has expired"
            )));
        }
        Found::Live(status) => {
            let view = ResultView {
                id,
                state: status.to_string(),
                result: None,
                error: None,
                sensitive: false,
            };
            (StatusCode::ACCEPTED, Json(view)).into_response()
        }
    })
}

/// What is known of a task.
pub(crate) enum Found {
    /// It has ended.
    Ended(Box<Outcome>),
    /// It has ended, and only the index knows.
    Expired(Box<TaskSummary>),
    /// It has not ended.
    Live(Status),
}

/// What is known of a task, without what is sensitive.
pub(crate) async fn find(
    shared: &Shared,
    id: &str,
    wait: Option<std::time::Duration>,
) -> Answer<Found> {
    let mut found = look(shared, id, wait).await?;
    if let Found::Ended(outcome) = &mut found {
        outcome.hide();
    }
    Ok(found)
}

/// What is known of a task, with what is sensitive of how it ended.
pub(super) async fn look(
    shared: &Shared,
    id: &str,
    wait: Option<std::time::Duration>,
) -> Answer<Found> {
    let handle: TaskHandle<Value> = shared.client.handle(id);
    let status = handle.status().await?;
    match status {
        Status::Unknown => {
            // What the streams no longer have, the index may.
            let known = shared.index.task(id.to_owned()).await?;
            return known
                .map(|known| Found::Expired(Box::new(known)))
                .ok_or_else(|| unknown(id));
        }
        Status::Done(_) => {}
        status if wait.is_none() => return Ok(Found::Live(status)),
        _ => {}
    }
    match handle.outcome_timeout(wait.unwrap_or(LONGEST_WAIT)).await {
        Ok(outcome) => Ok(Found::Ended(Box::new(outcome))),
        Err(error) if error.is_timeout() => Ok(Found::Live(handle.status().await?)),
        Err(error) => Err(error.into()),
    }
}

pub(crate) fn unknown(id: &str) -> Problem {
    Problem::not_found(format!(
        "there is no trace of task {id}: it was never sent here, or its record has expired"
    ))
}

/// Why a task is not running now.
#[utoipa::path(
    get, path = "/v1/tasks/{id}/explain", tag = "tasks",
    params(("id" = String, Path, description = "The task's id")),
    responses(
        (status = 200, body = Object, description = "The one reason: `id`, `task`, `queue`, `reason`, `text`, and what the reason has"),
        Problems,
    )
)]
pub(crate) async fn explain(
    State(shared): State<Arc<Shared>>,
    Name(id): Name,
    params: Params,
) -> Answer<Json<Value>> {
    params.end()?;
    let why = admin::explain(&shared.client, id).await?;
    let mut json = serde_json::to_value(&why).unwrap_or_default();
    json["text"] = why.to_string().into();
    Ok(Json(json))
}
