//! `/v1/tasks:bulk` and `/v1/operations`: one thing done to many tasks.

mod filter;
mod select;

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;
use taskq::Timestamp;
use taskq::admin::operations::{self, BulkAction, NewOperation};

pub(crate) use self::filter::{Filter, fitting};
use self::select::Selected;
use crate::http::access::{Caller, Role};
use crate::http::extract::{Json, Name, Params};
use crate::http::problem::{Answer, Problem, Problems};
use crate::http::views::{All, Bulk, BulkVerb, Counting, OperationView};
use crate::http::{Shared, no_verb, verb};

/// Do one thing to many tasks: to those of some ids, or to all that a filter
/// finds. Discarding needs the role `admin`.
#[utoipa::path(
    post, path = "/v1/tasks:bulk", tag = "operations",
    request_body = Bulk,
    responses(
        (status = 200, body = Counting, description = "With `dry_run`: how many tasks it would be about"),
        (status = 202, body = OperationView, description = "It is begun; `Location` says where to follow it"),
        Problems,
    )
)]
pub(crate) async fn begin(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    params: Params,
    Json(bulk): Json<Bulk>,
) -> Answer<Response> {
    params.end()?;
    let view = match start(&shared, &caller, bulk).await? {
        Begun::Counted(counting) => return Ok(Json(counting).into_response()),
        Begun::Operation(view) => view,
    };
    let place = shared
        .limits
        .prefix
        .at(&format!("/v1/operations/{}", view.id));
    Ok((
        StatusCode::ACCEPTED,
        [(header::LOCATION, place)],
        Json(*view),
    )
        .into_response())
}

/// What became of a wish.
pub(crate) enum Begun {
    /// Nothing but a count was asked for.
    Counted(Counting),
    /// It is begun.
    Operation(Box<OperationView>),
}

/// Begins what is wished, or counts what it would be about.
pub(crate) async fn start(shared: &Shared, caller: &Caller, bulk: Bulk) -> Answer<Begun> {
    let action = action(&bulk)?;
    if action == BulkAction::Discard {
        caller.need(Role::Admin)?;
    }
    let rate = bulk.rate.as_deref().map(per_second).transpose()?;
    let (selected, filter) = match (bulk.ids, bulk.filter) {
        (Some(ids), None) => (Selected::of(ids), Value::Null),
        (None, Some(filter)) => {
            let told = serde_json::to_value(&filter).unwrap_or_default();
            (select::select(shared, action, &filter).await?, told)
        }
        _ => {
            return Err(Problem::invalid(
                "send either `ids` or a `filter`; the filter `{}` is all tasks to which this can be \
                 done",
            ));
        }
    };
    if bulk.dry_run {
        let counting = Counting {
            action: action.as_str().to_owned(),
            total: selected.ids.len(),
            more: selected.more,
        };
        return Ok(Begun::Counted(counting));
    }
    if selected.ids.is_empty() {
        return Err(Problem::not_found(
            "no task is found to which this could be done; nothing was begun",
        ));
    }
    let mut new = NewOperation::new(action, caller.by()).filter(filter);
    if let Some(reason) = bulk.reason {
        new = new.because(reason);
    }
    if let Some(rate) = rate {
        new = new.rate(rate);
    }
    let begun = operations::begin(&shared.client, new, selected.ids).await?;
    shared.runner.look();
    let view = OperationView::of(begun, selected.more);
    Ok(Begun::Operation(Box::new(view)))
}

fn action(bulk: &Bulk) -> Answer<BulkAction> {
    let at = bulk.at.as_deref();
    if at.is_some() && bulk.action != BulkVerb::Reschedule {
        return Err(Problem::invalid("`at` is for the action `reschedule`"));
    }
    Ok(match bulk.action {
        BulkVerb::Cancel => BulkAction::Cancel,
        BulkVerb::Retry => BulkAction::Retry,
        BulkVerb::RunNow => BulkAction::RunNow,
        BulkVerb::Discard => BulkAction::Discard,
        BulkVerb::Reschedule => {
            let at = at.ok_or_else(|| Problem::invalid("`reschedule` needs `at`, when to"))?;
            let at: Timestamp = at
                .parse()
                .map_err(|error| Problem::invalid(format!("`at` is no moment: {error}")))?;
            BulkAction::Reschedule { at }
        }
    })
}

fn per_second(text: &str) -> Answer<f64> {
    let rate: taskq::Rate = text
        .parse()
        .map_err(|error| Problem::invalid(format!("`rate`: {error}")))?;
    Ok(rate.per_second())
}

/// Operations that run, and those that have ended in the past week; the latest
/// first.
#[utoipa::path(
    get, path = "/v1/operations", tag = "operations",
    responses(
        (status = 200, body = All<OperationView>, description = "The operations"),
        Problems,
    )
)]
pub(crate) async fn list(
    State(shared): State<Arc<Shared>>,
    params: Params,
) -> Answer<Json<All<OperationView>>> {
    params.end()?;
    let found = operations::list(&shared.client).await?;
    let items = found.into_iter().map(|one| OperationView::of(one, false));
    Ok(Json(All {
        items: items.collect(),
    }))
}

/// How far an operation is.
#[utoipa::path(
    get, path = "/v1/operations/{id}", tag = "operations",
    params(("id" = String, Path, description = "The operation's id")),
    responses(
        (status = 200, body = OperationView, description = "The operation"),
        Problems,
    )
)]
pub(crate) async fn show(
    State(shared): State<Arc<Shared>>,
    Name(id): Name,
    params: Params,
) -> Answer<Json<OperationView>> {
    params.end()?;
    let found = operations::get(&shared.client, &id).await?;
    Ok(Json(OperationView::of(found, false)))
}

/// Cancel an operation: what was done stays done.
#[utoipa::path(
    post, path = "/v1/operations/{id}:cancel", tag = "operations",
    params(("id" = String, Path, description = "The operation's id")),
    responses(
        (status = 200, body = OperationView, description = "It is cancelled, or had ended"),
        Problems,
    )
)]
pub(crate) async fn cancel(
    shared: &Shared,
    caller: &Caller,
    id: &str,
) -> Answer<Json<OperationView>> {
    let done = operations::cancel(&shared.client, id, &caller.by()).await?;
    Ok(Json(OperationView::of(done, false)))
}

/// `POST /v1/operations/{id}:verb`.
pub(crate) async fn act(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Name(name): Name,
    params: Params,
) -> Answer<Json<OperationView>> {
    params.end()?;
    match verb(&name)? {
        (id, "cancel") => cancel(&shared, &caller, id).await,
        (_, verb) => Err(no_verb(verb, "operations", &["cancel"])),
    }
}
