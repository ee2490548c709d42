//! Over a WebSocket.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use taskq::admin::EventFilter;
use tokio::time::{Instant, MissedTickBehavior};

use super::KEEP_ALIVE;
use crate::feed::{Ear, Place, Silence};
use crate::http::Shared;
use crate::http::extract::{Name, Params};
use crate::http::problem::{Answer, Problem, Problems};

/// How long a client may leave pings unanswered.
const DEAD: Duration = Duration::from_secs(45);
/// How long a client may leave what it is sent unread.
const STALLED: Duration = Duration::from_secs(30);
/// The most bytes of a message of a client, which has nothing to say.
const LONGEST: usize = 4096;

type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

/// What happens, over a WebSocket: from now on, or behind `after` with nothing
/// left out.
///
/// Each message is a JSON object: an event has `id`, `event` and `data`, as
/// those of `/v1/events`; one with nothing but an `id` says how far it is. Close
/// codes: 1001, the gateway stops; 1013, too slow; 1008, pings unanswered. Who
/// connects again behind the last `id`, to whichever replica, misses nothing.
#[utoipa::path(
    get, path = "/v1/events/ws", tag = "events",
    params(
        ("event" = Option<String>, Query, description = "Of one of these kinds, commas between"),
        ("queue" = Option<String>, Query, description = "Of this queue"),
        ("task" = Option<String>, Query, description = "Of this task"),
        ("id" = Option<String>, Query, description = "Of the task of this id"),
        ("worker" = Option<String>, Query, description = "On this worker"),
        ("after" = Option<String>, Query, description = "Go on behind this event"),
    ),
    responses(
        (status = 101, description = "A WebSocket"),
        (status = 426, body = Problem, content_type = "application/problem+json", description = "This is no request for a WebSocket"),
        Problems,
    )
)]
pub(crate) async fn feed_socket(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    mut params: Params,
    upgrade: Upgrade,
) -> Answer<Response> {
    let filter = super::filter(&mut params)?;
    let after = super::after(&headers, &mut params)?;
    params.end()?;
    open(&shared, &headers, upgrade, filter, after).await
}

/// What happens to a task, over a WebSocket, as at `/v1/events/ws`.
#[utoipa::path(
    get, path = "/v1/tasks/{id}/events/ws", tag = "tasks",
    params(
        ("id" = String, Path, description = "The task's id"),
        ("after" = Option<String>, Query, description = "Go on behind this event"),
    ),
    responses(
        (status = 101, description = "A WebSocket"),
        (status = 426, body = Problem, content_type = "application/problem+json", description = "This is no request for a WebSocket"),
        Problems,
    )
)]
pub(crate) async fn task_socket(
    State(shared): State<Arc<Shared>>,
    Name(id): Name,
    headers: HeaderMap,
    mut params: Params,
    upgrade: Upgrade,
) -> Answer<Response> {
    let after = super::after(&headers, &mut params)?;
    params.end()?;
    open(&shared, &headers, upgrade, super::of_task(&id), after).await
}

async fn open(
    shared: &Arc<Shared>,
    headers: &HeaderMap,
    upgrade: Upgrade,
    filter: EventFilter,
    after: Option<Place>,
) -> Answer<Response> {
    own_origin(headers)?;
    let upgrade = upgrade.map_err(|refused| {
        Problem::new(
            StatusCode::UPGRADE_REQUIRED,
            "upgrade_needed",
            "This address speaks WebSocket",
            format!("{}; /v1/events has the same without", refused.body_text()),
        )
    })?;
    let ear = shared.feed.listen(filter, after).await?;
    // So that the program does not end before its clients are told.
    let open = shared.sockets.token();
    Ok(upgrade
        .max_message_size(LONGEST)
        .max_frame_size(LONGEST)
        .on_upgrade(|socket| async move {
            let _open = open;
            talk(socket, ear).await;
        }))
}

