//! `/v1/queues`.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use taskq::admin::queues::Purged;
use taskq::{QueueDepth, admin};

use super::access::{Caller, Role};
use super::extract::{Json, Name, Params};
use super::problem::{Answer, Problem, Problems};
use super::views::{All, Because, Changed, Page, PurgedView, QueueView, QueuedView, Scaling};
use super::{Shared, no_verb, optional, verb};

impl From<QueueDepth> for QueueView {
    fn from(depth: QueueDepth) -> Self {
        Self {
            queue: depth.queue,
            pending: depth.pending,
            running: depth.running,
            scheduled: depth.scheduled,
        }
    }
}

/// All queues, and how much is in them.
#[utoipa::path(
    get, path = "/v1/queues", tag = "queues",
    responses(
        (status = 200, body = All<QueueView>, description = "The queues"),
        Problems,
    )
)]
pub(crate) async fn list(
    State(shared): State<Arc<Shared>>,
    params: Params,
) -> Answer<Json<All<QueueView>>> {
    params.end()?;
    let queues = shared.client.queues().await?;
    let items = queues.into_iter().map(QueueView::from).collect();
    Ok(Json(All { items }))
}

async fn one(shared: &Shared, name: &str) -> Answer<QueueDepth> {
    let mut queues = shared.client.queues().await?.into_iter();
    queues.find(|queue| queue.queue == name).ok_or_else(|| {
        Problem::not_found(format!(
            "there is no queue `{name}`: nothing was ever sent to it"
        ))
    })
}

/// How much is in a queue.
#[utoipa::path(
    get, path = "/v1/queues/{queue}", tag = "queues",
    params(("queue" = String, Path, description = "The queue")),
    responses(
        (status = 200, body = QueueView, description = "The queue"),
        Problems,
    )
)]
pub(crate) async fn show(
    State(shared): State<Arc<Shared>>,
    Name(queue): Name,
    params: Params,
) -> Answer<Json<QueueView>> {
    params.end()?;
    Ok(Json(one(&shared, &queue).await?.into()))
}

/// What is in a queue, the oldest first: what waits, and what a worker has.
/// Read from the queue itself, as much as the page has.
#[utoipa::path(
    get, path = "/v1/queues/{queue}/tasks", tag = "queues",
    params(
        ("queue" = String, Path, description = "The queue"),
        ("task" = Option<String>, Query, description = "Of this name"),
        ("limit" = Option<u16>, Query, description = "How many, 1 to 500; 50 if not set"),
        ("cursor" = Option<u64>, Query, description = "`next` of the page before"),
    ),
    responses(
        (status = 200, body = Page<QueuedView>, description = "A page"),
        Problems,
    )
)]
pub(crate) async fn tasks(
    State(shared): State<Arc<Shared>>,
    Name(queue): Name,
    mut params: Params,
) -> Answer<Json<Page<QueuedView>>> {
    let mut filter = admin::QueueFilter::of(queue);
    filter.task = params.one("task")?;
    filter.most = params.limit()?;
    filter.after = params.read("cursor")?.unwrap_or(0);
    params.end()?;
    let page = admin::queued(&shared.client, filter).await?;
    let items = page.tasks.into_iter().map(|task| QueuedView {
        id: task.id.to_string(),
        task: task.task,
        state: if task.given { "running" } else { "waiting" },
        priority: task.priority,
        enqueued_at: task.enqueued_at,
        attempt: task.attempt,
        args: task.args,
        kwargs: task.kwargs,
        sensitive: task.sensitive,
    });
    Ok(Json(Page {
        items: items.collect(),
        next: page.next.map(|next| next.to_string()),
    }))
}

/// What an autoscaler goes by.
#[utoipa::path(
    get, path = "/v1/queues/{queue}/scaling", tag = "queues",
    params(("queue" = String, Path, description = "The queue")),
    responses(
        (status = 200, body = Scaling, description = "Work and slots"),
        Problems,
    )
)]
pub(crate) async fn scaling(
    State(shared): State<Arc<Shared>>,
    Name(queue): Name,
    params: Params,
) -> Answer<Json<Scaling>> {
    params.end()?;
    let depth = one(&shared, &queue).await?;
    let workers = admin::workers(&shared.client).await?;
    let serving: Vec<_> = workers
        .iter()
        .filter(|worker| worker.queues.contains(&queue))
        .collect();
    let slots: usize = serving.iter().map(|worker| worker.concurrency).sum();
    let work = depth.pending.saturating_add(depth.running);
    Ok(Json(Scaling {
        queue,
        pending: depth.pending,
        running: depth.running,
        scheduled: depth.scheduled,
        workers: serving.len(),
        slots,
        // Numbers of tasks, and not so many that a float would miss one.
        load: work as f64 / slots.max(1) as f64,
    }))
}

