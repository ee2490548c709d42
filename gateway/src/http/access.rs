//! Lets nobody in who may not, and notes who does what.
//!
//! A browser sends what it has of somebody with whatever any page makes it send.
//! So what changes something is refused when a page of another origin asks for
//! it, and, where a cookie says who asks, without the token that only our own
//! pages know. Without a login, a name that leads here and is not this machine's
//! is refused too.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Redirect, Response};
use taskq::admin::{self, Actor};

use super::Shared;
use super::problem::Problem;
use crate::access::throttle::{Asker, while_open};
use crate::access::{self, COOKIE, Known, KnownBy, Unknown};
pub(crate) use crate::access::{Caller, Role};
use crate::server::{Encrypted, Peer};

/// The header of a session's token against forgery; a form has it as a field.
const CSRF_HEADER: HeaderName = HeaderName::from_static("x-csrf-token");
const CSRF_FIELD: &str = "csrf";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// When to try again who has too many streams open.
const RETRY_STREAM: Duration = Duration::from_secs(5);
const FORM: &str = "application/x-www-form-urlencoded";

impl Caller {
    /// Refuses what needs more than the caller may do.
    pub(crate) fn need(&self, role: Role) -> Result<(), Problem> {
        allowed(&self.known, role)
    }

    /// The name as it is recorded with what was done.
    pub(crate) fn by(&self) -> String {
        self.actor().to_string()
    }

    /// All that is recorded of who asks.
    pub(crate) fn actor(&self) -> Actor {
        let actor = Actor::new(&self.name)
            .known_by(self.by.as_str())
            .via("gateway")
            .request(&self.request);
        match self.from {
            Some(from) => actor.address(from.to_string()),
            None => actor,
        }
    }
}

/// Lets nobody in who may not, and notes who does what.
pub(crate) async fn guard(
    State(shared): State<Arc<Shared>>,
    mut request: Request,
    next: Next,
) -> Response {
    let Sender {
        address: from,
        request: id,
        ..
    } = Sender::of(&request, &shared);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let admitted = admit(&shared, &mut request).await;
    let asker = match &admitted {
        Ok(known) if known.by != KnownBy::Nothing => Asker::Name(known.name.clone()),
        _ => Asker::at(from),
    };
    let throttle = match &admitted {
        Err(problem) if problem.code() == "unauthorized" => &shared.unknown,
        _ => &shared.asked,
    };
    if let Err(wait) = throttle.take(asker.clone()) {
        return too_many(wait, "these requests").into_response();
    }
    let known = match admitted {
        Ok(known) => known,
        Err(problem) => {
            let code = problem.code();
            tracing::info!(target: "taskq::audit", %method, path, ?from, request = id, code, "refused");
            return turn_away(&request, problem);
        }
    };
    let caller = Caller {
        known,
        from,
        request: id,
    };
    request.extensions_mut().insert(caller.clone());
    let opening = if is_stream(&request) {
        match shared.streams.open(asker) {
            Some(opening) => Some(opening),
            None => return too_many(RETRY_STREAM, "these open streams").into_response(),
        }
    } else {
        None
    };
    let answer = admin::acting_as(caller.actor(), next.run(request));
    let mut response = match opening {
        Some(opening) => while_open(opening, answer).await,
        None => answer.await,
    };
    if let Ok(id) = HeaderValue::from_str(&caller.request) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    if !access::looks(&method) {
        let status = response.status().as_u16();
        let (who, role, by) = (&caller.name, caller.role.as_str(), caller.by.as_str());
        let request = &caller.request;
        tracing::info!(target: "taskq::audit", who, by, role, ?from, request, %method, path, status, "acted");
    }
    response
}

/// Where a request comes from, and what it is called.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    pub(crate) address: Option<IpAddr>,
    pub(crate) request: String,
    /// Whether it came encrypted, here or to a proxy of ours.
    pub(crate) encrypted: bool,
}

impl Sender {
    pub(crate) fn of(request: &Request, shared: &Shared) -> Self {
        Self::read(request.headers(), request.extensions(), shared)
    }

    fn read(headers: &HeaderMap, extensions: &Extensions, shared: &Shared) -> Self {
        let proxies = &shared.limits.proxies;
        let peer = extensions.get::<ConnectInfo<Peer>>();
        let peer = peer.map(|ConnectInfo(Peer(address))| address.ip().to_canonical());
        let proxied = peer.is_some_and(|peer| proxies.has(peer))
            && text(headers, FORWARDED_PROTO) == Some("https");
        Self {
            address: peer.map(|peer| proxies.origin(peer, headers)),
            request: request_id(headers),
            encrypted: proxied || extensions.get::<Encrypted>().is_some(),
        }
    }

