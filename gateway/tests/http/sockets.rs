//! Live events over WebSockets. Other than the rest, these need a socket.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use axum::http::StatusCode;
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use taskq::Mode;
use taskq_e2e::{Fixture, PATIENCE};
use taskq_gateway::index::{Index, Retention};
use taskq_gateway::{Access, Gateway, Limits, Socket};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::{System, break_down, double, gateway};

/// Serves a gateway at a free port.
async fn serve(gateway: &Gateway) -> SocketAddr {
    let socket = Socket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.address().unwrap();
    tokio::spawn(socket.serve(gateway.router(), std::future::pending()));
    address
}

struct Listener(WebSocketStream<TcpStream>);

#[derive(Debug)]
enum Heard {
    Place(String),
    Event(String, Value),
    Closed(CloseFrame),
}

impl Listener {
    async fn new(address: SocketAddr, path: &str) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap(), path).await
    }

    async fn over(stream: TcpStream, path: &str) -> Self {
        let address = stream.peer_addr().unwrap();
        let (socket, _) = client_async(format!("ws://{address}{path}"), stream)
            .await
            .unwrap();
        Self(socket)
    }

    async fn hear(&mut self) -> Heard {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.0.next()).await;
            match next.expect("a message in time").expect("a socket").unwrap() {
                Message::Text(text) => {
                    let json: Value = serde_json::from_str(&text).unwrap();
                    let id = json["id"].as_str().unwrap_or_default().to_owned();
                    if json.get("data").is_none() {
                        return Heard::Place(id);
                    }
                    assert_eq!(json["event"], json["data"]["event"]);
                    return Heard::Event(id, json["data"].clone());
                }
                Message::Close(frame) => return Heard::Closed(frame.unwrap()),
                _ => {}
            }
        }
    }

    /// Hears until this many tasks have ended, and the place then.
    async fn ended(&mut self, ids: &mut BTreeSet<String>, most: usize) -> String {
        // The place is told on and on where nothing more happens.
        let ended = tokio::time::timeout(3 * PATIENCE, self.until_ended(ids, most)).await;
        ended.unwrap_or_else(|_| panic!("{} of {most}", ids.len()))
    }

    async fn until_ended(&mut self, ids: &mut BTreeSet<String>, most: usize) -> String {
        loop {
            match self.hear().await {
                Heard::Event(place, event) => {
                    if ["succeeded", "failed"].contains(&event["event"].as_str().unwrap()) {
                        let id = event["task_id"].as_str().unwrap().to_owned();
                        assert!(ids.insert(id), "twice: {event}");
                    }
                    if ids.len() == most && !place.is_empty() {
                        return place;
                    }
                }
                Heard::Place(_) => {}
                Heard::Closed(frame) => panic!("{frame:?}, after {} of {most}", ids.len()),
            }
        }
    }
}

