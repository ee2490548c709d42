//! `/v1/session` and `/logout`: logging in with a browser, and out.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::{Deserialize, Serialize};
use taskq::Timestamp;
use taskq::admin::AuditEntry;
use utoipa::ToSchema;

use super::Shared;
use super::access::{Caller, Sender, too_many};
use super::audit;
use super::extract::{Json, Params};
use super::problem::{Answer, Problem, Problems};
use super::revoked::LOGGED_OUT;
use crate::access::throttle::Asker;
use crate::access::{KnownBy, LoggedIn, allowed};

/// Who asks, and what they may do.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionView {
    /// Their name.
    user: String,
    /// Their role: viewer, operator or admin.
    role: &'static str,
    /// How they are known: `session`, `token`, `jwt`, or `nothing` where there is no login.
    known_by: &'static str,
    /// Of a session: what a page sends as `x-csrf-token`, or as a form's field `csrf`, with
    /// all that is to be done.
    csrf: Option<String>,
    /// Of a session: until when it is good.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// The names of all that they may do.
    actions: Vec<&'static str>,
}

/// A name and a password, or a token in its place.
#[derive(Deserialize, ToSchema)]
pub(crate) struct Login {
    user: String,
    password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl SessionView {
    pub(crate) fn of(known: &crate::access::Known) -> Self {
        let session = known.session.as_ref();
        Self {
            user: known.name.clone(),
            role: known.role.as_str(),
            known_by: known.by.as_str(),
            csrf: session.map(|(_, csrf)| csrf.clone()),
            expires_at: session.map(|(session, _)| session.until()),
            actions: allowed(known.role),
        }
    }
}

/// Who you are, and what you may do.
#[utoipa::path(
    get, path = "/v1/session", tag = "session",
    responses(
        (status = 200, body = SessionView, description = "Who asks"),
        Problems,
    )
)]
pub(crate) async fn show(
    Extension(caller): Extension<Caller>,
    params: Params,
) -> Answer<Json<SessionView>> {
    params.end()?;
    Ok(Json(SessionView::of(&caller.known)))
}

/// Log in: the answer sets the cookie of a session.
#[utoipa::path(
    post, path = "/v1/session", tag = "session",
    request_body = Login,
    responses(
        (status = 200, body = SessionView, description = "You are logged in"),
        Problems,
    )
)]
pub(crate) async fn begin(
    State(shared): State<Arc<Shared>>,
    from: Sender,
    headers: HeaderMap,
    params: Params,
    Json(login): Json<Login>,
) -> Answer<Response> {
    params.end()?;
    let done = log_in(&shared, &from, &login.user, &login.password).await?;
    let age = shared.access.sessions.age.as_secs();
    let cookie = from.cookie(&headers, &done.cookie, age);
    Ok((
        [(header::SET_COOKIE, cookie)],
        Json(SessionView::of(&done.known)),
    )
        .into_response())
}

/// Log out: the session is good no longer, in no replica.
#[utoipa::path(
    delete, path = "/v1/session", tag = "session",
    responses(
        (status = 204, description = "You are logged out"),
        Problems,
    )
)]
pub(crate) async fn end(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    from: Sender,
    headers: HeaderMap,
    params: Params,
) -> Answer<Response> {
    params.end()?;
    log_out(&shared, &caller).await;
    let cookie = from.cookie(&headers, "", 0);
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}

/// Lets somebody in, if the password is theirs.
pub(crate) async fn log_in(
    shared: &Shared,
    from: &Sender,
    user: &str,
    password: &str,
) -> Answer<LoggedIn> {
    if !shared.access.has_login() {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "no_login",
            "There is no login",
            "who reaches this gateway may do everything; TASKQ_USERS names a file of users",
        ));
    }
    if let Err(wait) = shared.logins.take(Asker::at(from.address)) {
        tracing::warn!(target: "taskq::audit", from = ?from.address, "too many logins");
        return Err(too_many(wait, "logins"));
    }
    let done = shared.access.log_in(user, password).await;
    match &done {
        Some(done) => {
            tracing::info!(target: "taskq::audit", who = user, from = ?from.address, "logged in");
            let caller = Caller {
                known: done.known.clone(),
                from: from.address,
                request: from.request.clone(),
            };
            let entry = AuditEntry::new("logged_in", caller.actor());
            audit::note(shared, entry.with("role", caller.role.as_str())).await;
        }
        // Not the name: people type passwords there.
        None => tracing::warn!(target: "taskq::audit", from = ?from.address, "a login was refused"),
    }
    done.ok_or_else(|| {
        Problem::new(
            StatusCode::UNAUTHORIZED,
            "wrong_login",
            "You are not known",
            "there is nobody of this name with this password; check both",
        )
    })
}

async fn log_out(shared: &Shared, caller: &Caller) {
    if let Some((session, _)) = &caller.session {
        let (id, until) = (&session.id, session.until());
        shared.access.sessions.end(id, until);
        let entry = AuditEntry::new(LOGGED_OUT, caller.actor());
        let entry = entry.with("session", id.as_str());
        audit::note(shared, entry.with("until", until.to_string())).await;
    }
}

/// What the button to log out sends.
pub(crate) async fn logout_form(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    from: Sender,
    headers: HeaderMap,
    _body: Bytes,
) -> Response {
    log_out(&shared, &caller).await;
    let cookie = from.cookie(&headers, "", 0);
    let to = if caller.by == KnownBy::Session {
        "login"
    } else {
        "./"
    };
    ([(header::SET_COOKIE, cookie)], Redirect::to(to)).into_response()
}