    /// The cookie of a session that begins, or ends at once.
    pub(crate) fn cookie(&self, headers: &HeaderMap, value: &str, seconds: u64) -> HeaderValue {
        // A page says whether it was got over an encrypted connection.
        let origin = text(headers, header::ORIGIN);
        let encrypted = self.encrypted || origin.is_some_and(|it| it.starts_with("https://"));
        set_cookie(value, seconds, encrypted)
    }
}

impl FromRequestParts<Arc<Shared>> for Sender {
    type Rejection = Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        shared: &Arc<Shared>,
    ) -> Result<Self, Infallible> {
        Ok(Self::read(&parts.headers, &parts.extensions, shared))
    }
}

/// The id of a request: its sender's, if it is one, or a new one.
fn request_id(headers: &HeaderMap) -> String {
    let sent = text(headers, REQUEST_ID).filter(|id| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        (1..=64).contains(&id.len()) && id.bytes().all(fits)
    });
    sent.map_or_else(|| uuid::Uuid::new_v4().simple().to_string(), str::to_owned)
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The problem of who asks for too much.
pub(crate) fn too_many(wait: Duration, what: &str) -> Problem {
    let seconds = u32::try_from(wait.as_secs_f64().ceil() as u64).unwrap_or(u32::MAX);
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "rate_limited",
        "This is too much at once",
        format!("one caller may not have so many of {what}; try again in {seconds} s"),
    )
    .retry_after(seconds.max(1))
}

/// Whether a request opens a stream of events.
fn is_stream(request: &Request) -> bool {
    let path = template(request);
    let accepts = text(request.headers(), header::ACCEPT);
    path == "/v1/events"
        || path.ends_with("/events/ws")
        || (path.ends_with("/events") && accepts.is_some_and(|it| it.contains("event-stream")))
}

pub(crate) fn forbidden(detail: impl Into<String>) -> Problem {
    let status = StatusCode::FORBIDDEN;
    Problem::new(status, "forbidden", "This is not allowed", detail)
}

fn allowed(known: &Known, needs: Role) -> Result<(), Problem> {
    if known.role >= needs {
        return Ok(());
    }
    Err(forbidden(format!(
        "{} is {}, and this needs {needs}",
        known.name, known.role
    )))
}

async fn admit(shared: &Shared, request: &mut Request) -> Result<Known, Problem> {
    at_home(shared, request)?;
    let method = request.method().clone();
    if !access::looks(&method) {
        from_here(request)?;
    }
    let known = shared.access.who(request.headers()).map_err(|unknown| {
        Problem::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "Who are you?",
            match unknown {
                Unknown::Silent => {
                    "send `authorization: Bearer <token>`, or log in at /login with a browser"
                }
                Unknown::Wrong => {
                    "this token or session is not known, or no longer; send another, or log in \
                     again at /login"
                }
            },
        )
    })?;
    let needs = access::of(&method, &template(request)).map_or(Role::Admin, |action| action.role);
    allowed(&known, needs)?;
    if known.by == KnownBy::Session && !access::looks(&method) {
        not_forged(shared, &known, request).await?;
    }
    Ok(known)
}

/// Without a login, only requests for this machine's own names.
pub(crate) fn at_home(shared: &Shared, request: &Request) -> Result<(), Problem> {
    if shared.access.is_open() && host(request).is_some_and(|host| !is_loopback(host)) {
        return Err(forbidden(
            "without a login only requests for localhost are answered; set TASKQ_USERS or \
             TASKQ_TOKENS",
        ));
    }
    Ok(())
}

fn host(request: &Request) -> Option<&str> {
    let authority = || {
        request
            .uri()
            .authority()
            .map(axum::http::uri::Authority::as_str)
    };
    text(request.headers(), header::HOST).or_else(authority)
}

/// Whether a page of another origin makes a browser send this.
pub(crate) fn from_here(request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    // The browser itself says it, and no page can set it.
    let foreign = match text(headers, SEC_FETCH_SITE) {
        Some(site) => !["same-origin", "none"].contains(&site),
        None => headers.contains_key(header::ORIGIN) && !is_own_origin(request),
    };
    // A page's own word counts too, where it is against it.
    if foreign || text(headers, header::ORIGIN) == Some("null") {
        return Err(forbidden("a page of another origin may not act here"));
    }
    Ok(())
}

fn is_own_origin(request: &Request) -> bool {
    let origin = text(request.headers(), header::ORIGIN);
    let origin = origin.and_then(|origin| origin.split_once("://"));
    origin.is_some_and(|(_, origin)| Some(origin) == host(request))
}

