//! Finding tasks.

use std::sync::Arc;

use axum::extract::State;

use super::unbegun::{self, Unbegun};
use crate::http::Shared;
use crate::http::extract::{Json, Params};
use crate::http::problem::{Answer, Problems};
use crate::http::views::{Listed, Page};
use crate::index::{Cursor, TaskQuery, TaskState};

/// Find tasks: what has begun and not ended, and what has ended.
///
/// What has not begun is listed where that is asked for, by `state=waiting` or
/// `state=scheduled`: read from the queues and from the plan, the oldest first,
/// by `task`, `queue` and `label`. Such a page may be short though there is a
/// next.
#[utoipa::path(
    get, path = "/v1/tasks", tag = "tasks",
    params(
        ("state" = Option<String>, Query, description = "One of these states, commas between: running, retrying, succeeded, failed, cancelled, expired; or one of waiting and scheduled"),
        ("task" = Option<String>, Query, description = "Of this name"),
        ("queue" = Option<String>, Query, description = "Of this queue"),
        ("worker" = Option<String>, Query, description = "Last run by this worker"),
        ("dead" = Option<bool>, Query, description = "Whether it has become a dead letter"),
        ("since" = Option<String>, Query, description = "Ended, or last heard of, at this RFC 3339 moment or later"),
        ("until" = Option<String>, Query, description = "Ended, or last heard of, before this RFC 3339 moment"),
        ("key" = Option<String>, Query, description = "Of this key: the one of a limit, or the one that makes it unique"),
        ("label" = Option<Vec<String>>, Query, description = "With this label, as name=value; may be repeated"),
        ("arg" = Option<Vec<String>>, Query, description = "With this value at this path of its arguments, as user.id=42; may be repeated. Of what the records keep: up to 1 KiB a task unless its worker keeps more or less, nothing of sensitive ones"),
        ("error" = Option<String>, Query, description = "With all of these words in an error"),
        ("order" = Option<String>, Query, description = "`newest` (if not set) or `oldest` end first"),
        ("limit" = Option<u16>, Query, description = "How many, 1 to 500; 50 if not set"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses(
        (status = 200, body = Page<Listed>, description = "A page"),
        Problems,
    )
)]
pub(crate) async fn list(
    State(shared): State<Arc<Shared>>,
    params: Params,
) -> Answer<Json<Page<Listed>>> {
    Ok(Json(listed(&shared, params).await?))
}

/// A page of tasks, wherever they are.
pub(crate) async fn listed(shared: &Shared, mut params: Params) -> Answer<Page<Listed>> {
    if let Some(which) = Unbegun::of(&params.peek("state"))? {
        return unbegun::list(shared, which, params).await;
    }
    let query = query(&mut params)?;
    params.end()?;
    let page = shared.index.tasks(query).await?;
    Ok(Page {
        items: page.tasks.into_iter().map(Listed::from).collect(),
        next: page.next.map(|next| next.to_string()),
    })
}

/// Which tasks, and how many.
fn query(params: &mut Params) -> Answer<TaskQuery> {
    Ok(TaskQuery {
        states: params.list::<TaskState>("state")?,
        task: params.one("task")?,
        queue: params.one("queue")?,
        worker: params.one("worker")?,
        dead: params.read("dead")?,
        since: params.read("since")?,
        until: params.read("until")?,
        key: params.one("key")?,
        labels: params.pairs("label")?,
        arguments: params.pairs("arg")?,
        error: params.one("error")?,
        order: params.order()?,
        limit: params.limit()?,
        after: params.read::<Cursor>("cursor")?,
    })
}
