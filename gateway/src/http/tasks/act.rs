//! What is done to a task.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use taskq::admin::{self, Retried};
use taskq::{Cancellation, Rescheduled, Timestamp};

use super::history::attempts_of;
use super::look::Found;
use super::whole::{Whole, revealed};
use crate::http::access::Caller;
use crate::http::extract::{Json, Name, Params};
use crate::http::problem::{Answer, Problem, Problems};
use crate::http::views::{Because, Done, Reschedule, RevealedView, TaskView};
use crate::http::{Shared, no_verb, optional, verb};

/// Cancel a task.
#[utoipa::path(
    post, path = "/v1/tasks/{id}:cancel", tag = "tasks",
    params(("id" = String, Path, description = "The task's id")),
    request_body = Option<Because>,
    responses(
        (status = 200, body = Done, description = "It will not run, or it had ended"),
        (status = 202, body = Done, description = "A worker has it, and is told to stop it"),
        Problems,
    )
)]
pub(crate) async fn cancel(
    shared: &Shared,
    caller: &Caller,
    id: &str,
    because: Because,
) -> Answer<Response> {
    let mut wish = shared.client.cancel(id).by(caller.by());
    if let Some(reason) = because.reason {
        wish = wish.because(reason);
    }
    let (status, outcome, state) = match wish.await? {
        Cancellation::Cancelled => (StatusCode::OK, "cancelled", Some("cancelled")),
        Cancellation::TooLate(state) => (StatusCode::OK, "too_late", Some(state.as_str())),
        _ => (StatusCode::ACCEPTED, "requested", None),
    };
    let done = Done {
        id: id.to_owned(),
        outcome: outcome.to_owned(),
        state: state.map(str::to_owned),
    };
    Ok((status, Json(done)).into_response())
}

/// Run a task again that failed, was cancelled or has expired, with its
/// history.
#[utoipa::path(
    post, path = "/v1/tasks/{id}:retry", tag = "tasks",
    params(("id" = String, Path, description = "The task's id")),
    responses(
        (status = 200, body = Done, description = "`sent`: it is in its queue again"),
        Problems,
    )
)]
pub(crate) async fn retry(shared: &Shared, caller: &Caller, id: &str) -> Answer<Response> {
    let refused =
        |code, title, detail: String| Err(Problem::new(StatusCode::CONFLICT, code, title, detail));
    match admin::retry(&shared.client, id, &caller.by()).await? {
        Retried::Sent => Ok(Json(Done {
            id: id.to_owned(),
            outcome: "sent".to_owned(),
            state: None,
        })
        .into_response()),
        Retried::Succeeded => refused(
            "succeeded",
            "The task has succeeded",
            format!(
                "task {id} has succeeded; only what failed, was cancelled or has expired runs again"
            ),
        ),
        Retried::NotEnded(status) => refused(
            "not_ended",
            "The task has not ended",
            format!("task {id} has not ended, it is {status}; it can run again when it has"),
        ),
        other => refused(
            "conflict",
            "Somebody else was first",
            format!("task {id} was left as it is: {other:?}"),
        ),
    }
}

/// Start a task that is put off now.
#[utoipa::path(
    post, path = "/v1/tasks/{id}:run-now", tag = "tasks",
    params(("id" = String, Path, description = "The task's id")),
    responses(
        (status = 200, body = Done, description = "`moved`, or `too_late` when it was not put off any more"),
        Problems,
    )
)]
pub(crate) async fn run_now(shared: &Shared, caller: &Caller, id: &str) -> Answer<Response> {
    Ok(moved(
        id,
        admin::run_now(&shared.client, id, &caller.by()).await?,
    ))
}

/// Start a task that is put off at another time.
#[utoipa::path(
    post, path = "/v1/tasks/{id}:reschedule", tag = "tasks",
    params(("id" = String, Path, description = "The task's id")),
    request_body = Reschedule,
    responses(
        (status = 200, body = Done, description = "`moved`, or `too_late` when it was not put off any more"),
        Problems,
    )
)]
pub(crate) async fn reschedule(
    shared: &Shared,
    caller: &Caller,
    id: &str,
    body: &[u8],
) -> Answer<Response> {
    let Reschedule { at } = serde_json::from_slice(body)
        .map_err(|error| Problem::invalid(format!("the body is not what is expected: {error}")))?;
    let at: Timestamp = at
        .parse()
        .map_err(|error| Problem::invalid(format!("`at` is no moment: {error}")))?;
    let by = caller.by();
    Ok(moved(
        id,
        admin::reschedule(&shared.client, id, at, &by).await?,
    ))
}

fn moved(id: &str, what: Rescheduled) -> Response {
    let (outcome, state) = match what {
        Rescheduled::TooLate(status) => ("too_late", Some(status.to_string())),
        _ => ("moved", None),
    };
    Json(Done {
        id: id.to_owned(),
        outcome: outcome.to_owned(),
        state,
    })
    .into_response()
}

/// Show a task with what is sensitive of it. That somebody looked is told as an
/// event, and is in the audit log.
#[utoipa::path(
    post, path = "/v1/tasks/{id}:reveal", tag = "tasks",
    params(("id" = String, Path, description = "The task's id")),
    responses(
        (status = 200, body = RevealedView, description = "The task, and what it was called with"),
        Problems,
    )
)]
pub(crate) async fn reveal(shared: &Shared, caller: &Caller, id: &str) -> Answer<Response> {
    let Whole {
        found,
        summary,
        called,
        sensitive,
        ..
    } = revealed(shared, caller, id).await?;
    let attempts = attempts_of(shared, id, &found).await?;
    let mut task = match found {
        Found::Ended(outcome) => TaskView::from(*outcome),
        Found::Expired(summary) => TaskView::from(*summary),
        Found::Live(status) => TaskView::live(id, &status.to_string(), summary),
    };
    task.sensitive = sensitive.is_any();
    Ok(Json(RevealedView {
        task,
        args: called.known.then_some(called.args),
        kwargs: called.known.then_some(called.kwargs),
        attempts,
    })
    .into_response())
}

/// `POST /v1/tasks/{id}:verb`: the router cannot tell an id from a verb.
pub(crate) async fn act(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Name(name): Name,
    params: Params,
    body: axum::body::Bytes,
) -> Answer<Response> {
    params.end()?;
    let (id, verb) = verb(&name)?;
    match verb {
        "cancel" => cancel(&shared, &caller, id, optional(&body)?).await,
        "retry" => retry(&shared, &caller, id).await,
        "run-now" => run_now(&shared, &caller, id).await,
        "reschedule" => reschedule(&shared, &caller, id, &body).await,
        "reveal" => reveal(&shared, &caller, id).await,
        verb => Err(no_verb(
            verb,
            "tasks",
            &["cancel", "retry", "run-now", "reschedule", "reveal"],
        )),
    }
}
