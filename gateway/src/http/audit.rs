//! `/v1/audit`: what operators did.

use std::sync::Arc;

use axum::extract::State;
use taskq::Timestamp;
use taskq::admin::{self, AuditEntry, AuditFilter, AuditPage};
use utoipa::ToSchema;

use super::Shared;
use super::extract::{Json, Params};
use super::problem::{Answer, Problems};

/// What operators did, a page of it.
#[derive(Debug, serde::Serialize, ToSchema)]
pub(crate) struct Audited {
    /// The entries, the newest first: `sequence`, `at`, `action`, `actor`, what it was done to,
    /// and what only this action has, such as `before` and `after`.
    #[schema(value_type = Vec<Object>)]
    items: Vec<AuditEntry>,
    /// Give it as `cursor` for the next page; null at the end. A page may have fewer entries
    /// than were asked for, or none, and others may follow.
    next: Option<String>,
}

/// What operators did: who, what, when, from where, before and after.
#[utoipa::path(
    get, path = "/v1/audit", tag = "audit",
    params(
        ("action" = Option<String>, Query, description = "One of these actions, commas between"),
        ("by" = Option<String>, Query, description = "By somebody of this name"),
        ("queue" = Option<String>, Query, description = "On this queue"),
        ("task" = Option<String>, Query, description = "On this task type, or a task of it"),
        ("id" = Option<String>, Query, description = "On the task of this id"),
        ("since" = Option<String>, Query, description = "At this RFC 3339 moment or later"),
        ("until" = Option<String>, Query, description = "Before this RFC 3339 moment"),
        ("limit" = Option<u16>, Query, description = "How many, 1 to 500; 50 if not set"),
        ("cursor" = Option<u64>, Query, description = "`next` of the page before"),
    ),
    responses(
        (status = 200, body = Audited, description = "A page, the newest first"),
        Problems,
    )
)]
pub(crate) async fn list(
    State(shared): State<Arc<Shared>>,
    params: Params,
) -> Answer<Json<Audited>> {
    let page = audited(&shared, params).await?;
    Ok(Json(Audited {
        items: page.entries,
        next: page.next.map(|next| next.to_string()),
    }))
}

/// A page of what operators did.
pub(crate) async fn audited(shared: &Shared, mut params: Params) -> Answer<AuditPage> {
    let mut filter = AuditFilter::default();
    filter.actions = params.list("action")?;
    filter.by = params.one("by")?;
    filter.queue = params.one("queue")?;
    filter.task = params.one("task")?;
    filter.id = params.one("id")?.map(Into::into);
    filter.since = params.read::<Timestamp>("since")?;
    filter.until = params.read::<Timestamp>("until")?;
    filter.most = params.limit()?;
    filter.before = params.read("cursor")?;
    params.end()?;
    Ok(admin::audit(&shared.client, &filter).await?)
}

/// Records what the gateway did for somebody. It is done: that it cannot be
/// recorded is told, and undoes nothing.
pub(crate) async fn note(shared: &Shared, entry: AuditEntry) {
    if let Err(error) = admin::record(&shared.client, &entry).await {
        let (action, who) = (&entry.action, &entry.actor.name);
        tracing::error!(target: "taskq::audit", action, who, "not in the audit log: {error}");
    }
}
