//! What is answered at which address.

mod access;
mod audit;
pub(crate) mod bulk;
mod dead;
mod docs;
mod events;
mod extract;
mod health;
mod metrics;
mod pools;
mod prefix;
mod problem;
mod queues;
mod revoked;
mod schedules;
mod session;
mod settings;
mod stats;
mod tasks;
mod trace;
mod types;
mod views;
mod workers;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use serde::de::DeserializeOwned;
use taskq::Client;
use tokio_util::task::TaskTracker;

pub(crate) use self::access::{Caller, Role, Sender, at_home, form, from_here};
pub(crate) use self::audit::audited;
pub(crate) use self::bulk::{Begun, fitting, start as begin_bulk};
pub(crate) use self::dead::one as dead_letter;
pub use self::docs::openapi;
pub(crate) use self::extract::{Name, Params};
use self::metrics::Answers;
pub use self::prefix::Prefix;
pub(crate) use self::problem::{Answer, Problem};
pub(crate) use self::queues::purged as purge;
use self::revoked::Revoked;
pub(crate) use self::session::log_in;
pub(crate) use self::tasks::{
    Called, Found, Whole, checked_call, listed as list_tasks, past as past_of,
    revealed as reveal_task, whole as whole_task,
};
pub(crate) use self::views::{Bulk, Listed, Submission};
use crate::access::throttle::{Asker, Opened, Throttle};
use crate::access::{Access, Proxies};
use crate::feed::Feed;
use crate::index::{Follower, Index};
use crate::pulse::Pulse;
use crate::runner::Runner;
use crate::types::TaskTypes;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
/// The longest that `wait` waits.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What is set.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The most bytes of a request's body.
    pub body: usize,
    /// How long an answer may take. It is not cut short by a `wait`, and not
    /// that of a stream of events.
    pub time: Duration,
    /// The most bytes of the latest events that are at hand for who listens; who
    /// is further behind is let go.
    pub live: usize,
    /// The path under which a proxy shows the gateway.
    pub prefix: Prefix,
    /// The most requests of a caller in a second; 0 for no limit.
    pub rate: u32,
    /// The most logins from an address in a minute; 0 for no limit.
    pub logins: u32,
    /// The most streams of events that a caller may have open.
    pub streams: usize,
    /// The proxies that are believed.
    pub proxies: Proxies,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 8 * 1024 * 1024,
            time: Duration::from_secs(30),
            live: 16 * 1024 * 1024,
            prefix: Prefix::default(),
            rate: 1000,
            logins: 10,
            streams: 1000,
            proxies: Proxies::default(),
        }
    }
}

/// The gateway, without a socket: [`router`](Self::router) answers requests.
#[derive(Clone, Debug)]
pub struct Gateway(Arc<Shared>);

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) index: Index,
    pub(crate) follower: Follower,
    pub(crate) feed: Feed,
    pub(crate) types: TaskTypes,
    /// The open WebSockets.
    pub(crate) sockets: TaskTracker,
    pub(crate) pulse: Pulse,
    pub(crate) runner: Runner,
    pub(crate) access: Access,
    /// How often each caller may ask.
    pub(crate) asked: Throttle,
    /// How often an address may ask of which it is not known who it is.
    pub(crate) unknown: Throttle,
    /// How often an address may try to log in.
    pub(crate) logins: Throttle,
    /// The streams of events that each caller has open.
    pub(crate) streams: Opened<Asker>,
    /// Hears of logouts in other replicas.
    _revoked: Option<Revoked>,
    pub(crate) limits: Limits,
    pub(crate) answers: Answers,
}

impl Gateway {
    /// Begins to follow what happens into the index.
    #[must_use]
    pub fn new(client: Client, index: Index, access: Access, limits: Limits) -> Self {
        let shared = Arc::new(Shared {
            follower: Follower::start(&client, &index),
            feed: Feed::new(client.clone(), limits.live),
            sockets: TaskTracker::new(),
            pulse: Pulse::start(&client),
            types: TaskTypes::new(client.clone()),
            runner: Runner::start(&client),
            asked: Throttle::new(limits.rate, SECOND, limits.rate.saturating_mul(2)),
            unknown: Throttle::new(limits.rate.div_ceil(20), SECOND, limits.rate.div_ceil(10)),
            logins: Throttle::new(limits.logins, MINUTE, limits.logins),
            streams: Opened::new(limits.streams),
            _revoked: access
                .has_login()
                .then(|| Revoked::follow(client.clone(), access.sessions.clone())),
            client,
            index,
            access,
            limits,
            answers: Answers::default(),
        });
        metrics::watch_types(Arc::downgrade(&shared));
        Self(shared)
    }

    /// How far behind the streams the index is.
    #[must_use]
    pub fn lag(&self) -> Vec<crate::index::Lag> {
        self.0.follower.lag()
    }

    /// Ends the streams of events, so that the server can stop.
    pub fn close(&self) {
        self.0.feed.close();
        self.0.sockets.close();
    }

    /// Waits until all WebSockets have ended after [`close`](Self::close).
    pub async fn closed(&self) {
        self.0.sockets.wait().await;
    }

