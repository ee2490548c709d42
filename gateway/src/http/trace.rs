//! The trace that a request is a part of: W3C [trace context].
//!
//! [trace context]: https://www.w3.org/TR/trace-context/

use axum::extract::{MatchedPath, Request};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::Response;
use taskq::telemetry::{OTHER, Serving};
use taskq::{Call, Untyped};

/// The longest `tracestate` that is passed on; its specification wants as much.
const LONGEST_STATE: usize = 512;

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn state(headers: &HeaderMap) -> Option<&str> {
    header(headers, "tracestate").filter(|state| state.len() <= LONGEST_STATE)
}

/// Makes a request a span, where spans are wanted; what it sends is a part of
/// it.
pub(super) async fn span(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or(OTHER, MatchedPath::as_str);
    let serving = Serving::start(
        format!("{} {route}", request.method()),
        header(request.headers(), "traceparent"),
        state(request.headers()),
        [
            ("http.request.method", request.method().to_string()),
            ("http.route", route.to_owned()),
        ],
    );
    match serving {
        None => next.run(request).await,
        Some(serving) => {
            let answer = next.run(request);
            serving
                .around(answer, |answer| answer.status().as_u16())
                .await
        }
    }
}

/// Gives a call the trace of its request. It is checked where it is read, and
/// what is none is no trace.
pub(super) fn of_request(mut call: Call<Untyped>, headers: &HeaderMap) -> Call<Untyped> {
    if let Some(parent) = header(headers, "traceparent").filter(|parent| parent.len() <= 128) {
        call = call.label("traceparent", parent);
        if let Some(state) = state(headers) {
            call = call.label("tracestate", state);
        }
    }
    call
}
