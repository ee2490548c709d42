//! Sending tasks.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures::StreamExt as _;
use serde_json::Value;
use taskq::TaskHandle;

use super::check::{Checked, Wanted};
use super::idempotency;
use crate::http::access::Caller;
use crate::http::extract::{Json, Params};
use crate::http::problem::{Answer, Problem, Problems};
use crate::http::views::{Accepted, Batch, Sent, SentAll, Submission, Submitted};
use crate::http::{Shared, trace};

/// The most calls of one request.
const MOST_CALLS: usize = 1000;

/// Send a task.
#[utoipa::path(
    post, path = "/v1/tasks", tag = "tasks",
    params(
        ("wait" = Option<String>, Query, description = "Wait so long, at most 60s, for the task to end"),
        ("check" = Option<bool>, Query, description = "Whether to check the arguments against what living workers take; true"),
        ("known" = Option<bool>, Query, description = "Whether to refuse a task that no living worker knows; false: it waits for one that does"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same key sent twice is one task; with another body it is refused"),
    ),
    request_body = Submission,
    responses(
        (status = 200, body = Submitted, description = "With `wait`: it has ended. Without: it was there already"),
        (status = 201, body = Accepted, description = "NATS has it"),
        (status = 202, body = Accepted, description = "With `wait`: it has not ended yet"),
        Problems,
    )
)]
pub(crate) async fn submit(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    mut params: Params,
    Json(submission): Json<Submission>,
) -> Answer<Response> {
    let wait = params.wait()?;
    let wanted = Wanted::read(&mut params)?;
    params.end()?;
    let id = idempotency::id(&headers, &caller)?;
    let task = submission.task.clone();
    let (call, key) = idempotency::keyed(submission, id)?;
    let call = trace::of_request(call, &headers);
    let Checked { call, checked } = wanted.of(&shared, &task, call, "").await?;
    let handle = call.enqueue(&shared.client).await?;
    idempotency::check(&handle, key.as_ref()).await?;
    let accepted = Accepted {
        id: handle.id().to_string(),
        existing: handle.is_existing(),
        checked,
    };
    if let Some(wait) = wait {
        return Ok(match handle.outcome_timeout(wait).await {
            Ok(mut outcome) => {
                outcome.hide();
                Json(Submitted::Ended(Box::new(outcome.into()))).into_response()
            }
            Err(error) if error.is_timeout() => {
                let accepted = Json(Submitted::Accepted(accepted));
                (StatusCode::ACCEPTED, accepted).into_response()
            }
            Err(error) => return Err(error.into()),
        });
    }
    let status = if accepted.existing {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    let place = shared
        .limits
        .prefix
        .at(&format!("/v1/tasks/{}", encoded(&accepted.id)));
    Ok((status, [(header::LOCATION, place)], Json(accepted)).into_response())
}

/// Send several tasks: pipelined, or all or none.
#[utoipa::path(
    post, path = "/v1/tasks:batch", tag = "tasks",
    params(
        ("check" = Option<bool>, Query, description = "Whether to check the arguments against what living workers take; true"),
        ("known" = Option<bool>, Query, description = "Whether to refuse a task that no living worker knows; false: it waits for one that does"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same key sent twice is the same tasks"),
    ),
    request_body = Batch,
    responses(
        (status = 200, body = SentAll, description = "What became of each call, in their order"),
        Problems,
    )
)]
pub(crate) async fn submit_batch(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    mut params: Params,
    Json(batch): Json<Batch>,
) -> Answer<Json<SentAll>> {
    let wanted = Wanted::read(&mut params)?;
    params.end()?;
    if batch.tasks.is_empty() || batch.tasks.len() > MOST_CALLS {
        return Err(Problem::invalid(format!(
            "a batch has 1 to {MOST_CALLS} tasks, this one has {}",
            batch.tasks.len()
        )));
    }
    let id = idempotency::id(&headers, &caller)?;
    // All of them are looked at before any is sent.
    let (mut calls, mut known) = (Vec::new(), Vec::new());
    for (place, one) in batch.tasks.into_iter().enumerate() {
        let id = id.as_ref().map(|id| format!("{id}-{place}"));
        let task = one.task.clone();
        let (call, key) = idempotency::keyed(one, id).map_err(|problem| {
            Problem::invalid(format!("task {place} of the batch: {}", problem.detail()))
        })?;
        let call = trace::of_request(call, &headers);
        let place = format!("/tasks/{place}");
        let one = wanted.of(&shared, &task, call, &place).await?;
        calls.push(one.call);
        known.push((key, one.checked));
    }
    let accepted = |handle: &TaskHandle<Value>, checked| {
        Sent::Accepted(Accepted {
            id: handle.id().to_string(),
            existing: handle.is_existing(),
            checked,
        })
    };
    let mut tasks = Vec::with_capacity(calls.len());
    if batch.atomic {
        let handles = shared.client.enqueue_atomic(calls).await?;
        for (handle, (key, checked)) in handles.iter().zip(known) {
            idempotency::check(handle, key.as_ref()).await?;
            tasks.push(accepted(handle, checked));
        }
    } else {
        let sent: Vec<_> = shared.client.enqueue_many(calls).collect().await;
        for (sent, (key, checked)) in sent.into_iter().zip(known) {
            let sent = match sent {
                Ok(handle) => idempotency::check(&handle, key.as_ref())
                    .await
                    .map(|()| accepted(&handle, checked)),
                Err(error) => Err(error.into()),
            };
            tasks.push(sent.unwrap_or_else(|problem| Sent::Refused { problem }));
        }
    }
    Ok(Json(SentAll { tasks }))
}

/// A part of a path, whatever is in it.
fn encoded(text: &str) -> String {
    let mut path = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~:".contains(&byte) {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
    }
    path
}
