//! `/v1/schedules`.

mod set;

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};
use taskq::admin::{self, schedules};

// Their descriptions go by the names of the handlers.
pub(crate) use self::set::*;
use super::access::{Caller, Role};
use super::extract::{Json, Name, Params};
use super::problem::{Answer, Problems};
use super::views::{Accepted, All, Because, Changed};
use super::{Shared, no_verb, optional, verb};

/// The schedules: what each runs, when next, and what became of the last time.
#[utoipa::path(
    get, path = "/v1/schedules", tag = "schedules",
    responses(
        (status = 200, body = All<Object>, description = "The schedules"),
        Problems,
    )
)]
pub(crate) async fn list(
    State(shared): State<Arc<Shared>>,
    params: Params,
) -> Answer<Json<All<Value>>> {
    params.end()?;
    let all = schedules::list(&shared.client).await?;
    Ok(Json(All {
        items: all.iter().map(|one| json!(one)).collect(),
    }))
}

/// One schedule.
#[utoipa::path(
    get, path = "/v1/schedules/{name}", tag = "schedules",
    params(("name" = String, Path, description = "The schedule's name")),
    responses(
        (status = 200, body = Object, description = "The schedule; its `ETag` is for `If-Match`"),
        Problems,
    )
)]
pub(crate) async fn show(
    State(shared): State<Arc<Shared>>,
    Name(name): Name,
    params: Params,
) -> Answer<Response> {
    params.end()?;
    let one = schedules::get(&shared.client, &name).await?;
    Ok(tagged(&one))
}

/// Let no time of a schedule start until it is resumed.
#[utoipa::path(
    post, path = "/v1/schedules/{name}:pause", tag = "schedules",
    params(("name" = String, Path, description = "The schedule's name")),
    request_body = Option<Because>,
    responses(
        (status = 200, body = Changed, description = "It is paused"),
        Problems,
    )
)]
pub(crate) async fn pause(
    shared: &Shared,
    caller: &Caller,
    name: &str,
    because: Because,
) -> Answer<Json<Value>> {
    let because = because.reason.as_deref();
    let changed = schedules::pause(&shared.client, name, &caller.by(), because).await?;
    let name = name.to_owned();
    Ok(Json(json!(Changed { name, changed })))
}

/// Let a schedule go on.
#[utoipa::path(
    post, path = "/v1/schedules/{name}:resume", tag = "schedules",
    params(("name" = String, Path, description = "The schedule's name")),
    responses(
        (status = 200, body = Changed, description = "It goes on"),
        Problems,
    )
)]
pub(crate) async fn resume(shared: &Shared, caller: &Caller, name: &str) -> Answer<Json<Value>> {
    let changed = schedules::resume(&shared.client, name, &caller.by()).await?;
    let name = name.to_owned();
    Ok(Json(json!(Changed { name, changed })))
}

/// Run what a schedule runs, now.
#[utoipa::path(
    post, path = "/v1/schedules/{name}:run", tag = "schedules",
    params(("name" = String, Path, description = "The schedule's name")),
    responses(
        (status = 200, body = Accepted, description = "The task"),
        Problems,
    )
)]
pub(crate) async fn run(shared: &Shared, caller: &Caller, name: &str) -> Answer<Json<Value>> {
    let handle = admin::schedules::run(&shared.client, name, &caller.by()).await?;
    Ok(Json(json!(Accepted {
        id: handle.id().to_string(),
        existing: handle.is_existing(),
        checked: false,
    })))
}

/// Remove a schedule. Needs the role `admin`.
#[utoipa::path(
    delete, path = "/v1/schedules/{name}", tag = "schedules",
    params(("name" = String, Path, description = "The schedule's name")),
    responses(
        (status = 200, body = Changed, description = "It is gone"),
        Problems,
    )
)]
pub(crate) async fn remove(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Name(name): Name,
    params: Params,
) -> Answer<Json<Changed>> {
    params.end()?;
    caller.need(Role::Admin)?;
    schedules::remove(&shared.client, &name, &caller.by()).await?;
    Ok(Json(Changed {
        name,
        changed: true,
    }))
}

/// `POST /v1/schedules/{name}:verb`.
pub(crate) async fn act(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Name(name): Name,
    params: Params,
    body: axum::body::Bytes,
) -> Answer<Json<Value>> {
    params.end()?;
    match verb(&name)? {
        (name, "pause") => pause(&shared, &caller, name, optional(&body)?).await,
        (name, "resume") => resume(&shared, &caller, name).await,
        (name, "run") => run(&shared, &caller, name).await,
        (_, verb) => Err(no_verb(verb, "schedules", &["pause", "resume", "run"])),
    }
}