/// Whether what a cookie allows is asked for by a page of ours: the browser says
/// so, and it has the session's token.
async fn not_forged(shared: &Shared, known: &Known, request: &mut Request) -> Result<(), Problem> {
    let Some((session, _)) = &known.session else {
        return Ok(());
    };
    let headers = request.headers();
    let said = text(headers, SEC_FETCH_SITE)
        .map_or_else(|| is_own_origin(request), |site| site == "same-origin");
    let token = match text(headers, CSRF_HEADER) {
        Some(token) => Some(token.to_owned()),
        None => field_of_form(request, shared.limits.body, shared.limits.time).await?,
    };
    let has_token = token.is_some_and(|token| shared.access.is_csrf(session, &token));
    if said && has_token {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "csrf",
        "This may be forged",
        "what a session asks to be done needs its token, from `GET /v1/session`, in the header \
         `x-csrf-token` or the form's field `csrf`, and the browser's word (`Origin` or \
         `Sec-Fetch-Site`) that one of our own pages sends it",
    ))
}

/// The token in the body of a form, which is put back.
async fn field_of_form(
    request: &mut Request,
    most: usize,
    time: Duration,
) -> Result<Option<String>, Problem> {
    let kind = text(request.headers(), header::CONTENT_TYPE).unwrap_or_default();
    if kind.split(';').next().map(str::trim) != Some(FORM) {
        return Ok(None);
    }
    let body = std::mem::replace(request.body_mut(), Body::empty());
    let body = tokio::time::timeout(time, axum::body::to_bytes(body, most))
        .await
        .map_err(|_| Problem::invalid("the form took too long"))?
        .map_err(|_| Problem::too_large(format!("a form has at most {most} bytes")))?;
    let token = form(&body)
        .into_iter()
        .find_map(|(name, value)| (name == CSRF_FIELD).then_some(value));
    *request.body_mut() = Body::from(body);
    Ok(token)
}

/// The fields of a form.
pub(crate) fn form(body: &[u8]) -> Vec<(String, String)> {
    serde_urlencoded::from_bytes(body).unwrap_or_default()
}

/// The path of a request as `/openapi.json` has it: the router cannot tell an id
/// from a verb.
fn template(request: &Request) -> String {
    let matched = request.extensions().get::<MatchedPath>();
    let matched = matched.map_or("", MatchedPath::as_str);
    // Below a prefix of the gateway's own.
    let template = matched.rfind("/v1/").map_or(matched, |at| &matched[at..]);
    if request.method() != Method::POST || !template.ends_with('}') {
        return template.to_owned();
    }
    let last = request.uri().path().rsplit('/').next().unwrap_or_default();
    let last = percent_encoding::percent_decode_str(last).decode_utf8_lossy();
    match last.rsplit_once(':') {
        Some((_, verb)) => format!("{template}:{verb}"),
        None => template.to_owned(),
    }
}

/// The answer to who may not: the login page for who opens a page.
fn turn_away(request: &Request, problem: Problem) -> Response {
    let opens = request.method() == Method::GET
        && text(request.headers(), header::ACCEPT).is_some_and(|kinds| kinds.contains("text/html"))
        && request.headers().get(header::AUTHORIZATION).is_none();
    if problem.code() != "unauthorized" || !opens {
        return problem.into_response();
    }
    // Relative, so that it holds below a proxy's path too.
    let path = request.uri().path().trim_start_matches('/');
    let up = "../".repeat(path.matches('/').count());
    let next = request
        .uri()
        .query()
        .map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    let next = percent_encoding::utf8_percent_encode(&next, percent_encoding::NON_ALPHANUMERIC);
    Redirect::to(&format!("{up}login?next={next}")).into_response()
}

/// The cookie of a session; an empty one ends at once.
fn set_cookie(value: &str, seconds: u64, encrypted: bool) -> HeaderValue {
    let secure = if encrypted { "; Secure" } else { "" };
    let text =
        format!("{COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
}

/// Whether a `Host` is this machine to itself.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_name_of_this_machine_is_loopback() {
        for good in [
            "localhost:8080",
            "127.0.0.1",
            "127.0.0.1:80",
            "[::1]:8080",
            "LOCALHOST",
        ] {
            assert!(is_loopback(good), "{good}");
        }
        for bad in [
            "evil.example:8080",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "[::2]:80",
            "",
        ] {
            assert!(!is_loopback(bad), "{bad}");
        }
    }

    #[test]
    fn a_requests_own_id_is_kept_if_it_is_one() {
        let id = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, text.parse().unwrap());
            request_id(&headers)
        };
        assert_eq!(id("a-1.b_2"), "a-1.b_2");
        assert_eq!(id("no id").len(), 32);
        assert_eq!(request_id(&HeaderMap::new()).len(), 32);
    }
}
