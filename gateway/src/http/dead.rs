//! `/v1/dead-letters`.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use futures::{StreamExt as _, TryStreamExt as _};
use taskq::admin::{self, DeadFilter, Replay};
use taskq::{DeadLetter, DeadReason};

use super::access::{Caller, Role};
use super::extract::{Json, Name, Params};
use super::problem::{Answer, Problem, Problems};
use super::views::{AttemptView, Done, LetterView, Page};
use super::{Shared, no_verb, verb};
use crate::index::{Cursor, LetterQuery, LetterSummary};

/// Dead letters, the latest first.
#[utoipa::path(
    get, path = "/v1/dead-letters", tag = "dead-letters",
    params(
        ("task" = Option<String>, Query, description = "Of this name"),
        ("queue" = Option<String>, Query, description = "Of this queue"),
        ("reason" = Option<String>, Query, description = "For this reason: exhausted, permanent, undecodable, unknown_task, expired, crashed"),
        ("order" = Option<String>, Query, description = "`newest` (if not set) or `oldest` first"),
        ("limit" = Option<u16>, Query, description = "How many, 1 to 500; 50 if not set"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses(
        (status = 200, body = Page<LetterSummary>, description = "A page"),
        Problems,
    )
)]
pub(crate) async fn list(
    State(shared): State<Arc<Shared>>,
    mut params: Params,
) -> Answer<Json<Page<LetterSummary>>> {
    let query = LetterQuery {
        task: params.one("task")?,
        queue: params.one("queue")?,
        reason: params.read::<DeadReason>("reason")?,
        order: params.order()?,
        limit: params.limit()?,
        after: params.read::<Cursor>("cursor")?,
    };
    params.end()?;
    let page = shared.index.letters(query).await?;
    Ok(Json(Page {
        items: page.letters,
        next: page.next.map(|next| next.to_string()),
    }))
}

/// The latest dead letter of a task, from its stream.
pub(crate) async fn one(shared: &Shared, id: &str) -> Answer<DeadLetter> {
    let filter = DeadFilter {
        id: Some(id.into()),
        ..DeadFilter::default()
    };
    let letters: Vec<DeadLetter> = admin::dead_letters(&shared.client, filter)
        .await?
        .take(16)
        .try_collect()
        .await?;
    letters
        .into_iter()
        .next_back()
        .ok_or_else(|| Problem::not_found(format!("there is no dead letter of task {id}")))
}

/// A dead letter, whole: the message and every attempt's error.
#[utoipa::path(
    get, path = "/v1/dead-letters/{id}", tag = "dead-letters",
    params(("id" = String, Path, description = "The task's id")),
    responses(
        (status = 200, body = LetterView, description = "The dead letter"),
        Problems,
    )
)]
pub(crate) async fn show(
    State(shared): State<Arc<Shared>>,
    Name(id): Name,
    params: Params,
) -> Answer<Json<LetterView>> {
    params.end()?;
    let mut letter = one(&shared, &id).await?;
    letter.hide();
    Ok(Json(LetterView {
        sensitive: letter.hidden().is_any(),
        failures: letter.attempts.iter().map(AttemptView::failed).collect(),
        crashes: letter.crashes.into_iter().map(Into::into).collect(),
        priority: letter.priority,
        enqueued_at: letter.enqueued_at,
        message: letter.message,
        summary: LetterSummary {
            id: letter.id.to_string(),
            task: letter.task,
            queue: letter.queue,
            reason: letter.reason.as_str().to_owned(),
            error: letter.error,
            worker: letter.worker,
            attempts: letter.attempts.len() as u64,
            replays: letter.replays,
            dead_at: letter.dead_at,
        },
    }))
}

/// Send a dead letter again.
#[utoipa::path(
    post, path = "/v1/dead-letters/{id}:replay", tag = "dead-letters",
    params(("id" = String, Path, description = "The task's id")),
    responses(
        (status = 200, body = Done, description = "What became of it"),
        Problems,
    )
)]
pub(crate) async fn replay(shared: &Shared, caller: &Caller, id: &str) -> Answer<Json<Done>> {
    let letter = one(shared, id).await?;
    let (outcome, state) = match admin::replay(&shared.client, &letter, &caller.by()).await? {
        Replay::Ended(state) => ("ended", Some(state.as_str().to_owned())),
        Replay::AlreadySent => ("already_sent", None),
        _ => ("sent", None),
    };
    Ok(Json(Done {
        id: id.to_owned(),
        outcome: outcome.to_owned(),
        state,
    }))
}

/// Remove a dead letter for good. Needs the role `admin`.
#[utoipa::path(
    post, path = "/v1/dead-letters/{id}:discard", tag = "dead-letters",
    params(("id" = String, Path, description = "The task's id")),
    responses(
        (status = 200, body = Done, description = "What became of it"),
        Problems,
    )
)]
pub(crate) async fn discard(shared: &Shared, caller: &Caller, id: &str) -> Answer<Json<Done>> {
    caller.need(Role::Admin)?;
    let letter = one(shared, id).await?;
    let removed = admin::discard(&shared.client, &letter, &caller.by()).await?;
    Ok(Json(Done {
        id: id.to_owned(),
        outcome: if removed { "discarded" } else { "gone" }.to_owned(),
        state: None,
    }))
}

/// `POST /v1/dead-letters/{id}:verb`.
pub(crate) async fn act(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Name(name): Name,
    params: Params,
) -> Answer<Json<Done>> {
    params.end()?;
    match verb(&name)? {
        (id, "replay") => replay(&shared, &caller, id).await,
        (id, "discard") => discard(&shared, &caller, id).await,
        (_, verb) => Err(no_verb(verb, "dead letters", &["replay", "discard"])),
    }
}