/// Refuses a page of another origin: unlike the answer to any other request,
/// a WebSocket's messages are not kept from it by the browser.
fn own_origin(headers: &HeaderMap) -> Answer<()> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let own = |origin: &str| {
        let origin = origin.split_once("://").map(|(_, origin)| origin);
        origin.is_some() && origin == text(header::HOST)
    };
    // The browser itself says the first, and no page can set it; the second
    // counts too where there is no such word, as of an older browser.
    let foreign = match text(HeaderName::from_static("sec-fetch-site")) {
        Some(site) => !["same-origin", "none"].contains(&site),
        None => headers.contains_key(header::ORIGIN) && !text(header::ORIGIN).is_some_and(own),
    };
    if foreign {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            "This is not allowed",
            "a page of another origin may not listen here",
        ));
    }
    Ok(())
}

/// Tells what is heard until one of the two sides ends it.
async fn talk(socket: WebSocket, mut ear: Ear) {
    let (mut mouth, mut client) = socket.split();
    let first = place(ear.place());
    let end = match say(&mut mouth, [Message::Text(first)]).await {
        Ok(()) => told(&mut mouth, &mut client, &mut ear).await,
        Err(end) => end,
    };
    let (code, reason) = match end {
        End::Gone => return,
        End::Silence(Silence::TooSlow) => (
            close_code::AGAIN,
            format!("too slow: go on behind {}", ear.place()),
        ),
        End::Silence(Silence::Over) => (
            close_code::AWAY,
            format!("the gateway stops: go on behind {}", ear.place()),
        ),
        End::Dead => (close_code::POLICY, "pings are not answered".to_owned()),
    };
    let close = CloseFrame {
        code,
        reason: reason.into(),
    };
    if say(&mut mouth, [Message::Close(Some(close))]).await.is_ok() {
        // The other side says so too, and then the connection ends.
        let rest = async { while let Some(Ok(_)) = client.next().await {} };
        let _ = tokio::time::timeout(Duration::from_secs(1), rest).await;
    }
}

/// Why it ended.
enum End {
    /// The client went, or its connection did.
    Gone,
    /// Pings are not answered.
    Dead,
    /// Nothing more will be heard.
    Silence(Silence),
}

/// Tells what is heard; returns why it ended.
async fn told(
    mouth: &mut SplitSink<WebSocket, Message>,
    client: &mut SplitStream<WebSocket>,
    ear: &mut Ear,
) -> End {
    let mut ping = tokio::time::interval_at(Instant::now() + KEEP_ALIVE, KEEP_ALIVE);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut alive = Instant::now();
    loop {
        let said = tokio::select! {
            heard = ear.hear() => match heard {
                Ok(heard) => say(mouth, heard.messages().into_iter().map(Message::Text)).await,
                Err(silence) => Err(End::Silence(silence)),
            },
            said = client.next() => match said {
                // What it says does not matter, nor what answers a ping.
                Some(Ok(Message::Close(_)) | Err(_)) | None => Err(End::Gone),
                Some(Ok(_)) => {
                    alive = Instant::now();
                    Ok(())
                }
            },
            _ = ping.tick() => {
                if alive.elapsed() > DEAD {
                    return End::Dead;
                }
                let signs = [Message::Text(place(ear.place())), Message::Ping(Bytes::new())];
                say(mouth, signs).await
            }
        };
        if let Err(end) = said {
            return end;
        }
    }
}

async fn say(
    mouth: &mut SplitSink<WebSocket, Message>,
    messages: impl IntoIterator<Item = Message>,
) -> Result<(), End> {
    let saying = async {
        for message in messages {
            mouth.feed(message).await?;
        }
        mouth.flush().await
    };
    match tokio::time::timeout(STALLED, saying).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(End::Gone),
    }
}

/// How far it is.
fn place(place: Place) -> Utf8Bytes {
    format!("{{\"id\":\"{place}\"}}").into()
}
