//! `/pulse`: a sign whenever a page would show something else, and at most one
//! each second. A page looks again then, so that what it shows is made in one
//! place only.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures::stream;

use crate::http::Shared;

/// How often it is looked whether there is anything new.
const EVERY: Duration = Duration::from_secs(1);
/// After so many looks without anything new, both sides see that they are
/// there.
const ALIVE: u32 = 15;

pub(super) async fn beat(State(shared): State<Arc<Shared>>) -> Response {
    let first = Bytes::from_static(b"retry: 2000\nevent: pulse\ndata: begin\n\n");
    let closing = shared.feed.closing();
    let seen = state(&shared);
    let signs = stream::unfold(
        (Some(first), shared, seen, closing),
        |(first, shared, seen, mut closing)| async move {
            if let Some(first) = first {
                return Some((Ok::<_, Infallible>(first), (None, shared, seen, closing)));
            }
            for _ in 0..ALIVE {
                tokio::select! {
                    () = tokio::time::sleep(EVERY) => {}
                    _ = closing.wait_for(|closed| *closed) => return None,
                }
                shared.pulse.want();
                let now = state(&shared);
                if now != seen {
                    let sign = Bytes::from_static(b"event: pulse\ndata: new\n\n");
                    return Some((Ok(sign), (None, shared, now, closing)));
                }
            }
            let alive = Bytes::from_static(b": alive\n\n");
            Some((Ok(alive), (None, shared, seen, closing)))
        },
    );
    (
        [
            (header::CONTENT_TYPE, "text/event-stream"),
            (header::CACHE_CONTROL, "no-store"),
            (header::HeaderName::from_static("x-accel-buffering"), "no"),
        ],
        Body::from_stream(signs),
    )
        .into_response()
}

/// Moves with everything that pages show.
fn state(shared: &Shared) -> (u64, u64) {
    let lag = shared.follower.lag();
    let taken = lag.iter().map(|lag| lag.taken).fold(0, u64::wrapping_add);
    (shared.pulse.beat(), taken)
}