    /// All that is answered, with pages for who is known, and with what
    /// anybody may have.
    pub(crate) fn assemble(
        &self,
        pages: impl FnOnce(&Arc<Shared>) -> Router<Arc<Shared>>,
        open: Router<Arc<Shared>>,
    ) -> Router {
        let shared = &self.0;
        let guarded = Router::new()
            .route("/v1/tasks", get(tasks::list).post(tasks::submit))
            .route("/v1/tasks:batch", post(tasks::submit_batch))
            .route("/v1/tasks:bulk", post(bulk::begin))
            .route("/v1/operations", get(bulk::list))
            .route("/v1/operations/{id}", get(bulk::show).post(bulk::act))
            .route("/v1/tasks/{id}", get(tasks::show).post(tasks::act))
            .route("/v1/tasks/{id}/result", get(tasks::result))
            .route("/v1/tasks/{id}/attempts", get(tasks::attempts))
            .route("/v1/tasks/{id}/events", get(tasks::task_events))
            .route("/v1/tasks/{id}/events/ws", get(events::task_socket))
            .route("/v1/tasks/{id}/explain", get(tasks::explain))
            .route("/v1/queues", get(queues::list))
            .route("/v1/queues/{queue}", get(queues::show).post(queues::act))
            .route(
                "/v1/queues/{queue}/settings",
                get(settings::show).put(settings::set),
            )
            .route("/v1/queues/{queue}/tasks", get(queues::tasks))
            .route("/v1/queues/{queue}/scaling", get(queues::scaling))
            .route("/v1/task-types", get(types::list))
            .route("/v1/task-types/{task}", get(types::show).post(types::act))
            .route("/v1/schedules", get(schedules::list))
            .route(
                "/v1/schedules/{name}",
                get(schedules::show)
                    .put(schedules::set)
                    .post(schedules::act)
                    .delete(schedules::remove),
            )
            .route("/v1/schedules/{name}/next", get(schedules::next))
            .route("/v1/workers", get(workers::list).post(pools::start))
            .route(
                "/v1/workers/{worker}",
                get(workers::show).post(workers::act).delete(pools::remove),
            )
            .route("/v1/pools", get(pools::list))
            .route("/v1/pools/{pool}", get(pools::show).post(pools::act))
            .route("/v1/dead-letters", get(dead::list))
            .route("/v1/dead-letters/{id}", get(dead::show).post(dead::act))
            .route("/v1/events", get(events::feed))
            .route("/v1/stats", get(stats::stats))
            .route("/v1/events/ws", get(events::feed_socket))
            .route("/v1/index:rebuild", post(health::rebuild))
            .route("/v1/audit", get(audit::list))
            .route("/v1/session", get(session::show).delete(session::end))
            .route("/logout", post(session::logout_form))
            .route("/metrics", get(metrics::metrics))
            .route("/openapi.json", get(docs::openapi_json))
            .route("/docs", get(docs::page))
            .merge(pages(shared))
            .layer(from_fn_with_state(Arc::clone(shared), in_time))
            .layer(from_fn_with_state(Arc::clone(shared), access::guard));
        let all = Router::new()
            .route("/healthz", get(health::healthz))
            .route("/readyz", get(health::readyz))
            .merge(open)
            .route("/v1/session", post(session::begin))
            .merge(guarded)
            .fallback(no_such_address)
            .method_not_allowed_fallback(no_such_method)
            .layer(DefaultBodyLimit::max(shared.limits.body))
            .layer(from_fn_with_state(Arc::clone(shared), harden))
            .layer(from_fn(trace::span))
            .layer(from_fn_with_state(Arc::clone(shared), metrics::count))
            .with_state(Arc::clone(shared));
        let prefix = shared.limits.prefix.clone();
        if prefix == Prefix::default() {
            return all;
        }
        // Around the router, for it routes by what is left.
        Router::new()
            .fallback_service(all)
            .layer(from_fn_with_state(prefix, prefix::strip))
    }
}

/// The id and the verb of `id:verb`.
fn verb(name: &str) -> Answer<(&str, &str)> {
    name.rsplit_once(':')
        .filter(|(id, _)| !id.is_empty())
        .ok_or_else(|| no_verb("", "tasks", &["cancel"]))
}

fn no_verb(verb: &str, of: &str, verbs: &[&str]) -> Problem {
    let all: Vec<String> = verbs.iter().map(|verb| format!(":{verb}")).collect();
    Problem::not_found(format!(
        "`:{verb}` is nothing to do with {of}; there is {}",
        all.join(", ")
    ))
}

/// A body that may be missing.
fn optional<T: DeserializeOwned + Default>(body: &[u8]) -> Answer<T> {
    if body.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(body)
        .map_err(|error| Problem::invalid(format!("the body is not what is expected: {error}")))
}

async fn no_such_address() -> Problem {
    Problem::not_found("there is nothing at this address; /docs lists what there is")
}

async fn no_such_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method",
        "This address has no such method",
        "/docs lists what there is",
    )
}

/// Gives an answer up that takes too long.
async fn in_time(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let waits = request
        .uri()
        .query()
        .is_some_and(|query| query.contains("wait="));
    let time = shared.limits.time + if waits { LONGEST_WAIT } else { Duration::ZERO };
    match tokio::time::timeout(time, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(
            StatusCode::GATEWAY_TIMEOUT,
            "timeout",
            "It took too long",
            format!(
                "there was no answer within {}; what was asked for may have been done",
                taskq::format_duration(time)
            ),
        )
        .into_response(),
    }
}

/// What browsers are to refrain from.
async fn harden(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let encrypted = access::Sender::of(&request, &shared).encrypted;
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        // With `no-referrer` a browser would not say which origin sends a form.
        (header::REFERRER_POLICY, "same-origin"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
             connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if encrypted {
        let year = HeaderValue::from_static("max-age=31536000");
        headers.insert(header::STRICT_TRANSPORT_SECURITY, year);
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}
