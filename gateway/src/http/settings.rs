//! `/v1/queues/{queue}/settings`: what is set for a queue, changed only as it was seen.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;
use taskq::{ErrorKind, QueueSettings, admin};

use super::Shared;
use super::access::Caller;
use super::extract::{Json, Name, Params};
use super::problem::{Answer, Problem, Problems};

/// What is set for a queue; its revision is the `ETag`.
#[utoipa::path(
    get, path = "/v1/queues/{queue}/settings", tag = "queues",
    params(("queue" = String, Path, description = "The queue")),
    responses(
        (status = 200, body = Object, description = "The settings, as in docs/queues.md; empty where nothing is set"),
        Problems,
    )
)]
pub(crate) async fn show(
    State(shared): State<Arc<Shared>>,
    Name(queue): Name,
    params: Params,
) -> Answer<Response> {
    params.end()?;
    let set = admin::queues::get(&shared.client, &queue).await?;
    Ok(answer(&set.settings, set.revision))
}

/// Set all that is set for a queue, if it is still as it was seen.
#[utoipa::path(
    put, path = "/v1/queues/{queue}/settings", tag = "queues",
    params(
        ("queue" = String, Path, description = "The queue"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the settings that were seen; needed"),
    ),
    request_body = Object,
    responses(
        (status = 200, body = Object, description = "The settings as they are now"),
        Problems,
    )
)]
pub(crate) async fn set(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Name(queue): Name,
    headers: HeaderMap,
    params: Params,
    Json(settings): Json<QueueSettings>,
) -> Answer<Response> {
    params.end()?;
    let Some(seen) = headers.get(header::IF_MATCH) else {
        return Err(Problem::new(
            StatusCode::PRECONDITION_REQUIRED,
            "if_match_needed",
            "Say what you have seen",
            "send `If-Match` with the `ETag` of the settings that you have seen, so that nobody's \
             change is lost",
        ));
    };
    let revision = seen
        .to_str()
        .ok()
        .and_then(|seen| seen.trim().trim_matches('"').parse().ok())
        .ok_or_else(|| Problem::invalid("`If-Match` is no `ETag` that was given out"))?;
    let by = caller.by();
    match admin::queues::set(&shared.client, &queue, &settings, revision, &by).await {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::Conflict => {
            return Err(Problem::new(
                StatusCode::PRECONDITION_FAILED,
                "conflict",
                "Somebody else was first",
                error.to_string(),
            ));
        }
        Err(error) => return Err(error.into()),
    }
    let set = admin::queues::get(&shared.client, &queue).await?;
    Ok(answer(&set.settings, set.revision))
}

fn answer(settings: &QueueSettings, revision: u64) -> Response {
    let json: Value = serde_json::to_value(settings).unwrap_or_default();
    ([(header::ETAG, format!("\"{revision}\""))], Json(json)).into_response()
}
