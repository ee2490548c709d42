//! Whether the gateway lives and is ready.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use taskq::admin::AuditEntry;

use super::Shared;
use super::access::{Caller, Role};
use super::audit;
use super::extract::{Json, Params};
use super::problem::{Answer, Problems};
use super::views::LagView;

/// How far behind the index may be and the gateway is ready, in records.
const READY_LAG: u64 = 10_000;
/// How long NATS may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Whether the program lives.
#[utoipa::path(
    get, path = "/healthz", tag = "health",
    responses((status = 200, body = String, content_type = "text/plain"))
)]
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether it can answer: NATS and JetStream do, and the index is nearly as far
/// as they are.
#[utoipa::path(
    get, path = "/readyz", tag = "health",
    responses(
        (status = 200, body = String, content_type = "text/plain", description = "Ready"),
        (status = 503, body = String, content_type = "text/plain", description = "Not ready, and why"),
    )
)]
pub(crate) async fn readyz(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    match unready(&shared).await {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

async fn unready(shared: &Shared) -> Option<String> {
    let asked = taskq::admin::extent(&shared.client, taskq::admin::Source::Outcomes);
    match tokio::time::timeout(PATIENCE, asked).await {
        Err(_) => return Some("NATS does not answer".to_owned()),
        Ok(Err(error)) => return Some(error.to_string()),
        Ok(Ok(_)) => {}
    }
    shared.follower.lag().into_iter().find_map(|lag| {
        if let Some(trouble) = lag.trouble {
            return Some(format!(
                "the index does not follow the {}: {trouble}",
                lag.source
            ));
        }
        match lag.records {
            None => Some(format!("the index has not seen the {} yet", lag.source)),
            Some(records) if records > READY_LAG => {
                Some(format!("the index is {records} {} behind", lag.source))
            }
            Some(_) => None,
        }
    })
}

/// Throw the index away, and build it again from the streams. Needs the role
/// `admin`.
#[utoipa::path(
    post, path = "/v1/index:rebuild", tag = "stats",
    responses(
        (status = 202, body = Vec<LagView>, description = "It is being built; `/readyz` says when it is done"),
        Problems,
    )
)]
pub(crate) async fn rebuild(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    params: Params,
) -> Answer<impl IntoResponse> {
    params.end()?;
    caller.need(Role::Admin)?;
    shared.follower.rebuild().await?;
    audit::note(&shared, AuditEntry::new("index_rebuilt", caller.actor())).await;
    let lag: Vec<LagView> = shared.follower.lag().into_iter().map(Into::into).collect();
    Ok((StatusCode::ACCEPTED, Json(lag)))
}
