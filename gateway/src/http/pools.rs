//! `/v1/pools`: the pools of workers that live, and how many workers they keep;
//! `POST` and `DELETE` of `/v1/workers`, which are theirs to do.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use taskq::admin::pools::{self, PoolWish};

use super::access::Caller;
use super::extract::{Json, Name, Params};
use super::problem::{Answer, Problem, Problems};
use super::views::{All, PoolScaling, PoolView, ScaledView, Starting};
use super::{Shared, no_verb, optional, verb};

/// The pools of workers that live.
#[utoipa::path(
    get, path = "/v1/pools", tag = "workers",
    responses(
        (status = 200, body = All<PoolView>, description = "The pools that answer"),
        Problems,
    )
)]
pub(crate) async fn list(
    State(shared): State<Arc<Shared>>,
    params: Params,
) -> Answer<Json<All<PoolView>>> {
    params.end()?;
    let pools = pools::list(&shared.client).await?;
    let items = pools.into_iter().map(Into::into).collect();
    Ok(Json(All { items }))
}

/// One pool: its workers, and what the last dead ones died of.
#[utoipa::path(
    get, path = "/v1/pools/{pool}", tag = "workers",
    params(("pool" = String, Path, description = "The pool's name")),
    responses(
        (status = 200, body = PoolView, description = "The pool"),
        Problems,
    )
)]
pub(crate) async fn show(
    State(shared): State<Arc<Shared>>,
    Name(name): Name,
    params: Params,
) -> Answer<Json<PoolView>> {
    params.end()?;
    Ok(Json(pools::get(&shared.client, &name).await?.into()))
}

/// Have a pool keep so many workers, or as many as there is work for.
#[utoipa::path(
    post, path = "/v1/pools/{pool}:scale", tag = "workers",
    params(("pool" = String, Path, description = "The pool's name")),
    request_body = PoolScaling,
    responses(
        (status = 200, body = ScaledView, description = "It keeps so many"),
        Problems,
    )
)]
#[allow(dead_code, reason = "the description of `:scale`, which `act` answers")]
pub(crate) fn scale() {}

/// `POST /v1/pools/{pool}:verb`.
pub(crate) async fn act(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Name(name): Name,
    params: Params,
    body: axum::body::Bytes,
) -> Answer<Json<ScaledView>> {
    params.end()?;
    let (pool, verb) = verb(&name)?;
    if verb != "scale" {
        return Err(no_verb(verb, "pools", &["scale"]));
    }
    let PoolScaling { count, reason } = serde_json::from_slice(&body)
        .map_err(|error| Problem::invalid(format!("the body is not what is expected: {error}")))?;
    let (by, because) = (caller.by(), reason.as_deref());
    let done = pools::scale(&shared.client, pool, count, &by, because).await?;
    Ok(Json(done.into()))
}

/// Have a pool start one more worker, or some more.
#[utoipa::path(
    post, path = "/v1/workers", tag = "workers",
    request_body = Option<Starting>,
    responses(
        (status = 200, body = ScaledView, description = "It starts them"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`no_pool`: nothing here starts workers; `conflict`: the pool keeps no more"),
        Problems,
    )
)]
pub(crate) async fn start(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    params: Params,
    body: axum::body::Bytes,
) -> Answer<Json<ScaledView>> {
    params.end()?;
    let Starting {
        pool,
        count,
        reason,
    } = optional(&body)?;
    let count = count.unwrap_or(1);
    if count == 0 {
        return Err(Problem::invalid("`count` is how many more: 1 or more"));
    }
    let pool = match pool {
        Some(pool) => pool,
        None => only(&shared).await?,
    };
    let (by, because) = (caller.by(), reason.as_deref());
    let wish = PoolWish::Add { count };
    let done = pools::wish(&shared.client, &pool, wish, &by, because).await?;
    Ok(Json(done.into()))
}

/// The name of the only pool.
async fn only(shared: &Shared) -> Answer<String> {
    let pools = pools::list(&shared.client).await?;
    let mut names: Vec<String> = pools.into_iter().map(|pool| pool.pool).collect();
    match names.len() {
        0 => Err(no_pool(
            "no pool answers: start workers with `taskq pool run` or `worker`, or by what runs \
             your programs",
        )),
        1 => Ok(names.remove(0)),
        _ => Err(Problem::invalid(format!(
            "there are several pools, so `pool` must say which: {}",
            names.join(", ")
        ))),
    }
}

/// Have a worker's pool drain it, and keep one less.
#[utoipa::path(
    delete, path = "/v1/workers/{worker}", tag = "workers",
    params(("worker" = String, Path, description = "The worker's name")),
    responses(
        (status = 200, body = ScaledView, description = "It drains, and no other takes its place"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`no_pool`: no pool has it; `conflict`: the pool keeps no fewer"),
        Problems,
    )
)]
pub(crate) async fn remove(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Name(name): Name,
    params: Params,
) -> Answer<Json<ScaledView>> {
    params.end()?;
    let done = pools::remove(&shared.client, &name, &caller.by(), None).await?;
    match done {
        Some(done) => Ok(Json(done.into())),
        None => Err(no_pool(
            "no pool has this worker; `POST /v1/workers/{worker}:drain` lets one finish what \
             runs, and end",
        )),
    }
}

fn no_pool(why: &str) -> Problem {
    Problem::new(
        // What is asked for can be done, with what is not here: no fault of the
        // gateway, which a status from 500 on would say.
        StatusCode::CONFLICT,
        "no_pool",
        "There is no such pool of workers",
        why.to_owned(),
    )
}