/// Let nothing of a queue start until it is resumed.
#[utoipa::path(
    post, path = "/v1/queues/{queue}:pause", tag = "queues",
    params(("queue" = String, Path, description = "The queue")),
    request_body = Option<Because>,
    responses(
        (status = 200, body = Changed, description = "It is paused"),
        Problems,
    )
)]
pub(crate) async fn pause(
    shared: &Shared,
    caller: &Caller,
    queue: &str,
    because: Because,
) -> Answer<Response> {
    let because = because.reason.as_deref();
    let changed = admin::queues::pause(&shared.client, queue, &caller.by(), because).await?;
    let name = queue.to_owned();
    Ok(Json(Changed { name, changed }).into_response())
}

/// Let a queue go on.
#[utoipa::path(
    post, path = "/v1/queues/{queue}:resume", tag = "queues",
    params(("queue" = String, Path, description = "The queue")),
    responses(
        (status = 200, body = Changed, description = "It goes on"),
        Problems,
    )
)]
pub(crate) async fn resume(shared: &Shared, caller: &Caller, queue: &str) -> Answer<Response> {
    let changed = admin::queues::resume(&shared.client, queue, &caller.by()).await?;
    let name = queue.to_owned();
    Ok(Json(Changed { name, changed }).into_response())
}

/// Cancel all that waits in a queue, or count it. Needs the role `admin`.
#[utoipa::path(
    post, path = "/v1/queues/{queue}:purge", tag = "queues",
    params(
        ("queue" = String, Path, description = "The queue"),
        ("dry_run" = Option<bool>, Query, description = "Only count"),
    ),
    request_body = Option<Because>,
    responses(
        (status = 200, body = PurgedView, description = "What became of it"),
        Problems,
    )
)]
pub(crate) async fn purge(
    shared: &Shared,
    caller: &Caller,
    queue: &str,
    because: Because,
    dry_run: bool,
) -> Answer<Response> {
    let because = because.reason.as_deref();
    let purged = purged(shared, caller, queue, because, dry_run).await?;
    Ok(Json(PurgedView {
        cancelled: purged.cancelled,
        too_late: purged.too_late,
    })
    .into_response())
}

/// Cancels all that waits in a queue, or counts it.
pub(crate) async fn purged(
    shared: &Shared,
    caller: &Caller,
    queue: &str,
    because: Option<&str>,
    dry_run: bool,
) -> Answer<Purged> {
    caller.need(Role::Admin)?;
    one(shared, queue).await?;
    let (client, queue, by) = (shared.client.clone(), queue.to_owned(), caller.by());
    let because = because.map(str::to_owned);
    let actor = caller.actor();
    let runtime = tokio::runtime::Handle::current();
    // On a thread of its own: it goes on when the caller is gone, so that a
    // queue is not left half purged and halted.
    let purge = tokio::task::spawn_blocking(move || {
        let purge = admin::queues::purge(&client, &queue, &by, because.as_deref(), dry_run);
        runtime.block_on(admin::acting_as(actor, purge))
    });
    let purged = purge.await;
    Ok(purged.map_err(|_| Problem::unavailable("the gateway is stopping"))??)
}

/// `POST /v1/queues/{queue}:verb`.
pub(crate) async fn act(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Name(name): Name,
    mut params: Params,
    body: axum::body::Bytes,
) -> Answer<Response> {
    let dry_run = params.read("dry_run")?;
    params.end()?;
    let (queue, verb) = verb(&name)?;
    if dry_run.is_some() && verb != "purge" {
        return Err(Problem::invalid("`dry_run` is for `:purge`"));
    }
    match verb {
        "pause" => pause(&shared, &caller, queue, optional(&body)?).await,
        "resume" => resume(&shared, &caller, queue).await,
        "purge" => {
            let because = optional(&body)?;
            purge(&shared, &caller, queue, because, dry_run == Some(true)).await
        }
        verb => Err(no_verb(verb, "queues", &["pause", "resume", "purge"])),
    }
}
