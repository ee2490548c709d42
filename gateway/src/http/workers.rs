//! `/v1/workers`: the living workers, how they do, and what they are told.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use taskq::admin::{self, WorkerWish, pools};

use super::access::Caller;
use super::extract::{Json, Name, Params, duration};
use super::problem::{Answer, Problem, Problems};
use super::views::{All, SteeredView, Telling, WorkerPage, WorkerView};
use super::{Shared, no_verb, optional, verb};

/// The living workers.
#[utoipa::path(
    get, path = "/v1/workers", tag = "workers",
    responses(
        (status = 200, body = All<WorkerView>, description = "The workers that answer"),
        Problems,
    )
)]
pub(crate) async fn list(
    State(shared): State<Arc<Shared>>,
    params: Params,
) -> Answer<Json<All<WorkerView>>> {
    params.end()?;
    let client = &shared.client;
    let (infos, mut details, pools) = futures::try_join!(
        admin::workers(client),
        admin::worker_details(client),
        pools::list(client)
    )?;
    let mut items: Vec<WorkerView> = infos
        .into_iter()
        .map(|info| {
            let place = details.iter().position(|it| it.worker == info.worker);
            let detail = place.map(|place| details.swap_remove(place));
            WorkerView::of(Some(info), detail)
        })
        .collect();
    // Those that end are no longer among the workers.
    items.extend(details.into_iter().map(|it| WorkerView::of(None, Some(it))));
    items.sort_by(|one, other| one.worker.cmp(&other.worker));
    for item in &mut items {
        let pool = pools.iter().find(|pool| pool.has(&item.worker));
        item.pool = pool.map(|pool| pool.pool.clone());
    }
    Ok(Json(All { items }))
}

/// One living worker, and what it runs.
#[utoipa::path(
    get, path = "/v1/workers/{worker}", tag = "workers",
    params(("worker" = String, Path, description = "The worker's name")),
    responses(
        (status = 200, body = WorkerPage, description = "The worker"),
        Problems,
    )
)]
pub(crate) async fn show(
    State(shared): State<Arc<Shared>>,
    Name(name): Name,
    params: Params,
) -> Answer<Json<WorkerPage>> {
    params.end()?;
    let client = &shared.client;
    let (infos, detail, pool) = tokio::join!(
        admin::workers(client),
        admin::worker(client, &name),
        pools::of_worker(client, &name)
    );
    let mut infos = infos?.into_iter();
    let info = infos.find(|worker| worker.worker == name);
    let mut detail = match detail {
        Ok(detail) => Some(detail),
        // One of an older version tells less.
        Err(error) if error.kind() == taskq::ErrorKind::NotFound && info.is_some() => None,
        Err(error) => return Err(error.into()),
    };
    let tasks = detail
        .as_mut()
        .map(|detail| std::mem::take(&mut detail.tasks));
    let mut worker = WorkerView::of(info, detail);
    worker.pool = pool?.map(|pool| pool.pool);
    Ok(Json(WorkerPage {
        current: tasks.into_iter().flatten().map(Into::into).collect(),
        worker,
    }))
}

/// Let a worker take nothing new; what runs goes on.
#[utoipa::path(
    post, path = "/v1/workers/{worker}:quiet", tag = "workers",
    params(("worker" = String, Path, description = "The worker's name")),
    request_body = Option<Telling>,
    responses(
        (status = 200, body = SteeredView, description = "It is quiet"),
        Problems,
    )
)]
#[allow(dead_code, reason = "the description of `:quiet`, which `act` answers")]
pub(crate) fn quiet() {}

/// Let a quiet worker go on.
#[utoipa::path(
    post, path = "/v1/workers/{worker}:resume", tag = "workers",
    params(("worker" = String, Path, description = "The worker's name")),
    request_body = Option<Telling>,
    responses(
        (status = 200, body = SteeredView, description = "It takes tasks"),
        Problems,
    )
)]
#[allow(
    dead_code,
    reason = "the description of `:resume`, which `act` answers"
)]
pub(crate) fn resume() {}

/// Let a worker finish what runs, and end, as SIGTERM does.
#[utoipa::path(
    post, path = "/v1/workers/{worker}:drain", tag = "workers",
    params(("worker" = String, Path, description = "The worker's name")),
    request_body = Option<Telling>,
    responses(
        (status = 200, body = SteeredView, description = "It takes nothing new, and ends when nothing runs or its grace is over"),
        Problems,
    )
)]
#[allow(dead_code, reason = "the description of `:drain`, which `act` answers")]
pub(crate) fn drain() {}

/// Let a worker hand back what runs, and end.
#[utoipa::path(
    post, path = "/v1/workers/{worker}:stop", tag = "workers",
    params(("worker" = String, Path, description = "The worker's name")),
    request_body = Option<Telling>,
    responses(
        (status = 200, body = SteeredView, description = "It ends"),
        Problems,
    )
)]
#[allow(dead_code, reason = "the description of `:stop`, which `act` answers")]
pub(crate) fn stop() {}

/// `POST /v1/workers/{worker}:verb`.
pub(crate) async fn act(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Name(name): Name,
    params: Params,
    body: axum::body::Bytes,
) -> Answer<Json<SteeredView>> {
    params.end()?;
    let (worker, verb) = verb(&name)?;
    let Telling { reason, grace } = optional(&body)?;
    if grace.is_some() && verb != "drain" {
        return Err(Problem::invalid("`grace` is for `:drain`"));
    }
    let grace = grace.map(|text| duration("grace", &text)).transpose()?;
    let wish = match verb {
        "quiet" => WorkerWish::Quiet,
        "resume" => WorkerWish::Resume,
        "drain" => WorkerWish::Drain { grace },
        "stop" => WorkerWish::Stop,
        verb => {
            let verbs = ["quiet", "resume", "drain", "stop"];
            return Err(no_verb(verb, "workers", &verbs));
        }
    };
    let (by, because) = (caller.by(), reason.as_deref());
    let done = admin::steer(&shared.client, worker, wish, &by, because).await?;
    Ok(Json(SteeredView {
        worker: worker.to_owned(),
        before: done.before,
        after: done.after,
    }))
}
