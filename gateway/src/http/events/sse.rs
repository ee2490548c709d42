//! As server-sent events.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures::stream;
use taskq::admin::EventFilter;

use super::KEEP_ALIVE;
use crate::feed::{Ear, Place, Silence};
use crate::http::Shared;
use crate::http::extract::Params;
use crate::http::problem::{Answer, Problems};

/// What happens, as server-sent events: from now on, or behind `Last-Event-ID`
/// with nothing left out.
#[utoipa::path(
    get, path = "/v1/events", tag = "events",
    params(
        ("event" = Option<String>, Query, description = "Of one of these kinds, commas between"),
        ("queue" = Option<String>, Query, description = "Of this queue"),
        ("task" = Option<String>, Query, description = "Of this task"),
        ("id" = Option<String>, Query, description = "Of the task of this id"),
        ("worker" = Option<String>, Query, description = "On this worker"),
        ("after" = Option<String>, Query, description = "As Last-Event-ID, for who cannot set a header"),
        ("Last-Event-ID" = Option<String>, Header, description = "Go on behind this event"),
    ),
    responses(
        (status = 200, body = String, content_type = "text/event-stream", description = "Events; it does not end"),
        Problems,
    )
)]
pub(crate) async fn feed(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    mut params: Params,
) -> Answer<Response> {
    let filter = super::filter(&mut params)?;
    let after = super::after(&headers, &mut params)?;
    params.end()?;
    stream(&shared, filter, after).await
}

/// The events of a task, from now on or behind a place.
pub(crate) async fn stream_of_task(
    shared: &Shared,
    id: &str,
    headers: &HeaderMap,
    mut params: Params,
) -> Answer<Response> {
    let after = super::after(headers, &mut params)?;
    params.end()?;
    stream(shared, super::of_task(id), after).await
}

/// A stream of what a filter lets through.
async fn stream(shared: &Shared, filter: EventFilter, after: Option<Place>) -> Answer<Response> {
    let ear = shared.feed.listen(filter, after).await?;
    // The place is told at once: who is cut off before the first event goes
    // on from here.
    let first = Bytes::from(format!("retry: 1000\nid: {}\n\n", ear.place()));
    let frames = stream::unfold((Some(first), Some(ear)), |(first, ear)| async move {
        if let Some(first) = first {
            return Some((Ok::<_, std::convert::Infallible>(first), (None, ear)));
        }
        let mut ear = ear?;
        let (frame, goes_on) = next(&mut ear).await;
        Some((Ok(frame), (None, goes_on.then_some(ear))))
    });
    Ok((
        [
            (header::CONTENT_TYPE, "text/event-stream"),
            (header::CACHE_CONTROL, "no-store"),
            // A proxy is to send on what it has.
            (HeaderName::from_static("x-accel-buffering"), "no"),
        ],
        Body::from_stream(frames),
    )
        .into_response())
}

/// What is at hand, or a sign of life; and whether there will be more.
async fn next(ear: &mut Ear) -> (Bytes, bool) {
    match tokio::time::timeout(KEEP_ALIVE, ear.hear()).await {
        Ok(Ok(heard)) => (heard.sse(), true),
        // An id without data moves the client's place past what it was not to
        // hear, and is no event to it.
        Err(_) => (format!(": alive\nid: {}\n\n", ear.place()).into(), true),
        Ok(Err(Silence::TooSlow)) => (": too slow, go on behind the last id\n\n".into(), false),
        Ok(Err(Silence::Over)) => (": over\n\n".into(), false),
    }
}