async fn run(system: &System, from: u64, to: u64) {
    let client = system.fixture.client().await;
    let calls = (from..to).map(|n| double::call(n).id(format!("t{n:05}")));
    let handles: Vec<_> = client.enqueue_many(calls).collect().await;
    for handle in handles {
        handle.unwrap().result().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_goes_on_in_another_replica_with_no_event_left_out_and_none_twice() {
    let system = System::new().await;
    let _worker = system.worker().await;
    let address = serve(&system.gateway).await;
    let mut listener = Listener::new(address, "/v1/events/ws").await;
    assert!(matches!(listener.hear().await, Heard::Place(_)));
    let mut ids = BTreeSet::new();
    let (last, ()) = tokio::join!(listener.ended(&mut ids, 150), run(&system, 0, 300));
    drop(listener);
    run(&system, 300, 500).await;

    let other = gateway(&system.fixture, Access::default()).await;
    let path = format!("/v1/events/ws?after={last}");
    let mut listener = Listener::new(serve(&other).await, &path).await;
    tokio::join!(listener.ended(&mut ids, 700), run(&system, 500, 700));
    let expected = (0..700).map(|n| format!("t{n:05}")).collect();
    assert_eq!(ids, expected);
    // Where it was is at hand, and not read from the streams again.
    let mut again = Listener::new(serve(&system.gateway).await, &path).await;
    let mut rest = BTreeSet::new();
    again.ended(&mut rest, 550).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_of_one_task_tells_of_no_other() {
    let system = System::new().await;
    let _worker = system.worker().await;
    let address = serve(&system.gateway).await;
    let mut one = Listener::new(address, "/v1/tasks/doomed/events/ws").await;
    let path = "/v1/events/ws?event=failed,succeeded&task=break_down";
    let mut failures = Listener::new(address, path).await;
    run(&system, 0, 5).await;
    let call = json!({"task": "break_down", "id": "doomed", "kwargs": {"why": "x", "user": 1}});
    system.post("/v1/tasks?wait=60s", call).await;
    // Its end and its dead letter are told in either order.
    for (listener, expected) in [
        (&mut one, &["dead", "failed", "retrying", "started"][..]),
        (&mut failures, &["failed"]),
    ] {
        let mut kinds = BTreeSet::new();
        // The place is told on and on where nothing more happens. A start is told twice if
        // the first attempt took a while.
        let hear = async {
            while kinds.len() < expected.len() {
                match listener.hear().await {
                    Heard::Event(_, event) => {
                        assert_eq!(event["task_id"], "doomed");
                        kinds.insert(event["event"].as_str().unwrap().to_owned());
                    }
                    Heard::Place(_) => {}
                    Heard::Closed(frame) => panic!("{frame:?}"),
                }
            }
        };
        let heard = tokio::time::timeout(3 * PATIENCE, hear).await;
        assert!(heard.is_ok(), "{kinds:?} of {expected:?}");
        assert!(kinds.iter().eq(expected), "{kinds:?}");
    }
    // Whoever pings is answered.
    one.0
        .send(Message::Ping("are you there?".into()))
        .await
        .unwrap();
    let pong = async {
        loop {
            if let Message::Pong(pong) = one.0.next().await.unwrap().unwrap() {
                break pong;
            }
        }
    };
    let pong = tokio::time::timeout(PATIENCE, pong).await.unwrap();
    assert_eq!(pong, "are you there?");
}

/// The most bytes that this system keeps for who does not read.
fn unread() -> usize {
    let most = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_wmem").ok();
    let most = most.and_then(|most| most.split_whitespace().nth(2)?.parse().ok());
    most.unwrap_or(4 * 1024 * 1024)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_too_slow_for_a_websocket_is_told_so_holds_up_nobody_and_misses_nothing() {
    const RING: usize = 1024 * 1024;
    // As long as an error may be without being cut.
    const STORY: usize = 15_000;
    // The quick one is never further behind than this.
    const AT_ONCE: usize = 32;
    // More than the ring, what is being told, and the system can hold.
    let rounds = (unread() + 3 * RING).div_ceil(AT_ONCE * STORY);
    let tasks = rounds * AT_ONCE;
    let fixture = Fixture::new(Mode::JetStream);
    let limits = Limits {
        live: RING,
        ..Limits::default()
    };
    let index = Index::scratch(Retention::default()).unwrap();
    let gateway = Gateway::new(fixture.client().await, index, Access::default(), limits);
    let address = serve(&gateway).await;
    let _worker = fixture.worker().await;

    let stalled = TcpSocket::new_v4().unwrap();
    stalled.set_recv_buffer_size(8 * 1024).unwrap();
    let stalled = stalled.connect(address).await.unwrap();
    let path = "/v1/events/ws?event=failed";
    let mut stalled = Listener::over(stalled, path).await;
    let mut quick = Listener::new(address, path).await;

    let client = fixture.client().await;
    let mut ids = BTreeSet::new();
    for round in 0..rounds {
        let calls = (0..AT_ONCE).map(|n| {
            let n = round * AT_ONCE + n;
            break_down::call("s".repeat(STORY), json!(n))
                .retries(0)
                .id(format!("t{n:05}"))
        });
        let sent: Vec<_> = client.enqueue_many(calls).collect().await;
        assert!(sent.iter().all(Result::is_ok));
        quick.ended(&mut ids, (round + 1) * AT_ONCE).await;
    }

    // Only now the other one reads: what there was when it stopped, then why.
    let mut heard = BTreeSet::new();
    let mut last = String::new();
    let frame = loop {
        match stalled.hear().await {
            Heard::Event(place, event) => {
                assert!(event["error"].as_str().unwrap().len() >= STORY);
                heard.insert(event["task_id"].as_str().unwrap().to_owned());
                assert!(heard.len() < tasks, "it was not let go");
                last = place;
            }
            Heard::Place(_) => {}
            Heard::Closed(frame) => break frame,
        }
    };
    assert_eq!(u16::from(frame.code), 1013, "{frame:?}");
    let behind = frame
        .reason
        .strip_prefix("too slow: go on behind ")
        .unwrap();
    assert!(!last.is_empty());
    let mut again = Listener::new(address, &format!("{path}&after={behind}")).await;
    again.ended(&mut heard, tasks).await;
    assert_eq!(heard, ids);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_is_told_that_the_gateway_stops() {
    let system = System::new().await;
    let address = serve(&system.gateway).await;
    let mut listener = Listener::new(address, "/v1/events/ws").await;
    let Heard::Place(place) = listener.hear().await else {
        panic!("a place comes first");
    };
    system.gateway.close();
    let Heard::Closed(frame) = listener.hear().await else {
        panic!("it was to end");
    };
    assert_eq!(u16::from(frame.code), 1001);
    assert!(frame.reason.ends_with(&place), "{frame:?}");
    drop(listener);
    let closed = system.gateway.closed();
    tokio::time::timeout(PATIENCE, closed)
        .await
        .expect("it ends");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_another_origin_gets_no_websocket() {
    let system = System::new().await;
    let address = serve(&system.gateway).await;
    for (origin, status) in [
        (format!("http://{address}"), StatusCode::SWITCHING_PROTOCOLS),
        ("http://evil.example".to_owned(), StatusCode::FORBIDDEN),
        ("null".to_owned(), StatusCode::FORBIDDEN),
    ] {
        let request = format!("ws://{address}/v1/events/ws").into_client_request();
        let mut request = request.unwrap();
        let headers = request.headers_mut();
        headers.insert("origin", origin.parse().unwrap());
        let stream = TcpStream::connect(address).await.unwrap();
        let got = match client_async(request, stream).await {
            Ok((_, answer)) => answer.status(),
            Err(Error::Http(answer)) => answer.status(),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(got, status, "{origin}");
    }
    let plain = system.get("/v1/events/ws").await;
    assert_eq!(plain.code(), "upgrade_needed");
    assert_eq!(plain.status, StatusCode::UPGRADE_REQUIRED);
}
